"""``tf.compat.v1.nn``: as ``tf.nn``, with TensorFlow 1's arguments where they were others."""

from __future__ import annotations

from typing import Any

from hornbeam.errors import InvalidArgumentError, explain
from hornbeam.tensorflow import nn
from hornbeam.tensorflow.arrays import matmul
from hornbeam.tensorflow.names import absent

globals().update({name: value for name, value in vars(nn).items() if name[0] != "_" and name != "annotations"})


def _one(name: str, **given: Any) -> Any:
    """The one argument that is given under its old or its new name. Raises InvalidArgumentError otherwise."""
    found = [value for value in given.values() if value is not None]
    if len(found) != 1:
        raise InvalidArgumentError(explain(f"{name}: give one of {', '.join(given)}."))
    return found[0]


def dropout(
    x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: Any = None, name: Any = None, rate: Any = None
) -> Any:
    """Elements kept with probability ``keep_prob`` (or set to 0 with probability ``rate``), and made larger in turn."""
    kept = _one("dropout", keep_prob=keep_prob, rate=rate)
    return nn.dropout(x, kept if keep_prob is None else 1 - kept, noise_shape, seed=seed, name=name)


def conv2d(
    input: Any, filter: Any = None, strides: Any = None, padding: Any = None, use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC", dilations: Any = None, name: Any = None, filters: Any = None,
) -> Any:  # fmt: skip
    """Convolution over two spatial axes; the filter is (height, width, channels, features)."""
    kernel = _one("conv2d", filter=filter, filters=filters)
    return nn.conv2d(input, kernel, 1 if strides is None else strides, padding, data_format, dilations, name=name)


def conv2d_transpose(
    value: Any = None, filter: Any = None, output_shape: Any = None, strides: Any = None, padding: str = "SAME",
    data_format: str = "NHWC", name: Any = None, input: Any = None, filters: Any = None, dilations: Any = None,
) -> Any:  # fmt: skip
    """The transpose of ``conv2d`` as a linear map; the filter is (height, width, features, channels)."""
    x = _one("conv2d_transpose", value=value, input=input)
    kernel = _one("conv2d_transpose", filter=filter, filters=filters)
    return nn.conv2d_transpose(
        x, kernel, output_shape, 1 if strides is None else strides, padding, data_format, dilations, name=name
    )


def _pool(pool: Any) -> Any:
    def fn(
        value: Any = None, ksize: Any = None, strides: Any = None, padding: Any = None, data_format: str = "NHWC",
        name: Any = None, input: Any = None,
    ) -> Any:  # fmt: skip
        x = _one(pool.__name__, value=value, input=input)
        return pool(x, ksize, strides, padding, data_format, name=name)

    fn.__name__, fn.__doc__ = pool.__name__, pool.__doc__
    return fn


max_pool, avg_pool = _pool(nn.max_pool), _pool(nn.avg_pool)


def softmax(logits: Any, axis: Any = None, name: Any = None, dim: Any = None) -> Any:
    """exp(logits) made to sum to 1 along ``axis``, the last by default."""
    return nn.softmax(logits, axis if axis is not None else -1 if dim is None else dim, name=name)


def log_softmax(logits: Any, axis: Any = None, name: Any = None, dim: Any = None) -> Any:
    """The logarithm of softmax."""
    return nn.log_softmax(logits, axis if axis is not None else -1 if dim is None else dim, name=name)


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: Any = None, name: Any = None, dim: Any = None
) -> Any:
    """-sum(labels * log(softmax(logits))) along ``axis``."""
    axis = axis if axis is not None else -1 if dim is None else dim
    return nn.softmax_cross_entropy_with_logits(labels, logits, axis, name=name)


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, dim: int = -1, name: Any = None, axis: Any = None
) -> Any:
    """-sum(labels * log(softmax(logits))) along an axis. Labels and logits are named, so that they are not confused."""
    _named("softmax_cross_entropy_with_logits", _sentinel)
    return nn.softmax_cross_entropy_with_logits(labels, logits, dim if axis is None else axis, name=name)


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: Any = None
) -> Any:
    """-log(softmax(logits)) of the class that each label names. Labels and logits are named."""
    _named("sparse_softmax_cross_entropy_with_logits", _sentinel)
    return nn.sparse_softmax_cross_entropy_with_logits(labels, logits, name=name)


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: Any = None
) -> Any:
    """The cross-entropy of independent classes. Labels and logits are named."""
    _named("sigmoid_cross_entropy_with_logits", _sentinel)
    return nn.sigmoid_cross_entropy_with_logits(labels, logits, name=name)


def _named(name: str, sentinel: Any) -> None:
    if sentinel is not None:
        raise ValueError(explain(f"Only call `{name}` with named arguments (labels=..., logits=..., ...)."))


def xw_plus_b(x: Any, weights: Any, biases: Any, name: Any = None) -> Any:
    """x @ weights + biases."""
    return nn.bias_add(matmul(x, weights), biases, name=name)


def moments(x: Any, axes: Any, shift: Any = None, name: Any = None, keep_dims: Any = None, keepdims: Any = None) -> Any:
    """Mean and variance over ``axes``."""
    return nn.moments(x, axes, keepdims=bool(keepdims or keep_dims), name=name)


__getattr__ = absent(__name__, globals())
