"""The papers of the benchmark say what was measured, and the command writes them."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from fastmlp.bench import folder, markdown, readme, roofline, suite, summary
from fastmlp.bench.measurements import Contest, Measurements
from fastmlp.bench.peers import CHANNELS_LAST, NCHW
from fastmlp.bench.settings import KERNELS, QUICK, Settings
from fastmlp.cli.bench import bench
from fastmlp.errors import ConfigError, FormatError
from fastmlp.kernels.tiles import TILE

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


def with_images(results: Measurements) -> Measurements:
    """Return the same run with network E: one layout was the faster at batch 16, the other at 64."""
    shape, hidden = [1, 28, 28], ["conv 6 5", "maxpool 2", "conv 16 5", "maxpool 2", 120, 84]
    changed = copy.deepcopy(results)
    for batch, first, second in ((16, 1e-3, 2e-3), (64, 4e-3, 2e-3)):
        ours, other = copy.deepcopy(made_contest()["entries"])
        ours["seconds"] = [2e-4] * 3
        both = [
            other | {"name": name, "seconds": [seconds] * 3}
            for name, seconds in ((NCHW, first), (CHANNELS_LAST, second))
        ]
        made = {"network": "E", "sizes": [shape, *hidden, 10], "batch": batch}
        changed["contests"].append(made_contest(**made, entries=[ours, *both]))
        changed["one_core"].append(made_contest(**made, threads=1, entries=[ours]))
    first = {"network": "E", "batch": 16, "inputs": shape, "outputs": [6, 12, 12]}
    changed["kernels"].append(copy.deepcopy(changed["kernels"][0]) | first)  # type: ignore[arg-type]
    return changed


def row(text: str, name: str, number: int = 0) -> list[str]:
    """Return the cells beside `name` in the table rows that begin with it."""
    found = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", text, re.MULTILINE)
    return found[number].split(" | ")


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


def test_networks_of_images_have_tables_of_their_own(results: Measurements) -> None:
    text = markdown.render(with_images(results))
    assert "E is 1x28x28, conv 6 5, maxpool 2, conv 16 5, maxpool 2, 120, 84, 10." in text
    assert "Adam trains E, with rate 0.001" in text
    assert "Adam" not in markdown.render(results)
    assert "|  | E, 16 | E, 64 |" in text
    assert row(text, "fastmlp", 1) == ["**80,000**", "**320,000**"]
    assert row(text, NCHW) == ["16,000", "16,000"]
    assert row(text, CHANNELS_LAST, 1) == ["10.00 ± 0.0%", "10.00 ± 0.0%"]
    assert row(text, "Peer") == ["125,000"]  # no cells for networks that it does not train
    assert row(text, markdown.CEILING, 1) == ["131,836", "131,836"]
    assert re.search(r"\| E, 16 \|.*\n.*\n\| fastmlp .*\n\| PyTorch NCHW ", text)
    assert row(text, "forward", 1) == ["1x28x28-6x12x12", "100 (50.0%)"]


def test_the_roofline_counts_what_adam_moves(results: Measurements) -> None:
    step = list(roofline.marks(with_images(results)))[-1]
    weights = 6 * 25 + 16 * 150 + 256 * 120 + 120 * 84 + 84 * 10
    moved = 6 * 4 * weights + 64 * 784
    assert step == (
        roofline.STEP,
        pytest.approx(1_517_040 * 64 / moved),
        pytest.approx(1_517_040 * 64 / 2e-4),
    )


def test_the_readme_shows_the_better_layout(results: Measurements) -> None:
    part = readme.part(with_images(results))
    assert row(part, "PyTorch, the better layout") == ["16,000", "32,000"]
    assert NCHW not in part
    assert "(E: Adam, rate 0.001, without decay)" in part
    assert "Adam" not in readme.part(results)


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

    def run(settings: Settings, tell: Callable[[str, float], object]) -> Measurements:
        asked.append(settings)
        tell("working", 0.0)
        tell("nearly done", 0.75)
        return results

    monkeypatch.setattr(suite, "run", run)
    out = tmp_path / "new" / "folder"
    done = CliRunner().invoke(
        bench, ["--quick", "--networks", "B,C", "--rounds", "2", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert done.stdout == markdown.render(results)
    first, second = done.stderr.splitlines()[:2]
    assert first.endswith(" s  working")
    assert re.fullmatch(r" *\d+ s, \d+ s left  nearly done", second)
    assert (out / folder.RESULTS).exists()
    expected = Settings(**{**QUICK, "networks": ("B", "C"), "rounds": 2})
    assert asked == [expected]


def test_wrong_options_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(bench, ["--networks", "Z", "--out", str(out)])
    assert isinstance(done.exception, ConfigError)
    assert not out.exists()


def test_kernels_alone_are_measured_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--only", "kernels", "--networks", "D", "--batch", "10", "--rounds", "1"]
    done = CliRunner().invoke(bench, arguments, catch_exceptions=False)
    assert "one core" not in done.stderr
    titles = [line for line in done.stdout.splitlines() if line.startswith("#")]
    assert titles == ["# Benchmark", "## Kernels on one core", "### Network D"]
    assert "| forward | 64-32 |" in done.stdout
    assert "| multiply-adds in registers | 1 |" in done.stdout


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_code_of_a_kernel_is_printed(kernel: str) -> None:
    done = CliRunner().invoke(bench, ["--asm", kernel], catch_exceptions=False)
    assert re.search(r"^define ", done.stdout, re.MULTILINE)  # LLVM's
    assert re.search(r"^\t\.globl", done.stdout, re.MULTILINE)  # the processor's
    if TILE.name in ("avx512", "avx2"):
        assert "vfmadd" in done.stdout
