"""Write the README's section on speed from reports/benchmark/results.json."""

from pathlib import Path

from fastmlp.bench import folder, readme
from fastmlp.machine.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Replace the text between the README's markers."""
    path = ROOT / "README.md"
    stored = folder.read(ROOT / "reports" / "benchmark" / folder.RESULTS)
    write_atomic(path, readme.into(path.read_text(), readme.part(stored)).encode())


if __name__ == "__main__":
    main()
