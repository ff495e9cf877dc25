"""``python -m tests.robustness``: the long runs, and the report of them.

``mutants``, ``faults`` and ``kills`` run a part each, ``all`` runs them one after the other.
``repeat KIND SEED NUMBER`` reads one mutant again and lets its error through.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SILENCE = 40.0  # seconds for a mutant, after which a child hangs
HUNG, BROKEN = 1, 3  # exit codes of a child: the first is faulthandler's
MUTANTS = 100_000  # of each kind
KILLS = 150  # of each way to run a grid, a sixth of them gentle, and of trainings
EXAMPLES = 20  # of faults in a report


def mutants(options: argparse.Namespace) -> int:
    """Read mutants of some kinds, each in a process of its own."""
    from .campaign import KINDS

    with ThreadPoolExecutor(options.jobs) as pool:
        kinds = options.kinds or list(KINDS)
        found = pool.map(lambda kind: campaign(kind, options.seed, options.count), kinds)
        return sum(
            keep(options.out, "mutants", {kind: one})
            for kind, one in zip(kinds, found, strict=True)
        )


def campaign(kind: str, seed: int, count: int) -> dict[str, Any]:
    """Read mutants of a kind in child processes, one after the other: a new one after a signal or a hang."""
    from .campaign import FAULTS

    results: Counter[str] = Counter()
    examples: dict[str, str] = {}
    slowest, grown, number, start = 0.0, 0, 0, time.monotonic()
    while number < count:
        for reading in child(kind, seed, number, count - number):
            number = reading["number"] + 1
            results[reading["result"]] += 1
            slowest, grown = max(slowest, reading["seconds"]), max(grown, reading["grown"])
            if reading["result"] in FAULTS:
                text = f"{reading['result']}: {reading['detail']}"
                examples.setdefault(
                    text[:120], f"{text} (repeat {kind} {seed} {reading['number']})"
                )
    return {
        "count": count,
        "seed": seed,
        "results": dict(results),
        "slowest": round(slowest, 3),
        "grown": grown,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "faults": sum(results[name] for name in FAULTS),
        "examples": list(examples.values())[:EXAMPLES],
    }


def child(kind: str, seed: int, first: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield the readings of a child process; if it dies, the last one is of the mutant that it died of."""
    command = [
        sys.executable,
        "-m",
        "tests.robustness",
        "child",
        kind,
        str(seed),
        str(first),
        str(count),
    ]
    number = first
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            reading = json.loads(line)
            number = reading["number"] + 1
            yield reading
        code = process.wait()
    if code not in (0, HUNG) and code >= 0:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    if code:
        result = "hang" if code == HUNG else "signal"
        yield {
            "number": number,
            "result": result,
            "detail": f"exit code {code}",
            "seconds": 0.0,
            "grown": 0,
        }


def read_in_child(options: argparse.Namespace) -> int:
    """Print the reading of each mutant as a line; a watchdog ends this process with HUNG if one hangs in C."""
    from .campaign import KINDS, mutant_of, read

    try:
        with KINDS[options.kind]() as kind:
            for number in range(options.first, options.first + options.count):
                faulthandler.dump_traceback_later(SILENCE, exit=True)
                reading = read(kind, mutant_of(kind, options.number, number), number)
                print(json.dumps(asdict(reading)), flush=True)
    except BaseException:
        traceback.print_exc()
        os._exit(BROKEN)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0


def repeat(options: argparse.Namespace) -> int:
    """Read one mutant, and let its error through."""
    from .campaign import KINDS, mutant_of
    from .models import write

    folder = options.keep or Path(tempfile.mkdtemp())
    with KINDS[options.kind]() as kind:
        mutant = mutant_of(kind, options.number, options.first)
        write(folder, mutant.files)
        print(f"{folder}: {', '.join(mutant.files)}; sealed: {mutant.sealed}", flush=True)
        print(kind.read(folder, mutant))
    return 0


