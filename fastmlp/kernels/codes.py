"""The integers that Python and the compiled kernels share: what to do, how, and who does it.

They are 64-bit NumPy integers: a plain Python integer in a call is a type of its own to Numba, and the kernel would
be compiled once more for it.
"""

from typing import Any

import numpy as np


def _numbered(count: int) -> tuple[Any, ...]:
    return tuple(map(np.int64, range(count)))


# Operations of a program; program.py says what each reads and writes.
(
    MEET,
    GATHER,
    MULTIPLY,
    ELEMENTWISE,
    MASK,
    OPERANDS,
    LOSS,
    LOGITS,
    SQUARES,
    TOTAL,
    UPDATE,
    TRANSPOSE,
) = _numbered(12)

# How a team shares an operation: each thread takes rows of the batch, panels of the output, groups of rows of the
# weights, or a copy of everything; or the first thread does it alone.
ROWS, PANELS, SLABS, COPIES, FIRST = _numbered(5)

# Functions of whole vectors, see emit/vectors.py. Those of activations follow, see activations.py.
IDENTITY, EXP, ADD, MULTIPLIED, SIGMOID = _numbered(5)
FIRST_ACTIVATION = 16

# Rules of the optimiser's step, see emit/steps.py.
PLAIN, HEAVY_BALL, VELOCITY, ADAM, RMSPROP = _numbered(5)

# Columns of a rule's numbers.
COLUMNS = 10
DECAY, MOMENTUM, GAIN, STEP, GRADIENT_STEP = range(5)
SQUARE_DECAY, SQUARE_GAIN, ROOT_SCALE, EPSILON, KEPT = range(5, COLUMNS)

# Losses, see loops/loss.py.
SOFTMAX, LOGISTIC, SQUARED = _numbered(3)
