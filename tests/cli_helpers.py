"""The command line as a person uses it; in a process of its own where signals matter."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastmlp
from fastmlp.cli import main


def run(*arguments: object) -> int:
    return main([str(one) for one in arguments])


def start(*arguments: object) -> "subprocess.Popen[str]":
    """Run the command in a process of its own."""
    script = "import sys; from fastmlp.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(fastmlp.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def metrics(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content
