"""``Function.over_rows``: many calls in one, with the bits of a loop of calls."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.engines.native import executable
from hornbeam.errors import ShapeError, TracingError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3)).astype("float32")
Y = RANDOM.normal(size=(60,)).astype("float32")


class Model:
    """State that is read and written, only written, only read; and a step that uses it."""

    def __init__(self) -> None:
        self.total = hb.Variable(np.zeros(3, "float32"))
        self.weight = hb.Variable(np.ones(3, "float32"))
        self.last = hb.Variable(np.float32(0))
        self.scale = hb.Variable(np.float32(0.5))
        self.count = hb.Variable(0)
        self.step = hb.function(self._step)

    def _step(self, x, y, factor=1):
        self.total.assign(self.total + hb.sum(x * self.weight, axis=0) - hb.mean(y) * factor)
        self.weight.assign(self.weight * 0.99 + self.total * self.scale)
        self.last.assign(hb.mean(y))
        self.count.assign_add(1)
        return {"total": hb.sum(self.total), "shifted": x + self.weight, "constant": 7}

    @property
    def state(self):
        return [v.numpy() for v in (self.total, self.weight, self.last, self.scale, self.count)]


def listed(calls, batch=4):
    return RANDOM.integers(0, 60, (calls, batch))


def following(calls, batch=4):
    return range(3, 3 + calls * batch, batch)


def batches(rows):
    return [slice(r, r + rows.step) for r in rows] if isinstance(rows, range) else list(rows)


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("rows", [make(n) for make in (listed, following) for n in (1, 2, 5)], ids=str)
def test_bits_of_a_loop_of_calls(engine, rows):
    with hb.Session(engine=engine):
        loop, whole = Model(), Model()
        results = [loop.step(X[some], Y[some], factor=2) for some in batches(rows)]
        last = whole.step.over_rows(rows, X, Y, 2)
        for a, b in zip(loop.state, whole.state, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(last["total"], results[-1]["total"])
        np.testing.assert_array_equal(last["shifted"], results[-1]["shifted"])
        assert last["constant"] == 7


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_stacked_results_are_those_of_every_call(engine):
    with hb.Session(engine=engine):
        scale = hb.Variable(np.float32(3))
        step = hb.function(lambda x: (x * scale, {"sum": hb.sum(x)}))
        for rows in (listed(5), following(5)):
            scaled, sums = step.over_rows(rows, X, stacked=True)
            assert scaled.shape == (5, 4, 3)
            assert sums["sum"].shape == (5,)
            for i, some in enumerate(batches(rows)):
                np.testing.assert_array_equal(scaled[i], X[some] * 3)


def test_it_is_one_native_call(monkeypatch):
    calls, repeat = [], executable.repeat
    monkeypatch.setattr(executable, "repeat", lambda job: calls.append(job.steps) or repeat(job))
    with hb.Session(engine="native") as sess:
        model = Model()
        model.step.over_rows(listed(100), X, Y)
        assert calls == [100]
        assert sess.runs >= 100
        assert model.count.numpy() == 100
        assert model.step.traces == 1
        model.step(X[:4], Y[:4])  # the same trace serves single calls
        assert model.step.traces == 1


def test_values_that_somebody_holds_are_not_written_to():
    model = Model()
    held = [v.value() for v in (model.total, model.weight)]
    copies = [np.array(t) for t in held]
    model.step.over_rows(listed(7), X, Y)
    middle = model.weight.value()
    copies.append(np.array(middle))
    model.step.over_rows(listed(8), X, Y)
    for tensor, copy in zip([*held, middle], copies, strict=True):
        np.testing.assert_array_equal(tensor, copy)


def test_state_that_changes_places():
    a, b = hb.Variable(np.float32(1)), hb.Variable(np.float32(2))

    @hb.function
    def swap(x):
        before = a.value()
        a.assign(b.value())
        b.assign(before)
        return hb.sum(x)

    swap.over_rows(following(3), X)
    assert (a.numpy(), b.numpy()) == (2, 1)


def test_two_variables_that_get_the_same_value():
    a, b = hb.Variable(np.float32(1)), hb.Variable(np.float32(5))

    @hb.function
    def step(x):
        a.assign(a + hb.sum(x) * 0 + 1)
        b.assign(a.value())
        return b + 1

    assert step.over_rows(following(4), X).numpy() == 6
    assert (a.numpy(), b.numpy()) == (5, 5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batches_large_enough_to_be_gathered_by_several_threads(threads):
    x = RANDOM.normal(size=(300, 500)).astype("float32")
    rows = RANDOM.integers(0, 300, (3, 101))
    with hb.Session(threads=threads):
        out = hb.function(lambda x: x * 2).over_rows(rows, x, stacked=True)
    np.testing.assert_array_equal(out, x[rows] * 2)


def test_a_call_that_fails_changes_nothing():
    total = hb.Variable(np.float32(0))

    def refuse(x):
        if float(np.sum(x)) < 0:
            raise ValueError("negative")
        return x

    @hb.function
    def step(x):
        (seen,) = hb.callback(refuse, [x], [hb.TensorSpec((2, 1), "float32")])
        total.assign(total + hb.sum(seen))

    x = np.ones((6, 1), "float32")
    step.over_rows(range(0, 4, 2), x)
    x[4:] = -1
    with pytest.raises(ValueError, match="negative"):
        step.over_rows(range(0, 6, 2), x)
    assert total.numpy() == 4


def test_gradients_flow_through_a_recorded_loop():
    weight = hb.Variable(np.ones(3, "float32"))
    step = hb.function(lambda x: hb.sum(x * weight))
    with hb.GradientTape() as tape:
        loss = step.over_rows(following(3), X)
    np.testing.assert_allclose(tape.gradient(loss, weight), X[11:15].sum(0), rtol=1e-6)


def test_strided_and_float64_arrays_and_structures():
    x = RANDOM.normal(size=(3, 20)).T  # columns of memory
    rows = np.array([[0, 19], [7, 7]])
    out = hb.function(lambda d: d["x"] + d["y"][0]).over_rows(rows, {"x": x, "y": (x * 2, None)}, stacked=True)
    assert out.dtype == "float64"
    np.testing.assert_array_equal(out, x[rows] + x[rows] * 2)


@pytest.mark.parametrize(
    "rows, arrays, error, message",
    [
        (np.array([[0, 60]]), (X,), IndexError, "60 samples"),
        (np.array([[-1, 0]]), (X,), IndexError, "-1"),
        (range(58, 62, 4), (X,), IndexError, "60 samples"),
        (np.array([0, 1]), (X,), ShapeError, "calls, batch"),
        (np.zeros((0, 4), int), (X,), ShapeError, "calls, batch"),
        (range(0), (X,), ShapeError, "at least one"),
        (np.array([[0.5]]), (X,), TypeError, "integers"),
        (np.array([[0]]), (X, Y[:7]), ShapeError, "number of samples"),
        (np.array([[0]]), (np.array(1.0),), ShapeError, "number of samples"),
        (np.array([[0]]), (3,), ShapeError, "no array"),
    ],
)
def test_errors(rows, arrays, error, message):
    with pytest.raises(error, match=message):
        hb.function(lambda *xs: xs[0]).over_rows(rows, *arrays)


def test_a_step_that_asks_for_values_is_told_so():
    with pytest.raises(TracingError):
        hb.function(lambda x: float(hb.sum(x))).over_rows(following(2), X)


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("rows", [listed(3), following(3), following(1)], ids=["listed", "following", "one"])
def test_what_comes_back_may_be_what_went_in(rows, engine, stacked):
    """The rows as they are, and the state before the run: of the last run, or of every one."""
    with hb.Session(engine=engine):
        state = hb.Variable(np.float32(1))

        @hb.function
        def step(x):
            before = state.value()
            state.assign(state * 2.0 + hb.sum(x))
            return x, before

        expected, value = [], np.float32(1)
        for some in batches(rows):
            expected.append((X[some], value))
            value = np.float32(value * 2 + X[some].sum())
        given, before = step.over_rows(rows, X, stacked=stacked)
        if not stacked:
            expected = expected[-1:]
            given, before = given[None], before[None]
        for i, (x, b) in enumerate(expected):
            np.testing.assert_array_equal(given[i], x)
            np.testing.assert_allclose(before[i], b, rtol=1e-5)
        np.testing.assert_allclose(state.numpy(), value, rtol=1e-5)
