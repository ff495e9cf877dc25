"""The bits of some hundred trainings, as they were: no change of them goes unseen.

The digests in ``golden/digests.json`` hold for every CPU with FMA and for every tile that uses it. They were
stored by ``python tests/golden/make_digests.py``; a change that means to change bits says so and stores them again.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import Dataset, MLPClassifier, MLPRegressor, TrainConfig, grid_search, train
from fastmlp.training.layers import ACTIVATIONS

GOLDEN = Path(__file__).parents[1] / "golden" / "digests.json"
DTYPES = ("float32", "float64", "bfloat16")
CLASSES = tuple("abcde")


def data(shape: tuple[int, int, int], count: int = 150, kind: Any = np.uint8) -> Dataset:
    """Return images whose classes can be told apart, with noise."""
    rng = np.random.default_rng([count, *shape])
    labels = rng.integers(len(CLASSES), size=count)
    means = rng.integers(60, 190, (len(CLASSES), int(np.prod(shape))))
    images = np.clip(means[labels] + rng.integers(-60, 60, (count, means.shape[1])), 0, 255)
    if kind is not np.uint8:
        images = images / 7
    return Dataset(images.astype(kind), labels.astype(np.int64), shape, CLASSES, "noise")


DATA = {
    "odd": data((1, 5, 6)),  # 30 features: none of them fills a vector
    "vectors": data((1, 8, 8)),
    "colour": data((3, 9, 18), 120),
    "float32": data((1, 5, 7), kind=np.float32),
    "float64": data((1, 5, 7), kind=np.float64),
    "digits": data((1, 28, 28), 120),
    "pictures": data((3, 32, 32), 100),
}
BASE: dict[str, Any] = {
    "hidden": (33, 17),
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 0.05,
    "seed": 3,
}


def digest(arrays: Iterable[Any]) -> str:
    """Return the start of the SHA-256 of some arrays' types, shapes and bytes."""
    total = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        total.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:32]


def of(network: fastmlp.Network) -> str:
    """Return the digest of a network's weights and biases."""
    return digest(network.state_dict().values())


LENET = ("conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84)
SAME = "conv 8 3 padding same"


def convolutions() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the same of networks with convolutions."""
    nets: dict[str, tuple[str, dict[str, Any]]] = {
        "LeNet-5, momentum": ("digits", {"hidden": LENET, "momentum": 0.9}),
        "LeNet-5, adam": (
            "digits",
            {"hidden": LENET, "optimizer": "adam", "learning_rate": 0.003, "batch_size": 19},
        ),
        "pictures": (
            "pictures",
            {"hidden": (SAME, "maxpool 2", "conv 17 3", "maxpool 2", 20), "flip": True},
        ),
        "all layers": (
            "colour",
            {
                "hidden": (SAME, "batchnorm", SAME, "batchnorm", "maxpool 3", 20, "batchnorm"),
                "residual": True,
                "dropout": 0.2,
                "flip": True,
                "momentum": 0.9,
            },
        ),
        "stride, padding, avgpool": (
            "vectors",
            {"hidden": ("conv 7 3 stride 2 padding 2", "avgpool 2", 9), "activation": "gelu"},
        ),
    }
    for dtype in DTYPES:
        for name, (source, chosen) in nets.items():
            yield f"{name} {dtype}", source, chosen | {"dtype": dtype}
    for threads in (1, 2, 3):
        few = {"hidden": LENET, "threads": threads, "batch_size": 16}
        yield f"{threads} threads, LeNet-5", "digits", few
        of_all = nets["all layers"][1] | {"threads": threads, "batch_size": 96}
        yield f"{threads} threads, all layers", "colour", of_all


def settings() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield a name, a data set and the settings of each plain training."""
    optimizers: dict[str, dict[str, Any]] = {
        "sgd": {"momentum": 0.0},
        "momentum": {"momentum": 0.9, "weight_decay": 0.01},
        "nesterov": {
            "momentum": 0.8,
            "nesterov": True,
            "decay_biases": False,
            "weight_decay": 0.01,
        },
        "adam": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.001},
        "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.003, "weight_decay": 0.001},
        "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
    }
    for dtype in DTYPES:
        for name, chosen in optimizers.items():
            yield f"{name} {dtype}", "odd", chosen | {"dtype": dtype}
        for activation in sorted(set(ACTIVATIONS) - {"relu"}):
            yield f"{activation} {dtype}", "vectors", {"activation": activation, "dtype": dtype}
        yield (
            f"residual {dtype}",
            "vectors",
            {"hidden": (19, 19, 19), "residual": True, "dtype": dtype},
        )
        yield f"dropout {dtype}", "vectors", {"dropout": 0.4, "dtype": dtype}
        both = {"hidden": (40, 40, 40), "dropout": 0.2, "residual": True, "activation": "tanh"}
        yield f"dropout and residual {dtype}", "vectors", both | {"dtype": dtype}
        yield f"flip {dtype}", "colour", {"flip": True, "dtype": dtype}
        yield f"one batch {dtype}", "vectors", {"batch_size": 1000, "dtype": dtype}
        yield f"small batches {dtype}", "odd", {"batch_size": 7, "dtype": dtype}
        yield f"softmax regression {dtype}", "colour", {"hidden": (), "dtype": dtype}
    for hidden in ((1,), (5, 1, 3), (16,), (31, 64, 15), (8, 8, 8, 8)):
        yield f"widths {hidden}", "odd", {"hidden": hidden}
    for threads in (1, 2, 3):
        yield f"{threads} threads, wide", "colour", {"hidden": (560, 96), "threads": threads}
        yield (
            f"{threads} threads, wide, adam",
            "colour",
            {
                **{
                    "hidden": (560,),
                    "threads": threads,
                    "optimizer": "adam",
                    "learning_rate": 0.001,
                },
                **{"batch_size": 10},
            },
        )
        yield f"{threads} threads, narrow", "odd", {"threads": threads, "batch_size": 19}
    for scheme in ("he", "glorot", "normal", "zeros"):
        yield f"initialization {scheme}", "odd", {"initialization": scheme}
    yield "sum", "odd", {"reduction": "sum", "learning_rate": 0.001}
    yield "step schedule", "odd", {"schedule": "step", "step_epochs": 1, "step_factor": 0.5}
    yield "cosine schedule", "odd", {"schedule": "cosine"}
    yield "by feature", "colour", {"normalize": "feature"}
    yield "as it is", "odd", {"normalize": "none", "learning_rate": 1e-5}
    for kind in ("float32", "float64"):
        for dtype in ("float32", "float64"):
            yield f"{kind} images, {dtype}", kind, {"dtype": dtype, "normalize": "feature"}
    yield "one cycle after warm-up", "odd", {"schedule": "one_cycle", "warmup_epochs": 1}
    yield "label smoothing", "odd", {"label_smoothing": 0.2}
    factors = {"learning_rate_factors": (1, 0.5, 2), "weight_decay_factors": (1, 0, 3)}
    yield "factors", "odd", {"weight_decay": 0.01, **factors}
    yield "layers of their own", "odd", {"hidden": (33, "gelu", 33, "dropout 0.3", 17, "tanh")}
    yield "early stopping", "odd", {"epochs": 30, "patience": 2, "dropout": 0.3}
    yield from convolutions()


