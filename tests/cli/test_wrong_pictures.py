"""Wrong folders of pictures and wrong arrays are said in one line, with exit code 2, and nothing is written."""

import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import run
from PIL import Image

pytestmark = pytest.mark.usefixtures("elsewhere")
RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (40, 6)).astype(np.uint8)
Y = np.arange(40) % 2
Prepare = Callable[[Path], object]


def picture(path: Path, side: int = 8, mode: str = "RGB", **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = RANDOM.integers(0, 256, (side, side, 3)).astype(np.uint8)
    Image.fromarray(levels).convert(mode).save(path, **options)


def two_classes(top: Path, each: int = 12) -> None:
    for name in ("cat", "dog"):
        for number in range(each):
            picture(top / name / f"{number}.png")


def beside(change: Prepare) -> Prepare:
    """Return what makes two classes of pictures, and then something wrong."""

    def prepare(top: Path) -> None:
        two_classes(top)
        change(top)

    return prepare


def saved(**arrays: Any) -> Prepare:
    return lambda path: np.savez(path, **arrays)


def written(content: bytes, name: str = "cat/wrong.jpg") -> Prepare:
    return beside(lambda top: (top / name).write_bytes(content))


def bomb(top: Path) -> None:
    """Write a PNG file of some bytes that claims to have 9,000 x 9,000 pixels."""
    header = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    (top / "cat" / "bomb.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )
    )


def clear(top: Path) -> None:
    levels = Image.fromarray(RANDOM.integers(0, 255, (8, 8, 4)).astype(np.uint8))
    levels.save(top / "cat" / "clear.png")


def pipe(top: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("the system has no named pipes")
    os.mkfifo(top / "cat" / "a.jpg")


def without_permission(top: Path) -> None:
    (top / "cat").chmod(0)
    if os.access(top / "cat", os.R_OK):
        pytest.skip("this user may read everything")


def parts(*names: str) -> Prepare:
    def prepare(top: Path) -> None:
        for name in names:
            two_classes(top / name, 3)

    return prepare


FOLDERS: list[tuple[str, Prepare, str, str]] = [
    ("empty", lambda top: top.mkdir(), "", "found no subfolder, expected a subfolder of pictures"),
    ("no folders", lambda top: picture(top / "a.png"), "", "found 1 pictures and no subfolder"),
    ("one class", lambda top: picture(top / "cat" / "a.png"), "", "found one class, 'cat'"),
    (
        "classes below",
        lambda top: two_classes(top / "archive"),
        "",
        "did you mean photos/archive?",
    ),
    ("empty class", beside(lambda top: (top / "owl").mkdir()), "", "photos/owl: found no pictures"),
    (
        "class of texts",
        beside(lambda top: ((top / "owl").mkdir(), (top / "owl" / "a.txt").write_text("a"))),
        "",
        "photos/owl: found no pictures",
    ),
    (
        "picture without a class",
        beside(lambda top: picture(top / "a.JPG", format="JPEG")),
        "",
        "beside the folders of the classes, such as a.JPG",
    ),
    ("mixed sizes", beside(lambda top: picture(top / "cat" / "z.png", 9)), "", "different sizes"),
    (
        "large",
        lambda top: [picture(top / name / "a.png", 1030) for name in ("cat", "dog")],
        "",
        "cat/a.png has 1030 x 1030 pixels, expected at most 1024 a side; say what size",
    ),
    ("text", written(b"no picture at all"), "", "cat/wrong.jpg: "),
    ("nothing in a file", written(b""), "", "1 file cannot be read"),
    ("PostScript", written(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "", "cat/wrong.jpg: "),
    ("archive named .png", written(b"PK\x03\x04" + bytes(40), "dog/wrong.png"), "", "wrong.png: "),
    ("bomb", beside(bomb), "", "found 9000 x 9000 pixels"),
    ("transparent", beside(clear), "", "transparent"),
    (
        "many",
        beside(lambda top: [(top / "cat" / f"w{n}.gif").write_bytes(b"GIF89a") for n in range(9)]),
        "",
        "9 files cannot be read",
    ),
    (
        "all of a class",
        lambda top: (two_classes(top), [one.write_bytes(b"") for one in (top / "dog").iterdir()]),
        "--skip-bad",
        "of the class 'dog' no picture can be read",
    ),
    (
        "link to nothing",
        beside(lambda top: (top / "cat" / "a.jpg").symlink_to("nowhere")),
        "",
        "photos/cat/a.jpg: ",
    ),
    (
        "link to itself",
        beside(lambda top: (top / "cat" / "a.jpg").symlink_to("a.jpg")),
        "",
        "photos/cat/a.jpg: ",
    ),
    (
        "circle of links",
        beside(lambda top: (top / "cat" / "below").symlink_to(top.resolve())),
        "",
        "found a link to a folder that it lies in",
    ),
    ("pipe", beside(pipe), "", "no regular file"),
    ("closed folder", beside(without_permission), "", "Permission denied"),
    (
        "new class in the test part",
        lambda top: (parts("train", "test")(top), picture(top / "test" / "owl" / "a.png")),
        "",
        "found the class 'owl', expected those of the training part: cat, dog",
    ),
    ("two training parts", parts("train", "Training", "test"), "", "expected one of them"),
    ("size", two_classes, "--size 0", "size: found 0"),
    ("label of a folder", two_classes, "--label cat", "label: found 'cat'"),
]


@pytest.mark.parametrize(
    ("prepare", "options", "words"), [one[1:] for one in FOLDERS], ids=[one[0] for one in FOLDERS]
)
def test_a_wrong_folder(
    prepare: Prepare,
    options: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(Path("photos"))
    expect_refusal(["--data", "photos", *options.split()], words, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("prepare", "options", "words"),
    [
        (lambda top: two_classes(top, 1), "", "or more rows"),
        (parts("train", "test"), "--split 0.8,0.1,0.1", "parts of its own"),
    ],
)
def test_sound_pictures_that_make_no_parts(
    prepare: Prepare,
    options: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are decoded by then, and kept for the next time."""
    prepare(Path("photos"))
    arguments = ["--data", "photos", *options.split()]
    expect_refusal(arguments, words, monkeypatch, capsys, kept=1)


ARRAYS: list[tuple[str, str, Prepare, str, str]] = [
    ("objects", "a.npz", saved(X=np.array([None] * 4), y=Y[:4]), "", "Python objects"),
    ("strange names", "a.npz", saved(foo=X, bar=Y), "", "say label='bar' (--label bar)"),
    ("two images", "a.npz", saved(data=X, images=X, y=Y), "", "'data' and 'images', either"),
    ("no labels", "a.npz", saved(X=X), "", "expected the labels of 'X', too"),
    ("no images", "a.npz", saved(y=Y), "", "expected the images of 'y', too"),
    ("nothing", "a.npz", saved(), "", "found no arrays"),
    ("test part only", "a.npz", saved(x_test=X, y_test=Y), "", "expected images and labels"),
    ("NaN", "a.npz", saved(X=np.full((40, 6), np.nan), y=Y), "", "image 0 holds nan at value 0"),
    ("infinity", "a.npz", saved(X=np.where(X > 9, np.inf, 0), y=Y), "", "expected finite numbers"),
    ("fewer labels", "a.npz", saved(X=X, y=Y[:9]), "", "labels are int64 [9]"),
    ("whole floats", "a.npz", saved(X=X, y=Y * 1.0), "", "whole numbers [N] of an integer type"),
    ("missing label", "a.npz", saved(X=X, y=np.where(Y, np.nan, 0.5)), "", "label nan at row"),
    ("complex", "a.npz", saved(X=X * 1j, y=Y), "", "complex128"),
    ("either axes", "a.npz", saved(X=np.zeros((40, 3, 5, 3)), y=Y), "", "shape=(3, 5, 3)"),
    ("five axes", "a.npz", saved(X=np.zeros((40, 3, 5, 3, 2)), y=Y), "", "[40, 3, 5, 3, 2]"),
    ("other label", "a.npz", saved(X=X, y=Y), "--label z", "label: found 'z'"),
    ("skip bad", "a.npz", saved(X=X, y=Y), "--skip-bad", "skip_bad"),
    ("one class", "a.npz", saved(X=X, y=Y * 0), "", "at least two"),
    (
        "parts that differ",
        "a.npz",
        saved(x_train=X, y_train=Y, x_test=X[:, :5], y_test=Y),
        "",
        "in the test part, expected (1, 1, 6)",
    ),
    ("alone", "X.npy", lambda path: np.save(path, X), "", "expected the labels of 'X'"),
    ("unknown", "foo.npy", lambda path: np.save(path, X), "", "say where they are with label="),
    ("text", "a.npz", lambda path: path.write_text("X, y"), "", "a.npz: starts with"),
    (
        "labels in an archive of two",
        "a.npy",
        lambda path: (np.save(path, X), np.savez("z.npz", a=Y, b=Y)),
        "--label z.npz",
        "label: found 'a' int64 [40], 'b' int64 [40] in z.npz, expected one array of labels",
    ),
    ("a text as labels", "a.npz", saved(X=X, y=np.array("cat")), "", "labels are int64 [1]"),
    ("half", "a.npy", lambda path: half(path, X), "--label a.npy", "bytes of values, expected 240"),
    ("archive", "a.zip", saved(X=X), "", "a.zip"),
]


def half(path: Path, array: np.ndarray) -> None:
    np.save(path, array)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "prepare", "options", "words"),
    [one[1:] for one in ARRAYS],
    ids=[one[0] for one in ARRAYS],
)
def test_wrong_arrays(
    name: str,
    prepare: Prepare,
    options: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(Path(name))
    if not Path(name).exists():  # NumPy adds its own ending
        Path(f"{name}.npz").rename(name)
    expect_refusal(["--data", f"./{name}", *options.split()], words, monkeypatch, capsys)


def expect_refusal(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept: int = 0,
) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(Path("home").absolute()))
    before = sorted(Path().iterdir())
    start = time.process_time()
    assert run("train", *arguments) == 2
    assert time.process_time() - start < 20
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert len([one for one in Path("home").rglob("*") if one.is_file()]) == kept
    assert [one for one in sorted(Path().iterdir()) if one.name != "home"] == before
