"""The optimiser's step of a tile of weights: the one place where a rule is arithmetic.

With g = gradient + DECAY * w and the columns of a rule's numbers in capitals, the rules are::

    PLAIN      w -= GRADIENT_STEP * g
    HEAVY_BALL v = MOMENTUM * v + g;          w -= STEP * v
    VELOCITY   v = MOMENTUM * v + GAIN * g;   w -= STEP * v + GRADIENT_STEP * g
    ADAM       v = MOMENTUM * v + GAIN * g;   s = SQUARE_DECAY * s + SQUARE_GAIN * g**2
               w = KEPT * w - STEP * v / (ROOT_SCALE * sqrt(s) + EPSILON)
    RMSPROP    s as for ADAM;                 w = KEPT * w - STEP * g / (ROOT_SCALE * sqrt(s) + EPSILON)

``torch.optim.SGD`` (dampening 0) is HEAVY_BALL with STEP the learning rate; with Nesterov's momentum VELOCITY with
GAIN 1, STEP learning rate times momentum and GRADIENT_STEP the learning rate. scikit-learn puts the rate into the
velocity: GAIN is the learning rate, STEP 1. ``training/optimizers.py`` fills the columns in.
"""

from numba.core import cgutils

from fastmlp.kernels.codes import (
    ADAM,
    COLUMNS,
    DECAY,
    EPSILON,
    GAIN,
    GRADIENT_STEP,
    HEAVY_BALL,
    KEPT,
    MOMENTUM,
    PLAIN,
    ROOT_SCALE,
    SQUARE_DECAY,
    SQUARE_GAIN,
    STEP,
    VELOCITY,
)


def take_step(e, hyper, rule, sums, rows, weights, velocities, squares):
    """Emit the step of a tile of weights, given the sums over the batch that are its gradient without decay.

    `sums` are the `rows` rows, panel by panel side by side; the last three are a pointer for each panel.
    """
    builder = e.builder
    tile = [(m, p) for m in range(rows) for p in range(len(weights))]
    is_rule = {
        code: builder.icmp_signed("==", rule, e.index(int(code)))
        for code in (PLAIN, HEAVY_BALL, VELOCITY, ADAM)
    }
    scratch = cgutils.alloca_once(builder, e.scalar, size=len(tile) * e.lanes)
    column = [e.broadcast(hyper, number) for number in range(COLUMNS)]
    decay, momentum, gain = column[DECAY], column[MOMENTUM], column[GAIN]
    step, gradient_step = column[STEP], column[GRADIENT_STEP]

    def plain():
        for (m, p), gradient in zip(tile, sums, strict=True):
            old = e.load(weights[p], m * e.lanes)
            gradient = e.fma(decay, old, gradient)
            e.store(e.fma(e.negative(gradient_step), gradient, old), weights[p], m * e.lanes)

    def heavy_ball():
        # Two operations less than VELOCITY: EXPERIMENTS.md, "Updates".
        for (m, p), gradient in zip(tile, sums, strict=True):
            old = e.load(weights[p], m * e.lanes)
            gradient = e.fma(decay, old, gradient)
            moment = e.fma(momentum, e.load(velocities[p], m * e.lanes), gradient)
            e.store(moment, velocities[p], m * e.lanes)
            e.store(e.fma(e.negative(step), moment, old), weights[p], m * e.lanes)

    def velocity():
        for (m, p), gradient in zip(tile, sums, strict=True):
            old = e.load(weights[p], m * e.lanes)
            gradient = e.fma(decay, old, gradient)
            moment = e.load(velocities[p], m * e.lanes)
            moment = e.fma(momentum, moment, builder.fmul(gain, gradient))
            e.store(moment, velocities[p], m * e.lanes)
            new = e.fma(e.negative(gradient_step), gradient, old)
            e.store(e.fma(e.negative(step), moment, new), weights[p], m * e.lanes)

    def adaptive():
        # Roots and divisions outweigh a trip through L1: a loop, instead of one copy per register.
        for i, gradient in enumerate(sums):
            m, p = tile[i]
            e.store(gradient, scratch, (p * rows + m) * e.lanes)
        for p in range(len(weights)):

            def over_rows(m, _, p=p):
                place = builder.mul(m, e.index(e.lanes))
                gradient = e.load(e.at(scratch, p * rows * e.lanes), place)
                old = e.load(weights[p], place)
                gradient = e.fma(decay, old, gradient)
                square = builder.fmul(column[SQUARE_GAIN], builder.fmul(gradient, gradient))
                square = e.fma(column[SQUARE_DECAY], e.load(squares[p], place), square)
                e.store(square, squares[p], place)
                root = e.fma(e.call("llvm.sqrt", square), column[ROOT_SCALE], column[EPSILON])
                before = builder.block
                with builder.if_then(is_rule[ADAM]):
                    moment = e.load(velocities[p], place)
                    moment = e.fma(momentum, moment, builder.fmul(gain, gradient))
                    e.store(moment, velocities[p], place)
                    inside = builder.block
                direction = builder.phi(e.vector)
                direction.add_incoming(gradient, before)
                direction.add_incoming(moment, inside)
                ratio = builder.fdiv(direction, root)
                kept = builder.fmul(column[KEPT], old)
                e.store(e.fma(e.negative(step), ratio, kept), weights[p], place)
                return []

            e.loop(e.index(rows), [], over_rows)

    def one_of(emitters, otherwise):
        """Code that takes the first step whose rule it is. A switch is slower: EXPERIMENTS.md, "Updates"."""
        if not emitters:
            otherwise()
            return
        (code, emit), *rest = emitters
        with builder.if_else(is_rule[code]) as (this, other):
            with this:
                emit()
            with other:
                one_of(rest, otherwise)

    one_of([(HEAVY_BALL, heavy_ball), (PLAIN, plain), (VELOCITY, velocity)], adaptive)
