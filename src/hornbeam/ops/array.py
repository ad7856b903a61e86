"""Shapes, joining and splitting, repeating, and diagonals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axes, as_axis, as_shape, broadcast_shapes
from hornbeam.errors import ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import SELECT
from hornbeam.ir.primitives.index import GATHER
from hornbeam.ir.primitives.movement import BROADCAST, CONCAT, IOTA, PAD, REVERSE, SLICE
from hornbeam.ops.arguments import (
    accumulator_dtype,
    known,
    meeting,
    scalar,
    static,
)
from hornbeam.ops.creation import filled, offsets
from hornbeam.ops.indexing import (
    gather_nd,
    scatter_nd,
    select,
    slice,
    slice_update,
    take,
    take_along_axis,
    unravel_index,
    where,
)
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "ndim", "size", "shape",
    "reshape", "ravel", "transpose", "swapaxes", "moveaxis", "expand_dims", "squeeze", "broadcast_to",
    "broadcast_arrays", "atleast_1d", "atleast_2d", "atleast_3d", "flip", "fliplr", "flipud", "rot90", "roll",
    "concat", "stack", "vstack", "hstack", "dstack", "column_stack", "append", "split", "array_split", "hsplit",
    "vsplit", "dsplit", "unstack", "repeat", "tile",
    "diag", "diagflat", "diagonal", "trace", "tril", "triu",
    "copy", "where", "select", "take", "take_along_axis", "unravel_index", "gather_nd", "scatter_nd", "slice",
    "slice_update",
]  # fmt: skip


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(shape(x))


def shape(x: Any) -> tuple[int, ...]:
    """The shape, as a tuple of ints."""
    return tuple(x.shape) if hasattr(x, "shape") else as_tensor(x).shape


def size(x: Any, axis: Any = None) -> int:
    """The number of elements, or of those along ``axis``."""
    dims = shape(x)
    return math.prod(dims[i] for i in as_axes(axis, len(dims)))


# -- shapes --------------------------------------------------------------------------------------------------------


@op
def reshape(x: Any, shape: Any) -> Any:
    """The same elements in C order as ``shape``, of which one dimension may be -1."""
    dims = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return as_tensor(x).reshape(dims)


@op
def ravel(x: Any) -> Any:
    """The elements in C order as a vector."""
    x = as_tensor(x)
    return x if x.ndim == 1 else x.reshape((x.size,))


@op
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes permuted as ``axes`` says, or reversed."""
    x = as_tensor(x)
    if axes is not None and len(axes) == 0:
        return x
    return x.transpose(None if axes is None else tuple(axes))


@op
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    x = as_tensor(x)
    i, j = as_axis(axis1, x.ndim), as_axis(axis2, x.ndim)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return x.transpose(order)


@op
def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """The axes ``source`` moved to the places ``destination``, the others kept in order."""
    x = as_tensor(x)
    return _moved(x, source, destination)


def _moved(x: Any, source: Any, destination: Any) -> Any:
    pairs = [[v] if not isinstance(v, (tuple, list)) else list(v) for v in (source, destination)]
    froms, tos = ([as_axis(a, x.ndim) for a in axes] for axes in pairs)
    if len(froms) != len(tos) or len(set(froms)) != len(froms) or len(set(tos)) != len(tos):
        raise ShapeError(f"moveaxis: {source} and {destination} must be as many distinct axes.")
    order = [i for i in range(x.ndim) if i not in froms]
    for to, axis in sorted(zip(tos, froms, strict=True)):
        order.insert(to, axis)
    return x.transpose(order) if order else x


@op
def expand_dims(x: Any, axis: Any) -> Any:
    """New axes of size 1 at the places ``axis`` of the result."""
    x = as_tensor(x)
    many = axis if isinstance(axis, (tuple, list)) else (axis,)
    at = as_axes(many, x.ndim + len(many))
    remaining = iter(x.shape)
    return x.reshape(tuple(1 if i in at else next(remaining) for i in range(x.ndim + len(many))))


@op
def squeeze(x: Any, axis: Any = None) -> Any:
    """Without the axes ``axis``, which must be of size 1; by default without all of size 1."""
    x = as_tensor(x)
    axes = [i for i, d in enumerate(x.shape) if d == 1] if axis is None else as_axes(axis, x.ndim)
    wrong = [i for i in axes if x.shape[i] != 1]
    if wrong:
        raise ShapeError(f"squeeze: axis {wrong[0]} of {x.shape} has size {x.shape[wrong[0]]}, not 1.")
    return x.reshape(tuple(d for i, d in enumerate(x.shape) if i not in axes))


@op
def broadcast_to(x: Any, shape: Any) -> Any:
    """``x`` repeated along axes of size 1, and new leading axes, to ``shape``."""
    x, shape = as_tensor(x), as_shape(shape)
    return x if x.shape == shape else BROADCAST(x, shape=shape)


