"""The backward walk: what is connected to what, how often, and what happens where nothing is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import GradientError
from hornbeam.ir.bind import interpreting
from hornbeam.ir.grad import (
    Record,
    backward,
    gradients,
    ones_like,
    pullback,
    records_of,
    unbroadcast,
)
from hornbeam.ir.node import NODES, Node, param
from hornbeam.ir.primitives.arith import CAST, EXP, FLOOR, MUL, SIN
from hornbeam.ir.primitives.linalg import EIG, EIGH
from hornbeam.ir.primitives.movement import BROADCAST, STOP_GRADIENT
from hornbeam.ir.program import Program, evaluate


@pytest.fixture(autouse=True)
def _nodes() -> Any:
    with interpreting(NODES):
        yield


def vector(n: int = 3, dtype: Any = dtypes.float64) -> Node:
    return param(Spec((n,), dtype))


def value(node: Node, of: list[Node], at: list[Any]) -> Any:
    """The value of ``node`` where the parameters ``of`` are ``at``."""
    return evaluate(Program(of, [node]), [np.asarray(v, p.dtype) for p, v in zip(of, at)])[0].tolist()


def test_what_is_not_connected_has_no_gradient() -> None:
    x, y = vector(), vector()
    assert gradients([SIN(x)], [x, y])[1] is None
    assert gradients([ones_like(x)], [x]) == [None]
    assert gradients([], [x]) == [None]


def test_several_targets_are_summed_with_their_cotangents() -> None:
    x, a, b = vector(1), vector(1), vector(1)
    (g,) = gradients([x * x, x * 5], [x], [a, b])
    assert value(g, of=[x, a, b], at=[[3], [10], [100]]) == [560]


def test_the_same_target_twice_counts_twice() -> None:
    x = vector(1)
    y = x * 3
    (g,) = gradients([y, y], [x])
    assert value(g, of=[x], at=[[1]]) == [6]


def test_a_source_that_is_a_target_gets_its_own_cotangent_too() -> None:
    x, c = vector(1), vector(1)
    assert gradients([x], [x], [c])[0] is c
    y = x * 3
    z = y * y
    dx, dy = gradients([z, y], [x, y])
    assert value(dy, of=[x], at=[[2]]) == [13]
    assert value(dx, of=[x], at=[[2]]) == [39]


def test_an_intermediate_source_does_not_cut_the_way_behind_it() -> None:
    x = vector(1)
    y = SIN(x)
    z = EXP(y)
    dx, dy = gradients([z], [x, y])
    np.testing.assert_allclose(value(dx, of=[x], at=[[0.5]]), [np.exp(np.sin(0.5)) * np.cos(0.5)])
    np.testing.assert_allclose(value(dy, of=[x], at=[[0.5]]), [np.exp(np.sin(0.5))])


def test_the_same_source_twice_gets_the_same_gradient_twice() -> None:
    x = vector(1)
    first, second = gradients([x * x], [x, x])
    assert first is second


def test_a_value_used_in_both_operands() -> None:
    x = vector(1)
    (g,) = gradients([MUL(x, x)], [x])
    assert value(g, of=[x], at=[[4]]) == [8]


def test_a_record_made_twice_is_walked_once() -> None:
    """A tape records each application; interning makes two equal ones a single value."""
    x = vector(1)
    records = records_of([SIN(x) * 2])
    (once,) = backward(records, [records[-1].outs[0]], [ones_like(x)], [x])
    (twice,) = backward([*records, *records], [records[-1].outs[0]], [ones_like(x)], [x])
    assert once is twice


def test_blocked_rows_let_nothing_through() -> None:
    x = vector()
    assert gradients([FLOOR(x)], [x]) == [None]
    assert gradients([STOP_GRADIENT(x)], [x]) == [None]
    (g,) = gradients([x * STOP_GRADIENT(x)], [x])
    assert value(g, of=[x], at=[[1, 2, 3]]) == [1, 2, 3]


def test_no_gradient_flows_through_integers() -> None:
    x = vector()
    through = CAST(CAST(x, dtype=dtypes.int32), dtype=dtypes.float64)
    assert gradients([through * 2], [x]) == [None]
    (g,) = gradients([through * x], [x])
    assert value(g, of=[x], at=[[1.5, 2.5, -3.5]]) == [1, 2, -3]


def test_broadcast_operands_get_sums() -> None:
    x, row, column, scalar = (param(Spec(s, dtypes.float64)) for s in ((2, 3), (3,), (2, 1), ()))
    found = gradients([x * row * column * scalar], [x, row, column, scalar])
    assert [g.shape for g in found] == [(2, 3), (3,), (2, 1), ()]
    arrays = [np.arange(6.0).reshape(2, 3), np.asarray([1.0, 2, 3]), np.asarray([[10.0], [20]]), np.asarray(2.0)]
    got = evaluate(Program([x, row, column, scalar], found), arrays)
    np.testing.assert_array_equal(got[1], (arrays[0] * arrays[2] * 2).sum(0))
    np.testing.assert_array_equal(got[2], (arrays[0] * arrays[1] * 2).sum(1, keepdims=True))
    np.testing.assert_array_equal(got[3], (arrays[0] * arrays[1] * arrays[2]).sum())


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((), (2, 3)),
        ((1,), (3,)),
        ((1, 1), (2, 2, 3)),
        ((2, 1, 3), (2, 4, 3)),
        ((1,), (0,)),
        ((0,), (2, 0)),
        ((2,), (2,)),
    ],
)
def test_unbroadcasting_is_the_transpose_of_broadcasting(small: Any, large: Any) -> None:
    x, g = param(Spec(small, dtypes.float64)), param(Spec(large, dtypes.float64))
    back, forth = unbroadcast(g, x), BROADCAST(x, shape=large)
    assert back.shape == small
    rng = np.random.default_rng(0)
    v, c = rng.normal(size=small), rng.normal(size=large)
    gv, fv = evaluate(Program([x, g], [back, forth]), [v, c])
    np.testing.assert_allclose((gv * v).sum(), (fv * c).sum())


def test_a_row_without_gradient_is_named() -> None:
    x = param(Spec((2, 2), dtypes.complex128))
    w, _ = EIG(x)
    with pytest.raises(GradientError, match="eig has no gradient"):
        gradients([w], [x])
    assert gradients([w], [vector()]) == [None]  # it does not lie on the way
    assert gradients([STOP_GRADIENT(w)], [x]) == [None]


def test_one_result_of_several() -> None:
    """The others' cotangents are None, and rules skip the work for them."""
    x = param(Spec((2, 2), dtypes.float64))
    w, v = EIGH(x)
    a = np.asarray([[2.0, 1], [1, 3]])
    for out in (w, v):
        (g,) = gradients([out], [x])
        assert evaluate(Program([x], [g]), [a])[0].shape == (2, 2)
    (of_w,) = gradients([w], [x])
    np.testing.assert_allclose(evaluate(Program([x], [of_w]), [a])[0], np.eye(2), atol=1e-12)  # the trace's


