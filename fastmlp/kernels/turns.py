"""Who compiles a function when several processes need it at once, and what a person is told.

One process compiles, the others wait and load. Its turn is a lock on a file beside the machine code, which the system
gives back however the process ends. A process that was stopped keeps it: a file that no longer grows is waited for no
longer. Whoever gets no turn compiles without one, so that a lock can cost time only.
"""

import ast
import os
import threading
import time
from contextlib import suppress

from fastmlp.machine.own_folder import OwnFolder
from fastmlp.machine.streams import say

# Seconds: from one look to the next, from one sign of life to the next, and without any before one gives up.
POLL, BEAT, PATIENCE = 0.05, 0.5, 10.0

# What parsing this text takes where `seconds_of` was measured: Python's parser is as fast as Numba's front end.
YARDSTICK, YARDSTICK_SECONDS, RUNS = "a = (b + 1) * c[d, 0]\n" * 200, 0.0019, 20


class Turn:
    """One compilation.

    Parameters
    ----------
    folder : OwnFolder or None
        Of the machine code; nobody waits without.
    name : str
        The file that is compiled.
    seconds : float or None
        How long it takes on the machine where that was measured; None if nothing is to be said.
    """

    def __init__(self, folder: OwnFolder | None, name: str, seconds: float | None) -> None:
        self._folder, self._name, self._seconds = folder, f"{name}.lock", seconds
        self._lock: int | None = None
        self._ended = threading.Event()
        self._beats: threading.Thread | None = None
        if folder is not None:
            with suppress(OSError):  # then every process compiles
                self._lock = folder.open(self._name)

    def wait(self) -> bool:
        """Wait while another process compiles; return whether one did."""
        from filelock import lock_descriptor

        waited, grown, size = False, time.monotonic(), -1
        with suppress(OSError):  # a file system without locks
            while self._lock is not None and not lock_descriptor(self._lock, blocking=False):
                found = os.fstat(self._lock)
                if not waited and self._seconds is not None:
                    say("fastmlp: waiting for another process that compiles the same kernels ...")
                waited = True
                if found.st_size != size:
                    grown, size = time.monotonic(), found.st_size
                if found.st_nlink == 0 or time.monotonic() - grown > PATIENCE:
                    self._close()  # it is done, or was stopped
                    break
                time.sleep(POLL)
        return waited

    def begin(self) -> None:
        """Say that compilation begins, and show other processes from then on that it has not stopped."""
        if self._seconds is not None:
            guess = self._seconds * pace()
            often = "in each process" if self._folder is None else "once on this machine"
            say(f"fastmlp: compiling kernels, about {max(guess, 1):.0f} s, {often} ...")
        if self._lock is not None:
            beats = threading.Thread(target=self._beat, args=(self._lock,), daemon=True)
            with suppress(RuntimeError):  # the system allows no more threads
                beats.start()
                self._beats = beats

    def _beat(self, lock: int) -> None:
        with suppress(OSError):  # a full disk
            while not self._ended.wait(BEAT):
                os.write(lock, b".")

    def end(self) -> None:
        """Let others have their turn."""
        self._ended.set()
        if self._beats is not None:
            self._beats.join()  # before another file gets the number of this one
        if self._lock is not None and self._folder is not None:
            self._folder.remove(self._name)
            self._close()

    def _close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def pace() -> float:
    """Return how many times as long as where it was measured a compilation takes now, on this machine."""
    start = time.perf_counter()
    for _ in range(RUNS):  # long enough to notice how busy the machine is
        ast.parse(YARDSTICK)
    return (time.perf_counter() - start) / RUNS / YARDSTICK_SECONDS
