"""Tables that people bring, to train on and to predict; arrays to predict."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import feather, parquet

from fastmlp import train
from fastmlp.cli import main
from fastmlp.datasets import own
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.preparation import Preparation
from fastmlp.errors import FastMLPError

from .kinds import OTHER, SAME, SMALL, TRAIN, Mutant, Patching, believe
from .mutations import damaged
from .own import saved

ROWS = 40
OPTIONS = OwnOptions(label="grape", weight="cases")
CELLS = (  # that are most often forgotten
    *("", " ", "NA", "nan", "inf", "-inf", "1e308", "1e-320", "9" * 400, "0x10", "1,5", "1_000"),
    *("True", "=1+1", "'", '"', '""', "\0", "\x1b[2J", "é", "\ud800", "\r", "a\nb", "2020-01-31"),
    *("x" * 5000, "red", "-0", "1e5", "٣", "½", "None", "-", "+", "1 000", "12:30", "﷐", "\u202e"),
)


def wine() -> pd.DataFrame:
    """Return a table with numbers, categories, missing values, weights and labels of three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(ROWS) % 3
    age = rng.normal(20, 3, ROWS) + 3 * labels
    age[5] = np.nan
    return pd.DataFrame(
        {
            "age": age.round(2),
            "bottles": rng.integers(0, 90, ROWS),
            "colour": np.array(["red", "white", "rosé"])[rng.integers(0, 3, ROWS)],
            "sweet": pd.array(rng.random(ROWS) < 0.5, "boolean"),
            "cases": rng.integers(1, 5, ROWS),
            "grape": np.array(["merlot", "riesling", "shiraz"])[labels],
        }
    )


def files_of(frame: pd.DataFrame) -> dict[str, bytes]:
    """Return a table as a file of each format."""
    table = pa.Table.from_pandas(frame)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    feathers = [io.BytesIO(), io.BytesIO()]
    feather.write_feather(table, feathers[0], compression="uncompressed")
    feather.write_feather(table, feathers[1], compression="lz4")
    parquets = [io.BytesIO(), io.BytesIO()]
    parquet.write_table(table, parquets[0], compression="none")
    parquet.write_table(table, parquets[1], compression="zstd", write_page_checksum=True)
    return {
        "a.csv": frame.to_csv(index=False).encode(),
        "a.tsv": frame.to_csv(sep="\t").encode(),
        "a.csv.gz": gzip.compress(frame.to_csv(index=False).encode(), mtime=0),
        "plain.parquet": parquets[0].getvalue(),
        "packed.parquet": parquets[1].getvalue(),
        "plain.feather": feathers[0].getvalue(),
        "packed.feather": feathers[1].getvalue(),
        "a.arrow": stream.getvalue(),
    }


