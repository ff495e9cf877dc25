"""Signals that end work as Ctrl-C does."""

import ctypes
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from fastmlp.machine import interrupts
from fastmlp.machine.interrupts import ended_by_signals, held_interrupt, interrupting_signals

pytestmark = pytest.mark.skipif(os.name != "posix", reason="raises POSIX signals")
DEADLY = [signal.SIGTERM, signal.SIGHUP] if os.name == "posix" else []


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    """Begin with the handlers of a program that sets none, and see that they are set again."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in DEADLY}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) is signal.SIG_DFL
        signal.signal(number, handler)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT, *DEADLY])
def test_the_first_is_held_and_the_second_is_raised_at_once(number: signal.Signals) -> None:
    steps = []
    with ended_by_signals():
        with pytest.raises(KeyboardInterrupt), held_interrupt():  # noqa: PT012
            signal.raise_signal(number)
            steps.append("first")
        with pytest.raises(KeyboardInterrupt), held_interrupt():  # noqa: PT012
            signal.raise_signal(number)
            signal.raise_signal(number)
            steps.append("never")
    assert steps == ["first"]


def test_each_signal_of_a_session_that_ends_is_held_once() -> None:
    with ended_by_signals(), pytest.raises(KeyboardInterrupt), held_interrupt():  # noqa: PT012
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        reached = True
    assert reached


def test_what_a_program_handles_or_ignores_stays_its_own() -> None:
    came = []
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    with ended_by_signals():
        assert interrupting_signals() == [signal.SIGINT]
        with held_interrupt():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
    assert came == [signal.SIGTERM]
    for number in DEADLY:
        signal.signal(number, signal.SIG_DFL)


def test_libraries_leave_deadly_signals_alone() -> None:
    assert interrupting_signals() == [signal.SIGINT]


def test_other_threads_touch_no_handler() -> None:
    def work() -> None:
        with ended_by_signals(), held_interrupt():
            found.append(interrupting_signals())

    found: list[list[signal.Signals]] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]


def test_on_windows_a_child_waits_for_its_parent_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # The number of a parent that has ended stays there, so that the number alone tells nothing.
    calls: list[object] = []

    class Kernel32:
        class OpenProcess:
            def __new__(cls, *given: object) -> int:  # type: ignore[misc]
                calls.append(given)
                return 2**40 if given[2] == 17 else 0

        def WaitForSingleObject(self, handle: ctypes.c_void_p, most: int) -> None:
            calls.append((handle.value, most))

    class Ended(Exception):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(ctypes, "WinDLL", lambda name: Kernel32(), raising=False)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended, match="1"):
        interrupts._end_with(17)
    assert calls == [(0x00100000, False, 17), (2**40, 0xFFFFFFFF)]
    with pytest.raises(Ended, match="1"):  # it has ended already
        interrupts._end_with(18)
    assert len(calls) == 3


def test_the_signals_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    spec = importlib.util.spec_from_file_location("interrupts_of_windows", interrupts.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for number in (signal.SIGTERM, signal.SIGUSR1):  # the latter as for a closed window
        with pytest.raises(KeyboardInterrupt), module.ended_by_signals():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
