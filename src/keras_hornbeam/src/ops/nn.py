"""Keras's neural network operations, in Keras's dtypes: fractions of integers are ``floatx``."""

from __future__ import annotations

from keras.src.backend.common import dtypes, standardize_dtype
from keras.src.backend.common.backend_utils import (
    canonicalize_axis,
    check_conv_input_channels,
    check_conv_transpose_input_channels,
)
from keras.src.backend.config import epsilon as keras_epsilon
from keras.src.backend.config import floatx, standardize_data_format

from hornbeam.ops import nn
from keras_hornbeam.src.ops.core import cast, convert_to_tensor
from keras_hornbeam.src.ops.promotion import together_floating

__all__ = [
    "adaptive_average_pool", "adaptive_max_pool", "average_pool", "batch_normalization", "binary_crossentropy",
    "categorical_crossentropy", "celu", "conv", "conv_transpose", "ctc_decode", "ctc_loss", "depth_to_space",
    "depthwise_conv", "dot_product_attention", "elu", "fold", "gelu", "glu", "hard_shrink", "hard_sigmoid",
    "hard_silu", "hard_tanh", "layer_normalization", "leaky_relu", "log_sigmoid", "log_softmax", "max_pool",
    "moments", "multi_hot", "one_hot", "psnr", "relu", "relu6", "rms_normalization", "selu", "separable_conv",
    "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "space_to_depth",
    "sparse_categorical_crossentropy", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh",
    "tanh_shrink", "threshold", "unfold",
]  # fmt: skip


def _floating(x):
    """``x`` as a tensor that can hold fractions."""
    x = convert_to_tensor(x)
    return cast(x, dtypes.promote_to_float_dtype(standardize_dtype(x.dtype)))


# -- activations -----------------------------------------------------------------------------------------------------


def relu(x):
    return nn.relu(convert_to_tensor(x))


def relu6(x):
    return nn.relu6(convert_to_tensor(x))


def sigmoid(x):
    return nn.sigmoid(_floating(x))


def sparse_sigmoid(x):
    return nn.sparse_sigmoid(_floating(x))


def tanh(x):
    return nn.tanh(_floating(x))


def tanh_shrink(x):
    return nn.tanh_shrink(_floating(x))


def softplus(x):
    return nn.softplus(_floating(x))


def softsign(x):
    return nn.softsign(_floating(x))


def soft_shrink(x, threshold=0.5):
    return nn.soft_shrink(_floating(x), threshold)


def sparse_plus(x):
    return nn.sparse_plus(_floating(x))


def silu(x):
    return nn.silu(_floating(x))


def squareplus(x, b=4):
    return nn.squareplus(_floating(x), b)


def log_sigmoid(x):
    return nn.log_sigmoid(_floating(x))


def leaky_relu(x, negative_slope=0.2):
    return nn.leaky_relu(_floating(x), negative_slope)


def hard_sigmoid(x):
    return nn.hard_sigmoid(_floating(x))


def hard_silu(x):
    return nn.hard_silu(_floating(x))


def hard_tanh(x):
    return nn.hard_tanh(convert_to_tensor(x))


def hard_shrink(x, threshold=0.5):
    return nn.hard_shrink(_floating(x), threshold)


def elu(x, alpha=1.0):
    return nn.elu(_floating(x), alpha)


def selu(x):
    return nn.selu(_floating(x))


def celu(x, alpha=1.0):
    return nn.celu(_floating(x), alpha)


def gelu(x, approximate=True):
    return nn.gelu(_floating(x), approximate)


def glu(x, axis=-1):
    x = _floating(x)
    return nn.glu(x, canonicalize_axis(axis, x.ndim))


def threshold(x, threshold, default_value):
    return nn.threshold(convert_to_tensor(x), threshold, default_value)


def softmax(x, axis=-1):
    return nn.softmax(_floating(x), axis)


def log_softmax(x, axis=-1):
    return nn.log_softmax(_floating(x), axis)


def sparsemax(x, axis=-1):
    return nn.sparsemax(_floating(x), axis)


# -- convolution and pooling -----------------------------------------------------------------------------------------


def _pair(inputs, kernel):
    """Both operands in the kernel's dtype."""
    kernel = convert_to_tensor(kernel)
    return convert_to_tensor(inputs, dtype=kernel.dtype), kernel


def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    inputs, kernel = _pair(inputs, kernel)
    return nn.conv(inputs, kernel, strides, padding, standardize_data_format(data_format), dilation_rate)


def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    inputs, kernel = _pair(inputs, kernel)
    data_format = standardize_data_format(data_format)
    check_conv_input_channels(inputs, kernel, data_format)
    return nn.depthwise_conv(inputs, kernel, strides, padding, data_format, dilation_rate)


def separable_conv(
    inputs, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", data_format=None, dilation_rate=1
):
    inputs, depthwise_kernel = _pair(inputs, depthwise_kernel)
    pointwise_kernel = convert_to_tensor(pointwise_kernel, dtype=depthwise_kernel.dtype)
    data_format = standardize_data_format(data_format)
    check_conv_input_channels(inputs, depthwise_kernel, data_format)
    return nn.separable_conv(
        inputs, depthwise_kernel, pointwise_kernel, strides, padding, data_format, dilation_rate
    )


def conv_transpose(
    inputs, kernel, strides=1, padding="valid", output_padding=None, data_format=None, dilation_rate=1
):
    inputs, kernel = _pair(inputs, kernel)
    data_format = standardize_data_format(data_format)
    check_conv_transpose_input_channels(inputs, kernel, data_format)
    return nn.conv_transpose(inputs, kernel, strides, padding, output_padding, data_format, dilation_rate)


