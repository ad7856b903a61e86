"""Reductions along axes, and cumulative ones along an axis.

Half-precision sums and products are accumulated in float32 and rounded once. Operands are made contiguous first: NumPy
sums pairwise in memory order, and the same numbers must give the same bits however they are strided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape, Spec
from hornbeam.errors import ShapeError
from hornbeam.ir.primitive import Primitive, blocked, row
from hornbeam.ir.primitives.arith import BITS, NUMERIC, REAL, same_dtype, scalar
from hornbeam.ir.primitives.movement import (
    BROADCAST,
    CONCAT,
    PAD,
    RESHAPE,
    REVERSE,
    SLICE,
    ints,
    inverse_permutation,
)

HALF = (dtypes.float16, dtypes.bfloat16)


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """``shape`` with the reduced axes kept as 1."""
    return tuple(1 if i in axes else d for i, d in enumerate(shape))


def spread(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """A reduction's cotangent or result, broadcast back over the reduced axes."""
    return BROADCAST(RESHAPE(g, shape=kept_shape(x.shape, axes)), shape=x.shape)


def accumulating(numpy: Callable[..., Any]) -> Callable[..., Any]:
    """``numpy`` on contiguous data, half precision computed in float32."""

    def apply(x: np.ndarray, **attrs: Any) -> np.ndarray:
        dense = np.ascontiguousarray(x, np.float32 if x.dtype in HALF else x.dtype).reshape(x.shape)
        return np.asarray(numpy(dense, **attrs)).astype(x.dtype)

    return apply


def check_axes(name: str, x: Spec, axes: tuple[int, ...]) -> None:
    ints(name, axes)
    if any(not 0 <= a < x.ndim for a in axes) or list(axes) != sorted(set(axes)):
        raise ShapeError(f"{name}: axes {axes} are not sorted distinct axes of {x.shape}.")


def reduction(
    name: str,
    numpy: Callable[..., Any],
    grad: Callable[..., Any],
    code: Callable[..., Any],
    accepts: tuple[DType, ...],
    empty: bool = True,
) -> Primitive:
    """A reduce row over sorted ``axes``, which are dropped. ``empty``: whether reducing zero elements has a value."""

    def infer(x: Spec, axes: tuple[int, ...]) -> Spec:
        check_axes(name, x, axes)
        same_dtype(name, (x,), accepts)
        out = Spec(tuple(d for i, d in enumerate(x.shape) if i not in axes), x.dtype)
        if not empty and x.size == 0 and out.size > 0:
            raise ShapeError(f"{name}: nothing to reduce, shape {x.shape} is empty along axes {axes}.")
        return out

    return row(name, kind="reduce", infer=infer, reference=accumulating(numpy), grad=grad, code=code)


