"""The gradients of a convolution, group of images by group of images, so that what they share stays in the cache."""

from fastmlp.kernels.codes import GROUP, INPUT_GRADIENT, SPREAD, WEIGHT_GRADIENT
from fastmlp.kernels.jit import subkernel
from fastmlp.kernels.loops.input_gradient import input_gradient
from fastmlp.kernels.loops.spread import spread
from fastmlp.kernels.loops.weight_gradient import bias_gradient, weight_gradient


@subkernel
def convolution_gradients(arrays, g, what, whose):
    """Some of the three steps from a convolution's gradient to those of its input and weights.

    Parameters
    ----------
    arrays : Gradients
        If all is done at once, D is of one group; without the gradient of the input, of one strip of a group.
    g : record of SHAPE
        ``g.strip`` is the height of a strip: see ``weight_gradient.py``.
    what : int
        SPREAD + INPUT_GRADIENT + WEIGHT_GRADIENT, or some of them.
    whose : Whose
    """
    each = GROUP // arrays.G.shape[2]
    of_group = what & SPREAD and what & WEIGHT_GRADIENT
    # Without the gradient of the input, nobody needs more of D than a strip.
    height = g.strip if of_group and not what & INPUT_GRADIENT else g.rows
    for group in range(whose.group_from, whose.group_to):
        first, last = group * each, min((group + 1) * each, whose.blocks)
        base = first if of_group else 0
        blocks = (first, last, base)
        if what & WEIGHT_GRADIENT:
            bias_gradient(arrays.G, arrays.sums, arrays.room, g, group, blocks, whose)
        for top in range(0, g.rows, height):
            bottom = min(top + height, g.rows)
            if what & SPREAD:
                spread(arrays, g, blocks, top, bottom - top, whose)
            if what & INPUT_GRADIENT:
                for block in range(first, last):
                    input_gradient(arrays, g, block, block - base, whose)
            if what & WEIGHT_GRADIENT:
                for here in range(top, bottom, g.strip):
                    strip = (here, min(g.strip, bottom - here), top)
                    weight_gradient(arrays, g, group, blocks, strip, whose)
