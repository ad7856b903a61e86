"""Padding: more elements around an array's, by the modes that NumPy has."""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base.spec import as_dim
from hornbeam.errors import ShapeError
from hornbeam.ir.primitives.movement import PAD
from hornbeam.ops import math, reductions
from hornbeam.ops.arguments import static
from hornbeam.ops.array import broadcast_to, concat, flip, take_static
from hornbeam.ops.creation import linspace
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = ["pad"]

_PLACES = ("reflect", "symmetric", "edge", "wrap")  # elements of the array again
_STATISTICS = {
    "maximum": reductions.max,
    "minimum": reductions.min,
    "mean": reductions.mean,
    "median": reductions.median,
}
MODES = ("constant", *_PLACES, *_STATISTICS, "linear_ramp", "empty")


@op
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """``x`` with more elements before and after those along each axis.

    Args:
        pad_width: ``(before, after)`` for each axis, or one pair (or number) for all.
        mode: ``constant``; ``reflect`` and ``symmetric`` mirror, without and with the edge; ``edge`` repeats it;
            ``wrap`` continues from the other end; ``linear_ramp`` goes down to 0 in equal steps; ``maximum``,
            ``minimum``, ``mean`` and ``median`` are those along the axis, rounded for integers; ``empty`` promises
            nothing.
        constant_values: what ``constant`` pads with.

    Raises:
        ValueError: There is no such mode.
        ShapeError: A width is negative, or an axis is empty and there is nothing to go on with.
    """
    x = as_tensor(x)
    widths = np.broadcast_to(static(pad_width, "the padding", "give the widths as Python ints"), (x.ndim, 2)).tolist()
    if any(as_dim(w) < 0 for pair in widths for w in pair):
        raise ShapeError(f"pad: widths must not be negative, got {widths}.\n  Fix: cut with a slice, x[1:-1].")
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(MODES)}, got {mode!r}.")
    if mode in ("constant", "empty"):
        before, after = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
        value = as_tensor(constant_values).astype(x.dtype)
        if value.shape:
            raise ShapeError(f"pad: constant_values must be one number, got shape {value.shape}.")
        return PAD(x, value, before=before, after=after, between=(0,) * x.ndim) if any(before + after) else x
    # Axis after axis, each with what the earlier ones were padded with: the corners follow from both.
    for axis, (before, after) in enumerate(widths):
        if not before + after:
            continue
        if x.shape[axis] == 0:
            raise ShapeError(f"pad: axis {axis} of {x.shape} is empty, there is nothing to {mode}.")
        if mode in _PLACES:
            places = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            x = take_static(x, places, axis)
        elif mode == "linear_ramp":
            first, last = (take_static(x, np.array([i]), axis) for i in (0, x.shape[axis] - 1))
            x = concat([_ramp(first, before, axis), x, flip(_ramp(last, after, axis), axis)], axis)
        else:
            value = _STATISTICS[mode](x, axis=axis, keepdims=True)
            value = (math.round(value) if x.dtype.kind in "iu" else value).astype(x.dtype)
            x = concat([_repeated(value, before, axis), x, _repeated(value, after, axis)], axis)
    return x


def _ramp(edge: Any, count: int, axis: int) -> Any:
    """``count`` steps along ``axis`` from 0 up to ``edge``, which is left out."""
    return linspace(0, edge.reshape(edge.shape[:axis] + edge.shape[axis + 1 :]), count, False, False, edge.dtype, axis)


def _repeated(value: Any, count: int, axis: int) -> Any:
    return broadcast_to(value, (*value.shape[:axis], count, *value.shape[axis + 1 :]))
