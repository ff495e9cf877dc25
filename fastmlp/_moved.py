"""Names of version 0.1 keep working for one release: an import hook, and names that left a module.

To move a module once more, change its line of `MODULES`. To move a name out of a module, add it to
`NAMES`. This file goes in 0.3.
"""

import importlib
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, cast

# Where the modules of version 0.1 are now; all names begin with ``fastmlp.``.
MODULES = {
    "adaptive": "search.adaptive",
    "cluster": "search.cluster",
    "config": "training.config",
    "engine": "training.engine",
    "experiment": "search.experiment",
    "files": "machine.files",
    "interrupts": "machine.interrupts",
    "many": "training.side_by_side",
    "network": "training.network",
    "optimizers": "training.optimizers",
    "report": "reporting.figures",
    "results": "search.ranking",
    "schedule": "training.schedule",
    "search_report": "search.report",
    "stopping": "training.stopping",
    "store": "search.store",
    "studies.document": "reporting.document",
    "threads": "machine.cores",
    "trainer": "training.trainer",
    "trials": "search.workers",
}

# By module of version 0.1: names that are not in the module of the table above, or whose module is a
# package now, and where they are.
NAMES = {
    "machine": {
        "PACKAGES": "machine.description",
        "describe": "machine.description",
        "last_level_cache": "machine.description",
    },
    "search": {
        "BEST": "search.state",
        "Progress": "search.state",
        "Search": "search.state",
        "check_parts": "datasets",
        "checksum_of": "search.record",
        "from_bytes": "search.record",
        "grid_search": "search.grid",
        "to_bytes": "search.record",
        "trial_of": "search.trial",
    },
    "engine": {
        "Samples": "kernels.arguments",
        "aligned": "training.memory",
        "count_weights": "training.layers",
        "forward": "training.network",
        "normalized": "training.samples",
        "read_as_they_are": "training.samples",
        "team_size": "training.team",
    },
    "config": {"read_toml": "machine.toml"},
    "network": {"initialize": "training.parameters"},
    "report": {name: "reporting.style" for name in ("COLOURS", "DASHES", "new_figure")},
    "store": {
        "Key": "search.record",
        "NOT_IN_A_KEY": "search.record",
        "Trial": "search.record",
        "finite": "search.record",
    },
    "trainer": {
        "Row": "training.history",
        "Status": "training.loop",
        "TrainResult": "training.loop",
        "draw_epoch": "training.draws",
        "evaluate": "training.evaluation",
        "samples_of": "training.samples",
        "score": "training.evaluation",
    },
    "trials": {
        "MOST_DEATHS": "search.calls",
        "Outcome": "search.trial",
        "Parts": "search.trial",
        "line_of": "errors",
        "run_trial": "search.trial",
    },
}


class MovedModules:
    """Finder and loader that import the new module under the old name, with a DeprecationWarning.

    Not an `importlib.abc.Loader`: that import alone would take twice as long as fastmlp's own.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module that moved; None for every other name."""
        package, _, name = fullname.partition(".")
        if package != "fastmlp" or name not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, cast(Any, self))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Let the import make an empty module; `exec_module` replaces it."""

    def exec_module(self, module: ModuleType) -> None:
        """Let the old name mean the new module; where names have left it, stand before it."""
        name = module.__name__
        new = MODULES[name.removeprefix("fastmlp.")]
        _warn(name, f"fastmlp.{new}")
        if name.removeprefix("fastmlp.") in NAMES:
            module.__dict__["__getattr__"] = moved_names(name)
        else:
            sys.modules[name] = importlib.import_module(f"fastmlp.{new}")


def moved_names(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module of version 0.1 whose names are elsewhere.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    """
    old = module.removeprefix("fastmlp.")
    homes = NAMES[old]

    def get(name: str) -> Any:
        if name in homes:
            home = f"fastmlp.{homes[name]}"
            _warn(f"{module}.{name}", f"{home}.{name}")
            return getattr(importlib.import_module(home), name)
        if old in MODULES:
            return getattr(importlib.import_module(f"fastmlp.{MODULES[old]}"), name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return get


def _warn(old: str, new: str) -> None:
    message = f"{old} is now {new}; the old name goes in fastmlp 0.3"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
