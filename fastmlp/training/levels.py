"""The values of the images that a network was trained on, and grey levels brought to them.

A file says what it saw in its entry ``levels``: the least and the greatest value of the training images. Pictures have
grey levels 0..255. They are brought to what the network knows by one rule:

- trained on values within 0..1: divided by 255;
- within -1..1: divided by 127.5, minus 1;
- within 0..255, with some above 127: as they are; so, too, if the file does not say;
- others, such as standardised images, are refused: nothing says what white is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.datasets.rows import blocks, greatest, least
from fastmlp.errors import DataError

WHITE = 255

Levels = Sequence[float] | None


def bring_to(levels: Levels, pictures: NDArray[np.uint8]) -> NDArray[Any]:
    """Return pictures [N, D] with grey levels 0..255 as values like those that a network was trained on.

    Raises
    ------
    DataError
        If what it was trained on were no grey levels.
    """
    low, high = (0, WHITE) if levels is None else levels
    if low >= 0 and high <= 1:
        return pictures / WHITE
    if low >= -1 and high <= 1:
        return pictures / (WHITE / 2) - 1
    if low >= 0 and WHITE / 2 < high <= WHITE:
        return pictures
    raise DataError(
        f"found a network that was trained on values from {low:g} to {high:g}, expected 0..255, 0..1 or "
        "-1..1, which grey levels can be brought to; scale the pictures as in its training and call its "
        "predict in Python"
    )


def check_levels(levels: Levels, images: np.ndarray) -> None:
    """Raise a DataError for images on another scale than those that a network was trained on.

    Seen is what people divide by 255 in one place and not in the other.
    """
    if levels is None or not images.size:
        return
    low, high = levels
    if images.dtype == np.uint8:
        other = low >= -1 and high <= 1 and greatest(images) > 1
    else:
        # Dark images on the same scale are whole numbers.
        shares = high > WHITE / 2 and least(images) >= 0 and 0 < greatest(images) <= 1
        other = shares and any(bool((block % 1).any()) for block in blocks(images))
    if other:
        raise DataError(
            f"images: found values from {least(images):g} to {greatest(images):g}, expected about {low:g} to "
            f"{high:g} as in the network's training; scale them alike"
        )
