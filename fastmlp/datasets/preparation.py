"""What was done with the columns of a table before its rows were numbers, as plain values that a model file keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fastmlp.errors import DataError


@dataclass(frozen=True)
class Preparation:
    """How rows of a raw table become rows of numbers, learned on the training part.

    A Dataset carries it to the Network that is trained on it, and the Network to its file.

    Parameters
    ----------
    description : mapping
        Plain values for JSON.

    Raises
    ------
    DataError
        If it cannot be JSON.
    """

    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what a file could not keep."""
        try:
            plain = json.loads(json.dumps(self.description, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise DataError(f"preparation: found {error}, expected plain values") from None
        if not isinstance(plain, dict):
            raise DataError(f"preparation: found {type(plain).__name__}, expected a table")
        object.__setattr__(self, "description", plain)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, from which `from_dict` makes an equal preparation."""
        return dict(self.description)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return the preparation for which `as_dict` returned these values, which may be any JSON.

        Raises
        ------
        DataError
            If they are no preparation's.
        """
        return cls(values)

    def apply(self, table: Any) -> npt.NDArray[np.float64]:
        """Return the rows [N, D] of numbers that rows of a raw table become.

        Parameters
        ----------
        table : pandas.DataFrame [N, columns]

        Raises
        ------
        DataError
            If a column is missing or of another type.
        """
        raise DataError("table: found one, expected rows of numbers")
