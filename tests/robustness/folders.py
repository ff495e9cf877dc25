"""Folders: of pictures to train on, the file that keeps them decoded, and the folders of runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import tempfile
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from fastmlp.cli import main
from fastmlp.datasets import own
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.picture_folders import KEPT

from .data import png, toml_damage
from .kinds import OTHER, SAME, Mutant, Patching, believe
from .models import files_of, write
from .mutations import altered, container, damaged, spelled
from .tables import run


def pictures() -> dict[str, bytes]:
    """Return small pictures of two classes."""
    rng = np.random.default_rng(0)
    found = {}
    for number in range(12):
        end = ("png", "jpg", "gif")[number % 3]
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (6, 5, 3)).astype(np.uint8)).save(
            file, {"jpg": "jpeg"}.get(end, end)
        )
        found[f"photos/{('cat', 'dog')[number % 2]}/{number}.{end}"] = file.getvalue()
    return found


class PictureFolders(Patching):
    """`fastmlp train` with a folder of pictures."""

    name = "pictures"

    def __init__(self) -> None:
        super().__init__()
        self.samples = [pictures()]

    def __enter__(self) -> Any:
        """Keep decoded pictures in a folder of our own, and see what the sound pictures are."""
        super().__enter__()
        home = self.patches.enter_context(tempfile.TemporaryDirectory())
        self.patches.enter_context(mock.patch.dict("os.environ", FASTMLP_DATA=home))
        write(Path(home), self.samples[0])
        self.expected = self.parts(Path(home))
        return self

    def parts(self, folder: Path, skip: bool = False) -> list[str]:
        """Return the checksums of the parts that are made of a folder."""
        parts = own.load(folder / "photos", OwnOptions(size=4, skip_bad=skip))
        return [part.checksum for part in parts]

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage, remove, rename or add pictures."""
        files = dict(self.samples[0])
        for _ in range(rng.choice((1, 1, 1, 4))):
            name, action = rng.choice(list(files)), rng.randrange(8)
            data = files[name]
            if action <= 1:
                files[name] = damaged(rng, data, files[rng.choice(list(files))])
            elif action <= 3 and name.endswith("png") and data.startswith(b"\x89PNG"):
                with contextlib.suppress(Exception):  # it is damaged already
                    files[name] = png(rng, data)
            elif action == 4 and len(files) > 1:
                del files[name]
            else:
                new = rng.choice(
                    (
                        *("photos/cat/x.png", "photos/cat/..png", "photos/x.png", "photos/cat/x"),
                        *("photos/cat/\x1b[2J.png", "photos/c\nt/a.png", "photos/cat/d/e/f.png"),
                        *("photos/train/cat/a.png", "photos/test/a/a.png", "photos/.b/a.png"),
                        *("photos/cat/x.svg", "photos/cat/x.eps", "photos/cat/é.png"),
                    )
                )
                files[new] = rng.choice((data, b"", b"%!PS-Adobe-3.0 EPSF-3.0\n"))
        return Mutant(files, 0, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read the folder, twice: the second time from the file that keeps it."""
        skip = len(mutant.files) % 2 == 1
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = self.parts(folder, skip)
            believe(self.parts(folder, skip) == found, "other pictures the second time")
        lines = [str(one.message) for one in said]
        believe(all(len(one.splitlines()) == 1 for one in lines), f"said {lines}")
        return SAME if found == self.expected else OTHER


class DecodedFiles(PictureFolders):
    """The file that keeps the decoded pictures of a folder."""

    name = "decoded"

    def __enter__(self) -> Any:
        """Decode the pictures."""
        super().__enter__()
        self.home = Path(self.patches.enter_context(tempfile.TemporaryDirectory()))
        self.patches.enter_context(mock.patch.dict("os.environ", FASTMLP_DATA=str(self.home)))
        write(self.home, self.samples[0])
        self.parts(self.home)
        (self.kept,) = (self.home / KEPT).glob("*.pictures")
        self.data = self.kept.read_bytes()
        return self

    def sound(self, sample: int) -> dict[str, bytes]:
        """Return the file."""
        return {"kept": self.data}

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage the file, or its description, with a right checksum."""
        sealed = rng.random() < 0.5
        if not sealed:
            return Mutant({"kept": damaged(rng, self.data)}, 0, False)
        count = int.from_bytes(self.data[-40:-32], "little")
        start = len(self.data) - 40 - count
        text = spelled(rng, altered(rng, json.loads(self.data[start:-40])))
        content = text.encode("utf-8", "surrogatepass")
        tail = len(content).to_bytes(8, "little") + hashlib.sha256(content).digest()
        return Mutant({"kept": self.data[:start] + content + tail}, 0, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Read the folder of the pictures once more."""
        self.kept.write_bytes(mutant.files["kept"])
        found = self.parts(self.home)
        if found == self.expected:
            return SAME
        believe(mutant.sealed, "other pictures")
        return OTHER


class Runs(Patching):
    """`fastmlp runs`, `show`, `evaluate`, `compare` and `lr` with the folder of a run."""

    name = "run"
    longest = 8.0  # seconds: to compare two runs, and to look for a rate, is more than to read
    commands = (
        *(("runs", "{0}"), ("runs", "{0}", "--sort", "test_accuracy", "--where", "epochs>=1")),
        *(("runs", "{0}", "--csv", "{0}/../a.csv", "--html", "{0}/../a.html"), ("show", "{0}")),
        *(("evaluate", "{0}"), ("compare", "{0}", "{1}")),
        ("lr", "--config", "{0}/config.toml", "--out", "{0}.png"),
    )

    def __enter__(self) -> Any:
        """Train with and without an end."""
        super().__enter__()
        self.folder = Path(self.patches.enter_context(tempfile.TemporaryDirectory())) / "sound"
        arguments = ["train", "--hidden", "4", "--epochs", "3", "--no-report"]
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            assert main([*arguments, "--out", str(self.folder)]) == 0
        whole = {f"run/{name}": data for name, data in files_of(self.folder).items()}
        whole = {name: data for name, data in whole.items() if not name.endswith(".png")}
        part = {
            name.replace("config", "unfinished"): data
            for name, data in whole.items()
            if name.endswith(("config.toml", "history.csv"))
        }
        self.samples = [whole, whole, part]
        return self

    def mutant(self, rng: random.Random) -> Mutant:
        """Damage or remove a file, or change its values."""
        number = rng.randrange(len(self.samples))
        files = dict(self.samples[number])
        name = rng.choice(list(files))
        data, draw = files[name], rng.random()
        if draw < 0.05 and len(files) > 1:
            del files[name]
        elif name.endswith(".json") and draw < 0.7:
            value = altered(rng, json.loads(data))
            files[name] = spelled(rng, value).encode("utf-8", "surrogatepass")
        elif name.endswith(".toml"):
            files[name] = toml_damage(rng, data.decode())
        elif name.endswith(".safetensors") and draw < 0.6:
            files[name] = container(rng, data, "network")[0]
        elif name.endswith(".csv") and draw < 0.5:
            cells = data.decode().split(",")
            cells[rng.randrange(len(cells))] = rng.choice(
                ("", "nan", "1e999", "-1", '"', "x" * 200_000, "\0", "\x1b[2J", "9" * 5000, "a\nb")
            )
            files[name] = ",".join(cells).encode()
        else:
            files[name] = damaged(rng, data, rng.choice(list(files.values())))
        return Mutant(files, number, True)

    def read(self, folder: Path, mutant: Mutant) -> str:
        """Run one of the commands."""
        weight = sum(map(len, mutant.files.values()))
        command = self.commands[weight % len(self.commands)]
        arguments = [one.format(folder / "run", self.folder) for one in command]
        run(arguments, "run")
        return OTHER
