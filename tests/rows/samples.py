"""The table that tests every row: a line brings values, two orders of gradient, bits, code, hostile arguments.

``sample(ROW, numpy, shapes, values, dtypes, attrs)``:
  numpy   an independent expression for the result; inexact operands reach it in double precision.
  holds   instead of ``numpy``, where the result is only defined up to a choice (signs of eigenvectors): pairs to agree.
  shapes  one tuple of operand shapes for each case; the first case is the one that hostile arguments are made from.
  values  a generator for all operands or one for each, giving values inside the domain and away from kinks.
  dtypes  every dtype that the row accepts (a test compares with ``infer``).
  attrs   the attributes, or a function of the operands' specs that gives them.
  tol     units of rounding allowed. grad: whether to check it by differences. special: whether NaN and Inf are defined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special as special  # scikit-learn, which the tests need anyway, brings it

from hornbeam.base.dtypes import (
    ALL,
    COMPLEX,
    FLOATS,
    INTEGERS,
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    int32,
    is_complex,
)
from hornbeam.base.spec import Spec
from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives import arith, compare, control, linalg, movement, reduce, scan
from hornbeam.ir.primitives.movement import Literal
from hornbeam.ir.program import Program
from tests.rows.check import Sample

SAMPLES: list[Sample] = []

INEXACT = FLOATS + COMPLEX
NUMERIC = INTEGERS + INEXACT
REAL = INTEGERS + FLOATS
BITS = (bool_, *INTEGERS)
ORDERED = (bool_, *REAL)

ONE = [((2, 3),), ((),), ((7,),), ((0,),), ((2, 0, 3),)]
TWO = [((2, 3), (2, 3)), ((), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (4,)), ((0,), (1,)), ((2, 0), (2, 1))]


def sample(
    row: Primitive,
    numpy: Callable[..., Any] | None = None,
    shapes: list[Any] = ONE,
    values: Any = None,
    dtypes: tuple[Any, ...] = INEXACT,
    attrs: Any = None,
    tol: float = 4,
    grad: bool = True,
    special: bool = True,
    holds: Callable[..., Any] | None = None,
) -> None:
    SAMPLES.append(Sample(row, numpy, shapes, dtypes, values or normal, attrs or {}, tol, grad, special, holds))


# -- generators: (rng, shape, dtype) -> array --------------------------------------------------------


def real(draw: Callable[..., Any], whole: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Draws floating values by ``draw`` (complex ones get an imaginary part), integers by ``whole``, bools evenly."""

    def make(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
        if dtype.kind == "b":
            return rng.integers(0, 2, shape).astype(bool)
        if dtype.kind in "iu":
            out = np.asarray(whole(rng, shape))
            return (np.abs(out) if dtype.kind == "u" else out).astype(dtype)
        x = np.asarray(draw(rng, shape))
        return (x + 0.7j * rng.normal(size=shape) if is_complex(dtype) else x).astype(dtype)

    return make


def _signs(rng: Any, shape: Any) -> Any:
    return rng.choice([-1.0, 1.0], shape)


normal = real(lambda r, s: r.normal(size=s), lambda r, s: r.integers(-9, 10, s))
positive = real(lambda r, s: r.uniform(0.5, 3, s), lambda r, s: r.integers(1, 10, s))
above_one = real(lambda r, s: r.uniform(1.2, 3, s), lambda r, s: r.integers(2, 10, s))
unit = real(lambda r, s: r.uniform(-0.9, 0.9, s), lambda r, s: r.integers(0, 2, s))
nonzero = real(lambda r, s: _signs(r, s) * r.uniform(0.5, 3, s), lambda r, s: r.integers(1, 9, s))
between = real(lambda r, s: r.integers(-4, 5, s) + r.uniform(0.2, 0.8, s), lambda r, s: r.integers(-9, 10, s))
exponents = real(lambda r, s: r.uniform(-2, 2, s), lambda r, s: r.integers(-3, 4, s))
few = real(lambda r, s: r.integers(-2, 3, s) * 1.0, lambda r, s: r.integers(-2, 3, s))  # ties and zeros
counts = real(lambda r, s: r.uniform(0, 3, s), lambda r, s: r.integers(-2, 12, s))


def distinct(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    n = math.prod(shape)
    return rng.permutation(np.arange(n) + 1).reshape(shape).astype(dtype)


def bools(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(bool)


def fixed(array: Any, dtype: Any) -> Callable[..., np.ndarray]:
    """Always these values, whatever the sample's dtype; a single one fills the shape."""
    given = np.asarray(array, dtype)
    return lambda rng, shape, _: np.resize(given, shape).astype(dtype) if given.size else np.zeros(shape, dtype)


def every_axis(x: Spec) -> dict[str, Any]:
    return {"axes": tuple(range(x.ndim))}


def program(function: Callable[..., Any], *specs: Spec, name: str = "body") -> Program:
    params = [param(s) for s in specs]
    with interpreting(NODES):
        out = function(*params)
    return Program(params, out if isinstance(out, (tuple, list)) else (out,), name=name)


# -- arithmetic --------------------------------------------------------------------------------------

sample(arith.ADD, np.add, TWO, dtypes=NUMERIC)
sample(arith.SUB, np.subtract, TWO, dtypes=NUMERIC)
sample(arith.MUL, np.multiply, TWO, dtypes=NUMERIC)
sample(arith.DIV, np.divide, TWO, (normal, nonzero), dtypes=INEXACT, special=False)
sample(arith.NEG, np.negative, dtypes=NUMERIC)


def _python(f: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Python's own operator on integers (0 for the divisor 0), its formula on floats."""
    return lambda x, y: (
        np.vectorize(lambda a, b: f(a, b) if b else 0, otypes=[object])(x, y) if x.dtype.kind in "iu" else f(x, y)
    )


sample(
    arith.FLOORDIV,
    _python(lambda x, y: np.floor(x / y) if isinstance(x, np.ndarray) else int(x) // int(y)),
    TWO,
    (between, nonzero),
    REAL,
    special=False,
)
sample(
    arith.MOD,
    _python(lambda x, y: x - y * np.floor(x / y) if isinstance(x, np.ndarray) else int(x) % int(y)),
    TWO,
    (between, nonzero),
    REAL,
    special=False,
)
sample(arith.FLOORDIV, lambda x, y: np.zeros_like(x), [((3,), (3,))], (normal, fixed([0, 0, 0], int32)), (int32,))
sample(arith.MOD, lambda x, y: np.zeros_like(x), [((3,), (3,))], (normal, fixed([0, 0, 0], int32)), (int32,))


def _integer_power(x: Any, y: Any) -> Any:
    def power(a: int, b: int) -> int:
        return a**b if b >= 0 else {1: 1, -1: (-1) ** -b}.get(a, 0)

    return np.vectorize(lambda a, b: power(int(a), int(b)), otypes=[object])(x, y)


def _power(x: Any, y: Any) -> Any:
    return _integer_power(x, y).astype(np.int64) if x.dtype.kind in "iu" else np.exp(y * np.log(x))


sample(
    arith.POW,
    _power,
    TWO,
    (real(lambda r, s: r.uniform(0.5, 3, s), lambda r, s: r.integers(-1, 3, s)), exponents),
    NUMERIC,
    tol=8,
    special=False,
)
sample(
    arith.POW,
    lambda x, y: np.asarray([1, 0, 0, 1, 4, -8, 1.0]),
    [((7,), (7,))],
    (fixed([0, 0, 0, 5, -2, -2, 1], float64), fixed([0, 1, 2, 0, 2, 3, 3], float64)),
    (float64,),
    grad=False,
    special=False,
)
sample(arith.MAX, lambda x, y: np.where(x > y, x, y), TWO, dtypes=REAL, special=False)
sample(arith.MIN, lambda x, y: np.where(x < y, x, y), TWO, dtypes=REAL, special=False)
sample(arith.MAX, np.maximum, TWO, few, (float32, float64), grad=False)
sample(arith.MIN, np.minimum, TWO, few, (float32, float64), grad=False)

# -- rounding and sign -------------------------------------------------------------------------------

sample(arith.ABS, np.abs, values=nonzero, dtypes=NUMERIC)
sample(
    arith.SIGN,
    lambda x: np.where(x == 0, 0, x / np.where(x == 0, 1, np.abs(x))),
    values=nonzero,
    dtypes=NUMERIC,
    special=False,
)
sample(arith.FLOOR, np.floor, values=between, dtypes=FLOATS)
sample(arith.CEIL, np.ceil, values=between, dtypes=FLOATS)
sample(arith.TRUNC, np.trunc, values=between, dtypes=FLOATS)
sample(arith.ROUND, np.round, values=between, dtypes=FLOATS)
sample(
    arith.ROUND,
    lambda x: np.asarray([0, 2, 2, -0.0, -2, 4]),
    [((6,),)],
    fixed([0.5, 1.5, 2.5, -0.5, -1.5, 3.5], float32),
    (float32,),
    special=False,
)

# -- exponentials and logarithms ---------------------------------------------------------------------

sample(arith.EXP, np.exp)
sample(arith.EXPM1, np.expm1)
sample(arith.LOG, np.log, values=positive)
sample(arith.LOG1P, np.log1p, values=positive)
sample(arith.SQRT, np.sqrt, values=positive)
sample(arith.RSQRT, lambda x: 1 / np.sqrt(x), values=positive, dtypes=FLOATS)
sample(arith.CBRT, np.cbrt, values=nonzero, dtypes=FLOATS)
sample(arith.LOGISTIC, lambda x: 1 / (1 + np.exp(-x)), dtypes=FLOATS)

# -- trigonometry ------------------------------------------------------------------------------------

sample(arith.SIN, np.sin)
sample(arith.COS, np.cos)
sample(arith.TAN, np.tan, values=unit)
sample(arith.ASIN, np.arcsin, values=unit, dtypes=FLOATS)
sample(arith.ACOS, np.arccos, values=unit, dtypes=FLOATS)
sample(arith.ATAN, np.arctan, dtypes=FLOATS)
sample(arith.ATAN2, np.arctan2, TWO, nonzero, FLOATS)
sample(arith.SINH, np.sinh)
sample(arith.COSH, np.cosh)
sample(arith.TANH, np.tanh)
sample(arith.ASINH, np.arcsinh, dtypes=FLOATS)
sample(arith.ACOSH, np.arccosh, values=above_one, dtypes=FLOATS)
sample(arith.ATANH, np.arctanh, values=unit, dtypes=FLOATS)

# -- special functions -------------------------------------------------------------------------------

sample(arith.ERF, special.erf, dtypes=FLOATS)
sample(arith.ERFC, special.erfc, dtypes=FLOATS)
sample(arith.ERF_INV, special.erfinv, values=unit, dtypes=FLOATS)
sample(
    arith.ERF_INV,
    special.erfinv,
    [((6,),)],
    fixed([1e-30, 1 - 2.0**-53, -1 + 2.0**-40, 0.9999, -0.99, 0.5], float64),
    (float64,),
    tol=64,
    grad=False,
)
sample(arith.LGAMMA, special.gammaln, values=positive, dtypes=FLOATS)
sample(arith.LGAMMA, special.gammaln, values=between, dtypes=(float64,), tol=64)
sample(arith.DIGAMMA, special.digamma, values=positive, dtypes=FLOATS, special=False)
sample(arith.DIGAMMA, special.digamma, values=between, dtypes=(float64,), tol=64, special=False)


def _next(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One unit in the last place: a step of the bits, seen as a whole number, away from or towards zero."""
    x, y = (np.ascontiguousarray(v) for v in np.broadcast_arrays(x, y))
    bits = x.view(f"i{x.dtype.itemsize}")
    return (
        (bits + np.where((x < y) == (x > 0), 1, -1).astype(bits.dtype))
        .view(x.dtype)
        .reshape(np.broadcast_shapes(x.shape, y.shape))
    )


sample(
    arith.NEXTAFTER,
    None,
    TWO[:1] + TWO[2:],
    (nonzero, normal),
    FLOATS,
    holds=lambda outs, x, y: [(outs[0], _next(x, y))],
)

# -- complex numbers, bits, selection ----------------------------------------------------------------

sample(arith.REAL_, np.real, dtypes=COMPLEX)
sample(arith.IMAG, np.imag, dtypes=COMPLEX)
sample(arith.CONJ, np.conj, dtypes=COMPLEX)


def _complex(x: Any, y: Any) -> Any:
    out = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.complex128)
    out.real, out.imag = x, y
    return out


sample(arith.COMPLEX_, _complex, TWO, dtypes=(float32, float64))
sample(arith.NOT, lambda x: ~x, dtypes=BITS)
sample(arith.AND, lambda x, y: x & y, TWO, dtypes=BITS)
sample(arith.OR, lambda x, y: x | y, TWO, dtypes=BITS)
sample(arith.XOR, lambda x, y: x ^ y, TWO, dtypes=BITS)


def _bits(f: Callable[[int, int], int]) -> Callable[..., Any]:
    """Python's unbounded integers, wrapped to the width at the end."""

    def apply(x: Any, y: Any) -> Any:
        width = x.dtype.itemsize * 8

        def one(a: Any, b: Any) -> int:
            bits = f(int(a), int(b) if 0 <= int(b) < width else width) % 2**width
            return bits - 2**width if x.dtype.kind == "i" and bits >= 2 ** (width - 1) else bits

        return np.vectorize(one, otypes=[object])(x, y)

    return apply


sample(arith.SHIFT_LEFT, _bits(lambda a, b: a << b), TWO, (normal, counts), INTEGERS)
sample(arith.SHIFT_RIGHT, _bits(lambda a, b: a >> b), TWO, (normal, counts), INTEGERS)
sample(
    arith.SELECT,
    lambda c, x, y: np.where(c, x, y),
    [((2, 3), (2, 3), (2, 3)), ((), (), ()), ((3,), (), (2, 3)), ((2, 1), (3,), (1,)), ((0,), (1,), ())],
    (bools, normal, normal),
    ALL,
)
for _to in ALL:
    sample(
        arith.CAST,
        lambda x, dtype: np.real(x) if not is_complex(dtype) and dtype != bool_ else x,
        values=positive,
        dtypes=ALL,
        attrs={"dtype": _to},
        grad=_to in (float64, complex128),
        special=False,
    )
sample(
    arith.CAST,
    lambda x, dtype: np.asarray([0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), -1, 1]),
    [((7,),)],
    fixed([math.nan, math.inf, -math.inf, 1e30, -1e30, -1.9, 1.9], float32),
    (float32,),
    {"dtype": int32},
    special=False,
)
for _to in ALL:
    if _to != bool_:
        sample(
            arith.BITCAST, dtypes=tuple(d for d in ALL if d.itemsize == _to.itemsize), attrs={"dtype": _to},
            holds=lambda outs, x, dtype: [(outs[0], np.frombuffer(x.tobytes(), dtype).reshape(x.shape))],
        )  # fmt: skip

# -- comparisons -------------------------------------------------------------------------------------

sample(compare.EQ, lambda x, y: x == y, TWO, few, ALL)
sample(compare.NE, lambda x, y: x != y, TWO, few, ALL)
sample(compare.LT, lambda x, y: x < y, TWO, few, ORDERED)
sample(compare.LE, lambda x, y: x <= y, TWO, few, ORDERED)
sample(compare.GT, lambda x, y: x > y, TWO, few, ORDERED)
sample(compare.GE, lambda x, y: x >= y, TWO, few, ORDERED)
sample(compare.IS_FINITE, np.isfinite, dtypes=INEXACT)

# -- views -------------------------------------------------------------------------------------------

CUBE = [((2, 3, 4),)]
sample(movement.CONSTANT, lambda value: value.array, [()], dtypes=(float32,), attrs={"value": Literal(np.arange(3.0))})
sample(
    movement.IOTA,
    lambda shape, axis, dtype: np.indices(shape)[axis],
    [()],
    dtypes=(float32,),
    attrs={"shape": (2, 3), "axis": 1, "dtype": int32},
)
for _to in ALL:
    sample(
        movement.IOTA,
        lambda shape, axis, dtype: np.indices(shape)[axis],
        [()],
        dtypes=(float32,),
        attrs={"shape": (2, 1), "axis": 0, "dtype": _to},
    )
sample(movement.RESHAPE, lambda x, shape: x.ravel().reshape(shape), CUBE, dtypes=ALL, attrs={"shape": (4, 6)})
sample(
    movement.RESHAPE,
    lambda x, shape: x.ravel().reshape(shape),
    [((2, 0),), ((0,),)],
    dtypes=ALL,
    attrs={"shape": (0, 3)},
)
sample(movement.RESHAPE, lambda x, shape: x.ravel().reshape(shape), [((1, 1),), ((),)], dtypes=ALL, attrs={"shape": ()})
sample(
    movement.TRANSPOSE,
    lambda x, axes: np.einsum("abc->cab", x),
    CUBE,
    dtypes=ALL,
    attrs={"axes": (2, 0, 1)},
    special=False,
)
sample(movement.TRANSPOSE, lambda x, axes: x, [((),)], dtypes=ALL, attrs={"axes": ()})
sample(
    movement.BROADCAST,
    lambda x, shape: np.ones(shape, x.dtype) * x,
    [((1, 3),), ((3,),), ((),), ((2, 2, 1),)],
    dtypes=ALL,
    attrs={"shape": (2, 2, 3)},
    special=False,
)
sample(
    movement.BROADCAST,
    lambda x, shape: np.zeros(shape),
    [((1, 3),), ((),), ((0, 3),)],
    dtypes=ALL,
    attrs={"shape": (0, 3)},
)
sample(
    movement.SLICE,
    lambda x, starts, limits, strides: x[1:2, 0:3:2, 1:4:2],
    CUBE,
    dtypes=ALL,
    attrs={"starts": (1, 0, 1), "limits": (2, 3, 4), "strides": (1, 2, 2)},
)
sample(
    movement.SLICE,
    lambda x, starts, limits, strides: x[2:2],
    [((3,),), ((2,),)],
    dtypes=ALL,
    attrs={"starts": (2,), "limits": (2,), "strides": (3,)},
)
sample(
    movement.SLICE,
    lambda x, starts, limits, strides: x,
    [((),)],
    dtypes=ALL,
    attrs={"starts": (), "limits": (), "strides": ()},
)


def _padded(x: Any, value: Any, before: Any, after: Any, between: Any) -> Any:
    for axis, gap in enumerate(between):
        for i in reversed(range(1, x.shape[axis])):
            x = np.insert(x, [i] * gap, value, axis)
    return np.pad(x, list(zip(before, after, strict=True)), constant_values=value) if x.ndim else x


sample(
    movement.PAD,
    _padded,
    [((2, 3), ()), ((1, 1), ()), ((0, 2), ())],
    dtypes=ALL,
    attrs={"before": (1, 0), "after": (0, 2), "between": (0, 2)},
)
sample(movement.PAD, lambda x, *rest, **_: x, [((), ())], dtypes=ALL, attrs={"before": (), "after": (), "between": ()})
sample(
    movement.CONCAT,
    lambda *xs, axis: np.hstack(xs),
    [((2, 3), (2, 1)), ((2, 3), (2, 0), (2, 2)), ((0, 1), (0, 2)), ((2, 3),)],
    dtypes=ALL,
    attrs={"axis": 1},
)
sample(movement.REVERSE, lambda x, axes: x[::-1, :, ::-1], CUBE + [((0, 1, 2),)], dtypes=ALL, attrs={"axes": (0, 2)})
sample(movement.REVERSE, lambda x, axes: x, [((),), ((3,),)], dtypes=ALL, attrs={"axes": ()})
sample(movement.STOP_GRADIENT, lambda x: x, dtypes=ALL)

# -- reductions --------------------------------------------------------------------------------------


def _folded(f: Callable[[Any, Any], Any], start: Any = None) -> Callable[..., Any]:
    """Along every axis in turn, one element after the other."""

    def apply(x: Any, axes: Any) -> Any:
        for axis in reversed(axes):
            parts = list(np.moveaxis(x, axis, 0))
            kept = x.shape[:axis] + x.shape[axis + 1 :]
            total = parts.pop(0) if parts else np.full(kept, start, x.dtype)
            for part in parts:
                total = f(total, part)
            x = np.asarray(total)
        return x

    return apply


MORE = [((3, 2, 2),), ((2, 4, 3),), ((2, 0, 3),), ((0, 2, 2),)]
FULL = [((2, 3),), ((),), ((5,),), ((1, 3, 2),)]
for _row, _fold, _start, _dtypes in (
    (reduce.SUM, np.add, 0, NUMERIC),
    (reduce.PROD, np.multiply, 1, NUMERIC),
    (reduce.REDUCE_AND, np.bitwise_and, True, BITS),
    (reduce.REDUCE_OR, np.bitwise_or, False, BITS),
):
    _expected = _folded(_fold, _start)
    if _row is reduce.REDUCE_AND:
        _expected = lambda x, axes: _folded(np.bitwise_and, True if x.dtype == bool else ~np.zeros((), x.dtype))(
            x, axes
        )
    sample(_row, _expected, FULL + [((0,),)], dtypes=_dtypes, attrs=every_axis)
    sample(_row, _expected, MORE, dtypes=_dtypes, attrs={"axes": (1,)})
    sample(_row, _expected, MORE, dtypes=_dtypes, attrs={"axes": (0, 2)})
    sample(_row, _expected, MORE, dtypes=_dtypes, attrs={"axes": ()})
sample(reduce.PROD, _folded(np.multiply, 1), MORE, few, (float64,), {"axes": (1, 2)})  # with zeros
for _row, _fold in ((reduce.REDUCE_MAX, np.maximum), (reduce.REDUCE_MIN, np.minimum)):
    sample(_row, _folded(_fold), FULL, distinct, REAL, every_axis)
    sample(_row, _folded(_fold), [((3, 2, 2),), ((0, 2, 2),)], distinct, REAL, {"axes": (1,)})
    sample(_row, _folded(_fold), [((3, 2, 2),), ((2, 0, 2),)], distinct, REAL, {"axes": (0, 2)})
    sample(_row, _folded(_fold), [((3, 2),), ((0, 2),)], distinct, REAL, {"axes": ()})
for _row, _sign in ((reduce.ARGMAX, 1), (reduce.ARGMIN, -1)):
    sample(
        _row,
        lambda x, axis, _sign=_sign: np.argsort(-_sign * x.astype(float), axis=axis, kind="stable").take(0, axis),
        [((3, 4),), ((2, 5, 3),), ((3, 2, 0),)],
        few,
        ORDERED,
        {"axis": 1},
        special=False,
    )
    sample(
        _row,
        lambda x, axis: np.asarray(1),
        [((4,),)],
        fixed([3, math.nan, 5, math.nan], float32),
        (float32,),
        {"axis": 0},
        special=False,
    )


def _running(f: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def apply(x: Any, axis: int, reverse: bool) -> Any:
        parts = list(np.moveaxis(x, axis, 0))[:: -1 if reverse else 1]
        for i in range(1, len(parts)):
            parts[i] = f(parts[i - 1], parts[i])
        return np.moveaxis(np.stack(parts[:: -1 if reverse else 1]), 0, axis) if parts else x

    return apply


for _row, _fold in ((reduce.CUMSUM, np.add), (reduce.CUMPROD, np.multiply)):
    for _reverse in (False, True):
        sample(
            _row,
            _running(_fold),
            [((2, 5),), ((2, 1),), ((2, 0),), ((0, 3),), ((2, 3, 2),)],
            dtypes=NUMERIC,
            attrs={"axis": 1, "reverse": _reverse},
            special=_row is reduce.CUMSUM,
        )
        sample(_row, _running(_fold), [((6,),)], few, (float64,), {"axis": 0, "reverse": _reverse})  # with zeros

# -- linear algebra ---------------------------------------------------------------------------------

MATRICES = (float32, float64, complex64, complex128)
SQUARE = [((3, 3),), ((2, 4, 4),), ((1, 1),), ((0, 0),), ((0, 3, 3),), ((2, 0, 0),)]
ANY_SIZE = [((3, 3),), ((2, 4, 3),), ((2, 3, 5),), ((1, 1),), ((0, 2),), ((2, 0),), ((0, 3, 2),)]


def _h(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def definite(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    x = normal(rng, shape, complex128 if is_complex(dtype) else float64)
    return (x @ _h(x) + 2 * np.eye(shape[-1])).astype(dtype)


def apart(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    """Eigenvalues and singular values well apart, so that their vectors' derivatives are moderate."""
    x = normal(rng, shape, complex128 if is_complex(dtype) else float64)
    return (x * 0.3 + np.eye(*shape[-2:]) * np.arange(2, 2 + 2 * shape[-1], 2)).astype(dtype)


def _orthonormal(q: np.ndarray) -> tuple[Any, Any]:
    return _h(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*q.shape[:-2], q.shape[-1], q.shape[-1]))


def _lu_holds(outs: Any, a: Any) -> list[Any]:
    lu, pivots, permutation = outs
    k = min(a.shape[-2:])
    lower, upper = np.tril(lu[..., :k], -1) + np.eye(a.shape[-2], k), np.triu(lu[..., :k, :])
    swapped = np.broadcast_to(np.arange(a.shape[-2]), permutation.shape).copy()
    for i in range(k):
        for at in np.ndindex(*a.shape[:-2]):
            p = pivots[(*at, i)]
            swapped[(*at, i)], swapped[(*at, p)] = swapped[(*at, p)], swapped[(*at, i)]
    bounded = np.abs(np.tril(lu[..., :k], -1)) <= 1 + 1e-6
    return [
        (lower.astype(a.dtype) @ upper, np.take_along_axis(a, permutation[..., None], -2)),
        (permutation, swapped),
        (bounded, np.ones_like(bounded)),
    ]


def _eig_holds(outs: Any, a: Any) -> list[Any]:
    w, v = outs
    return [(a @ v, v * w[..., None, :])]


sample(linalg.CHOLESKY, np.linalg.cholesky, SQUARE, definite, (float32, float64), tol=64, special=False)
sample(linalg.CHOLESKY, np.linalg.cholesky, SQUARE, definite, COMPLEX, tol=64, grad=False, special=False)
for _lower in (True, False):
    for _transpose in (False, True):
        for _unit in (False, True):

            def _triangular(a: Any, b: Any, lower: bool, transpose: bool, unit: bool) -> Any:
                a = np.tril(a) if lower else np.triu(a)
                a = a * (1 - np.eye(a.shape[-1])) + np.eye(a.shape[-1]) if unit else a
                return np.linalg.solve(np.swapaxes(a, -1, -2) if transpose else a, b)

            sample(
                linalg.TRIANGULAR_SOLVE, _triangular,
                [((3, 3), (3, 2)), ((2, 4, 4), (2, 4, 1)), ((3, 3), (3, 0)), ((0, 0), (0, 2)), ((0, 2, 2), (0, 2, 3))],
                (apart, normal), MATRICES, {"lower": _lower, "transpose": _transpose, "unit": _unit},
                tol=256, special=False,
            )  # fmt: skip
sample(linalg.LU, None, ANY_SIZE, normal, MATRICES, tol=64, holds=_lu_holds)
for _full, _shapes in ((False, ANY_SIZE), (True, [((3, 3),), ((2, 3, 5),), ((2, 0, 3),)])):
    _qr_holds = lambda outs, a, full: [
        (outs[0] @ outs[1], a), _orthonormal(outs[0]), (np.tril(outs[1], -1), np.zeros(outs[1].shape))
    ]  # fmt: skip
    sample(linalg.QR, None, _shapes, apart, (float32, float64), {"full": _full}, tol=64, holds=_qr_holds)
    sample(
        linalg.QR, None, [*_shapes, ((4, 2),)], normal, MATRICES, {"full": _full}, tol=64, grad=False, holds=_qr_holds
    )

    def _svd_holds(outs: Any, a: Any, full: bool) -> list[Any]:
        u, s, vh = outs
        k = s.shape[-1]
        ordered = (np.diff(s) <= 0) & (s[..., 1:] >= 0)
        return [
            ((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], a), _orthonormal(u), _orthonormal(_h(vh)),
            (ordered, np.ones_like(ordered)),
        ]  # fmt: skip

    _some = [s for s in ANY_SIZE if not _full or s[0][-2] == s[0][-1]]
    sample(linalg.SVD, None, _some, apart, (float32, float64), {"full": _full}, tol=128, holds=_svd_holds)
    sample(linalg.SVD, None, ANY_SIZE, normal, MATRICES, {"full": _full}, tol=128, grad=False, holds=_svd_holds)


def _eigh_holds(outs: Any, a: Any) -> list[Any]:
    a, (w, v) = (a + _h(a)) / 2, outs
    return [((v * w[..., None, :]) @ _h(v), a), _orthonormal(v), (np.diff(w) >= 0, np.ones_like(np.diff(w), bool))]


sample(linalg.EIGH, None, SQUARE, apart, (float32, float64), tol=128, holds=_eigh_holds)
sample(linalg.EIGH, None, SQUARE, normal, COMPLEX, tol=128, grad=False, holds=_eigh_holds)
sample(linalg.EIG, None, SQUARE, apart, MATRICES, tol=128, holds=_eig_holds)


def _fourier(x: Any, rank: int, inverse: bool) -> Any:
    for axis in range(-rank, 0):
        n = x.shape[axis]
        matrix = np.exp((2j if inverse else -2j) * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ (matrix / n if inverse else matrix), -1, axis)
    return x


for _inverse in (False, True):
    for _rank, _shapes in ((1, [((5,),), ((2, 8),), ((0, 3),)]), (2, [((3, 4),), ((2, 2, 1),)]), (3, [((2, 3, 2),)])):
        sample(
            linalg.FFT,
            _fourier,
            _shapes,
            dtypes=COMPLEX,
            attrs={"rank": _rank, "inverse": _inverse},
            tol=64,
            special=False,
        )


# -- control flow ------------------------------------------------------------------------------------

_V, _S, _I = Spec((3,), float64), Spec((), float64), Spec((), int32)
_F64 = (float64,)


def _index(i: int) -> Any:
    return fixed(i, int32)


_BRANCHES = (
    program(lambda x, y: (x * y, x + 1), _V, _S, name="times"),
    program(lambda x, y: (arith.SIN(x) * y * y, x), _V, _S, name="sine"),
    program(lambda x, y: (x * 0 + 2, x * x), _V, _S, name="constant"),
)
sample(
    control.CALL,
    lambda x, y, program: (np.sin(x) * y * y, x),
    [((3,), ())],
    dtypes=_F64,
    attrs={"program": _BRANCHES[1]},
)
for _i, _expected in (
    (-5, lambda i, x, y, branches: (x * y, x + 1)),
    (0, lambda i, x, y, branches: (x * y, x + 1)),
    (1, lambda i, x, y, branches: (np.sin(x) * y * y, x)),
    (7, lambda i, x, y, branches: (x * 0 + 2, x * x)),
):
    sample(control.SWITCH, _expected, [((), (3,), ())], (_index(_i), normal, normal), _F64, {"branches": _BRANCHES})


def _steps(c: Any, x: Any, k: Any, length: int, reverse: bool, **_: Any) -> Any:
    ys = np.zeros((length, 3))
    for i in reversed(range(length)) if reverse else range(length):
        c, ys[i] = np.tanh(c * k + x[i]), c * c * k
    return c, ys


_STEP = program(lambda c, x, k: (arith.TANH(c * k + x), c * c * k), _V, _V, _S, name="step")
for _n in (4, 1, 0):
    for _reverse in (False, True):
        _attrs = {"body": _STEP, "carries": 1, "xs": 1, "length": _n, "reverse": _reverse}
        sample(scan.SCAN, _steps, [((3,), (_n, 3), ())], dtypes=_F64, attrs=_attrs)
sample(  # an integer carry and constant beside floating ones, no sequences, and a result that is the carry itself
    scan.SCAN,
    lambda i, c, k, n, **_: (i + 3 * n, c * k**3, c * k ** np.arange(3)),
    [((), (), (), ())],
    (_index(5), normal, positive, _index(2)),
    _F64,
    {
        "body": program(lambda i, c, k, n: (i + n, c * k, c), _I, _S, _S, _I),
        "carries": 2,
        "xs": 0,
        "length": 3,
        "reverse": False,
    },
)


def _loop(trips: int, limit: int | None) -> None:
    """x <- sin(x) k, ``trips`` times, or ``limit`` times if that is less."""
    specs = (_I, _V, _S, _I)
    steps = trips if limit is None else min(trips, limit)

    def expected(i: Any, x: Any, k: Any, n: Any, **_: Any) -> Any:
        for _step in range(steps):
            x = np.sin(x) * k
        return np.int32(steps), x

    sample(
        control.WHILE, expected, [((), (3,), (), ())], (_index(0), normal, positive, _index(trips)), _F64,
        {
            "condition": program(lambda i, x, k, n: i < n, *specs, name="more"),
            "body": program(lambda i, x, k, n: (i + 1, arith.SIN(x) * k), *specs, name="step"),
            "carries": 2,
            "limit": limit,
        },
    )  # fmt: skip


_loop(3, None)
_loop(0, None)
_loop(1, 5)
_loop(9, 2)


def _doubled(g: Any) -> tuple[Any]:
    return (g * 3,)


sample(
    control.CUSTOM_GRADIENT,
    lambda y, x, **_: (y,),
    [((3,), (3,))],
    dtypes=ALL,
    attrs={"results": 1, "rule": _doubled},
    grad=False,
)
sample(
    control.CALLBACK, lambda x, **_: (np.asarray(x) * 2,), [((3,),)], dtypes=_F64,
    attrs={"function": lambda x: x * 2, "specs": (_V,)},
)  # fmt: skip
sample(
    control.CALLBACK,
    lambda x, **_: (3, -3),
    [((3,),)],
    dtypes=ALL,
    attrs={"function": lambda x: (len(x), -len(x)), "specs": (_I, _S)},
)

from tests.rows import samples_blocks  # noqa: E402, F401  the blocks have a page of their own

ELSEWHERE = {
    "param": "tests/ir/test_program.py: it has no reference, a Program's caller gives its value",
    "pick": "every row with several results is tested through it",
}
