"""Gather and scatter, slices that start where a value says, and sorting.

What is out of range is defined: reads are clamped, writes are dropped. ONNX leaves both open, so it is computed here;
for indices that are constants nothing is.
"""

from __future__ import annotations

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import is_bool
from hornbeam.errors import ExportError
from hornbeam.export.dims import Dim, Dims, both, known
from hornbeam.export.graph import INT64, Graph, Value
from hornbeam.export.pairing import Pair
from hornbeam.export.rules.elementwise import where
from hornbeam.export.rules.movement import padded
from hornbeam.export.rules.rule import rule
from hornbeam.ir.primitives.movement import inverse_permutation

BOOL = dtypes.bool_


def _wide(g: Graph, indices: Value) -> str:
    """``indices`` as ONNX takes them."""
    if indices.dtype == dtypes.uint64:
        why = "Indices of dtype uint64 cannot be exported: ONNX indexes with int64."
        raise ExportError(f"{why}\n  Fix: hb.cast(indices, 'int64')")
    return g.cast(indices, indices.dtype if indices.dtype == dtypes.int32 else INT64)


def _clamped(g: Graph, indices: str, sizes: Dims) -> str:
    """Indices [..., k] moved into their axes."""
    dtype, array = g.dtypes[indices], g.array(indices)
    if array is not None and all(isinstance(n, int) for n in sizes):
        return g.constant(np.clip(array, 0, np.maximum(np.asarray(sizes) - 1, 0)), dtype)
    top = g.cast(g.shape(tuple(both(lambda n: n - 1, n) for n in sizes)), dtype)
    return g.op("Min", g.op("Max", indices, g.constant(0, dtype)), top)


@rule("gather")
def gather(g: Graph, pair: Pair, x: Value, indices: Value) -> str:
    axis, k = pair.attrs["axis"], _entries(indices)
    at = _clamped(g, _wide(g, indices), x.shape[axis : axis + k])
    if k == 1:
        at = g.reshape(Value(at, indices.shape, g.dtypes[at]), indices.shape[:-1])
        return g.op("Gather", x, at, axis=axis)
    order = _indexed_first(len(x.shape), axis, k)
    found = g.op("GatherND", g.transpose(x, order), g.cast(at, INT64))
    many = len(indices.shape) - 1
    return g.transpose(found, [*range(many, many + axis), *range(many), *range(many + axis, len(pair.shape))])


def _entries(indices: Value) -> int:
    return known("the number of indexed axes", indices.shape[-1], "index with an array whose last axis is known")


def _indexed_first(rank: int, axis: int, k: int) -> tuple[int, ...]:
    return (*range(axis, axis + k), *range(axis), *range(axis + k, rank))


@rule("scatter")
def scatter(g: Graph, pair: Pair, x: Value, indices: Value, updates: Value) -> str:
    """ScatterND on the indexed axes, in front. What is out of range goes to a row behind the last, cut off after.

    ONNX leaves the order of updates to one place open.
    """
    axis, mode, k, rank = pair.attrs["axis"], pair.attrs["mode"], _entries(indices), len(x.shape)
    order, many = _indexed_first(rank, axis, k), len(indices.shape) - 1
    sizes = x.shape[axis : axis + k]
    at = g.cast(_wide(g, indices), INT64)
    moved = g.transpose(x, order)
    new = g.transpose(updates, [*range(axis, axis + many), *range(axis), *range(axis + many, len(updates.shape))])
    reduction = "none" if mode == "set" else mode
    array = g.array(at)
    if array is not None and all(isinstance(n, int) for n in sizes) and _all_inside(array, sizes):
        out = g.op("ScatterND", moved, at, new, reduction=reduction)
    else:
        inside = g.op("And", g.op("GreaterOrEqual", at, g.constant(0)), g.op("Less", at, g.shape(sizes)))
        count = g.op("ReduceSum", g.cast(inside, INT64), g.constant([-1]), keepdims=1)
        every = g.op("Equal", count, g.constant(k))
        behind = g.shape((sizes[0], *(0,) * (k - 1)))
        room = padded(g, moved, g.constant(0, x.dtype), [(0, 1), *[(0, 0)] * (rank - 1)])
        out = g.op("ScatterND", room, g.op("Where", every, at, behind), new, reduction=reduction)
        out = g.op("Slice", out, g.constant([0]), g.constant([-1]), g.constant([0]))
    return g.transpose(out, inverse_permutation(order))


def _all_inside(indices: np.ndarray, sizes: Dims) -> bool:
    return bool(((indices >= 0) & (indices < np.asarray(sizes))).all())


@rule("dynamic_slice")
def dynamic_slice(g: Graph, pair: Pair, x: Value, *starts: Value) -> str:
    if not starts:
        return x.name
    first = _starts(g, starts, x.shape, pair.shape)
    last = g.op("Add", first, g.shape(pair.shape))
    return g.op("Slice", x, first, last, g.constant(range(len(starts))))


def _starts(g: Graph, starts: tuple[Value, ...], shape: Dims, sizes: Dims) -> str:
    """Starts as int64[rank], clamped so that the whole slice is inside."""
    parts = [g.reshape(g.cast(s, INT64), (1,)) for s in starts]
    first = parts[0] if len(parts) == 1 else g.op("Concat", *parts, axis=0)
    room = g.shape(tuple(both(lambda n, size: n - size, n, size) for n, size in zip(shape, sizes, strict=True)))
    return g.op("Min", g.op("Max", first, g.constant(0)), room)


@rule("dynamic_update_slice")
def dynamic_update_slice(g: Graph, pair: Pair, x: Value, update: Value, *starts: Value) -> str:
    """The update, padded to the shape of ``x``, where a mask that is padded alike is set."""
    if not starts:
        return update.name
    if 0 in update.shape:
        return x.name
    before = _starts(g, starts, x.shape, update.shape)
    room = g.shape(tuple(both(lambda n, m: n - m, n, m) for n, m in zip(x.shape, update.shape, strict=True)))
    pads = g.op("Concat", before, g.op("Sub", room, before), axis=0)
    mask = g.cast(g.op("Pad", g.full(1, update.shape, dtypes.int32), pads), BOOL)
    return where(g, mask, g.op("Pad", update, pads, g.constant(0, x.dtype)), x)


@rule("argsort")
def argsort(g: Graph, pair: Pair, x: Value) -> str:
    """ONNX's sort puts the lower of two equal elements' positions first, in both directions, as the row does."""
    axis: int = pair.attrs["axis"]
    n: Dim = x.shape[axis]
    sortable = x.name
    if x.dtype in (dtypes.bool_, dtypes.bfloat16):
        sortable = g.cast(x, dtypes.int32 if is_bool(x.dtype) else dtypes.float32)
    _, places = g.several(
        "TopK", [sortable, g.size(n)], [g.dtypes[sortable], INT64], axis=axis, largest=int(pair.attrs["descending"])
    )
    return g.cast(places, dtypes.int32)
