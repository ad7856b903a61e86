"""Elementwise arithmetic: maps that broadcast their operands under NumPy's rules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import COMPLEX, FLOATS, INTEGERS, DType
from hornbeam.base.spec import Spec, broadcast_shapes
from hornbeam.errors import DTypeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitive import Primitive, blocked, row

INEXACT = FLOATS + COMPLEX
NUMERIC = INTEGERS + INEXACT
REAL = INTEGERS + FLOATS
BITS = (dtypes.bool_, *INTEGERS)
ANY = dtypes.ALL


def same_dtype(name: str, operands: tuple[Spec, ...], accepted: tuple[DType, ...]) -> DType:
    """The one dtype of all operands. Raises DTypeError if they differ or the operation is not defined for it."""
    dtype = operands[0].dtype
    for other in operands[1:]:
        if other.dtype != dtype:
            raise DTypeError(
                f"{name}: operands have dtypes {', '.join(s.dtype.name for s in operands)}.\n"
                f"  Rows take one dtype; cast one operand: hb.cast(y, {dtype.name!r})."
            )
    if dtype not in accepted:
        raise DTypeError(f"{name} is not defined for {dtype.name}, only for {', '.join(d.name for d in accepted)}.")
    return dtype


def elementwise(
    name: str,
    numpy: Callable[..., Any],
    grad: Callable[..., Any],
    code: Callable[..., Any],
    accepts: tuple[DType, ...] = NUMERIC,
    result: Callable[[DType], DType] = lambda d: d,
) -> Primitive:
    """A map row: operands of one dtype in ``accepts``, broadcast; the result's dtype is ``result`` of it."""
    arity = getattr(numpy, "nin", None) or len(inspect.signature(numpy).parameters)

    def infer(*operands: Spec) -> Spec:
        if len(operands) != arity:
            raise TypeError(f"{name} takes {arity} operands, given {len(operands)}.")
        dtype = same_dtype(name, operands, accepts)
        return Spec(broadcast_shapes(*(s.shape for s in operands), name=name), result(dtype))

    return row(name, kind="map", infer=infer, reference=numpy, grad=grad, code=code)


def function(name: str, numpy: Callable[..., Any], grad: Callable[..., Any], **columns: Any) -> Primitive:
    """A map that is one function of the math library; floating and complex unless ``accepts`` says otherwise."""
    columns.setdefault("accepts", INEXACT)
    return elementwise(name, numpy, grad, lambda s, *xs: s.call(name, *xs), **columns)


def scalar(value: complex, like: Any) -> Any:
    """A 0-d constant of ``like``'s dtype. A true zero: ``g * 0`` would keep NaN and Inf."""
    return constant(np.asarray(value, like.dtype))


