"""TrainConfig: one place that checks every hyper-parameter, and a text that loses none."""

import dataclasses
import math
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.errors import ConfigError
from fastmlp.training.config import TrainConfig, choices_of

NAMES = tuple(field.name for field in dataclasses.fields(TrainConfig))
COUNTS = st.integers(1, 2**31 - 1)
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
VALUES = {
    name: st.sampled_from(choices_of(name)) if choices_of(name) else st.booleans()
    for name in TrainConfig().as_dict()
} | {
    "hidden": st.lists(COUNTS, max_size=4).map(tuple)
    | st.sampled_from([(5, "tanh"), (5, "dropout 0.25", 4), (5, "relu", "dropout 0.5", 5)])
    | st.sampled_from([("conv 6 5", "batchnorm", "maxpool 2", 9), ("conv 2 3 stride 2 padding 1",)]),
    "initialization_std": POSITIVE,
    "learning_rate": POSITIVE,
    "momentum": st.floats(0, 1, exclude_max=True),
    "dropout": st.floats(0, 1, exclude_max=True),
    "betas": st.tuples(*[st.floats(0, 1, exclude_max=True)] * 2),
    "alpha": st.floats(0, 1, exclude_max=True),
    "epsilon": st.floats(0, allow_infinity=False),
    "learning_rate_factors": st.just(()),
    "weight_decay_factors": st.just(()),
    "label_smoothing": st.floats(0, 1, exclude_max=True),
    "weight_decay": st.floats(0, allow_infinity=False),
    "batch_size": COUNTS,
    "epochs": COUNTS,
    "step_epochs": COUNTS,
    "step_factor": st.floats(0, 1, exclude_min=True),
    "warmup_epochs": st.integers(0, 2**31 - 1),
    "shift": st.integers(0, 2**15),
    "cutout": st.integers(0, 2**15),
    "mixup": st.floats(0, allow_infinity=False),
    "patience": st.none() | COUNTS,
    "seed": st.integers(0, 2**63 - 1),
    "threads": st.none() | st.integers(1, 1024),
}  # fmt: skip


def is_consistent(values: dict[str, Any]) -> bool:
    widths = [item for item in values["hidden"] if isinstance(item, int)]
    return not (
        (values["nesterov"] and (values["optimizer"] != "sgd" or values["momentum"] == 0))
        or (values["residual"] and all(a != b for a, b in pairwise(widths)))
    )


CONFIGS = st.fixed_dictionaries(VALUES).filter(is_consistent).map(lambda v: TrainConfig(**v))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "config.toml"


@settings(deadline=None)
@given(config=CONFIGS)
def test_every_configuration_survives_its_file(file: Path, config: TrainConfig) -> None:
    file.write_text(config.to_toml())
    assert TrainConfig.from_toml(file) == config
    file.write_text(f'name = {{ a = 1 }}\n[data]\nname = "digits"\n[config]\n{config.to_toml()}')
    assert TrainConfig.from_toml(str(file)) == config
    assert TrainConfig(**config.as_dict()) == config


def test_text_is_one_line_a_field_in_order_and_leaves_none_out() -> None:
    lines = TrainConfig(hidden=(512, 32), learning_rate=1e-05).to_toml().splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        name for name in NAMES if name not in ("patience", "threads")
    ]
    assert {"hidden = [512, 32]", "learning_rate = 1e-05", 'activation = "relu"'} <= set(lines)
    assert "nesterov = false" in lines


def test_every_field_is_constrained() -> None:
    config = TrainConfig()
    assert tuple(config.as_dict()) == NAMES
    for name in NAMES:
        with pytest.raises(ConfigError, match=f"^{name}: found "):
            config.replace(**{name: object()})


