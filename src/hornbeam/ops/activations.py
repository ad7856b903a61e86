"""Activation functions: elementwise ones, and the softmax family along an axis.

Each is written so that it neither overflows nor loses its small values, and so that its gradient is right everywhere: a
branch that is not taken gets an argument at which it is harmless, and where both branches of a smooth function meet,
both are analytic, so that second derivatives are right there too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hornbeam.base.spec import as_axes, as_axis
from hornbeam.errors import ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import (
    ABS,
    ERFC,
    EXP,
    EXPM1,
    LOG,
    LOG1P,
    LOGISTIC,
    SELECT,
    SQRT,
    TANH,
    scalar,
)
from hornbeam.ir.primitives.index import sort
from hornbeam.ir.primitives.movement import STOP_GRADIENT
from hornbeam.ir.primitives.reduce import CUMSUM, REDUCE_MAX, kept_shape
from hornbeam.ops.arguments import inexact
from hornbeam.ops.creation import ones_like, zeros_like
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor


def clamp(x: Any, low: float, high: float) -> Any:
    """``x`` moved into [low, high]. At the ends the gradient is still 1; NaN stays."""
    return SELECT(x < low, scalar(low, x), SELECT(x > high, scalar(high, x), x))


# -- the rectifiers --------------------------------------------------------------------------------------------------


@op
def relu(x: Any) -> Any:
    """max(x, 0), with gradient 0 at 0; NaN stays."""
    x = as_tensor(x)
    return SELECT(x <= 0, scalar(0, x), x)


@op
def relu6(x: Any) -> Any:
    """``x`` cut off below 0 and above 6, with gradient 0 at both."""
    x = as_tensor(x)
    return SELECT(x <= 0, scalar(0, x), SELECT(x >= 6, scalar(6, x), x))


@op
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """``x`` where positive, ``negative_slope * x`` elsewhere."""
    x = inexact(x)
    return SELECT(x > 0, x, x * negative_slope)


@op
def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere."""
    x = inexact(x)
    positive = x > 0
    return SELECT(positive, x, EXPM1(SELECT(positive, scalar(0, x), x)) * alpha)


@op
def celu(x: Any, alpha: float = 1.0) -> Any:
    """``elu`` with a continuous slope for every ``alpha``: ``alpha * (exp(x / alpha) - 1)`` below 0."""
    x = inexact(x)
    positive = x > 0
    return SELECT(positive, x, EXPM1(SELECT(positive, scalar(0, x), x) / alpha) * alpha)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@op
def selu(x: Any) -> Any:
    """``elu`` scaled so that mean 0 and variance 1 are a fixed point of a deep network."""
    return elu(x, SELU_ALPHA) * SELU_SCALE


@op
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """``x`` where it exceeds ``threshold``, ``default_value`` elsewhere."""
    x = as_tensor(x)
    return SELECT(x > threshold, x, as_tensor(default_value, x.dtype))


# -- the sigmoids ----------------------------------------------------------------------------------------------------


@op
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return LOGISTIC(inexact(x))


@op
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return TANH(inexact(x))


@op
def softplus(x: Any) -> Any:
    """log(1 + exp(x)); its derivative is ``sigmoid``."""
    x = inexact(x)
    positive = x > 0
    return SELECT(positive, x, scalar(0, x)) + LOG1P(EXP(SELECT(positive, -x, x)))


@op
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), also where sigmoid(x) rounds to 0."""
    return -softplus(-inexact(x))


@op
def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish."""
    x = inexact(x)
    return x * LOGISTIC(x)


@op
def gelu(x: Any, approximate: bool = True) -> Any:
    """``x`` times the normal distribution's probability of being below it; ``approximate`` by a tanh."""
    x = inexact(x)
    if approximate:
        # (1 + tanh(u)) / 2 is sigmoid(2u), which keeps its precision in the tail.
        return x * LOGISTIC((x + x * x * x * 0.044715) * (2 * math.sqrt(2 / math.pi)))
    return x * ERFC(x * -math.sqrt(0.5)) * 0.5


@op
def hard_sigmoid(x: Any) -> Any:
    """relu6(x + 3) / 6, a sigmoid of straight lines."""
    return relu6(inexact(x) + 3) / 6


@op
def hard_silu(x: Any) -> Any:
    """x * hard_sigmoid(x)."""
    x = inexact(x)
    return x * hard_sigmoid(x)


@op
def hard_tanh(x: Any) -> Any:
    """``x`` moved into [-1, 1]."""
    x = as_tensor(x)
    return clamp(x, 0 if x.dtype.kind == "u" else -1, 1)


