"""Neural network operations against naive NumPy, and their gradients against finite differences in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import hornbeam.runtime.eager  # noqa: F401  (installs the interpreter)
from hornbeam.base import dtypes
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ops import nn
from hornbeam.runtime.function import function
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import as_tensor

erf = np.vectorize(math.erf)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def close(got, want, tol=1e-10):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


def gradients(f, *arrays):
    """d sum(f(...) * w) / d each argument, for fixed odd weights w."""
    tensors = [as_tensor(a) for a in arrays]
    with GradientTape() as tape:
        tape.watch(tensors)
        y = f(*tensors)
        loss = (y * weights(y.shape)).sum()
    return tape.gradient(loss, tensors)


def weights(shape):
    return np.cos(np.arange(math.prod(shape)) + 1.0).reshape(shape)


def check_gradients(f, *arrays, tol=1e-6):
    """Against central differences, of the function itself and of the same function traced."""

    def value(*xs):
        y = np.asarray(f(*xs))
        return float((y * weights(y.shape)).sum())

    traced = function(lambda *xs: gradients(f, *xs))(*map(as_tensor, arrays))
    for i, (found, again) in enumerate(zip(gradients(f, *arrays), traced, strict=True)):
        want = np.zeros_like(arrays[i])
        for at in np.ndindex(arrays[i].shape):
            low, high = [x.copy() for x in arrays], [x.copy() for x in arrays]
            low[i][at] -= 1e-5
            high[i][at] += 1e-5
            want[at] = (value(*high) - value(*low)) / 2e-5
        close(found, want, tol)
        close(again, found, 1e-12)


# -- activations ---------------------------------------------------------------------------------------------

sigmoid = lambda x: 1 / (1 + np.exp(-x))
ACTIVATIONS = [
    (nn.relu, lambda x: np.maximum(x, 0)),
    (nn.relu6, lambda x: np.clip(x, 0, 6)),
    (nn.leaky_relu, lambda x: np.where(x > 0, x, 0.2 * x)),
    (nn.elu, lambda x: np.where(x > 0, x, np.expm1(x))),
    (lambda x: nn.celu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x / 2))),
    (nn.selu, lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))),
    (lambda x: nn.threshold(x, 0.5, -2.0), lambda x: np.where(x > 0.5, x, -2)),
    (nn.sigmoid, sigmoid),
    (nn.tanh, np.tanh),
    (nn.softplus, lambda x: np.logaddexp(x, 0)),
    (nn.log_sigmoid, lambda x: -np.logaddexp(-x, 0)),
    (nn.silu, lambda x: x * sigmoid(x)),
    (lambda x: nn.gelu(x, approximate=False), lambda x: x * (1 + erf(x / math.sqrt(2))) / 2),
    (nn.gelu, lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    (nn.hard_sigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    (nn.hard_silu, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    (nn.hard_tanh, lambda x: np.clip(x, -1, 1)),
    (nn.softsign, lambda x: x / (1 + np.abs(x))),
    (nn.sparse_plus, lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))),
    (nn.sparse_sigmoid, lambda x: np.clip((x + 1) / 2, 0, 1)),
    (nn.squareplus, lambda x: (x + np.sqrt(x * x + 4)) / 2),
    (nn.tanh_shrink, lambda x: x - np.tanh(x)),
    (nn.soft_shrink, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    (nn.hard_shrink, lambda x: np.where(np.abs(x) > 0.5, x, 0)),
]


@pytest.mark.parametrize("ours, numpy", ACTIVATIONS)
def test_activation(ours, numpy):
    x = normal(3, 7) * 3
    close(ours(x), numpy(x), 1e-9)
    check_gradients(ours, x)


@pytest.mark.parametrize("ours", [ours for ours, _ in ACTIVATIONS])
def test_activations_neither_overflow_nor_hide_nan(ours):
    x = np.array([-1e4, -80, 0, 80, 1e4], np.float32)
    assert np.isfinite(np.asarray(ours(x))).all()
    assert np.isfinite(np.asarray(gradients(ours, x)[0])).all()
    assert ours(x).dtype == np.float32


@pytest.mark.parametrize("ours", [nn.relu, nn.relu6, nn.elu, nn.softplus, nn.gelu, nn.hard_tanh, nn.hard_sigmoid])
def test_nan_stays(ours):
    assert np.isnan(np.asarray(ours(np.float32(np.nan))))


def test_small_values_survive():
    close(nn.log_sigmoid(np.array([-500.0, 500.0])), [-500.0, -math.exp(-500)], 1e-12)
    close(np.asarray(nn.softplus(np.array([-40.0]))) / math.exp(-40), [1.0], 1e-12)
    assert np.asarray(nn.gelu(np.array([-20.0]), False))[0] < 0
    close(np.asarray(nn.squareplus(np.array([-1e8]))) * 1e8, [1.0], 1e-12)


@pytest.mark.parametrize("f, slope, bend", [(nn.softplus, 0.5, 0.25), (nn.silu, 0.5, 0.5), (nn.squareplus, 0.5, 0.25)])
def test_smooth_at_zero(f, slope, bend):
    x = as_tensor(np.zeros(1))
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = f(x)
        first = inner.gradient(y, x)
    close(first, [slope])
    close(outer.gradient(first, x), [bend])


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None])
def test_softmax(axis):
    x = normal(2, 3, 4) * 5
    e = np.exp(x)
    want = e / e.sum(axis, keepdims=True)
    close(nn.softmax(x, axis), want)
    close(nn.log_softmax(x, axis), np.log(want), 1e-9)
    check_gradients(lambda x: nn.softmax(x, axis), x / 5)
    check_gradients(lambda x: nn.log_softmax(x, axis), x / 5)


def test_softmax_of_large_and_hidden_logits():
    close(nn.softmax(np.array([1e4, 0, -np.inf])), [1, 0, 0])
    assert np.asarray(nn.log_softmax(np.array([1e4, 0.0]))).tolist() == [0, -1e4]


@pytest.mark.parametrize("axis", [-1, 0])
def test_sparsemax(axis):
    x = normal(4, 5)
    p = np.asarray(nn.sparsemax(x, axis))
    close(p.sum(axis), np.ones(p.shape[1 + axis if axis else 1]))
    # The projection onto the simplex: inside the support all differ from x by one number.
    moved = np.moveaxis(np.where(p > 0, x - p, np.nan), axis, -1)
    close(np.nanmax(moved, -1), np.nanmin(moved, -1))
    assert (np.where(p == 0, x, -np.inf).max(axis) <= np.nanmax(moved, -1)).all()
    assert (p == 0).any()
    check_gradients(lambda x: nn.sparsemax(x, axis), x)


def test_glu():
    x = normal(3, 4)
    close(nn.glu(x), x[:, :2] * sigmoid(x[:, 2:]))
    with pytest.raises(ShapeError, match="even size"):
        nn.glu(x, axis=0)


# -- convolution and pooling ---------------------------------------------------------------------------------


def pairs(padding, sizes, spans, strides):
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "causal":
        return [(r - 1, 0) for r in spans]
    totals = [max((math.ceil(n / s) - 1) * s + r - n, 0) for n, r, s in zip(sizes, spans, strides, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]


def patches(x, window, strides, padding, dilation, fill=0.0):
    """(batch, *windows, *window, channels), window by window."""
    spans = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    padded = np.pad(x, [(0, 0), *pairs(padding, x.shape[1:-1], spans, strides), (0, 0)], constant_values=fill)
    counts = [(n - r) // s + 1 for n, r, s in zip(padded.shape[1:-1], spans, strides, strict=True)]
    out = np.empty((x.shape[0], *counts, *window, x.shape[-1]))
    for at in itertools.product(*map(range, counts)):
        where = [slice(i * s, i * s + r, d) for i, s, r, d in zip(at, strides, spans, dilation, strict=True)]
        out[(slice(None), *at)] = padded[(slice(None), *where)]
    return out


def naive_conv(x, kernel, strides, padding, dilation):
    rank = kernel.ndim - 2
    groups = x.shape[-1] // kernel.shape[-2]
    p = patches(x, kernel.shape[:-2], strides, padding, dilation)
    inner = tuple(range(rank + 1, 2 * rank + 2))
    parts = [
        np.tensordot(a, b, (inner, tuple(range(rank + 1))))
        for a, b in zip(np.split(p, groups, -1), np.split(kernel, groups, -1), strict=True)
    ]
    return np.concatenate(parts, -1)


CONVS = [
    # spatial sizes, window, strides, padding, dilation, groups
    ((7,), (3,), (1,), "valid", (1,), 1),
    ((8,), (3,), (2,), "same", (1,), 2),
    ((8,), (3,), (1,), "causal", (2,), 1),
    ((6, 5), (3, 2), (1, 1), "same", (1, 1), 1),
    ((6, 5), (3, 2), (2, 1), "valid", (1, 1), 2),
    ((7, 6), (2, 3), (1, 1), "same", (2, 2), 1),
    ((5, 6), (1, 1), (2, 3), "same", (1, 1), 1),
    ((4, 5, 3), (2, 2, 2), (1, 2, 1), "same", (1, 1, 1), 1),
]


@pytest.mark.parametrize("sizes, window, strides, padding, dilation, groups", CONVS)
def test_conv(sizes, window, strides, padding, dilation, groups):
    x, kernel = normal(2, *sizes, 4), normal(*window, 4 // groups, 6, seed=1)
    want = naive_conv(x, kernel, strides, padding, dilation)
    close(nn.conv(x, kernel, strides, padding, dilation_rate=dilation), want)
    first = nn.conv(np.moveaxis(x, -1, 1), kernel, strides, padding, "channels_first", dilation)
    close(first, np.moveaxis(want, -1, 1))


def test_conv_gradients():
    check_gradients(lambda x, k: nn.conv(x, k, 2, "same"), normal(2, 5, 4, 2), normal(3, 2, 2, 3, seed=1))
    x, kernel = normal(1, 4, 6), normal(2, 2, 4, seed=1)
    check_gradients(lambda x, k: nn.conv(x, k, 1, "valid", "channels_first", 2), x, kernel)


def test_depthwise_and_separable_conv():
    x, deep, point = normal(2, 5, 6, 3), normal(3, 2, 3, 2, seed=1), normal(1, 1, 6, 4, seed=2)
    each = [naive_conv(x[..., c : c + 1], deep[:, :, c : c + 1], (2, 1), "same", (1, 1)) for c in range(3)]
    want = np.concatenate(each, -1)
    close(nn.depthwise_conv(x, deep, (2, 1), "same"), want)
    close(nn.separable_conv(x, deep, point, (2, 1), "same"), want @ point[0, 0])
    check_gradients(lambda x, k: nn.depthwise_conv(x, k, 2, "same"), x[:1], deep)


def naive_conv_transpose(x, kernel, strides, padding, sizes, dilation):
    """The transpose of the matrix of the convolution that leads from ``sizes`` to those of ``x``."""
    batch, features = x.shape[0], kernel.shape[-2]
    basis = np.eye(math.prod(sizes) * features).reshape(-1, *sizes, features)
    matrix = naive_conv(basis, kernel, strides, padding, dilation)
    return np.tensordot(x, matrix, (range(1, x.ndim), range(1, x.ndim))).reshape(batch, *sizes, features)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "window, stride, dilation", [(3, 1, 1), (3, 2, 1), (2, 2, 1), (1, 3, 1), (2, 3, 1), (3, 1, 2), (4, 2, 1)]
)
def test_conv_transpose(window, stride, dilation, padding):
    x, kernel = normal(2, 4, 3), normal(window, 2, 3, seed=1)
    span = (window - 1) * dilation + 1
    size = 4 * stride if padding == "same" else 3 * stride + max(span, stride)
    want = naive_conv_transpose(x, kernel, (stride,), padding, (size,), (dilation,))
    close(nn.conv_transpose(x, kernel, stride, padding, dilation_rate=dilation), want)
    for extra in range(stride):
        size = 3 * stride + extra + (span % 2 if padding == "same" else span)
        if padding == "same" and math.ceil(size / stride) != 4:
            continue
        want = naive_conv_transpose(x, kernel, (stride,), padding, (size,), (dilation,))
        close(nn.conv_transpose(x, kernel, stride, padding, extra, dilation_rate=dilation), want)


def test_conv_transpose_in_two_axes():
    x, kernel = normal(1, 3, 2, 2), normal(3, 2, 4, 2, seed=1)
    want = naive_conv_transpose(x, kernel, (2, 3), "same", (6, 6), (1, 1))
    close(nn.conv_transpose(x, kernel, (2, 3), "same"), want)
    first = nn.conv_transpose(np.moveaxis(x, -1, 1), kernel, (2, 3), "same", data_format="channels_first")
    close(first, np.moveaxis(want, -1, 1))
    check_gradients(lambda x, k: nn.conv_transpose(x, k, 2, "same"), x, kernel)
    assert nn.conv_transpose(x, kernel, 1, "valid", 3).shape == (1, 8, 6, 4)


POOLS = [
    ((7,), (2,), None, "valid"),
    ((7,), (3,), (2,), "same"),
    ((5, 6), (2, 3), (1, 2), "same"),
    ((5, 6), (2, 2), None, "valid"),
    ((3, 4, 5), (2, 2, 2), (2, 1, 2), "same"),
]


@pytest.mark.parametrize("sizes, window, strides, padding", POOLS)
def test_pooling(sizes, window, strides, padding):
    x = normal(2, *sizes, 3)
    p = patches(x, window, strides or window, padding, (1,) * len(window), np.nan)
    inner = tuple(range(len(window) + 1, 2 * len(window) + 1))
    close(nn.max_pool(x, window, strides, padding), np.nanmax(p, inner))
    close(nn.average_pool(x, window, strides, padding), np.nanmean(p, inner))
    first = nn.average_pool(np.moveaxis(x, -1, 1), window, strides, padding, "channels_first")
    close(first, np.moveaxis(np.nanmean(p, inner), -1, 1))
    check_gradients(lambda x: nn.max_pool(x, window, strides, padding), x[:1])
    check_gradients(lambda x: nn.average_pool(x, window, strides, padding), x[:1])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 9])
def test_adaptive_pooling(size):
    x = normal(2, 6, 7, 2)
    average, largest = np.empty((2, size, size, 2)), np.empty((2, size, size, 2))
    for i, j in itertools.product(range(size), repeat=2):
        block = x[:, i * 6 // size : -(-(i + 1) * 6 // size), j * 7 // size : -(-(j + 1) * 7 // size)]
        average[:, i, j], largest[:, i, j] = block.mean((1, 2)), block.max((1, 2))
    close(nn.adaptive_average_pool(x, size), average)
    close(nn.adaptive_max_pool(x, (size, size)), largest)
    check_gradients(lambda x: nn.adaptive_average_pool(x, size), x[:1])
    check_gradients(lambda x: nn.adaptive_max_pool(x, size), x[:1])


def test_integers_are_pooled_exactly():
    x = np.arange(6, dtype=np.int32).reshape(1, 6, 1)
    assert nn.max_pool(x, 2).dtype == np.int32
    assert np.asarray(nn.average_pool(x, 2)).ravel().tolist() == [0.5, 2.5, 4.5]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nn.conv(normal(1, 5, 3), normal(2, 2, 4)), "3 channels"),
        (lambda: nn.conv(normal(1, 2, 3), normal(3, 3, 4)), "empty"),
        (lambda: nn.conv(normal(1, 5, 3), normal(2, 2, 3, 4)), "need 3 axes"),
        (lambda: nn.conv(normal(1, 5, 3), normal(2, 3, 4), padding="full"), "not one of valid, same"),
        (lambda: nn.conv(normal(1, 5, 3), normal(2, 3, 4), strides=0), "strides"),
        (lambda: nn.conv(normal(1, 5, 3), normal(2, 3, 4), data_format="NCHW"), "data_format"),
        (lambda: nn.conv_transpose(normal(1, 5, 3), normal(2, 3, 4)), "transposed kernels"),
        (lambda: nn.max_pool(normal(5, 3), 2), "spatial"),
        (lambda: nn.average_pool(normal(1, 5, 3), (2, 2)), "pool_size"),
    ],
)
def test_windows_that_do_not_fit(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


# -- statistics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [0, -1, (0, 2), None])
@pytest.mark.parametrize("keepdims", [False, True])
def test_moments(axes, keepdims):
    x = normal(3, 4, 5) + 2
    mean, variance = nn.moments(x, axes, keepdims)
    close(mean, x.mean(axes, keepdims=keepdims))
    close(variance, x.var(axes, keepdims=keepdims))


def test_moments_keep_their_digits_where_the_mean_is_large():
    x = normal(500, 2, 3) * 0.01 + np.array([0, 1000, -3e5], "float32")
    for axes in (0, (0, 1)):
        mean, variance = nn.moments(x, axes)
        np.testing.assert_allclose(mean, x.astype(float).mean(axes), rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(variance, x.astype(float).var(axes), rtol=1e-4)
    assert (np.asarray(nn.moments(np.full((7, 3), 1e6, "float32"), 0)[1]) == 0).all()
    x[3, :, 1] = np.inf
    assert np.isinf(np.asarray(nn.moments(x, 0)[0])[:, 1]).all()
    assert all(np.isnan(np.asarray(m)).all() for m in nn.moments(np.zeros((0, 2), "float32"), 0))


def test_moments_of_half_precision():
    x = np.full((4096,), 300, np.float16)
    mean, variance = nn.moments(x, 0)
    assert (mean.dtype, float(mean), float(variance)) == (np.float16, 300, 0)
    wide = nn.moments(np.array([-6e4, 6e4], np.float16), 0)[1]
    assert float(wide) == np.finfo(np.float16).max


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization(axis):
    x = normal(2, 3, 3)
    mean, variance, offset, scale = normal(3), normal(3, seed=1) ** 2, normal(3, seed=2), normal(3, seed=3)
    m, v, o, s = (p.reshape((1, 3, 1) if axis == 1 else (3,)) for p in (mean, variance, offset, scale))
    close(nn.batch_normalization(x, mean, variance, axis), (x - m) / np.sqrt(v + 1e-3))
    close(nn.batch_normalization(x, mean, variance, axis, offset, scale, 0.1), (x - m) / np.sqrt(v + 0.1) * s + o)
    others = (0, 3 - axis % 3)
    check_gradients(lambda x, o, s: nn.batch_normalization(x, *nn.moments(x, others), axis, o, s), x, offset, scale)


@pytest.mark.parametrize("axis", [-1, 1, (1, 2)])
def test_layer_and_rms_normalization(axis):
    x = normal(2, 3, 4)
    shape = {-1: (4,), 1: (3,), (1, 2): (3, 4)}[axis]
    gamma, beta = normal(*shape, seed=1), normal(*shape, seed=2)
    g, b = (p.reshape((3, 1) if axis == 1 else shape) for p in (gamma, beta))
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    close(nn.layer_normalization(x, gamma, beta, axis, 0.1), (x - mean) / np.sqrt(variance + 0.1) * g + b)
    rms = np.sqrt((x * x).mean(axis, keepdims=True) + 0.1)
    close(nn.rms_normalization(x, gamma, axis, 0.1), x / rms * g)
    check_gradients(lambda x, g, b: nn.layer_normalization(x, g, b, axis), x, gamma, beta)
    check_gradients(lambda x, g: nn.rms_normalization(x, g, axis), x, gamma)


def test_the_offset_survives_a_large_mean():
    x = np.full((1, 8), 1e6, np.float32)
    close(nn.layer_normalization(x, beta=np.full(8, 0.25, np.float32)), np.full((1, 8), 0.25), 1e-6)


# -- class numbers and losses --------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis):
    x = np.array([[0, 2, -1], [1, 3, 0]], np.int32)
    want = np.moveaxis(np.where(((x >= 0) & (x < 3))[..., None], np.eye(3)[x % 3], 0), -1, axis)
    close(nn.one_hot(x, 3, axis), want)
    assert nn.one_hot(x, 3, dtype="int32").dtype == np.int32
    with pytest.raises(DTypeError, match="class numbers"):
        nn.one_hot(x.astype(np.float32), 3)


def test_one_hot_of_narrow_integers():
    assert np.asarray(nn.one_hot(np.array([200], np.uint8), 300)).argmax() == 200


def test_multi_hot():
    assert np.asarray(nn.multi_hot(np.array([0, 2, 2, -1]), 4)).tolist() == [1, 0, 1, 0]
    rows = nn.multi_hot(np.array([[0, 1], [3, 3]]), 4, dtype="int32")
    assert np.asarray(rows).tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]


def test_binary_crossentropy():
    x, t = normal(3, 4) * 4, np.random.default_rng(1).random((3, 4))
    p = sigmoid(x)
    want = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    close(nn.binary_crossentropy(t, x, from_logits=True), want, 1e-9)
    close(nn.binary_crossentropy(t, p), want, 1e-9)
    check_gradients(lambda t, x: nn.binary_crossentropy(t, x, True), t, x)
    check_gradients(lambda p: nn.binary_crossentropy(t, p), 0.2 + 0.6 * t.T.reshape(3, 4))
    sure = nn.binary_crossentropy(np.array([1, 0, 1.0]), np.array([40, -40, -1e4]), True)
    close(sure, [math.exp(-40), math.exp(-40), 1e4], 1e-12)
    assert np.isfinite(np.asarray(nn.binary_crossentropy(np.array([1.0, 0]), np.array([0.0, 1])))).all()


@pytest.mark.parametrize("axis", [-1, 1])
def test_categorical_crossentropy(axis):
    x = normal(4, 5, 3) * 3
    log_p = x - np.log(np.exp(x).sum(axis, keepdims=True))
    t = np.random.default_rng(1).random(x.shape)
    want = -(t * log_p).sum(axis)
    close(nn.categorical_crossentropy(t, x, True, axis), want, 1e-9)
    close(nn.categorical_crossentropy(t, 3 * np.exp(log_p), False, axis, 0), want, 1e-9)
    check_gradients(lambda t, x: nn.categorical_crossentropy(t, x, True, axis), t[:2], x[:2])
    check_gradients(lambda x: nn.categorical_crossentropy(t[:2], x, False, axis), np.exp(x[:2] / 9))


@pytest.mark.parametrize("axis", [-1, 1])
def test_sparse_categorical_crossentropy(axis):
    x = normal(4, 5, 3) * 3
    classes = x.shape[axis]
    t = np.random.default_rng(1).integers(0, classes, (4, 8 - classes))
    log_p = x - np.log(np.exp(x).sum(axis, keepdims=True))
    want = -np.take_along_axis(log_p, np.expand_dims(t, axis), axis).squeeze(axis)
    close(nn.sparse_categorical_crossentropy(t, x, True, axis), want, 1e-9)
    close(nn.sparse_categorical_crossentropy(t, np.exp(log_p), False, axis, 0), want, 1e-9)
    check_gradients(lambda x: nn.sparse_categorical_crossentropy(t[:2], x, True, axis), x[:2])
    check_gradients(lambda x: nn.sparse_categorical_crossentropy(t[:2], x, False, axis), np.exp(x[:2] / 9))


def test_a_number_that_is_no_class_costs_nothing():
    x, t = normal(3, 4), np.array([-1, 4, 2])
    assert np.asarray(nn.sparse_categorical_crossentropy(t, x, True))[:2].tolist() == [0, 0]
    (slope,) = gradients(lambda x: nn.sparse_categorical_crossentropy(t, x, True), x)
    assert not np.asarray(slope)[:2].any() and np.asarray(slope)[2].all()


@pytest.mark.parametrize(
    "loss, shapes",
    [
        (nn.binary_crossentropy, ((4,), (4, 1))),
        (nn.categorical_crossentropy, ((4,), (4, 3))),
        (nn.sparse_categorical_crossentropy, ((4, 3), (4, 3))),
    ],
)
def test_labels_that_do_not_fit(loss, shapes):
    with pytest.raises(ShapeError, match="must have the s"):
        loss(np.zeros(shapes[0], np.int32), np.ones(shapes[1]))


def test_psnr():
    x, y = normal(2, 3), normal(2, 3, seed=1)
    close(nn.psnr(x, y, 2.0), 10 * np.log10(4 / ((x - y) ** 2).mean()))


# -- attention -----------------------------------------------------------------------------------------------


def naive_attention(q, k, v, bias=0.0, mask=None, scale=None, causal=False, cap=None):
    k, v = (np.repeat(a, q.shape[2] // a.shape[2], axis=2) for a in (k, v))
    logits = np.einsum("btnh,bsnh->bnts", q, k) * (scale or 1 / math.sqrt(q.shape[-1])) + bias
    logits = logits if cap is None else cap * np.tanh(logits / cap)
    visible = np.ones(logits.shape, bool) if mask is None else np.broadcast_to(mask, logits.shape)
    visible = visible & np.tri(*logits.shape[2:], dtype=bool) if causal else visible
    e = np.where(visible, np.exp(logits), 0)
    return np.einsum("bnts,bsnd->btnd", e / e.sum(-1, keepdims=True), v)


@pytest.mark.parametrize("heads", [4, 2, 1])
def test_attention(heads):
    q, k, v = normal(2, 3, 4, 5), normal(2, 6, heads, 5, seed=1), normal(2, 6, heads, 3, seed=2)
    bias, mask = normal(1, 4, 3, 6, seed=3), normal(2, 1, 3, 6, seed=4) > -0.5
    mask[..., 0] = True
    close(nn.dot_product_attention(q, k, v), naive_attention(q, k, v))
    close(nn.dot_product_attention(q, k, v, bias, mask, 0.3, True), naive_attention(q, k, v, bias, mask, 0.3, True))
    close(nn.dot_product_attention(q, k, v, soft_cap=0.5), naive_attention(q, k, v, cap=0.5))
    check_gradients(
        lambda q, k, v, b: nn.dot_product_attention(q, k, v, b, mask[:1], is_causal=True, soft_cap=2.0),
        q[:1], k[:1], v[:1], bias,
    )  # fmt: skip


def test_attention_with_nothing_to_see_is_no_nan():
    q, k, v = normal(1, 2, 1, 3), normal(1, 4, 1, 3, seed=1), normal(1, 4, 1, 3, seed=2)
    out = nn.dot_product_attention(q, k, v, mask=np.zeros((1, 1, 1, 4), bool))
    close(out, np.broadcast_to(v.mean(1, keepdims=True), (1, 2, 1, 3)))


def test_attention_of_half_precision():
    q, k, v = (normal(1, 3, 2, 8, seed=i).astype(dtypes.bfloat16) for i in range(3))
    out = nn.dot_product_attention(q, k, v)
    assert out.dtype == dtypes.bfloat16
    want = naive_attention(*(a.astype(np.float64) for a in (q, k, v)))
    close(np.asarray(out).astype(np.float64), want, 0.02)


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3, 4), (2, 3, 4), (2, 3, 4)),
        ((2, 3, 4, 5), (2, 3, 3, 5), (2, 3, 3, 5)),
        ((2, 3, 4, 5), (2, 6, 4, 4), (2, 6, 4, 5)),
    ],
)
def test_attention_that_does_not_fit(shapes):
    with pytest.raises(ShapeError, match="dot_product_attention"):
        nn.dot_product_attention(*(normal(*s) for s in shapes))


# -- CTC -----------------------------------------------------------------------------------------------------


def label_probabilities(log_p, blank):
    """The probability of every label sequence, by all paths through (time, classes)."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_p.shape[1]), repeat=log_p.shape[0]):
        labels = tuple(k for k, _ in itertools.groupby(path) if k != blank)
        found[labels] = found.get(labels, 0) + math.exp(sum(log_p[t, c] for t, c in enumerate(path)))
    return found


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc(blank):
    x = normal(4, 5, 3)
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    a, b = (c for c in range(3) if c != blank)
    target = np.array([[a, b, a], [a, a, blank], [b, b, b], [a, a, a]], np.int32)
    lengths, times = np.array([3, 2, 0, 3]), np.array([5, 4, 5, 3])
    want = []
    for row, n, t, p in zip(target, lengths, times, log_p, strict=True):
        probability = label_probabilities(p[:t], blank).get(tuple(int(c) for c in row[:n]), 0)
        want.append(-math.log(probability) if probability else math.inf)
    assert want[3] == math.inf  # three equal labels need five times
    close(nn.ctc_loss(target, x, lengths, times, blank), want, 1e-9)
    check_gradients(lambda x: nn.ctc_loss(target[:3], x, lengths[:3], times[:3], blank), x[:3])
    (slope,) = gradients(lambda x: nn.ctc_loss(target[3:], x, lengths[3:], times[3:], blank), x[3:])
    assert not np.asarray(slope).any()


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_beam_search(blank):
    x = normal(2, 5, 3) * 2
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    paths, scores = nn.ctc_beam_search_decode(x, np.array([5, 4]), 50, 3, blank)
    for row, (p, time) in enumerate(zip(log_p, (5, 4), strict=True)):
        ranked = sorted(label_probabilities(p[:time], blank).items(), key=lambda item: -item[1])[:3]
        for i, (labels, probability) in enumerate(ranked):
            assert np.asarray(paths)[i, row].tolist() == [*labels, *[-1] * (5 - len(labels))]
            close(np.asarray(scores)[row, i], math.log(probability), 1e-9)


