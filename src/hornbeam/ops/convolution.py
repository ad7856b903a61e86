"""Convolutions over 1 to 3 spatial axes, as layers use them: kernels are not mirrored.

Kernels are (*spatial, channels, features); for transposed convolutions (*spatial, features, channels), so that the same
kernel serves a convolution and its transpose. All of them are one trilinear form (``ir.primitives.contract``).
"""

from __future__ import annotations

from typing import Any

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape, as_dim
from hornbeam.errors import ShapeError, explain
from hornbeam.ir.primitives.arith import scalar
from hornbeam.ir.primitives.contract import CONV, CONV_INPUT_GRAD
from hornbeam.ir.primitives.movement import PAD
from hornbeam.ops.op import op
from hornbeam.ops.windows import (
    channels_back,
    channels_to_last,
    check_format,
    padding_pairs,
    per_axis,
    reach,
    spatial_rank,
)
from hornbeam.runtime.tensor import as_tensor


def _operands(name: str, inputs: Any, kernel: Any, data_format: str) -> tuple[Any, Any, bool]:
    """Inputs with channels last and kernel, of one dtype, and whether channels came first."""
    inputs, kernel = as_tensor(inputs), as_tensor(kernel)
    rank, first = spatial_rank(name, inputs), check_format(name, data_format)
    if kernel.ndim != rank + 2:
        raise ShapeError(
            f"{name}: inputs {tuple(inputs.shape)} have {rank} spatial axes, so kernels need {rank + 2} axes, "
            f"got {tuple(kernel.shape)}."
        )
    dtype = dtypes.result_type(inputs, kernel)
    return channels_to_last(inputs.astype(dtype), first), kernel.astype(dtype), first


def _convolve(
    name: str, x: Any, kernel: Any, strides: Any, padding: Any, dilation_rate: Any, groups: int
) -> Any:
    rank = kernel.ndim - 2
    strides = per_axis(name, "strides", strides, rank)
    dilation = per_axis(name, "dilation_rate", dilation_rate, rank)
    window, sizes = tuple(kernel.shape[:-2]), tuple(x.shape[1:-1])
    spans = reach(window, dilation)
    pairs = padding_pairs(name, padding, sizes, spans, strides)
    padded = tuple(n + lo + hi for n, (lo, hi) in zip(sizes, pairs, strict=True))
    if x.size and any(n < r for n, r in zip(padded, spans, strict=True)):
        raise ShapeError(
            explain(
                f"{name}: a kernel that spans {spans} does not fit in spatial sizes {padded}, so the result is empty.",
                why="Too many strides or poolings came before, or channels are not where data_format says.",
                fix='padding="same", a smaller kernel or dilation_rate, or data_format="channels_first"',
            )
        )
    return CONV(x, kernel, strides=strides, padding=pairs, dilation=dilation, groups=groups)


@op
def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
) -> Any:
    """``inputs`` (batch, *spatial, channels) with ``kernel`` (*spatial, channels / groups, features) moved over them.

    Args:
        strides, dilation_rate: an int, or one for each spatial axis.
        padding: "valid", "same" (as in TensorFlow), "causal", or a pair (before, after) for each spatial axis.
    Raises:
        ShapeError: if the channels of ``inputs`` are no multiple of the kernel's, or the result would be empty.
    """
    x, kernel, first = _operands("conv", inputs, kernel, data_format)
    channels, per_group, features = x.shape[-1], kernel.shape[-2], kernel.shape[-1]
    groups = channels // per_group if per_group else 0
    if groups < 1 or groups * per_group != channels or features % groups:
        raise ShapeError(
            explain(
                f"conv: inputs have {channels} channels, the kernel {tuple(kernel.shape)} takes {per_group}.",
                why="Channels must be a multiple of the kernel's (the groups), and features of the groups.",
                fix="check data_format, or build the kernel for these channels",
            )
        )
    return channels_back(_convolve("conv", x, kernel, strides, padding, dilation_rate, groups), first)


@op
def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
) -> Any:
    """Each channel convolved with kernels of its own, (*spatial, channels, multiplier) -> channels * multiplier."""
    x, kernel, first = _operands("depthwise_conv", inputs, kernel, data_format)
    return channels_back(_depthwise("depthwise_conv", x, kernel, strides, padding, dilation_rate), first)


