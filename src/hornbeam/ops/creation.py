"""New tensors: constants, ranges, identity matrices, grids and windows."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axis, as_shape
from hornbeam.errors import ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import EXP, FLOOR, LOG, POW, SELECT
from hornbeam.ir.primitives.movement import BROADCAST, IOTA
from hornbeam.ops.arguments import meeting, meeting_inexact, scalar, static
from hornbeam.ops.op import op
from hornbeam.ops.special import i0
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "tensor", "zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like", "full_like",
    "arange", "linspace", "logspace", "geomspace", "eye", "identity", "tri", "vander", "meshgrid",
    "bartlett", "blackman", "hamming", "hanning", "kaiser",
]  # fmt: skip


@op
def tensor(x: Any, dtype: Any = None) -> Any:
    """``x`` (a number, nested list, array, tensor or variable) as a tensor.

    Without ``dtype`` Python ints become int32 and floats float32; arrays keep their dtype.
    """
    return as_tensor(x, dtype)


def filled(shape: Any, value: Any, dtype: Any) -> Any:
    """A tensor of ``shape`` whose elements all are the number ``value``."""
    shape = as_shape(shape)
    one = scalar(value, dtypes.as_dtype(dtype))
    return BROADCAST(one, shape=shape) if shape else one


@op
def zeros(shape: Any, dtype: Any = "float32") -> Any:
    """A tensor of zeros."""
    return filled(shape, 0, dtype)


@op
def ones(shape: Any, dtype: Any = "float32") -> Any:
    """A tensor of ones."""
    return filled(shape, 1, dtype)


@op
def empty(shape: Any, dtype: Any = "float32") -> Any:
    """A tensor whose contents do not matter; they are zeros."""
    return filled(shape, 0, dtype)


@op
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor filled with ``fill_value``, which is broadcast to ``shape``."""
    value = as_tensor(fill_value)
    value = value if dtype is None else value.astype(dtype)
    shape = as_shape(shape)
    return value if value.shape == shape else BROADCAST(value, shape=shape)


@op
def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape and dtype of ``x``."""
    x = as_tensor(x)
    return filled(x.shape, 0, dtype or x.dtype)


@op
def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of the shape and dtype of ``x``."""
    x = as_tensor(x)
    return filled(x.shape, 1, dtype or x.dtype)


@op
def empty_like(x: Any, dtype: Any = None) -> Any:
    """A tensor of the shape and dtype of ``x`` whose contents do not matter; they are zeros."""
    x = as_tensor(x)
    return filled(x.shape, 0, dtype or x.dtype)


