"""The operators of tensors, nodes and rewrite patterns: one notation for all three.

Each operator finds the dtype in which its operands meet (``base.dtypes.result_type``; Python scalars are weak), lifts
and casts them, and applies a row.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import as_axes, as_axis, as_dim, as_shape
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives import arith, compare, movement, reduce


def lift(x: Any, dtype: DType) -> Any:
    """``x`` as a value of ``dtype``: scalars and arrays become constants, values are cast if they must be."""
    if isinstance(x, Operators):
        return x if x.dtype is dtype or x.dtype == dtype else arith.CAST(x, dtype=dtype)
    return constant(_exactly(x, dtype))


def _exactly(x: Any, dtype: DType) -> np.ndarray:
    if isinstance(x, int) and dtypes.is_integer(dtype):
        info = np.iinfo(dtype)
        if not info.min <= x <= info.max:
            fits = f"{dtype.name} ({info.min} … {info.max})"
            raise DTypeError(f"{x} does not fit in {fits}. Cast the tensor to a wider dtype.")
    return np.array(x, dtype)


def operand_dtype(*operands: Any) -> DType:
    """Where operands meet: tensors and arrays by the lattice, Python scalars weakly."""
    return _meeting(*map(_kind, operands))


_SCALARS = (bool, int, float, complex)


def _kind(x: Any) -> Any:
    """What decides where ``x`` meets others: the type of a Python scalar, the dtype of everything else."""
    return next(t for t in _SCALARS if isinstance(x, t)) if isinstance(x, _SCALARS) else x.dtype


@functools.cache
def _meeting(*kinds: Any) -> DType:
    return dtypes.result_type(*(k() if isinstance(k, type) else k for k in kinds))


def as_operand(x: Any) -> Any:
    """``x`` if an operator can take it (scalars, arrays, values), NotImplemented otherwise."""
    if isinstance(x, Operators):
        return x.as_operand()
    if isinstance(x, (*_SCALARS, np.ndarray)):
        return x
    if isinstance(x, np.generic):
        return np.asarray(x)
    if isinstance(x, (list, tuple)):
        array = np.asarray(x)
        typed = any(hasattr(e, "dtype") for e in x)
        return array if typed else array.astype(_OF_LISTS.get(array.dtype.name, array.dtype))
    # An object with more to it than an array (a Keras variable, a graph tensor) answers for itself.
    return NotImplemented


# What a list of Python numbers is; a number alone is weak.
_OF_LISTS = {"int64": dtypes.int32, "float64": dtypes.float32, "complex128": dtypes.complex64}


def binary(primitive: Primitive, x: Any, y: Any, *, floating: bool = False) -> Any:
    """A binary row after promotion; ``floating`` makes integers and bools floating first, as true division does."""
    x, y = as_operand(x), as_operand(y)
    if x is NotImplemented or y is NotImplemented:
        return NotImplemented
    primitive, dtype = _promoted(primitive, floating, _kind(x), _kind(y))
    return primitive(lift(x, dtype), lift(y, dtype))


@functools.cache
def _promoted(primitive: Primitive, floating: bool, *kinds: Any) -> tuple[Primitive, DType]:
    """The row to apply, and the dtype in which its operands meet."""
    dtype = _meeting(*kinds)
    if floating and not dtypes.is_inexact(dtype):
        dtype = dtypes.float64 if dtype.itemsize == 8 else dtypes.float32
    return _ON_BOOL.get(primitive, primitive) if dtype == dtypes.bool_ else primitive, dtype


# On bools, adding is "or" and multiplying "and", as in NumPy.
_ON_BOOL = {arith.ADD: arith.OR, arith.MUL: arith.AND, arith.MAX: arith.OR, arith.MIN: arith.AND}


def power(x: Any, y: Any) -> Any:
    if isinstance(x, Operators) and type(y) is int and 0 < y <= 4:
        # Small whole powers are products: exact, and with a gradient at 0.
        out = x if y % 2 else None
        square = x * x if y > 1 else None
        for _ in range(y // 2):
            out = square if out is None else out * square
        return out
    return binary(arith.POW, x, y)


def matmul(x: Any, y: Any) -> Any:
    """The matrix product of the last two axes, leading axes broadcast; 1-d operands as in NumPy's ``matmul``."""
    from hornbeam.ir.primitives import contract  # a family above this module: its rules use operators

    x, y = as_operand(x), as_operand(y)
    if x is NotImplemented or y is NotImplemented:
        return NotImplemented
    dtype = operand_dtype(x, y)
    return contract.matmul(lift(x, dtype), lift(y, dtype))


