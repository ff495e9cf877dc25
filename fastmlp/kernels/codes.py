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
    GATHER_MULTIPLY,
    GATHER_IMAGES,
    CONVOLVE,
    CONVOLUTION_GRADIENTS,
    STEP_OF_SUMS,
    FLATTEN,
    UNFLATTEN,
    MAP_IMAGES,
    MASK_IMAGES,
    POOL,
    UNPOOL,
    MEASURE,
    NORMALIZE,
    MEASURE_GRADIENTS,
    NORMALIZATION_GRADIENT,
) = _numbered(27)

# What only some programs have, which compile it: operations of images from the first on, and those that few need.
FIRST_OF_IMAGES, FIRST_RARE = GATHER_IMAGES, MAP_IMAGES

# Images whose gradients are added up before they are written down, and that a thread takes through a network together.
GROUP = 16

# How a team shares an operation: each thread takes rows of the batch, panels of the output, groups of rows of the
# weights, or a copy of everything; or the first thread does it alone. Of images, each thread takes groups of
# GROUP of the batch, or rows of pixels of all.
ROWS, PANELS, SLABS, COPIES, FIRST, GROUPS, INSIDE = _numbered(7)

# What CONVOLUTION_GRADIENTS does, added up: see loops/convolution_gradients.py.
SPREAD, INPUT_GRADIENT, WEIGHT_GRADIENT = map(np.int64, (1, 2, 4))

# Sums over pixels, see emit/batchnorm.py.
SUMS, SQUARES_OF, PRODUCTS = _numbered(3)

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
