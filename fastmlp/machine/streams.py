"""Standard output and error that may be missing, closed or on a full disk: reporting never ends the work."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from fastmlp.errors import line_of, printable


class BestEffort(io.TextIOBase):
    """A stream of text that drops what cannot be written; characters that it cannot encode are escaped.

    Parameters
    ----------
    stream : text stream, optional
        What is written to, such as ``sys.stderr``, which is None in a program that has none.

    Attributes
    ----------
    failure : Exception or None
        Why something could not be written, the first time.
    """

    errors = "backslashreplace"

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.failure: Exception | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written to."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def is_lost(self) -> bool:
        """Whether somebody misses what could not be written: who closes a pipe, such as `head`, has read enough."""
        return self.failure is not None and not isinstance(self.failure, BrokenPipeError)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        try:
            return self.stream is not None and self.stream.isatty()
        except Exception:  # closed, or no such method
            return False

    def fileno(self) -> int:
        """Return the number of the file that is written to, for those who ask for the width of a terminal."""
        return super().fileno() if self.stream is None else self.stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str, /) -> int:
        """Write a text, or drop it."""
        if not isinstance(text, str):
            raise TypeError(f"found {type(text).__name__}, expected str")
        try:
            if self.stream is not None:
                encoded = text.encode(self.encoding, self.errors)
                self.stream.write(encoded.decode(self.encoding))
        except Exception as failure:
            self.failure = self.failure or failure
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or drop it."""
        try:
            if self.stream is not None:
                self.stream.flush()
        except Exception as failure:
            self.failure = self.failure or failure


def aside() -> BestEffort:
    """Return where a person is told what happens: standard error, in a notebook standard output.

    A notebook shows standard error as a fault, and a program's standard output may be read by another.
    """
    is_notebook = type(sys.stderr).__module__.partition(".")[0] == "ipykernel"
    return BestEffort(sys.stdout if is_notebook else sys.stderr)


def say(line: str) -> None:
    """Tell a person a line at once, if it can be written."""
    print(printable(line), file=aside(), flush=True)


def warn(message: str, category: type[Warning] = RuntimeWarning, stacklevel: int = 2) -> None:
    """Give a warning as `warnings.warn` does, also where standard error is closed.

    Parameters
    ----------
    message : str
    category : type of Warning
    stacklevel : int
        As for `warnings.warn`: 1 is the line that calls this.
    """
    try:
        warnings.warn(message, category, stacklevel=stacklevel + 1)
    except ValueError as error:
        if isinstance(error, Warning):  # warnings are errors here
            raise


@contextmanager
def drawing() -> Iterator[None]:
    """Let an error of drawing, such as Matplotlib's of its own settings, be a warning: all results are there.

    An OSError stays one: it names the file, and whoever makes room can give the same command again.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        warn(f"the figures could not be drawn: {line_of(error)}")


@contextmanager
def best_effort_streams() -> Iterator[BestEffort]:
    """Within the block nothing fails because standard output or error cannot be written; yield standard output.

    This is for programs: a stream that failed is None after the block, or Python would try to write the rest of it
    when it ends, and end with a code of its own.
    """
    _occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    output, errors = (BestEffort(stream) for stream in before)
    sys.stdout, sys.stderr = output, errors
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = (
            stream if wrapped.failure is None else None
            for stream, wrapped in zip(before, (output, errors), strict=True)
        )


def _occupy_standard_descriptors() -> None:
    """Open the null device as each of the descriptors 0 to 2 that is closed.

    Otherwise the next file that is opened would get that number, and what a library of C prints would be in it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
