"""Files that are whole or absent: atomic writing, and safetensors files with a checksum.

A file of tensors is a safetensors file with four entries of text metadata:

- ``format``: ``"fastmlp"``; ``format_version``: ``"1"``.
- The kind of the file, such as ``"network"``: a description in canonical JSON, from which the name,
  type and shape of every tensor follow.
- ``checksum``: SHA-256 of version, kind, description and tensors; see `_checksum`.
"""

import codecs
import hashlib
import json
import os
import reprlib
import secrets
import stat
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from fastmlp.errors import FastMLPError, FormatError
from fastmlp.machine.durable import flush, flush_folder, once_closed, open_without_waiting

Tensors = Mapping[str, np.ndarray]
Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""The type ("float32" or "float64") and the shape of each tensor, by name."""

FORMAT = "fastmlp"
FORMAT_VERSION = "1"

_TYPES = {"F32": "float32", "F64": "float64"}
# Bytes that text in other encodings begins with; of two that fit, the longer comes first.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
# The header names a few tensors and classes, in some kilobytes. A larger one is not ours: it is
# refused before it is parsed.
LARGEST_HEADER = 2**20
# Windows takes 259 characters, unless somebody allowed more, and a temporary file's name is up to 30 longer.
_LONG_PATH = 230


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and renamed;
    then the folder is flushed. After a crash or a loss of power at any instant, the path holds all of
    the old bytes or all of the new. A killed process may leave a ``.fastmlp-*.tmp`` file, which
    nothing reads.

    Devices and named pipes are written to directly: they keep no bytes, and replacing them would
    destroy them.

    Parameters
    ----------
    path : str or Path
        Its folder must exist. A symbolic link is followed.
    data : bytes
        The whole content.

    Raises
    ------
    OSError
        If the disk is full, the folder is missing or not writable, and so on. The error names `path`,
        which then also holds all of the old bytes or all of the new.
    """
    with naming(path):
        if os.path.exists(path) and not os.path.isfile(path):
            with open(path, "wb") as special:
                special.write(data)
        else:
            _replace(Path(os.path.realpath(path)), data)


def write_text(path: str | Path, text: str) -> None:
    """Write a text whole or not at all, as UTF-8 with the line breaks that it has.

    Halves of letters, which names of files and TOML keys may hold, are written as Python spells them.

    Raises
    ------
    OSError
        As in `write_atomic`.
    """
    write_atomic(path, text.encode(errors="backslashreplace"))


def append(path: str | Path, data: bytes, at: int | None = None, *, flushed: bool = True) -> None:
    """Write to the end of a file.

    Parameters
    ----------
    path : str or Path
        Made if missing.
    data : bytes
    at : int, optional
        Where the end is: what lies behind is cut off. By default that of the file.
    flushed : bool
        Whether to flush it to the disk, too, so that it survives a loss of power.

    Raises
    ------
    OSError
        Names `path`. The file may then hold a part of the bytes.
    """
    with naming(path), open(path, "ab") as file:
        if at is not None:
            file.truncate(at)
        file.write(data)
        file.flush()
        if flushed:
            flush(file.fileno())


def read_text(path: str | Path, most: int, expected: str) -> str:
    """Return the text of a file in UTF-8, with a byte-order mark or without.

    Parameters
    ----------
    path : str or Path
    most : int
        Bytes. A larger file is not read.
    expected : str
        What the file should be, such as "a configuration".

    Raises
    ------
    FormatError
        If it cannot be read, is larger, or is in another encoding, which the message names.
    """
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            data = file.read(most + 1)
            is_pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise FormatError(f"{path}: cannot be read: {_reason(error, path)}") from error
    if is_pipe and not data:
        raise FormatError(f"{path}: found a pipe that nobody writes to, expected {expected}")
    if len(data) > most:
        raise FormatError(f"{path}: found over {most} bytes, expected {expected}")
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    if encoding is None and b"\0" in data:
        encoding = "UTF-16 or zero bytes"
    try:
        if encoding is None:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = f"byte 0x{data[error.start]:02x} at {error.start}"
    raise FormatError(f"{path}: found {encoding}, expected {expected} in UTF-8; save it as UTF-8")


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let an OSError of the block name this path; those of writing and flushing name none."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, _reason(error, path), str(path)) from error


def _reason(error: Exception, path: str | Path) -> str:
    """Return what an error says; Windows calls a path missing that is longer than it takes by default."""
    found = getattr(error, "strerror", None) or str(error)
    length = len(os.path.abspath(path))
    if sys.platform == "win32" and isinstance(error, FileNotFoundError) and length >= _LONG_PATH:
        found += f" (found a path of {length} characters, expected fewer than {_LONG_PATH}; choose a shorter one)"
    return found


def found_at(path: Path) -> str:
    """Return what an error message says is found in place of a regular file."""
    if path.is_dir():
        return "a folder"
    return "no regular file" if path.exists() else "no such file"


def write_tensors(
    path: str | Path, kind: str, description: Mapping[str, Any], tensors: Tensors
) -> None:
    """Write tensors and their description to a file, from which `read_tensors` gets the same bits.

    Equal content gives equal bytes, and an existing file stays whole until the new one is.

    Parameters
    ----------
    path : str or Path
        Usually named ``*.safetensors``.
    kind : str
        What the file is; readers of other kinds refuse it.
    description : mapping
        Plain values for JSON, from which `read_tensors` derives the expected tensors.
    tensors : mapping of str to float32 or float64 array
        By name.

    Raises
    ------
    FormatError
        If the description is too long for the header.
    OSError
        As in `write_atomic`.
    """
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    metadata = {
        "checksum": _checksum(kind, text, tensors),
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        kind: text,
    }
    data = to_safetensors(tensors, metadata)
    end = 8 + _header_length(data)
    # The library orders the metadata differently in each call, but equal content should give equal
    # bytes. Offsets count from the end of the header, so its length may change.
    header = json.dumps(json.loads(data[8:end]) | {"__metadata__": metadata}).encode()
    header += b" " * (-len(header) % 8)
    if len(header) > LARGEST_HEADER:
        raise FormatError(
            f"{path}: not written: found a header of {len(header)} bytes, expected at most "
            f"{LARGEST_HEADER}; shorten the names in it"
        )
    write_atomic(path, b"".join((struct.pack("<Q", len(header)), header, data[end:])))


