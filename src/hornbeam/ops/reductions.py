"""Reductions along axes (sums, extremes, statistics), with their NaN-ignoring forms, and running ones."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axes, as_axis
from hornbeam.errors import ShapeError
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives.arith import ABS, CONJ, EXP, LOG, MAX, MIN, REAL_, SELECT, SQRT
from hornbeam.ir.primitives.index import sort as sorted_along
from hornbeam.ir.primitives.index import take_along_axis
from hornbeam.ir.primitives.movement import BROADCAST, STOP_GRADIENT
from hornbeam.ir.primitives.reduce import (
    ARGMAX,
    ARGMIN,
    CUMPROD,
    CUMSUM,
    PROD,
    REDUCE_AND,
    REDUCE_MAX,
    REDUCE_MIN,
    REDUCE_OR,
    SUM,
    kept_shape,
)
from hornbeam.ops.arguments import (
    accumulator_dtype,
    inexact,
    meeting_inexact,
    numeric,
    scalar,
    truth,
    wide,
)
from hornbeam.ops.array import concat, moveaxis
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "sum", "prod", "max", "min", "all", "any", "argmax", "argmin", "count_nonzero", "ptp",
    "mean", "average", "var", "std", "logsumexp", "median", "quantile", "percentile",
    "nansum", "nanprod", "nanmax", "nanmin", "nanargmax", "nanargmin", "nanmean", "nanvar", "nanstd",
    "nanmedian", "nanquantile", "nanpercentile",
    "cumsum", "cumprod", "nancumsum", "nancumprod", "diff", "trapezoid",
]  # fmt: skip


def _reduce(primitive: Primitive, x: Any, axis: Any, keepdims: bool) -> Any:
    axes = as_axes(axis, x.ndim)
    out = primitive(x, axes=axes) if axes else x
    return out.reshape(kept_shape(x.shape, axes)) if keepdims else out


@op
def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The sum. Small integers are summed in 32 bits, half precision in float32 and rounded once."""
    x = as_tensor(x)
    return _reduce(SUM, x.astype(dtype or accumulator_dtype(x.dtype)), axis, keepdims)


