"""The benchmark: that it measures what it says, and that its papers say what was measured."""

import copy
import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fastmlp.bench import folder, markdown, readme, roofline, suite, summary, timing
from fastmlp.bench.ceiling import _multiply_add
from fastmlp.bench.contender import CONTENDERS
from fastmlp.bench.kernels import GATHER, UPDATE, layer_kernels
from fastmlp.bench.measurements import Contest, Measurements
from fastmlp.bench.problem import NETWORKS, Problem, WeightsAndBiases, flops_per_sample
from fastmlp.bench.settings import QUICK, Settings
from fastmlp.bench.timing import contest, in_turns
from fastmlp.cli.bench import bench
from fastmlp.errors import ConfigError, FormatError
from fastmlp.kernels.pack import lanes_of
from fastmlp.kernels.simd import CHAINS
from fastmlp.training.engine import aligned

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "reports" / "benchmark" / folder.RESULTS


def made_contest(**changes: Any) -> Contest:
    """Return three rounds at batch 100: the second was slow for all, the third for the peer."""
    made: Any = {
        "network": "B",
        "sizes": [3072, 10],
        "batch": 100,
        "threads": 2,
        "check_steps": 20,
        "start_loss": 2.5,
        "ceiling": [2e11, 1e11, 2e11],
        "ceiling_busy": [2.0, 1.9, 2.0],
        "entries": [
            {
                "name": "fastmlp",
                "prepare_seconds": 0.25,
                "loss": 1.25,
                "steps": 30,
                "seconds": [1e-4, 4e-4, 1e-4],
                "busy": [1.0, 1.5, 2.0],
            },
            {
                "name": "Peer",
                "prepare_seconds": 4.0,
                "loss": 1.5,
                "steps": 10,
                "seconds": [3e-4, 12e-4, 8e-4],
                "busy": [0.5, 0.5, 0.5],
            },
        ],
    }
    return made | changes


@pytest.fixture
def results() -> Measurements:
    """Return what a small run could have found."""
    return {
        "date": "2001-02-03 04:05 UTC",
        "machine": {
            "cpu": "Some CPU",
            "cores": 4,
            "usable_cores": 2,
            "caches": {"L2": 2**20},
            "system": "Some system",
            "versions": {"fastmlp": "0.1"},
        },
        "settings": {"threads": 2, "rounds": 3, "seconds": 0.3, "samples": 20_000},
        "missing": {"Absent": "not installed"},
        "footprint": {
            "images": 50_000,
            "cold_seconds": 9.94,
            "warm_seconds": 0.666,
            "peak_bytes": 370_000_000,
            "compiling_peak_bytes": 480_000_000,
        },
        "bandwidth": [
            {"place": "L2", "threads": 1, "working_set": 2**19, "rates": [1e11, 3e11, 2e11]},
            {"place": "memory", "threads": 2, "working_set": 2**29, "rates": [5e10]},
        ],
        "comparisons": [
            {
                "base": "one model",
                "other": "two models",
                "network": "A",
                "batch": 100,
                "base_rates": [10.0, 5.0, 10.0],
                "other_rates": [19.0, 9.0, 18.0],
            }
        ],
        "contests": [made_contest()],
        "one_core": [made_contest(threads=1, entries=made_contest()["entries"][:1])],
        "kernels": [
            {
                "network": "B",
                "kernel": "forward",
                "inputs": 3072,
                "outputs": 10,
                "batch": batch,
                "flops": 6_144_000,
                "bytes": 1_000_000,
                "seconds": [6.144e-5, 6.144e-5, 12.288e-5],
                "ceiling": [2e11, 1e11, 2e11],
            }
            for batch in (100, 200)
        ],
    }


def row(text: str, name: str, number: int = 0) -> list[str]:
    """Return the cells beside `name` in the table rows that begin with it."""
    found = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", text, re.MULTILINE)
    return found[number].split(" | ")


# -- what is measured ------------------------------------------------------------------------------


