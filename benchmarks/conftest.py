"""What all benchmarks share. Run them on an idle machine: ``python -m pytest benchmarks``."""

import time

import pytest

from fastmlp.bench.ceiling import flops_per_second, spend_flops
from fastmlp.bench.timing import PAUSE
from fastmlp.machine import description as machine

RATES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no rates."""
    config.stash[RATES] = []


def pytest_report_header() -> str:
    """Say what is measured on."""
    found = machine.describe()
    return f"{found['cpu']}, {found['usable_cores']} usable cores"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print rates; pytest-benchmark's own table has only seconds."""
    if config.stash[RATES]:
        terminalreporter.section("rates, by the median round")
        for line in config.stash[RATES]:
            terminalreporter.write_line(line)


@pytest.fixture
def rates(request: pytest.FixtureRequest) -> list[str]:
    """Return the list of lines to print at the end."""
    return request.config.stash[RATES]


@pytest.fixture
def ceiling() -> float:
    """Return the floating-point operations a second of one core at present: the best of three."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        spend_flops(1)
        seconds.append(time.perf_counter() - start)
    return flops_per_second(1, min(seconds))


@pytest.fixture(autouse=True)
def pause() -> None:
    """Let the threads of the benchmark before fall asleep."""
    time.sleep(PAUSE)
