"""Keras's operations on shapes and places: creation, joining, indexing, sorting."""

from __future__ import annotations

import numpy as np
from keras.src.backend import config
from keras.src.backend.common.variables import standardize_dtype

from hornbeam.base.dtypes import as_dtype, is_floating, result_type
from hornbeam.ops import array as arrays
from hornbeam.ops import control, creation, indexing, padding, sorting
from keras_hornbeam.src.ops import core
from keras_hornbeam.src.ops.core import convert_to_tensor
from keras_hornbeam.src.ops.promotion import (
    SCALARS,
    meet,
    meet_floating,
    together,
    values,
    without_bool,
)

__all__ = [
    "append", "arange", "argpartition", "argsort", "array", "array_split", "bartlett", "bincount", "blackman",
    "broadcast_to", "column_stack", "concatenate", "copy", "diag", "diagflat", "diagonal", "diff", "digitize", "dsplit",
    "dstack", "empty", "empty_like", "expand_dims", "eye", "flip", "fliplr", "flipud", "full", "full_like", "geomspace",
    "hamming", "hanning", "histogram", "hsplit", "hstack", "identity", "isin", "kaiser", "linspace", "logspace",
    "meshgrid", "moveaxis", "ndim", "nonzero", "ones", "ones_like", "pad", "ravel", "repeat", "reshape", "roll",
    "rot90", "searchsorted", "size", "sort", "split", "squeeze", "stack", "swapaxes", "take", "take_along_axis", "tile",
    "trace", "transpose", "tri", "tril", "triu", "unique", "unravel_index", "vander", "vectorize", "vsplit", "vstack",
    "zeros", "zeros_like",
]  # fmt: skip


def _dtype(dtype):
    return standardize_dtype(dtype or config.floatx())


# -- creation ------------------------------------------------------------------------------------------------------


def array(x, dtype=None):
    return convert_to_tensor(x, dtype)


def zeros(shape, dtype=None):
    return creation.zeros(shape, _dtype(dtype))


def ones(shape, dtype=None):
    return creation.ones(shape, _dtype(dtype))


def empty(shape, dtype=None):
    return creation.empty(shape, _dtype(dtype))


def full(shape, fill_value, dtype=None):
    return creation.full(shape, convert_to_tensor(fill_value, _dtype(dtype)))


def zeros_like(x, dtype=None):
    x = convert_to_tensor(x)
    return creation.zeros_like(x, _dtype(dtype or x.dtype))


def ones_like(x, dtype=None):
    x = convert_to_tensor(x)
    return creation.ones_like(x, _dtype(dtype or x.dtype))


def empty_like(x, dtype=None):
    return zeros_like(x, dtype)


def full_like(x, fill_value, dtype=None):
    x = convert_to_tensor(x)
    return creation.full_like(x, convert_to_tensor(fill_value), _dtype(dtype or x.dtype))


def eye(N, M=None, k=0, dtype=None):
    return creation.eye(int(N), None if M is None else int(M), k, _dtype(dtype))


def identity(n, dtype=None):
    return creation.identity(n, _dtype(dtype))


def tri(N, M=None, k=0, dtype=None):
    return creation.tri(N, M, k, _dtype(dtype))


def arange(start, stop=None, step=None, dtype=None):
    given = [x for x in (start, stop, step) if x is not None]
    if dtype is None:
        dtype = meet(*(x if type(x) in SCALARS else convert_to_tensor(x) for x in given))
    return creation.arange(start, stop, 1 if step is None else step, standardize_dtype(dtype))


def _between(start, stop, dtype):
    """The bounds as floating tensors, and the dtype of what lies between them."""
    start, stop = values(start, stop)
    working = meet_floating(start, stop)
    dtype = standardize_dtype(dtype or working)
    if is_floating(as_dtype(dtype)):  # a wider result is computed as wide
        working = result_type(working, as_dtype(dtype))
    return convert_to_tensor(start, working), convert_to_tensor(stop, working), dtype


def linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0):
    start, stop, dtype = _between(start, stop, dtype)
    return creation.linspace(start, stop, num, endpoint, retstep, dtype, axis)


def logspace(start, stop, num=50, endpoint=True, base=10, dtype=None, axis=0):
    start, stop, dtype = _between(start, stop, dtype)
    return creation.logspace(start, stop, num, endpoint, convert_to_tensor(base, start.dtype), dtype, axis)


def geomspace(start, stop, num=50, endpoint=True, dtype=None, axis=0):
    start, stop, dtype = _between(start, stop, dtype)
    return creation.geomspace(start, stop, num, endpoint, dtype, axis)


def meshgrid(*x, indexing="xy"):
    return creation.meshgrid(*(convert_to_tensor(e) for e in x), indexing=indexing)


def vander(x, N=None, increasing=False):
    return creation.vander(convert_to_tensor(x), N, increasing)


