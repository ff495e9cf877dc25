"""Limits on threads, and gevent's patches: the right result or one clear line, and never a wait for ever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# In each combination a forked process gives up root, may have so many threads, and trains with a team that wants more.
# Everything is loaded and compiled before, because a library may need threads to be loaded.
TEAMS = """
import hashlib, os, resource, signal, sys, time
import numpy as np
from fastmlp import Dataset, TrainConfig, train
from fastmlp.errors import FastMLPError

rng = np.random.default_rng(0)
part = Dataset(rng.integers(0, 256, (64, 256), np.uint8), rng.integers(0, 4, 64), (1, 16, 16), tuple("abcd"), "drawn")
config = TrainConfig(hidden=(256, 256), epochs=2, batch_size=32)

def trained(threads):
    network = train(config.replace(threads=threads), part).network
    return hashlib.sha256(b"".join(one.tobytes() for one in network.state_dict().values())).hexdigest()

expected = trained(1)
user = 100_000 + os.getpid()
for limit in range(1, 6):
    for team in range(2, 9):
        start = time.monotonic()
        child = os.fork()
        if not child:
            code = 3
            try:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
                signal.alarm(5)
                code = int(trained(team) != expected)
            except FastMLPError as error:
                code = 0 if len(str(error).splitlines()) == 1 else 2
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code:
            seconds = time.monotonic() - start
            print(f"{limit} threads allowed, a team of {team}: ended with {code} after {seconds:.1f} s")
"""

GEVENT = """
from gevent import monkey
monkey.patch_all()
import numpy as np
from fastmlp import Dataset, TrainConfig, train
from fastmlp.errors import FastMLPError

rng = np.random.default_rng(0)
part = Dataset(rng.integers(0, 256, (64, 256), np.uint8), rng.integers(0, 4, 64), (1, 16, 16), tuple("abcd"), "drawn")
config = TrainConfig(hidden=(256, 256), epochs=2, batch_size=32, threads=1)
expected = list(train(config, part).network.state_dict().values())
try:
    found = list(train(config.replace(threads=2), part).network.state_dict().values())
except FastMLPError as error:
    assert len(str(error).splitlines()) == 1
else:
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
"""


def run(program: str, seconds: float) -> str:
    """Run a program, with its children as one group, and return what it prints."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"hangs: {process.communicate()[0]}")
    assert process.returncode == 0, output
    return output


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root, to be another user"
)
@pytest.mark.timeout(400)
def test_teams_that_may_not_start_all_their_threads() -> None:
    assert not run(TEAMS, 300)


def test_gevent() -> None:
    pytest.importorskip("gevent", exc_type=ImportError)
    assert not run(GEVENT, 90)
