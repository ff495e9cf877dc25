"""The parts of your own data: every row once, each class with its share, no group in two parts."""

from typing import Any

import numpy as np
import pytest

from fastmlp import ConfigError, DataError, Dataset
from fastmlp.datasets.options import OwnOptions
from fastmlp.datasets.splits import Parts, complete, draw_missing

RNG = np.random.default_rng(0)
N = 1000
LABELS = RNG.choice(4, N, p=[0.7, 0.2, 0.09, 0.01])


def drawn(labels: Any = LABELS, task: Any = "classification", **options: Any) -> Any:
    groups = options.pop("groups", None)
    rows = np.arange(len(labels))
    return draw_missing(rows, [True, True], OwnOptions(**options), labels, task=task, groups=groups)


def test_every_row_is_in_one_part_and_each_class_has_its_share() -> None:
    parts = drawn()
    assert [len(part) for part in parts] == [800, 100, 100]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(N))
    counts = np.bincount(LABELS)
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert (np.abs(np.bincount(LABELS[part], minlength=4) - share * counts) <= 2).all()


def test_a_draw_depends_on_the_seed_alone() -> None:
    again = drawn()
    for first, second in zip(drawn(), again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert drawn(seed=1)[2].tolist() != drawn(seed=2)[2].tolist()
    # These rows must never change, or runs could not be repeated.
    labels = np.resize([0, 1], 30)
    assert [part.tolist() for part in drawn(labels)[1:]] == [[3, 24, 29], [0, 23, 26]]


def test_a_rare_class_is_in_the_training_part() -> None:
    labels = np.zeros(50, np.int64)
    labels[[3, 7]] = 1, 2
    for seed in range(30):
        assert {3, 7} <= set(drawn(labels, seed=seed)[0].tolist())


def test_shares_may_leave_rows_out() -> None:
    assert [len(part) for part in drawn(split=(0.5, 0.2, 0.1))] == [500, 200, 100]


def test_no_group_is_in_two_parts() -> None:
    groups = RNG.integers(0, 40, N)
    for seed in range(20):
        parts = drawn(groups=groups, seed=seed)
        assert sum(map(len, parts)) == N
        seen = [set(groups[part]) for part in parts]
        assert sum(map(len, seen)) == len(set().union(*seen)) == 40
        assert all(50 <= len(part) <= 160 for part in parts[1:])


@pytest.mark.parametrize("sizes", [[998, 1, 1], [1, 1, 998], [400, 300, 300]])
def test_few_groups_of_any_size_give_each_part_one(sizes: list[int]) -> None:
    groups = np.repeat(np.arange(3), sizes)
    for seed in range(6):
        assert sorted(map(len, drawn(groups=groups, seed=seed))) == sorted(sizes)


def test_patterns_of_several_labels_are_spread() -> None:
    labels = RNG.integers(0, 2, (N, 3)).astype(np.uint8)
    patterns = labels @ [4, 2, 1]
    whole = np.bincount(patterns, minlength=8)
    for part in drawn(labels, "multilabel")[1:]:
        assert (np.abs(np.bincount(patterns[part], minlength=8) - whole / 10) <= 2).all()


def test_values_to_predict_are_drawn_at_random() -> None:
    values = RNG.normal(size=(N, 1))
    parts = drawn(values, "regression")
    assert abs(values[parts[2]].mean()) < 0.4
    assert sum(map(len, parts)) == len(set(np.concatenate(parts).tolist())) == N


def dataset(rows: int) -> Dataset:
    return Dataset.from_arrays(RNG.normal(size=(rows, 3)), np.resize([0, 1], rows))


def test_parts_that_are_there_stay_and_the_others_come_from_the_training_part() -> None:
    train, test = dataset(100), dataset(30)
    whole = complete(Parts(train, None, test), OwnOptions())
    assert whole.test is test
    assert (len(whole.train), len(whole.valid)) == (90, 10)
    given = Parts(train, dataset(10), test)
    assert all(
        one is other for one, other in zip(complete(given, OwnOptions()), given, strict=True)
    )
    with pytest.raises(ConfigError, match="parts of its own"):
        complete(Parts(train, None, test), OwnOptions(split=(0.8, 0.1, 0.1)))


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([0, 1, 0], {}, "share 0.1 of 3 rows"),
        (range(30), {}, "30 rows of 30 classes"),
        ([0] * 30, {"groups": np.resize([0, 1], 30)}, "2 groups"),
        ([0, 1] * 50, {"split": (0.99, 0.001, 0.001)}, "share 0.001"),
    ],
)
def test_too_few_rows_are_refused(labels: Any, options: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        drawn(np.array(labels), **options)
