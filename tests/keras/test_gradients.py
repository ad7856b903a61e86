"""Gradients through Keras's operations where Keras's own tests know three backends by name, and skip for the others."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras

ops = keras.ops
each_way = pytest.mark.parametrize("wrap", [lambda fn: fn, hb.function], ids=["eager", "traced"])


def nudged(low: float, high: float, bits: int, narrow: bool) -> tuple[float, float, float]:
    """The range [low, high] moved so that 0 is one of the 2**bits levels (one less if narrow), and the step."""
    first, last = int(narrow), 2**bits - 1
    step = (high - low) / (last - first)
    zero = min(max(round(first - low / step), first), last)
    return (first - zero) * step, (last - zero) * step, step


RANGES = [
    (0.0, 255.0), (0.5, 128.0), (-128.0, -0.5), (-0.1, 127.4), (0.0, 254.0), (0.1, 127.1), (-127.1, -0.1),
    (0.0, 127.0), (0.5, 64.0), (-64.0, -0.5), (-0.1, 62.9), (-3.0, 3.0),
]  # fmt: skip


@each_way
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("bits", [4, 7, 8])
@pytest.mark.parametrize("low, high", RANGES)
def test_fake_quantization_rounds_forward_and_clips_backward(wrap, low, high, bits, narrow):
    first, last, step = nudged(low, high, bits, narrow)
    around = [first - step, first - step / 8, first + step / 8, first + step, last - step / 8, last + step]
    x = np.array(around, "float32")

    def quantize(x):
        return keras.quantizers.fake_quant_with_min_max_vars(x, low, high, bits, narrow)

    expected = np.array([first, first, first, first + step, last, last])
    np.testing.assert_allclose(wrap(quantize)(ops.array(x)), expected, rtol=1e-5, atol=1e-6)
    weights = np.arange(1, 7, dtype="float32")
    gradient = wrap(ops.grad(lambda x: ops.sum(weights * quantize(x))))(ops.array(x))
    np.testing.assert_array_equal(gradient, weights * [0, 0, 1, 1, 1, 0])


# Ranges whose ends, once moved, are numbers of float32: what counts as inside must not hang on rounding.
EXACT = [
    (0.0, 255.0, 8, False), (0.5, 128.0, 8, False), (-128.0, -0.5, 8, False), (-0.1, 127.4, 8, False),
    (0.0, 254.0, 8, True), (0.1, 127.1, 8, True), (-127.1, -0.1, 8, True), (-0.1, 126.9, 8, True),
    (0.0, 127.0, 7, False), (0.5, 64.0, 7, False), (-64.0, -0.5, 7, False), (-0.1, 63.4, 7, False),
    (0.0, 126.0, 7, True), (0.1, 63.1, 7, True), (-63.1, -0.1, 7, True), (-0.1, 62.9, 7, True),
]  # fmt: skip


@each_way
@pytest.mark.parametrize("low, high, bits, narrow", EXACT)
def test_the_ends_of_a_fake_quantized_range_lie_inside(wrap, low, high, bits, narrow):
    first, last, _ = nudged(low, high, bits, narrow)
    x = np.array([first, last], "float32")
    just_outside = np.nextafter(x, np.array([-np.inf, np.inf], "float32"))

    def gradient(x):
        return ops.grad(lambda x: ops.sum(keras.quantizers.fake_quant_with_min_max_vars(x, low, high, bits, narrow)))(x)

    np.testing.assert_array_equal(wrap(gradient)(ops.array(x)), [1, 1])
    np.testing.assert_array_equal(wrap(gradient)(ops.array(just_outside)), [0, 0])


@each_way
@pytest.mark.parametrize("axis", [1, -1])  # Keras lets the ranges lie along the last axis whichever is named
@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("bits", [7, 8])
def test_fake_quantization_of_a_channel_is_that_of_its_own_range(wrap, bits, narrow, axis):
    ranges = RANGES[:4]
    low, high = (np.array(ends, "float32") for ends in zip(*ranges))
    around = np.random.default_rng(0).uniform(-1.2, 1.2, (4, 4)) * np.maximum(-low, high)
    x, weights = around.astype("float32"), np.arange(16, dtype="float32").reshape(4, 4)

    def quantize(x, low=low, high=high, axis=axis):
        return keras.quantizers.fake_quant_with_min_max_vars(x, low, high, bits, narrow, axis)

    result = wrap(quantize)(ops.array(x))
    gradient = wrap(ops.grad(lambda x: ops.sum(weights * quantize(x))))(ops.array(x))
    for i, (one_low, one_high) in enumerate(ranges):
        alone = quantize(ops.array(x[:, i]), one_low, one_high, None)
        np.testing.assert_array_equal(np.asarray(result)[:, i], alone)
        first, last, step = nudged(one_low, one_high, bits, narrow)
        inside = (x[:, i] > first - step / 8) & (x[:, i] < last + step / 8)
        np.testing.assert_array_equal(np.asarray(gradient)[:, i], weights[:, i] * inside)


@ops.custom_gradient
def log1pexp(x):
    e = ops.exp(x)

    def rule(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        return upstream * (1.0 - 1.0 / (1 + e))

    return ops.log(1 + e), rule


@each_way
def test_a_gradient_of_ones_own_stands_for_the_derived_one(wrap):
    x = ops.convert_to_tensor(100.0)
    assert float(wrap(ops.grad(log1pexp))(x)) == 1.0
    assert np.isnan(float(wrap(ops.grad(lambda x: ops.log(1 + ops.exp(x))))(x)))


@each_way
def test_a_function_with_its_own_gradient_takes_a_variable(wrap):
    variable = keras.Variable(5.0, trainable=False)
    assert float(wrap(ops.grad(lambda x: log1pexp(variable) + x))(ops.convert_to_tensor(2.0))) == 1.0
    with hb.GradientTape() as tape:
        tape.watch(variable.value)
        y = log1pexp(variable)
    assert float(y) == pytest.approx(np.log1p(np.exp(5.0)))


@each_way
def test_division_by_zero_has_no_gradient_where_it_is_zero(wrap):
    gradients = wrap(ops.grad(lambda a, b: ops.sum(ops.divide_no_nan(a, b)), argnums=(0, 1)))
    to_a, to_b = gradients(ops.array([1.0, 2.0]), ops.array([0.0, 2.0]))
    np.testing.assert_allclose(to_a, [0.0, 0.5])
    np.testing.assert_allclose(to_b, [0.0, -0.5])


@each_way
def test_a_vector_of_zeros_is_normalised_with_a_finite_gradient(wrap):
    gradient = wrap(ops.grad(lambda x: ops.sum(ops.normalize(x, axis=-1, order=2, epsilon=1e-3))))(ops.zeros(3))
    np.testing.assert_allclose(gradient, np.full(3, 1e3), rtol=1e-6)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_flash_attention_gives_what_attention_gives(causal):
    rng = np.random.default_rng(1)
    q, k, v = (ops.array(rng.normal(size=(2, 5, 3, 4)), dtype="float32") for _ in range(3))

    def loss(q, k, v, flash):
        return ops.sum(ops.square(ops.dot_product_attention(q, k, v, is_causal=causal, flash_attention=flash)))

    plain, flash = (ops.grad(lambda *a: loss(*a, flash), argnums=(0, 1, 2))(q, k, v) for flash in (False, True))
    for a, b in zip(plain, flash):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_grad_takes_positions_structures_variables_and_keywords():
    def f(x, parts, scale=1.0):
        return scale * x * parts["a"] + parts["b"][0] * 0 + 1  # not a scalar: its sum is differentiated

    x = keras.Variable([1.0, 2.0])
    parts = {"a": ops.array([3.0, 4.0]), "b": [ops.array(5.0), ops.array(6.0)]}
    np.testing.assert_array_equal(ops.grad(f)(x, parts, scale=2.0), [6.0, 8.0])
    (by_parts,) = ops.grad(f, argnums=(-1,))(x, parts)
    np.testing.assert_array_equal(by_parts["a"], [1.0, 2.0])
    assert [float(g) for g in by_parts["b"]] == [0.0, 0.0]
    by_x, by_parts = ops.grad(f, argnums=(0, 1))(x, parts)
    np.testing.assert_array_equal(by_x, [3.0, 4.0])


@pytest.mark.parametrize("argnums, error", [(2, ValueError), ((0, 0), ValueError), ("x", TypeError)])
def test_grad_of_an_argument_that_is_not_there(argnums, error):
    with pytest.raises(error, match="argnums"):
        ops.grad(lambda x, y: x * y, argnums=argnums)(ops.array(1.0), ops.array(2.0))
