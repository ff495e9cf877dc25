"""train_many against one train() after another."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

import fastmlp
from fastmlp.training import side_by_side


@pytest.fixture(scope="module")
def digits():
    return fastmlp.load_digits()


def configs():
    base = fastmlp.TrainConfig(epochs=2, hidden=(24,))
    return [base.replace(learning_rate=rate, seed=seed) for rate in (0.1, 1e30) for seed in (0, 1)]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_gives_the_bits_of_train(digits, jobs):
    alone = [fastmlp.train(config, digits.train, digits.test) for config in configs()]
    together = fastmlp.train_many(configs(), digits.train, digits.test, jobs=jobs)
    assert [run.status for run in together] == ["done", "done", "diverged", "diverged"]
    for one, other in zip(alone, together, strict=True):
        assert one.config.replace(threads=None) == other.config.replace(threads=None)
        for a, b in zip(one.network.weights, other.network.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_models_that_outgrow_the_cache_take_turns(digits, monkeypatch):
    monkeypatch.setattr(side_by_side, "last_level_cache", lambda: 32 * 2**20)
    small, large = fastmlp.TrainConfig(hidden=(8,)), fastmlp.TrainConfig(hidden=(2048, 2048))
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 2)

    def arranged(*configs, jobs=None):
        groups = side_by_side.arrange(dict(enumerate(configs)), digits.train, jobs)
        return [
            (at_once, {i: one.threads for i, one in members.items()}) for at_once, members in groups
        ]

    assert arranged(*[small] * 3) == [(2, {0: 1, 1: 1, 2: 1})]
    assert arranged(small) == [(1, {0: 1})]  # a step is too small to share
    assert arranged(small, large, small) == [(2, {0: 1, 2: 1}), (1, {1: 2})]
    assert arranged(large, large) == [(1, {0: 2, 1: 2})]
    assert arranged(large, small, jobs=2) == [(2, {0: 1, 1: 1})]
    assert arranged(small.replace(threads=2), small) == [(1, {0: 2, 1: 1})]


def test_one_model_can_be_ended_while_the_others_go_on(digits):
    results = fastmlp.train_many(
        configs()[:2], digits.train, on_epoch=lambda index, row: index == 1
    )
    assert [run.status for run in results] == ["done", "stopped"]
    assert [len(run.history) for run in results] == [2, 1]


ENDLESS = [fastmlp.TrainConfig(epochs=100_000, hidden=(24,), seed=seed) for seed in range(3)]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system has no signals")
def test_ctrl_c_ends_the_models_under_way_and_begins_no_other(digits):
    under_way = threading.Event()

    def interrupt(index, row):
        if index == 0:
            under_way.set()
        elif row["epoch"] == 1:
            assert under_way.wait(60)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    found = fastmlp.train_many(ENDLESS, digits.train, jobs=2, on_epoch=interrupt)
    assert [(run.config.seed, run.status) for run in found] == [
        (0, "interrupted"),
        (1, "interrupted"),
    ]


def test_ctrl_c_while_models_are_handed_out_waits_for_those_that_have_begun(digits, monkeypatch):
    class Pool(ThreadPoolExecutor):
        def submit(self, *call):
            future = super().submit(*call)
            if call[1] == 0:
                assert begun.wait(60)
                signal.raise_signal(signal.SIGINT)
            return future

    begun = threading.Event()
    monkeypatch.setattr(side_by_side, "started_pool", lambda size, name: (Pool(size), size))
    found = fastmlp.train_many(
        ENDLESS, digits.train, jobs=1, on_epoch=lambda index, row: begun.set()
    )
    assert [(run.config.seed, run.status) for run in found] == [(0, "interrupted")]


def test_an_impatient_ctrl_c_loses_no_result(digits, monkeypatch):
    begun = threading.Event()

    def interrupted(futures, **options):
        assert begun.wait(60)
        monkeypatch.setattr(side_by_side, "wait", impatient)
        raise KeyboardInterrupt

    def impatient(futures):
        monkeypatch.setattr(side_by_side, "wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(side_by_side, "wait", interrupted)
    (found,) = fastmlp.train_many(
        ENDLESS[:1], digits.train, on_epoch=lambda index, row: begun.set()
    )
    assert found.status == "interrupted"
    assert found.history


@pytest.mark.parametrize("jobs", [0, -1, 1.5])
def test_jobs_is_a_number_of_models(digits, jobs):
    with pytest.raises(
        fastmlp.ConfigError, match=r"jobs: found .*, expected a whole number from 1"
    ):
        fastmlp.train_many(ENDLESS, digits.train, jobs=jobs)
