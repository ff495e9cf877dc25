"""The commands with convolutional networks."""

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import history, metrics, run
from PIL import Image

import fastmlp
from fastmlp.cli.options import from_file

pytestmark = pytest.mark.usefixtures("elsewhere")
HIDDEN = "conv 8 3, batchnorm, maxpool 2, 32, dropout 0.2"
LAYERS = ("conv 8 3", "batchnorm", "maxpool 2", 32, "dropout 0.2")


def test_a_network_is_trained_asked_and_exported(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--hidden", HIDDEN, "--optimizer", "adam", "--learning-rate", 0.005)
    train = ("train", *options, "--epochs", 8, "--out", "run")
    assert run(*train) == 0
    assert (
        "network: conv 8 3, batchnorm, maxpool 2, 32, dropout 0.2, 10 (5,216 multiply-adds an image)"
        in capsys.readouterr().err
    )
    assert metrics(Path("run"))["test"]["accuracy"] > 0.93
    assert len(history(Path("run"))) == 8
    config, _ = from_file(Path("run/config.toml"))
    assert config.hidden == LAYERS
    network = fastmlp.load("run/model.safetensors")
    assert network.layers[1].__class__.__name__ == "BatchNorm"

    test = fastmlp.load_digits().test
    pixels = test.images[0].astype(np.float64) * 255 / max(test.images.max(), 1)
    Image.fromarray(pixels.reshape(8, 8).astype(np.uint8)).save("digit.png")
    assert run("predict", "run/model.safetensors", "digit.png") == 0
    assert capsys.readouterr().out.startswith("digit.png\t")

    runtime = pytest.importorskip("onnxruntime")
    assert run("export", "run/model.safetensors", "--onnx", "model.onnx") == 0
    session = runtime.InferenceSession("model.onnx")
    _, found = session.run(None, {"X": test.images.astype(np.float32)})
    np.testing.assert_allclose(found, network.predict_proba(test), rtol=0, atol=1e-5)


def test_a_run_goes_on_from_its_checkpoint() -> None:
    train = ("train", "--hidden", HIDDEN, "--checkpoint", "--out", "run", "--epochs")
    assert run(*train, 2) == 0
    assert run(*train, 4) == 0
    assert run("train", "--hidden", HIDDEN, "--epochs", 4, "--out", "whole") == 0
    models = [Path(name, "model.safetensors").read_bytes() for name in ("run", "whole")]
    assert models[0] == models[1]


def test_a_grid_of_networks_is_searched() -> None:
    Path("grid.toml").write_text(
        '[data]\nname = "digits"\n[config]\nepochs = 2\n[grid]\n'
        'hidden = [["conv 4 3", "maxpool 2", 16], [16], []]\n'
    )
    assert run("search", "grid.toml", "--out", "found") == 0
    network = fastmlp.load("found/best/model.safetensors")
    assert network.classes == fastmlp.load_digits().classes
    assert "conv 4 3, maxpool 2, 16" in Path("found/report.md").read_text()