def in_float64(f: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A scalar Python function as an array function, computed in float64."""
    vectorized = np.vectorize(f, otypes=[np.float64])

    def apply(x: np.ndarray) -> np.ndarray:
        return vectorized(x.astype(np.float64)).astype(x.dtype)

    return apply


# -- ring and field operations -----------------------------------------------------------------------

ADD = elementwise("add", np.add, lambda g, x, y, out: (g, g), lambda s, x, y: s.add(x, y))
SUB = elementwise("sub", np.subtract, lambda g, x, y, out: (g, -g), lambda s, x, y: s.sub(x, y))
MUL = elementwise("mul", np.multiply, lambda g, x, y, out: (g * y, g * x), lambda s, x, y: s.mul(x, y))
DIV = elementwise(
    "div", np.divide, lambda g, x, y, out: (g / y, -g * out / y), lambda s, x, y: s.div(x, y), accepts=INEXACT
)
NEG = elementwise("neg", np.negative, lambda g, x, out: (-g,), lambda s, x: s.neg(x))


def _floor_divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind in "iu":
        return np.where(y == 0, np.zeros((), x.dtype), np.floor_divide(x, np.where(y == 0, np.ones((), y.dtype), y)))
    return np.floor_divide(x, y)


def _mod(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.mod(x, y)  # the sign of the divisor, as in Python; 0 for an integer divisor 0


FLOORDIV = function("floordiv", _floor_divide, blocked, accepts=REAL)
MOD = function("mod", _mod, lambda g, x, y, out: (g, -g * FLOORDIV(x, y)), accepts=REAL)


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu":
        return np.power(x, y)
    # An integer to a negative power is 0, but for 1 and -1.
    whole = np.power(x, np.maximum(y, np.zeros((), y.dtype)))
    inverse = np.where(np.abs(x) == 1, np.where(y % 2 == 0, x * x, x), np.zeros((), x.dtype))
    return np.where(y < 0, inverse, whole)


def _pow_grad(g: Any, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
    # Both factors are guarded, so that x = 0 and y = 0 give the limits 0 and not 0 * inf.
    zero, one = scalar(0, x), scalar(1, x)
    slope = SELECT(y == 0, zero, g * y * x ** SELECT(y == 0, one, y - 1))
    return slope, lambda: g * SELECT(x == 0, zero, LOG(SELECT(x == 0, one, x))) * out


POW = function("pow", _power, _pow_grad, accepts=NUMERIC)
MAX = function("max", np.maximum, lambda g, x, y, out: _share(g, x, y, out), accepts=REAL)
MIN = function("min", np.minimum, lambda g, x, y, out: _share(g, x, y, out), accepts=REAL)


def _share(g: Any, x: Any, y: Any, out: Any) -> tuple[Any, Any]:
    """The winner takes the gradient; a tie is halved."""
    tie, half, zero = x == y, g * 0.5, scalar(0, g)
    return SELECT(tie, half, SELECT(x == out, g, zero)), SELECT(tie, half, SELECT(y == out, g, zero))


# -- rounding and sign -------------------------------------------------------------------------------



def _sign(x: np.ndarray) -> np.ndarray:
    return np.sign(x) + np.zeros((), x.dtype)  # zero has sign +0, for bfloat16 as for the others


ABS = function(
    "abs",
    np.abs,
    lambda g, x, out: (g * SIGN(x) if not dtypes.is_complex(x.dtype) else _abs_complex_grad(g, x, out),),
    accepts=NUMERIC,
    result=dtypes.real_dtype,
)
SIGN = function("sign", _sign, lambda g, x, out: (_sign_complex_grad(g, x, out),), accepts=NUMERIC)
FLOOR = function("floor", np.floor, blocked, accepts=FLOATS)
CEIL = function("ceil", np.ceil, blocked, accepts=FLOATS)
TRUNC = function("trunc", np.trunc, blocked, accepts=FLOATS)
ROUND = function("round", np.rint, blocked, accepts=FLOATS)  # half to even


def _abs_complex_grad(g: Any, x: Any, out: Any) -> Any:
    safe = SELECT(out == 0, scalar(1, out), out)
    return COMPLEX_(g * REAL_(x) / safe, -g * IMAG(x) / safe)


def _sign_complex_grad(g: Any, x: Any, out: Any) -> Any:
    """x/|x| turns with x and ignores its length; for real numbers it is constant."""
    if not dtypes.is_complex(x.dtype):
        return None
    size, zero = ABS(x), scalar(0, REAL_(x))
    safe = SELECT(size == 0, scalar(1, size), size)
    turning = (g - COMPLEX_(REAL_(g * out), zero) * CONJ(out)) / COMPLEX_(safe, zero)
    return SELECT(size == 0, scalar(0, g), turning)


# -- exponentials and logarithms ---------------------------------------------------------------------


def _logistic(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


EXP = function("exp", np.exp, lambda g, x, out: (g * out,))
EXPM1 = function("expm1", np.expm1, lambda g, x, out: (g * (out + 1),))
LOG = function("log", np.log, lambda g, x, out: (g / x,))
LOG1P = function("log1p", np.log1p, lambda g, x, out: (g / (x + 1),))
SQRT = function("sqrt", np.sqrt, lambda g, x, out: (g * 0.5 / out,))
RSQRT = function("rsqrt", lambda x: 1 / np.sqrt(x), lambda g, x, out: (g * -0.5 * out / x,), accepts=FLOATS)
CBRT = function("cbrt", np.cbrt, lambda g, x, out: (g / (out * out * 3),), accepts=FLOATS)
LOGISTIC = function("logistic", _logistic, lambda g, x, out: (g * out * (1 - out),), accepts=FLOATS)

# -- trigonometry ------------------------------------------------------------------------------------

SIN = function("sin", np.sin, lambda g, x, out: (g * COS(x),))
COS = function("cos", np.cos, lambda g, x, out: (-g * SIN(x),))
TAN = function("tan", np.tan, lambda g, x, out: (g * (1 + out * out),))
ASIN = function("asin", np.arcsin, lambda g, x, out: (g * RSQRT(1 - x * x),), accepts=FLOATS)
ACOS = function("acos", np.arccos, lambda g, x, out: (-g * RSQRT(1 - x * x),), accepts=FLOATS)
ATAN = function("atan", np.arctan, lambda g, x, out: (g / (1 + x * x),), accepts=FLOATS)
ATAN2 = function(
    "atan2", np.arctan2, lambda g, y, x, out: (g * x / (x * x + y * y), -g * y / (x * x + y * y)), accepts=FLOATS
)
SINH = function("sinh", np.sinh, lambda g, x, out: (g * COSH(x),))
COSH = function("cosh", np.cosh, lambda g, x, out: (g * SINH(x),))
TANH = function("tanh", np.tanh, lambda g, x, out: (g * (1 - out * out),))
ASINH = function("asinh", np.arcsinh, lambda g, x, out: (g * RSQRT(x * x + 1),), accepts=FLOATS)
ACOSH = function("acosh", np.arccosh, lambda g, x, out: (g * RSQRT((x - 1) * (x + 1)),), accepts=FLOATS)
ATANH = function("atanh", np.arctanh, lambda g, x, out: (g / (1 - x * x),), accepts=FLOATS)

# -- special functions -------------------------------------------------------------------------------


def _erf_inv(y: np.ndarray) -> np.ndarray:
    """Giles' starting value (M. Giles, "Approximating the erfinv function", 2010), polished in float64."""
    size = np.abs(y.astype(np.float64)).ravel()
    w = -np.log((1 - size) * (1 + size))
    central, tail = w - 2.5, np.sqrt(np.maximum(w, 5.0)) - 3.0
    near = np.polyval(
        [2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
         -0.00417768164, 0.246640727, 1.50140941], central)  # fmt: skip
    far = np.polyval(
        [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
         0.00943887047, 1.00167406, 2.83297682], tail)  # fmt: skip
    x = np.where(w < 5, near, far) * size
    for _ in range(2 if y.dtype == dtypes.float64 else 1):
        x = _polished(x, size)
    for _ in range(5):
        x[w > 16] = _polished(x[w > 16], size[w > 16])  # beyond float32's largest below 1, which he fitted to
    x = np.where(size == 1, np.inf, np.where(size > 1, np.nan, x))
    return np.copysign(x.reshape(y.shape), y.astype(np.float64)).astype(y.dtype)


def _polished(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A step of Halley's method for erf(x) = y. Towards 1 the difference cancels; then that of complements is used."""
    central = y < 0.5
    excess = 1 - y
    excess[central] = _erf64(x[central]) - y[central]
    excess[~central] -= _erfc64(x[~central])
    step = excess / (2 / math.sqrt(math.pi) * np.exp(-x * x))
    return x - step / (1 + x * step)


_erf64, _erfc64 = (np.vectorize(f, otypes=[np.float64]) for f in (math.erf, math.erfc))


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # a pole, or beyond the largest number
        return math.inf


def _digamma(x: float) -> float:
    """Reflection for negative x, recurrence up to 10, then the asymptotic series (Abramowitz and Stegun 6.3.18)."""
    if math.isnan(x) or x == -math.inf or (x <= 0 and x == math.floor(x)):
        return math.nan
    if x < 0:
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    if x == math.inf:
        return x
    y = 1 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    return shift + math.log(x) - 0.5 / x - series


ERF = function(
    "erf", in_float64(math.erf), lambda g, x, out: (g * EXP(-x * x) * (2 / math.sqrt(math.pi)),), accepts=FLOATS
)
ERFC = function(
    "erfc", in_float64(math.erfc), lambda g, x, out: (g * EXP(-x * x) * (-2 / math.sqrt(math.pi)),), accepts=FLOATS
)
ERF_INV = function(
    "erf_inv", _erf_inv, lambda g, x, out: (g * EXP(out * out) * (math.sqrt(math.pi) / 2),), accepts=FLOATS
)
LGAMMA = function("lgamma", in_float64(_lgamma), lambda g, x, out: (g * DIGAMMA(x),), accepts=FLOATS)
DIGAMMA = function("digamma", in_float64(_digamma), lambda g, x, out: (g * _trigamma(x),), accepts=FLOATS)


def _trigamma(x: Any) -> Any:
    """psi'(x): reflection below 1/2, recurrence up to x + 9, then the series (Abramowitz and Stegun 6.4.12)."""
    low, quarter = x < 0.5, scalar(0.25, x)
    sine = SIN(SELECT(low, x, quarter) * math.pi)  # psi'(x) + psi'(1 - x) = (pi / sin(pi x))^2
    x = SELECT(low, 1 - x, x)
    total = 1 / (x * x)
    for _ in range(8):
        x = x + 1
        total = total + 1 / (x * x)
    x = x + 1
    y = 1 / (x * x)
    total = total + 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - y * (5 / 66)))))
    return SELECT(low, math.pi**2 / (sine * sine) - total, total)


