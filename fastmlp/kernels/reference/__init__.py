"""A plain NumPy twin of every kernel: same name, same arguments, same arrays.

A twin says in the fewest words what its kernel computes, for tests to compare with. It takes the kernel's panels and
writes the same part of the same outputs, but knows no tile, no vector and no order of summation, and its arithmetic
is float64 whatever the arrays hold. Outputs may be float64 where a kernel's would be float32: the result is then not
rounded.

Twins of kernels on images are in the modules convolution, pooling and batchnorm. They take and return images
[N, C, H, W], whose layout is no part of what is computed.
"""

from fastmlp.kernels.reference.activations import ACTIVATIONS, FUNCTIONS
from fastmlp.kernels.reference.bfloat16 import (
    columns_of,
    from_bfloat16,
    rows_of,
    rows_of_pairs,
    to_bfloat16,
)
from fastmlp.kernels.reference.dropout import draw_mask
from fastmlp.kernels.reference.elementwise import elementwise
from fastmlp.kernels.reference.gather import alter_row, flip_row, gather
from fastmlp.kernels.reference.loss import elementwise_loss, softmax_cross_entropy
from fastmlp.kernels.reference.multiply import multiply
from fastmlp.kernels.reference.narrow import gather_multiply, update_narrow
from fastmlp.kernels.reference.operands import write_operands, write_right_operand
from fastmlp.kernels.reference.pack import transpose
from fastmlp.kernels.reference.panels import to_matrix, to_panels
from fastmlp.kernels.reference.squares import sum_squares
from fastmlp.kernels.reference.update import update

__all__ = [
    "ACTIVATIONS",
    "FUNCTIONS",
    "alter_row",
    "columns_of",
    "draw_mask",
    "elementwise",
    "elementwise_loss",
    "flip_row",
    "from_bfloat16",
    "gather",
    "gather_multiply",
    "multiply",
    "rows_of",
    "rows_of_pairs",
    "softmax_cross_entropy",
    "sum_squares",
    "to_bfloat16",
    "to_matrix",
    "to_panels",
    "transpose",
    "update",
    "update_narrow",
    "write_operands",
    "write_right_operand",
]