def read_tensors(
    path: str | Path, kind: str, layout: Callable[[Any], Layout]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that `write_tensors` wrote.

    Nothing in the file is executed, and no tensor is read before its name, type and shape have been
    checked, so a damaged or foreign file costs neither memory nor time.

    Parameters
    ----------
    path : str or Path
        The file.
    kind : str
        What the file must be.
    layout : callable
        Takes the description, which may be any JSON, and returns the types and shapes of its
        tensors, or raises a FastMLPError.

    Returns
    -------
    description : dict
    tensors : dict of str to array

    Raises
    ------
    FormatError
        If the file is missing, unreadable, damaged or something else. The message names the file,
        what was found and what was expected.
    """
    with _opened(path, f"fastmlp {kind}") as opened:
        metadata = opened.metadata() or {}
        text = _description_text(metadata, kind)
        try:
            description = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(_damaged(f"a description that is no JSON ({error})")) from error
        _check_layout(opened, layout(description))
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if metadata.get("checksum") != _checksum(kind, text, tensors):
            raise FormatError(_damaged("content that does not match its checksum"))
    return description, tensors


def tensors_from(data: bytes) -> dict[str, np.ndarray]:
    """Return the tensors of a safetensors file that is in memory.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    try:
        if _header_length(data) > LARGEST_HEADER:
            raise FormatError(_damaged("a header of another size"))
        return from_safetensors(data)
    except (SafetensorError, KeyError) as error:  # KeyError: an unknown type
        raise FormatError(_damaged(reprlib.repr(str(error)))) from error


def has_kind(path: str | Path, kind: str) -> bool:
    """Return whether `write_tensors` wrote a file of this kind; `read_tensors` says if it is damaged.

    Raises
    ------
    FormatError
        If the file is missing, unreadable or no safetensors file.
    """
    with _opened(path, "model of fastmlp") as opened:
        return kind in (opened.metadata() or {})


@contextmanager
def _opened(path: str | Path, expected: str) -> Iterator[Any]:
    """Open a safetensors file whose header has the usual size; all errors become one line that names it."""
    path = Path(path)
    foreign = f"found a file that is not safetensors or cut short, expected a {expected}"
    try:
        if not path.is_file():
            raise FormatError(f"found {found_at(path)}, expected a {expected}")
        with path.open("rb") as file:
            length = _header_length(file.read(8))
        if length > LARGEST_HEADER:
            raise FormatError(foreign)
        with safe_open(path, framework="numpy") as opened:
            yield opened
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        # repr, because the reason may quote names from the file, with any characters in them.
        raise FormatError(f"{path}: {foreign} ({reprlib.repr(str(error))})") from error
    except FastMLPError as error:
        raise FormatError(f"{path}: {error}") from error


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".fastmlp-{secrets.token_hex(8)}.tmp")
    try:
        # Files of the module tempfile would stay readable for their owner alone.
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            flush(file.fileno())
        once_closed(lambda: temporary.replace(target))
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    flush_folder(target.parent)


def _header_length(data: bytes) -> int:
    """Return the length of the header of a safetensors file, which is in its first eight bytes."""
    return int.from_bytes(data[:8], "little")


def _checksum(kind: str, text: str, tensors: Tensors) -> str:
    """Return the SHA-256 of version, kind, description, and each tensor in the order of their names.

    It covers the description because a flipped bit in the name of a class is as bad as one in a weight.
    """
    digest = hashlib.sha256(f"{FORMAT} {FORMAT_VERSION} {kind}\n{text}\n".encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _description_text(metadata: Mapping[str, str], kind: str) -> str:
    if metadata.get("format") != FORMAT:
        raise FormatError(
            f"found a safetensors file without the metadata of fastmlp, expected a {kind}; "
            "tensors of PyTorch go through Network.from_state_dict"
        )
    if metadata.get("format_version") != FORMAT_VERSION:
        raise FormatError(
            f"found format version {reprlib.repr(metadata.get('format_version'))}, expected "
            f"{FORMAT_VERSION!r}; upgrade fastmlp"
        )
    if kind not in metadata:
        raise FormatError(
            f"found metadata {reprlib.repr(sorted(metadata))}, expected {kind!r} in it"
        )
    return metadata[kind]


def _check_layout(opened: Any, expected: Layout) -> None:
    """Raise a FormatError unless names, types and shapes in a file are those of its description."""
    found, wanted = sorted(opened.keys()), sorted(expected)
    if found != wanted:
        raise FormatError(_damaged(f"tensors {reprlib.repr(found)}", reprlib.repr(wanted)))
    for name, (dtype, shape) in expected.items():
        tensor = opened.get_slice(name)
        code, sizes = tensor.get_dtype(), tuple(tensor.get_shape())
        if (_TYPES.get(code), sizes) != (dtype, shape):
            raise FormatError(_damaged(f"{name} as {code} {sizes}", f"{dtype} {shape}"))


def _damaged(found: str, expected: str = "a file as it was written") -> str:
    return f"found {found}, expected {expected}; copy or train it again"
