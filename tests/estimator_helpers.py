"""A few digits, and a small classifier to train on them."""

from typing import Any

from sklearn.datasets import load_digits

from fastmlp import MLPClassifier

IMAGES, LABELS = load_digits(return_X_y=True)
X, y = IMAGES[:200] / 16, LABELS[:200]
X_val, y_val = IMAGES[200:300] / 16, LABELS[200:300]
BATCH = 64


def classifier(**settings: Any) -> MLPClassifier:
    small = {"hidden_layer_sizes": (16,), "batch_size": BATCH, "max_iter": 8, "random_state": 0}
    return MLPClassifier(**{**small, **settings})