def run(arguments: Sequence[object], name: str) -> str:
    """Run a command, and return what it prints: all lines are printable, and an error is one that names the file."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(list(map(str, arguments)))
    said = errors.getvalue().splitlines()
    shown = [one.replace("\t", " ") for one in (*said, *out.getvalue().splitlines())]
    believe(all(one.isprintable() for one in shown), f"said {shown}")
    if code == 2:
        (last,) = (one for one in said if one.startswith("fastmlp: error: "))
        believe(name in last or "column '" in last, f"said {said}")
        raise FastMLPError(last)
    believe(code == 0, f"exit code {code}: {said}")
    return out.getvalue()


class Tables(Patching):
    """`fastmlp train`, `predict` and `evaluate` with a table."""

    name = "table"

    def __init__(self) -> None:
        super().__init__()
        self.samples = [{name: data} for name, data in files_of(wine()).items()]

    def __enter__(self) -> Any:
        """Train the network that is to predict, and see what the sound tables make of it."""
        super().__enter__()
        folder = Path(self.patches.enter_context(tempfile.TemporaryDirectory()))
        self.model, self.expected = folder / "model.safetensors", []
        for sample in self.samples:
            ((name, data),) = sample.items()
            (folder / name).write_bytes(data)
            parts = own.load(folder / name, OPTIONS)
            self.expected.append([part.checksum for part in parts])
        config = SMALL.replace(epochs=1, optimizer="adam")
        train(config, own.load(folder / "a.csv", OPTIONS)[0]).network.save(self.model)
        return self

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the bytes, a compressed text, cells of a text, or the columns and values of what is then written."""
        number = rng.randrange(len(self.samples))
        ((name, data),) = self.samples[number].items()
        if rng.random() < 0.25:
            data = files_of(changed(rng, wine()))[name]
        elif name.endswith(("csv", "tsv", "csv.gz")) and rng.random() < 0.6:
            packed = name.endswith("gz")
            data = cells(rng, gzip.decompress(data) if packed else data, name)
            data = gzip.compress(data * rng.choice((1, 1, 30)), 1, mtime=0) if packed else data
        else:
            data = damaged(rng, data, next(iter(rng.choice(self.samples).values())))
        return Mutant({name: data}, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read it as data of a training, or let the network predict it or be judged by it."""
        ((name, data),) = mutant.files.items()
        path = folder / name
        command = ("predict", "evaluate", "train")[zlib.crc32(data) % 3]
        if command != "train":
            run([command, self.model, path], name)
            return OTHER
        parts = own.load(path, OPTIONS)
        preparation = parts[0].preparation
        assert preparation is not None
        plain = json.loads(json.dumps(preparation.as_dict()))
        believe(Preparation.from_dict(plain) == preparation, f"{plain}")
        for part in parts:
            width = len(preparation.features)
            believe(part.images.shape == (len(part), width), f"features {part.images.shape}")
            believe(bool(np.isfinite(part.images).all()), "features that are not finite")
            inside = (part.labels >= 0) & (part.labels < len(part.classes))
            believe(bool(inside.all()), f"labels {part.labels}")
            believe(part.weights is not None and bool((part.weights >= 0).all()), "weights")
        same = [part.checksum for part in parts] == self.expected[mutant.sample]
        return SAME if same else OTHER


def cells(rng: random.Random, data: bytes, name: str) -> bytes:
    """Return a table of text with cells, rows or separators replaced, or in another encoding."""
    separator = "\t" if name.endswith("tsv") else ","
    rows = [line.split(separator) for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rng.choice((0, rng.randrange(len(rows)), rng.randrange(len(rows))))
        place, action = rng.randrange(len(rows[row]) or 1), rng.randrange(8)
        if action <= 3 and rows[row]:
            rows[row][place] = rng.choice(CELLS)
        elif action == 4:
            rows[row].insert(place, rng.choice(CELLS))
        elif action == 5 and rows[row]:
            del rows[row][place]
        elif action == 6:
            rows.insert(row, list(rows[rng.randrange(len(rows))]) * rng.choice((1, 1, 200)))
        elif place < min(map(len, rows)):
            value = rng.choice(CELLS)
            for one in rows[rng.randrange(2) :]:
                one[place] = value
    text = rng.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n")).join(map(separator.join, rows))
    text = text.replace(separator, rng.choice((separator,) * 9 + (";", "|")))
    encoding = rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "latin-1"))
    return text.encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")


VALUES: tuple[Any, ...] = (
    *(None, np.nan, np.inf, -np.inf, 1e308, 1e-320, 2**62, -1, 0, True, "", "red", "\x1b[2J"),
    *("2020-01-31", [1, 2], {"a": 1}, b"\xff", pd.Timestamp(0), pd.Timedelta(1), "x" * 3000),
)


def changed(rng: random.Random, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with values, types, names or the order of its columns changed, as far as it can be written."""
    for _ in range(rng.choice((1, 1, 2))):
        frame = frame.copy()
        name, action = rng.choice(list(frame)), rng.randrange(8)
        value = rng.choice(VALUES)
        if action == 0:
            frame = frame.drop(columns=name)
        elif action == 1:
            frame = frame.rename(
                columns={name: rng.choice(("", " ", "Age", "\x1b[2J", "a\nb", "=1"))}
            )
        elif action == 2:
            frame[name] = [value] * len(frame)
        elif action == 3 and len(frame):
            column = list(frame[name])
            column[rng.randrange(len(column))] = value
            frame[name] = pd.Series(column, dtype=object)
        elif action == 4:
            kind = rng.choice(
                ("category", "string", "float32", "Int64", "datetime64[ns]", "object")
            )
            with contextlib.suppress(TypeError, ValueError):
                frame[name] = frame[name].astype(kind)
        elif action == 5:
            frame = frame[rng.sample(list(frame), frame.shape[1])]
        elif action == 6:
            frame = frame.iloc[: rng.choice((0, 1, 2, 5))]
        else:
            frame[rng.choice(("new", "age ", "grape2"))] = [value] * len(frame)
        if not frame.shape[1]:
            return wine()
    try:
        files_of(frame)
    except Exception:  # Arrow writes no column of several types
        return wine()
    return frame


class Rows(Patching):
    """`fastmlp predict` with arrays."""

    name = "rows"

    def __init__(self) -> None:
        super().__init__()
        pictures = np.random.default_rng(0).integers(0, 256, (9, 1, 4, 5)).astype(np.uint8)
        self.samples = [
            {"a.npy": saved(np.save, pictures)},
            {"a.npy": saved(np.save, np.asfortranarray(pictures.reshape(9, 20).astype(float)))},
            {"a.npz": saved(np.savez, images=pictures, other=np.arange(3))},
            {"a.npz": saved(np.savez_compressed, images=pictures / 1)},
        ]

    def __enter__(self) -> Any:
        """Write the network, and see what it makes of the sound arrays."""
        super().__enter__()
        folder = Path(self.patches.enter_context(tempfile.TemporaryDirectory()))
        self.model = folder / "model.safetensors"
        train(SMALL.replace(epochs=1), TRAIN).network.save(self.model)
        self.expected = []
        for sample in self.samples:
            ((name, data),) = sample.items()
            (folder / name).write_bytes(data)
            self.expected.append(self.answers(folder / name))
        return self

    def answers(self, path: Path) -> list[str]:
        """Return the answers to a file, line by line, without its name."""
        lines = run(["predict", self.model, path, "--proba"], path.name).splitlines()
        return [line.partition("\t")[2] for line in lines]

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the file, or an array in an archive whose checksums are right."""
        number = rng.randrange(len(self.samples))
        ((name, data),) = self.samples[number].items()
        if name.endswith("npz") and rng.random() < 0.6:
            data = repacked(rng, data)
        else:
            data = damaged(rng, data, next(iter(rng.choice(self.samples).values())))
        return Mutant({name: data}, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Predict."""
        (name,) = mutant.files
        return SAME if self.answers(folder / name) == self.expected[mutant.sample] else OTHER


def repacked(rng: random.Random, data: bytes) -> bytes:
    """Return an archive one of whose members is damaged, renamed, doubled or a bomb, with right checksums."""
    import warnings
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in members.items():
            new, action = name, rng.randrange(6)
            if action <= 2:
                content = damaged(rng, content)
            elif action == 3:
                new = rng.choice(("x.npy", "../up.npy", "/abs.npy", "a", "", name))
            elif action == 4:
                shape = rng.choice(((10**6, 1, 4, 5), (2**40, 20), (2**62,), (0, 20), (-1, 20)))
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(
                    header, {"descr": "<f8", "fortran_order": False, "shape": shape}
                )
                content = header.getvalue() + bytes(rng.choice((0, 8, 10**8)))
            packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            if len(content) > 10**7:
                packed = zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(new), content, packed, 1)
    return made.getvalue()
