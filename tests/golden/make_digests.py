"""Store the digests that ``tests/training/test_digests.py`` compares with: ``python tests/golden/make_digests.py``."""

import json
import runpy
import tempfile
import warnings
from pathlib import Path

HERE = Path(__file__).parent

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {}
    for name, compute in runpy.run_path(str(HERE.parent / "training" / "test_digests.py"))[
        "CASES"
    ].items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = compute(Path(folder))
    (HERE / "digests.json").write_text(json.dumps(found, indent=1) + "\n")
