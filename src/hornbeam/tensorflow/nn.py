"""``tf.nn``: activations, convolutions, pooling, normalisations, cross-entropies."""

from __future__ import annotations

from typing import Any

from hornbeam.errors import InvalidArgumentError, ShapeError, explain
from hornbeam.ops import activations, convolution, losses, normalization, pooling, reductions
from hornbeam.ops import array as arrays
from hornbeam.ops import math as maths
from hornbeam.ops import random as draws
from hornbeam.ops.padding import pad
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow import math, random
from hornbeam.tensorflow.arrays import gather
from hornbeam.tensorflow.names import absent, ints, op, table

FUNCTIONS = {
    "relu": activations.relu, "relu6": activations.relu6, "elu": activations.elu, "selu": activations.selu,
    "softplus": activations.softplus, "softsign": activations.softsign, "silu": activations.silu,
    "swish": activations.silu,
}  # fmt: skip
globals().update(table(FUNCTIONS))
SHARED = "sigmoid tanh softmax log_softmax top_k in_top_k l2_normalize zero_fraction"  # with tf.math
globals().update({name: getattr(math, name) for name in SHARED.split()})


@op
def leaky_relu(features: Any, alpha: float = 0.2) -> Any:
    """x where it is positive, alpha * x elsewhere."""
    return activations.leaky_relu(features, alpha)


@op
def gelu(features: Any, approximate: bool = False) -> Any:
    """x times the normal distribution function of x."""
    return activations.gelu(features, approximate)


@op
def crelu(features: Any, axis: int = -1) -> Any:
    """relu of x and of -x, joined."""
    return arrays.concat([activations.relu(features), activations.relu(-as_tensor(features))], axis=axis)


# -- windows ---------------------------------------------------------------------------------------------------------

FORMATS = {  # TensorFlow's names for where the channels are
    None: "channels_last", "NWC": "channels_last", "NHWC": "channels_last", "NDHWC": "channels_last",
    "NCW": "channels_first", "NCHW": "channels_first", "NCDHW": "channels_first",
}  # fmt: skip


def _windows(name: str, data_format: str | None, padding: Any, rank: int, **per_axis: Any) -> dict[str, Any]:
    """TensorFlow's arguments as ours: sizes of spatial axes only, explicit paddings without batch and channels."""
    if data_format not in FORMATS:
        raise InvalidArgumentError(f"{name}: data_format {data_format!r} is not one of {', '.join(map(str, FORMATS))}.")
    form = FORMATS[data_format]
    first = 2 if form == "channels_first" else 1
    out = {key: _spatial(name, key, value, rank, first) for key, value in per_axis.items()}
    if isinstance(padding, str):
        return {**out, "padding": padding.lower(), "data_format": form}
    pairs = tuple(tuple(pair) for pair in padding)
    return {**out, "padding": pairs[first : first + rank] if len(pairs) == rank + 2 else pairs, "data_format": form}


def _spatial(name: str, key: str, value: Any, rank: int, first: int) -> tuple[int, ...]:
    sizes = (1,) if value is None else ints(value)
    if len(sizes) == 1:
        return sizes * rank
    if len(sizes) == rank:
        return sizes
    if len(sizes) != rank + 2 or any(s != 1 for s in (*sizes[:first], *sizes[first + rank :])):
        raise InvalidArgumentError(
            f"{name}: {key}={sizes} must be 1, {rank} or {rank + 2} numbers, 1 for batch and channels."
        )
    return sizes[first : first + rank]


def _convolution(rank: int) -> Any:
    def conv(
        input: Any,
        filters: Any,
        strides: Any = 1,
        padding: Any = "VALID",
        data_format: Any = None,
        dilations: Any = None,
    ) -> Any:
        options = _windows(f"conv{rank}d", data_format, padding, rank, strides=strides, dilation_rate=dilations)
        return convolution.conv(input, filters, **options)

    conv.__name__ = f"conv{rank}d"
    conv.__doc__ = f"Convolution over {rank} spatial axes; filters are (*spatial, channels, features)."
    return op(conv)


