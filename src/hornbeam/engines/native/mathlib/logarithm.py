"""log and what is made of it: log1p and the inverse hyperbolic functions."""

from __future__ import annotations

from hornbeam.base import dtypes
from hornbeam.engines.native.mathlib.exponential import power_of_two
from hornbeam.engines.native.mathlib.lanes import INF, NAN, Lanes, fma, polynomial, product2, sum2, two_sum, where

# (log(1 + f) - f + f**2 / 2) / f**3 on sqrt(1/2) <= 1 + f <= sqrt(2)
LOG32 = (0.333333313, -0.250008285, 0.20001249, -0.166230977, 0.142011911, -0.131623134, 0.127662674, -0.0763427168)
# (atanh(s) - s) / s**3 in s**2, |s| <= 0.1716
ATANH = (
    0.33333333333333676, 0.19999999999705226, 0.1428571437163561, 0.11111099242708539, 0.09091784408159047,
    0.07656968143303475, 0.07398547253857309)  # fmt: skip


def log_parts(x: Lanes) -> tuple[Lanes, Lanes]:
    """(f, e) with x = 2**e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2), f exact, e an integer; for x > 0."""
    form = x.format
    small = x < form.tiny
    i = where(small, x * 2.0**form.digits, x).view(form.bits) - form.root_half
    m = (i & ((1 << form.digits) - 1)) + form.root_half
    return m.view(x.dtype) - 1.0, (i >> form.digits) - where(small, i.constant(form.digits), 0)


def log_of(f: Lanes, e: Lanes, low: Lanes | None = None) -> Lanes:
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
    return log_ends(x, log_of(*log_parts(x)))


def log_ends(x: Lanes, result: Lanes) -> Lanes:
    """``result`` but where log(x) is infinite or no number."""
    result = where(x > 0.0, result, where(x.eq(0.0), result.constant(-INF), NAN))
    return where(x.eq(INF), INF, result)


def log1p(x: Lanes) -> Lanes:
    """log(2**e (1 + f)) with f = 2**-e x + (2**-e - 1), rounded once."""
    return log1p_of(x).signed_as(x)


def log1p_of(x: Lanes, low: Lanes | None = None) -> Lanes:
    """log(1 + x + low). With ``low`` the rounding error of f is made up for as well."""
    u = 1.0 + x
    m, e = log_parts(u)
    scale = power_of_two(-e, x)
    s = scale - 1.0
    f = where(x < 2.0**60, fma(scale, x, s), m)
    if low is not None:
        low = where(x < 2.0**60, fma(scale, low, fma(scale, x, s - f)) / (1.0 + f), 0.0)
    return log_ends(u, log_of(f, e, low))


# (asinh(x) - x) / x**3 in x**2, |x| <= 1/2
ASINH = {
    "float32": (-0.166666657, 0.0749990791, -0.0446162932, 0.0300354026, -0.0200567618, 0.00926674064),
    "float64": (
        -0.16666666666666663, 0.07499999999998866, -0.04464285714161692, 0.030381944375399622, -0.02237215680726108,
        0.01735271558628443, -0.01396413362087837, 0.011544567913063778, -0.009709210939705552, 0.008119416513777428,
        -0.006320295347647119, 0.00391876901512308, -0.0013609474355254611),
}  # fmt: skip


def asinh(x: Lanes) -> Lanes:
    """A polynomial up to 1/2, then log(|x| + sqrt(x**2 + 1)) with the sum in two parts."""
    a, u = abs(x), x * x
    near = fma(x * u, polynomial(u, ASINH[x.dtype.name]), x)
    b = a.at_most(2.0**60)
    p, p_low = product2(b, b)
    q, q_low = two_sum(p, b.constant(1.0))
    root, root_low = _sqrt2(q, q_low + p_low)
    total, total_low = sum2(root, b)
    f, e = log_parts(total)
    middle = log_of(f, e, (total_low + root_low) / total)
    f, e = log_parts(a)
    far = log_ends(a, log_of(f, e + 1))
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
    near = log1p_of(z, z_low + root_low)
    f, e = log_parts(x)
    return where(x >= 1.0, where(x < 2.0**30, near, log_ends(x, log_of(f, e + 1))), NAN)


def atanh(x: Lanes) -> Lanes:
    """log(1 + q) / 2 with q = 2|x| / (1 - |x|) in two parts."""
    a = abs(x)
    b = a + a
    d = 1.0 - a
    q = b / d
    low = (fma(-q, d, b) - q * ((1.0 - d) - a)) / d
    result = 0.5 * log1p_of(q, where(a < 1.0, low, 0.0))
    return where(a < 2.0**-30, x, result.signed_as(x))
