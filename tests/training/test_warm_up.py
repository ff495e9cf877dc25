"""warm_up(): what it compiles is what trainings need, and what it refuses."""

import numpy as np
import pytest

import fastmlp
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError
from fastmlp.kernels.run import run
from fastmlp.training.trainer import Training

DIGITS = fastmlp.load_digits().train.take(range(40))
BRIEF = fastmlp.TrainConfig(epochs=1)


def compiled() -> int:
    return len(run.signatures)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": ()},
        {"hidden": (10,)},
        {"hidden": (7, "dropout 0.5", 64), "optimizer": "adam", "activation": "gelu"},
        {"dtype": "float64", "batch_size": 40},
        {"hidden": ("conv 4 3", "maxpool 2", 10)},
    ],
    ids=str,
)
def test_a_training_needs_nothing_that_was_not_warmed_up(changes):
    config = BRIEF.replace(**changes)
    fastmlp.warm_up(config, DIGITS)
    before = compiled()
    assert fastmlp.train(config, DIGITS, DIGITS).status == "done"
    fastmlp.warm_up(config)
    assert compiled() == before


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_type_warms_up_pictures_rows_and_estimators():
    assert fastmlp.warm_up("float64") >= 0
    before = compiled()
    config = BRIEF.replace(dtype="float64")
    rows = Dataset.from_arrays(DIGITS.images.astype(np.float64), DIGITS.labels)
    fastmlp.train(config, DIGITS)
    fastmlp.train(config, rows)
    X = DIGITS.images / 255
    fastmlp.MLPClassifier(max_iter=1, tol=1e9).fit(X[:20], DIGITS.labels[:20])
    fastmlp.MLPRegressor(max_iter=1, tol=1e9).fit(X[:20], X[:20, 20])
    assert compiled() == before


def test_the_first_epoch_does_not_contain_what_comes_before_it(monkeypatch):
    training = Training(BRIEF, DIGITS, DIGITS)
    called = []
    monkeypatch.setattr(training.engine, "warm_up", called.append)
    training.run()
    assert called == [training.train_samples, training.valid_samples]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("float16",), "dtype: found 'float16'"),
        ((3,), "what: found 3, expected a TrainConfig or a dtype"),
        ((None,), "what: found None"),
        (("float32", DIGITS), "what: found 'float32', expected a TrainConfig"),
        ((BRIEF.replace(hidden=("conv 4 600", 10)),), "conv"),
    ],
)
def test_what_it_refuses(given, message):
    with pytest.raises(ConfigError, match=message):
        fastmlp.warm_up(*given)
