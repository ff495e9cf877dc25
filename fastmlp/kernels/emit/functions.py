"""Exponentials of whole vectors: exp, sigmoid, tanh and the normal distribution.

They are ours: the same bits on every CPU with FMA, which libm's do not promise.
"""

import math

from llvmlite import ir

# W. J. Cody, Rational Chebyshev approximation for the error function, 1969: erf(x) / x for |x| up to 0.5 from x**2,
# and erfc(x) * exp(x**2) beyond from x; highest power first.
ERF_ABOVE = (
    *(1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02),
    *(3.77485237685302021e02, 3.20937758913846947e03),
)
ERF_BELOW = (
    *(1.0, 2.36012909523441209e01, 2.44024637934444173e02),
    *(1.28261652607737228e03, 2.84423683343917062e03),
)
ERFC_ABOVE = (
    *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0),
    *(6.61191906371416295e01, 2.98635138197400131e02, 8.81952221241769090e02),
    *(1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03),
)
ERFC_BELOW = (
    *(1.0, 1.57449261107098347e01, 1.17693950891312499e02),
    *(5.37181101862009858e02, 1.62138957456669019e03, 3.29079923573345963e03),
    *(4.36261909014324716e03, 3.43936767414372164e03, 1.23033935480374942e03),
)
ERF_IS_ONE = 6.0  # erfc(6) = 2e-17


class Functions:
    """What an Emitter can do beyond the four operations."""

    def clamped(self, x, low, high):
        """x within [low, high]; NaN stays NaN."""
        b = self.builder
        x = b.select(b.fcmp_ordered("<", x, self.constant(low)), self.constant(low), x)
        return b.select(b.fcmp_ordered(">", x, self.constant(high)), self.constant(high), x)

    def exp(self, x):
        """Within 1 ulp below the overflow threshold; 0 where it would be subnormal; NaN stays NaN."""
        b = self.builder
        low, high = {32: (-87.33654, 88.72283), 64: (-708.396418532264, 709.782712893384)}[
            self.bits
        ]
        kept = self.clamped(x, low, high)
        n, q = self._exp_parts(kept)
        # 2**n in two factors: n reaches one more than an exponent field can hold.
        half = b.ashr(n, ir.Constant(n.type, [1] * self.lanes))
        result = b.fmul(b.fadd(q, self.constant(1.0)), self._power_of_two(half))
        result = b.fmul(result, self._power_of_two(b.sub(n, half)))
        return b.select(b.fcmp_ordered("<", x, self.constant(low)), self.constant(0.0), result)

    def expm1(self, x):
        """exp(x) - 1 for x up to 44, which keeps its digits near 0."""
        n, q = self._exp_parts(self.clamped(x, -44.0, 44.0))
        power = self._power_of_two(n)
        return self.fma(power, q, self.builder.fsub(power, self.constant(1.0)))

    def sigmoid(self, x):
        """1 / (1 + exp(-x))."""
        one = self.constant(1.0)
        return self.builder.fdiv(one, self.builder.fadd(one, self.exp(self.negative(x))))

    def tanh(self, x):
        """e / (e + 2) with e = exp(2 x) - 1."""
        b = self.builder
        e = self.expm1(b.fadd(x, x))
        return b.fdiv(e, b.fadd(e, self.constant(2.0)))

    def normal_cdf(self, x):
        """The share of a standard normal distribution below x: (1 + erf(x / sqrt(2))) / 2."""
        half = self.constant(0.5)
        erf = self.erf(self.multiply(x, self.constant(math.sqrt(0.5))))
        return self.fma(half, erf, half)

    def erf(self, x):
        """The error function, to about 2 ulp of 1."""
        b = self.builder
        size = self.call("llvm.fabs", x)
        square = self.multiply(x, x)
        near = self.multiply(x, self._ratio(square, ERF_ABOVE, ERF_BELOW))
        kept = self.clamped(size, 0.0, ERF_IS_ONE)
        tail = self.exp(self.negative(self.multiply(kept, kept)))
        tail = self.multiply(tail, self._ratio(kept, ERFC_ABOVE, ERFC_BELOW))
        far = self.call("llvm.copysign", self.subtract(self.constant(1.0), tail), x)
        # Not the other way round: a NaN belongs into `near`.
        return b.select(b.fcmp_ordered(">", size, self.constant(0.5)), far, near)

    def _ratio(self, x, above, below):
        """The ratio of two polynomials, by Horner's rule."""
        values = []
        for coefficients in (above, below):
            value = self.constant(coefficients[0])
            for coefficient in coefficients[1:]:
                value = self.fma(value, x, self.constant(coefficient))
            values.append(value)
        return self.builder.fdiv(*values)

    def _exp_parts(self, x):
        """Integers n and q with exp(x) = 2**n * (1 + q).

        Cody and Waite's reduction to [-ln 2 / 2, ln 2 / 2], then Taylor's polynomial.
        """
        b = self.builder
        degree, ln2_high, ln2_low = {
            32: (7, 0.693359375, -2.12194440e-4),
            64: (13, 6.93147180369123816490e-01, 1.90821492927058770002e-10),
        }[self.bits]
        n = self.call("llvm.rint", b.fmul(x, self.constant(math.log2(math.e))))
        r = self.fma(n, self.constant(-ln2_high), x)
        r = self.fma(n, self.constant(-ln2_low), r)
        p = self.constant(1.0 / math.factorial(degree))
        for i in range(degree - 1, 0, -1):
            p = self.fma(p, r, self.constant(1.0 / math.factorial(i)))
        integer = ir.VectorType(ir.IntType(self.bits), self.lanes)
        # A NaN converts to nothing defined; q carries it into the result.
        n = b.select(b.fcmp_unordered("uno", n, n), self.constant(0.0), n)
        return b.fptosi(n, integer), b.fmul(p, r)

    def _power_of_two(self, n):
        """2**n for integers n within the range of exponents."""
        b = self.builder
        fraction = {32: 23, 64: 52}[self.bits]
        bias = (1 << (self.bits - fraction - 2)) - 1
        splat = lambda value: ir.Constant(n.type, [value] * self.lanes)  # noqa: E731
        return b.bitcast(b.shl(b.add(n, splat(bias)), splat(fraction)), self.vector)
