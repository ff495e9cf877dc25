"""`train` beside PyTorch: the same weights after ten steps, in float64, with everything that changes a step."""

from typing import Any

import numpy as np
import pytest

from fastmlp import Dataset, TrainConfig, autograd, train
from fastmlp.training.draws import draw_epoch, draw_parameters
from fastmlp.training.layers import ACTIVATIONS, Activation, Linear, flat
from fastmlp.training.schedule import learning_rates

torch = pytest.importorskip("torch")

EPOCHS, BATCH = 2, 12  # five batches an epoch, the last of them smaller


def data() -> Dataset:
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=55)
    images = np.clip(rng.normal(100 + 20 * labels[:, None], 40, (55, 13)), 0, 255)
    return Dataset(images, labels, (1, 1, 13), tuple("abcd"), "made up")


def by_torch(config: TrainConfig, part: Dataset, optimizer: Any) -> list[np.ndarray]:
    """Return the parameters that PyTorch's modules end with, weights before biases."""
    layers = config.layers(len(part.classes))
    modules, arrays = [], zip(*draw_parameters(config, part), strict=True)
    for layer in flat(layers):
        if isinstance(layer, Linear):
            W, b = next(arrays)
            module = torch.nn.Linear(W.shape[1], W.shape[0], dtype=torch.float64)
            with torch.no_grad():
                module.weight.copy_(torch.from_numpy(W))
                module.bias.copy_(torch.from_numpy(b))
            modules.append(module)
        elif isinstance(layer, Activation):
            name, options = ACTIVATIONS[layer.name].torch
            modules.append(getattr(torch.nn, name)(**options))
    model = torch.nn.Sequential(*modules)
    linear = [one for one in modules if isinstance(one, torch.nn.Linear)]
    steps = optimizer(linear)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    X = torch.from_numpy(part.normalization(config.normalize).apply(part.images))
    y = torch.from_numpy(part.labels)
    first = [group["lr"] for group in steps.param_groups]
    for epoch in range(EPOCHS):
        order, _ = draw_epoch(config, len(part), epoch)
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        for rows, rate in zip(batches, learning_rates(config, epoch, len(batches)), strict=True):
            for group, start in zip(steps.param_groups, first, strict=True):
                group["lr"] = start * rate / config.learning_rate
            steps.zero_grad()
            loss(model(X[rows]), y[rows]).backward()
            steps.step()
    found = [one.weight for one in linear] + [one.bias for one in linear]
    return [one.detach().numpy() for one in found]


def compare(changes: dict[str, Any], optimizer: Any, bound: float = 1e-12) -> None:
    """Assert that both trainings end with the same parameters, to `bound` of the largest."""
    part = data()
    config = TrainConfig(
        **{"hidden": (17, 9), "batch_size": BATCH, "epochs": EPOCHS, "dtype": "float64"},
        **changes,
    )
    network = train(config, part).network
    ours = [*network.weights, *network.biases]
    start, _ = draw_parameters(config, part)
    for mine, theirs in zip(ours, by_torch(config, part, optimizer), strict=True):
        assert np.abs(mine - theirs).max() <= bound * max(1, np.abs(theirs).max())
    assert np.abs(ours[0] - start[0]).max() > 1e-3  # something was learned


def sgd(linear: list[Any]) -> Any:
    parameters = [one for layer in linear for one in layer.parameters()]
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)


SGD = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing(smoothing: float) -> None:
    compare(SGD | {"label_smoothing": smoothing}, sgd)


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one_cycle"])
def test_schedules_and_warm_up(schedule: str) -> None:
    compare(SGD | {"schedule": schedule, "step_epochs": 1, "warmup_epochs": 1}, sgd)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_smoothed_loss_is_reported(smoothing: float) -> None:
    part = data()
    config = TrainConfig(
        hidden=(), epochs=1, batch_size=55, label_smoothing=smoothing, dtype="float64"
    )
    (W,), (b,) = draw_parameters(config, part)
    X = torch.from_numpy(part.normalization().apply(part.images))
    logits = X @ torch.from_numpy(W).T + torch.from_numpy(b)
    loss = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(part.labels), label_smoothing=smoothing
    )
    found = train(config, part).history[0]["train_loss"]
    assert found == pytest.approx(float(loss), rel=1e-12)


