"""The circular functions and their inverses, with the reduction of far angles."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

from hornbeam.base import dtypes
from hornbeam.engines.native.llvm import Function, Module, Value, literal
from hornbeam.engines.native.mathlib.exponential import power_of_two
from hornbeam.engines.native.mathlib.lanes import INF, NAN, Lanes, fma, polynomial, product2, sum2, two_sum, where

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
    whole = x * power_of_two(row * -STEP, x)
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


def sin_cos(r: Lanes) -> tuple[Lanes, Lanes]:
    """sin(r) and cos(r), |r| <= pi / 4."""
    u = r * r
    sine = fma(r * u, polynomial(u, SIN[r.dtype.name]), r)
    return sine, fma(u * u, polynomial(u, COS[r.dtype.name]), fma(u, -0.5, 1.0))


def _circular(x: Lanes, quarter: int) -> Lanes:
    """sin(x + quarter pi / 2)."""
    form = x.format
    r, _, n = _reduce_quarter(x)
    n = n + quarter if quarter else n
    sine, cosine = sin_cos(r)
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
