"""What a person sees of a training: a line for each epoch."""

from collections.abc import Mapping
from typing import Any

from fastmlp.reporting.progress import ProgressDisplay
from fastmlp.training.metrics import words_of



def show_epoch(display: ProgressDisplay, row: Mapping[str, Any], epochs: int) -> None:
    """Show that an epoch is done.

    Parameters
    ----------
    display : ProgressDisplay
    row : mapping
        The epoch's row of the history.
    epochs : int
        How many there will be at most.
    """
    count = str(row["epoch"]).rjust(len(str(epochs)))
    train, valid = (f"{part} {_scores(row, part)}" for part in ("train", "valid"))
    line = f"epoch {count}/{epochs}  {train}  {valid}  {row['seconds']:.3g} s"
    display.show(row["epoch"], line, valid)


def _scores(row: Mapping[str, Any], part: str) -> str:
    """Return the scores of a part in an epoch's row, such as "loss 0.5000 accuracy 0.9000"."""
    names = (name.removeprefix(f"{part}_") for name in row if name.startswith(f"{part}_"))
    return " ".join(f"{words_of(name)} {row[f'{part}_{name}']:.4f}" for name in names)
