"""The networks of this package as PyTorch's: modules in a Sequential, and residual connections around them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.training.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Residual,
    flat,
)


def sequential(layers: Iterable[Layer], shape: Sequence[int]) -> Any:
    """Return a ``torch.nn.Sequential`` with a module for each layer; its input has the shape [N, *shape]."""
    from torch import nn, zeros

    model, x = nn.Sequential(), zeros(2, *shape)
    for layer in flat(layers):
        match layer:
            case Linear(outputs):
                module: Any = nn.Linear(x.shape[1], outputs)
            case Activation(name):
                kind, options = ACTIVATIONS[name].torch
                module = getattr(nn, kind)(**options)
            case Dropout(rate):
                module = nn.Dropout(rate)
            case Convolution(channels, kernel, stride, padding):
                module = nn.Conv2d(x.shape[1], channels, kernel, stride, padding)
            case MaxPool(size):
                module = nn.MaxPool2d(size)
            case AvgPool(size):
                module = nn.AvgPool2d(size)
            case BatchNorm():
                module = (nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d)(x.shape[1])
            case Flatten():
                module = nn.Flatten()
        model.append(module)
        x = module.train()(x)
    for module in model:
        if hasattr(module, "reset_running_stats"):
            module.reset_running_stats()
    return model


def outputs_of(layers: Iterable[Layer], model: Any, x: Any) -> Any:
    """Return what the modules of `sequential` make of a tensor [N, *shape], residual connections included."""
    modules: Iterator[Any] = iter(model)

    def through(layers: Iterable[Layer], x: Any) -> Any:
        for layer in layers:
            match layer:
                case Residual(inner):
                    x = x + through(inner, x)
                case _:
                    x = next(modules)(x)
        return x

    return through(layers, x)
