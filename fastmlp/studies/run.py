"""reproduce(): a study -> trials in its store -> small files -> report.md, figures, report.html."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from fastmlp.datasets import Dataset
from fastmlp.errors import ConfigError, FastMLPError
from fastmlp.machine import description as machine
from fastmlp.machine.files import write_atomic
from fastmlp.reporting.document import Block, Heading, Paragraph, Picture, to_html, to_markdown
from fastmlp.search.experiment import load_parts
from fastmlp.search.grid import Progress, checksum_of, from_bytes, grid_search, to_bytes, trial_of
from fastmlp.search.store import Key, Trial, TrialStore, finite
from fastmlp.studies import claims, figures, measures, tables
from fastmlp.studies.kinds import goes_on, is_available, refuse, train_as
from fastmlp.studies.results import Point, Results, Run
from fastmlp.studies.study import Part, Study
from fastmlp.training.config import TrainConfig
from fastmlp.training.evaluation import evaluate
from fastmlp.training.network import Network

REPORT, PAGE = "report.md", "report.html"
STORE = "store"  # folder of trials.sqlite files, one for each data set; not for the repository
Say = Callable[[str], object]
Parts = tuple[Dataset, Dataset, Dataset]


def reproduce(
    study: Study,
    folder: Path,
    *,
    data_home: Path | None = None,
    html: bool = False,
    say: Say = print,
) -> Path:
    """Run what is missing of a study and write its report.

    Parameters
    ----------
    study : Study
    folder : Path
        Gets the report; finished trials are kept in its subfolder ``store``.
    data_home : Path, optional
        The data folder, as for `fastmlp.datasets.load`.
    html : bool
        Whether to write ``report.html``, too.
    say : callable
        Told in a line what happens.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    ConfigError, DataError, StoreError
        If the file, the data or the store are wrong. Finished trials are kept.
    """
    check(study)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STORE).mkdir(exist_ok=True)
    (folder / STORE / ".gitignore").write_text("*\n")
    start = time.perf_counter()
    lab = Laboratory(study, folder / STORE, data_home, say)
    lab.train()
    lab.test()
    for section in study.sections:
        for name in section.get("measure", []):
            lab.measure(name)
        figures.draw_from_images(lab, section, folder)
    described = {
        **machine.describe(),
        "commit": _commit(),
        "finished": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "seconds_this_run": round(time.perf_counter() - start, 1),
        "seconds_of_all_trials": round(sum(run.trial.seconds for run in lab.results.runs), 1),
    }
    replace(lab.results, machine=described).write(folder)
    return render(study, folder, html=html)


# What an entry of a section cannot do without, whatever its kind; and what its kind adds.
NEEDS = {
    "row": ("label",),
    "clock": ("says", "per", "published"),
    "claim": ("says",),
    "figure": ("file", "caption"),
}
KINDS_NEED: Mapping[str, Mapping[str, Collection[str]]] = {
    "claim": {kind: needs for kind, (_, needs) in claims.KINDS.items()},
    "figure": figures.NEEDS,
}


def check(study: Study) -> None:
    """Raise a ConfigError where a study asks for what there is not: before hours of training, not after."""
    for part in study.parts.values():
        if part.kind:
            for point in part.points:
                refuse(part.kind, point.config)
    rows = [row for section in study.sections for row in section.get("row", [])]
    for number, section in enumerate(study.sections, 1):
        _all_of(f"{study.name}: section {number}", section, ["title"])
        title = f"{study.name}: section {section['title']!r}"
        _one_of(f"{title}, columns", section.get("columns", []), tables.WORDS)
        _one_of(f"{title}, measure", section.get("measure", []), measures.MEASURES)
        _one_of(f"{title}, all", section.get("all", []), study.parts)
        marked = any("confusion" in row for row in rows)
        if "confusion" in section.get("measure", []) and not marked:
            raise ConfigError(
                f"{title}, measure: found 'confusion', expected a row with `confusion`"
            )
        for table in NEEDS:
            for entry in section.get(table, []):
                _check_entry(study, f"{title}, {table}", table, entry)


def _check_entry(study: Study, name: str, table: str, entry: Mapping[str, Any]) -> None:
    settings, sides = TrainConfig().as_dict(), entry.get("sides", [])
    if table in KINDS_NEED:
        _one_of(f"{name}.kind", [entry.get("kind")], KINDS_NEED[table])
        _all_of(name, entry, KINDS_NEED[table][entry["kind"]])
    _all_of(name, entry, NEEDS[table])
    if entry.get("kind") == "series" and "sides" not in entry:
        _all_of(name, entry, ["by"])
        _one_of(f"{name}.by", [entry["by"]], settings)
    if table == "claim" and "axis" in entry:  # of a figure, words
        _one_of(f"{name}.axis", [entry["axis"]], settings)
    if "metric" in entry:
        _one_of(f"{name}.metric", [entry["metric"]], tables.WORDS)
    _one_of(f"{name}.quantities", entry.get("quantities", []), tables.WORDS)
    for side in sides:
        _all_of(f"{name}.sides", side, ["label"])
    for one in (entry, *sides):
        _one_of(f"{name}.part", [one.get("part", "main")], study.parts)
        _one_of(f"{name}.where", one.get("where", {}), settings)


def _all_of(name: str, entry: Mapping[str, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if key not in entry:
            raise ConfigError(f"{name}.{key}: not found, expected it")


def _one_of(name: str, values: Iterable[object], known: Collection[str]) -> None:
    for value in values:
        if value not in known:
            raise ConfigError(f"{name}: found {value!r}, expected one of {', '.join(known)}")


def render(study: Study, folder: Path, *, html: bool = False) -> Path:
    """Write the report and the figures that follow from the files in a folder alone."""
    results = Results.read(study, folder)
    for section in study.sections:
        figures.draw(results, section, folder)
    blocks = report(results)
    write_atomic(folder / REPORT, to_markdown(blocks).encode())
    if html:
        write_atomic(folder / PAGE, to_html(blocks, folder).encode())
    return folder / (PAGE if html else REPORT)


def report(results: Results) -> list[Block]:
    """Return the report's blocks; all numbers come from the results."""
    study, hardware = results.study, results.machine
    blocks: list[Block] = [Heading(study.title, 1)]
    if study.parts["main"].quick:
        blocks.append(
            Paragraph(
                "**A quick run: few images, few epochs, one seed. It shows that everything works; its "
                "numbers and verdicts mean nothing.**"
            )
        )
    blocks += [
        Paragraph(" ".join(text.split())) for text in study.about.split("\n\n") if text.strip()
    ]
    for section in study.sections:
        blocks.append(Heading(section["title"]))
        texts = section.get("text", "").split("\n\n")
        blocks += [Paragraph(" ".join(text.split())) for text in texts if text.strip()]
        for name in section.get("measure", []):
            if name in results.measured:
                blocks += measures.MEASURES[name].show(results, results.measured[name])
        if section.get("row"):
            blocks += tables.compare(results, section)
        for entry in section.get("clock", []):
            blocks += tables.clock(results, entry)
        for claim in section.get("claim", []):
            blocks += claims.check(results, claim)
        for entry in section.get("figure", []):
            blocks.append(Picture(f"{entry['file']}.png", entry["caption"]))
        for part in section.get("all", []):
            blocks += tables.list_all(results, part)
    versions = ", ".join(f"{name} {number}" for name, number in hardware["versions"].items())
    blocks += [
        Heading("How this was made"),
        Paragraph(
            f"`fastmlp reproduce {study.name}` on {hardware['cpu']}, {hardware['usable_cores']} "
            f"cores; {versions}; commit {hardware['commit'] or 'unknown'}; {hardware['finished']}. "
            f"{len(results.runs)} trainings took {hardware['seconds_of_all_trials'] / 60:.1f} "
            "minutes in all, added up over those that ran side by side. Lines in figures are means "
            "over seeds, bands reach from the least to the greatest seed. Training loss and "
            "accuracy are means over an epoch, of what each batch gave before its step; validation "
            "comes after the epoch."
        ),
        Paragraph(
            "Every number above but the published ones is computed from [trials.csv](trials.csv), "
            "[histories.csv.gz](histories.csv.gz) and [measured.json](measured.json), which lie "
            "beside this file; [machine.json](machine.json) says what they were measured on."
        ),
    ]
    return blocks


