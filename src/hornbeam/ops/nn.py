"""What neural networks are made of, gathered from the modules of this floor; and encodings of class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axis, as_dim
from hornbeam.errors import DTypeError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.reduce import REDUCE_OR
from hornbeam.ops.activations import (
    celu,
    elu,
    gelu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    tanh,
    tanh_shrink,
    threshold,
)
from hornbeam.ops.attention import dot_product_attention
from hornbeam.ops.convolution import conv, conv_transpose, depthwise_conv, separable_conv
from hornbeam.ops.ctc import ctc_beam_search_decode, ctc_greedy_decode, ctc_loss
from hornbeam.ops.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    psnr,
    sparse_categorical_crossentropy,
)
from hornbeam.ops.normalization import (
    batch_normalization,
    layer_normalization,
    moments,
    rms_normalization,
)
from hornbeam.ops.op import op
from hornbeam.ops.patches import depth_to_space, fold, space_to_depth, unfold
from hornbeam.ops.pooling import adaptive_average_pool, adaptive_max_pool, average_pool, max_pool
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    # activations
    "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "threshold",
    "sigmoid", "tanh", "softplus", "log_sigmoid", "silu", "gelu",
    "hard_sigmoid", "hard_silu", "hard_tanh", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus",
    "tanh_shrink", "soft_shrink", "hard_shrink", "glu", "softmax", "log_softmax", "sparsemax",
    # windows
    "conv", "conv_transpose", "depthwise_conv", "separable_conv",
    "max_pool", "average_pool", "adaptive_max_pool", "adaptive_average_pool",
    "unfold", "fold", "depth_to_space", "space_to_depth", "dot_product_attention",
    # statistics
    "moments", "batch_normalization", "layer_normalization", "rms_normalization",
    # losses
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy", "psnr",
    "ctc_loss", "ctc_greedy_decode", "ctc_beam_search_decode",
    # classes
    "one_hot", "multi_hot",
]  # fmt: skip


def _hits(name: str, x: Any, num_classes: int, axis: int) -> Any:
    """Whether each class is ``x``, the classes along a new ``axis``."""
    x = as_tensor(x)
    if dtypes.is_inexact(x.dtype):
        raise DTypeError(
            explain(f"{name}: class numbers must be integers, got {x.dtype.name}.", fix="hb.cast(x, 'int32')")
        )
    x = x.astype(dtypes.int32) if x.dtype.itemsize < 4 else x
    axis = as_axis(axis, x.ndim + 1)
    classes = np.arange(as_dim(num_classes)).astype(x.dtype).reshape([-1] + [1] * (x.ndim - axis))
    return x.reshape((*x.shape[:axis], 1, *x.shape[axis:])) == constant(classes)


@op
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = "float32") -> Any:
    """1 at the class numbered ``x`` along a new ``axis``, 0 elsewhere; all 0 for a number that is no class."""
    return _hits("one_hot", x, num_classes, axis).astype(dtype)


@op
def multi_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = "float32") -> Any:
    """1 at every class in a row of ``x``: the union of ``one_hot`` over axis 1 (over axis 0 of a vector)."""
    hits = _hits("multi_hot", x, num_classes, axis)
    return REDUCE_OR(hits, axes=(1 if hits.ndim > 2 else 0,)).astype(dtype)
