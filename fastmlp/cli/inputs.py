"""What ``fastmlp predict`` is given: files, folders and patterns, as batches that a network answers."""

from __future__ import annotations

import glob
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets import Dataset
from fastmlp.datasets.numpy_files import arrays_in
from fastmlp.datasets.picture_folders import SUFFIXES as PICTURES
from fastmlp.datasets.picture_folders import files_below
from fastmlp.datasets.pictures import MODES, read_picture
from fastmlp.datasets.rows import blocks
from fastmlp.datasets.tables import SUFFIXES, raw_table
from fastmlp.datasets.transforms import is_rows
from fastmlp.errors import DataError
from fastmlp.machine.files import found_at
from fastmlp.machine.streams import warn
from fastmlp.training.levels import bring_to
from fastmlp.training.network import Network
from fastmlp.training.shapes import spell_shape

ARRAYS = (".npy", ".npz")
AT_ONCE = 1 << 22  # values of pictures, or of an array, that are answered together


@dataclass(frozen=True)
class Batch:
    """Rows that a network has answered.

    Attributes
    ----------
    files : list of str
        The file of each row.
    rows : list of int or None
        The place of each in its table or array, from 0; None for pictures.
    predicted : array [N] or [N, T]
        As of `Network.predict`.
    shares : float64 array [N, C] or None
        As of `Network.predict_proba`; None for a regression.
    """

    files: Sequence[str]
    rows: Sequence[int] | None
    predicted: NDArray[Any]
    shares: NDArray[np.float64] | None


