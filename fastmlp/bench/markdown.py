"""Measurements -> Markdown; every number in it is computed from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from fastmlp.bench import summary
from fastmlp.bench.measurements import FASTMLP, FASTMLP_BF16, OURS, Contest, KernelRow, Measurements
from fastmlp.bench.problem import ADAM, NETWORKS, Problem
from fastmlp.bench.summary import has_images, median, spread
from fastmlp.bench.work import spell_size, spell_sizes
from fastmlp.reporting.tables import markdown_table

CEILING = "the float32 ceiling allows"

STEPS, BEFORE = "steps", "before training"

# The share of its threads' time that arithmetic gets on an otherwise idle machine.
FREE = 0.95


HOW = """\
Every implementation trains the same network from the same start on the same data: random grey \
levels, labelled by a random linear teacher. ReLU between layers, softmax cross-entropy, SGD with \
v = momentum * v + (gradient + decay * w), w = w - rate * v; momentum {momentum}, decay {decay}, \
rate {rate}. One permutation an epoch is cut into batches, the same ones for all, and each gathers \
the rows of a batch itself. Peers are handed normalised float32 rows beforehand; fastmlp gathers \
from uint8 and normalises in every step. Two kinds of row differ in their mathematics: \
scikit-learn shuffles for itself and does not decay biases, and bf16 multiplies with fewer digits.