NEXTAFTER = function("nextafter", np.nextafter, blocked, accepts=FLOATS)

# -- complex numbers ---------------------------------------------------------------------------------

PART = {"accepts": COMPLEX, "result": dtypes.real_dtype}
REAL_ = function("real", np.real, lambda g, x, out: (COMPLEX_(g, scalar(0, g)),), **PART)
IMAG = function("imag", np.imag, lambda g, x, out: (COMPLEX_(scalar(0, g), -g),), **PART)
CONJ = function("conj", np.conj, lambda g, x, out: (CONJ(g),), accepts=COMPLEX)


def _complex(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Part by part: in x + y * 1j an infinite y would make the real part NaN.
    out = np.empty(broadcast_shapes(x.shape, y.shape), dtypes.complex_dtype(x.dtype))
    out.real, out.imag = x, y
    return out


COMPLEX_ = function(
    "complex",
    _complex,
    lambda g, x, y, out: (REAL_(g), -IMAG(g)),
    accepts=(dtypes.float32, dtypes.float64),
    result=dtypes.complex_dtype,
)

# -- bits and logic (bool and integers) --------------------------------------------------------------


def _shift_left(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    width = x.dtype.itemsize * 8
    shifted = np.left_shift(x, np.clip(y, 0, width - 1).astype(x.dtype))
    return np.where((y >= 0) & (y < width), shifted, np.zeros((), x.dtype))


def _shift_right(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Arithmetic if signed; a shift by the width or more leaves only the sign, as if each bit were shifted out."""
    width = x.dtype.itemsize * 8
    shifted = np.right_shift(x, np.clip(y, 0, width - 1).astype(x.dtype))
    sign = np.where(x < 0, np.asarray(-1).astype(x.dtype), np.zeros((), x.dtype))
    return np.where((y >= 0) & (y < width), shifted, sign)


NOT = function("not", np.invert, blocked, accepts=BITS)
AND = function("and", np.bitwise_and, blocked, accepts=BITS)
OR = function("or", np.bitwise_or, blocked, accepts=BITS)
XOR = function("xor", np.bitwise_xor, blocked, accepts=BITS)
SHIFT_LEFT = function("shift_left", _shift_left, blocked, accepts=INTEGERS)
SHIFT_RIGHT = function("shift_right", _shift_right, blocked, accepts=INTEGERS)

# -- selection and conversion ------------------------------------------------------------------------


def _select_spec(condition: Spec, x: Spec, y: Spec) -> Spec:
    if condition.dtype != dtypes.bool_:
        raise DTypeError(f"select: the condition must be bool, got {condition.dtype.name}. Compare it: x != 0.")
    dtype = same_dtype("select", (x, y), ANY)
    return Spec(broadcast_shapes(condition.shape, x.shape, y.shape, name="select"), dtype)


def _select_grad(g: Any, condition: Any, x: Any, y: Any, out: Any) -> tuple[Any, ...]:
    zero = scalar(0, g)
    return None, SELECT(condition, g, zero), SELECT(condition, zero, g)


SELECT = row(
    "select",
    kind="map",
    infer=_select_spec,
    reference=np.where,
    grad=_select_grad,
    code=lambda s, condition, x, y: s.select(condition, x, y),
)


def _cast(x: np.ndarray, dtype: DType) -> np.ndarray:
    if dtypes.is_integer(dtype) and dtypes.is_inexact(x.dtype):
        # Saturate, and NaN to 0: C leaves both undefined, and machines differ.
        x = np.real(x)
        info = np.iinfo(dtype)
        wide = np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf)
        inside = np.clip(wide, float(info.min), float(info.max))
        whole = inside.astype(np.float64)
        top = whole >= float(info.max)
        out = np.where(top, 0, whole).astype(dtype)
        return np.where(top, np.asarray(info.max, dtype), out)
    if dtypes.is_complex(x.dtype) and not dtypes.is_complex(dtype):
        x = np.real(x) if not dtypes.is_bool(dtype) else x != 0
    return x.astype(dtype)


def _cast_grad(g: Any, x: Any, out: Any, dtype: DType) -> tuple[Any]:
    return (CAST(g, dtype=x.dtype) if dtypes.is_inexact(x.dtype) and dtypes.is_inexact(dtype) else None,)


def canonical_dtype(name: str, dtype: Any) -> DType:
    """``dtype`` if it is one of ours. Attributes are canonical: rules and engines read them as they are."""
    if not isinstance(dtype, np.dtype) or dtype not in ANY:
        raise DTypeError(f"{name}: {dtype!r} is not a NumPy dtype of this runtime; see hornbeam.base.dtypes.as_dtype.")
    return dtype


CAST = row(
    "cast",
    kind="map",
    infer=lambda x, dtype: Spec(x.shape, canonical_dtype("cast", dtype)),
    reference=_cast,
    grad=_cast_grad,
    code=lambda s, x, dtype: s.cast(x, dtype),
)


def _bitcast_spec(x: Spec, dtype: DType) -> Spec:
    canonical_dtype("bitcast", dtype)
    if dtype.itemsize != x.dtype.itemsize:
        raise DTypeError(f"bitcast: {x.dtype.name} and {dtype.name} differ in width.")
    if dtype == dtypes.bool_ != x.dtype:
        raise DTypeError(f"bitcast: not every {x.dtype.name} is a bool. Compare it: x != 0.")
    return Spec(x.shape, dtype)


BITCAST = row(
    "bitcast",
    kind="map",
    infer=_bitcast_spec,
    reference=lambda x, dtype: np.ascontiguousarray(x).reshape(x.shape).view(dtype),
    grad=blocked,
    code=lambda s, x, dtype: s.call(f"bitcast_{dtype.name}", x),
)
