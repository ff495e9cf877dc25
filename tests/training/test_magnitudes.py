"""Numbers of any magnitude: scaled rightly, or refused by the name of their feature; never nonsense without a word."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastmlp import (
    ConfigError,
    DataError,
    Dataset,
    MLPClassifier,
    MLPRegressor,
    Network,
    TrainConfig,
    evaluate,
    grid_search,
    load,
    train,
)
from fastmlp.datasets import Normalization
from fastmlp.training.levels import bring_to

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 3, 240)
X = RANDOM.normal(size=(240, 4)) + 5 * np.eye(4)[LABELS]
CONFIG = TrainConfig(hidden=(12,), epochs=12, learning_rate=0.05, threads=1)
# At these, squares are infinite or zero, or numbers themselves lose digits.
FACTORS = (1e200, 1e300, 1e307, 1e160, 1e-160, 1e-200, 1e-310, 1e-318)


def scaled(factor: float, kind: Any = np.float64, shape: Any = None) -> Dataset:
    return Dataset.from_arrays((X * factor).astype(kind), LABELS, shape)


@pytest.mark.parametrize("shape", [None, (1, 2, 2), (4, 1, 1)])
@pytest.mark.parametrize("factor", FACTORS)
def test_statistics_of_extreme_numbers_are_those_of_numbers_near_one(
    factor: float, shape: Any
) -> None:
    for per in ("channel", "feature"):
        plain = Normalization.of(scaled(1, shape=shape), per).apply(X)
        data = scaled(factor, shape=shape)
        found = Normalization.of(data, per).apply(data.images)
        digits = 1e-3 if factor < 1e-308 else 1e-12
        np.testing.assert_allclose(found, plain, atol=digits)


def test_powers_of_two_change_no_bit() -> None:
    plain, far = (Normalization.of(scaled(2.0**power)) for power in (0, 700))
    assert np.array_equal(np.ldexp(plain.mean, 700), far.mean)
    assert np.array_equal(np.ldexp(plain.std, 700), far.std)


def test_a_constant_feature_of_any_magnitude_stays_zero() -> None:
    columns = np.array([1e300, -1e18, 3.0, 0.0, 1e-310])
    data = Dataset.from_arrays(np.tile(columns, (97, 1)), np.arange(97) % 2)
    normal = Normalization.of(data, "feature").apply(data.images)
    assert np.abs(normal).max() <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factor", FACTORS)
def test_networks_learn_from_numbers_of_any_magnitude(factor: float, dtype: str) -> None:
    data = scaled(factor)
    network = train(CONFIG.replace(dtype=dtype), data).network
    assert evaluate(network, data)["accuracy"] > 0.97


@pytest.mark.parametrize("factor", [3e37, 1e37, 1e-37, 1e-42])
def test_float32_too(factor: float) -> None:
    data = scaled(factor, np.float32)
    assert evaluate(train(CONFIG, data).network, data)["accuracy"] > 0.97


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalize", ["none", "range"])
@pytest.mark.parametrize("factor", FACTORS)
def test_what_is_not_scaled_is_refused_by_its_feature(
    factor: float, normalize: str, dtype: str
) -> None:
    config = CONFIG.replace(normalize=normalize, dtype=dtype)
    with pytest.raises(DataError, match=r"^images: found values from .* in feature 0, .*expected"):
        train(config, scaled(factor))


def test_the_feature_that_is_lost_is_named() -> None:
    mixed = X * np.array([1, 1, 1e-30, 1])
    with pytest.raises(DataError, match="in feature 2, which float32 cannot tell apart"):
        train(CONFIG.replace(normalize="none"), Dataset.from_arrays(mixed, LABELS))
    pictures = Dataset.from_arrays(mixed, LABELS, (1, 2, 2))
    assert train(CONFIG.replace(normalize="none"), pictures).status == "done"


def test_features_of_different_magnitudes_each_count() -> None:
    """Normalised together, as the pixels of a picture are, the smaller ones would be lost."""
    data = Dataset.from_arrays(X * np.array([1e6, 1e-6, 1.0, 1e3]), LABELS)
    assert evaluate(train(CONFIG, data).network, data)["accuracy"] > 0.97


def test_outliers_in_other_parts_are_refused() -> None:
    for kind, value in ((np.float64, 1e300), (np.float32, 3e38)):
        data = scaled(1, kind)
        images = data.images.copy()
        images[7, 2] = value
        network = train(CONFIG, data).network
        with pytest.raises(DataError, match="in feature 2, expected"):
            evaluate(network, replace(data, images=images))
        with pytest.raises(DataError, match="in feature 2, expected"):
            network.predict(images)


# -- NaN and infinity --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_part_that_is_not_finite_is_refused(value: float, kind: Any) -> None:
    sound = scaled(1, kind)
    images = sound.images.copy()
    images[5, 1] = value
    damaged = replace(sound, images=images)
    network = train(CONFIG, sound).network
    told = rf"images: image 5 holds {value} at value 1, expected finite numbers"
    for use in (
        lambda: evaluate(network, damaged),
        lambda: evaluate(network, replace(damaged, shape=(1, 2, 2))),
    ):
        with pytest.raises(DataError, match=told):
            use()
    for per in ("channel", "feature", "none"):
        config = CONFIG.replace(normalize=per)
        assert train(config, damaged).status == "diverged"
        assert train(config, sound, damaged).status == "diverged"
    for predict in (network.predict, network.predict_proba):
        with pytest.raises(DataError, match="not finite"):
            predict(damaged)


# -- the estimators ----------------------------------------------------------------------------

FIT: dict[str, Any] = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop", "lbfgs"])
@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        *((np.float64, factor) for factor in FACTORS),
        (np.float32, 1e37),
        (np.float32, 1e-25),
    ],
)
def test_estimators_refuse_by_the_column(kind: Any, factor: float, solver: str) -> None:
    features = X.astype(kind)
    features[:, 2] *= kind(factor)
    told = (
        r"found values from .* in column {}, expected 0 or magnitudes from .* in " + kind.__name__
    )
    model = MLPClassifier(solver=solver, **FIT)
    with pytest.raises(DataError, match="X: " + told.format(2)):
        model.fit(features, LABELS)
    regressor = MLPRegressor(solver=solver, **FIT)
    with pytest.raises(DataError, match="X: " + told.format(2)):
        regressor.fit(features, X[:, 0])
    with pytest.raises(DataError, match="y: " + told.format(0)):
        regressor.fit(X.astype(kind), features[:, 2])
    with pytest.raises(DataError, match="y: " + told.format(1)):
        regressor.fit(X.astype(kind), features[:, 1:3])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_refuse_validation_data_too_and_take_zeros() -> None:
    model = MLPClassifier(**FIT)
    zeros = np.where(np.arange(4) == 1, 0, X)
    model.fit(zeros, LABELS, X_val=zeros, y_val=LABELS)
    with pytest.raises(DataError, match="X_val: found values"):
        model.fit(X, LABELS, X_val=X * 1e200, y_val=LABELS)
    with pytest.raises(DataError, match="y_val: found values"):
        MLPRegressor(**FIT).fit(X, X[:, 0], X_val=X, y_val=X[:, 0] * 1e200)
    with pytest.raises(DataError, match="X: found values"):
        model.partial_fit(X * 1e200, LABELS)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix"])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_sparse_features_are_refused_as_dense_ones(kind: str, solver: str) -> None:
    sparse = getattr(pytest.importorskip("scipy.sparse"), kind)
    for estimator, target in ((MLPClassifier, LABELS), (MLPRegressor, X[:, 0])):
        model = estimator(solver=solver, **FIT)
        for factor in (1e200, -1e300, 1e-200, 1e-310):
            with pytest.raises(DataError, match=r"X: found values from .* in column 2, expected 0"):
                model.fit(sparse(X * [1, 1, factor, 1]), target)
        assert model.fit(sparse(X * [1, 0, 10, 1]), target).n_features_in_ == 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_that_cannot_be_added_up_are_refused() -> None:
    for weight in (1e308, 1e200, 1e-310):
        weights = np.full(len(X), weight)
        for model, target in (
            (MLPClassifier(**FIT), LABELS),
            (MLPRegressor(**FIT), X[:, 0]),
        ):
            with pytest.raises(DataError, match="sample_weight: found values from"):
                model.fit(X, target, sample_weight=weights)
    weights = np.full(len(X), 1e150)
    assert np.isfinite(MLPClassifier(**FIT).fit(X, LABELS, sample_weight=weights).loss_)


# -- what was seen in training -----------------------------------------------------------------


def pictures(low: float, high: float, kind: Any = np.float64) -> Dataset:
    images = RANDOM.uniform(low, high, (60, 1, 4, 4))
    images[0, 0, 0, :2] = low, high
    return Dataset.from_arrays(images.astype(kind), np.arange(60) % 2)


def test_a_network_and_its_file_say_what_they_saw(tmp_path: Any) -> None:
    network = train(CONFIG, pictures(0.25, 1)).network
    assert network.levels == (0.25, 1)
    network.save(tmp_path / "a")
    assert load(tmp_path / "a").levels == (0.25, 1)
    assert replace(network, levels=None).levels is None
    store, grid = tmp_path / "store", {"momentum": [0.5]}
    result = grid_search(CONFIG, grid, pictures(0.25, 1), pictures(0, 1), store=store)
    assert result.network.levels == (0.25, 1)


GREYS = np.array([[0, 51, 255]], np.uint8)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (None, [0, 51, 255]),
        ((0, 255), [0, 51, 255]),
        ((3, 200), [0, 51, 255]),
        ((0, 1), [0, 0.2, 1]),
        ((0.1, 0.7), [0, 0.2, 1]),
        ((-1, 1), [-1, -0.6, 1]),
        ((-0.5, 0.5), [-1, -0.6, 1]),
    ],
)
def test_grey_levels_are_brought_to_what_was_seen(levels: Any, expected: list[float]) -> None:
    np.testing.assert_allclose(bring_to(levels, GREYS), [expected], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("levels", [(-2.1, 2.6), (0, 16), (0, 65535), (-255, 255), (1000, 2000)])
def test_other_ranges_are_refused(levels: Any) -> None:
    with pytest.raises(DataError, match=f"trained on values from {levels[0]:g} to {levels[1]:g}"):
        bring_to(levels, GREYS)


def test_arrays_on_another_scale_are_refused() -> None:
    greys, shares = pictures(0, 255, np.uint8), pictures(0, 1)
    of_greys, of_shares = (train(CONFIG, data).network for data in (greys, shares))
    with pytest.raises(
        DataError, match="images: found values from 0 to 255, expected about 0 to 1"
    ):
        evaluate(of_shares, greys)
    with pytest.raises(
        DataError, match="images: found values from 0 to 1, expected about 0 to 255"
    ):
        of_greys.predict(shares)
    of_greys.predict(np.zeros((2, 16)))  # dark, on the same scale
    of_shares.predict((greys.images > 99).astype(np.uint8))


def test_rows_are_on_any_scale() -> None:
    network = train(CONFIG, scaled(1)).network
    assert isinstance(network, Network)
    network.predict(np.full((2, 4), 200, np.uint8))


# -- what is no data set -----------------------------------------------------------------------


def test_arrays_are_told_what_to_call() -> None:
    data = scaled(1)
    told = r"found ndarray, expected a Dataset, which fastmlp.Dataset.from_arrays"
    for name, use in {
        "valid": lambda: train(CONFIG, data, LABELS),  # type: ignore[arg-type]
        "dataset": lambda: evaluate(train(CONFIG, data).network, X),  # type: ignore[arg-type]
    }.items():
        with pytest.raises(DataError, match=f"^{name}: {told}"):
            use()


def test_one_class_is_refused() -> None:
    alone = Dataset.from_arrays(X, np.zeros(240, int), classes=["cat"])
    with pytest.raises(
        DataError, match=r"train: found the classes \('cat',\), expected at least two"
    ):
        train(CONFIG, alone)


def test_rows_are_not_mirrored_after_normalisation() -> None:
    with pytest.raises(ConfigError, match="flip"):
        train(CONFIG.replace(flip=True), scaled(1e200))
