"""``fastmlp reproduce``: the published studies, from data to report."""

from dataclasses import replace
from pathlib import Path

import click

from fastmlp.cli.options import data_home_option
from fastmlp.cli.paths import FilePath
from fastmlp.errors import printable
from fastmlp.machine.streams import say


@click.command()
@click.argument("studies", metavar="[NAME|FILE.toml|all]...", nargs=-1)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    help="Trainings of each setting.  [default: the study's]",
)
@click.option("--quick", is_flag=True, help="Few images and epochs, to see that everything works.")
@click.option("--html", is_flag=True, help="Also write the report as one self-contained page.")
@click.option(
    "--out",
    type=FilePath(file_okay=False),
    default=Path("reports"),
    show_default=True,
    metavar="FOLDER",
    help="Gets a folder for each study; quick ones go to its subfolder quick.",
)
@data_home_option
def reproduce(
    studies: tuple[str, ...],
    seeds: int | None,
    quick: bool,
    html: bool,
    out: Path,
    data_home: Path | None,
) -> None:
    """Run published studies and write a report of each; without a name, list them.

    Finished trials are kept, so that the same command goes on where it was interrupted.
    """
    from fastmlp.studies.study import find, names

    chosen = [find(name) for one in studies for name in (names() if one == "all" else [one])]
    if not chosen:
        for study in map(find, names()):
            click.echo(printable(f"{study.name:22} {study.title}"))
        return
    from fastmlp.studies.reproduce import reproduce as run

    for study in chosen:
        if quick:
            study = study.quick()
        if seeds is not None:
            parts = {name: replace(part, seeds=seeds) for name, part in study.parts.items()}
            study = replace(study, parts=parts) if quick else study.with_seeds(seeds)

        def tell(line: str, name: str = study.name) -> None:
            say(f"{name}: {line}")

        folder = (out / "quick" if quick else out) / study.name
        click.echo(printable(run(study, folder, data_home=data_home, html=html, say=tell)))
