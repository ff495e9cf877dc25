"""What is no array, or one of another package: taken as NumPy takes it, or refused in one line."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp import DataError, Dataset

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 5)), np.arange(12) % 3
LABELS: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, "found NoneType, expected an array of numbers"),
    "one text": (lambda: "cat", r"labels are int64 \[1\], expected int64 \[12\]"),
    "one text in an array": (lambda: np.array("cat"), r"labels are int64 \[1\]"),
    "a generator": (lambda: (one for one in Y), "found generator"),
    "a set": (lambda: {1, 2}, "found set"),
    "rows and a number": (
        lambda: [[1, 2], 3] * 6,
        r"mixed shapes \(\[2\] at row 0, \[\] at row 1\)",
    ),
    "rows and None": (
        lambda: [[1, 2], None] * 6,
        r"mixed shapes \(\[2\] at row 0, \[\] at row 1\)",
    ),
    "texts and None": (
        lambda: ["a", "b", None] * 4,
        "label None at row 2, expected a text, as oth",
    ),
    "texts and NaN": (lambda: np.array(["a", "b", np.nan] * 4, object), "label nan at row 2"),
    "a name of megabytes": (lambda: ["a", "b" * 100_001] * 6, "classes are .* at most 100,000"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_none(case: str) -> None:
    make, words = LABELS[case]
    with pytest.raises(DataError, match=words):
        Dataset.from_arrays(X, make())


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (None, "found NoneType, expected an array of numbers"),
        ([[1, 2], 3], r"mixed shapes \(\[2\] at row 0, \[\] at row 1\)"),
        ([[1, 2], None], "mixed shapes"),
        ({"a": [1, 2]}, "found dict"),
    ],
)
def test_images_that_are_none(images: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Dataset.from_arrays(images, [0, 1])


def test_sparse_matrices_are_named() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match="found csr_matrix, expected an array of numbers"):
        Dataset.from_arrays(sparse.csr_matrix(X), Y)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float64_are_infinite() -> None:
    if np.finfo(np.longdouble).max <= np.finfo(np.float64).max:
        pytest.skip("no wider type")
    with pytest.raises(DataError, match="image 0 holds inf at value 0"):
        Dataset.from_arrays(np.full((2, 2), np.longdouble("1e4000")), [0, 1])


def test_tensors_that_numpy_cannot_have() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(X)
    assert Dataset.from_arrays(tensor, torch.tensor(Y)).task == "classification"
    for one in (tensor.clone().requires_grad_(), tensor.bfloat16(), tensor.to_sparse()):
        with pytest.raises(DataError, match=r"found Tensor, of which NumPy makes no array \("):
            Dataset.from_arrays(one, Y)
        with pytest.raises(DataError, match="found Tensor, of which NumPy makes no array"):
            Dataset.from_arrays(X, one)


CONFIG = fastmlp.TrainConfig(hidden=(4,), epochs=1, threads=1)


def test_a_network_is_asked_for_what_is_no_array() -> None:
    network = fastmlp.train(CONFIG, X, Y).network
    assert network.predict(X.tolist()).shape == (12,)
    for given in ([[1.0], [1.0, 2.0]], [[1.0] * 5, None]):
        with pytest.raises(DataError, match="X: found rows of mixed shapes"):
            network.predict(given)


WRONG: dict[str, tuple[Callable[[Dataset], Any], str]] = {
    "a path to evaluate": (lambda data: fastmlp.evaluate("m", data), "network: found str"),  # type: ignore[arg-type]
    "a path to start from": (
        lambda data: fastmlp.train(CONFIG, data, start="m"),  # type: ignore[arg-type]
        "start: found str, expected a Network; fastmlp.load",
    ),
    "no function": (
        lambda data: fastmlp.train(CONFIG, data, on_epoch=5),  # type: ignore[arg-type]
        "on_epoch: found 5, expected a function",
    ),
    "no path": (lambda data: fastmlp.train(CONFIG, data, checkpoint=""), "checkpoint: found ''"),
    "arrays": (
        lambda data: fastmlp.train_many([CONFIG], X, data),  # type: ignore[arg-type]
        "train: found ndarray, expected a Dataset",
    ),
    "a share": (lambda data: data.split(0.9, 0), "split: found fractions 0.9"),  # type: ignore[arg-type]
    "texts as shares": (lambda data: data.split(["a"], 0), r"fractions \['a'\]"),  # type: ignore[list-item]
    "mixed rows": (lambda data: data.take([[1], [1, 2]]), "indices: found rows of mixed shapes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_something_else_is_said_at_once(case: str) -> None:
    call, words = WRONG[case]
    with pytest.raises(fastmlp.FastMLPError, match=words):
        call(Dataset.from_arrays(X, Y))
