"""The native engine's math library: every function as explicit vector code, the same bits at every width.

``VectorScalars`` is the ScalarHandler over an ``llvm.Function``: running a row's ``code`` under it emits machine code.
Formulas are written with ``Lanes``, a Value with operators. Polynomials use fused multiply-adds, also where a lane
stands alone, so that a scalar tail gives the bits of the vector loop. Coefficients were fitted for these intervals
with mpmath (weighted least squares at Chebyshev nodes, reweighted towards the minimax solution, each coefficient
rounded to the format before the next was fitted). The tests assert the errors in ulp that the comments name.

A function marked ``wide`` computes float32 in float64 and rounds once. Half precision computes in float32 and rounds
once a function, as the reference does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import HALF, SUPPORTED, Function, Value

BITS = (dtypes.bool_, *dtypes.INTEGERS)
REAL = (*dtypes.INTEGERS, *dtypes.FLOATS)


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


def product2(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """x * y and its rounding error."""
    total = x * y
    return total, fma(x, y, -total)


# -- exponentials --------------------------------------------------------------------------------------------------------

# (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2
EXP = {
    "float32": (0.5, 0.166666657, 0.0416664779, 0.0083335666, 0.00139337289, 0.000197435918),
    "float64": (
        0.5, 0.16666666666666677, 0.04166666666666661, 0.008333333333321414, 0.001388888888892382,
        0.0001984126988670002, 2.4801587237554352e-05, 2.7557243601513677e-06, 2.755735276946816e-07,
        2.5109259966898757e-08, 2.0889582051630186e-09),
}  # fmt: skip


def _reduce_exp(x: Lanes) -> tuple[Lanes, Lanes]:
    """(r, n) with x = n ln(2) + r and |r| <= ln(2) / 2; the integer n is in the low bits."""
    form = x.format
    t = fma(x, LOG2E, form.magic)
    n = t - form.magic
    r = fma(n, -form.ln2[1], fma(n, -form.ln2[0], x))
    return r, t.view(form.bits)


def _power_of_two(n: Lanes, form: Format, dtype: DType) -> Lanes:
    """2**n for a normal result; only n's low bits are used."""
    return ((n << form.digits) + form.one).view(dtype)


def _exp(x: Lanes, low: Lanes | None = None, halvings: int = 0) -> Lanes:
    """exp(x + low) / 2**halvings, for a tiny ``low``. In two factors, since 2**n may be subnormal or beyond the range."""
    form = x.format
    top, bottom = (89.0, -104.0) if x.dtype == dtypes.float32 else (710.0, -746.0)
    x = x.at_most(top + halvings).at_least(bottom)
    r, n = _reduce_exp(x)
    if low is not None:
        r = r + low
    n = n - halvings if halvings else n
    h = n.view(_unsigned(form.bits)) >> 1
    p = fma(r, fma(r, polynomial(r, EXP[x.dtype.name]), 1.0), 1.0)
    rest = n - h.view(form.bits)
    return p * _power_of_two(h.view(form.bits), form, x.dtype) * _power_of_two(rest, form, x.dtype)


def _unsigned(dtype: DType) -> DType:
    return np.dtype(f"uint{8 * dtype.itemsize}")


def exp(x: Lanes) -> Lanes:
    """x = n ln(2) + r, exp(r) by a polynomial."""
    return _exp(x)


def _expm1_parts(x: Lanes) -> tuple[Lanes, Lanes]:
    """(exp(r) - 1, n)."""
    r, n = _reduce_exp(x)
    return fma(r * r, polynomial(r, EXP[x.dtype.name]), r), n


def expm1(x: Lanes) -> Lanes:
    """2**n (exp(r) - 1) + (2**n - 1), halved so that n = 128 does not overflow."""
    form = x.format
    top, bottom = (89.0, -18.0) if x.dtype == dtypes.float32 else (709.9, -38.0)
    p, n = _expm1_parts(x.at_most(top).at_least(bottom))
    s = _power_of_two(n - 1, form, x.dtype)
    return where(abs(x) < 2.0**-60, x, 2.0 * fma(s, p, s - 0.5))


def tanh(x: Lanes) -> Lanes:
    """t / (t + 2) with t = exp(2|x|) - 1."""
    a = abs(x).at_most(10.0 if x.dtype == dtypes.float32 else 20.0)
    p, n = _expm1_parts(a + a)
    s = _power_of_two(n, x.format, x.dtype)
    t = fma(s, p, s - 1.0)
    return (t / (t + 2.0)).signed_as(x)