def _extremum(ufunc: Any) -> Callable[..., np.ndarray]:
    def apply(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        if x.size == 0:  # then so is the result, but NumPy looks for an identity first
            return np.empty([d for i, d in enumerate(x.shape) if i not in axes], x.dtype)
        return ufunc.reduce(x, axis=axes)

    return apply


def _extremum_grad(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> tuple[Any]:
    """Shared evenly among the elements that attain the extremum."""
    hit = x == spread(out, x, axes)
    count = hit.astype(dtypes.float64 if g.dtype == dtypes.float64 else dtypes.float32).sum(axes)  # may exceed float16
    return (hit.astype(g.dtype) * spread((g / count).astype(g.dtype), x, axes),)


def _prod_grad(g: Any, x: Any, out: Any, axes: tuple[int, ...]) -> tuple[Any]:
    """The product of all others, as the product of those before and of those after, so zeros need no division."""
    ndim = len(x.shape)
    order = tuple(i for i in range(ndim) if i not in axes) + tuple(axes)
    moved = x.transpose(order)
    rows = RESHAPE(moved, shape=(*out.shape, x.size // max(out.size, 1)))
    last = (len(out.shape),)
    others = _exclusive_prod(rows) * REVERSE(_exclusive_prod(REVERSE(rows, axes=last)), axes=last)
    return (spread(g, x, axes) * RESHAPE(others, shape=moved.shape).transpose(inverse_permutation(order)),)


def _exclusive_prod(x: Any) -> Any:
    """Products of all earlier elements along the last axis; 1 for the first."""
    if x.shape[-1] == 0:
        return x
    one = BROADCAST(scalar(1, x), shape=(*x.shape[:-1], 1))
    limits = (*x.shape[:-1], x.shape[-1] - 1)
    head = SLICE(x, starts=(0,) * len(x.shape), limits=limits, strides=(1,) * len(x.shape))
    return CUMPROD(CONCAT(one, head, axis=len(x.shape) - 1), axis=len(x.shape) - 1, reverse=False)


SUM = reduction(
    "sum",
    lambda x, axes: np.sum(x, axis=axes, dtype=x.dtype),
    lambda g, x, out, axes: (spread(g, x, axes),),
    lambda s, acc, x: s.add(acc, x),
    NUMERIC,
)
PROD = reduction(
    "prod", lambda x, axes: np.prod(x, axis=axes, dtype=x.dtype), _prod_grad, lambda s, acc, x: s.mul(acc, x), NUMERIC
)
REDUCE_MAX = reduction(
    "reduce_max", _extremum(np.maximum), _extremum_grad, lambda s, acc, x: s.call("max", acc, x), REAL, empty=False
)
REDUCE_MIN = reduction(
    "reduce_min", _extremum(np.minimum), _extremum_grad, lambda s, acc, x: s.call("min", acc, x), REAL, empty=False
)
REDUCE_AND = reduction(
    "reduce_and",
    lambda x, axes: np.bitwise_and.reduce(x, axis=axes),
    blocked,
    lambda s, acc, x: s.call("and", acc, x),
    BITS,
)
REDUCE_OR = reduction(
    "reduce_or",
    lambda x, axes: np.bitwise_or.reduce(x, axis=axes),
    blocked,
    lambda s, acc, x: s.call("or", acc, x),
    BITS,
)


def arg_reduction(name: str, numpy: Callable[..., Any]) -> Primitive:
    """A reduce row giving the int32 position of the first extremum (or the first NaN) along ``axis``, dropped."""

    def infer(x: Spec, axis: int) -> Spec:
        check_axes(name, x, (axis,))
        same_dtype(name, (x,), (dtypes.bool_, *REAL))
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: nothing to compare, axis {axis} of {x.shape} is empty.")
        return Spec(x.shape[:axis] + x.shape[axis + 1 :], dtypes.int32)

    def reference(x: np.ndarray, axis: int) -> np.ndarray:
        x = x.astype(np.float32) if x.dtype in HALF else x
        return numpy(x, axis=axis).astype(np.int32)

    return row(name, kind="reduce", infer=infer, reference=reference, grad=blocked)


ARGMAX = arg_reduction("argmax", np.argmax)
ARGMIN = arg_reduction("argmin", np.argmin)


def cumulative(
    name: str, ufunc: Any, grad: Callable[..., Any], code: Callable[..., Any], accepts: tuple[DType, ...]
) -> Primitive:
    """A row of running reductions along ``axis``, from its end if ``reverse``."""

    def infer(x: Spec, axis: int, reverse: bool) -> Spec:
        check_axes(name, x, (axis,))
        same_dtype(name, (x,), accepts)
        return x

    def run(x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
        x = np.flip(x, axis) if reverse else x
        out = ufunc.accumulate(x, axis=axis, dtype=x.dtype)
        return np.flip(out, axis) if reverse else out

    return row(name, kind="block", infer=infer, reference=accumulating(run), grad=grad, code=code)


def _cumprod_grad(g: Any, x: Any, out: Any, axis: int, reverse: bool) -> tuple[Any]:
    """With E the exclusive products, dx_i = E_i * r_i where r_i = g_i + x_(i+1) * r_(i+1): no division by x.

    The recurrence is unrolled by doubling, r_i over 2^k terms from two of half the length, so the depth is logarithmic.
    """
    if reverse:
        g, x, out = (REVERSE(v, axes=(axis,)) for v in (g, x, out))
        return (REVERSE(_cumprod_grad(g, x, out, axis, False)[0], axes=(axis,)),)
    n = x.shape[axis]
    last = len(x.shape) - 1
    order = tuple(i for i in range(last + 1) if i != axis) + (axis,)
    total, factor = g.transpose(order), _shift_left(x.transpose(order), 1, 0)
    before = _exclusive_prod(x.transpose(order))
    step = 1
    while step < n:
        total = total + factor * _shift_left(total, step, 0)
        factor = factor * _shift_left(factor, step, 0)
        step *= 2
    return ((before * total).transpose(inverse_permutation(order)),)


def _shift_left(x: Any, by: int, fill: float) -> Any:
    """The last axis moved ``by`` places to the front, ``fill`` entering at the end."""
    n, rank = x.shape[-1], len(x.shape)
    starts = (0,) * (rank - 1) + (min(by, n),)
    kept = SLICE(x, starts=starts, limits=tuple(x.shape), strides=(1,) * rank)
    zeros = (0,) * rank
    return PAD(kept, scalar(fill, x), before=zeros, after=(0,) * (rank - 1) + (min(by, n),), between=zeros)


CUMSUM = cumulative(
    "cumsum",
    np.add,
    lambda g, x, out, axis, reverse: (CUMSUM(g, axis=axis, reverse=not reverse),),
    lambda s, acc, x: s.add(acc, x),
    NUMERIC,
)
CUMPROD = cumulative("cumprod", np.multiply, _cumprod_grad, lambda s, acc, x: s.mul(acc, x), NUMERIC)
