"""The operations on arrays that TensorFlow has at its root: making, joining, cutting, picking."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.errors import InvalidArgumentError, ShapeError, TracingError, explain
from hornbeam.ir.primitives.index import SCATTER
from hornbeam.ops import array as arrays
from hornbeam.ops import contraction, creation, nn, padding, sorting
from hornbeam.ops import linalg as algebra
from hornbeam.ops import math as maths
from hornbeam.runtime.graph import GraphTensor, recording
from hornbeam.runtime.tensor import Tensor, as_tensor
from hornbeam.tensorflow.names import ints, op

newaxis = None

# -- making ----------------------------------------------------------------------------------------------------------


def convert_to_tensor(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    """``value`` as a tensor: int32 for Python's ints, float32 for its floats, arrays in their own dtype."""
    if recording() is not None and not isinstance(value, GraphTensor):
        return constant(value, dtype, name=name)
    return as_tensor(value, dtype)


@op
def constant(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A tensor of known values, repeated to ``shape`` if that is given."""
    out = as_tensor(value, dtype)
    if shape is None:
        return out
    shape = ints(shape)
    return out.reshape(shape) if out.size == np.prod(shape, dtype=int) else arrays.broadcast_to(out, shape)


@op
def zeros(shape: Any, dtype: Any = "float32") -> Any:
    """A tensor of 0."""
    return creation.zeros(ints(shape), dtype)


@op
def ones(shape: Any, dtype: Any = "float32") -> Any:
    """A tensor of 1."""
    return creation.ones(ints(shape), dtype)


@op
def fill(dims: Any, value: Any) -> Any:
    """A tensor of ``value``."""
    return arrays.broadcast_to(as_tensor(value), ints(dims))


@op
def zeros_like(input: Any, dtype: Any = None) -> Any:
    """0 in the shape and dtype of ``input``."""
    return creation.zeros_like(input, dtype)


@op
def ones_like(input: Any, dtype: Any = None) -> Any:
    """1 in the shape and dtype of ``input``."""
    return creation.ones_like(input, dtype)


@op
def eye(num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = "float32") -> Any:
    """1 on the diagonal, 0 beside it."""
    out = creation.eye(int(num_rows), None if num_columns is None else int(num_columns), dtype=dtype)
    return out if batch_shape is None else arrays.broadcast_to(out, (*ints(batch_shape), *out.shape))


@op
def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None) -> Any:
    """``start``, ``start + delta`` … below ``limit``; from 0 if there is one argument only."""
    return creation.arange(start, limit, delta, dtype)


@op
def linspace(start: Any, stop: Any, num: Any, axis: int = 0) -> Any:
    """``num`` values from ``start`` to ``stop``, both included."""
    return creation.linspace(start, stop, int(num), axis=axis)


@op
def one_hot(
    indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: Any = -1, dtype: Any = None
) -> Any:
    """``on_value`` (1) at the class that each index names along a new ``axis``, ``off_value`` (0) elsewhere."""
    hits = nn.one_hot(indices, int(depth), axis=-1 if axis is None else int(axis), dtype="bool")
    given = next((as_tensor(v).dtype for v in (on_value, off_value) if v is not None), "float32")
    on, off = (as_tensor(d if v is None else v).astype(dtype or given) for v, d in ((on_value, 1), (off_value, 0)))
    return arrays.where(hits, on, off)


@op
def meshgrid(*args: Any, indexing: str = "xy") -> Any:
    """Coordinates of a grid, one array for each axis."""
    return creation.meshgrid(*args, indexing=indexing)


@op
def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = "bool") -> Any:
    """For each length so many True, then False up to ``maxlen``."""
    lengths = as_tensor(lengths)
    width = int(np.max(np.asarray(lengths), initial=0)) if maxlen is None else int(maxlen)
    return (creation.arange(width).astype(lengths.dtype) < arrays.expand_dims(lengths, -1)).astype(dtype)


@op
def identity(input: Any) -> Any:
    """The same values as a tensor of its own."""
    return arrays.copy(input)


@op
def cast(x: Any, dtype: Any) -> Any:
    """The same values in another dtype."""
    return maths.cast(x, dtype)


@op
def bitcast(input: Any, type: Any) -> Any:
    """The same bits read as another dtype."""
    return maths.bitcast(input, type)


@op
def saturate_cast(value: Any, dtype: Any) -> Any:
    """Cast, with what does not fit moved to the dtype's limits."""
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    return maths.cast(maths.clip(value, info.min, info.max), dtype)


# -- asking ----------------------------------------------------------------------------------------------------------


@op
def shape(input: Any, out_type: Any = "int32") -> Any:
    """The shape as a tensor; in a graph that of the run, without unknown dimensions."""
    return as_tensor(np.array(as_tensor(input).shape, np.dtype(out_type)))


@op
def size(input: Any, out_type: Any = "int32") -> Any:
    """The number of elements as a tensor."""
    return as_tensor(np.array(as_tensor(input).size, np.dtype(out_type)))


@op
def rank(input: Any) -> Any:
    """The number of axes as a tensor."""
    return as_tensor(np.array(as_tensor(input).ndim, np.int32))


def is_tensor(x: Any) -> bool:
    """Whether ``x`` is a tensor or variable of this runtime."""
    return isinstance(x, (Tensor, GraphTensor)) or hasattr(x, "read_value")


def get_static_value(tensor: Any) -> Any:
    """The value as an array if it is known before any run, else None."""
    try:
        return np.array(tensor)
    except TracingError:
        return None


@op
def ensure_shape(x: Any, shape: Any) -> Any:
    """``x`` itself. Raises ShapeError if it does not have ``shape``, in which None fits anything."""
    x = as_tensor(x)
    if len(shape) != x.ndim or any(d is not None and d != n for d, n in zip(shape, x.shape)):
        raise ShapeError(explain(f"ensure_shape: the tensor has shape {tuple(x.shape)}, not {tuple(shape)}."))
    return x


# -- shape -----------------------------------------------------------------------------------------------------------


@op
def reshape(tensor: Any, shape: Any) -> Any:
    """The same elements in another shape; one dimension may be -1."""
    return arrays.reshape(tensor, ints(shape))


@op
def transpose(a: Any, perm: Any = None, conjugate: bool = False) -> Any:
    """Axes permuted as ``perm`` says, or reversed."""
    out = arrays.transpose(a, None if perm is None else ints(perm))
    return maths.conj(out) if conjugate else out


@op
def expand_dims(input: Any, axis: Any) -> Any:
    """A new axis of size 1."""
    return arrays.expand_dims(input, int(axis))


@op
def squeeze(input: Any, axis: Any = None) -> Any:
    """Without axes of size 1, or without those given."""
    return arrays.squeeze(input, None if axis is None or axis == [] else ints(axis))


@op
def broadcast_to(input: Any, shape: Any) -> Any:
    """``input`` repeated to ``shape``."""
    return arrays.broadcast_to(input, ints(shape))


@op
def tile(input: Any, multiples: Any) -> Any:
    """``input`` repeated so many times along each axis."""
    return arrays.tile(input, ints(multiples))


@op
def repeat(input: Any, repeats: Any, axis: Any = None) -> Any:
    """Each element repeated."""
    return arrays.repeat(input, repeats, axis)


@op
def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0) -> Any:
    """More elements before and after those along each axis."""
    widths = [ints(pair) for pair in paddings]
    return padding.pad(tensor, widths, mode=mode.lower(), constant_values=constant_values)


