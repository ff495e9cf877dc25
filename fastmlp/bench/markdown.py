"""Measurements -> Markdown; every number in it is computed from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from fastmlp.bench import summary
from fastmlp.bench.measurements import (
    FASTMLP,
    FASTMLP_BF16,
    OURS,
    Contest,
    Footprint,
    KernelRow,
    Measurements,
)
from fastmlp.bench.problem import ADAM, NETWORKS, Problem
from fastmlp.bench.summary import has_images, median, spread
from fastmlp.bench.work import spell_size, spell_sizes
from fastmlp.reporting import pages
from fastmlp.reporting.tables import markdown_table

CEILING = "the float32 ceiling allows"

STEPS, BEFORE = "steps", "before training"

# The share of its threads' time that arithmetic gets on an otherwise idle machine.
FREE = 0.95


def render(results: Measurements) -> str:
    """Return the report of a run as Markdown."""
    contests = results["contests"]
    caches, versions = results["machine"]["caches"], results["machine"]["versions"]
    networks = dict.fromkeys(row["network"] for row in results["kernels"])
    return pages.render(
        "bench.md",
        **results,
        problem=Problem,
        adam=ADAM,
        by_adam=by_adam(contests),
        caches=", ".join(f"{name} {size // 1024:,} KiB" for name, size in caches.items()),
        versions=", ".join(f"{name} {number}" for name, number in versions.items()),
        ceilings=list(_ceilings(results)),
        legend=legend(contests),
        rates=rates_table(contests),
        ratios={
            ours: _ratio_table(contests, ours) for ours in OURS if ours in summary.names(contests)
        },
        faster=list(_faster(contests)),
        disturbed=list(_disturbances(results)),
        scaling=_scaling_table(contests, results["one_core"]),
        compared=_compared(results),
        losses=_table(contests, lambda own: [STEPS, BEFORE, *summary.names(own)], _loss_cell),
        busy=_table(contests, summary.names, _busy_cell),
        prepared=_table(contests, summary.names, _prepare_cell),
        memory=_memory(results["footprint"]),
        kernel_tables={name: _kernel_table(results["kernels"], name) for name in networks},
    )


def _ceilings(results: Measurements) -> Iterator[tuple[str, int, str]]:
    """Yield what the machine can do: of what, with how many threads, and how much of it."""
    together = results["contests"]
    measured: list[tuple[int, Sequence[Contest | KernelRow]]] = [
        (1, results["one_core"] or results["kernels"]),
        (together[0]["threads"] if together else 0, together),
    ]
    for threads, found in measured:
        if found:
            values = [one for taken in found for one in taken["ceiling"]]
            rate = f"{median(values) / 1e9:,.0f} GFLOP/s {_spread(values)}"
            yield "multiply-adds in registers", threads, rate
    for row in results["bandwidth"]:
        what = f"a += b in {row['place']}, {row['working_set'] / 2**20:,.3g} MiB"
        rate = f"{median(row['rates']) / 1e9:,.0f} GB/s {_spread(row['rates'])}"
        yield what, row["threads"], rate


def legend(contests: Sequence[Contest]) -> str:
    """Return a line that explains the heads of the tables' columns."""
    used = dict.fromkeys(contest["network"] for contest in contests)
    networks = "; ".join(f"{name} is {spell_sizes(NETWORKS[name].sizes)}" for name in used)
    return f"{networks}. The number beside a letter is the batch size."


def by_adam(contests: Sequence[Contest]) -> str:
    """Return the networks of images, which Adam trains, in words; empty if there are none."""
    return " and ".join(dict.fromkeys(one["network"] for one in contests if has_images(one)))


def rates_table(contests: Sequence[Contest]) -> str:
    """Return samples a second, the fastest of a contest in bold, and what the ceiling allows."""

    def rate(contest: Contest, name: str) -> float:
        return median(summary.rates(contest, name) or [0.0])

    def cell(contest: Contest, name: str) -> str:
        if name == CEILING:
            return f"{summary.ceiling_rate(contest):,.0f}"
        if summary.entry(contest, name) is None:
            return ""
        text = f"{rate(contest, name):,.0f}"
        others = summary.names([contest])
        is_best = all(rate(contest, name) >= rate(contest, other) for other in others)
        return f"**{text}**" if is_best else text

    return _table(contests, lambda own: [*summary.names(own), CEILING], cell)


def _ratio_table(contests: Sequence[Contest], ours: str) -> str:
    left_out = (ours, FASTMLP_BF16)

    def others(own: Sequence[Contest]) -> list[str]:
        return [name for name in summary.names(own) if name not in left_out]

    return _table(contests, others, functools.partial(_ratio_cell, ours))


def _faster(contests: Sequence[Contest]) -> Iterator[str]:
    for contest in contests:
        for name in summary.names(contests):
            ratios = summary.ratios(contest, name)
            if name not in OURS and ratios and median(ratios) < 1:
                yield f"{name} at {_label(contest)}: {median(ratios):.2f}x"


