"""A process beside this one that draws its pictures: it imports Matplotlib while this one has other things to do.

That import and a first figure take as long as a short training with all that it needs. The process gets functions of
`fastmlp.reporting` with their arguments, and answers with the bytes of PNG files, which are written here: whatever a
disk or a folder refuses is refused, and told, as without it. Whatever it does instead of answering, it is done
without: its pictures are drawn here then, with the same bytes.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from fastmlp.machine.cores import usable_cores
from fastmlp.machine.files import write_atomic

Draw = Callable[..., None]
"""What draws a picture: `draw_here`, or the method of a `Beside`."""

ANSWER_SECONDS = 60.0
"""How long a picture may take before it is drawn here."""

END_SECONDS = 2.0
"""How long the process may take to end by itself."""

MARK = b"picture"
HEADER = struct.Struct(f"<{len(MARK)}sQ")  # of an answer: the mark, and how many bytes follow
# It finds modules where this process finds them, and not in the folder that it was started in. An import makes no
# garbage, but looking for some takes a tenth of its time.
PROGRAM = """
import gc, pickle, sys
gc.disable()
sys.path[:] = pickle.load(sys.stdin.buffer)
from fastmlp.machine.interrupts import begin_child
begin_child(int(sys.argv[1]))
from fastmlp.reporting.beside import serve
serve()
"""


def draw_here(function: Callable[..., None], *arguments: Any, path: Path, **options: Any) -> None:
    """Draw a picture in this process; as `Beside.draw`."""
    function(*arguments, path=path, **options)


class Beside:
    """A process that draws pictures, until the ``with`` block ends.

    There is none if Matplotlib is loaded here already, with a single usable core, or if the system starts none.

    Parameters
    ----------
    wanted : bool
        Whether pictures will be drawn.

    Attributes
    ----------
    process : subprocess.Popen or None
        The process.
    """

    def __init__(self, wanted: bool = True) -> None:
        useful = wanted and "matplotlib" not in sys.modules and usable_cores() > 1
        self.process = _started() if useful else None
        if self.process is not None:
            try:
                _send(self.process, sys.path)
            except Exception:  # it has ended already
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def draw(
        self, function: Callable[..., None], *arguments: Any, path: Path, **options: Any
    ) -> None:
        """Draw a picture and write its file.

        Parameters
        ----------
        function : callable
            One of a module, such as `fastmlp.reporting.figures.draw_curves`. Its `path` may be a BytesIO.
        *arguments, **options
            Its other arguments, which can be pickled.
        path : Path
            The PNG file; an existing one stays whole until the new one is.

        Raises
        ------
        OSError
            If the file cannot be written; the error names it.
        """
        picture = self._picture(function, arguments, options)
        if picture is None:
            draw_here(function, *arguments, path=path, **options)
        else:
            write_atomic(path, picture)

    def close(self) -> None:
        """Let the process end, and wait for that."""
        process, self.process = self.process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what it did not read
                pipe.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _picture(
        self, function: Callable[..., None], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> bytes | None:
        """Return the bytes of a picture, or end the process if it does not answer with one."""
        process = self.process
        if process is None:
            return None
        watch = threading.Timer(ANSWER_SECONDS, process.kill)
        picture = None
        try:
            watch.start()
            _send(process, (function, arguments, options))
            mark, size = HEADER.unpack(process.stdout.read(HEADER.size))
            if mark == MARK:
                answer = process.stdout.read(size)
                picture = answer if len(answer) == size else None
        except Exception:  # of any kind: the picture is drawn here
            pass
        finally:
            watch.cancel()
            if (
                picture is None
            ):  # also after Ctrl-C: its answer would be taken for that to another question
                self.close()
        return picture


def _started() -> Any:
    """Return a process that draws, or None if the system starts none or this program is no Python."""
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    flags = ["-P", *(["-B"] if sys.dont_write_bytecode else [])]
    flags += [f"-W{one}" for one in sys.warnoptions]
    with suppress(Exception):  # of any kind: it is done without
        return subprocess.Popen(
            [sys.executable, *flags, "-c", PROGRAM, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows has such flags
        )
    return None


def _send(process: Any, message: Any) -> None:
    process.stdin.write(pickle.dumps(message))
    process.stdin.flush()


class _Ending(io.TextIOBase):
    """Standard output and error of a process that draws: instead of a word that nobody would read, it ends.

    This process then draws, and says the same.
    """

    def write(self, text: str, /) -> NoReturn:
        raise SystemExit(1)


def serve() -> None:
    """Answer the questions of standard input, until it ends."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr = _Ending()
    # What drawing needs, before it is asked for.
    from PIL import Image, ImageDraw, ImageFont  # noqa: F401

    from fastmlp.reporting import displays, figures, mosaics  # noqa: F401

    while True:
        try:
            function, arguments, options = pickle.load(questions)
        except EOFError:
            os._exit(0)  # at once, without tidying up
        picture = io.BytesIO()
        function(*arguments, path=picture, **options)
        content = picture.getvalue()
        answers.write(HEADER.pack(MARK, len(content)) + content)
        answers.flush()
