"""Keras's elementwise operations."""

from __future__ import annotations

from hornbeam.ops import indexing, math, special
from keras_hornbeam.src.ops.core import convert_to_tensor
from keras_hornbeam.src.ops.promotion import (
    floating,
    together,
    together_floating,
    without_bool,
)

__all__ = [
    "abs", "absolute", "add", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "cbrt", "ceil", "clip", "conj", "conjugate", "copysign", "cos", "cosh", "deg2rad", "divide",
    "divide_no_nan", "equal", "exp", "exp2", "expm1", "fabs", "float_power", "floor", "floor_divide", "fmax", "fmin",
    "fmod", "gcd", "greater", "greater_equal", "heaviside", "hypot", "i0", "imag", "isclose", "allclose", "isfinite",
    "isinf", "isnan", "isneginf", "isposinf", "isreal", "lcm", "ldexp", "left_shift", "less", "less_equal", "log",
    "log10", "log1p", "log2", "logaddexp", "logaddexp2", "logical_and", "logical_not", "logical_or", "logical_xor",
    "maximum", "minimum", "mod", "multiply", "nan_to_num", "negative", "nextafter", "not_equal", "power", "rad2deg",
    "real", "reciprocal", "right_shift", "round", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square",
    "subtract", "tan", "tanh", "true_divide", "trunc", "where", "select", "view",
]  # fmt: skip


def _unary(name, operation, argument):
    def apply(x):
        return operation(argument(x))

    apply.__name__ = apply.__qualname__ = name
    return apply


def _binary(name, operation, arguments):
    def apply(x1, x2):
        return operation(*arguments(x1, x2))

    apply.__name__ = apply.__qualname__ = name
    return apply


def _bitwise(name, operation):
    def apply(x, y):
        return operation(*together(x, y))

    apply.__name__ = apply.__qualname__ = name
    return apply


# Of real numbers: integers and bools become floatx.
arccos = _unary("arccos", math.arccos, floating)
arccosh = _unary("arccosh", math.arccosh, floating)
arcsin = _unary("arcsin", math.arcsin, floating)
arcsinh = _unary("arcsinh", math.arcsinh, floating)
arctan = _unary("arctan", math.arctan, floating)
arctanh = _unary("arctanh", math.arctanh, floating)
angle = _unary("angle", math.angle, floating)
cbrt = _unary("cbrt", math.cbrt, floating)
ceil = _unary("ceil", math.ceil, floating)
cos = _unary("cos", math.cos, floating)
cosh = _unary("cosh", math.cosh, floating)
deg2rad = _unary("deg2rad", math.deg2rad, floating)
exp = _unary("exp", math.exp, floating)
exp2 = _unary("exp2", math.exp2, floating)
expm1 = _unary("expm1", math.expm1, floating)
fabs = _unary("fabs", math.fabs, floating)
floor = _unary("floor", math.floor, floating)
i0 = _unary("i0", special.i0, floating)
log = _unary("log", math.log, floating)
log10 = _unary("log10", math.log10, floating)
log1p = _unary("log1p", math.log1p, floating)
log2 = _unary("log2", math.log2, floating)
rad2deg = _unary("rad2deg", math.rad2deg, floating)
reciprocal = _unary("reciprocal", math.reciprocal, floating)
sin = _unary("sin", math.sin, floating)
sinc = _unary("sinc", math.sinc, floating)
sinh = _unary("sinh", math.sinh, floating)
sqrt = _unary("sqrt", math.sqrt, floating)
tan = _unary("tan", math.tan, floating)
tanh = _unary("tanh", math.tanh, floating)

# Of numbers: the dtype stays.
abs = _unary("abs", math.abs, convert_to_tensor)
absolute = _unary("absolute", math.abs, convert_to_tensor)
bitwise_invert = _unary("bitwise_invert", math.bitwise_not, convert_to_tensor)
bitwise_not = _unary("bitwise_not", math.bitwise_not, convert_to_tensor)
conj = _unary("conj", math.conj, convert_to_tensor)
conjugate = _unary("conjugate", math.conj, convert_to_tensor)
imag = _unary("imag", math.imag, convert_to_tensor)
negative = _unary("negative", math.negative, convert_to_tensor)
real = _unary("real", math.real, convert_to_tensor)
sign = _unary("sign", math.sign, convert_to_tensor)
square = _unary("square", math.square, without_bool)
trunc = _unary("trunc", math.trunc, convert_to_tensor)

