import numpy as np
import pytest
from PIL import Image

from fastmlp.datasets import Dataset, Normalization
from fastmlp.errors import ConfigError, DataError


def triangle(source: int, target: int) -> np.ndarray:
    """Return the [target, source] weights of a bilinear filter as wide as the reduction."""
    scale = source / target
    support = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, None]) / support
    weights = np.clip(1 - distance, 0, None)
    normal: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return normal


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("size", [16, (7, 20), 48])
def test_resize_is_bilinear_and_antialiased(channels: int, size: int | tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, channels, 32, 24), np.uint8)
    data = Dataset.from_arrays(pixels, np.zeros(4, int))
    small = data.resize(size)
    height, width = (size, size) if isinstance(size, int) else size
    assert small.shape == (channels, height, width)
    assert small.images.dtype == np.uint8
    exact = triangle(32, height) @ pixels @ triangle(24, width).T
    difference = np.abs(small.images.reshape(exact.shape) - exact)
    assert difference.max() < 1.1  # two passes, each rounded to a grey level


def test_resize_treats_a_colour_picture_as_pillow_does() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (32, 32, 3), np.uint8)
    data = Dataset.from_arrays(picture.transpose(2, 0, 1)[None], [0])
    pillow = Image.fromarray(picture).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(data.resize(16).images[0], np.asarray(pillow).transpose(2, 0, 1).ravel())


@pytest.mark.parametrize("size", [0, -3, 1.5, (4,), (4, 4, 4), (4, 0), 10**9, "16", None])
def test_resize_refuses_sizes(size: object) -> None:
    data = Dataset.from_arrays(np.zeros((1, 4, 4), np.uint8), [0])
    with pytest.raises(DataError, match=r"size: found .* expected"):
        data.resize(size)  # type: ignore[arg-type]


def test_resize_refuses_floats() -> None:
    with pytest.raises(DataError, match="float64, expected uint8"):
        Dataset.from_arrays(np.zeros((1, 4, 4)), [0]).resize(2)


@pytest.fixture
def part() -> Dataset:
    pixels = np.random.default_rng(3).integers(0, 256, (150, 3, 4, 5), np.uint8)
    pixels[:, 1, 2, 3] = 77
    return Dataset.from_arrays(pixels, np.zeros(150, int))


def test_normalization_per_feature(part: Dataset) -> None:
    statistics = Normalization.of(part, per="feature")
    exact = part.images.astype(np.longdouble)
    constant = 1 * 20 + 2 * 5 + 3
    expected = exact.std(axis=0)
    assert expected[constant] == 0
    expected[constant] = 1
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(statistics.std, expected, rtol=1e-14)
    normal = statistics.apply(part.images)
    assert normal.dtype == np.float64
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-13)
    assert not normal[:, constant].any()


def test_normalization_per_channel(part: Dataset) -> None:
    statistics = Normalization.of(part)
    exact = part.images.reshape(150, 3, 20).astype(np.longdouble)
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=(0, 2)).repeat(20), rtol=1e-14)
    np.testing.assert_allclose(statistics.std, exact.std(axis=(0, 2)).repeat(20), rtol=1e-14)


def test_normalization_none_changes_nothing(part: Dataset) -> None:
    assert np.array_equal(Normalization.of(part, per="none").apply(part.images), part.images)


def test_normalization_range_is_what_pytorch_s_tutorial_does(part: Dataset) -> None:
    tutorial = (part.images / 255 - 0.5) / 0.5
    found = Normalization.of(part, per="range").apply(part.images)
    np.testing.assert_allclose(found, tutorial, rtol=1e-13, atol=1e-15)
    assert Normalization.of(part, per="range").apply(np.full((1, 60), 255)).tolist() == [[1.0] * 60]


def test_a_constant_float_is_constant_in_spite_of_rounding() -> None:
    data = Dataset.from_arrays(np.full((999, 2), 0.1), np.zeros(999, int))
    assert Normalization.of(data, per="feature").std.tolist() == [1, 1]


def test_large_offsets_do_not_cancel() -> None:
    values = 1e9 + np.random.default_rng(4).normal(size=(500, 1))
    statistics = Normalization.of(Dataset.from_arrays(values, np.zeros(500, int)), per="feature")
    np.testing.assert_allclose(statistics.std, values.astype(np.longdouble).std(), rtol=1e-9)


def test_normalization_refuses(part: Dataset) -> None:
    with pytest.raises(ConfigError, match="normalize: found 'pixel'"):
        Normalization.of(part, per="pixel")
    with pytest.raises(DataError, match=r"found shape \[2, 59\], expected \[N, 60\]"):
        Normalization.of(part).apply(np.zeros((2, 59)))
