"""What a person sees of a training: a line for each epoch."""

from collections.abc import Mapping
from typing import Any

from fastmlp.reporting.progress import ProgressDisplay


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
    train = f"train loss {row['train_loss']:.4f} accuracy {row['train_accuracy']:.4f}"
    valid = f"valid loss {row['valid_loss']:.4f} accuracy {row['valid_accuracy']:.4f}"
    line = f"epoch {count}/{epochs}  {train}  {valid}  {row['seconds']:.3g} s"
    display.show(row["epoch"], line, valid)
