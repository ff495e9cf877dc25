"""``fastmlp predict``: pictures of any kind, and those it refuses."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import run
from numpy.typing import NDArray
from PIL import Image

from fastmlp import TrainConfig, train
from fastmlp.datasets import Dataset, Normalization
from fastmlp.training.network import Network

pytestmark = pytest.mark.usefixtures("elsewhere")
Capture = pytest.CaptureFixture[str]


def network_of(channels: int, pixels: int = 4) -> Network:
    """Return a network whose outputs are the mean grey levels of its channels, darkest first."""
    size = channels * pixels**2
    weights = np.repeat(np.eye(channels), pixels**2, axis=1) / pixels**2
    if channels == 1:
        weights = np.concatenate([-weights, weights])
    return Network(
        [weights],
        [np.zeros(len(weights))],
        activation="relu",
        residual=False,
        normalization=Normalization(np.full(size, 127.5), np.full(size, 50.0)),
        classes=("red", "green", "blue") if channels == 3 else ("dark", "light"),
        shape=(channels, pixels, pixels),
    )


def test_predict_takes_pictures_of_any_size_and_kind(capsys: Capture) -> None:
    network_of(3).save("model.safetensors")
    colours = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250)}
    pictures = {}
    for count, (name, colour) in enumerate(colours.items()):
        for mode, end in (("RGB", "jpg"), ("RGBA", "png"), ("P", "gif")):
            path = f"{name}-{mode}.{end}"
            Image.new("RGB", (5 + count, 9 - count), colour).convert(mode).save(path)
            pictures[path] = name
    assert run("predict", "model.safetensors", *pictures) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(path, name) for path, name, _ in lines] == list(pictures.items())
    assert all(float(share) > 0.9 for _, _, share in lines)


def test_predict_finds_in_folders_what_training_does(capsys: Capture) -> None:
    network_of(3).save("model.safetensors")
    for folder in ("photos/a", "photos/__MACOSX", "photos/.hidden", "elsewhere"):
        Path(folder).mkdir(parents=True)
        Image.new("RGB", (4, 4), "red").save(f"{folder}/x.jfif", format="JPEG")
    Image.new("RGB", (4, 4), "red").save("photos/y.PNG")
    for name in ("._y.PNG", "notes.txt"):
        Path("photos", name).write_bytes(b"no picture")
    Path("photos/link").symlink_to(Path("elsewhere").absolute())
    assert run("predict", "model.safetensors", "photos") == 0
    lines = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["photos/a/x.jfif", "photos/link/x.jfif", "photos/y.PNG"]
    Path("photos/a/circle").symlink_to(Path("photos").absolute())
    assert run("predict", "model.safetensors", "photos", "elsewhere") == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("elsewhere/x.jfif\tred")
    assert "photos/a/circle: found a link to a folder that it lies in" in shown.err


def test_predict_scales_as_training_does_and_turns_by_exif(capsys: Capture) -> None:
    network = network_of(1)
    network.save("model.safetensors")
    pixels = np.random.default_rng(0).integers(0, 200, (12, 9), dtype=np.uint8)
    Image.fromarray(pixels).save("plain.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    Image.fromarray(np.rot90(pixels)).save("turned.png", exif=exif)
    assert run("predict", "model.safetensors", "plain.png", "turned.png") == 0
    dataset = Dataset.from_arrays(pixels[None, None], [0]).resize(4)
    share = network.predict_proba(dataset.images)[0]
    expected = [("dark", "light")[share.argmax()], f"{share.max():.4f}"]
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines == [["plain.png", *expected], ["turned.png", *expected]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_predict_scales_16_bits_of_grey_to_8(capsys: Capture, name: str) -> None:
    network = network_of(1)
    network.save("model.safetensors")
    pixels = np.arange(100, 116, dtype=np.uint16).reshape(4, 4)
    big_endian = ">u2" if name == "a.tif" else "<u2"
    Image.fromarray((pixels * 257).astype(big_endian)).save(name)
    assert run("predict", "model.safetensors", name) == 0
    share = network.predict_proba(pixels.astype(np.uint8).reshape(1, -1))[0]
    assert share[0] > share[1]
    assert capsys.readouterr().out == f"{name}\tdark\t{share[0]:.4f}\n"


@pytest.mark.parametrize(("channels", "mode"), [(1, "LA"), (3, "RGBA"), (3, "PA"), (3, "P")])
def test_predict_refuses_what_shows_through(capsys: Capture, channels: int, mode: str) -> None:
    network_of(channels).save("model.safetensors")
    name = "a.tif" if mode == "PA" else "a.png"
    for alpha, code in ((255, 0), (254, 2)):
        picture = Image.new("RGBA", (4, 4), (9, 9, 9, alpha)).convert(mode)
        if mode == "PA":
            picture.putalpha(alpha)  # which Pillow 10 forgets
        picture.save(name)
        assert run("predict", "model.safetensors", name) == code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"fastmlp: error: {name}: found transparent pixels")
    assert "flatten" in line


def test_predict_refuses_16_bits_with_a_transparent_grey(capsys: Capture) -> None:
    network_of(1).save("model.safetensors")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save("a.png", transparency=0)
    assert run("predict", "model.safetensors", "a.png") == 2
    assert "a.png: found transparent pixels" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["I", "F"])
def test_predict_refuses_numbers_of_unknown_range(capsys: Capture, mode: str) -> None:
    network_of(1).save("model.safetensors")
    Image.new(mode, (4, 4), 300).save("a.tif")
    assert run("predict", "model.safetensors", "a.tif") == 2
    words = f"a.tif: found pixels of Pillow's mode {mode}, expected 8 bits"
    assert words in capsys.readouterr().err


def damaged_png() -> bytes:
    Image.fromarray(np.arange(10_000, dtype=np.uint8).reshape(100, 100)).save("whole.png")
    return Path("whole.png").read_bytes()[:200]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "a.png: found no such file, expected"),
        (lambda: b"no picture", "cannot identify"),
        (damaged_png, "truncated"),
    ],
)
def test_predict_refuses_what_is_no_picture(
    capsys: Capture, content: Callable[[], bytes] | None, words: str
) -> None:
    network_of(3).save("model.safetensors")
    if content is not None:
        Path("a.png").write_bytes(content())
    assert run("predict", "model.safetensors", "a.png") == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("fastmlp: error: a.png: ")
    assert words in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    Path("empty").mkdir()
    assert run("predict", "model.safetensors", "empty") == 2
    assert "empty: found no picture in the folder, expected" in capsys.readouterr().err


def test_predict_takes_no_memory_for_what_an_archive_only_claims(capsys: Capture) -> None:
    network_of(1).save("model.safetensors")
    description = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 16)}
    with zipfile.ZipFile("a.npz", "w") as archive, archive.open("images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, description)
        member.write(bytes(800))
    assert run("predict", "model.safetensors", "a.npz") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.npz/images: found 800 bytes of values, expected" in line
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert run("predict", "model.safetensors", "a.npz") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a.npz: found 'readme.txt', which is no array" in line


def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pictures of 6 x 6 whose brighter half says their class."""
    labels = np.arange(80) % 2
    pictures = np.random.default_rng(0).integers(0, 60, (80, 6, 6)).astype(np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[3 * label : 3 * label + 3] += 190
    return pictures, labels


SCALES: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.generic]]] = {
    "grey levels": lambda levels: levels,
    "floats": lambda levels: levels.astype(np.float64),
    "0 to 1": lambda levels: levels / 255,
    "0 to 1 in float32": lambda levels: (levels / 255).astype(np.float32),
    "-1 to 1": lambda levels: levels / 127.5 - 1,
}


