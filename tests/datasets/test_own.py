"""Your own data: which format a path has, and what is said of others."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fastmlp.datasets import own
from fastmlp.datasets.options import OwnOptions
from fastmlp.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        *(("digits", False), ("", False), ("a/b", True), ("a\\b", True), ("a.csv", True)),
        *(("./digits", True), (".", True), ("mnist", True), (".hidden", False), ("there", True)),
    ],
)
def test_a_name_is_a_path_if_it_is_written_so_or_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_path: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "there").touch()
    assert own.is_path(name) is is_path


def test_tables_are_known_by_their_endings() -> None:
    names = ("a.csv", "b/C.TSV", "a.csv.gz", "a.parquet", "a.feather", "a.arrow")
    assert [own.is_table(name) for name in names] == [True] * 6
    assert [own.is_table(name) for name in ("csv", "a.csv/b", "a.gz", "a.npz", "")] == [False] * 5


def test_what_leads_to_no_data_is_named(tmp_path: Path) -> None:
    expected = (
        r"expected a folder of pictures; arrays \(.npz, .npy\); a table \(.csv, .tsv, .csv.gz, "
        r".tsv.gz, .parquet, .feather, .arrow\)"
    )
    with pytest.raises(DataError, match=rf"a.csv: found no such file or folder, {expected}$"):
        own.load(tmp_path / "a.csv", OwnOptions())
    with pytest.raises(DataError, match=r"found no such file .*; in TOML write a path with backsl"):
        own.load(f"{tmp_path}/a\tb.csv", OwnOptions())
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(DataError, match=f"found a file of another kind, '.xlsx', {expected}$"):
        own.load(tmp_path / "a.xlsx", OwnOptions())
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        with pytest.raises(DataError, match="found no regular file, expected a file of NumPy's"):
            own.load(tmp_path / "pipe.npz", OwnOptions())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "a.npz",
            {"size": 8},
            "size: found 8 with .*a.npz, expected it to be left out: arrays has",
        ),
        ("a.npz", {"weight": "w"}, "weight: found 'w' with"),
        ("a.csv", {"skip_bad": True}, "skip_bad: found True with .*a table has no such option"),
        (".", {"label": "y"}, "label: found 'y' with .*: a folder of pictures has no such option"),
        (".", {"task": "regression"}, "task: found 'regression' with"),
    ],
)
def test_an_option_of_another_format_is_refused(
    tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    for one in ("a.npz", "a.csv"):
        (tmp_path / one).touch()
    with pytest.raises(ConfigError, match=words):
        own.load(tmp_path / name, OwnOptions(**options))


def test_parts_that_are_not_there_are_drawn(tmp_path: Path) -> None:
    images = np.arange(200, dtype=np.uint8).reshape(40, 5)
    np.savez(tmp_path / "A.NPZ.npz", X=images, y=np.arange(40) % 2)
    parts = own.load(str(tmp_path / "A.NPZ.npz"), OwnOptions(split=(0.5, 0.25, 0.25)))
    assert [len(part) for part in parts] == [20, 10, 10]
    rows = np.concatenate([part.images for part in parts])
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], images)


def test_options_of_a_format_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "home"))
    for name in ("a/0", "a/1", "a/2", "b/0", "b/1", "b/2", "b/3"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), len(name)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "b" / "3.png").write_bytes(b"no picture")
    options = OwnOptions(size=4, skip_bad=True, split=(0.4, 0.3, 0.3))
    with pytest.warns(UserWarning, match="left out: 1 file"):
        parts = own.load(tmp_path / "photos", options)
    assert {part.shape for part in parts} == {(1, 4, 4)}
    np.savez(tmp_path / "a.npz", X=np.eye(40), z=np.arange(40) % 2)
    options = OwnOptions(label="z", task="classification", seed=3)
    parts = own.load(tmp_path / "a.npz", options)
    assert sum(map(len, parts)) == 40
    (tmp_path / "a.csv").write_text("x,y,w\n" + "".join(f"{n},{n % 2},1\n" for n in range(40)))
    parts = own.load(tmp_path / "a.csv", OwnOptions(label="y", weight="w", missing="error"))
    assert parts.train.weights is not None
