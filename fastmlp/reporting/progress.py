"""Progress: a bar on a terminal or in a notebook, lines elsewhere; nothing where it cannot be written."""

import sys
from types import TracebackType
from typing import Any, Self

from fastmlp.machine.streams import aside, say


class ProgressDisplay:
    """A bar on a terminal or in a notebook, elsewhere a line for each step; ``with`` or `close` ends the bar.

    Parameters
    ----------
    total : int
        Steps there are to take.
    unit : str
        What one of them is called, such as "epoch".
    done : int
        Steps that were taken before.
    bar : bool, optional
        Whether to draw a bar; by default on a terminal and in a notebook.
    timed : bool
        Whether the bar measures the rate and the time left.
    """

    def __init__(
        self, total: int, unit: str, *, done: int = 0, bar: bool | None = None, timed: bool = True
    ) -> None:
        self._bar: Any = None
        shown = aside()
        if in_notebook() or shown.isatty() if bar is None else bar:
            from tqdm.auto import tqdm

            untimed = f"{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}} {unit}s{{postfix}}"
            self._bar = tqdm(
                total=total,
                initial=done,
                unit=unit,
                file=shown,
                dynamic_ncols=True,
                bar_format=None if timed else untimed,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the bar, so that what is printed next begins a line."""
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, line: str, beside: str) -> None:
        """Show that a step has been taken.

        Parameters
        ----------
        done : int
            Steps taken so far.
        line : str
            What is printed where there is no bar.
        beside : str
            What stands beside the bar.
        """
        if self._bar is None:
            say(line)
            return
        if self._bar.n == 0:
            self._bar.initial = done - 1  # the rate leaves out what a resumed run finds done
        self._bar.set_postfix_str(beside, refresh=False)
        self._bar.update(done - self._bar.n)


def in_notebook() -> bool:
    """Return whether this runs in the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
