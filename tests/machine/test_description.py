"""The description of the machine."""

import json
import subprocess
import sys
from importlib.metadata import version

import fastmlp
from fastmlp.machine.cores import usable_cores
from fastmlp.machine.description import describe


def test_describe_is_json_and_names_what_is_here() -> None:
    found = json.loads(json.dumps(describe()))
    assert set(found) == {"cpu", "cores", "usable_cores", "caches", "system", "versions"}
    assert found["cpu"]
    assert 1 <= found["usable_cores"] == usable_cores() <= found["cores"]
    assert found["versions"]["fastmlp"] == fastmlp.__version__
    assert found["versions"]["numpy"] == version("numpy")


def test_describe_imports_none_of_the_packages() -> None:
    script = (
        "import sys; from fastmlp.machine.description import describe; describe();"
        "print({'numba', 'llvmlite', 'torch', 'jax', 'sklearn'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("set()\n", "")
