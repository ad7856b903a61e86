"""The native engine's math library: every function as explicit vector code, the same bits at every width.

``VectorScalars`` is the ScalarHandler over an ``llvm.Function``: running a row's ``code`` under it emits machine code.
Formulas are written with ``Lanes``, a Value with operators. Polynomials use fused multiply-adds, also where a lane
stands alone, so that a scalar tail gives the bits of the vector loop. Coefficients were fitted for these intervals
with mpmath (weighted least squares at Chebyshev nodes, reweighted towards the minimax solution, each coefficient
rounded to the format before the next was fitted).

The largest errors, which ``ACCURACY`` in the tests asserts, are 0.5 ulp for sqrt, cbrt and float32 pow, 0.9 for exp,
log and the inverse hyperbolic functions, 1.2 for asin, acos, erf, erfc, tan and float64 pow, 1.9 for the others, in
samples of the whole range, far angles and subnormal numbers too. float64 erf_inv is within 3 ulp, lgamma within 4
for positive numbers; lgamma of negative numbers within 6 ulp and digamma within 16 of the result or of 1, whichever is
larger.

A function marked ``wide`` computes float32 in float64 and rounds once. Half precision computes in float32 and rounds
once a function, as the reference does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import HALF, SUPPORTED, Function, Module, Value, index, literal

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


# -- exponentials ----------------------------------------------------------------------------------

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


def _power_of_two(n: Lanes, like: Lanes) -> Lanes:
    """2**n for a normal result; only n's low bits are used."""
    return ((n << like.format.digits) + like.format.one).view(like.dtype)


def _exp(x: Lanes, low: Lanes | None = None, halvings: int = 0, accurate: bool = False) -> Lanes:
    """exp(x + low) / 2**halvings, for a tiny ``low``; ``accurate`` spends one operation on 0.2 ulp."""
    r, n = _reduce_exp(_exp_range(x, halvings))
    if low is not None:
        r = r + low
    q = polynomial(r, EXP[x.dtype.name])
    p = 1.0 + fma(r * r, q, r) if accurate or low is not None else fma(r, fma(r, q, 1.0), 1.0)
    return _scaled(p, n - halvings if halvings else n)


def _exp_range(x: Lanes, halvings: int = 0) -> Lanes:
    top, bottom = (89.0, -104.0) if x.dtype == dtypes.float32 else (710.0, -746.0)
    return x.at_most(top + halvings).at_least(bottom)


def _scaled(p: Lanes, n: Lanes) -> Lanes:
    """p * 2**n. In two factors, since 2**n may be subnormal or beyond the range."""
    form = p.format
    h = (n.view(_unsigned(form.bits)) >> 1).view(form.bits)
    return p * _power_of_two(h, p) * _power_of_two(n - h, p)


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
    top, bottom = (89.0, -18.0) if x.dtype == dtypes.float32 else (709.9, -38.0)
    p, n = _expm1_parts(x.at_most(top).at_least(bottom))
    s = _power_of_two(n - 1, x)
    return where(abs(x) < 2.0**-60, x, 2.0 * fma(s, p, s - 0.5))


# (tanh(x) - x) / x**3 in x**2, |x| <= 0.55
TANH = {
    "float32": (-0.333333194, 0.133326381, -0.053857062, 0.0210892633, -0.0062970263),
    "float64": (
        -0.333333333333333, 0.13333333333326633, -0.05396825396378238, 0.021869488386707533, -0.0088632326175381,
        0.0035920922055942073, -0.0014555440194339328, 0.0005884494127526465, -0.00023339419762537106,
        8.333454685614091e-05, -1.9505795233912263e-05),
}  # fmt: skip


def tanh(x: Lanes) -> Lanes:
    """A polynomial up to 0.55, then 1 - 2 / (exp(2|x|) + 1)."""
    a = abs(x)
    u = x * x
    near = fma(x * u, polynomial(u, TANH[x.dtype.name]), x)
    b = a.at_most(10.0 if x.dtype == dtypes.float32 else 20.0)
    r, n = _reduce_exp(b + b)
    p = fma(r, fma(r, polynomial(r, EXP[x.dtype.name]), 1.0), 1.0)
    far = 1.0 - 2.0 / fma(_power_of_two(n, x), p, 1.0)
    return where(a < 0.55, near, far).signed_as(x)


