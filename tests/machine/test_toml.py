"""TOML files: what is no configuration is said in one line and at once, and byte-order marks are read."""

import time
from pathlib import Path

import pytest

from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.own import load
from fastmlp.errors import ConfigError, DataError
from fastmlp.machine.toml import LARGEST_FILE, is_table, read_toml, to_toml
from fastmlp.studies.study import FOLDER
from fastmlp.training.config import TrainConfig


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.toml"


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 20_000) + " = 1",
        ".".join("a" * 60_000) + " = 1",
        " . ".join(['"\\""'] * 10_000) + " = 1",
        " .\t".join(["'a'"] * 10_000) + " = 1",
        "[" + ".".join("a" * 20_000) + "]",
        "[[" + ".".join("a" * 20_000) + "]]",
        "a = {" + ".".join("a" * 20_000) + " = 1}",
        (".".join("a" * 300) + " = 1\n") * 200,
        'a = "' + '\\"' * 120_000,
        "a" * 250_000,
        "a = " + "[" * 120_000,
        "a = " + "[" * 100 + "]" * 100,
        "a = " + "{a = " * 50 + "1" + "}" * 50,
        "a = " + "9" * 100_000,
        "a = 1\n" * 100_000,
        '"\\u001b[2J' + "x" * 200_000 + '" = 1',
    ],
    ids=lambda text: text[:20].encode("unicode_escape").decode(),
)
def test_hostile_keys_and_lists_are_refused_at_once(path: Path, text: str) -> None:
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"c\.toml: ") as raised:
        TrainConfig.from_toml(path)
    assert time.process_time() - start < 2  # the parser alone took minutes
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 6000


def test_keys_of_some_parts_and_texts_with_dots_are_read(path: Path) -> None:
    path.write_text(
        'a.b.c."d.e".f.g.h = "1.2.3.4, e.g. a.b.c.d"\nlist = [0.1, 0.2, 0.3]  # and so on ...'
    )
    assert read_toml(path)["a"]["b"]["c"]["d.e"]["f"]["g"]["h"] == "1.2.3.4, e.g. a.b.c.d"


def test_the_studies_are_far_from_the_limits() -> None:
    assert max(study.stat().st_size for study in FOLDER.glob("*.toml")) < LARGEST_FILE / 8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_read(path: Path, encoding: str) -> None:
    path.write_text("epochs = 7\n# é", encoding=encoding)
    assert TrainConfig.from_toml(path).epochs == 7


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("epochs = 7".encode("utf-16"), "UTF-16"),
        ("epochs = 7".encode("utf-16-le"), "UTF-16"),
        ("epochs = 7".encode("utf-32"), "UTF-32"),
        ("é = 7".encode("latin-1"), "byte 0xe9 at 0"),
        (b"a = 1\n\xff", "byte 0xff at 6"),
    ],
)
def test_other_encodings_are_named(path: Path, data: bytes, found: str) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=rf"c\.toml: found {found}.*; save it as UTF-8"):
        read_toml(path)


@pytest.mark.parametrize("name", [r"C:\Users\me", r"D:\photos", r"..\mine.csv", r"\\host\share"])
def test_backslashes_of_a_path_are_explained(path: Path, name: str) -> None:
    path.write_text(f'name = "{name}"')
    with pytest.raises(ConfigError, match="write a path with backslashes in single quotes"):
        read_toml(path)
    path.write_bytes(f"name = '{name}'\r\nseed = 1\r\n".encode())
    assert read_toml(path) == {"name": name, "seed": 1}


def test_a_path_with_a_tabulator_instead_of_its_backslash(path: Path) -> None:
    path.write_text(r'name = "C:\temp\new.csv"')
    with pytest.raises(DataError, match=r"temp.*new\.csv: found no such .*in single quotes"):
        load(read_toml(path)["name"], OwnOptions())


def test_limits_of_parts_levels_and_bytes(path: Path) -> None:
    path.write_text("a = 1\nb = 1\n\n" + ".".join("c" * 8) + " = 1")
    assert read_toml(path)["a"] == 1
    path.write_text("\na = 1\nb = 1\n" + ".".join("c" * 9) + " = 1")
    with pytest.raises(ConfigError) as raised:
        read_toml(path)
    told = "found a key of more than 8 parts in line 4, expected fewer"
    assert str(raised.value) == f"{path}: {told}"
    path.write_text("a = " + "[" * 31 + "]" * 31)
    assert list(read_toml(path)) == ["a"]
    path.write_text("a = " + "[" * 32 + "]" * 32)
    with pytest.raises(ConfigError, match="found more than 32 levels, expected fewer"):
        read_toml(path)
    path.write_text("a = 1".ljust(2**18))
    assert read_toml(path) == {"a": 1}
    path.write_text("a = 1".ljust(2**18 + 1))
    with pytest.raises(ConfigError, match="found over 262144 bytes, expected a configuration"):
        read_toml(path)


def test_what_is_wrong_is_said_once(path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        read_toml(path)
    assert str(raised.value).startswith(f"{path}: cannot be read: ")
    path.write_text("a = 1\nb = \n")
    with pytest.raises(ConfigError) as raised:
        read_toml(path)
    assert str(raised.value).startswith(f"{path}: found no valid TOML: Invalid value (at line 2")
    assert "backslash" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_tables_are_what_was_written_with_brackets() -> None:
    assert all(is_table(one) for one in ({}, {"a": 1}, [{}], [{"a": 1}, {}]))
    assert not any(is_table(one) for one in ([], [1], [{}, 1], [[{}]], "a", 1, None, ({},)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((True, "true"), (False, "false"), (7, "7"), (1e-300, "1e-300"), ("a b", '"a b"')),
        *(((), "[]"), ((1, "a", (True, 0.5)), '[1, "a", [true, 0.5]]')),
    ],
)
def test_values_are_read_as_they_were_written(path: Path, value: object, text: str) -> None:
    assert to_toml(value) == text
    path.write_text(f"a = {to_toml(value)}")
    assert read_toml(path)["a"] == (value if not isinstance(value, tuple) else as_lists(value))


def as_lists(value: object) -> object:
    return [as_lists(one) for one in value] if isinstance(value, tuple) else value
