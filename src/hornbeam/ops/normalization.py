"""Means and variances, and the normalisations made of them.

Half precision is computed in float32. Values are centred before they are scaled: folding the mean into the offset would
lose the offset where the mean is large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape, as_axes, as_axis
from hornbeam.errors import ShapeError
from hornbeam.ir.primitives.arith import RSQRT, SELECT, scalar
from hornbeam.ir.primitives.compare import IS_FINITE
from hornbeam.ir.primitives.movement import STOP_GRADIENT
from hornbeam.ir.primitives.reduce import HALF
from hornbeam.ops.activations import clamp
from hornbeam.ops.arguments import inexact
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor


def _wide(x: Any) -> Any:
    """``x`` in the dtype that statistics are computed in."""
    return x.astype(dtypes.float32) if x.dtype in HALF else x


def _moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and variance with the axes kept: of rows, which stay in cache, in two passes; of columns in one."""
    rows = axes == tuple(range(x.ndim - len(axes), x.ndim))
    if rows or not x.size or dtypes.is_complex(x.dtype):
        mean = x.mean(axes, keepdims=True)
        centred = x - mean
        return mean, (centred * centred).mean(axes, keepdims=True)
    return _moments_at_once(x, axes)


def _moments_at_once(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """E[d] and E[d²] - E[d]² of the distances d from a sample, any one: where the mean is large, distances are not, so
    their squares keep the digits of the variance."""
    sample = STOP_GRADIENT(x[tuple(slice(0, 1) if i in axes else slice(None) for i in range(x.ndim))])
    sample = SELECT(IS_FINITE(sample), sample, scalar(0.0, sample))
    d = x - sample
    mean = d.mean(axes, keepdims=True)
    variance = (d * d).mean(axes, keepdims=True) - mean * mean
    return sample + mean, SELECT(variance < 0, scalar(0.0, variance), variance)  # below 0 by a rounding


@op
def moments(x: Any, axes: Any, keepdims: bool = False) -> tuple[Any, Any]:
    """The mean and variance of ``x`` over ``axes``; of half precision, clipped to what it can hold."""
    x = inexact(x)
    reduced = as_axes(axes, x.ndim)
    mean, variance = _moments(_wide(x), reduced)
    if not keepdims:
        shape = tuple(d for i, d in enumerate(x.shape) if i not in reduced)
        mean, variance = mean.reshape(shape), variance.reshape(shape)
    if x.dtype == dtypes.float16:
        top = float(np.finfo(np.float16).max)
        mean, variance = clamp(mean, -top, top), clamp(variance, -top, top)
    return mean.astype(x.dtype), variance.astype(x.dtype)


def _beside(name: str, value: Any, shape: Shape, axes: tuple[int, ...], like: Any) -> Any:
    """A parameter over ``axes``, shaped to meet a tensor of ``shape``, in ``like``'s dtype."""
    value = as_tensor(value).astype(like.dtype)
    if value.ndim == len(shape) or axes == tuple(range(len(shape) - value.ndim, len(shape))):
        return value
    wanted = tuple(d if i in axes else 1 for i, d in enumerate(shape))
    if value.size != np.prod([shape[i] for i in axes]):
        raise ShapeError(f"{name}: a parameter of shape {tuple(value.shape)} does not fit axes {axes} of {shape}.")
    return value.reshape(wanted)


@op
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, with 1-d parameters along ``axis``."""
    x = inexact(x)
    shape, axes, wide = tuple(x.shape), (as_axis(axis, x.ndim),), _wide(x)
    name = "batch_normalization"
    factor = RSQRT(_beside(name, variance, shape, axes, wide) + epsilon)
    if scale is not None:
        factor = factor * _beside(name, scale, shape, axes, wide)
    out = (wide - _beside(name, mean, shape, axes, wide)) * factor
    if offset is not None:
        out = out + _beside(name, offset, shape, axes, wide)
    return out.astype(x.dtype)


@op
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Any = -1, epsilon: float = 1e-7
) -> Any:
    """``x`` with mean 0 and variance 1 over ``axis`` (one or several), times ``gamma``, plus ``beta``."""
    x = inexact(x)
    shape, axes = tuple(x.shape), as_axes(axis, x.ndim)
    wide = _wide(x)
    mean, variance = _moments(wide, axes)
    out = (wide - mean) * RSQRT(variance + epsilon)
    if gamma is not None:
        out = out * _beside("layer_normalization", gamma, shape, axes, wide)
    if beta is not None:
        out = out + _beside("layer_normalization", beta, shape, axes, wide)
    return out.astype(x.dtype)


@op
def rms_normalization(x: Any, scale: Any = None, axis: Any = -1, epsilon: float = 1e-7) -> Any:
    """``x`` divided by its root mean square over ``axis`` (one or several), times ``scale``."""
    x = inexact(x)
    x = x.reshape((1,)) if x.ndim == 0 else x
    shape, axes = tuple(x.shape), as_axes(axis, x.ndim)
    wide = _wide(x)
    out = wide * RSQRT((wide * wide).mean(axes, keepdims=True) + epsilon)
    if scale is not None:
        out = out * _beside("rms_normalization", scale, shape, axes, wide)
    return out.astype(x.dtype)