def test_the_ceiling_does_all_of_its_arithmetic() -> None:
    lanes = lanes_of(np.dtype(np.float32))
    values = aligned(CHAINS * lanes, np.dtype(np.float32))
    values[:] = np.arange(values.size)
    before = values.reshape(CHAINS, lanes).copy()
    _multiply_add(5, values)
    expected = before + 5 * before[0] * before[1]
    np.testing.assert_array_equal(values.reshape(CHAINS, lanes), expected)


def test_the_arithmetic_of_a_sample_is_counted_by_hand() -> None:
    # Two layers of 12 and 8 weights: forward 20, gradients of weights 20, of the hidden layer 8.
    assert flops_per_sample((3, 4, 2)) == 2 * (20 + 20 + 8)


@pytest.mark.slow  # compiles every kernel once more, alone
def test_kernels_add_up_to_a_step() -> None:
    problem = Problem((40, 18, 5), batch_size=7, samples=21)
    found = list(layer_kernels(problem))
    assert sum(one.flops for one in found) == 7 * flops_per_sample(problem.sizes)
    for one in found:
        one.call(4)  # more than there are batches to gather
    assert {(one.name, one.inputs, one.outputs) for one in found} >= {
        (GATHER, 40, 0),
        (UPDATE, 18, 5),
    }


