"""Elementwise mathematics: one argument, two arguments, comparisons, logic and bits."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.errors import DTypeError
from hornbeam.ir import operators
from hornbeam.ir.bind import constant
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives import arith, compare
from hornbeam.ir.primitives.arith import ABS, EXP, LOG, LOG1P, MAX, MIN, ROUND, SELECT, SQRT
from hornbeam.ops.arguments import (
    HALF,
    inexact,
    meeting,
    meeting_inexact,
    numeric,
    operand,
    scalar,
    truth,
)
from hornbeam.ops.control import while_loop
from hornbeam.ops.creation import zeros_like
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "cast", "bitcast",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "cbrt", "square", "reciprocal",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "sinc", "deg2rad", "rad2deg",
    "abs", "fabs", "negative", "positive", "sign", "signbit", "floor", "ceil", "trunc", "round", "clip", "nan_to_num",
    "real", "imag", "conj", "angle", "complex",
    "add", "subtract", "multiply", "divide", "divide_no_nan", "floor_divide", "mod", "fmod", "power", "float_power",
    "maximum", "minimum", "fmax", "fmin", "arctan2", "hypot", "logaddexp", "logaddexp2", "heaviside", "copysign",
    "nextafter", "ldexp", "gcd", "lcm", "squared_difference",
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "isclose", "allclose",
    "isfinite", "isinf", "isnan", "isposinf", "isneginf", "isreal",
    "logical_and", "logical_or", "logical_xor", "logical_not",
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "left_shift", "right_shift",
]  # fmt: skip


def _public(name: str, doc: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    return op(fn)


def _function(name: str, primitive: Primitive, doc: str) -> Callable[[Any], Any]:
    """A function of real (or complex) numbers that is one row; integers and bools become floating."""

    def apply(x: Any) -> Any:
        return primitive(inexact(x))

    return _public(name, doc, apply)


def _operator(name: str, primitive: Primitive, doc: str, *, floating: bool = False) -> Callable[[Any, Any], Any]:
    """A function of two numbers that is one row after promotion."""

    def apply(x: Any, y: Any) -> Any:
        return operators.binary(primitive, operand(x), operand(y), floating=floating)

    return _public(name, doc, apply)


# -- conversion ----------------------------------------------------------------------------------------------------


@op
def cast(x: Any, dtype: Any) -> Any:
    """``x`` converted to ``dtype``. Floats become integers by cutting off their fraction, saturating, NaN to 0."""
    return as_tensor(x).astype(dtype)


@op
def bitcast(x: Any, dtype: Any) -> Any:
    """The bytes of ``x`` read as ``dtype``. If the widths differ, the last axis grows or shrinks by their ratio."""
    x, dtype = as_tensor(x), dtypes.as_dtype(dtype)
    old, new = x.dtype.itemsize, dtype.itemsize
    if old == new:
        return x if x.dtype == dtype else arith.BITCAST(x, dtype=dtype)
    ratio = builtins.max(old, new) // builtins.min(old, new)
    if not x.ndim or (new > old and x.shape[-1] % ratio):
        raise DTypeError(f"bitcast: {x.spec} cannot be read as {dtype.name}: its last axis is no multiple of {ratio}.")
    small, large = (np.dtype(f"uint{8 * builtins.min(old, new)}"), np.dtype(f"uint{8 * builtins.max(old, new)}"))
    shifts = np.arange(ratio) * (8 * small.itemsize)  # little-endian: the lowest bytes come first
    if old > new:
        bits = arith.BITCAST(x, dtype=large) if x.dtype != large else x
        parts = arith.SHIFT_RIGHT(bits[..., None], constant(shifts.astype(large))) & (2 ** (8 * small.itemsize) - 1)
        out = parts.astype(small).reshape((*x.shape[:-1], -1))
        return out if small == dtype else arith.BITCAST(out, dtype=dtype)
    bits = (arith.BITCAST(x, dtype=small) if x.dtype != small else x).reshape((*x.shape[:-1], -1, ratio))
    shifted = arith.SHIFT_LEFT(bits.astype(large), constant(shifts.astype(large)))
    out = shifted.sum(-1)
    return out if large == dtype else arith.BITCAST(out, dtype=dtype)


# -- functions of one number ---------------------------------------------------------------------------------------

exp = _function("exp", arith.EXP, "e to the power of x.")
expm1 = _function("expm1", arith.EXPM1, "exp(x) - 1, exact for small x.")
log = _function("log", arith.LOG, "The natural logarithm.")
log1p = _function("log1p", arith.LOG1P, "log(1 + x), exact for small x.")
sqrt = _function("sqrt", arith.SQRT, "The square root.")
rsqrt = _function("rsqrt", arith.RSQRT, "1 / sqrt(x).")
cbrt = _function("cbrt", arith.CBRT, "The cube root, also of negative numbers.")
sin = _function("sin", arith.SIN, "The sine.")
cos = _function("cos", arith.COS, "The cosine.")
tan = _function("tan", arith.TAN, "The tangent.")
arcsin = _function("arcsin", arith.ASIN, "The inverse of the sine, on -1 ... 1.")
arccos = _function("arccos", arith.ACOS, "The inverse of the cosine, on -1 ... 1.")
arctan = _function("arctan", arith.ATAN, "The inverse of the tangent.")
sinh = _function("sinh", arith.SINH, "The hyperbolic sine.")
cosh = _function("cosh", arith.COSH, "The hyperbolic cosine.")
tanh = _function("tanh", arith.TANH, "The hyperbolic tangent.")
arcsinh = _function("arcsinh", arith.ASINH, "The inverse of the hyperbolic sine.")
arccosh = _function("arccosh", arith.ACOSH, "The inverse of the hyperbolic cosine, from 1 on.")
arctanh = _function("arctanh", arith.ATANH, "The inverse of the hyperbolic tangent, on -1 ... 1.")


@op
def exp2(x: Any) -> Any:
    """2 to the power of x."""
    x = inexact(x)
    return arith.POW(scalar(2, x.dtype), x)


@op
def log2(x: Any) -> Any:
    """The logarithm to base 2."""
    x = inexact(x)
    return LOG(x) / math.log(2)


@op
def log10(x: Any) -> Any:
    """The logarithm to base 10."""
    x = inexact(x)
    return LOG(x) / math.log(10)


@op
def square(x: Any) -> Any:
    """x * x."""
    x = as_tensor(x)
    return x * x


@op
def reciprocal(x: Any) -> Any:
    """1 / x."""
    return 1 / inexact(x)


@op
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), and 1 at 0."""
    x = inexact(x)
    at_zero = x == 0
    y = SELECT(at_zero, scalar(1, x.dtype), x) * math.pi
    return SELECT(at_zero, scalar(1, x.dtype), arith.SIN(y) / y)