@op
def prod(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The product. Small integers are multiplied in 32 bits."""
    x = as_tensor(x)
    return _reduce(PROD, x.astype(dtype or accumulator_dtype(x.dtype)), axis, keepdims)


def _extremum(name: str, rows: tuple[Primitive, Primitive, Primitive], doc: str) -> Callable[..., Any]:
    numbers, bools, pair = rows

    def reduce(x: Any, axis: Any = None, keepdims: bool = False, initial: Any = None) -> Any:
        x = as_tensor(x)
        axes = as_axes(axis, x.ndim)
        if initial is not None and x.size == 0:
            dims = kept_shape(x.shape, axes) if keepdims else tuple(d for i, d in enumerate(x.shape) if i not in axes)
            return BROADCAST(as_tensor(initial).astype(x.dtype), shape=dims)
        out = _reduce(bools if x.dtype == dtypes.bool_ else numbers, x, axes, keepdims)
        if initial is None:
            return out
        start = as_tensor(initial).astype(x.dtype)
        return bools_pair(out, start) if x.dtype == dtypes.bool_ else pair(out, start)

    def bools_pair(x: Any, y: Any) -> Any:
        return x | y if bools is REDUCE_OR else x & y

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = doc
    return op(reduce)


max = _extremum("max", (REDUCE_MAX, REDUCE_OR, MAX), "The largest element, at least ``initial``; NaN if there is one.")
min = _extremum("min", (REDUCE_MIN, REDUCE_AND, MIN), "The smallest element, at most ``initial``; NaN if there is one.")


@op
def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all elements are true (not zero)."""
    return _reduce(REDUCE_AND, truth(x), axis, keepdims)


@op
def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether an element is true (not zero)."""
    return _reduce(REDUCE_OR, truth(x), axis, keepdims)


def _position(primitive: Primitive, x: Any, axis: int | None, keepdims: bool) -> Any:
    rank = x.ndim
    flat = x.reshape((x.size,)) if axis is None else x
    at = 0 if axis is None else as_axis(axis, rank)
    out = primitive(flat, axis=at)
    if not keepdims:
        return out
    return out.reshape((1,) * rank if axis is None else kept_shape(x.shape, (at,)))


@op
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The int32 position of the first largest element (or the first NaN), by default in C order."""
    return _position(ARGMAX, as_tensor(x), axis, keepdims)


@op
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The int32 position of the first smallest element (or the first NaN), by default in C order."""
    return _position(ARGMIN, as_tensor(x), axis, keepdims)


@op
def count_nonzero(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """How many elements are not zero."""
    return _reduce(SUM, truth(x).astype(dtypes.int32), axis, keepdims)


@op
def ptp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest minus the smallest element."""
    x = numeric(x)
    return _reduce(REDUCE_MAX, x, axis, keepdims) - _reduce(REDUCE_MIN, x, axis, keepdims)


# -- statistics ----------------------------------------------------------------------------------------------------


def _count(x: Any, axis: Any) -> int:
    return math.prod(x.shape[i] for i in as_axes(axis, x.ndim))


def _mean(x: Any, axis: Any, keepdims: bool) -> Any:
    """Of a floating tensor that is wide enough."""
    return _reduce(SUM, x, axis, keepdims) / (_count(x, axis) or math.nan)


@op
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean; half precision is computed in float32."""
    x = inexact(x)
    return _mean(wide(x), axis, keepdims).astype(x.dtype)


@op
def average(x: Any, axis: Any = None, weights: Any = None, keepdims: bool = False) -> Any:
    """The mean weighted by ``weights``, which have the shape of ``x``, or of ``axis`` alone."""
    if weights is None:
        return mean(x, axis, keepdims)
    x, w = meeting_inexact(x, weights)
    if w.shape != x.shape:
        axes = as_axes(axis, x.ndim)
        if axis is None or w.shape != tuple(x.shape[i] for i in axes):
            raise ShapeError(f"average: weights {w.shape} must have the shape of x {x.shape}, or of the averaged axes.")
        w = w.reshape(tuple(d if i in axes else 1 for i, d in enumerate(x.shape)))
    wide_x, wide_w = wide(x), wide(w)
    total = _reduce(SUM, wide_w if w.shape == x.shape else BROADCAST(wide_w, shape=x.shape), axis, keepdims)
    return (_reduce(SUM, wide_x * wide_w, axis, keepdims) / total).astype(x.dtype)


def _variance(x: Any, axis: Any, keepdims: bool, ddof: float) -> Any:
    """In two passes: the mean of squares minus the square of the mean loses all digits where they are close."""
    deviation = x - _mean(x, axis, True)
    square = REAL_(deviation * CONJ(deviation)) if dtypes.is_complex(x.dtype) else deviation * deviation
    return _reduce(SUM, square, axis, keepdims) / ((_count(x, axis) - ddof) or math.nan)


@op
def var(x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    """The mean squared deviation from the mean (``ddof`` is taken off the count); half precision in float32."""
    x = inexact(x)
    return _variance(wide(x), axis, keepdims, ddof).astype(dtypes.real_dtype(x.dtype))


@op
def std(x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    """The square root of the variance."""
    x = inexact(x)
    return SQRT(_variance(wide(x), axis, keepdims, ddof)).astype(dtypes.real_dtype(x.dtype))


@op
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) without overflow."""
    x = inexact(x)
    axes = as_axes(axis, x.ndim)
    if not axes:
        return x
    if x.size == 0:
        return LOG(_reduce(SUM, EXP(x), axis, keepdims))
    top = STOP_GRADIENT(_reduce(REDUCE_MAX, x, axes, True))
    top = SELECT(ABS(top) < math.inf, top, scalar(0, x.dtype))  # all -inf: exp(x - 0) is 0, not NaN
    out = LOG(_reduce(SUM, EXP(x - top), axes, True)) + top
    return out if keepdims else out.reshape(tuple(d for i, d in enumerate(x.shape) if i not in axes))


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _lanes(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """The reduced axes joined as the last one, and the shape of the rest."""
    axes = as_axes(axis, x.ndim)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    dims = tuple(x.shape[i] for i in rest)
    return x.transpose(rest + axes).reshape((*dims, _count(x, axis))) if x.ndim else x.reshape((1,)), dims


def _quantile(x: Any, q: Any, axis: Any, method: str, keepdims: bool, *, ignore_nan: bool) -> Any:
    """Interpolated between the sorted elements of each lane, whose number is smaller if NaN is ignored."""
    if method not in _METHODS:
        raise ValueError(f"quantile: method must be one of {', '.join(_METHODS)}, got {method!r}.")
    x = inexact(x)
    work, dtype = wide(x), x.dtype
    lanes, dims = _lanes(work, axis)
    n = lanes.shape[-1]
    if n == 0:
        raise ShapeError(f"quantile: nothing to order, shape {x.shape} is empty along axis {axis}.")
    q = as_tensor(q).astype(work.dtype)
    q_shape = q.shape
    ordered = sorted_along(lanes, -1)
    last = ordered[..., -1:]
    if ignore_nan:
        count = _reduce(SUM, (ordered == ordered).astype(work.dtype), -1, True)
        span: Any = MAX(count - 1, scalar(0, work.dtype))
    else:
        span = scalar(n - 1, work.dtype)
    at = STOP_GRADIENT(span) * q.reshape((-1,))  # [..., q] or [q]
    floor, ceil, nearest = (_round(at, mode) for mode in ("floor", "ceil", "rint"))

    def read(position: Any) -> Any:
        index = position.astype(dtypes.int32)
        index = index if index.ndim == len(dims) + 1 else index.reshape((1,) * len(dims) + index.shape)
        return take_along_axis(ordered, index, -1)

    if method == "nearest":
        out = read(nearest)
    elif method == "lower":
        out = read(floor)
    elif method == "higher":
        out = read(ceil)
    else:
        low, high = read(floor), read(ceil)
        weight = at - floor if method == "linear" else SELECT(ceil > floor, scalar(0.5, at.dtype), scalar(0, at.dtype))
        # Equal ends first: their difference may be inf - inf.
        out = SELECT(low == high, low, low + SELECT(low == high, scalar(0, at.dtype), high - low) * weight)
    if not ignore_nan:
        out = SELECT(last != last, scalar(math.nan, work.dtype), out)
    if out.shape[:-1] != dims:
        out = BROADCAST(out, shape=(*dims, out.shape[-1]))
    out = moveaxis(out, -1, 0)
    shape = kept_shape(x.shape, as_axes(axis, x.ndim)) if keepdims else dims
    return out.reshape((*q_shape, *shape)).astype(dtype)


def _round(x: Any, how: str) -> Any:
    from hornbeam.ir.primitives import arith

    return {"floor": arith.FLOOR, "ceil": arith.CEIL, "rint": arith.ROUND}[how](x)


@op
def quantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """The values below which the fractions ``q`` of the elements lie; the axes of ``q`` come first in the result.

    method: between two elements ``linear``, ``lower``, ``higher``, ``midpoint`` or ``nearest``.
    """
    return _quantile(x, q, axis, method, keepdims, ignore_nan=False)


@op
def percentile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """``quantile`` with ``q`` in percent."""
    return _quantile(x, inexact(q) / 100, axis, method, keepdims, ignore_nan=False)


@op
def median(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The middle element, or the mean of the two middle ones."""
    return _quantile(x, 0.5, axis, "midpoint", keepdims, ignore_nan=False)


# -- ignoring NaN --------------------------------------------------------------------------------------------------


def _replaced(x: Any, value: Any) -> Any:
    """``x`` with NaN replaced."""
    return SELECT(x != x, scalar(value, x.dtype), x) if dtypes.is_inexact(x.dtype) else x


@op
def nansum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum of what is not NaN."""
    return sum(_replaced(as_tensor(x), 0), axis, keepdims)


@op
def nanprod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The product of what is not NaN."""
    return prod(_replaced(as_tensor(x), 1), axis, keepdims)


def _nan_extremum(name: str, reduce: Callable[..., Any], neutral: float, doc: str) -> Callable[..., Any]:
    def apply(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = as_tensor(x)
        if not dtypes.is_floating(x.dtype):
            return reduce(x, axis, keepdims)
        out = reduce(_replaced(x, neutral), axis, keepdims)
        nothing = _reduce(REDUCE_AND, x != x, axis, keepdims)
        return SELECT(nothing, scalar(math.nan, x.dtype), out)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return op(apply)


nanmax = _nan_extremum("nanmax", max, -math.inf, "The largest element that is not NaN; NaN if there is none.")
nanmin = _nan_extremum("nanmin", min, math.inf, "The smallest element that is not NaN; NaN if there is none.")


def _nan_position(primitive: Primitive, x: Any, axis: int | None, keepdims: bool, neutral: float) -> Any:
    x = as_tensor(x)
    out = _position(primitive, _replaced(x, neutral), axis, keepdims)
    if not dtypes.is_inexact(x.dtype):
        return out
    nothing = _reduce(REDUCE_AND, x != x, axis, keepdims)
    return SELECT(nothing, scalar(-1, out.dtype), out)


@op
def nanargmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the first largest element that is not NaN; -1 if there is none."""
    return _nan_position(ARGMAX, x, axis, keepdims, -math.inf)


@op
def nanargmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the first smallest element that is not NaN; -1 if there is none."""
    return _nan_position(ARGMIN, x, axis, keepdims, math.inf)


def _nan_mean(x: Any, axis: Any, keepdims: bool) -> tuple[Any, Any]:
    """The mean of what is not NaN, and how many that are (both for wide floating tensors)."""
    count = _reduce(SUM, (x == x).astype(x.dtype), axis, keepdims)
    return _reduce(SUM, _replaced(x, 0), axis, keepdims) / count, count


@op
def nanmean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean of what is not NaN; NaN if there is nothing."""
    x = inexact(x)
    return _nan_mean(wide(x), axis, keepdims)[0].astype(x.dtype)


def _nan_variance(x: Any, axis: Any, keepdims: bool, ddof: float) -> Any:
    centre, _ = _nan_mean(x, axis, True)
    deviation = SELECT(x != x, scalar(0, x.dtype), x - centre)
    square = REAL_(deviation * CONJ(deviation)) if dtypes.is_complex(x.dtype) else deviation * deviation
    real = dtypes.real_dtype(x.dtype)
    count = _reduce(SUM, (x == x).astype(real), axis, keepdims) - ddof
    return _reduce(SUM, square, axis, keepdims) / SELECT(count > 0, count, scalar(math.nan, real))


@op
def nanvar(x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    """The variance of what is not NaN."""
    x = inexact(x)
    return _nan_variance(wide(x), axis, keepdims, ddof).astype(dtypes.real_dtype(x.dtype))


@op
def nanstd(x: Any, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> Any:
    """The standard deviation of what is not NaN."""
    x = inexact(x)
    return SQRT(_nan_variance(wide(x), axis, keepdims, ddof)).astype(dtypes.real_dtype(x.dtype))


@op
def nanquantile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """``quantile`` of what is not NaN; NaN if there is nothing."""
    return _quantile(x, q, axis, method, keepdims, ignore_nan=True)


@op
def nanpercentile(x: Any, q: Any, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
    """``percentile`` of what is not NaN; NaN if there is nothing."""
    return _quantile(x, inexact(q) / 100, axis, method, keepdims, ignore_nan=True)


@op
def nanmedian(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The median of what is not NaN; NaN if there is nothing."""
    return _quantile(x, 0.5, axis, "midpoint", keepdims, ignore_nan=True)


# -- along an axis -------------------------------------------------------------------------------------------------


def _running(primitive: Primitive, x: Any, axis: int | None, dtype: Any, reverse: bool) -> Any:
    x = numeric(x) if dtype is None else as_tensor(x).astype(dtype)
    if axis is None:
        x, axis = x.reshape((x.size,)), 0
    return primitive(x, axis=as_axis(axis, x.ndim), reverse=reverse)


@op
def cumsum(x: Any, axis: int | None = None, dtype: Any = None, reverse: bool = False) -> Any:
    """Running sums along ``axis``, by default in C order; from the end if ``reverse``."""
    return _running(CUMSUM, x, axis, dtype, reverse)


@op
def cumprod(x: Any, axis: int | None = None, dtype: Any = None, reverse: bool = False) -> Any:
    """Running products along ``axis``, by default in C order; from the end if ``reverse``."""
    return _running(CUMPROD, x, axis, dtype, reverse)


@op
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """``cumsum`` with NaN as 0."""
    return _running(CUMSUM, _replaced(as_tensor(x), 0), axis, dtype, False)


@op
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """``cumprod`` with NaN as 1."""
    return _running(CUMPROD, _replaced(as_tensor(x), 1), axis, dtype, False)


@op
def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours along ``axis``, ``n`` times over; of bools whether they differ."""
    x = as_tensor(x)
    if n < 0:
        raise ShapeError(f"diff: n must not be negative, got {n}.")
    axis = as_axis(axis, x.ndim)
    ends = (prepend, append)
    if builtins.any(e is not None for e in ends):
        dims = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
        first, last = ([] if e is None else [_as_end(e, dims)] for e in ends)
        x = concat([*first, x, *last], axis)
    cut: Callable[[int, int], Any] = lambda a, b: (slice(None),) * axis + (slice(a, b),)
    for _ in range(n):
        m = x.shape[axis]
        later, earlier = x[cut(builtins.min(1, m), m)], x[cut(0, builtins.max(m - 1, 0))]
        x = later ^ earlier if x.dtype == dtypes.bool_ else later - earlier
    return x


def _as_end(x: Any, dims: tuple[int, ...]) -> Any:
    x = as_tensor(x)
    return x if x.ndim else BROADCAST(x, shape=dims)


@op
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral of ``y`` along ``axis`` by the trapezoidal rule, at points ``x`` or ``dx`` apart."""
    if x is None:
        y, step = meeting_inexact(y, dx)
    else:
        y, x = meeting_inexact(y, x)
        step = diff(x, axis=axis if x.ndim > 1 else -1)
    y = moveaxis(y, axis, -1)
    if x is not None and step.ndim == y.ndim and step.ndim > 1:
        step = moveaxis(step, axis, -1)
    area = (y[..., 1:] + y[..., :-1]) * step
    return area.sum(-1) * 0.5
