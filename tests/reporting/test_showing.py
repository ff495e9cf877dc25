"""Results that show themselves: reprs, notebooks' HTML, data frames, plots; and the rows of data."""

from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot

import fastmlp
from fastmlp import Dataset, Normalization, TrainConfig
from fastmlp.datasets import load_digits
from fastmlp.errors import ConfigError, DataError
from fastmlp.training.network import Network


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits()


@pytest.fixture(scope="module")
def result(digits: Dataset) -> fastmlp.TrainResult:
    return fastmlp.train(TrainConfig(hidden=(8,), epochs=3), *digits.train.split([0.9, 0.1], 0))


@pytest.fixture
def rows() -> Dataset:
    return Dataset.from_arrays(np.arange(12.0).reshape(4, 3), [0, 1, 1, 0], name="mine")


@pytest.fixture(autouse=True)
def no_figures() -> Any:
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.mark.parametrize(
    "config",
    [TrainConfig(), TrainConfig(hidden=(512, "tanh", 8), learning_rate=0.3), TrainConfig(patience=3, flip=True)],
)  # fmt: skip
def test_a_configuration_is_what_differs(config: TrainConfig) -> None:
    assert eval(repr(config)) == config
    assert len(repr(config)) < 80
    frame = config.changed()
    assert all(getattr(config, name) == value for name, value in frame.items())
    assert (
        f"{len(config.as_dict()) - len(frame)} settings have their defaults" in config._repr_html_()
    )


def test_reprs_are_short(digits: Dataset, rows: Dataset, result: fastmlp.TrainResult) -> None:
    assert repr(digits) == "<Dataset digits: 1,797 images of 1 x 8 x 8 (uint8), 10 classes>"
    assert repr(rows) == "<Dataset mine: 4 rows of 3 numbers (float64), 2 classes>"
    last = result.history[result.best_epoch - 1]
    expected = f"valid loss {last['valid_loss']:.4f}, valid accuracy {last['valid_accuracy']:.4f}"
    assert repr(result).startswith(f"<TrainResult done: all 3 epochs done, {expected}, ")
    for one in (digits, rows, result):
        assert len(repr(one).splitlines()) == 1
        assert len(repr(one)) < 150


def test_notebooks_get_tables_and_pictures(
    digits: Dataset, rows: Dataset, result: fastmlp.TrainResult
) -> None:
    for one in (digits, result, result.network):
        assert "data:image/png;base64," in one._repr_html_()
    for plain in (rows, result.config):
        assert "<img" not in plain._repr_html_()
    hostile = Dataset.from_arrays(np.eye(2), [0, 1], classes=["<b>", "&"], name="<script>")
    assert "<script>" not in hostile._repr_html_()
    assert "&lt;script&gt;" in hostile._repr_html_()


def test_a_run_without_epochs_shows_itself(result: fastmlp.TrainResult) -> None:
    lost = fastmlp.TrainResult(
        result.network, [], "interrupted", "interrupted after epoch 0", 0, result.config
    )
    assert "interrupted after epoch 0" in repr(lost)
    assert lost._repr_html_()
    bad = [{**row, "train_loss": np.inf, "valid_loss": np.nan} for row in result.history]
    diverged = fastmlp.TrainResult(result.network, bad, "diverged", "not finite", 0, result.config)  # type: ignore[arg-type]
    assert "not finite" in diverged._repr_html_()


def test_plots_draw_on_new_axes_and_given_ones(
    digits: Dataset, result: fastmlp.TrainResult
) -> None:
    display = result.plot()
    assert pyplot.fignum_exists(display.figure_.number)
    assert [axes.get_ylabel() for axes in display.axes_] == ["loss", "accuracy"]
    _, axes = pyplot.subplots()
    assert result.plot(axes).figure_ is axes.figure
    assert result.network.plot().figure_ is not axes.figure
    assert digits.plot(axes).axes_ == [axes]


def test_frames(digits: Dataset, rows: Dataset, result: fastmlp.TrainResult) -> None:
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame["epoch"]) == [1, 2, 3]
    assert frame["valid_loss"].tolist() == [row["valid_loss"] for row in result.history]
    assert rows.to_frame().shape == (4, 4)
    assert rows.to_frame()["label"].tolist() == ["0", "1", "1", "0"]
    assert result.network.to_frame()["parameters"].sum() == 64 * 8 + 8 + 8 * 10 + 10
    assert not result.config.to_frame().set_index("setting").loc["hidden", "default"]


def test_frames_ask_for_pandas_by_name(
    result: fastmlp.TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match=r'install "fastmlp\[tables\]"'):
        result.to_frame()


def test_rows_are_taken_by_index(digits: Dataset, rows: Dataset) -> None:
    image, label = digits[3]
    assert image.shape == (1, 8, 8)
    assert type(label) is int
    np.testing.assert_array_equal(image.ravel(), digits.images[3])
    np.testing.assert_array_equal(rows[-1][0], [9, 10, 11])
    assert [label for _, label in rows] == [0, 1, 1, 0]
    assert len(list(digits)) == len(digits)
    assert rows[1:3].labels.tolist() == [1, 1]
    assert rows[rows.labels == 0].images[:, 0].tolist() == [0, 9]
    assert rows[[-1, 0]].images[:, 0].tolist() == [9, 0]
    assert isinstance(rows[np.array([1])], Dataset)


@pytest.mark.parametrize(
    ("index", "error", "told"),
    [(4, IndexError, "found 4, expected -4..3"), (-5, IndexError, "found -5"),
     ([True, False], DataError, "expected \\[4\\]"),
     ([4], DataError, "found 4..4"), ("a", DataError, "expected whole numbers"),
     (1.5, DataError, "expected whole numbers"),
     ([], DataError, "expected"), (slice(9, 12), DataError, "expected"), (None, DataError, "expected")],
)  # fmt: skip
def test_wrong_indices_are_told(
    rows: Dataset, index: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        rows[index]


def test_a_network_of_rows_draws_no_picture() -> None:
    scaling = Normalization(np.zeros(3), np.ones(3))
    network = Network(
        [np.ones((2, 3))], [np.zeros(2)], normalization=scaling, classes="ab", shape=(1, 1, 3)
    )
    assert "<img" not in network._repr_html_()
    assert network.plot().axes_


def test_a_rate_found_is_a_line_and_a_curve() -> None:
    found = fastmlp.FoundRate(0.04, np.logspace(-7, 1, 240), np.linspace(2.3, 0.5, 240))
    assert repr(found) == "<FoundRate 0.04, of 240 from 1e-07 to 10>"
    assert "<img" in found._repr_html_()
    (axes,) = found.plot().axes_
    assert axes.get_xscale() == "log"
    pyplot.close("all")


def test_arrays_and_histories_are_not_printed_whole(digits: Dataset) -> None:
    assert repr(Normalization(np.full(3, 2.0), np.array([1.0, 3.0, 2.0]))) == (
        "<Normalization of 3 values, means 2, deviations 1 to 3>"
    )
    assert len(repr(digits.normalization("feature"))) < 100
