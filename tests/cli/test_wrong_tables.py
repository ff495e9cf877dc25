"""Tables that cannot be trained on: one line that names the column, exit code 2, nothing written."""

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import run

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]
N = 40
RNG = np.random.default_rng(0)


def table(**columns: Any) -> Any:
    """Return a sound table with some columns changed; None drops one."""
    sound = {
        "x": np.linspace(0, 1, N),
        "kind": np.resize(["red", "green", "blue"], N),
        "y": np.resize([0, 1], N),
    }
    given = {name: column for name, column in (sound | columns).items() if column is not None}
    return pd.DataFrame(given)


def with_one(values: Any, value: Any, row: int = 7) -> Any:
    changed = np.array(values, dtype=float)
    changed[row] = value
    return changed


def csv(frame: Any, **options: Any) -> Callable[[], object]:
    return lambda: frame.to_csv("t.csv", index=False, **options)


def parquet(frame: Any) -> Callable[[], object]:
    return lambda: frame.to_parquet("t.parquet")


def raw(content: bytes, name: str = "t.csv") -> Callable[[], object]:
    return lambda: Path(name).write_bytes(content)


def damaged_feather() -> None:
    table().to_feather("t.feather", compression="uncompressed")
    data = Path("t.feather").read_bytes()
    Path("t.feather").write_bytes(data.replace(b"green", b"gr\xff\xffn"))


def damaged_parquet() -> None:
    """Write a table one of whose numbers is damaged; only the sum of its page tells."""
    frame = table(x=np.linspace(1, 2, N))
    frame.to_parquet("t.parquet", compression=None, write_page_checksum=True, use_dictionary=False)
    data = bytearray(Path("t.parquet").read_bytes())
    data[data.index(frame["x"][7].tobytes())] ^= 1
    Path("t.parquet").write_bytes(data)


SOUND = csv(table())
DATES = pd.date_range("2020-01-01", periods=N)
SENTENCES = [f"the {number}th visitor liked the pictures very much" for number in range(N)]
WORDS = [f"w{number}" for number in range(10_000)]

