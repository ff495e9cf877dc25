"""Options of several commands, those made from TrainConfig's fields, and the file they override."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from fastmlp import datasets
from fastmlp.cli.paths import FilePath
from fastmlp.datasets import Dataset, own
from fastmlp.datasets.labels import TASKS
from fastmlp.datasets.options import Missing, OwnOptions
from fastmlp.machine import toml
from fastmlp.search.experiment import DataTable, Experiment
from fastmlp.training.config import TrainConfig, choices_of
from fastmlp.training.layers import EXPECTED, spell_item

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_home_option = click.option(
    "--data-home",
    type=FilePath(file_okay=False),
    metavar="FOLDER",
    help="Where data sets lie and are downloaded to.  [default: $FASTMLP_DATA or the user's cache folder]",
)

AUTO = "auto"  # a learning rate that `fastmlp.find_learning_rate` finds


def options(*decorators: Decorator) -> Decorator:
    """Return a decorator that gives a command several options, in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def items(text: str) -> tuple[str, ...]:
    """Turn ``bird,cat`` into a tuple; ``none`` and ``()`` give an empty one."""
    return () if text in ("none", "()") else tuple(part.strip() for part in text.split(","))


def _reads(convert: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    """Return a type for click, which says what it expected of a text that `convert` raises ValueError for."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise click.BadParameter(f"found {text!r}, expected {expected}") from None

    return read


def _layer(text: str) -> int | str:
    return spell_item(int(text) if text.removeprefix("-").isdecimal() else text)


# ``none`` gives empty tuples.
widths = _reads(lambda text: tuple(map(int, items(text))), "such as 512,128 or none")
_layers = _reads(
    lambda text: tuple(map(_layer, items(text))), f"such as 512,128 or none; each item {EXPECTED}"
)
_numbers = _reads(lambda text: tuple(map(float, items(text))), "such as 0.5,1 or none")
_optional_integer = _reads(lambda text: None if text == "none" else int(text), "an integer or none")
_rate = _reads(lambda text: AUTO if text == AUTO else float(text), f"a number or {AUTO}")


def _descriptions(documented: type) -> dict[str, str]:
    """Return the parameters' descriptions in a NumPy-style docstring, as plain text."""
    text = inspect.cleandoc(documented.__doc__ or "")  # python -OO drops docstrings
    entries = re.findall(r"^(\w+(?:, \w+)*) : .*\n((?: +.*\n)+)", text, re.MULTILINE)
    return {
        name: " ".join(description.replace("`", "").split())
        for names, description in entries
        for name in names.split(", ")
    }


# The fields of the data table that are options, and what click is told of each.
_DATA_KINDS: dict[str, dict[str, Any]] = {
    "label": {"metavar": "COLUMN[,COLUMN]"},
    "task": {"type": click.Choice(TASKS)},
    "weight": {"metavar": "COLUMN"},
    "group": {"metavar": "COLUMN"},
    "part": {"metavar": "COLUMN|FILE"},
    "missing": {"type": click.Choice(get_args(Missing))},
    "skip_bad": {"is_flag": True, "default": None},
    "classes": {"type": items, "metavar": "bird,cat|none"},
    "size": {"type": click.INT, "help": "Scale pictures to squares of so many pixels a side."},
    "split": {"type": _numbers, "metavar": "0.8,0.1,0.1|none"},
}
_DATA_HELP = _descriptions(DataTable) | _descriptions(OwnOptions)
data_options = options(
    click.option(
        "--data",
        metavar="NAME|PATH",
        help=f"What to train on: {', '.join(datasets.NAMES)}, or the path of your own: {own.expected()}.  "
        "[default: digits]",
    ),
    *(
        click.option(f"--{name.replace('_', '-')}", **{"help": _DATA_HELP.get(name), **kind})
        for name, kind in _DATA_KINDS.items()
    ),
    data_home_option,
)
MOST_SHOWN = 10  # names of classes in a line
DATA_FIELDS = {"data": "name", **{name: name for name in _DATA_KINDS}}

DIGITS = DataTable(name="digits")
_DEFAULTS = {one.name: one.default for one in dataclasses.fields(DataTable)}
PARTS = ("train", "valid", "test")  # of `fastmlp.search.experiment.load_parts`


def data_changes(context: click.Context) -> dict[str, Any]:
    """Return the fields of the data table that the command line says."""
    changes = given(context, DATA_FIELDS)
    for name in ("classes", "split"):  # none: as without the option
        if changes.get(name) == ():
            changes[name] = None
    return changes


def from_file(
    path: Path, changes: Mapping[str, Any] | None = None
) -> tuple[TrainConfig, DataTable]:
    """Read settings and data: ``[config]`` and ``[data]``, or TrainConfig's fields alone.

    A file for a search gives what its trials share. `changes` are fields of the data table that are others than in
    the file.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not TOML, or holds an unknown name or a wrong value.
    """
    document = toml.read_toml(path)
    if "data" not in document:
        table = replace(DIGITS, **changes or {})
        return TrainConfig.from_document(path, document, table.base_config), table
    experiment = Experiment.from_document(path, document, changes)
    return experiment.config, experiment.data


def describe_own(part: Dataset, table: DataTable) -> list[str]:
    """Return what is said about your own data before a training: its task, and what is done with columns."""
    kinds = {"classification": "classes", "multilabel": "labels", "regression": "targets"}
    names = ", ".join(part.classes[:MOST_SHOWN]) + ", ..." * (len(part.classes) > MOST_SHOWN)
    chosen = "" if table.task else "; chosen by the labels' type, --task says another"
    lines = [f"task: {part.task}, {len(part.classes)} {kinds[part.task]} ({names}){chosen}"]
    return lines + (part.preparation.lines() if part.preparation is not None else [])


def to_toml(config: TrainConfig, data: DataTable) -> str:
    """Return the text that `from_file` reads back."""
    if data.is_own:
        data = replace(data, name=own.spelled(data.name))
    values = {"name": data.name, **dataclasses.asdict(data)}
    lines = "".join(
        f"{name} = {toml.to_toml(value)}\n"
        for name, value in values.items()
        if value is not None and (name in ("name", "seed") or value != _DEFAULTS[name])
    )
    return f"[data]\n{lines}\n[config]\n{config.to_toml()}"


def config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each field of TrainConfig; `given` reads them."""
    descriptions = _descriptions(TrainConfig)
    kinds = get_type_hints(TrainConfig)
    made = []
    for field in dataclasses.fields(TrainConfig):
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
        text = f"{descriptions.get(field.name, '')}  [default: {shown}]"
        made.append(_option(field.name, kinds[field.name], text))
    return options(*made)(command)


def given(context: click.Context, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the options given on the command line, under the names that `names` maps them to."""
    return {
        name: context.params[option]
        for option, name in names.items()
        if context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE
    }


def _option(name: str, kind: Any, text: str) -> Decorator:
    """Return the option of a field. TrainConfig checks its values."""
    flag = name.replace("_", "-")
    if name == "learning_rate":
        return click.option(f"--{flag}", type=_rate, metavar=f"NUMBER|{AUTO}", help=text)
    if kind is bool:
        return click.option(f"--{flag}/--no-{flag}", default=None, help=text)
    if choices := choices_of(name):
        return click.option(f"--{flag}", type=click.Choice(choices), help=text)
    kinds: dict[Any, tuple[Any, str]] = {
        int: (click.INT, "INTEGER"),
        float: (click.FLOAT, "NUMBER"),
        int | None: (_optional_integer, "INTEGER|none"),
        tuple[float, ...]: (_numbers, "0.5,1|none"),
        tuple[int | str, ...]: (_layers, "512,128|none"),
    }
    convert, metavar = kinds[kind]
    return click.option(f"--{flag}", type=convert, metavar=metavar, help=text)
