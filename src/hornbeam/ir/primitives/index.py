"""Indexing by computed positions: gather and scatter, slices that start where a value says, and sorting.

What happens outside the array is defined, so no engine may read or write there: reads are clamped to the nearest
element, writes are dropped. Duplicate writes happen in the order of the updates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape, Spec, as_axis, as_shape, broadcast_shapes
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.grad import ones_like, zeros_like
from hornbeam.ir.primitive import blocked, row
from hornbeam.ir.primitives.arith import (
    ANY,
    CAST,
    MAX,
    MIN,
    NUMERIC,
    REAL,
    SELECT,
    same_dtype,
    scalar,
)
from hornbeam.ir.primitives.movement import BROADCAST, IOTA, RESHAPE, inverse_permutation
from hornbeam.ir.primitives.reduce import HALF, REDUCE_AND

# -- positions -------------------------------------------------------------------------------------


def wide_indices(indices: Any, limit: int) -> Any:
    """``indices`` in int32, or in int64 where they or ``limit`` may need it, so that arithmetic on them is safe."""
    large = indices.dtype in (dtypes.int64, dtypes.uint32, dtypes.uint64) or limit >= 2**31
    dtype = dtypes.int64 if large else dtypes.int32
    return indices if indices.dtype == dtype else CAST(indices, dtype=dtype)


def wrap_negative(indices: Any, size: int) -> Any:
    """Indices counted from the end where they are negative: Python's convention turned into the rows' own."""
    if dtypes.is_integer(indices.dtype) and indices.dtype.kind == "u":
        return indices
    indices = wide_indices(indices, size)
    return SELECT(indices < 0, indices + size, indices)


def clamp_indices(indices: Any, sizes: Sequence[int]) -> Any:
    """``indices`` [..., k] moved into the ``sizes`` of their k axes, as GATHER reads them."""
    indices = wide_indices(indices, max(sizes))
    top = constant(np.asarray([n - 1 for n in sizes], indices.dtype))
    return MIN(MAX(indices, scalar(0, indices)), top)


def inside(indices: Any, sizes: Sequence[int]) -> Any:
    """Whether each of ``indices`` [*I, k] is in range: bool [*I]."""
    indices = wide_indices(indices, max(sizes))
    top = constant(np.asarray(sizes, indices.dtype))
    return REDUCE_AND((indices >= 0) & (indices < top), axes=(len(indices.shape) - 1,))


def _int64(indices: np.ndarray) -> np.ndarray:
    """As int64; what only uint64 can hold becomes the largest int64, which is out of range for any array."""
    if indices.dtype == dtypes.uint64:
        indices = np.minimum(indices, np.asarray(np.iinfo(np.int64).max, np.uint64))
    return indices.astype(np.int64)


def _window(name: str, x: Spec, indices: Spec, axis: int) -> tuple[Shape, Shape]:
    """The sizes of the indexed axes of ``x``, and the shape of gathered elements or updates."""
    if not dtypes.is_integer(indices.dtype):
        raise DTypeError(f"{name}: indices must be integers, got {indices.dtype.name}. Cast them: hb.cast(i, 'int32').")
    if indices.ndim == 0 or indices.shape[-1] == 0:
        raise ShapeError(f"{name}: indices need a last axis with an entry per indexed axis, got {indices.shape}.")
    k = indices.shape[-1]
    if type(axis) is not int or not 0 <= axis <= x.ndim - k:
        raise ShapeError(f"{name}: {k} axes from axis {axis} on do not fit in shape {x.shape}.")
    out = as_shape((*x.shape[:axis], *indices.shape[:-1], *x.shape[axis + k :]))
    return x.shape[axis : axis + k], out


# -- gather and scatter ----------------------------------------------------------------------------


def _gather_spec(x: Spec, indices: Spec, axis: int) -> Spec:
    sizes, shape = _window("gather", x, indices, axis)
    if 0 in sizes and 0 not in indices.shape[:-1]:
        raise ShapeError(f"gather: nothing to gather from, shape {x.shape} is empty along the indexed axes.")
    return Spec(shape, x.dtype)


def _gather(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    sizes = np.asarray(x.shape[axis : axis + indices.shape[-1]])
    at = np.minimum(np.maximum(_int64(indices), 0), np.maximum(sizes - 1, 0))
    return np.asarray(x[(slice(None),) * axis + tuple(np.moveaxis(at, -1, 0))])


def _gather_grad(g: Any, x: Any, indices: Any, out: Any, axis: int) -> tuple[Any, None]:
    sizes = x.shape[axis : axis + indices.shape[-1]]
    zeros = BROADCAST(scalar(0, g), shape=tuple(x.shape))
    return lambda: SCATTER(zeros, clamp_indices(indices, sizes), g, axis=axis, mode="add"), None


GATHER = row("gather", kind="block", infer=_gather_spec, reference=_gather, grad=_gather_grad)
"""``GATHER(x, indices, axis=a)``: ``indices`` [*I, k] choose positions along the k axes of ``x`` from ``a`` on; the
result is x.shape[:a] + I + x.shape[a+k:]. Indices count from the front (``wrap_negative``) and are clamped."""

_AT = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
_MODES = {"set": ANY, "add": NUMERIC, "mul": NUMERIC, "min": REAL, "max": REAL}


def _scatter_spec(x: Spec, indices: Spec, updates: Spec, axis: int, mode: str) -> Spec:
    if mode not in _MODES:
        raise ShapeError(f"scatter: mode {mode!r} is not one of {', '.join(_MODES)}.")
    same_dtype(f"scatter ({mode})", (x, updates), _MODES[mode])
    _, shape = _window("scatter", x, indices, axis)
    if updates.shape != shape:
        raise ShapeError(
            f"scatter: updates have shape {updates.shape}, but indices {indices.shape} at axis {axis} of {x.shape} "
            f"address {shape}.\n  Fix: hb.broadcast_to(updates, {shape})"
        )
    return x


def _scatter(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, mode: str) -> np.ndarray:
    k = indices.shape[-1]
    sizes, n = x.shape[axis : axis + k], math.prod(indices.shape[:-1])
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + k :])
    wide = np.float32 if x.dtype in HALF and mode in ("add", "mul") else x.dtype  # half precision is rounded once

    # As rows: the indexed axes flattened and in front, the others behind.
    flat = np.array(x, wide).reshape(before, math.prod(sizes), after).transpose(1, 0, 2)
    rows = np.ascontiguousarray(flat).reshape(math.prod(sizes), before * after)
    new = updates.astype(wide).reshape(before, n, after).transpose(1, 0, 2).reshape(n, before * after)
    at = _int64(indices).reshape(n, k)
    kept = np.all((at >= 0) & (at < np.asarray(sizes)), axis=-1)
    at, new = at[kept], new[kept]
    place = at @ np.asarray([math.prod(sizes[i + 1 :]) for i in range(k)], np.int64)

    if mode == "set":
        _, last = np.unique(place[::-1], return_index=True)  # NumPy does not say which of duplicates it stores
        last = len(place) - 1 - last
        rows[place[last]] = new[last]
    elif rows.size and new.size:
        cells = place[:, None] * rows.shape[1] + np.arange(rows.shape[1])
        _AT[mode].at(rows.reshape(-1), cells.reshape(-1), new.reshape(-1))  # one element after the other
    out = rows.reshape(math.prod(sizes), before, after).transpose(1, 0, 2).reshape(x.shape)
    return out.astype(x.dtype)


def _scatter_grad(g: Any, x: Any, indices: Any, updates: Any, out: Any, axis: int, mode: str) -> tuple[Any, None, Any]:
    k = indices.shape[-1]
    sizes = tuple(x.shape[axis : axis + k])
    if updates.size == 0 or 0 in sizes:  # every update was dropped
        return g, None, zeros_like(updates)
    many, after = tuple(indices.shape[:-1]), len(x.shape) - axis - k

    def beside(per_index: Any) -> Any:
        """A value per index ([*I]), shaped to meet the updates."""
        return RESHAPE(per_index, shape=(1,) * axis + many + (1,) * after)

    def read(v: Any) -> Any:
        """What each update's target holds in ``v``."""
        return GATHER(v, indices, axis=axis)

    def kept(v: Any) -> Any:
        """``v``, a value per update, but 0 for those that were dropped."""
        return SELECT(beside(inside(indices, sizes)), v, scalar(0, v))

    def scattered(start: Any, values: Any, mode: str) -> Any:
        return SCATTER(start, indices, values, axis=axis, mode=mode)

    if mode == "add":
        return g, None, lambda: kept(read(g))
    if mode == "set":
        # Scattering the updates' own numbers tells which of them was stored, and where nothing was.
        n = math.prod(many)
        number = RESHAPE(IOTA(shape=(n,), axis=0, dtype=dtypes.int32 if n < 2**31 else dtypes.int64), shape=many)
        none = BROADCAST(scalar(-1, number), shape=sizes)
        stored = SCATTER(none, indices, number, axis=0, mode="set")
        untouched = RESHAPE(stored < 0, shape=(1,) * axis + sizes + (1,) * after)
        won = beside(GATHER(stored, indices, axis=0) == number)
        return SELECT(untouched, g, scalar(0, g)), None, lambda: kept(SELECT(won, read(g), scalar(0, g)))
    if mode == "mul":
        # The product of all other factors. Zeros are counted apart, so that nothing is divided by them; second
        # derivatives do not see through the count and are right only where no update is zero.
        one, zero = scalar(1, x), updates == 0
        factors = SELECT(zero, one, updates)
        product = scattered(ones_like(x), factors, "mul")
        zeros = scattered(zeros_like(x), CAST(zero, dtype=x.dtype), "add")
        own = SELECT(zero, one, scalar(0, x))
        others = SELECT(read(zeros) == own, read(product) / factors, scalar(0, x))
        return lambda: g * scattered(ones_like(x), updates, "mul"), None, lambda: kept(read(g * x) * others)
    # An extremum's gradient is shared evenly among the values that attain it, as in a reduction.
    wide = dtypes.float32 if g.dtype in HALF else g.dtype  # in which counts do not overflow
    old, new = x == out, updates == read(out)
    count = scattered(CAST(old, dtype=wide), CAST(new, dtype=wide), "add")  # what is dropped is not counted
    share = (g.astype(wide) / count).astype(g.dtype)
    return SELECT(old, share, scalar(0, g)), None, lambda: kept(SELECT(new, read(share), scalar(0, g)))


