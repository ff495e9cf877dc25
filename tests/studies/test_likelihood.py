"""The likelihood of published numbers under sets of choices: its formula, and that it finds the set they come from."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastmlp.search.record import Trial
from fastmlp.studies.likelihood import PRIOR, ROUNDING, take_likelihoods
from fastmlp.studies.results import StudyResults, StudyTrial
from fastmlp.studies.study import find
from fastmlp.training.config import TrainConfig

SEEDS, IMAGES = 3, 400
MODELS = ({"momentum": 0.0}, {"momentum": 0.85})
BATCHES = (16, 32, 64)


def trial(config: TrainConfig, train: float, valid: float) -> StudyTrial:
    scores: Any = dict(train_loss=0.1, train_accuracy=train, valid_loss=0.2, valid_accuracy=valid)
    made = Trial(config.seed, "done", "", 1, 1, seconds=1.0, history=[], **scores)
    return StudyTrial("main", config, made)


def lab_of(values: np.ndarray) -> Any:
    """Return a laboratory that has trained sets: values [sets, models, train or valid, seeds]."""
    trials = [
        trial(TrainConfig(batch_size=batch, seed=seed, **model), *values[place, row, :, seed])
        for place, batch in enumerate(BATCHES)
        for row, model in enumerate(MODELS)
        for seed in range(SEEDS)
    ]
    results = StudyResults(find("cifar2-car-cat-5"), trials)
    return SimpleNamespace(results=results, data=lambda part: (None, range(IMAGES), None))


def section_of(published: np.ndarray) -> dict[str, Any]:
    rows = [
        {"label": str(n), "published": {"train_accuracy": train, "valid_accuracy": valid}}
        for n, (train, valid) in enumerate(published)
    ]
    return {"row": rows, "fits": [{"part": "main"}]}


@pytest.mark.parametrize("true", range(len(BATCHES)))
def test_published_numbers_lead_to_the_set_that_they_come_from(true: int) -> None:
    rng = np.random.default_rng(true)
    means = rng.uniform(0.6, 0.95, (len(BATCHES), len(MODELS), 2, 1))
    values = means + rng.normal(0, 0.01, (*means.shape[:3], SEEDS))
    published = means[true, :, :, 0] + rng.normal(0, 0.01, means.shape[1:3])
    taken = take_likelihoods(lab_of(values), section_of(published))
    assert taken["sets"][0]["choices"] == {"batch_size": BATCHES[true]}
    assert taken["trainings"] == len(BATCHES) * len(MODELS) * SEEDS


def test_the_score_is_students_density() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.7, 0.9, (len(BATCHES), len(MODELS), 2, SEEDS))
    published = np.full((len(MODELS), 2), 0.8)
    taken = take_likelihoods(lab_of(values), section_of(published))
    found = {one["choices"]["batch_size"]: one["score"] for one in taken["sets"]}
    spreads = values.var(axis=-1, ddof=1)
    usual = np.median(spreads, axis=0)
    freedom = SEEDS - 1 + PRIOR
    variance = ((SEEDS - 1) * spreads + PRIOR * usual) / freedom * (1 + 1 / SEEDS) + ROUNDING**2
    variance[..., 1] += 0.8 * 0.2 / IMAGES
    distance = (0.8 - values.mean(axis=-1)) ** 2 / variance
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    density = constant - np.log(freedom * math.pi * variance) / 2
    density -= (freedom + 1) / 2 * np.log1p(distance / freedom)
    for place, batch in enumerate(BATCHES):
        assert found[batch] == pytest.approx(density[place].sum(), rel=1e-9)
