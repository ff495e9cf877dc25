"""The stored report: what was tried, how often, and what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastmlp.machine.description import describe
from fastmlp.reporting.tables import markdown_table

from .kills import EPOCHS, TRIALS

RESULTS, REPORT = "results.json", "report.md"


def store(folder: Path, part: str, found: Mapping[str, Any]) -> None:
    """Put the results of a part beside those of the others, and write the report again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS
    results = json.loads(path.read_text()) if path.exists() else {}
    results[part] = results.get(part, {}) | found
    results["machine"] = describe()
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    (folder / REPORT).write_text(told(results))


def told(results: Mapping[str, Any]) -> str:
    """Return the text of the report."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    blocks = [
        "# Damaged files, failing disks, kills",
        f"`python -m tests.robustness` on {machine['cpu']}, {machine['usable_cores']} cores; {versions}. Every "
        "number comes from [results.json](results.json). A column in bold counts faults: all of them should be 0.",
    ]
    for part, tell in (("mutants", _mutants), ("faults", _faults), ("kills", _kills)):
        if part in results:
            blocks += tell(results[part])
    return "\n\n".join(blocks) + "\n"


def _mutants(kinds: Mapping[str, Any]) -> list[str]:
    header = [
        "kind",
        "mutants",
        "refused",
        "as written",
        "otherwise",
        "**exceptions**",
        "**believed**",
    ]
    header += ["**over 1 s**", "**memory**", "**signals**", "**hangs**", "slowest", "most memory"]
    names = (
        "refused",
        "same",
        "other",
        "exception",
        "believed",
        "slow",
        "memory",
        "signal",
        "hang",
    )
    rows = [
        [
            kind,
            f"{one['count']:,}",
            *(f"{one['results'].get(name, 0):,}" for name in names),
            f"{one['slowest']:.2f} s",
            f"{one['grown'] / 2**20:.0f} MB",
        ]
        for kind, one in kinds.items()
    ]
    seeds = ", ".join(sorted({str(one["seed"]) for one in kinds.values()}))
    return [
        "## Damaged files",
        f"Mutants of small sound files, from seed {seeds}: bits, bytes, lengths and counts, pieces cut, doubled, "
        "swapped and inserted; values in headers, tables and cells replaced by others of every type, mostly with the "
        "checksum made right again. “As written” was read and is what was written. “Otherwise” was read as something "
        "else that makes sense, where nothing could tell: the checksum was right, the format has none, or a "
        "warning was given. Commands with the folder of a run (“run”) may take longer than a second, as they compute. "
        "More than twice the file and 64 MB of memory count as a fault.",
        markdown_table(header, rows, "l" + "r" * (len(header) - 1)),
        *_examples(kinds),
    ]


def _faults(commands: Mapping[str, Any]) -> list[str]:
    rows = [
        [command, error, f"{one['count']:,}", f"{one['faults']:,}"]
        for command, errors in commands.items()
        for error, one in errors.items()
    ]
    return [
        "## Calls that fail",
        "A call of a command on its files failed once (“full”: and all writes after it; “kill”: the process was "
        "killed instead): each call, or as many as the table says, drawn at random. The old file must survive, the "
        "message must name the file, the same command must work afterwards, and a network whose last epoch is done "
        "must not be trained again.",
        markdown_table(["command", "error", "calls", "**faults**"], rows, "llrr"),
        *_examples(
            {f"{name}, {error}": one for name, of in commands.items() for error, one in of.items()}
        ),
    ]


def _kills(ways: Mapping[str, Any]) -> list[str]:
    names = ("kills", "midway", "lost", "twice", "unequal", "processes", "shared")
    header = ["what", "signal", "kills", "midway", "**lost**", "**twice**", "**unequal ends**"]
    header += ["**processes left**", "**memory left**"]
    rows = [
        [way, number, *(f"{one[name]:,}" for name in names)]
        for way, signals in ways.items()
        for number, one in signals.items()
    ]
    return [
        "## Kills",
        f"Searches of {TRIALS} trials and trainings of {EPOCHS} epochs, killed at random instants and started again "
        "until they were through. “Midway”: some of the work was done and some was not.",
        markdown_table(header, rows, "ll" + "r" * (len(header) - 2)),
        *_examples(
            {f"{way}, {number}": one for way, of in ways.items() for number, one in of.items()}
        ),
    ]


def _examples(parts: Mapping[str, Any]) -> list[str]:
    lines = [
        f"- {name}: `{text}`" for name, one in parts.items() for text in one.get("examples", [])
    ]
    return ["\n".join(lines)] if lines else []
