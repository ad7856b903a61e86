"""exp and what is made of it: expm1, the hyperbolic functions, the logistic function."""

from __future__ import annotations

from hornbeam.base import dtypes
from hornbeam.engines.native.mathlib.lanes import LOG2E, Lanes, fma, polynomial, sum2, unsigned, where

# (exp(r) - 1 - r) / r**2 on |r| <= ln(2) / 2
EXP = {
    "float32": (0.5, 0.166666657, 0.0416664779, 0.0083335666, 0.00139337289, 0.000197435918),
    "float64": (
        0.5, 0.16666666666666677, 0.04166666666666661, 0.008333333333321414, 0.001388888888892382,
        0.0001984126988670002, 2.4801587237554352e-05, 2.7557243601513677e-06, 2.755735276946816e-07,
        2.5109259966898757e-08, 2.0889582051630186e-09),
}  # fmt: skip


def reduce_exp(x: Lanes) -> tuple[Lanes, Lanes]:
    """(r, n) with x = n ln(2) + r and |r| <= ln(2) / 2; the integer n is in the low bits."""
    form = x.format
    t = fma(x, LOG2E, form.magic)
    n = t - form.magic
    r = fma(n, -form.ln2[1], fma(n, -form.ln2[0], x))
    return r, t.view(form.bits)


def power_of_two(n: Lanes, like: Lanes) -> Lanes:
    """2**n for a normal result; only n's low bits are used."""
    return ((n << like.format.digits) + like.format.one).view(like.dtype)


def exp_of(x: Lanes, low: Lanes | None = None, halvings: int = 0, accurate: bool = False) -> Lanes:
    """exp(x + low) / 2**halvings, for a tiny ``low``; ``accurate`` spends one operation on 0.2 ulp."""
    r, n = reduce_exp(exp_range(x, halvings))
    if low is not None:
        r = r + low
    q = polynomial(r, EXP[x.dtype.name])
    p = 1.0 + fma(r * r, q, r) if accurate or low is not None else fma(r, fma(r, q, 1.0), 1.0)
    return scaled(p, n - halvings if halvings else n)


def exp_range(x: Lanes, halvings: int = 0) -> Lanes:
    top, bottom = (89.0, -104.0) if x.dtype == dtypes.float32 else (710.0, -746.0)
    return x.at_most(top + halvings).at_least(bottom)


def scaled(p: Lanes, n: Lanes) -> Lanes:
    """p * 2**n. In two factors, since 2**n may be subnormal or beyond the range."""
    form = p.format
    h = (n.view(unsigned(form.bits)) >> 1).view(form.bits)
    return p * power_of_two(h, p) * power_of_two(n - h, p)


def exp(x: Lanes) -> Lanes:
    """x = n ln(2) + r, exp(r) by a polynomial."""
    return exp_of(x)


def _expm1_parts(x: Lanes) -> tuple[Lanes, Lanes]:
    """(exp(r) - 1, n)."""
    r, n = reduce_exp(x)
    return fma(r * r, polynomial(r, EXP[x.dtype.name]), r), n


def expm1(x: Lanes) -> Lanes:
    """2**n (exp(r) - 1) + (2**n - 1), halved so that n = 128 does not overflow."""
    top, bottom = (89.0, -18.0) if x.dtype == dtypes.float32 else (709.9, -38.0)
    p, n = _expm1_parts(x.at_most(top).at_least(bottom))
    s = power_of_two(n - 1, x)
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
    r, n = reduce_exp(b + b)
    p = fma(r, fma(r, polynomial(r, EXP[x.dtype.name]), 1.0), 1.0)
    far = 1.0 - 2.0 / fma(power_of_two(n, x), p, 1.0)
    return where(a < 0.55, near, far).signed_as(x)


def logistic(x: Lanes) -> Lanes:
    """1 / (1 + e) or e / (1 + e) with e = exp(-|x|), which never overflows."""
    e = exp_of(-abs(x), accurate=True)
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
    h = exp_of(abs(x), halvings=1)
    near = fma(x * u, polynomial(u, SINH[x.dtype.name]), x)
    return where(abs(x) < 1.0, near, h - 0.25 / h).signed_as(x)


def cosh(x: Lanes) -> Lanes:
    h = exp_of(abs(x), halvings=1)
    return h + 0.25 / h
