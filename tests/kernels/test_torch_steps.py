"""Ten steps of the engine against PyTorch's: as stored, and live where PyTorch is installed."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp.training.engine import Engine
from fastmlp.training.layers import network_layers
from fastmlp.training.optimizers import Steps, adam, rmsprop, sgd

SCRIPT = Path(__file__).parents[1] / "golden" / "make_torch_steps.py"
_spec = importlib.util.spec_from_file_location("make_torch_steps", SCRIPT)
golden: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)

cases = pytest.mark.parametrize("name", golden.CASES)
LAYERS = range(len(golden.SIZES) - 1)


def steps_of(case: Mapping[str, Any], count: int, before: int) -> Steps:
    """Return fastmlp's name for a case's optimiser."""
    decay = {name: case[name] for name in ("weight_decay", "decay_biases") if name in case}
    match case["optimizer"]:
        case "Adam":
            return adam(count, case["lr"], before=before, **decay)
        case "RMSprop":
            return rmsprop(count, case["lr"], **decay)
    momentum = {name: case[name] for name in ("momentum", "nesterov") if name in case}
    return sgd(count, case["lr"], **momentum, **decay)


def engine_steps(given: Mapping[str, np.ndarray], name: str, dtype: str) -> dict[str, np.ndarray]:
    """Do with the engine what `make_torch_steps.torch_steps` does with PyTorch."""
    case = golden.CASES[name]
    engine = Engine(
        [given[f"{layer}.weight"] for layer in LAYERS],
        [given[f"{layer}.bias"] for layer in LAYERS],
        layers=network_layers(
            golden.SIZES[1:-1],
            golden.SIZES[-1],
            activation=case.get("activation", "relu"),
            residual=case.get("residual", False),
        ),
        batch_size=golden.BATCH,
        dtype=dtype,
    )
    one = np.ones(golden.SIZES[0])
    samples = engine.samples(given["images"], one / 64, one * -2, labels=given["labels"])
    losses = []
    for order in given["order"]:
        steps = steps_of(case, -(-len(order) // golden.BATCH), engine.steps_taken)
        losses.append(engine.epoch(samples, order, steps).losses)
    weights, biases = engine.weights()
    found = {"losses": np.array(losses)}
    found |= {f"{layer}.weight": weights[layer] for layer in LAYERS}
    return found | {f"{layer}.bias": biases[layer] for layer in LAYERS}


def assert_equal(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> None:
    for name in found:
        difference = abs(found[name] - expected[name]).max()
        assert difference < tolerance * abs(expected[name]).max(), name


@pytest.fixture(scope="module")
def stored() -> Mapping[str, np.ndarray]:
    with np.load(golden.PATH, allow_pickle=False) as file:
        return dict(file)


def results_of(stored: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Pick one case out of the stored file."""
    prefix = f"{name}/"
    return {
        key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)
    }


@cases
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
def test_ten_steps_as_stored(
    stored: Mapping[str, np.ndarray], name: str, dtype: str, tolerance: float
) -> None:
    assert_equal(engine_steps(stored, name, dtype), results_of(stored, name), tolerance)


def test_cases_differ_by_far_more_than_the_tolerance(stored: Mapping[str, np.ndarray]) -> None:
    last = np.array([stored[f"{name}/0.weight"] for name in golden.CASES])
    distance = abs(last[:, None] - last[None]).max(axis=(2, 3))
    assert (distance[~np.eye(len(last), dtype=bool)] > 1e-3).all()
    assert (abs(last - stored["0.weight"]).max(axis=(1, 2)) > 1e-2).all()


@pytest.mark.peers
@cases
def test_ten_steps_live(stored: Mapping[str, np.ndarray], name: str) -> None:
    pytest.importorskip("torch")
    given = golden.problem(seed=1)
    expected = golden.torch_steps(given, golden.CASES[name])
    assert_equal(engine_steps(given, name, "float64"), expected, 1e-12)
    # The stored file is what its script makes.
    again = golden.torch_steps(golden.problem(seed=0), golden.CASES[name])
    assert_equal(again, results_of(stored, name), 1e-12)
