"""Write the README's part about speed from reports/benchmark/results.json."""

from pathlib import Path

from fastmlp.bench import report
from fastmlp.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Replace what stands between the README's markers."""
    readme = ROOT / "README.md"
    part = report.readme_part(report.read(ROOT / "reports" / "benchmark" / report.RESULTS))
    write_atomic(readme, report.into_readme(readme.read_text(), part).encode())


if __name__ == "__main__":
    main()