@op
def reverse(tensor: Any, axis: Any) -> Any:
    """The other way round along ``axis``."""
    return arrays.flip(tensor, ints(axis))


@op
def roll(input: Any, shift: Any, axis: Any) -> Any:
    """Moved along ``axis``; what leaves at one end comes in at the other."""
    shifts, axes = ints(shift), ints(axis)
    return arrays.roll(input, shifts, axes)


# -- joining and cutting ---------------------------------------------------------------------------------------------


@op
def concat(values: Any, axis: Any) -> Any:
    """Tensors joined along ``axis``."""
    return arrays.concat(list(values) if isinstance(values, (list, tuple)) else [values], axis=int(axis))


@op
def stack(values: Any, axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""
    return arrays.stack(list(values), axis=axis)


def unstack(value: Any, num: Any = None, axis: int = 0, name: str | None = None) -> Any:
    """The slices along ``axis``, as a list. Raises ShapeError if a graph does not know how many."""
    if isinstance(value, GraphTensor) and value.shape[axis] is None:
        raise ShapeError(
            explain(
                f"unstack: how many slices {value.name} of shape {value.shape} has is not known before the run.",
                fix="tf.map_fn or tf.scan over them, or a placeholder with all dimensions given",
            )
        )
    return _unstack(value, axis=axis, name=name or "unstack")


@op
def _unstack(value: Any, axis: int) -> Any:
    return list(arrays.unstack(value, axis=axis))


@op
def split(value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None) -> Any:
    """Cut along ``axis`` into so many equal parts, or into parts of these sizes (one may be -1), as a list."""
    value, axis = as_tensor(value), int(axis)
    if isinstance(num_or_size_splits, int) or getattr(num_or_size_splits, "shape", None) == ():
        return list(arrays.split(value, int(num_or_size_splits), axis))
    sizes = list(ints(num_or_size_splits))
    if -1 in sizes:
        sizes[sizes.index(-1)] = value.shape[axis] - sum(sizes) - 1
    if sum(sizes) != value.shape[axis]:
        raise ShapeError(f"split: parts of sizes {sizes} do not make up axis {axis} of {tuple(value.shape)}.")
    return list(arrays.split(value, np.cumsum(sizes)[:-1].tolist(), axis))


@op
def slice(input_: Any, begin: Any, size: Any) -> Any:
    """The block of ``size`` that starts at ``begin``; -1 is up to the end."""
    x = as_tensor(input_)
    parts = zip(ints(begin), ints(size), x.shape)
    return x[tuple(builtins.slice(b, n if s == -1 else b + s) for b, s, n in parts)]


@op
def strided_slice(input_: Any, begin: Any, end: Any, strides: Any = None) -> Any:
    """``input_[begin:end:strides]`` along each axis."""
    first = ints(begin)
    steps = ints(strides) if strides is not None else (1,) * len(first)
    return as_tensor(input_)[tuple(builtins.slice(*bounds) for bounds in zip(first, ints(end), steps))]


# -- picking ---------------------------------------------------------------------------------------------------------


@op
def gather(params: Any, indices: Any, validate_indices: Any = None, axis: Any = None, batch_dims: int = 0) -> Any:
    """The slices of ``params`` along ``axis`` that ``indices`` name.

    The first ``batch_dims`` axes of both go together.
    """
    params, indices = as_tensor(params), as_tensor(indices)
    axis = batch_dims if axis is None else int(axis)
    if not batch_dims:
        return arrays.take(params, indices, axis=axis)
    rows = zip(arrays.unstack(params), arrays.unstack(indices))
    return arrays.stack([gather(p, i, axis=axis - 1, batch_dims=batch_dims - 1) for p, i in rows])


@op
def gather_nd(params: Any, indices: Any, batch_dims: int = 0) -> Any:
    """The elements or slices of ``params`` that the rows of ``indices`` name."""
    if not batch_dims:
        return arrays.gather_nd(params, indices)
    rows = zip(arrays.unstack(params), arrays.unstack(indices))
    return arrays.stack([gather_nd(p, i, batch_dims=batch_dims - 1) for p, i in rows])


@op
def scatter_nd(indices: Any, updates: Any, shape: Any) -> Any:
    """0 in ``shape`` with ``updates`` added at the places that the rows of ``indices`` name."""
    return arrays.scatter_nd(indices, updates, ints(shape))


def _scattered(name: str, mode: str, doc: str) -> Any:
    def fn(tensor: Any, indices: Any, updates: Any) -> Any:
        tensor = as_tensor(tensor)
        return SCATTER(tensor, as_tensor(indices), as_tensor(updates).astype(tensor.dtype), axis=0, mode=mode)

    fn.__name__, fn.__doc__ = name, doc
    return op(fn)


tensor_scatter_nd_update = _scattered("tensor_scatter_nd_update", "set", "``tensor`` with ``updates`` at ``indices``.")
tensor_scatter_nd_add = _scattered("tensor_scatter_nd_add", "add", "``tensor`` with ``updates`` added at ``indices``.")
tensor_scatter_nd_max = _scattered("tensor_scatter_nd_max", "max", "The larger of ``tensor`` and ``updates``.")
tensor_scatter_nd_min = _scattered("tensor_scatter_nd_min", "min", "The smaller of ``tensor`` and ``updates``.")


@op
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """``x`` where the condition holds, ``y`` elsewhere; with the condition alone the int64 indices where it holds."""
    if x is None and y is None:
        return sorting.argwhere(condition).astype("int64")
    return arrays.where(condition, x, y)


@op
def boolean_mask(tensor: Any, mask: Any, axis: Any = None) -> Any:
    """The elements or slices where ``mask`` holds. Its shape depends on values, so only eagerly."""
    tensor, mask = as_tensor(tensor), as_tensor(mask)
    places = sorting.nonzero(mask.reshape((-1,)))[0]
    axis = 0 if axis is None else int(axis)
    joined = (*tensor.shape[:axis], mask.size, *tensor.shape[axis + mask.ndim :])
    return arrays.take(tensor.reshape(joined), places, axis=axis)


@op
def dynamic_partition(data: Any, partitions: Any, num_partitions: int) -> Any:
    """The rows of ``data`` by the number of their partition, as a list. Only eagerly."""
    partitions = as_tensor(partitions)
    return [boolean_mask(data, partitions == i) for i in builtins.range(num_partitions)]


# -- order -----------------------------------------------------------------------------------------------------------

_DIRECTIONS = {"ASCENDING": False, "DESCENDING": True}


def _descending(direction: str) -> bool:
    if direction not in _DIRECTIONS:
        raise InvalidArgumentError(f"direction is one of {', '.join(_DIRECTIONS)}, got {direction!r}.")
    return _DIRECTIONS[direction]


@op
def sort(values: Any, axis: int = -1, direction: str = "ASCENDING") -> Any:
    """The elements along ``axis`` in order."""
    return sorting.sort(values, axis=axis, descending=_descending(direction))


@op
def argsort(values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False) -> Any:
    """The indices that put the elements along ``axis`` in order."""
    return sorting.argsort(values, axis=axis, descending=_descending(direction))


@op
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = "int32") -> Any:
    """Where to insert ``values`` so that the sequence stays sorted."""
    return sorting.searchsorted(sorted_sequence, values, side=side).astype(out_type)


