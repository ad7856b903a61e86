"""Every map row as machine code: against its reference, the same bits at every width, and errors in ulp.

Two comparisons: with the row's ``reference`` (in representable steps; NumPy's own functions are off by a few), and with
the true value in a wider format (in ulp, the bounds asserted in ``ACCURACY``).
"""

from __future__ import annotations

import ctypes
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import hornbeam.ir.primitives.arith
import hornbeam.ir.primitives.compare  # noqa: F401
from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native import jit
from hornbeam.engines.native.llvm import I64, SUPPORTED, Function, Module, Value, index
from hornbeam.engines.native.mathlib import FUNCTIONS, VectorScalars, supports
from hornbeam.engines.native.target import host
from hornbeam.ir.primitive import ROWS

WIDTHS = (1, 4, 8, 16)
HALF = (dtypes.float16, dtypes.bfloat16)
MAPS = [ROWS[name] for name in FUNCTIONS] + [
    ROWS[name] for name in ("add", "sub", "mul", "div", "neg", "eq", "ne", "lt", "le", "gt", "ge")
]
REAL = (dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS)
BLOCK = 16  # elements of an array are a multiple of it

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


# -- compiling ---------------------------------------------------------------------------------------------------------


def emitted(code: Callable[..., Any], operands: Sequence[DType], result: DType, widths: Sequence[int]) -> str:
    """A module with a loop ``k<width>(operands…, out, n)`` for each width."""
    module = Module()
    for width in widths:
        parameters = [("ptr", f"x{i}") for i in range(len(operands))] + [("ptr", "out"), ("i64", "n")]
        f = Function(module, f"k{width}", parameters)
        h = VectorScalars(f)

        def body(i: Value, f: Function = f, h: VectorScalars = h, width: int = width) -> tuple[()]:
            xs = [f.load(f.address(f"%x{j}", i, d), d, width) for j, d in enumerate(operands)]
            y = code(h, *xs)
            assert (y.dtype, y.width) == (result, width)
            f.store(y, f.address("%out", i, result))
            return ()

        f.loop(index(0), Value("%n", I64), width, body)
        f.finish()
    assert all(name.startswith("llvm.") for name in module.declared)
    return str(module)


class Kernels:
    def __init__(
        self, code: Callable[..., Any], operands: Sequence[DType], result: DType, widths: Sequence[int]
    ) -> None:
        self.result, self.widths = result, widths
        self.code = jit.load(jit.compile(emitted(code, operands, result, widths)), [f"k{w}" for w in widths])

    def __call__(self, *xs: np.ndarray, width: int | None = None) -> np.ndarray:
        n = xs[0].size
        assert n % BLOCK == 0 and all(x.size == n and x.flags.c_contiguous for x in xs)
        out = np.empty(n, self.result)
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(xs) + 1), ctypes.c_int64)
        call = kind(self.code[f"k{width or self.widths[-1]}"])
        call(*(x.ctypes.data for x in xs), out.ctypes.data, n)
        return out

    def alike(self, *xs: np.ndarray) -> np.ndarray:
        """The result, which must have the same bits at every width (a NaN may be any)."""
        results = [self(*xs, width=w) for w in self.widths]
        for other in results[1:]:
            assert same_bits(results[0], other).all()
        return results[0]


def compiled(name: str, dtype: DType, widths: Sequence[int] = WIDTHS) -> Kernels:
    row = ROWS[name]
    result = dtypes.bool_ if name in ("eq", "ne", "lt", "le", "gt", "ge", "is_finite") else dtype
    return Kernels(row.code, (dtype,) * arity(name), result, widths)


def arity(name: str) -> int:
    reference = ROWS[name].reference
    return getattr(reference, "nin", None) or len(inspect.signature(reference).parameters)


# -- comparing ---------------------------------------------------------------------------------------------------------


def whole(x: np.ndarray) -> np.ndarray:
    return x.view(f"i{x.dtype.itemsize}")


def isnan(x: np.ndarray) -> np.ndarray:
    return np.isnan(x) if dtypes.is_floating(x.dtype) else np.zeros(x.shape, bool)


