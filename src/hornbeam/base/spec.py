"""``Spec``: the shape and dtype of a value, always concrete. And the shape arithmetic that every rule needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base.dtypes import DType, as_dtype
from hornbeam.errors import ShapeError

Shape = tuple[int, ...]

class PartialShape(tuple[int | None, ...]):
    """A shape in which None stands for a dimension not known before the run."""

    def as_list(self) -> list[int | None]:
        return list(self)

    @property
    def rank(self) -> int:
        return len(self)

    ndims = rank

    def is_fully_defined(self) -> bool:
        return None not in self

    def __repr__(self) -> str:
        return f"({', '.join('?' if d is None else str(d) for d in self)}{',' if len(self) == 1 else ''})"


MAX_ELEMENTS = 2**48  # a product of dimensions beyond this is a mistake, not a tensor


class Spec(NamedTuple):
    """Shape and dtype of one value."""

    shape: Shape
    dtype: DType

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


def spec(shape: Any, dtype: Any = "float32") -> Spec:
    """A checked Spec. Raises ShapeError for negative, non-integer or absurdly large dimensions."""
    return Spec(as_shape(shape), as_dtype(dtype))


def as_shape(shape: Any) -> Shape:
    """A tuple of non-negative ints from an int or a sequence of ints.

    Raises ShapeError for anything else, and for more than 2**48 elements.
    """
    if isinstance(shape, (int, np.integer)):
        shape = (shape,)
    try:
        dims = tuple(as_dim(d) for d in shape)
    except TypeError as error:
        raise ShapeError(f"{shape!r} is not a shape: {error}") from None
    if any(d < 0 for d in dims):
        raise ShapeError(f"shape {dims} has a negative dimension.")
    if math.prod(dims) > MAX_ELEMENTS:
        raise ShapeError(f"shape {dims} has {math.prod(dims)} elements, more than any tensor may have (2**48).")
    return dims


def as_dim(d: Any) -> int:
    """One dimension as an int. Raises TypeError for floats, bools and everything without ``__index__``."""
    if isinstance(d, (bool, np.bool_)):
        raise TypeError(f"a dimension must be an int, got {d!r}")
    return d.__index__() if hasattr(d, "__index__") else _not_a_dim(d)


def _not_a_dim(d: Any) -> int:
    raise TypeError(f"a dimension must be an int, got {d!r} of type {type(d).__name__}")


def as_axis(axis: Any, ndim: int) -> int:
    """``axis`` counted from the front. Raises ShapeError if it is out of range."""
    try:
        i = as_dim(axis)
    except TypeError:
        raise ShapeError(f"an axis must be an int, got {axis!r}.") from None
    if not -ndim <= i < ndim:
        raise ShapeError(f"axis {i} is out of range for {ndim} dimensions.")
    return i % ndim


def as_axes(axes: Any, ndim: int) -> tuple[int, ...]:
    """Sorted distinct axes counted from the front; ``None`` means all of them."""
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, (tuple, list)):
        axes = (axes,)
    out = sorted(as_axis(a, ndim) for a in axes)
    if len(set(out)) != len(out):
        raise ShapeError(f"axes {tuple(axes)} repeat an axis.")
    return tuple(out)


def broadcast_shapes(*shapes: Shape, name: str = "broadcast") -> Shape:
    """The common shape under NumPy's rules. Raises ShapeError naming the shapes and the usual cause."""
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    rank = max(map(len, shapes))
    out = []
    for i in range(rank):
        dims = {s[i - rank + len(s)] for s in shapes if i - rank + len(s) >= 0} - {1}
        if len(dims) > 1:
            raise ShapeError(_broadcast_message(name, shapes, i - rank))
        out.append(dims.pop() if dims else 1)
    return tuple(out)


def _broadcast_message(name: str, shapes: Sequence[Shape], axis: int) -> str:
    listed = " and ".join(map(str, shapes))
    message = f"{name}: shapes {listed} do not broadcast (axis {axis} from the end differs and neither is 1)."
    ranks = {len(s) for s in shapes}
    if len(ranks) > 1:
        message += "\n  Often one operand lacks a trailing axis; to pair it per row write   y[:, None]"
    return message
