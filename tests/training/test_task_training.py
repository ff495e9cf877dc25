"""Training of several labels a row, of regressions and with weights: PyTorch's steps, scikit-learn's scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score
from sklearn.utils.class_weight import compute_sample_weight

from fastmlp import ConfigError, DataError, Dataset, TrainConfig, evaluate, train, train_many
from fastmlp.training.draws import draw_epoch, draw_parameters
from fastmlp.training.trainer import Training

RNG = np.random.default_rng(3)
X = RNG.normal(size=(45, 6)) * [1, 2, 3, 4, 5, 6]
SIGNAL = np.tanh(X @ RNG.normal(size=(6, 3)) / 4)
WEIGHTS = RNG.integers(0, 4, 45) / 2
CLASSES = np.array([0] * 30 + [1] * 11 + [3] * 4)  # of class 2 there is no row
CONFIG = TrainConfig(
    hidden=(9,), epochs=2, batch_size=10, dtype="float64", learning_rate=0.1, momentum=0.8
)
DATA = {
    "classification": Dataset.from_arrays(X, CLASSES),
    "multilabel": Dataset.from_arrays(X, SIGNAL > 0.1),
    "regression": Dataset.from_arrays(X, SIGNAL * [10, 1, 0.1] + [1000, 0, 5]),
}


def weighted(task: str) -> Dataset:
    return replace(DATA[task], weights=WEIGHTS)


def torch_training(config: TrainConfig, data: Dataset) -> tuple[list[Any], list[float]]:
    """Return the weights, and the losses of all batches, that PyTorch's modules, losses and SGD give."""
    torch = pytest.importorskip("torch")
    linear = [
        torch.nn.Linear(*sizes, dtype=torch.float64) for sizes in ((6, 9), (9, len(data.classes)))
    ]
    for layer, W, b in zip(linear, *draw_parameters(config, data), strict=True):
        layer.weight.data, layer.bias.data = torch.tensor(W), torch.tensor(b)
    model = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1])
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.learning_rate, momentum=config.momentum
    )
    inputs = torch.tensor((X - X.mean(axis=0)) / X.std(axis=0))
    weights = np.ones(len(data)) if data.weights is None else data.weights
    if config.class_weight == "balanced":
        weights = weights * compute_sample_weight("balanced", data.labels)
    labels = data.labels
    if data.task == "regression":
        mean = np.average(labels, axis=0, weights=data.weights)
        labels = (labels - mean) / np.sqrt(
            np.average((labels - mean) ** 2, axis=0, weights=data.weights)
        )
    targets, weights = torch.tensor(labels), torch.tensor(weights)
    if data.task == "multilabel":
        targets = targets.to(torch.float64)
    loss_of = {
        "classification": torch.nn.CrossEntropyLoss(reduction="none"),
        "multilabel": torch.nn.BCEWithLogitsLoss(reduction="none"),
        "regression": torch.nn.MSELoss(reduction="none"),
    }[data.task]
    losses = []
    for epoch in range(config.epochs):
        order, _ = draw_epoch(config, len(data), epoch)
        for rows in np.split(order, range(config.batch_size, len(order), config.batch_size)):
            each = loss_of(model(inputs[rows]), targets[rows])
            if config.reduction == "sum":
                loss = (each * (weights[rows] if each.ndim == 1 else weights[rows, None])).sum()
            else:
                each = each if each.ndim == 1 else each.mean(dim=1)
                loss = (each * weights[rows]).sum() / weights[rows].sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item() * weights[rows].sum().item())
    total = float(weights.sum()) * config.epochs
    return [layer.weight.detach().numpy() for layer in linear], [sum(losses) / total]


