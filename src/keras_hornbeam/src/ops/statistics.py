"""Keras's reductions, running sums and sums of products."""

from __future__ import annotations

import numpy as np

from hornbeam.ops import contraction, reductions
from keras_hornbeam.src.ops.core import convert_to_tensor
from keras_hornbeam.src.ops.promotion import (
    floating,
    meet,
    together,
    together_floating,
    values,
)

__all__ = [
    "all", "any", "argmax", "argmin", "average", "corrcoef", "correlate", "count_nonzero", "cov", "cross", "cumprod",
    "cumsum", "dot", "einsum", "inner", "kron", "matmul", "max", "mean", "median", "min", "nanargmax", "nanargmin",
    "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile",
    "nanstd", "nansum", "nanvar", "outer", "percentile", "prod", "ptp", "quantile", "slogdet", "std", "sum",
    "tensordot", "trapezoid", "var", "vdot",
]  # fmt: skip


def all(x, axis=None, keepdims=False):
    return reductions.all(convert_to_tensor(x), axis, keepdims)


def any(x, axis=None, keepdims=False):
    return reductions.any(convert_to_tensor(x), axis, keepdims)


def sum(x, axis=None, keepdims=False):
    return reductions.sum(convert_to_tensor(x), axis, keepdims)


def prod(x, axis=None, keepdims=False, dtype=None):
    return reductions.prod(convert_to_tensor(x), axis, keepdims, dtype)


def max(x, axis=None, keepdims=False, initial=None):
    return reductions.max(convert_to_tensor(x), axis, keepdims, initial)


def min(x, axis=None, keepdims=False, initial=None):
    return reductions.min(convert_to_tensor(x), axis, keepdims, initial)


def argmax(x, axis=None, keepdims=False):
    return reductions.argmax(convert_to_tensor(x), axis, keepdims)


def argmin(x, axis=None, keepdims=False):
    return reductions.argmin(convert_to_tensor(x), axis, keepdims)


def count_nonzero(x, axis=None):
    return reductions.count_nonzero(convert_to_tensor(x), axis)


def ptp(x, axis=None, keepdims=False):
    return reductions.ptp(convert_to_tensor(x), axis, keepdims)


def mean(x, axis=None, keepdims=False):
    return reductions.mean(floating(x), axis, keepdims)


def var(x, axis=None, keepdims=False):
    return reductions.var(floating(x), axis, keepdims)


def std(x, axis=None, keepdims=False):
    return reductions.std(floating(x), axis, keepdims)


def average(x, axis=None, weights=None):
    if weights is None:
        return reductions.mean(floating(x), axis)
    x, weights = together_floating(x, weights)
    return reductions.average(x, axis, weights)


def median(x, axis=None, keepdims=False):
    return reductions.median(floating(x), axis, keepdims)


def quantile(x, q, axis=None, method="linear", keepdims=False):
    return reductions.quantile(floating(x), convert_to_tensor(q), axis, method, keepdims)


def percentile(x, q, axis=None, method="linear", keepdims=False):
    return reductions.percentile(floating(x), convert_to_tensor(q), axis, method, keepdims)


def cumsum(x, axis=None, dtype=None):
    return reductions.cumsum(convert_to_tensor(x), axis, dtype)


def cumprod(x, axis=None, dtype=None):
    return reductions.cumprod(convert_to_tensor(x), axis, dtype)


def trapezoid(y, x=None, dx=1.0, axis=-1):
    if x is not None:
        y, x = together_floating(y, x)
        return reductions.trapezoid(y, x, axis=axis)
    y = floating(y)
    return reductions.trapezoid(y, None, convert_to_tensor(dx, y.dtype), axis)


# -- without NaN ---------------------------------------------------------------------------------------------------


def nansum(x, axis=None, keepdims=False):
    return reductions.nansum(convert_to_tensor(x), axis, keepdims)


def nanprod(x, axis=None, keepdims=False):
    return reductions.nanprod(convert_to_tensor(x), axis, keepdims)


def nanmax(x, axis=None, keepdims=False):
    return reductions.nanmax(convert_to_tensor(x), axis, keepdims)


def nanmin(x, axis=None, keepdims=False):
    return reductions.nanmin(convert_to_tensor(x), axis, keepdims)


def nanargmax(x, axis=None, keepdims=False):
    return reductions.nanargmax(convert_to_tensor(x), axis, keepdims)


def nanargmin(x, axis=None, keepdims=False):
    return reductions.nanargmin(convert_to_tensor(x), axis, keepdims)


def nanmean(x, axis=None, keepdims=False):
    return reductions.nanmean(floating(x), axis, keepdims)


def nanvar(x, axis=None, keepdims=False):
    return reductions.nanvar(floating(x), axis, keepdims)


def nanstd(x, axis=None, keepdims=False):
    return reductions.nanstd(floating(x), axis, keepdims)


def nanmedian(x, axis=None, keepdims=False):
    return reductions.nanmedian(floating(x), axis, keepdims)


def nanquantile(x, q, axis=None, method="linear", keepdims=False):
    return reductions.nanquantile(floating(x), convert_to_tensor(q), axis, method, keepdims)


def nanpercentile(x, q, axis=None, method="linear", keepdims=False):
    return reductions.nanpercentile(floating(x), convert_to_tensor(q), axis, method, keepdims)


def nancumsum(x, axis=None, dtype=None):
    return reductions.nancumsum(convert_to_tensor(x), axis, dtype)


def nancumprod(x, axis=None, dtype=None):
    return reductions.nancumprod(convert_to_tensor(x), axis, dtype)


# -- sums of products ----------------------------------------------------------------------------------------------


def _summed_wide(*xs):
    """Operands of a product; those that all are int8 are summed in int32."""
    xs = values(*xs)
    dtype = "int32" if {getattr(x, "dtype", None) for x in xs} == {np.dtype("int8")} else meet(*xs)
    return [convert_to_tensor(x, dtype) for x in xs]


def matmul(x1, x2):
    return contraction.matmul(*_summed_wide(x1, x2))


def einsum(subscripts, *operands, **kwargs):
    return contraction.einsum(subscripts, *_summed_wide(*operands))


def dot(x1, x2):
    return contraction.dot(*together(x1, x2))


def vdot(x1, x2):
    return contraction.vdot(*together(x1, x2))


def inner(x1, x2):
    return contraction.inner(*together(x1, x2))


def outer(x1, x2):
    return contraction.outer(*together(x1, x2))


def kron(x1, x2):
    return contraction.kron(*together(x1, x2))


def tensordot(x1, x2, axes=2):
    x1, x2 = together(x1, x2)
    return contraction.tensordot(x1, x2, axes=axes)


def cross(x1, x2, axisa=-1, axisb=-1, axisc=-1, axis=None):
    x1, x2 = together(x1, x2)
    return contraction.cross(x1, x2, axisa=axisa, axisb=axisb, axisc=axisc, axis=axis)


def correlate(x1, x2, mode="valid"):
    x1, x2 = together_floating(x1, x2)
    return contraction.correlate(x1, x2, mode=mode)


def corrcoef(x):
    return contraction.corrcoef(floating(x))


def cov(x):
    return contraction.cov(floating(x))


def slogdet(x):
    from hornbeam.ops import linalg

    return tuple(linalg.slogdet(floating(x)))
