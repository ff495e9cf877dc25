"""Pictures of a study, which need images or networks: ``figure`` entries of a section.

Each has a ``file`` (without ``.png``), a ``caption``, and a ``kind``. Networks are those of the first seed:

- ``samples``: a few images of each class, before and after normalisation.
- ``weights``: the first layer's weights as pictures, one an output, ten in a row, for each of ``sides``;
  of a convolution, its filters.
- ``features``: what each layer of the setting of `part` and `where` makes of a test image, the one in the
  row ``image`` (by default the first): a convolution's and a pool's first 64 channels as pictures, a
  linear layer's outputs as a strip.
- ``hardest``: the test images on which the loss of the setting of `part` and `where` is highest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import ConfigError
from fastmlp.reporting.style import Axes, new_figure, wrap
from fastmlp.studies.features import outputs_of
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.study import MAIN
from fastmlp.training.evaluation import score_each
from fastmlp.training.network import Network, forward

SAMPLES = 5  # of each class
IN_A_ROW, NAMED_IN_A_ROW = 10, 5  # pictures of weights, and of those with names
MOST_WEIGHTS = 100  # pictures of one network
HARDEST = (5, 5)  # rows and columns
# Of the figure of features: its width and the heights of channels (at most) and strips in inches,
# channels side by side, the most that are shown, and pixels between them.
WIDTH, TALLEST, STRIP = 6.0, 0.8, 0.25
ACROSS, MOST_CHANNELS, GAP = 16, 64, 1


def draw(lab: Laboratory, section: Mapping[str, Any], folder: Path) -> None:
    """Draw the pictures of a section."""
    for entry in section.get("figure", []):
        if entry["kind"] in KINDS:
            KINDS[entry["kind"]][0](lab, entry, folder / f"{entry['file']}.png")


# -- images ----------------------------------------------------------------------------------------


def _draw_samples(lab: Laboratory, entry: Mapping[str, Any], path: Path) -> None:
    """Draw a few images of each class, and below each what the network sees of it."""
    part, normalized = lab.data(MAIN)[0], entry.get("normalized", True)
    rows = [np.flatnonzero(part.labels == label)[:SAMPLES] for label in range(len(part.classes))]
    scaling = Normalization.of(part, "channel")
    kinds = ("as stored", "normalised") if normalized else ("as stored",)
    lines = [(name, kind) for name in range(len(part.classes)) for kind in kinds]
    with new_figure(path, 1.0 * SAMPLES + 1.4, 1.05 * len(lines) + 0.6) as figure:
        grid = figure.subplots(len(lines), SAMPLES, squeeze=False)
        for line, (label, kind) in zip(grid, lines, strict=True):
            for axes, row in zip(line, rows[label], strict=False):
                values = part.images[row].astype(np.float64)
                if kind == "normalised":
                    values = scaling.apply(values[None])[0]
                    values = (np.clip(values, -2, 2) + 2) / 4
                else:
                    values = values / 255
                _picture(axes, values, part.shape)
            for axes in line[len(rows[label]) :]:
                axes.set_axis_off()
            line[0].set_ylabel(f"{part.classes[label]}\n{kind}")
        if normalized:
            figure.supxlabel(
                "normalised: black is 2 standard deviations below the mean of its channel,\n"
                "white 2 above",
                fontsize=9,
            )


def _draw_hardest(lab: Laboratory, entry: Mapping[str, Any], path: Path) -> None:
    networks = lab.networks(entry)
    if networks:
        draw_hardest(networks[0], lab.data(entry.get("part", MAIN))[2], path)


def draw_hardest(network: Network, test: Dataset, path: Path) -> None:
    """Draw the images of a data set on which a network's loss is highest, the highest first."""
    logits = forward(network, test.images)
    losses, _ = score_each(logits, test.labels)
    found = logits.argmax(axis=1)
    hardest = np.argsort(-losses, kind="stable")[: HARDEST[0] * HARDEST[1]]
    with new_figure(path, 1.28 * HARDEST[1], 2.05 * HARDEST[0]) as figure:
        grid = figure.subplots(*HARDEST)
        for axes in grid.ravel()[len(hardest) :]:
            axes.set_axis_off()
        for axes, row in zip(grid.ravel(), hardest, strict=False):
            _picture(axes, test.images[row] / 255, test.shape)
            true, taken = (test.classes[one] for one in (test.labels[row], found[row]))
            axes.set_title(f"{true},\ntaken for\n{taken}\nloss {losses[row]:.2f}", fontsize=9)


# -- networks --------------------------------------------------------------------------------------


def _draw_weights(lab: Laboratory, entry: Mapping[str, Any], path: Path) -> None:
    networks = [(side["label"], lab.networks(side)) for side in entry["sides"]]
    draw_weights([(label, found[0]) for label, found in networks if found], path)


