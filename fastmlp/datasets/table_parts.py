"""A table -> its parts: rows are dealt out first, and the training part alone teaches what is done with columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fastmlp.datasets import tables
from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.splits import Parts, draw_missing
from fastmlp.errors import DataError


def read(path: Path, options: OwnOptions) -> Parts:
    """Read a table, in any format of `fastmlp.datasets.table_files`, and return all three parts.

    Raises
    ------
    DataError
        If it cannot be read, or a column holds what it must not; the message names both.
    """
    where, frame = tables.raw_table(path)
    columns = tables.columns_of(where, frame, options)
    labels, every = columns.labels, np.arange(len(frame))
    given = [every[columns.part == part] for part in range(3)] if columns.part is not None else None
    train, valid, test = given or (every, every[:0], every[:0])
    drawn = draw_missing(
        train,
        [not len(valid), not len(test)],
        options,
        labels.values,
        task=labels.task,
        groups=columns.groups,
    )
    rows = (
        drawn[0],
        *(np.concatenate(pair) for pair in zip((valid, test), drawn[1:], strict=True)),
    )
    if labels.task == "classification":
        without = set(range(len(labels.classes))) - set(labels.values[rows[0]].tolist())
        if without:
            raise DataError(
                f"{path}: found no row of class {labels.classes[min(without)]!r} in the training part, expected rows "
                "of each class; choose another seed, or other parts"
            )
    preparation = columns.learn(rows[0], options)
    return Parts(*(Dataset(**columns.fields(preparation, part), name=path.name) for part in rows))
