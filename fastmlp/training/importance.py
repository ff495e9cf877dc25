"""Permutation importance: how much worse a network answers when a column of its table is shuffled.

L. Breiman, Random Forests, 2001, section 10; as ``sklearn.inspection.permutation_importance``.
"""

from __future__ import annotations

import numpy as np

from fastmlp.datasets import Dataset
from fastmlp.datasets.dataset import permutation
from fastmlp.training.evaluation import score
from fastmlp.training.network import Network, forward

REPEATS = 5
MOST_ROWS = 2_000  # that are shuffled
MOST_ANSWERS = 500_000  # in all, so that a table of many columns takes seconds


def importance_of(network: Network, dataset: Dataset) -> dict[str, tuple[float, float]]:
    """Return by how much accuracy, or R2, falls when each column is shuffled.

    Parameters
    ----------
    network : Network
    dataset : Dataset
        Rows of a table, with its preparation; the features of a column are shuffled together. At most `MOST_ROWS` are
        taken, and fewer of a table with many columns.

    Returns
    -------
    dict of str to (float, float)
        Mean and standard deviation over `REPEATS` shuffles for each column, the greatest mean first. Columns without
        features are left out.
    """
    preparation = dataset.preparation
    assert preparation is not None
    spans = {name: span for name, span in preparation.spans.items() if span.stop > span.start}
    most = min(MOST_ROWS, max(10, MOST_ANSWERS // (REPEATS * len(spans))))
    rows = np.sort(permutation(len(dataset), 0)[:most])
    part = dataset.take(rows)

    def judged(images: np.ndarray) -> float:
        outputs = forward(network, images)
        scores = score(outputs, part.labels, part.weights, network.targets)
        return next(value for name, value in scores.items() if name != "loss")

    before = judged(part.images)
    shuffles = [permutation(len(part), seed) for seed in range(1, REPEATS + 1)]
    found = {}
    for name, span in spans.items():
        falls = []
        for order in shuffles:
            images = part.images.copy()
            images[:, span] = images[order, span]
            falls.append(before - judged(images))
        found[name] = float(np.mean(falls)), float(np.std(falls))
    return dict(sorted(found.items(), key=lambda pair: -pair[1][0]))