def _disturbances(results: Measurements) -> Iterator[str]:
    cores = results["machine"]["usable_cores"]
    for contest in results["contests"]:
        busy = median(contest["ceiling_busy"])
        if busy < FREE * min(contest["threads"], cores):
            yield f"{_label(contest)}: {busy:.2f} cores"


def _scaling_table(contests: Sequence[Contest], one_core: Sequence[Contest]) -> str:
    header = [
        *("network", "batch", "one core: samples/s", "of its ceiling"),
        *("all threads: samples/s", "of their ceiling"),
    ]
    rows = []
    for alone in one_core:
        together = summary.find(contests, alone["network"], alone["batch"])
        cells = [alone["network"], f"{alone['batch']}"]
        for contest in (alone, together):
            rates = summary.rates(contest, FASTMLP) if contest else []
            if contest is None or not rates:
                cells += ["", ""]
                continue
            shares = summary.shares(contest)
            cells += [f"{median(rates):,.0f}", f"{median(shares):.1%} {_spread(shares)}"]
        rows.append(cells)
    return markdown_table(header, rows, "lrrrrr")


def _compared(results: Measurements) -> str:
    rows = []
    for one in results["comparisons"]:
        gains = summary.gains(one)
        for name, rates, gain in (
            (one["base"], one["base_rates"], ""),
            (one["other"], one["other_rates"], f"{median(gains):.2f} {_spread(gains)}"),
        ):
            rate = f"{median(rates):,.0f} {_spread(rates)}"
            rows.append([one["network"], str(one["batch"]), name, rate, gain])
    return markdown_table(["network", "batch", "", "samples/s", "times as many"], rows, "lrlrr")


def _memory(found: Footprint | None) -> list[str]:
    """Return megabytes: the most of a training, and if it compiles; the images as they are, and as peers have them."""
    if found is None or found["peak_bytes"] is None or found["compiling_peak_bytes"] is None:
        return []
    rows = found["images"] * NETWORKS["A"].problem(1, 1).features
    sizes = (found["peak_bytes"], found["compiling_peak_bytes"], rows, 4 * rows)
    return [f"{size / 1e6:,.0f}" for size in sizes]


def _kernel_table(every: Sequence[KernelRow], network: str) -> str:
    rows = [row for row in every if row["network"] == network]
    batches = list(dict.fromkeys(row["batch"] for row in rows))
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for row in rows:
        layer = spell_size(row["inputs"])
        if row["outputs"]:
            layer += f"-{spell_size(row['outputs'])}"
        if row["flops"]:
            rate = median(row["flops"] / one for one in row["seconds"]) / 1e9
            text = f"{rate:,.0f} ({median(summary.kernel_shares(row)):.1%})"
        else:
            rate = median(row["bytes"] / one for one in row["seconds"]) / 1e9
            text = f"{rate:,.0f} GB/s"
        cells.setdefault((row["kernel"], layer), {})[row["batch"]] = text
    lines = [
        [kernel, layer, *(by_batch.get(batch, "") for batch in batches)]
        for (kernel, layer), by_batch in sorted(cells.items(), key=lambda one: one[0][0])
    ]
    header = ["kernel", "layer", *(f"batch {batch}" for batch in batches)]
    return markdown_table(header, lines, "ll" + "r" * len(batches))


# -- cells ----------------------------------------------------------------------------------------


def _ratio_cell(ours: str, contest: Contest, name: str) -> str:
    ratios = summary.ratios(contest, name, ours)
    return f"{median(ratios):.2f} {_spread(ratios)}" if ratios else ""


def _loss_cell(contest: Contest, name: str) -> str:
    if name == STEPS:
        return str(contest["check_steps"])
    if name == BEFORE:
        return f"{contest['start_loss']:.5f}"
    found = summary.entry(contest, name)
    return f"{found['loss']:.5f}" if found else ""


def _busy_cell(contest: Contest, name: str) -> str:
    found = summary.entry(contest, name)
    return f"{median(found['busy']):.2f}" if found else ""


def _prepare_cell(contest: Contest, name: str) -> str:
    found = summary.entry(contest, name)
    return f"{found['prepare_seconds']:.2f}" if found else ""


def _label(contest: Contest) -> str:
    return f"{contest['network']}, {contest['batch']}"


def _spread(values: Sequence[float]) -> str:
    return f"± {spread(values):.1%}"


def _table(
    contests: Sequence[Contest],
    names: Callable[[Sequence[Contest]], list[str]],
    cell: Callable[[Contest, str], str],
) -> str:
    """Return a table with a row for each name and a column for each contest.

    Networks of images have a table of their own, since others take part there. `names` are those of one table's
    contests; a row without any number is left out.
    """
    tables = []
    for kind in (False, True):
        own = [contest for contest in contests if has_images(contest) == kind]
        rows = [[name, *(cell(contest, name) for contest in own)] for name in names(own)]
        rows = [row for row in rows if any(row[1:])]
        if rows:
            tables.append(markdown_table(["", *map(_label, own)], rows, "l" + "r" * len(own)))
    return "\n\n".join(tables)