SCATTER = row("scatter", kind="block", infer=_scatter_spec, reference=_scatter, grad=_scatter_grad)
"""``SCATTER(x, indices, updates, axis=a, mode=m)``: ``x`` with ``updates`` (of GATHER's result shape) combined in by
``add``, ``set``, ``mul``, ``min`` or ``max``, one after the other; those out of range are dropped."""

# -- slices with computed starts -------------------------------------------------------------------


def _check_starts(name: str, x: Spec, starts: Sequence[Spec], sizes: Shape) -> None:
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        given = f"{len(starts)} starts and {len(sizes)} sizes"
        raise ShapeError(f"{name}: shape {x.shape} needs a start and a size for each axis, got {given}.")
    for start in starts:
        if start.shape or not dtypes.is_integer(start.dtype):
            raise DTypeError(f"{name}: starts must be integer scalars, got {start}.")
    if any(size > n for size, n in zip(as_shape(sizes), x.shape, strict=True)):
        raise ShapeError(f"{name}: a slice of {tuple(sizes)} does not fit in shape {x.shape}.")


def _span(x: np.ndarray, starts: Sequence[np.ndarray], sizes: Shape) -> tuple[slice, ...]:
    """Starts are clamped so that the whole slice is inside."""
    first = [min(max(int(s), 0), n - size) for s, n, size in zip(starts, x.shape, sizes, strict=True)]
    return tuple(slice(a, a + size) for a, size in zip(first, sizes, strict=True))


