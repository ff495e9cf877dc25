"""What ``fastmlp train`` is told: options made from TrainConfig's fields, and a file below them."""

import dataclasses
import inspect
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from fastmlp import datasets
from fastmlp.config import TrainConfig
from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError

data_home_option = click.option(
    "--data-home",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where data lies and is fetched to.  [default: $FASTMLP_DATA or the user's cache folder]",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which images a run is about: the ``[data]`` table of its file.

    Parameters
    ----------
    name : str
        One of `fastmlp.datasets.NAMES`.
    classes : tuple of str or None
        Those to keep, labelled 0, 1, ... in this order; None keeps all.
    size : int or None
        Side of the square that images are scaled to, in pixels; None leaves them.
    """

    name: str = "digits"
    classes: tuple[str, ...] | None = None
    size: int | None = None

    @classmethod
    def from_table(cls, table: object) -> "DataChoice":
        """Check and take a ``[data]`` table.

        Raises
        ------
        ConfigError
            If it has another name or type of value than the fields above.
        """
        if not isinstance(table, Mapping):
            raise ConfigError(f"data: found {table!r}, expected a table, [data]")
        for key, value in table.items():
            match key, value:
                case ("name", str()) | ("size", int()):
                    pass
                case "classes", list() if all(isinstance(one, str) for one in value):
                    pass
                case _:
                    raise ConfigError(
                        f"data.{key}: found {value!r}, expected in [data] no more than "
                        'name = "cifar10", classes = ["bird", "cat"] and size = 16'
                    )
        plain: dict[str, Any] = dict(table)
        if "classes" in plain:
            plain["classes"] = tuple(plain["classes"])
        return cls(**plain)

    def replace(self, **changes: Any) -> "DataChoice":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_toml(self) -> str:
        """Return the fields as lines of TOML; None is left out."""
        # JSON writes text, whole numbers and lists as TOML does.
        return "".join(
            f"{name} = {json.dumps(value)}\n"
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        )

    def load(self, data_home: Path | None) -> Dataset:
        """Return the images, after fetching them if they are missing."""
        dataset = datasets.load(self.name, data_home)
        if self.classes is not None:
            dataset = dataset.pick(self.classes)
        return dataset if self.size is None else dataset.resize(self.size)


def from_file(path: Path) -> tuple[TrainConfig, DataChoice]:
    """Read a configuration: the tables ``[config]`` and ``[data]``, or TrainConfig's fields alone.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or holds an unknown name or a wrong value.
    """
    config = TrainConfig.from_toml(path)
    try:
        return config, DataChoice.from_table(tomllib.loads(path.read_text()).get("data", {}))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def to_toml(config: TrainConfig, choice: DataChoice) -> str:
    """Return the text that `from_file` reads back."""
    return f"[data]\n{choice.to_toml()}\n[config]\n{config.to_toml()}"


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option for each field of TrainConfig; see `given`."""
    descriptions = _descriptions(TrainConfig)
    kinds = get_type_hints(TrainConfig)
    for field in reversed(dataclasses.fields(TrainConfig)):
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
        text = f"{descriptions.get(field.name, '')}  [default: {shown}]"
        command = _option(field.name, kinds[field.name], text)(command)
    return command


def given(context: click.Context, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that stand on the command line, each under the name `names` gives it."""
    return {
        name: context.params[option]
        for option, name in names.items()
        if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
    }


def items(text: str) -> tuple[str, ...]:
    """Turn ``bird,cat`` into a tuple; ``none`` is the empty one."""
    return () if text == "none" else tuple(part.strip() for part in text.split(","))


def widths(text: str) -> tuple[int, ...]:
    """Turn ``512,128`` into a tuple of numbers; ``none`` is the empty one."""
    try:
        return tuple(map(int, items(text)))
    except ValueError:
        raise click.BadParameter(f"found {text!r}, expected such as 512,128 or none") from None


def optional_integer(text: str) -> int | None:
    """Turn ``5`` into a number, ``none`` into None."""
    try:
        return None if text == "none" else int(text)
    except ValueError:
        raise click.BadParameter(f"found {text!r}, expected an integer or none") from None


def _option(name: str, kind: Any, text: str) -> Callable[..., Any]:
    """Return the option of a field; whether a value is right, TrainConfig says."""
    flag = name.replace("_", "-")
    if kind is bool:
        return click.option(f"--{flag}/--no-{flag}", default=None, help=text)
    if get_origin(kind) is Literal:
        return click.option(f"--{flag}", type=click.Choice(get_args(kind)), help=text)
    kinds: dict[Any, tuple[Any, str]] = {
        int: (click.INT, "INTEGER"),
        float: (click.FLOAT, "NUMBER"),
        int | None: (optional_integer, "INTEGER|none"),
        tuple[int, ...]: (widths, "512,128|none"),
    }
    convert, metavar = kinds[kind]
    return click.option(f"--{flag}", type=convert, metavar=metavar, help=text)


def _descriptions(documented: type) -> dict[str, str]:
    """Return each parameter's description from a NumPy-style docstring, as plain text."""
    text = inspect.cleandoc(documented.__doc__ or "")  # no docstrings under python -OO
    entries = re.findall(r"^(\w+(?:, \w+)*) : .*\n((?: +.*\n)+)", text, re.MULTILINE)
    return {
        name: " ".join(description.replace("`", "").split())
        for names, description in entries
        for name in names.split(", ")
    }