@op
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor of the shape and dtype of ``x``, filled with ``fill_value``."""
    x = as_tensor(x)
    value = as_tensor(fill_value).astype(dtype or x.dtype)
    return value if value.shape == x.shape else BROADCAST(value, shape=x.shape)


# -- ranges --------------------------------------------------------------------------------------------------------


@op
def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """``start, start + step, ...`` below ``stop``; with one argument from 0 to it.

    Without ``dtype`` whole numbers give int32, others float32. Raises TracingError if a bound is symbolic.
    """
    start, stop = (0, start) if stop is None else (start, stop)
    step = 1 if step is None else step
    bounds = [x.item() if isinstance(x, np.generic) else x for x in (start, stop, step)]
    if dtype is None:
        dtype = dtypes.result_type(*(x if isinstance(x, (int, float)) else as_tensor(x) for x in bounds))
    dtype = dtypes.as_dtype(dtype)
    fix = "give the bounds as Python numbers, or slice a range of the largest length"
    first, last, by = (static(x, "a bound of arange", fix).item() for x in bounds)
    if by == 0:
        raise ShapeError("arange: the step must not be zero.")
    count = max(math.ceil((last - first) / by), 0)
    if not (dtypes.is_integer(dtype) and isinstance(first, int) and isinstance(by, int)):
        return constant((first + by * np.arange(count, dtype=np.float64)).astype(dtype))
    out = IOTA(shape=(count,), axis=0, dtype=dtype)
    out = out if by == 1 else out * by
    return out if first == 0 else out + first


@op
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    """``num`` evenly spaced values from ``start`` to ``stop``, which is the last one if ``endpoint``.

    Bounds may be tensors; they are broadcast, and ``axis`` of the result is the new one. ``retstep``: return
    ``(values, step)``. An integer ``dtype`` rounds down.
    """
    values, step = _spaced(start, stop, num, endpoint, axis)
    if dtype is not None:
        values = FLOOR(values) if dtypes.is_integer(dtypes.as_dtype(dtype)) else values
        values = values.astype(dtype)
    return (values, step) if retstep else values


def _number(num: Any) -> int:
    return operator.index(static(num, "how many values", "give it as a Python int").item())


def _spaced(start: Any, stop: Any, num: int, endpoint: bool, axis: int) -> tuple[Any, Any]:
    """The values of linspace, and its step (one NaN, as NumPy has it, if there is none)."""
    first, last = meeting_inexact(start, stop)
    num = _number(num)
    if num < 0:
        raise ShapeError(f"linspace: the number of values must not be negative, got {num}.")
    intervals = num - 1 if endpoint else num
    delta = last - first
    axis = as_axis(axis, delta.ndim + 1)
    counted = IOTA(shape=(num,) + (1,) * delta.ndim, axis=0, dtype=first.dtype)
    step = delta / intervals if intervals > 0 else filled((), math.nan, delta.dtype)
    out = first + counted * (step if intervals > 0 else delta)
    if endpoint and num > 1:  # exactly the last one, whatever the rounding
        ends = IOTA(shape=(num,) + (1,) * delta.ndim, axis=0, dtype=dtypes.int32) == num - 1
        out = SELECT(ends, last, out)
    order = list(range(1, out.ndim))
    order.insert(axis, 0)
    return out.transpose(order), step


@op
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10, dtype: Any = None, axis: int = 0
) -> Any:
    """``base`` to the power of ``num`` evenly spaced values from ``start`` to ``stop``."""
    out = POW(*meeting_inexact(base, _spaced(start, stop, num, endpoint, axis)[0]))
    return out if dtype is None else out.astype(dtype)


@op
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """``num`` values from ``start`` to ``stop`` of which each is the one before times the same factor.

    The bounds must not be zero and must have the same sign.
    """
    first, last = meeting_inexact(start, stop)
    num = _number(num)
    inner, _ = _spaced(scalar(0, first.dtype), LOG(last / first), num, endpoint, axis)
    axis = as_axis(axis, inner.ndim)
    scale = first if not first.ndim else BROADCAST(first, shape=inner.shape[:axis] + inner.shape[axis + 1 :])
    out = (scale.reshape((*scale.shape[:axis], 1, *scale.shape[axis:])) if scale.ndim else scale) * EXP(inner)
    if endpoint and num > 1:
        places = tuple(num if i == axis else 1 for i in range(out.ndim))
        ends = IOTA(shape=places, axis=axis, dtype=dtypes.int32) == num - 1
        stop_ = last if not last.ndim else last.reshape((*last.shape[:axis], 1, *last.shape[axis:]))
        out = SELECT(ends, stop_, out)
    return out if dtype is None else out.astype(dtype)


# -- matrices and grids --------------------------------------------------------------------------------------------


def offsets(rows: int, columns: int) -> Any:
    """int32 [rows, columns]: how far each element is right of the main diagonal."""
    across = IOTA(shape=(rows, columns), axis=1, dtype=dtypes.int32)
    return across - IOTA(shape=(rows, columns), axis=0, dtype=dtypes.int32)


@op
def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = "float32") -> Any:
    """A matrix [n, m] (m = n by default) with ones on its ``k``-th diagonal."""
    return (offsets(n, n if m is None else m) == k).astype(dtype)


@op
def identity(n: int, dtype: Any = "float32") -> Any:
    """The identity matrix [n, n]."""
    return (offsets(n, n) == 0).astype(dtype)


@op
def tri(n: int, m: int | None = None, k: int = 0, dtype: Any = "float32") -> Any:
    """A matrix [n, m] with ones on and below its ``k``-th diagonal."""
    return (offsets(n, n if m is None else m) <= k).astype(dtype)


@op
def vander(x: Any, n: int | None = None, increasing: bool = False) -> Any:
    """The Vandermonde matrix: powers of a vector as columns, falling from ``n - 1`` to 0 unless ``increasing``."""
    x = as_tensor(x)
    if x.ndim != 1:
        raise ShapeError(f"vander: a vector is needed, got shape {x.shape}.")
    x = x.astype(dtypes.int32) if x.dtype == dtypes.bool_ else x
    count = x.shape[0] if n is None else n
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return POW(x.reshape((-1, 1)), constant(powers.astype(x.dtype)))


@op
def meshgrid(*xs: Any, indexing: str = "xy") -> list[Any]:
    """The coordinates of a grid over vectors. ``xy`` swaps the first two axes of the result, ``ij`` does not."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}.")
    vectors = [as_tensor(x).reshape(-1) for x in xs]
    axes = list(range(len(vectors)))
    if indexing == "xy" and len(axes) > 1:
        axes[0], axes[1] = 1, 0
    shape = [0] * len(vectors)
    for v, axis in zip(vectors, axes, strict=True):
        shape[axis] = v.shape[0]
    return [
        BROADCAST(v.reshape(_along(axis, len(vectors), v.shape[0])), shape=tuple(shape))
        for v, axis in zip(vectors, axes, strict=True)
    ]


