"""Elementwise mathematics, reductions and products, against NumPy and Python's math."""

from __future__ import annotations

import math as python_math

import ml_dtypes
import numpy as np
import pytest

import hornbeam.runtime.eager  # noqa: F401  (installs the interpreter)
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ops import contraction, creation, math, reductions, special
from hornbeam.ops.indexing import where
from hornbeam.ops.transforms import grad
from hornbeam.runtime.function import function
from tests.ops.test_array import same

rng = np.random.default_rng(0)
X = rng.normal(size=(2, 3, 4)).astype(np.float32)
Y = rng.normal(size=(2, 3, 4)).astype(np.float32)
P = np.abs(X) + np.float32(0.1)
U = np.tanh(X)
I, J = rng.integers(-9, 10, (2, 12)).astype(np.int32)
EDGES = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e30, -1e-30], np.float32)

UNARY = {
    "exp": X, "exp2": X, "expm1": X, "log": P, "log2": P, "log10": P, "log1p": P, "sqrt": P, "cbrt": X, "square": X,
    "reciprocal": P, "sin": X, "cos": X, "tan": X, "arcsin": U, "arccos": U, "arctan": X, "sinh": X,
    "cosh": X, "tanh": X,
    "arcsinh": X, "arccosh": P + 1, "arctanh": U, "sinc": EDGES[:4], "deg2rad": X, "rad2deg": X,
    "abs": EDGES, "fabs": I,
    "negative": I, "sign": EDGES, "signbit": EDGES, "floor": X, "ceil": X, "trunc": X,
    "nan_to_num": EDGES, "angle": EDGES,
    "isfinite": EDGES, "isinf": EDGES, "isnan": EDGES, "isposinf": EDGES, "isneginf": EDGES, "isreal": EDGES,
    "real": X, "imag": X, "conj": X + 1j * Y, "logical_not": I, "bitwise_not": I,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_of_one(name):
    got, want = np.asarray(getattr(math, name)(UNARY[name])), getattr(np, name)(UNARY[name])
    np.testing.assert_allclose(got, want, 2e-6, 1e-6)


NUMBERS = (
    "add subtract multiply divide floor_divide mod fmod maximum minimum fmax fmin arctan2 hypot logaddexp logaddexp2 "
    "heaviside copysign nextafter equal not_equal less less_equal greater greater_equal isclose logical_and logical_or "
    "logical_xor"
).split()


@pytest.mark.parametrize("name", NUMBERS)
def test_of_two(name):
    x, y = (v.ravel() for v in np.meshgrid(EDGES, EDGES))
    with np.errstate(all="ignore"):
        for a, b in ((X, Y), (x, y)):
            np.testing.assert_allclose(getattr(math, name)(a, b), getattr(np, name)(a, b), 2e-6, 1e-6)


@pytest.mark.parametrize(
    "name", ["gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]
)
def test_of_two_integers(name):
    y = np.abs(J) if "shift" in name else J
    same(getattr(math, name)(I, y), getattr(np, name)(I, y))
    same(function(getattr(math, name))(I, y), getattr(np, name)(I, y))


def test_powers():
    with np.errstate(all="ignore"):
        for x, y in ((P, Y), (X, 2), (X, 3), (X, 7), (2.0, X), (np.abs(I), 3), (0.0, 0)):
            same(math.power(x, y), np.power(x, y), 1e-5)
    same(math.divide_no_nan([1.0, 2.0], [0.0, 4.0]), [0, 0.5])
    same(math.ldexp(np.float32([1, 1, 3]), [-130, 127, 2]), np.ldexp(np.float32([1, 1, 3]), [-130, 127, 2]))
    with pytest.raises(DTypeError, match="integer"):
        math.ldexp(X, 0.5)


def test_rounding_to_places():
    for decimals in (-1, 0, 2):
        same(math.round(X * 100, decimals), np.round(X * 100, decimals), 1e-5)
        same(math.round(I * 7, decimals), np.round(I * 7, decimals))


def test_scalars_are_weak():
    half = creation.ones((2,), "bfloat16")
    assert [math.add(half, 2.5).dtype, math.add(I, 2.5).dtype, math.add(I.astype(np.int8), 2).dtype] == [
        ml_dtypes.bfloat16, np.float32, np.int8,
    ]  # fmt: skip


def test_bitcast():
    for dtype in ("int32", "uint8", "uint16"):
        same(math.bitcast(X, dtype), X.view(dtype))
    same(math.bitcast(X.view(np.uint8), "float32"), X)


# -- special functions -------------------------------------------------------------------------------------


def test_special_functions():
    x = np.linspace(-40, 40, 161)
    np.testing.assert_allclose(special.i0(x), np.i0(x), 1e-13)
    np.testing.assert_allclose(special.i0(x.astype(np.float32)), np.i0(x), 3e-6)
    same(special.lgamma(P), np.vectorize(python_math.lgamma)(P), 1e-5)
    same(special.erfinv(special.erf(X)), X, 1e-4)
    same(special.erfc(X) + special.erf(X), np.ones_like(X), 1e-6)
    same(special.xlogy(np.float32([0, 2]), np.float32([0, 3])), [0, 2 * python_math.log(3)], 1e-6)


def test_incomplete_gamma():
    """For whole a it is a partial sum of the exponential series: Q(a, x) = e^-x sum x^k / k! for k < a."""
    for a in (1, 2, 5, 20):
        for x in (0.0, 0.1, 1.0, 4.9, 6.1, 30.0, 100.0):
            upper = python_math.exp(-x) * sum(x**k / python_math.factorial(k) for k in range(a))
            np.testing.assert_allclose(special.gammaincc(np.array(a, float), np.array(x)), upper, 1e-11)
            np.testing.assert_allclose(special.gammainc(float(a), x), 1 - upper, 1e-5, 1e-6)
    slope = grad(lambda x: special.gammainc(2.5, x))(creation.tensor(1.5))
    np.testing.assert_allclose(slope, 1.5**1.5 * python_math.exp(-1.5) / python_math.gamma(2.5), 1e-5)


# -- reductions -------------------------------------------------------------------------------------

HOLES = np.where(X > 0.7, np.nan, X).astype(np.float32)
REDUCTIONS = ["sum", "prod", "max", "min", "mean", "std", "var", "median", "all", "any", "ptp"]
NAN_REDUCTIONS = ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanstd", "nanvar", "nanmedian"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, for lanes of NaN alone
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS + NAN_REDUCTIONS)
def test_reductions(name, axis):
    x = HOLES if name in NAN_REDUCTIONS else X
    if axis == () and name in ("median", "nanmedian"):
        return
    for keepdims in (False, True):
        want = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        np.testing.assert_allclose(getattr(reductions, name)(x, axis, keepdims), want, 1e-5, 1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(method):
    for axis in (None, 1, (0, 2)):
        for q in (0.3, [0.0, 0.5, 1.0], [[0.25, 0.9]]):
            want = np.quantile(X, q, axis=axis, method=method)
            same(reductions.quantile(X, q, axis, method), want, 1e-5)
            if np.ndim(q) < 2:  # NumPy puts the axes of a matrix of fractions elsewhere if it ignores NaN
                want = np.nanquantile(HOLES, q, axis=axis, method=method)
                same(reductions.nanquantile(HOLES, q, axis, method), want, 1e-5)
    assert np.isnan(float(reductions.median(HOLES)))


def test_positions_and_running_reductions():
    for name in ("argmax", "argmin", "nanargmax", "nanargmin"):
        for axis in (None, 0, -1):
            same(getattr(reductions, name)(X, axis), getattr(np, name)(X, axis))
    for axis in (None, 0, -1):
        same(reductions.cumsum(X, axis), np.cumsum(X, axis), 1e-5)
        same(reductions.cumprod(X, axis), np.cumprod(X, axis), 1e-5)
        same(reductions.nancumsum(HOLES, axis), np.nancumsum(HOLES, axis), 1e-5)
    same(reductions.cumsum(X, 1, reverse=True), np.cumsum(X[:, ::-1], 1)[:, ::-1], 1e-5)
    same(reductions.diff(X, 2, 1), np.diff(X, 2, 1), 1e-5)
    same(reductions.diff(I, prepend=0, append=[1, 2]), np.diff(I, prepend=0, append=[1, 2]))
    same(reductions.trapezoid(X, np.sort(Y[0, 0])), np.trapezoid(X, np.sort(Y[0, 0])), 1e-5)
    same(reductions.average(X, 1, [1.0, 2.0, 3.0]), np.average(X, 1, [1, 2, 3]), 1e-5)
    same(reductions.max(X[:0], 0, initial=2.0), np.full((3, 4), 2))


def test_halves_do_not_overflow_inside():
    big = np.full(1000, 60000, np.float16)
    assert float(reductions.mean(big)) == 60000
    assert np.isfinite(float(reductions.std(np.float16([1e4, -1e4] * 9))))


def test_logsumexp_at_the_limits():
    x = np.float32([[1000, 1001], [-np.inf, -np.inf], [np.inf, 0]])
    same(reductions.logsumexp(x, 1), [1001 + python_math.log1p(python_math.exp(-1)), -np.inf, np.inf], 1e-6)
    same(
        grad(lambda v: reductions.logsumexp(v))(creation.tensor(X[0, 0])), np.exp(X[0, 0]) / np.exp(X[0, 0]).sum(), 1e-5
    )


# -- products -------------------------------------------------------------------------------------

EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("ijj->i", (2, 3, 3)),
    ("ba", (2, 3)), ("...i,...i->...", (4, 2, 3), (2, 3)), ("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 2)),
    ("ij,j,k->ik", (2, 3), (3,), (4,)), ("ij,kl,jk->il", (2, 3), (4, 5), (3, 4)), ("i,j->ij", (2,), (3,)),
    ("ij,ij->ij", (2, 3), (1, 3)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
    ("aab,bcc->ac", (2, 2, 3), (3, 4, 4)),
    ("ab,bc,cd,de->ae", (2, 3), (3, 4), (4, 5), (5, 6)), ("ij->", (2, 3)), ("i...->...", (3, 2, 2)),
    ("a b , b->a", (2, 3), (3,)),
]  # fmt: skip


@pytest.mark.parametrize("subscripts, shapes", [(s, shapes) for s, *shapes in EINSUMS], ids=str)
def test_einsum(subscripts, shapes):
    xs = [rng.normal(size=s).astype(np.float32) for s in shapes]
    same(contraction.einsum(subscripts, *xs), np.einsum(subscripts, *xs), 1e-4)


def test_einsum_refuses_what_does_not_fit():
    for subscripts, *shapes in [
        ("ij,jk->ik", (2, 3), (4, 5)),
        ("ij->ijk", (2, 3)),
        ("i", (2, 3)),
        ("i1", (2, 3)),
        ("ij,j", (2, 3)),
    ]:
        with pytest.raises(ShapeError, match="einsum"):
            contraction.einsum(subscripts, *(np.ones(s, np.float32) for s in shapes))


@pytest.mark.parametrize("name", ["dot", "inner", "outer", "kron", "vdot", "matmul"])
def test_products(name):
    for x, y in ((X[0, 0], Y[0, 0]), (X[0, :, :3], Y[0, :, :3])):
        same(getattr(contraction, name)(x, y), getattr(np, name)(x, y), 1e-5)
    same(contraction.tensordot(X, Y, [[0, 2], [0, 2]]), np.tensordot(X, Y, [[0, 2], [0, 2]]), 1e-5)
    same(contraction.tensordot(X, X.T, 1), np.tensordot(X, X.T, 1), 1e-5)


def test_cross():
    x, y = X[0, :, :3], Y[0, :, :3]
    same(contraction.cross(x, y), np.cross(x, y), 1e-5)
    same(contraction.cross(x, y, axis=0), np.cross(x, y, axis=0), 1e-5)
    flat = np.pad(y[:, :2], ((0, 0), (0, 1)))
    same(contraction.cross(x, y[:, :2]), np.cross(x, flat), 1e-5)
    same(contraction.cross(y[:, :2], x), np.cross(flat, x), 1e-5)
    same(contraction.cross(x[:, :2], y[:, :2]), x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0], 1e-5)


@pytest.mark.parametrize("mode", ["valid", "same", "full"])
def test_correlation_of_vectors(mode):
    x = X.ravel()
    for m, n in [(5, 3), (3, 5), (4, 4), (4, 2), (2, 4), (6, 1)]:
        same(contraction.correlate(x[:m], x[9 : 9 + n], mode), np.correlate(x[:m], x[9 : 9 + n], mode), 1e-5)
        same(contraction.convolve(x[:m], x[9 : 9 + n], mode), np.convolve(x[:m], x[9 : 9 + n], mode), 1e-5)


def test_covariance():
    same(contraction.cov(X[0], Y[0]), np.cov(X[0], Y[0]), 1e-5)
    same(contraction.cov(X[0, 0]), np.cov(X[0, 0]), 1e-5)
    same(contraction.corrcoef(X[0]), np.corrcoef(X[0]), 1e-5)


# -- gradients -------------------------------------------------------------------------------------

SMOOTH = [
    (math.sinc, X), (math.exp2, X), (special.i0, X * 3), (reductions.std, X), (lambda x: reductions.var(x, 1), X),
    (lambda x: math.hypot(x, 2.0), X), (lambda x: math.logaddexp(x, 0.5), X),
    (lambda x: reductions.quantile(x, 0.3, 1), X),
    (lambda x: contraction.einsum("aij,bij,j->ab", x, x, x[0, 0]), X),
    (lambda x: contraction.correlate(x[0, 0], x[0, 1, :2]), X),
    (lambda x: special.gammainc(x, 1.3), P + 0.5), (lambda x: math.power(x, 2.5), P), (reductions.median, X),
    (contraction.corrcoef, X[0]), (lambda x: reductions.nanmean(where(x > 0, x * x, np.nan), 0), X),
]  # fmt: skip


@pytest.mark.parametrize("f, x", SMOOTH, ids=map(str, range(len(SMOOTH))))
def test_gradients(f, x):
    """Along a random direction, by central differences in float64."""
    x = x.astype(np.float64)
    direction = rng.normal(size=x.shape)
    total = lambda v: np.nansum(np.asarray(f(v)))
    slope = np.sum(np.asarray(grad(lambda v: reductions.nansum(f(v)))(creation.tensor(x))) * direction)
    h = 1e-6
    np.testing.assert_allclose(slope, (total(x + h * direction) - total(x - h * direction)) / (2 * h), 1e-5, 1e-7)


def test_gradients_at_kinks_are_finite():
    at = lambda f, x: np.asarray(grad(lambda v: reductions.sum(f(v)))(creation.tensor(np.float32(x))))
    same(at(math.sinc, [0.0]), [0])
    same(at(lambda x: math.divide_no_nan(1.0, x), [0.0]), [0])
    same(at(lambda x: special.xlogy(x, 0.0), [0.0]), [0])
    assert np.isfinite(at(lambda x: math.hypot(x, 0.0), [0.0])).all()
    same(at(lambda x: math.logaddexp(x, -np.inf), [1.0]), [1])
    same(at(lambda x: math.power(x, 2), [0.0]), [0])
