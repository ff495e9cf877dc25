"""The same bits from threads, processes and a cluster, and workers that die or never answer."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from joblib import delayed
from joblib._parallel_backends import LokyBackend
from search_helpers import CONFIG, GRID, Counted, rows, table

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, FastMLPError
from fastmlp.search import cluster as dask_cluster
from fastmlp.search import workers as own_workers
from fastmlp.search.grid import grid_search
from fastmlp.search.ranking import SearchResult
from fastmlp.search.state import BEST
from fastmlp.training import side_by_side

Parts = tuple[Dataset, Dataset, Dataset]
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows kills with the latter


@pytest.fixture(scope="module")
def reference(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, bytes]:
    """Return the table and the best model of one job after the other in this thread."""
    folder = tmp_path_factory.mktemp("reference")
    result = grid_search(CONFIG, GRID, *parts, store=folder, jobs=1, seeds=2)
    return table(result), (folder / BEST).read_bytes()


@pytest.mark.parametrize(
    "workers", [{}, {"jobs": 2}, {"jobs": 3}, {"backend": "loky", "jobs": 2}, {"dask": None}]
)
def test_the_same_bits_wherever_trials_run(parts, tmp_path, reference, workers, request):
    if "dask" in workers:
        workers = {"dask": request.getfixturevalue("cluster")}
    result = grid_search(CONFIG, GRID, *parts, store=tmp_path, seeds=2, **workers)
    assert table(result) == reference[0]
    assert (tmp_path / BEST).read_bytes() == reference[1]


UNGUARDED = """
import multiprocessing
multiprocessing.set_start_method("spawn")  # that of macOS and Windows
print("begun", flush=True)
from fastmlp import TrainConfig, grid_search, load_digits
train, valid = load_digits().train.take(range(200)).split((0.5, 0.5), seed=0)
config = TrainConfig(hidden=(4,), epochs=1, threads=1)
found = grid_search(config, {"momentum": [0.0, 0.9]}, train, valid, store="out", jobs=2, backend="loky")
print(found.trained, "trials")
"""


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_script_without_a_main_guard_begins_once(tmp_path, way):
    """New processes import no script: none starts others, and a notebook has none to import."""
    (tmp_path / "script.py").write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, "script.py" if way == "file" else "-"],
        input="" if way == "file" else UNGUARDED,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["begun", "2 trials"], done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_with_more_threads_a_trial(parts, tmp_path, reference, threads):
    config = CONFIG.replace(threads=threads)
    result = grid_search(config, GRID, *parts, store=tmp_path, seeds=2)
    assert table(result) == reference[0]


def test_large_images_are_shared_with_processes_and_train_to_the_same_bits(parts, tmp_path):
    """Above 1 MB joblib maps arrays from a file instead of copying them."""
    training, valid, _ = (part.resize(32) for part in parts)
    assert training.images.nbytes > 2**20
    grid = {"momentum": [0.0, 0.9]}
    one = grid_search(CONFIG, grid, training, valid, store=tmp_path / "1", jobs=1)
    two = grid_search(CONFIG, grid, training, valid, store=tmp_path / "2", backend="loky", jobs=2)
    assert table(one) == table(two)


def test_images_reach_each_worker_of_a_cluster_once_and_not_with_every_trial(
    parts, tmp_path, cluster
):
    training, valid, _ = parts
    arrivals = tmp_path / "arrivals"
    counted = Counted(
        training.images, training.labels, training.shape, training.classes, str(arrivals)
    )
    grid_search(CONFIG, GRID, counted, valid, store=tmp_path, seeds=4, dask=cluster)
    processes = arrivals.read_text().splitlines()
    assert len(set(processes)) <= 3  # two workers and the scheduler
    # A worker whose trials Dask all moves elsewhere before the images are there asks for them anew: rare.
    assert len(processes) <= 5


def test_one_job_is_one_trial_at_a_time_in_processes_too(parts, monkeypatch):
    def handed_out(function):
        times.append(time.monotonic())
        return delayed(function)

    times = []
    monkeypatch.setattr(own_workers, "delayed", handed_out)
    tasks = dict.fromkeys(range(3), CONFIG.replace(epochs=50))
    first, *_ = [outcome for _, outcome in own_workers.in_processes(tasks, parts[:2], 1)]
    assert times[1] - times[0] >= first.seconds


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system has no signals")
def test_a_second_ctrl_c_lets_the_first_end_the_processes(parts, tmp_path, monkeypatch):
    def impatient(self, *rest, **named):
        signal.raise_signal(signal.SIGINT)
        ended.append(self)
        return abort(self, *rest, **named)

    def wait_for(self, outcomes):
        if first.ident is None:
            first.start()
        return usual(self, outcomes)

    ended, usual = [], own_workers._Interrupt.wait_for
    abort = LokyBackend.abort_everything
    monkeypatch.setattr(LokyBackend, "abort_everything", impatient)
    main = threading.main_thread().ident
    first = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    monkeypatch.setattr(own_workers._Interrupt, "wait_for", wait_for)
    config = CONFIG.replace(epochs=100_000)
    with pytest.raises(KeyboardInterrupt):
        grid_search(config, GRID, *parts[:2], store=tmp_path, jobs=2, backend="loky")
    assert ended


def test_a_process_killed_once_costs_its_trial_one_more_try(parts, tmp_path, reference):
    from joblib.externals.loky import reusable_executor

    def kill_one(progress):
        if progress.done == 3:
            os.kill(next(iter(reusable_executor._executor._processes)), KILL)

    result = grid_search(
        CONFIG, GRID, *parts, store=tmp_path, seeds=2, jobs=2, backend="loky", on_trial=kill_one
    )
    assert table(result) == reference[0]


DEADLY = """
import contextlib, os, signal, sys, time
from fastmlp import TrainConfig
from fastmlp.search import calls, cluster
from fastmlp.search import workers as own_workers
from fastmlp.datasets import load_digits
from fastmlp.search.grid import grid_search

