"""``fastmlp predict``: a stored network's answer for pictures in files."""

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets.transforms import resize
from fastmlp.errors import DataError
from fastmlp.network import load

MODES = {1: "L", 3: "RGB"}  # channels to Pillow's name for them


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(model: Path, image: tuple[Path, ...]) -> None:
    """Tell the likeliest class of images in files.

    MODEL is a model.safetensors that train wrote. Each IMAGE is turned to grey or colour and scaled
    to the network's size, as in training, and given a line: its path, the likeliest class and that
    class's probability, with tabs between them.
    """
    network = load(model)
    shape = tuple(network.shape)
    rows = np.stack([_pixels(path, shape) for path in image])
    shares = network.predict_proba(rows)
    for path, share in zip(image, shares, strict=True):
        best = int(share.argmax())
        click.echo(f"{path}\t{network.classes[best]}\t{share[best]:.4f}")


def _pixels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a picture as a Dataset would hold it: uint8 [channels * height * width]."""
    from PIL import Image, ImageOps

    channels, *size = shape
    if channels not in MODES:
        raise DataError(f"model: takes {channels} channels, expected 1 (grey) or 3 (colour)")
    if not path.is_file():  # a pipe would keep us waiting
        raise DataError(f"{path}: found no such file, expected an image")
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert(MODES[channels])
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {error}; expected an image that Pillow reads") from error
    planes = np.asarray(picture).reshape(picture.height, picture.width, channels)
    flat = np.ascontiguousarray(planes.transpose(2, 0, 1)).reshape(1, -1)
    rows, _ = resize(flat, (channels, picture.height, picture.width), (size[0], size[1]))
    return rows.reshape(-1)
