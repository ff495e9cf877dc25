"""``fastmlp doctor``: what to look at, or report, when something is slow or fails."""

from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from fastmlp.cli.data import listing
from fastmlp.cli.options import data_home_option
from fastmlp.machine import description as machine
from fastmlp.machine.limits import load, thread_limit

# The features that choose the tile, and those that a later one could use.
FEATURES = ("avx2", "fma", "avx512f", "avx512vl", "avx512bf16", "amx-bf16", "neon", "sve")
BUSY = 0.75  # of the cores, by the load of the last minute
ELEMENT_BYTES = {"float32": 4, "float64": 8}


@click.command()
@click.option("--warm", is_flag=True, help="Compile the kernels now, and say how long it took.")
@data_home_option
def doctor(warm: bool, data_home: Path | None) -> None:
    """Show what fastmlp finds on this machine."""
    for name, text in _findings():
        click.echo(f"{name:10}{text}")
    for number, line in enumerate(listing(data_home)):
        click.echo(f"{'' if number else 'data':10}{line}")
    if warm:
        from fastmlp.kernels.tiles import NATIVE_BF16
        from fastmlp.training.warm_up import warm_up

        for dtype in (*ELEMENT_BYTES, *(["bfloat16"] if NATIVE_BF16 else [])):
            seconds = warm_up(dtype)
            click.echo(f"{'warm':10}{dtype} kernels ready after {seconds:.1f} s")


def _findings() -> Iterator[tuple[str, str]]:
    import llvmlite.binding as llvm

    from fastmlp.kernels.cache import cache_folder, shipped
    from fastmlp.kernels.tiles import COMPILED_FOR, TILE

    found = machine.describe()
    present = llvm.get_host_cpu_features()
    host, (_, target, _) = llvm.get_host_cpu_name(), COMPILED_FOR
    other = "" if target == host else f", compiled for {target}"
    yield "CPU", f"{found['cpu']} ({host}){other}"
    yield "features", ", ".join(name for name in FEATURES if present.get(name)) or "none we use"
    shapes = (
        f"{TILE.rows} x {TILE.vectors * TILE.lanes(size)} {dtype}"
        for dtype, size in ELEMENT_BYTES.items()
    )
    yield "tile", f"{TILE.name}: {', '.join(shapes)}"
    name, count = thread_limit()
    limited = f"; {name}={count:.0f} counts" if name and count == found["usable_cores"] else ""
    yield (
        "cores",
        f"{found['usable_cores']} usable of {found['cores']}{limited}{_busy(found['cores'])}",
    )
    sizes = (f"{name} {size // 1024:,} KiB" for name, size in found["caches"].items())
    yield "caches", ", ".join(sizes) or "unknown"
    folder = cache_folder()
    kept = "not kept: no writable folder" if folder is None else _described(folder.path)
    built = sum(_count(folder.path) for folder in shipped())
    yield "compiled", f"{kept}; {built} came with the package" if built else kept
    yield "system", found["system"]
    yield "versions", ", ".join(f"{name} {one}" for name, one in found["versions"].items())


def _busy(cores: int) -> str:
    """Say that others use the machine, if they keep more cores busy than a team of threads can do without."""
    programs = load()
    if programs < BUSY * cores:
        return ""
    return (
        f"; {programs:.1f} programs want to run on {cores} cores: the threads of a team then wait for each other; "
        "--threads 1 may be faster"
    )


def _described(folder: Path) -> str:
    return f"{folder} (writable, {_count(folder)} compiled functions)"


def _count(folder: Traversable) -> int:
    return sum(file.name.endswith(".nbc") for file in folder.iterdir())
