import gzip
import hashlib
import io
import os
import pickle
import pickletools
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import (
    DataWarning,
    cifar10,
    download,
    fetch,
    found,
    load_cifar10,
)
from fastmlp.datasets import cifar10_batches as batches
from fastmlp.datasets.download import reading
from fastmlp.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::fastmlp.datasets.DataWarning")
RANDOM = np.random.default_rng(3)
FORMATS = {"bin": ".bin", "py": ""}
ARCHIVES = {"bin": "cifar-10-binary.tar.gz", "py": "cifar-10-python.tar.gz"}


def pickled(labels: list[int], pixels: bytes, extra: bytes = b"") -> bytes:
    """Return what Python 2 writes for a batch, instruction by instruction."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def number(value: int) -> bytes:
        return b"M" + value.to_bytes(2, "little")

    return b"".join(
        [
            b"\x80\x02}q\x01(" + text("batch_label") + text("training batch 1 of 5") + extra,
            text("labels") + b"]q\x02(" + b"".join(b"K" + bytes([y]) for y in labels) + b"e",
            text("data") + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85",
            text("b") + b"\x87R(K\x01" + number(len(labels)) + number(3072) + b"\x86",
            b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R(K\x03" + text("|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + len(pixels).to_bytes(4, "little") + pixels + b"tb",
            text("filenames") + b"](" + b"".join(text(f"{y}.png") for y in labels) + b"eu.",
        ]
    )


def content(records: np.ndarray, form: str) -> bytes:
    """Return the bytes of a batch of records [N, 3073]."""
    if form == "bin":
        return records.tobytes()
    return pickled(records[:, 0].tolist(), records[:, 1:].tobytes())


def members(form: str, seed: int = 0) -> dict[str, bytes]:
    """Return the six files of a small CIFAR-10, by name."""
    random = np.random.default_rng(seed)
    return {
        f"{batch}{FORMATS[form]}": content(random.integers(0, 10, (3, 3073), np.uint8), form)
        for batch in cifar10.BATCHES
    }


def write_folder(top: Path, form: str) -> Path:
    folder = top / f"cifar-10-batches-{form}"
    folder.mkdir(parents=True)
    for name, data in members(form).items():
        (folder / name).write_bytes(data)
    return folder


def write_archive(top: Path, form: str, *extra: tuple[tarfile.TarInfo, bytes]) -> Path:
    """Write the archive, with further members at its end."""
    path = top / ARCHIVES[form]
    plain = [(entry(f"cifar-10-batches-{form}", kind=tarfile.DIRTYPE), b"")]
    for name, data in members(form).items():
        plain.append((entry(f"cifar-10-batches-{form}/{name}", len(data)), data))
    with tarfile.open(path, "w:gz") as archive:
        for member, data in [*plain, *extra]:
            archive.addfile(member, io.BytesIO(data))
    return path


def entry(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member


# Real data.


@pytest.mark.filterwarnings("error")  # of batches that are not the published ones
def test_both_real_layouts_are_equal(real_data: Path) -> None:
    layouts = {row.path: row.layout for row in found(real_data) if row.name == "cifar10"}
    assert list(layouts) == [real_data / "cifar-10-batches-bin"]
    data = load_cifar10(real_data)
    assert data.checksum == load_cifar10(real_data / "cifar-10-batches-py").checksum
    assert (len(data.train), len(data.test)) == (50_000, 10_000)
    assert data.shape == (3, 32, 32)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert [data.classes[label] for label in data.labels[:3]] == ["frog", "truck", "truck"]
    assert [data.classes[label] for label in data.test.labels[:3]] == ["cat", "ship", "ship"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("form", "files"), [("bin", 1), ("py", 2)])
def test_memory_is_the_images_and_a_file_or_two(real_data: Path, form: str, files: int) -> None:
    program = (
        "import sys; from pathlib import Path; from fastmlp.datasets import load_cifar10\n"
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(status.split('VmHWM:')[1].split()[0]) * 1024\n"
        "before = peak(); data = load_cifar10(sys.argv[1])\n"
        "print(peak() - before, data.images.nbytes)"
    )
    folder = str(real_data / f"cifar-10-batches-{form}")
    run = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True)
    used, images = map(int, run.stdout.split())
    assert used < images + files * 31_000_000 + 8_000_000


# Layouts.


@pytest.mark.usefixtures("small")
def test_all_layouts_are_equal(tmp_path: Path) -> None:
    archives = {form: tmp_path / f"{form}-archive" for form in FORMATS}
    for form, folder in archives.items():
        folder.mkdir()
        write_archive(folder, form)
    homes = [write_folder(tmp_path / form, form) for form in FORMATS]
    homes += [homes[0].parent, homes[1].parent, *archives.values()]
    keras = tmp_path / "keras"
    write_folder(keras / "cifar-10-batches-py-target", "py")
    expected = np.concatenate([np.frombuffer(data, np.uint8) for data in members("bin").values()])
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    for home in [*homes, keras]:
        data = load_cifar10(home)
        assert (data.classes, data.shape, data.name) == (tuple(names), (3, 32, 32), "cifar10")
        assert np.array_equal(np.column_stack([data.labels, data.images]), expected.reshape(18, -1))
        assert data.train_size == 15
        assert found(home)[-1].path is not None
    assert [found(home)[-1].layout for home in (*archives.values(), tmp_path / "py", keras)] == [
        *("archive of binary records", "archive of pickles"),
        *("folder of pickles", "Keras' folder of pickles"),
    ]


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("error")
def test_an_archive_that_is_not_the_published_one_warns(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "py")
    with pytest.warns(DataWarning, match=rf"{path}: read, but not the published file \(sha256"):
        load_cifar10(tmp_path)


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", FORMATS)
def test_folders_are_compared_with_the_published_sums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    folder = write_folder(tmp_path, form)
    with pytest.warns(DataWarning) as said:
        load_cifar10(tmp_path)
    assert len(said) == 1
    line = str(said[0].message)
    assert line.startswith(f"{folder}: read, but not the published files (another md5 ")
    assert all(name in line for name in members(form))
    sums = {name: hashlib.md5(data).hexdigest() for name, data in members(form).items()}
    monkeypatch.setattr(cifar10, "SUMS", sums)
    load_cifar10(tmp_path)  # without a warning, which would be an error


def test_each_batch_has_a_published_sum() -> None:
    assert len(set(cifar10.SUMS.values())) == 12
    assert {len(bytes.fromhex(digest)) for digest in cifar10.SUMS.values()} == {16}
    assert {name.removesuffix(".bin") for name in cifar10.SUMS} == set(cifar10.BATCHES)


# Damage.


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", FORMATS)
def test_truncated_and_oversized_batches_are_refused(tmp_path: Path, form: str) -> None:
    folder = write_folder(tmp_path, form)
    path = folder / f"data_batch_4{FORMATS[form]}"
    whole = path.read_bytes()
    for length in [*range(400), *range(400, len(whole), 97), *range(len(whole) - 60, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"data_batch_4.* expected"):
            cifar10.read(folder)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match=r"data_batch_4.* found more"):
        cifar10.read(folder)
    with path.open("wb") as file:
        file.truncate(batches.LARGEST_FILE + 1)
    with pytest.raises(DataError, match=r"data_batch_4.* expected at most"):
        cifar10.read(folder)


@pytest.mark.usefixtures("small")
def test_a_truncated_archive_is_refused_at_every_length(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "bin")
    whole = path.read_bytes()
    ends = [*range(0, len(whole), 499), *range(len(whole) - 40, len(whole))]
    for length in ends:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz.* expected"):
            cifar10.read(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", FORMATS)
def test_mutants_raise_a_data_error_or_stay_valid(tmp_path: Path, form: str) -> None:
    """A batch has no checksum, so pixels may change; an archive has one, so nothing may."""
    random = np.random.default_rng(0)
    records = random.integers(0, 10, (3, 3073), np.uint8)
    images, labels = np.empty((3, 3072), np.uint8), np.empty(3, np.int64)
    read_batch = batches.read_records if form == "bin" else batches.read_pickle
    archive = write_archive(tmp_path, form)
    whole, original = archive.read_bytes(), cifar10.read(archive).checksum
    batch = content(records, form)
    refused = 0
    for _ in range(1000):
        mutant = bytearray(batch)
        for position in random.integers(0, len(batch) if random.random() < 0.2 else 300, 2):
            mutant[position] ^= 1 << random.integers(8)
        try:
            with reading("batch", "a batch"):
                read_batch(io.BytesIO(mutant), "batch", images, labels)
        except DataError:
            refused += 1
    assert refused > 500 or form == "bin"
    for position in random.integers(0, len(whole), 200):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << random.integers(8)
        archive.write_bytes(flipped)
        try:
            assert cifar10.read(archive).checksum == original
        except DataError:
            refused += 1
    assert refused > 100


@pytest.mark.usefixtures("small")
def test_missing_files_labels_and_pipes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "bin")
    path = folder / "data_batch_2.bin"
    whole = path.read_bytes()
    path.write_bytes(bytes([11]) + whole[1:])
    with pytest.raises(DataError, match=r"data_batch_2\.bin: label 11 at row 0, expected 0\.\.9"):
        load_cifar10(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin not found"):
        cifar10.read(folder)
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(DataError, match=r"data_batch_2\.bin not found"):
            cifar10.read(folder)


@pytest.mark.usefixtures("small")
def test_the_folder_one_is_in_has_a_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_folder(tmp_path, "bin"))
    assert len(load_cifar10(".")) == 18


@pytest.mark.usefixtures("small")
def test_what_is_lacking_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path, "py")
    (folder / "test_batch").unlink()
    monkeypatch.setattr(download, "download", no_network)
    with pytest.raises(DataError) as raised:
        load_cifar10(folder)
    assert str(raised.value).count("lacks test_batch") == 1


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("missing", cifar10.BATCHES)
def test_an_incomplete_folder_counts_as_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    folder = write_folder(tmp_path, "bin")
    (folder / f"{missing}.bin").unlink()
    assert found(tmp_path)[-1].path is None
    monkeypatch.setattr(download, "download", no_network)
    with pytest.raises(DataError, match=rf"no network; {folder} lacks {missing}\.bin"):
        load_cifar10(tmp_path)
    archive = write_archive(tmp_path, "py")
    assert fetch("cifar10", tmp_path) == archive
    assert len(load_cifar10(tmp_path)) == 18


def no_network(*_: object) -> Path:
    raise DataError("no network")


# Pickles.


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_booby_trapped_pickle_never_fires(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "fired"
    trap = pickle.dumps(Trap(target), protocol)
    pickle.loads(trap)
    target.rmdir()  # the trap works
    folder = write_folder(tmp_path, "py")
    archive = tmp_path / ARCHIVES["py"]
    hidden = trap[2 if protocol >= 2 else 0 : -1]  # without its first and last instruction
    for batch in (trap, pickled([0, 1, 2], bytes(9216), extra=b"U\x01x" + hidden)):
        (folder / "data_batch_1").write_bytes(batch)
        member = entry("cifar-10-batches-py/data_batch_1", len(batch))
        with tarfile.open(archive, "w:gz") as file:
            file.addfile(member, io.BytesIO(batch))
        for path in (folder, archive):
            with pytest.raises(DataError, match=r"data_batch_1: foreign pickle"):
                cifar10.read(path)
    assert not target.exists()


SOUND = pickled([1, 2, 3], bytes(9216))
FOREIGN = {
    "module": (SOUND.replace(b"cnumpy\nndarray", b"cbuiltins\neval"), "GLOBAL 'builtins eval'"),
    "columns": (SOUND.replace(b"tb\x89T", b"tb\x88T"), "NEWTRUE"),
    "type": (SOUND.replace(b"U\x02u1", b"U\x02i8"), "no pixels"),
    "shape": (pickled([1, 2, 3], bytes(9215)), "no pixels"),
    "few labels": (SOUND.replace(b"K\x01K\x02K\x03e", b"K\x01K\x02e"), "found 2 labels"),
    "text label": (SOUND.replace(b"K\x02K", b"U\x01aK"), "found 3 labels, expected 3 whole"),
    "no labels": (SOUND.replace(b"labels", b"lapels"), "found 0 labels"),
    "no bytes": (SOUND.replace(b"T\x00\x24\x00\x00" + bytes(9216) + b"tb", b""), "no pixels"),
    "file names twice": (pickled([1], bytes(3072), extra=b"U\x09filenames"), "'filenames' twice"),
    "batch twice": (pickled([1], bytes(3072), extra=b"U\x0bbatch_label"), "'batch_label' twice"),
    "twice": (pickled([1, 2, 3], bytes(9216), extra=b"U\x06labels"), "'labels' twice"),
    "endless": (b"\x80\x02" + b"N" * 200_000 + b".", "instruction 100000"),
    "huge string": (b"\x80\x02}(U\x04dataT\xff\xff\xff\x7f", "expected a batch"),
    "huge string 8": (b"\x80\x02}(\x8e" + b"\xff" * 7 + b"\x7f", "expected a batch"),
    "huge integer": (b"\x80\x02}(\x8b\xff\xff\xff\x7f", "expected a batch"),
    "tail": (SOUND + SOUND, "after the last instruction"),
    "empty": (b"", "expected a batch"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_pickles_are_refused(case: str) -> None:
    data, message = FOREIGN[case]
    images, labels = np.empty((3, 3072), np.uint8), np.empty(3, np.int64)
    batches.read_pickle(io.BytesIO(SOUND), "batch", images, labels)
    assert labels.tolist() == [1, 2, 3]
    assert not images.any()
    with (
        pytest.raises(DataError, match=f"^batch: .*{message}"),
        reading("batch", "a batch"),
    ):
        batches.read_pickle(io.BytesIO(data), "batch", images, labels)


# Archives.

BATCH = "cifar-10-batches-py/data_batch_1"
BIG = batches.LARGEST_FILE + 1
HOSTILE = {
    "parent": entry("../data_batch_1"),
    "parent inside": entry("cifar-10-batches-py/../../x"),
    "absolute": entry("/tmp/data_batch_1"),
    "symbolic link": entry(BATCH, kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "hard link": entry(BATCH, kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "character device": entry(BATCH, kind=tarfile.CHRTYPE),
    "block device": entry(BATCH, kind=tarfile.BLKTYPE),
    "pipe": entry(BATCH, kind=tarfile.FIFOTYPE),
    "sparse": entry(BATCH, kind=tarfile.GNUTYPE_SPARSE),
    "contiguous": entry(BATCH, kind=tarfile.CONTTYPE),
    "unknown type": entry(BATCH, kind=b"Z"),
    "duplicate": entry(BATCH),
    "huge": entry("cifar-10-batches-py/readme.html", BIG),
    "huge extended header": entry("x", BIG, kind=tarfile.XHDTYPE),
    "huge long name": entry("x", BIG, kind=tarfile.GNUTYPE_LONGNAME),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, case: str) -> None:
    member = HOSTILE[case]
    path = write_archive(tmp_path, "py", (member, bytes(member.size)))
    before = sorted(tmp_path.parent.rglob("*"))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz"):
        load_cifar10(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert path.is_file()


@pytest.mark.usefixtures("small")
def test_archives_of_many_members_or_a_long_tail_are_refused(tmp_path: Path) -> None:
    many = [(entry(f"cifar-10-batches-py/{number}"), b"") for number in range(60)]
    path = write_archive(tmp_path, "py", *many)
    with pytest.raises(DataError, match="one too many"):
        cifar10.read(path)
    write_archive(tmp_path, "py")
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(1 << 24)))
    with pytest.raises(DataError, match="goes on after the last member"):
        cifar10.read(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(DataError, match="Not a gzipped file"):
        cifar10.read(path)


def endless(header: tarfile.TarInfo, block: bytes, count: int = 400_000) -> bytes:
    """Return a packed archive that begins with a header and goes on with the same block: 200 MB of them."""
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(header.tobuf(tarfile.GNU_FORMAT))
    for _ in range(count // 1000):
        data += packer.compress(block * 1000)
    return data + packer.flush()


def sparse_header() -> tarfile.TarInfo:
    return entry(BATCH, kind=tarfile.GNUTYPE_SPARSE)


def remark(fields: dict[bytes, bytes], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """Return an extended header, as a member."""
    text = b"".join(
        str(len(name) + len(value) + 6).zfill(3).encode() + b" " + name + b"=" + value + b"\n"
        for name, value in fields.items()
    )
    return entry("PaxHeader", len(text), kind).tobuf(tarfile.GNU_FORMAT) + text.ljust(512, b"\0")


SPARSE_1 = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"1"}
DIGITS = b"9" * 511 + b"\n"
ENDLESS = {
    "sparse map": lambda: endless(
        sparse_header(), (b"00000000001\0" * 42).ljust(504, b"\0") + b"\1" * 8
    ),
    "sparse map in the data": lambda: gzip.compress(
        remark(SPARSE_1) + entry(BATCH, 30_000_000).tobuf(tarfile.GNU_FORMAT) + DIGITS * 60_000
    ),
    "sparse map in a header": lambda: gzip.compress(remark({b"GNU.sparse.map": b"1," * 100})),
    "size in a header": lambda: gzip.compress(remark({b"size": b"9" * 400})),
    "path in a header": lambda: gzip.compress(remark({b"path": b"../../x"})),
    "records in a header": lambda: endless(
        entry("x", 30_000_000, tarfile.XHDTYPE), b"005 x=\n".ljust(512, b"\n")
    ),
    "extended headers": lambda: gzip.compress(remark({b"a": b"b"}) * 50_000),
    "global headers": lambda: gzip.compress(remark({b"a": b"b"}, tarfile.XGLTYPE) * 50_000),
    "long names": lambda: endless(entry("x", 10, tarfile.GNUTYPE_LONGNAME), bytes(512)),
    "other large members": lambda: gzip.compress(
        (entry("x", 30_000_000).tobuf(tarfile.GNU_FORMAT) + bytes(30_000_128)) * 5
    ),
    "members of gzip": lambda: gzip.compress(b"") * 30_000,
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("case", ENDLESS)
def test_no_header_makes_an_archive_endless(tmp_path: Path, case: str) -> None:
    path = tmp_path / ARCHIVES["py"]
    path.write_bytes(ENDLESS[case]())
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz"):
        cifar10.read(path)
    assert time.process_time() - began < 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.usefixtures("small")
def test_an_archive_packed_anew_is_read(tmp_path: Path) -> None:
    """Python writes times in fractions of a second as extended headers."""
    path = tmp_path / ARCHIVES["py"]
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members("py").items():
            member = entry(f"cifar-10-batches-py/{name}", len(data))
            member.mtime = 1234567890.5
            archive.addfile(member, io.BytesIO(data))
    assert len(load_cifar10(tmp_path)) == 18


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("error")
def test_only_batches_that_differ_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, "bin")
    sums = {name: hashlib.md5(data).hexdigest() for name, data in members("bin").items()}
    monkeypatch.setattr(cifar10, "SUMS", sums | {"data_batch_3.bin": "0" * 32})
    with pytest.warns(DataWarning, match=r"than the published: data_batch_3\.bin\)$"):
        load_cifar10(tmp_path)


@pytest.mark.usefixtures("small")
def test_an_archive_that_ends_within_a_member_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "bin")
    whole = gzip.decompress(path.read_bytes())
    start = whole.index(b"cifar-10-batches-bin/data_batch_2.bin")
    for end in (start + 512 + 9000, start + 512 + 9219, start + 512 + 9727):
        path.write_bytes(gzip.compress(whole[:end]))
        with pytest.raises(DataError, match=r"ends within cifar-10-batches-bin/data_batch_2\.bin"):
            cifar10.read(path)
    path.write_bytes(gzip.compress(whole[: start + 512 + 9728]))
    with pytest.raises(DataError, match=r"data_batch_3\.bin, .*test_batch\.bin not found"):
        cifar10.read(path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("more", "size"), [(57, 0), (1, 1 << 20), (0, 0)])
def test_an_archive_may_have_other_members_up_to_a_limit(
    tmp_path: Path, more: int, size: int
) -> None:
    def write(count: int, size: int) -> Path:
        return write_archive(
            tmp_path, "py", *[(entry(f"x{n}", size), bytes(size)) for n in range(count)]
        )

    path = write(more, size)
    assert len(cifar10.read(path)) == 18
    end = path.read_bytes()
    path.write_bytes(end + gzip.compress(bytes((1 << 20) - 10_240 * 2)))  # beside tar's own padding
    assert len(cifar10.read(path)) == 18
    path.write_bytes(end + gzip.compress(bytes(1 << 20)))
    with pytest.raises(DataError, match="goes on after the last member"):
        cifar10.read(path)
    if more == 57:
        with pytest.raises(DataError, match=r"member 64 \('x57'\) is one too many"):
            cifar10.read(write(58, 0))
    if size:
        with pytest.raises(DataError, match=r"member 7 \('x0'\) is 1048577 bytes long"):
            cifar10.read(write(1, size + 1))


def test_what_is_wrong_with_records_is_counted() -> None:
    images, labels = np.zeros((3, 3072), np.uint8), np.zeros(3, np.int64)
    for data, words in ((bytes(9218), "9218"), (bytes(9220), "more"), (bytes(9999), "more")):
        expected = f"^here: found {words} bytes, expected 9219: 3 records of 3073$"
        with pytest.raises(DataError, match=expected):
            batches.read_records(io.BytesIO(data), "here", images, labels)


def test_a_pickle_of_many_instructions_is_read_to_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = np.empty((3, 3072), np.uint8), np.empty(3, np.int64)
    pixels = RANDOM.integers(0, 256, 9216, np.uint8)
    data = pickled([9, 8, 7], pixels.tobytes())
    count = len(list(pickletools.genops(data)))
    monkeypatch.setattr(batches, "CHUNK", 1000)
    monkeypatch.setattr(batches, "LARGEST_PROGRAM", count)
    batches.read_pickle(io.BytesIO(data), "here", images, labels)
    assert labels.tolist() == [9, 8, 7]
    np.testing.assert_array_equal(images.reshape(-1), pixels)
    monkeypatch.setattr(batches, "LARGEST_PROGRAM", count - 1)
    with pytest.raises(DataError, match=f"foreign pickle, instruction {count - 1} is STOP"):
        batches.read_pickle(io.BytesIO(data), "here", images, labels)
