"""One display of progress: a bar on a terminal, lines elsewhere."""

import sys

import pytest

from fastmlp.machine.streams import say
from fastmlp.reporting.progress import ProgressDisplay

Capture = pytest.CaptureFixture[str]


def test_lines_where_there_is_no_terminal(capsys: Capture) -> None:
    with ProgressDisplay(2, "epoch") as display:
        display.show(1, "first", "beside")
        say("between")
        display.show(2, "second", "beside")
    assert capsys.readouterr() == ("", "first\nbetween\nsecond\n")


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with ProgressDisplay(2, "epoch") as display:
        display.show(1, "first", "loss 3")
        display.show(2, "second", "loss 2")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "0/2 [00:00<?, ?epoch/s]" in shown.err
    assert "2/2 [" in shown.err
    assert "loss 2" in shown.err
    assert "second" not in shown.err
    assert shown.err.endswith("\n")


def test_a_bar_without_a_clock_that_goes_on(capsys: Capture) -> None:
    with ProgressDisplay(9, "trial", done=7, bar=True, timed=False) as display:
        display.show(8, "eighth", "0 failed")
        display.show(9, "ninth", "1 failed")
    shown = capsys.readouterr().err
    assert "| 7/9 trials" in shown
    assert "| 9/9 trials, 1 failed" in shown
    assert "<" not in shown


def test_a_resumed_run_does_not_count_what_it_found_in_its_rate(capsys: Capture) -> None:
    with ProgressDisplay(1000, "epoch", bar=True) as display:
        display.show(901, "", "")
        assert display._bar.n - display._bar.initial == 1
    assert "901/1000" in capsys.readouterr().err