@op
def unique(x: Any, out_idx: Any = "int32") -> Any:
    """The distinct elements in the order of their first occurrence, and for each element which one it is."""
    return unique_with_counts(x, out_idx)[:2]


@op
def unique_with_counts(x: Any, out_idx: Any = "int32") -> Any:
    """``unique``, and how often each occurs."""
    values, first, inverse, counts = sorting.unique(as_tensor(x), True, True, True)
    order = sorting.argsort(first)
    place = arrays.take(sorting.argsort(order), inverse.reshape((-1,)), 0)
    return arrays.take(values, order, 0), place.astype(out_idx), arrays.take(counts, order, 0).astype(out_idx)


# -- products --------------------------------------------------------------------------------------------------------


@op
def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
) -> Any:
    """The matrix product of the last two axes."""
    a = maths.conj(a) if adjoint_a else as_tensor(a)
    b = maths.conj(b) if adjoint_b else as_tensor(b)
    a = arrays.swapaxes(a, -1, -2) if transpose_a or adjoint_a else a
    b = arrays.swapaxes(b, -1, -2) if transpose_b or adjoint_b else b
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(
            explain(
                f"matmul: shapes {tuple(a.shape)} and {tuple(b.shape)}; both must have at least two axes.",
                fix="tf.tensordot(a, b, 1), or x[:, None] to make a column of a vector",
            )
        )
    return contraction.matmul(a, b)


