"""State that many runs in one call update where it lies: only where nobody reads the old value any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hornbeam as hb

STEPS, N = 5, 37
Step = Callable[..., Any]


def accumulate(x: Any, a: Any, b: Any) -> Any:
    a.assign(a + x[0])
    b.assign(b * 0.5 + a)  # the new value of a
    return hb.sum(b)


def each_others(x: Any, a: Any, b: Any) -> Any:
    old = a.value()
    a.assign(a + b + x[0])
    b.assign(old * b)


def unrelated(x: Any, a: Any, b: Any) -> Any:
    old = a.value()
    a.assign(x[0] * 2.0)  # without a look at the old value, which b needs
    b.assign(b + old)


def shifted(x: Any, a: Any, b: Any) -> Any:
    a.assign(hb.roll(a, 1) + x[0])
    b.assign(hb.flip(b, 0))


def summed(x: Any, a: Any, b: Any) -> Any:
    a.assign(a - hb.mean(a))
    b.assign(b + hb.sum(a))


def padded(x: Any, a: Any, b: Any) -> Any:
    a.assign(hb.pad(a[1:] * 0.5, [(0, 1)], constant_values=1.0))
    b.assign(b + x[0])


def given_back(x: Any, a: Any, b: Any) -> Any:
    old = a.value()
    a.assign(a + x[0])
    b.assign(b - x[0])
    return old


def read_later(x: Any, a: Any, b: Any) -> Any:
    old = a.value()
    a.assign(a + x[0])
    b.assign(b + hb.matmul(hb.cumsum(a)[None], old[:, None])[0])


# A step, and the variables that it may write over.
CASES: list[tuple[Step, set[str]]] = [
    (accumulate, set()),  # the loop passes over them several times
    (each_others, {"a", "b"}),
    (unrelated, {"b"}),
    (shifted, {"a"}),  # once its elements are at their new places
    (summed, set()),
    (padded, {"b"}),
    (given_back, {"b"}),
    (read_later, {"b"}),
]


@pytest.mark.parametrize(("step", "expected"), CASES, ids=[step.__name__ for step, _ in CASES])
def test_only_what_nobody_reads_any_more(step: Step, expected: set[str]) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(STEPS, N)).astype("float32")
    first = [rng.normal(size=N).astype("float32") for _ in range(2)]
    ended = []
    for together in (True, False):
        with hb.Session() as session:
            variables = [hb.Variable(value, name=name) for value, name in zip(first, "ab", strict=True)]
            held = [v.value() for v in variables]
            fn = hb.function(lambda x, variables=variables: step(x, *variables))
            if together:
                fn.over_rows(range(0, STEPS, 1), rows)
                assert over(session, fn.program(rows[:1])) == expected
            else:
                for row in rows:
                    fn(row[None])
            for tensor, value in zip(held, first, strict=True):
                assert np.array_equal(tensor.numpy(), value)  # what somebody holds stays
            ended.append([v.numpy() for v in variables])
    for x, y in zip(*ended, strict=True):
        assert x.tobytes() == y.tobytes()


def over(session: hb.Session, program: Any) -> set[str]:
    """The names of the variables that ``program`` may write over."""
    names = [variable.name for variable in program.reads]
    return {names[old - len(program.inputs)] for old, _ in session.executable(program).layout.in_place}


def test_a_training_step_holds_its_state_once() -> None:
    with hb.Session() as session:
        shapes = [(7, 5), (5,), (5, 3), (3,)]
        weights = [hb.Variable(np.ones(s, "float32")) for s in shapes]
        slots = [hb.Variable(np.zeros(s, "float32")) for s in shapes * 2]

        @hb.function
        def step(x: Any) -> Any:
            with hb.GradientTape() as tape:
                loss = hb.mean(hb.square(hb.tanh(x @ weights[0] + weights[1]) @ weights[2] + weights[3]))
            for w, m, v, g in zip(weights, slots[:4], slots[4:], tape.gradient(loss, weights), strict=True):
                m.assign(m * 0.9 + g * 0.1)
                v.assign(v * 0.999 + g * g * 0.001)
                w.assign(w - 0.01 * m / (hb.sqrt(v) + 1e-7))
            return loss

        step(np.ones((4, 7), "float32"))
        program = step.program(np.ones((4, 7), "float32"))
        assert len(session.executable(program).layout.in_place) == len(weights) + len(slots)