WRONG: dict[str, tuple[Callable[[], object], str, str]] = {
    # what is saved
    "names that fill a file": (
        lambda: csv(
            pd.DataFrame(
                {"x": np.arange(4800) % 7, "y": [f"{'é' * 200}{n % 800}" for n in range(4800)]}
            )
        )(),
        "--label y",
        "bytes of names, of 800 classes, columns and categories, expected at most 983,040",
    ),
    # what is asked for
    "no label": (SOUND, "", "t.csv: found no label, expected the column to predict"),
    "another label": (SOUND, "--label Kind2", "label: found no column 'Kind2'; did you mean kind?"),
    "one of two labels": (SOUND, "--label y,z", "found no column 'z'"),
    "label twice": (SOUND, "--label y,y", "expected different columns"),
    "weight not there": (SOUND, "--label y --weight w", "weight: found no column 'w'"),
    "group not there": (SOUND, "--label y --group w", "group: found no column 'w'"),
    "part not there": (SOUND, "--label y --part w", "part: found no column 'w'"),
    "label as weight": (SOUND, "--label y --weight y", "'y' as label and weight"),
    "part and split": (
        SOUND,
        "--label y --part kind --split 0.8,0.1,0.1",
        "data.part: found beside split",
    ),
    "size": (SOUND, "--label y --size 8", "data.size: found 8 with t.csv"),
    "skip bad": (SOUND, "--label y --skip-bad", "data.skip_bad: found True with t.csv"),
    "shares": (SOUND, "--label y --split 0.9,0.2,0.1", "three shares above 0"),
    "tiny share": (SOUND, "--label y --split 0.9,0.001,0.05", "found share 0.001 of 40 rows"),
    "label of digits": (lambda: None, "--data digits --label y", "data.label: found with digits"),
    # files
    "no file": (lambda: None, "--data gone.csv --label y", "gone.csv: found no such file"),
    "no such data": (lambda: None, "--data didgits", "expected one of digits, mnist"),
    "other suffix": (raw(b"x,y", "t.xlsx"), "--data ./t.xlsx --label y", "another kind, '.xlsx'"),
    "folder": (lambda: Path("t.csv").mkdir(), "--label y", "found 'y' with t.csv"),
    "empty": (raw(b""), "--label y", "t.csv: found an empty file"),
    "blank": (raw(b"\n\n  \n"), "--label y", "t.csv: found an empty file"),
    "only names": (raw(b"x,y\n"), "--label y", "t.csv: found no rows"),
    "only a label": (raw(b"y\n1\n2\n"), "--label y", "found no column beside y"),
    "binary": (raw(bytes(range(256)) * 9), "--label y", "t.csv: found a binary file"),
    "noise": (raw(RNG.bytes(3000)), "--label y", "t.csv: found"),
    "picture": (raw(b"\x89PNG\r\n\x1a\n\0\0"), "--label y", "t.csv: found a binary file"),
    "Excel's": (raw(b"PK\x03\x04" + bytes(99)), "--label y", "found a ZIP archive"),
    "Parquet as CSV": (raw(b"PAR1" + bytes(99)), "--label y", "found a Parquet file"),
    "CSV as Parquet": (
        raw(b"x,y\n1,2\n", "t.parquet"),
        "--data t.parquet --label y",
        "t.parquet: cannot be read",
    ),
    "CSV as Feather": (
        raw(b"x,y\n1,2\n", "t.feather"),
        "--data t.feather --label y",
        "t.feather: cannot be read",
    ),
    "empty Parquet": (
        raw(b"", "t.parquet"),
        "--data t.parquet --label y",
        "t.parquet: found an empty file",
    ),
    "no gzip": (raw(b"x,y\n1,2\n", "t.csv.gz"), "--data t.csv.gz --label y", "t.csv.gz: "),
    "cut gzip": (
        raw(gzip.compress(b"x,y\n" + b"1,2\n" * 99)[:-9], "t.csv.gz"),
        "--data t.csv.gz --label y",
        "t.csv.gz: cannot be read: EOFError",
    ),
    "a bomb": (
        lambda: Path("t.csv.gz").write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 2**25, 1)),
        "--data t.csv.gz --label y",
        "bytes of text, expected less; unpack it first",
    ),
    "a bomb in Parquet": (
        parquet(pd.DataFrame({"x": np.zeros(10**7), "y": np.zeros(10**7)})),
        "--data t.parquet --label y",
        "t.parquet: found 20,000,000 values, expected at most",
    ),
    "damaged Parquet": (
        damaged_parquet,
        "--data t.parquet --label y",
        "t.parquet: cannot be read: OSError: could not verify page integrity",
    ),
    "damaged Feather": (
        damaged_feather,
        "--data t.feather --label y",
        "t.feather: cannot be read: ArrowInvalid",
    ),
    "UTF-16": (csv(table(), encoding="utf-16"), "--label y", "found UTF-16 text"),
    "Latin 1": (
        csv(table(kind=np.resize(["grün", "rot"], N)), encoding="latin-1"),
        "--label y",
        "which is not UTF-8",
    ),
    "semicolons": (csv(table(), sep=";"), "--label y", "commas, not semicolons"),
    "tabs": (csv(table(), sep="\t"), "--label y", "commas, not tabs"),
    "ragged": (raw(b"x,y\n1,2\n3,4,5\n"), "--label y", "t.csv: cannot be read"),
    "too many cells": (raw(b"x,y\n1,2,3\n4,5,6\n"), "--label y", "t.csv: cannot be read"),
    "open quote": (raw(b'x,y\n1,"2\n3,4\n'), "--label y", "t.csv: "),
    "same names": (raw(b"x,x,y\n1,2,0\n2,3,1\n"), "--label y", "found the column 'x' twice"),
    "no name": (raw(b"x,,y\n1,2,0\n2,3,1\n"), "--label y", "column 2: found no name"),
    # columns of features
    "constant": (csv(table(c=5)), "--label y", "column 'c': found the value 5 in every row"),
    "constant text": (csv(table(c="same")), "--label y", "the value 'same' in every row"),
    "all missing": (csv(table(c=np.nan)), "--label y", "column 'c': found no value in any row"),
    "infinity": (csv(table(x=with_one(np.arange(N), np.inf))), "--label y", "found inf at row 7"),
    "400 digits": (
        csv(table(x=["9" * 400, *map(str, range(1, N))])),
        "--label y",
        "column 'x': found inf at row 0",
    ),
    "10,000 categories": (
        csv(pd.DataFrame({"w": WORDS, "x": range(10_000), "y": [0, 1] * 5000})),
        "--label y",
        "column 'w': found 10,000 categories",
    ),
    "dates": (csv(table(day=DATES)), "--label y", "column 'day': found dates or times"),
    "dates in Parquet": (
        parquet(table(day=DATES)),
        "--data t.parquet --label y",
        "column 'day': found dates or times",
    ),
    "German dates": (
        csv(table(day=DATES.strftime("%d.%m.%Y"))),
        "--label y",
        "column 'day': found dates or times, such as '01.01.2020'",
    ),
    "free text": (csv(table(words=SENTENCES)), "--label y", "column 'words': found free text"),
    "times": (
        csv(table(at=DATES.strftime("%H:%M") + [":01", ":02"] * (N // 2))),
        "--label y",
        "column 'at': found dates or times",
    ),
    "thousands": (
        csv(table(x=[f"{number},{number}00" for number in range(1, N + 1)])),
        "--label y",
        "column 'x': found numbers written as texts, such as '1,100'",
    ),
    "money": (
        csv(table(x=[f"${number}.50" for number in range(N)])),
        "--label y",
        "column 'x': found numbers written as texts, such as '$0.50'",
    ),
    "lists": (
        parquet(table(cells=[[1, 2]] * N)),
        "--data t.parquet --label y",
        "column 'cells': found ndarray at row 0",
    ),
    "question marks": (
        csv(table(x=["?", *map(str, range(1, N))])),
        "--label y",
        "column 'x': found numbers, and '?'",
    ),
    "missing refused": (
        csv(table(x=with_one(np.arange(N), np.nan))),
        "--label y --missing error",
        "column 'x': found 1 missing values, the first at row 7",
    ),
    "a category of megabytes": (
        csv(table(kind=np.resize(["a" * 100_001, "b"], N))),
        "--label y",
        "column 'kind': found a text of 100,001 letters",
    ),
    "a name of megabytes": (csv(table(**{"a" * 100_001: 1})), "--label y", "of at most 100,000"),
    "names alone": (csv(table(x=WORDS[:N], kind=None)), "--label y", "whose values repeat"),
    # labels
    "missing label": (
        csv(table(y=with_one(np.resize([0, 1], N), np.nan))),
        "--label y",
        "column 'y': found 1 missing labels, the first at row 7",
    ),
    "infinite label": (
        csv(table(y=with_one(np.linspace(0, 1, N), np.inf))),
        "--label y",
        "column 'y': found inf at row 7",
    ),
    "huge targets": (
        csv(table(y=with_one(np.linspace(0, 1, N), -1e301))),
        "--label y --task regression",
        "t.csv: column 'y': found -1e+301 at row 7 (counted from 0), expected numbers up to 1e+300",
    ),
    "a class of megabytes": (
        csv(table(y=np.resize(["a" * 100_001, "b"], N))),
        "--label y",
        "column 'y': found the class 'aaaa",
    ),
    "a class called None": (
        csv(table(y=np.resize(["None", "b"], N))),
        "--label y",
        "or rename a class that is called None, NA or nan",
    ),
    "one row": (csv(table().head(1)), "--label y", "found the one label '0' in every row"),
    "one class": (csv(table(y="a")), "--label y", "column 'y': found the one label 'a'"),
    "dates as labels": (parquet(table(y=DATES)), "--data t.parquet --label y", "dates or times"),
    "whole floats": (csv(table(y=np.resize([0.0, 1], N))), "--label y", "say --task"),
    "fractions as classes": (
        csv(table(y=np.resize([0.5, 1.5], N))),
        "--label y --task classification",
        "column 'y': found 0.5 at row 0",
    ),
    "texts as numbers": (SOUND, "--label kind --task regression", "column 'kind': found 'red'"),
    "several classes": (SOUND, "--label y,kind --task classification", "found 2 columns"),
    "texts as labels": (SOUND, "--label y,kind", "column 'kind': found 'red'"),
    "numbers as labels": (SOUND, "--label x,y --task multilabel", "expected 0 and 1"),
    "a class a row": (csv(table(y=WORDS[:N])), "--label y", "found 40 rows of 40 classes"),
    "three rows": (csv(table().head(3)), "--label y", "found share 0.1 of 3 rows"),
    # weights, groups and parts
    "negative weight": (
        csv(table(w=with_one(np.ones(N), -1))),
        "--label y --weight w",
        "column 'w': found -1 at row 7",
    ),
    "huge weights": (
        csv(table(w=np.full(N, 1e308))),
        "--label y --weight w",
        "t.csv: column 'w': found 1e+308 at row 0 (counted from 0), expected weights of 0, or from",
    ),
    "tiny weights": (
        csv(table(w=np.full(N, 1e-320))),
        "--label y --weight w",
        "expected weights of 0, or from 1e-100 to 1e+100",
    ),
    "UTF-32": (csv(table(), encoding="utf-32"), "--label y", "found UTF-32 text"),
    "no weights": (csv(table(w=0)), "--label y --weight w", "weights that are all 0"),
    "missing weight": (
        csv(table(w=with_one(np.ones(N), np.nan))),
        "--label y --weight w",
        "column 'w': found nan at row 7",
    ),
    "texts as weights": (SOUND, "--label y --weight kind", "column 'kind': found 'red' at row 0"),
    "two groups": (csv(table(g=np.resize([1, 2], N))), "--label y --group g", "found 2 groups"),
    "other parts": (SOUND, "--label y --part kind", "expected train, valid or test"),
    "parts in no file": (SOUND, "--label y --part p.csv", "p.csv: found"),
    "parts of too few rows": (
        lambda: (SOUND(), Path("p.csv").write_text("p\ntrain\ntest\n")),
        "--label y --part p.csv",
        "p.csv: found 2 rows, expected 40, one for each row of t.csv",
    ),
    "parts in two columns": (
        lambda: (SOUND(), table().to_csv("p.csv", index=False)),
        "--label y --part p.csv",
        "p.csv: found 3 columns, expected one",
    ),
    "no training part": (csv(table(p="test")), "--label y --part p", "no row of the part train"),
    "class not trained": (
        csv(table(p=np.resize(["train", "test"], N))),
        "--label y --part p",
        "found no row of class '1' in the training part",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_table_is_one_line_and_code_2(capsys: Capture, name: str) -> None:
    prepare, arguments, words = WRONG[name]
    prepare()
    before = set(Path.cwd().rglob("*"))
    given = [*([] if "--data" in arguments else ["--data", "t.csv"]), *arguments.split()]
    start = time.process_time()
    assert run("train", *given) == 2
    assert time.process_time() - start < 5
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("fastmlp: error: ")
    assert words in line
    assert shown.out == ""
    assert set(Path.cwd().rglob("*")) == before


def test_a_number_that_cannot_be_computed_with_is_found_by_its_column(capsys: Capture) -> None:
    csv(table(x=with_one(np.arange(N), 1e300)))()
    assert run("train", "--data", "t.csv", "--label", "y") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("fastmlp: error: images: found values from ")
    assert "to 1e+300 in column 'x', expected" in line


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_missing_extra_is_named_with_the_command(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    parquet(table())()
    monkeypatch.setitem(__import__("sys").modules, package, None)
    assert run("train", "--data", "t.parquet", "--label", "y") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"found no {package}" in line
    assert line.endswith("pip install 'fastmlp[tables]'")