def logistic(x: Lanes) -> Lanes:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), which never overflows."""
    e = _exp(-abs(x))
    return where(x < 0.0, e, 1.0) / (1.0 + e)


# -- logarithms ----------------------------------------------------------------------------------------------------------

# (log(1 + f) - f + f**2 / 2) / f**3 on sqrt(1/2) <= 1 + f <= sqrt(2)
LOG32 = (0.333333313, -0.250008285, 0.20001249, -0.166230977, 0.142011911, -0.131623134, 0.127662674, -0.0763427168)
# (atanh(s) - s) / s**3 in s**2, |s| <= 0.1716
ATANH = (
    0.33333333333333676, 0.19999999999705226, 0.1428571437163561, 0.11111099242708539, 0.09091784408159047,
    0.07656968143303475, 0.07398547253857309)  # fmt: skip
# (atanh(s) - s - s**3 / 3) / s**5 in s**2
ATANH5 = (
    0.20000000000001134, 0.14285714285047257, 0.11111111260402244, 0.09090892145507905, 0.07693380406012658,
    0.06628368474843499, 0.06598539124237471)  # fmt: skip


def _log_parts(x: Lanes) -> tuple[Lanes, Lanes]:
    """(f, e) with x = 2**e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), f exact; for x > 0."""
    form = x.format
    small = x < form.tiny
    i = where(small, x * 2.0**form.digits, x).view(form.bits) - form.root_half
    m = (i & ((1 << form.digits) - 1)) + form.root_half
    e = (i >> form.digits).cast(x.dtype)
    return m.view(x.dtype) - 1.0, e - where(small, x.constant(form.digits), 0.0)


def _log(f: Lanes, e: Lanes) -> Lanes:
    """log(2**e (1 + f))."""
    form = f.format
    if f.dtype == dtypes.float32:
        rest = f * f * fma(f, polynomial(f, LOG32), -0.5)
    else:
        s = f / (f + 2.0)
        z = s * s
        half = 0.5 * f * f  # log(1 + f) = 2 atanh(s) = f - half + s (half + 2 s**2 ATANH(s**2))
        rest = s * fma(z + z, polynomial(z, ATANH), half) - half
    return fma(e, form.ln2[0], f + fma(e, form.ln2[1], rest))


def log(x: Lanes) -> Lanes:
    return _log_ends(x, _log(*_log_parts(x)))


def _log_ends(x: Lanes, result: Lanes) -> Lanes:
    result = where(x >= 0.0, result, NAN)
    return where(x.eq(0.0), -INF, where(x.eq(INF), INF, result))


def log1p(x: Lanes) -> Lanes:
    """log(2**e (1 + f)) with f = 2**-e x + (2**-e - 1), rounded once."""
    form = x.format
    u = 1.0 + x
    m, e = _log_parts(u)
    scale = _power_of_two(-e.cast(form.bits), form, x.dtype)
    f = where(x < 2.0**60, fma(scale, x, scale - 1.0), m)
    return _log_ends(u, _log(f, e)).signed_as(x)


# -- powers --------------------------------------------------------------------------------------------------------------


def _log2_sum(x: Lanes) -> tuple[Lanes, Lanes]:
    """log(x) as the sum of two float64, to about 2**-66 of its size."""
    f, e = _log_parts(x)
    d = f + 2.0
    s = f / d
    s_low = (fma(-s, d, f) - s * (f - (d - 2.0))) / d
    u, u_low = product2(s, s)
    u_low = fma(s + s, s_low, u_low)
    t, t_low = sum2(x.constant(0.3333333333333333), u * polynomial(u, ATANH5))
    t_low = t_low + 1.850371707708594e-17
    v, v_low = product2(u, t)
    v_low = v_low + fma(u, t_low, u_low * t)
    w, w_low = product2(s, v)
    w_low = w_low + fma(s, v_low, s_low * v)
    z, z_low = sum2(s, w)
    z_low = z_low + (w_low + s_low)
    # ln(2) in 41 bits, which e multiplies exactly, and the rest.
    high, low = sum2(e * 0.693147180559663, z + z)
    return high, low + fma(e, 2.8235290563031577e-13, z_low + z_low)


def power(x: Lanes, y: Lanes) -> Lanes:
    """exp(y log|x|), for float64 with the logarithm in two parts; the special cases are C's."""
    a = abs(x)
    if x.dtype == dtypes.float32:
        wide = _log_ends(a, _log(*_log_parts(a.cast(dtypes.float64))))
        size = _exp(y.cast(dtypes.float64) * wide).cast(dtypes.float32)
    else:
        high, low = _log2_sum(a)
        high = where(a.eq(0.0), -INF, where(a.eq(INF), INF, high))
        exponent, rest = product2(y, high)
        rest = where(abs(exponent) < 800.0, fma(y, low, rest), 0.0)
        size = _exp(exponent, rest)
    whole = y.trunc().eq(y)
    half = y * 0.5
    odd = whole & half.trunc().ne(half)
    size = where(x < 0.0, where(whole, size, NAN), size)
    size = where(a.eq(INF), where(y < 0.0, 0.0, x.constant(INF)), size)
    size = where(a.eq(1.0) & ~y.isnan() & (whole | (x > 0.0)), 1.0, size)
    size = where(odd, size.signed_as(x), size)
    return where(x.eq(1.0) | y.eq(0.0), 1.0, where(x.isnan() | y.isnan(), NAN, size))