class Laboratory:
    """A study while it runs: its data, its stores and what they hold so far.

    Attributes
    ----------
    results : Results
    """

    def __init__(self, study: Study, stores: Path, data_home: Path | None, say: Say) -> None:
        self.results = Results(study, [])
        self.stores, self.data_home, self.say = stores, data_home, say
        self._data: dict[Any, Parts] = {}

    def data(self, part: str) -> Parts:
        """Return the training, validation and test images of a part."""
        found = self.results.study.parts[part]
        key = found.data, found.quick
        if key not in self._data:
            self._data[key] = found.cut(load_parts(found.data, self.data_home))  # type: ignore[assignment]
        return self._data[key]

    def train(self) -> None:
        """Train what is not in a store yet."""
        runs: list[Run] = []
        for part in self.results.study.parts.values():
            if not is_available(part.kind):
                self.say(f"{part.name}: skipped, {part.kind} is not installed")
                continue
            runs += self._special(part) if part.kind else self._grid(part)
        self.results = replace(self.results, runs=runs)

    def test(self) -> None:
        """Test the points that the report asks for in rows and claims, and no other."""
        for section in self.results.study.sections:
            if "test_accuracy" in section.get("columns", ["test_accuracy"]):
                for row in section.get("row", []):
                    self.networks(row)
            for claim in section.get("claim", []):
                if claim["metric"].startswith("test"):
                    for point in claims.points(self.results, claim):
                        list(self._networks(point))

    def measure(self, name: str) -> None:
        """Take one of `fastmlp.studies.measures.MEASURES`."""
        self.say(f"measuring {name}")
        taken = measures.MEASURES[name].take(self)
        self.results = replace(self.results, measured={**self.results.measured, name: taken})

    def networks(self, entry: Mapping[str, Any]) -> list[Network]:
        """Return the networks of the point that an entry means, one a seed, each tested once."""
        point = self.results.select(entry)
        return [] if point is None else list(self._networks(point))

    def _networks(self, point: Point) -> Iterator[Network]:
        part = self.results.study.parts[point.part]
        train, _, test = self.data(part.name)
        with self._store(part) as store:
            for run in point.runs:
                if not run.trial.sound:
                    continue
                key = _key(part, run.config)
                data = store.network(key)
                if data is None:
                    network = self._again(part, run)
                    store.set_network(key, to_bytes(network))
                else:
                    network = from_bytes(data, run.config, train)
                if run.trial.test_data != test.checksum:
                    scores = evaluate(network, test)
                    tested = replace(
                        run.trial,
                        test_data=test.checksum,
                        test_loss=finite(scores["loss"]),
                        test_accuracy=scores["accuracy"],
                    )
                    store.set_test(key, tested)
                    runs = self.results.runs
                    runs = [replace(one, trial=tested) if one is run else one for one in runs]
                    self.results = replace(self.results, runs=runs)
                yield network

    def _again(self, part: Part, run: Run) -> Network:
        """Train a network that was not kept: the same to the bit."""
        outcome = train_as(
            part.kind, run.config, self.data(part.name)[:2], _before(part, run.config)
        )
        if outcome.network is None:
            raise FastMLPError(f"{part.name}: a {run.trial.status} trial now is {outcome.status}")
        return outcome.network

    def _folder(self, part: Part) -> Path:
        return self.stores / checksum_of(self.data(part.name)[:2])[:12]

    @contextmanager
    def _store(self, part: Part) -> Iterator[TrialStore]:
        with TrialStore(self._folder(part), checksum_of(self.data(part.name)[:2])) as store:
            yield store

    def _grid(self, part: Part) -> list[Run]:
        train, valid, _ = self.data(part.name)

        def show(progress: Progress) -> None:
            if progress.trial is None:
                self.say(f"{part.name}: {progress.done} of {progress.total} trials are there")
                return
            left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
            self.say(f"{part.name}: {progress.done}/{progress.total}{left}: {_told(progress)}")

        found = grid_search(
            part.config,
            part.grid,
            train,
            valid,
            store=self._folder(part),
            seeds=part.seeds,
            metric=self.results.study.metric,  # type: ignore[arg-type]
            on_trial=show,
        )
        points = sorted(found.points, key=lambda point: point.index)
        return [
            Run(part.name, point.config.replace(seed=trial.seed), trial)
            for point in points
            for trial in point.trials
        ]

    def _special(self, part: Part) -> list[Run]:
        parts = self.data(part.name)[:2]
        runs = []
        for point in part.points:
            for seed in range(part.seeds):
                config = point.config.replace(seed=point.config.seed + seed)
                run = Run(part.name, config, None)  # type: ignore[arg-type]
                with self._store(part) as store:
                    key = _key(part, config)
                    trial = store.trials().get(key)
                    if trial is None:
                        outcome = train_as(part.kind, config, parts, _before(part, config))
                        trial = trial_of(config.seed, outcome)
                        network = outcome.network
                        store.add(key, trial, None if network is None else to_bytes(network))
                        self.say(
                            f"{part.name}: {dict(point.parameters)}, seed {seed}: {trial.reason}"
                        )
                runs.append(replace(run, trial=trial))
        return runs


def _before(part: Part, config: TrainConfig) -> list[TrainConfig]:
    """Return the settings that come before one in its part, with its seed."""
    if not goes_on(part.kind):
        return []
    configs = (point.config.replace(seed=config.seed) for point in part.points)
    return list(takewhile(lambda one: one != config, configs))


def _key(part: Part, config: TrainConfig) -> Key:
    """Return a trial's key; unless `fastmlp.train` trained it, how and after what is part of it."""
    key = Key.of(config)
    before = "".join(f" after {Key.of(one).parameters}" for one in _before(part, config))
    return key._replace(parameters=f"{part.kind} {key.parameters}{before}") if part.kind else key


def _told(progress: Progress) -> str:
    trial: Trial | None = progress.trial
    assert trial is not None
    accuracy = trial.valid_accuracy
    score = "" if accuracy is None else f", validation accuracy {accuracy:.4f}"
    return f"{dict(progress.parameters)}, seed {trial.seed}: {trial.status}{score}"


def _commit() -> str | None:
    """Return the commit of the source, if it lies in a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
