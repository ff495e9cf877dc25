"""reproduce(): a study -> trials in its store -> small files -> report.md, figures, report.html."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastmlp.machine import description as machine
from fastmlp.machine.files import write_text
from fastmlp.machine.folders import claim
from fastmlp.studies import pictures
from fastmlp.studies.check import check
from fastmlp.studies.laboratory import Laboratory
from fastmlp.studies.measures import MEASURES
from fastmlp.studies.report import refuse_links, render
from fastmlp.studies.study import Study

STORE = "store"  # folder of trials.sqlite files, one for each data set; not for the repository


def reproduce(
    study: Study,
    folder: Path,
    *,
    data_home: Path | None = None,
    html: bool = False,
    say: Callable[[str], object] = print,
) -> Path:
    """Train what is missing of a study and write its report.

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
        If the file, the data or the store are wrong, or the folder is in use or of another command. Finished trials
        are kept.
    """
    check(study)
    with claim(folder, "reproduce"):
        return _reproduce(study, folder, data_home, html, say)


def _reproduce(
    study: Study, folder: Path, data_home: Path | None, html: bool, say: Callable[[str], object]
) -> Path:
    refuse_links(study, folder)
    (folder / STORE).mkdir(exist_ok=True)
    write_text(folder / STORE / ".gitignore", "*\n")
    start = time.perf_counter()
    lab = Laboratory(study, folder / STORE, data_home, say)
    lab.train()
    lab.test()
    for section in study.sections:
        for name in section.get("measure", []):
            say(f"measuring {name}")
            lab.keep_measured(name, MEASURES[name].take(lab, section))
        pictures.draw(lab, section, folder)
    described = _describe(lab, time.perf_counter() - start)
    replace(lab.results, machine=described).write(folder)
    return render(study, folder, html=html)


def _describe(lab: Laboratory, seconds: float) -> dict[str, Any]:
    """Return what machine.json says."""
    return {
        **machine.describe(),
        "commit": _commit(),
        "finished": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "seconds_this_run": round(seconds, 1),
        "seconds_of_all_trials": round(sum(one.trial.seconds for one in lab.results.trials), 1),
    }


def _commit() -> str | None:
    """Return the commit of the source, if it lies in a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
