"""``fastmlp docs``: the built site, else an address in the metadata, else what to do."""

from email.message import Message
from importlib import import_module
from pathlib import Path

import click
import pytest
from cli_helpers import run

docs = import_module("fastmlp.cli.docs")  # in fastmlp.cli, the name is the command's
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Return what a browser was asked to open; no site is built and nothing is published."""
    monkeypatch.setattr(docs, "SITE", tmp_path / "a b" / "index.html")
    monkeypatch.setattr(docs.metadata, "metadata", lambda name: Message())
    asked: list[str] = []
    monkeypatch.setattr(click, "launch", asked.append)
    return asked


def publish(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    found = Message()
    for one in addresses:
        found["Project-URL"] = one
    monkeypatch.setattr(docs.metadata, "metadata", lambda name: found)


def test_the_built_site_is_opened(opened: list[str], capsys: Capture, tmp_path: Path) -> None:
    docs.SITE.parent.mkdir()
    docs.SITE.touch()
    assert run("docs") == 0
    address = (tmp_path / "a b" / "index.html").as_uri()
    assert (opened, capsys.readouterr().out) == ([address], f"{address}\n")
    assert run("docs", "--no-browser") == 0
    assert len(opened) == 1


def test_without_it_the_published_one(
    opened: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(monkeypatch, "Source, https://example.org/code", "Issues, https://example.org/bugs")
    assert run("docs") == 0
    publish(monkeypatch, "Source, https://example.org/code", "Documentation, https://example.org/d")
    assert run("docs") == 0
    assert opened == ["https://example.org/code", "https://example.org/d"]


def test_without_either_it_says_how_to_build(opened: list[str], capsys: Capture) -> None:
    assert run("docs") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(docs.SITE) in error
    assert "python -m sphinx" in error
    assert opened == []


def test_the_site_is_looked_for_where_it_is_built() -> None:
    root = Path(__file__).parents[2]
    assert root / "docs" / "_build" / "html" / "index.html" == docs.SITE