def faults(options: argparse.Namespace) -> int:
    """Make the calls of some commands fail."""
    from .faults import COMMANDS, EVERY, attempts

    total = 0
    for command in options.commands or COMMANDS:
        found: dict[str, Any] = {}
        for one in attempts([command], options.errors or EVERY, options.most, options.seed):
            of = found.setdefault(one.error, {"count": 0, "faults": 0, "examples": []})
            of["count"] += 1
            of["faults"] += bool(one.problems)
            if one.problems and len(of["examples"]) < EXAMPLES:
                of["examples"].append(
                    f"{one.number} {one.call} {one.path}: {'; '.join(one.problems)}"
                )
        total += sum(one["faults"] for one in found.values())
        keep(options.out, "faults", {command: found})
    return total


def kills(options: argparse.Namespace) -> int:
    """Kill searches and trainings."""
    from .kills import WAYS, Searches, Trainings

    total = 0
    for way in options.ways or (*WAYS, "train --checkpoint"):
        found = {}
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if way in WAYS:
                address = stack.enter_context(cluster()) if way == "dask" else ""
                killing: Any = Searches(folder, way, address)
            else:
                killing = Trainings(folder)
            for name, share in (("SIGKILL", 5 / 6), ("SIGTERM", 1 / 6)):
                tally = killing.kill(
                    round(options.count * share), getattr(signal, name), options.seed
                )
                found[name] = asdict(tally) | {
                    "faults": tally.faults,
                    "examples": tally.said[:EXAMPLES],
                }
                del found[name]["said"]
                total += tally.faults
        keep(options.out, "kills", {way: found})
    return total


@contextlib.contextmanager
def cluster() -> Iterator[str]:
    """Start a Dask scheduler with two worker processes, and yield its address."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
    ) as running:
        yield running.scheduler_address


def keep(folder: Path, part: str, found: dict[str, Any]) -> int:
    """Store results, print them in short, and return how many faults there were."""
    from .report import store

    store(folder, part, found)
    print(f"{part}: {json.dumps(found)}", flush=True)
    return sum(one.get("faults", 0) for one in found.values())


def everything(options: argparse.Namespace) -> int:
    """Run all parts."""
    counts = {mutants: MUTANTS, faults: 0, kills: KILLS}
    return sum(
        part(argparse.Namespace(**vars(options) | {"count": counts[part]})) for part in counts
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a part, and return 1 if anything was found."""
    parser = argparse.ArgumentParser("python -m tests.robustness", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run, count in (
        ("mutants", mutants, MUTANTS),
        ("faults", faults, 0),
        ("kills", kills, KILLS),
        ("all", everything, 0),
    ):
        one = commands.add_parser(name)
        one.set_defaults(run=run)
        one.add_argument("--out", type=Path, default=ROOT / "reports" / "robustness")
        one.add_argument("--seed", type=int, default=0)
        one.add_argument(
            "--count", type=int, default=count, help="mutants of each kind, or kills of each way"
        )
        one.add_argument("--jobs", type=int, default=2, help="kinds at once")
        one.add_argument("--kinds", nargs="*")
        one.add_argument("--commands", nargs="*")
        one.add_argument("--errors", nargs="*")
        one.add_argument("--most", type=int, help="calls that fail, of each command")
        one.add_argument("--ways", nargs="*")
    one = commands.add_parser("child")
    one.set_defaults(run=read_in_child)
    again = commands.add_parser("repeat")
    again.set_defaults(run=repeat)
    for parsed, more in ((one, ("first", "count")), (again, ("first",))):
        parsed.add_argument("kind")
        parsed.add_argument("number", type=int, metavar="seed")
        for name in more:
            parsed.add_argument(name, type=int)
    again.add_argument("--keep", type=Path, help="the folder to write the mutant to")
    options = parser.parse_args(arguments)
    return int(options.run(options) > 0)


if __name__ == "__main__":
    sys.exit(main())
