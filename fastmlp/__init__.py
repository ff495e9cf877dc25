"""fastmlp trains Linear-ReLU multilayer perceptrons on a CPU, fast and reproducibly."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmlp.datasets import Dataset as Dataset
    from fastmlp.datasets import Normalization as Normalization
    from fastmlp.datasets import load_cifar10 as load_cifar10
    from fastmlp.datasets import load_digits as load_digits
    from fastmlp.datasets import load_fashion_mnist as load_fashion_mnist
    from fastmlp.datasets import load_mnist as load_mnist
    from fastmlp.errors import ConfigError as ConfigError
    from fastmlp.errors import DataError as DataError
    from fastmlp.errors import FastMLPError as FastMLPError
    from fastmlp.errors import FormatError as FormatError
    from fastmlp.errors import StoreError as StoreError
    from fastmlp.estimator import MLPClassifier as MLPClassifier
    from fastmlp.estimator import MLPRegressor as MLPRegressor
    from fastmlp.estimator import patch_sklearn as patch_sklearn
    from fastmlp.estimator import unpatch_sklearn as unpatch_sklearn
    from fastmlp.search.grid import grid_search as grid_search
    from fastmlp.search.ranking import SearchResult as SearchResult
    from fastmlp.training.config import TrainConfig as TrainConfig
    from fastmlp.training.evaluation import evaluate as evaluate
    from fastmlp.training.loop import TrainResult as TrainResult
    from fastmlp.training.network import Network as Network
    from fastmlp.training.network import load as load
    from fastmlp.training.rate_finder import FoundRate as FoundRate
    from fastmlp.training.rate_finder import find_learning_rate as find_learning_rate
    from fastmlp.training.side_by_side import train_many as train_many
    from fastmlp.training.trainer import train as train
    from fastmlp.training.warm_up import warm_up as warm_up

from fastmlp._moved import MovedModules
from fastmlp._version import __version__

sys.meta_path.append(MovedModules())  # last: it is asked for names that nothing else finds

# The module of each public name. It is imported when one of its names is first used, so that
# `import fastmlp` compiles nothing and takes no time.
_HOMES = {
    "TrainConfig": "training.config",
    "MLPClassifier": "estimator",
    "MLPRegressor": "estimator",
    "patch_sklearn": "estimator",
    "unpatch_sklearn": "estimator",
    "Dataset": "datasets",
    "Normalization": "datasets",
    "load_cifar10": "datasets",
    "load_digits": "datasets",
    "load_fashion_mnist": "datasets",
    "load_mnist": "datasets",
    "ConfigError": "errors",
    "DataError": "errors",
    "FastMLPError": "errors",
    "FormatError": "errors",
    "StoreError": "errors",
    "train_many": "training.side_by_side",
    "Network": "training.network",
    "load": "training.network",
    "SearchResult": "search.ranking",
    "grid_search": "search.grid",
    "TrainResult": "training.loop",
    "evaluate": "training.evaluation",
    "FoundRate": "training.rate_finder",
    "find_learning_rate": "training.rate_finder",
    "train": "training.trainer",
    "warm_up": "training.warm_up",
}
# Modules with public names of their own, which need no import either.
_MODULES = ("autograd", "datasets", "errors", "estimator")
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fastmlp.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fastmlp.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
