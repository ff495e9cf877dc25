"""Arrays in files: NPZ archives and NPY files, with images (or rows) and labels found by their usual names.

An archive has images and labels, or those of a training part, and perhaps of a validation and a test part, each under
one of the usual names: ``images`` and ``labels``, ``X`` and ``y``, ``x_train``, ``y_train``, ``x_test``, ``y_test``.
The labels of an NPY file are in another one beside it, named in the same way, or in the one that the option `label`
names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.dataset import Dataset
from fastmlp.datasets.numpy_files import StoredArray, arrays_in
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.splits import Parts
from fastmlp.errors import DataError, shown

IMAGES = ("images", "image", "x", "data", "features", "inputs", "pictures", "pixels", "arr 0")
LABELS = ("labels", "label", "y", "targets", "target", "arr 1")
CLASSES = ("classes", "class names", "label names", "target names")
PARTS = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
WHOLE = "whole"
EXPECTED = (
    "images and labels under their usual names: images and labels, X and y, or x_train, y_train, "
    "x_test, y_test"
)


def read(path: Path, options: OwnOptions) -> Parts:
    """Read an NPZ archive, or an NPY file and its labels.

    Parameters
    ----------
    path : Path
    options : OwnOptions
        Of which `label` (the name of an array in the archive, or the path of an NPY file) and `task` are read.

    Returns
    -------
    Parts
        What `Dataset.from_arrays` makes of the arrays. A part that there are no arrays of is None.

    Raises
    ------
    DataError
        If the file is damaged or holds Python objects, or if it is not clear which arrays are images and labels.
    """
    pairs, classes = _pairs(path, options)
    read_labels = {part: labels.read() for part, (_, labels) in pairs.items()}
    if classes is None and options.task in (None, "classification"):
        read_labels, classes = _named(read_labels)
    datasets = {
        part: Dataset.from_arrays(
            images.read(), read_labels[part], classes=classes, name=path.name, task=options.task
        )
        for part, (images, _) in pairs.items()
    }
    train = datasets.pop(WHOLE if WHOLE in datasets else "train")
    if train.task == "classification" and len(train.classes) < 2:
        raise DataError(
            f"{path}: found one class, {train.classes[0]!r}, in all labels, expected at least two"
        )
    for part, one in datasets.items():
        if (one.shape, one.classes) != (train.shape, train.classes):
            raise DataError(
                f"{path}: found {one.shape} images of {shown(one.classes)} in the {part} part, expected "
                f"{train.shape} of {shown(train.classes)} as in the training part"
            )
    return Parts(train, datasets.get("valid"), datasets.get("test"))


class _Pair(NamedTuple):
    """The arrays of a part."""

    images: StoredArray
    labels: StoredArray


def _pairs(path: Path, options: OwnOptions) -> tuple[dict[str, _Pair], list[str] | None]:
    """Return the arrays of each part, `WHOLE` where there are none, and the names of the classes if there are any."""
    arrays = arrays_in(path)
    is_alone = path.stem in arrays and len(arrays) == 1
    roles = {name: _role(name) for name in arrays}
    if options.label is not None:
        return _with_label(path, options.label, arrays), None
    if is_alone and path.suffix.lower() == ".npy":
        arrays, roles = _beside(path, arrays)
    found: dict[tuple[str, str], str] = {}
    for name, role in roles.items():
        if role is None:
            continue
        if role in found:
            raise DataError(
                f"{path}: found {found[role]!r} and {name!r}, either of which could be the {role[1]}, expected "
                f"one of them; save only that one: numpy.savez(path, images=..., labels=...)"
            )
        found[role] = name
    parts = {part for part, kind in found if kind in ("images", "labels")}
    if not parts or (WHOLE in parts and len(parts) > 1) or not parts & {WHOLE, "train"}:
        raise DataError(f"{path}: found {_told(arrays)}, expected {EXPECTED}{_advice(arrays)}")
    for part in parts:
        for kind in ("images", "labels"):
            if (part, kind) not in found:
                there = found[part, "labels" if kind == "images" else "images"]
                raise DataError(
                    f"{path}: found {_told(arrays)}, expected the {kind} of {there!r}, too: "
                    f"{EXPECTED}{_advice(arrays)}"
                )
    pairs = {
        part: _Pair(arrays[found[part, "images"]], arrays[found[part, "labels"]])
        for part in (WHOLE, *PARTS)
        if part in parts
    }
    names = found.get((WHOLE, "classes"))
    return pairs, None if names is None else _texts(arrays[names].read())


def _with_label(
    path: Path, label: str | tuple[str, ...], arrays: Mapping[str, StoredArray]
) -> dict[str, _Pair]:
    """Return the images and the labels, of which those are named."""
    if not isinstance(label, str):
        raise DataError(f"label: found {shown(label)} with {path}, expected the name of one array")
    if label in arrays:
        rest = {name: one for name, one in arrays.items() if name != label}
        labels = arrays[label]
    else:
        rest = dict(arrays)
        file = next((one for one in (Path(label), path.parent / label) if one.is_file()), None)
        if file is None:
            raise DataError(
                f"label: found {label!r}, expected an array in {path} ({', '.join(arrays)}) or an NPY file of labels"
            )
        inside = arrays_in(file)
        if len(inside) != 1:
            raise DataError(f"label: found {_told(inside)} in {file}, expected one array of labels")
        (labels,) = inside.values()
    images = [name for name in rest if _role(name) == (WHOLE, "images")] or list(rest)
    if len(images) != 1:
        raise DataError(
            f"{path}: found {_told(rest)} beside the labels {label!r}, expected one array of images; save only "
            "that one: numpy.savez(path, images=..., labels=...)"
        )
    return {WHOLE: _Pair(rest[images[0]], labels)}


def _beside(
    path: Path, arrays: Mapping[str, StoredArray]
) -> tuple[dict[str, StoredArray], dict[str, tuple[str, str] | None]]:
    """Return the arrays of the NPY files in a folder that belong to one of them by their names."""
    role = _role(path.stem)
    if role is None or role[1] != "images" or role[0] not in (WHOLE, "train"):
        raise DataError(
            f"{path}: found one array, expected labels, too; say where they are with label='labels.npy', or name the "
            "files as usual: images.npy and labels.npy, x_train.npy and y_train.npy"
        )
    found = dict(arrays)
    for other in sorted(path.parent.glob("*.npy")):
        found_role = _role(other.stem)
        if other.stem in found or found_role is None:
            continue
        is_whole = found_role[0] == WHOLE
        if is_whole == (role[0] == WHOLE) and found_role != role:
            found |= arrays_in(other)
    return found, {name: _role(name) for name in found}


def _role(name: str) -> tuple[str, str] | None:
    """Return the part that an array's usual name says, and whether it is of images, labels or classes."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    words = " ".join(re.split(r"[\W_]+", words)).strip()
    part = WHOLE
    for one, names in PARTS.items():
        for word in names:
            if words.startswith(f"{word} ") or words.endswith(f" {word}"):
                part, words = one, words.removeprefix(f"{word} ").removesuffix(f" {word}")
    for kind, known in (("images", IMAGES), ("labels", LABELS), ("classes", CLASSES)):
        if words in known:
            return part, kind
    return None


