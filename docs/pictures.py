"""The pictures of the explanations, drawn while the site is built. Sizes of tiles are those of the package."""

from collections.abc import Callable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from fastmlp.kernels.tiles import TILES
from fastmlp.reporting.style import COLOURS, STYLE

BLUE, RED, GREEN = COLOURS[1:4]
PALE, LINE = "#e8eef3", "#9aa7b1"
AVX512 = TILES["avx512"]
PICTURES: dict[str, Callable[[Figure], None]] = {}


def picture(function: Callable[[Figure], None]) -> Callable[[Figure], None]:
    """Register the function that draws the picture of its name."""
    PICTURES[function.__name__] = function
    return function


def draw(folder: Path) -> None:
    """Draw all pictures; the same code gives the same files."""
    for name, function in PICTURES.items():
        with rc_context({**STYLE, "svg.hashsalt": name, "svg.fonttype": "path"}):
            figure = Figure(layout="constrained")
            function(figure)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def blank(figure: Figure, width: float, height: float, across: float, down: float):
    """Return axes of a size in inches without scales; (0, 0) is at the top left."""
    figure.set_size_inches(width, height)
    axes = figure.subplots()
    axes.set(xlim=(0, across), ylim=(down, 0), aspect="equal")
    axes.axis("off")
    return axes


def box(axes, x, y, width, height, colour=PALE, edge=LINE, **more):
    """Draw a rectangle."""
    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, **more))


def say(axes, x, y, text, **more):
    """Write a text, by default centred."""
    axes.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 9, **more})


def arrow(axes, start, end, colour="#444444"):
    """Draw an arrow."""
    style = "-|>,head_length=4,head_width=2"
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle=style, color=colour, linewidth=1.2))


@picture
def tile(figure: Figure) -> None:
    """Draw a product with one tile of it."""
    axes = blank(figure, 8, 4.1, 40, 20.5)
    box(axes, 1, 6, 10, 13)
    say(axes, 6, 5, "X: a batch of rows")
    box(axes, 1, 9, 10, 4, "#bcd7ea", BLUE)
    say(axes, 6, 11, f"{AVX512.rows} rows")
    box(axes, 14, 2, 11, 10)
    say(axes, 19.5, 1, "W: weights, in panels")
    for panel in range(5):
        box(axes, 14 + 2.2 * panel, 2, 2.2, 10, "none")
    box(axes, 18.4, 2, 4.4, 10, "#f4cdb5", RED)
    say(axes, 20.6, 7, "2\npanels")
    box(axes, 28, 6, 11, 13)
    say(axes, 33.5, 5, "Z = X W")
    box(axes, 32.4, 9, 4.4, 4, "#b5dccf", GREEN)
    say(axes, 34.6, 11, "one tile")
    arrow(axes, (1, 14), (11, 14), BLUE)
    say(axes, 6, 15, "k runs, in order", color=BLUE)
    arrow(axes, (26, 2), (26, 12), RED)
    say(axes, 26.8, 7, "k", color=RED)
    say(axes, 12.5, 12, "x", fontsize=14)
    say(axes, 26.8, 13, "=", fontsize=14)


@picture
def registers(figure: Figure) -> None:
    """Draw what the 32 vector registers of an AVX-512 core hold."""
    axes = blank(figure, 8, 4.4, 40, 22)
    lanes = AVX512.lanes(4)
    say(axes, 17, 0.8, f"2 vectors of W, {lanes} numbers each", color=RED)
    for vector in range(AVX512.vectors):
        box(axes, 7 + 10.2 * vector, 1.8, 10, 1.3, "#f4cdb5", RED)
    for row in range(AVX512.rows):
        y = 4 + 1.25 * row
        for vector in range(AVX512.vectors):
            box(axes, 7 + 10.2 * vector, y, 10, 1.1, "#b5dccf", GREEN)
        box(axes, 4, y, 1.4, 1.1, "#bcd7ea" if row == 2 else "white", BLUE)
    say(axes, 0.2, 7.1, "1 number of X,\nrepeated in\na vector", color=BLUE, fontsize=8, ha="left")
    used = AVX512.rows * AVX512.vectors
    say(
        axes,
        33.8,
        10,
        f"{AVX512.rows} x {AVX512.vectors} = {used} registers\nhold sums",
        color=GREEN,
    )
    say(axes, 33.8, 13, f"{used} + 2 + 1 = {used + 3}\nof 32 registers")


@picture
def team(figure: Figure) -> None:
    """Draw two ways to share a product between two threads."""
    axes = blank(figure, 8, 3.1, 40, 15.5)
    colours = ("#bcd7ea", "#f4cdb5")
    say(axes, 9, 0.8, "fastmlp: each thread owns outputs", fontweight="bold")
    for thread, colour in enumerate(colours):
        box(axes, 1 + 8 * thread, 3, 8, 7, colour)
        say(axes, 5 + 8 * thread, 6.5, f"thread {thread + 1}:\nwhole sums over k")
    say(axes, 9, 11.5, "Every number is added up by one thread, in order.")
    say(axes, 9, 13.2, "The bits do not depend on who does it.")
    say(axes, 30, 0.8, "not done: each thread owns a part of the sum", fontweight="bold")
    for thread, colour in enumerate(colours):
        box(axes, 22, 3 + 3.5 * thread, 16, 3.5, colour)
        say(
            axes,
            30,
            4.75 + 3.5 * thread,
            f"thread {thread + 1}: {'first' if thread == 0 else 'second'} half of k",
        )
    say(axes, 30, 11.5, "The halves are rounded, then added:")
    say(axes, 30, 13.2, "another number of threads gives other bits.")


@picture
def update(figure: Figure) -> None:
    """Draw the bytes that move for each weight in a step, fused and in separate passes."""
    figure.set_size_inches(8, 2.9)
    axes = figure.subplots()
    passes = {
        "dW = Xᵀ dZ": (0, 4),
        "dW += decay · W": (8, 4),
        "V = momentum · V + dW": (8, 4),
        "W -= rate · V": (8, 4),
    }
    left = 0
    colours = ("#bcd7ea", "#f4cdb5", "#b5dccf", "#e8d3e0")
    for (name, (read, written)), colour in zip(passes.items(), colours, strict=True):
        axes.barh(1, read + written, left=left, color=colour, edgecolor="white", label=name)
        left += read + written
    axes.barh(0, 16, color="#8aa0b0", edgecolor="white", label="all four, in registers")
    axes.set_yticks([0, 1], ["fused", "four passes"])
    axes.set(xlabel="bytes read and written for each weight (float32)", xlim=(0, 42))
    axes.grid(visible=False, axis="y")
    for y, total in ((0, 16), (1, left)):
        axes.text(total + 0.5, y, str(total), va="center")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
