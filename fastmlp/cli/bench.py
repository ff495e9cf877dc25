"""``fastmlp bench``: how fast this machine is, and fastmlp and its peers on it."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from fastmlp.bench.problem import NETWORKS
from fastmlp.bench.settings import KERNELS, PARTS, QUICK, Settings
from fastmlp.bench.work import spell_sizes
from fastmlp.cli.options import items, widths
from fastmlp.cli.paths import FilePath
from fastmlp.machine.folders import claim
from fastmlp.machine.streams import say


@click.command()
@click.option(
    "--networks",
    type=items,
    metavar="A,B",
    help="; ".join(f"{name} is {spell_sizes(one.sizes)}" for name, one in NETWORKS.items())
    + ".  [default: all]",
)
@click.option(
    "--batch",
    "batches",
    type=widths,
    metavar="10,100",
    help="Batch sizes of each network.  [default: its own]",
)
@click.option(
    "--threads", type=click.INT, help="Of each of them.  [default: one for each usable core]"
)
@click.option(
    "--rounds",
    type=click.INT,
    help=f"How often each training is timed.  [default: {Settings.rounds}]",
)
@click.option(
    "--only",
    type=click.Choice(PARTS),
    help="Measure trainings, single kernels, or starting and memory.  [default: all]",
)
@click.option(
    "--asm",
    type=click.Choice(KERNELS),
    help="Print LLVM's code of a kernel and the processor's instead, in float32.",
)
@click.option("--quick", is_flag=True, help="A first look, in three minutes instead of twenty.")
@click.option(
    "--out",
    type=FilePath(file_okay=False),
    metavar="FOLDER",
    help="Also write report.md, results.json, machine.json and roofline.png.",
)
def bench(quick: bool, only: str | None, asm: str | None, out: Path | None, **given: Any) -> None:
    """Measure fastmlp beside PyTorch, JAX and scikit-learn, where they are installed.

    All train the same networks by the same mathematics with as many threads, in turns, so that a
    busy moment slows all of them. Prints the report.
    """
    if asm is not None:
        from fastmlp.bench.assembly import code_of

        code = code_of(asm)
        click.echo(f"{code.ir}\n{code.assembly}", nl=False)
        return
    if only is not None:
        given["parts"] = (only,)
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = Settings(**{**(QUICK if quick else {}), **chosen})
    with nullcontext() if out is None else claim(out, "bench"):
        _measure(settings, out)


def _measure(settings: Settings, out: Path | None) -> None:
    from fastmlp.bench import folder, markdown, suite

    start = time.perf_counter()

    def tell(line: str, done: float) -> None:
        seconds = time.perf_counter() - start
        left = f", {seconds / done * (1 - done):.0f} s left" if done else ""
        say(f"{seconds:5.0f} s{left}  {line}")

    results = suite.run(settings, tell)
    try:
        if out is not None:
            folder.write(results, out)
            say(f"written to {out}")
    finally:
        click.echo(markdown.render(results), nl=False)