def bartlett(x):
    return creation.bartlett(x, config.floatx())


def blackman(x):
    return creation.blackman(x, config.floatx())


def hamming(x):
    return creation.hamming(x, config.floatx())


def hanning(x):
    return creation.hanning(x, config.floatx())


def kaiser(x, beta):
    return creation.kaiser(x, convert_to_tensor(beta, config.floatx()), config.floatx())


# -- shapes --------------------------------------------------------------------------------------------------------


def ndim(x):
    return len(x.shape) if hasattr(x, "shape") else np.ndim(x)


def size(x):
    return arrays.size(convert_to_tensor(x))


def copy(x):
    return convert_to_tensor(x)


def reshape(x, newshape):
    return arrays.reshape(convert_to_tensor(x), newshape)


def ravel(x):
    return arrays.ravel(convert_to_tensor(x))


def transpose(x, axes=None):
    return arrays.transpose(convert_to_tensor(x), axes)


def swapaxes(x, axis1, axis2):
    return arrays.swapaxes(convert_to_tensor(x), axis1, axis2)


def moveaxis(x, source, destination):
    return arrays.moveaxis(convert_to_tensor(x), source, destination)


def expand_dims(x, axis):
    return arrays.expand_dims(convert_to_tensor(x), axis)


def squeeze(x, axis=None):
    return arrays.squeeze(convert_to_tensor(x), axis)


def broadcast_to(x, shape):
    return arrays.broadcast_to(convert_to_tensor(x), shape)


def flip(x, axis=None):
    return arrays.flip(convert_to_tensor(x), axis)


def fliplr(x):
    return arrays.fliplr(convert_to_tensor(x))


def flipud(x):
    return arrays.flipud(convert_to_tensor(x))


def rot90(array, k=1, axes=(0, 1)):
    array = convert_to_tensor(array)
    if array.ndim < 2:
        raise ValueError(f"Input array must have at least 2 dimensions. Received: array.ndim={array.ndim}")
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ValueError(f"Invalid axes: {axes}. Axes must be a tuple of two different dimensions.")
    return arrays.rot90(array, k, axes)


def roll(x, shift, axis=None):
    return arrays.roll(convert_to_tensor(x), shift, axis)


# -- joining, splitting, repeating ---------------------------------------------------------------------------------


def append(x1, x2, axis=None):
    x1, x2 = together(x1, x2)
    return arrays.append(x1, x2, axis=axis)


def concatenate(xs, axis=0):
    return arrays.concat(together(*xs), axis)


def stack(x, axis=0):
    return arrays.stack(together(*x), axis)


def vstack(xs):
    return arrays.vstack(together(*xs))


def hstack(xs):
    return arrays.hstack(together(*xs))


def dstack(xs):
    return arrays.dstack(together(*xs))


def column_stack(xs):
    return arrays.column_stack(together(*xs))


def split(x, indices_or_sections, axis=0):
    return arrays.split(convert_to_tensor(x), indices_or_sections, axis)


def array_split(x, indices_or_sections, axis=0):
    return arrays.array_split(convert_to_tensor(x), indices_or_sections, axis)


def hsplit(x, indices_or_sections):
    return arrays.hsplit(convert_to_tensor(x), indices_or_sections)


def vsplit(x, indices_or_sections):
    return arrays.vsplit(convert_to_tensor(x), indices_or_sections)


def dsplit(x, indices_or_sections):
    return arrays.dsplit(convert_to_tensor(x), indices_or_sections)


def pad(x, pad_width, mode="constant", constant_values=None):
    if constant_values is not None and mode != "constant":
        raise ValueError(
            f"Argument `constant_values` can only be provided when `mode == 'constant'`. Received: mode={mode}"
        )
    return padding.pad(convert_to_tensor(x), pad_width, mode, 0 if constant_values is None else constant_values)


def repeat(x, repeats, axis=None):
    return arrays.repeat(convert_to_tensor(x), repeats, axis)


def tile(x, repeats):
    return arrays.tile(convert_to_tensor(x), repeats)


# -- diagonals -----------------------------------------------------------------------------------------------------


def diag(x, k=0):
    return arrays.diag(convert_to_tensor(x), k)


def diagflat(x, k=0):
    return arrays.diagflat(convert_to_tensor(x), k)


def diagonal(x, offset=0, axis1=0, axis2=1):
    return arrays.diagonal(convert_to_tensor(x), offset, axis1, axis2)


def trace(x, offset=0, axis1=0, axis2=1):
    return arrays.trace(convert_to_tensor(x), offset, axis1, axis2)


def tril(x, k=0):
    return arrays.tril(convert_to_tensor(x), k)


def triu(x, k=0):
    return arrays.triu(convert_to_tensor(x), k)


# -- choosing, sorting, counting -----------------------------------------------------------------------------------


