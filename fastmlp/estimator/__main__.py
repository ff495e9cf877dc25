"""``python -m fastmlp.estimator script.py [arguments]``: run a script, or ``-m module``, with `patch_sklearn`."""

import runpy
import sys
from pathlib import Path

from fastmlp.estimator.patch import patch_sklearn

USAGE = "usage: python -m fastmlp.estimator (script.py | -m module) [arguments]"


def main() -> None:
    """Run what the command line names, as Python itself would."""
    del sys.argv[0]
    as_module = sys.argv[:1] == ["-m"]
    if as_module:
        del sys.argv[0]
    if not sys.argv:
        _stop(USAGE)
    name = sys.argv[0]
    if not as_module and not Path(name).exists():
        _stop(f"{name}: found nothing, expected a script; {USAGE}")
    patch_sklearn()
    if not as_module:
        sys.path[0] = str(Path(name).resolve().parent)  # as for ``python script.py``
        runpy.run_path(name, run_name="__main__")
        return
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        if error.name is not None and not f"{name}.".startswith(f"{error.name}."):
            raise  # one that the module itself wants
        _stop(f"{name}: {error}; {USAGE}")


def _stop(message: str) -> None:
    print(f"fastmlp: error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
