"""A search as a study of Optuna: for its evaluators, and for optuna-dashboard. Needs the extra ``optuna``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.errors import ConfigError, StoreError
from fastmlp.reporting.tables import shown

if TYPE_CHECKING:
    import optuna

WIDE = 10  # from this ratio of its ends on, a range is searched by its logarithm


def distributions_of(axes: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return Optuna's distribution of each setting: a range of numbers, or a choice of texts."""
    return {name: _distribution(values) for name, values in axes.items()}


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    kinds = {type(value) for value in values}
    if kinds == {int} or kinds == {float} or kinds == {int, float}:
        low, high = min(values), max(values)
        log = low > 0 and high / low >= WIDE
        kind = IntDistribution if kinds == {int} else FloatDistribution
        return kind(low, high, log=log)
    return CategoricalDistribution([_plain(value) for value in dict.fromkeys(values)])


def _plain(value: Any) -> Any:
    """Return a value that Optuna's storages hold."""
    return shown(value) if isinstance(value, tuple) else value


def add_trials(
    study: optuna.Study,
    points: Sequence[Any],
    distributions: Mapping[str, Any],
    scores: Sequence[float],
) -> None:
    """Add a finished trial for each point, with its score."""
    from optuna.trial import create_trial

    for point, score in zip(points, scores, strict=True):
        parameters = {name: _plain(getattr(point.config, name)) for name in distributions}
        study.add_trial(
            create_trial(params=parameters, distributions=dict(distributions), value=score)
        )


def export(
    points: Sequence[Any],
    axes: Mapping[str, Sequence[Any]],
    metric: str,
    path: str | Path,
    name: str,
) -> int:
    """Write trials to a new Optuna storage, which optuna-dashboard opens: ``optuna-dashboard sqlite:///FILE``.

    Parameters
    ----------
    points : sequence of RankedPoint
    axes : mapping of str to sequence
        The settings that differ, each with its values.
    metric : str
        What the study maximises, or minimises if it is a loss.
    path : path
        An SQLite file that is not there yet.
    name : str
        Of the study.

    Returns
    -------
    int
        The number of trials.

    Raises
    ------
    ConfigError
        If Optuna is not installed.
    StoreError
        If there is such a file, or it cannot be written.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError('optuna: not installed; install "fastmlp[optuna]"') from None
    if Path(path).exists():
        raise StoreError(f"{path}: found a file, expected a new name for the Optuna storage")
    distributions = distributions_of(axes)
    trials = [
        _frozen(point, trial, metric, distributions) for point in points for trial in point.trials
    ]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{Path(path).absolute()}")
        try:
            direction = "minimize" if metric.endswith("loss") else "maximize"
            study = optuna.create_study(storage=storage, study_name=name, direction=direction)
            study.add_trials(trials)
        finally:
            close(storage)
    except optuna.exceptions.StorageInternalError as error:
        raise StoreError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error
    finally:
        optuna.logging.set_verbosity(verbosity)
    return len(trials)


def close(storage: Any) -> None:
    """Close the file of an Optuna storage, which Windows locks while it is open."""
    storage.remove_session()
    storage.engine.dispose()


def _frozen(point: Any, trial: Any, metric: str, distributions: Mapping[str, Any]) -> Any:
    from optuna.trial import TrialState, create_trial

    value = getattr(trial, metric) if trial.sound else None
    curve = {row["epoch"]: row.get(metric) for row in trial.history}
    state = TrialState.COMPLETE if value is not None else TrialState.FAIL
    if trial.status == "pruned":
        state = TrialState.PRUNED
    told = {"seed": trial.seed, "status": trial.status, "reason": trial.reason, "seconds": trial.seconds,
            "test_accuracy": trial.test_accuracy}  # fmt: skip
    return create_trial(
        state=state,
        params={name: _plain(getattr(point.config, name)) for name in distributions},
        distributions=dict(distributions),
        value=value,
        intermediate_values={epoch: one for epoch, one in curve.items() if one is not None},
        user_attrs=told,
    )


def suggester(grids: Sequence[Mapping[str, Sequence[Any]]]) -> Callable[[Any], dict[str, Any]]:
    """Return what suggests points between the values of a grid, for `fastmlp.search.adaptive.adaptive_search`.

    Numbers are drawn between the least and the greatest value, by their logarithm where they span a decade; whole
    numbers stay whole. Of other values one is chosen. Of several grids one is chosen first.
    """

    def suggest(trial: Any) -> dict[str, Any]:
        number = trial.suggest_categorical("grid", list(range(len(grids)))) if len(grids) > 1 else 0
        prefix = f"{number}." if len(grids) > 1 else ""
        return {
            name: _suggested(trial, prefix + name, values) for name, values in grids[number].items()
        }

    return suggest


def _suggested(trial: Any, name: str, values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if len(values) == 1:
        return values[0]
    values = [tuple(value) if isinstance(value, list) else value for value in values]
    found = _distribution(values)
    if isinstance(found, CategoricalDistribution):
        return values[trial.suggest_categorical(name, list(range(len(values))))]
    if isinstance(found, IntDistribution):
        return trial.suggest_int(name, found.low, found.high, log=found.log)
    return trial.suggest_float(name, found.low, found.high, log=found.log)
