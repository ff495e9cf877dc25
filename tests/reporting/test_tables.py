"""Tables: their columns, sides and cells."""

import csv
import io

import pytest

from fastmlp.reporting.document import Table, to_markdown
from fastmlp.reporting.tables import csv_table, markdown_table, plain_cell


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


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1-A1",
        "--1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "'=1",
        "''-1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_no_text_is_a_formula_and_all_come_back(text: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_table([[text, "plain", "it's", "'quoted'"]]), newline=""))
    assert row[0][0] == "'"
    assert [plain_cell(cell) for cell in row] == [text, "plain", "it's", "'quoted'"]
    assert row[1:] == ["plain", "it's", "'quoted'"]


def test_numbers_keep_their_signs_and_none_is_empty() -> None:
    assert csv_table([[-1, -0.5, 1e-300, None, True]]) == "-1,-0.5,1e-300,,True\n"
    assert csv_table([["-1", "+5.25", "-1e-5", "é"]]) == "-1,+5.25,-1e-5,é\n"
