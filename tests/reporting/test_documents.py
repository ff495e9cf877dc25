"""Reports as text and as pages: nothing in them controls a terminal."""

from pathlib import Path

from fastmlp.reporting.document import (
    Block,
    Bullets,
    Code,
    Details,
    Heading,
    Paragraph,
    Table,
    Written,
    to_html,
    to_markdown,
)


def test_no_text_controls_a_terminal(tmp_path: Path) -> None:
    hostile = "a\x1b[2J\x9b1A\r\u202eb"
    table = Table([hostile], [[hostile]])
    blocks = [
        *(Heading(hostile), Paragraph(f"one\n\ttwo {hostile}"), table, Details(hostile, table)),
        *(Bullets([hostile]), Code(hostile, "toml"), Written(hostile, hostile)),
    ]
    for text in (to_markdown(blocks), to_html(blocks, tmp_path)):
        assert all(letter.isprintable() or letter in "\n\t" for letter in text)
        assert r"a\x1b[2J\x9b1A\r\u202eb" in text
        assert "one\n\ttwo" in text


def test_lists_files_and_numbers_are_written_both_ways(tmp_path: Path) -> None:
    blocks: list[Block] = [
        Heading("T", 1),
        Bullets(["**one**", "<b>"]),
        Details("more", Code("a = '<b>**c**'", "toml")),
        Table(["name", "n"], [["x", "1"]], "lr"),
        Written("only *Markdown*", "<p>only HTML</p>"),
    ]
    text = to_markdown(blocks)
    assert "- **one**\n- &lt;b>\n" in text
    assert "```toml\na = '<b>**c**'\n```" in text
    assert "| --- | --: |" in text
    page = to_html(blocks, tmp_path)
    assert "<ul><li><strong>one</strong></li><li>&lt;b&gt;</li></ul>" in page
    assert "<pre>a = &#x27;&lt;b&gt;**c**&#x27;</pre>" in page
    assert '<tr><td>x</td><td class="number">1</td></tr>' in page
    assert ("only *Markdown*" in text, "only HTML" in text) == (True, False)
    assert ("only *Markdown*" in page, "only HTML" in page) == (False, True)
