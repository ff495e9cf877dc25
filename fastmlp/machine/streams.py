"""Standard output and error that may be missing, closed or on a full disk: reporting never ends the work."""

from __future__ import annotations

import warnings


def warn(message: str, category: type[Warning] = RuntimeWarning, stacklevel: int = 3) -> None:
    """Give a warning as `warnings.warn` does, also where standard error is closed.

    Parameters
    ----------
    message : str
    category : type of Warning
    stacklevel : int
        As for `warnings.warn`, counted from it: 3 is the caller of the function that warns.
    """
    try:
        warnings.warn(message, category, stacklevel=stacklevel + 1)
    except ValueError as error:
        if isinstance(error, Warning):
            raise
