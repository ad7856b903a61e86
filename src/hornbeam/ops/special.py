"""Special functions: the error function's, the gamma function's and the Bessel function's families."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import broadcast_shapes
from hornbeam.ir.primitives.arith import (
    DIGAMMA,
    ERF,
    ERF_INV,
    ERFC,
    EXP,
    LGAMMA,
    LOG,
    MAX,
    MIN,
    SELECT,
    SQRT,
)
from hornbeam.ir.primitives.movement import BROADCAST
from hornbeam.ops.arguments import inexact, meeting_inexact, scalar
from hornbeam.ops.control import fori_loop
from hornbeam.ops.op import op

__all__ = ["erf", "erfc", "erfinv", "lgamma", "digamma", "gammainc", "gammaincc", "i0", "i0e", "xlogy"]


@op
def erf(x: Any) -> Any:
    """The error function."""
    return ERF(inexact(x))


@op
def erfc(x: Any) -> Any:
    """1 - erf(x), exact where erf is close to 1."""
    return ERFC(inexact(x))


@op
def erfinv(x: Any) -> Any:
    """The inverse of the error function, on -1 ... 1."""
    return ERF_INV(inexact(x))


@op
def lgamma(x: Any) -> Any:
    """The logarithm of the absolute value of the gamma function."""
    return LGAMMA(inexact(x))


@op
def digamma(x: Any) -> Any:
    """The derivative of ``lgamma``."""
    return DIGAMMA(inexact(x))


@op
def xlogy(x: Any, y: Any) -> Any:
    """``x * log(y)``, and 0 where ``x`` is 0 whatever ``y`` is."""
    x, y = meeting_inexact(x, y)
    none = x == 0
    return SELECT(none, scalar(0, x.dtype), x * LOG(SELECT(none, scalar(1, y.dtype), y)))


# -- incomplete gamma ----------------------------------------------------------------------------------------------

_TERMS = 200  # of the series and of the fraction: enough for float64 up to a = 1000 or so


@op
def gammainc(a: Any, x: Any) -> Any:
    """The regularized lower incomplete gamma function, for a and x >= 0, not both 0."""
    return _incomplete_gamma(a, x, lower=True)


@op
def gammaincc(a: Any, x: Any) -> Any:
    """The regularized upper incomplete gamma function, for a and x >= 0, not both 0: 1 - gammainc(a, x)."""
    return _incomplete_gamma(a, x, lower=False)


def _incomplete_gamma(a: Any, x: Any, *, lower: bool) -> Any:
    """Below x = a + 1 by the power series of the lower function, above by the continued fraction of the upper one.

    Both, and the factor x^a e^-x / Γ(a) that they share, in float64. Each is evaluated at harmless numbers where the
    other is used, so that neither's NaN reaches a gradient.
    """
    a, x = meeting_inexact(a, x)
    dtype, shape = a.dtype, broadcast_shapes(a.shape, x.shape)
    a, x = (v.astype(dtypes.float64) for v in (a, x))
    a, x = (v if v.shape == shape else BROADCAST(v, shape=shape) for v in (a, x))
    one, zero = scalar(1, dtypes.float64), scalar(0, dtypes.float64)
    valid = ((a > 0) & (x >= 0)) | ((a == 0) & (x > 0))  # as a goes to 0, all of the mass goes to 0
    inside = (a > 0) & (x > 0) & (x < math.inf)
    a_, x_ = SELECT(inside, a, one), SELECT(inside, x, one)
    below = x_ < a_ + 1
    factor = EXP(a_ * LOG(x_) - x_ - LGAMMA(a_))
    series = factor * _series(a_, SELECT(below, x_, a_))
    fraction = factor * _fraction(a_, SELECT(below, a_ + 2, x_))
    out = SELECT(below, series, 1 - fraction) if lower else SELECT(below, 1 - series, fraction)
    at_zero, at_infinity = (zero, one) if lower else (one, zero)
    out = SELECT(inside, out, SELECT(x == 0, at_zero, at_infinity))
    return SELECT(valid, out, scalar(math.nan, dtypes.float64)).astype(dtype)


def _series(a: Any, x: Any) -> Any:
    """Sum of x^n / (a (a + 1) ... (a + n))."""

    def step(n: Any, state: Any) -> Any:
        term, total = state
        term = term * x / (a + n.astype(x.dtype))
        return term, total + term

    return fori_loop(1, _TERMS, step, (1 / a, 1 / a))[1]


def _fraction(a: Any, x: Any) -> Any:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)) by Lentz's method; its factors stay away from 0 for x > a + 1."""

    def step(n: Any, state: Any) -> Any:
        c, d, h = state
        n = n.astype(x.dtype)
        numerator, denominator = -n * (n - a), x + 1 - a + 2 * n
        d = 1 / (numerator * d + denominator)
        c = denominator + numerator / c
        return c, d, h * c * d

    first = 1 / (x + 1 - a)
    return fori_loop(1, _TERMS, step, (x + 1 - a + 1e300, first, first))[2]


# -- Bessel --------------------------------------------------------------------------------------------------------


def _scaled_i0(x: np.ndarray) -> np.ndarray:
    """exp(-x) I0(x) by its integral, on which the trapezoidal rule converges exponentially."""
    angle = (np.arange(4096) + 0.5) * (math.pi / 4096)
    return np.exp(np.multiply.outer(x, np.cos(angle) - 1)).mean(-1)


@functools.cache
def _i0_coefficients(degree: int) -> tuple[list[float], list[float]]:
    """Chebyshev coefficients of exp(-x) I0(x) on 0 ... 8 in x / 4 - 1, and of sqrt(x) times it beyond in 16 / x - 1."""
    fit: Any = np.polynomial.chebyshev.chebinterpolate
    near = fit(lambda t: _scaled_i0(4 * (t + 1)), degree)
    far = fit(lambda t: np.sqrt(16 / (t + 1)) * _scaled_i0(16 / (t + 1)), degree)
    return near.tolist(), far.tolist()


def _chebyshev(coefficients: list[float], t: Any) -> Any:
    """Clenshaw's recurrence."""
    b, before = coefficients[-1], 0.0
    for c in coefficients[-2:0:-1]:
        b, before = t * 2 * b - before + c, b
    return t * b - before + coefficients[0]


@op
def i0e(x: Any) -> Any:
    """The modified Bessel function of order 0, times exp(-abs(x))."""
    return _half_as_float32(lambda x: _i0e(abs(x)), x)


@op
def i0(x: Any) -> Any:
    """The modified Bessel function of the first kind of order 0."""
    return _half_as_float32(lambda x: EXP(abs(x)) * _i0e(abs(x)), x)


def _i0e(x: Any) -> Any:
    near, far = _i0_coefficients(26 if x.dtype == dtypes.float64 else 14)
    eight = scalar(8, x.dtype)
    small, large = MIN(x, eight), MAX(x, eight)
    return SELECT(x <= 8, _chebyshev(near, small / 4 - 1), _chebyshev(far, 16 / large - 1) / SQRT(large))


def _half_as_float32(f: Callable[[Any], Any], x: Any) -> Any:
    x = inexact(x)
    return f(x).astype(x.dtype) if x.dtype == dtypes.float64 else f(x.astype(dtypes.float32)).astype(x.dtype)
