"""Early stopping against its definition, written out over the whole list of losses."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.errors import FormatError
from fastmlp.training.config import Stopping
from fastmlp.training.stopping import Patience

LOSSES = st.lists(
    st.sampled_from([0.25, 0.5, 0.75, 1.0]) | st.floats(0.125, 2, width=16)
    | st.sampled_from([math.nan, math.inf, -math.inf]),
    max_size=30,
)  # fmt: skip
MODES = st.sampled_from(["best", "rises"])


def follow(state: Patience, losses: list[float]) -> list[str]:
    verdicts: list[str] = []
    for loss in losses:
        state = state.update(loss)
        verdicts.append(state.verdict)
    return verdicts


def defined(patience: int | None, stopping: Stopping, losses: list[float]) -> str:
    """Return what the definition says after all these losses."""
    seen = [loss if math.isfinite(loss) else math.inf for loss in losses]
    *before, last = seen
    if last < min(before, default=math.inf):
        return "improved"
    if patience is None:
        return "wait"
    if stopping == "best":
        recent, older = seen[-patience:], seen[:-patience]
        full = len(recent) == patience
        return "stop" if full and min(recent) >= min(older, default=math.inf) else "wait"
    rises = [b > a or b == math.inf for a, b in zip([math.inf, *seen], seen, strict=False)]
    return "stop" if len(rises) >= patience and all(rises[-patience:]) else "wait"


@given(patience=st.none() | st.integers(1, 4), stopping=MODES, losses=LOSSES)
def test_verdict_is_the_definition(
    patience: int | None, stopping: Stopping, losses: list[float]
) -> None:
    expected = [defined(patience, stopping, losses[: end + 1]) for end in range(len(losses))]
    assert follow(Patience(patience, stopping), losses) == expected


@pytest.mark.parametrize(
    ("stopping", "losses", "verdicts"),
    [
        # Study 1: the validation loss has risen twice in a row.
        ("rises", [0.9, 0.5, 0.6, 0.55, 0.6, 0.7], "improved improved wait wait wait stop"),
        ("rises", [0.5, 0.6, 0.6, 0.7, 0.8], "improved wait wait wait stop"),
        ("rises", [0.5, math.nan, math.nan], "improved wait stop"),
        ("rises", [math.nan, 0.5], "wait improved"),
        ("best", [0.5, 0.6, 0.5], "improved wait stop"),
        ("best", [0.5, 0.6, 0.4, 0.4, 0.4], "improved wait improved wait stop"),
        ("best", [0.5, math.nan, math.inf], "improved wait stop"),
        ("best", [math.nan, math.nan], "wait stop"),
    ],
)
def test_patience_of_two(stopping: Stopping, losses: list[float], verdicts: str) -> None:
    assert follow(Patience(2, stopping), losses) == verdicts.split()


def test_best_epoch_counts_from_one_and_its_loss_is_kept() -> None:
    state = Patience(None)
    assert (state.verdict, state.best_epoch, state.best_loss) == ("wait", 0, math.inf)
    for loss in (0.9, 0.4, 0.6, 0.4, math.nan):
        state = state.update(loss)
    assert (state.epoch, state.best_epoch, state.best_loss) == (5, 2, 0.4)


@given(patience=st.none() | st.integers(1, 4), stopping=MODES, losses=LOSSES)
def test_a_resumed_state_goes_on_as_if_never_stored(
    patience: int | None, stopping: Stopping, losses: list[float]
) -> None:
    state = Patience(patience, stopping)
    for loss in losses:
        state = state.update(loss)
        stored = json.dumps(state.as_dict(), allow_nan=False)
        assert Patience.from_dict(json.loads(stored)) == state


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"stopping": "worst"},
        {"patience": 0},
        {"patience": "2"},
        {"epoch": 1.0},
        {"epoch": -1},
        {"best_epoch": 3},
        {"best_epoch": 0},
        {"rises": True},
        {"best_loss": None},
        {"best_loss": math.nan},
        {"last_loss": 0.1},
    ],
)
def test_a_state_no_run_can_have_reached_is_refused(changes: dict[str, Any]) -> None:
    state = Patience(2).update(0.5).update(0.7).as_dict()
    with pytest.raises(FormatError, match=r"^early stopping: found "):
        Patience.from_dict(state | changes)
    with pytest.raises(FormatError, match=r"^early stopping: found "):
        Patience.from_dict({})
