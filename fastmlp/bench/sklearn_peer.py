"""scikit-learn as a peer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np

from fastmlp.bench.peer import Training
from fastmlp.bench.problem import Problem, WeightsAndBiases


class SklearnPeer:
    """scikit-learn's ``MLPClassifier(solver="sgd")``, one ``partial_fit`` an epoch.

    It divides ``alpha`` by the batch size, so ``alpha`` is ``weight_decay * batch_size``. Batches come
    from its own shuffle of the rows that a full epoch uses; fewer steps than an epoch train on the
    first rows.
    """

    name = "scikit-learn MLPClassifier"
    decays_biases = False

    def available(self) -> bool:
        """Return whether scikit-learn is installed."""
        return find_spec("sklearn") is not None

    def prepare(self, problem: Problem, threads: int) -> Training:
        """Initialise the classifier; BLAS is held to ``threads`` threads during each run."""
        return _SklearnTraining(problem, threads)


class _SklearnTraining:
    def __init__(self, problem: Problem, threads: int) -> None:
        from sklearn.neural_network import MLPClassifier
        from threadpoolctl import ThreadpoolController

        self._problem, self._threads = problem, threads
        self._model = MLPClassifier(
            hidden_layer_sizes=problem.hidden,
            solver="sgd",
            alpha=problem.weight_decay * problem.batch_size,
            batch_size=problem.batch_size,
            learning_rate_init=problem.learning_rate,
            momentum=problem.momentum,
            nesterovs_momentum=False,
            n_iter_no_change=np.inf,
            # With an int, every epoch would be shuffled alike.
            random_state=np.random.RandomState(problem.seed),
        )
        # For two classes scikit-learn would train one logistic output. One-hot labels keep both
        # columns, and softmax replaces the sigmoids that they bring.
        self._y = np.eye(problem.classes, dtype=np.int64)[problem.labels]
        self._pools = ThreadpoolController()
        # The first call initialises, and trains a step that is undone here.
        with self._settings():
            rows = slice(problem.batch_size)
            classes = np.arange(problem.classes)
            self._model.partial_fit(problem.inputs[rows], self._y[rows], classes=classes)
        self._model.out_activation_ = "softmax"
        for name, values in zip(("coefs_", "intercepts_"), problem.start, strict=True):
            setattr(self._model, name, [value.copy() for value in values])
        del self._model._optimizer  # the next call makes another, with no velocity

    @contextmanager
    def _settings(self) -> Iterator[None]:
        from sklearn import config_context

        # Without assume_finite every epoch would begin with a pass over all the data.
        with (
            self._pools.limit(limits=self._threads, user_api="blas"),
            config_context(assume_finite=True),
        ):
            yield

    def run(self, steps: int) -> None:
        with self._settings():
            while steps > 0:
                trained = min(steps, self._problem.steps_per_epoch)
                rows = slice(trained * self._problem.batch_size)
                self._model.partial_fit(self._problem.inputs[rows], self._y[rows])
                steps -= trained

    def parameters(self) -> WeightsAndBiases:
        return WeightsAndBiases(
            [weights.copy() for weights in self._model.coefs_],
            [biases.copy() for biases in self._model.intercepts_],
        )
