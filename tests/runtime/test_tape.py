"""Tapes: what is watched, what connects, what a None means, and that records do not outlive their use."""

import gc
import threading
import weakref

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.runtime.tensor import as_tensor


def watching(x, **options):
    """A tape and a tensor that it watches."""
    tape = hb.GradientTape(**options)
    tape.__enter__()
    x = as_tensor(x)
    tape.watch(x)
    return tape, x


def in_both_modes(f):
    """``f`` eagerly and traced must agree; returns its result."""
    eager, traced = f(), hb.function(f)()
    assert repr(eager) == repr(traced)
    return eager


# -- watching


def test_trainable_variables_are_watched_when_read():
    v, frozen = hb.Variable(3.0), hb.Variable(4.0, trainable=False)

    def f():
        with hb.GradientTape() as tape:
            y = v * v + frozen * v
        assert [x is v for x in tape.watched_variables()] == [True]
        grads = tape.gradient(y, [v, frozen])
        assert [x is v for x in tape.watched_variables()] == [True]
        return grads

    dv, none = in_both_modes(f)
    assert (float(dv), none) == (10, None)
    with hb.GradientTape() as tape:
        tape.watch(frozen)
        y = v * frozen
    assert float(tape.gradient(y, frozen)) == 3
    with hb.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(v)
        y = v * hb.Variable(1.0)
    assert [x is v for x in tape.watched_variables()] == [True]


def test_structures_are_watched():
    x = {"a": as_tensor(2.0), "b": [as_tensor(3.0), None]}
    with hb.GradientTape() as tape:
        tape.watch(x)
        y = x["a"] * x["b"][0]
    grads = tape.gradient(y, x)
    assert (float(grads["a"]), float(grads["b"][0]), grads["b"][1]) == (3, 2, None)


@pytest.mark.parametrize(
    "wrong, match",
    [
        (3.0, r"3.0 is a float, not a tensor(.|\n)*hb.tensor"),
        (np.ones(2), "ndarray"),
        (as_tensor(3), "int32 has no gradient"),
    ],
)
def test_what_cannot_be_watched(wrong, match):
    with hb.GradientTape() as tape, pytest.raises(hb.GradientError, match=match):
        tape.watch(wrong)


# -- sources and targets


def test_sources_keep_their_structure():
    tape, x = watching([1.0, 2.0])
    with tape_block(tape):
        y = x * 3.0
    assert tape.gradient(y, x).tolist() == [3, 3]
    tape, x = watching(2.0, persistent=True)
    with tape_block(tape):
        y = x * x
    as_list, as_tuple, as_dict = (tape.gradient(y, s) for s in ([x], (x, None), {"k": x}))
    assert (type(as_list), type(as_tuple), type(as_dict)) == (list, tuple, dict)
    assert (float(as_list[0]), float(as_tuple[0]), float(as_dict["k"])) == (4, 4, 4)
    assert [float(g) for g in tape.gradient(y, [x, x])] == [4, 4]  # a source given twice


class tape_block:
    """Leave a tape that was entered already."""

    def __init__(self, tape):
        self.tape = tape

    def __enter__(self):
        return self.tape

    def __exit__(self, *exc):
        self.tape.__exit__(*exc)


def test_targets_are_summed_and_weighted():
    tape, x = watching([1.0, 2.0], persistent=True)
    with tape_block(tape):
        a, b = x * 2.0, (x * x).sum()
    assert tape.gradient([a, b], x).tolist() == [4, 6]
    assert tape.gradient({"a": a, "b": b}, x, {"a": [1.0, 10.0], "b": 0.0}).tolist() == [2, 20]
    assert tape.gradient([a, a], x).tolist() == [4, 4]
    assert tape.gradient(x, x).tolist() == [1, 1]
    assert tape.gradient([a, x], x).tolist() == [3, 3]
    assert tape.gradient(b, [a, x])[0] is None


def test_gradients_by_what_was_computed_on_the_way():
    tape, x = watching(3.0)
    with tape_block(tape):
        y = x * x
        z = y * y
    dy, dx = tape.gradient(z, [y, x])
    assert (float(dy), float(dx)) == (18, 108)


