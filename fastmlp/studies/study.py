"""Study: what a study file says, checked. It has experiments to run and sections to report.

The tables of a search file (`fastmlp.search.experiment`) are the part "main". Beside them there is::

    [study]
    title = "..."
    about = "..."                    # paragraphs below the title
    percent = true                   # print accuracies as percentages
    jobs = 1                         # trainings at once; by default as many as cores

    [study.parts.wide]               # another experiment; what it leaves out is as in the main one
    label = "..."                    # what reports call it; by default its name
    kind = "penalised"               # how it is trained; see `fastmlp.studies.kinds.KINDS`
    seeds = 1
    data = { ... }
    config = { ... }
    grid = [{ ... }]

    [[study.section]]
    title = "..."
    text = "..."
    tolerance = 0.02                 # how far a mean may be from the published value where its spread is not known
    columns = ["test_accuracy"]      # quantities to compare
    row = [ ... ]                    # published values; see `fastmlp.studies.tables`
    epochs = [ ... ]                 # the same for some epochs of one setting
    claim = [ ... ]                  # published findings; see `fastmlp.studies.claims`
    figure = [ ... ]                 # see `fastmlp.studies.figures` and `fastmlp.studies.pictures`
    measure = ["gradients"]          # see `fastmlp.studies.measures`
    twins = [ ... ]                  # parts that should agree; see `fastmlp.studies.agreement`
    fits = [ ... ]                   # parts with choices left out; see `fastmlp.studies.likelihood`
    record = { accuracy = 0.99 }     # seconds beside PyTorch's; see `fastmlp.studies.record`
    all = ["main"]                   # parts whose settings are listed, every one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError
from fastmlp.machine.toml import read_toml
from fastmlp.search.experiment import (
    DataTable,
    Experiment,
    Grid,
    Point,
    check_choice,
    checked_table,
    expand,
)
from fastmlp.studies import schema
from fastmlp.training.config import TrainConfig

FOLDER = Path(__file__).parent
MAIN = "main"  # the part that the file's own tables are
QUICK_IMAGES = (512, 256, 256)  # of the three parts
QUICK_EPOCHS = 2

PART = (*schema.PART, "seeds")


@dataclass(frozen=True)
class StudyPart:
    """An experiment of a study.

    Attributes
    ----------
    name : str
    label : str
        What reports call it; by default its name.
    kind : str
        How it is trained: "" by `fastmlp.train`, else one of `fastmlp.studies.kinds.KINDS`.
    data : DataTable
    config : TrainConfig
        What the grid does not vary.
    grid : tuple of Grid
    seeds : int
    quick : bool
        Whether only the first few images are taken.
    """

    name: str
    label: str
    kind: str
    data: DataTable
    config: TrainConfig
    grid: tuple[Grid, ...]
    seeds: int
    quick: bool = False

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of the grid, in the file's order."""
        return expand(self.config, self.grid)

    def cut(self, parts: tuple[Dataset, ...]) -> tuple[Dataset, ...]:
        """Return what is trained on, validated and tested with of the data's three parts."""
        if not self.quick:
            return parts
        return tuple(
            part.take(range(min(count, len(part))))
            for part, count in zip(parts, QUICK_IMAGES, strict=True)
        )


@dataclass(frozen=True)
class Study:
    """What a study file says.

    Attributes
    ----------
    name : str
        Of the file, without ``.toml``.
    title, about : str
    percent : bool
    metric : {"valid_accuracy", "valid_loss"}
        What the best point is chosen by.
    jobs : int or None
        Trainings at once, as for `fastmlp.grid_search`: with 1 each has all cores, and its seconds can be compared.
    parts : mapping of str to StudyPart
    sections : tuple of mapping
        As in the file.
    """

    name: str
    title: str
    about: str
    percent: bool
    metric: str
    jobs: int | None
    parts: Mapping[str, StudyPart]
    sections: tuple[Mapping[str, Any], ...]

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a study file.

        Raises
        ------
        ConfigError
            If it cannot be read, is not TOML, or holds an unknown name or a wrong value.
        """
        path = Path(path)
        experiment = Experiment.from_toml(path)
        try:
            study = checked_table("study", read_toml(path).get("study", {}), list(schema.STUDY))
            schema.check_types(study)
            if not path.stem.strip("."):  # the report's folder has this name
                raise ConfigError(f"found the name {path.stem!r}, expected a name of a folder")
            tables = {MAIN: {}, **checked_table("study.parts", study.get("parts", {}))}
            parts = {name: _part(name, table, experiment) for name, table in tables.items()}
            sections = study.get("section", [])
            for section in sections:
                checked_table("study.section", section, list(schema.SECTION))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
        return cls(
            path.stem,
            study.get("title", path.stem),
            study.get("about", ""),
            study.get("percent", False),
            experiment.metric,
            study.get("jobs"),
            parts,
            tuple(sections),
        )

    @property
    def is_quick(self) -> bool:
        """Whether this is the study on few images, for which no reasons were written."""
        return self.parts[MAIN].quick

    def with_seeds(self, seeds: int) -> Self:
        """Return the study with as many seeds a setting, except where it asks for one only."""
        return self._changed(lambda part: replace(part, seeds=seeds if part.seeds > 1 else 1))

    def quick(self) -> Self:
        """Return the study on few images, for few epochs, with one seed. It shows whether all works."""

        def shorten(part: StudyPart) -> StudyPart:
            config = part.config.replace(epochs=min(part.config.epochs, QUICK_EPOCHS))
            return replace(part, config=config, seeds=1, quick=True)

        return self._changed(shorten)

    def _changed(self, change: Any) -> Self:
        return replace(self, parts={name: change(part) for name, part in self.parts.items()})


def names() -> list[str]:
    """Return the names of the studies that come with fastmlp."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(name: str) -> Study:
    """Read a study by its name, or by the path of its file.

    Raises
    ------
    ConfigError
        If there is none of that name, or its file is wrong.
    """
    if name in names():
        return Study.from_toml(FOLDER / f"{name}.toml")
    if name.endswith(".toml"):
        return Study.from_toml(name)
    raise ConfigError(f"study: found {name!r}, expected {', '.join(names())} or a .toml file")


def _part(name: str, table: object, main: Experiment) -> StudyPart:
    """Return a part, with what its table leaves out taken from the main experiment."""
    values = checked_table(f"study.parts.{name}", table, PART)
    data = DataTable.from_table(values["data"]) if "data" in values else main.data
    config = main.config.replace(**checked_table("config", values.get("config", {})))
    grid = values.get("grid", main.grid)
    grid = (grid,) if isinstance(grid, Mapping) else tuple(grid)
    seeds = values.get("seeds", main.seeds)
    check_choice(seeds, main.metric)
    if main.metric not in ("valid_accuracy", "valid_loss"):
        raise ConfigError(
            f"metric: found {main.metric!r}, expected valid_accuracy or valid_loss in a study"
        )
    expand(config, grid)
    label, kind = values.get("label", name), values.get("kind", "")
    return StudyPart(name, label, kind, data, config, grid, seeds)
