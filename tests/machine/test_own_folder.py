"""A folder that is read only if nobody else could have written to it."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs
import pytest

from fastmlp.machine import own_folder
from fastmlp.machine.own_folder import ForeignError, OwnFolder, user_cache_folder

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners are numbers on POSIX alone")
root = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="gives files away")


@pytest.fixture(params=[0, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.usefixtures("umask")
def test_what_is_made_is_closed_whatever_the_umask(tmp_path: Path) -> None:
    folder = OwnFolder(tmp_path / "above" / "it")
    folder.write("file", b"content")
    assert folder.read("file") == b"content"
    assert mode(tmp_path / "above") == mode(folder.path) == 0o700
    assert mode(folder.path / "file") == 0o600
    assert os.listdir(folder.path) == ["file"]


def test_a_file_is_replaced_removed_and_missed(tmp_path: Path) -> None:
    folder = OwnFolder(tmp_path / "own")
    (folder.path / "file" / "deep").mkdir(parents=True)
    with pytest.raises(OSError, match=r"directory|kind|denied"):
        folder.read("file")
    folder.write("file", b"1")
    folder.write("file", b"2")
    assert folder.read("file") == b"2"
    folder.remove("file")
    folder.remove("file")
    with pytest.raises(FileNotFoundError):
        folder.read("file")


@posix
@pytest.mark.parametrize("bits", [0o777, 0o770, 0o702, 0o1777], ids=oct)
def test_a_folder_or_file_that_others_can_write_to_is_refused(tmp_path: Path, bits: int) -> None:
    folder = OwnFolder(tmp_path / "own")
    folder.write("file", b"")
    (folder.path / "file").chmod(bits)
    with pytest.raises(ForeignError, match="others can write to it"):
        folder.read("file")
    folder.write("file", b"mine")
    assert folder.read("file") == b"mine"
    folder.path.chmod(bits)
    for use in (lambda: folder.read("file"), lambda: folder.write("file", b"")):
        with pytest.raises(ForeignError, match=f"mode {bits:04o}"):
            use()
    with pytest.raises(ForeignError):
        OwnFolder(folder.path)


@root
@pytest.mark.parametrize("owner", [54321, 65534])
def test_a_folder_or_file_of_another_user_is_refused(tmp_path: Path, owner: int) -> None:
    folder = OwnFolder(tmp_path / "own")
    folder.write("file", b"")
    os.chown(folder.path / "file", owner, -1)
    with pytest.raises(ForeignError, match=str(owner)):
        folder.read("file")
    os.chown(folder.path, owner, -1)
    with pytest.raises(ForeignError, match=str(owner)):
        OwnFolder(folder.path)


@posix
def test_symbolic_links_and_pipes_are_refused(tmp_path: Path) -> None:
    folder = OwnFolder(tmp_path / "own")
    (tmp_path / "link").symlink_to(folder.path)
    with pytest.raises(ForeignError, match="symbolic link"):
        OwnFolder(tmp_path / "link")
    OwnFolder(tmp_path / "link" / "below")  # only its own name must be no link
    folder.write("file", b"")
    (folder.path / "link").symlink_to("file")
    os.mkfifo(folder.path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"symbolic links|kind"):
            folder.read(name)


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = OwnFolder(tmp_path / "own")
    folder.write("file", b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write("file", b"new")
    assert folder.read("file") == b"old"
    assert os.listdir(folder.path) == ["file"]


def no_home(*_: object) -> str:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("answer", [no_home, lambda name: "~/.cache/fastmlp"])
def test_a_user_without_a_home_has_no_cache_folder(
    answer: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_dir", answer)
    assert user_cache_folder() is None


def test_a_file_is_written_in_pieces_or_not_at_all(tmp_path: Path) -> None:
    folder = OwnFolder(tmp_path / "own")
    with folder.writing("a") as file:
        file.write(b"12")
        file.write(b"3")
        assert folder.names() != ["a"]
    assert (folder.names(), folder.read("a")) == (["a"], b"123")
    with pytest.raises(KeyError), folder.writing("a") as file:
        file.write({}["b"])
    assert (folder.names(), folder.read("a")) == (["a"], b"123")


def test_where_there_are_no_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows opens no folder as a file, so that every name is a whole path."""
    monkeypatch.setattr(own_folder, "_HAS_OWNERS", False)
    monkeypatch.delattr(os, "geteuid", raising=False)
    assert own_folder.user_name() == "user"
    folder = OwnFolder(tmp_path / "a" / "own")
    folder.write("file", b"old")
    folder.write("file", b"new")
    assert folder.read("file") == b"new"
    os.close(folder.open("lock"))
    (folder.path / "below").mkdir()
    folder.write("below", b"in place of a folder")
    assert sorted(folder.names()) == ["below", "file", "lock"]
    for name in folder.names():
        folder.remove(name)
    assert folder.names() == []


@posix
def test_a_lock_file_of_another_kind_is_closed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = OwnFolder(tmp_path / "own")
    os.mkfifo(folder.path / "pipe", 0o600)
    opened: list[int] = []
    plain = os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: opened.append(plain(*a, **k)) or opened[-1])
    with pytest.raises(OSError, match="another kind of file") as raised:
        folder.open("pipe")
    assert raised.value.errno == errno.EINVAL
    assert len(opened) == 2
    for descriptor in opened:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(descriptor)


@posix
def test_a_file_is_opened_at_its_end(tmp_path: Path) -> None:
    folder = OwnFolder(tmp_path / "own")
    for text in (b"1", b"2"):
        descriptor = folder.open("file")
        os.write(descriptor, text)
        os.close(descriptor)
    assert folder.read("file") == b"12"
    assert mode(folder.path / "file") == 0o600


@posix
def test_a_file_in_place_of_the_folder_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        OwnFolder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        OwnFolder(tmp_path / "file" / "below")


@posix
def test_users_are_told_apart_by_their_numbers() -> None:
    assert own_folder.user_name() == str(os.geteuid())


def test_a_folder_is_removed_where_the_system_calls_it_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = OwnFolder(tmp_path / "own")
    (folder.path / "below" / "deep").mkdir(parents=True)
    plain = os.unlink

    def unlink(path: str, **where: int | None) -> None:  # as on macOS and Windows
        if path.endswith("below"):
            raise PermissionError(errno.EPERM, "Operation not permitted")
        plain(path, **where)

    monkeypatch.setattr(os, "unlink", unlink)
    folder.remove("below")
    assert folder.names() == []
