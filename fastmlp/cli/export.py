"""``fastmlp export``: a model in a format that other programs run."""

from pathlib import Path

import click

from fastmlp.cli.model import model_file
from fastmlp.cli.paths import FilePath
from fastmlp.cli.run_folder import check_output
from fastmlp.errors import printable


@click.command()
@click.argument("model", type=FilePath())
@click.option(
    "--onnx",
    required=True,
    type=FilePath(dir_okay=False),
    metavar="FILE",
    help="Where the ONNX model goes; an existing file is replaced.",
)
def export(model: Path, onnx: Path) -> None:
    """Write a model as ONNX.

    MODEL is a model.safetensors that train wrote, the folder of its run, or a file of an estimator's save().
    The network's normalisation is included: the ONNX model takes raw pixels, as floating-point numbers.

    Needs the extra "export": pip install "fastmlp[export]".
    """
    file = model_file(model)
    check_output(onnx, file)
    from fastmlp.estimator.export import load_model, to_onnx

    to_onnx(load_model(file), onnx)
    click.echo(f"{printable(onnx)}: {onnx.stat().st_size:,} bytes")
