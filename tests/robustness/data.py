"""What people bring: data sets, settings, studies, pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import random
import re
import struct
import tarfile
import tempfile
import tomllib
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from fastmlp import TrainConfig, datasets
from fastmlp.cli import main
from fastmlp.cli.options import from_file, to_toml
from fastmlp.datasets import DataWarning, Normalization, cifar10, mnist
from fastmlp.errors import FastMLPError
from fastmlp.reporting.document import to_html, to_markdown
from fastmlp.search.experiment import DataTable, Experiment
from fastmlp.search.record import Trial
from fastmlp.studies.check import check
from fastmlp.studies.report import report
from fastmlp.studies.results import StudyResults, StudyTrial
from fastmlp.studies.study import FOLDER, find
from fastmlp.training.network import Network

from .kinds import OTHER, SAME, Mutant, Patching, believe, same_types
from .mutations import COUNTS, VALUES, altered, damaged, toml, toml_text

IMAGES = 3  # of each part of a small data set


class Data(Patching):
    """A data set in small files, whose checksums the package takes for the published ones."""

    data: str

    def __enter__(self) -> Any:
        """Check that the sound samples are read without a warning."""
        super().__enter__()
        self.expected = []
        with tempfile.TemporaryDirectory() as name:
            for number, files in enumerate(self.samples):
                folder = Path(name, str(number))
                _write(folder, files)
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    self.expected.append(datasets.load(self.data, folder).checksum)
        return self

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Load the data set; other images are allowed with a warning alone."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = datasets.load(self.data, folder)
        if found.checksum == self.expected[mutant.sample]:
            return SAME
        warned = any(issubclass(one.category, DataWarning) for one in said)
        believe(warned, "other images, without a warning")
        return OTHER


class Idx(Data):
    """MNIST's four files, plain or compressed."""

    name = "idx"
    data = "mnist"

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        plain = {}
        for remote, shape in zip(mnist.MNIST.files, ((IMAGES, 28, 28), (IMAGES,)) * 2, strict=True):
            sizes = np.array(shape, ">u4").tobytes()
            values = rng.integers(0, 10, shape, np.uint8).tobytes()
            plain[remote.file.removesuffix(".gz")] = bytes([0, 0, 8, len(shape)]) + sizes + values
        packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in plain.items()}
        self.plain, self.samples = plain, [plain, packed]

    def __enter__(self) -> Any:
        """Let the small files be the published ones."""
        for name in ("TRAIN_SIZE", "TEST_SIZE"):
            self.patches.enter_context(mock.patch.object(mnist, name, IMAGES))
        remotes = tuple(
            dataclasses.replace(
                remote,
                content_md5=hashlib.md5(data).hexdigest(),
                sha256=hashlib.sha256(self.samples[1][remote.file]).hexdigest(),
            )
            for remote, data in zip(mnist.MNIST.files, self.plain.values(), strict=True)
        )
        source = dataclasses.replace(mnist.MNIST, files=remotes)
        self.patches.enter_context(mock.patch.dict(datasets.SOURCES, mnist=source))
        return super().__enter__()

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage a file, or the content of a compressed one."""
        number = rng.randrange(2)
        files = dict(self.samples[number])
        name = rng.choice(list(files))
        other = files[rng.choice(list(files))]
        if number == 1 and rng.random() < 0.5:
            content = damaged(
                rng, self.plain[name.removesuffix(".gz")], self.plain["t10k-labels-idx1-ubyte"]
            )
            files[name] = gzip.compress(content * rng.choice((1, 1, 1, 50)), 1, mtime=0)
        elif rng.random() < 0.3:
            header = bytes(rng.choice(((0, 0, 8, 3), (0, 0, 8, 1), (0, 0, 13, 3), (0, 0, 8, 255))))
            sizes = b"".join(
                (rng.choice((IMAGES, 28, *COUNTS)) % 2**32).to_bytes(4, "big") for _ in range(3)
            )
            files[name] = header + sizes + files[name][16:]
        else:
            files[name] = damaged(rng, files[name], other)
        return Mutant(files, number, False)


# -- CIFAR-10 --------------------------------------------------------------------------------------------


def pickled(labels: Sequence[int], pixels: bytes) -> bytes:
    """Return what Python 2 writes for a batch, instruction by instruction."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def number(value: int) -> bytes:
        return b"M" + value.to_bytes(2, "little")

    return b"".join(
        [
            b"\x80\x02}q\x01(" + text("batch_label") + text("training batch 1 of 5"),
            text("labels") + b"]q\x02(" + b"".join(b"K" + bytes([y]) for y in labels) + b"e",
            text("data") + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85",
            text("b") + b"\x87R(K\x01" + number(len(labels)) + number(3072) + b"\x86",
            b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R(K\x03" + text("|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + len(pixels).to_bytes(4, "little") + pixels + b"tb",
            text("filenames") + b"](" + b"".join(text(f"{y}.png") for y in labels) + b"eu.",
        ]
    )


HUGE = b"\xff\xff\xff\x7f"
HOSTILE = (  # instructions that build things, call things, or claim gigabytes
    *(b"cos\nsystem\n", b"cbuiltins\neval\nU\x011\x85R", b"U\x02os\x8c\x06system\x93"),
    *(b"i__main__\nX\n", b"T" + HUGE, b"X" + HUGE, b"r" + HUGE, b"\x8b" + HUGE),
    *(b"\x8e" + b"\xff" * 8, b"\x95" + b"\xff" * 8, b"(" * 5000, b"0" * 50, b"}" * 200),
    *(b"L" + b"9" * 5000 + b"L\n", b"I" + b"1" * 5000 + b"\n"),
)


def batch_files(suffix: str) -> dict[str, bytes]:
    """Return the six files of a small CIFAR-10, by name."""
    rng = np.random.default_rng(0)
    files = {}
    for batch in cifar10.BATCHES:
        records = rng.integers(0, 10, (IMAGES, 3073), np.uint8)
        pickle = pickled(records[:, 0].tolist(), records[:, 1:].tobytes())
        files[f"{batch}{suffix}"] = records.tobytes() if suffix else pickle
    return files


def batch_damage(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Damage a batch file; a pickle also with further instructions, mostly outside its pixels."""
    if data.startswith(b"\x80") and rng.random() < 0.7:
        pixels = data.index(b"T" + (3072 * IMAGES).to_bytes(4, "little"))
        end = pixels + 5 + 3072 * IMAGES
        place = rng.choice((rng.randrange(pixels + 5), rng.randrange(end, len(data))))
        if rng.random() < 0.4:
            return data[:place] + rng.choice(HOSTILE) + data[place:]
        if place < pixels:
            return damaged(rng, data[: pixels + 5], other) + data[pixels + 5 :]
        return data[:end] + damaged(rng, data[end:], other)
    return damaged(rng, data, other)


class Folders(Data):
    """CIFAR-10 as a folder of binary records or of pickles."""

    name = "folder"
    data = "cifar10"

    def __init__(self) -> None:
        super().__init__()
        forms = {"cifar-10-batches-bin": ".bin", "cifar-10-batches-py": ""}
        self.samples = [
            {f"{folder}/{name}": data for name, data in batch_files(suffix).items()}
            for folder, suffix in forms.items()
        ]

    def __enter__(self) -> Any:
        """Let a batch have three images."""
        self.patches.enter_context(mock.patch.object(cifar10, "BATCH_SIZE", IMAGES))
        sums = {
            Path(name).name: hashlib.md5(data).hexdigest()
            for files in self.samples
            for name, data in files.items()
        }
        self.patches.enter_context(mock.patch.object(cifar10, "SUMS", sums))
        return super().__enter__()

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage a batch."""
        number = rng.randrange(2)
        files = dict(self.samples[number])
        name = rng.choice(list(files))
        files[name] = batch_damage(rng, files[name], files[rng.choice(list(files))])
        return Mutant(files, number, False)


FIELDS = {  # of a tar header: where they begin and how long they are
    **{"name": (0, 100), "mode": (100, 8), "size": (124, 12), "type": (156, 1), "link": (157, 100)},
    **{"magic": (257, 8), "prefix": (345, 155), "sparse": (386, 96), "more": (482, 13)},
}
OCTALS = (
    b"77777777777\0",
    b"00000000000\0",
    b"\x80" + b"\xff" * 11,
    b"\xff" * 12,
    b"-1\0",
    b"9\0",
    b"00000001000\0",
)
RECORDS = (
    *(
        b"size=99999999999",
        b"size=-1",
        b"size=x",
        b"path=../../up",
        b"path=/abs",
        b"GNU.sparse.major=1",
    ),
    *(b"GNU.sparse.map=0,1,2", b"GNU.sparse.size=99999999999", b"GNU.sparse.numblocks=9999999"),
    *(
        b"hdrcharset=BINARY",
        b"mtime=nan",
        b"uid=" + b"9" * 5000,
        b"linkpath=/etc/passwd",
        b"path=" + b"x" * 9000,
    ),
)


class Archives(Data):
    """CIFAR-10 as an archive of binary records or of pickles."""

    name = "archive"
    data = "cifar10"

    def __init__(self) -> None:
        super().__init__()
        self.plain = {}
        for remote, folder, suffix in (
            (cifar10.BINARY, "cifar-10-batches-bin", ".bin"),
            (cifar10.PYTHON, "cifar-10-batches-py", ""),
        ):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
                for name, data in batch_files(suffix).items():
                    member = tarfile.TarInfo(f"{folder}/{name}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
            self.plain[remote.file] = buffer.getvalue()
        self.samples = [
            {name: gzip.compress(data, 1, mtime=0)} for name, data in self.plain.items()
        ]

    def __enter__(self) -> Any:
        """Let the small archives be the published ones."""
        self.patches.enter_context(mock.patch.object(cifar10, "BATCH_SIZE", IMAGES))
        sums = {
            name: hashlib.sha256(data).hexdigest()
            for files in self.samples
            for name, data in files.items()
        }
        forms = tuple(
            form
            if form.archive is None
            else form._replace(archive=dataclasses.replace(form.archive, sha256=sums[form.path]))
            for form in cifar10.FORMS
        )
        self.patches.enter_context(mock.patch.object(cifar10, "FORMS", forms))
        return super().__enter__()

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the compressed file, or the archive or a batch in it."""
        number = rng.randrange(2)
        ((name, data),) = self.samples[number].items()
        if rng.random() < 0.2:
            return Mutant({name: damaged(rng, data)}, number, False)
        plain = bytearray(self.plain[name])
        starts = members(plain)
        draw = rng.random()
        if draw < 0.35:
            for _ in range(rng.choice((1, 1, 2))):
                _field(rng, plain, rng.choice(starts))
        elif draw < 0.65:
            place = rng.choice(starts)
            plain[place:place] = _member(rng)
        elif draw < 0.9:
            start = rng.choice(starts)
            size = int(plain[start + 124 : start + 135], 8)
            batch = slice(start + 512, start + 512 + size)
            made = batch_damage(rng, bytes(plain[batch]), bytes(plain[:512]))
            plain[batch] = made[:size].ljust(size, b"\0")
        else:
            plain = bytearray(damaged(rng, bytes(plain)))
        level = 1 if len(plain) < 1_000_000 else 6
        return Mutant({name: gzip.compress(bytes(plain), level, mtime=0)}, number, False)


def members(archive: bytes | bytearray) -> list[int]:
    """Return where the headers of a sound archive's members begin."""
    starts, place = [], 0
    while archive[place]:
        starts.append(place)
        place += 512 + (int(archive[place + 124 : place + 135], 8) + 511) // 512 * 512
    return starts


def _sum(header: bytearray) -> None:
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header[:512]):06o}\0 ".encode()


def _field(rng: random.Random, archive: bytearray, start: int) -> None:
    header = archive[start : start + 512]
    name = rng.choice(list(FIELDS))
    place, length = FIELDS[name]
    if name == "type":
        value = rng.choice(
            (
                b"0",
                b"1",
                b"2",
                b"3",
                b"5",
                b"6",
                b"7",
                b"S",
                b"L",
                b"K",
                b"x",
                b"g",
                b"X",
                b"\0",
                b"Z",
            )
        )
    elif name in ("size", "mode", "sparse", "more"):
        value = b"".join(rng.choice(OCTALS) for _ in range(max(1, length // 12)))
    else:
        value = rng.choice((b"../../up", b"/abs", b"\xff" * 155, b"", b"x", rng.randbytes(20)))
    header[place : place + length] = value[:length].ljust(length, b"\0")
    if rng.random() < 0.9:
        _sum(header)
    archive[start : start + 512] = header


def _member(rng: random.Random) -> bytes:
    """Return a further member: of a hostile type, or with hostile records for the next one."""
    records = b""
    for record in rng.sample(RECORDS, rng.choice((1, 2, 3))):
        length = len(record) + 3
        length = len(f"{length + len(str(length)) - 1} ") + len(record) + 1
        records += f"{length} ".encode() + record + b"\n"
    kind, name, data = rng.choice(
        (
            (b"x", "pax", records),
            (b"g", "pax", records),
            (b"x", "pax", b"99999999 size=1\n" + records),
            (b"L", "././@LongLink", b"a/" * rng.choice((100, 100_000))),
            (b"K", "././@LongLink", b"../" * 99),
            (b"S", "sparse", bytes(2000)),
            (b"2", "link", b""),
            (b"5", "cifar-10-batches-bin", b""),
            (b"0", "cifar-10-batches-py/test_batch", b"x"),
            (b"0", "../up", b"x"),
            (b"0", "zeros", bytes(rng.choice((10, 3_000_000)))),
        )
    )
    header = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    header[156:157] = kind
    header[124:136] = f"{len(data):011o}\0".encode()
    if kind == b"S":  # the map goes on in a block after this one, and for ever
        header[386:482] = b"00000000000\0" * 8
        header[482:483] = b"1"
        data = (b"00000000000\0" * 42 + b"\x01").ljust(512, b"\0") * rng.choice(
            (3, 3, 3, 3, 500, 40_000)
        )
    if rng.random() < 0.2:
        header[124:136] = rng.choice(OCTALS).ljust(12, b"\0")
    _sum(header)
    return bytes(header) + data.ljust(-(-len(data) // 512) * 512, b"\0")


# -- TOML ------------------------------------------------------------------------------------------------

SETTINGS = (
    *VALUES,
    "sgd",
    "step",
    "float64",
    "digits",
    [0.5, 0.3, 0.2],
    [[1, 2]],
    [8, "tanh"],
    "a[0m",
)


class Settings(Patching):
    """The files of `train --config` and `search`."""

    name = "config"
    file = "config.toml"

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the file of a sample."""
        return {self.file: self.samples[sample].encode()}

    def __init__(self) -> None:
        super().__init__()
        config = TrainConfig(hidden=(16, "tanh", "dropout 0.5"), patience=3, betas=(0.9, 0.99))
        grid = "[grid]\nlearning_rate = [0.1, 0.01]\nhidden = [[8], [8, 8]]\n[search]\nseeds = 2\n"
        table = DataTable(name="digits", classes=("1", "2"), size=8)
        self.samples = [to_toml(config, table), f"{to_toml(config, table)}{grid}", config.to_toml()]

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the bytes, the lines or the values."""
        number = rng.randrange(len(self.samples))
        return Mutant({self.file: toml_damage(rng, self.samples[number])}, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read settings and data, and write and read them again."""
        path = folder / self.file
        config, table = from_file(path)
        if "grid" in path.read_text("utf-8-sig", "replace"):
            Experiment.from_toml(path)
        path.write_text(to_toml(config, table))
        found = from_file(path)
        believe(found == (config, table), f"{config}, {table} becomes {found}")
        believe(same_types(_plain(found[0]), _plain(config)), "other types")
        return OTHER


def _plain(config: TrainConfig) -> Any:
    return json.loads(json.dumps(config.as_dict()))


def toml_damage(rng: random.Random, text: str) -> bytes:
    draw = rng.random()
    if draw < 0.6:
        value = altered(rng, tomllib.loads(text), SETTINGS)
        value = value if isinstance(value, dict) else {"x": value}
        with contextlib.suppress(TypeError):
            return toml(value).encode("utf-8", "surrogatepass")
    return toml_text(rng, text) if draw < 0.85 else damaged(rng, text.encode())


MINI = """
[data]
name = "digits"
[config]
hidden = [8]
epochs = 2
[grid]
momentum = [0.0, 0.9]
[search]
seeds = 2
[study]
title = "Made up"
about = "A [link](https://example.org) and **bold**."
[study.parts.wide]
label = "wide"
config = { hidden = [16] }
[[study.section]]
title = "Numbers"
text = "Of `code`."
tolerance = 0.02
columns = ["test_accuracy"]
all = ["main"]
[[study.section.row]]
label = "zero"
where = { momentum = 0.0 }
published = { test_accuracy = 0.7 }
because = "it is"
[[study.section.row]]
label = "best"
best = true
tell = ["momentum"]
[[study.section.epochs]]
at = [1, 2]
quantities = ["train_loss"]
where = { momentum = 0.0 }
[[study.section.clock]]
says = "fast"
per = "epoch"
published = 2.0
[[study.section.clock]]
says = "all of it"
per = "grid"
published = 20.0
[[study.section.claim]]
says = "momentum helps"
kind = "order"
metric = "test_accuracy"
sides = [{ label = "with", where = { momentum = 0.9 } }, { label = "without", where = { momentum = 0.0 } }]
[[study.section.claim]]
says = "it is all the same"
kind = "same"
metric = "valid_loss"
epoch = 2
sides = [{ label = "narrow", best = true }, { label = "wide", part = "wide", best = true }]
[[study.section.claim]]
says = "it is sooner there"
kind = "sooner"
metric = "train_loss"
level = 0.4
sides = [{ label = "with", where = { momentum = 0.9 } }, { label = "without", where = { momentum = 0.0 } }]
[[study.section.claim]]
says = "nearly always"
kind = "pairs"
axis = "momentum"
worse = 0.0
better = [0.9]
most = 0.5
metric = "valid_accuracy"
[[study.section.claim]]
says = "the best is in between"
kind = "within"
axis = "momentum"
low = 0.1
high = 1.0
metric = "valid_accuracy"
note = "See above."
[[study.section.figure]]
file = "curves"
caption = "Curves"
kind = "series"
by = "momentum"
quantities = ["train_loss"]
[[study.section.figure]]
file = "bars"
caption = "Bars"
kind = "bars"
quantities = ["valid_accuracy"]
sides = [{ label = "with", where = { momentum = 0.9 } }]
[[study.section.twins]]
ours = "main"
theirs = "wide"
"""


class Studies(Patching):
    """The files of `reproduce`; what passes the check is told, with numbers made up."""

    name = "study"
    file = "study.toml"

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the file of a sample."""
        return {self.file: self.samples[sample].encode()}

    def __init__(self) -> None:
        super().__init__()
        packaged = [path.read_text("utf-8") for path in sorted(FOLDER.glob("*.toml"))]
        self.samples = [*[MINI] * len(packaged), *packaged]

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the bytes, the lines or the values."""
        number = rng.randrange(len(self.samples))
        return Mutant({self.file: toml_damage(rng, self.samples[number])}, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read and check the study, and report it if it is small."""
        study = find(str(folder / self.file))
        check(study)
        if mutant.sample < len(self.samples) // 2:
            told(study, folder)
        return OTHER


def told(study: Any, folder: Path) -> None:
    """Write the report of a study whose trials are made up, and look for what must not be in it."""
    trials = [
        StudyTrial(part.name, point.config.replace(seed=seed), made_up(seed, seed / 9))
        for part in study.parts.values()
        for point in part.points[:50]
        for seed in range(min(part.seeds, 3))
    ]
    machine = {"versions": {"fastmlp": "0"}, "cpu": "x", "usable_cores": 2, "commit": None}
    machine |= {"finished": "", "seconds_of_all_trials": 1.0}
    blocks = report(StudyResults(study, trials, {}, machine))
    to_markdown(blocks)
    for block in blocks:
        name = getattr(block, "file", None)
        if name is not None:
            inside = Path(name).name == name and not name.startswith(".")
            believe(inside, f"a figure in the file {name!r}")
            (folder / name).write_bytes(b"")
    page = to_html(blocks, folder)
    links = re.findall(r'href="([^"]*)', page)
    believe(all(re.match(r"https?:|[\w.-]+$", one) for one in links), f"links to {links}")


def made_up(seed: int, accuracy: float) -> Trial:
    """Return a trial of two epochs."""
    row = {
        "train_loss": 1 / 3,
        "train_accuracy": 0.5,
        "valid_loss": 1.0,
        "valid_accuracy": accuracy,
    }
    rows = [{"epoch": epoch, **row, "learning_rate": 0.1, "seconds": 1.0} for epoch in (1, 2)]
    return Trial(
        *(seed, "done", "made up", 2, 2, 1 / 3, 0.5, 1.0, accuracy, 2.5, rows, "x", 1.0, accuracy)
    )


# -- pictures --------------------------------------------------------------------------------------------


class Pictures(Patching):
    """`fastmlp predict`."""

    name = "picture"

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the file of a sample."""
        return dict([self.samples[sample]])

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that Pillow gives up
            self.samples = [(f"photo.{end}", data) for end, data in _pictures()]

    def __enter__(self) -> Any:
        """Write the network that looks at the pictures."""
        super().__enter__()
        folder = Path(self.patches.enter_context(tempfile.TemporaryDirectory()))
        self.model = folder / "model.safetensors"
        scaling = Normalization(np.full(48, 127.5), np.full(48, 50.0))
        weights = np.random.default_rng(0).normal(size=(3, 48)).astype(np.float32)
        Network(
            [weights],
            [np.zeros(3, np.float32)],
            activation="relu",
            residual=False,
            normalization=scaling,
            classes=("red", "green", "blue"),
            shape=(3, 4, 4),
        ).save(self.model)
        return self

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the bytes, or a piece of a PNG whose checksum is then made right again."""
        number = rng.randrange(len(self.samples))
        name, data = self.samples[number]
        if name.endswith("png") and rng.random() < 0.7:
            data = png(rng, data)
        else:
            data = damaged(rng, data, rng.choice(self.samples)[1])
        if rng.random() < 0.3:
            name = rng.choice(("photo.jpg", "photo.png", "photo"))
        return Mutant({name: data}, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Predict: the exit code is 0 with a line of output, or 2 with a line that names the picture."""
        (name,) = mutant.files
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main(["predict", str(self.model), str(folder / name)])
        said = errors.getvalue().splitlines()
        if code == 2:
            believe(len(said) == 1 and name in said[0] and said[0].isprintable(), f"said {said}")
            raise FastMLPError(said[0])
        believe(code == 0 and len(out.getvalue().splitlines()) == 1, f"exit code {code}")
        believe(all(one.isprintable() for one in said), f"said {said}")
        return OTHER


def _pictures() -> Iterator[tuple[str, bytes]]:
    """Yield a small picture in every format and mode that Pillow writes here."""
    Image.init()
    pixels = np.random.default_rng(0).integers(0, 256, (17, 13, 3), np.uint8)
    colour = Image.fromarray(pixels)
    seen = set()
    for end, name in sorted(Image.registered_extensions().items()):
        if name in seen or name not in Image.SAVE or name in ("PDF", "MPEG"):
            continue
        modes = (
            ("RGB", "RGBA", "L", "P", "1", "I;16")
            if name in ("PNG", "TIFF", "GIF")
            else ("RGB", "L")
        )
        for mode in modes:
            buffer = io.BytesIO()
            with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
                picture = (
                    colour.convert("I").convert("I;16") if mode == "I;16" else colour.convert(mode)
                )
                picture.save(buffer, name)
                seen.add(name)
                yield end[1:], buffer.getvalue()
    for options in (
        *({"compression": kind} for kind in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
        {"tiffinfo": {0x0112: 6}},
    ):
        buffer = io.BytesIO()
        with contextlib.suppress(OSError, ValueError):
            colour.save(buffer, "TIFF", **options)
            yield "tif", buffer.getvalue()
    buffer = io.BytesIO()
    colour.save(buffer, "GIF", save_all=True, append_images=[colour.rotate(90)])
    yield "gif", buffer.getvalue()


def png(rng: random.Random, data: bytes) -> bytes:
    """Damage a piece of a PNG file, its size, its pixels or a note, and make its checksum right again."""
    pieces, place = [], 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        pieces.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    number = rng.randrange(len(pieces))
    kind, content = pieces[number]
    draw = rng.random()
    if kind == b"IHDR" and draw < 0.7:
        sizes = [rng.choice((13, 17, *COUNTS)) % 2**32 for _ in range(2)]
        rest = [rng.choice((content[k], 0, 1, 2, 3, 4, 6, 8, 16, 255)) for k in range(8, 13)]
        content = struct.pack(">II5B", *sizes, *rest)
    elif kind == b"IDAT" and draw < 0.5:
        content = zlib.compress(damaged(rng, zlib.decompress(content)) * rng.choice((1, 1, 300)))
    elif draw < 0.6:
        content = damaged(rng, content) if content else rng.randbytes(9)
    elif draw < 0.8:
        bomb = zlib.compress(bytes(rng.choice((100, 30_000_000))))
        kind, content = rng.choice(
            (
                (b"zTXt", b"Comment\0\0" + bomb),
                (b"iTXt", b"Comment\0\1\0\0\0" + bomb),
                (b"iCCP", b"icc\0\0" + bomb),
                (b"eXIf", rng.randbytes(40)),
                (b"eXIf", b"MM\0*\0\0\0\x08" + rng.randbytes(30)),
                (b"acTL", struct.pack(">II", rng.choice(COUNTS) % 2**32, 0)),
                (b"tRNS", rng.randbytes(rng.choice((1, 2, 6, 300)))),
                (b"PLTE", rng.randbytes(rng.choice((0, 3, 5, 768, 900)))),
                (b"gAMA", bytes(4)),
            )
        )
        pieces.insert(number, (kind, content))
    elif draw < 0.9:
        kind = rng.choice((b"IDAT", b"IEND", b"PLTE", b"tRNS", b"abcd", b"ABCD", rng.randbytes(4)))
    else:
        pieces.insert(rng.randrange(len(pieces)), pieces[number])
    pieces[number] = (kind, content)
    return data[:8] + b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in pieces
    )


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
