"""Streams that are missing, closed, full or gone, and the work that goes on."""

import errno
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

import pytest

from fastmlp.machine import streams
from fastmlp.machine.streams import BestEffort, best_effort_streams, say, warn


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


class FullLater(io.StringIO):
    """A stream that fails when its buffer is written."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: list[Any] = [None, closed(), Full(), FullLater(), object()]


@pytest.mark.parametrize("stream", STREAMS)
def test_nothing_that_is_reported_fails(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    say("a line")
    wrapped = BestEffort(stream)
    print("text", file=wrapped, flush=True)
    assert not wrapped.isatty()
    assert (wrapped.failure is None) == (stream is None)


def test_a_warning_that_is_an_error_stays_one() -> None:
    with pytest.raises(UnicodeWarning):
        warn("told", UnicodeWarning)
    with pytest.warns(RuntimeWarning, match="told") as caught:
        warn("told", stacklevel=1)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("how", ["sys.stderr.close()", "sys.stderr = None"])
def test_a_warning_that_cannot_be_shown_fails_nothing(how: str) -> None:
    program = f"import sys; from fastmlp.machine.streams import warn; {how}; warn('x'); print('on')"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, env=environment).stdout == b"on\n"


def test_what_a_stream_cannot_encode_is_escaped() -> None:
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, "ascii", newline="")
    print("a ü \udcff", file=BestEffort(stream), flush=True)
    assert data.getvalue() == b"a \\xfc \\udcff\n"


def test_streams_are_as_before_but_for_those_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    good, full = io.StringIO(), Full()
    monkeypatch.setattr(sys, "stdout", good)
    monkeypatch.setattr(sys, "stderr", full)
    with best_effort_streams() as output:
        print("text")
        print("text", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == (good, None)
    assert good.getvalue() == "text\n"
    assert output.failure is None


TRAIN = "import sys; from fastmlp.cli import main; sys.exit(main())"


def train(folder: Path, redirection: str) -> subprocess.CompletedProcess[str]:
    """Train with the streams that a shell gives."""
    command = f'"$0" -c "$1" train --epochs 2 --out "$2" {redirection}'
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        ["sh", "-c", command, sys.executable, TRAIN, str(folder)],
        capture_output=True,
        text=True,
        env=environment,
    )


NO_DEVICE = not Path("/dev/full").exists()


@pytest.mark.skipif(NO_DEVICE, reason="the system has no full device")
@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        ("2>/dev/full", 0),
        ("2>&-", 0),
        (">/dev/full", 2),
        (">/dev/full 2>/dev/full", 2),
        (">&- 2>&- <&-", 0),
        ("| true", 0),
    ],
)
def test_a_network_is_trained_and_saved_whoever_listens(
    redirection: str, code: int, tmp_path: Path
) -> None:
    done = train(tmp_path / "out", redirection)
    assert done.returncode == code
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written >= {
        "config.toml",
        "history.csv",
        "metrics.json",
        "model.safetensors",
        "curves.png",
    }
    # Who missed what it said may give the same command again.
    assert ("unfinished.toml" in written) == (code != 0)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    said = "fastmlp: error: standard output: cannot be written: [Errno 28] No space left on device"
    assert lines == ([said] if redirection == ">/dev/full" else [])
    if code:
        assert train(tmp_path / "out", "").returncode == 0
        assert not (tmp_path / "out" / "unfinished.toml").exists()


def test_a_notebook_is_told_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say("on a terminal")
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    output, errors = stream(), stream()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(sys, "stderr", errors)
    say("in a notebook")
    assert capsys.readouterr() == ("", "on a terminal\n")
    assert (output.getvalue(), errors.getvalue()) == ("in a notebook\n", "")


def test_a_stream_has_the_number_of_the_file_it_writes_to(tmp_path: Path) -> None:
    with open(tmp_path / "a", "w", encoding="latin-1") as file:
        wrapped = BestEffort(file)
        assert wrapped.fileno() == file.fileno()
        assert (wrapped.encoding, wrapped.writable(), wrapped.isatty()) == ("latin-1", True, False)
        assert wrapped.write("é\u2603") == 2
        with pytest.raises(TypeError, match="found bytes, expected str"):
            wrapped.write(b"x")  # type: ignore[arg-type]
    assert (tmp_path / "a").read_bytes() == b"\xe9\\u2603"
    with pytest.raises(io.UnsupportedOperation):
        BestEffort(None).fileno()
    assert BestEffort(None).encoding == "utf-8"


def test_who_closes_a_pipe_has_read_enough() -> None:
    wrapped = BestEffort(None)
    for failure, is_lost in ((None, False), (BrokenPipeError(), False), (OSError(), True)):
        wrapped.failure = failure
        assert wrapped.is_lost is is_lost
    full = BestEffort(Full())
    print("a", file=full)
    first = full.failure
    print("b", file=full, flush=True)
    assert full.failure is first is not None


def test_a_warning_on_a_closed_stream_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(warnings, "warn", fail)
    warn("told")


def test_closed_standard_descriptors_are_the_null_device(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    free = iter([0, 2, 7])
    monkeypatch.setattr(os, "open", lambda path, flags: calls.append((path, flags)) or next(free))
    monkeypatch.setattr(os, "set_inheritable", lambda *given: calls.append(given))
    monkeypatch.setattr(os, "close", lambda number: calls.append(number))
    streams._occupy_standard_descriptors()
    null = (os.devnull, os.O_RDWR)
    assert calls == [null, (0, True), null, (2, True), null, 7]
