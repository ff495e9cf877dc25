import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets

from fastmlp.datasets import digits, load, load_digits
from fastmlp.errors import DataError

GOLDEN = "3e322397afeb152ffdbda655b2ececc29a3722094ad6ba4f157cc8d076a4e837"


def test_digits_are_scikit_learns_in_a_fixed_order() -> None:
    data = load_digits()
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.shape == (1, 8, 8)
    assert data.images.dtype == np.uint8
    assert data.images.max() == 255  # as in a picture file, and nothing is lost
    levels = np.rint(data.images * (16 / 255)).astype(int)
    ours = np.column_stack([levels, data.labels])
    theirs = np.column_stack([images, labels]).astype(int)
    assert not np.array_equal(ours, theirs)
    assert np.array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])
    assert np.bincount(data.test.labels).min() >= 20
    # Guards the order: results on the test part are comparable between versions.
    assert data.checksum == GOLDEN
    assert load("digits").checksum == GOLDEN


def test_loading_imports_nothing_heavy() -> None:
    program = (
        "import sys; from fastmlp.datasets import load; load('digits');"
        "heavy = 'numba sklearn scipy matplotlib torch pooch PIL requests'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    found = digits.find()
    assert found is not None
    lines = gzip.decompress(found[0].read_bytes()).decode().splitlines()
    path = tmp_path / "a.csv.gz"
    for number, (line, words) in {
        5: ("17," + lines[5].partition(",")[2], r"\[1797, 65\] numbers up to 17, expected 1797"),
        1796: (lines[1796].rpartition(",")[0] + ",10", r"\[1797, 65\] numbers up to 1[06]"),
        0: (lines[0] + "\n" + lines[0], r"\[1798, 65\] numbers up to 16"),
    }.items():
        path.write_bytes(
            gzip.compress("\n".join({**dict(enumerate(lines)), number: line}.values()).encode())
        )
        with pytest.raises(DataError, match=rf"a\.csv\.gz: found {words}"):
            digits.read(path)
    for damaged in (
        b"text",
        gzip.compress(b"1,2\n"),
        gzip.compress(b"\xff"),
        gzip.compress(b"x"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.csv\.gz: .*expected 1797 lines of 64 grey levels"):
            digits.read(path)


def test_without_the_table_the_package_is_to_be_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in (None, type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, package=package: package)
        assert digits.find() is None
        with pytest.raises(
            DataError, match=r"digits\.csv\.gz is missing; install scikit-learn again"
        ):
            load_digits()