@op
def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    x = inexact(x)
    return x / (ABS(x) + 1)


@op
def sparse_plus(x: Any) -> Any:
    """A softplus that is exactly 0 below -1 and ``x`` above 1, with a parabola between."""
    x = inexact(x)
    inner = clamp(x, -1, 1) + 1
    return SELECT(x >= 1, x, inner * inner * 0.25)


@op
def sparse_sigmoid(x: Any) -> Any:
    """A sigmoid that is exactly 0 below -1 and 1 above 1, with a line between; the derivative of ``sparse_plus``."""
    return clamp(inexact(x), -1, 1) * 0.5 + 0.5


@op
def squareplus(x: Any, b: float = 4) -> Any:
    """(x + sqrt(x² + b)) / 2, a relu with a round corner; without cancellation for negative ``x``."""
    x = inexact(x)
    negative = x < 0
    total = SQRT(x * x + b) + SELECT(negative, -x, x)
    safe = SELECT(negative, total, scalar(1, x))
    return SELECT(negative, b / safe, total) * 0.5


# -- the shrinkers -----------------------------------------------------------------------------------------------------


@op
def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    x = inexact(x)
    return x - TANH(x)


@op
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x`` moved towards 0 by ``threshold``, and 0 if it is nearer than that."""
    x = inexact(x)
    return SELECT(x > threshold, x - threshold, SELECT(x < -threshold, x + threshold, scalar(0, x)))


@op
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """``x``, and 0 if it is no further than ``threshold`` from 0."""
    x = inexact(x)
    return SELECT(ABS(x) > threshold, x, scalar(0, x))


# -- along an axis -----------------------------------------------------------------------------------------------------


@op
def glu(x: Any, axis: int = -1) -> Any:
    """The first half of ``x`` along ``axis``, gated by the sigmoid of the second.

    Raises ShapeError if the axis has an odd size.
    """
    x = inexact(x)
    axis = as_axis(axis, x.ndim)
    size = x.shape[axis]
    if size % 2:
        raise ShapeError(f"glu: axis {axis} of {tuple(x.shape)} must have an even size, half values and half gates.")
    lead = (slice(None),) * axis
    return x[(*lead, slice(0, size // 2))] * LOGISTIC(x[(*lead, slice(size // 2, size))])


def shifted(x: Any, axes: tuple[int, ...]) -> Any:
    """``x`` less its maximum along ``axes``, so that its exponentials cannot overflow. The shift has no gradient."""
    top = STOP_GRADIENT(REDUCE_MAX(STOP_GRADIENT(x), axes=axes))
    return x - top.reshape(kept_shape(tuple(x.shape), axes))


@op
def softmax(x: Any, axis: Any = -1) -> Any:
    """Exponentials divided by their sum along ``axis``: an int, several of them, or None for all."""
    x = inexact(x)
    axes = as_axes(axis, x.ndim)
    if x.size == 0 or not axes:
        return ones_like(x)
    e = EXP(shifted(x, axes))
    return e * (1.0 / e.sum(axes, keepdims=True))  # one division for all of them


@op
def log_softmax(x: Any, axis: Any = -1) -> Any:
    """log(softmax(x)), also where the softmax rounds to 0."""
    x = inexact(x)
    axes = as_axes(axis, x.ndim)
    if x.size == 0 or not axes:
        return zeros_like(x)
    x = shifted(x, axes)
    return x - LOG(EXP(x).sum(axes, keepdims=True))


@op
def sparsemax(x: Any, axis: int = -1) -> Any:
    """The nearest point of the probability simplex along ``axis``: like softmax, with exact zeros.

    Martins and Astudillo, "From Softmax to Sparsemax", 2016.
    """
    x = inexact(x)
    axis = as_axis(axis, x.ndim)
    ordered = sort(STOP_GRADIENT(x), axis, descending=True)
    counts = np.arange(1, x.shape[axis] + 1).astype(x.dtype).reshape([-1] + [1] * (x.ndim - axis - 1))
    inside = ordered * constant(counts) + 1 > CUMSUM(ordered, axis=axis, reverse=False)
    size = inside.astype(x.dtype).sum(axis, keepdims=True)
    least = (SELECT(inside, ordered, scalar(0, x)).sum(axis, keepdims=True) - 1) / size

    # The support is found; given it the result is linear in x, and so is the gradient.
    support = STOP_GRADIENT(x) > least
    members = SELECT(support, x, scalar(0, x))
    cut = (members.sum(axis, keepdims=True) - 1) / size
    return SELECT(support, x - cut, scalar(0, x))