def logistic(x: Lanes) -> Lanes:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), which never overflows."""
    e = _exp(-abs(x), accurate=True)
    d, d_low = sum2(e.constant(1.0), e)
    q = where(x < 0.0, e, 1.0) / d
    return fma(-q, d_low, q)


# (sinh(x) - x) / x**3 in x**2, |x| <= 1
SINH = {
    "float32": (0.166666672, 0.00833331607, 0.0001984142, 2.79153892e-06),
    "float64": (
        0.16666666666666669, 0.00833333333333297, 0.00019841269841531204, 2.755731913037768e-06, 2.5052126856430734e-08,
        1.6057000490230926e-10, 7.765898615937313e-13),
}  # fmt: skip


def sinh(x: Lanes) -> Lanes:
    """A polynomial up to 1, then h - 1 / (4 h) with h = exp(|x|) / 2."""
    u = x * x
    h = _exp(abs(x), halvings=1)
    near = fma(x * u, polynomial(u, SINH[x.dtype.name]), x)
    return where(abs(x) < 1.0, near, h - 0.25 / h).signed_as(x)


def cosh(x: Lanes) -> Lanes:
    h = _exp(abs(x), halvings=1)
    return h + 0.25 / h


# -- logarithms ------------------------------------------------------------------------------------

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
    """(f, e) with x = 2**e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), f exact, e an integer; for x > 0."""
    form = x.format
    small = x < form.tiny
    i = where(small, x * 2.0**form.digits, x).view(form.bits) - form.root_half
    m = (i & ((1 << form.digits) - 1)) + form.root_half
    return m.view(x.dtype) - 1.0, (i >> form.digits) - where(small, i.constant(form.digits), 0)


def _log(f: Lanes, e: Lanes, low: Lanes | None = None) -> Lanes:
    """log(2**e (1 + f)) + low, for a tiny ``low``."""
    form, e = f.format, e.cast(f.dtype)
    if f.dtype == dtypes.float32:
        rest = f * f * fma(f, polynomial(f, LOG32), -0.5)
    else:
        s = f / (f + 2.0)
        z = s * s
        half = 0.5 * f * f  # log(1 + f) = 2 atanh(s) = f - half + s (half + 2 s**2 ATANH(s**2))
        rest = s * fma(z + z, polynomial(z, ATANH), half) - half
    if low is not None:
        rest = rest + low
    return fma(e, form.ln2[0], f + fma(e, form.ln2[1], rest))


def log(x: Lanes) -> Lanes:
    """x = 2**e (1 + f); a polynomial in f for float32, in s = f / (2 + f) for float64."""
    return _log_ends(x, _log(*_log_parts(x)))


def _log_ends(x: Lanes, result: Lanes) -> Lanes:
    """``result`` but where log(x) is infinite or no number."""
    result = where(x > 0.0, result, where(x.eq(0.0), result.constant(-INF), NAN))
    return where(x.eq(INF), INF, result)


def log1p(x: Lanes) -> Lanes:
    """log(2**e (1 + f)) with f = 2**-e x + (2**-e - 1), rounded once."""
    return _log1p(x).signed_as(x)


def _log1p(x: Lanes, low: Lanes | None = None) -> Lanes:
    """log(1 + x + low). With ``low`` the rounding error of f is made up for as well."""
    u = 1.0 + x
    m, e = _log_parts(u)
    scale = _power_of_two(-e, x)
    s = scale - 1.0
    f = where(x < 2.0**60, fma(scale, x, s), m)
    if low is not None:
        low = where(x < 2.0**60, fma(scale, low, fma(scale, x, s - f)) / (1.0 + f), 0.0)
    return _log_ends(u, _log(f, e, low))


def asinh(x: Lanes) -> Lanes:
    """A polynomial up to 1/2, then log(|x| + sqrt(x**2 + 1)) with the sum in two parts."""
    a, u = abs(x), x * x
    near = fma(x * u, polynomial(u, ASINH[x.dtype.name]), x)
    b = a.at_most(2.0**60)
    p, p_low = product2(b, b)
    q, q_low = two_sum(p, b.constant(1.0))
    root, root_low = _sqrt2(q, q_low + p_low)
    total, total_low = sum2(root, b)
    f, e = _log_parts(total)
    middle = _log(f, e, (total_low + root_low) / total)
    f, e = _log_parts(a)
    far = _log_ends(a, _log(f, e + 1))
    return where(a < 0.5, near, where(a < 2.0**30, middle, far)).signed_as(x)


def _sqrt2(x: Lanes, low: Lanes) -> tuple[Lanes, Lanes]:
    """sqrt(x + low) in two parts."""
    root = x.sqrt()
    low = (fma(-root, root, x) + low) / (root + root)
    return root, where(root.eq(0.0), 0.0, low)


def acosh(x: Lanes) -> Lanes:
    """log(1 + (t + sqrt(t (t + 2)))) with t = x - 1, in two parts."""
    t = x.at_most(2.0**60) - 1.0
    d, d_low = two_sum(t, t.constant(2.0))
    p, p_low = product2(t, d)
    root, root_low = _sqrt2(p, fma(t, d_low, p_low))
    z, z_low = sum2(root, t)
    near = _log1p(z, z_low + root_low)
    f, e = _log_parts(x)
    return where(x >= 1.0, where(x < 2.0**30, near, _log_ends(x, _log(f, e + 1))), NAN)


def atanh(x: Lanes) -> Lanes:
    """log(1 + q) / 2 with q = 2|x| / (1 - |x|) in two parts."""
    a = abs(x)
    b = a + a
    d = 1.0 - a
    q = b / d
    low = (fma(-q, d, b) - q * ((1.0 - d) - a)) / d
    result = 0.5 * _log1p(q, where(a < 1.0, low, 0.0))
    return where(a < 2.0**-30, x, result.signed_as(x))


# (asinh(x) - x) / x**3 in x**2, |x| <= 1/2
ASINH = {
    "float32": (-0.166666657, 0.0749990791, -0.0446162932, 0.0300354026, -0.0200567618, 0.00926674064),
    "float64": (
        -0.16666666666666663, 0.07499999999998866, -0.04464285714161692, 0.030381944375399622, -0.02237215680726108,
        0.01735271558628443, -0.01396413362087837, 0.011544567913063778, -0.009709210939705552, 0.008119416513777428,
        -0.006320295347647119, 0.00391876901512308, -0.0013609474355254611),
}  # fmt: skip


# -- powers ----------------------------------------------------------------------------------------


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
    e = e.cast(x.dtype)
    high, low = sum2(e * 0.693147180559663, z + z)
    return high, low + fma(e, 2.8235290563031577e-13, z_low + z_low)


# As LOG32 and EXP, in float64 to the digits that float32 needs.
LOG_SHORT = (
    0.33333333320372593, -0.2500000018829688, 0.20000002987755586, -0.16666645549821021, 0.14285491587534133,
    -0.12500744733261288, 0.11118687788439742, -0.09991476376386275, 0.08962790072717094, -0.08292753780170097,
    0.08698604296192532, -0.08523869104487745, 0.04392117566659668)  # fmt: skip
EXP_SHORT = (
    0.5000000079121625, 0.16666666821248646, 0.04166626711210084, 0.008333273020612623, 0.0013946227568643506,
    0.0001991382711495681)  # fmt: skip


def _power32(x: Lanes, y: Lanes) -> Lanes:
    """exp(y log(x)) for float32 x >= 0, to 2**-33 or so before it is rounded."""
    f, e = (part.cast(dtypes.float64) for part in _log_parts(x))
    log = fma(f * f, fma(f, polynomial(f, LOG_SHORT), -0.5), f)
    log = _log_ends(x, fma(e, f.format.ln2[0], log))
    exponent = y.cast(dtypes.float64) * log
    r, n = _reduce_exp(exponent.at_most(200.0).at_least(-200.0))
    size = fma(r, fma(r, polynomial(r, EXP_SHORT), 1.0), 1.0) * _power_of_two(n, r)
    return size.cast(dtypes.float32)


def power(x: Lanes, y: Lanes) -> Lanes:
    """exp(y log|x|), for float64 with the logarithm in two parts; the special cases are C's."""
    a = abs(x)
    if x.dtype == dtypes.float32:
        size = _power32(a, y)
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
    f, signed = x.f, x.dtype.kind == "i"
    exponent = where(y < 0, 0, y) if signed else y
    bits = exponent.view(_unsigned(x.dtype)).v
    if x.v.width > 1:
        name = f"llvm.vector.reduce.or.v{x.v.width}i{8 * x.dtype.itemsize}"
        f.module.declare(name, f"i{8 * x.dtype.itemsize}", bits.type)
        bits = f.define(bits.dtype, 1, f"call i{8 * x.dtype.itemsize} @{name}({bits.typed})")
    zeros = f.fresh()
    kind = f"i{8 * x.dtype.itemsize}"
    f.module.declare(f"llvm.ctlz.{kind}", kind, kind, "i1")
    f.emit(f"{zeros} = call {kind} @llvm.ctlz.{kind}({kind} {bits.ref}, i1 false)")
    steps = f.sub(index(8 * x.dtype.itemsize), f.cast(Value(zeros, _unsigned(x.dtype)), dtypes.int64))

    def square(_: Value, *carried: Value) -> list[Value]:
        base, left, total = (Lanes(f, v) for v in carried)
        total = where((left & 1).ne(0), total * base, total)
        return [(base * base).v, (left.view(_unsigned(x.dtype)) >> 1).view(x.dtype).v, total.v]

    start = [x.v, exponent.v, x.constant(1).v]
    total = Lanes(f, f.loop(index(0), steps, 1, square, start, "pow")[2])
    if not signed:
        return total
    unit = x.eq(1) | x.eq(-1)
    return where(y < 0, where(unit, where((y & 1).eq(0), 1, x), 0), total)


