"""``fastmlp predict``: the classes that a stored network gives pictures in files."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from fastmlp.datasets.pictures import MODES, read_picture
from fastmlp.datasets.transforms import is_rows
from fastmlp.errors import DataError, printable
from fastmlp.reporting.tables import safe_cell
from fastmlp.training.levels import bring_to
from fastmlp.training.network import load


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(model: Path, image: tuple[Path, ...]) -> None:
    """Print the likeliest class of images in files.

    MODEL is a model.safetensors that train wrote. Each IMAGE is converted to grey or colour and scaled
    to the network's size, as in training. A network that was trained on values of 0..1 or -1..1
    gets its grey levels on that scale. It gets a line: its path, its likeliest class and the
    probability of that class, separated by tabs. A ' stands before what a spreadsheet would compute.
    """
    network = load(model)
    channels, height, width = network.shape
    if channels not in MODES:
        raise DataError(f"model: takes {channels} channels, expected 1 (grey) or 3 (colour)")
    if is_rows(network.shape):
        raise DataError(
            f"{model}: takes rows of {width} values, expected a network that was trained on pictures: "
            f"Dataset.from_arrays(..., shape=(channels, height, width))"
        )
    levels = np.stack([read_picture(path, channels, (height, width)).ravel() for path in image])
    try:
        rows = bring_to(network.levels, levels)
    except DataError as error:
        raise DataError(f"{model}: {error}") from None
    shares = network.predict_proba(rows)
    for path, share in zip(image, shares, strict=True):
        best = int(share.argmax())
        cells = (printable(safe_cell(cell)) for cell in (str(path), network.classes[best]))
        click.echo("\t".join((*cells, f"{share[best]:.4f}")))
