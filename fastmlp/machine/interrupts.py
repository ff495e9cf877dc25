"""Ctrl-C between two epochs instead of within one, and other signals that end work as Ctrl-C does.

A signal interrupts if its handler is Python's for Ctrl-C, `signal.default_int_handler`. That is so for SIGINT, unless
the program says otherwise, and for SIGTERM, SIGHUP and SIGBREAK within `ended_by_signals`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = [
    getattr(signal, name)
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
        "SIGBREAK",
    )  # the last is Windows's, as for a closed window
    if name in dir(signal)
]
USUAL = signal.default_int_handler
_SYNCHRONIZE, _FOR_EVER = 0x00100000, 0xFFFFFFFF  # of Windows


def interrupting_signals() -> list[signal.Signals]:
    """Return the signals that raise KeyboardInterrupt here: none but in the main thread, which gets them."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in _SIGNALS if signal.getsignal(number) is USUAL]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within the block SIGTERM, SIGHUP and SIGBREAK, if they would kill the process, interrupt as Ctrl-C does."""
    is_main = threading.current_thread() is threading.main_thread()
    deadly = [one for one in _SIGNALS if is_main and signal.getsignal(one) is signal.SIG_DFL]
    for number in deadly:
        signal.signal(number, USUAL)
    try:
        yield
    finally:
        for number in deadly:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def held_interrupt() -> Iterator[None]:
    """Hold the first Ctrl-C back and raise it at the end of the block; a second one is raised at once.

    Raised within an epoch, it would lose the numbers of that epoch, while the weights have already changed.
    Nothing is held outside the main thread, since other threads get no signals, or if the program itself
    handles Ctrl-C. Of several kinds of signals, such as those at the end of a session, each is held once.
    """
    came = False

    def hold(number: int, _frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.signal(number, USUAL)

    held = interrupting_signals()
    for one in held:
        signal.signal(one, hold)
    try:
        yield
    finally:
        for one in held:
            signal.signal(one, USUAL)
    if came:
        raise KeyboardInterrupt


def begin_child(parent: int) -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the parent of this one, and end soon after it.

    A parent that is killed can tell its children nothing. This is here, far from all that takes long to import, so that
    a child that has just been started ends, too.

    Parameters
    ----------
    parent : int
        Number of the parent process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    if not _waited_on_windows(parent):
        while os.getppid() == parent:
            time.sleep(0.2)
    os._exit(1)


def _waited_on_windows(parent: int) -> bool:
    """Return whether this is Windows, after the parent has ended: its number stays that of the parent there."""
    if sys.platform != "win32":
        return False
    kernel = ctypes.WinDLL("kernel32")
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(_SYNCHRONIZE, False, parent)
    if handle:  # otherwise it has ended already
        kernel.WaitForSingleObject(ctypes.c_void_p(handle), _FOR_EVER)
    return True
