"""Settings where nobody says others, for data that those of TrainConfig do not suit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOR_TABLES: Mapping[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 0.001,
    "epochs": 200,
    "patience": 20,
}
"""Of tables, which have few rows and few features.

Adam finds its step by itself for each feature, whatever its scale. Training goes on until the validation loss has not
fallen for 20 epochs, and the best epoch is kept: small tables need many epochs, large ones few. The command line and
TOML files of searches begin with these settings where the data is a table, and each run's config.toml holds them.
"""
