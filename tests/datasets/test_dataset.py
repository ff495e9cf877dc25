import numpy as np
import pytest

from fastmlp.datasets import Dataset, check_parts
from fastmlp.errors import DataError


def arrays(count: int = 12) -> Dataset:
    images = np.arange(count * 6, dtype=np.uint8).reshape(count, 1, 2, 3)
    data = Dataset.from_arrays(images, np.arange(count) % 3, classes=("cat", "dog", "ship"))
    return Dataset(data.images, data.labels, data.shape, data.classes, "small", train_size=8)


def test_parts_are_views_of_the_official_split() -> None:
    data = arrays()
    assert len(data.train) == 8
    assert len(data.test) == 4
    assert data.train.images.base is not None
    assert np.shares_memory(data.test.images, data.images)
    assert np.array_equal(data.test.images, data.images[8:])
    with pytest.raises(DataError, match="no official parts"):
        _ = data.train.test


def test_pick_relabels_in_the_order_named_and_keeps_rows_and_parts() -> None:
    data = arrays()
    picked = data.pick(("ship", "cat"))
    rows = [row for row in range(12) if row % 3 != 1]
    assert picked.classes == ("ship", "cat")
    assert picked.labels.tolist() == [1 if row % 3 == 0 else 0 for row in rows]
    assert np.array_equal(picked.images, data.images[rows])
    assert picked.train_size == sum(row < 8 for row in rows)
    assert np.array_equal(picked.train.images, data.train.pick(("ship", "cat")).images)


@pytest.mark.parametrize("classes", [("cat", "cow"), ("cat", "cat"), ()])
def test_pick_refuses(classes: tuple[str, ...]) -> None:
    with pytest.raises(
        DataError, match=r"expected different names out of \['cat', 'dog', 'ship'\]"
    ):
        arrays().pick(classes)


def test_split_is_disjoint_complete_and_depends_on_the_seed() -> None:
    data = Dataset.from_arrays(np.arange(60_000.0)[:, None], np.zeros(60_000, int))
    parts = data.split((0.75, 0.0834, 0.1666), seed=7)
    assert [len(part) for part in parts] == [45_000, 5_004, 9_996]
    rows = np.concatenate([part.images[:, 0] for part in parts])
    assert np.array_equal(np.sort(rows), np.arange(60_000))
    assert abs(np.corrcoef(rows, np.arange(60_000))[0, 1]) < 0.02
    again, other = data.split((0.5,), seed=7)[0], data.split((0.5,), seed=8)[0]
    assert np.array_equal(again.images[:, 0], rows[:30_000])
    assert not np.array_equal(other.images, again.images)


def test_split_is_the_same_under_any_numpy() -> None:
    data = Dataset.from_arrays(np.arange(10.0)[:, None], np.zeros(10, int))
    assert data.split((1,), seed=0)[0].images[:, 0].tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]


@pytest.mark.parametrize(
    "fractions", [(), (0.5, 0.6), (0.5, 0.0), (-0.1,), (float("nan"),), (1e-6,)]
)
def test_split_refuses_fractions(fractions: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match=r"split: found fraction"):
        arrays().split(fractions, seed=0)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_split_refuses_seeds(seed: object) -> None:
    with pytest.raises(DataError, match="seed: found"):
        arrays().split((0.5,), seed=seed)  # type: ignore[arg-type]


def test_take_copies_rows_in_order() -> None:
    data = arrays()
    taken = data.take([3, 3, 0])
    assert np.array_equal(taken.images, data.images[[3, 3, 0]])
    assert taken.labels.tolist() == [0, 0, 0]
    assert taken.train_size is None
    for wrong in ([12], [-1], [], [0.5], [True], [[1]]):
        with pytest.raises(DataError, match="indices: found"):
            data.take(wrong)


def test_checksum_covers_content_and_not_the_name() -> None:
    data = arrays()
    images, labels = data.images, data.labels
    same = Dataset(images.copy(), labels.copy(), data.shape, data.classes, "other")
    assert same.checksum == data.checksum
    brighter = images.copy()
    brighter[-1, -1] += 1
    others = [
        Dataset(brighter, labels, data.shape, data.classes, "small"),
        Dataset(images, labels[::-1].copy(), data.shape, data.classes, "small"),
        Dataset(images, labels, (1, 3, 2), data.classes, "small"),
        Dataset(images, labels, data.shape, ("cat", "dog", "car"), "small"),
        Dataset(images.astype(np.float32), labels, data.shape, data.classes, "small"),
    ]
    assert len({data.checksum, *(other.checksum for other in others)}) == 6


def test_from_arrays_infers_shape_and_classes() -> None:
    assert Dataset.from_arrays(np.zeros((2, 3, 4, 5), np.uint8), [0, 2]).shape == (3, 4, 5)
    assert Dataset.from_arrays(np.zeros((2, 4, 5), np.uint8), [0, 2]).shape == (1, 4, 5)
    flat = Dataset.from_arrays([[1, 2], [3, 4]], [0, 2])
    assert flat.shape == (1, 1, 2)
    assert flat.classes == ("0", "1", "2")
    assert flat.images.dtype == np.float64
    kept = np.zeros((2, 12), np.float32)
    data = Dataset.from_arrays(kept, [0, 0], shape=(3, 2, 2))
    assert np.shares_memory(data.images, kept)
    swapped = Dataset.from_arrays(np.ones((2, 2), ">f8"), np.array([0, 1], ">i4"))
    assert swapped.images.dtype.isnative
    assert swapped.images.sum() == 4


