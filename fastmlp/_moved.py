"""Old module names keep working for one release: an import hook, and names that left a module.

To move a module once more, change its line of `MODULES`. The tables and this file go in 0.3.
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
    "many": "training.many",
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
    "trials": "search.trials",
}

# Modules that are packages now: the names they held, and the modules that hold them.
NAMES = {
    "machine": {
        "PACKAGES": "machine.description",
        "describe": "machine.description",
        "last_level_cache": "machine.description",
    },
    "search": {
        "BEST": "search.grid",
        "Progress": "search.grid",
        "Search": "search.grid",
        "check_parts": "search.grid",
        "checksum_of": "search.grid",
        "from_bytes": "search.grid",
        "grid_search": "search.grid",
        "to_bytes": "search.grid",
        "trial_of": "search.grid",
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
        """Import the new module, and let the old name mean it."""
        old = module.__name__
        new = f"fastmlp.{MODULES[old.removeprefix('fastmlp.')]}"
        _warn(old, new)
        sys.modules[old] = importlib.import_module(new)


def moved_names(package: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that was a module.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    """
    homes = NAMES[package.removeprefix("fastmlp.")]

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = f"fastmlp.{homes[name]}"
        _warn(f"{package}.{name}", f"{home}.{name}")
        return getattr(importlib.import_module(home), name)

    return get


def _warn(old: str, new: str) -> None:
    message = f"{old} is now {new}; the old name goes in fastmlp 0.3"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
