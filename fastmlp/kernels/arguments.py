"""What travels together into the kernels."""

from typing import NamedTuple

import numpy as np

# Two bfloat16 that stand next to each other along a sum, the first in the low half of their 32 bits.
PAIR = np.dtype([("first", np.uint16), ("second", np.uint16)])

# What a sample is mixed with: the number of another among the epoch's, and the share that stays its own.
MIX = np.dtype([("partner", np.int64), ("share", np.float64)])


class Samples(NamedTuple):
    """What batches are gathered from.

    Attributes
    ----------
    images : array [N, D] of uint8, float32 or float64
    labels : array [N] of int64
        For the loss SOFTMAX.
    targets : array [N, outputs]
        For the other losses.
    scale, shift : arrays [D]
        A feature enters the network as ``image * scale + shift``.
    columns : int
        Width of an image, for flipping.
    fill : array [channels, height, width] like images, or None
        What pixels become that are cut out; None if no image is moved or cut.
    """

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    columns: int
    fill: np.ndarray | None = None


class Batches(NamedTuple):
    """The order in which samples are seen, batch by batch.

    Attributes
    ----------
    order : array [n] of int64
        Rows of the samples.
    flips : array [n] of bool
        Which of them are mirrored, or altered as `moves` says.
    factors : array [n] of the parameters' type
        What each sample's gradient is multiplied by: 1 / batch for a mean loss, 1 for a sum.
    size : int
        Rows of a batch; the last may have fewer.
    first, last : int
        The batches that are taken: the first, and the one after the last.
    dropout_key : uint64
        What the epoch's dropout follows from.
    moves : array [n, 7] of int32, or None
        How they are altered: whether they are mirrored, by how many pixels they are moved down and to the right, and
        the square that is cut out: its first row and the one after its last, its first column and the one after its
        last. None if they are mirrored at most.
    mixes : array [n] of MIX, or None
        What they are mixed with after that, both samples and what is true of them; of length 0 if nothing is, and None
        with `moves`.
    """

    order: np.ndarray
    flips: np.ndarray
    factors: np.ndarray
    size: int
    first: int
    last: int
    dropout_key: np.uint64
    moves: np.ndarray | None = None
    mixes: np.ndarray | None = None


Altered = tuple[np.ndarray, np.ndarray]
"""The moves and the mixes of `Batches`."""


class Model(NamedTuple):
    """The flat buffers of one network.

    Attributes
    ----------
    parameters : array
        Weights and biases; behind them, where products read them, transposed weights.
    right : array
        What products read on their right: the parameters themselves, or pairs of bfloat16.
    velocity, squares : arrays like the parameters
        What the optimiser remembers; a rule without need of one leaves it alone.
    """

    parameters: np.ndarray
    right: np.ndarray
    velocity: np.ndarray
    squares: np.ndarray


class Room(NamedTuple):
    """Memory that a team works in.

    Attributes
    ----------
    workspace : array
        Activations and gradients.
    operands : array
        What products read on their left: the workspace itself, or pairs of bfloat16.
    mirrored : array [threads, batch, D] like images
        Each thread's mirrored images.
    """

    workspace: np.ndarray
    operands: np.ndarray
    mirrored: np.ndarray


class FirstLayer(NamedTuple):
    """What the first layer of a network reads and writes.

    Attributes
    ----------
    X : array [D / lanes, batch, lanes]
        The batch.
    W, bias : arrays [N / lanes, D, lanes] and [N / lanes, 1, lanes]
    out : array [N / lanes, batch, lanes]
    mirrored : array [batch, D] like images
        Room for mirrored rows.
    slab_from, slab_to : int
        Panels of X to write.
    """

    X: np.ndarray
    W: np.ndarray
    bias: np.ndarray
    out: np.ndarray
    mirrored: np.ndarray
    slab_from: int
    slab_to: int


class Rule(NamedTuple):
    """How the optimiser steps.

    Attributes
    ----------
    code : int
        PLAIN, HEAVY_BALL, VELOCITY, ADAM or RMSPROP.
    hyper : array [steps, groups, COLUMNS]
        The numbers of each step, for each group of parameters.
    """

    code: np.int64
    hyper: np.ndarray