LAST = {
    "colour": ((5, 6, 7, 3), None, (3, 6, 7)),
    "grey": ((5, 6, 7, 1), None, (1, 6, 7)),
    "of the shape": ((5, 6, 7, 2), (2, 6, 7), (2, 6, 7)),
    "either, said": ((5, 3, 7, 3), (3, 3, 7), (3, 3, 7)),
}
FIRST = {
    "colour": ((5, 3, 6, 7), None),
    "grey": ((5, 1, 6, 7), None),
    "features": ((5, 16, 6, 7), None),
    "a line": ((5, 1, 1, 3), None),
    "two rows": ((5, 1, 2, 4), None),
    "either, said": ((5, 3, 7, 3), (3, 7, 3)),
    "equal sides, said": ((5, 3, 3, 3), (3, 3, 3)),
}


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("case", LAST)
def test_channels_last_are_brought_to_the_front(case: str, kind: type) -> None:
    sides, said, shape = LAST[case]
    images = np.arange(np.prod(sides)).reshape(sides).astype(kind)
    data = Dataset.from_arrays(images, np.zeros(5, int), said)
    assert data.shape == shape
    assert np.array_equal(data.images, images.transpose(0, 3, 1, 2).reshape(5, -1))


@pytest.mark.parametrize("case", FIRST)
def test_channels_first_stay_there(case: str) -> None:
    sides, said = FIRST[case]
    images = np.arange(np.prod(sides)).reshape(sides).astype(np.uint8)
    data = Dataset.from_arrays(images, np.zeros(5, int), said)
    assert data.shape == sides[1:]
    assert np.array_equal(data.images, images.reshape(5, -1))


@pytest.mark.parametrize("sides", [(3, 32, 3), (3, 3, 3), (32, 32, 4)])
def test_channels_that_could_be_either_are_asked_for(sides: tuple[int, int, int]) -> None:
    a, b, c = sides
    with pytest.raises(DataError) as raised:
        Dataset.from_arrays(np.zeros((5, *sides), np.uint8), np.zeros(5, int))
    assert f"expected shape=({a}, {b}, {c}) or shape=({c}, {a}, {b}) to say which" in str(
        raised.value
    )


@pytest.mark.parametrize("said", [(3, 4, 5), (1, 6, 70), (7, 6, 3)])
def test_images_of_another_shape_than_said_are_refused(said: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match=r"images have shape \[N, 6, 7, 3\], expected"):
        Dataset.from_arrays(np.zeros((5, 6, 7, 3), np.uint8), np.zeros(5, int), said)


def test_rows_are_no_pictures_to_scale() -> None:
    rows = Dataset.from_arrays(np.zeros((5, 784), np.uint8), np.zeros(5, int))
    with pytest.raises(DataError, match="resize: found rows of 784 values, expected pictures"):
        rows.resize(28)


GOOD = np.zeros((3, 4), np.uint8)
REFUSED = {
    "NaN": (([[0.0, 1.0], [float("nan"), 0.0]], [0, 1]), "image 1 holds nan at value 0"),
    "infinity": (([[0.0, np.inf]], [0]), "image 0 holds inf at value 1"),
    "ragged": (([[1, 2], [1, 2, 3]], [0, 1]), r"\[2\] at row 0, \[3\] at row 1"),
    "mixed": (([np.zeros((2, 2)), np.zeros((2, 3))], [0, 1]), r"\[2, 2\] at row 0, \[2, 3\]"),
    "text": (([["a"]], [0]), "values of type <U1"),
    "objects": (([[None]], [0]), "values of type object"),
    "flat": (([1, 2], [0, 1]), "images have shape"),
    "empty": ((np.zeros((0, 4)), np.zeros(0, int)), "no images"),
    "negative label": ((GOOD, [0, -1, 0]), r"label -1 at row 1, expected 0\.\."),
    "enormous label": ((GOOD, [0, 0, 10**12]), "label 1000000000000 at row 2"),
    "float label": ((GOOD, [0.0, 1.0, 0.0]), "expected whole numbers"),
    "few labels": ((GOOD, [0, 1]), r"labels are int64 \[2\], expected int64 \[3\]"),
    "no class": ((GOOD, [0, 2, 1], None, ("a", "b")), r"label 2 at row 1, expected 0\.\.1"),
    "unprintable class": ((GOOD, [0, 0, 1], None, ("a", "b\udcff")), "that are printable"),
    "empty class": ((GOOD, [0, 0, 1], None, ("a", "")), "that are printable"),
    "same class": ((GOOD, [0, 0, 1], None, ("a", "a")), "different names"),
    "shape": ((GOOD, [0, 0, 0], (1, 3, 2)), r"shape is \(1, 3, 2\)"),
    "negative shape": ((GOOD, [0, 0, 0], (1, -2, -2)), r"shape is \(1, -2, -2\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_from_arrays_refuses(case: str) -> None:
    arguments, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        Dataset.from_arrays(*arguments)  # type: ignore[arg-type]


def test_dataset_refuses_what_kernels_must_not_see() -> None:
    labels = np.zeros(3, np.int64)
    for images in (GOOD.astype(np.int32), np.zeros((4, 3), np.uint8).T, GOOD[0]):
        with pytest.raises(DataError, match="C-contiguous"):
            Dataset(images, labels, (1, 2, 2), ("a",), "raw")


def test_parts_fit_when_shapes_and_classes_are_equal() -> None:
    train, test = arrays().split([0.5, 0.5], 0)
    check_parts(train)
    check_parts(train, test, test)
    with pytest.raises(
        DataError, match=r"valid: found \(1, 1, 1\) images of .*expected \(1, 2, 3\) of"
    ):
        check_parts(train, test.resize(1))
    with pytest.raises(
        DataError, match=r"test: found .*\('cat', 'dog'\).* as in the training part"
    ):
        check_parts(train, test, test.pick(("cat", "dog")))
