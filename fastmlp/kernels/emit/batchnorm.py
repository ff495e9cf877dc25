"""Batch normalisation of vectors of images; ``loops/batchnorm.py`` has the formulas."""

from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.codes import PRODUCTS, SQUARES_OF, SUMS
from fastmlp.kernels.emit.emitter import Emitter


@intrinsic
def sum_pixels(typingctx, code, X, G, places, count, numbers, room, r):
    """Sums over `count` pixels, a lane each, written to ``room[r:]``.

    SUMS is the sum of X, SQUARES_OF that of (X - mean)**2, PRODUCTS that of G and, behind it, of G times
    (X - mean) * inverse.

    Parameters
    ----------
    code : int
    X, G : arrays
        Images.
    places : (x, g)
    count : int
    numbers : (mean, inverse)
    room : array
    r : int
    """
    names = ("code", "X", "G", "places", "count", "numbers", "room", "r")
    signature = types.void(code, X, G, places, count, numbers, room, r)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, X.dtype)
        v = dict(zip(names, arguments, strict=True))
        x, g = e.numbers(places, v["places"])
        mean, inverse = e.splats(numbers, v["numbers"])
        images, gradients = e.pointer(X, v["X"], x), e.pointer(G, v["G"], g)
        target = e.pointer(room, v["room"], v["r"])

        def add_up(sums, body):
            def over_pixels(i, state):
                return body(builder.mul(i, e.index(e.lanes)), state)

            for i, value in enumerate(e.loop(v["count"], [e.constant(0.0)] * sums, over_pixels)):
                e.store(value, target, i * e.lanes)

        def square(place, state):
            away = e.subtract(e.load(images, place), mean)
            return [e.fma(away, away, state[0])]

        def product(place, state):
            gradient = e.load(gradients, place)
            height = e.multiply(e.subtract(e.load(images, place), mean), inverse)
            return [e.add(state[0], gradient), e.fma(gradient, height, state[1])]

        bodies = {
            int(SUMS): (1, lambda place, state: [e.add(state[0], e.load(images, place))]),
            int(SQUARES_OF): (1, square),
            int(PRODUCTS): (2, product),
        }
        e.switch(v["code"], bodies, lambda case: add_up(*bodies[case]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def normalize_pixels(typingctx, X, out, places, count, numbers):
    """``out = (X - mean) * inverse * weight + bias`` for `count` pixels.

    Parameters
    ----------
    X, out : arrays
        Images.
    places : (x, o)
    count : int
    numbers : (mean, inverse, weight, bias)
    """
    names = ("X", "out", "places", "count", "numbers")
    signature = types.void(X, out, places, count, numbers)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, X.dtype)
        v = dict(zip(names, arguments, strict=True))
        x, o = e.numbers(places, v["places"])
        mean, inverse, weight, bias = e.splats(numbers, v["numbers"])
        source, target = e.pointer(X, v["X"], x), e.pointer(out, v["out"], o)

        def over_pixels(i, _):
            place = builder.mul(i, e.index(e.lanes))
            height = e.multiply(e.subtract(e.load(source, place), mean), inverse)
            e.store(e.fma(height, weight, bias), target, place)
            return []

        e.loop(v["count"], [], over_pixels)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def normalization_gradient(typingctx, X, G, out, places, count, numbers):
    """``out = factor * (G - bias - (X - mean) * inverse * weight)`` for `count` pixels.

    Parameters
    ----------
    X, G, out : arrays
        Images.
    places : (x, g, o)
    count : int
    numbers : (mean, inverse, bias, weight, factor)
        `bias` and `weight` are the mean gradients of bias and weight, `factor` is the weight times `inverse`.
    """
    names = ("X", "G", "out", "places", "count", "numbers")
    signature = types.void(X, G, out, places, count, numbers)

    def codegen(context, builder, signature, arguments):
        e = Emitter(context, builder, X.dtype)
        v = dict(zip(names, arguments, strict=True))
        x, g, o = e.numbers(places, v["places"])
        mean, inverse, bias, weight, factor = e.splats(numbers, v["numbers"])
        images, gradients = e.pointer(X, v["X"], x), e.pointer(G, v["G"], g)
        target = e.pointer(out, v["out"], o)

        def over_pixels(i, _):
            place = builder.mul(i, e.index(e.lanes))
            height = e.multiply(e.subtract(e.load(images, place), mean), inverse)
            value = e.subtract(e.load(gradients, place), bias)
            value = e.fma(e.negative(height), weight, value)
            e.store(e.multiply(factor, value), target, place)
            return []

        e.loop(v["count"], [], over_pixels)
        return context.get_dummy_value()

    return signature, codegen