def integer_power(x: Lanes, y: Lanes) -> Lanes:
    """By squaring. To a negative power 0, but for 1 and -1."""
    f = x.f
    base, exponent, total = x, y, x.constant(1)
    for _ in range(8 * x.dtype.itemsize - 1):
        total = where((exponent & 1).ne(0), total * base, total)
        base, exponent = base * base, exponent >> 1
    if x.dtype.kind == "u":
        return Lanes(f, total.v)
    unit = x.eq(1) | x.eq(-1)
    return where(y < 0, where(unit, where((y & 1).eq(0), 1, x), 0), total)


# -- trigonometry --------------------------------------------------------------------------------------------------------

# (sin(r) - r) / r**3 in r**2, |r| <= pi / 4
SIN = {
    "float32": (-0.166666672, 0.00833337288, -0.000198502952, 2.80435665e-06),
    "float64": (
        -0.16666666666666632, 0.00833333333332246, -0.00019841269829818872, 2.7557313689589904e-06,
        -2.5050757030431507e-08, 1.5896699744170045e-10),
}  # fmt: skip
# (cos(r) - 1 + r**2 / 2) / r**4 in r**2
COS = {
    "float32": (0.0416666456, -0.00138873118, 2.44327421e-05),
    "float64": (
        0.0416666666666666, -0.0013888888888874459, 2.4801587289652675e-05, -2.7557314393041253e-07,
        2.0875727876754135e-09, -1.135984636062022e-11),
}  # fmt: skip


def _reduce_quarter(x: Lanes) -> tuple[Lanes, Lanes]:
    """(r, n) with x = n pi / 2 + r and |r| <= pi / 4."""
    form = x.format
    t = fma(x, 0.6366197723675814, form.magic)
    n = t - form.magic
    r = x
    for part in form.half_pi:
        r = fma(n, -part, r)
    return r, t.view(form.bits)


def _sin_cos(r: Lanes) -> tuple[Lanes, Lanes]:
    u = r * r
    sine = fma(r * u, polynomial(u, SIN[r.dtype.name]), r)
    cosine = fma(u * u, polynomial(u, COS[r.dtype.name]), fma(u, -0.5, 1.0))
    return sine, cosine


def _circular(x: Lanes, quarter: int) -> Lanes:
    """sin(x + quarter pi / 2)."""
    form = x.format
    r, n = _reduce_quarter(x)
    n = n + quarter if quarter else n
    sine, cosine = _sin_cos(r)
    result = where((n & 1).eq(0), sine, cosine)
    flip = (n & 2) << (8 * x.dtype.itemsize - 2)
    return (result.view(form.bits) ^ flip).view(x.dtype)


def sin(x: Lanes) -> Lanes:
    return where(x.eq(0.0), x, _circular(x, 0))


def cos(x: Lanes) -> Lanes:
    return _circular(x, 1)


# -- error function ------------------------------------------------------------------------------------------------------

# erf(x) / x - 1 in x**2, |x| <= 1
ERF = {
    "float32": (0.128379166, -0.37612626, 0.112835832, -0.0268536918, 0.00518807396, -0.00080078782, 7.8461082e-05),
}
# erfc(t + 2.5), -1.5 <= t <= 1.45
ERFC32 = (
    0.000406929641, -0.00217806268, 0.00544673111, -0.00835343637, 0.00861482322, -0.00610262202, 0.00281929993,
    -0.000571149925, -0.000287650968, 0.000279319647, -6.13556258e-05, -2.11216229e-05, 9.03253658e-06)  # fmt: skip


