"""The files of a run: results.json, and the others, which are made from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast, get_origin, get_type_hints

from fastmlp.bench import markdown
from fastmlp.bench.measurements import Measurements
from fastmlp.bench.roofline import draw_roofline
from fastmlp.errors import FormatError, shown
from fastmlp.machine.files import read_text, write_text

_LARGEST_RESULTS = 2**24  # bytes
_KINDS = {
    name: get_origin(kind) or kind
    for name, kind in get_type_hints(Measurements).items()
    if name != "footprint"  # may be none
}
RESULTS, MACHINE, REPORT, ROOFLINE = "results.json", "machine.json", "report.md", "roofline.png"


def write(results: Measurements, folder: Path) -> None:
    """Write results.json, machine.json, report.md and roofline.png; `folder` must exist."""
    machine = json.dumps(results["machine"], indent=2) + "\n"
    picture = (
        f"## Roofline of one core\n\n![Roofline of one core]({ROOFLINE})\n\n"
        "Each mark is a kernel on one layer at one batch size, or a whole step; further to the "
        "right are those that do more arithmetic for each byte they must move at the least. The "
        "lines are measured too: multiply-adds in registers, and `a += b` in each place that the "
        "data of a kernel may lie in.\n"
    )
    write_text(folder / RESULTS, to_json(results))
    write_text(folder / MACHINE, machine)
    write_text(folder / REPORT, f"{markdown.render(results)}\n{picture}")
    draw_roofline(results, folder / ROOFLINE)


def to_json(results: Measurements) -> str:
    """Return JSON with a line for each record, so that two runs can be compared line by line."""
    fields = []
    for name, value in results.items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in value) + "\n ]"
        fields.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def read(path: Path) -> Measurements:
    """Read results.json.

    Raises
    ------
    FormatError
        If it cannot be read, is not JSON, or lacks one of the fields of `Measurements`.
    """
    expected = "the results.json of a benchmark"
    try:
        results = json.loads(read_text(path, _LARGEST_RESULTS, expected))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: {error}; expected {expected}") from None
    found = set(results) if isinstance(results, dict) else set()
    if missing := Measurements.__required_keys__ - found:
        raise FormatError(f"{path}: found no {', '.join(sorted(missing))}; run the benchmark again")
    for name, kind in _KINDS.items():
        if not isinstance(results[name], kind):
            raise FormatError(
                f"{path}: {name}: found {shown(results[name])}, expected a {kind.__name__}"
            )
    return cast(Measurements, results)
