"""``tf.compat.v1.layers``: layers as functions, whose variables are shared by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from hornbeam.errors import ShapeError, explain
from hornbeam.ops import array as arrays
from hornbeam.runtime.graph import GraphTensor
from hornbeam.tensorflow import nn
from hornbeam.tensorflow.arrays import convert_to_tensor, identity, reshape, tensordot
from hornbeam.tensorflow.arrays import shape as shape_of
from hornbeam.tensorflow.compat.v1.graphs import GraphKeys, add_to_collection
from hornbeam.tensorflow.compat.v1.scopes import get_variable, variable_scope
from hornbeam.tensorflow.control import cond
from hornbeam.tensorflow.initializers import ones_initializer, zeros_initializer
from hornbeam.tensorflow.names import absent, op


@contextlib.contextmanager
def _layer(name: str | None, default: str, reuse: Any) -> Iterator[None]:
    with variable_scope(name, default_name=default, reuse=reuse or None):
        yield


def _size(name: str, x: Any, axis: int) -> int:
    """The size of an axis, which must be known. Raises ShapeError if it is not."""
    n = x.shape[axis]
    if n is None:
        raise ShapeError(
            explain(f"{name}: the last dimension of the inputs should be defined, their shape is {x.shape}.")
        )
    return int(n)


def _finish(outputs: Any, activation: Any, activity_regularizer: Any) -> Any:
    outputs = outputs if activation is None else activation(outputs)
    if activity_regularizer is not None:
        add_to_collection(GraphKeys.REGULARIZATION_LOSSES, activity_regularizer(outputs))
    return outputs


def dense(
    inputs: Any, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None,
    bias_initializer: Any = zeros_initializer, kernel_regularizer: Any = None, bias_regularizer: Any = None,
    activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
    trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """activation(inputs @ kernel + bias), over the last axis."""
    x = convert_to_tensor(inputs)
    with _layer(name, "dense", reuse):
        kernel = get_variable("kernel", (_size("dense", x, -1), units), x.dtype, kernel_initializer, kernel_regularizer,
                              trainable, constraint=kernel_constraint)  # fmt: skip
        out = tensordot(x, kernel, [[len(x.shape) - 1], [0]]) if len(x.shape) != 2 else x @ kernel.value()
        if use_bias:
            out = out + get_variable("bias", (units,), x.dtype, bias_initializer, bias_regularizer, trainable,
                                     constraint=bias_constraint)  # fmt: skip
        return _finish(out, activation, activity_regularizer)


FORMATS = {"channels_last": "N...C", "channels_first": "NC..."}


def _format(data_format: str, rank: int) -> str:
    spatial = {1: "W", 2: "HW", 3: "DHW"}[rank]
    return FORMATS[data_format].replace("...", spatial)


def _many(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _convolution(rank: int) -> Any:
    convolve = (nn.conv1d, nn.conv2d, nn.conv3d)[rank - 1]

    def conv(
        inputs: Any, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = zeros_initializer, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, reuse: Any = None,
    ) -> Any:  # fmt: skip
        x, form = convert_to_tensor(inputs), _format(data_format, rank)
        with _layer(name, f"conv{rank}d", reuse):
            channels = _size("conv", x, 1 if data_format == "channels_first" else -1)
            kernel = get_variable("kernel", (*_many(kernel_size, rank), channels, filters), x.dtype, kernel_initializer,
                                  kernel_regularizer, trainable, constraint=kernel_constraint)  # fmt: skip
            out = convolve(x, kernel, _many(strides, rank), padding, form, _many(dilation_rate, rank))
            if use_bias:
                bias = get_variable("bias", (filters,), x.dtype, bias_initializer, bias_regularizer, trainable,
                                    constraint=bias_constraint)  # fmt: skip
                out = nn.bias_add(out, bias, form)
            return _finish(out, activation, activity_regularizer)

    conv.__name__, conv.__doc__ = f"conv{rank}d", f"activation(convolution of inputs over {rank} axes + bias)."
    return conv


def conv2d_transpose(
    inputs: Any, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
    data_format: str = "channels_last", activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None,
    bias_initializer: Any = zeros_initializer, kernel_regularizer: Any = None, bias_regularizer: Any = None,
    activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
    trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """activation(transposed convolution of inputs + bias)."""
    x, form = convert_to_tensor(inputs), _format(data_format, 2)
    with _layer(name, "conv2d_transpose", reuse):
        first = data_format == "channels_first"
        window, steps = _many(kernel_size, 2), _many(strides, 2)
        sizes = (*window, filters, _size("conv2d_transpose", x, 1 if first else -1))
        kernel = get_variable("kernel", sizes, x.dtype, kernel_initializer, kernel_regularizer, trainable,
                              constraint=kernel_constraint)  # fmt: skip
        before = shape_of(x)[2:4] if first else shape_of(x)[1:3]
        spatial = [before[i] * s + (max(k - s, 0) if padding.lower() == "valid" else 0)
                   for i, (k, s) in enumerate(zip(window, steps))]  # fmt: skip
        out = nn.conv2d_transpose(x, kernel, spatial, steps, padding, form)
        if use_bias:
            bias = get_variable("bias", (filters,), x.dtype, bias_initializer, bias_regularizer, trainable,
                                constraint=bias_constraint)  # fmt: skip
            out = nn.bias_add(out, bias, form)
        return _finish(out, activation, activity_regularizer)


def _pooling(kind: str, rank: int) -> Any:
    pool = getattr(nn, f"{kind}_pool{rank}d")

    def fn(
        inputs: Any,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: Any = None,
    ) -> Any:
        return pool(
            inputs, _many(pool_size, rank), _many(strides, rank), padding, _format(data_format, rank), name=name
        )

    fn.__doc__ = pool.__doc__
    return fn


conv1d, conv2d, conv3d = map(_convolution, (1, 2, 3))
max_pooling1d, max_pooling2d, max_pooling3d = (_pooling("max", n) for n in (1, 2, 3))
average_pooling1d, average_pooling2d, average_pooling3d = (_pooling("avg", n) for n in (1, 2, 3))


@op
def _flatten(inputs: Any) -> Any:
    return arrays.reshape(inputs, (inputs.shape[0], -1))


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Any:
    """All axes but the first as one."""
    x = convert_to_tensor(inputs)
    return reshape(x, (x.shape[0], -1)) if x.shape[0] is not None else _flatten(x, name=name or "flatten")


def _switched(training: Any, yes: Any, no: Any) -> Any:
    """``yes()`` in training and ``no()`` outside it; decided at every run if ``training`` is a tensor."""
    return cond(training, yes, no) if isinstance(training, GraphTensor) else yes() if training else no()


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: Any = None,
    training: Any = False,
    name: str | None = None,
) -> Any:
    """In training elements are set to 0 with probability ``rate``, the others made larger by 1 / (1 - rate)."""
    x = convert_to_tensor(inputs)
    return _switched(
        training, lambda: nn.dropout(x, rate, noise_shape, seed=seed, name=name or "dropout"), lambda: identity(x)
    )


def batch_normalization(
    inputs: Any, axis: int = -1, momentum: Any = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
    beta_initializer: Any = zeros_initializer, gamma_initializer: Any = ones_initializer,
    moving_mean_initializer: Any = zeros_initializer, moving_variance_initializer: Any = ones_initializer,
    beta_regularizer: Any = None, gamma_regularizer: Any = None, training: Any = False, trainable: bool = True,
    name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """Each channel with mean 0 and variance 1: of the batch in training, else of the moving averages.

    The updates of the averages are in the collection UPDATE_OPS, to be run with every training step.
    """
    x = convert_to_tensor(inputs)
    axis = axis % len(x.shape)
    with _layer(name, "batch_normalization", reuse):
        n = (_size("batch_normalization", x, axis),)

        def made(what: str, initializer: Any, regularizer: Any = None, learned: bool = True) -> Any:
            return get_variable(what, n, x.dtype, initializer, regularizer, trainable and learned)

        gamma = made("gamma", gamma_initializer, gamma_regularizer) if scale else None
        beta = made("beta", beta_initializer, beta_regularizer) if center else None
        moving = (made("moving_mean", moving_mean_initializer, learned=False),
                  made("moving_variance", moving_variance_initializer, learned=False))  # fmt: skip
        axes = [i for i in range(len(x.shape)) if i != axis]
        batch = nn.moments(x, axes) if training is not False else tuple(v.value() for v in moving)
        pairs = [(v, b) for v, b in zip(moving, batch)]
        mean, variance = (_switched(training, lambda b=b: identity(b), lambda v=v: v.value()) for v, b in pairs)
        if training is not False:
            for v, b in pairs:
                change = (v.value() - b) * (1 - momentum)
                kept = _switched(training, lambda c=change: identity(c), lambda c=change: c * 0.0)
                add_to_collection(GraphKeys.UPDATE_OPS, v.assign_sub(kept))
        return _normalized(x, mean, variance, beta, gamma, axis, epsilon)


@op
def _normalized(x: Any, mean: Any, variance: Any, beta: Any, gamma: Any, axis: int, epsilon: float) -> Any:
    dims = [1] * x.ndim
    dims[axis] = -1
    mean, variance, beta, gamma = (
        None if v is None else arrays.reshape(v, dims) for v in (mean, variance, beta, gamma)
    )
    return nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


__getattr__ = absent(__name__, globals())
