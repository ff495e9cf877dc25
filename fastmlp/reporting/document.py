"""Documents: a report as blocks, which become Markdown for a code host or one HTML page.

In texts, headers and cells, ``**bold**``, ```code``` and links to pages of the web or to files beside the report mean
the same in both. Other links, pictures and raw HTML are text: a text may come from anywhere. A name that comes from
data, and may hold any of these, is given as `literal` makes it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastmlp.errors import printable
from fastmlp.machine.files import naming
from fastmlp.reporting.pages import TEMPLATES, embedded
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
class Bullets:
    """A list of texts."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Code:
    """Lines of a file, in which nothing but the lines means anything."""

    text: str
    language: str


@dataclass(frozen=True)
class Table:
    """A header and rows of cells; `align` as for `fastmlp.reporting.tables.markdown_table`."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str | None = None


@dataclass(frozen=True)
class Picture:
    """A PNG file in the report's folder, and a line about what it shows."""

    file: str
    caption: str


@dataclass(frozen=True)
class Details:
    """A block that opens with a click on its summary."""

    summary: str
    content: Block


@dataclass(frozen=True)
class Written:
    """What the page shows in another way than Markdown can, written for both."""

    markdown: str
    html: str


Block = Heading | Paragraph | Bullets | Code | Table | Picture | Details | Written


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
    style = TEMPLATES.joinpath("page.css").read_text("utf-8")
    return _visible(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escaped(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
""")


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
        case Bullets(texts):
            return "\n".join(f"- {_plain(text)}" for text in texts)
        case Code(text, language):
            return f"```{language}\n{text}\n```"
        case Table(header, rows, align):
            plain = ([_plain(cell) for cell in row] for row in rows)
            return markdown_table([_plain(cell) for cell in header], plain, align)
        case Picture(file, caption):
            return f"![{_plain(caption)}]({file.replace(' ', '%20')})\n\n*{_plain(caption)}*"
        case Details(summary, content):
            return f"<details><summary>{_escaped(summary)}</summary>\n\n{_markdown(content)}\n\n</details>"
        case Written(markdown):
            return markdown


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(texts):
            return f"<ul>{''.join(f'<li>{_inline(text)}</li>' for text in texts)}</ul>"
        case Code(text):
            return f"<pre>{_escaped(text)}</pre>"
        case Table(header, rows, align):
            sides = align or "l" * len(header)
            lines = "\n".join(_html_row("td", row, sides) for row in rows)
            return (
                f'<div class="table"><table>\n<thead>{_html_row("th", header, sides)}</thead>\n'
                f"<tbody>\n{lines}\n</tbody></table></div>"
            )
        case Picture(file, caption):
            with naming(folder / file):
                source = embedded((folder / file).read_bytes())
            return (
                f'<figure><img src="{source}" alt="{_escaped(caption)}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
        case Details(summary, content):
            return f"<details><summary>{_escaped(summary)}</summary>\n{_html(content, folder)}\n</details>"
        case Written(_, page):
            return page


def _html_row(tag: str, cells: Sequence[str], sides: str) -> str:
    kinds = {"l": "", "r": ' class="number"'}
    return (
        "<tr>"
        + "".join(
            f"<{tag}{kinds[side]}>{_inline(cell)}</{tag}>"
            for cell, side in zip(cells, sides, strict=True)
        )
        + "</tr>"
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
