"""Sorting and searching, sets and counting.

Where the number of results depends on values, as in ``unique`` and ``nonzero``, it is read from concrete tensors; a
symbolic one needs ``size``, to which the result is cut or filled up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axis
from hornbeam.errors import DTypeError, ShapeError, explain
from hornbeam.ir.primitives import index as indexing
from hornbeam.ir.primitives.arith import NOT, SELECT
from hornbeam.ir.primitives.index import ARGSORT, GATHER, SCATTER
from hornbeam.ir.primitives.movement import CONCAT, IOTA
from hornbeam.ir.primitives.reduce import CUMSUM, REDUCE_MAX, REDUCE_MIN, REDUCE_OR, SUM
from hornbeam.ops.arguments import inexact, meeting, numeric, scalar, static, truth
from hornbeam.ops.array import moveaxis
from hornbeam.ops.creation import filled, linspace
from hornbeam.ops.indexing import unravel_index
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "sort", "argsort", "argpartition", "top_k", "searchsorted", "digitize", "unique", "nonzero", "argwhere", "isin",
    "bincount", "histogram",
]  # fmt: skip


@op
def sort(x: Any, axis: int | None = -1, descending: bool = False) -> Any:
    """Sorted along ``axis`` (None: as a vector), NaN counting as the largest."""
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape((x.size,)), 0
    return indexing.sort(x, axis, descending)


@op
def argsort(x: Any, axis: int | None = -1, descending: bool = False) -> Any:
    """The int32 positions that sort along ``axis`` (None: as a vector); equal elements keep their order."""
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape((x.size,)), 0
    return ARGSORT(x, axis=as_axis(axis, x.ndim), descending=bool(descending))


@op
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """Positions with the ``kth`` smallest in its sorted place, the smaller before it; here all are sorted."""
    return argsort(x, axis)


@op
def top_k(x: Any, k: int) -> tuple[Any, Any]:
    """The ``k`` largest elements along the last axis, largest first, and their positions."""
    x = as_tensor(x)
    if not x.ndim or not 0 <= k <= x.shape[-1]:
        raise ShapeError(f"top_k: there are no {k} elements along the last axis of shape {x.shape}.")
    at = ARGSORT(x, axis=x.ndim - 1, descending=True)[..., :k]
    return indexing.take_along_axis(x, at, -1), at


# -- searching -----------------------------------------------------------------------------------------------------


@op
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """The int32 places at which ``values`` would have to enter a sorted vector to keep it sorted.

    side: before (``left``) or behind (``right``) elements that are equal.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}.")
    a, v = meeting(sorted_sequence, values)
    if a.ndim != 1:
        raise ShapeError(f"searchsorted: the sorted sequence must be a vector, got shape {a.shape}.")
    low = filled(v.shape, 0, dtypes.int32)
    n = a.shape[0]
    if n == 0:
        return low
    before: Callable[[Any, Any], Any] = (lambda p, q: p < q) if side == "left" else (lambda p, q: p <= q)
    if dtypes.is_floating(a.dtype):  # NaN counts as the largest
        numbers = before
        behind = (lambda p, q: (q != q) & (p == p)) if side == "left" else (lambda p, q: q != q)
        before = lambda p, q: numbers(p, q) | behind(p, q)
    # Bisection: the place is found bit by bit from the top, so it takes log2 n gathers, whatever the values.
    for bit in reversed(range(n.bit_length())):
        candidate = low + (1 << bit)
        inside = candidate <= n
        element = GATHER(a, (candidate - 1).reshape((*v.shape, 1)), axis=0)
        low = SELECT(inside & before(element, v), candidate, low)
    return low


@op
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """For each element the number of its bin between rising or falling edges; ``right``: with its upper edge."""
    edges = as_tensor(bins)
    if edges.ndim != 1:
        raise ShapeError(f"digitize: the edges of the bins must be a vector, got shape {edges.shape}.")
    rising = searchsorted(edges, x, "left" if right else "right")
    if edges.shape[0] < 2:
        return rising
    falling = edges.shape[0] - searchsorted(edges[::-1], x, "left" if right else "right")
    return SELECT(edges[0] <= edges[-1], rising, falling)


