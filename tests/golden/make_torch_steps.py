"""Ten steps of PyTorch's optimisers on one small problem, for the engine to be compared with.

``python tests/golden/make_torch_steps.py`` writes `torch_steps.npz` beside itself: the problem (raw
images, labels, order, first parameters) and, for each case, the loss of every sample as its batch
saw it and the last parameters. 37 images in batches of 8, seen twice, make ten steps, two of them
on the five images that are left.
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("torch_steps.npz")
SIZES, BATCH = (11, 9, 9, 4), 8

# One row a case: the optimiser of torch.optim with its arguments, and what of the network differs.
CASES: dict[str, dict[str, Any]] = {
    "plain": {"optimizer": "SGD", "lr": 0.2},
    "decay": {"optimizer": "SGD", "lr": 0.2, "weight_decay": 0.05},
    "momentum": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.9},
    "momentum and decay": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.85, "weight_decay": 0.05},
    "nesterov": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "nesterov and decay of weights alone": {
        "optimizer": "SGD",
        "lr": 0.1,
        "momentum": 0.85,
        "nesterov": True,
        "weight_decay": 0.05,
        "decay_biases": False,
    },
    "sigmoid": {"optimizer": "SGD", "lr": 0.5, "momentum": 0.9, "activation": "sigmoid"},
    "tanh": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "activation": "tanh"},
    "residual": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.9, "residual": True},
    "adam": {"optimizer": "Adam", "lr": 0.01},
    "adam and decay": {"optimizer": "Adam", "lr": 0.01, "weight_decay": 0.05},
    "rmsprop": {"optimizer": "RMSprop", "lr": 0.01},
    "rmsprop and decay": {"optimizer": "RMSprop", "lr": 0.01, "weight_decay": 0.05},
}


def problem(seed: int) -> dict[str, np.ndarray]:
    """Draw the problem that all cases share."""
    rng = np.random.default_rng(seed)
    count = 37
    drawn = {
        "images": rng.integers(0, 256, (count, SIZES[0])).astype(np.uint8),
        "labels": rng.integers(0, SIZES[-1], count),
        "order": np.stack([rng.permutation(count) for _ in range(2)]),
    }
    for layer, (inputs, outputs) in enumerate(pairwise(SIZES)):
        bound = 1 / np.sqrt(inputs)
        drawn[f"{layer}.weight"] = rng.uniform(-bound, bound, (outputs, inputs))
        drawn[f"{layer}.bias"] = rng.uniform(-bound, bound, outputs)
    return drawn


def normalized(images: np.ndarray) -> np.ndarray:
    """Return what enters the network for raw images."""
    return images / 64 - 2


def torch_steps(given: dict[str, np.ndarray], case: dict[str, Any]) -> dict[str, np.ndarray]:
    """Train with PyTorch in float64 and return losses [2, images] and parameters."""
    import torch

    options = dict(case)
    optimizer = getattr(torch.optim, options.pop("optimizer"))
    activation = getattr(torch, options.pop("activation", "relu"))
    residual = options.pop("residual", False)
    decay_biases = options.pop("decay_biases", True)

    names = [name for name in given if name.endswith(("weight", "bias"))]
    parameters = {name: torch.tensor(given[name], requires_grad=True) for name in names}
    biases = [parameter for name, parameter in parameters.items() if name.endswith("bias")]
    weights = [parameter for name, parameter in parameters.items() if name.endswith("weight")]
    groups = [
        {"params": weights},
        {"params": biases} | ({} if decay_biases else {"weight_decay": 0}),
    ]
    stepper = optimizer(groups, **options)

    X, labels = torch.tensor(normalized(given["images"])), torch.tensor(given["labels"])
    losses = np.zeros(given["order"].shape)
    for epoch, order in enumerate(given["order"]):
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            A = X[rows]
            for layer in range(len(SIZES) - 2):
                Z = torch.nn.functional.linear(A, *layer_of(parameters, layer))
                skips = residual and layer > 0 and SIZES[layer] == SIZES[layer + 1]
                A = activation(Z) + A if skips else activation(Z)
            Z = torch.nn.functional.linear(A, *layer_of(parameters, len(SIZES) - 2))
            loss = torch.nn.functional.cross_entropy(Z, labels[rows], reduction="none")
            losses[epoch, start : start + BATCH] = loss.detach().numpy()
            stepper.zero_grad()
            loss.mean().backward()
            stepper.step()
    return {"losses": losses} | {n: p.detach().numpy() for n, p in parameters.items()}


def layer_of(parameters: dict[str, Any], layer: int) -> tuple[Any, Any]:
    """Return the weight and the bias of a layer."""
    return parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]


def main() -> None:
    """Write the file."""
    given = problem(seed=0)
    results = {
        f"{name}/{key}": value
        for name, case in CASES.items()
        for key, value in torch_steps(given, case).items()
    }
    np.savez_compressed(PATH, **given, **results)
    print(f"{PATH}: {PATH.stat().st_size} bytes, {len(CASES)} cases", file=sys.stderr)


if __name__ == "__main__":
    main()
