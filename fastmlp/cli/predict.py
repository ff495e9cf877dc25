"""``fastmlp predict``: the classes that a stored network gives pictures in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets.transforms import resize
from fastmlp.errors import DataError, printable
from fastmlp.machine.files import found_at
from fastmlp.reporting.tables import safe_cell
from fastmlp.training.network import load

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MODES = {1: "L", 3: "RGB"}  # channels to Pillow's name for them
OPAQUE = 255


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("image", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(model: Path, image: tuple[Path, ...]) -> None:
    """Print the likeliest class of images in files.

    MODEL is a model.safetensors that train wrote. Each IMAGE is converted to grey or colour and scaled
    to the network's size, as in training. It gets a line: its path, its likeliest class and the
    probability of that class, separated by tabs. A ' stands before what a spreadsheet would compute.
    """
    network = load(model)
    shape = tuple(network.shape)
    rows = np.stack([_pixels(path, shape) for path in image])
    shares = network.predict_proba(rows)
    for path, share in zip(image, shares, strict=True):
        best = int(share.argmax())
        cells = (printable(safe_cell(cell)) for cell in (str(path), network.classes[best]))
        click.echo("\t".join((*cells, f"{share[best]:.4f}")))


def _pixels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a picture as a Dataset holds it: uint8 [channels * height * width]."""
    from PIL import Image, ImageOps

    channels, *size = shape
    if channels not in MODES:
        raise DataError(f"model: takes {channels} channels, expected 1 (grey) or 3 (colour)")
    if not path.is_file():  # reading a pipe might never end
        raise DataError(f"{path}: found {found_at(path)}, expected an image")
    try:
        with Image.open(path) as opened:
            picture = _shown(ImageOps.exif_transpose(opened)).convert(MODES[channels])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: {error}; expected an image that Pillow reads") from error
    planes = np.asarray(picture).reshape(picture.height, picture.width, channels)
    flat = np.ascontiguousarray(planes.transpose(2, 0, 1)).reshape(1, -1)
    rows, _ = resize(flat, (channels, picture.height, picture.width), (size[0], size[1]))
    return rows.reshape(-1)


def _shown(picture: Picture) -> Picture:
    """Return a picture with 8 bits a channel and no transparent pixels.

    Pillow's own conversion would cut off larger numbers at 255 and uncover what is transparent.

    Raises
    ------
    DataError
        For pixels that are not opaque, and for numbers whose white level is unknown.
    """
    from PIL import Image

    sixteen_bits = picture.mode.startswith("I;16")
    if picture.mode in ("I", "F"):
        raise DataError(
            f"found pixels of Pillow's mode {picture.mode}, expected 8 bits a channel, or 16 "
            "bits of grey in a PNG or TIFF file; convert it first"
        )
    if picture.has_transparency_data:
        # Pillow does not say which pixels are opaque if they have 16 bits.
        full = None if sixteen_bits else picture.convert("RGBA")
        if full is None or full.getchannel("A").getextrema()[0] != OPAQUE:
            raise DataError(
                "found transparent pixels, expected opaque ones; flatten it onto a background first"
            )
        return full
    if sixteen_bits:
        return Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))  # 65535 becomes 255
    return picture
