"""What a benchmark asks of an implementation, ours and the peers'."""

from __future__ import annotations

from typing import Protocol

from fastmlp.bench.problem import Problem, WeightsAndBiases


class Training(Protocol):
    """A problem in training: compiled, at its start, waiting for `run`."""

    def run(self, steps: int) -> None:
        """Train so many more steps; return when their arithmetic is done."""

    def parameters(self) -> WeightsAndBiases:
        """Copy the parameters as they are now."""


class Peer(Protocol):
    """An implementation to measure against."""

    @property
    def name(self) -> str:
        """Its name in tables."""

    @property
    def decays_biases(self) -> bool:
        """Return whether weight decay acts on biases as well as on weights."""

    def available(self) -> bool:
        """Return whether it is installed and can run here; imports nothing heavy."""

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Copy the problem's start, compile, and wake ``threads`` threads; trains no step.

        The thread count is the process's (PyTorch, XLA): trainings that are alive together must
        have been prepared with the same one.
        """
