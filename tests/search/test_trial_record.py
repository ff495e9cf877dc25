"""What a store keeps of a trial: numbers that JSON and SQLite hold, and a network as bytes."""

import json
import math

import numpy as np
import pytest

from fastmlp import TrainConfig, load_digits, train
from fastmlp.errors import DataError, FormatError
from fastmlp.search.record import Key, Trial, check_trial, finite, from_bytes, score_in, to_bytes

HISTORY = [{"epoch": 1, "valid_loss": 0.5}, {"epoch": 2, "valid_loss": 0.25, "valid_cost": 0.75}]
SOUND = {
    **{"seed": 0, "status": "done", "reason": "", "epochs": 2, "epoch": 2, "seconds": 0},
    **dict.fromkeys(("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"), 0.5),
    **{"history": HISTORY, "test_data": None, "test_loss": None, "test_accuracy": 1},
}


def test_a_key_gives_its_settings_back() -> None:
    config = TrainConfig(hidden=(7, 5), seed=3, threads=2, learning_rate=1 / 3)
    assert Key.of(config).config() == config.replace(threads=None)
    for text in ("[", "5", "{}x", '{"unheard": 1}', '{"epochs": -1}', "[" * 100_000):
        assert Key(text, 3).config() is None


def test_a_field_is_its_own_or_that_of_the_networks_epoch() -> None:
    trial = Trial(**SOUND)
    assert trial.value("train_loss") == 0.5
    assert trial.value("valid_cost") == 0.75
    assert trial.value("valid_mae") is None
    assert Trial(**SOUND | {"epoch": 1}).value("valid_cost") is None
    assert Trial(**SOUND | {"epoch": 0}).value("valid_cost") is None
    assert [Trial(**SOUND | {"status": one}).sound for one in ("done", "stopped", "failed")] == [
        *(True, True, False)
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": -1}, "trial.seed: found -1, expected a whole number from 0"),
        ({"seconds": -1e-9}, "trial.seconds"),
        ({"epoch": 3}, "trial.epoch: found 3, expected at most 2"),
        ({"epochs": 3}, "trial.epochs: found 3, expected 2"),
        ({"epochs": True}, "trial.epochs: found True"),
        ({"history": [{"epoch": 1}, {"epoch": 0}]}, "trial.history"),
        ({"history": [{"epoch": 1}, {"epoch": 2**31}]}, "trial.history"),
        (
            {"epoch": 2**31},
            "trial.epoch: found 2147483648, expected a whole number from 0 to 21474",
        ),
        (
            {"history": [{"epoch": 2**31 - 1}, {"epoch": 1, "valid_loss": math.inf}]},
            "trial.history",
        ),
        ({"history": [{"epoch": 1}, {"valid_loss": 1.0}]}, "trial.history"),
        ({"test_data": 5}, "trial.test_data"),
        ({"more": 5}, "^trial: found"),
        ({"status": "well"}, "expected done or stopped or diverged or failed or pruned"),
    ],
)
def test_what_is_no_trial_is_refused(change: dict[str, object], words: str) -> None:
    check_trial("trial", SOUND)
    check_trial("trial", SOUND | {"history": [{"epoch": 2**31 - 1, "valid_mae": None}] * 2})
    with pytest.raises(DataError, match=words):
        check_trial("trial", SOUND | change)


def test_numbers_that_json_cannot_hold_are_none() -> None:
    found = [finite(value) for value in (None, math.nan, math.inf, -math.inf, -0.0, 1e-300)]
    assert found == [None, None, None, None, 0.0, 1e-300]
    assert json.dumps(found[4]) == "0.0"


def test_the_score_is_an_accuracy_or_r2() -> None:
    assert score_in({"accuracy": 0.5, "valid_accuracy": 0.25}) == 0.5
    assert score_in({"valid_accuracy": 0.25, "valid_r2": 0.75}, "valid_") == 0.25
    assert score_in({"valid_r2": -3.0}, "valid_") == -3
    assert score_in({"r2": 0.5}, "valid_") is None


def test_a_network_as_bytes_predicts_the_same() -> None:
    digits = load_digits()
    config = TrainConfig(hidden=(9, "dropout 0.5", 5), epochs=1)
    network = train(config, digits.train).network
    data = to_bytes(network)
    again = from_bytes(data, config, digits.train)
    np.testing.assert_array_equal(
        again.predict_proba(digits.test), network.predict_proba(digits.test)
    )
    assert (again.classes, again.shape) == (network.classes, network.shape)
    with pytest.raises(DataError, match=r"^network: found .* expected all of its tensors"):
        from_bytes(data.replace(b"normalization.std", b"normalization.abc"), config, digits.train)
    with pytest.raises(FormatError, match=r"found .*expected a file as it was written"):
        from_bytes(data[:-1], config, digits.train)
