"""Write the pages that the package itself knows: settings, layers, the store's columns, the reports, the pictures.

They go to ``docs/_generated`` (included by pages) and ``docs/reports`` (the stored reports as pages). A file whose text
is as before is left alone, so that Sphinx reads again only what changed.
"""

import dataclasses
import inspect
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pictures

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.reporting.tables import markdown_table
from fastmlp.search import store
from fastmlp.search.experiment import DataTable, Experiment
from fastmlp.training.config import TrainConfig, choices_of
from fastmlp.training.optimizers import OPTIMIZERS
from fastmlp.training.schedule import SCHEDULES

ROOT = Path(__file__).resolve().parents[1]
REPORTS = {  # the order of the menu; others follow by name
    "benchmark": "Benchmark: Xeon",
    "benchmark-zen5": "Benchmark: Zen 5",
    "grid": "A grid beside PyTorch",
    "estimator": "Estimators beside scikit-learn",
    "bfloat16": "bfloat16 against float32",
    "robustness": "Robustness",
    "many-cores": "Many cores",
}


def write_pages(docs: Path) -> None:
    """Write all generated files below the folder of the documentation."""
    folder = docs / "_generated"
    write(folder / "settings.md", settings())
    write(folder / "data.md", fields_of(DataTable))
    write(folder / "search.md", fields_of(Experiment, leave_out=("data", "config", "grid")))
    write(folder / "names.md", names())
    write(folder / "store.sql", f"{store.SCHEMA.strip()};\n")
    write(folder / "reports.md", reports(docs / "reports"))
    pictures.draw(folder)


def write(path: Path, text: str) -> None:
    """Write a file unless it has this text."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def described(documented: type, section: str) -> dict[str, tuple[str, str]]:
    """Return type and description of each name in a section of a NumPy-style docstring, as Markdown."""
    text = inspect.getdoc(documented) or ""
    (body,) = re.findall(rf"^{section}\n-+\n(.*?)(?=\n\w+\n-{{3,}}\n|\Z)", text, re.S | re.M)
    entries = re.findall(r"^(\w+(?:, \w+)*)(?: : (.*))?\n((?: +.*\n|\n(?= ))*)", f"{body}\n", re.M)
    found = {}
    for names, kind, description in entries:
        plain = re.sub(r"`+([^`]+)`+", r"`\1`", " ".join(description.split()))
        named, kinds = names.split(", "), [kind]
        if kind and "(" not in kind and kind.count(",") == len(named) - 1:
            kinds = kind.split(", ")
        for name, one in zip(named, kinds * len(named), strict=False):
            found[name] = (one, plain)
    return found


def settings() -> str:
    """Return the list of TrainConfig's fields."""
    told = described(TrainConfig, "Parameters")
    text = ""
    for field in dataclasses.fields(TrainConfig):
        kind, description = told[field.name]
        if choices := choices_of(field.name):
            kind = "one of " + ", ".join(f"`{one}`" for one in choices)
        option = field.name.replace("_", "-")
        both = f"`--{option}`" + (f", `--no-{option}`" if isinstance(field.default, bool) else "")
        text += entry(f"`{field.name}`, {both}", kind, code(field.default), description)
    return text


def fields_of(documented: type, leave_out: Sequence[str] = ()) -> str:
    """Return the list of a dataclass's fields."""
    told = {}
    for one in documented.__mro__:  # what a class is made of says more of its own fields
        if dataclasses.is_dataclass(one):
            told |= described(one, "Parameters")
    text = ""
    for field in dataclasses.fields(documented):
        if field.name not in leave_out:
            kind, description = told[field.name]
            required = field.default is dataclasses.MISSING
            default = "required" if required else code(field.default)
            text += entry(
                f"`{field.name}`", (kind or "").removesuffix(" or None"), default, description
            )
    return text


def entry(term: str, kind: str, default: str, description: str) -> str:
    """Return an entry of a definition list."""
    ending = "required" if default == "required" else f"default: {default}"
    return f"{term}\n: {kind}; {ending}\n\n  {description}\n\n"


def code(value: object) -> str:
    """Return a default as TOML has it; None is no key at all."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return (
        f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value!r}`".replace("'", '"')
    )


def names() -> str:
    """Return the names of the registries."""
    rows = (
        ("`activation`", ACTIVATIONS),
        ("`optimizer`", OPTIMIZERS),
        ("`schedule`", SCHEDULES),
    )
    named = ((one, ", ".join(f"`{name}`" for name in of)) for one, of in rows)
    return markdown_table(("field", "names"), named) + "\n"


def reports(folder: Path) -> str:
    """Copy the stored reports below `folder`, and return the table of contents of them."""
    found = sorted(path.parent for path in (ROOT / "reports").glob("*/report.md"))
    found.sort(key=lambda path: list(REPORTS).index(path.name) if path.name in REPORTS else 99)
    for source in found:
        target = folder / source.name
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            copy = target / file.name
            if not copy.exists() or copy.read_bytes() != file.read_bytes():
                shutil.copyfile(file, copy)
    groups = (
        ("Speed, accuracy, robustness", [path for path in found if path.name in REPORTS]),
        ("Studies", [path for path in found if path.name not in REPORTS]),
    )
    text = ""
    for title, paths in groups:
        entries = "".join(
            f"{REPORTS[one.name]} <{one.name}/report>\n"
            if one.name in REPORTS
            else f"{one.name}/report\n"
            for one in paths
        )
        text += f"## {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}```\n\n"
    return text