class Record(NamedTuple):
    """What a program writes down; it writes only what its instructions name.

    Attributes
    ----------
    losses : array [n] of float64
        Per sample in order, before its batch's step.
    correct : array [n] of bool
        Whether its label was the most likely class; with the loss SOFTMAX.
    squares : array [units] of float64
        The sum of squares of each unit's weights.
    penalties : array [steps] of float64
        The sum of squares of all weights before each step.
    logits : array [n, outputs]
    """

    losses: np.ndarray
    correct: np.ndarray
    squares: np.ndarray
    penalties: np.ndarray
    logits: np.ndarray


class Team(NamedTuple):
    """This thread's place among those that share the call.

    Attributes
    ----------
    rank, size : int
    barrier : array [WORDS] of int64, of ``emit/barrier.py``
        Zeros at first, shared by the team.
    """

    rank: int
    size: int
    barrier: np.ndarray


class Part(NamedTuple):
    """A rectangle of panels [count, rows, lanes]: some panels, and some rows of each."""

    panel_from: int
    panel_to: int
    row_from: int
    row_to: int


class Images(NamedTuple):
    """What a program with convolutions has beside its instructions.

    Attributes
    ----------
    shapes : array of SHAPE
        What its instructions work on: see ``program.py``.
    taps : array of int64
        For each convolution, the place of each tap in its input, from that of the first.
    """

    shapes: np.ndarray
    taps: np.ndarray


class Gradients(NamedTuple):
    """What the gradients of a convolution are computed from, and where they go.

    Attributes
    ----------
    G : array [blocks, O * rows * columns, lanes]
        The gradient of the output, or of what was pooled from it.
    which : array
        Bytes that say what was pooled.
    D : array
        The gradient of the output, see ``loops/spread.py``.
    X : array
        The input.
    W : array [O / lanes, C * K * K, lanes]
    taps : array of int64
        The place of each tap in X.
    dX : array [blocks, C * H * W, lanes]
        The gradient of the input.
    sums : array [groups * O / lanes, C * K * K + 1, lanes]
        The gradients of weights and, in the last row, biases, in parts.
    room : array
        This thread's, for sums that wait for more pixels.
    """

    G: np.ndarray
    which: np.ndarray
    D: np.ndarray
    X: np.ndarray
    W: np.ndarray
    taps: np.ndarray
    dX: np.ndarray
    sums: np.ndarray
    room: np.ndarray


class Whose(NamedTuple):
    """The images of a batch that are a thread's.

    Attributes
    ----------
    group_from, group_to : int
        Its groups of images.
    blocks : int
        Blocks of the whole batch.
    part, parts : int
        Of `parts` equal parts of each image, number `part` is its.
    """

    group_from: int
    group_to: int
    blocks: int
    part: int
    parts: int


class World(NamedTuple):
    """What instructions work on.

    Attributes
    ----------
    samples : Samples
    batches : Batches
    model : Model
    room : Room
    rule : Rule
    record : Record
    """

    samples: Samples
    batches: Batches
    model: Model
    room: Room
    rule: Rule
    record: Record


class Epilogue(NamedTuple):
    """What becomes of a product's sums: ``result = f(sums, other)``.

    Attributes
    ----------
    code : int
        Names f.
    other, result : arrays like the product
    """

    code: int
    other: np.ndarray
    result: np.ndarray


class Weights(NamedTuple):
    """One layer's weights as a step changes them.

    Attributes
    ----------
    W, V, S : arrays [panels, rows, lanes]
        Weights, velocity and mean squares.
    right : array
        The weights as a product reads them: W itself, or pairs of its rows, which are written anew.
    """

    W: np.ndarray
    V: np.ndarray
    S: np.ndarray
    right: np.ndarray


class Marks(NamedTuple):
    """One thread's memory for leaving out zeros: elements of `array`, from `marks` and from `sums` on."""

    array: np.ndarray
    marks: int
    sums: int
