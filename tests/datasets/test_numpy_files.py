"""NumPy's files: each array is what its file holds, and no more."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fastmlp import DataError
from fastmlp.datasets import numpy_files
from fastmlp.datasets.numpy_files import arrays_in


@pytest.mark.parametrize("rows", [3, 5])
def test_an_array_does_not_reach_into_the_next(tmp_path: Path, rows: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in "xy":
            content = io.BytesIO()
            header = {"descr": "<f8", "fortran_order": False, "shape": (rows, 2)}
            np.lib.format.write_array_header_1_0(content, header)
            archive.writestr(f"{name}.npy", content.getvalue() + bytes(4 * 2 * 8))
    with pytest.raises(DataError, match=f"a.npz/x: found 64 bytes of values, expected {16 * rows}"):
        arrays_in(tmp_path / "a.npz")


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_length_is_refused(tmp_path: Path, change: int) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(DataError, match="expected 48 for float64"):
        arrays_in(tmp_path / "a.npy")


def test_an_array_larger_than_memory_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(6.0))
    array = arrays_in(tmp_path / "a.npz")["x"]
    monkeypatch.setattr(numpy_files, "whole_bytes", lambda: 47)
    with pytest.raises(DataError, match="found 48 bytes once it is unpacked"):
        array.read()
    monkeypatch.setattr(numpy_files, "whole_bytes", lambda: 48)
    np.testing.assert_array_equal(array.read(), np.arange(6.0))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), ()])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_shape_are_read(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    expected = np.ones(shape, order=order)  # type: ignore[call-overload]
    np.savez(tmp_path / "a.npz", x=expected)
    found = arrays_in(tmp_path / "a.npz")["x"].read()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found, expected)