def trained(name: str, chosen: dict[str, Any]) -> fastmlp.TrainResult:
    """Return the result of one of `settings`."""
    config = TrainConfig(**(BASE | chosen))
    part, valid = DATA[name].split((0.8, 0.2), seed=1)
    return train(config, part, valid if config.patience else None)


def resumed(folder: Path, dtype: str) -> str:
    """Return the digest of a training that was cut after its first epoch, and went on."""
    config = TrainConfig(**BASE, dtype=dtype, dropout=0.1, optimizer="adam")
    path = folder / "checkpoint"
    train(config, DATA["odd"], checkpoint=path, on_epoch=lambda row: True)
    return of(train(config, DATA["odd"], checkpoint=path).network)


def searched(folder: Path) -> str:
    """Return the digest of the best network of a grid."""
    part, valid = DATA["odd"].split((0.7, 0.3), seed=0)
    grid = {"learning_rate": [0.05, 0.005], "hidden": [[9], [20, 20]]}
    result = grid_search(
        TrainConfig(epochs=2, batch_size=16), grid, part, valid, store=folder, seeds=2
    )
    return of(train(result.best.config, part, valid).network)


def estimated(kind: str) -> str:
    """Return the digest of what an estimator of scikit-learn's kind learned."""
    part = DATA["float64"]
    X, y = (part.images - 128) / 50, part.labels
    common: dict[str, Any] = {
        "hidden_layer_sizes": (21,),
        "max_iter": 4,
        "random_state": 0,
        "n_jobs": 1,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few epochs do not converge
        model: Any
        match kind:
            case "classifier, float32":
                model = MLPClassifier(**common, solver="sgd").fit(X.astype(np.float32), y)
            case "classifier, adam":
                model = MLPClassifier(**common, early_stopping=True).fit(X, y)
            case "two classes":
                model = MLPClassifier(**common, activation="tanh").fit(X, y > 1)
            case "regressor":
                model = MLPRegressor(**common, solver="sgd", learning_rate_init=1e-4).fit(
                    X, X[:, :2]
                )
            case _:
                model = MLPClassifier(**common, batch_size=20, dropout=0.2)
                for _ in range(3):
                    model.partial_fit(X, y, classes=range(5))
    return digest([*model.coefs_, *model.intercepts_])


def cases() -> dict[str, Callable[[Path], str]]:
    """Return how each digest is computed, by its name."""

    def plain(name: str, chosen: dict[str, Any]) -> Callable[[Path], str]:
        return lambda folder: of(trained(name, chosen).network)

    kinds = ("classifier, float32", "classifier, adam", "two classes", "regressor", "partial fit")
    found = {name: plain(source, chosen) for name, source, chosen in settings()}
    found |= {
        f"resumed {dtype}": lambda folder, dtype=dtype: resumed(folder, dtype) for dtype in DTYPES
    }
    found |= {f"estimator: {kind}": lambda folder, kind=kind: estimated(kind) for kind in kinds}
    return found | {"grid": searched}


CASES = cases()


def test_there_are_enough_and_each_is_stored() -> None:
    stored = json.loads(GOLDEN.read_text())
    assert len(stored) >= 60
    assert list(stored) == list(CASES)
    # Threads alone may not change bits; everything else does.
    alike = {name.partition(" ")[2] if "threads" in name else name for name in stored}
    assert len(set(stored.values())) == len(alike)


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16 instruction")
@pytest.mark.parametrize("name", CASES)
def test_the_bits_are_those_that_were_stored(name: str, tmp_path: Path) -> None:
    from fastmlp.kernels.tiles import TILE

    if not TILE.fma:
        pytest.skip("without FMA a multiply-add rounds twice")
    assert CASES[name](tmp_path) == json.loads(GOLDEN.read_text())[name]
