"""The data folder, the download of a missing file, and the errors about a damaged one."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastmlp.errors import DataError, line_of
from fastmlp.machine.own_folder import user_cache_folder
from fastmlp.machine.streams import BestEffort
from fastmlp.machine.streams import warn as give_warning

DataHome = str | os.PathLike[str] | None

ROUNDS = 3  # requests to each mirror
PAUSE = 2.0  # seconds before the second round; twice as long before the third
TIMEOUT = 30  # seconds a server may stay silent
CHUNK = 1 << 16  # bytes; pooch's default of 1 KiB slows a fast connection down

# What gzip, tarfile, zipfile, pickletools and NumPy raise for damaged bytes.
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    ValueError,
    OverflowError,
    RuntimeError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class DataWarning(UserWarning):
    """A file was read, but it is not the published one."""


@dataclass(frozen=True)
class Remote:
    """A published file.

    Parameters
    ----------
    file : str
        Its name, on the servers and on disk.
    sha256 : str
        Its hex checksum; a download with another one is deleted.
    urls : tuple of str
        Mirrors, in the order in which they are tried.
    content_md5 : str
        The md5 of the uncompressed file, for people who keep it unpacked; empty if unknown.
    """

    file: str
    sha256: str
    urls: tuple[str, ...]
    content_md5: str = ""


def home(data_home: DataHome = None) -> Path:
    """Return the folder that data is read from and downloaded to.

    It is `data_home`, else the environment variable FASTMLP_DATA, else the user's cache folder. A user who has no home
    has none: then it is the folder ``fastmlp-data`` where the program runs.
    """
    chosen = data_home or os.environ.get("FASTMLP_DATA") or user_cache_folder() or "fastmlp-data"
    # "." has no name to go by. "~" stays where nobody knows what it stands for.
    folder = Path(os.path.abspath(os.path.expanduser(chosen)))
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise DataError(f"{folder}: found a file, expected the folder that holds the data")
    return folder


def download(remote: Remote, folder: Path) -> Path:
    """Download a file into `folder`, with a progress bar on a terminal.

    The bytes go to a temporary file, which is renamed once its checksum is right.

    Raises
    ------
    DataError
        If no mirror delivers the published bytes; the message says what each one did.
    """
    import pooch  # type: ignore[import-untyped]

    with reading(folder, "a folder to write to"):
        folder.mkdir(parents=True, exist_ok=True)
    downloader = pooch.HTTPDownloader(
        progressbar=BestEffort(sys.stderr).isatty(), chunk_size=CHUNK, timeout=TIMEOUT
    )
    for attempt in range(ROUNDS):
        time.sleep(PAUSE * attempt)
        failures = []
        for url in remote.urls:
            # The errors of requests are OSErrors; a wrong checksum is a ValueError.
            try:
                sha256 = f"sha256:{remote.sha256}"
                return Path(pooch.retrieve(url, sha256, remote.file, folder, downloader=downloader))
            except (OSError, ValueError) as error:
                failures.append(f"{url}: {line_of(error)}")
    raise DataError(
        f"{remote.file}: no mirror delivered it ({'; '.join(failures)}); "
        f"check the network, or put the file into {folder} yourself"
    )


def warn_unless_published(path: Path, remote: Remote) -> None:
    """Warn if a file that someone put there is not the published one; it is read all the same."""
    with reading(path, remote.file), path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        warn(path, f"sha256 {found}, expected {remote.sha256}")


def warn(path: Path, difference: str) -> None:
    """Emit the one-line warning about files that are sound but not the published ones."""
    files = "files" if path.is_dir() else "file"
    give_warning(
        f"{path}: read, but not the published {files} ({difference})", DataWarning, stacklevel=2
    )


@contextmanager
def reading(where: object, expected: str) -> Iterator[None]:
    """Turn whatever the standard library raises for a damaged file into a DataError that names it.

    Parameters
    ----------
    where : path or str
        The file, or the member of an archive.
    expected : str
        What a sound file holds.
    """
    try:
        yield
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: {line_of(error)}; expected {expected}") from error
