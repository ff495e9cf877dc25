"""NumPy's files: each array is what its file holds, and no more."""

import io
import warnings
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


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version, allow_pickle=True)
    return content.getvalue()


def archive_of(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that comes twice
        for name, content in members:
            archive.writestr(name, content)
    return path


SIX = np.arange(6.0)
WRONG: dict[str, tuple[bytes, str]] = {
    "version": (npy(SIX, (3, 0)), r"found version \(3, 0\) of the format, expected \(1, 0\) or"),
    "objects": (npy(np.array([None] * 3)), "found Python objects, which are not unpickled"),
    "dates": (
        npy(np.array(["2020"], "M8[D]")),
        r"found datetime64\[D\] \[1\], expected numbers or",
    ),
    "bytes": (npy(np.array([b"ab"])), r"found \|S2 \[1\], expected numbers or texts"),
    "records": (npy(np.zeros(2, "i4,f8")), "expected numbers or texts"),
    "below zero": (npy(SIX).replace(b"(6,)", b"(-6,)"), r"float64 \[-6\], expected numbers"),
    "damaged": (npy(SIX).replace(b"(6,)", b"(6,("), "found a damaged header"),
    "cut": (npy(SIX)[:9], "expected"),
    "fewer": (npy(SIX)[:-1], r"found 47 bytes of values, expected 48 for float64 \[6\]; copy or"),
    "more": (npy(SIX) + b"1", "found 49 bytes of values, expected 48 for float64"),
}


@pytest.mark.parametrize("form", ["file", "stored", "packed"])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_array_of_numbers_or_texts_is_refused(
    tmp_path: Path, case: str, form: str
) -> None:
    content, words = WRONG[case]
    path = tmp_path / ("a.npy" if form == "file" else "a.npz")
    if form == "file":
        path.write_bytes(content)
    else:
        method = zipfile.ZIP_DEFLATED if form == "packed" else zipfile.ZIP_STORED
        archive_of(path, ("x.npy", content), method=method)
    with pytest.raises(DataError, match=words) as raised:
        arrays_in(path)
    assert str(raised.value).startswith(f"{path}: " if form == "file" else f"{path}/x: ")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_both_versions_orders_and_methods_are_read(
    tmp_path: Path, version: tuple[int, int], method: int
) -> None:
    arrays = {
        "x": SIX.reshape(2, 3),
        "columns": np.asfortranarray(SIX.reshape(2, 3)),
        "big": SIX.astype(">i2"),
        "texts": np.array(["a", "bcd"]),
        "flags": np.array([True, False]),
    }
    members = [(f"{name}.npy", npy(array, version)) for name, array in arrays.items()]
    found = arrays_in(archive_of(tmp_path / "a.npz", *members, method=method))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(found[name].read(), array)
    (tmp_path / "b.c.npy").write_bytes(npy(arrays["columns"], version))
    (one,) = arrays_in(tmp_path / "b.c.npy").items()
    assert (one[0], one[1].where) == ("b.c", str(tmp_path / "b.c.npy"))
    np.testing.assert_array_equal(one[1].read(), arrays["columns"])


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "a.npz", npy(SIX)
    archive_of(path, ("x.npy", content), ("note.txt", b"a"))
    with pytest.raises(DataError, match=r"a.npz: found 'note\.txt', which is no array, expected"):
        arrays_in(path)
    archive_of(path, ("x.npy", content), ("x.npy", content))
    with pytest.raises(DataError, match=r"a.npz: found 'x\.npy', twice, expected arrays"):
        arrays_in(path)
    archive_of(path, ("x.npy", content), method=zipfile.ZIP_BZIP2)
    with pytest.raises(DataError, match=r"a.npz/x: packed by method 12, expected numpy.savez or"):
        arrays_in(path)
    assert arrays_in(archive_of(path)) == {}
    for start in (b"", b"PK\x03", b"\x93NUMP", b"X, y"):
        path.write_bytes(start)
        with pytest.raises(
            DataError, match=r"a.npz: starts with b'.*', expected an array of NumPy"
        ):
            arrays_in(path)
    with pytest.raises(DataError, match="found a folder, expected a file of NumPy's"):
        arrays_in(tmp_path)


def test_an_archive_whose_content_is_shorter_than_it_says(tmp_path: Path) -> None:
    """Its list of members says how long an array is; its compressed bytes and their sum say otherwise."""
    path = archive_of(tmp_path / "a.npz", ("x.npy", npy(SIX)[:-8]), method=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = len(npy(SIX)).to_bytes(4, "little")
    path.write_bytes(data)
    array = arrays_in(path)["x"]
    with pytest.raises(DataError, match=r"a.npz/x: found 40 bytes of values, expected 48; copy it"):
        array.read()


def test_a_sum_is_compared_before_an_array_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_files, "CHUNK", 8)  # it is at the end of the content
    values = np.arange(2000.0)  # more than the archive reads at once
    path = archive_of(tmp_path / "a.npz", ("x.npy", npy(values)))
    array = arrays_in(path)["x"]
    data = bytearray(path.read_bytes())
    data[data.index(values[1990].tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a.npz/x: .*CRC.*expected a whole file of NumPy's"):
        array.read()


@pytest.mark.parametrize("kind", ["a.npy", "a.npz"])
def test_large_arrays_are_mapped_and_small_ones_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = tmp_path / kind
    values = np.asfortranarray(np.arange(4096.0).reshape(64, 64))
    np.save(path, values) if kind == "a.npy" else np.savez(path, x=values)
    for large, is_mapped in ((values.nbytes, True), (values.nbytes + 1, False)):
        monkeypatch.setattr(numpy_files, "LARGE", large)
        (array,) = arrays_in(path).values()
        found = array.read()
        start = path.read_bytes().index(values.tobytes("A"))
        assert isinstance(found, np.memmap) == (is_mapped and start % 8 == 0)
        np.testing.assert_array_equal(found, values)
