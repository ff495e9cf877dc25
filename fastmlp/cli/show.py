"""``fastmlp show``: what a stored network is made of, and how it was trained."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from fastmlp.cli.model import config_file, model_file
from fastmlp.cli.options import from_file
from fastmlp.cli.paths import FilePath
from fastmlp.cli.run_folder import check_output
from fastmlp.errors import printable
from fastmlp.training.network import Network, load
from fastmlp.training.shapes import spell_shape

MOST_CLASSES = 100  # that are listed


@click.command()
@click.argument("model", type=FilePath())
@click.option(
    "--weights",
    type=FilePath(dir_okay=False),
    metavar="FILE.png",
    help="Draw the first layer's weights as pictures.",
)
def show(model: Path, weights: Path | None) -> None:
    """Print what a network is made of.

    MODEL is a model.safetensors that train wrote, or the folder of its run. Printed are its layers with
    their shapes and parameters, the normalisation, the classes and, if the config.toml of the run lies
    beside it, the settings of its training.
    """
    file = model_file(model)
    check_output(weights, file)
    network = load(file)
    for name, text in described(network):
        click.echo(printable(f"{name:14}{text}"))
    click.echo(f"\n{network.summary()}")
    if (path := config_file(model)) is not None:
        config, _ = from_file(path)
        click.echo(f"\nsettings      {printable(path)}")
        click.echo(config.to_toml().rstrip())
    if weights is not None:
        from fastmlp.studies.pictures import draw_weights

        draw_weights([(file.parent.name or file.stem, network)], weights)
        click.echo(f"\n{printable(weights)}: the first layer's weights")


def described(network: Network) -> list[tuple[str, str]]:
    """Return what a network is, but for its layers, as names and texts."""
    words = {"classification": "classes", "multilabel": "labels", "regression": "targets"}
    names = ", ".join(network.classes[:MOST_CLASSES])
    more = len(network.classes) - MOST_CLASSES
    found = [
        ("task", f"{network.task} of {len(network.classes)} {words[network.task]}"),
        (words[network.task], names + (f" and {more:,} more" if more > 0 else "")),
        ("input", spell_shape(network.shape)),
        ("normalisation", normalization_of(network)),
        ("type", str(network.dtype)),
    ]
    if network.levels is not None:
        low, high = network.levels
        found.insert(3, ("trained on", f"values from {low:g} to {high:g}"))
    if network.targets is not None:
        found.insert(4, ("target scale", _spread(network.targets.mean, network.targets.std)))
    return found


def normalization_of(network: Network) -> str:
    """Return what is done to each value before the first layer."""
    mean, std = network.normalization.mean, network.normalization.std
    if not mean.any() and (std == 1).all():
        return "none"
    channels = network.shape[0]
    each = [one.reshape(channels, -1) for one in (mean, std)]
    if all((one == one[:, :1]).all() for one in each):
        pairs = zip(*(one[:, 0] for one in each), strict=True)
        return "; ".join(f"(value - {a:.6g}) / {b:.6g}" for a, b in pairs)
    return f"of each value, {_spread(mean, std)}"


def _spread(mean: np.ndarray, std: np.ndarray) -> str:
    ranges = (f"{one.min():.6g} to {one.max():.6g}" for one in (mean, std))
    return "means {}, deviations {}".format(*ranges)