def test_factors_of_each_layer_are_parameter_groups() -> None:
    rates, decays = (0.5, 0.0, 2.0), (0.0, 3.0, 1.0)

    def grouped(linear: list[Any]) -> Any:
        groups = [
            {"params": layer.parameters(), "lr": 0.05 * rate, "weight_decay": 0.01 * decay}
            for layer, rate, decay in zip(linear, rates, decays, strict=True)
        ]
        return torch.optim.SGD(groups, lr=0.05, momentum=0.9)

    factors = {"learning_rate_factors": rates, "weight_decay_factors": decays}
    compare(SGD | factors, grouped)


@pytest.mark.parametrize(
    "factors", [{"learning_rate_factors": (1.0,) * 3}, {"weight_decay_factors": [1, 1, 1]}]
)
def test_factors_of_one_change_nothing(factors: dict[str, Any]) -> None:
    plain = TrainConfig(hidden=(17, 9), epochs=2, optimizer="adam", learning_rate=0.01)
    networks = [train(config, data()).network for config in (plain, plain.replace(**factors))]
    for one, other in zip(*(network.weights for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("constants", [{}, {"betas": (0.8, 0.95), "epsilon": 1e-4}])
def test_adam(constants: dict[str, Any], name: str) -> None:
    def made(linear: list[Any]) -> Any:
        named = {
            "eps": constants.get("epsilon", 1e-8),
            "betas": constants.get("betas", (0.9, 0.999)),
        }
        parameters = [one for layer in linear for one in layer.parameters()]
        return getattr(torch.optim, name)(parameters, lr=0.01, weight_decay=0.02, **named)

    chosen = {"optimizer": name.lower(), "learning_rate": 0.01, "weight_decay": 0.02}
    compare(chosen | constants, made)


@pytest.mark.parametrize("constants", [{}, {"alpha": 0.8, "epsilon": 1e-4}])
def test_rmsprop(constants: dict[str, Any]) -> None:
    def made(linear: list[Any]) -> Any:
        named = {"eps": constants.get("epsilon", 1e-8), "alpha": constants.get("alpha", 0.99)}
        parameters = [one for layer in linear for one in layer.parameters()]
        return torch.optim.RMSprop(parameters, lr=0.003, weight_decay=0.02, **named)

    compare(
        {"optimizer": "rmsprop", "learning_rate": 0.003, "weight_decay": 0.02, **constants}, made
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    compare(SGD | {"activation": name}, sgd)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_beside_autograd(name: str) -> None:
    part = data()
    config = TrainConfig(
        **{"hidden": (17, 9), "activation": name, "epochs": 1, "batch_size": len(part)},
        **{"momentum": 0.0, "learning_rate": 0.5, "dtype": "float64"},
    )
    weights, biases = draw_parameters(config, part)
    parameters = [
        autograd.Tensor(array) for W, b in zip(weights, biases, strict=True) for array in (W.T, b)
    ]
    X = part.normalization().apply(part.images)
    autograd.mlp_loss(parameters, X, part.labels, name).backward()
    network = train(config, part).network
    for W, b, new_W, new_b, dW, db in zip(
        *(weights, biases, network.weights, network.biases, parameters[::2], parameters[1::2]),
        strict=True,
    ):
        largest = np.abs(dW.grad).max()
        np.testing.assert_allclose((W - new_W) / 0.5, dW.grad.T, atol=1e-10 * largest, rtol=0)
        np.testing.assert_allclose((b - new_b) / 0.5, db.grad, atol=1e-10 * largest, rtol=0)


def test_adamw_decays_each_layer_by_its_factor() -> None:
    decays = (0.0, 3.0, 1.0)

    def grouped(linear: list[Any]) -> Any:
        groups = [
            {"params": layer.parameters(), "weight_decay": 0.1 * decay}
            for layer, decay in zip(linear, decays, strict=True)
        ]
        return torch.optim.AdamW(groups, lr=0.01)

    chosen = {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}
    compare(chosen | {"weight_decay_factors": decays}, grouped)