def _dynamic_slice_spec(x: Spec, *starts: Spec, sizes: Shape) -> Spec:
    _check_starts("dynamic_slice", x, starts, sizes)
    return Spec(as_shape(sizes), x.dtype)


def _dynamic_slice_grad(g: Any, x: Any, *starts_and_out: Any, sizes: Shape) -> tuple[Any, ...]:
    starts = starts_and_out[:-1]
    zeros = BROADCAST(scalar(0, g), shape=tuple(x.shape))
    return (lambda: DYNAMIC_UPDATE_SLICE(zeros, g, *starts), *(None for _ in starts))


DYNAMIC_SLICE = row(
    "dynamic_slice",
    kind="block",
    infer=_dynamic_slice_spec,
    reference=lambda x, *starts, sizes: x[_span(x, starts, sizes)],
    grad=_dynamic_slice_grad,
)


def _dynamic_update_slice_spec(x: Spec, update: Spec, *starts: Spec) -> Spec:
    same_dtype("dynamic_update_slice", (x, update), ANY)
    _check_starts("dynamic_update_slice", x, starts, update.shape)
    return x


def _dynamic_update_slice(x: np.ndarray, update: np.ndarray, *starts: np.ndarray) -> np.ndarray:
    out = np.array(x)
    out[_span(x, starts, update.shape)] = update
    return out


