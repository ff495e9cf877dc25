"""Make every report in ``reports/`` anew, one after another, on an idle machine.

    python benchmarks/all_reports.py WORK [NAME ...] [--seeds N]

Each report is made in a folder in WORK, and copied to ``reports/`` once it is whole. The same command goes on where it
was interrupted, with the reports that WORK does not have. In the end ``reports/README.md`` lists all of them: how they
are made, how long that took, and on what. PyTorch, JAX and real data are needed, as for the reports one by one.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastmlp.machine.description import describe
from fastmlp.machine.files import write_text
from fastmlp.machine.folders import MODEL
from fastmlp.studies.reproduce import STORE
from fastmlp.studies.study import find, names

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "reports"
MADE, LIST = "made.json", "README.md"
NOT_KEPT = (STORE, MODEL)  # of what a command writes


@dataclass(frozen=True)
class Report:
    """A folder of ``reports/``: what it answers, and the arguments for Python that make it in a folder."""

    title: str
    command: tuple[str, ...]


SCRIPTS = {
    "benchmark": Report(
        "Samples a second beside PyTorch, JAX and scikit-learn",
        ("-m", "fastmlp", "bench", "--out", "{folder}"),
    ),
    "grid": Report(
        "A grid search beside PyTorch", ("benchmarks/grid_beside_pytorch.py", "{folder}")
    ),
    "estimator": Report(
        "The estimators beside scikit-learn's",
        ("benchmarks/estimator_beside_sklearn.py", "{folder}"),
    ),
    "bfloat16": Report(
        "What rounding to bfloat16 does to accuracy",
        ("benchmarks/bfloat16_accuracy.py", "{folder}"),
    ),
    "many-cores": Report("Many cores: a prediction", ("benchmarks/many_cores.py", "{folder}")),
    "quickstart": Report(
        "The README's training of cars and cats",
        (
            *("-m", "fastmlp", "train", "--config", "reports/quickstart/config.toml"),
            *("--no-report", "--out", "{folder}"),
        ),
    ),
    "robustness": Report(
        "Damaged files, failing calls of the system, kills",
        ("-m", "tests.robustness", "all", "--out", "{folder}"),
    ),
}


def all_reports(seeds: int | None) -> dict[str, Report]:
    """Return all reports by folder, in the order in which they are made."""
    given = () if seeds is None else ("--seeds", str(seeds))
    studies = {
        name: Report(
            find(name).title,
            ("-m", "fastmlp", "reproduce", name, *given, "--out", "{parent}"),
        )
        for name in names()
    }
    return {**SCRIPTS, **studies}


def make(name: str, report: Report, work: Path) -> dict[str, Any]:
    """Run a report's command, copy what it wrote, and return how that went."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    command = [one.format(folder=folder, parent=work) for one in report.command]
    print(f"{name}: python {shlex.join(command)}", flush=True)
    start = time.monotonic()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    machine = describe()
    return {
        "minutes": round((time.monotonic() - start) / 60, 1),
        "finished": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{machine['cpu']}, {machine['usable_cores']} cores",
        "versions": machine["versions"],
    }


def copy(source: Path, target: Path) -> None:
    """Replace a report's pictures and files, and leave what the command does not write."""
    target.mkdir(exist_ok=True)
    for picture in target.glob("*.png"):
        picture.unlink()
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_KEPT), dirs_exist_ok=True)


def listed(reports: Mapping[str, Report], made: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of ``reports/README.md``."""
    lines = [
        "# Reports\n",
        "`python benchmarks/all_reports.py WORK` makes all of them anew, one after another; with names, only those.",
        "Each folder has the machine and the versions in full.\n",
        "| report | about | made on | | minutes |",
        "| --- | --- | --- | --- | --: |",
    ]
    for name, report in reports.items():
        machine = _read(REPORTS / name / "machine.json")
        one = {"machine": machine.get("cpu", ""), **machine, **made.get(name, {})}
        cells = (one["machine"], one.get("finished", "")[:10], one.get("minutes", ""))
        file = next((text for text in ("report.md", "") if (REPORTS / name / text).exists()), "")
        lines.append(
            f"| [{name}]({name}/{file}) | {report.title} | {' | '.join(map(str, cells))} |"
        )
    others = sorted({one.name for one in REPORTS.iterdir() if one.is_dir()} - set(reports))
    lines += [f"| [{name}]({name}/) | Kept, of an earlier machine | | | |" for name in others]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make reports, and list them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for what is being made")
    parser.add_argument("names", nargs="*", metavar="NAME", help="reports; by default all")
    parser.add_argument(
        "--seeds", type=int, help="trainings of each setting of a study, instead of its own number"
    )
    options = parser.parse_args()
    reports = all_reports(options.seeds)
    if unknown := sorted(set(options.names) - set(reports)):
        parser.error(f"no report {', '.join(unknown)}; expected some of {', '.join(reports)}")
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    done = _read(work / MADE)
    stored = _read(REPORTS / MADE)
    for name in options.names or reports:
        if name not in done:
            done[name] = make(name, reports[name], work)
            write_text(work / MADE, json.dumps(done, indent=2) + "\n")
        copy(work / name, REPORTS / name)
        stored[name] = done[name]
        write_text(REPORTS / MADE, json.dumps(stored, indent=2) + "\n")
        write_text(REPORTS / LIST, listed(reports, stored))
    if "benchmark" in done or "quickstart" in done:
        subprocess.run([sys.executable, "benchmarks/update_readme.py"], cwd=ROOT, check=True)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


if __name__ == "__main__":
    main()