def same_bits(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (whole(x) == whole(y)) | (isnan(x) & isnan(y))


def steps(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How many representable numbers x and y are apart; zeros are one number, NaNs equal."""
    sides = []
    for v in (x, y):
        bits = whole(v).astype(np.int64)
        sides.append(np.where(bits < 0, np.int64(np.iinfo(whole(v).dtype).min) - bits, bits))
    apart = np.abs(sides[0] - sides[1]).astype(np.float64)
    apart = np.where(isnan(x) != isnan(y), np.inf, apart)
    return np.where(isnan(x) & isnan(y), 0, apart)


def ulps(got: np.ndarray, true: np.ndarray, floor: float = 0.0) -> np.ndarray:
    """The error of ``got`` in units in the last place of ``true``, a wider format; at least of ``floor``."""
    rounded = true.astype(got.dtype)
    info = np.finfo(got.dtype)
    size = np.maximum(np.abs(rounded), np.asarray(max(floor, float(info.tiny)), got.dtype))
    unit = np.where(np.isfinite(rounded), np.spacing(np.minimum(size, info.max)), np.spacing(info.max))
    error = np.abs(got.astype(true.dtype) - true) / unit.astype(true.dtype)
    agree = (got == rounded) & ~np.isfinite(rounded) | (np.isnan(got) & np.isnan(rounded))
    error = np.where(agree, 0, error)
    return np.where(np.isnan(error), np.inf, error).astype(np.float64)


def worst(message: str, error: np.ndarray, bound: float, *arrays: np.ndarray) -> None:
    at = int(np.argmax(error))
    shown = ", ".join(str(a[at]) for a in arrays)
    assert error[at] <= bound, f"{message}: {error[at]:.3f} > {bound} at {shown}; {np.sum(error > bound)} in all"


# -- values ------------------------------------------------------------------------------------------------------------

NUMBERS = [
    0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 16.0, 20.0, 31.0, 88.7, 89.0, 103.9, 104.1, 709.7, 709.8,
    710.4, 711.0, 745.1, 745.2, 1e-3, 1e-10, 0.49999, 0.99999, 1.00001, 65504.0, 65520.0, 1e22, 1e38,
    3.4028234663852886e38, 1.1754943508222875e-38, 1e-45, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
    math.inf, math.nan, math.pi, math.pi / 2, math.pi / 4, 2.0**23, 2.0**24, 2.0**31, 2.0**52, 2.0**53,
    2.0**63]  # fmt: skip


def special(dtype: DType) -> np.ndarray:
    values = np.array([s * v for v in NUMBERS for s in (1, -1)]).astype(dtype)
    near = [np.nextafter(v, np.asarray(to, dtype)) for v in values[:40] for to in (-10, 10)]
    return np.concatenate([values, np.array(near, dtype)])


def patterns(dtype: DType, n: int, seed: int = 0) -> np.ndarray:
    """Every half-precision number, or ``n`` spread over all exponents, as many of everyday size, and special ones."""
    if dtype in HALF:
        return np.arange(65536, dtype=np.uint16).view(dtype)
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2 ** (8 * dtype.itemsize), n, dtype=np.uint64).astype(f"u{dtype.itemsize}")
    everyday = rng.normal(size=n) * rng.choice([0.1, 1, 10, 50, 500], n)
    unit = rng.uniform(-1, 1, n // 4)
    return multiple(np.concatenate([special(dtype), bits.view(dtype), everyday.astype(dtype), unit.astype(dtype)]))


def multiple(x: np.ndarray) -> np.ndarray:
    return np.resize(x, -(-x.size // BLOCK) * BLOCK)


def integers(dtype: DType, n: int, seed: int = 0) -> np.ndarray:
    """All of them if few, else ``n`` of all sizes."""
    if dtype == dtypes.bool_:
        return multiple(np.array([False, True]))
    info = np.iinfo(dtype)
    if dtype.itemsize == 1:
        return np.arange(info.min, info.max + 1).astype(dtype)
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2**64, n, dtype=np.uint64) >> rng.integers(0, 64, n, dtype=np.uint64)
    ends = np.array([info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7], dtype)
    return multiple(np.concatenate([ends, -ends, bits.astype(dtype), -bits.astype(dtype)]))


def operands(name: str, dtype: DType, n: int) -> list[np.ndarray]:
    """Arrays for a row, of one size: with two operands also every pair of special values."""
    make = patterns if dtypes.is_floating(dtype) else integers
    if arity(name) == 1:
        return [make(dtype, n)]
    if dtype == dtypes.bool_ or (dtype.itemsize == 1 and not dtypes.is_floating(dtype)):
        xs, ys = np.meshgrid(make(dtype, n), make(dtype, n))
        return [np.ascontiguousarray(xs.ravel()), np.ascontiguousarray(ys.ravel())]
    rng = np.random.default_rng(3)
    x, y = make(dtype, n, 1), make(dtype, n, 2)
    x, y = x[rng.permutation(x.size)], y[rng.permutation(y.size)]
    few = special(dtype)[:100] if dtypes.is_floating(dtype) else make(dtype, 16)
    every = [np.asarray(v.ravel(), dtype) for v in np.meshgrid(few, few)]
    extra = [x, y]
    if dtypes.is_floating(dtype):  # operands that have something to do with each other
        base, exponent = rng.uniform(0.1, 8, n).astype(dtype), rng.integers(-12, 12, n).astype(dtype)
        extra = [np.concatenate([x, base, -base, x]), np.concatenate([y, exponent, exponent, x[::-1]])]
    elif name in ("pow", "shift_left", "shift_right"):
        small = rng.integers(-2 if dtype.kind == "i" else 0, 70, x.size).astype(dtype)
        extra = [np.concatenate([x, x]), np.concatenate([y, small])]
    return [multiple(np.concatenate([a, b])) for a, b in zip(every, extra, strict=True)]


# -- with the reference ------------------------------------------------------------------------------------------------

EXACT = {
    "abs", "floor", "ceil", "trunc", "round", "max", "min", "is_finite", "nextafter", "sqrt", "rsqrt", "floordiv",
    "mod", "not", "and", "or", "xor", "shift_left", "shift_right", "add", "sub", "mul", "div", "neg", "sign", "eq",
    "ne", "lt", "le", "gt", "ge",
}  # fmt: skip
SIGN_OF_ZERO = {"max", "min", "sign", "nextafter"}  # NumPy's is not the same for every dtype and length
SLOW = {"erf", "erfc", "erf_inv", "lgamma", "digamma"}  # a Python call for each element
ZEROS = {"lgamma", "digamma"}  # near their zeros the error is absolute
CASES = [(row.name, dtype) for row in MAPS for dtype in REAL if supports(row.name, dtype) and dtype.name in SUPPORTED]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda v: getattr(v, "name", v))
def test_agrees_with_the_reference(name: str, dtype: DType) -> None:
    floating = dtypes.is_floating(dtype)
    kernels = compiled(name, dtype, WIDTHS if floating or dtype == dtypes.int32 else (1, 16))
    xs = operands(name, dtype, 1 << (12 if name in SLOW else 14))
    if (name, dtype) == ("digamma", dtypes.float64):
        xs = [np.abs(xs[0])]  # the reference's reflection has no digits to spare
    got = kernels.alike(*xs)
    with np.errstate(all="ignore"):
        want = np.asarray(ROWS[name].reference(*xs))
    assert want.dtype == got.dtype
    if name in EXACT or not floating:
        equal = same_bits(got, want)
        if name in SIGN_OF_ZERO and floating:
            equal |= (got == 0) & (want == 0)
        worst(f"{name} {dtype.name}", ~equal, 0, *xs, got, want)
        return
    # bits of zeros too
    zeros = (got == 0) & (want == 0)
    if name not in ("erf_inv", "lgamma", "digamma"):
        assert same_bits(got, want)[zeros].all()
    error = steps(got, want)
    if name in ZEROS:
        scale = np.maximum(np.abs(want.astype(np.float64)), 1)
        relative = np.abs(got.astype(np.float64) - want.astype(np.float64)) / scale
        error = np.where(np.isfinite(relative), relative / float(ml_dtypes.finfo(dtype).eps), error)
    bound = 1 if dtype in HALF else 4 if dtype == dtypes.float32 else 16 if name in ZEROS else 3
    if name == "logistic":
        bound += 3  # the reference rounds each of its four steps
    worst(f"{name} {dtype.name}", error, bound, *xs, got, want)


@pytest.mark.parametrize("dtype", [d for d in REAL if d.name in SUPPORTED], ids=lambda d: d.name)
def test_select_casts_and_bitcasts(dtype: DType) -> None:
    x = multiple((patterns if dtypes.is_floating(dtype) else integers)(dtype, 4096))
    y = np.ascontiguousarray(x[::-1])
    condition = np.arange(x.size) % 3 == 0
    select = Kernels(ROWS["select"].code, (dtypes.bool_, dtype, dtype), dtype, (1, 16))
    assert same_bits(select.alike(condition, x, y), np.where(condition, x, y)).all()
    for to in REAL:
        for name in ("cast", "bitcast") if to.itemsize == dtype.itemsize else ("cast",):
            if name == "bitcast" and to == dtypes.bool_ != dtype:
                continue
            row = ROWS[name]
            kernels = Kernels(lambda h, v, row=row, to=to: row.code(h, v, dtype=to), (dtype,), to, (1, 16))
            with np.errstate(all="ignore"):
                want = row.reference(x, dtype=to)
            equal = same_bits(kernels.alike(x), want)
            worst(f"{name} {dtype.name} {to.name}", ~equal, 0, x, kernels(x), want)


# -- with the truth ----------------------------------------------------------------------------------------------------


def logistic(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """NumPy's; long double's errs for -inf to an even negative power."""
    narrow = np.power(x.astype(np.float64), y.astype(np.float64))
    return np.where(np.isinf(x), narrow, np.power(x, y))


def each(f: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A float64 function for any dtype."""
    return lambda x: np.vectorize(f, otypes=[np.float64])(x.astype(np.float64)).astype(x.dtype)


# name: the function in any wide format, and the largest error in ulp (float32, float64) over all numbers.
# What computes float32 in float64 rounds once: 0.5. Those of ``each`` are themselves off by some ulp of float64
# (glibc's erf by 1, its erfc by 4), hence the second summand.
ACCURACY: dict[str, tuple[Callable[..., Any], float, float]] = {
    "exp": (np.exp, 0.85, 0.9),
    "expm1": (np.expm1, 1.45, 1.85),
    "log": (np.log, 0.85, 0.85),
    "log1p": (np.log1p, 1.5, 1.4),
    "logistic": (logistic, 1.9, 1.85),
    "sqrt": (np.sqrt, 0.5, 0.501),
    "cbrt": (np.cbrt, 0.51, 0.51),
    "sin": (np.sin, 1.6, 1.6),
    "cos": (np.cos, 1.6, 1.6),
    "tan": (np.tan, 1.0, 0.95),
    "asin": (np.arcsin, 1.15, 1.15),
    "acos": (np.arccos, 1.1, 1.1),
    "atan": (np.arctan, 1.85, 1.85),
    "sinh": (np.sinh, 1.65, 1.6),
    "cosh": (np.cosh, 1.35, 1.3),
    "tanh": (np.tanh, 1.6, 1.6),
    "asinh": (np.arcsinh, 0.9, 0.9),
    "acosh": (np.arccosh, 0.9, 0.9),
    "atanh": (np.arctanh, 1.0, 0.95),
    "erf": (each(math.erf), 1.2, 1.1 + 1),
    "erfc": (each(math.erfc), 1.3, 1.2 + 4),
    "pow": (power, 0.501, 1.15),
    "atan2": (np.arctan2, 1.9, 1.9),
}
WIDE = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant


@pytest.mark.parametrize("name", ACCURACY)
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64], ids=lambda d: d.name)
def test_accuracy(name: str, dtype: DType) -> None:
    true, single, double = ACCURACY[name]
    if dtype == dtypes.float64 and not WIDE and name not in SLOW:
        pytest.skip("long double is no wider than double here")
    xs = operands(name, dtype, 1 << (16 if name in SLOW else 17 if arity(name) == 2 or dtype.itemsize == 8 else 19))
    got = compiled(name, dtype, (host().lanes,))(*xs)
    with np.errstate(all="ignore"):
        want = true(*(x.astype(np.longdouble if dtype == dtypes.float64 else np.float64) for x in xs))
    worst(f"{name} {dtype.name}", ulps(got, want), single if dtype == dtypes.float32 else double, *xs, got, want)