@pytest.mark.parametrize("target", [3.0, np.ones(2), "y"])
def test_targets_that_are_not_tensors(target):
    tape, x = watching(1.0)
    with tape_block(tape), pytest.raises(hb.GradientError, match=f"target is a {type(target).__name__}"):
        tape.gradient(target, x)


def test_wrong_questions():
    tape, x = watching([1.0, 2.0], persistent=True)
    with tape_block(tape):
        y, n = x * 2.0, x.astype("int32")
    with pytest.raises(hb.GradientError, match="target is int32"):
        tape.gradient(n, x)
    with pytest.raises(hb.GradientError, match="no target"):
        tape.gradient(None, x)
    with pytest.raises(hb.GradientError, match="source is a float"):
        tape.gradient(y, [x, 3.0])
    with pytest.raises(hb.GradientError, match="output_gradients do not match the targets"):
        tape.gradient([y, y], x, [y])
    with pytest.raises(hb.ShapeError, match=r"shape \(\) for a target of \(2,\)"):
        tape.gradient(y, x, 1.0)
    with pytest.raises(hb.GradientError, match="'zero', not 'maybe'"):
        tape.gradient(y, x, unconnected_gradients="maybe")


def test_a_target_that_is_a_variable():
    v = hb.Variable(3.0)
    with hb.GradientTape() as tape:
        v.value()
    assert float(tape.gradient(v, v)) == 1
    with hb.GradientTape() as tape:
        pass
    assert tape.gradient(v, v) is None


# -- variables


def test_several_reads_count_together():
    v = hb.Variable(3.0)

    def f():
        with hb.GradientTape() as tape:
            y = v.value() * v.value() + v
        return tape.gradient(y, v)

    assert float(in_both_modes(f)) == 7


def test_a_variable_reassigned_in_between():
    def f():
        v.assign(3.0)
        with hb.GradientTape() as tape:
            y = v * v  # 2·3 by the value before
            v.assign(5.0)
            z = v * 2.0  # and 2 by the value after
        return tape.gradient([y, z], v)

    v = hb.Variable(3.0)
    assert float(in_both_modes(f)) == 8


def test_gradients_do_not_flow_through_an_assignment():
    w, v = hb.Variable(2.0), hb.Variable(0.0)

    def f():
        with hb.GradientTape(persistent=True) as tape:
            returned = v.assign(w * w)
            through = v * v
        return tape.gradient(through, w), tape.gradient(returned, w), tape.gradient(through, v)

    through, returned, by_v = in_both_modes(f)
    assert (through, float(returned), float(by_v)) == (None, 4, 8)


def test_a_rebound_name_is_another_tensor():
    v = hb.Variable(2.0)
    with hb.GradientTape() as tape:
        x = v * v
        x = x + 1.0
        y = x * x
    assert float(tape.gradient(y, x)) == 10


# -- unconnected


def test_none_or_zero():
    tape, x = watching([1.0, 2.0], persistent=True)
    with tape_block(tape):
        other, y = as_tensor([1.0]), x * x
        tape.watch(other)
    v = hb.Variable(np.ones((2, 2), np.float64))
    assert tape.gradient(y, [other, v]) == [None, None]
    for zero in ("zero", type("Zero", (), {"value": "zero"})()):
        a, b = tape.gradient(y, [other, v], unconnected_gradients=zero)
        assert (a.tolist(), b.tolist(), b.dtype) == ([0], [[0, 0], [0, 0]], np.float64)
    assert tape.gradient(y, other, unconnected_gradients="none") is None


