"""The native engine's math library: every function as explicit vector code, the same bits at every width.

Here are the table of functions and the handler that emits them; the files hold the functions, by kind.

``VectorScalars`` is the ScalarHandler over an ``llvm.Function``: running a row's ``code`` under it emits machine code.
Formulas are written with ``Lanes``, a Value with operators. Polynomials use fused multiply-adds, also where a lane
stands alone, so that a scalar tail gives the bits of the vector loop. Coefficients were fitted for these intervals
with mpmath (weighted least squares at Chebyshev nodes, reweighted towards the minimax solution, each coefficient
rounded to the format before the next was fitted).

The largest errors, which ``ACCURACY`` in the tests asserts, are 0.5 ulp for sqrt, cbrt and float32 pow, 0.9 for exp,
log and the inverse hyperbolic functions, 1.3 for asin, acos, erf, erfc, tan and float64 pow, 1.9 for the others, in
samples of the whole range, far angles and subnormal numbers too. float64 erf_inv is within 3 ulp, lgamma within 4
for positive numbers; lgamma of negative numbers within 6 ulp and digamma within 16 of the result or of 1, whichever is
larger.

A function marked ``wide`` computes float32 in float64 and rounds once. Half precision computes in float32 and rounds
once a function, as the reference does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import HALF, SUPPORTED, Function, Value
from hornbeam.engines.native.mathlib.arithmetic import (
    absolute,
    extremum,
    floordiv,
    is_finite,
    mod,
    nextafter,
    shift_left,
    shift_right,
    sign,
)
from hornbeam.engines.native.mathlib.exponential import cosh, exp, expm1, logistic, sinh, tanh
from hornbeam.engines.native.mathlib.lanes import Lanes
from hornbeam.engines.native.mathlib.logarithm import acosh, asinh, atanh, log, log1p
from hornbeam.engines.native.mathlib.power import cbrt, integer_power, power, rsqrt
from hornbeam.engines.native.mathlib.special import ERF_INV32, digamma, erf, erf_inv, erfc, lgamma
from hornbeam.engines.native.mathlib.trigonometric import acos, asin, atan, atan2, cos, sin, tan

BITS = (dtypes.bool_, *dtypes.INTEGERS)
REAL = (*dtypes.INTEGERS, *dtypes.FLOATS)


class Entry(NamedTuple):
    """How a function is emitted. ``wide``: float32 computes in float64 by this; ``exact``: half precision as it is."""

    emit: Callable[..., Lanes]
    accepts: tuple[DType, ...] = dtypes.FLOATS
    wide: Callable[..., Lanes] | None = None
    exact: bool = False


def _in_double(emit: Callable[..., Lanes]) -> Entry:
    return Entry(emit, wide=emit)


FUNCTIONS: dict[str, Entry] = {
    "abs": Entry(absolute, REAL),
    "sign": Entry(sign, REAL),
    "floor": Entry(lambda x: x.unary("floor")),
    "ceil": Entry(lambda x: x.unary("ceil")),
    "trunc": Entry(lambda x: x.unary("trunc")),
    "round": Entry(lambda x: x.unary("roundeven")),
    "max": Entry(extremum("max"), REAL, exact=True),
    "min": Entry(extremum("min"), REAL, exact=True),
    "is_finite": Entry(is_finite),
    "nextafter": Entry(nextafter, exact=True),
    "sqrt": Entry(lambda x: x.sqrt()),
    "rsqrt": Entry(rsqrt, exact=True),
    "cbrt": Entry(cbrt),
    "pow": Entry(lambda x, y: (power if dtypes.is_floating(x.dtype) else integer_power)(x, y), REAL),
    "exp": Entry(exp),
    "expm1": Entry(expm1),
    "log": Entry(log),
    "log1p": Entry(log1p),
    "logistic": Entry(logistic),
    "sinh": Entry(sinh),
    "cosh": Entry(cosh),
    "tanh": Entry(tanh),
    "asinh": Entry(asinh),
    "acosh": Entry(acosh),
    "atanh": Entry(atanh),
    "sin": Entry(sin),
    "cos": Entry(cos),
    "tan": Entry(tan),
    "asin": Entry(asin),
    "acos": Entry(acos),
    "atan": Entry(atan),
    "atan2": Entry(atan2),
    "erf": Entry(erf),
    "erfc": Entry(erfc),
    "erf_inv": Entry(erf_inv, wide=lambda x: erf_inv(x, ERF_INV32)),
    "lgamma": _in_double(lgamma),
    "digamma": _in_double(digamma),
    "floordiv": Entry(floordiv, REAL),
    "mod": Entry(mod, REAL),
    "not": Entry(lambda x: ~x, BITS),
    "and": Entry(lambda x, y: x & y, BITS),
    "or": Entry(lambda x, y: x | y, BITS),
    "xor": Entry(lambda x, y: x ^ y, BITS),
    "shift_left": Entry(shift_left, dtypes.INTEGERS),
    "shift_right": Entry(shift_right, dtypes.INTEGERS),
}

# Rows whose code is the handler's own methods.
METHODS: dict[str, tuple[DType, ...]] = {
    "add": REAL, "sub": REAL, "mul": REAL, "neg": REAL, "div": dtypes.FLOATS,
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "select", "cast", "bitcast"), (dtypes.bool_, *REAL)),
}  # fmt: skip


def supports(name: str, dtype: DType) -> bool:
    """Whether the map row ``name`` on operands of ``dtype`` has native code."""
    accepted = METHODS.get(name) or (FUNCTIONS[name].accepts if name in FUNCTIONS else ())
    return dtype in accepted and dtype.name in SUPPORTED


class VectorScalars:
    """The ScalarHandler that emits: every operation appends instructions to ``function``."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def constant(self, value: Any, like: Value) -> Value:
        return self.function.constant(value, like.dtype, like.width)

    def add(self, x: Value, y: Value) -> Value:
        return self.function.add(x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self.function.sub(x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self.function.mul(x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self.function.div(x, y)

    def neg(self, x: Value) -> Value:
        return self.function.neg(x)

    def compare(self, op: str, x: Value, y: Value) -> Value:
        return self.function.compare(op, x, y)

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return self.function.select(condition, x, y)

    def cast(self, x: Value, dtype: DType) -> Value:
        return self.function.cast(x, dtype)

    def call(self, name: str, *xs: Value) -> Value:
        f = self.function
        if name.startswith("bitcast_"):
            dtype = dtypes.as_dtype(name.removeprefix("bitcast_"))
            return f.cast(xs[0], dtype) if xs[0].dtype == dtypes.bool_ else f.bitcast(xs[0], dtype)
        entry = FUNCTIONS[name]
        dtype = xs[0].dtype
        lanes = [Lanes(f, x) for x in f.alike(*xs)]
        emit = entry.emit
        if dtype in HALF and not entry.exact:
            lanes = [x.cast(dtypes.float32) for x in lanes]
        if entry.wide and lanes[0].dtype == dtypes.float32:
            emit, lanes = entry.wide, [x.cast(dtypes.float64) for x in lanes]
        result = emit(*lanes)
        if result.dtype == dtypes.bool_:
            return result.v
        return result.cast(dtypes.float32).cast(dtype).v if result.dtype != dtype else result.v
