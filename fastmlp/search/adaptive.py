"""adaptive_search(): Optuna suggests the next trial; training, store and ranks are those of grid_search.

Needs the extra ``optuna``: ``pip install "fastmlp[optuna]"``.

Examples
--------
>>> from tempfile import mkdtemp
>>> import optuna
>>> from fastmlp import TrainConfig, load_digits
>>> from fastmlp.search.adaptive import adaptive_search
>>> optuna.logging.set_verbosity(optuna.logging.WARNING)
>>> def suggest(trial):
...     return {
...         "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1.0, log=True),
...         "momentum": trial.suggest_float("momentum", 0.0, 0.95),
...         "hidden": (trial.suggest_int("width", 8, 64, log=True),),
...     }
>>> digits = load_digits()
>>> train, valid = digits.train.split([0.9, 0.1], seed=0)
>>> config = TrainConfig(epochs=8)
>>> result = adaptive_search(config, suggest, train, valid, store=mkdtemp(), trials=15)
>>> result.best.mean("valid_accuracy") > 0.9
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.datasets import Dataset, check_parts
from fastmlp.errors import ConfigError, check_count, shown
from fastmlp.search.experiment import Point
from fastmlp.search.ranking import SearchResult
from fastmlp.search.record import Key, Trial, checksum_of, score_in
from fastmlp.search.state import BEST, Progress, Search
from fastmlp.search.store import TrialStore
from fastmlp.search.trial import Outcome, run_trial
from fastmlp.search.workers import Workers
from fastmlp.training.config import TrainConfig

if TYPE_CHECKING:
    import optuna

Suggest = Callable[["optuna.Trial"], Mapping[str, Any]]
"""Takes an Optuna trial and returns the fields of TrainConfig to change."""


def adaptive_search(
    config: TrainConfig,
    suggest: Suggest,
    train: Dataset,
    valid: Dataset,
    test: Dataset | None = None,
    *,
    store: str | Path,
    trials: int,
    study: optuna.Study | None = None,
    on_trial: Callable[[Progress], object] | None = None,
) -> SearchResult:
    """Train what an Optuna study suggests, one trial after the other, each with all cores.

    The study gets the validation accuracy after every epoch. If its pruner gives a trial up, the
    trial ends there with the status "pruned". The same call again repeats the study without training
    what is in the store, and then goes on.

    Parameters
    ----------
    config : TrainConfig
        The fields that `suggest` does not return.
    suggest : callable
        Takes an ``optuna.Trial`` and returns the fields of TrainConfig to change.
    train, valid, test : Dataset
        As for `fastmlp.grid_search`.
    store : path
        A folder, which may be shared with grid searches of the same data.
    trials : int
        The number of suggestions to take.
    study : optuna.Study, optional
        With ``direction="maximize"``. By default a new study with the TPE sampler, seeded with
        ``config.seed``, and the median pruner.
    on_trial : callable, optional
        As for `fastmlp.grid_search`.

    Returns
    -------
    SearchResult
        Points are in the order of their first suggestion; points with a pruned trial rank last.

    Raises
    ------
    ConfigError
        If Optuna is missing, `trials` is no number of them, `study` maximises nothing or several numbers, or a
        suggestion cannot be trained.
    DataError, StoreError, KeyboardInterrupt
        As for `fastmlp.grid_search`.
    """
    check_count("trials", trials)
    check_parts(train, valid, test)
    study = _checked_study(study, config.seed)
    with TrialStore(store, checksum_of((train, valid))) as kept:
        search = Search(1, "valid_accuracy", (train, valid), kept, on_trial)
        study.optimize(_Objective(search, config, suggest), n_trials=trials)
        return search.settle(Workers(), test, Path(store) / BEST)


def _checked_study(study: Any, seed: int) -> optuna.Study:
    """Return the study, or a new one; raise a ConfigError unless it maximises one number."""
    try:
        import optuna
    except ImportError:
        raise ConfigError('optuna: not installed; install "fastmlp[optuna]"') from None
    if study is None:
        study = _new_study(seed)
    found = type(study).__name__
    if isinstance(study, optuna.Study):
        found = ", ".join(one.name.lower() for one in study.directions)
    if found != "maximize":
        raise ConfigError(
            f"study: found {found}, expected maximize, for the validation accuracy: "
            'optuna.create_study(direction="maximize")'
        )
    return study


def _new_study(seed: int) -> optuna.Study:
    import optuna

    return optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed % 2**32),
        pruner=optuna.pruners.MedianPruner(),
    )


class _Objective:
    """What the study maximises: the validation accuracy of a suggestion, which is stored or trained."""

    def __init__(self, search: Search, config: TrainConfig, suggest: Suggest) -> None:
        self.search, self.config, self.suggest = search, config, suggest
        self.numbers: dict[Key, int] = {}

    def __call__(self, suggested: optuna.Trial) -> float:
        from optuna import TrialPruned

        found = self.suggest(suggested)
        if not isinstance(found, Mapping):
            raise ConfigError(f"suggest: found {shown(found)}, expected a dict of settings")
        changes = dict(found)
        config = self.config.replace(**changes)
        key = Key.of(config)
        if key not in self.numbers:
            parameters = {name: getattr(config, name) for name in changes}
            self.numbers[key] = self.search.include(Point(parameters, config))
        number = self.numbers[key]
        epochs = _Epochs(suggested, config.epochs)
        trial = self.search.trials.get(number) or self.search.stored.get(key)
        if trial is None or not epochs.repeat(trial):
            self.search.finish(number, self._train(config, epochs))
        elif number not in self.search.trials:
            self.search.take(number, trial)
        trial = self.search.trials[number]
        if not trial.sound or trial.valid_accuracy is None:
            raise TrialPruned(trial.reason)
        return trial.valid_accuracy

    def _train(self, config: TrainConfig, epochs: _Epochs) -> Outcome:
        outcome = run_trial(config, self.search.parts, epochs.show)
        if outcome.status != "interrupted":
            return outcome
        reason = f"given up by the study at epoch {len(outcome.history)}"
        return outcome._replace(status="pruned", reason=reason)


class _Epochs:
    """The epochs of a trial that a study has seen, each once, and whether it gave the trial up."""

    def __init__(self, suggested: optuna.Trial, last: int) -> None:
        self.suggested, self.last = suggested, last
        self.shown = 0
        self.pruned = False

    def show(self, row: Mapping[str, Any]) -> bool:
        """Show the study an epoch that it has not seen, and return whether it gave the trial up."""
        if row["epoch"] > self.shown:
            self.shown = row["epoch"]
            self.suggested.report(score_in(row, "valid_"), self.shown)
            # After the last epoch there is nothing left to save.
            self.pruned = self.shown < self.last and bool(self.suggested.should_prune())
        return self.pruned

    def repeat(self, trial: Trial) -> bool:
        """Show the study a stored trial, and return whether it went as far as this study wants."""
        # The study was not shown the epoch that diverged when the trial was trained.
        for row in trial.history[: -1 if trial.status == "diverged" else None]:
            self.show(row)
        return trial.status != "pruned" or self.pruned