def test_explain_says_where_the_path_broke():
    v, frozen = hb.Variable(2.0), hb.Variable(2.0, trainable=False)
    unused = hb.Variable(1.0)
    tape, x = watching(2.0, persistent=True)
    with tape_block(tape):
        stranger = as_tensor(1.0)
        counted = as_tensor(3)
        through_int = (x.astype("int32") * 2).astype("float32")
        v.assign(x * x)
        through_assign = v * frozen + stranger + counted
        through_numpy = as_tensor(np.sqrt(x.numpy())) * 2.0
        stopped = hb.stop_gradient(x * 3.0)
    why = {
        (through_int, x): "the path ends at cast",
        (through_assign, x): "nothing recorded leads from the source to the target",
        (through_numpy, x): "nothing recorded",
        (stopped, x): "the path ends at stop_gradient",
        (through_assign, frozen): "not trainable",
        (through_assign, stranger): "not watched",
        (through_assign, counted): "int32",
        (through_assign, unused): "was not read under this tape",
    }
    for (target, source), said in why.items():
        assert tape.gradient(target, source) is None
        assert said in tape.explain(target, source)
    assert tape.explain(through_assign, v) == "they are connected."


def test_explain_after_the_one_gradient_and_in_the_ledger():
    with hb.Session() as sess:
        tape, x = watching(2.0)
        with tape_block(tape):
            y = hb.round(x)
        assert tape.gradient(y, x) is None
        assert "round" in tape.explain(y, x)
        assert sess.ledger.counts["unconnected gradient"] == 1
    with hb.Session(strict=True):
        tape, x = watching(2.0)
        with tape_block(tape):
            y = hb.round(x)
        with pytest.raises(hb.StrictModeError, match="unconnected gradient: the path ends at round"):
            tape.gradient(y, x)


def test_a_row_without_a_gradient_is_a_loud_error():
    tape, x = watching(2.0)
    with tape_block(tape):
        (y,) = hb.callback(np.sqrt, [x], [hb.TensorSpec((), "float32")])
    with pytest.raises(hb.GradientError, match=r"callback has no gradient(.|\n)*stop_gradient"):
        tape.gradient(y, x)


# -- one set or many, and memory


def test_a_tape_gives_one_set_unless_persistent():
    tape, x = watching(2.0)
    with tape_block(tape):
        y = x * x
    tape.gradient(y, x)
    for again in (tape.gradient, tape.jacobian, tape.batch_jacobian):
        with pytest.raises((hb.GradientError, hb.ShapeError), match=r"gives one set|leading axis"):
            again(y, x)
    with tape:  # entered again it starts anew
        tape.watch(x)
        y = x * 3.0
    assert float(tape.gradient(y, x)) == 3


def test_records_are_dropped_after_the_gradient():
    tape, x = watching(np.ones(100, np.float32))
    with tape_block(tape):
        y = x * 2.0
        held = weakref.ref(y)
        y = (y * y).sum()
    tape.gradient(y, x)
    gc.collect()
    assert held() is None
    tape, x = watching(np.ones(3, np.float32))
    with tape_block(tape):
        middle = x * 2.0
        y = middle * middle
    held = weakref.ref(middle)
    del middle
    tape.jacobian(y, x)
    gc.collect()
    assert held() is None


def test_persistent_tapes_and_gradients_in_the_block():
    tape, x = watching(3.0, persistent=True)
    with tape_block(tape):
        y = x * x
        d = tape.gradient(y, x)
        dd = tape.gradient(d, x)
        z = x * d
    assert [float(g) for g in (d, dd, tape.gradient(z, x), tape.gradient(y, x))] == [6, 2, 12, 6]
    tape, x = watching(3.0)
    y = x * x
    assert float(tape.gradient(y, x)) == 6  # in the block: ends the recording
    n = len(tape.records)
    x * x
    assert n == len(tape.records) == 0


def test_recording_pauses():
    tape, x = watching(3.0)
    with tape_block(tape):
        y = x * x
        with tape.stop_recording():
            z = x * x * x
            with pytest.raises(hb.GradientError, match="recording already"):
                tape.__enter__()
        w = y + z
    assert float(tape.gradient(w, x)) == 6


def test_reset():
    tape, x = watching(3.0, persistent=True)
    y = x * x
    tape.reset()
    z = x * 2.0
    tape.__exit__(None, None, None)
    assert (tape.gradient(y, x), float(tape.gradient(z, x))) == (None, 2)
    with pytest.raises(hb.GradientError, match="not recording"):
        tape.reset()