CASES = {
    "regression": (DATA["regression"], {}),
    "multilabel": (DATA["multilabel"], {}),
    "weighted regression": (weighted("regression"), {}),
    "weighted multilabel": (weighted("multilabel"), {}),
    "weighted classification": (weighted("classification"), {}),
    "balanced": (DATA["classification"], {"class_weight": "balanced"}),
    "both": (weighted("classification"), {"class_weight": "balanced"}),
    "sum": (weighted("regression"), {"reduction": "sum", "learning_rate": 0.001}),
    "sum of labels": (DATA["multilabel"], {"reduction": "sum", "learning_rate": 0.01}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_steps_are_those_of_pytorch(name: str) -> None:
    data, changes = CASES[name]
    config = CONFIG.replace(**changes)
    expected, loss = torch_training(config, data)
    result = train(config, data)
    for found, wanted in zip(result.network.weights, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
    if config.reduction == "mean":
        mean = np.mean([row["train_loss"] for row in result.history])
        assert mean == pytest.approx(loss[0], rel=1e-10)


@pytest.mark.parametrize("name", [name for name in CASES if "sum" not in name])
def test_the_gradient_is_the_slope_of_the_loss(name: str) -> None:
    data, changes = CASES[name]
    config = CONFIG.replace(**changes, epochs=1, batch_size=45, momentum=0, learning_rate=1)
    start = train(config.replace(learning_rate=1e-300), data).network
    moved = train(config, data, start=start).network
    rng, h = np.random.default_rng(0), 1e-5
    directions = [rng.normal(size=W.shape) for W in start.weights]
    losses = []
    for side in (h, -h):
        weights = [W + side * D for W, D in zip(start.weights, directions, strict=True)]
        at = replace(start, weights=weights)
        row = train(config.replace(learning_rate=1e-300), data, start=at).history[0]
        losses.append(row["train_loss"])
    gradient = [W - V for W, V in zip(start.weights, moved.weights, strict=True)]
    slope = sum(float((G * D).sum()) for G, D in zip(gradient, directions, strict=True))
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-5, abs=1e-8)
    assert abs(slope) > 1e-3


@pytest.mark.parametrize("is_weighted", [False, True])
def test_scores_are_those_of_scikit_learn(is_weighted: bool) -> None:
    for task in DATA:
        data = weighted(task) if is_weighted else DATA[task]
        result = train(CONFIG.replace(epochs=40), data, data)
        network, scores, weights = result.network, evaluate(result.network, data), data.weights
        row = result.history[result.best_epoch - 1]
        if task == "regression":
            found = network.predict(data)
            assert scores["r2"] == pytest.approx(
                r2_score(data.labels, found, sample_weight=weights)
            )
            assert scores["r2"] > 0.5
            assert row["train_r2"] == 1 - row["train_loss"]
            scaled = [network.targets.apply(one) for one in (data.labels, found)]
            loss = mean_squared_error(*scaled, sample_weight=weights)
        else:
            right = accuracy_score(data.labels, network.predict(data), sample_weight=weights)
            assert scores["accuracy"] == pytest.approx(right)
            chances = network.predict_proba(data)
            if task == "classification":
                loss = log_loss(data.labels, chances, sample_weight=weights, labels=range(4))
            else:
                each = zip(data.labels.T, chances.T, strict=True)
                loss = np.mean([log_loss(*one, sample_weight=weights) for one in each])
        assert scores["loss"] == pytest.approx(loss)
        name = "r2" if task == "regression" else "accuracy"
        assert [row["valid_loss"], row[f"valid_{name}"]] == [scores["loss"], scores[name]]


def test_scores_of_training_are_taken_before_each_step() -> None:
    for task, data in DATA.items():
        config = CONFIG.replace(epochs=1, learning_rate=1e-300)
        result = train(config, data, data)
        (row,) = result.history
        for name in ("loss", "r2" if task == "regression" else "accuracy"):
            assert row[f"train_{name}"] == pytest.approx(row[f"valid_{name}"], abs=1e-12)


def test_a_weight_is_so_many_copies_of_a_row() -> None:
    counts = RNG.integers(0, 3, 45)
    config = CONFIG.replace(batch_size=1000, epochs=3, normalize="none", learning_rate=0.01)
    for task, data in DATA.items():
        rows = np.repeat(np.arange(45), counts)
        copied = train(config, data.take(rows)).network
        found = train(config, replace(data, weights=counts.astype(float))).network
        for one, other in zip(found.weights, copied.weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=task)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_bits_depend_neither_on_threads_nor_on_a_resume(dtype: str, tmp_path: Path) -> None:
    for task in DATA:
        data = weighted(task)
        config = CONFIG.replace(dtype=dtype, epochs=4, hidden=(70,), optimizer="adam")
        networks = [train(config.replace(threads=count), data).network for count in (1, 2, 3)]
        path = tmp_path / f"{task}.ckpt"
        train(config, data, data, checkpoint=path, on_epoch=lambda row: row["epoch"] == 2)
        resumed = train(config, data, data, checkpoint=path)
        assert len(resumed.history) == 4
        whole = train(config, data, data)
        for row, other in zip(resumed.history, whole.history, strict=True):
            assert {**row, "seconds": 0, "samples_per_second": 0} == {
                **other,
                "seconds": 0,
                "samples_per_second": 0,
            }
        networks.append(train(config.replace(restore_best=False), data).network)
        for other in networks[1:]:
            for one, two in zip(networks[0].weights, other.weights, strict=True):
                assert one.tobytes() == two.tobytes()


def test_many_epochs_of_a_regression_are_kept_beside_the_checkpoint(tmp_path: Path) -> None:
    data, config = DATA["regression"], CONFIG.replace(epochs=260, batch_size=45)
    first = train(config, data, checkpoint=tmp_path / "c")
    again = train(config.replace(epochs=261), data, checkpoint=tmp_path / "c")
    assert again.history[:260] == first.history
    assert again.history[0]["valid_r2"] is None
    assert "valid_accuracy" not in again.history[0]


def test_weights_and_class_weights_belong_to_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    train(CONFIG, weighted("classification"), checkpoint=path)
    for config, data in (
        (CONFIG, DATA["classification"]),
        (CONFIG.replace(class_weight="balanced"), weighted("classification")),
    ):
        with pytest.raises(ValueError, match="other settings or data"):
            train(config, data, checkpoint=path)


def test_many_networks_of_any_task_are_trained_at_once() -> None:
    for task in DATA:
        data = weighted(task)
        (found,) = train_many([CONFIG], data, data)
        for one, two in zip(
            found.network.weights, train(CONFIG, data).network.weights, strict=True
        ):
            assert one.shape == two.shape
        assert found.network.task == task


def test_a_batch_without_weight_moves_nothing() -> None:
    weights = np.zeros(45)
    weights[0] = 1.0
    data = replace(DATA["classification"], weights=weights)
    training = Training(CONFIG.replace(batch_size=1, epochs=1, momentum=0), data)
    before = training.engine.weights()[0]
    result = training.run()
    assert np.isfinite(result.history[0]["train_loss"])
    assert not np.array_equal(before[0], result.network.weights[0])


@pytest.mark.parametrize("task", ["multilabel", "regression"])
@pytest.mark.parametrize("changes", [{"class_weight": "balanced"}, {"label_smoothing": 0.1}])
def test_settings_of_classes_are_refused_for_other_tasks(task: str, changes: Any) -> None:
    (name,) = changes
    with pytest.raises(ConfigError, match=f"^{name}: found .* with a {task}"):
        train(CONFIG.replace(**changes), DATA[task])


def test_parts_of_different_tasks_and_constant_targets_are_refused() -> None:
    columns = Dataset.from_arrays(X, SIGNAL * 1.0, task="regression", classes="012")
    labels = Dataset.from_arrays(X, SIGNAL > 0, classes="012")
    with pytest.raises(DataError, match="valid: found a multilabel, expected a regression"):
        train(CONFIG, columns, labels)
    with pytest.raises(DataError, match="expected a regression"):
        evaluate(train(CONFIG, columns).network, labels)
    constant = Dataset.from_arrays(X, np.full(45, 2.5))
    with pytest.raises(DataError, match=r"only the value 2\.5 of 'target'"):
        train(CONFIG, constant)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_targets_are_predicted_in_their_units(scale: float) -> None:
    data = Dataset.from_arrays(X, SIGNAL[:, 0] * scale)
    plain = Dataset.from_arrays(X, SIGNAL[:, 0])
    config = CONFIG.replace(dtype="float32")
    found = train(config, data).network.predict(data)
    np.testing.assert_allclose(
        found / scale, train(config, plain).network.predict(plain), rtol=1e-3
    )