@op
def broadcast_arrays(*xs: Any) -> list[Any]:
    """All broadcast to their common shape."""
    values = [as_tensor(x) for x in xs]
    common = broadcast_shapes(*(v.shape for v in values)) if values else ()
    return [v if v.shape == common else BROADCAST(v, shape=common) for v in values]


def _at_least(x: Any, rank: int) -> Any:
    x = as_tensor(x)
    if x.ndim >= rank:
        return x
    if rank == 3 and x.ndim:  # (n,) -> (1, n, 1) and (m, n) -> (m, n, 1)
        return x.reshape(((1,) if x.ndim == 1 else ()) + x.shape + (1,))
    return x.reshape((1,) * (rank - x.ndim) + x.shape)


@op
def atleast_1d(x: Any) -> Any:
    """``x`` with at least one axis."""
    return _at_least(x, 1)


@op
def atleast_2d(x: Any) -> Any:
    """``x`` with at least two axes; vectors become rows."""
    return _at_least(x, 2)


@op
def atleast_3d(x: Any) -> Any:
    """``x`` with at least three axes; (n,) becomes (1, n, 1) and (m, n) becomes (m, n, 1)."""
    return _at_least(x, 3)


@op
def copy(x: Any) -> Any:
    """``x`` itself: tensors never change."""
    return as_tensor(x)


# -- order ---------------------------------------------------------------------------------------------------------


@op
def flip(x: Any, axis: Any = None) -> Any:
    """The elements in reverse along ``axis``, by default along all axes."""
    x = as_tensor(x)
    axes = as_axes(axis, x.ndim)
    return REVERSE(x, axes=axes) if axes else x


@op
def fliplr(x: Any) -> Any:
    """The columns in reverse."""
    return flip(x, 1)


@op
def flipud(x: Any) -> Any:
    """The rows in reverse."""
    return flip(x, 0)