def draw_weights(networks: Sequence[tuple[str, Network]], path: Path) -> None:
    """Draw what each output of a network's first layer looks for, rows of pictures a network."""
    named = any(len(network.weights) == 1 for _, network in networks)
    across = NAMED_IN_A_ROW if named else IN_A_ROW
    side = 1.05 if named else 0.55
    lines = [
        (label if first == 0 else "", network, range(first, min(first + across, count)))
        for label, network in networks
        for count in [min(len(network.weights[0]), MOST_WEIGHTS)]
        for first in range(0, count, across)
    ]
    if not lines:
        return
    columns = max(len(outputs) for _, _, outputs in lines)
    with new_figure(path, max(4.0, side * columns + 1.1), 1.2 * side * len(lines) + 0.6) as figure:
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for line, (label, network, outputs) in zip(grid, lines, strict=True):
            for axes in line[len(outputs) :]:
                axes.set_axis_off()
            for axes, output in zip(line, outputs, strict=False):
                weights = network.weights[0][output]
                low, high = float(weights.min()), float(weights.max())
                shape = weights.shape if weights.ndim == 3 else network.shape
                _picture(axes, (weights - low) / (high - low or 1), shape)
                if len(network.weights) == 1:
                    axes.set_title(network.classes[output], fontsize=9)
            line[0].set_ylabel(wrap(label, 10), fontsize=9)
        figure.supxlabel(
            "each picture from its least weight (black) to its greatest (white)", fontsize=9
        )


def _draw_features(lab: Laboratory, entry: Mapping[str, Any], path: Path) -> None:
    networks = lab.networks(entry)
    if networks:
        test, row = lab.data(entry.get("part", MAIN))[2], entry.get("image", 0)
        if row >= len(test):
            raise ConfigError(
                f"figure.image: found {row}, expected a row of {len(test)} test images, from 0"
            )
        draw_features(networks[0], test.images[row], path)


def draw_features(network: Network, image: np.ndarray, path: Path) -> None:
    """Draw what each layer of a network makes of an image [D], a row of pictures a layer.

    Channels stand side by side; the outputs of a linear layer are a strip.
    """
    picture = network.normalization.apply(image[None]).reshape(1, *network.shape)
    rows = [("image", picture[0])]
    rows += [(name, values[0]) for name, values in outputs_of(network, image[None])]
    montages = [_montage(values) if values.ndim == 3 else values[None] for _, values in rows]
    heights = [
        min(TALLEST * -(-len(values) // ACROSS), WIDTH * len(montage) / montage.shape[1])
        if values.ndim == 3
        else STRIP
        for (_, values), montage in zip(rows, montages, strict=True)
    ]
    with new_figure(path, WIDTH + 0.4, sum(heights) + 0.32 * len(rows) + 0.3) as figure:
        grid = figure.subplots(len(rows), 1, height_ratios=heights, squeeze=False)
        for axes, (name, values), montage in zip(grid[:, 0], rows, montages, strict=True):
            is_strip = values.ndim == 1
            axes.imshow(montage, cmap="gray", aspect="auto" if is_strip else "equal")
            _bare(axes, framed=is_strip)
            axes.set_anchor("W")
            size = " x ".join(map(str, values.shape))
            axes.set_title(f"{name}: {size}", loc="left", fontsize=9)
        figure.supxlabel(
            "each row from its least value (black) to its greatest (white)", fontsize=9
        )


def _montage(values: np.ndarray) -> np.ndarray:
    """Return channels [C, H, W] side by side, in lines, with gaps that are not drawn (NaN)."""
    values = values[:MOST_CHANNELS]
    columns = min(len(values), ACROSS)
    lines = -(-len(values) // columns)
    missing = lines * columns - len(values)
    apart = np.pad(values, ((0, missing), (0, GAP), (0, GAP)), constant_values=np.nan)
    placed = apart.reshape(lines, columns, *apart.shape[1:]).transpose(0, 2, 1, 3)
    return placed.reshape(lines * placed.shape[1], -1)[:-GAP, :-GAP]


def _picture(axes: Axes, values: Any, shape: Iterable[int]) -> None:
    channels, height, width = shape
    picture = np.asarray(values).reshape(channels, height, width).transpose(1, 2, 0)
    axes.imshow(picture if channels == 3 else picture[..., 0], cmap="gray", vmin=0, vmax=1)
    _bare(axes)


def _bare(axes: Axes, *, framed: bool = False) -> None:
    """Take away grid and ticks, and the frame where it is not wanted."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(framed)


# How each kind is drawn, and what an entry of it cannot do without.
KINDS = {
    "samples": (_draw_samples, ()),
    "weights": (_draw_weights, ("sides",)),
    "features": (_draw_features, ()),
    "hardest": (_draw_hardest, ()),
}
