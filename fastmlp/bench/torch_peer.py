"""PyTorch as a peer."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sysconfig
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp.bench.peer import Training
from fastmlp.bench.problem import Problem, WeightsAndBiases
from fastmlp.training.layers import Activation, Convolution, Flatten, Linear, MaxPool

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TorchPeer:
    """PyTorch in eager mode, or with parts of it switched on.

    Parameters
    ----------
    name
        Its name in tables.
    fused
        Update with the optimiser's ``fused=True``; otherwise with its defaults.
    compiled
        Compile model and loss, backward included, with ``torch.compile``. Preparing one such
        training forgets the compiled code of those before it.
    bfloat16
        Run model and loss under ``torch.autocast``; parameters and velocity stay float32.
    channels_last
        Keep images and filters in ``torch.channels_last``.
    """

    name: str
    fused: bool = False
    compiled: bool = False
    bfloat16: bool = False
    channels_last: bool = False
    decays_biases: bool = True

    def available(self) -> bool:
        """Return whether torch is installed, and a C++ compiler works where it needs one."""
        return find_spec("torch") is not None and (not self.compiled or _compiles_extensions())

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Compile and warm up; sets the process's thread count with ``torch.set_num_threads``."""
        import torch

        torch.set_num_threads(threads)
        return _TorchTraining(self, problem)


class _TorchTraining:
    def __init__(self, peer: TorchPeer, problem: Problem) -> None:
        import torch

        self._problem, self._trained = problem, 0
        X = torch.from_numpy(problem.inputs).view(-1, *problem.shape)
        model = _module(problem)
        self._with_channels_last = peer.channels_last and problem.has_images
        if self._with_channels_last:
            # Rows of this array, seen with channels first, lie as the layout wants them.
            X = X.permute(0, 2, 3, 1).contiguous()
            model.to(memory_format=torch.channels_last)
        self._X, self._y = X, torch.from_numpy(problem.labels)

        def mean_loss(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(model(X), y)

        self._model = model
        self._loss: Any = mean_loss
        if peer.compiled:
            # Dynamo counts all problems against one limit of recompiles; past it, Dynamo would
            # quietly run eager code.
            torch.compiler.reset()
            self._loss = torch.compile(mean_loss, fullgraph=True, dynamic=False)
        self._precision: Any = nullcontext
        if peer.bfloat16:
            self._precision = functools.partial(torch.autocast, "cpu", torch.bfloat16)
        settings: dict[str, Any] = {
            "lr": problem.learning_rate,
            "weight_decay": problem.weight_decay,
            "fused": peer.fused or None,
        }
        self._optimizer: torch.optim.Optimizer
        if problem.optimizer == "adam":
            self._optimizer = torch.optim.Adam(model.parameters(), **settings)
        else:
            momentum = problem.momentum
            self._optimizer = torch.optim.SGD(model.parameters(), momentum=momentum, **settings)
        for _ in range(2):
            self._gradients(torch.arange(problem.batch_size))

    def _gradients(self, rows: torch.Tensor) -> None:
        self._optimizer.zero_grad()
        X = self._X[rows]
        if self._with_channels_last:
            X = X.permute(0, 3, 1, 2)
        with self._precision():
            loss = self._loss(X, self._y[rows])
        loss.backward()

    def run(self, steps: int) -> None:
        import torch

        for epoch, first, last in self._problem.segments(self._trained, steps):
            for rows in torch.from_numpy(self._problem.order(epoch)[first:last]):
                self._gradients(rows)
                self._optimizer.step()
        self._trained += steps

    def parameters(self) -> WeightsAndBiases:
        arrays = [parameter.detach().numpy() for parameter in self._model.parameters()]
        weights = [w.T if w.ndim == 2 else w for w in arrays[0::2]]
        return WeightsAndBiases(
            [w.copy(order="C") for w in weights], [b.copy() for b in arrays[1::2]]
        )


def _module(problem: Problem) -> torch.nn.Sequential:
    """Return the network at its start."""
    import torch

    modules: list[torch.nn.Module] = []
    pairs = zip(*problem.start, strict=True)
    for layer in problem.layers:
        match layer:
            case Linear():
                weights, biases = next(pairs)
                own = torch.nn.Linear(*weights.shape)
                modules.append(_started(own, weights.T, biases))
            case Convolution(channels, kernel):
                weights, biases = next(pairs)
                filters = torch.nn.Conv2d(weights.shape[1], channels, kernel)
                modules.append(_started(filters, weights, biases))
            case Activation():
                modules.append(torch.nn.ReLU())
            case MaxPool(size):
                modules.append(torch.nn.MaxPool2d(size))
            case Flatten():
                modules.append(torch.nn.Flatten())
    return torch.nn.Sequential(*modules)


def _started(module: Any, weights: np.ndarray, biases: np.ndarray) -> torch.nn.Module:
    """Copy a start into a module, and return it."""
    import torch

    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weights))
        module.bias.copy_(torch.from_numpy(biases))
    started: torch.nn.Module = module
    return started


@functools.cache
def _compiles_extensions() -> bool:
    """Return whether the C++ compiler that torch.compile would call can build an extension."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text("#include <Python.h>\n#include <omp.h>\n", "utf-8")
        include = "-I" + sysconfig.get_paths()["include"]
        command = [*compiler, include, "-fopenmp", "-fsyntax-only", str(source)]
        try:
            return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False
