"""``python -m fastmlp.estimator script.py [arguments]``: run a script with `patch_sklearn`."""

import runpy
import sys
from pathlib import Path

from fastmlp.estimator.patch import patch_sklearn

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m fastmlp.estimator script.py [arguments]")
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)  # as for ``python script.py``
    patch_sklearn()
    runpy.run_path(sys.argv[0], run_name="__main__")