def test_equal_settings_are_equal_objects_of_plain_types() -> None:
    plain = TrainConfig(hidden=(8, 4), learning_rate=1.0, batch_size=3, nesterov=True, patience=2)
    other = TrainConfig(
        hidden=np.array([8, 4]),  # type: ignore[arg-type]
        learning_rate=1,
        weight_decay=-0.0,
        batch_size=np.int8(3),  # type: ignore[arg-type]
        momentum=np.float64(0.9),
        nesterov=np.True_,  # type: ignore[arg-type]
        patience=np.uint64(2),  # type: ignore[arg-type]
        activation=np.str_("relu"),  # type: ignore[arg-type]
    )
    assert other == plain
    assert hash(other) == hash(plain)
    assert other.to_toml() == plain.to_toml()
    assert all(type(value) in (int, float, bool, str, tuple, type(None))
               for value in other.as_dict().values())  # fmt: skip
    assert [type(width) for width in other.hidden] == [int, int]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("hidden", 128, "128"),
        ("hidden", "128", "'128'"),
        ("hidden", (128, 0), r"\(128, 0\)"),
        ("hidden", (128.0,), r"\(128.0,\)"),
        ("hidden", np.ones((2, 2), int), r"array\(\[\[1, 1\], \[1, 1\]\]\)"),
        ("activation", "ReLU", "'ReLU'"),
        ("residual", 1, "1"),
        ("learning_rate", 0, "0"),
        ("learning_rate", True, "True"),
        ("learning_rate", "0.1", "'0.1'"),
        ("learning_rate", math.nan, "nan"),
        ("learning_rate", 10**400, "1000+"),
        ("momentum", 1, "1"),
        ("momentum", -0.1, "-0.1"),
        ("dropout", 1, "1"),
        ("weight_decay", math.inf, "inf"),
        ("batch_size", 64.0, "64.0"),
        ("batch_size", 2**31, "2147483648"),
        ("epochs", True, "True"),
        ("step_factor", 1.5, "1.5"),
        ("patience", 0, "0"),
        ("seed", -1, "-1"),
        ("seed", None, "None"),
        ("dtype", np.float32, "<class 'numpy.float32'>"),
        ("threads", 0, "0"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(name: str, value: Any, found: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: found {found}.*, expected .") as raised:
        TrainConfig(**{name: value})
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 250


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.complex_numbers() | st.binary(max_size=5) | st.decimals() | st.fractions()
    | st.sampled_from([np.float16(2), np.array(1), np.array([]), Fraction(2)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
)  # fmt: skip


@given(name=st.sampled_from(NAMES), value=JUNK)
def test_any_value_gives_a_plain_one_or_a_config_error(name: str, value: Any) -> None:
    try:
        config = TrainConfig(**{name: value})
    except ConfigError as error:
        message = str(error)
    else:
        assert TrainConfig(**config.as_dict()) == config
        return
    assert message.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nesterov": True, "momentum": 0.0}, "nesterov: .*'sgd' and momentum 0.0, .* above 0$"),
        ({"nesterov": True, "optimizer": "adam"}, "nesterov: .*'adam'"),
        ({"betas": (0.9,)}, r"betas: found \(0.9,\), expected two numbers"),
        ({"betas": (0.9, 1)}, r"betas: found \(0.9, 1\), expected two numbers from 0"),
        ({"learning_rate_factors": (1.0,)}, r"learning_rate_factors: found .*, expected one for"),
        ({"weight_decay_factors": (1, -1)}, r"weight_decay_factors: found \(1, -1\)"),
        ({"residual": True}, r"residual: found with hidden \(256,\), expected two"),
        ({"residual": True, "hidden": (8, 4, 8)}, r"residual: found with hidden \(8, 4, 8\)"),
    ],
)
def test_fields_that_contradict_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**changes)


def test_a_misspelt_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^learnin_rate: no such .*did you mean learning_rate\?"):
        TrainConfig().replace(learnin_rate=0.1)
    with pytest.raises(ConfigError, match=r"^lr: no such .*expected one of hidden, .*, threads$"):
        TrainConfig().replace(lr=0.1)
    with pytest.raises(ConfigError, match=r"^self: "):
        TrainConfig().replace(**{"self": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"batch_size = 64.5", "batch_size: found 64.5, expected an integer"),
        (b"[config]\nbatchsize = 64", "batchsize: no such parameter; did you mean batch_size"),
        (b"[confg]\nbatch_size = 64", "confg: no such parameter"),
        (b"epochs = 3\n[config]\nbatch_size = 64", r"epochs: found outside \[config\]"),
        (b"config = 3", r"config: found 3, expected a table, \[config\]"),
        (b"batch_size = ", r"found no valid TOML: Invalid value \(at"),
        (b"batch_size = 1\nbatch_size = 2", "found no valid TOML: Cannot overwrite"),
        (b"\xff\xfe", "found UTF-16, expected a configuration in UTF-8"),
        (b"seed = " + b"9" * 5000, "found no valid TOML: Exceeds the limit"),
        (b"seed = 0x" + b"f" * 5000, "seed: found a huge int, expected an integer"),
        (b"hidden = " + b"[" * 100_000, "found no valid TOML: .*recursion"),
        (b"#" * 2**18 + b"\n", "found over 262144 bytes, expected a configuration"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_a_wrong_file_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=rf"wrong\.toml: {message}") as raised:
        TrainConfig.from_toml(file)
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: cannot be read: No such file"):
        TrainConfig.from_toml(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        TrainConfig.from_toml(tmp_path)


def test_a_grid_beside_the_configuration_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "search.toml"
    file.write_text("[config]\nepochs = 2\n[[grid]]\nmomentum = [0, 0.9]\n[search]\nseeds = 3\n")
    assert TrainConfig.from_toml(file) == TrainConfig(epochs=2)


def test_layers_are_counted_at_once():
    assert len(TrainConfig(hidden=(4,) * 1000).hidden) == 1000
    begun = time.perf_counter()
    for hidden in ((4,) * 1001, (4, "tanh") * 50_000, ("maxpool 2",) * 5000):
        with pytest.raises(ConfigError, match=r"hidden: found more than 1,000 layers, expected "):
            TrainConfig(hidden=hidden)
    assert time.perf_counter() - begun < 5
