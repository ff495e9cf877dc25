import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from fastmlp.datasets import cifar10, download, fetch, found, load, mnist
from fastmlp.datasets.download import Remote
from fastmlp.errors import DataError

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """A mirror on the loopback device that fails in every way its paths name."""

    log: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.log.append(self.path)
        trouble = self.path.split("/")[1]
        attempts = self.server.log.count(self.path)
        if trouble == "missing" or (trouble == "second-time" and attempts < 2):
            self.send_error(404)
            return
        body = b"<html>moved</html>" if trouble == "foreign" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if trouble == "truncated" else body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server(("127.0.0.1", 0), Handler) as running:
        running.log = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def remote(server: Server, *troubles: str, sha256: str = SHA256) -> Remote:
    return Remote(
        "file.bin", sha256, tuple(f"{server.url}/{trouble}/file.bin" for trouble in troubles)
    )


@pytest.mark.parametrize("first", ["missing", "truncated", "foreign"])
def test_the_next_mirror_is_asked(server: Server, tmp_path: Path, first: str) -> None:
    path = download.download(remote(server, first, "sound"), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert server.log == [f"/{first}/file.bin", "/sound/file.bin"]
    assert list(path.parent.iterdir()) == [path]


def test_mirrors_are_asked_again(server: Server, tmp_path: Path) -> None:
    assert download.download(remote(server, "second-time"), tmp_path).read_bytes() == CONTENT
    assert len(server.log) == 2


def test_failure_names_every_mirror_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download.download(remote(server, "missing", "truncated", "foreign"), tmp_path)
    message = str(caught.value)
    assert message.startswith("file.bin: no mirror delivered it")
    assert "\n" not in message
    for said in ("404", "/truncated/file.bin", SHA256, str(tmp_path)):
        assert said in message
    assert len(server.log) == 3 * download.ROUNDS
    assert not list(tmp_path.iterdir())


def test_a_wrong_checksum_is_an_error(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"does not match the known hash.*{'0' * 64}"):
        download.download(remote(server, "sound", sha256="0" * 64), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unreachable_mirror_is_an_error(server: Server, tmp_path: Path) -> None:
    nowhere = Remote("file.bin", SHA256, ("http://127.0.0.1:9/file.bin",))
    started = time.monotonic()
    with pytest.raises(DataError, match="check the network, or put the file into"):
        download.download(nowhere, tmp_path)
    assert time.monotonic() - started < 5


def test_a_folder_that_cannot_be_written_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"expected a folder to write to"):
        download.download(remote(server, "sound"), tmp_path / "file" / "below")
    with pytest.raises(DataError, match="found a file, expected the folder"):
        found(tmp_path / "file")
    assert server.log == []


def test_fetch_downloads_once_and_load_reads_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cifar10, "PYTHON", Remote("cifar-10-python.tar.gz", SHA256, (f"{server.url}/x",))
    )
    path = fetch("cifar10", tmp_path)
    assert path == tmp_path / "cifar-10-python.tar.gz"
    assert fetch("cifar10", tmp_path) == path
    assert server.log == ["/x"]
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: .*Not a gzipped file"):
        load("cifar10", tmp_path)  # published, but no archive


@pytest.mark.usefixtures("small")
def test_the_four_idx_files_go_into_their_own_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tuple(
        Remote(file.file, SHA256, (f"{server.url}/{file.file}",)) for file in mnist.MNIST.files
    )
    data = mnist.IdxData("mnist", mnist.MNIST.classes, mnist.MNIST.folders, files)
    assert data.download(tmp_path) == tmp_path / "mnist"
    assert data.find(tmp_path) == (tmp_path / "mnist", "IDX files")
    assert len(server.log) == 4


def test_data_home_is_the_argument_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "variable"))
    assert download.home(tmp_path / "argument") == tmp_path / "argument"
    assert download.home() == tmp_path / "variable"
    monkeypatch.setenv("FASTMLP_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert download.home().name == "fastmlp"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.home("~/data") == tmp_path / "data"


def test_a_user_without_a_home_keeps_data_where_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(_: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FASTMLP_DATA", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", no_home)
    monkeypatch.chdir(tmp_path)
    assert download.home() == tmp_path / "fastmlp-data"


def test_unknown_names_are_listed() -> None:
    with pytest.raises(
        DataError, match="found 'cifar100', expected one of digits, mnist, fashion_"
    ):
        load("cifar100")


def test_every_published_file_has_a_checksum_and_a_mirror() -> None:
    files = [*mnist.MNIST.files, *mnist.FASHION_MNIST.files, cifar10.PYTHON]
    assert len({file.sha256 for file in files}) == 9
    for file in files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert len(file.urls) == 2
        assert all(url.endswith(f"/{file.file}") for url in file.urls)
        assert all(url.partition("://")[0] in ("http", "https") for url in file.urls)
