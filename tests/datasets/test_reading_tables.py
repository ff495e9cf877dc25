"""Files of tables: what is read of each kind, and the limits of what they may hold."""

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.datasets import table_files
from fastmlp.datasets.table_files import read_table
from fastmlp.errors import DataError, FastMLPError

pd = pytest.importorskip("pandas")
pyarrow = pytest.importorskip("pyarrow")
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None]})


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz", "a.tsv", "a.tsv.gz"])
def test_a_text_is_read_by_its_separator(tmp_path: Path, name: str) -> None:
    separator = "\t" if ".tsv" in name else ","
    text = "\ufeff" + FRAME.to_csv(sep=separator, index=False).replace(separator, separator + " ")
    path = write(tmp_path / name, text.encode())
    pd.testing.assert_frame_equal(read_table(path), FRAME)


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".arrow"])
def test_a_file_of_arrow_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    FRAME.to_parquet(path) if ending == ".parquet" else FRAME.to_feather(path)
    pd.testing.assert_frame_equal(read_table(path), FRAME)
    table = pyarrow.Table.from_pandas(FRAME)
    if ending == ".arrow":
        with pyarrow.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
        pd.testing.assert_frame_equal(read_table(path), FRAME)
    table = table.rename_columns(["a", "b", "a"])
    if ending != ".parquet":
        with pyarrow.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
        with pytest.raises(DataError, match=r"found the column 'a' twice"):
            read_table(path)


def test_an_index_without_a_name_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", FRAME.to_csv().encode())
    pd.testing.assert_frame_equal(read_table(path), FRAME)
    path = write(tmp_path / "b.csv", b",a, ,c\n0,1,2,3\n")
    with pytest.raises(DataError, match=r"b.csv: column 3: found no name, expected one in the fir"):
        read_table(path)
    path = write(tmp_path / "b.csv", b"a, \n1,2\n")
    with pytest.raises(DataError, match="column 2: found no name"):
        read_table(path)
    path = write(tmp_path / "b.csv", b",a,b,a\n0,1,2,3\n")
    with pytest.raises(DataError, match="found the column 'a' twice, expected different names"):
        read_table(path)


def test_columns_may_be_kept_as_they_are_spelled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"code,n\n01,01\n1.0,2\n1e3,3\n")
    assert read_table(path)["code"].tolist() == [1.0, 1.0, 1000.0]
    frame = read_table(path, ["code", "other"])
    assert frame["code"].tolist() == ["01", "1.0", "1e3"]
    assert frame["n"].tolist() == [1, 2, 3]


WRONG: dict[str, tuple[str, bytes, str]] = {
    "semicolons": ("a.csv", b"a;b\n1;2\n", "found one column 'a;b', expected .* commas, not semic"),
    "tabs": ("a.csv", b"a\tb\n1\t2\n", "separated by commas, not tabs"),
    "bars": ("a.tsv", b"a|b\n1|2\n", "separated by tabs, not bars; save it so"),
    "empty": ("a.csv", b"", "found an empty file, expected a table whose first line"),
    "blank": ("a.csv.gz", b" \r\n\t\n", "found an empty file"),
    "no rows": ("a.csv", b"a,b\n", "found no rows, expected a table with at least one"),
    "Parquet": ("a.csv", b"PAR1....", "found a Parquet file, expected text in UTF-8; save it so"),
    "Arrow": ("a.csv", b"ARROW1\0\0", "found an Arrow file"),
    "ZIP": ("a.csv.gz", b"PK\x03\x04", "found a ZIP archive, such as Excel's"),
    "gzip": ("a.csv", b"\x1f\x8b\x08", "found a gzip archive"),
    "gzip in gzip": ("a.csv.gz", gzip.compress(b"a,b\n"), "found a gzip archive"),
    "UTF-16": ("a.csv", "a,b".encode("utf-16-le").join([b"\xff\xfe", b""]), "found UTF-16 text"),
    "UTF-16 BE": ("a.csv", b"\xfe\xff\0a", "found UTF-16 text"),
    "UTF-32": ("a.csv", b"\xff\xfe\0\0a\0\0\0", "found UTF-32 text"),
    "UTF-32 BE": ("a.csv", b"\0\0\xfe\xff\0\0\0a", "found UTF-32 text"),
    "zero bytes": ("a.csv", b"a,b\n1,\0\n", "found a binary file, expected text in UTF-8"),
    "another byte": ("a.csv", b"a,b\n1,\xe9\n", "found the byte 0xe9, which is not UTF-8; save it"),
    "cells": ("a.csv", b"a,b\n1,2,3\n", "cannot be read: ParserWarning: .*; expected a table"),
    "ragged": ("a.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read: "),
    "Parquet's": ("a.parquet", b"", "found an empty file, expected a table"),
    "Parquet of text": ("a.parquet", b"a,b\n1,2\n", "cannot be read: Arrow"),
    "Feather of text": ("a.feather", b"a,b\n1,2\n", "cannot be read: Arrow"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_table_is_one_line(tmp_path: Path, case: str) -> None:
    name, content, words = WRONG[case]
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=words) as raised:
        read_table(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).splitlines()) == 1


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b.csv: found no such file, expected a table in a file"):
        read_table(tmp_path / "b.csv")
    (tmp_path / "c.csv").mkdir()
    with pytest.raises(DataError, match=r"c.csv: found a folder, expected a table in a file"):
        read_table(tmp_path / "c.csv")