@op
def tensordot(a: Any, b: Any, axes: Any) -> Any:
    """The sum of products over ``axes``."""
    return contraction.tensordot(a, b, axes)


@op
def einsum(equation: str, *inputs: Any) -> Any:
    """Sums of products as Einstein wrote them."""
    return contraction.einsum(equation, *inputs)


@op
def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of all elements, or along ``axis``."""
    if ord == "euclidean":
        return maths.sqrt(maths.square(as_tensor(tensor)).sum(None if axis is None else ints(axis), keepdims))
    return algebra.norm(tensor, ord, axis, keepdims)


def no_op(name: str | None = None) -> Any:
    """An operation that does nothing; None outside graphs."""
    return group(name=name or "NoOp")


def group(*inputs: Any, name: str | None = None) -> Any:
    """An operation that runs all of ``inputs``; None outside graphs, where they have run already."""
    graph = recording()
    flat = [x for given in inputs for x in (given if isinstance(given, (list, tuple)) else [given]) if x is not None]
    return None if graph is None else graph.group(flat, name or "group_deps")


def tuple_of(tensors: Sequence[Any]) -> list[Any]:
    """Tensors that are all computed before any is used."""
    graph = recording()
    if graph is None:
        return list(tensors)
    with graph.control_dependencies([t for t in tensors if t is not None]):
        return [None if t is None else identity(t) for t in tensors]


__all__ = [
    name for name, value in globals().items() if getattr(value, "__module__", None) == __name__ and name[0] != "_"
]
__all__ += ["newaxis"]
