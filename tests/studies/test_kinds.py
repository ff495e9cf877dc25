"""Trainings beside `fastmlp.train`: equal to it where they must be, else what they claim to be."""

import re

import numpy as np
import pytest

from fastmlp import TrainConfig, train
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError
from fastmlp.studies.kinds import train_as
from fastmlp.studies.puzzles import reversed_pieces

LINEAR = TrainConfig(
    hidden=(),
    initialization="normal",
    learning_rate=0.01,
    momentum=0.0,
    weight_decay=0.2,
    decay_biases=False,
    batch_size=7,
    epochs=3,
    normalize="feature",
    restore_best=False,
    threads=1,
)
DEEP = LINEAR.replace(
    hidden=(16, 8), initialization="torch", momentum=0.8, decay_biases=True, dtype="float64"
)
SHARED = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


@pytest.fixture(scope="module")
def parts() -> tuple[Dataset, Dataset]:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (80, 48), dtype=np.uint8)
    labels = (images[:, :16].sum(axis=1) > images[:, 16:32].sum(axis=1)).astype(np.int64)
    whole = Dataset(images, labels, (3, 4, 4), ("a", "b"), "made up")
    return whole.take(range(60)), whole.take(range(60, 80))


@pytest.mark.parametrize("flip", [False, True])
def test_the_penalised_training_is_train_to_the_bit(
    parts: tuple[Dataset, Dataset], flip: bool
) -> None:
    config = LINEAR.replace(flip=flip, schedule="step", step_epochs=2)
    ours, theirs = train_as("penalised", config, parts), train(config, *parts)
    for one, other in zip(ours.history, theirs.history, strict=True):
        assert {name: one[name] for name in SHARED} == {name: other[name] for name in SHARED}
    assert ours.network is not None
    np.testing.assert_array_equal(ours.network.weights[0], theirs.network.weights[0])


def test_the_cost_is_loss_plus_lambda_times_squares(parts: tuple[Dataset, Dataset]) -> None:
    outcome = train_as("penalised", LINEAR, parts)
    assert outcome.network is not None
    squares = float(np.square(outcome.network.weights[0], dtype=np.float64).sum())
    last = outcome.history[-1]
    assert last["valid_cost"] == pytest.approx(last["valid_loss"] + 0.1 * squares, rel=1e-12)
    assert last["train_cost"] > last["train_loss"]


def test_a_chain_goes_on_where_the_link_before_ended(parts: tuple[Dataset, Dataset]) -> None:
    second = LINEAR.replace(learning_rate=0.001)
    first = train(LINEAR, *parts)
    expected = train(second, *parts, start=first.network)
    outcome = train_as("chain", second, parts, [LINEAR])
    assert [row["train_loss"] for row in outcome.history] == [
        row["train_loss"] for row in expected.history
    ]
    kept = train_as("weights kept", second, parts, [LINEAR])
    assert kept.history[0]["train_loss"] != outcome.history[0]["train_loss"]
    alone = train_as("chain", LINEAR, parts)
    assert alone.history[-1]["train_loss"] == first.history[-1]["train_loss"]


def test_a_reversed_image_is_turned_and_has_red_for_blue(parts: tuple[Dataset, Dataset]) -> None:
    from fastmlp.datasets import Normalization
    from fastmlp.training.engine import Engine
    from fastmlp.training.optimizers import sgd

    data = parts[0]
    scaling = Normalization.of(data, "feature")
    engine = Engine([np.zeros((2, 48))], [np.zeros(2)], batch_size=7, dtype="float64", threads=1)
    order = np.random.default_rng(1).permutation(len(data))
    coins = np.random.default_rng(0).random(9) < 0.5
    pieces = reversed_pieces(engine, data, scaling, 7, order, sgd(9, 0.1), coins)
    images = np.concatenate([samples.images for samples, _, _ in pieces])
    plain = scaling.apply(data.images[order]).reshape(-1, 3, 4, 4)
    turned = plain[:, ::-1, ::-1, ::-1]
    kinds = set()
    for first in range(0, 60, 7):
        batch = slice(first, first + 7)
        found = images[batch].reshape(-1, 3, 4, 4)
        is_plain, is_turned = ((found == one[batch]).all() for one in (plain, turned))
        assert is_plain != is_turned
        kinds.add(bool(is_plain))
    assert kinds == {True, False}
    assert len(train_as("reversed", LINEAR, parts).history) == 3


def _largest_difference(kind: str, config: TrainConfig, parts: tuple[Dataset, Dataset]) -> float:
    ours, theirs = train(config, *parts), train_as(kind, config, parts)
    return max(
        abs(one[name] - other[name])
        for one, other in zip(ours.history, theirs.history, strict=True)
        for name in SHARED
    )


def test_the_update_by_hand_agrees(parts: tuple[Dataset, Dataset]) -> None:
    assert _largest_difference("autograd", DEEP, parts) < 1e-12


@pytest.mark.peers
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-5), ("float64", 1e-12)])
def test_torch_agrees(parts: tuple[Dataset, Dataset], dtype: str, limit: float) -> None:
    pytest.importorskip("torch")
    assert _largest_difference("torch", DEEP.replace(dtype=dtype), parts) < limit


def test_what_a_kind_cannot_do_is_said(parts: tuple[Dataset, Dataset]) -> None:
    with pytest.raises(ConfigError, match="optimizer: found 'adam', which 'chain' cannot do"):
        train_as("chain", LINEAR.replace(optimizer="adam"), parts)
    with pytest.raises(ConfigError, match="found 'chian', expected one of"):
        train_as("chian", LINEAR, parts)
    equal = DEEP.replace(hidden=(8, 8))
    for kind, name, value in (
        ("torch", "residual", True),
        ("autograd", "decay_biases", False),
        ("reversed", "flip", True),
        ("torch", "hidden", ("conv 2 3", 8)),
        ("autograd", "hidden", (8, "tanh")),
    ):
        told = re.escape(f"{name}: found {value}, which '{kind}' cannot do")
        with pytest.raises(ConfigError, match=told):
            train_as(kind, equal.replace(**{name: value}), parts)


def test_a_cost_that_is_not_finite_is_a_divergence(parts: tuple[Dataset, Dataset]) -> None:
    huge = LINEAR.replace(
        dtype="float64",
        initialization="normal",
        initialization_std=1e170,
        weight_decay=0.1,
        learning_rate=1e-30,
    )
    outcome = train_as("penalised", huge, parts)
    assert (outcome.status, outcome.epoch, outcome.network) == ("diverged", 0, None)


@pytest.mark.filterwarnings("ignore:this CPU has no bfloat16:RuntimeWarning")
def test_the_penalised_training_takes_bfloat16(parts: tuple[Dataset, Dataset]) -> None:
    assert train_as("penalised", DEEP.replace(dtype="bfloat16"), parts).status == "done"
