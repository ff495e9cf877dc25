"""Areas under the curves of a score that tells two kinds of rows apart.

T. Fawcett, An introduction to ROC analysis, 2006.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastmlp.training.answers import Floats


class Ranked:
    """Rows by their score, of which some are positive.

    Parameters
    ----------
    scores : float64 array [N]
    positive : bool array [N]
    """

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ranked = scores[self._order]
        self._positive = positive[self._order, None]
        self._begins = np.flatnonzero(np.r_[True, np.diff(ranked) != 0])  # of runs of equal scores

    def roc_auc(self, weights: Floats) -> Floats:
        """Return the area under the ROC curve for each of B weights [N, B]; NaN without one of both kinds."""
        yes, no = self._by_score(weights)
        below = np.cumsum(no, axis=0)
        won = np.einsum("nb,nb->b", yes, below) - np.einsum("nb,nb->b", yes, no) / 2
        pairs = yes.sum(axis=0) * below[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(won / pairs)

    def average_precision(self, weights: Floats) -> Floats:
        """Return the mean precision over positive rows for each of B weights [N, B]; NaN without such rows."""
        yes, no = self._by_score(weights)
        hits, taken = (np.cumsum(one[::-1], axis=0)[::-1] for one in (yes, yes + no))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.einsum("nb,nb->b", yes, hits / taken) / hits[0])

    def _by_score(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weights of positive and of other rows for each score, upwards."""
        ranks = weights[self._order]
        yes = np.where(self._positive, ranks, 0.0)
        no = ranks - yes
        if len(self._begins) < len(ranks):
            yes, no = (np.add.reduceat(one, self._begins, axis=0) for one in (yes, no))
        return yes, no