@op
def deg2rad(x: Any) -> Any:
    """Degrees as radians."""
    return inexact(x) * (math.pi / 180)


@op
def rad2deg(x: Any) -> Any:
    """Radians as degrees."""
    return inexact(x) * (180 / math.pi)


@op
def abs(x: Any) -> Any:
    """The absolute value; the modulus of complex numbers."""
    return operators.Operators.__abs__(as_tensor(x))


@op
def fabs(x: Any) -> Any:
    """The absolute value, floating also for integers."""
    return ABS(inexact(x))


@op
def negative(x: Any) -> Any:
    """-x."""
    return -as_tensor(x)


@op
def positive(x: Any) -> Any:
    """x itself."""
    return as_tensor(x)


@op
def sign(x: Any) -> Any:
    """-1, 0 or 1; for complex numbers x / abs(x)."""
    x = as_tensor(x)
    return x if x.dtype == dtypes.bool_ else arith.SIGN(x)


@op
def signbit(x: Any) -> Any:
    """Whether the sign bit is set: for negative numbers, and for -0.0."""
    x = as_tensor(x)
    if dtypes.is_floating(x.dtype):
        x = arith.BITCAST(x, dtype=np.dtype(f"int{8 * x.dtype.itemsize}"))
    return numeric(x) < 0


def _rounding(name: str, primitive: Primitive, doc: str) -> Callable[[Any], Any]:
    """A rounding row; what is whole already stays as it is."""

    def apply(x: Any) -> Any:
        x = as_tensor(x)
        return primitive(x) if dtypes.is_floating(x.dtype) else x

    return _public(name, doc, apply)


floor = _rounding("floor", arith.FLOOR, "The largest whole number not above x.")
ceil = _rounding("ceil", arith.CEIL, "The smallest whole number not below x.")
trunc = _rounding("trunc", arith.TRUNC, "x without its fraction.")


@op
def round(x: Any, decimals: int = 0) -> Any:
    """x rounded to ``decimals`` places (negative: to tens, hundreds, ...), half to even."""
    x = as_tensor(x)
    if not dtypes.is_floating(x.dtype):
        if decimals >= 0 or x.dtype == dtypes.bool_:
            return x
        factor = 10**-decimals
        return (ROUND(x.astype(dtypes.float64) / factor) * factor).astype(x.dtype)
    if decimals == 0:
        return ROUND(x)
    y, factor = x.astype(dtypes.float32) if x.dtype in HALF else x, 10.0 ** builtins.abs(decimals)
    y = ROUND(y * factor) / factor if decimals > 0 else ROUND(y / factor) * factor
    return y.astype(x.dtype)


