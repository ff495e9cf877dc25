"""A whole epoch in one call: the order in which the kernels run, and what a team waits for.

Every thread of a team calls the same function with its own `rank`. Between the barriers a thread writes only
its share of the outputs. Consecutive layers that are shared by rows need no barrier between them: a thread
carries its own rows through all of them.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels.backward import input_gradient
from fastmlp.kernels.forward import affine
from fastmlp.kernels.gather import gather
from fastmlp.kernels.jit import ONE, ZERO, inlined, kernel
from fastmlp.kernels.loss import softmax_cross_entropy
from fastmlp.kernels.pack import transpose
from fastmlp.kernels.plan import (
    BACK_SPLIT,
    BIAS,
    COLUMNS,
    GRADIENT,
    INPUT,
    INPUT_PANELS,
    INPUTS,
    OUTPUT,
    OUTPUT_PANELS,
    OUTPUTS,
    ROWS,
    SPLIT,
    TRANSPOSED,
    WEIGHTS,
    ZEROS,
)
from fastmlp.kernels.simd import IDENTITY, RELU, panels
from fastmlp.kernels.team import first_of, meet
from fastmlp.kernels.update import update


class Samples(NamedTuple):
    """What batches are gathered from.

    Attributes
    ----------
    images : array [N, D] of uint8, float32 or float64
    labels : array [N] of int64
    scale, shift : arrays [D]
        A feature enters the network as ``image * scale + shift``.
    columns : int
        Width of an image, for flipping.
    """

    images: np.ndarray
    labels: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    columns: int


class Model(NamedTuple):
    """The flat buffers of one network; `table` is that of its plan."""

    table: np.ndarray
    parameters: np.ndarray
    velocity: np.ndarray


class Team(NamedTuple):
    """This thread's place among those that share the call.

    Attributes
    ----------
    rank, size : int
    barrier : array [16] of int64
        Zeros at first, shared by the team.
    """

    rank: int
    size: int
    barrier: np.ndarray


@inlined
def forward_layer(table, layer, parameters, workspace, batch, team):
    """One layer for this thread's share of the batch."""
    row = table[layer]
    X = panels(workspace, row[INPUT], row[INPUT_PANELS], batch)
    H = panels(workspace, row[OUTPUT], row[OUTPUT_PANELS], batch)
    W = panels(parameters, row[WEIGHTS], row[OUTPUT_PANELS], row[INPUT_PANELS] * X.shape[2])
    b = panels(parameters, row[BIAS], row[OUTPUT_PANELS], 1)
    epilogue = RELU if layer < table.shape[0] - 1 else IDENTITY
    if row[SPLIT] == COLUMNS:
        first = first_of(row[OUTPUT_PANELS], team.rank, team.size)
        last = first_of(row[OUTPUT_PANELS], team.rank + 1, team.size)
        affine(X, W, b, H, epilogue, first, last, ZERO, batch)
    else:
        first = first_of(batch, team.rank, team.size)
        last = first_of(batch, team.rank + 1, team.size)
        affine(X, W, b, H, epilogue, ZERO, row[OUTPUT_PANELS], first, last)


@inlined
def backward_layer(table, layer, workspace, batch, team):
    """The gradient that layer `layer` hands down, for this thread's share of the batch."""
    row = table[layer]
    D = panels(workspace, row[GRADIENT], row[OUTPUT_PANELS], batch)
    T = panels(workspace, row[TRANSPOSED], row[INPUT_PANELS], row[OUTPUT_PANELS] * D.shape[2])
    zeros = panels(workspace, ZEROS, 1, 1)
    H = panels(workspace, row[INPUT], row[INPUT_PANELS], batch)
    G = panels(workspace, table[layer - 1, GRADIENT], row[INPUT_PANELS], batch)
    if row[BACK_SPLIT] == COLUMNS:
        first = first_of(row[INPUT_PANELS], team.rank, team.size)
        last = first_of(row[INPUT_PANELS], team.rank + 1, team.size)
        input_gradient(D, T, zeros, H, G, first, last, ZERO, batch)
    else:
        first = first_of(batch, team.rank, team.size)
        last = first_of(batch, team.rank + 1, team.size)
        input_gradient(D, T, zeros, H, G, ZERO, row[INPUT_PANELS], first, last)


@inlined
def weights_share(row, team):
    """This thread's rectangle of a layer's weights: panels, or groups of rows where panels are few."""
    by_panels = row[OUTPUT_PANELS] >= 2 * team.size
    count = row[OUTPUT_PANELS] if by_panels else row[INPUT_PANELS]
    first = first_of(count, team.rank, team.size)
    last = first_of(count, team.rank + 1, team.size)
    if by_panels:
        return first, last, ZERO, row[INPUT_PANELS]
    return ZERO, row[OUTPUT_PANELS], first, last


@inlined
def transpose_layer(table, layer, parameters, workspace, team):
    """Write this thread's share of W.T; the first layer needs none."""
    row = table[layer]
    lanes = panels(workspace, ZEROS, 1, 1).shape[2]
    W = panels(parameters, row[WEIGHTS], row[OUTPUT_PANELS], row[INPUT_PANELS] * lanes)
    T = panels(workspace, row[TRANSPOSED], row[INPUT_PANELS], row[OUTPUT_PANELS] * lanes)
    panel_from, panel_to, slab_from, slab_to = weights_share(row, team)
    transpose(W, T, panel_from, panel_to, slab_from, slab_to)