def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    return nn.max_pool(
        convert_to_tensor(inputs), pool_size, strides, padding, standardize_data_format(data_format)
    )


def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    return nn.average_pool(_floating(inputs), pool_size, strides, padding, standardize_data_format(data_format))


def adaptive_average_pool(inputs, output_size, data_format=None):
    return nn.adaptive_average_pool(_floating(inputs), output_size, standardize_data_format(data_format))


def adaptive_max_pool(inputs, output_size, data_format=None):
    return nn.adaptive_max_pool(convert_to_tensor(inputs), output_size, standardize_data_format(data_format))


# -- statistics --------------------------------------------------------------------------------------------------------


def moments(x, axes, keepdims=False, synchronized=False):
    if synchronized:
        raise NotImplementedError("`synchronized=True` needs several replicas, which this backend does not have.")
    return nn.moments(_floating(x), axes, keepdims)


def batch_normalization(x, mean, variance, axis, offset=None, scale=None, epsilon=1e-3):
    x = _floating(x)
    mean, variance, offset, scale = (v if v is None else convert_to_tensor(v) for v in (mean, variance, offset, scale))
    # Parameters in a wider dtype than x (float32 beside float16) make the result wide, as arithmetic would.
    given = [standardize_dtype(v.dtype) for v in (x, mean, variance, offset, scale) if v is not None]
    return nn.batch_normalization(cast(x, dtypes.result_type(*given)), mean, variance, axis, offset, scale, epsilon)


def layer_normalization(x, gamma=None, beta=None, axis=-1, epsilon=None):
    return nn.layer_normalization(
        _floating(x), gamma, beta, axis, keras_epsilon() if epsilon is None else epsilon
    )


def rms_normalization(x, scale=None, axis=-1, epsilon=None):
    return nn.rms_normalization(_floating(x), scale, axis, keras_epsilon() if epsilon is None else epsilon)


# -- class numbers and losses ------------------------------------------------------------------------------------------


def _numbers(x, sparse):
    if sparse:
        raise ValueError("Unsupported value `sparse=True` with the hornbeam backend: it has no sparse tensors.")
    x = convert_to_tensor(x)
    return x if x.dtype.kind in "iu" else cast(x, "int32")


def one_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    return nn.one_hot(_numbers(x, sparse), num_classes, axis, standardize_dtype(dtype or floatx()))


def multi_hot(x, num_classes, axis=-1, dtype=None, sparse=False):
    return nn.multi_hot(_numbers(x, sparse), num_classes, axis, standardize_dtype(dtype or floatx()))


def binary_crossentropy(target, output, from_logits=False):
    return nn.binary_crossentropy(convert_to_tensor(target), _floating(output), from_logits, keras_epsilon())


def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    return nn.categorical_crossentropy(
        convert_to_tensor(target), _floating(output), from_logits, axis, keras_epsilon()
    )


def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1):
    return nn.sparse_categorical_crossentropy(
        convert_to_tensor(target), _floating(output), from_logits, axis, keras_epsilon()
    )


def psnr(x1, x2, max_val):
    x1, x2 = together_floating(x1, x2)
    return nn.psnr(x1, x2, max_val)


def ctc_loss(target, output, target_length, output_length, mask_index=0):
    output = convert_to_tensor(output)
    output = cast(output, dtypes.result_type(standardize_dtype(output.dtype), "float32"))
    target, target_length, output_length = (convert_to_tensor(v) for v in (target, target_length, output_length))
    return nn.ctc_loss(target, output, target_length, output_length, mask_index)


def ctc_decode(
    inputs, sequence_lengths, strategy="greedy", beam_width=100, top_paths=1, merge_repeated=True, mask_index=0
):
    inputs = convert_to_tensor(inputs)
    inputs = cast(inputs, dtypes.result_type(standardize_dtype(inputs.dtype), "float32"))
    lengths = convert_to_tensor(sequence_lengths, dtype="int32")
    if strategy == "greedy":
        return nn.ctc_greedy_decode(inputs, lengths, merge_repeated, mask_index)
    if strategy == "beam_search":
        return nn.ctc_beam_search_decode(inputs, lengths, beam_width, top_paths, mask_index)
    raise ValueError(f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'.")


# -- attention and patches ---------------------------------------------------------------------------------------------


def dot_product_attention(
    query,
    key,
    value,
    bias=None,
    mask=None,
    scale=None,
    is_causal=False,
    flash_attention=None,
    attn_logits_soft_cap=None,
):
    # ``flash_attention`` says how, not what: the engine decides how attention is computed.
    query, key, value = (convert_to_tensor(v) for v in (query, key, value))
    dtype = dtypes.result_type(*(standardize_dtype(v.dtype) for v in (query, key, value)))
    query, key, value = (_floating(cast(v, dtype)) for v in (query, key, value))
    bias, mask = (None if v is None else convert_to_tensor(v) for v in (bias, mask))
    return nn.dot_product_attention(query, key, value, bias, mask, scale, is_causal, attn_logits_soft_cap)


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    return nn.unfold(convert_to_tensor(input), kernel_size, dilation, padding, stride)


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    return nn.fold(convert_to_tensor(x), output_size, kernel_size, dilation, padding, stride)


def depth_to_space(x, block_size, data_format="channels_last"):
    return nn.depth_to_space(convert_to_tensor(x), block_size, data_format)


def space_to_depth(x, block_size, data_format="channels_last"):
    return nn.space_to_depth(convert_to_tensor(x), block_size, data_format)
