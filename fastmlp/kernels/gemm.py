"""The loops around the register tile.

The panel pair is the outer loop and the batch rows the inner one: K x 2 vectors of W stay in L2 while all rows
of the batch pass over them. Splitting K into blocks so that they stay in L1 was tried (256 to 1024 rows, 14 x 2
tile, X [98, 3072] @ W [3072, 512], Zen 5): 3 to 10 % slower than whole columns, because the partial sums go
through memory. Nor did it help to ask for W's rows 16 or 48 ahead (-2 to +1 % of network A's speed).
"""

from fastmlp.kernels.elementwise import elementwise
from fastmlp.kernels.jit import helper, kernel
from fastmlp.kernels.simd import IDENTITY, RELU, RELU_GRADIENT, multiply_tile
from fastmlp.kernels.tiles import TILE

ROWS, VECTORS = TILE.rows, TILE.vectors

NARROW_ROWS = TILE.narrow_rows


@helper
def tile_height(rows, vectors):
    """Rows of the next tile when `rows` are left: of equal, even heights where tiles are full."""
    if vectors == VECTORS:
        if rows == 1:
            return 1
        tiles = (rows + ROWS - 1) // ROWS
        even = (rows + 2 * tiles - 1) // (2 * tiles) * 2
        return even if even <= rows else rows - 1
    for height in NARROW_ROWS:
        if height <= rows:
            return height
    return 1


@kernel
def multiply(
    A, W, start, start_row, start_panel, out, epilogue, mask, panel_from, panel_to, row_from, row_to
):
    """``out = epilogue(start + A @ W)`` for a rectangle of the output.

    Parameters
    ----------
    A : array [K / lanes, M, lanes]
    W : array [N / lanes, K, lanes]
    start : array
        What sums begin with: row m of panel p starts at element ``m * start_row + p * start_panel``.
    out, mask : arrays [N / lanes, M, lanes]
        The result, and what the epilogue needs beside it.
    epilogue : int
        IDENTITY, RELU or a code of ``simd.map_vectors``, whose second operand is then `mask`.
    panel_from, panel_to, row_from, row_to : int
        The rectangle.
    """
    lanes = out.shape[2]
    height = out.shape[1]
    in_registers = epilogue == RELU or epilogue == RELU_GRADIENT
    for p in range(panel_from, panel_to, VECTORS):
        vectors = min(VECTORS, panel_to - p)
        top = row_from
        while top < row_to:
            rows = tile_height(row_to - top, vectors)
            multiply_tile(
                rows,
                vectors,
                A,
                top * lanes,
                W,
                p * W.shape[1] * lanes,
                start,
                top * start_row + p * start_panel,
                start_row,
                start_panel,
                out,
                (p * height + top) * lanes,
                epilogue if in_registers else IDENTITY,
                mask,
            )
            if not in_registers and epilogue != IDENTITY:
                elementwise(epilogue, out, mask, out, p, p + vectors, top, top + rows)
            top += rows