@op
def isin(x: Any, values: Any, invert: bool = False) -> Any:
    """Whether each element of ``x`` is among ``values`` (not among them if ``invert``)."""
    x, among = meeting(x, values)
    among = among.reshape((among.size,))
    if among.size == 0:
        found = filled(x.shape, False, dtypes.bool_)
    elif x.size * among.size <= 2**20 or dtypes.is_complex(x.dtype):
        found = REDUCE_OR(x.reshape((*x.shape, 1)) == among, axes=(x.ndim,))
    else:
        ordered = indexing.sort(among, 0)
        at = searchsorted(ordered, x)
        found = GATHER(ordered, at.reshape((*x.shape, 1)), axis=0) == x
    return NOT(found) if invert else found


# -- sets and places -----------------------------------------------------------------------------------------------


def _first_places(mask: Any, size: int, fill: int) -> Any:
    """The int32 positions at which a bool vector holds, cut or filled up to ``size``."""
    n = mask.shape[0]
    rank = CUMSUM(mask.astype(dtypes.int32), axis=0, reverse=False) - 1
    target = SELECT(mask, rank, scalar(size, dtypes.int32))  # out of range: dropped
    return SCATTER(
        filled((size,), fill, dtypes.int32), target.reshape((n, 1)), IOTA(shape=(n,), axis=0, dtype=dtypes.int32),
        axis=0, mode="set",
    )  # fmt: skip


def _count(mask: Any, size: int | None, name: str) -> int:
    if size is not None:
        return int(size)
    total = SUM(mask.astype(dtypes.int32), axes=(0,))
    fix = f"give the most there can be: hb.{name}(x, size=...)"
    return int(static(total, f"how many elements hb.{name} finds", fix))


@op
def nonzero(x: Any, size: int | None = None, fill_value: int = 0) -> tuple[Any, ...]:
    """For each axis the int32 indices of the elements that are not zero.

    Args:
        size: cut or fill the result up to so many; needed where the value is not known (while tracing).
        fill_value: the flat index that fills it up.

    Raises:
        ShapeError: ``x`` is 0-d.
    """
    x = truth(x)
    if not x.ndim:
        raise ShapeError(explain("nonzero: a 0-d array has no axes to give indices along.", fix="hb.atleast_1d(x)"))
    mask = x.reshape((x.size,))
    count = _count(mask, size, "nonzero")
    return unravel_index(_first_places(mask, count, fill_value), x.shape)


@op
def argwhere(x: Any, size: int | None = None, fill_value: int = 0) -> Any:
    """The indices of the elements that are not zero, as rows."""
    x = as_tensor(x)
    if not x.ndim:
        return nonzero(x.reshape((1,)), size, fill_value)[0].reshape((-1, 1))[:, :0]
    places = nonzero(x, size, fill_value)
    return CONCAT(*(p.reshape((-1, 1)) for p in places), axis=1)