@op
def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """x, but not below ``min`` and not above ``max``; None means no bound."""
    x = as_tensor(x)
    x = x if min is None else operators.binary(MAX, x, operand(min))
    return x if max is None else operators.binary(MIN, x, operand(max))


@op
def nan_to_num(x: Any, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """x with NaN and the infinities replaced; by default with 0 and the largest finite numbers."""
    x = as_tensor(x)
    if dtypes.is_complex(x.dtype):
        return arith.COMPLEX_(*(nan_to_num(part, nan, posinf, neginf) for part in (arith.REAL_(x), arith.IMAG(x))))
    if not dtypes.is_floating(x.dtype):
        return x
    info = dtypes.ml_dtypes.finfo(x.dtype)
    replace = lambda wrong, y, value: SELECT(wrong, as_tensor(value).astype(x.dtype), y)
    y = replace(x != x, x, nan)
    y = replace(x == math.inf, y, float(info.max) if posinf is None else posinf)
    return replace(x == -math.inf, y, float(info.min) if neginf is None else neginf)


# -- complex numbers -----------------------------------------------------------------------------------------------


@op
def real(x: Any) -> Any:
    """The real part."""
    x = as_tensor(x)
    return arith.REAL_(x) if dtypes.is_complex(x.dtype) else x


@op
def imag(x: Any) -> Any:
    """The imaginary part; zeros for real numbers."""
    x = as_tensor(x)
    return arith.IMAG(x) if dtypes.is_complex(x.dtype) else zeros_like(x)


@op
def conj(x: Any) -> Any:
    """The complex conjugate."""
    x = as_tensor(x)
    return arith.CONJ(x) if dtypes.is_complex(x.dtype) else x


@op
def angle(x: Any) -> Any:
    """The argument of complex numbers, in radians; 0 or pi for real ones."""
    x = inexact(x)
    if dtypes.is_complex(x.dtype):
        return arith.ATAN2(arith.IMAG(x), arith.REAL_(x))
    return SELECT(x != x, x, SELECT(signbit(x), scalar(math.pi, x.dtype), scalar(0, x.dtype)))


@op
def complex(real: Any, imag: Any) -> Any:
    """Complex numbers from their parts; half precision is widened."""
    x, y = meeting_inexact(real, imag)
    wide = x.dtype if x.dtype == dtypes.float64 else dtypes.float32
    return arith.COMPLEX_(x.astype(wide), y.astype(wide))


# -- functions of two numbers --------------------------------------------------------------------------------------

add = _operator("add", arith.ADD, "x + y.")
multiply = _operator("multiply", arith.MUL, "x * y.")
divide = _operator("divide", arith.DIV, "x / y; integers give floats.", floating=True)
maximum = _operator("maximum", arith.MAX, "The larger of x and y; NaN if one of them is NaN.")
minimum = _operator("minimum", arith.MIN, "The smaller of x and y; NaN if one of them is NaN.")


def _numeric_operator(name: str, primitive: Primitive, doc: str) -> Callable[[Any, Any], Any]:
    """As ``_operator``, with bools as integers."""

    def apply(x: Any, y: Any) -> Any:
        x, y = meeting(x, y)
        return primitive(numeric(x), numeric(y))

    return _public(name, doc, apply)


subtract = _numeric_operator("subtract", arith.SUB, "x - y.")
floor_divide = _numeric_operator("floor_divide", arith.FLOORDIV, "The quotient, rounded down.")
mod = _numeric_operator("mod", arith.MOD, "The remainder of floor_divide; it has the sign of y.")


@op
def power(x: Any, y: Any) -> Any:
    """x to the power of y."""
    if isinstance(y, int) and not isinstance(y, bool) and 0 < y <= 4:
        return numeric(x) ** y
    x, y = meeting(x, y)
    return arith.POW(numeric(x), numeric(y))


@op
def float_power(x: Any, y: Any) -> Any:
    """x to the power of y, floating also for integers."""
    return arith.POW(*meeting_inexact(x, y))


@op
def fmod(x: Any, y: Any) -> Any:
    """The remainder of the quotient without its fraction; it has the sign of x."""
    x, y = (numeric(v) for v in meeting(x, y))
    rest = arith.MOD(ABS(x), ABS(y))
    return rest if x.dtype in dtypes.UNSIGNED else SELECT(x < 0, -rest, rest)


@op
def divide_no_nan(x: Any, y: Any) -> Any:
    """x / y, and 0 where y is 0."""
    x, y = meeting_inexact(x, y)
    none = y == 0
    return SELECT(none, scalar(0, x.dtype), x / SELECT(none, scalar(1, y.dtype), y))


@op
def squared_difference(x: Any, y: Any) -> Any:
    """(x - y) ** 2."""
    d = subtract(x, y)
    return d * d


@op
def fmax(x: Any, y: Any) -> Any:
    """The larger of x and y; of NaN and a number the number."""
    x, y = meeting(x, y)
    return maximum(SELECT(x != x, y, x), SELECT(y != y, x, y))


@op
def fmin(x: Any, y: Any) -> Any:
    """The smaller of x and y; of NaN and a number the number."""
    x, y = meeting(x, y)
    return minimum(SELECT(x != x, y, x), SELECT(y != y, x, y))


@op
def arctan2(y: Any, x: Any) -> Any:
    """The angle of the point (x, y), in radians."""
    return arith.ATAN2(*meeting_inexact(y, x))


@op
def hypot(x: Any, y: Any) -> Any:
    """sqrt(x*x + y*y) without overflow in between."""
    x, y = (ABS(v) for v in meeting_inexact(x, y))
    large, small = MAX(x, y), MIN(x, y)
    easy = (large == 0) | (large == math.inf)
    ratio = small / SELECT(easy, scalar(1, x.dtype), large)
    out = SELECT(easy, large, large * SQRT(1 + SELECT(easy, scalar(0, x.dtype), ratio * ratio)))
    return SELECT((x == math.inf) | (y == math.inf), scalar(math.inf, x.dtype), out)


@op
def logaddexp(x: Any, y: Any) -> Any:
    """log(exp(x) + exp(y)) without overflow."""
    x, y = meeting_inexact(x, y)
    same = x == y  # also two equal infinities, whose difference is NaN
    distance = ABS(SELECT(same, scalar(0, x.dtype), x - y))
    return MAX(x, y) + LOG1P(EXP(-distance))


@op
def logaddexp2(x: Any, y: Any) -> Any:
    """log2(2**x + 2**y) without overflow."""
    x, y = meeting_inexact(x, y)
    same = x == y
    distance = ABS(SELECT(same, scalar(0, x.dtype), x - y))
    return MAX(x, y) + LOG1P(EXP(-distance * math.log(2))) / math.log(2)


@op
def heaviside(x: Any, y: Any) -> Any:
    """0 below zero, 1 above, and ``y`` at zero."""
    x, y = meeting_inexact(x, y)
    step = (x > 0).astype(x.dtype)
    return SELECT(x == 0, y, SELECT(x != x, x, step))


def _bits(x: Any) -> tuple[Any, DType]:
    dtype = np.dtype(f"int{8 * x.dtype.itemsize}")
    return arith.BITCAST(x, dtype=dtype), dtype


@op
def copysign(x: Any, y: Any) -> Any:
    """x with the sign of y."""
    x, y = meeting_inexact(x, y)
    return SELECT(signbit(x) == signbit(y), x, -x)


@op
def nextafter(x: Any, y: Any) -> Any:
    """The next representable number after x towards y."""
    return arith.NEXTAFTER(*meeting_inexact(x, y))


@op
def ldexp(x: Any, n: Any) -> Any:
    """x * 2**n for integers n, exactly where the result is a normal number. Raises DTypeError if n is not integer."""
    x, n = inexact(x), as_tensor(n)
    if not dtypes.is_integer(n.dtype):
        raise DTypeError(f"ldexp: the exponent must be an integer, got {n.dtype.name}. Cast it: hb.cast(n, 'int32').")
    if x.dtype in HALF:
        return ldexp(x.astype(dtypes.float32), n).astype(x.dtype)
    whole, bias, mantissa = (
        (dtypes.int64, 1023, 52) if x.dtype == dtypes.float64 else (dtypes.int32, 127, 23)
    )
    n = arith.MIN(arith.MAX(n.astype(whole), scalar(-3 * (bias - 1), whole)), scalar(3 * (bias - 1), whole))
    third = n // 3
    for part in (third, third, n - 2 * third):  # 2**n itself may be out of range
        x = x * arith.BITCAST((part + bias) << mantissa, dtype=x.dtype)
    return x


@op
def gcd(x: Any, y: Any) -> Any:
    """The greatest common divisor of integers."""
    x, y = _integers("gcd", x, y)
    return _gcd(x, y)


@op
def lcm(x: Any, y: Any) -> Any:
    """The least common multiple of integers."""
    x, y = _integers("lcm", x, y)
    divisor = _gcd(x, y)
    safe = SELECT(divisor == 0, scalar(1, x.dtype), divisor)
    return ABS(x // safe * y)


def _integers(name: str, x: Any, y: Any) -> list[Any]:
    x, y = (numeric(v) for v in meeting(x, y))
    if not dtypes.is_integer(x.dtype):
        raise DTypeError(f"{name} is defined for integers, got {x.dtype.name}. Cast them: hb.cast(x, 'int32').")
    return [x, y]


def _gcd(x: Any, y: Any) -> Any:
    """Euclid's algorithm on all pairs at once."""
    x, y = x + y * 0, y + x * 0
    zero, one = scalar(0, x.dtype), scalar(1, x.dtype)

    def step(x: Any, y: Any) -> Any:
        done = y == 0
        return SELECT(done, x, y), SELECT(done, zero, arith.MOD(x, SELECT(done, one, y)))

    return while_loop(lambda x, y: (y != 0).astype(dtypes.int32).sum() > 0, step, (ABS(x), ABS(y)))[0]


# -- comparisons ---------------------------------------------------------------------------------------------------

equal = _operator("equal", compare.EQ, "x == y.")
not_equal = _operator("not_equal", compare.NE, "x != y.")
less = _operator("less", compare.LT, "x < y.")
less_equal = _operator("less_equal", compare.LE, "x <= y.")
greater = _operator("greater", compare.GT, "x > y.")
greater_equal = _operator("greater_equal", compare.GE, "x >= y.")


@op
def isclose(x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Whether abs(x - y) <= atol + rtol * abs(y); infinities are close if they are equal."""
    x, y = meeting_inexact(x, y)
    finite = compare.IS_FINITE(x) & compare.IS_FINITE(y)
    near = ABS(x - y) <= ABS(y) * rtol + atol
    out = SELECT(finite, near, x == y)
    return out | ((x != x) & (y != y)) if equal_nan else out


@op
def allclose(x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close, see ``isclose``."""
    from hornbeam.ir.primitives.reduce import REDUCE_AND

    close = isclose(x, y, rtol, atol, equal_nan)
    return REDUCE_AND(close, axes=tuple(range(close.ndim))) if close.ndim else close


def _test(name: str, test: Callable[[Any], Any], doc: str) -> Callable[[Any], Any]:
    """A question about floating or complex numbers to which integers and bools answer no."""

    def apply(x: Any) -> Any:
        x = as_tensor(x)
        return test(x) if dtypes.is_inexact(x.dtype) else (x != x)

    return _public(name, doc, apply)


isnan = _test("isnan", lambda x: x != x, "Whether x is NaN.")
isinf = _test("isinf", lambda x: ABS(x) == math.inf, "Whether x is an infinity.")
isposinf = _test("isposinf", lambda x: x == math.inf, "Whether x is +infinity.")
isneginf = _test("isneginf", lambda x: x == -math.inf, "Whether x is -infinity.")


@op
def isfinite(x: Any) -> Any:
    """Whether x is neither NaN nor an infinity."""
    x = as_tensor(x)
    return compare.IS_FINITE(x) if dtypes.is_inexact(x.dtype) else x == x


@op
def isreal(x: Any) -> Any:
    """Whether the imaginary part is 0."""
    return imag(x) == 0


# -- logic and bits ------------------------------------------------------------------------------------------------


def _logical(name: str, primitive: Primitive, doc: str) -> Callable[[Any, Any], Any]:
    def apply(x: Any, y: Any) -> Any:
        return primitive(truth(x), truth(y))

    return _public(name, doc, apply)


logical_and = _logical("logical_and", arith.AND, "Whether both are true (not zero).")
logical_or = _logical("logical_or", arith.OR, "Whether one or both are true (not zero).")
logical_xor = _logical("logical_xor", arith.XOR, "Whether exactly one is true (not zero).")


@op
def logical_not(x: Any) -> Any:
    """Whether x is false (zero)."""
    return arith.NOT(truth(x))


bitwise_and = _operator("bitwise_and", arith.AND, "The bits set in both integers.")
bitwise_or = _operator("bitwise_or", arith.OR, "The bits set in one or both integers.")
bitwise_xor = _operator("bitwise_xor", arith.XOR, "The bits set in exactly one of the integers.")
left_shift = _numeric_operator("left_shift", arith.SHIFT_LEFT, "x with its bits moved up by y places.")
right_shift = _numeric_operator("right_shift", arith.SHIFT_RIGHT, "x with its bits moved down; the sign is kept.")


@op
def bitwise_not(x: Any) -> Any:
    """All bits flipped."""
    return arith.NOT(as_tensor(x))
