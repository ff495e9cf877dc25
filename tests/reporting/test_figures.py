"""Figures: what they show, that they can be read, and that they leave nothing behind."""

import io
import itertools
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure
from PIL import Image

from fastmlp.reporting import figures, style
from fastmlp.reporting.displays import ConfusionDisplay


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are written."""
    figures: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: Any, **keywords: Any) -> None:
        figures.append(self)
        save(self, *args, **keywords)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def history(epochs: int, *, valid: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "train_accuracy": 1 - 0.5 / epoch,
            "valid_loss": 1.5 / epoch if valid else None,
            "valid_accuracy": 1 - 0.6 / epoch if valid else None,
        }
        for epoch in range(1, epochs + 1)
    ]


def test_curves_show_the_history(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = history(12)
    figures.draw_curves(rows, tmp_path / "curves.png", best_epoch=7)
    (figure,) = drawn
    for axes, quantity in zip(figure.axes, ("loss", "accuracy"), strict=True):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", quantity)
        train, valid, best = axes.get_lines()
        np.testing.assert_array_equal(train.get_xdata(), np.arange(1, 13))
        np.testing.assert_array_equal(train.get_ydata(), [row[f"train_{quantity}"] for row in rows])
        np.testing.assert_array_equal(valid.get_ydata(), [row[f"valid_{quantity}"] for row in rows])
        assert list(best.get_xdata()) == [7, 7]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "training",
        "validation",
        "network kept",
    ]
    box = legend.get_window_extent()
    assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    height, width = pixels(tmp_path / "curves.png").shape
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_curves_without_validation_have_one_line(tmp_path: Path, drawn: list[Figure]) -> None:
    figures.draw_curves(history(3, valid=False), tmp_path / "curves.png")
    assert [len(axes.get_lines()) for axes in drawn[0].axes] == [1, 1]


def test_a_single_epoch_is_visible(tmp_path: Path) -> None:
    paths = [tmp_path / "one.png", tmp_path / "none.png"]
    row = history(1)[0]
    figures.draw_curves([row], paths[0])
    figures.draw_curves([row | dict.fromkeys(list(row)[1:], np.nan)], paths[1])
    dark = [int((pixels(path) < 64).sum()) for path in paths]
    assert dark[0] > dark[1] + 20


def test_a_diverged_run_leaves_a_gap(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = history(4)
    rows[2]["train_loss"], rows[3]["train_loss"] = np.inf, np.nan
    figures.draw_curves(rows, tmp_path / "curves.png")
    values = drawn[0].axes[0].get_lines()[0].get_ydata()
    np.testing.assert_array_equal(values, [1, 0.5, np.nan, np.nan])


@pytest.mark.parametrize("count", [2, 10])
def test_confusion_counts_every_pair(tmp_path: Path, drawn: list[Figure], count: int) -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, count, (2, 500))
    labels[labels == 1] = 0  # a class that no image has keeps its row
    classes = [f"${letter} %_" for letter in "abcdefghij"[:count]]
    figures.draw_confusion(labels, predicted, classes, tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    expected = np.zeros((count, count), int)
    for pair in zip(labels, predicted, strict=True):
        expected[pair] += 1
    cells = [int(text.get_text()) for text in axes.texts]
    np.testing.assert_array_equal(np.reshape(cells, (count, count)), expected)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [text.get_text() for text in axes.get_yticklabels()] == classes
    right = int(expected.trace())
    assert axes.get_title() == f"{right} of 500 right ({right / 500:.2%})"


@pytest.mark.parametrize("count", [1, 2, 10])
def test_confusion_is_drawn_as_scikit_learn_draws_it(tmp_path: Path, count: int) -> None:
    from sklearn.metrics import ConfusionMatrixDisplay

    random = np.random.default_rng(count)
    labels, predicted = random.integers(0, count, (2, 90))
    classes = [f"class {number}" for number in range(count)]
    figures.draw_confusion(labels, predicted, classes, tmp_path / "ours.png")
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    size = ConfusionDisplay(counts, classes).size
    with style.new_figure(tmp_path / "theirs.png", *size) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        axes.spines[["right", "top"]].set_visible(True)
        options = {"cmap": "Greys", "colorbar": False, "values_format": "d", "im_kw": {"vmin": 0}}
        shown = ConfusionMatrixDisplay(counts, display_labels=classes)
        shown.plot(ax=axes, xticks_rotation=45 if count == 10 else 0, **options)
        axes.set(xlabel="predicted class", ylabel="true class")
        right = int(counts.trace())
        axes.set_title(f"{right:,} of 90 right ({right / 90:.2%})")
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_one_class_is_drawn_without_a_warning(tmp_path: Path) -> None:
    figures.draw_confusion([0, 0], [0, 0], ["cat"], tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").exists()


def test_lines_can_be_told_apart_in_grey() -> None:
    cycle = list(style.STYLE["axes.prop_cycle"])
    for one, other in itertools.combinations(cycle, 2):
        assert one["linestyle"] != other["linestyle"]
    lightness = [np.dot(colors.to_rgb(one["color"]), (0.299, 0.587, 0.114)) for one in cycle[:3]]
    assert all(b - a > 0.1 for a, b in itertools.pairwise(lightness))


def test_figures_leave_no_state_and_equal_ones_are_equal_files(tmp_path: Path) -> None:
    from matplotlib import pyplot

    before = {name: mpl.rcParams[name] for name in style.STYLE}
    opened = pyplot.get_fignums()  # by other tests
    for name in ("a.png", "b.png"):
        figures.draw_confusion([0, 1, 1], [0, 1, 0], ["bird", "automobile"], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert pyplot.get_fignums() == opened
    assert {name: mpl.rcParams[name] for name in style.STYLE} == before


def test_an_old_figure_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curves.png"
    figures.draw_curves(history(2), path)
    old = path.read_bytes()

    def savefig(self: Figure, file: io.BytesIO, **_: Any) -> None:
        file.write(b"half")
        raise RuntimeError

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(RuntimeError):
        figures.draw_curves(history(3), path)
    assert path.read_bytes() == old