@pytest.mark.parametrize(
    ("name", "values", "bound"),
    [  # From mpmath. The positive zeros of lgamma keep relative accuracy, other zeros absolute.
        ("lgamma", {
            0.1: 2.252712651734206, 1.000001: -5.772148423874147e-07, 0.999999: 5.772164873855652e-07,
            1.9999: -4.227520877215346e-05, 2.0001: 4.2281658112919945e-05, 1.4616321449683622: -0.12148629053584961,
            7.9: 8.32426586800881, 8.1: 8.72738826343204, 1e5: 1051287.7089736569, 5e-324: 744.4400719213812,
            -0.5: 1.2655121234846454, -10.25: -14.20399790093109, 1e300: 6.897755278982137e302}, 4.0),
        ("digamma", {
            0.1: -10.423754940411076, 1.0: -0.5772156649015329, 2.0: 0.42278433509846713, 7.9: 2.002238487563571,
            8.1: 2.0288674570805814, 1e5: 11.512920464961896, 1e-300: -9.999999999999999e299,
            -0.25: 2.9141391202135276, -10.25: 5.516858419886273, -144.8: 0.654771214266202}, 6.0),
        ("erf_inv", {
            0.1: 0.08885599049425769, 0.5: 0.4769362762044699, 0.9: 1.1630871536766743, 0.999: 2.3267537655135246,
            0.9999999: 3.7665625816384707, 0.9999999999999999: 5.8635847487551676, 1e-300: 8.86226925452758e-301,
            -0.25: -0.2253120550121781}, 3.0),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_special_functions(name: str, values: dict[float, float], bound: float) -> None:
    x = multiple(np.array(list(values), np.float64))
    want = multiple(np.array(list(values.values()), np.float64))
    got = compiled(name, dtypes.float64, (8,))(x)
    worst(name, np.abs(got - want) / np.spacing(np.abs(want)), bound, x, got, want)


def test_far_angles() -> None:
    """Arguments near multiples of pi / 2 and of every size, where the reduction must have all digits."""
    # x, sin(x), cos(x) from mpmath; the first is the number of its dtype that is nearest to a multiple of pi / 2.
    cases = {
        dtypes.float32: [
            (16367173.0 * 2.0**72, 1.0, -1.6147697982476211e-09),
            (9.999999778196308e21, -0.7340815352961015, 0.679061337095051),
            (3.4028234663852886e38, -0.5218765233336585, 0.8530210398303042),
        ],
        dtypes.float64: [
            (6381956970095103.0 * 2.0**797, 1.0, -4.687165924254628e-19),
            (1e22, -0.8522008497671888, 0.523214785395139),
            (1.7976931348623157e308, 0.004961954789184062, -0.9999876894265599),
        ],
    }
    for dtype, rows in cases.items():
        x, *wanted = (multiple(np.array(column)) for column in zip(*rows))
        for name, want in zip(("sin", "cos"), wanted):
            got = compiled(name, dtype).alike(x.astype(dtype))
            error = np.abs(got - want) / np.spacing(np.abs(want).astype(dtype))
            worst(f"{name} {dtype.name}", error, 1.6, x, got, want)


def test_where_a_function_ends() -> None:
    """Limits, poles and signed zeros, as C has them."""
    inf, nan = math.inf, math.nan
    table = {
        "exp": [(inf, inf), (-inf, 0.0), (nan, nan), (-0.0, 1.0), (-1e5, 0.0), (1e5, inf)],
        "expm1": [(inf, inf), (-inf, -1.0), (nan, nan), (-0.0, -0.0), (0.0, 0.0)],
        "log": [(inf, inf), (-inf, nan), (0.0, -inf), (-0.0, -inf), (-1.0, nan), (1.0, 0.0), (nan, nan)],
        "log1p": [(inf, inf), (-1.0, -inf), (-2.0, nan), (-0.0, -0.0), (0.0, 0.0), (nan, nan), (-inf, nan)],
        "tanh": [(inf, 1.0), (-inf, -1.0), (-0.0, -0.0), (nan, nan)],
        "logistic": [(inf, 1.0), (-inf, 0.0), (0.0, 0.5), (nan, nan)],
        "sin": [(inf, nan), (-inf, nan), (-0.0, -0.0), (0.0, 0.0), (nan, nan)],
        "cos": [(inf, nan), (0.0, 1.0), (nan, nan)],
        "tan": [(inf, nan), (-0.0, -0.0), (nan, nan)],
        "asin": [(-0.0, -0.0), (2.0, nan), (-inf, nan), (nan, nan)],
        "acos": [(1.0, 0.0), (2.0, nan), (-inf, nan), (nan, nan)],
        "atan": [(-0.0, -0.0), (nan, nan)],
        "asinh": [(inf, inf), (-inf, -inf), (-0.0, -0.0), (nan, nan)],
        "acosh": [(1.0, 0.0), (0.5, nan), (inf, inf), (-inf, nan), (nan, nan)],
        "atanh": [(1.0, inf), (-1.0, -inf), (-0.0, -0.0), (2.0, nan), (inf, nan), (nan, nan)],
        "erf": [(inf, 1.0), (-inf, -1.0), (-0.0, -0.0), (nan, nan)],
        "erfc": [(inf, 0.0), (-inf, 2.0), (0.0, 1.0), (nan, nan)],
        "erf_inv": [(1.0, inf), (-1.0, -inf), (2.0, nan), (-0.0, -0.0), (nan, nan)],
        "lgamma": [(inf, inf), (-inf, inf), (0.0, inf), (-3.0, inf), (1.0, 0.0), (2.0, 0.0), (nan, nan)],
        "digamma": [(inf, inf), (-inf, nan), (0.0, nan), (-3.0, nan), (nan, nan)],
        "cbrt": [(inf, inf), (-inf, -inf), (-0.0, -0.0), (-8.0, -2.0), (27.0, 3.0), (nan, nan)],
    }
    for name, rows in table.items():
        for dtype in (dtypes.float32, dtypes.float64):
            x, want = (multiple(np.array(column, dtype)) for column in zip(*rows))
            got = compiled(name, dtype, (16,))(x)
            worst(f"{name} {dtype.name}", ~same_bits(got, want), 0, x, got, want)


# -- code --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(host().architecture != "x86_64", reason="names an x86 CPU")
def test_no_calls_on_a_plainer_cpu() -> None:
    """AVX2 without half-precision arithmetic: nothing may be left to a library the process need not have."""
    plain = replace(host(), cpu="haswell", features="")
    cases = [("floor", dtypes.bfloat16), ("exp", dtypes.float32), ("sin", dtypes.float64), ("mod", dtypes.float32)]
    for name, dtype in [*cases, ("pow", dtypes.float64), ("floordiv", dtypes.bfloat16), ("round", dtypes.float16)]:
        row = ROWS[name]
        text = jit.assembly(emitted(row.code, (dtype,) * arity(name), dtype, (1, 8)), plain)
        called = set(re.findall(r"(?:callq?|jmp)\s+([A-Za-z_][\w.]*)", text))
        assert all(c.startswith("hornbeam.") for c in called), (name, called)


def test_supports() -> None:
    assert supports("exp", dtypes.bfloat16) and supports("add", dtypes.int8) and supports("select", dtypes.bool_)
    assert not supports("exp", dtypes.complex64) and not supports("exp", dtypes.int32)
    assert not supports("real", dtypes.complex64) and not supports("add", dtypes.bool_)
    for row in ROWS.values():
        complex_only = row.name in ("real", "imag", "conj", "complex")
        assert (
            row.kind != "map" or complex_only or supports(row.name, dtypes.float32) or supports(row.name, dtypes.int32)
        )
