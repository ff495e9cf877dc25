"""Metrics of a network's answers beside direct calls of scikit-learn, for every task, with and without weights."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sk

from fastmlp import Dataset, TrainConfig, train
from fastmlp.datasets.labels import Task
from fastmlp.errors import ConfigError
from fastmlp.training.history import Row
from fastmlp.training.metrics import METRICS, SELECTED, loss_of, metric_of, metrics_of

Floats = NDArray[np.float64]
CLOSE = {"rel": 1e-12, "abs": 1e-12}


def data(
    labels: NDArray[Any], count: int, task: Task = "classification", weights: Floats | None = None
) -> Dataset:
    images = np.zeros((len(labels), 2))
    names = tuple(f"name {one}" for one in range(count))
    return Dataset(images, labels, (1, 1, 2), names, "rows", task=task, weights=weights)


def probabilities(rows: int, classes: int, labels: NDArray[np.int64]) -> Floats:
    scores = np.random.default_rng(1).normal(size=(rows, classes))
    scores[np.arange(rows), labels] += 1
    shares = np.exp(scores)
    normal: Floats = shares / shares.sum(axis=1, keepdims=True)
    return normal


def weights_of(rows: int, *, weighted: bool) -> Floats | None:
    return np.random.default_rng(2).uniform(0, 3, rows).round() if weighted else None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 12])
def test_of_classes(classes: int, weighted: bool) -> None:
    rows = 400
    labels = np.random.default_rng(0).integers(0, classes, rows)
    shares = probabilities(rows, classes, labels)
    weights = weights_of(rows, weighted=weighted)
    said = shares.argmax(axis=1)
    found = metrics_of(data(labels, classes, weights=weights), shares)
    given = {"sample_weight": weights}
    one_hot = labels[:, None] == np.arange(classes)
    expected = {
        "accuracy": sk.accuracy_score(labels, said, **given),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said, **given),
        "log_loss": sk.log_loss(labels, shares, **given),
    }
    for average in ("macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            score = getattr(sk, f"{name}_score")
            expected[f"{name}_{average}"] = score(labels, said, average=average, **given)
    if classes == 2:
        expected["roc_auc"] = sk.roc_auc_score(labels, shares[:, 1], **given)
        expected["average_precision"] = sk.average_precision_score(labels, shares[:, 1], **given)
    else:
        expected["roc_auc"] = sk.roc_auc_score(labels, shares, multi_class="ovr", **given)
        expected["average_precision"] = sk.average_precision_score(one_hot, shares, **given)
    if classes >= 10:
        expected["top_5_accuracy"] = sk.top_k_accuracy_score(labels, shares, k=5, **given)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, **CLOSE), name
    report = sk.classification_report(labels, said, output_dict=True, **given)
    for label in range(classes):
        one = found["classes"][f"name {label}"]
        for name, told in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert one[name] == pytest.approx(report[str(label)][told], **CLOSE)
        assert one["support"] == report[str(label)]["support"]
        area = sk.roc_auc_score(one_hot[:, label], shares[:, label], **given)
        assert one["roc_auc"] == pytest.approx(area, **CLOSE)
    for name, (low, high) in _intervals(found):
        assert low < found[name] < high, name


def _intervals(found: dict[str, Any]) -> list[tuple[str, list[float]]]:
    pairs = [(name, ends) for name, ends in found["intervals"].items() if isinstance(ends, list)]
    assert len(pairs) >= 3
    return pairs


@pytest.mark.parametrize("weighted", [False, True])
def test_of_several_labels(weighted: bool) -> None:
    rows, count = 300, 4
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, count)) < [0.2, 0.5, 0.7, 0.4]).astype(np.uint8)
    shares = np.clip(labels * 0.3 + rng.random((rows, count)) * 0.69 + 0.005, 0, 1)
    weights = weights_of(rows, weighted=weighted)
    found = metrics_of(data(labels, count, "multilabel", weights), shares)
    said, given = shares > 0.5, {"sample_weight": weights}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, said, **given), **CLOSE)
    for average in ("macro", "weighted"):
        value = sk.f1_score(labels, said, average=average, **given)
        assert found[f"f1_{average}"] == pytest.approx(value, **CLOSE)
    for name in ("roc_auc", "average_precision"):
        value = getattr(sk, f"{name}_score")(labels, shares, **given)
        assert found[name] == pytest.approx(value, **CLOSE)
    losses = [sk.log_loss(*pair, **given) for pair in zip(labels.T, shares.T, strict=True)]
    assert found["log_loss"] == pytest.approx(np.mean(losses), **CLOSE)
    for name, (low, high) in _intervals(found):
        assert low < found[name] < high, name


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", [1, 3])
def test_of_a_regression(targets: int, weighted: bool) -> None:
    rows = 300
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 3, (rows, targets))
    said = truth + rng.normal(size=truth.shape)
    weights = weights_of(rows, weighted=weighted)
    found = metrics_of(data(truth, targets, "regression", weights), said)
    functions = {
        "r2": sk.r2_score,
        "mae": sk.mean_absolute_error,
        "rmse": sk.root_mean_squared_error,
    }
    for name, function in functions.items():
        value = function(truth, said, sample_weight=weights)
        assert found[name] == pytest.approx(value, **CLOSE)
        first = function(truth[:, 0], said[:, 0], sample_weight=weights)
        assert found["targets"]["name 0"][name] == pytest.approx(first, **CLOSE)
    for name, (low, high) in _intervals(found):
        assert low < found[name] < high, name


def test_a_calibration_error_is_that_of_its_definition() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 500)
    shares = probabilities(500, 3, labels)
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    found = metrics_of(data(labels, 3), shares)
    assert found["calibration_error"] == pytest.approx(expected, abs=1e-12)
    assert found["calibration_bins"] == 15


def test_what_does_not_exist_is_left_out_without_a_warning() -> None:
    labels = np.zeros(20, np.int64)  # one class of three
    shares = probabilities(20, 3, labels)
    found = metrics_of(data(labels, 3), shares)
    assert "roc_auc" not in found
    assert set(found["classes"]) == {"name 0", "name 1", "name 2"}
    assert found["classes"]["name 2"]["support"] == 0
    flat = np.full((7, 1), 0.1)  # a target that never changes, whose mean rounds to another number
    assert metrics_of(data(flat, 1, "regression"), flat)["r2"] == 1
    assert metrics_of(data(flat, 1, "regression"), flat + 1)["r2"] == 0
    one = metrics_of(data(np.ones((1, 1)), 1, "regression"), np.ones((1, 1)))
    assert "r2" not in one
    assert one["rmse"] == 0


def test_intervals_are_those_of_drawing_rows_again() -> None:
    rows = 200
    labels = np.random.default_rng(0).integers(0, 3, rows)
    shares = probabilities(rows, 3, labels)
    said = shares.argmax(axis=1)
    found = metrics_of(data(labels, 3), shares)["intervals"]
    rng = np.random.default_rng(3)
    draws = rng.integers(0, rows, (600, rows))
    slow = [sk.f1_score(labels[one], said[one], average="macro") for one in draws]
    assert found["f1_macro"] == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.012)
    slow = [sk.roc_auc_score(labels[one], shares[one], multi_class="ovr") for one in draws]
    assert found["roc_auc"] == pytest.approx(np.percentile(slow, [2.5, 97.5]), abs=0.015)
    two = data(labels % 2, 2)
    halves = shares[:, :2] / shares[:, :2].sum(axis=1, keepdims=True)
    areas = [sk.roc_auc_score(labels[one] % 2, halves[one, 1]) for one in draws]
    ends = metrics_of(two, halves)["intervals"]["roc_auc"]
    assert ends == pytest.approx(np.percentile(areas, [2.5, 97.5]), abs=0.015)
    again = metrics_of(data(labels, 3), shares)["intervals"]
    assert again == found


def test_an_interval_of_ties_counts_them_half() -> None:
    labels = np.array([0, 1] * 50)
    shares = np.full((100, 2), 0.5)
    found = metrics_of(data(labels, 2), shares)
    assert found["intervals"]["roc_auc"] == [0.5, 0.5]


def test_intervals_of_ten_thousand_rows_are_fast() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 10_000)
    shares = probabilities(10_000, 10, labels)
    part = data(labels, 10)
    metrics_of(part, shares)
    start = time.process_time()
    metrics_of(part, shares)
    assert time.process_time() - start < 5


def test_every_metric_can_be_selected_and_recorded() -> None:
    columns = {f"valid_{name}" for name in SELECTED}
    assert columns <= set(Row.__annotations__)
    labels = np.arange(40) % 10
    shares = probabilities(40, 10, labels)
    whole = metrics_of(data(labels, 10), shares)
    for name in METRICS["classification"]:
        assert metric_of(name, data(labels, 10), shares) == whole[name]
    assert loss_of("f1_macro", 0.25) == -0.25
    assert loss_of("mae", 0.25) == 0.25


def digits_like() -> tuple[Dataset, Dataset]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 6))
    labels = rng.choice(4, 400, p=[0.7, 0.1, 0.1, 0.1])
    whole = Dataset.from_arrays(centres[labels] + rng.normal(size=(400, 6)), labels)
    train_part, valid = whole.split([0.7, 0.3], 0)
    return train_part, valid


@pytest.mark.parametrize("name", ["loss", "accuracy", "f1_macro", "roc_auc", "log_loss"])
def test_the_best_epoch_is_that_of_the_selected_metric(name: str) -> None:
    parts = digits_like()
    config = TrainConfig(hidden=(8,), epochs=12, learning_rate=0.3, select=name)
    result = train(config, *parts)
    losses: list[float] = [loss_of(name, row[f"valid_{name}"]) for row in result.history]  # type: ignore[literal-required]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    if name != "loss":
        outputs = result.network.predict_proba(parts[1])
        value = metric_of(name, parts[1], outputs)
        assert value is not None
        assert loss_of(name, value) == pytest.approx(min(losses), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("r2", "select: found 'r2' for a classification, expected one of loss, accuracy"),
        ("top_5_accuracy", "which the validation part does not have"),
        ("f2", "select: found 'f2', expected"),
    ],
)
def test_a_metric_that_cannot_select_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train(TrainConfig(hidden=(8,), select=name), *digits_like())


def test_a_selected_metric_needs_a_validation_part() -> None:
    with pytest.raises(ConfigError, match="select: found 'f1_macro' without validation data"):
        train(TrainConfig(hidden=(8,), select="f1_macro"), digits_like()[0])