def _along(axis: int, rank: int, size: int) -> tuple[int, ...]:
    return tuple(size if i == axis else 1 for i in range(rank))


# -- windows -------------------------------------------------------------------------------------------------------


def _window(size: Any, dtype: Any, formula: Any) -> Any:
    """``formula`` of the positions 0 ... 1 of a window with ``size`` points; a single point is 1."""
    n = int(static(size, "the size of a window", "give it as a Python int"))
    at = np.arange(n) / (n - 1) if n > 1 else None
    return constant((np.ones(max(n, 0)) if at is None else formula(at)).astype(dtypes.as_dtype(dtype)))


def _cosines(*weights: float) -> Any:
    return lambda at: sum(w * np.cos(2 * math.pi * k * at) for k, w in enumerate(weights))


@op
def bartlett(size: int, dtype: Any = "float32") -> Any:
    """The triangular window with zeros at both ends."""
    return _window(size, dtype, lambda at: 1 - np.abs(2 * at - 1))


@op
def hanning(size: int, dtype: Any = "float32") -> Any:
    """The raised cosine window."""
    return _window(size, dtype, _cosines(0.5, -0.5))


@op
def hamming(size: int, dtype: Any = "float32") -> Any:
    """The raised cosine window on a pedestal of 0.08."""
    return _window(size, dtype, _cosines(0.54, -0.46))


@op
def blackman(size: int, dtype: Any = "float32") -> Any:
    """The window of three cosine terms."""
    return _window(size, dtype, _cosines(0.42, -0.5, 0.08))


@op
def kaiser(size: int, beta: Any, dtype: Any = "float32") -> Any:
    """The Kaiser window of shape ``beta``: 0 is a rectangle, larger values fall faster to the ends."""
    n = int(static(size, "the size of a window", "give it as a Python int"))
    if n <= 1:
        return filled((max(n, 0),), 1, dtype)
    (beta,) = meeting_inexact(beta)
    (at,) = meeting(np.sqrt(np.maximum(0, 1 - (2 * np.arange(n) / (n - 1) - 1) ** 2)), dtype=beta.dtype)
    return (i0(beta * at) / i0(beta)).astype(dtype)
