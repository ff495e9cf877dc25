"""What a MODEL on the command line is: a file, or the folder of the run that wrote it."""

from __future__ import annotations

from pathlib import Path

from fastmlp.errors import FormatError
from fastmlp.machine.folders import CONFIG, MODEL, first_of

BEST = f"best/{MODEL}"  # of a search


def model_file(path: Path) -> Path:
    """Return the file of a model that is named by itself or by the folder of its run.

    Raises
    ------
    FormatError
        If a folder holds no model.
    """
    if not path.is_dir():
        return path
    name = first_of(path, (MODEL, BEST))
    if name is None:
        raise FormatError(f"{path}: found no {MODEL}, expected the folder of a finished run")
    return path / name


def config_file(path: Path) -> Path | None:
    """Return the config.toml of the run that a model belongs to; None if the model lies alone."""
    found = model_file(path).parent / CONFIG
    return found if found.is_file() else None
