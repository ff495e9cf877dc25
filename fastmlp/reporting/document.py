"""Documents: a report as blocks, which become Markdown for a code host or one HTML page.

In texts, headers and cells, ``**bold**``, ```code``` and links to pages of the web or to files beside the report mean
the same in both. Other links, pictures and raw HTML are text: a text may come from anywhere. A name that comes from
data, and may hold any of these, is given as `literal` makes it.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmlp.errors import printable
from fastmlp.reporting.tables import markdown_table


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the report's title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Table:
    """A header and rows of cells."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A PNG file in the report's folder, and a line about what it shows."""

    file: str
    caption: str


@dataclass(frozen=True)
class Details:
    """A table that opens with a click on its summary."""

    summary: str
    table: Table


Block = Heading | Paragraph | Table | Picture | Details


def literal(text: object) -> str:
    """Return a name for the texts of blocks, in which no character means anything but itself."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return the blocks as GitHub's Markdown."""
    return _visible("\n\n".join(_markdown(block) for block in blocks) + "\n")


def to_html(blocks: Sequence[Block], folder: Path) -> str:
    """Return the blocks as one page that contains the pictures of `folder`."""
    title = next(block.text for block in blocks if isinstance(block, Heading))
    body = "\n".join(_html(block, folder) for block in blocks)
    return _visible(PAGE.format(title=_escaped(title), body=body))


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff;
  max-width: 56rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }}
h1, h2 {{ line-height: 1.2; margin: 2rem 0 0.5rem; }}
figure {{ margin: 1.5rem 0; }}
figure a {{ display: block; }}
img {{ max-width: 100%; height: auto; }}
figcaption {{ color: #444; font-size: 0.9rem; }}
.table {{ overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid #ccc; padding: 0.3rem 0.6rem 0.3rem 0; text-align: left;
  vertical-align: top; overflow-wrap: normal; }}
summary {{ cursor: pointer; }}
code {{ font-size: 0.9em; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


# Where a link may lead: to the web, or to a file beside the report.
TARGET = r"https?://[\w./?=&%#+~:@,;-]*|[\w./#-]+"
CODE = re.compile(r"(`[^`]+`)")
# What means something in Markdown, or becomes a link on a code host.
MARKUP = re.compile(
    r"[\\`*\[\]<>&|!~$:@]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|^[-+](?= )|^#|(?<=^\d)\.(?= )",
    re.IGNORECASE,
)
# What controls a terminal, or turns the direction of what is written.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ENTITY = re.compile(r"&amp;(#\d+;)")


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Table(header, rows):
            return markdown_table(
                [_plain(cell) for cell in header], [[_plain(cell) for cell in row] for row in rows]
            )
        case Picture(file, caption):
            return f"![{_plain(caption)}]({file.replace(' ', '%20')})\n\n*{_plain(caption)}*"
        case Details(summary, table):
            return (
                f"<details><summary>{_escaped(summary)}</summary>\n\n"
                f"{_markdown(table)}\n\n</details>"
            )


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Table(header, rows):
            head = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
            lines = "\n".join(
                f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows
            )
            return (
                f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n'
                f"<tbody>\n{lines}\n</tbody></table></div>"
            )
        case Picture(file, caption):
            data = base64.b64encode((folder / file).read_bytes()).decode()
            source = f"data:image/png;base64,{data}"
            return (
                f'<figure><img src="{source}" alt="{_escaped(caption)}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
        case Details(summary, table):
            return (
                f"<details><summary>{_escaped(summary)}</summary>\n"
                f"{_html(table, folder)}\n</details>"
            )


def _visible(text: str) -> str:
    """Return a text in which what controls a terminal is spelled as Python does."""
    return CONTROL.sub(lambda found: printable(found[0]), text)


def _plain(text: str) -> str:
    """Return a text in which nothing but code, bold words and links to a `TARGET` means anything in Markdown."""
    return "".join(
        part if CODE.fullmatch(part) else _without_html(part) for part in CODE.split(text)
    )


def _without_html(text: str) -> str:
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    text = text.replace("![", "!\\[").replace("]:", "]\\:")
    return re.sub(rf"\]\((?!(?:{TARGET})\))", r"]\\(", text)


def _escaped(text: str) -> str:
    """Return a text for HTML, in which the characters that `literal` spelled are spelled the same."""
    return ENTITY.sub(r"&\1", html.escape(text))


def _inline(text: str) -> str:
    text = _escaped(text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(rf"(?<!!)\[([^]]+)\]\(({TARGET})\)", r'<a href="\2">\1</a>', text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
