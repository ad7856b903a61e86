"""Arithmetic, comparison, logic, selection and conversion."""

from __future__ import annotations

import math
from typing import Any

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType, is_bool, is_complex, is_floating, is_integer
from hornbeam.errors import ExportError
from hornbeam.export.graph import NO_COMPLEX, Graph, Value
from hornbeam.export.pairing import Pair
from hornbeam.export.rules.rule import RULES, direct, rule
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.compare import LE
from hornbeam.ir.primitives.movement import CONSTANT

RULES |= {
    row: direct(kind)
    for row, kind in {
        "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "abs": "Abs",
        "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "round": "Round", "exp": "Exp", "log": "Log",
        "sqrt": "Sqrt", "sin": "Sin",
        "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
        "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "logistic": "Sigmoid",
    }.items()
}  # fmt: skip


def number(g: Graph, value: float, like: Value | str) -> str:
    """A 0-d constant of ``like``'s dtype."""
    return g.constant(value, g.dtypes[like if isinstance(like, str) else like.name])


# -- arithmetic --------------------------------------------------------------------------------------------------------


@rule("neg")
def neg(g: Graph, pair: Pair, x: Value) -> str:
    return g.op("Sub", number(g, 0, x), x) if x.dtype in dtypes.UNSIGNED else g.op("Neg", x)


def _remainder(g: Graph, x: Value, y: Value | str) -> str:
    """With the sign of the divisor. For floats ONNX has only the remainder with the sign of the dividend."""
    if is_integer(x.dtype):
        return g.op("Mod", x, y)
    r = g.op("Mod", x, y, fmod=1)
    zero = number(g, 0, r)
    wrong = g.op("Xor", g.op("Less", r, zero), g.op("Less", y, zero))
    wrong = g.op("And", wrong, g.op("Not", g.op("Equal", r, zero)))
    return g.op("Where", wrong, g.op("Add", r, y), r)


def _safe_divisor(g: Graph, y: Value) -> tuple[str, str]:
    """Whether an integer divisor is 0, and the divisor with 1 in its place: machines stop at an integer's x / 0."""
    is_zero = g.op("Equal", y, number(g, 0, y))
    return is_zero, g.op("Where", is_zero, number(g, 1, y), y)


