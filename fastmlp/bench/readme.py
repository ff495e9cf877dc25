"""The README's section on speed: made from a stored run, kept between two markers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastmlp.bench.markdown import by_adam, legend, rates_table
from fastmlp.bench.measurements import Contest, Entry, Measurements
from fastmlp.bench.peers import CHANNELS_LAST, JAX_SCAN, JAX_STEPS, NCHW
from fastmlp.bench.problem import ADAM, Problem
from fastmlp.bench.summary import has_images, median
from fastmlp.errors import FormatError

# Rows of networks of images that stand for the faster of others.
BETTER = {
    "PyTorch, the better layout": (NCHW, CHANNELS_LAST),
    "JAX jit, the better way": (JAX_STEPS, JAX_SCAN),
}

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"


def part(results: Measurements) -> str:
    """Return the text between the README's two markers."""
    contests = [with_better(one) if has_images(one) else one for one in results["contests"]]
    threads = results["settings"]["threads"]
    return f"""\
## How fast

Samples a second in training, on {threads} threads of {results["machine"]["cpu"]} (median of \
{results["settings"]["rounds"]} rounds in which all took turns; the fastest in bold):

{rates_table(contests)}

{legend(contests)} Stochastic gradient descent with momentum {Problem.momentum} and weight decay \
{Problem.weight_decay}{_adam(contests)}; float32 where nothing else is said. fastmlp gathers and normalises uint8 \
images in every step, the others are handed float32 rows. \
[The report](reports/benchmark/report.md) tells how this was measured, with spreads, losses, \
single kernels and memory; `fastmlp bench` measures your own machine."""


def with_better(contest: Contest) -> Contest:
    """Return a contest with one entry, named by `BETTER`, for each package that has two ways to train."""
    found: dict[str, Entry] = {}
    for one in contest["entries"]:
        name = next((better for better, both in BETTER.items() if one["name"] in both), one["name"])
        own: Entry = {**one, "name": name}
        found[name] = min(found.get(name, own), own, key=lambda each: median(each["seconds"]))
    return {**contest, "entries": list(found.values())}


def _adam(contests: Sequence[Contest]) -> str:
    networks = by_adam(contests)
    return networks and f" ({networks}: Adam, rate {ADAM['learning_rate']}, without decay)"


def into(text: str, part: str) -> str:
    """Return `text` with `part` between its markers.

    Raises
    ------
    FormatError
        If there is not one of each marker, in order, on lines of their own.
    """
    pattern = f"^{BEGIN}\n(.*\n)??{END}$"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    if len(found) != 1 or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise FormatError(f"README: expected one line {BEGIN} and, below it, one line {END}")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    return f"{head}{BEGIN}\n{part}\n{END}{tail}"
