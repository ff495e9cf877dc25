"""Folders of pictures as your own data; `fastmlp.datasets.picture_folders` says how they are laid out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.picture_folders import pictures_in
from fastmlp.datasets.splits import Parts


def read(path: Path, options: OwnOptions) -> Parts:
    """Read a folder of pictures.

    Parameters
    ----------
    path : Path
    options : OwnOptions
        Of which `size` and `skip_bad` are read.

    Returns
    -------
    Parts
        uint8 images, which may stay on disk. A part that has no folder is None.

    Raises
    ------
    DataError
        As `pictures_in` does.
    """
    pictures = pictures_in(path, options.size, skip_bad=options.skip_bad)
    whole = Dataset(**pictures.fields, name=path.resolve().name)
    if not pictures.ends:
        return Parts(whole)
    parts: dict[str, Dataset] = {}
    first = 0
    for part, end in pictures.ends.items():
        parts[part] = replace(whole, images=whole.images[first:end], labels=whole.labels[first:end])
        first = end
    return Parts(**parts)
