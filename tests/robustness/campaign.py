"""Mutants by the thousand: what happens when each is read."""

from __future__ import annotations

import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastmlp.errors import FastMLPError

from .data import Archives, Folders, Idx, Pictures, Settings, Studies
from .folders import DecodedFiles, PictureFolders, Runs
from .kinds import Believed, Kind, Mutant
from .models import Checkpoints, Estimators, Networks, Stores, write
from .own import Arrays
from .tables import Rows, Tables

KINDS: dict[str, Callable[[], Kind]] = {
    kind.name: kind
    for kind in (
        *(Networks, Checkpoints, Estimators, Stores, Idx),
        *(Archives, Folders, Settings, Studies, Pictures, Arrays, Tables, Rows),
        *(PictureFolders, DecodedFiles, Runs),
    )
}
LONGEST = 1.0  # seconds
PATIENCE = 10.0  # seconds after which it counts as a hang
SPARE = 64 * 2**20  # bytes beyond twice the file


@dataclass(frozen=True)
class Reading:
    """What came of a mutant.

    Attributes
    ----------
    number : int
    result : str
        "refused", "same" or "other" (see `kinds`); or a fault: "exception", "believed", "slow", "memory", and from
        outside "signal" and "hang".
    detail : str
        What was said.
    seconds : float
    grown : int
        Bytes by which the peak of the resident memory rose.
    """

    number: int
    result: str
    detail: str
    seconds: float = 0.0
    grown: int = 0


FAULTS = ("exception", "believed", "slow", "memory", "signal", "hang")


def mutant_of(kind: Kind, seed: int, number: int) -> Mutant:
    """Return a mutant by its number."""
    return kind.mutant(random.Random(f"{kind.name} {seed} {number}"))


def read(kind: Kind, mutant: Mutant, number: int) -> Reading:
    """Read a mutant; one that took too long gets two more tries, as the machine may be busy."""
    readings = []
    for _ in range(3):
        readings.append(_read_once(kind, mutant, number))
        if (
            readings[-1].seconds < getattr(kind, "longest", LONGEST)
            or readings[-1].result == "hang"
        ):
            return readings[-1]
    return Reading(number, "slow", f"{min(one.seconds for one in readings):.1f} s")


class Hang(BaseException):
    """Reading takes too long to wait for; the package catches no such exception."""


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise Hang in the main thread after so many seconds."""

    def ring(_number: int, _frame: object) -> None:
        raise Hang

    usual = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def _read_once(kind: Kind, mutant: Mutant, number: int) -> Reading:
    size = sum(map(len, mutant.files.values()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, mutant.files)
        before = resident()
        start = time.perf_counter()
        detail = ""
        try:
            with warnings.catch_warnings(), alarm(PATIENCE):
                warnings.simplefilter("ignore")
                result = kind.read(folder, mutant)
        except FastMLPError as error:
            result, detail = "refused", str(error)
        except Believed as error:
            result, detail = "believed", str(error)
        except Hang as error:
            result, detail = "hang", last_lines(error)
        except Exception as error:
            result, detail = "exception", last_lines(error)
        seconds = time.perf_counter() - start
    grown = peak() - before
    if grown > 2 * size + SPARE:
        result, detail = "memory", f"{grown / 2**20:.0f} MB for {size} bytes; {result}: {detail}"
    return Reading(number, result, detail, seconds, grown)


def last_lines(error: BaseException) -> str:
    """Return where an error was raised in the package, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/fastmlp/" in frame.filename] or frames
    place = f"{ours[-1].filename.rpartition('/fastmlp/')[2]}:{ours[-1].lineno} {ours[-1].name}"
    return f"{place}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"


def resident() -> int:
    """Return the bytes of resident memory, and let `peak` count from there."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return peak()


def peak() -> int:
    """Return the largest resident memory in bytes."""
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) * 1024