def test_rules_that_are_not_needed_are_not_run() -> None:
    x, y = vector(), vector()
    ran = []

    def grad(g: Any, x: Any, y: Any, out: Any) -> Any:
        return g, lambda: ran.append(1)

    lazy = MUL.__class__("lazy", "map", MUL.infer, MUL.reference, grad)
    out = MUL(x, y)
    (g,) = backward([Record(lazy, (x, y), {}, (out,))], [out], [ones_like(out)], [x])
    assert g is not None
    assert ran == []


def test_gradients_of_gradients() -> None:
    x = vector(1)
    y: Any = SIN(x)
    for _ in range(4):
        (y,) = gradients([y], [x])
    np.testing.assert_allclose(value(y, of=[x], at=[[0.3]]), np.sin([0.3]))


def test_a_pullback_is_a_program_of_inputs_and_cotangents() -> None:
    x, y, n = vector(), vector(), param(Spec((), dtypes.int32))
    body = Program([x, n, y], [x * x, n + 1], name="square")
    back = pullback(body)
    assert [p.spec for p in back.inputs] == [x.spec, n.spec, y.spec, x.spec]
    dx, dy = evaluate(back, [np.asarray([1.0, 2, 3]), np.int32(1), np.zeros(3), np.ones(3)])
    assert dx.tolist() == [2, 4, 6]
    assert dy.tolist() == [0, 0, 0]  # not connected
    assert back.name == "pullback of square"