folder, backend = sys.argv[1:]
module, name = (cluster, "announced") if backend == "dask" else (own_workers, "run_numbered")

def deadly(*arguments):
    # Pickled by value, as it is defined here: it replaces what the worker would do.
    def run_trial(config, parts, on_epoch=None):
        time.sleep(0.05)
        if config.learning_rate == 0.123:
            with open(folder + "/deaths", "a") as file:
                file.write("x")
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return usual(config, parts, on_epoch)
    usual, calls.run_trial = calls.run_trial, run_trial
    try:
        return getattr(module, name)(*arguments)
    finally:
        calls.run_trial = usual

@contextlib.contextmanager
def workers():
    if backend == "loky":
        yield {"backend": "loky", "jobs": 2}
        return
    from distributed import LocalCluster
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as own:
        yield {"dask": own.scheduler_address}

if __name__ == "__main__":
    setattr(module, name, deadly)
    digits = load_digits()
    train, valid = digits.train.split([0.9, 0.1], 0)
    grid = {"learning_rate": [0.3, 0.1, 0.123, 0.03, 0.01]}
    with workers() as options:
        result = grid_search(TrainConfig(hidden=(16,)), grid, train, valid, store=folder, **options)
    last = result.points[-1]
    assert last.parameters == {"learning_rate": 0.123}, last
    assert [point.trials[0].status for point in result.points] == ["done"] * 4 + ["failed"]
    print(last.trials[0].reason)
