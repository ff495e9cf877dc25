"""The view ``settings`` of a store: a column for each setting that differs between its trials, for plain SQL."""

from __future__ import annotations

import dataclasses
import json
import sqlite3

from fastmlp.search.record import RESULTS
from fastmlp.training.config import TrainConfig

VIEW = "settings"


def make_view(database: sqlite3.Connection) -> list[str]:
    """Make the view anew, and return the settings that have a column.

    Parameters
    ----------
    database : sqlite3.Connection
        A store, in a transaction.

    Raises
    ------
    sqlite3.Error
        If it cannot be written, or has a table of that name.
    """
    fields = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    plain = "SELECT parameters FROM trials WHERE json_valid(parameters)"
    known = [
        name
        for name, default in fields.items()
        if database.execute(
            f"SELECT count(DISTINCT {_column(name, default)}) FROM ({plain})"
        ).fetchone()[0]
        > 1
    ]
    columns = [f"{_column(name, fields[name])} AS {name}" for name in known]
    database.execute(f"DROP VIEW IF EXISTS {VIEW}")
    database.execute(
        f"CREATE VIEW {VIEW} AS SELECT id, {', '.join([*columns, *RESULTS, 'finished'])} FROM trials "
        "WHERE json_valid(parameters)"
    )
    return known


def _column(name: str, default: object) -> str:
    """Return the SQL of a setting; files of earlier versions leave out what has its default."""
    value = json.dumps(default).replace("'", "''")
    fallback = f"json_extract('[{value}]', '$[0]')"
    return f"coalesce(json_extract(parameters, '$.{name}'), {fallback})"
