"""Pooling over windows of 1 to 3 spatial axes, and adaptive pooling to given sizes."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from hornbeam.base.spec import Shape
from hornbeam.errors import ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import SELECT, scalar
from hornbeam.ir.primitives.contract import POOL_MAX, POOL_SUM
from hornbeam.ir.primitives.index import GATHER
from hornbeam.ir.primitives.reduce import REDUCE_MAX
from hornbeam.ops.arguments import inexact
from hornbeam.ops.op import op
from hornbeam.ops.windows import (
    Pairs,
    channels_back,
    channels_to_last,
    check_format,
    padding_pairs,
    per_axis,
    spatial_rank,
)
from hornbeam.runtime.tensor import as_tensor


def _windows(name: str, x: Any, pool_size: Any, strides: Any, padding: Any) -> dict[str, Any]:
    """The attributes of a pooling row over ``x`` with channels last."""
    sizes = tuple(x.shape[1:-1])
    window = per_axis(name, "pool_size", pool_size, len(sizes))
    steps = window if strides is None else per_axis(name, "strides", strides, len(sizes))
    pairs = padding_pairs(name, padding, sizes, window, steps)
    return {"window": window, "strides": steps, "padding": pairs, "dilation": (1,) * len(sizes)}


@op
def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: Any = "valid", data_format: str = "channels_last"
) -> Any:
    """The maximum of each window; padding never wins. ``strides`` None means the size of the window.

    The gradient goes to the first maximum of each window.
    """
    inputs = as_tensor(inputs)
    spatial_rank("max_pool", inputs)
    first = check_format("max_pool", data_format)
    x = channels_to_last(inputs, first)
    return channels_back(POOL_MAX(x, **_windows("max_pool", x, pool_size, strides, padding)), first)


@op
def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: Any = "valid", data_format: str = "channels_last"
) -> Any:
    """The mean of each window over the elements that are inside ``inputs``: padding does not count."""
    inputs = inexact(inputs)
    spatial_rank("average_pool", inputs)
    first = check_format("average_pool", data_format)
    x = channels_to_last(inputs, first)
    attrs = _windows("average_pool", x, pool_size, strides, padding)
    total = POOL_SUM(x, **attrs)
    if not any(map(any, attrs["padding"])):
        return channels_back(total / math.prod(attrs["window"]), first)
    counts = _inside_counts(tuple(x.shape[1:-1]), attrs["window"], attrs["strides"], attrs["padding"])
    return channels_back(total / constant(counts[..., None].astype(x.dtype)), first)


def _inside_counts(sizes: Shape, window: Shape, strides: Shape, padding: Pairs) -> np.ndarray:
    """For each window, how many of its elements are not padding: a product over the axes."""
    counts = []
    for n, w, s, (lo, hi) in zip(sizes, window, strides, padding, strict=True):
        start = np.arange((n + lo + hi - w) // s + 1) * s - lo
        counts.append(np.minimum(start + w, n) - np.maximum(start, 0))
    return reduce(np.multiply.outer, counts)


# -- adaptive pooling ------------------------------------------------------------------------------------------------


def _adaptive(name: str, inputs: Any, output_size: Any, data_format: str, average: bool) -> Any:
    rank, first = spatial_rank(name, inputs), check_format(name, data_format)
    sizes = per_axis(name, "output_size", output_size, rank)
    x = channels_to_last(inputs, first)
    for axis, size in enumerate(sizes, 1):
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: axis {axis} of {tuple(x.shape)} is empty.")
        x = _adapt_axis(x, axis, size, average)
    return channels_back(x, first)


def _adapt_axis(x: Any, axis: int, size: int, average: bool) -> Any:
    """One axis pooled to ``size`` windows: window i covers floor(i n / size) up to ceil((i + 1) n / size)."""
    n = x.shape[axis]
    if n == size:
        return x
    if n % size == 0:
        parts = x.reshape((*x.shape[:axis], size, n // size, *x.shape[axis + 1 :]))
        return parts.mean(axis + 1) if average else REDUCE_MAX(parts, axes=(axis + 1,))
    i = np.arange(size)
    start, stop = i * n // size, -(-(i + 1) * n // size)
    count = stop - start
    # Windows differ by at most one element: shorter ones see their last element twice, or in a mean a zero.
    places = start[:, None] + np.arange(count.max())
    parts = GATHER(x, constant(np.minimum(places, stop[:, None] - 1)[..., None].astype(np.int32)), axis=axis)
    if not average:
        return REDUCE_MAX(parts, axes=(axis + 1,))
    after = (1,) * (x.ndim - axis - 1)
    inside = (places < stop[:, None]).reshape((*places.shape, *after))
    total = SELECT(constant(inside), parts, scalar(0, x)).sum(axis + 1)
    return total / constant(count.astype(x.dtype).reshape((size, *after)))


@op
def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str = "channels_last") -> Any:
    """Means over windows chosen so that the spatial sizes become ``output_size``; windows may overlap by one."""
    return _adaptive("adaptive_average_pool", inexact(inputs), output_size, data_format, average=True)


@op
def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str = "channels_last") -> Any:
    """Maxima over windows chosen so that the spatial sizes become ``output_size``; windows may overlap by one."""
    return _adaptive("adaptive_max_pool", as_tensor(inputs), output_size, data_format, average=False)