@rule("mod")
def mod(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    if not is_integer(x.dtype):
        return _remainder(g, x, y)
    is_zero, safe = _safe_divisor(g, y)
    return g.op("Where", is_zero, number(g, 0, x), _remainder(g, x, safe))


@rule("floordiv")
def floordiv(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    if is_integer(x.dtype):
        is_zero, safe = _safe_divisor(g, y)
        whole = g.op("Div", g.op("Sub", x, _remainder(g, x, safe)), safe)
        return g.op("Where", is_zero, number(g, 0, x), whole)
    return g.op("Round", g.op("Div", g.op("Sub", x, _remainder(g, x, y)), y))


@rule("pow")
def power(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    if not is_integer(x.dtype):
        return g.op("Pow", x, y)
    # An integer to a negative power is 0, but for 1 and -1.
    base, exponent = g.cast(x, dtypes.int64), g.cast(y, dtypes.int64)
    zero, one, two = (g.constant(n) for n in (0, 1, 2))
    whole = g.op("Pow", base, g.op("Max", exponent, zero))
    odd = g.op("Equal", g.op("Mod", exponent, two), one)
    unit = g.op("Equal", g.op("Abs", base), one)
    inverse = g.op("Where", unit, g.op("Where", odd, base, one), zero)
    return g.cast(g.op("Where", g.op("Less", exponent, zero), inverse, whole), x.dtype)


@rule("trunc")
def trunc(g: Graph, pair: Pair, x: Value) -> str:
    return g.op("Mul", g.op("Sign", x), g.op("Floor", g.op("Abs", x)))


@rule("rsqrt")
def rsqrt(g: Graph, pair: Pair, x: Value) -> str:
    return g.op("Reciprocal", g.op("Sqrt", x))


@rule("cbrt")
def cbrt(g: Graph, pair: Pair, x: Value) -> str:
    return g.op("Mul", g.op("Sign", x), g.op("Pow", g.op("Abs", x), number(g, 1 / 3, x)))


def _near_zero(g: Graph, x: Value | str) -> str:
    return g.op("Less", g.op("Abs", x), number(g, 0.5, x))


@rule("expm1")
def expm1(g: Graph, pair: Pair, value: Value) -> str:
    """exp(x) - 1, and near 0, where that cancels, 2 t / (1 - t) with t = tanh(x / 2)."""
    x = _single(g, value)
    t = g.op("Tanh", g.op("Mul", x, number(g, 0.5, x)))
    near = g.op("Div", g.op("Mul", t, number(g, 2, x)), g.op("Sub", number(g, 1, x), t))
    far = g.op("Sub", g.op("Exp", x), number(g, 1, x))
    return g.cast(g.op("Where", _near_zero(g, x), near, far), value.dtype)


@rule("log1p")
def log1p(g: Graph, pair: Pair, value: Value) -> str:
    """log(1 + x), and near 0, where the sum rounds x away, 2 atanh(x / (x + 2))."""
    x = _single(g, value)
    ratio = g.op("Div", x, g.op("Add", x, number(g, 2, x)))
    near = g.op("Mul", g.op("Atanh", ratio), number(g, 2, x))
    far = g.op("Log", g.op("Add", x, number(g, 1, x)))
    return g.cast(g.op("Where", _near_zero(g, x), near, far), value.dtype)


def _single(g: Graph, x: Value) -> str:
    """``x``, or half precision in float32: several roundings would be more than one."""
    return g.cast(x, dtypes.float32) if x.dtype in (dtypes.float16, dtypes.bfloat16) else x.name


@rule("erfc")
def erfc(g: Graph, pair: Pair, x: Value) -> str:
    """1 - erf(x): what is below the rounding of 1 is lost."""
    wide = _single(g, x)
    return g.cast(g.op("Sub", number(g, 1, wide), g.op("Erf", wide)), x.dtype)


@rule("atan2")
def atan2(g: Graph, pair: Pair, y: Value, x: Value) -> str:
    zero = number(g, 0, x)
    below, left = (g.op("Less", v, zero) for v in (y, x))
    half = g.op("Where", below, number(g, -math.pi / 2, x), number(g, math.pi / 2, x))
    on_axis = g.op("Equal", x, zero)
    angle = g.op("Atan", g.op("Div", y, g.op("Where", on_axis, number(g, 1, x), x)))
    turned = g.op("Add", angle, g.op("Where", below, number(g, -math.pi, x), number(g, math.pi, x)))
    vertical = g.op("Where", g.op("Equal", y, zero), zero, half)
    return g.op("Where", on_axis, vertical, g.op("Where", left, turned, angle))


# -- comparison and logic ----------------------------------------------------------------------------------------------


@rule("eq")
def eq(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    return g.op("Equal", x, y)


@rule("ne")
def ne(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    return g.op("Not", g.op("Equal", x, y))


@rule("lt", "le", "gt", "ge")
def compare(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    kind = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}[pair.name]
    return g.op(kind, x, y)


@rule("is_finite")
def is_finite(g: Graph, pair: Pair, x: Value) -> str:
    strange = g.op("Or", g.op("IsNaN", x), g.op("IsInf", _single(g, x)))
    return g.op("Not", strange)


@rule("not", "and", "or", "xor")
def logic(g: Graph, pair: Pair, *values: Value) -> str:
    kind = pair.name.capitalize()
    return g.op(kind if is_bool(pair.dtype) else f"Bitwise{kind}", *values)


@rule("shift_left", "shift_right")
def shift(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    """ONNX shifts unsigned numbers, by less than their width. A negative x shifted right is ~(~x >> y)."""
    width = 8 * x.dtype.itemsize
    unsigned = dtypes.as_dtype(f"uint{width}")
    zero = number(g, 0, x)
    inside = g.op("Less", y, number(g, width, y))
    inside = g.op("And", inside, g.op("GreaterOrEqual", y, zero))
    by = g.cast(g.op("Where", inside, y, zero), unsigned)

    def moved(v: Value | str, direction: str) -> str:
        shifted = g.op("BitShift", g.cast(v, unsigned), by, direction=direction)
        return g.op("Where", inside, g.cast(shifted, x.dtype), zero)

    if pair.name == "shift_left":
        return moved(x, "LEFT")
    if x.dtype in dtypes.UNSIGNED:
        return moved(x, "RIGHT")
    negative = g.op("Less", x, zero)
    flipped = g.op("BitwiseNot", moved(g.op("BitwiseNot", x), "RIGHT"))
    return g.op("Where", negative, flipped, moved(x, "RIGHT"))


# -- selection and conversion ------------------------------------------------------------------------------------------


@rule("select")
def select(g: Graph, pair: Pair, condition: Value, x: Value, y: Value) -> str:
    if _is_relu(*pair.first.args):
        return g.op("Relu", y)
    return where(g, condition, x, y)


def where(g: Graph, condition: Value | str, x: Value | str, y: Value | str) -> str:
    """Where, and for bools, which ONNX Runtime does not select, the logic of it."""
    if not is_bool(g.dtypes[x if isinstance(x, str) else x.name]):
        return g.op("Where", condition, x, y)
    return g.op("Or", g.op("And", condition, x), g.op("And", g.op("Not", condition), y))


def _is_relu(condition: Node, x: Node, y: Node) -> bool:
    """Whether it is ``select(y <= 0, 0, y)``, as which ``hb.nn.relu`` is written."""
    if condition.primitive is not LE or condition.args[0] is not y or not is_floating(y.dtype):
        return False
    return y.shape == condition.shape and _is_zero(x) and _is_zero(condition.args[1])


def _is_zero(x: Node) -> bool:
    return x.primitive is CONSTANT and x.spec.size == 1 and not dict(x.attrs)["value"].array.any()


@rule("cast")
def cast(g: Graph, pair: Pair, x: Value) -> str:
    """Beyond the range of an integer dtype ONNX leaves open what a float becomes; the row saturates."""
    to: DType = pair.attrs["dtype"]
    if is_complex(x.dtype) or is_complex(to):
        raise ExportError(f"cast from {x.dtype.name} to {to.name} cannot be exported: {NO_COMPLEX}.")
    attrs: dict[str, Any] = {"saturate": 0} if to in dtypes.STORAGE_ONLY else {}
    return g.cast(x, to, **attrs)