def cbrt(x: Lanes) -> Lanes:
    """cbrt(m) by a polynomial for x = 2**(3 q + r) m, 1 <= m < 2, then a step of Halley's method."""
    form = x.format
    a = abs(x)
    small = a < form.tiny
    i = where(small, a * 2.0**54, a).view(form.bits)
    e = (i >> form.digits) + (3072 - (form.one >> form.digits))  # >= 0 and a multiple of 3 more
    third = (e * 21846) >> 16
    r = e - third * 3
    m = ((i & ((1 << form.digits) - 1)) | form.one).view(x.dtype)
    t = polynomial(m, CBRT[x.dtype.name]) * where(r.eq(0), 1.0, where(r.eq(1), x.constant(2 ** (1 / 3)), 2 ** (2 / 3)))
    m = m * _power_of_two(r, x)
    t = (t.view(form.bits) & -(1 << (form.digits + 2) // 2)).view(x.dtype)  # t * t is exact
    square = t * t
    d = fma(square, t, -m)
    root = t - t * d / fma(m, 3.0, d + d)
    root = root * _power_of_two(third - 1024, x) * where(small, x.constant(2.0**-18), 1.0)
    return where((a < INF) & (a > 0.0), root.signed_as(x), x)


# cbrt(m), 1 <= m < 2, to half the digits
CBRT = {
    "float32": (0.507007182, 0.718074501, -0.300528169, 0.086053215, -0.0105974823),
    "float64": (
        0.4259433732426328, 1.0557041659173523, -0.8893820432062638, 0.6448197334168126, -0.32362568446656936,
        0.10439923265154816, -0.019448368188033704, 0.0015896152472225798),
}  # fmt: skip


# -- trigonometry ----------------------------------------------------------------------------------

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


# Up to here x - n pi / 2 with pi / 2 in three parts is right to the last bit but one.
NEAR = {"float32": 2.0**16, "float64": 2.0**20}


def _reduce_quarter(x: Lanes, accurate: bool = False) -> tuple[Lanes, Lanes | None, Lanes]:
    """(r, low, n) with x = n pi / 2 + r + low and |r| <= pi / 4; only n's low bits are used.

    r is right to one ulp, which ``low`` makes up for if ``accurate``.
    """
    form, f = x.format, x.f
    t = fma(x, 2 / math.pi, form.magic)
    n = t - form.magic
    first, second, third = form.half_pi
    r = fma(n, -first, x)  # exact
    low: list[Lanes] = []
    if accurate:
        p, p_low = product2(n, n.constant(second))
        r, r_low = two_sum(r, -p)
        r, r_low = sum2(r, fma(n, -third, r_low - p_low))
        low = [r_low]
    else:
        r = fma(n, -third, fma(n, -second, r))
    far = abs(x) > NEAR[x.dtype.name]
    fast = [r, t.view(form.bits), *low]

    def reduced() -> list[Value]:
        return [where(far, y, z).v for y, z in zip(_reduce_far(x), fast)]

    result = [Lanes(f, v) for v in f.when(f.any(far.v), reduced, [y.v for y in fast])]
    return result[0], result[2] if accurate else None, result[1]


def _reduce_far(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(r, n, low) for large x, by a function of its own, for which hot loops need not make room."""
    f, width, wide = x.f, x.v.width, x.cast(dtypes.float64)
    name = f"hornbeam.reduce_far.{width}"
    if name not in f.module.helpers:
        f.module.helpers.add(name)
        _emit_reduce_far(f.module, name, width)
    given, high, low = (f.alloca(dtypes.float64, width) for _ in range(3))
    quarter = f.alloca(dtypes.int64, width)
    f.store(wide.v, given)
    f.emit(f"call void @{name}(ptr {given}, ptr {high}, ptr {low}, ptr {quarter})")
    r, r_low = (Lanes(f, f.load(p, dtypes.float64, width)) for p in (high, low))
    n = Lanes(f, f.load(quarter, dtypes.int64, width))
    if x.dtype == dtypes.float64:
        return r, n, r_low
    single = r.cast(x.dtype)
    return single, n.cast(dtypes.int32), (r - single.cast(dtypes.float64)).cast(x.dtype)


STEP = 32  # binary digits between rows of the table of 2 / pi
PARTS = 4


def _emit_reduce_far(module: Module, name: str, width: int) -> None:
    """x = 2**(32 j) X with X whole (or j = 0); x 2 / pi modulo 4 is X times a number in the j-th row of a table.

    The row has 2**(32 j) 2 / pi modulo 4 in four parts. The products are exact in pairs; whole multiples of 4 are
    taken off each, and the rest is summed without error until the leading two parts are right.
    """
    table = "@hornbeam.two_over_pi"
    if table not in module.helpers:
        module.helpers.add(table)
        numbers = ", ".join(f"double {literal(p, dtypes.float64)}" for row in _two_over_pi() for p in row)
        module.globals.append(f"{table} = internal constant [{PARTS * len(_two_over_pi())} x double] [{numbers}]")
    f = Function(module, name, [("ptr", p) for p in ("x", "high", "low", "quarter")], "noinline cold nounwind ")
    f.header = f.header.replace("define void", "define internal void", 1)
    x = Lanes(f, f.load("%x", dtypes.float64, width))
    form = x.format
    exponent = ((x.view(dtypes.int64) >> 52) & 0x7FF) - (1023 + 52)
    row = where(exponent < 0, 0, exponent >> 5)
    whole = x * _power_of_two(row * -STEP, x)
    terms: list[Lanes] = []
    for i in range(PARTS):
        at = (row * PARTS + i).v
        if width > 1:
            part = f.gather(table, at, dtypes.float64)
        else:
            part = f.load(f.address(table, at, dtypes.float64), dtypes.float64)
        terms += product2(whole, Lanes(f, part))
    terms[:3] = [t - 4.0 * (t * 0.25).unary("roundeven") for t in terms[:3]]
    rounded = (terms[0] + terms[1]) + terms[2]
    n = rounded.unary("roundeven")
    # h0 and l0, h1 are within 2 of 0: this sum is exact enough for the passes below to bring out every bit.
    terms.insert(0, -n)
    for _ in range(4):
        for i in range(len(terms) - 1, 0, -1):
            terms[i - 1], terms[i] = two_sum(terms[i - 1], terms[i])
    high, low = terms[0], terms[1] + terms[2]
    r, r_low = product2(high, x.constant(form.half_pi[0]))
    r_low = fma(high, form.half_pi[1], fma(low, form.half_pi[0], r_low))
    r, r_low = sum2(r, r_low)
    f.store(r.v, "%high")
    f.store(r_low.v, "%low")
    f.store((n + form.magic).view(dtypes.int64).v, "%quarter")
    f.finish()


@cache
def _two_over_pi() -> tuple[tuple[float, ...], ...]:
    """Row j: 2**(32 j) 2 / pi modulo 4 as a sum of four float64; pi by Machin's formula."""
    digits = 1400

    def arctan(inverse: int) -> int:
        total, power, k = 0, (1 << digits + 16) // inverse, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power //= inverse * inverse
            k += 2
        return total

    pi = (16 * arctan(5) - 4 * arctan(239)) >> 16
    ratio = (2 << 2 * digits) // pi
    rows = []
    for j in range(31):
        rest, parts = Fraction((ratio << STEP * j) % (4 << digits), 1 << digits), []
        for _ in range(PARTS):
            parts.append(float(rest))
            rest -= Fraction(parts[-1])
        rows.append(tuple(parts))
    return tuple(rows)


def _sin_cos(r: Lanes) -> tuple[Lanes, Lanes]:
    """sin(r) and cos(r), |r| <= pi / 4."""
    u = r * r
    sine = fma(r * u, polynomial(u, SIN[r.dtype.name]), r)
    return sine, fma(u * u, polynomial(u, COS[r.dtype.name]), fma(u, -0.5, 1.0))


def _circular(x: Lanes, quarter: int) -> Lanes:
    """sin(x + quarter pi / 2)."""
    form = x.format
    r, _, n = _reduce_quarter(x)
    n = n + quarter if quarter else n
    sine, cosine = _sin_cos(r)
    result = where((n & 1).eq(0), sine, cosine)
    flip = (n & 2) << (8 * x.dtype.itemsize - 2)
    return (result.view(form.bits) ^ flip).view(x.dtype)


def sin(x: Lanes) -> Lanes:
    """x = n pi / 2 + r; a polynomial for sin(r) or cos(r)."""
    return where(x.eq(0.0), x, _circular(x, 0))


def cos(x: Lanes) -> Lanes:
    return _circular(x, 1)


def tan(x: Lanes) -> Lanes:
    """sin / cos, both in two parts."""
    r, low, n = _reduce_quarter(x, accurate=True)
    assert low is not None
    u = r * r
    sine, sine_low = sum2(r, fma(r * u, polynomial(u, SIN[r.dtype.name]), low))
    u_low = fma(r, r, -u)
    bend = u * u * polynomial(u, COS[r.dtype.name])
    cosine, cosine_low = sum2(x.constant(1.0), u * -0.5)
    cosine, cosine_low = sum2(cosine, cosine_low + (fma(u_low, -0.5, bend) - r * low))
    odd = (n & 1).ne(0)
    over, over_low = where(odd, -cosine, sine), where(odd, -cosine_low, sine_low)
    under, under_low = where(odd, sine, cosine), where(odd, sine_low, cosine_low)
    q = over / under
    rest = (fma(-q, under, over) + fma(-q, under_low, over_low)) / under
    return where(x.eq(0.0), x, q + rest)


# (asin(s) - s) / s**3 in s**2, |s| <= 1/2
ASIN = {
    "float32": (0.166666597, 0.0750051811, 0.0445145592, 0.0318262167, 0.0143727474, 0.0376045182),
    "float64": (
        0.16666666666666763, 0.0749999999997013, 0.044642857175252224, 0.030381942677005253, 0.022372215855515108,
        0.017351596424305112, 0.013981007327478716, 0.011397385249502475, 0.01078880377075813, 0.003674135858405074,
        0.02178591893424097, -0.021110063300352297, 0.03269802552362876),
}  # fmt: skip
# (atan(z) - z) / z**3 in z**2, |z| <= tan(pi / 8)
ATAN = {
    "float32": (-0.333333164, 0.199985325, -0.142445013, 0.106000215, -0.0609214976),
    "float64": (
        -0.33333333333333326, 0.1999999999999726, -0.1428571428534798, 0.11111111086134894, -0.09090908082078684,
        0.07692281532988222, -0.06666210760008477, 0.0587688137545144, -0.05217584895669461, 0.04500500294971392,
        -0.03340899536865007, 0.015133439680513226),
}  # fmt: skip


def _asin_parts(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(s, rest, big): asin is s + rest for s = |x|; beyond 1/2 that is asin(sqrt((1 - |x|) / 2))."""
    a = abs(x)
    big = a > 0.5
    z = 0.5 - 0.5 * a  # exact where used
    root = z.sqrt()
    root_low = where(z.eq(0.0), 0.0, fma(-root, root, z) / (root + root))
    u = where(big, z, a * a)
    s = where(big, root, a)
    return s, fma(s * u, polynomial(u, ASIN[x.dtype.name]), where(big, root_low, 0.0)), big


def asin(x: Lanes) -> Lanes:
    """A polynomial up to 1/2; beyond, pi / 2 - 2 asin(sqrt((1 - |x|) / 2))."""
    s, rest, big = _asin_parts(x)
    far = math.pi / 2 - 2.0 * (s + (rest - 0.5 * x.format.half_pi[1]))
    return where(big, far, s + rest).signed_as(x)


def acos(x: Lanes) -> Lanes:
    s, rest, big = _asin_parts(x)
    low = x.format.half_pi[1]
    twice = 2.0 * (s + rest)
    far = where(x < 0.0, math.pi - (twice - 2 * low), twice)
    near = math.pi / 2 - (x + (rest.signed_as(x) - low))
    return where(big, far, near)


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle in the first octant, from z = n / d or (n - d) / (n + d), turned into place."""
    form, low = x.format, x.format.half_pi[1]
    a, b = abs(y), abs(x)
    swap = a > b
    n, d = where(swap, b, a), where(swap, a, b)
    scale = where(d > 1 / (16 * form.tiny), x.constant(2.0**-10), 1.0)  # n + d may overflow
    n, d = n * scale, d * scale
    both = n.eq(INF)
    n, d = where(both, 1.0, n), where(both | d.eq(0.0), 1.0, d)
    middle = n > d * (math.sqrt(2) - 1)
    z = where(middle, n - d, n) / where(middle, n + d, d)
    u = z * z
    rest = fma(z * u, polynomial(u, ATAN[x.dtype.name]), where(middle, x.constant(low / 2), 0.0))
    angle = where(middle, x.constant(math.pi / 4), 0.0) + (z + rest)
    angle = where(swap, math.pi / 2 - (angle - low), angle)
    angle = where(x.view(form.bits) < 0, math.pi - (angle - 2 * low), angle)
    return where(x.isnan() | y.isnan(), NAN, angle.signed_as(y))


def atan(x: Lanes) -> Lanes:
    return atan2(x, x.constant(1.0))


# -- error functions -------------------------------------------------------------------------------

# erf(x) / x - 1 in x**2, |x| <= 1
ERF = {
    "float32": (0.128379166, -0.37612626, 0.112835832, -0.0268536918, 0.00518807396, -0.00080078782, 7.8461082e-05),
    "float64": (
        0.12837916709551256, -0.3761263890318346, 0.11283791670942667, -0.026866170642932907, 0.005223977604947171,
        -0.0008548325882252492, 0.00012055292360244849, -1.4924691654428451e-05, 1.644690284419328e-06,
        -1.62047212688752e-07, 1.3704655279290379e-08, -7.768538107414629e-10),
}  # fmt: skip
# erfc(t + 2.5), -1.5 <= t <= 1.45
ERFC32 = (
    0.000406929641, -0.00217806268, 0.00544673111, -0.00835343637, 0.00861482322, -0.00610262202, 0.00281929993,
    -0.000571149925, -0.000287650968, 0.000279319647, -6.13556258e-05, -2.11216229e-05, 9.03253658e-06)  # fmt: skip
# (1 + 2 x) exp(x**2) erfc(x) in t = (x - 4) / (x + 4), 1/2 <= x <= 27.3
ERFC = (
    1.2329951186255526, -0.13962111684056255, 0.015379652102613708, 0.06809705425469488, -0.10103906603605588,
    0.09373283499832986, -0.0663303658170128, 0.03716751553699044, -0.01619773400597079, 0.005031969990051773,
    -0.0007577736329348406, -0.00019925680922827172, 0.00015062315445965759, -2.4398601870100555e-05,
    -1.1226222840728567e-05, 5.70770361493541e-06, 3.0162512762574685e-07, -8.211647512481099e-07,
    6.541913398545182e-08, 1.0453281330647397e-07, -1.168945177018505e-08, -1.0075195401583019e-08)  # fmt: skip


def erf(x: Lanes) -> Lanes:
    """A polynomial up to 1, then 1 - erfc."""
    a = abs(x)
    near = fma(x, polynomial(x * x, ERF[x.dtype.name]), x)
    if x.dtype == dtypes.float32:
        far = where(a >= 3.92, 0.0, polynomial(a - 2.5, ERFC32))  # 1 - far rounds to 1 from there
    else:
        far = _erfc_far(a.at_most(6.0))
    return where(a < 1.0, near, (1.0 - far).signed_as(x))


def _erfc_far(x: Lanes) -> Lanes:
    """exp(-x**2) ERFC(t) / (1 + 2 x), every factor in two parts."""
    square, square_low = product2(x, x)
    r, n = _reduce_exp(_exp_range(-square))
    r, r_low = sum2(r, -square_low)
    p, p_low = sum2(x.constant(1.0), fma(r * r, polynomial(r, EXP[x.dtype.name]), r))
    p_low = fma(p, r_low, p_low)
    t = (x - 4.0) / (x + 4.0)
    c, c_low = sum2(x.constant(ERFC[0]), t * polynomial(t, ERFC[1:]))
    d = fma(x, 2.0, 1.0)
    q = c / d
    q_low = (fma(-q, d, c) + fma(-q, fma(x, 2.0, 1.0 - d), c_low)) / d
    return _scaled(fma(p, q, fma(p, q_low, p_low * q)), n)


def erfc(x: Lanes) -> Lanes:
    """1 - erf up to 1/2, then exp(-x**2) times a polynomial; 2 - erfc(-x) below -1."""
    a = abs(x)
    near = 1.0 - fma(x, polynomial(x * x, ERF[x.dtype.name]), x)
    far = _erfc_far(a.at_most(30.0))
    return where((x < 0.5) & (x > -1.0), near, where(x < 0.0, 2.0 - far, far))


# erf_inv(x) / x with w = -log(1 - x**2): in w - 2.5 up to w = 5, in sqrt(w) - 3 up to 16, in sqrt(w) - 5 up to 36.1
ERF_INV = (
    (
        1.501409351110792, 0.24664027674416697, -0.0041773177243845175, -0.0012527079078107903,
        0.00021825026434768338, -4.996079599505839e-06, -3.416619603346749e-06, 4.787252193936197e-07,
        1.3416810816765812e-08, -1.0861169599260522e-08, 9.072991526700322e-10, 1.196072985950017e-10,
        -3.110094593295598e-11, 9.114729122615848e-13, 5.351399768973269e-13, -7.61088148326311e-14,
        -2.7944943258999576e-15, 1.8946053242727317e-15, -1.4615486708478484e-16, -2.6686416771562102e-17,
        5.508135366190449e-18, 1.659879638778329e-19, -8.526187234326145e-20),
    (
        2.832976798728271, 1.0016752766933994, 0.009445522011937367, -0.007643805570008112, 0.005685182420151242,
        -0.003558794018026642, 0.0014837373026057024, -0.00014889806298678867, -0.00028312402758748947,
        0.00020551617813738878, -4.646256449569534e-05, -2.287056239803869e-05, 2.1941515525668557e-05,
        -5.957126000447005e-06, -1.6659559781113558e-06, 2.021648262719588e-06, -6.30026818908232e-07,
        -1.0969755832742218e-07, 1.63327952244964e-07, -4.1205803856525505e-08, -7.665512176385364e-09,
        4.068485418888932e-09),
    (
        4.849906401408584, 1.0103004648645455, -0.00013871931836152086, -0.0002150301198348815, 7.599527745192934e-05,
        -1.968177061500859e-05, 4.52605965179848e-06, -9.93029832574377e-07, 2.290152957758963e-07,
        -6.755497107479714e-08, 2.912736240755244e-08, -1.5256933653201737e-08, 7.638355894018253e-09,
        -3.4697605755324686e-09, 1.4945976255355108e-09, -4.38224395684267e-10, -2.4039138417185694e-11,
        4.297238946918509e-11),
)  # fmt: skip
# The same to float32's accuracy, for which w <= 16.
ERF_INV32 = (
    (
        1.50140935172332, 0.24664027689874962, -0.004177324904157004, -0.0012527084925531323, 0.00021826392805285815,
        -4.9954766759604134e-06, -3.426190516297962e-06, 4.784834079257956e-07, 1.649209150867314e-08,
        -1.0826503247509891e-08, 4.346568905526759e-10, 1.2128899917092832e-10),
    (
        2.8329767985082728, 1.0016752577734502, 0.009445544842487323, -0.007643214512131904, 0.0056846884002574325,
        -0.003563951939271324, 0.0014880345230131192, -0.0001306361522108402, -0.0003001859484494147,
        0.00017816794087082064, -1.5422460796884674e-05, -1.1283309087526512e-05),
)  # fmt: skip


def erf_inv(x: Lanes, fits: Sequence[Sequence[float]] = ERF_INV) -> Lanes:
    """Within 3 ulp: x times a polynomial in w = -log(1 - x**2) or its root."""
    w = -_log(*_log_parts((1.0 - x) * (1.0 + x))) if len(fits) < 3 else -_log1p(-(x * x))
    a = abs(x)
    if len(fits) == 3:  # towards 1, where 1 - |x| is exact and 1 - x**2 is not
        d = 1.0 - a
        w = where(a > 0.5, -_log(*_log_parts(d * (1.0 + a))), w)
    root = w.sqrt()
    result = where(w < 5.0, polynomial(w - 2.5, fits[0]), polynomial(root - 3.0, fits[1]))
    if len(fits) == 3:
        result = where(w < 16.0, result, polynomial(root - 5.0, fits[2]))
    return where(a < 1.0, result * x, where(a.eq(1.0), x * INF, NAN))


# -- gamma function --------------------------------------------------------------------------------

# log(gamma(2 + t)) / t, |t| <= 1/2
LGAMMA = (
    0.42278433509846713, 0.3224670334241133, -0.06735230105319548, 0.020580808427765766, -0.00738555102894177,
    0.002890510331841517, -0.001192753900896347, 0.0005096694952754969, -0.00022315497823207625,
    9.945794063536359e-05, -4.492372540854361e-05, 2.050357825757467e-05, -9.456284763903786e-06,
    4.393348899179288e-06, -1.9743440306198546e-06, 9.003387341250211e-07, -5.810769495478539e-07,
    2.9726062207895626e-07)  # fmt: skip
# x (log(gamma(x)) - (x - 1/2) log(x) + x - log(2 pi) / 2) in 1 / x**2, x >= 8
STIRLING = (
    0.08333333333333333, -0.002777777777766815, 0.0007936507860928017, -0.0005952357837064108, 0.0008413848551944032,
    -0.0018860270746803927, 0.004980255706043766)  # fmt: skip
# x**2 (log(x) - 1 / (2 x) - digamma(x)) in 1 / x**2, x >= 8
DIGAMMA = (
    0.08333333333333333, -0.008333333333287063, 0.003968253916688719, -0.004166645933450875, 0.007571814132222622,
    -0.020704615765898993, 0.06375617997894727)  # fmt: skip


def _sin_cos_pi(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(|sin(pi x)|, cos(pi r), r) with r = x less its nearest whole number."""
    r = x - x.unary("roundeven")
    a = abs(r)
    steep = a > 0.25
    sine, cosine = _sin_cos(where(steep, 0.5 - a, a) * math.pi)
    return where(steep, cosine, sine), where(steep, sine, cosine), r


def lgamma(x: Lanes) -> Lanes:
    """Reflection below 1/2, a polynomial about 2 and recurrence below 8, Stirling's series from there."""
    low = x < 0.5
    z = where(low, 1.0 - x, x)
    near = z < 8.0
    n = z.at_most(8.0).unary("roundeven").at_least(1.0)
    t = z - n
    product = where(n < 2.0, z, 1.0)
    for i in range(1, 7):
        product = where(n > i + 1.5, product * (z - float(i)), product)
    size = where(near, product, z)
    logarithm = _log_ends(size, _log(*_log_parts(size)))
    series = polynomial(1.0 / (z * z), STIRLING) / z
    far = (z - 0.5) * (logarithm - 1.0) + (0.4189385332046727 + series)
    t = where(near, t, 0.0)
    value = where(near, fma(t, polynomial(t, LGAMMA), where(n < 2.0, -logarithm, logarithm)), far)
    sine, _, r = _sin_cos_pi(x)
    tiny = abs(x) < 2.0**-60  # where pi / sine may overflow
    ratio = where(tiny, abs(x), math.pi / where(low, sine, 1.0))
    reflected = _log(*_log_parts(ratio))
    reflected = where(tiny, -reflected, reflected - value)
    pole = low & r.eq(0.0)
    return where(pole | abs(x).eq(INF), INF, where(low, reflected, value))


def digamma(x: Lanes) -> Lanes:
    """Reflection below 0, recurrence up to 8, then the asymptotic series."""
    low = x < 0.0
    z = where(low, 1.0 - x, x)
    over, under = x.constant(0.0), x.constant(1.0)
    for _ in range(8):
        step = z < 8.0
        over, under = where(step, fma(over, z, under), over), where(step, under * z, under)
        z = where(step, z + 1.0, z)
    y = 1.0 / (z * z)
    value = _log_ends(z, _log(*_log_parts(z))) - (0.5 / z + fma(y, polynomial(y, DIGAMMA), over / under))
    sine, cosine, r = _sin_cos_pi(x)
    cotangent = (cosine / sine).signed_as(r) * math.pi
    value = where(low, value - cotangent, value)
    pole = (x <= 0.0) & (r.eq(0.0) | x.eq(-INF))
    return where(pole, NAN, value)


# -- rounding, sign, extrema -----------------------------------------------------------------------


def absolute(x: Lanes) -> Lanes:
    if dtypes.is_floating(x.dtype):
        return abs(x)
    return x if x.dtype.kind == "u" else where(x < 0, -x, x)


def sign(x: Lanes) -> Lanes:
    if x.dtype.kind == "u":
        return where(x.eq(0), x, 1)
    result = where(x > 0, 1, where(x < 0, x.constant(-1), 0))
    return where(x.isnan(), x, result) if dtypes.is_floating(x.dtype) else result


def rsqrt(x: Lanes) -> Lanes:
    """1 / sqrt(x), each rounded."""
    if x.dtype in HALF:
        root = x.cast(dtypes.float32).sqrt().cast(x.dtype)
        return (1.0 / root.cast(dtypes.float32)).cast(x.dtype)
    return 1.0 / x.sqrt()


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
    inside = y.view(_unsigned(y.dtype)) < 8 * x.dtype.itemsize
    return where(inside, x << where(inside, y, 0), 0)


def shift_right(x: Lanes, y: Lanes) -> Lanes:
    """By the width or more leaves the sign."""
    inside = y.view(_unsigned(y.dtype)) < 8 * x.dtype.itemsize
    return where(inside, x >> where(inside, y, 0), (x >> (8 * x.dtype.itemsize - 1)) if x.dtype.kind == "i" else 0)


# -- the table -------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """How a function is emitted. ``wide``: float32 computes in float64 by this; ``exact``: half precision as it is."""

    emit: Callable[..., Lanes]
    accepts: tuple[DType, ...] = dtypes.FLOATS
    wide: Callable[..., Lanes] | None = None
    exact: bool = False


def _in_double(emit: Callable[..., Lanes]) -> Entry:
    return Entry(emit, wide=emit)


FUNCTIONS: dict[str, Entry] = {
    "abs": Entry(absolute, REAL),
    "sign": Entry(sign, REAL),
    "floor": Entry(lambda x: x.unary("floor")),
    "ceil": Entry(lambda x: x.unary("ceil")),
    "trunc": Entry(lambda x: x.unary("trunc")),
    "round": Entry(lambda x: x.unary("roundeven")),
    "max": Entry(extremum("max"), REAL, exact=True),
    "min": Entry(extremum("min"), REAL, exact=True),
    "is_finite": Entry(is_finite),
    "nextafter": Entry(nextafter, exact=True),
    "sqrt": Entry(lambda x: x.sqrt()),
    "rsqrt": Entry(rsqrt, exact=True),
    "cbrt": Entry(cbrt),
    "pow": Entry(lambda x, y: (power if dtypes.is_floating(x.dtype) else integer_power)(x, y), REAL),
    "exp": Entry(exp),
    "expm1": Entry(expm1),
    "log": Entry(log),
    "log1p": Entry(log1p),
    "logistic": Entry(logistic),
    "sinh": Entry(sinh),
    "cosh": Entry(cosh),
    "tanh": Entry(tanh),
    "asinh": Entry(asinh),
    "acosh": Entry(acosh),
    "atanh": Entry(atanh),
    "sin": Entry(sin),
    "cos": Entry(cos),
    "tan": Entry(tan),
    "asin": Entry(asin),
    "acos": Entry(acos),
    "atan": Entry(atan),
    "atan2": Entry(atan2),
    "erf": Entry(erf),
    "erfc": _in_double(erfc),
    "erf_inv": Entry(erf_inv, wide=lambda x: erf_inv(x, ERF_INV32)),
    "lgamma": _in_double(lgamma),
    "digamma": _in_double(digamma),
    "floordiv": Entry(floordiv, REAL),
    "mod": Entry(mod, REAL),
    "not": Entry(lambda x: ~x, BITS),
    "and": Entry(lambda x, y: x & y, BITS),
    "or": Entry(lambda x, y: x | y, BITS),
    "xor": Entry(lambda x, y: x ^ y, BITS),
    "shift_left": Entry(shift_left, dtypes.INTEGERS),
    "shift_right": Entry(shift_right, dtypes.INTEGERS),
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
            dtype = dtypes.as_dtype(name.removeprefix("bitcast_"))
            return f.cast(xs[0], dtype) if xs[0].dtype == dtypes.bool_ else f.bitcast(xs[0], dtype)
        entry = FUNCTIONS[name]
        dtype = xs[0].dtype
        lanes = [Lanes(f, x) for x in f.alike(*xs)]
        emit = entry.emit
        if dtype in HALF and not entry.exact:
            lanes = [x.cast(dtypes.float32) for x in lanes]
        if entry.wide and lanes[0].dtype == dtypes.float32:
            emit, lanes = entry.wide, [x.cast(dtypes.float64) for x in lanes]
        result = emit(*lanes)
        if result.dtype == dtypes.bool_:
            return result.v
        return result.cast(dtypes.float32).cast(dtype).v if result.dtype != dtype else result.v
