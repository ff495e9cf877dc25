"""Names of version 0.1: they still work, and say where they went."""

import importlib
import pickle
import subprocess
import sys

import pytest

import fastmlp
from fastmlp._moved import MODULES, NAMES
from fastmlp.training.config import TrainConfig

OLD_MODULES = (
    *("adaptive", "cluster", "config", "engine", "experiment", "files", "interrupts", "many"),
    *("network", "optimizers", "report", "results", "schedule", "search_report", "stopping"),
    *("store", "studies.document", "threads", "trainer", "trials"),
)
OLD_NAMES = (
    *("config.TrainConfig", "config.read_toml", "network.Network", "network.load"),
    *("network.initialize", "trainer.train", "trainer.evaluate", "trainer.TrainResult"),
    *("many.train_many", "engine.Engine", "optimizers.sgd", "schedule.learning_rate"),
    *("stopping.Patience", "results.SearchResult", "results.RankedPoint", "store.TrialStore"),
    *("store.Trial", "adaptive.adaptive_search", "adaptive.Suggest", "cluster.on_cluster"),
    *("experiment.Experiment", "experiment.DataTable", "experiment.expand"),
    *("experiment.load_parts", "experiment.Point", "report.draw_curves"),
    *("report.draw_confusion", "report.new_figure", "search_report.write_report"),
    *("files.write_atomic", "files.read_tensors", "files.write_tensors", "threads.usable_cores"),
    *("interrupts.held_interrupt", "studies.document.Table", "studies.document.to_html"),
    *("machine.describe", "machine.last_level_cache", "search.grid_search", "search.Progress"),
    *("search.Search", "trials.Workers", "trials.run_trial"),
)


@pytest.fixture
def _forgotten() -> None:
    """Let old names be imported as if for the first time."""
    for name in MODULES:
        sys.modules.pop(f"fastmlp.{name}", None)


@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize("name", OLD_MODULES)
def test_a_moved_module_is_the_new_one_and_says_so(name: str) -> None:
    new = f"fastmlp.{MODULES[name]}"
    with pytest.warns(DeprecationWarning, match="fastmlp") as caught:
        module = importlib.import_module(f"fastmlp.{name}")
    if name not in NAMES:
        assert module is importlib.import_module(new)
        assert (module.__name__, module.__spec__.name) == (new, new)
    (warning,) = caught
    message = f"fastmlp.{name} is now {new}; the old name goes in fastmlp 0.3"
    assert str(warning.message) == message
    importlib.import_module(f"fastmlp.{name}")  # once is enough: a second warning would be an error


@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize("name", OLD_NAMES)
def test_a_moved_name_is_still_found(name: str) -> None:
    module, _, one = name.rpartition(".")
    space: dict[str, object] = {}
    with pytest.warns(DeprecationWarning, match=f"fastmlp.{module}.* is now fastmlp"):
        exec(f"from fastmlp.{module} import {one}", space)
    assert space[one] is not None


def test_names_of_modules_that_became_packages() -> None:
    for package, homes in NAMES.items():
        if package in MODULES:
            continue
        module = importlib.import_module(f"fastmlp.{package}")
        for name, home in homes.items():
            message = f"fastmlp.{package}.{name} is now fastmlp.{home}.{name}; "
            with pytest.warns(DeprecationWarning, match=message):
                found = getattr(module, name)
            assert found is getattr(importlib.import_module(f"fastmlp.{home}"), name)
        with pytest.raises(
            AttributeError, match=f"'fastmlp.{package}' has no attribute 'nonsense'"
        ):
            _ = module.nonsense


@pytest.mark.usefixtures("_forgotten")
def test_names_that_left_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "network", {"TrainConfig": "training.config"})
    with pytest.warns(
        DeprecationWarning, match=r"fastmlp\.network is now fastmlp\.training\.network;"
    ):
        module = importlib.import_module("fastmlp.network")
    message = r"fastmlp\.network\.TrainConfig is now fastmlp\.training\.config\.TrainConfig;"
    with pytest.warns(DeprecationWarning, match=message):
        assert module.TrainConfig is TrainConfig
    assert module.Network is fastmlp.Network
    with pytest.raises(AttributeError, match=r"'fastmlp\.training\.network' has no attribute"):
        _ = module.nonsense
    sys.modules.pop("fastmlp.network")


@pytest.mark.usefixtures("_forgotten")
def test_the_warning_points_at_the_import() -> None:
    with pytest.warns(DeprecationWarning, match="trainer") as caught:
        import fastmlp.trainer
    with pytest.warns(DeprecationWarning, match="describe") as more:
        from fastmlp.machine import describe
    assert {warning.filename for warning in [*caught, *more]} == {__file__}
    assert fastmlp.trainer.train is fastmlp.train
    assert describe()


@pytest.mark.usefixtures("_forgotten")
def test_old_pickles_load() -> None:
    config = TrainConfig(seed=3)
    new, old = b"fastmlp.training.config\n", b"fastmlp.config\n"
    assert new in (text := pickle.dumps(config, protocol=0))
    with pytest.warns(DeprecationWarning, match="fastmlp.config is now"):
        assert pickle.loads(text.replace(new, old)) == config


@pytest.mark.parametrize("name", ["fastmlp.nonsense", "config", "sklearn.network"])
def test_other_names_are_not_touched(name: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(name)


def test_importing_the_package_imports_nothing_old_and_warns_nobody() -> None:
    script = (
        "import sys, fastmlp; from fastmlp._moved import MODULES;"
        "print([one for one in MODULES if f'fastmlp.{one}' in sys.modules])"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_old_names_go_as_announced() -> None:
    assert tuple(map(int, fastmlp.__version__.split(".")[:2])) < (0, 3)
