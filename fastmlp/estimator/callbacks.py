"""scikit-learn's callbacks (SLEP023), where the installed version has them."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in for scikit-learn's. Estimators have no `set_callbacks` then."""


class Tasks:
    """The tasks of one fit that callbacks are told of: the fit, and below it each epoch.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    X, y, sample_weight
        As given to `fit`.
    epochs : int
        How many there will be at most; 0 where scikit-learn trains.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int) -> None:
        self._estimator = estimator
        self._known = {
            "estimator": estimator,
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        self._root: Any = None
        self._epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self._root = estimator._init_callback_context(max_subtasks=epochs)
            self._root.call_on_fit_task_begin(**self._known)
        # Whether there are callbacks: each epoch's weights are copied out for them.
        self.watched = bool(self._root and getattr(estimator, "_skl_callbacks", None))

    def begin_epoch(self) -> None:
        """Tell the callbacks that an epoch begins."""
        if self.watched:
            self._epoch = self._root.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._known)

    def end_epoch(self) -> bool:
        """Tell the callbacks that an epoch has ended; return whether one asks to stop."""
        return self.watched and bool(self._told(self._epoch))

    def end(self) -> None:
        """Tell the callbacks that the fit has ended."""
        if self._root is not None:
            self._told(self._root)

    def _told(self, context: Any) -> Any:
        return context.call_on_fit_task_end(**self._known, reconstruction_attributes={})
