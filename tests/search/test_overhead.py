"""What a search adds to the training of its trials."""

import time

import pytest
from search_helpers import CONFIG

from fastmlp.search.grid import grid_search
from fastmlp.training.trainer import train

TINY = CONFIG.replace(hidden=(8,), epochs=1, threads=1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_trial_costs_little_more_than_its_training(parts, tmp_path, jobs):
    """In processor time, which other programs and the speed of the disk leave alone."""
    train(TINY, *parts[:2])
    begun = time.process_time()
    for seed in range(100):
        train(TINY.replace(seed=seed), *parts[:2])
    alone = (time.process_time() - begun) / 100
    grid = {"learning_rate": [n / 200 for n in range(1, 201)]}
    begun = time.process_time()
    grid_search(TINY, grid, *parts, store=tmp_path, jobs=jobs)
    assert (time.process_time() - begun) / 200 - alone < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, None])
def test_a_thousand_tiny_trials_have_less_than_ten_milliseconds_each(parts, tmp_path, jobs):
    train(TINY, *parts[:2])
    grid = {"learning_rate": [n / 1000 for n in range(1, 1001)]}
    begun = time.perf_counter()
    result = grid_search(TINY, grid, *parts, store=tmp_path, jobs=jobs)
    seconds = time.perf_counter() - begun
    trained = sum(point.trials[0].seconds for point in result.points) if jobs == 1 else 0
    assert (seconds - trained) / 1000 < 0.010
    begun = time.perf_counter()
    assert grid_search(TINY, grid, *parts, store=tmp_path, jobs=jobs).skipped == 1000
    assert time.perf_counter() - begun < 2
