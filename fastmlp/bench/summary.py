"""Figures computed from measurements: those of the report, and those its tests compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from fastmlp.bench.measurements import FASTMLP, Comparison, Contest, Entry, KernelRow
from fastmlp.bench.work import flops_per_sample


def median(values: Iterable[float]) -> float:
    """Return the middle value, or the mean of the two in the middle."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> float:
    """Return half the distance between the quartiles, as a share of the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle


def find(contests: Iterable[Contest], network: str, batch: int) -> Contest | None:
    """Return the contest of a network at a batch size, if there was one."""
    for contest in contests:
        if (contest["network"], contest["batch"]) == (network, batch):
            return contest
    return None


def entry(contest: Contest, name: str) -> Entry | None:
    """Return what an implementation did in a contest, if it took part."""
    return next((one for one in contest["entries"] if one["name"] == name), None)


def has_images(contest: Contest) -> bool:
    """Return whether a contest's network takes images."""
    return not isinstance(contest["sizes"][0], int)


def names(contests: Iterable[Contest]) -> list[str]:
    """Return all that took part in any of the contests, in the order of their first appearance."""
    return list(dict.fromkeys(one["name"] for each in contests for one in each["entries"]))


def rates(contest: Contest, name: str) -> list[float]:
    """Return samples a second, by round; empty if `name` did not take part."""
    found = entry(contest, name)
    return [contest["batch"] / seconds for seconds in found["seconds"]] if found else []


def ratios(contest: Contest, name: str, ours: str = FASTMLP) -> list[float]:
    """Return the rate of `ours` over that of `name`, by round; empty if either is missing."""
    return [a / b for a, b in zip(rates(contest, ours), rates(contest, name), strict=False)]


def shares(contest: Contest, name: str = FASTMLP) -> list[float]:
    """Return the share of the FMA ceiling that a training's arithmetic reached, by round."""
    flops = flops_per_sample(contest["sizes"])
    return [
        rate * flops / ceiling
        for rate, ceiling in zip(rates(contest, name), contest["ceiling"], strict=False)
    ]


def ceiling_rate(contest: Contest) -> float:
    """Return the samples a second that would take all of the FMA ceiling."""
    return median(contest["ceiling"]) / flops_per_sample(contest["sizes"])


def gains(comparison: Comparison) -> list[float]:
    """Return the rate of the other way over that of the base, by round."""
    both = zip(comparison["other_rates"], comparison["base_rates"], strict=True)
    return [other / base for other, base in both]


def kernel_shares(row: KernelRow) -> list[float]:
    """Return the share of the FMA ceiling that a kernel reached, by round."""
    return [
        row["flops"] / seconds / ceiling
        for seconds, ceiling in zip(row["seconds"], row["ceiling"], strict=True)
    ]