def erf(x: Lanes) -> Lanes:
    a = abs(x)
    near = fma(x, polynomial(x * x, ERF["float32"]), x)
    far = (1.0 - polynomial(a.at_most(3.95) - 2.5, ERFC32)).signed_as(x)
    return where(a < 1.0, near, far)


# -- rounding, sign, extrema ---------------------------------------------------------------------------------------------


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


# -- the table -----------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    emit: Callable[..., Lanes]
    accepts: tuple[DType, ...]
    wide: bool = False  # float32 computes in float64
    exact: bool = False  # half precision needs no detour through float32


FUNCTIONS: dict[str, Entry] = {
    "abs": Entry(absolute, REAL),
    "sign": Entry(sign, REAL),
    "floor": Entry(lambda x: x.unary("floor"), dtypes.FLOATS),
    "ceil": Entry(lambda x: x.unary("ceil"), dtypes.FLOATS),
    "trunc": Entry(lambda x: x.unary("trunc"), dtypes.FLOATS),
    "round": Entry(lambda x: x.unary("roundeven"), dtypes.FLOATS),
    "max": Entry(extremum("max"), REAL),
    "min": Entry(extremum("min"), REAL),
    "is_finite": Entry(is_finite, dtypes.FLOATS),
    "sqrt": Entry(lambda x: x.sqrt(), dtypes.FLOATS),
    "rsqrt": Entry(lambda x: 1.0 / x.sqrt(), dtypes.FLOATS),
    "exp": Entry(exp, dtypes.FLOATS),
    "expm1": Entry(expm1, dtypes.FLOATS),
    "log": Entry(log, dtypes.FLOATS),
    "log1p": Entry(log1p, dtypes.FLOATS),
    "tanh": Entry(tanh, dtypes.FLOATS),
    "logistic": Entry(logistic, dtypes.FLOATS),
    "pow": Entry(lambda x, y: (power if dtypes.is_floating(x.dtype) else integer_power)(x, y), REAL),
    "sin": Entry(sin, dtypes.FLOATS),
    "cos": Entry(cos, dtypes.FLOATS),
    "erf": Entry(erf, dtypes.FLOATS[:3]),
    "not": Entry(lambda x: ~x, BITS),
    "and": Entry(lambda x, y: x & y, BITS),
    "or": Entry(lambda x, y: x | y, BITS),
    "xor": Entry(lambda x, y: x ^ y, BITS),
}

# Rows whose code is the handler's own methods.
METHODS: dict[str, tuple[DType, ...]] = {
    "add": REAL, "sub": REAL, "mul": REAL, "neg": REAL, "div": dtypes.FLOATS,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "select", "cast", "bitcast"), (dtypes.bool_, *REAL)),
}  # fmt: skip


def supports(name: str, dtype: DType) -> bool:
    """Whether the map row ``name`` on operands of ``dtype`` has native code."""
    accepted = METHODS.get(name) or (FUNCTIONS[name].accepts if name in FUNCTIONS else ())
    return dtype in accepted and dtype.name in SUPPORTED


class VectorScalars:
    """The ScalarHandler that emits: every operation appends instructions to ``function``."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def constant(self, value: Any, like: Value) -> Value:
        return self.function.constant(value, like.dtype, like.width)

    def add(self, x: Value, y: Value) -> Value:
        return self.function.add(x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self.function.sub(x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self.function.mul(x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self.function.div(x, y)

    def neg(self, x: Value) -> Value:
        return self.function.neg(x)

    def compare(self, op: str, x: Value, y: Value) -> Value:
        return self.function.compare(op, x, y)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self.function.select(condition, x, y)

    def cast(self, x: Value, dtype: DType) -> Value:
        return self.function.cast(x, dtype)

    def call(self, name: str, *xs: Value) -> Value:
        f = self.function
        if name.startswith("bitcast_"):
            return f.bitcast(xs[0], np.dtype(dtypes.as_dtype(name.removeprefix("bitcast_"))))
        entry = FUNCTIONS[name]
        dtype = xs[0].dtype
        lanes = [Lanes(f, x) for x in f.alike(*xs)]
        if dtype in HALF and not entry.exact:
            lanes = [x.cast(dtypes.float32) for x in lanes]
        if entry.wide and lanes[0].dtype == dtypes.float32:
            lanes = [x.cast(dtypes.float64) for x in lanes]
        result = entry.emit(*lanes)
        return result.v if result.dtype == dtypes.bool_ else result.cast(dtype).v