def trained(images: NDArray[np.generic], shape: tuple[int, int, int] | None = None) -> Network:
    data = Dataset.from_arrays(images, digits()[1], shape, classes=["top", "bottom"])
    config = TrainConfig(hidden=(8,), epochs=20, learning_rate=0.05, threads=1)
    return train(config, data).network


@pytest.mark.parametrize("scale", SCALES)
def test_predict_brings_pictures_to_what_the_network_saw(capsys: Capture, scale: str) -> None:
    pictures, labels = digits()
    network = trained(SCALES[scale](pictures))
    network.save("model.safetensors")
    names = [f"{number}.png" for number in range(20)]
    for name, picture in zip(names, pictures, strict=False):
        Image.fromarray(picture).save(name)
    assert run("predict", "model.safetensors", *names) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    expected = network.predict_proba(SCALES[scale](pictures[:20]).reshape(20, -1))
    assert [line[1] for line in lines] == [("top", "bottom")[label] for label in labels[:20]]
    found = np.array([float(line[2]) for line in lines])
    np.testing.assert_allclose(found, expected.max(axis=1), atol=1e-4)


@pytest.mark.parametrize("scale", [lambda levels: (levels - 80) / 90, lambda levels: levels / 16])
def test_predict_refuses_what_nothing_brings_it_to(
    capsys: Capture, scale: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    trained(scale(digits()[0])).save("model.safetensors")
    Image.new("L", (6, 6)).save("a.png")
    assert run("predict", "model.safetensors", "a.png") == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(
        "fastmlp: error: model.safetensors: found a network that was trained"
    )
    assert (shown.out, shown.err.count("\n")) == ("", 1)


def test_predict_refuses_a_network_of_rows(capsys: Capture) -> None:
    rows = digits()[0].reshape(80, 36)
    trained(rows).save("rows.safetensors")
    trained(rows, (1, 6, 6)).save("pictures.safetensors")
    Image.new("L", (6, 6)).save("a.png")
    assert run("predict", "rows.safetensors", "a.png") == 2
    line = capsys.readouterr().err
    assert line.startswith("fastmlp: error: rows.safetensors: takes rows of 36 values, expected")
    assert run("predict", "pictures.safetensors", "a.png") == 0


def test_predict_does_not_start_what_a_file_asks_for(capsys: Capture) -> None:
    network_of(3).save("model.safetensors")
    Path("photo.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    )
    assert run("predict", "model.safetensors", "photo.jpg") == 2
    assert "photo.jpg: UnidentifiedImageError: cannot identify" in capsys.readouterr().err
