"""State changes places between a few buffers: steps allocate nothing, and what a person holds stays as it was."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import hornbeam as hb

N = 256  # a weight of 256 kB
SMALL = 16 << 10  # bytes: what Python makes of a call, and results of a few numbers


class Allocated:
    most = 0


@contextmanager
def allocated() -> Iterator[Allocated]:
    """The most that arrays made within the block took at once, beyond what there was."""
    found = Allocated()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield found
        found.most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


class Model:
    """Momentum on a layer: two slots of state, and gradients between."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.w = hb.Variable(rng.normal(size=(N, N)).astype("float32") * 0.1, name="w")
        self.m = hb.Variable(np.zeros((N, N), "float32"), name="m")

    def step(self, x: Any) -> Any:
        with hb.GradientTape() as tape:
            loss = hb.mean(hb.square(hb.tanh(x @ self.w)))
        self.m.assign(self.m * 0.9 + tape.gradient(loss, self.w))
        self.w.assign(self.w - self.m)
        return loss


@pytest.fixture
def model() -> Iterator[Model]:
    with hb.Session():
        yield Model()


X = np.random.default_rng(1).normal(size=(32, N)).astype("float32")


def test_a_step_allocates_nothing(model: Model) -> None:
    step, x = hb.function(model.step), hb.tensor(X)
    for _ in range(4):
        step(x)
    with allocated() as found:
        for _ in range(20):
            step(x)
    assert found.most < SMALL


def test_many_steps_in_one_call_allocate_nothing(model: Model) -> None:
    step, samples = hb.function(model.step), np.concatenate([X] * 8)
    for _ in range(4):
        step.over_rows(range(0, 256, 32), samples)
    with allocated() as found:
        for _ in range(5):
            step.over_rows(range(0, 256, 32), samples)
    assert found.most < SMALL


def by_steps(step: Any, model: Model) -> None:
    step(hb.tensor(X))


def by_rows(step: Any, model: Model) -> None:
    step.over_rows(range(0, 256, 32), np.concatenate([X] * 8))


@pytest.mark.parametrize("run", [by_steps, by_rows])
def test_what_is_held_stays_as_it_was(model: Model, run: Callable[..., None]) -> None:
    step = hb.function(model.step)
    held: list[tuple[Any, Any, bytes]] = []
    for _ in range(8):
        value = model.w.value()
        held.append((value, np.asarray(value), value.numpy().tobytes()))
        run(step, model)
    for value, array, as_it_was in held:
        assert value.numpy().tobytes() == array.tobytes() == as_it_was
    assert len({as_it_was for _, _, as_it_was in held}) == 8


def test_held_in_part_and_shared(model: Model) -> None:
    """Through a view of NumPy, another library's tensor, another variable, and a fork of a list."""
    step = hb.function(model.step)
    row = model.w.value().numpy()[3:5, ::2]
    exported = np.from_dlpack(model.w.value())
    twin = hb.Variable(model.w)
    views = [row, exported, twin.numpy()]
    before = [v.tobytes() for v in views]
    for _ in range(6):
        by_steps(step, model)
    assert [v.tobytes() for v in views] == before
    assert twin.numpy().tobytes() == before[2]


class Stop(BaseException):
    """What a signal handler may raise: no ordinary exception."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stop])
def test_a_run_that_ends_in_the_middle_changes_nothing(model: Model, error: type[BaseException]) -> None:
    armed = [False]

    def check(loss: Any) -> Any:
        if armed[0]:
            raise error("here")
        return loss

    def step(x: Any) -> Any:
        model.m.assign(model.m + 1.0)  # computed before the callback
        loss = hb.callback(check, [model.step(x)], [hb.TensorSpec((), "float32")])[0]
        model.w.assign(model.w + loss)
        return loss

    fn, x = hb.function(step), hb.tensor(X)
    for _ in range(3):
        fn(x)
    before = model.w.numpy().tobytes(), model.m.numpy().tobytes()
    armed[0] = True
    for call in (lambda: fn(x), lambda: fn.over_rows(range(0, 32, 32), X)):
        with pytest.raises(error):
            call()
        assert (model.w.numpy().tobytes(), model.m.numpy().tobytes()) == before
    armed[0] = False
    fn(x)
    assert model.w.numpy().tobytes() != before[0]
