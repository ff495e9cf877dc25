"""How a Dataset shows itself, and how its rows are taken: by index, by slice, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.transforms import is_rows
from fastmlp.errors import DataError, shown
from fastmlp.reporting.showing import Showing, to_frame

if TYPE_CHECKING:
    import pandas

    from fastmlp.reporting.displays import PicturesDisplay

SHOWN_CLASSES, SHOWN_PICTURES = 8, 20


class DatasetShowing(Showing):
    """What `fastmlp.Dataset` shows."""

    images: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    name: str

    if TYPE_CHECKING:

        def take(self, indices: npt.ArrayLike) -> Self:
            """Return the images at some indices."""
            ...

    @overload
    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], Any]: ...

    @overload
    def __getitem__(self, index: slice | npt.ArrayLike) -> Self: ...

    def __getitem__(self, index: Any) -> Any:
        """Return a row as (image, label), or a part of the data for a slice, a mask or an array of indices.

        Parameters
        ----------
        index : int, slice, bool array-like [N] or int array-like
            Negative ones count from the end.

        Returns
        -------
        (ndarray, int or ndarray) or Dataset
            An image is [channels, height, width], a row of a table [D].

        Raises
        ------
        IndexError
            For a single index that is outside.
        DataError
            If no row is left, or the indices are none.
        """
        count = len(self.images)
        if isinstance(index, int | np.integer) and not isinstance(index, bool | np.bool_):
            if not -count <= index < count:
                raise IndexError(f"index: found {index}, expected {-count}..{count - 1}")
            row = self.images[index]
            label = self.labels[index]
            image = row if is_rows(self.shape) else row.reshape(self.shape)
            return image, label.item() if label.ndim == 0 else label
        if isinstance(index, slice):
            return self.take(np.arange(count)[index])
        rows = np.asarray(index)
        if rows.dtype == bool:
            if rows.shape != (count,):
                raise DataError(f"index: found a mask of {list(rows.shape)}, expected [{count}]")
            return self.take(np.flatnonzero(rows))
        if rows.dtype.kind not in "iu":
            raise DataError(
                f"index: found {shown(index)}, expected whole numbers, a slice or a mask"
            )
        return self.take(np.where(rows < 0, rows + count, rows))

    def __iter__(self) -> Iterator[tuple[npt.NDArray[Any], Any]]:
        """Yield each row as (image, label)."""
        return (self[number] for number in range(len(self.images)))

    def _line(self) -> str:
        return f"{self.name}: {self._content()}, {self._meaning()}"

    def _content(self) -> str:
        count, kind = len(self.images), self.images.dtype
        if is_rows(self.shape):
            return f"{count:,} rows of {self.images.shape[1]:,} numbers ({kind})"
        return f"{count:,} images of {' x '.join(map(str, self.shape))} ({kind})"

    def _meaning(self) -> str:
        task = getattr(self, "task", "classification")
        what = {"multilabel": "label", "regression": "target"}.get(task, "class")
        plural = "es" if what == "class" else "s"
        return f"{len(self.classes):,} {what}{plural if len(self.classes) != 1 else ''}"

    def _facts(self) -> dict[str, str]:
        facts = {"name": self.name, "content": self._content()}
        counts = None
        if self.labels.ndim == 1:
            counts = np.bincount(self.labels, minlength=len(self.classes))
        names = [
            name if counts is None else f"{name} ({counts[number]:,})"
            for number, name in enumerate(self.classes[:SHOWN_CLASSES])
        ]
        more = len(self.classes) - SHOWN_CLASSES
        told = ", ".join(names) + (f" and {more:,} more" if more > 0 else "")
        return {**facts, self._meaning(): told}

    def _picture(self) -> PicturesDisplay | None:
        return None if is_rows(self.shape) else self._pictures()

    def _pictures(self) -> PicturesDisplay:
        from fastmlp.reporting.displays import PicturesDisplay

        few = range(min(SHOWN_PICTURES, len(self.images)))
        titles = [self.classes[self.labels[row]] for row in few] if self.labels.ndim == 1 else []
        return PicturesDisplay(self.images[: len(few)].reshape(-1, *self.shape), titles)

    def plot(self, ax: Any = None) -> PicturesDisplay:
        """Draw the first images with their classes; see `fastmlp.reporting.displays.PicturesDisplay`.

        Parameters
        ----------
        ax : Axes, optional
            Where; by default in a new figure.

        Returns
        -------
        PicturesDisplay
            Its ``figure_`` and ``axes_`` are what was drawn.
        """
        return self._pictures().plot(ax)

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas data frame with a row an image: a column for each value, and ``label``, its class.

        Several labels or targets a row have a column each, of their names.

        Raises
        ------
        ConfigError
            If pandas is not installed.
        """
        columns: dict[str, Any] = {f"x{n}": column for n, column in enumerate(self.images.T)}
        if self.labels.ndim == 1:
            columns["label"] = [self.classes[label] for label in self.labels]
        else:
            columns |= dict(zip(self.classes, self.labels.T, strict=True))
        return to_frame(columns)
