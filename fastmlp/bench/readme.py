"""The README's section on speed: made from a stored run, kept between two markers."""

from __future__ import annotations

import re

from fastmlp.bench.markdown import legend, rates_table
from fastmlp.bench.measurements import Measurements
from fastmlp.bench.problem import Problem
from fastmlp.errors import FormatError

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"


def part(results: Measurements) -> str:
    """Return the text between the README's two markers."""
    contests = results["contests"]
    threads = results["settings"]["threads"]
    return f"""\
## How fast

Samples a second in training, on {threads} threads of {results["machine"]["cpu"]} (median of \
{results["settings"]["rounds"]} rounds in which all took turns; the fastest in bold):

{rates_table(contests)}

{legend(contests)} Stochastic gradient descent with momentum {Problem.momentum} and weight decay \
{Problem.weight_decay}; float32 where nothing else is said. fastmlp gathers and normalises uint8 \
images in every step, the others are handed float32 rows. \
[The report](reports/benchmark/report.md) tells how this was measured, with spreads, losses, \
single kernels and memory; `fastmlp bench` measures your own machine."""


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
