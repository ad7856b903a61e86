"""Cross-entropies, from probabilities or, stably, from logits. And how well an image was restored."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axis
from hornbeam.errors import ShapeError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import EXP, LOG, LOG1P, SELECT, scalar
from hornbeam.ops.activations import clamp, log_softmax, shifted
from hornbeam.ops.arguments import inexact
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor


def _check_same(name: str, target: Any, output: Any) -> None:
    if tuple(target.shape) != tuple(output.shape):
        raise ShapeError(
            explain(
                f"{name}: target {tuple(target.shape)} and output {tuple(output.shape)} must have the same shape.",
                why="Labels often lack the last axis, or are class numbers where probabilities are expected.",
                fix="target[:, None], hb.one_hot(target, classes), or sparse_categorical_crossentropy",
            )
        )


def _probabilities(output: Any, axis: int, epsilon: float) -> Any:
    """Probabilities that sum to 1 and keep a distance from 0 and 1."""
    return clamp(output / output.sum(axis, keepdims=True), epsilon, 1 - epsilon)


@op
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False, epsilon: float = 1e-7) -> Any:
    """-(t log p + (1 - t) log(1 - p)) elementwise, where ``output`` is p or, ``from_logits``, log(p / (1 - p)).

    Probabilities are moved ``epsilon`` away from 0 and 1.
    """
    output = inexact(output)
    target = as_tensor(target).astype(output.dtype)
    _check_same("binary_crossentropy", target, output)
    if not from_logits:
        output = clamp(output, epsilon, 1 - epsilon)
        return -(target * LOG(output) + (1 - target) * LOG(1 - output))
    # softplus(x) - t x, the large terms first, so that what cancels does so exactly.
    positive = output > 0
    linear = SELECT(positive, output, scalar(0, output)) - output * target
    return linear + LOG1P(EXP(SELECT(positive, -output, output)))


@op
def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1, epsilon: float = 1e-7
) -> Any:
    """-sum(t log p) along ``axis``; ``output`` is p (made to sum to 1) or, ``from_logits``, log p up to a constant."""
    output = inexact(output)
    target = as_tensor(target).astype(output.dtype)
    _check_same("categorical_crossentropy", target, output)
    if output.ndim < 1:
        raise ShapeError("categorical_crossentropy: target and output must have at least one axis, the classes.")
    axis = as_axis(axis, output.ndim)
    log_p = log_softmax(output, axis) if from_logits else LOG(_probabilities(output, axis, epsilon))
    return -(target * log_p).sum(axis)


@op
def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1, epsilon: float = 1e-7
) -> Any:
    """-log p of the class numbered ``target``, the classes of ``output`` being along ``axis``.

    ``target`` has the shape of ``output`` without that axis, or with 1 in the last place. What is no class gives 0.
    """
    output = inexact(output)
    target = as_tensor(target)
    target = target if dtypes.is_integer(target.dtype) and target.dtype.kind == "i" else target.astype(dtypes.int32)
    if output.ndim < 1:
        raise ShapeError("sparse_categorical_crossentropy: output must have at least one axis, the classes.")
    axis = as_axis(axis, output.ndim)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = target.reshape(tuple(target.shape[:-1]))
    others = tuple(d for i, d in enumerate(output.shape) if i != axis)
    if tuple(target.shape) != others:
        raise ShapeError(
            explain(
                f"sparse_categorical_crossentropy: target {tuple(target.shape)} must have the shape {others} of output "
                f"{tuple(output.shape)} without its axis {axis}.",
                why="Labels that are one-hot already belong in categorical_crossentropy.",
                fix="hb.argmax(target, -1), or categorical_crossentropy(target, output)",
            )
        )
    classes = output.shape[axis]
    numbers = constant(np.arange(classes).astype(target.dtype).reshape([-1] + [1] * (output.ndim - axis - 1)))
    hit = target.reshape((*others[:axis], 1, *others[axis:])) == numbers
    zero = scalar(0, output)
    if not from_logits:
        log_p = LOG(_probabilities(output, axis, epsilon))
        return -SELECT(hit, log_p, zero).sum(axis)
    output = shifted(output, (axis,))
    loss = LOG(EXP(output).sum(axis)) - SELECT(hit, output, zero).sum(axis)
    return SELECT((target >= 0) & (target < classes), loss, zero)


@op
def psnr(x1: Any, x2: Any, max_val: Any) -> Any:
    """The peak signal-to-noise ratio in decibels: 10 log10(max_val² / mean squared difference)."""
    x1, x2 = inexact(x1), inexact(x2)
    if tuple(x1.shape) != tuple(x2.shape):
        raise ShapeError(f"psnr: images {tuple(x1.shape)} and {tuple(x2.shape)} must have the same shape.")
    difference = x1 - x2
    mean = (difference * difference).mean()
    decibels = 10 / math.log(10)
    return LOG(as_tensor(max_val).astype(mean.dtype)) * (2 * decibels) - LOG(mean) * decibels
