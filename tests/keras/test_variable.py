"""``keras.Variable``: Keras keeps the name and the policies, a session the value."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras


def test_value_dtype_and_numpy():
    v = keras.Variable([[1, 2], [3, 4]], dtype="float32", name="v")
    assert v.shape == (2, 2) and v.dtype == "float32" and v.name == "v"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(np.array(v), [[1, 2], [3, 4]])
        assert np.asarray(v, dtype="int64").dtype == np.int64
    v.numpy()[:] = 0
    assert float(v[1, 1]) == 4
    assert "value=[[1. 2.]" in repr(v)


def test_assignments_return_the_value_and_check_the_shape():
    v = keras.Variable(np.zeros(3, "float32"))
    np.testing.assert_array_equal(v.assign([1, 2, 3]), [1, 2, 3])
    np.testing.assert_array_equal(v.assign_add(np.ones(3)), [2, 3, 4])
    np.testing.assert_array_equal(v.assign_sub([1.0, 1.0, 1.0]), [1, 2, 3])
    with pytest.raises(ValueError, match="must match"):
        v.assign(np.zeros(2))


def test_operators():
    v = keras.Variable([1.0, -2.0])
    np.testing.assert_array_equal(2 * v + v**2 - 1, [2, -1])
    np.testing.assert_array_equal(v @ np.ones((2, 3), "float32"), [-1, -1, -1])
    np.testing.assert_array_equal(abs(v) > 1.5, [False, True])
    assert int(keras.Variable(3)) == 3


def test_trainable_is_what_tapes_watch():
    v = keras.Variable(2.0)
    v.trainable = False
    with hb.GradientTape() as tape:
        loss = v * v
    assert tape.gradient(loss, v) is None
    v.trainable = True
    with hb.GradientTape() as tape:
        loss = v * v
    assert float(tape.gradient(loss, v)) == 4


def test_stateless_scope_reads_and_keeps_what_is_assigned():
    v = keras.Variable(1.0)
    with keras.StatelessScope(state_mapping=[(v, keras.ops.convert_to_tensor(5.0))]) as scope:
        assert float(v.value) == 5
        v.assign(v + 1)
    assert float(scope.get_current_value(v)) == 6 and float(v.value) == 1


def test_made_in_a_stateless_scope_it_gets_its_value_afterwards():
    with keras.StatelessScope():
        v = keras.Variable(keras.initializers.Ones(), shape=(2,))
        assert v._value is None
        np.testing.assert_array_equal(v.value, [1, 1])
    v.assign([3, 4])
    np.testing.assert_array_equal(v.value, [3, 4])
    with keras.StatelessScope(), pytest.raises(ValueError, match="stateless scope"):
        keras.Variable(1.0)


def test_autocast():
    layer = keras.layers.Dense(2, dtype="mixed_bfloat16")
    seen = []
    layer.activation = lambda x: seen.append((layer.kernel.dtype, layer.kernel.value.dtype)) or x
    layer(np.ones((1, 3), "float32"))
    assert seen[-1] == ("bfloat16", "bfloat16")
    assert layer.kernel.dtype == "float32" and layer.kernel.value.dtype == "float32"


def test_copies_are_independent():
    v = keras.Variable([1.0, 2.0], name="v", trainable=False)
    for other in (copy.deepcopy(v), pickle.loads(pickle.dumps(v))):
        assert (other.name, other.path, other.trainable) == ("v", "v", False)
        v.assign([9, 9])
        np.testing.assert_array_equal(other, [1, 2])
        other.assign([3, 4])
        np.testing.assert_array_equal(v, [9, 9])
        v.assign([1, 2])


def test_functions_capture_it():
    v = keras.Variable(1.0)

    @hb.function
    def double():
        v.assign(v * 2)
        return v + 0

    assert [float(double()) for _ in range(3)] == [2, 4, 8]
    v.assign(10.0)
    assert float(double()) == 20


def test_made_in_a_function_it_is_made_once():
    made = []

    @hb.function
    def count(x):
        if not made:
            made.append(keras.Variable(keras.initializers.Constant(5.0), shape=()))
        made[0].assign_add(1.0)
        return x + made[0]

    assert [float(count(hb.tensor(0.0))) for _ in range(2)] == [6, 7]
    assert float(made[0].value) == 7


def test_it_lives_in_the_session_that_made_it():
    outside = keras.Variable(1.0)
    with hb.Session() as session:
        inside = keras.Variable(2.0)
        outside.assign_add(inside)
        assert [v.name for v in session.variables] == [inside.path]
    assert float(outside.value) == 3
    with pytest.raises(hb.errors.SessionClosedError, match=r"test_variable.py"):
        inside.assign(1.0)
    assert "inside" not in repr(inside) and "shape=()" in repr(inside)
