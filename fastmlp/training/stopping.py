"""Early stopping as a value: with each validation loss, one Patience gives the next."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from fastmlp.errors import FormatError
from fastmlp.training.config import Stopping


@dataclass(frozen=True)
class Patience:
    """The state of early stopping after some validation losses.

    The value never changes: `update` returns the next one. A checkpoint stores it, and a resumed run
    continues from it. A loss that is NaN or infinite counts as the worst possible loss: always a
    rise, and never a new best. A metric that is greater if better counts with the opposite sign.

    Parameters
    ----------
    patience : int or None
        Stop when `waited` reaches it. None never stops, but the best epoch is still recorded.
    stopping : {"best", "rises"}
        What `waited` counts.
    epoch : int
        Losses seen so far.
    best_epoch : int
        The epoch of the lowest loss, counted from 1 as in a history; 0 before any finite loss.
    best_loss, last_loss : float
        The lowest and the latest loss; infinity before any finite loss.
    rises : int
        How many times in a row the loss has just risen. An equal loss is not a rise.

    Examples
    --------
    Stop when the validation loss has risen twice in a row:

    >>> state = Patience(2, "rises")
    >>> for loss in [0.9, 0.5, 0.6, 0.7]:
    ...     state = state.update(loss)
    ...     print(state.verdict)
    improved
    improved
    wait
    stop
    >>> state.best_epoch
    2
    """

    patience: int | None
    stopping: Stopping = "best"
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    last_loss: float = math.inf
    rises: int = 0

    def update(self, loss: float) -> Self:
        """Return the state after one more epoch with this validation loss."""
        loss = float(loss) if math.isfinite(loss) else math.inf
        risen = loss > self.last_loss or loss == math.inf
        epoch = self.epoch + 1
        improved = loss < self.best_loss
        return dataclasses.replace(
            self,
            epoch=epoch,
            best_epoch=epoch if improved else self.best_epoch,
            best_loss=min(loss, self.best_loss),
            last_loss=loss,
            rises=self.rises + 1 if risen else 0,
        )

    @property
    def waited(self) -> int:
        """Epochs without a new best loss, or rises in a row, depending on `stopping`."""
        return self.rises if self.stopping == "rises" else self.epoch - self.best_epoch

    @property
    def verdict(self) -> Literal["improved", "wait", "stop"]:
        """What the latest loss means: a new best, nothing yet, or the end of training."""
        if self.epoch and self.best_epoch == self.epoch:
            return "improved"
        return "stop" if self.patience is not None and self.waited >= self.patience else "wait"

    def as_dict(self) -> dict[str, Any]:
        """Return the state as plain values for strict JSON; infinity becomes None."""
        return {
            name: None if value == math.inf else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return the Patience for which `as_dict` returned this state.

        Raises
        ------
        FormatError
            If a name is missing or unknown, or a value is one that `as_dict` never returns.
        """
        expected = [field.name for field in dataclasses.fields(cls)]
        if sorted(state) != sorted(expected):
            raise FormatError(f"early stopping: found {sorted(state)}, expected {sorted(expected)}")
        values: dict[str, Any] = {
            name: math.inf if value is None and name.endswith("loss") else value
            for name, value in state.items()
        }
        restored = cls(**values)
        if not restored._is_possible():
            raise FormatError(f"early stopping: found {dict(state)}, which no run can have reached")
        return restored

    def _is_possible(self) -> bool:
        counts = (self.epoch, self.best_epoch, self.rises, self.patience or 0)
        losses = (self.best_loss, self.last_loss)
        return (
            self.stopping in get_args(Stopping)
            and all(type(count) is int for count in counts)
            and all(type(loss) is float for loss in losses)
            and (self.patience is None or self.patience >= 1)
            and 0 <= self.best_epoch <= self.epoch
            and 0 <= self.rises <= self.epoch
            and -math.inf < self.best_loss <= self.last_loss
            and (self.best_loss == math.inf) == (self.best_epoch == 0)
        )