def _transposed(rank: int) -> Any:
    def conv(
        input: Any, filters: Any, output_shape: Any, strides: Any = 1, padding: str = "SAME", data_format: Any = None,
        dilations: Any = None,
    ) -> Any:  # fmt: skip
        options = _windows(
            f"conv{rank}d_transpose", data_format, padding, rank, strides=strides, dilation_rate=dilations
        )
        wanted, first = ints(output_shape), 2 if options["data_format"] == "channels_first" else 1
        spatial = wanted[first : first + rank] if len(wanted) == rank + 2 else wanted
        x, kernel = as_tensor(input), as_tensor(filters)
        same, steps = options["padding"] == "same", options["strides"]
        spans = [(k - 1) * d + 1 for k, d in zip(kernel.shape, options["dilation_rate"])]
        extra = []
        for n, s, k, w in zip(x.shape[first : first + rank], steps, spans, spatial):
            if -(-(w if same else w - k + 1) // s) != n:
                raise ShapeError(
                    explain(
                        f"conv{rank}d_transpose: a convolution of strides {steps} does not make {n} of {w}: {wanted}."
                    )
                )
            extra.append(w - ((n - 1) * s + k - 2 * (k // 2) * same))
        return convolution.conv_transpose(x, kernel, output_padding=tuple(extra), **options)

    conv.__name__ = f"conv{rank}d_transpose"
    conv.__doc__ = f"The transpose of conv{rank}d as a linear map; filters are (*spatial, features, channels)."
    return op(conv)


def _pool(name: str, rank: int, pool: Any) -> Any:
    def fn(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = None) -> Any:
        options = _windows(name, data_format, padding, rank, pool_size=ksize, strides=strides)
        return pool(input, **options)

    fn.__name__, fn.__doc__ = name, pool.__doc__
    return op(fn)


conv1d, conv2d, conv3d = map(_convolution, (1, 2, 3))
conv1d_transpose, conv2d_transpose, conv3d_transpose = map(_transposed, (1, 2, 3))
max_pool1d, max_pool2d, max_pool3d = (_pool(f"max_pool{n}d", n, pooling.max_pool) for n in (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = (_pool(f"avg_pool{n}d", n, pooling.average_pool) for n in (1, 2, 3))


@op
def max_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = None) -> Any:
    """The largest element of each window."""
    return (max_pool1d, max_pool2d, max_pool3d)[as_tensor(input).ndim - 3](input, ksize, strides, padding, data_format)


@op
def avg_pool(input: Any, ksize: Any, strides: Any, padding: Any, data_format: Any = None) -> Any:
    """The mean of each window."""
    return (avg_pool1d, avg_pool2d, avg_pool3d)[as_tensor(input).ndim - 3](input, ksize, strides, padding, data_format)


@op
def convolution_(
    input: Any, filters: Any, strides: Any = None, padding: Any = "VALID", data_format: Any = None,
    dilations: Any = None,
) -> Any:  # fmt: skip
    """Convolution over as many spatial axes as there are."""
    return (conv1d, conv2d, conv3d)[as_tensor(input).ndim - 3](input, filters, strides, padding, data_format, dilations)


@op
def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: Any = None, dilations: Any = None
) -> Any:
    """Each channel convolved with its own filters, which are (height, width, channels, multiplier)."""
    options = _windows("depthwise_conv2d", data_format, padding, 2, strides=strides, dilation_rate=dilations)
    return convolution.depthwise_conv(input, filter, **options)


@op
def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any, data_format: Any = None,
    dilations: Any = None,
) -> Any:  # fmt: skip
    """A convolution of each channel, then one of size 1 over all channels."""
    options = _windows("separable_conv2d", data_format, padding, 2, strides=strides, dilation_rate=dilations)
    return convolution.separable_conv(input, depthwise_filter, pointwise_filter, **options)


@op
def bias_add(value: Any, bias: Any, data_format: Any = None) -> Any:
    """``value`` plus a number for each channel."""
    value, bias = as_tensor(value), as_tensor(bias)
    if data_format is None or FORMATS[data_format] == "channels_last":
        return value + bias
    return value + bias.reshape((-1,) + (1,) * (value.ndim - 2))


# -- statistics ------------------------------------------------------------------------------------------------------


@op
def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False) -> Any:
    """Mean and variance over ``axes``."""
    return normalization.moments(x, ints(axes), keepdims=keepdims)


@op
def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float) -> Any:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset."""
    factor = maths.rsqrt(as_tensor(variance) + variance_epsilon)
    factor = factor if scale is None else factor * scale
    shift = -as_tensor(mean) * factor if offset is None else offset - as_tensor(mean) * factor
    return as_tensor(x) * factor + shift


@op
def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1.0, alpha: float = 1.0, beta: float = 0.5
) -> Any:
    """Each element divided by a power of the sum of squares of its neighbours along the last axis."""
    x = as_tensor(input)
    widths = [(0, 0)] * (x.ndim - 1) + [(depth_radius, depth_radius)]
    squares = pad(maths.square(x), widths)
    total = sum(squares[..., i : i + x.shape[-1]] for i in range(2 * depth_radius + 1))
    return x / (bias + alpha * total) ** beta


lrn = local_response_normalization


@op
def l2_loss(t: Any) -> Any:
    """Half the sum of squares."""
    return reductions.sum(maths.square(t)) / 2


@random.drawing
def dropout(x: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
    """Elements set to 0 with probability ``rate``, the others made larger by 1 / (1 - rate)."""
    return draws.dropout(x, rate, noise_shape, key=random.key(seed))


# -- picking ---------------------------------------------------------------------------------------------------------


@op
def embedding_lookup(params: Any, ids: Any, max_norm: Any = None) -> Any:
    """The rows of ``params`` that ``ids`` name."""
    rows = gather(params, ids)
    if max_norm is None:
        return rows
    norm = maths.sqrt(reductions.sum(maths.square(rows), axis=-1, keepdims=True))
    return rows * max_norm / maths.maximum(norm, max_norm)


# -- cross-entropies -------------------------------------------------------------------------------------------------


@op
def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: int = -1) -> Any:
    """-sum(labels * log(softmax(logits))) along ``axis``."""
    return losses.categorical_crossentropy(labels, logits, from_logits=True, axis=axis)


@op
def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    """-log(softmax(logits)) of the class that each label names."""
    return losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


@op
def sigmoid_cross_entropy_with_logits(labels: Any, logits: Any) -> Any:
    """-labels * log(sigmoid(logits)) - (1 - labels) * log(1 - sigmoid(logits))."""
    return losses.binary_crossentropy(labels, logits, from_logits=True)


@op
def weighted_cross_entropy_with_logits(labels: Any, logits: Any, pos_weight: Any) -> Any:
    """As ``sigmoid_cross_entropy_with_logits``, with the term of positive labels times ``pos_weight``."""
    labels, logits = as_tensor(labels), as_tensor(logits)
    weight = 1 + (as_tensor(pos_weight) - 1) * labels
    return (1 - labels) * logits + weight * activations.softplus(-logits)


@op
def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False) -> Any:
    """exp(log_input) - targets * log_input."""
    if compute_full_loss:
        raise InvalidArgumentError(explain("log_poisson_loss: compute_full_loss adds a constant and is not there."))
    return maths.exp(log_input) - as_tensor(targets) * log_input


convolution_.__name__ = "convolution"
__getattr__ = absent(__name__, globals())