@op
def rot90(x: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned ``k`` times by 90 degrees, from the first of ``axes`` towards the second."""
    x = as_tensor(x)
    if len(axes) != 2 or x.ndim < 2:
        raise ShapeError(f"rot90: two axes of a tensor with at least two are needed, got {axes} of {x.shape}.")
    i, j = as_axis(axes[0], x.ndim), as_axis(axes[1], x.ndim)
    if i == j:
        raise ShapeError(f"rot90: the axes {axes} must differ.")
    turns = k % 4
    if turns == 2:
        return REVERSE(x, axes=(i, j))
    if turns == 1:
        return swapaxes(REVERSE(x, axes=(j,)), i, j)
    return REVERSE(swapaxes(x, i, j), axes=(j,)) if turns == 3 else x


@op
def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved by ``shift`` places along ``axis``, those at the end reentering at the start.

    With ``axis`` None the elements are moved in C order. Several axes take as many shifts, or one for all.
    """
    x = as_tensor(x)
    if axis is None:
        return roll(x.reshape((x.size,)), shift, 0).reshape(x.shape)
    axes = static(axis, "the axis", "give it as a Python int").reshape(-1).tolist()
    if known(shift):
        shifts = static(shift, "the shift", "").reshape(-1).tolist()
    else:
        shifts = list(as_tensor(shift).reshape((-1,)))
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ShapeError(f"roll: {len(shifts)} shifts were given for {len(axes)} axes.")
    if not shifts or not axes:
        return x
    many = max(len(shifts), len(axes))
    for by, a in zip(shifts * (many // len(shifts)), axes * (many // len(axes)), strict=True):
        a = as_axis(a, x.ndim)
        n = x.shape[a]
        if n == 0:
            continue
        if isinstance(by, int):
            cut = -by % n
            x = CONCAT(_part(x, a, cut, n), _part(x, a, 0, cut), axis=a) if cut else x
        else:
            places = (IOTA(shape=(n,), axis=0, dtype=dtypes.int32) - by) % n
            x = GATHER(x, places.astype(dtypes.int32).reshape((n, 1)), axis=a)
    return x


def _part(x: Any, axis: int, start: int, limit: int, stride: int = 1) -> Any:
    starts, limits, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], limits[axis], strides[axis] = start, limit, stride
    return SLICE(x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))


# -- joining and splitting -----------------------------------------------------------------------------------------


def _tensors(xs: Any) -> list[Any]:
    values = [as_tensor(x) for x in xs]
    if not values:
        raise ShapeError("at least one tensor is needed to join.")
    return meeting(*values)


@op
def concat(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """Tensors joined along an axis that they have; with ``axis`` None all their elements as one vector."""
    values = _tensors(xs)
    if axis is None:
        values, axis = [v.reshape((v.size,)) for v in values], 0
    return CONCAT(*values, axis=as_axis(axis, values[0].ndim)) if len(values) > 1 else values[0]


@op
def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""
    values = _tensors(xs)
    shapes = {v.shape for v in values}
    if len(shapes) > 1:
        raise ShapeError(f"stack: all shapes must be the same, got {', '.join(str(v.shape) for v in values)}.")
    at = as_axis(axis, values[0].ndim + 1)
    dims = values[0].shape
    values = [v.reshape((*dims[:at], 1, *dims[at:])) for v in values]
    return CONCAT(*values, axis=at) if len(values) > 1 else values[0]


@op
def vstack(xs: Sequence[Any]) -> Any:
    """Tensors joined as rows."""
    return concat([_at_least(x, 2) for x in xs], 0)


@op
def hstack(xs: Sequence[Any]) -> Any:
    """Tensors joined as columns; vectors end to end."""
    values = [_at_least(x, 1) for x in xs]
    return concat(values, 0 if values and values[0].ndim == 1 else 1)


@op
def dstack(xs: Sequence[Any]) -> Any:
    """Tensors joined along the third axis."""
    return concat([_at_least(x, 3) for x in xs], 2)


@op
def column_stack(xs: Sequence[Any]) -> Any:
    """Vectors (and matrices) joined as columns."""
    values = [as_tensor(x) for x in xs]
    return concat([v.reshape((-1, 1)) if v.ndim < 2 else v for v in values], 1)


@op
def append(x: Any, y: Any, axis: int | None = None) -> Any:
    """``y`` joined to the end of ``x`` along ``axis``, by default both as vectors."""
    return concat([x, y], axis)


def _cuts(x: Any, sections: Any, axis: int, *, even: bool) -> list[Any]:
    n = x.shape[axis]
    if isinstance(sections, (int, np.integer)):
        count = int(sections)
        if count < 1 or (even and n % count):
            raise ShapeError(
                f"split: axis {axis} of {x.shape} cannot be cut into {count} equal parts.\n"
                f"  Fix: give the places to cut at, or hb.array_split(x, {count}, axis={axis}) for unequal parts."
            )
        large = n % count
        widths = [n // count + (i < large) for i in range(count)]
        at = [sum(widths[:i]) for i in range(1, count)]
    else:
        given = static(sections, "where to split", "give the places as Python ints")
        at = [int(i) for i in np.asarray(given).reshape(-1)]
    bounds = [min(max(i + n if i < 0 else i, 0), n) for i in at]
    return [_part(x, axis, a, max(a, b)) for a, b in zip([0, *bounds], [*bounds, n], strict=True)]


@op
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """``x`` cut along ``axis`` into so many equal parts, or at the given places."""
    x = as_tensor(x)
    return _cuts(x, indices_or_sections, as_axis(axis, x.ndim), even=True)


@op
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """As ``split``, but the parts need not be equal: the first ones are longer by one."""
    x = as_tensor(x)
    return _cuts(x, indices_or_sections, as_axis(axis, x.ndim), even=False)


@op
def hsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the columns; a vector along its only axis."""
    x = as_tensor(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@op
def vsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the rows."""
    return split(x, indices_or_sections, 0)


@op
def dsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """``split`` along the third axis."""
    return split(x, indices_or_sections, 2)


@op
def unstack(x: Any, axis: int = 0) -> list[Any]:
    """The slices of ``x`` along ``axis``, without that axis."""
    x = as_tensor(x)
    axis = as_axis(axis, x.ndim)
    dims = x.shape[:axis] + x.shape[axis + 1 :]
    return [_part(x, axis, i, i + 1).reshape(dims) for i in range(x.shape[axis])]


# -- repeating -----------------------------------------------------------------------------------------------------


def take_static(x: Any, indices: np.ndarray, axis: int) -> Any:
    """The elements of ``x`` at known ``indices`` along ``axis``: a few slices joined where that does, else a gather."""
    runs = _runs(indices)
    if len(runs) > 8:
        return GATHER(x, constant(indices.astype(np.int32).reshape(-1, 1)), axis=axis)
    parts = []
    for start, step, count in runs:
        if step == 0 and count > 1:
            dims = (*x.shape[:axis], count, *x.shape[axis + 1 :])
            parts.append(BROADCAST(_part(x, axis, start, start + 1), shape=dims))
        elif step >= 0:
            parts.append(_part(x, axis, start, start + count))
        else:
            parts.append(REVERSE(_part(x, axis, start - count + 1, start + 1), axes=(axis,)))
    return CONCAT(*parts, axis=axis) if len(parts) > 1 else parts[0]


def _runs(indices: np.ndarray) -> list[tuple[int, int, int]]:
    """Indices as runs (start, step, count) with steps of -1, 0 and 1."""
    runs: list[tuple[int, int, int]] = []
    for i in indices.tolist():
        if runs:
            start, step, count = runs[-1]
            new = i - (start + step * (count - 1))
            if (new == step and count > 1) or (count == 1 and new in (-1, 0, 1)):
                runs[-1] = (start, new, count + 1)
                continue
        runs.append((i, 1, 1))
    return runs


@op
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element (or slice along ``axis``) repeated ``repeats`` times; a number for each, or one for all.

    Raises TracingError if ``repeats`` is symbolic.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape((x.size,)), 0
    axis = as_axis(axis, x.ndim)
    times = static(repeats, "how often to repeat", "give the repeats as Python ints").reshape(-1)
    if (times < 0).any():
        raise ShapeError(f"repeat: repeats must not be negative, got {times.tolist()}.")
    n = x.shape[axis]
    if times.size == 1:
        count = int(times[0])
        dims = (*x.shape[: axis + 1], count, *x.shape[axis + 1 :])
        out = BROADCAST(x.reshape((*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])), shape=dims)
        return out.reshape((*x.shape[:axis], n * count, *x.shape[axis + 1 :]))
    if times.size != n:
        raise ShapeError(f"repeat: {times.size} repeats were given for the {n} elements along axis {axis}.")
    places = np.repeat(np.arange(n), times)
    return take_static(x, places, axis) if places.size else _part(x, axis, 0, 0)


@op
def tile(x: Any, repeats: Any) -> Any:
    """``x`` laid out ``repeats`` times along each axis; missing axes and repeats are 1."""
    x = as_tensor(x)
    times = [int(r) for r in static(repeats, "how often to tile", "give the repeats as Python ints").reshape(-1)]
    rank = max(x.ndim, len(times))
    times = [1] * (rank - len(times)) + times
    dims = (1,) * (rank - x.ndim) + x.shape
    if all(t == 1 for t in times):
        return x.reshape(dims)
    apart = tuple(d for n in dims for d in (1, n))
    wide = tuple(d for t, n in zip(times, dims, strict=True) for d in (t, n))
    return BROADCAST(x.reshape(apart), shape=wide).reshape(tuple(t * n for t, n in zip(times, dims, strict=True)))


# -- diagonals -----------------------------------------------------------------------------------------------------


@op
def diag(x: Any, k: int = 0) -> Any:
    """The ``k``-th diagonal of a matrix; of a vector the matrix that has it there and zeros elsewhere."""
    x = as_tensor(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: a vector or a matrix is needed, got shape {x.shape}.")
    # In C order the elements of a diagonal are a row and a place apart, so it is a padding.
    length = x.shape[0]
    n = length + abs(k)
    if length == 0:
        return filled((n, n), 0, x.dtype)
    before = k if k >= 0 else -k * n
    after = n * n - before - (length - 1) * (n + 1) - 1
    zero = scalar(0, x.dtype)
    return PAD(x, zero, before=(before,), after=(after,), between=(n,)).reshape((n, n))


@op
def diagflat(x: Any, k: int = 0) -> Any:
    """The matrix that has the elements of ``x`` on its ``k``-th diagonal."""
    return diag(ravel(x), k)


@op
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonals of the matrices along two axes, as a new last axis."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"diagonal: at least two axes are needed, got shape {x.shape}.")
    i, j = as_axis(axis1, x.ndim), as_axis(axis2, x.ndim)
    if i == j:
        raise ShapeError("diagonal: the two axes must differ.")
    x = _moved(x, (i, j), (-2, -1))
    rows, columns = x.shape[-2:]
    start = offset if offset >= 0 else -offset * columns
    count = max(min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns), 0)
    flat = x.reshape((*x.shape[:-2], rows * columns))
    if count == 0:
        return _part(flat, flat.ndim - 1, 0, 0)
    return _part(flat, flat.ndim - 1, start, start + (count - 1) * (columns + 1) + 1, columns + 1)


@op
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal."""
    line = diagonal(x, offset, axis1, axis2)
    return line.astype(accumulator_dtype(line.dtype)).sum(-1)


@op
def tril(x: Any, k: int = 0) -> Any:
    """Matrices with zeros above the ``k``-th diagonal."""
    x = as_tensor(x)
    return SELECT(offsets(*_matrix("tril", x)) <= k, x, scalar(0, x.dtype))


@op
def triu(x: Any, k: int = 0) -> Any:
    """Matrices with zeros below the ``k``-th diagonal."""
    x = as_tensor(x)
    return SELECT(offsets(*_matrix("triu", x)) >= k, x, scalar(0, x.dtype))


def _matrix(name: str, x: Any) -> tuple[int, int]:
    if x.ndim < 2:
        raise ShapeError(f"{name}: at least two axes are needed, got shape {x.shape}.")
    return x.shape[-2], x.shape[-1]
