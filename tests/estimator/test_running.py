"""``python -m fastmlp.estimator``: scripts and modules, and the processes that they start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

SCRIPT = """
import multiprocessing
import sys

from sklearn.neural_network import MLPClassifier

def where(_):
    import sklearn.neural_network
    return sklearn.neural_network.MLPClassifier.__module__

if __name__ == "__main__":
    print(MLPClassifier.__module__, *sys.argv[1:])
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(method, *pool.map(where, [0]))
"""
OURS = "fastmlp.estimator.classifier"


def started(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fastmlp.estimator", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(fastmlp.__file__).parents[1])},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no forkserver")
@pytest.mark.parametrize("arguments", [["script.py"], ["-m", "script"]])
def test_scripts_modules_and_their_children_are_patched(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = started(tmp_path, *arguments, "--fast", "-m")
    assert done.stdout.splitlines() == [
        f"{OURS} --fast -m",
        f"spawn {OURS}",
        f"forkserver {OURS}",
    ], done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [([], "usage: "), (["-m"], "usage: "), (["none.py"], "none.py: found nothing, expected a script"),
     (["-m", "nothing_of_that_name"], "No module named")],
)  # fmt: skip
def test_what_is_not_there_is_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = started(tmp_path, *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_import_that_the_script_lacks_is_its_own_error(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import nothing_of_that_name\n")
    done = started(tmp_path, "-m", "script")
    assert (
        done.stderr.splitlines()[-1]
        == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    )