def test_fastmlp_trains_the_problem() -> None:
    """Against the formulas in float64: scale, batches, momentum and decay, over an epoch's end."""
    problem = Problem((12, 3), batch_size=8, samples=27, learning_rate=0.05, weight_decay=0.1)
    training = CONTENDERS[0].prepare(problem, threads=1)
    training.run(2)
    training.run(3)
    (weights,), (biases,) = ([one.astype(np.float64) for one in part] for part in problem.start)
    parameters = [weights, biases]
    velocities: list[Any] = [0.0, 0.0]
    batches = itertools.chain.from_iterable(problem.order(epoch) for epoch in range(2))
    for rows in itertools.islice(batches, 5):
        X = (problem.images[rows] - 127.5) / np.sqrt((256**2 - 1) / 12)
        scores = np.exp(X @ parameters[0] + parameters[1])
        delta = scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[problem.labels[rows]]
        gradients = X.T @ delta / 8, delta.mean(axis=0)
        for i in range(2):
            velocities[i] = 0.9 * velocities[i] + gradients[i] + 0.1 * parameters[i]
            parameters[i] = parameters[i] - 0.05 * velocities[i]
    found = training.parameters()
    np.testing.assert_allclose(found.weights[0], parameters[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.biases[0], parameters[1], rtol=1e-4, atol=1e-6)


def test_turns_begin_with_another_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []
    monkeypatch.setattr(time, "sleep", events.append)
    calls: dict[str, Callable[[], object]] = {
        name: lambda name=name: events.append(name) for name in "abc"
    }
    timings = in_turns(calls, rounds=4, pause=0.2)
    assert events[1::2] == list("abcbcacababc")
    assert set(events[0::2]) == {0.2}
    assert all(len(one.seconds) == len(one.busy) == 4 for one in timings.values())


class Fake:
    """A peer that does nothing, or fails."""

    decays_biases = True

    def __init__(self, name: str, error: Exception | None = None, *, here: bool = True) -> None:
        self.name, self._error, self._here = name, error, here

    def available(self) -> bool:
        return self._here

    def prepare(self, problem: Problem, threads: int) -> Any:
        if self._error:
            raise self._error
        self._problem = problem
        return self

    def run(self, steps: int) -> None:
        pass

    def parameters(self) -> WeightsAndBiases:
        return self._problem.start


def test_a_contest_goes_on_without_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE", 0.0)
    monkeypatch.setattr(timing, "repeats", lambda call, times, seconds: times)
    contenders = [Fake("broken", RuntimeError("no")), Fake("absent", here=False), Fake("idle")]
    problem = Problem((4, 2), batch_size=5, samples=10)
    found, missing = contest("A", problem, 1, contenders, rounds=2, seconds=0.01)
    assert list(missing) == ["broken", "absent"]
    assert missing["broken"] == "RuntimeError: no"
    (idle,) = found["entries"]
    assert (idle["name"], idle["steps"], len(idle["seconds"])) == ("idle", 400, 2)
    assert idle["loss"] == found["start_loss"] == problem.loss(problem.start)
    assert len(found["ceiling"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": ("A", "Z")}, "networks: found A,Z, expected some of A,B,C,D"),
        ({"networks": ()}, "networks: found none"),
        ({"batches": ()}, "batch: found none"),
        ({"batches": (0,)}, "batch: found 0"),
        ({"batches": (10, 20_001)}, "batch: found 20001, expected 1 to 20000"),
        ({"threads": 0}, "threads: found 0"),
        ({"rounds": -1}, "rounds: found -1"),
    ],
)
def test_settings_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings(**changes)


def test_settings_give_every_problem() -> None:
    found = [(name, problem.batch_size) for name, problem in Settings().problems()]
    assert found == [(name, batch) for name, (_, sizes) in NETWORKS.items() for batch in sizes]
    quick = list(Settings(**QUICK).problems())
    assert [(name, problem.batch_size) for name, problem in quick] == [(n, 100) for n in NETWORKS]


def test_peak_memory_is_that_of_the_process_alone() -> None:
    # Linux hands the peak of a parent on to its children, in what getrusage says.
    weight = np.ones(2**25)  # 256 MB
    script = (
        "import numpy as np; from fastmlp.bench.footprint import peak_bytes;"
        "np.ones(2**23); print(peak_bytes())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stderr == ""
    if found.stdout == "None\n":
        pytest.skip("this system does not tell")
    assert 8 * 2**23 < int(found.stdout) < weight.nbytes


# -- what is said of it ----------------------------------------------------------------------------


def test_numbers_are_taken_within_rounds(results: Measurements) -> None:
    (one,) = results["contests"]
    assert summary.rates(one, "Peer") == pytest.approx([1e2 / 3e-4, 1e2 / 12e-4, 1e2 / 8e-4])
    assert summary.ratios(one, "Peer") == pytest.approx([3, 3, 8])
    assert summary.ratios(one, "Absent") == []
    flops = 2 * 2 * 3072 * 10 * 100  # forward and weight gradient of a batch
    expected = [flops / 1e-4 / 2e11, flops / 4e-4 / 1e11, flops / 1e-4 / 2e11]
    assert summary.shares(one) == pytest.approx(expected)
    assert summary.ceiling_rate(one) == pytest.approx(2e11 / (flops / 100))
    assert summary.kernel_shares(results["kernels"][0]) == pytest.approx([0.5, 1, 0.25])
    assert summary.gains(results["comparisons"][0]) == pytest.approx([1.9, 1.8, 1.8])
    assert summary.spread([1, 2, 3, 4, 5]) == pytest.approx(1 / 3)
    assert summary.spread([7]) == 0


def test_the_report_says_what_was_measured(results: Measurements) -> None:
    text = markdown.render(results)
    assert row(text, "fastmlp") == ["**1,000,000**"]
    assert row(text, "Peer") == ["125,000"]
    assert row(text, markdown.CEILING) == ["1,627,604"]
    assert row(text, "Peer", 1) == ["3.00 ± 41.7%"]
    assert row(text, "steps") == ["20"]
    assert row(text, "before training") == ["2.50000"]
    assert [row(text, name, number) for name, number in (("fastmlp", 1), ("Peer", 2))] == [
        ["1.25000"],
        ["1.50000"],
    ]
    assert row(text, "forward") == ["3072-10", "100 (50.0%)", "100 (50.0%)"]
    assert "| A | 100 | two models | 18 ± 13.9% | 1.80 ± 1.4% |" in text
    assert "first step after 9.9 s" in text
    assert "370 MB of resident memory (480 MB if it also compiles)" in text
    assert "154 MB as uint8" in text
    assert "Absent did not take part: not installed." in text
    assert "Faster than fastmlp: none in this run." in text
    assert "not free" not in text


def test_defeats_and_disturbances_are_told(results: Measurements) -> None:
    results["contests"][0]["entries"][1]["seconds"] = [5e-5, 2e-4, 5e-5]
    results["contests"][0]["ceiling_busy"] = [1.0, 2.0, 1.2]
    text = markdown.render(results)
    assert "Faster than fastmlp: Peer at B, 100: 0.50x." in text
    assert "**The machine was not free.**" in text
    assert "B, 100: 1.20 cores" in text
    assert row(text, "fastmlp") == ["1,000,000"]
    assert row(text, "Peer") == ["**2,000,000**"]


def test_a_brief_run_has_a_report_too(results: Measurements, tmp_path: Path) -> None:
    brief = copy.deepcopy(results)
    brief |= {"footprint": None, "comparisons": [], "bandwidth": [], "missing": {}}
    for one in [*brief["contests"], *brief["one_core"]]:  # a single round
        one["ceiling"], one["ceiling_busy"] = one["ceiling"][:1], one["ceiling_busy"][:1]
        for entry in one["entries"]:
            entry["seconds"], entry["busy"] = entry["seconds"][:1], entry["busy"][:1]
    folder.write(brief, tmp_path)
    text = (tmp_path / folder.REPORT).read_text()
    assert "Starting" not in text
    assert row(text, "Peer", 1) == ["3.00 ± 0.0%"]


def test_files_of_a_run(results: Measurements, tmp_path: Path) -> None:
    folder.write(results, tmp_path)
    stored = tmp_path / folder.RESULTS
    assert folder.read(stored) == results
    assert len(stored.read_text().splitlines()) < 30  # a line a record
    assert markdown.render(results) in (tmp_path / folder.REPORT).read_text()
    with Image.open(tmp_path / folder.ROOFLINE) as picture:
        assert min(picture.size) > 500
    assert {path.name for path in tmp_path.iterdir()} == {
        folder.RESULTS,
        folder.MACHINE,
        folder.REPORT,
        folder.ROOFLINE,
    }


def test_marks_of_the_roofline(results: Measurements) -> None:
    kernel, _, step = roofline.marks(results)
    assert kernel == ("forward", pytest.approx(6.144), pytest.approx(1e11))
    flops = 2 * 2 * 3072 * 10 * 100
    assert step == (
        roofline.STEP,
        pytest.approx(flops / (16 * 3072 * 10 + 100 * 3072)),
        pytest.approx(flops / 1e-4),
    )


@pytest.mark.parametrize("content", ["{", "1", '{"date": "today"}'])
def test_foreign_results_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / folder.RESULTS
    path.write_text(content)
    with pytest.raises(FormatError, match=re.escape(str(path))):
        folder.read(path)


def test_the_readme_is_generated(results: Measurements) -> None:
    part = readme.part(results)
    assert row(part, "Peer") == ["125,000"]
    empty = f"# Title\n\n{readme.BEGIN}\n{readme.END}\n\nEnd.\n"
    once = readme.into(empty, part)
    assert once == f"# Title\n\n{readme.BEGIN}\n{part}\n{readme.END}\n\nEnd.\n"
    assert readme.into(once, part) == once
    for wrong in ("", readme.BEGIN, empty * 2, f"{readme.END}\n{readme.BEGIN}\n"):
        with pytest.raises(FormatError, match="README"):
            readme.into(wrong, part)


def test_the_readme_shows_the_stored_run() -> None:
    if not STORED.exists():
        pytest.skip("no full run is stored")
    text, stored = (ROOT / "README.md").read_text(), folder.read(STORED)
    expected = readme.into(text, readme.part(stored))
    assert text == expected, "run: python benchmarks/update_readme.py"
    assert (STORED.parent / folder.REPORT).read_text().startswith(markdown.render(stored))


def test_the_command_prints_and_writes(
    results: Measurements, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []

    def run(settings: Settings, tell: Callable[[str], object]) -> Measurements:
        asked.append(settings)
        tell("working")
        return results

    monkeypatch.setattr(suite, "run", run)
    out = tmp_path / "new" / "folder"
    done = CliRunner().invoke(
        bench, ["--quick", "--networks", "B,C", "--rounds", "2", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == markdown.render(results)
    assert "working" in done.stderr
    assert (out / folder.RESULTS).exists()
    expected = Settings(**{**QUICK, "networks": ("B", "C"), "rounds": 2})
    assert asked == [expected]


def test_wrong_options_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(bench, ["--networks", "Z", "--out", str(out)])
    assert isinstance(done.exception, ConfigError)
    assert not out.exists()
