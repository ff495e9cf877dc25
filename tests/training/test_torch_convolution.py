"""Convolutional networks beside PyTorch: the same parameters after ten steps in float64, with each optimiser."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastmlp import Dataset, TrainConfig, train
from fastmlp.training import draws
from fastmlp.training.optimizers import Steps, adam, rmsprop, sgd
from fastmlp.training.schedule import learning_rates
from fastmlp.training.shapes import parameter_names
from tests.image_networks import (
    CLASSES,
    Net,
    Parameters,
    autograd_gradients,
    draw_batch,
    draw_parameters,
    kinds,
    make_engine,
    seen,
    torch_model,
)
from tests.torch_networks import outputs_of, sequential

torch = pytest.importorskip("torch")
cross_entropy = torch.nn.functional.cross_entropy

BOUND = 1e-12  # of the largest entry

LENET = ("conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84)
NETS = [
    Net(LENET, (1, 28, 28), 16),
    Net(("conv 6 5", "maxpool 2", "conv 7 3", "maxpool 2", 20), (3, 16, 14), 33),
    Net(("conv 5 3 stride 2", "conv 4 3 stride 2 padding 1", 9), (3, 11, 12), 5),
    Net(("conv 4 3 padding same", "conv 3 5 padding same", "maxpool 2"), (2, 7, 6), 16),
    Net(("conv 5 1", "conv 3 7 padding 3", "maxpool 2", 8), (1, 8, 9), 5),
    Net(("conv 3 7 stride 3 padding 2", 6), (3, 13, 12), 1),
    Net(("conv 5 3", "avgpool 2", "conv 3 2", "avgpool 2"), (1, 11, 12), 33),
    Net(("conv 4 2", "maxpool 3", "conv 5 2"), (1, 12, 13), 5, "gelu"),
    Net(("conv 4 3", "batchnorm", "maxpool 2", "conv 5 3", "batchnorm", 9), (3, 10, 9), 16),
    Net(("conv 4 3", "maxpool 2", 11, "batchnorm", 7), (1, 8, 8), 5, "tanh"),
    Net(("conv 4 3", "conv 4 3 padding same", "maxpool 2", 6, 6), (1, 9, 8), 16, residual=True),
    Net(
        ("conv 3 3", "batchnorm", "conv 3 5 padding same", "batchnorm", "maxpool 3"),
        (2, 9, 11),
        33,
        "sigmoid",
        residual=True,
    ),
    Net(("conv 2 4", "relu", "batchnorm", "conv 6 1", "avgpool 3"), (1, 10, 9), 1, "silu"),
    Net(("conv 4 3", "maxpool 2", 7, 7, "batchnorm", 7), (2, 7, 8), 12, "tanh", residual=True),
]
every_net = pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)


class Optimizer(NamedTuple):
    """An optimiser of ours, given the steps to take and those taken, and PyTorch's, given parameters; and epsilon."""

    ours: Callable[[int, int, float], Steps]
    theirs: Callable[[Any, float], Any]


DECAY = {"weight_decay": 0.01}
OPTIMIZERS = {
    "sgd": Optimizer(
        lambda count, before, epsilon: sgd(count, 0.05, **DECAY),
        lambda given, epsilon: torch.optim.SGD(given, 0.05, **DECAY),
    ),
    "momentum": Optimizer(
        lambda count, before, epsilon: sgd(count, 0.02, momentum=0.9, **DECAY),
        lambda given, epsilon: torch.optim.SGD(given, 0.02, 0.9, **DECAY),
    ),
    "nesterov": Optimizer(
        lambda count, before, epsilon: sgd(count, 0.02, momentum=0.9, nesterov=True, **DECAY),
        lambda given, epsilon: torch.optim.SGD(given, 0.02, 0.9, nesterov=True, **DECAY),
    ),
    "adam": Optimizer(
        lambda count, before, epsilon: adam(count, 0.002, before=before, epsilon=epsilon, **DECAY),
        lambda given, epsilon: torch.optim.Adam(given, 0.002, eps=epsilon, **DECAY),
    ),
    "adamw": Optimizer(
        lambda count, before, epsilon: adam(
            count, 0.002, before=before, epsilon=epsilon, decoupled=True, **DECAY
        ),
        lambda given, epsilon: torch.optim.AdamW(given, 0.002, eps=epsilon, **DECAY),
    ),
    "rmsprop": Optimizer(
        lambda count, before, epsilon: rmsprop(count, 0.003, epsilon=epsilon, **DECAY),
        lambda given, epsilon: torch.optim.RMSprop(given, 0.003, eps=epsilon, **DECAY),
    ),
}


