"""Results that show themselves: a line for a terminal, a table for a notebook, a frame for pandas."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp.errors import ConfigError
from fastmlp.reporting.pages import embedded, render

if TYPE_CHECKING:
    import pandas

    from fastmlp.reporting.displays import Display


class Showing:
    """What a class needs to show itself: `_line`, `_facts` and, if there is one, `_picture`."""

    def _line(self) -> str:
        """Return what stands between the brackets of the repr."""
        raise NotImplementedError

    def _facts(self) -> Mapping[str, str]:
        """Return what a notebook shows, by name."""
        raise NotImplementedError

    def _picture(self) -> Display | None:
        """Return what a notebook shows below that."""
        return None

    def __repr__(self) -> str:
        """Return one short line."""
        return f"<{type(self).__name__} {self._line()}>"

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        display = self._picture()
        picture = None
        if display is not None:
            image = io.BytesIO()
            display.save(image)
            picture = embedded(image.getvalue())
        name = type(self).__name__
        return render("shown.html", name=name, facts=self._facts(), picture=picture)


def to_frame(columns: Mapping[str, Sequence[Any]]) -> pandas.DataFrame:
    """Return columns as a pandas data frame.

    Raises
    ------
    ConfigError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigError('pandas: not installed; install "fastmlp[tables]"') from None
    return pandas.DataFrame({name: list(values) for name, values in columns.items()})


def rows_to_frame(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return rows as a pandas data frame, with a column for each name in any of them."""
    names = dict.fromkeys(name for row in rows for name in row)
    return to_frame({name: [row.get(name) for row in rows] for name in names})
