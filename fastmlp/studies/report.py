"""The report of a study: everything in it follows from the files of its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastmlp.errors import ConfigError
from fastmlp.machine.files import write_text
from fastmlp.reporting.document import Block, Heading, Paragraph, Picture, to_html, to_markdown
from fastmlp.studies import claims, figures, measures, tables
from fastmlp.studies.results import HISTORIES, MACHINE, MEASURED, TRIALS, StudyResults
from fastmlp.studies.study import Study

REPORT, PAGE = "report.md", "report.html"


def render(study: Study, folder: Path, *, html: bool = False) -> Path:
    """Write the report and the figures that follow from the files in a folder alone.

    Returns
    -------
    Path
        Of the report; with `html`, of the page.
    """
    refuse_links(study, folder)
    results = StudyResults.read(study, folder)
    for section in study.sections:
        figures.draw(results, section, folder)
    blocks = [_drawn(block, folder) for block in report(results)]
    write_text(folder / REPORT, to_markdown(blocks))
    if html:
        write_text(folder / PAGE, to_html(blocks, folder))
    return folder / (PAGE if html else REPORT)


def refuse_links(study: Study, folder: Path) -> None:
    """Raise a ConfigError if a file of the report is a link, which would be followed to write elsewhere."""
    pictures = [f"{name}.png" for name in figures.file_names(study)]
    for name in (REPORT, PAGE, TRIALS, HISTORIES, MEASURED, MACHINE, *pictures):
        if (folder / name).is_symlink():
            raise ConfigError(
                f"{folder / name}: found a link, expected a file of this report; remove it"
            )


def _drawn(block: Block, folder: Path) -> Block:
    """Return a block, or what stands for a picture of settings that were not run."""
    if isinstance(block, Picture) and not (folder / block.file).is_file():
        return Paragraph(f"*{block.caption}*: not drawn, because what it shows was not run.")
    return block


def report(results: StudyResults) -> list[Block]:
    """Return the report's blocks; all numbers come from the results."""
    study = results.study
    blocks: list[Block] = [Heading(study.title, 1)]
    if study.is_quick:
        blocks.append(
            Paragraph(
                "**A quick run: few images, few epochs, one seed. It shows that everything works; its "
                "numbers and verdicts mean nothing.**"
            )
        )
    blocks += _paragraphs(study.about)
    for section in study.sections:
        blocks += _section(results, section)
    return blocks + _origin(results)


def _paragraphs(text: str) -> list[Block]:
    return [Paragraph(" ".join(one.split())) for one in text.split("\n\n") if one.strip()]


def _section(results: StudyResults, section: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Heading(section["title"]), *_paragraphs(section.get("text", ""))]
    for name in section.get("measure", []):
        if name in results.measured:
            blocks += measures.MEASURES[name].show(results, section, results.measured[name])
    for entry in section.get("epochs", []):
        blocks += tables.follow(results, entry)
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
    return blocks


def _origin(results: StudyResults) -> list[Block]:
    """Return what the report says of how it was made."""
    machine = results.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return [
        Heading("How this was made"),
        Paragraph(
            f"`fastmlp reproduce {results.study.name}` on {machine['cpu']}, {machine['usable_cores']} "
            f"cores; {versions}; commit {machine['commit'] or 'unknown'}; {machine['finished']}. "
            f"{len(results.trials)} trainings took {machine['seconds_of_all_trials'] / 60:.1f} "
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
