"""The site: built as CONTRIBUTING says, without a warning, and its links followed."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("ipykernel", "myst_nb", "numpydoc", "pydata_sphinx_theme", "sphinx_click")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


class Page(HTMLParser):
    """The ids of a page, what it links to, and the pictures and scripts that it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given[name] or "" for name in ("id", "name") if name in given}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in ("img", "script", "link") and (source := given.get("src") or given.get("href")):
            self.loads.append(source)


def pages_of(site: Path) -> list[Path]:
    """Return the pages of a site; below ``_static`` are templates of the theme."""
    return [path for path in site.rglob("*.html") if "_static" not in path.parts]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, every example included."""
    for name in NEEDED:
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-j2",
        "docs",
        str(folder),
    ]
    # No proxy answers: nothing may be asked of the network.
    nowhere = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https")}
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in pages_of(site)}
    assert len(pages) > 60
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data", "javascript"):
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            exists = target.is_file() or (target / "index.html").is_file()
            named = unquote(parts.fragment)
            if not exists or (named and target in pages and named not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    foreign = {
        one
        for path in pages_of(site)
        for one in Page(path).loads
        if one.startswith(("http:", "https:", "//"))
    }
    assert foreign == set()


def test_examples_ran(site: Path) -> None:
    text = (site / "tutorials" / "digits.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", text)
    assert plain.count("the same bits") == 2  # in the command, and printed by it
    assert re.search(r"test +loss 0\.\d+ +accuracy 0\.9\d+", plain)
