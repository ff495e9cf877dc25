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


def check_count(name: str, value: object) -> None:
    """Raise a ConfigError unless a parameter's value is a whole number from 1."""
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name}: found {value!r}, expected a whole number from 1")
