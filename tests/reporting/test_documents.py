"""Reports as text and as pages: nothing in them controls a terminal."""

from pathlib import Path

from fastmlp.reporting.document import Details, Heading, Paragraph, Table, to_html, to_markdown


def test_no_text_controls_a_terminal(tmp_path: Path) -> None:
    hostile = "a\x1b[2J\x9b1A\r\u202eb"
    table = Table([hostile], [[hostile]])
    blocks = [Heading(hostile), Paragraph(f"one\n\ttwo {hostile}"), table, Details(hostile, table)]
    for text in (to_markdown(blocks), to_html(blocks, tmp_path)):
        assert all(letter.isprintable() or letter in "\n\t" for letter in text)
        assert r"a\x1b[2J\x9b1A\r\u202eb" in text
        assert "one\n\ttwo" in text
