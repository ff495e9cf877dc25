"""``fastmlp export``: a model in a format that other programs run."""

from pathlib import Path

import click

from fastmlp.cli.run_folder import check_output
from fastmlp.errors import printable


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--onnx",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the ONNX model goes; an existing file is replaced.",
)
def export(model: Path, onnx: Path) -> None:
    """Write a model as ONNX.

    MODEL is a model.safetensors that train wrote, or a file of an estimator's save(). The network's
    normalisation is included: the ONNX model takes raw pixels, as floating-point numbers.

    Needs the extra "export": pip install "fastmlp[export]".
    """
    check_output(onnx, model)
    from fastmlp.estimator.export import load_model, to_onnx

    to_onnx(load_model(model), onnx)
    click.echo(f"{printable(onnx)}: {onnx.stat().st_size:,} bytes")