def _named(
    labels: Mapping[str, npt.NDArray[Any]],
) -> tuple[dict[str, npt.NDArray[Any]], list[str] | None]:
    """Return labels as numbers of classes that are named by the values there are in any part."""
    if any(one.dtype.kind not in "iuU" or one.shape[:1] != (one.size,) for one in labels.values()):
        return dict(labels), None  # numbers to predict, several labels a row, or what is refused
    values = [one.reshape(-1) for one in labels.values()]
    if len({one.dtype.kind == "U" for one in values}) > 1:
        return dict(labels), None
    known = np.unique(np.concatenate(values))
    numbers = (np.searchsorted(known, one) for one in values)
    return dict(zip(labels, numbers, strict=True)), [str(value) for value in known]


def _texts(names: npt.NDArray[Any]) -> list[str]:
    return [str(name) for name in names.reshape(-1)]


def _told(arrays: Mapping[str, StoredArray]) -> str:
    """Return the names and shapes of some arrays, in words."""
    if not arrays:
        return "no arrays"
    first = [f"{name!r} {one.dtype} {list(one.shape)}" for name, one in list(arrays.items())[:6]]
    more = f" and {len(arrays) - len(first)} more" if len(arrays) > len(first) else ""
    return f"{', '.join(first)}{more}"


def _advice(arrays: Mapping[str, StoredArray]) -> str:
    """Return how to say which array holds the labels, if it seems to be one of two."""
    flat = [name for name, one in arrays.items() if len(one.shape) == 1]
    if len(arrays) == 2 and len(flat) == 1:
        return f"; if {flat[0]!r} are the labels, say label={flat[0]!r} (--label {flat[0]})"
    return ""
