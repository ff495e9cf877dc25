"""``fastmlp docs``: the documentation, in a browser."""

from importlib import metadata
from pathlib import Path

import click

from fastmlp.errors import DataError, printable

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html" / "index.html"
ADDRESSES = ("Documentation", "Source")  # of the package's metadata, in this order


@click.command()
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def docs(no_browser: bool) -> None:
    """Open the documentation, and print its address.

    That is the site that was built from these sources, else the address that the installed package names.
    """
    address = SITE.as_uri() if SITE.is_file() else published()
    click.echo(printable(address))
    if not no_browser:
        click.launch(address)


def published() -> str:
    """Return the address of the documentation, or of the sources, in the package's metadata.

    Raises
    ------
    DataError
        If it names neither.
    """
    try:
        named = metadata.metadata("fastmlp").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        named = []
    found: dict[str, str] = dict(one.split(", ", 1) for one in named)
    for name in ADDRESSES:
        if name in found:
            return found[name]
    raise DataError(
        f"docs: found neither {SITE} nor an address in the package's metadata, expected one; build the "
        'site in the sources: pip install -e ".[docs]" && python -m sphinx -W -j auto docs docs/_build/html'
    )
