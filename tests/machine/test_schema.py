"""Every field of every file is checked for type, range and size; and names from files control no terminal."""

import itertools
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastmlp import MLPClassifier, MLPRegressor, load
from fastmlp.datasets import Normalization
from fastmlp.errors import DataError, FastMLPError, FormatError, printable
from fastmlp.machine import files, schema
from fastmlp.training.layers import network_layers
from fastmlp.training.network import Network

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**64, 10**30, 1.5, 3.0, math.nan, math.inf, -1e308),
    *(
        "",
        "x",
        "x" * 5000,
        "\x1b[2J",
        "\ud800",
        "float64",
        "relu",
        "tanh 3",
        "conv 1 1",
        "batchnorm",
    ),
    *([], [None], [[]] * 9, ["x"], [1], [3, 2], [1, 1, 3], [True, 1, 3], ["0", "1"], [2**40] * 3),
    *({}, {"": 1}, {"dtype": "str", "multilabel": False, "values": ["a"]}),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value, as a container and a key."""
    for key, one in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(one, dict | list):
            yield from places(one)


def a_network() -> Network:
    rng = np.random.default_rng(0)
    return Network(
        [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))],
        [np.zeros(4), np.zeros(2)],
        normalization=Normalization(np.zeros(3), np.ones(3)),
        classes=("cat", "dog"),
        shape=(1, 1, 3),
    )


def a_network_of_images() -> Network:
    layers = network_layers(["conv 2 3", "batchnorm", "maxpool 2", 5, "tanh", "dropout 0.5"], 2)
    shapes = [((2, 1, 3, 3), 2), ((2,), 2), ((2,), 2), ((5, 18), 5), ((2, 5), 2)]
    return Network(
        [np.ones(weight) for weight, _ in shapes],
        [np.ones(bias) for _, bias in shapes],
        layers=layers,
        normalization=Normalization(np.zeros(64), np.ones(64)),
        classes=("0", "1"),
        shape=(1, 8, 8),
    )


X = np.random.default_rng(0).normal(size=(40, 3))
SHORT = {"hidden_layer_sizes": (4,), "max_iter": 1, "random_state": 0}


def a_classifier() -> Any:
    return MLPClassifier(**SHORT).fit(X, np.array(["a", "b", "c", "d"])[np.arange(40) % 4])


def a_classifier_of_numbers() -> Any:
    return MLPClassifier(**SHORT).fit(X, np.array([3, 250], np.uint8)[np.arange(40) % 2])


def a_classifier_of_layers() -> Any:
    options = {**SHORT, "hidden_layer_sizes": [5, "tanh", "dropout 0.5"]}
    return MLPClassifier(**options).fit(X, np.arange(40) % 3)


def a_regressor() -> Any:
    return MLPRegressor(**SHORT).fit(X, X[:, :2])


KINDS: dict[Callable[[], Any], tuple[str, Callable[[Path], Any]]] = {
    a_network: ("network", load),
    a_network_of_images: ("network", load),
    a_classifier: ("estimator", MLPClassifier.load),
    a_classifier_of_numbers: ("estimator", MLPClassifier.load),
    a_classifier_of_layers: ("estimator", MLPClassifier.load),
    a_regressor: ("estimator", MLPRegressor.load),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_fields_of_another_type_or_range_are_refused(
    make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, read = KINDS[make]
    path = tmp_path / "model"
    make().save(path)
    with files._opened(path, "model") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = opened.metadata()[kind]
    dumps = json.dumps
    monkeypatch.setattr(
        json, "dumps", lambda value, **rest: dumps(value, **rest | {"allow_nan": True})
    )
    mutants = list(itertools.product(range(len(list(places(json.loads(text))))), (*VALUES, "gone")))
    refused = 0
    for number, value in random.Random(0).sample(mutants, min(250, len(mutants))):
        description = json.loads(text)
        container, key = list(places(description))[number]
        if value == "gone":
            del container[key]
        else:
            container[key] = value
        files.write_tensors(path, kind, description, tensors)
        try:
            model = read(path)
        except FormatError as error:
            message = str(error)
        else:
            # What is another model, such as of another activation, computes.
            rows = X if kind == "estimator" else np.zeros((1, math.prod(model.shape)))
            assert len(model.predict(rows)) == len(rows)
            continue
        refused += 1
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
        assert len(message) < len(str(path)) + 900
    assert refused > 80


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (schema.whole(1, 3), [1, 3], [0, 4, True, 1.0, "1", None, 10**5000]),
        (schema.number(0, 1), [0, 1, 0.5], [-0.1, 2, math.nan, math.inf, True, "0", 10**400]),
        (schema.number(), [-1e308, 5], [math.inf, math.nan, 10**400]),
        (schema.flag(), [True, False], [0, 1, None]),
        (schema.text(3), ["", "abc"], ["abcd", b"a", None]),
        (schema.label(), ["é", "a b"], ["", "\x1b", "\n", "\ud800", "\u202e", 5]),
        (schema.one_of("a", "b"), ["a"], ["c", ["a"], None]),
        (schema.none_or(schema.whole()), [None, 0], [False, "x"]),
        (
            schema.items(schema.whole(), least=1, most=2),
            [[1], [1, 2]],
            [[], [1, 2, 3], ["x"], 5, (1,)],
        ),
        (
            schema.table({"a": schema.whole()}, {"b": schema.items(schema.text())}),
            [{"a": 1}, {"a": 1, "b": ["x"]}],
            [{}, {"b": []}, {"a": 1, "c": 2}, {"a": "x"}, {"a": 1, "b": [1]}, [], None],
        ),
    ],
)
def test_checks(check: schema.Check, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        check("name", value)
        assert check.holds(value)
    for value in bad:
        assert not check.holds(value)
        with pytest.raises(DataError, match=r"^name[\w.]*: found .*, expected ") as raised:
            check("name", value)
        assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "code", ["\x1b[2J", "\x9b2J", "\x07", "\r", "\n", "\x08", "\u202e", "\udcff", "\x00"]
)
def test_messages_control_no_terminal(code: str) -> None:
    message = str(FastMLPError(f"a{code}b"))
    assert message.isprintable()
    assert message == printable(message) == f"a{printable(code)}b"
    message.encode()