class Inputs:
    """What a network is to answer.

    Parameters
    ----------
    network : Network
    model : Path
        Its file, for messages.
    what : sequence of Path
        Files, folders of pictures, and patterns such as ``photos/*.png``.

    Attributes
    ----------
    files : list of Path
    problems : list of str
        Why files could not be answered, one line each.
    preparing : float
        Seconds that compiling, or loading what is compiled, took before the first answer.
    """

    def __init__(self, network: Network, model: Path, what: Sequence[Path]) -> None:
        self.network, self.model = network, model
        self.problems: list[str] = []
        self.preparing = 0.0
        self._prepared = False
        self.files = [file for one in what for file in self._files_of(one)]

    def _files_of(self, path: Path) -> list[Path]:
        if path.is_dir():
            nothing = f"{path}: found no picture in the folder, expected {', '.join(PICTURES)}"
            try:
                found, closed = files_below(path)
            except DataError as error:
                found, closed = [], [str(error)]
            if closed:
                self.problems += closed
                return found
        elif not path.exists() and glob.has_magic(str(path)):
            found = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]
            found = [one for one in found if one.is_file()]
            nothing = f"{path}: found no file of this pattern, expected at least one"
        else:
            return [path]
        if not found:
            self.problems.append(nothing)
        return found

    def answers(self) -> Iterator[Batch]:
        """Yield the answers, in the order of the files; `problems` grows by those that have none.

        Raises
        ------
        DataError
            If the network takes no pictures, and a file is none of a table or an array.
        """
        pictures: list[Path] = []
        for file in self.files:
            name = file.name.lower()
            read = next((READERS[ends] for ends in READERS if name.endswith(ends)), None)
            if read is None:
                self._check_pictures()
                pictures.append(file)
                if len(pictures) * self.network.sizes[0] < AT_ONCE:
                    continue
            yield from self._of_pictures(pictures)
            pictures = []
            if read is not None:
                yield from self._of_file(file, read)
        yield from self._of_pictures(pictures)

    def _check_pictures(self) -> None:
        """Raise a DataError unless the network takes pictures."""
        channels, _, width = self.network.shape
        if channels not in MODES:
            raise DataError(
                f"{self.model}: takes {channels} channels, expected 1 (grey) or 3 (colour)"
            )
        if is_rows(self.network.shape):
            raise DataError(
                f"{self.model}: takes rows of {width} values, expected a network that was trained on pictures: "
                f"Dataset.from_arrays(..., shape=(channels, height, width))"
            )
        try:
            bring_to(self.network.levels, np.zeros((0, 1), np.uint8))
        except DataError as error:
            raise DataError(f"{self.model}: {error}") from None

    def _of_pictures(self, files: Sequence[Path]) -> Iterator[Batch]:
        channels, height, width = self.network.shape
        names, pictures = [], []
        for file in files:
            try:
                pictures.append(read_picture(file, channels, (height, width)).ravel())
                names.append(str(file))
            except DataError as error:
                self.problems.append(str(error))
        if pictures:
            yield self._answered(names, None, bring_to(self.network.levels, np.stack(pictures)))

    def _of_file(
        self, file: Path, read: Callable[[Path, Network], NDArray[Any]]
    ) -> Iterator[Batch]:
        if not file.is_file():
            self.problems.append(f"{file}: found {found_at(file)}, expected a file")
            return
        batches: list[Batch] = []
        try:
            whole = read(file, self.network)
            step = max(1, AT_ONCE // self.network.sizes[0])
            first = 0
            for block in blocks(whole, step):
                part = _as_trained(block, self.network)
                rows = range(first, first + len(part))
                first += len(part)
                batches.append(self._answered([str(file)] * len(part), rows, part))
        except (DataError, OSError) as error:
            told = str(error)
            self.problems.append(told if told.startswith(str(file)) else f"{file}: {told}")
            return
        yield from batches

    def _answered(self, files: Sequence[str], rows: Sequence[int] | None, X: NDArray[Any]) -> Batch:
        if not self._prepared:
            start = time.perf_counter()
            self.network.predict(X[:1])
            self.preparing, self._prepared = time.perf_counter() - start, True
        if self.network.task == "regression":
            return Batch(files, rows, self.network.predict(X), None)
        shares = self.network.predict_proba(X)
        single = self.network.task == "classification"
        predicted = shares.argmax(axis=1) if single else (shares > 0.5).astype(np.int64)
        return Batch(files, rows, predicted, shares)


def _array(file: Path, network: Network) -> NDArray[Any]:
    """Return the array of a file whose rows are what a network takes."""
    values = network.sizes[0]
    expected = f"rows of {values} values ({spell_shape(network.shape)})"
    found = arrays_in(file)
    fits = [
        one for one in found.values() if len(one.shape) > 1 and math.prod(one.shape[1:]) == values
    ]
    if len(fits) == 1:
        return fits[0].read()
    shapes = ", ".join(
        f"{name} {list(one.shape)}" if len(found) > 1 else str(list(one.shape))
        for name, one in found.items()
    )
    raise DataError(f"found {shapes or 'no array'}, expected one array with {expected}")


def _as_trained(part: NDArray[Any], network: Network) -> NDArray[Any]:
    """Return rows of an array as the network's rows: channels first, flattened."""
    if is_rows(network.shape) and part.ndim > 2:
        raise DataError(
            f"found pictures {list(part.shape[1:])}, expected [N, {network.sizes[0]}]: the network was trained "
            "on rows that are no pictures"
        )
    labels = np.zeros(len(part), np.int64)
    shape = None if part.ndim == 2 else network.shape
    rows = Dataset.from_arrays(part, labels, shape=shape, classes=["0", "1"], name="array")
    return rows.images


def _table(file: Path, network: Network) -> NDArray[Any]:
    """Return the rows of a table, prepared as that which a network was trained on."""
    if network.preparation is None:
        raise DataError("found a table, expected a network that was trained on one")
    where, frame = raw_table(file, network.preparation)
    rows, notes = network.preparation.apply(frame, where)
    for note in notes:
        warn(f"{file}: {note}", UserWarning)
    return rows


READERS: Mapping[tuple[str, ...], Callable[[Path, Network], NDArray[Any]]] = {
    SUFFIXES: _table,
    ARRAYS: _array,
}