def _dynamic_update_slice_grad(g: Any, x: Any, update: Any, *starts_and_out: Any) -> tuple[Any, ...]:
    starts = starts_and_out[:-1]
    return (
        lambda: DYNAMIC_UPDATE_SLICE(g, zeros_like(update), *starts),
        lambda: DYNAMIC_SLICE(g, *starts, sizes=tuple(update.shape)),
        *(None for _ in starts),
    )


DYNAMIC_UPDATE_SLICE = row(
    "dynamic_update_slice",
    kind="block",
    infer=_dynamic_update_slice_spec,
    reference=_dynamic_update_slice,
    grad=_dynamic_update_slice_grad,
)

# -- sorting ---------------------------------------------------------------------------------------


def _argsort_spec(x: Spec, axis: int, descending: bool) -> Spec:
    if type(axis) is not int or not 0 <= axis < x.ndim:
        raise ShapeError(f"argsort: axis {axis} is out of range for shape {x.shape}.")
    same_dtype("argsort", (x,), (dtypes.bool_, *REAL))
    return Spec(x.shape, dtypes.int32)


def _argsort(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    x = x.astype(np.float32) if x.dtype in HALF else x
    if not descending:
        return np.argsort(x, axis=axis, kind="stable").astype(np.int32)
    backwards = np.argsort(np.flip(x, axis), axis=axis, kind="stable")  # flipped twice, ties keep their order
    return np.flip(x.shape[axis] - 1 - backwards, axis).astype(np.int32)


ARGSORT = row("argsort", kind="block", infer=_argsort_spec, reference=_argsort, grad=blocked)
"""Positions that sort ``x`` along ``axis``, stably in both directions. NaN counts as the largest: last if ascending,
first if descending."""


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """``x`` sorted along ``axis``, NaN counting as the largest."""
    axis = as_axis(axis, len(x.shape))
    return _take_along(x, ARGSORT(x, axis=axis, descending=bool(descending)), axis)


def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """The elements of ``x`` at ``indices`` along ``axis``; the other axes go along, broadcast.

    Negative indices count from the end; what is out of range is clamped.
    """
    rank = len(x.shape)
    if len(indices.shape) != rank:
        raise ShapeError(f"take_along_axis: {x.shape} and indices {tuple(indices.shape)} must have as many axes.")
    axis = as_axis(axis, rank)
    if not dtypes.is_integer(indices.dtype):
        raise DTypeError(f"take_along_axis: indices must be integers, got {indices.dtype.name}.")
    n, m = x.shape[axis], indices.shape[axis]
    x_others, i_others = ((*s[:axis], 1, *s[axis + 1 :]) for s in (tuple(x.shape), tuple(indices.shape)))
    common = broadcast_shapes(x_others, i_others, name="take_along_axis")
    if n == 0 and m and math.prod(common):
        raise ShapeError(f"take_along_axis: nothing to take, axis {axis} of {tuple(x.shape)} is empty.")
    indices = clamp_indices(wrap_negative(indices, n), (n,))
    before, after = common[:axis], common[axis + 1 :]
    return _take_along(BROADCAST(x, shape=(*before, n, *after)), BROADCAST(indices, shape=(*before, m, *after)), axis)


def _take_along(x: Any, indices: Any, axis: int) -> Any:
    """``take_along_axis`` with indices in range: one gather from all lines laid end to end."""
    rank = len(x.shape)
    order = (*(i for i in range(rank) if i != axis), axis)
    x, indices = x.transpose(order), wide_indices(indices.transpose(order), x.size)
    shape, n, lines = tuple(indices.shape), x.shape[-1], math.prod(x.shape[:-1])
    starts = IOTA(shape=(lines, 1), axis=0, dtype=indices.dtype) * n
    at = RESHAPE(indices, shape=(lines, shape[-1])) + starts
    out = GATHER(RESHAPE(x, shape=(x.size,)), RESHAPE(at, shape=(*at.shape, 1)), axis=0)
    return RESHAPE(out, shape=shape).transpose(inverse_permutation(order))