All take turns in one process: in each round everyone trains for about {seconds:g} s, after a \
pause that lets the threads of the one before fall asleep, and the FMA ceiling (multiply-adds that \
never leave the registers) is measured among them. What is printed is the median of {rounds} \
rounds, ± half the distance between the quartiles; ratios and shares are taken within each round, \
then their median. Compiling, copying data and waking threads come before the clock starts and are \
listed apart."""


def render(results: Measurements) -> str:
    """Return the report of a run as Markdown."""
    return "\n\n".join(_sections(results)) + "\n"


# -- sections -------------------------------------------------------------------------------------


def _sections(results: Measurements) -> Iterator[str]:
    contests, settings = results["contests"], results["settings"]
    yield "# Benchmark"
    yield _machine(results)
    yield "## How it is measured"
    yield HOW.format(
        **settings,
        momentum=Problem.momentum,
        decay=Problem.weight_decay,
        rate=Problem.learning_rate,
    )
    yield from _images(contests)
    for name, reason in results["missing"].items():
        yield f"{name} did not take part: {reason}."
    yield "## Samples a second"
    yield legend(contests)
    yield rates_table(contests)
    yield (
        f"The last row is arithmetic: the measured FMA ceiling of {settings['threads']} threads in "
        "float32, divided by the multiply-adds of a sample. bf16 has a higher one, and fastmlp in "
        "float32 leaves out what a zero that ReLU made would add to the gradient of weights."
    )
    yield "## How many times as fast fastmlp is"
    yield from _ratio_tables(contests)
    yield _defeats(contests)
    yield from _disturbances(results)
    yield "## One core and all of them"
    yield _scaling_table(contests, results["one_core"])
    yield from _comparisons(results)
    yield "## Loss"
    yield (
        f"Mean cross-entropy of all {settings['samples']:,} samples, computed by NumPy for all, "
        "after the same number of steps."
    )
    yield _table(contests, lambda own: [STEPS, BEFORE, *summary.names(own)], _loss_cell)
    yield "## Cores kept busy"
    yield "CPU seconds in a second of training, by all threads of the process."
    yield _table(contests, summary.names, _busy_cell)
    yield "## Before the clock starts"
    yield (
        "Seconds to copy the start, compile and wake threads; the first column also has the "
        "loading of the packages. fastmlp's machine code, and it alone, comes from a cache that "
        "outlives the process."
    )
    yield _table(contests, summary.names, _prepare_cell)
    yield from _starting(results)
    yield from _kernels(results)


def _images(contests: Sequence[Contest]) -> Iterator[str]:
    if networks := by_adam(contests):
        yield (
            f"Adam trains {networks}, with rate {ADAM['learning_rate']}, no decay, and PyTorch's betas and epsilon; "
            "PyTorch's own is the fused one. PyTorch keeps images in NCHW or in channels_last, JAX in NHWC. fastmlp "
            "bf16 convolves in float32. Outputs of a convolution that no pooling reads count as no work."
        )


def _machine(results: Measurements) -> str:
    machine = results["machine"]
    caches = ", ".join(f"{name} {size // 1024:,} KiB" for name, size in machine["caches"].items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        f"{machine['cpu']}, {machine['usable_cores']} usable cores of {machine['cores']} "
        f"({caches or 'caches unknown'}); {machine['system']}; {versions}. {results['date']}.",
        "",
        "| ceiling | threads | |",
        "| --- | --: | --: |",
    ]
    for contests in (results["one_core"], results["contests"]):
        if contests:
            values = [one for contest in contests for one in contest["ceiling"]]
            threads = contests[0]["threads"]
            lines.append(
                f"| multiply-adds in registers | {threads} | {median(values) / 1e9:,.0f} GFLOP/s "
                f"{_spread(values)} |"
            )
    for row in results["bandwidth"]:
        lines.append(
            f"| a += b in {row['place']}, {row['working_set'] / 2**20:,.3g} MiB | {row['threads']} "
            f"| {median(row['rates']) / 1e9:,.0f} GB/s {_spread(row['rates'])} |"
        )
    return "\n".join(lines)


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


def _ratio_tables(contests: Sequence[Contest]) -> Iterator[str]:
    for ours in OURS:
        if ours not in summary.names(contests):
            continue
        left_out = (ours, FASTMLP_BF16)

        def others(own: Sequence[Contest], left_out: tuple[str, ...] = left_out) -> list[str]:
            return [name for name in summary.names(own) if name not in left_out]

        yield f"{ours}, as a multiple of:"
        yield _table(contests, others, functools.partial(_ratio_cell, ours))


def _defeats(contests: Sequence[Contest]) -> str:
    faster = [
        f"{name} at {_label(contest)}: {median(ratios):.2f}x"
        for contest in contests
        for name in summary.names(contests)
        if name not in OURS and (ratios := summary.ratios(contest, name)) and median(ratios) < 1
    ]
    return f"Faster than fastmlp: {'; '.join(faster) or 'none in this run'}."


def _disturbances(results: Measurements) -> Iterator[str]:
    cores = results["machine"]["usable_cores"]
    disturbed = [
        f"{_label(contest)}: {median(contest['ceiling_busy']):.2f} cores"
        for contest in results["contests"]
        if median(contest["ceiling_busy"]) < FREE * min(contest["threads"], cores)
    ]
    if disturbed:
        yield (
            "**The machine was not free.** Multiply-adds on every thread, which need nothing but "
            f"cores, got fewer than they asked for at {'; '.join(disturbed)}."
        )


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


def _comparisons(results: Measurements) -> Iterator[str]:
    if not results["comparisons"]:
        return
    rows = []
    for one in results["comparisons"]:
        gains = summary.gains(one)
        for name, rates, gain in (
            (one["base"], one["base_rates"], ""),
            (one["other"], one["other_rates"], f"{median(gains):.2f} {_spread(gains)}"),
        ):
            rate = f"{median(rates):,.0f} {_spread(rates)}"
            rows.append([one["network"], str(one["batch"]), name, rate, gain])
    yield markdown_table(["network", "batch", "", "samples/s", "times as many"], rows, "lrlrr")


def _starting(results: Measurements) -> Iterator[str]:
    found = results["footprint"]
    if found is None:
        return
    yield "## Starting, and memory"
    yield (
        "A process that imports fastmlp and trains network A at batch 100 through `fastmlp.train` "
        f"is done with its first step after {found['cold_seconds']:.1f} s when everything is to be "
        f"compiled, after {found['warm_seconds']:.2f} s with the machine code in the cache."
    )
    if found["peak_bytes"] is not None and found["compiling_peak_bytes"] is not None:
        rows = found["images"] * NETWORKS["A"].problem(1, 1).features
        yield (
            f"Training it on {found['images']:,} images of 32 x 32 x 3 takes at most "
            f"{found['peak_bytes'] / 1e6:,.0f} MB of resident memory "
            f"({found['compiling_peak_bytes'] / 1e6:,.0f} MB if it also compiles). The images are "
            f"{rows / 1e6:,.0f} MB as uint8; as the float32 rows that peers are given they would "
            f"be {4 * rows / 1e6:,.0f} MB."
        )


def _kernels(results: Measurements) -> Iterator[str]:
    yield "## Kernels on one core"
    yield (
        "GFLOP/s without counting padding, and the share of the FMA ceiling; GB/s for kernels that "
        "only move data. What dW leaves out, where ReLU made zeros, counts as done: its share may "
        "exceed 100%. Called again and again on the same buffers, which therefore lie in the "
        "nearest cache that holds them."
    )
    if by_adam(results["contests"]):
        yield (
            "A convolution's gradients of inputs and weights, dX and dW, take turns, some images at a time. Its dW is "
            "also shown alone."
        )
    for network in dict.fromkeys(row["network"] for row in results["kernels"]):
        yield f"### Network {network}"
        yield _kernel_table([row for row in results["kernels"] if row["network"] == network])


def _kernel_table(rows: Sequence[KernelRow]) -> str:
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