def _depthwise(name: str, x: Any, kernel: Any, strides: Any, padding: Any, dilation_rate: Any) -> Any:
    *window, channels, multiplier = kernel.shape
    if x.shape[-1] != channels:
        raise ShapeError(
            f"{name}: inputs have {x.shape[-1]} channels, the kernel {tuple(kernel.shape)} is for {channels}."
        )
    kernel = kernel.reshape((*window, 1, channels * multiplier))
    return _convolve(name, x, kernel, strides, padding, dilation_rate, channels)


@op
def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
) -> Any:
    """A depthwise convolution, then one of window 1 that mixes its channels."""
    name = "separable_conv"
    x, kernel, first = _operands(name, inputs, depthwise_kernel, data_format)
    y = _depthwise(name, x, kernel, strides, padding, dilation_rate)
    return channels_back(conv(y, pointwise_kernel), first)


def _transposed_size(size: int, span: int, stride: int, padding: str, extra: int | None) -> int:
    """The size of a transposed convolution along one axis."""
    if padding == "valid":
        return (size - 1) * stride + span + (max(stride - span, 0) if extra is None else extra)
    return size * stride if extra is None else (size - 1) * stride + span % 2 + extra


@op
def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
) -> Any:
    """The transpose of ``conv`` as a linear map: (batch, *spatial, channels) -> (batch, *larger, features).

    Args:
        kernel: (*spatial, features, channels).
        padding: "valid" or "same", of the convolution that this is the transpose of.
        output_padding: which of the sizes that this convolution could have had is meant; an int, or one for each
            spatial axis. None means size * stride for "same", and all that the kernel reaches for "valid".
    """
    name = "conv_transpose"
    x, kernel, first = _operands(name, inputs, kernel, data_format)
    rank = kernel.ndim - 2
    if kernel.shape[-1] != x.shape[-1]:
        raise ShapeError(
            f"{name}: inputs have {x.shape[-1]} channels, the kernel {tuple(kernel.shape)} is for {kernel.shape[-1]}; "
            "transposed kernels are (*spatial, features, channels)."
        )
    strides = per_axis(name, "strides", strides, rank)
    dilation = per_axis(name, "dilation_rate", dilation_rate, rank)
    kind = padding.lower()
    if kind not in ("valid", "same"):
        raise ShapeError(f"{name}: padding {padding!r} is not one of valid, same.")
    extras = output_padding if isinstance(output_padding, (tuple, list)) else (output_padding,) * rank
    spans = reach(tuple(kernel.shape[:-2]), dilation)
    sizes = tuple(
        _transposed_size(n, r, s, kind, None if e is None else as_dim(e))
        for n, r, s, e in zip(x.shape[1:-1], spans, strides, extras, strict=True)
    )
    return channels_back(_transpose(x, kernel, sizes, spans, strides, dilation, kind == "same"), first)


def _transpose(
    x: Any, kernel: Any, sizes: Shape, spans: Shape, strides: Shape, dilation: Shape, same: bool
) -> Any:
    """The transpose of the convolution that leads from ``sizes`` to those of ``x``."""
    shape, pairs, beyond = [], [], []
    for n, size, span, stride in zip(x.shape[1:-1], sizes, spans, strides, strict=True):
        whole = (n - 1) * stride + span  # what the windows cover, padding included
        before = max(whole - size, 0) // 2 if same else 0
        after = max(whole - size - before, 0)
        # Up to stride - 1 elements behind the last window are seen by none; a convolution can have no more.
        unseen = max(size + before + after - whole, 0)
        extra = max(unseen - (stride - 1), 0)
        shape.append(size - extra)
        pairs.append((before, after))
        beyond.append(extra)
    y = CONV_INPUT_GRAD(
        x, kernel, shape=tuple(shape), strides=strides, padding=tuple(pairs), dilation=dilation, groups=1
    )
    if any(beyond):
        none = (0,) * y.ndim
        y = PAD(y, scalar(0, y), before=none, after=(0, *beyond, 0), between=none)
    return y
