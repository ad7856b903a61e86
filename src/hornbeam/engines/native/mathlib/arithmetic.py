"""What is exact, without series: signs, extrema, neighbours, quotients, remainders, shifts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hornbeam.base import dtypes
from hornbeam.engines.native.mathlib.lanes import INF, NAN, Lanes, fma, unsigned, where


def absolute(x: Lanes) -> Lanes:
    if dtypes.is_floating(x.dtype):
        return abs(x)
    return x if x.dtype.kind == "u" else where(x < 0, -x, x)


def sign(x: Lanes) -> Lanes:
    if x.dtype.kind == "u":
        return where(x.eq(0), x, 1)
    result = where(x > 0, 1, where(x < 0, x.constant(-1), 0))
    return where(x.isnan(), x, result) if dtypes.is_floating(x.dtype) else result


def is_finite(x: Lanes) -> Lanes:
    return abs(x) < INF


def extremum(op: str) -> Callable[[Lanes, Lanes], Lanes]:
    return lambda x, y: Lanes(x.f, x.f.extremum(op, x.v, y.v))


def nextafter(x: Lanes, y: Lanes) -> Lanes:
    """One step in the integers that are the bits."""
    whole = np.dtype(f"int{8 * x.dtype.itemsize}")
    bits = x.view(whole)
    away = (x < y).eq(x > 0)
    step = (bits + where(away, bits.constant(1), -1)).view(x.dtype)
    smallest = ((y.view(whole) & np.iinfo(whole).min) | 1).view(x.dtype)
    step = where(x.eq(0), smallest, step)
    return where(x.isnan(), x, where(y.isnan() | x.eq(y), y, step))


# -- remainders, shifts ----------------------------------------------------------------------------


def _divide_whole(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(quotient towards 0, remainder, whether y is 0) of integers; by floating division where that is exact."""
    zero = y.eq(0)
    y = where(zero, 1, y)
    if x.dtype.itemsize < 8:
        wide = dtypes.float64 if x.dtype.itemsize == 4 else dtypes.float32
        q = (x.cast(wide) / y.cast(wide)).to_whole(np.dtype(f"int{16 * x.dtype.itemsize}")).cast(x.dtype)
    elif x.dtype.kind == "u":
        q = x / y
    else:
        minus = y.eq(-1)  # the smallest number has no negative: division by -1 would trap
        q = where(minus, -x, x / where(minus, 1, y))
    return q, x - q * y, zero


def _floor_whole(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    q, r, zero = _divide_whole(x, y)
    if x.dtype.kind == "i":
        other = r.ne(0) & ((r ^ y) < 0)
        q, r = where(other, q - 1, q), where(other, r + y, r)
    return where(zero, 0, q), where(zero, 0, r)


def _fmod(x: Lanes, y: Lanes) -> Lanes:
    """C's fmod, exact: whole multiples of |y| with as many digits as a quotient has, until less than |y| is left."""
    f, a, b = x.f, abs(x), abs(y)
    far = 2.0**100 if x.dtype == dtypes.float32 else 2.0**1000
    usable = (a < INF) & (b > 0.0)
    left = where(usable & (a >= b), a, 0.0)

    def step(left: Lanes) -> Lanes:
        # Of a quotient beyond the range, take a multiple of a multiple.
        unit = b
        for _ in range(2):
            unit = where(abs(left) * (1 / far) > unit, unit * far, unit)
        return fma(-(left / unit).trunc(), unit, left)

    left = step(left)
    left = Lanes(f, f.while_any(lambda v: (abs(Lanes(f, v)) >= b).v, lambda v: step(Lanes(f, v)).v, left.v))
    left = where(left < 0.0, left + b, left)
    left = where(usable, where(a >= b, left, a), NAN)
    return where(x.isnan() | y.isnan(), NAN, left.signed_as(x))


def _divmod(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """Python's, for floating numbers, step by step as NumPy does it."""
    rest = _fmod(x, y)
    q = (x - rest) / y
    other = rest.ne(0.0) & (y < 0.0).ne(rest < 0.0)
    remainder = where(other, rest + y, where(rest.eq(0.0), x.constant(0.0).signed_as(y), rest))
    q = where(other, q - 1.0, q)
    whole = q.unary("floor")
    whole = where((q - whole) > 0.5, whole + 1.0, whole)
    whole = where(q.eq(0.0), x.constant(0.0).signed_as(x / y), whole)
    return where(y.eq(0.0), x / y, whole), where(y.eq(0.0), NAN, remainder)


def floordiv(x: Lanes, y: Lanes) -> Lanes:
    return (_divmod if dtypes.is_floating(x.dtype) else _floor_whole)(x, y)[0]


def mod(x: Lanes, y: Lanes) -> Lanes:
    return (_divmod if dtypes.is_floating(x.dtype) else _floor_whole)(x, y)[1]


def shift_left(x: Lanes, y: Lanes) -> Lanes:
    inside = y.view(unsigned(y.dtype)) < 8 * x.dtype.itemsize
    return where(inside, x << where(inside, y, 0), 0)


def shift_right(x: Lanes, y: Lanes) -> Lanes:
    """By the width or more leaves the sign."""
    inside = y.view(unsigned(y.dtype)) < 8 * x.dtype.itemsize
    return where(inside, x >> where(inside, y, 0), (x >> (8 * x.dtype.itemsize - 1)) if x.dtype.kind == "i" else 0)
