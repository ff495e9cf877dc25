"""Tables: their columns, sides and cells."""

import pytest

from fastmlp.reporting.document import Table, to_markdown
from fastmlp.reporting.tables import markdown_table


def test_a_table_has_a_header_a_rule_and_rows() -> None:
    table = markdown_table(["", "a|b"], iter([["x", "1"], ["**y**", "2|3"]]), "lr")
    assert table.splitlines() == [
        r"|  | a\|b |",
        "| --- | --: |",
        "| x | 1 |",
        r"| **y** | 2\|3 |",
    ]
    assert markdown_table(["a", "b"], []) == "| a | b |\n| --- | --- |"


def test_documents_write_the_same_tables() -> None:
    assert to_markdown([Table(["a"], [["1"]])]) == markdown_table(["a"], [["1"]]) + "\n"


@pytest.mark.parametrize(
    ("row", "align"), [(["1"], None), (["1", "2"], "l"), (["1", "2", "3"], "lr")]
)
def test_columns_must_agree(row: list[str], align: str | None) -> None:
    with pytest.raises(ValueError, match="table: found rows of"):
        markdown_table(["a", "b"], [row], align)