class Operators:
    """Mixin for a value with ``shape`` and ``dtype``: arithmetic, comparison, indexing and the commonest methods."""

    __slots__ = ()
    __array_priority__ = 100  # NumPy's arrays leave mixed operators to us
    __array_ufunc__ = None

    shape: Any
    dtype: Any

    def as_operand(self) -> Any:
        """What operators compute with: the value itself, or the value that a variable holds now."""
        return self

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def T(self) -> Any:
        return self.transpose()

    def __add__(self, other: Any) -> Any:
        return binary(arith.ADD, self, other)

    def __radd__(self, other: Any) -> Any:
        return binary(arith.ADD, other, self)

    def __sub__(self, other: Any) -> Any:
        return binary(arith.SUB, self, other)

    def __rsub__(self, other: Any) -> Any:
        return binary(arith.SUB, other, self)

    def __mul__(self, other: Any) -> Any:
        return binary(arith.MUL, self, other)

    def __rmul__(self, other: Any) -> Any:
        return binary(arith.MUL, other, self)

    def __truediv__(self, other: Any) -> Any:
        return binary(arith.DIV, self, other, floating=True)

    def __rtruediv__(self, other: Any) -> Any:
        return binary(arith.DIV, other, self, floating=True)

    def __floordiv__(self, other: Any) -> Any:
        return binary(arith.FLOORDIV, self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return binary(arith.FLOORDIV, other, self)

    def __mod__(self, other: Any) -> Any:
        return binary(arith.MOD, self, other)

    def __rmod__(self, other: Any) -> Any:
        return binary(arith.MOD, other, self)

    def __pow__(self, other: Any) -> Any:
        return power(self, other)

    def __rpow__(self, other: Any) -> Any:
        return power(other, self)

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return matmul(other, self)

    def __neg__(self) -> Any:
        return arith.NEG(self.as_operand())

    def __pos__(self) -> Any:
        return self.as_operand()

    def __abs__(self) -> Any:
        x = self.as_operand()
        return x if x.dtype == dtypes.bool_ else arith.ABS(x)

    def __invert__(self) -> Any:
        return arith.NOT(self.as_operand())

    def __and__(self, other: Any) -> Any:
        return binary(arith.AND, self, other)

    def __rand__(self, other: Any) -> Any:
        return binary(arith.AND, other, self)

    def __or__(self, other: Any) -> Any:
        return binary(arith.OR, self, other)

    def __ror__(self, other: Any) -> Any:
        return binary(arith.OR, other, self)

    def __xor__(self, other: Any) -> Any:
        return binary(arith.XOR, self, other)

    def __rxor__(self, other: Any) -> Any:
        return binary(arith.XOR, other, self)

    def __lshift__(self, other: Any) -> Any:
        return binary(arith.SHIFT_LEFT, self, other)

    def __rlshift__(self, other: Any) -> Any:
        return binary(arith.SHIFT_LEFT, other, self)

    def __rshift__(self, other: Any) -> Any:
        return binary(arith.SHIFT_RIGHT, self, other)

    def __rrshift__(self, other: Any) -> Any:
        return binary(arith.SHIFT_RIGHT, other, self)

    def __eq__(self, other: Any) -> Any:
        return binary(compare.EQ, self, other)

    def __ne__(self, other: Any) -> Any:
        return binary(compare.NE, self, other)

    def __lt__(self, other: Any) -> Any:
        return binary(compare.LT, self, other)

    def __le__(self, other: Any) -> Any:
        return binary(compare.LE, self, other)

    def __gt__(self, other: Any) -> Any:
        return binary(compare.GT, self, other)

    def __ge__(self, other: Any) -> Any:
        return binary(compare.GE, self, other)

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Any:
        from hornbeam.ir.indexing import getitem  # above this module: indexing is written with these operators

        return getitem(self.as_operand(), index)

    def astype(self, dtype: Any) -> Any:
        """The same values as ``dtype``; ``self`` if nothing changes."""
        return lift(self.as_operand(), dtypes.as_dtype(dtype))

    def reshape(self, *shape: Any) -> Any:
        """The same elements in C order as ``shape``; one dimension may be -1. Raises ShapeError if they do not fit."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        dims = fill_dimension(tuple(as_dim(d) for d in shape), self.size, self.shape)
        x = self.as_operand()
        return x if dims == x.shape else movement.RESHAPE(x, shape=dims)

    def transpose(self, *axes: Any) -> Any:
        """Axes permuted, reversed if none are given."""
        if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
            axes = tuple(axes[0] or ())
        order = tuple(as_axis(a, self.ndim) for a in axes) or tuple(reversed(range(self.ndim)))
        x = self.as_operand()
        return x if order == tuple(range(x.ndim)) else movement.TRANSPOSE(x, axes=order)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        axes = as_axes(axis, self.ndim)
        x = self.as_operand()
        out = reduce.SUM(x, axes=axes) if axes else x
        return out.reshape(reduce.kept_shape(self.shape, axes)) if keepdims else out

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        total = self.sum(axis, keepdims)
        count = self.size // max(total.size, 1) if total.size else 1
        return total / count


def fill_dimension(dims: tuple[int, ...], size: int, source: Any) -> tuple[int, ...]:
    """``dims`` with a -1 replaced by what remains of ``size``. Raises ShapeError if nothing whole remains."""
    if dims.count(-1) == 0:
        return as_shape(dims)
    if dims.count(-1) > 1:
        raise ShapeError(f"reshape: only one dimension may be -1, got {dims}.")
    known = as_shape(tuple(d for d in dims if d != -1))
    product = int(np.prod(known, dtype=np.int64))
    if product == 0 or size % product:
        raise ShapeError(f"reshape: {source} has {size} elements, which {dims} does not divide.")
    return tuple(size // product if d == -1 else d for d in dims)
