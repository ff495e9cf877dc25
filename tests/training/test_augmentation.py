"""Moved and cut training images: reproducible, for any number of threads, and only where they are asked for."""

from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp import Dataset, TrainConfig
from fastmlp.errors import ConfigError
from fastmlp.training.draws import draw_mixes, draw_moves, draw_parameters
from fastmlp.training.trainer import Training

RANDOM = np.random.default_rng(3)
IMAGES = RANDOM.integers(0, 256, (90, 3, 9, 8)).astype(np.uint8)
LABELS = (IMAGES[:, 0].mean(axis=(1, 2)) > 127).astype(np.int64)
DATA = Dataset.from_arrays(IMAGES, LABELS)
ALTERED = TrainConfig(
    hidden=(8,), epochs=2, batch_size=32, flip=True, shift=2, cutout=3, restore_best=False
)
MIXED = ALTERED.replace(mixup=0.4)


def weights(config: TrainConfig, data: Dataset = DATA) -> list[np.ndarray]:
    return list(fastmlp.train(config, data).network.weights)


def equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("hidden", [(8,), (300,), ("conv 4 3", 8), ()])
def test_threads_give_the_same_bits(hidden: tuple[int | str, ...]) -> None:
    for altered in (ALTERED, MIXED):
        config = altered.replace(hidden=hidden, threads=1)
        one = weights(config)
        assert equal(one, weights(config.replace(threads=2)))
    assert not equal(one, weights(config.replace(mixup=0.0)))
    assert not equal(one, weights(config.replace(shift=0, cutout=0)))


def test_a_step_sees_what_numpy_moves_and_cuts() -> None:
    """One step on altered images has the bits of one on images that were altered beforehand."""
    config = ALTERED.replace(epochs=1, batch_size=90, hidden=(16,))
    training = Training(config, DATA)
    order = np.random.default_rng([1, config.seed, 0])
    order.permutation(90)
    flips = order.random(90) < 0.5
    moves = draw_moves(config, DATA.shape, flips, 0)
    order = np.random.default_rng([1, config.seed, 0]).permutation(90)
    mean = np.rint(training.normalization.mean).astype(np.uint8).reshape(DATA.shape)
    altered = IMAGES.copy()
    for move, number in zip(moves, order, strict=True):
        is_mirrored, down, right, top, bottom, left, end = move
        image = IMAGES[number][:, :, ::-1] if is_mirrored else IMAGES[number]
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="edge")
        image = padded[:, 2 - down : 11 - down, 2 - right : 10 - right].copy()
        image[:, top:bottom, left:end] = mean[:, top:bottom, left:end]
        altered[number] = image
    plain = Training(config.replace(shift=0, cutout=0, flip=False), DATA)
    plain.train_samples = plain.train_samples._replace(images=altered.reshape(90, -1))
    assert equal(training.run().network.weights, plain.run().network.weights)


def test_a_resumed_training_draws_the_same(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.safetensors"
    whole = weights(MIXED.replace(epochs=3))
    fastmlp.train(MIXED.replace(epochs=1), DATA, checkpoint=file)
    resumed = fastmlp.train(MIXED.replace(epochs=3), DATA, checkpoint=file)
    assert equal(whole, list(resumed.network.weights))


def test_draws_stay_within_their_bounds_and_reach_them() -> None:
    config = TrainConfig(shift=3, cutout=4)
    moves = draw_moves(config, (1, 12, 20), np.zeros(5000, bool), 0)
    for column, (low, high) in enumerate([(-3, 3), (-3, 3), (0, 9), (2, 12), (0, 17), (2, 20)], 1):
        assert (moves[:, column].min(), moves[:, column].max()) == (low, high)
    assert (moves[:, 4] - moves[:, 3]).max() == (moves[:, 6] - moves[:, 5]).max() == 4
    only_cut = draw_moves(TrainConfig(cutout=1), (1, 12, 20), np.zeros(50, bool), 0)
    assert not only_cut[:, :3].any()


def test_partners_are_of_the_same_batch_and_shares_follow_the_distribution() -> None:
    config = TrainConfig(mixup=0.3, batch_size=32)
    mixes = draw_mixes(config, 5000, 1)
    partners = mixes["partner"].reshape(-1, 8)  # a batch has a multiple of 8
    np.testing.assert_array_equal(np.sort(mixes["partner"]), np.arange(5000))
    np.testing.assert_array_equal(mixes["partner"] // 32, np.arange(5000) // 32)
    assert (partners != np.arange(5000).reshape(-1, 8)).any(axis=1).all()
    drawn = np.random.default_rng(0).beta(0.3, 0.3, 100_000)
    expected = np.maximum(drawn, 1 - drawn)
    assert mixes["share"].min() >= 0.5
    assert mixes["share"].mean() == pytest.approx(expected.mean(), abs=0.01)
    assert (mixes["share"] > 0.99).mean() == pytest.approx((expected > 0.99).mean(), abs=0.03)
    assert not np.array_equal(mixes, draw_mixes(config, 5000, 2))


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_step_sees_rows_that_numpy_mixed(task: str, dtype: str) -> None:
    """One step of a table's rows is that of autograd's formula by PyTorch, on rows and targets mixed beforehand."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(40, 6))
    truth = rng.integers(0, 3, 40) if task == "classification" else rng.normal(size=(40, 2))
    data = Dataset.from_arrays(rows, truth)
    outputs = 3 if task == "classification" else 2
    config = TrainConfig(
        hidden=(), epochs=1, batch_size=40, mixup=1.0, normalize="none", momentum=0.0,
        learning_rate=0.5, dtype=dtype,
    )  # fmt: skip
    training = Training(config, data)
    order = np.random.default_rng([1, config.seed, 0]).permutation(40)
    mixes = draw_mixes(config, 40, 0)
    own, partner = order, order[mixes["partner"]]
    share = mixes["share"][:, None]
    targets = np.eye(3)[truth] if task == "classification" else training.targets.apply(truth)  # type: ignore[union-attr]
    X, T = (torch.tensor(share * one[own] + (1 - share) * one[partner]) for one in (rows, targets))
    start = draw_parameters(config, data)
    W, b = (torch.tensor(np.asarray(one[0], np.float64), requires_grad=True) for one in start)
    Z = X @ W.T.reshape(6, outputs) if W.shape != (6, outputs) else X @ W
    Z = Z + b
    if task == "classification":
        loss = torch.nn.functional.cross_entropy(Z, T)
    else:
        loss = ((Z - T) ** 2 / 2).sum(axis=1).mean()
    loss.backward()
    found = training.run().network.weights[0]
    expected = (W - 0.5 * W.grad).detach().numpy()
    tolerance = {"float32": 1e-5, "float64": 1e-13, "bfloat16": 2e-2}[dtype]
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize(
    ("changes", "data", "words"),
    [
        ({"shift": 8}, DATA, "shift: found 8 with images of 3 x 9 x 8"),
        ({"cutout": 9}, DATA, "cutout: found 9"),
        ({"shift": 1}, Dataset.from_arrays(IMAGES.reshape(90, -1), LABELS), "rows of 216 values"),
    ],
)
def test_what_cannot_be_moved_is_refused(
    changes: dict[str, int], data: Dataset, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        fastmlp.train(TrainConfig(hidden=(4,), epochs=1).replace(**changes), data)


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "2"])
def test_wrong_numbers_are_refused(wrong: object) -> None:
    for name in ("shift", "cutout", "mixup") if wrong != 1.5 else ("shift", "cutout"):
        with pytest.raises(ConfigError, match=f"{name}: found"):
            TrainConfig(**{name: wrong})