@pytest.mark.parametrize("merge, want", [(True, [1, 1, 2, -1, -1, -1]), (False, [1, 1, 1, 2, -1, -1])])
def test_ctc_greedy(merge, want):
    x = np.eye(3)[[1, 1, 0, 1, 2, 2]][None]
    labels, score = nn.ctc_greedy_decode(x, np.array([5]), merge, 0)
    assert np.asarray(labels).tolist() == [[want]]
    assert np.asarray(score).tolist() == [[-5]]


# -- patches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "window, dilation, padding, stride", [(2, 1, 0, 1), ((3, 2), 1, (1, 2), 2), (2, 2, 1, (1, 3)), (1, 1, 0, 2)]
)
def test_unfold_and_fold(window, dilation, padding, stride):
    x = normal(2, 3, 5, 6)
    two = lambda v: v if isinstance(v, tuple) else (v, v)
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in two(padding))]).transpose(0, 2, 3, 1)
    p = patches(padded, two(window), two(stride), "valid", two(dilation))
    columns = p.transpose(0, 5, 3, 4, 1, 2).reshape(2, 3 * math.prod(two(window)), -1)
    close(nn.unfold(x, window, dilation, padding, stride), columns)
    # Folding is the transpose: <fold(y), x> = <y, unfold(x)>.
    y = normal(*columns.shape, seed=1)
    folded = nn.fold(y, (5, 6), window, dilation, padding, stride)
    assert folded.shape == x.shape
    close((np.asarray(folded) * x).sum(), (y * columns).sum())
    check_gradients(lambda y: nn.fold(y, (5, 6), window, dilation, padding, stride), y[:1])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_depth_and_space(data_format):
    shape = (1, 2, 3, 8) if data_format == "channels_last" else (1, 8, 2, 3)
    x = np.arange(48.0).reshape(shape)
    y = np.asarray(nn.depth_to_space(x, 2, data_format))
    block = y[0, :2, :2, 1] if data_format == "channels_last" else y[0, 1, :2, :2]
    pixel = x[0, 0, 0, 1::2] if data_format == "channels_last" else x[0, 4:, 0, 0]
    close(block.ravel(), pixel)
    close(nn.space_to_depth(y, 2, data_format), x)
    with pytest.raises(ShapeError, match="multiple"):
        nn.depth_to_space(x, 3, data_format)