def test_a_compressed_text_is_as_large_as_its_file_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"a,b\n" + b"1,2\n" * 999
    path = write(tmp_path / "a.csv.gz", text)
    monkeypatch.setattr(table_files, "BEGINNING", 64)
    monkeypatch.setattr(table_files, "TEXT_A_BYTE", 2)
    monkeypatch.setattr(table_files, "USUAL_BYTES", len(text) - 2 * path.stat().st_size)
    assert len(read_table(path)) == 999
    monkeypatch.setattr(table_files, "USUAL_BYTES", len(text) - 2 * path.stat().st_size - 1)
    with pytest.raises(DataError, match=f"found over {len(text) - 1} bytes of text, expected less"):
        read_table(path)
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:-8] + bytes(8), whole + b"more"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a.csv.gz: "):
            read_table(path)


def test_a_parquet_file_has_as_many_values_as_it_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"a": np.zeros(500), "b": np.zeros(500)}).to_parquet(path)
    monkeypatch.setattr(table_files, "VALUES_A_BYTE", 1)
    size = path.stat().st_size
    monkeypatch.setattr(table_files, "USUAL_BYTES", 8 * 1000 - size)
    assert len(read_table(path)) == 500
    monkeypatch.setattr(table_files, "USUAL_BYTES", 8 * 1000 - size - 1)
    with pytest.raises(DataError, match="found 1,000 values, expected at most 999 in such a file"):
        read_table(path)


def test_damage_that_only_a_check_of_all_values_finds(tmp_path: Path) -> None:
    path = tmp_path / "a.feather"
    pd.DataFrame({"b": ["green"] * 9}).to_feather(path, compression="uncompressed")
    path.write_bytes(path.read_bytes().replace(b"green", b"gr\xff\xffn"))
    with pytest.raises(DataError, match=r"ArrowInvalid: .*UTF8"):
        read_table(path)
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"a": np.linspace(1, 2, 99)})
    frame.to_parquet(path, compression=None, write_page_checksum=True, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[data.index(frame["a"][7].tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="could not verify page integrity"):
        read_table(path)


def test_a_file_that_the_system_does_not_give_keeps_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", b"a,b\n1,2\n")

    def refuse(*_: object, **__: object) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError):
        read_table(path)
    monkeypatch.undo()

    def broken(*_: object) -> Any:
        raise OSError(5, "Input/output error")

    path = write(tmp_path / "a.csv.gz", b"a,b\n1,2\n")
    monkeypatch.setattr(gzip, "open", broken)
    with pytest.raises(DataError, match=r"a.csv.gz: cannot be read: OSError: .*; expected a table"):
        read_table(path)


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    path = tmp_path / "a.parquet"
    FRAME.to_parquet(path)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(FastMLPError, match=f"found no {package} .*fastmlp.tables") as raised:
        read_table(path)
    assert not isinstance(raised.value, DataError)
    assert str(raised.value).startswith("tables: " if package == "pandas" else f"{path}: ")
