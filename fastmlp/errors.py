"""The errors fastmlp raises for wrong input; every one is a ValueError with a one-line message."""


class FastMLPError(ValueError):
    """Base of the errors below: the message names what was found, what was expected, what to do."""


class ConfigError(FastMLPError):
    """A hyper-parameter or study file is wrong."""


class DataError(FastMLPError):
    """A data file, array or label is truncated, foreign or out of range."""


class FormatError(FastMLPError):
    """A model or checkpoint file is damaged or not ours."""


class StoreError(FastMLPError):
    """A trial store cannot be read, written, or belongs to other data."""
