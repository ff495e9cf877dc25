"""Settings where nobody says others, for data that those of TrainConfig do not suit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOR_TABLES: Mapping[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 0.005,
    "schedule": "one_cycle",
    "epochs": 100,
}
"""Of tables, which have few rows and few features.

Adam finds a step of its own for each weight, and the rate rises and falls once, so that the same settings suit a
hundred rows and a hundred thousand, classes and values to predict. The epoch with the lowest validation loss is kept,
as always: small tables are learned long before the last. The command line and the TOML files of searches begin with
these settings where the data is a table, and each run's config.toml holds them.
"""
