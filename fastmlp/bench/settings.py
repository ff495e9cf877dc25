"""What to measure, checked before anything is measured. Imports nothing that takes long to load."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastmlp.bench.problem import NETWORKS, Problem
from fastmlp.errors import ConfigError
from fastmlp.machine.cores import usable_cores

EPOCHS, KERNEL_RATES, START = PARTS = ("epochs", "kernels", "start")
"""What is measured: trainings beside their peers; kernels alone, on one core; how long a start takes, and memory."""

KERNELS = ("multiply", "update", "convolve", "gradients")
"""What has tiles: products, weights' gradients with the optimiser's step, convolutions, and their gradients."""

# The settings of ``--quick``.
QUICK: dict[str, Any] = {
    "batches": (100,),
    "rounds": 3,
    "seconds": 0.1,
    "samples": 5_000,
    "parts": (EPOCHS, KERNEL_RATES),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure, and for how long.

    Parameters
    ----------
    networks
        Keys of `NETWORKS`.
    batches
        Batch sizes for all networks; None for each network's own.
    threads
        Of every implementation.
    rounds
        How often each implementation is timed.
    seconds
        About how long a timed run takes.
    samples
        Rows of data: by default so many that no cache holds them.
    parts
        Some of `PARTS`.

    Raises
    ------
    ConfigError
        If a network is unknown, a number is below 1 or a batch larger than the data.
    """

    networks: tuple[str, ...] = tuple(NETWORKS)
    batches: tuple[int, ...] | None = None
    threads: int = dataclasses.field(default_factory=usable_cores)
    rounds: int = 7
    seconds: float = 0.2
    samples: int = 20_000
    parts: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        """Refuse what cannot be measured before anything is."""
        known = ",".join(NETWORKS)
        if not self.networks or not set(self.networks) <= set(NETWORKS):
            found = ",".join(self.networks) or "none"
            raise ConfigError(f"networks: found {found}, expected some of {known}")
        if self.batches == ():
            raise ConfigError("batch: found none, expected sizes such as 10,100")
        for batch in self.batches or ():
            if not 1 <= batch <= self.samples:
                raise ConfigError(
                    f"batch: found {batch}, expected 1 to {self.samples}, the samples"
                )
        for name in ("threads", "rounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: found {getattr(self, name)}, expected at least 1")

    def problems(self) -> Iterator[tuple[str, Problem]]:
        """Yield every network's name and problem for each batch size."""
        for name in self.networks:
            network = NETWORKS[name]
            for batch in self.batches or network.batches:
                yield name, network.problem(batch, self.samples)
