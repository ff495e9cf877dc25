"""The command line: a module for each command, and `main`, which runs them.

A command's module is imported when the command is asked for, and imports what takes long to load (Numba, scikit-learn,
Matplotlib) inside its functions, so that ``fastmlp --help`` and wrong input are answered at once.

Exit codes: 0 done; 1 the training diverged; 2 wrong input, with one line that says what to do, or standard output
that could not be written, after the work is done; 130 interrupted, with the results so far saved: by Ctrl-C, SIGTERM or
SIGHUP. What cannot be written to standard error is dropped.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any, TextIO

import click

from fastmlp._version import __version__
from fastmlp.cli.results import INTERRUPTED
from fastmlp.errors import FastMLPError, line_of, printable
from fastmlp.machine.interrupts import ended_by_signals
from fastmlp.machine.streams import best_effort_streams

WRONG_INPUT = 2
# Commands in the order of the help: the name, and where the command is in the module of fastmlp.cli.
COMMANDS = {
    "train": "train.train",
    "lr": "lr.learning_rate",
    "search": "search.search",
    "runs": "runs.runs",
    "compare": "compare.compare",
    "reproduce": "reproduce.reproduce",
    "predict": "predict.predict",
    "evaluate": "evaluate.evaluate",
    "show": "show.show",
    "export": "export.export",
    "data": "data.data",
    "bench": "bench.bench",
    "doctor": "doctor.doctor",
    "docs": "docs.docs",
}


class _Commands(click.Group):
    """Commands that are imported when asked for, and whose errors are all said.

    click takes the end of any file for Ctrl-C, and any pipe for its output.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(importlib.import_module(f"fastmlp.cli.{module}"), name)
        return command

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (EOFError, BrokenPipeError) as error:
            raise click.ClickException(line_of(error)) from error


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def fastmlp(context: click.Context) -> None:
    """Train multilayer perceptrons on a CPU, fast and reproducibly."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. The ``fastmlp`` script calls this.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    with best_effort_streams() as output, ended_by_signals(), warnings.catch_warnings():
        warnings.showwarning = _print_warning
        code = _run(arguments)
        output.flush()
        if output.is_lost:
            _print_line("error", f"standard output: cannot be written: {output.failure}")
            code = code or WRONG_INPUT
    return code


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code, after a line that says what is wrong if something is."""
    try:
        return fastmlp.main(arguments, "fastmlp", standalone_mode=False) or 0
    except click.ClickException as error:
        message = error.format_message()
    except FastMLPError as error:
        message = str(error)
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        message = f"{error.filename}: {error.strerror}" if named else str(error)
    except MemoryError as error:
        message = f"out of memory: {error}; try fewer or narrower layers, or a smaller --size"
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    _print_line("error", message)
    return WRONG_INPUT


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, without its place in the source."""
    _print_line("warning", str(message))


def _print_line(kind: str, message: str) -> None:
    print(printable(f"fastmlp: {kind}: {' '.join(message.split())}"), file=sys.stderr)
