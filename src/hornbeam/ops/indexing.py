"""Choosing elements: by a condition, by their places, and as blocks."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axis, as_shape
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives import index as indexing
from hornbeam.ir.primitives.arith import SELECT
from hornbeam.ir.primitives.index import (
    DYNAMIC_SLICE,
    DYNAMIC_UPDATE_SLICE,
    GATHER,
    SCATTER,
    wide_indices,
    wrap_negative,
)
from hornbeam.ir.primitives.movement import SLICE
from hornbeam.ops.arguments import known, meeting, numeric, operand, static, truth
from hornbeam.ops.creation import filled
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "where", "select", "take", "take_along_axis", "unravel_index", "gather_nd", "scatter_nd", "slice", "slice_update",
]  # fmt: skip


@op
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """``x`` where the condition holds, ``y`` elsewhere. With the condition alone, see ``nonzero``."""
    if x is None and y is None:
        from hornbeam.ops.sorting import nonzero  # above this module

        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("where takes both x and y, or neither.")
    return SELECT(truth(condition), *meeting(x, y))


@op
def select(conditions: Sequence[Any], choices: Sequence[Any], default: Any = 0) -> Any:
    """The choice of the first condition that holds, ``default`` where none does."""
    if len(conditions) != len(choices) or not choices:
        raise ShapeError(f"select: as many conditions as choices are needed, got {len(conditions)} and {len(choices)}.")
    *values, out = meeting(*(operand(c) for c in choices), default)
    for condition, value in reversed(list(zip(conditions, values, strict=True))):
        out = SELECT(truth(condition), value, out)
    return out


@op
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The elements (or slices along ``axis``) at ``indices``, whose shape takes the place of the axis.

    Negative indices count from the end; what is out of range is clamped. With ``axis`` None of ``x`` as a vector.
    """
    x, at = as_tensor(x), as_tensor(indices)
    if not dtypes.is_integer(at.dtype):
        raise DTypeError(f"take: indices must be integers, got {at.dtype.name}. Cast them: hb.cast(i, 'int32').")
    if axis is None:
        x, axis = x.reshape((x.size,)), 0
    axis = as_axis(axis, x.ndim)
    at = wrap_negative(at, x.shape[axis])
    return GATHER(x, at.reshape((*at.shape, 1)), axis=axis)


@op
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Any:
    """The elements at ``indices`` along ``axis``, line by line; the other axes are broadcast.

    Negative indices count from the end; what is out of range is clamped. With ``axis`` None of ``x`` as a vector.
    """
    x, at = as_tensor(x), as_tensor(indices)
    if axis is None:
        x, axis = x.reshape((x.size,)), 0
    return indexing.take_along_axis(x, at, axis)


@op
def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Places in C order as indices for each axis of ``shape``."""
    at, dims = as_tensor(indices), as_shape(shape)
    at = wrap_negative(at, math.prod(dims))
    out = []
    for d in reversed(dims):
        out.append(at % d)
        at = at // d
    return tuple(reversed(out))


@op
def gather_nd(x: Any, indices: Any) -> Any:
    """Elements at ``indices`` [..., k] of the first k axes; the other axes go along. Clamped where out of range."""
    x, at = as_tensor(x), as_tensor(indices)
    return GATHER(x, _counted_from_front(at, x.shape), axis=0)


@op
def scatter_nd(indices: Any, updates: Any, shape: Any) -> Any:
    """Zeros of ``shape`` with ``updates`` added at ``indices`` [..., k] of the first k axes."""
    values = as_tensor(updates)
    dims = as_shape(shape)
    at = _counted_from_front(as_tensor(indices), dims)
    bools = values.dtype == dtypes.bool_
    out = SCATTER(filled(dims, 0, numeric(values).dtype), at, numeric(values), axis=0, mode="add")
    return out != 0 if bools else out


@op
def scatter_update(x: Any, indices: Any, updates: Any, mode: str = "set") -> Any:
    """``x`` with ``updates`` written (or combined: add, mul, min, max) at ``indices`` [..., k] of its first k axes."""
    x = as_tensor(x)
    at = _counted_from_front(as_tensor(indices), x.shape)
    return SCATTER(x, at, as_tensor(updates).astype(x.dtype), axis=0, mode=mode)


def _counted_from_front(at: Any, dims: tuple[int, ...]) -> Any:
    if not at.ndim or at.dtype in dtypes.UNSIGNED:
        return at
    at = wide_indices(at, max(dims, default=0))
    sizes = constant(np.asarray(dims[: at.shape[-1]], at.dtype))
    return SELECT(at < 0, at + sizes, at)


@op
def slice(x: Any, starts: Any, sizes: Any) -> Any:
    """The block of ``sizes`` that begins at ``starts``, which may be tensors; it is moved inside if it sticks out.

    A size of -1 means to the end (known starts only).
    """
    x = as_tensor(x)
    first = _starts(starts)
    lengths = []
    for n, start, length in zip(x.shape, first, sizes, strict=True):
        length = operator.index(length)
        if length < 0:
            length = n - int(static(start, "where a slice to the end starts", "give its size"))
        lengths.append(length)
    if all(isinstance(s, int) for s in first):
        begin = tuple(min(max(s, 0), n - d) for s, n, d in zip(first, x.shape, lengths, strict=True))
        limits = tuple(s + d for s, d in zip(begin, lengths, strict=True))
        return SLICE(x, starts=begin, limits=limits, strides=(1,) * x.ndim)
    return DYNAMIC_SLICE(x, *(as_tensor(s) for s in first), sizes=tuple(lengths))


@op
def slice_update(x: Any, starts: Any, updates: Any) -> Any:
    """``x`` with the block ``updates`` written at ``starts``; the block is moved inside if it sticks out."""
    x = as_tensor(x)
    return DYNAMIC_UPDATE_SLICE(x, as_tensor(updates).astype(x.dtype), *(as_tensor(s) for s in _starts(starts)))


def _starts(starts: Any) -> list[Any]:
    """Starts as Python ints where they are known, else as scalars."""
    if hasattr(starts, "shape") and not known(starts):
        return list(as_tensor(starts))
    return [int(static(s, "", "")) if known(s) else as_tensor(s) for s in starts]
