"""Lanes, a Value with operators: the notation of the library. Its formats; sums and products in two parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import Function, Value


class Lanes:
    """A Value with operators; numbers become constants of its dtype."""

    __slots__ = ("f", "v")

    def __init__(self, f: Function, v: Value) -> None:
        self.f, self.v = f, v

    @property
    def dtype(self) -> DType:
        return self.v.dtype

    def constant(self, x: Any) -> Lanes:
        """``x`` as lanes of this dtype."""
        return x if isinstance(x, Lanes) else Lanes(self.f, self.f.constant(x, self.v.dtype, self.v.width))

    def __add__(self, y: Any) -> Lanes:
        return Lanes(self.f, self.f.add(self.v, self.constant(y).v))

    def __sub__(self, y: Any) -> Lanes:
        return Lanes(self.f, self.f.sub(self.v, self.constant(y).v))

    def __mul__(self, y: Any) -> Lanes:
        return Lanes(self.f, self.f.mul(self.v, self.constant(y).v))

    def __truediv__(self, y: Any) -> Lanes:
        return Lanes(self.f, self.f.div(self.v, self.constant(y).v))

    def __radd__(self, y: Any) -> Lanes:
        return self.constant(y) + self

    def __rsub__(self, y: Any) -> Lanes:
        return self.constant(y) - self

    def __rmul__(self, y: Any) -> Lanes:
        return self.constant(y) * self

    def __rtruediv__(self, y: Any) -> Lanes:
        return self.constant(y) / self

    def __neg__(self) -> Lanes:
        return Lanes(self.f, self.f.neg(self.v))

    def _bits(self, op: str, y: Any) -> Lanes:
        return Lanes(self.f, self.f.bits(op, self.v, self.constant(y).v))

    def __and__(self, y: Any) -> Lanes:
        return self._bits("and", y)

    def __or__(self, y: Any) -> Lanes:
        return self._bits("or", y)

    def __xor__(self, y: Any) -> Lanes:
        return self._bits("xor", y)

    def __invert__(self) -> Lanes:
        return Lanes(self.f, self.f.invert(self.v))

    def __lshift__(self, y: Any) -> Lanes:
        return self._bits("shl", y)

    def __rshift__(self, y: Any) -> Lanes:
        """Arithmetic if signed."""
        return self._bits("ashr" if self.dtype.kind == "i" else "lshr", y)

    def _compare(self, op: str, y: Any) -> Lanes:
        return Lanes(self.f, self.f.compare(op, self.v, self.constant(y).v))

    def __lt__(self, y: Any) -> Lanes:
        return self._compare("lt", y)

    def __le__(self, y: Any) -> Lanes:
        return self._compare("le", y)

    def __gt__(self, y: Any) -> Lanes:
        return self._compare("gt", y)

    def __ge__(self, y: Any) -> Lanes:
        return self._compare("ge", y)

    def eq(self, y: Any) -> Lanes:
        return self._compare("eq", y)

    def ne(self, y: Any) -> Lanes:
        return self._compare("ne", y)

    def isnan(self) -> Lanes:
        return Lanes(self.f, self.f.is_nan(self.v))

    def cast(self, dtype: DType) -> Lanes:
        return Lanes(self.f, self.f.cast(self.v, dtype))

    def view(self, dtype: DType) -> Lanes:
        """The same bits as another dtype."""
        return self if self.dtype == dtype else Lanes(self.f, self.f.bitcast(self.v, dtype))

    def to_whole(self, dtype: DType) -> Lanes:
        """Towards 0, for values known to fit."""
        target = Value("", dtype, self.v.width).type
        return Lanes(self.f, self.f.define(dtype, self.v.width, f"fptosi {self.v.typed} to {target}"))

    def unary(self, intrinsic: str) -> Lanes:
        return Lanes(self.f, self.f.intrinsic(intrinsic, self.v))

    def __abs__(self) -> Lanes:
        return self.unary("fabs")

    def sqrt(self) -> Lanes:
        return self.unary("sqrt")

    def trunc(self) -> Lanes:
        return self.unary("trunc")

    def signed_as(self, y: Lanes) -> Lanes:
        return Lanes(self.f, self.f.intrinsic("copysign", self.v, y.v))

    @property
    def format(self) -> Format:
        return FORMATS[self.dtype.name]

    def at_most(self, bound: float) -> Lanes:
        """min(x, bound); NaN stays."""
        return where(self > bound, self.constant(bound), self)

    def at_least(self, bound: float) -> Lanes:
        return where(self < bound, self.constant(bound), self)


class Format(NamedTuple):
    """A binary floating format and constants split for it."""

    bits: DType  # the integer dtype of its width, signed
    digits: int  # of the fraction
    one: int  # the bits of 1.0
    root_half: int  # the bits of sqrt(1/2), rounded down
    tiny: float  # the smallest normal number
    magic: float  # 1.5 * 2**digits: adding it rounds to an integer, found in the sum's low bits
    ln2: tuple[float, float]  # high and low part
    half_pi: tuple[float, float, float]


FORMATS = {
    "float32": Format(
        dtypes.int32, 23, 0x3F800000, 0x3F3504F3, 2.0**-126, 1.5 * 2**23,
        (0.693147182, -1.90465421e-09), (1.57079637, -4.37113883e-08, -1.71512451e-15)),
    "float64": Format(
        dtypes.int64, 52, 0x3FF0000000000000, 0x3FE6A09E667F3BCD, 2.0**-1022, 1.5 * 2**52,
        (0.6931471805599453, 2.3190468138462996e-17),
        (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)),
}  # fmt: skip
LOG2E = 1.4426950408889634
INF, NAN = float("inf"), float("nan")


def where(condition: Lanes, x: Any, y: Any) -> Lanes:
    like = x if isinstance(x, Lanes) else y
    return Lanes(like.f, like.f.select(condition.v, like.constant(x).v, like.constant(y).v))


def fma(x: Lanes, y: Any, z: Any) -> Lanes:
    """x * y + z, rounded once."""
    return Lanes(x.f, x.f.fma(x.v, x.constant(y).v, x.constant(z).v))


def polynomial(x: Lanes, coefficients: Sequence[float]) -> Lanes:
    """c[0] + c[1] x + …, by Horner's rule."""
    total: Any = x.constant(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = fma(x, total, c)
    return total


def sum2(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """x + y and its rounding error, for |x| >= |y| or x = 0."""
    total = x + y
    return total, (x - total) + y


def two_sum(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """x + y and its rounding error."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def product2(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """x * y and its rounding error."""
    total = x * y
    return total, fma(x, y, -total)


def unsigned(dtype: DType) -> DType:
    return np.dtype(f"uint{8 * dtype.itemsize}")
