"""adaptive_search(): Optuna suggests the next trial; training, store and ranks are grid_search's.

Needs the extra ``optuna``: ``pip install "fastmlp[optuna]"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, check_count
from fastmlp.search.experiment import Point
from fastmlp.search.grid import BEST, Search, check_parts, checksum_of
from fastmlp.search.ranking import SearchResult
from fastmlp.search.store import Key, Trial, TrialStore
from fastmlp.search.trials import Outcome, Workers, run_trial
from fastmlp.training.config import TrainConfig

if TYPE_CHECKING:
    import optuna

Suggest = Callable[["optuna.Trial"], Mapping[str, Any]]
"""Takes an Optuna trial and returns fields of TrainConfig."""


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
) -> SearchResult:
    """Train what an Optuna study suggests, one trial after the other, each with all cores.

    Validation accuracy goes to the study after every epoch, and a trial that its pruner gives up
    ends there, with the status "pruned". Trials are stored and found again as `grid_search` does:
    the same call again repeats the study without training what is in the store, and goes on.

    Parameters
    ----------
    config : TrainConfig
        What `suggest` does not return.
    suggest : callable
        Given an ``optuna.Trial``, returns the fields of TrainConfig to change.
    train, valid, test
        As for `grid_search`.
    store : path
        A folder, which a grid search of the same data may share.
    trials : int
        How many suggestions to take.
    study : optuna.Study, optional
        With ``direction="maximize"``. By default a new one with the TPE sampler, seeded with
        ``config.seed``, and the median pruner.

    Returns
    -------
    SearchResult
        Points are in the order of their first suggestion; those of pruned trials rank after those
        that came to their end.

    Raises
    ------
    ConfigError
        If Optuna is missing, `trials` is no number of them, or a suggestion cannot be trained.
    DataError, StoreError, KeyboardInterrupt
        As `grid_search`.

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
    try:
        import optuna
    except ImportError:
        raise ConfigError('optuna: not installed; install "fastmlp[optuna]"') from None
    check_count("trials", trials)
    check_parts(train, valid, test)
    if study is None:
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=config.seed % 2**32),
            pruner=optuna.pruners.MedianPruner(),
        )
    with TrialStore(store, checksum_of((train, valid))) as kept:
        search = Search(1, "valid_accuracy", (train, valid), kept)
        study.optimize(_Objective(search, config, suggest), n_trials=trials)
        return search.settle(Workers(), test, Path(store) / BEST)


class _Objective:
    """What the study maximises: the validation accuracy of one suggestion, stored or trained."""

    def __init__(self, search: Search, config: TrainConfig, suggest: Suggest) -> None:
        self.search, self.config, self.suggest = search, config, suggest
        self.numbers: dict[Key, int] = {}

    def __call__(self, suggested: optuna.Trial) -> float:
        from optuna import TrialPruned

        changes = dict(self.suggest(suggested))
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
        outcome = run_trial(config, self.search.parts, epochs.report)
        if outcome.status != "interrupted":
            return outcome
        reason = f"given up by the study at epoch {len(outcome.history)}"
        return outcome._replace(status="pruned", reason=reason)


class _Epochs:
    """Tells a study of a trial's epochs, once each, and whether it gave the trial up."""

    def __init__(self, suggested: optuna.Trial, last: int) -> None:
        self.suggested, self.last = suggested, last
        self.reported = 0
        self.pruned = False

    def report(self, row: Mapping[str, Any]) -> bool:
        if row["epoch"] > self.reported:
            self.reported = row["epoch"]
            self.suggested.report(row["valid_accuracy"], self.reported)
            # After its last epoch there is nothing left to save.
            self.pruned = self.reported < self.last and bool(self.suggested.should_prune())
        return self.pruned

    def repeat(self, trial: Trial) -> bool:
        """Report a stored trial's epochs; tell whether it went as far as this study wants it to."""
        # An epoch that diverged was not reported when it was trained.
        for row in trial.history[: -1 if trial.status == "diverged" else None]:
            self.report(row)
        return trial.status != "pruned" or self.pruned