def take(x, indices, axis=None):
    return indexing.take(convert_to_tensor(x), convert_to_tensor(indices), axis)


def take_along_axis(x, indices, axis=None):
    return indexing.take_along_axis(convert_to_tensor(x), convert_to_tensor(indices), axis)


def unravel_index(indices, shape):
    indices = convert_to_tensor(indices)
    return tuple(i.astype(indices.dtype) for i in indexing.unravel_index(indices, shape))


def sort(x, axis=-1):
    return sorting.sort(convert_to_tensor(x), axis)


def argsort(x, axis=-1):
    x = convert_to_tensor(x)
    return sorting.argsort(x, axis if x.ndim else None)


def argpartition(x, kth, axis=-1):
    return sorting.argpartition(convert_to_tensor(x), kth, axis)


def searchsorted(sorted_sequence, values, side="left"):
    if ndim(sorted_sequence) != 1:
        raise ValueError(
            "`searchsorted` only supports 1-D sorted sequences. You can use `keras.ops.vectorized_map` to extend it "
            f"to N-D sequences. Received: sorted_sequence.shape={sorted_sequence.shape}"
        )
    sorted_sequence, values = together(sorted_sequence, values)
    return sorting.searchsorted(sorted_sequence, values, side=side)


def digitize(x, bins):
    x, bins = together(x, bins)
    return sorting.digitize(x, bins)


def isin(x1, x2, assume_unique=False, invert=False):
    x1, x2 = together(x1, x2)
    return sorting.isin(x1, x2, invert=invert)


def nonzero(x):
    return sorting.nonzero(convert_to_tensor(x))


def unique(
    x,
    sorted=True,
    return_index=False,
    return_inverse=False,
    return_counts=False,
    axis=None,
    size=None,
    fill_value=None,
):
    return sorting.unique(
        convert_to_tensor(x), return_index, return_inverse, return_counts, axis=axis, size=size, fill_value=fill_value
    )


def bincount(x, weights=None, minlength=0, sparse=False):
    if sparse:
        raise ValueError("Unsupported value `sparse=True` with the hornbeam backend")
    x = convert_to_tensor(x)
    weights = None if weights is None else convert_to_tensor(weights)
    if x.ndim != 2:
        return sorting.bincount(x, weights, minlength)
    # Rows are counted apart, in a result wide enough for all of them.
    rows = x.shape[0]
    length = max(sorting.bincount(arrays.ravel(x), None, minlength).shape[0], 1)
    places = without_bool(x).astype("int32") + creation.arange(rows).reshape((rows, 1)) * length
    counted = sorting.bincount(
        arrays.ravel(places), None if weights is None else arrays.ravel(weights), length=rows * length
    )
    return counted.reshape((rows, length))


def histogram(x, bins=10, range=None):
    x = convert_to_tensor(x)
    counts, edges = sorting.histogram(x.astype(meet_floating(x)), bins, range)
    return counts.astype(edges.dtype), edges


def diff(a, n=1, axis=-1):
    from hornbeam.ops import reductions

    return reductions.diff(convert_to_tensor(a), n, axis)


def vectorize(pyfunc, *, excluded=None, signature=None):
    return _Vectorized(pyfunc, excluded or set(), signature)


class _Vectorized:
    """``pyfunc`` for single elements (or the core dimensions of ``signature``), applied along all other axes."""

    def __init__(self, pyfunc, excluded, signature):
        self.pyfunc, self.excluded, self.signature = pyfunc, excluded, signature

    def __call__(self, *args, **kwargs):
        free = [i for i in range(len(args)) if i not in self.excluded]
        inputs = [convert_to_tensor(args[i]) for i in free]
        cores = _core_dimensions(self.signature, len(inputs))
        lead = np.broadcast_shapes(*(x.shape[: x.ndim - c] for x, c in zip(inputs, cores, strict=True)))
        flat = [
            arrays.broadcast_to(x, (*lead, *x.shape[x.ndim - c :])).reshape((-1, *x.shape[x.ndim - c :]))
            for x, c in zip(inputs, cores, strict=True)
        ]

        def call(elements):
            given = list(args)
            for i, e in zip(free, elements, strict=True):
                given[i] = e
            return self.pyfunc(*given, **kwargs)

        if not lead:
            return call([x.reshape(x.shape[1:]) for x in flat])
        out = control.map(call, flat)
        return core.tree.map_structure(lambda y: y.reshape((*lead, *y.shape[1:])), out)


def _core_dimensions(signature, count):
    """How many trailing axes each argument's core has: ``(n),(n,m)->()`` gives [1, 2]."""
    if signature is None:
        return [0] * count
    inputs = signature.replace(" ", "").partition("->")[0]
    return [len([d for d in part.split(",") if d]) for part in inputs.strip("()").split("),(")]
