"""held_interrupt(): Ctrl-C between two epochs instead of within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupt() -> Iterator[None]:
    """Hold the first Ctrl-C back and raise it at the end of the block; a second one is raised at once.

    Raised within an epoch, it would lose the numbers of that epoch, while the weights have already changed.
    Nothing is held outside the main thread, since other threads get no signals, or if the program itself
    handles Ctrl-C.
    """
    usual = signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return
    came = False

    def hold(_number: int, _frame: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if came:
        raise KeyboardInterrupt