@op
def unique(
    x: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct elements (or slices along ``axis``) in order; each NaN is one of its own.

    Args:
        return_index: also the position where each occurs first.
        return_inverse: also the positions in the result that give ``x`` back.
        return_counts: also how often each occurs.
        size: cut or fill the result up to so many; needed where the value is not known (while tracing).
        fill_value: what fills it up; by default the smallest element.
    """
    x = as_tensor(x)
    rows = x.reshape((x.size, 1)) if axis is None else moveaxis(x, axis, 0)
    rest = rows.shape[1:]
    n = rows.shape[0]
    rows = rows.reshape((n, math.prod(rest)))
    order = _lexicographic(rows)
    ordered = GATHER(rows, order.reshape((n, 1)), axis=0)
    if n:
        differs = REDUCE_OR(ordered[1:] != ordered[:-1], axes=(1,))
        first = CONCAT(filled((1,), True, dtypes.bool_), differs, axis=0)
    else:
        first = filled((0,), True, dtypes.bool_)
    count = _count(first, size, "unique")
    rank = CUMSUM(first.astype(dtypes.int32), axis=0, reverse=False) - 1
    places = _first_places(first, count, 0)
    if n:
        found = GATHER(ordered, places.reshape((count, 1)), axis=0)
    else:
        found = filled((count, rows.shape[1]), 0, x.dtype)
    if size is not None:
        present = IOTA(shape=(count, 1), axis=0, dtype=dtypes.int32) < (rank[-1] + 1 if n else 0)
        filler = ordered[0] if n else scalar(0, x.dtype)
        filler = filler if fill_value is None else as_tensor(fill_value).astype(x.dtype)
        found = SELECT(present, found, filler)
    values = found.reshape((count,)) if axis is None else moveaxis(found.reshape((count, *rest)), 0, axis)
    out = [values]
    if return_index:
        out.append(GATHER(order, places.reshape((count, 1)), axis=0) if n else places)
    if return_inverse:
        inverse = SCATTER(filled((n,), 0, dtypes.int32), order.reshape((n, 1)), rank, axis=0, mode="set")
        out.append(inverse.reshape(x.shape) if axis is None else inverse)
    if return_counts:
        ones = filled((n,), 1, dtypes.int32)
        out.append(SCATTER(filled((count,), 0, dtypes.int32), rank.reshape((n, 1)), ones, axis=0, mode="add"))
    return tuple(out) if len(out) > 1 else values


def _lexicographic(rows: Any) -> Any:
    """The stable order of rows by their first column, then their second, and so on."""
    n, columns = rows.shape
    order = IOTA(shape=(n,), axis=0, dtype=dtypes.int32)
    for column in reversed(range(columns)):
        keys = GATHER(rows[:, column], order.reshape((n, 1)), axis=0)
        order = GATHER(order, ARGSORT(keys, axis=0, descending=False).reshape((n, 1)), axis=0)
    return order


# -- counting ------------------------------------------------------------------------------------------------------


@op
def bincount(x: Any, weights: Any = None, minlength: int = 0, length: int | None = None) -> Any:
    """How often each of 0, 1, 2, ... occurs in an integer vector, or the sum of its weights.

    The result is as long as the largest element needs, at least ``minlength``; or ``length`` long, which is needed
    where the value is not known (while tracing). What lies outside is not counted.
    """
    x = numeric(x)
    if not dtypes.is_integer(x.dtype):
        raise DTypeError(f"bincount: integers are counted, got {x.dtype.name}. Cast them: hb.cast(x, 'int32').")
    if x.ndim != 1:
        raise ShapeError(f"bincount: a vector is needed, got shape {x.shape}.")
    if length is None:
        top = REDUCE_MAX(x, axes=(0,)) if x.size else -1
        top = static(top, "the largest element, so the length of hb.bincount,", "give it: hb.bincount(x, length=...)")
        length = max(int(top) + 1, int(minlength))
    w = filled(x.shape, 1, dtypes.int32) if weights is None else numeric(weights)
    return SCATTER(filled((length,), 0, w.dtype), x.reshape((x.size, 1)), w, axis=0, mode="add")


@op
def histogram(x: Any, bins: Any = 10, range: Any = None, weights: Any = None, density: bool = False) -> tuple[Any, Any]:
    """How many elements lie in each bin, and the edges of the bins.

    Args:
        bins: so many of equal width, or their edges. The last bin includes its upper edge.
        range: the lowest and the highest edge; by default the extremes of ``x``.
        weights: to sum instead of counting.
        density: divide by the total and the widths, so that the integral is 1.
    """
    x = inexact(x).reshape((-1,))
    edges = as_tensor(bins) if np.ndim(bins) or getattr(bins, "ndim", 0) else None
    if edges is None:
        count = int(static(bins, "the number of bins", "give it as a Python int"))
        if range is not None:
            low, high = (as_tensor(r).astype(x.dtype) for r in range)
        elif x.size:
            low, high = REDUCE_MIN(x, axes=(0,)), REDUCE_MAX(x, axes=(0,))
        else:
            low, high = scalar(0, x.dtype), scalar(1, x.dtype)
        same = low == high  # a single value gets a bin of width 1 around it
        half = SELECT(same, scalar(0.5, x.dtype), scalar(0, x.dtype))
        edges = linspace(low - half, high + half, count + 1)
    edges = edges.astype(x.dtype)
    count = edges.shape[0] - 1
    place = searchsorted(edges, x, "right") - 1
    place = SELECT(x == edges[-1], scalar(count - 1, dtypes.int32), place)
    place = SELECT(x == x, place, scalar(-1, dtypes.int32))
    w = filled(x.shape, 1, dtypes.int32) if weights is None else as_tensor(weights).reshape((-1,))
    out = SCATTER(filled((count,), 0, w.dtype), place.reshape((x.size, 1)), w, axis=0, mode="add")
    if density:
        out = out.astype(x.dtype) / (edges[1:] - edges[:-1]) / out.sum()
    return out, edges
