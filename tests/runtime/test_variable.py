"""Variables: named places whose values are in a session."""

import copy
import gc
import weakref

import numpy as np
import pytest

import hornbeam as hb


def test_a_variable_is_used_like_its_value():
    v = hb.Variable([1.0, 2.0], name="w")
    assert (v.shape, v.dtype, v.ndim, v.size, len(v)) == ((2,), np.float32, 1, 2, 2)
    assert (v + 1).tolist() == [2, 3]
    assert (2.0 - v).tolist() == [1, 0]
    assert (v > 1.5).tolist() == [False, True]
    assert (v[1] * v).tolist() == [2, 4]
    assert [float(x) for x in v] == [1, 2]
    assert (np.ones(2, np.float32) @ v).item() == 3
    assert np.asarray(v).tolist() == v.numpy().tolist() == v.value().tolist() == [1, 2]
    scalar = hb.Variable(2)
    assert (float(scalar), int(scalar), bool(scalar), [5, 6, 7][scalar]) == (2, 2, True, 7)
    assert "'w'" in repr(v) and "float32[2]" in repr(v)


def test_first_values():
    assert hb.Variable(lambda: hb.ones(2)).numpy().tolist() == [1, 1]
    assert hb.Variable(1, dtype="float64").dtype == np.float64
    assert hb.Variable(hb.Variable(3.0)).numpy() == 3
    with pytest.raises(hb.DTypeError):
        hb.Variable(None)
    with pytest.raises(hb.DTypeError):
        hb.Variable("text")


def test_assignments_cast_and_keep_the_shape():
    v = hb.Variable([1.0, 2.0], name="w", dtype="float64")
    assert v.assign([0.1, 0.2]).dtype == np.float64
    assert v.numpy().tolist() == [0.1, 0.2]  # not the nearest float32
    v.assign(np.array([1, 2]))
    assert v.assign_add([1, 1]).tolist() == [2, 3]
    assert v.assign_sub(hb.ones(2)).tolist() == [1, 2]
    for wrong in (1.0, [1.0], [[1.0, 2.0]], [1.0, 2.0, 3.0]):
        with pytest.raises(hb.ShapeError, match=r"'w' has shape \(2,\)"):
            v.assign(wrong)
    with pytest.raises(hb.ShapeError):
        v.assign_add([[1.0, 2.0]])
    assert v.numpy().tolist() == [1, 2]


def test_variables_made_from_each_other_are_separate():
    a = hb.Variable([1.0, 2.0])
    b = hb.Variable(a.value())
    c = copy.deepcopy(a)
    a.assign([5.0, 5.0])
    assert b.numpy().tolist() == c.numpy().tolist() == [1, 2]
    assert c.name == a.name


def test_to_a_tape_a_variable_is_not_what_it_was_made_from():
    x = hb.tensor(3.0)
    with hb.GradientTape() as tape:
        tape.watch(x)
        v = hb.Variable(x)
        y = v * v
    dv, dx = tape.gradient(y, [v, x])
    assert (float(dv), dx) == (6, None)


def test_identity_is_not_equality():
    a, b = hb.Variable(1.0), hb.Variable(1.0)
    assert {a: "a", b: "b"}[b] == "b"
    assert bool(a == b)


def test_names_and_lines():
    v = hb.Variable(0.0)
    w = hb.Variable(0.0)
    assert v.name != w.name
    assert "test_variable.py:" in v.line


def test_a_variable_in_a_trace_cannot_start_from_a_symbolic_tensor():
    with pytest.raises(hb.TracingError, match=r"symbolic(.|\n)*Fix: hb.Variable\(lambda"):
        hb.function(lambda x: hb.Variable(x))(hb.ones(2))


def test_a_traced_value_cannot_leak_into_a_variable():
    leaked = []
    hb.function(lambda x: leaked.append(x))(hb.ones(()))
    v = hb.Variable(1.0)
    with pytest.raises(hb.TracingError):
        v.assign(leaked[0])
    assert float(v) == 1


def test_values_die_when_they_are_replaced():
    v = hb.Variable(np.zeros(10, np.float32))
    first = weakref.ref(v.value())
    v.assign(np.ones(10, np.float32))
    gc.collect()
    assert first() is None


def test_bool_and_complex_variables():
    assert hb.Variable(True).assign_add(False).item() is True
    assert hb.Variable(1j).assign_add(1.0).item() == 1 + 1j