"""


@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "dask"])
def test_a_trial_fails_at_the_fourth_death_of_its_worker_and_the_others_go_on(tmp_path, backend):
    if backend == "dask":
        pytest.importorskip("distributed")
    program = tmp_path / "deadly.py"
    program.write_text(DEADLY)
    done = subprocess.run(
        [sys.executable, program, str(tmp_path), backend], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("its worker died 4 times (")
    assert (tmp_path / "deaths").read_text() == "xxxx"


@pytest.mark.skipif(os.name != "posix", reason="looks into POSIX's way to start a process")
def test_processes_that_cannot_start_are_said_in_one_line(parts, tmp_path, monkeypatch, reference):
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.backend import fork_exec

    def start() -> SearchResult:
        return grid_search(CONFIG, GRID, *parts, store=tmp_path, seeds=2, backend="loky", jobs=2)

    def full(*_: Any, **__: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    get_reusable_executor().shutdown()
    with monkeypatch.context() as patch:
        patch.setattr(fork_exec, "fork_exec", full)
        with pytest.raises(ConfigError, match=r"no processes can be started .*unavailable") as told:
            start()
    assert "\n" not in str(told.value)
    assert table(start()) == reference[0]


def refused(parts: Parts, folder: Path, address: str) -> str:
    """Return the one line that an address is refused with, within 10 seconds."""
    begun = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        grid_search(CONFIG, GRID, *parts, store=folder, dask=address)
    assert time.perf_counter() - begun < 10
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_address_where_nobody_answers_is_refused_in_time(parts, tmp_path):
    pytest.importorskip("distributed")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
    message = refused(parts, tmp_path, address)
    assert message.startswith(f"dask: found no scheduler at {address!r}")


@pytest.mark.parametrize("kind", ["nonsense", "silent", "worker"])
def test_what_is_no_scheduler_is_refused(parts, tmp_path, monkeypatch, kind, request):
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if kind == "silent":
            address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        elif kind == "worker":
            address = worker_address(request.getfixturevalue("cluster"))
        else:
            address = "no address"
        assert "dask: found no scheduler at" in refused(parts, tmp_path, address)


def worker_address(cluster: str) -> str:
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        return next(iter(client.scheduler_info()["workers"]))


def test_a_scheduler_without_workers_is_refused(parts, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "ANSWER_SECONDS", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as empty:
        assert "found no worker at" in refused(parts, tmp_path, empty.scheduler_address)


def test_workers_with_another_version_are_refused(parts, tmp_path, monkeypatch, cluster):
    monkeypatch.setattr(dask_cluster, "__version__", "99")
    assert "has fastmlp" in refused(parts, tmp_path, cluster)


def test_dask_that_is_not_installed_is_named(parts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert 'install "fastmlp[dask]"' in refused(parts, tmp_path, "tcp://127.0.0.1:1")


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_search_with_one_line(parts, tmp_path):
    pytest.importorskip("distributed")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    commands = (
        ["dask_scheduler", "--port", address.rpartition(":")[2], "--no-dashboard"],
        ["dask_worker", address, "--nthreads", "1", "--no-dashboard"],
    )
    programs = [
        subprocess.Popen([sys.executable, "-m", f"distributed.cli.{name}", *rest], stderr=-3)
        for name, *rest in commands
    ]

    def kill_scheduler(progress):
        if progress.done == 2:
            programs[0].kill()

    def search(**workers: Any) -> SearchResult:
        return grid_search(CONFIG.replace(epochs=200), GRID, *parts, store=tmp_path, **workers)

    try:
        wait_for_workers(address)
        with pytest.raises(FastMLPError, match=r"^dask: lost the cluster at .*finished trials are"):
            search(dask=address, on_trial=kill_scheduler)
        kept = rows(tmp_path)
        assert len(kept) >= 2
        assert search().skipped == len(kept)
    finally:
        for program in programs:
            program.kill()
            program.wait()


def wait_for_workers(address: str) -> None:
    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=30)


@pytest.mark.parametrize(
    ("count", "jobs", "threads", "expected"),
    [
        (9, None, None, (4, 1)),  # one a core
        (3, None, None, (3, 1)),  # fewer trials than cores
        (1, None, None, (1, 4)),  # all cores for the only one
        (9, 2, None, (2, 2)),
        (9, None, 2, (2, 2)),  # each asks for two
        (9, 9, 3, (9, 3)),  # as told
    ],
)
def test_jobs_and_threads_share_the_cores(parts, monkeypatch, count, jobs, threads, expected):
    def in_threads(tasks, parts, jobs, stop):
        used.append((jobs, {config.threads for config in tasks.values()}))
        yield from ()

    used: list[Any] = []
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 4)
    monkeypatch.setattr(own_workers, "in_threads", in_threads)
    config = CONFIG.replace(hidden=(512,), batch_size=200, threads=threads)  # worth sharing
    tasks = dict(enumerate([config] * count))
    assert list(own_workers.Workers(jobs).run(tasks, parts[:2])) == []
    assert used == [(expected[0], {expected[1]})]