def assert_close(found: np.ndarray, expected: np.ndarray, bound: float, name: str) -> None:
    """Assert equality to `bound` of the largest entry."""
    assert found.shape == expected.shape, name
    error = abs(found - expected)
    worst = np.unravel_index(error.argmax(), error.shape)
    assert error.max() <= bound * abs(expected).max(), (name, worst, found[worst], expected[worst])


def named(net: Net, parameters: Parameters) -> dict[str, np.ndarray]:
    arrays = [one for pair in zip(*parameters, strict=True) for one in pair]
    return dict(zip(parameter_names(net.layers), arrays, strict=True))


@every_net
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ten_steps(net: Net, name: str) -> None:
    rng = np.random.default_rng(1)
    parameters = draw_parameters(net, rng)
    images, labels = draw_batch(net, rng, 4 * net.batch + (net.batch + 1) // 2)
    orders = [rng.permutation(len(images)) for _ in range(2)]
    # Adam divides a gradient by its size, and epsilon. It is rounding alone for the bias before a batchnorm.
    epsilon = 1e-3 if "shifted" in kinds(net.layers) else 1e-5

    engine, one = make_engine(net, parameters), np.ones(images.shape[1])
    samples = engine.samples(images, one / 64, -2 * one, labels=labels)
    losses = [
        engine.epoch(samples, order, OPTIMIZERS[name].ours(5, engine.steps_taken, epsilon)).losses
        for order in orders
    ]
    logits = engine.logits(samples)
    found = named(net, engine.weights())
    engine.close()

    model = torch_model(net, parameters).train()
    steps = OPTIMIZERS[name].theirs(model.parameters(), epsilon)
    X, y = torch.tensor(seen(net, images)), torch.tensor(labels)
    expected_losses = []
    for order in orders:
        for start in range(0, len(order), net.batch):
            rows = order[start : start + net.batch]
            each = cross_entropy(outputs_of(net.layers, model, X[rows]), y[rows], reduction="none")
            steps.zero_grad()
            each.mean().backward()
            steps.step()
            expected_losses += each.tolist()
    expected = {key: value.numpy() for key, value in model.state_dict().items()}

    gradients = [parameter.grad.abs().max() for parameter in model.parameters()]
    assert sum(gradient < 1e-5 for gradient in gradients) == kinds(net.layers).count("shifted")
    assert_close(np.concatenate(losses), np.array(expected_losses), BOUND, "losses")
    for key, array in found.items():
        assert_close(array, expected[key], BOUND, key)
    with torch.no_grad():  # in evaluation, where running statistics count
        outputs = outputs_of(net.layers, model.eval(), X).numpy()
    assert_close(logits, outputs, BOUND, "logits")


@every_net
def test_one_step_beside_autograd(net: Net) -> None:
    rng = np.random.default_rng(2)
    parameters = draw_parameters(net, rng)
    images, labels = draw_batch(net, rng, net.batch)
    engine, one = make_engine(net, parameters), np.ones(images.shape[1])
    samples = engine.samples(images, one / 64, -2 * one, labels=labels)
    engine.epoch(samples, np.arange(net.batch), sgd(1, 1.0))
    after = engine.weights()
    engine.close()
    expected = iter(autograd_gradients(net, parameters, seen(net, images), labels))
    pairs = zip(*parameters, *after, kinds(net.layers), strict=True)
    for number, (W, b, new_W, new_b, kind) in enumerate(pairs):
        if kind == "running":
            continue
        dW, db = next(expected)
        assert abs(dW).max() > 1e-5
        assert_close(W - new_W, dW, 1e-10, f"weight {number}")
        if kind == "trained":
            assert_close(b - new_b, db, 1e-10, f"bias {number}")
        else:
            assert abs(b - new_b).max() < 1e-10 * abs(dW).max()


# -- fastmlp.train -------------------------------------------------------------------------------------

EPOCHS, BATCH = 2, 12  # five batches an epoch, the last of them smaller

CONFIGS: list[tuple[tuple[int, int, int], dict[str, Any]]] = [
    ((1, 28, 28), {"hidden": LENET, "momentum": 0.9, "schedule": "cosine"}),
    (
        (3, 9, 8),
        {
            "hidden": (
                "conv 4 3",
                "batchnorm",
                "conv 4 3 padding same",
                "batchnorm",
                "maxpool 2",
                9,
            ),
            "residual": True,
            "flip": True,
            "label_smoothing": 0.1,
            "activation": "gelu",
        },
    ),
    (
        (2, 9, 9),
        {
            "hidden": ("conv 4 3 stride 2", "batchnorm", "tanh", "avgpool 2", 9, "batchnorm"),
            "learning_rate_factors": (0.5, 0.0, 2.0),
            "weight_decay_factors": (0.0, 3.0, 1.0),
            "momentum": 0.9,
        },
    ),
]


def by_torch(config: TrainConfig, part: Dataset) -> Any:
    """Return the model that PyTorch's SGD ends with."""
    layers = config.layers(CLASSES)
    arrays = [
        one for pair in zip(*draws.draw_parameters(config, part), strict=True) for one in pair
    ]
    model = sequential(layers, part.shape).double()
    state = dict(zip(parameter_names(layers), map(torch.tensor, arrays), strict=True))
    model.load_state_dict(state, strict=False)
    heads = -1
    groups = []
    for module in model:
        heads += isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
        rate = (config.learning_rate_factors or (1.0,) * 9)[heads]
        decay = config.weight_decay * (config.weight_decay_factors or (1.0,) * 9)[heads]
        if given := list(module.parameters()):
            groups.append({"params": given, "factor": rate, "weight_decay": decay})
    steps = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    X = part.normalization(config.normalize).apply(part.images).reshape(-1, *part.shape)
    for epoch in range(EPOCHS):
        order, flips = draws.draw_epoch(config, len(part), epoch)
        batches = range(0, len(order), BATCH)
        for start, rate in zip(batches, learning_rates(config, epoch, 5), strict=True):
            rows, mirrored = order[start : start + BATCH], flips[start : start + BATCH]
            shown = np.where(mirrored[:, None, None, None], X[rows][..., ::-1], X[rows])
            for group in steps.param_groups:
                group["lr"] = rate * group["factor"]
            steps.zero_grad()
            outputs = outputs_of(layers, model, torch.tensor(shown))
            labels = torch.tensor(part.labels[rows])
            cross_entropy(outputs, labels, label_smoothing=config.label_smoothing).backward()
            steps.step()
    return model


@pytest.mark.parametrize(("shape", "changes"), CONFIGS, ids=["lenet", "residual", "factors"])
def test_train_ends_with_the_state_of_torch(shape: Any, changes: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(CLASSES, size=55)
    greys = rng.normal(90 + 30 * labels[:, None], 40, (55, int(np.prod(shape))))
    images = np.clip(greys, 0, 255).astype(np.uint8)
    part = Dataset(images, labels, shape, tuple("abc"), "made up")
    config = TrainConfig(
        **{"batch_size": BATCH, "epochs": EPOCHS, "dtype": "float64", "weight_decay": 0.01},
        **{"learning_rate": 0.05, "activation": "relu"} | changes,
    )
    found = train(config, part).network.state_dict()
    expected = by_torch(config, part).state_dict()
    assert set(found) == set(expected)
    for name, array in found.items():
        if not name.endswith("num_batches_tracked"):  # which PyTorch counts, and then does not use
            assert_close(array, expected[name].numpy(), BOUND, name)
    (start, *_), _ = draws.draw_parameters(config, part)
    assert np.abs(found["0.weight"] - start).max() > 1e-3  # something was learned
