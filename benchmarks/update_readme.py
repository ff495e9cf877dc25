"""Write the README's section on speed, and its picture, from the stored runs in ``reports/``."""

import csv
from pathlib import Path

from fastmlp.bench import folder, readme
from fastmlp.bench.measurements import FASTMLP, Contest
from fastmlp.bench.summary import find, median, rates
from fastmlp.machine.files import write_atomic
from fastmlp.reporting.style import COLOURS, column, name_axes_by_epoch, new_figure

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "reports" / "quickstart"
PICTURE = QUICKSTART / "overview.png"
SHOWN = ("A", 100)  # the network and the batch size in the picture
WORDS = {
    FASTMLP: "fastmlp",
    "PyTorch fused SGD": "PyTorch",
    "JAX jit + scan": "JAX",
    "scikit-learn MLPClassifier": "scikit-learn",
}


def main() -> None:
    """Replace the text between the README's markers, and the picture."""
    path = ROOT / "README.md"
    stored = folder.read(ROOT / "reports" / "benchmark" / folder.RESULTS)
    write_atomic(path, readme.into(path.read_text(), readme.part(stored)).encode())
    contest = find(stored["contests"], *SHOWN)
    assert contest is not None
    draw(contest, stored["machine"]["cpu"])


def draw(contest: Contest, cpu: str) -> None:
    """Draw a training by epoch, and beside it how fast it is trained by whom."""
    with (QUICKSTART / "history.csv").open(newline="") as file:
        history = [{name: float(one) for name, one in row.items()} for row in csv.DictReader(file)]
    with new_figure(PICTURE, 9, 3) as figure:
        loss, accuracy, speed = figure.subplots(1, 3, width_ratios=(3, 3, 3.6))
        for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
            for part, words in (("train", "training"), ("valid", "validation")):
                epochs = column(history, "epoch")
                axes.plot(epochs, column(history, f"{part}_{quantity}"), label=words)
            name_axes_by_epoch(axes, quantity)
        loss.legend()
        loss.set_title("cars and cats", loc="left", fontsize=10)
        values = [median(rates(contest, name)) for name in WORDS]
        bars = speed.barh(list(WORDS.values()), values, color=[COLOURS[1], *["#b0b7bd"] * 3])
        speed.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3)
        speed.set(xlim=(0, 1.25 * max(values)))
        speed.set_xlabel(
            f"images a second, float32, {contest['threads']} threads\n{cpu}", fontsize=8
        )
        speed.set_title(
            "-".join(map(str, contest["sizes"])) + f", batch {contest['batch']}",
            loc="left",
            fontsize=10,
        )
        speed.tick_params(axis="y", length=0)
        speed.xaxis.set_ticks([])
        speed.spines[["bottom", "left"]].set_visible(False)
        speed.grid(visible=False)
        speed.invert_yaxis()


if __name__ == "__main__":
    main()
