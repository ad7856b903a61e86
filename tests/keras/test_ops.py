"""Keras's operations on us, where Keras's own tests found us wrong."""

from __future__ import annotations

import numpy as np
import pytest

from hornbeam import keras

ops = keras.ops


def test_a_scan_without_sequences():
    carry, ys = ops.scan(lambda carry, x: ((carry[1], carry[0] + carry[1]), x), (0.0, 1.0), length=6)
    assert [float(c) for c in carry] == [8.0, 13.0]
    assert [y.shape for y in ys] == [(6,), (6,)]  # None stands for zeros like the carry


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_unravelled_indices_keep_their_dtype(dtype):
    rows, columns = ops.unravel_index(ops.array([5, 0, 99], dtype=dtype), (10, 10))
    assert rows.dtype == columns.dtype == dtype
    np.testing.assert_array_equal(rows, [0, 0, 9])
    np.testing.assert_array_equal(columns, [5, 0, 9])


def test_roll_takes_arrays_of_shifts_and_axes():
    x = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(ops.roll(x, np.array([1, 2]), np.array([0, 1])), np.roll(x, (1, 2), (0, 1)))


def test_hard_tanh_of_unsigned_integers():
    np.testing.assert_array_equal(ops.hard_tanh(np.array([0, 1, 7], "uint8")), [0, 1, 1])


def test_what_lies_between_is_as_exact_as_the_dtype_asked_for():
    bounds = (ops.array(x, "bfloat16") for x in (1, 2))
    np.testing.assert_allclose(ops.linspace(*bounds, 4, dtype="float32"), np.linspace(1, 2, 4), rtol=1e-6)


def test_gammainc_of_zero():
    np.testing.assert_array_equal(ops.gammainc([0.0, -0.0, 0.0], [2.0, 4.0, 0.0]), [1, 1, np.nan])


def test_the_noise_of_integers_beside_halves_is_a_half():
    noise = ops.psnr(np.array([1, 2], "uint8"), np.array([1.5, 2], "float16"), 255)
    assert noise.dtype == "float16"
