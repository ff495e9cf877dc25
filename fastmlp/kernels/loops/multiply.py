"""Products: the loops around the register tile.

The panel pair is the outer loop and the rows of the batch the inner one: K x 2 vectors of W stay in L2 while all rows
pass over them. EXPERIMENTS.md, "Products", tells what did not help.
"""

from fastmlp.kernels.arguments import Part
from fastmlp.kernels.codes import IDENTITY
from fastmlp.kernels.emit.products import RELU, RELU_GRADIENT, multiply_tile
from fastmlp.kernels.jit import helper, subkernel
from fastmlp.kernels.loops.elementwise import elementwise
from fastmlp.kernels.tiles import TILE

MOST_ROWS, MOST_VECTORS, NARROW_ROWS = TILE.rows, TILE.vectors, TILE.narrow_rows


@helper
def tile_height(rows, vectors):
    """Rows of the next tile when `rows` are left: of equal, even heights where tiles are full."""
    if vectors == MOST_VECTORS:
        if rows == 1:
            return 1
        tiles = (rows + MOST_ROWS - 1) // MOST_ROWS
        even = (rows + 2 * tiles - 1) // (2 * tiles) * 2
        return even if even <= rows else rows - 1
    for height in NARROW_ROWS:
        if height <= rows:
            return height
    return 1


@subkernel
def multiply(A, W, start, out, epilogue, part):
    """``out = start + A @ W`` for a part of the output, and ``result = f(out, other)``.

    A hidden layer is ``H = activation(b + X @ W)``. The gradient of its input is ``G = (D @ W.T) * activation'(H)``,
    with the gradient that a residual connection passes on as start.

    Parameters
    ----------
    A : array [K / lanes, M, lanes], or pairs of its columns
    W : array [N / lanes, K, lanes], or pairs of its rows
    start : array [N / lanes or 1, M or 1, lanes]
        What sums begin with; a length of 1 is repeated.
    out : array [N / lanes, M, lanes]
        May be `start`, no other argument.
    epilogue : Epilogue
        With RELU and RELU_GRADIENT, which a tile does in its registers, `result` is `out`; with IDENTITY it is not
        written.
    part : Part
        Panels and rows of `out`.
    """
    _, height, lanes = out.shape
    start_row = lanes if start.shape[1] > 1 else 0
    start_panel = start.shape[1] * lanes if start.shape[0] > 1 else 0
    in_registers = epilogue.code == RELU or epilogue.code == RELU_GRADIENT
    for p in range(part.panel_from, part.panel_to, MOST_VECTORS):
        vectors = min(MOST_VECTORS, part.panel_to - p)
        top = part.row_from
        while top < part.row_to:
            rows = tile_height(part.row_to - top, vectors)
            multiply_tile(
                A,
                W,
                start,
                out,
                epilogue.other,
                (
                    rows,
                    vectors,
                    top * lanes,
                    p * W.shape[1] * lanes,
                    top * start_row + p * start_panel,
                    (p * height + top) * lanes,
                ),
                (start_row, start_panel),
                epilogue.code if in_registers else IDENTITY,
            )
            if not in_registers and epilogue.code != IDENTITY:
                tile = Part(p, p + vectors, top, top + rows)
                elementwise(epilogue.code, out, epilogue.other, epilogue.result, tile)
            top += rows
