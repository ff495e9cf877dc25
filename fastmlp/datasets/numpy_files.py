"""NumPy's files: the arrays in an NPY file or an NPZ archive, without unpickling anything.

Every size in a file is compared with that of the file before memory is taken. Large arrays that lie in a file as they
stand in memory stay there and are mapped: those of NPY files, and of NPZ archives that are not compressed.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from fastmlp.datasets.download import reading
from fastmlp.datasets.rows import LARGE
from fastmlp.errors import DataError, line_of
from fastmlp.machine.files import found_at
from fastmlp.machine.memory import whole_bytes

NPY = b"\x93NUMPY"
NPZ = (b"PK\x03\x04", b"PK\x05\x06")  # with and without members
KINDS = "biufU"  # of types: numbers and texts
CHUNK = 1 << 20  # bytes read at a time
PACKED = {zipfile.ZIP_STORED: False, zipfile.ZIP_DEFLATED: True}


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, which `read` reads or maps.

    Attributes
    ----------
    where : str
        Its file, and its name in there.
    shape : tuple of int
    dtype : dtype
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    _read: Callable[[], npt.NDArray[Any]]

    def read(self) -> npt.NDArray[Any]:
        """Return the array.

        Raises
        ------
        DataError
            If its file is damaged, or it does not fit into memory.
        """
        with reading(self.where, "a whole file of NumPy's"):
            return self._read()


def arrays_in(path: Path) -> dict[str, StoredArray]:
    """Return the arrays of an NPZ archive by their names, or the one of an NPY file by the name of the file.

    Raises
    ------
    DataError
        If it is another kind of file or damaged, or holds what are no numbers or texts.
    """
    if not path.is_file():
        raise DataError(f"{path}: found {found_at(path)}, expected a file of NumPy's (.npy, .npz)")
    with reading(path, "a file of NumPy's (.npy, .npz)"), path.open("rb") as file:
        start = file.read(len(NPY))
        if start.startswith(NPZ):
            return _members(path)
        if start != NPY:
            raise DataError(
                f"{path}: starts with {start!r}, expected an array of NumPy's, as numpy.save and "
                "numpy.savez write it"
            )
        file.seek(0)
        return {path.stem: _from_file(path, str(path), file, 0, path.stat().st_size)}


def _members(path: Path) -> dict[str, StoredArray]:
    """Return the arrays of an archive."""
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            where = f"{path}/{name}"
            if name == member.filename or name in found:
                what = "twice" if name in found else "which is no array"
                raise DataError(
                    f"{path}: found {member.filename!r}, {what}, expected arrays as numpy.savez writes them"
                )
            with reading(where, "an array of NumPy's"):
                if member.compress_type not in PACKED:
                    raise DataError(
                        f"{where}: packed by method {member.compress_type}, expected numpy.savez or "
                        "numpy.savez_compressed"
                    )
                if PACKED[member.compress_type]:
                    found[name] = _packed(path, where, archive, member)
                else:
                    file.seek(member.header_offset)
                    names = struct.unpack("<26xHH", file.read(30))
                    start = member.header_offset + 30 + sum(names)
                    file.seek(start)
                    found[name] = _from_file(path, where, file, start, member.file_size, member)
    return found


def _from_file(
    path: Path,
    where: str,
    file: IO[bytes],
    start: int,
    size: int,
    member: zipfile.ZipInfo | None = None,
) -> StoredArray:
    """Return an array that lies in a file as it stands in memory, from `start` on, in `size` bytes."""
    shape, in_columns, dtype = _header(where, file)
    offset = file.tell()
    count, length = math.prod(shape), math.prod(shape) * dtype.itemsize
    end = os.fstat(file.fileno()).st_size
    if offset - start + length != size or start + size > end:
        raise DataError(
            f"{where}: found {min(size, end - start) - (offset - start)} bytes of values, expected "
            f"{length} for {dtype} {list(shape)}; copy or save it again"
        )

    order: Literal["C", "F"] = "F" if in_columns else "C"

    def read() -> npt.NDArray[Any]:
        if member is not None:
            with zipfile.ZipFile(path) as archive, archive.open(member) as content:
                while content.read(CHUNK):  # to the end, where the checksum is compared
                    pass
        # A file that somebody writes to while it is mapped ends the process, so that small ones are read.
        if length >= LARGE and not offset % dtype.alignment:
            mapped: npt.NDArray[Any] = np.memmap(path, dtype, "r", offset, shape, order)
            return mapped
        with path.open("rb") as file:
            file.seek(offset)
            values: npt.NDArray[Any] = np.fromfile(file, dtype, count)
            return np.ndarray(shape, dtype, values, order=order)

    return StoredArray(where, shape, dtype, read)


def _packed(
    path: Path, where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> StoredArray:
    """Return an array that is compressed."""
    with archive.open(member) as file:
        shape, in_columns, dtype = _header(where, file)
        offset = file.tell()
    length = math.prod(shape) * dtype.itemsize
    if offset + length != member.file_size:
        raise DataError(
            f"{where}: found {member.file_size - offset} bytes of values, expected {length} for {dtype} "
            f"{list(shape)}; copy or save it again"
        )

    def read() -> npt.NDArray[Any]:
        if length > whole_bytes():
            raise DataError(
                f"{where}: found {length:,} bytes once it is unpacked, expected what fits into memory; save it "
                "with numpy.save or numpy.savez, which can be read in parts"
            )
        content = np.empty(length, np.uint8)
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            file.read(offset)
            at = 0
            while chunk := file.read(CHUNK):
                content[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
                at += len(chunk)
        if at != length:
            raise DataError(
                f"{where}: found {at} bytes of values, expected {length}; copy it again"
            )
        return content.view(dtype).reshape(shape, order="F" if in_columns else "C")

    return StoredArray(where, shape, dtype, read)


def _header(where: str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether columns are contiguous, and the type of the array that a file goes on with."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise DataError(
            f"{where}: found version {version} of the format, expected (1, 0) or (2, 0)"
        )
    try:
        shape, in_columns, dtype = readers[version](file)
    except (TokenError, SyntaxError, MemoryError) as error:  # of NumPy's attempts to understand it
        raise DataError(
            f"{where}: found a damaged header ({line_of(error)}), expected type and shape; copy or save it again"
        ) from error
    if dtype.hasobject:
        raise DataError(
            f"{where}: found Python objects, which are not unpickled, expected numbers or texts; save it as an "
            "array of such, for instance array.astype(float) or array.astype(str)"
        )
    if dtype.kind not in KINDS or min(shape, default=1) < 0:
        raise DataError(f"{where}: found {dtype} {list(shape)}, expected numbers or texts")
    return shape, in_columns, dtype