# Questions.
isfinite = _unary("isfinite", math.isfinite, convert_to_tensor)
isinf = _unary("isinf", math.isinf, convert_to_tensor)
isnan = _unary("isnan", math.isnan, convert_to_tensor)
isneginf = _unary("isneginf", math.isneginf, convert_to_tensor)
isposinf = _unary("isposinf", math.isposinf, convert_to_tensor)
isreal = _unary("isreal", math.isreal, convert_to_tensor)
logical_not = _unary("logical_not", math.logical_not, convert_to_tensor)
signbit = _unary("signbit", math.signbit, convert_to_tensor)

# Of two numbers, in the dtype in which they meet.
add = _binary("add", math.add, together)
floor_divide = _binary("floor_divide", math.floor_divide, together)
fmax = _binary("fmax", math.fmax, together)
fmin = _binary("fmin", math.fmin, together)
fmod = _binary("fmod", math.fmod, together)
gcd = _binary("gcd", math.gcd, together)
lcm = _binary("lcm", math.lcm, together)
maximum = _binary("maximum", math.maximum, together)
minimum = _binary("minimum", math.minimum, together)
mod = _binary("mod", math.mod, together)
multiply = _binary("multiply", math.multiply, together)
power = _binary("power", math.power, together)
subtract = _binary("subtract", math.subtract, together)

equal = _binary("equal", math.equal, together)
greater = _binary("greater", math.greater, together)
greater_equal = _binary("greater_equal", math.greater_equal, together)
less = _binary("less", math.less, together)
less_equal = _binary("less_equal", math.less_equal, together)
not_equal = _binary("not_equal", math.not_equal, together)
logical_and = _binary("logical_and", math.logical_and, lambda *xs: map(convert_to_tensor, xs))
logical_or = _binary("logical_or", math.logical_or, lambda *xs: map(convert_to_tensor, xs))
logical_xor = _binary("logical_xor", math.logical_xor, lambda *xs: map(convert_to_tensor, xs))

# Of two real numbers.
arctan2 = _binary("arctan2", math.arctan2, together_floating)
copysign = _binary("copysign", math.copysign, together_floating)
divide = _binary("divide", math.divide, together_floating)
divide_no_nan = _binary("divide_no_nan", math.divide_no_nan, together_floating)
float_power = _binary("float_power", math.float_power, together_floating)
heaviside = _binary("heaviside", math.heaviside, together_floating)
hypot = _binary("hypot", math.hypot, together_floating)
logaddexp = _binary("logaddexp", math.logaddexp, together_floating)
logaddexp2 = _binary("logaddexp2", math.logaddexp2, together_floating)
nextafter = _binary("nextafter", math.nextafter, together_floating)
true_divide = _binary("true_divide", math.divide, together_floating)

bitwise_and = _bitwise("bitwise_and", math.bitwise_and)
bitwise_left_shift = _bitwise("bitwise_left_shift", math.left_shift)
bitwise_or = _bitwise("bitwise_or", math.bitwise_or)
bitwise_right_shift = _bitwise("bitwise_right_shift", math.right_shift)
bitwise_xor = _bitwise("bitwise_xor", math.bitwise_xor)
left_shift = _bitwise("left_shift", math.left_shift)
right_shift = _bitwise("right_shift", math.right_shift)


def clip(x, x_min, x_max):
    bounds = [b for b in (x_min, x_max) if b is not None]
    x, *bounds = together(without_bool(x), *bounds)
    if len(bounds) == 2:
        return math.clip(x, *bounds)
    return math.maximum(x, *bounds) if x_max is None else math.minimum(x, *bounds)


def isclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    x1, x2 = together(x1, x2)
    return math.isclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)


def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    x1, x2 = together(x1, x2)
    return math.allclose(x1, x2, rtol=rtol, atol=atol, equal_nan=equal_nan)


def ldexp(x1, x2):
    return math.ldexp(floating(x1), convert_to_tensor(x2))


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    return math.nan_to_num(convert_to_tensor(x), nan, posinf, neginf)


def round(x, decimals=0):
    return math.round(convert_to_tensor(x), decimals)


def view(x, dtype=None):
    x = convert_to_tensor(x)
    return x if dtype is None else math.bitcast(x, dtype)


def where(condition, x1=None, x2=None):
    condition = convert_to_tensor(condition)
    if x1 is None and x2 is None:
        return indexing.where(condition)
    if x1 is None or x2 is None:
        raise ValueError("`x1` and `x2` either both should be `None` or both should have non-None value.")
    return indexing.where(condition, *together(x1, x2))


def select(condlist, choicelist, default=0):
    *choices, default = together(*choicelist, default)
    return indexing.select([convert_to_tensor(c) for c in condlist], choices, default)
