"""The weight gradient of a layer under ReLU: rows of the batch whose gradient is zero are left out.

About half of what reaches a layer under ReLU is zero, a different half for each unit. A tile of `update_tile` holds
many units of many inputs and can leave nothing out. Here a tile is one unit and ``TILE.slabs`` panels of its inputs,
whose sums run over just the rows that the unit marks; the sums of a panel of units, transposed, are then a block of
weights' gradient. Adding what a zero multiplies changes no finite sum: the bits are those of `update_tile`. (Those of
a network that has diverged are not: zero times infinity is left out here and NaN there.)

EXPERIMENTS.md, "Leaving out zeros", has what this saves and what did not help.
"""

from fastmlp.kernels.emit.nonzeros import WORD, mark_nonzeros, sum_marked, update_blocks
from fastmlp.kernels.jit import helper, subkernel
from fastmlp.kernels.loops.pack import round_up
from fastmlp.kernels.tiles import TILE

SLABS, SPARSE_BELOW = TILE.slabs, TILE.sparse_below

# Panels of units that are updated side by side: their sums (64 kB in float32) stay in L2 while the words of the batch
# are taken in turn.
PANELS = 8

# Below, the tiles' own cost is more than what is left out.
FROM_BATCH = 24


def room(panels: int, lanes: int, batch: int, item_bytes: int) -> tuple[int, int]:
    """Return how many elements a thread's marks and sums take, for layers of up to so many panels."""
    mark_bytes = panels * lanes * round_up(batch, WORD) // 8
    return mark_bytes // item_bytes, PANELS * SLABS * lanes * lanes


@helper
def words_of(batch):
    """Words of marks for a batch."""
    return (batch + WORD - 1) // WORD


@helper
def mark_panel(D, marks, p):
    """Mark panel p's nonzeros; whether there are few."""
    _, batch, lanes = D.shape
    count = 0
    for k in range(words_of(batch)):
        first = k * WORD
        rows = min(WORD, batch - first)
        place = (p * words_of(batch) + k) * lanes
        count += mark_nonzeros(
            D, (p * batch + first) * lanes, rows, marks.array, marks.marks, place
        )
    return count < SPARSE_BELOW * batch * lanes


@subkernel
def alike(D, marks, panel_from, panel_to):
    """Where the panels end that are sparse, or dense, like the first, and which of the two. Marks are written."""
    is_sparse = mark_panel(D, marks, panel_from)
    last = panel_from + 1
    while last < panel_to and mark_panel(D, marks, last) == is_sparse:
        last += 1
    return last, is_sparse


@subkernel
def update_sparse(X, D, weights, rule, hyper, marks, part):
    """`update.update`, whose parameters these are, for panels that `alike` marked and whole tiles of slabs."""
    _, batch, lanes = D.shape
    words = words_of(batch)
    size = lanes * lanes
    W, V = weights.W, weights.V
    for first in range(part.panel_from, part.panel_to, PANELS):
        last = min(first + PANELS, part.panel_to)
        for s in range(part.row_from, part.row_to, SLABS):
            for k in range(words):
                for p in range(first, last):
                    block = (p * W.shape[1] + s * lanes) * lanes
                    sums = marks.sums + (p - first) * SLABS * size
                    for unit in range(lanes):
                        places = (
                            (s * batch + k * WORD) * lanes,
                            (p * batch + k * WORD) * lanes + unit,
                            marks.marks,
                            (p * words + k) * lanes + unit,
                            sums + unit * lanes,
                            block + unit * SLABS * lanes,
                        )
                        sum_marked(X, D, marks.array, W, V, places, k == 0, k == words - 1)
                    if k == words - 1:
                        update_blocks(marks.array, sums, W, V, weights.S, block, rule, hyper)
