"""The weight gradient of a layer under ReLU: rows of the batch whose gradient is zero are left out.

About half of what reaches a layer under ReLU is zero, a different half for each unit. A tile of `update_tile` holds
many units of many inputs and can leave nothing out. Here a tile is one unit and ``TILE.slabs`` panels of its inputs,
whose sums run over just the rows that the unit marks; the sums of a panel of units, transposed, are then a block of
weights' gradient. Adding what a zero multiplies changes no finite sum: the bits are those of `update_tile`. (Of a
network that has diverged they are not: zero times infinity is left out here and NaN there.)

On one core (Zen 5, 3072 x 512, float32, half of D zero) the update takes 0.80 of the time at batch 64 and 100, 0.74
at 256, 0.9 at 32; narrower tiles gain more, network A's whole step takes 0.81 with AVX2. What did not help: 12 panels
(their rows overflow L1), 4 or 6 (as good, but 784 inputs are 49 panels); lists of rows instead of marks (1.2 times as
long: an address that is itself loaded comes late); rows of 128 instead of 64 at a time (L1 again), or equal words of
50 rows (2 %). In bfloat16, where one of two rows must be there, three quarters are: 1.1 times as long.
Pairs of the rows that are there, made while they are read, keep the bits (a pair is two multiply-adds, one after the
other) and form the sums in 0.70 of the time, at best: unpacking costs nothing beside the products, but an integer load
among those of 64 bytes costs 1.5 of them, so that rows are found from marks and only the gradients are listed. Yet the
weights then go by in pieces of 12 kB, which no order of the tiles and no asking ahead could hide: 0.9 of the update's
time on one core and 1.3 while memory is slow, 1.0 of a step on two.
"""

from fastmlp.kernels.jit import helper, kernel
from fastmlp.kernels.pack import round_up
from fastmlp.kernels.simd import WORD, mark_nonzeros, sum_marked, sum_of_squares, update_blocks
from fastmlp.kernels.tiles import TILE

SLABS, SPARSE_BELOW = TILE.slabs, TILE.sparse_below

# Panels of units that are updated side by side: their sums (64 kB in float32) stay in L2 while the words of the batch
# are taken in turn. With 4, 2 % slower.
PANELS = 8

# Below, the tiles' own cost is more than what is left out.
FROM_BATCH = 24


def room(panels: int, lanes: int, batch: int, item_bytes: int) -> tuple[int, int]:
    """How many elements a thread's marks and sums take, for layers of up to so many panels."""
    mark_bytes = panels * lanes * round_up(batch, WORD) // 8
    return mark_bytes // item_bytes, PANELS * SLABS * lanes * lanes


@helper
def words_of(batch):
    """Words of marks for a batch."""
    return (batch + WORD - 1) // WORD


@helper
def mark_panel(D, room, marks, p):
    """Mark panel p's nonzeros; whether there are few."""
    _, batch, lanes = D.shape
    count = 0
    for k in range(words_of(batch)):
        first = k * WORD
        rows = min(WORD, batch - first)
        place = (p * words_of(batch) + k) * lanes
        count += mark_nonzeros(D, (p * batch + first) * lanes, rows, room, marks, place)
    return count < SPARSE_BELOW * batch * lanes


@kernel
def alike(D, room, marks, panel_from, panel_to):
    """Where the panels end that are sparse, or dense, like the first, and which of the two. Marks are written."""
    is_sparse = mark_panel(D, room, marks, panel_from)
    last = panel_from + 1
    while last < panel_to and mark_panel(D, room, marks, last) == is_sparse:
        last += 1
    return last, is_sparse


@kernel
def update_sparse(
    X, D, W, V, S, rule, hyper, squares, room, marks, sums, panel_from, panel_to, slab_from, slab_to
):
    """`update.update`, whose parameters these are, for panels that `alike` marked and whole tiles of slabs."""
    _, batch, lanes = D.shape
    words = words_of(batch)
    size = lanes * lanes
    for first in range(panel_from, panel_to, PANELS):
        last = min(first + PANELS, panel_to)
        for s in range(slab_from, slab_to, SLABS):
            for k in range(words):
                for p in range(first, last):
                    block = (p * W.shape[1] + s * lanes) * lanes
                    place = (p - first) * SLABS * size
                    for unit in range(lanes):
                        sum_marked(
                            X,
                            (s * batch + k * WORD) * lanes,
                            D,
                            (p * batch + k * WORD) * lanes + unit,
                            room,
                            marks,
                            (p * words + k) * lanes + unit,
                            sums + place + unit * lanes,
                            k == 0,
                            k == words - 1,
                            W,
                            V,
                            block + unit * SLABS * lanes,
                        )
                    if k == words - 1:
                        if squares.size > 0:
                            for slab in range(SLABS):
                                squares[p, s + slab] = sum_of_squares(W, block + slab * size, lanes)
                        update_blocks(room, sums + place, W, V, S, block, rule, hyper)