def test_a_tape_does_not_hear_other_threads():
    tape, x = watching(3.0)
    out = []
    with tape_block(tape):
        thread = threading.Thread(target=lambda: out.append(x * x))
        thread.start()
        thread.join()
        y = out[0] * 2.0
    assert tape.gradient(y, x) is None


def test_an_exception_in_the_block_ends_the_recording():
    with pytest.raises(ZeroDivisionError):
        with hb.GradientTape() as tape:
            1 / 0
    hb.ones(2) * 2.0
    assert tape.records == []


# -- higher order


def test_nested_tapes():
    def f():
        x = as_tensor(2.0)
        with hb.GradientTape() as outer:
            outer.watch(x)
            with hb.GradientTape() as inner:
                inner.watch(x)
                y = hb.sin(x) * x**3
            d = inner.gradient(y, x)
        return d, outer.gradient(d, x)

    x, sin, cos = 2.0, np.sin(2.0), np.cos(2.0)
    d, dd = in_both_modes(f)
    np.testing.assert_allclose(float(d), cos * x**3 + 3 * sin * x**2, rtol=1e-6)
    np.testing.assert_allclose(float(dd), -sin * x**3 + 6 * cos * x**2 + 6 * sin * x, rtol=1e-5)


def test_a_variable_in_both_orders():
    v = hb.Variable([1.0, 2.0])

    def f():
        with hb.GradientTape() as outer:
            with hb.GradientTape() as inner:
                y = (v**3).sum()
            d = inner.gradient(y, v)
        return outer.gradient(d, v)

    assert in_both_modes(f).tolist() == [6, 12]


# -- jacobians


def test_jacobian():
    m = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)

    def f():
        x = as_tensor([1.0, 2.0, 3.0])
        s = as_tensor(2.0)
        with hb.GradientTape() as tape:
            tape.watch((x, s))
            y = (as_tensor(m) @ x) * s
        return tape.jacobian(y, {"x": x, "s": s})

    out = in_both_modes(f)
    np.testing.assert_array_equal(out["x"], 2 * m)
    np.testing.assert_array_equal(out["s"], m @ [1, 2, 3])


def test_jacobian_of_matrices_scalars_and_nothing():
    tape, x = watching(np.arange(4.0, dtype=np.float32).reshape(2, 2), persistent=True)
    with tape_block(tape):
        y, z, none, empty = x.T * x, x.sum(), as_tensor(1.0), x[:0] * 2.0
    expected = np.zeros((2, 2, 2, 2))
    a = np.arange(4.0).reshape(2, 2)
    for i in range(2):
        for j in range(2):
            expected[i, j, i, j] += a[j, i]
            expected[i, j, j, i] += a[i, j]
    np.testing.assert_array_equal(tape.jacobian(y, x), expected)
    assert tape.jacobian(z, x).shape == (2, 2)
    assert tape.jacobian(none, x) is None
    assert tape.jacobian(none, x, unconnected_gradients="zero").tolist() == [[0, 0], [0, 0]]
    assert tape.jacobian(empty, x).shape == (0, 2, 2, 2)


def test_batch_jacobian():
    a = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    tape, x = watching(a, persistent=True)
    with tape_block(tape):
        y = hb.stack([x[:, 0] * x[:, 1], x[:, 2] ** 2], axis=1)
    out = tape.batch_jacobian(y, x)
    assert out.shape == (4, 2, 3)
    full = tape.jacobian(y, x).numpy()
    np.testing.assert_allclose(out, np.stack([full[b, :, b] for b in range(4)]), rtol=1e-6)
    with pytest.raises(hb.ShapeError, match="leading axis"):
        tape.batch_jacobian(y.sum(), x)


# -- sizes


def test_long_chains():
    tape, x = watching(1.0)
    with tape_block(tape):
        y = x
        for _ in range(5000):
            y = y + 1.0
    assert float(tape.gradient(y, x)) == 1


def test_broadcast_operands_get_gradients_of_their_shape():
    tape, x = watching(np.ones((3, 1), np.float32), persistent=True)
    with tape_block(tape):
        y = x * np.ones((2, 3, 4), np.float32)
    assert tape.gradient(y, x).tolist() == [[8], [8], [8]]
