"""Powers, of floating numbers and of integers, and roots."""

from __future__ import annotations

from hornbeam.base import dtypes
from hornbeam.engines.native.llvm import HALF, Value, index
from hornbeam.engines.native.mathlib.exponential import exp_of, power_of_two, reduce_exp
from hornbeam.engines.native.mathlib.lanes import INF, NAN, Lanes, fma, polynomial, product2, sum2, unsigned, where
from hornbeam.engines.native.mathlib.logarithm import log_ends, log_parts

# (atanh(s) - s - s**3 / 3) / s**5 in s**2
ATANH5 = (
    0.20000000000001134, 0.14285714285047257, 0.11111111260402244, 0.09090892145507905, 0.07693380406012658,
    0.06628368474843499, 0.06598539124237471)  # fmt: skip


def _log2_sum(x: Lanes) -> tuple[Lanes, Lanes]:
    """log(x) as the sum of two float64, to about 2**-66 of its size."""
    f, e = log_parts(x)
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
    f, e = (part.cast(dtypes.float64) for part in log_parts(x))
    log = fma(f * f, fma(f, polynomial(f, LOG_SHORT), -0.5), f)
    log = log_ends(x, fma(e, f.format.ln2[0], log))
    exponent = y.cast(dtypes.float64) * log
    r, n = reduce_exp(exponent.at_most(200.0).at_least(-200.0))
    size = fma(r, fma(r, polynomial(r, EXP_SHORT), 1.0), 1.0) * power_of_two(n, r)
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
        size = exp_of(exponent, rest)
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
    bits = exponent.view(unsigned(x.dtype)).v
    if x.v.width > 1:
        name = f"llvm.vector.reduce.or.v{x.v.width}i{8 * x.dtype.itemsize}"
        f.module.declare(name, f"i{8 * x.dtype.itemsize}", bits.type)
        bits = f.define(bits.dtype, 1, f"call i{8 * x.dtype.itemsize} @{name}({bits.typed})")
    zeros = f.fresh()
    kind = f"i{8 * x.dtype.itemsize}"
    f.module.declare(f"llvm.ctlz.{kind}", kind, kind, "i1")
    f.emit(f"{zeros} = call {kind} @llvm.ctlz.{kind}({kind} {bits.ref}, i1 false)")
    steps = f.sub(index(8 * x.dtype.itemsize), f.cast(Value(zeros, unsigned(x.dtype)), dtypes.int64))

    def square(_: Value, *carried: Value) -> list[Value]:
        base, left, total = (Lanes(f, v) for v in carried)
        total = where((left & 1).ne(0), total * base, total)
        return [(base * base).v, (left.view(unsigned(x.dtype)) >> 1).view(x.dtype).v, total.v]

    start = [x.v, exponent.v, x.constant(1).v]
    total = Lanes(f, f.loop(index(0), steps, 1, square, start, "pow")[2])
    if not signed:
        return total
    unit = x.eq(1) | x.eq(-1)
    return where(y < 0, where(unit, where((y & 1).eq(0), 1, x), 0), total)


def rsqrt(x: Lanes) -> Lanes:
    """1 / sqrt(x), each rounded."""
    if x.dtype in HALF:
        root = x.cast(dtypes.float32).sqrt().cast(x.dtype)
        return (1.0 / root.cast(dtypes.float32)).cast(x.dtype)
    return 1.0 / x.sqrt()


# cbrt(m), 1 <= m < 2, to half the digits
CBRT = {
    "float32": (0.507007182, 0.718074501, -0.300528169, 0.086053215, -0.0105974823),
    "float64": (
        0.4259433732426328, 1.0557041659173523, -0.8893820432062638, 0.6448197334168126, -0.32362568446656936,
        0.10439923265154816, -0.019448368188033704, 0.0015896152472225798),
}  # fmt: skip


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
    m = m * power_of_two(r, x)
    t = (t.view(form.bits) & -(1 << (form.digits + 2) // 2)).view(x.dtype)  # t * t is exact
    square = t * t
    d = fma(square, t, -m)
    root = t - t * d / fma(m, 3.0, d + d)
    root = root * power_of_two(third - 1024, x) * where(small, x.constant(2.0**-18), 1.0)
    return where((a < INF) & (a > 0.0), root.signed_as(x), x)
