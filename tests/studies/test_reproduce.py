"""The studies: files that mean something, quick runs of all, reports that match their trials."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fastmlp.cli.reproduce import reproduce as command
from fastmlp.errors import ConfigError
from fastmlp.reporting.document import to_markdown
from fastmlp.studies import figures
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.report import report
from fastmlp.studies.reproduce import reproduce
from fastmlp.studies.results import MEASURED, TRIALS, StudyResults, StudyTrial
from fastmlp.studies.study import Study, find, names

REPORTS = Path(__file__).parents[2] / "reports"
POINTS = {
    "cifar2-bird-plane-128": 128,
    "cifar2-car-cat-5": 5,
    "cifar2-bird-plane-8": 8,
    "cifar10-softmax": 4,
    "mnist-nonlinearity": 20,
    "mnist-cnn": 9,
    "mnist-99": 1,
    "mnist-985": 1,
    "cifar10-mlp": 1,
}


def entries(study: Study) -> list[Any]:
    """Return all entries of a study file that choose a point."""
    found = []
    for section in study.sections:
        found += [*section.get("row", []), *section.get("epochs", [])]
        for other in (*section.get("claim", []), *section.get("figure", [])):
            shared = {name: other[name] for name in ("part", "best") if name in other}
            if other.get("kind") in ("features", "hardest"):
                found.append(other)
            for side in other.get("sides", []):
                where = {**other.get("where", {}), **side.get("where", {})}
                found += [
                    {**shared, **side, "where": where, "part": part}
                    for part in other.get("twins", [side.get("part", shared.get("part", "main"))])
                ]
    return found


def test_every_study_has_a_line() -> None:
    assert sorted(POINTS) == names()


@pytest.mark.parametrize("name", POINTS)
def test_every_entry_means_one_point(name: str) -> None:
    study = find(name)
    assert len(study.parts["main"].points) == POINTS[name]
    trials = [
        StudyTrial(part.name, point.config, None)  # type: ignore[arg-type]
        for part in study.parts.values()
        for point in part.points
    ]
    results = StudyResults(study, trials)
    for entry in entries(study):
        if not entry.get("best"):
            assert results.select(entry) is not None, entry


def test_an_unknown_study_and_a_wrong_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 'cifar', expected cifar10-mlp, cifar10-softmax"):
        find("cifar")
    path = tmp_path / "mine.toml"
    path.write_text('[data]\nname = "digits"\n[study]\ntitel = "x"\n')
    with pytest.raises(ConfigError, match=r"mine.toml: study.titel: .* did you mean title"):
        find(str(path))


def refused(tmp_path: Path, study: str, message: str) -> None:
    """Refuse a study file before there is anything on disk."""
    file = tmp_path / "mine.toml"
    file.write_text(f'[data]\nname = "digits"\n{study}\n')
    with pytest.raises(ConfigError, match=message):
        reproduce(Study.from_toml(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('measure = ["gradient"]', "measure: found 'gradient', expected one of .*gradients"),
        ('all = ["widths"]', "all: found 'widths', expected one of main"),
        (
            'claim = [{ kind = "larger", says = "" }]',
            "claim.kind: found 'larger', expected .*order",
        ),
        ('figure = [{ file = "a" }]', "figure.kind: found None, expected .*series"),
        ('row = [{ label = "a", part = "b" }]', "row.part: found 'b', expected one of main"),
        (
            'claim = [{ kind = "order", says = "", metric = "train_loss", '
            'sides = [{ label = "", where = { rate = 1 } }] }]',
            "claim.where: found 'rate', expected .*learning_rate",
        ),
        ('claim = [{ kind = "within" }]', "claim.metric: not found"),
        ("row = [{ where = {} }]", "row.label: not found"),
        ('clock = [{ says = "", published = 1 }]', "clock.per: not found"),
        (
            'row = [{ label = "a", tell = ["lr"] }]',
            "row.tell: found 'lr', expected one of .*learning_rate",
        ),
        ('columns = ["tst"]', "columns: found 'tst', expected one of .*test_accuracy"),
        ('measure = ["confusion"]', "measure: found 'confusion', expected a row"),
        (
            'measure = ["gradients"]\n[config]\nhidden = ["conv 2 3", "batchnorm"]',
            "measure: found 'gradients', expected a last point .* without batchnorm",
        ),
        ('figure = [{ kind = "weights", file = "a", caption = "" }]', "figure.sides: not found"),
        (
            'claim = [{ kind = "sooner", metric = "train_loss", says = "" }]',
            "claim.level: not found",
        ),
        ("epochs = [{ at = [1] }]", "epochs.quantities: not found"),
        ('measure = ["twins"]', "measure: found 'twins', expected `twins` in the section"),
        ('twins = [{ ours = "main" }]', "twins.theirs: not found"),
        ('twins = [{ ours = "main", theirs = "b" }]', "twins: found 'b', expected one of main"),
        ('figure = [{ kind = "bars", file = "a", caption = "" }]', "figure.sides: not found"),
        (
            'figure = [{ kind = "series", file = "a", caption = "", by = "lr" }]',
            "figure.by: found 'lr', expected one of .*learning_rate",
        ),
    ],
)
def test_a_section_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, section: str, message: str
) -> None:
    refused(tmp_path, f'[[study.section]]\ntitle = "A"\n{section}', f"section 'A', {message}")


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ('[study.parts.more]\nkind = "tourch"', "kind: found 'tourch', expected one of .*torch"),
        (
            "[config]\nrestore_best = true\n[study.parts.more]\nkind = 'torch'",
            "restore_best: found True, which",
        ),
        ("[[study.section]]", "section 1.title: not found"),
    ],
)
def test_a_study_that_cannot_be_trained_or_told_is_refused_before_training(
    tmp_path: Path, study: str, message: str
) -> None:
    refused(tmp_path, study, message)


MINE = """
[data]
name = "digits"
[config]
hidden = [8]
epochs = 5
[grid]
learning_rate = [0.1]
[study]
title = "Mine"
[study.parts.rates]
grid = { learning_rate = [0.001, 0.1] }
seeds = 1
[[study.section]]
title = "A"
row = [{ label = "one", where = { learning_rate = 0.1 } }]
[[study.section.claim]]
kind = "within"
says = "A large rate is best."
part = "rates"
metric = "test_accuracy"
axis = "learning_rate"
low = 0.05
high = 0.2
[[study.section.figure]]
kind = "series"
file = "rates"
caption = "Both rates"
part = "rates"
by = "learning_rate"
"""


def test_a_study_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    lines = figures._lines
    monkeypatch.setattr(figures, "_lines", lambda *given: drawn.append(lines(*given)) or drawn[-1])
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    text = reproduce(Study.from_toml(file), tmp_path / "out").read_text()
    assert "Not run on this machine" not in text  # a grid of one value is a setting, too
    assert "**Claim:** A large rate is best. **Here: holds: the best is 0.1.**" in text
    assert [label for _, (label, _) in drawn[0]] == ["0.001", "0.1"]


def test_without_a_name_studies_are_listed() -> None:
    result = CliRunner().invoke(command, [])
    assert [line.split()[0] for line in result.stdout.splitlines()] == names()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("offline")
def test_quick_runs_of_all_studies(tmp_path: Path) -> None:
    arguments = ["all", "--quick", "--html", "--out", str(tmp_path)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    pages = [Path(line) for line in result.stdout.splitlines() if line.endswith("report.html")]
    assert [page.parent.name for page in pages] == names()
    for page in pages:
        folder = page.parent
        text = (folder / "report.md").read_text()
        assert set(re.findall(r"\]\((\S+?\.png)\)", text)) == {
            path.name for path in folder.glob("*.png")
        }
        results = StudyResults.read(find(folder.name).quick(), folder)
        assert text == to_markdown(report(results))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("offline")
def test_what_is_tested_was_trained_once_and_a_second_run_trains_nothing_and_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Laboratory, "_train_again", None)  # small networks are all kept
    lines: list[str] = []
    study = find("cifar10-softmax").quick()
    reproduce(study, tmp_path, say=lines.append)
    assert any("1/18" in line for line in lines)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    before |= {name: (tmp_path / name).read_bytes() for name in (TRIALS, MEASURED)}
    lines.clear()
    reproduce(study, tmp_path, say=lines.append)
    assert not [line for line in lines if "1/18" in line or "epochs done" in line]
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content, name


def with_reports() -> list[str]:
    return [name for name in names() if (REPORTS / name / TRIALS).exists()]


@pytest.mark.parametrize("name", with_reports())
def test_a_report_says_what_its_trials_say(name: str) -> None:
    folder, study = REPORTS / name, find(name)
    results = StudyResults.read(study, folder)
    text = to_markdown(report(results))
    assert (folder / "report.md").read_text() == text
    for picture in re.findall(r"\]\((\S+?\.png)\)", text):
        assert (folder / picture).exists()
    assert "not explained" not in text
    assert (folder / MEASURED).exists()
    assert all(path.stat().st_size < 2**20 for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize("name", with_reports())
def test_a_changed_trial_shows(name: str, tmp_path: Path) -> None:
    import shutil

    for path in (REPORTS / name).glob("*.*"):
        shutil.copy(path, tmp_path / path.name)
    table = tmp_path / TRIALS
    head, *lines = table.read_text().splitlines()
    column = head.split(",").index("valid_accuracy")
    assert column
    changed = [re.sub(r"0\.(\d)", lambda m: f"0.{(int(m[1]) + 5) % 10}", line) for line in lines]
    table.write_text("\n".join([head, *changed]) + "\n")
    study = find(name)
    text = to_markdown(report(StudyResults.read(study, tmp_path)))
    assert text != (REPORTS / name / "report.md").read_text()