@inlined
def update_layer(table, layer, model, workspace, batch, rule, hyper, bias_hyper, team):
    """One step of this thread's share of a layer's weights, and of its biases."""
    row = table[layer]
    X = panels(workspace, row[INPUT], row[INPUT_PANELS], batch)
    D = panels(workspace, row[GRADIENT], row[OUTPUT_PANELS], batch)
    lanes = X.shape[2]
    rows = row[INPUT_PANELS] * lanes
    W = panels(model.parameters, row[WEIGHTS], row[OUTPUT_PANELS], rows)
    V = panels(model.velocity, row[WEIGHTS], row[OUTPUT_PANELS], rows)
    panel_from, panel_to, slab_from, slab_to = weights_share(row, team)
    update(X, D, W, V, row[INPUTS], rule, hyper, panel_from, panel_to, slab_from, slab_to)
    if slab_from == 0:
        ones = panels(workspace, lanes, 1, batch)
        b = panels(model.parameters, row[BIAS], row[OUTPUT_PANELS], 1)
        c = panels(model.velocity, row[BIAS], row[OUTPUT_PANELS], 1)
        update(ones, D, b, c, ONE, rule, bias_hyper, panel_from, panel_to, ZERO, ONE)


@kernel
def train_epoch(
    samples, order, flips, model, workspace, scratch, batch_size, weight, rule, hyper, losses, correct, team
):
    """Take one optimiser step per batch of ``order``, the last of which may be smaller.

    Parameters
    ----------
    samples : Samples
    order : array [n] of int64
        Rows of the data set, in the order they are seen.
    flips : array [n] of bool
        Which of them are mirrored.
    model : Model
        Changed in place.
    workspace : array
        The plan's workspace, shared by the team; its first vector is zeros, the next `batch_size` ones.
    scratch : array [batch_size, D] like images
        Room for mirrored images.
    batch_size : int
    weight : float
        0 for a mean loss over the batch, else what every sample's gradient is multiplied by.
    rule : int
        SGD, MOMENTUM or NESTEROV of ``simd.py``.
    hyper : array [2, 3]
        Learning rate, momentum and weight decay; for weights, for biases.
    losses : array [n] of float64
    correct : array [n] of bool
        Per sample in order, before its batch's step.
    team : Team
    """
    table = model.table
    layers = table.shape[0]
    count = order.shape[0]
    classes = table[layers - 1, OUTPUTS]
    for layer in range(1, layers):
        transpose_layer(table, layer, model.parameters, workspace, team)
    for start in range(0, count, batch_size):
        batch = min(batch_size, count - start)
        stop = start + batch
        first = start + first_of(batch, team.rank, team.size)
        last = start + first_of(batch, team.rank + 1, team.size)
        X = panels(workspace, table[0, INPUT], table[0, INPUT_PANELS], batch)
        meet(team.barrier, team.size)
        gather(
            samples.images,
            order[start:stop],
            flips[start:stop],
            samples.columns,
            samples.scale,
            samples.shift,
            X,
            scratch,
            first - start,
            last - start,
        )
        by_rows = True
        for layer in range(layers):
            if not by_rows or table[layer, SPLIT] == COLUMNS:
                meet(team.barrier, team.size)
            forward_layer(table, layer, model.parameters, workspace, batch, team)
            by_rows = table[layer, SPLIT] == ROWS
        if not by_rows:
            meet(team.barrier, team.size)
        Z = panels(workspace, table[layers - 1, OUTPUT], table[layers - 1, OUTPUT_PANELS], batch)
        D = panels(workspace, table[layers - 1, GRADIENT], table[layers - 1, OUTPUT_PANELS], batch)
        softmax_cross_entropy(
            Z,
            samples.labels,
            order[start:stop],
            classes,
            weight if weight != 0 else 1 / batch,
            D,
            losses[start:stop],
            correct[start:stop],
            first - start,
            last - start,
        )
        by_rows = True
        for layer in range(layers - 1, 0, -1):
            if not by_rows or table[layer, BACK_SPLIT] == COLUMNS:
                meet(team.barrier, team.size)
            backward_layer(table, layer, workspace, batch, team)
            by_rows = table[layer, BACK_SPLIT] == ROWS
        meet(team.barrier, team.size)
        for layer in range(layers):
            update_layer(table, layer, model, workspace, batch, rule, hyper[0], hyper[1], team)
            if layer > 0:
                transpose_layer(table, layer, model.parameters, workspace, team)


@kernel
def evaluate_rows(
    samples, indices, flips, table, parameters, workspace, scratch, chunk, logits, team
):
    """Logits of ``samples.images[indices]``, each thread taking its own chunks of rows.

    Parameters
    ----------
    indices : array [n] of int64
    flips : array [n] of bool
    workspace : array [size, ...]
        One workspace a thread, for batches of `chunk` rows.
    scratch : array [1, D] like images
        Not used: nothing is mirrored.
    logits : array [n, classes]
    """
    layers = table.shape[0]
    classes = table[layers - 1, OUTPUTS]
    count = indices.shape[0]
    chunks = (count + chunk - 1) // chunk
    own = workspace[team.rank]
    alone = Team(0, 1, team.barrier)
    for c in range(first_of(chunks, team.rank, team.size), first_of(chunks, team.rank + 1, team.size)):
        start = c * chunk
        stop = min(count, start + chunk)
        batch = stop - start
        X = panels(own, table[0, INPUT], table[0, INPUT_PANELS], batch)
        gather(
            samples.images,
            indices[start:stop],
            flips[start:stop],
            samples.columns,
            samples.scale,
            samples.shift,
            X,
            scratch,
            ZERO,
            batch,
        )
        for layer in range(layers):
            forward_layer(table, layer, parameters, own, batch, alone)
        Z = panels(own, table[layers - 1, OUTPUT], table[layers - 1, OUTPUT_PANELS], batch)
        for m in range(batch):
            for j in range(classes):
                logits[start + m, j] = Z[j // Z.shape[2], m, j % Z.shape[2]]
