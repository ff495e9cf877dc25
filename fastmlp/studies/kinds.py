"""The kinds of training that a part of a study can ask for: a table, a line each.

All start from the weights that `fastmlp.train` starts from and see its batches, in its training loop.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import NamedTuple

from fastmlp.errors import ConfigError
from fastmlp.search.trial import Outcome, Parts, run_trial
from fastmlp.studies.puzzles import Afterwards, Penalised, Reversed, Unshuffled
from fastmlp.studies.twins import AutogradTwin, TorchTwin
from fastmlp.training.config import TrainConfig
from fastmlp.training.draws import draw_parameters
from fastmlp.training.loop import Loop
from fastmlp.training.network import Network


class Kind(NamedTuple):
    """A kind of training.

    Attributes
    ----------
    loop : type of Loop
    cannot : tuple of str
        Fields of TrainConfig, beside those that no kind can do, which must be as usual.
    keeps : tuple of str
        What a training starts with of the one before it in its part: "weights", "biases".
    needs : str or None
        A package that must be installed.
    """

    loop: type[Loop]
    cannot: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    needs: str | None = None


ALTERATIONS = ("flip", "shift", "cutout", "mixup")
OF_TWINS = (*ALTERATIONS, "decay_biases", "dtype", "hidden")

KINDS: Mapping[str, Kind] = {
    "penalised": Kind(Penalised),
    "chain": Kind(Penalised, keeps=("weights", "biases")),
    "weights kept": Kind(Penalised, keeps=("weights",)),
    "reversed": Kind(Reversed, ALTERATIONS),
    "unshuffled": Kind(Unshuffled),
    "afterwards": Kind(Afterwards),
    "torch": Kind(TorchTwin, (*OF_TWINS, "residual"), needs="torch"),
    "autograd": Kind(AutogradTwin, OF_TWINS),
}
NO_KIND_CAN = (
    *("optimizer", "nesterov", "patience", "restore_best", "reduction", "dropout"),
    "class_weight",
)


def train_as(
    name: str, config: TrainConfig, parts: Parts, before: Sequence[TrainConfig] = ()
) -> Outcome:
    """Train one network in the way that a part of a study asks for.

    Parameters
    ----------
    name : str
        "" for `fastmlp.train`, or one of `KINDS`.
    config : TrainConfig
    parts : (Dataset, Dataset)
        To train and to validate.
    before : sequence of TrainConfig
        The settings before this one in its part, where the kind keeps what they trained.

    Raises
    ------
    ConfigError
        If there is no such kind, or it cannot do what the configuration asks for.
    """
    if not name:
        return run_trial(config, parts)
    refuse(name, config)
    if KINDS[name].keeps:
        return _link(name, (*before, config), parts)
    return _trained(name, config, parts)


def refuse(name: str, config: TrainConfig) -> None:
    """Raise the ConfigError of `train_as`, if it has one for this kind of `KINDS` and configuration."""
    if name not in KINDS:
        raise ConfigError(f"study.parts.kind: found {name!r}, expected one of {', '.join(KINDS)}")
    unusual = {
        "optimizer": config.optimizer != "sgd",
        "nesterov": config.nesterov,
        "patience": config.patience is not None,
        "restore_best": config.restore_best,
        "reduction": config.reduction != "mean",
        "dropout": config.dropout > 0,
        "class_weight": config.class_weight != "none",
        "flip": config.flip,
        "shift": config.shift > 0,
        "cutout": config.cutout > 0,
        "mixup": config.mixup > 0,
        "decay_biases": not config.decay_biases,
        "dtype": config.dtype == "bfloat16",
        "residual": config.residual,
        "hidden": not all(isinstance(item, int) for item in config.hidden),
    }
    for field in (*NO_KIND_CAN, *KINDS[name].cannot):
        if unusual[field]:
            raise ConfigError(
                f"{field}: found {getattr(config, field)!r}, which {name!r} cannot do"
            )


def is_available(name: str) -> bool:
    """Return whether what a kind needs is installed; "" needs nothing."""
    needs = KINDS[name].needs if name else None
    return needs is None or find_spec(needs) is not None


def goes_on(name: str) -> bool:
    """Return whether a kind starts from what the settings before it trained; "" does not."""
    return bool(name and KINDS[name].keeps)


@functools.lru_cache(maxsize=8)
def _link(name: str, configs: tuple[TrainConfig, ...], parts: Parts) -> Outcome:
    """Train the last of some settings, each of which starts where the one before it ended."""
    *before, config = configs
    start = _link(name, tuple(before), parts).network if before else None
    if start is not None and "biases" not in KINDS[name].keeps:
        start = replace(start, biases=draw_parameters(config, parts[0])[1])
    return _trained(name, config, parts, start)


def _trained(name: str, config: TrainConfig, parts: Parts, start: Network | None = None) -> Outcome:
    began = time.perf_counter()
    result = KINDS[name].loop(config, *parts, start).run()
    seconds, epochs = time.perf_counter() - began, len(result.history)
    if result.status == "interrupted":
        raise KeyboardInterrupt
    if result.status == "diverged":
        return Outcome(result.status, result.reason, result.history, 0, None, seconds)
    return Outcome(result.status, result.reason, result.history, epochs, result.network, seconds)
