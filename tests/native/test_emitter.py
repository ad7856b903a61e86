"""What the emitter of functions does by itself, so that LLVM has less to read."""

from __future__ import annotations

import operator

import pytest

from hornbeam.base import dtypes
from hornbeam.engines.native.llvm import I64, Function, Module, Value, _known, index


@pytest.fixture
def f() -> Function:
    return Function(Module(), "f", [("ptr", "p"), ("i64", "n")])


N = Value("%n", I64)
EDGES = (-(2**63), -7, -1, 0, 1, 2, 5, 16, 2**62, 2**63 - 1)


@pytest.mark.parametrize(
    ("op", "compute"),
    [("add", operator.add), ("sub", operator.sub), ("mul", operator.mul), ("and", operator.and_), ("smin", min),
     ("smax", max), ("sdiv", lambda a, b: a), ("srem", lambda a, b: 0)],
)  # fmt: skip
def test_what_is_known_of_an_index_wraps_as_the_machine_does(op, compute):
    for a in EDGES:
        for b in (1,) if op in ("sdiv", "srem") else EDGES:
            found = _known(op, str(a), str(b))
            assert found is not None and (int(found) - compute(a, b)) % 2**64 == 0 and -(2**63) <= int(found) < 2**63


def test_what_changes_nothing_is_no_instruction(f):
    zero, one = index(0), index(1)
    assert f.add(N, zero) == f.add(zero, N) == f.sub(N, zero) == f.mul(N, one) == f.mul(one, N) == f.div(N, one) == N
    assert f.mul(N, zero) == f.rem(N, one) == zero
    assert f.lines == []
    assert f.sub(zero, N).ref != "%n" and f.div(one, N).ref != "%n" and f.rem(N, index(2)).ref != "0"
    real = f.constant(0.0, dtypes.float32)
    x = Value("%x", dtypes.float32)
    assert f.add(x, real) != x  # -0.0 + 0.0 is 0.0
    assert len(f.lines) == 4


def test_equal_computations_of_a_block_are_one_and_of_two_blocks_are_two(f):
    one, again = f.mul(N, index(12)), f.mul(N, index(12))
    assert one == again
    assert f.address("%p", one, dtypes.float32) == f.address("%p", again, dtypes.float32)
    f.only_if(f.compare("lt", N, index(3)), lambda: f.mul(N, index(12)))
    assert sum(" mul " in line for line in f.lines) == 2
    assert f.load("%p", I64) != f.load("%p", I64)  # memory may have changed between


def test_loops_of_one_turn_are_none(f):
    turns: list[str] = []

    def body(i: Value, carried: Value) -> list[Value]:
        turns.append(i.ref)
        return [f.add(carried, index(10))]

    assert [v.ref for v in f.loop(index(4), index(9), 16, body, [index(1)])] == ["11"]
    assert [v.ref for v in f.loop(index(4), index(4), 16, body, [index(1)])] == ["1"]
    assert turns == ["4"] and f.lines == []
    f.loop(index(0), index(17), 16, body, [index(1)])
    f.loop(index(0), N, 16, body, [index(1)])
    assert sum("phi i64" in line and "add" not in line for line in f.lines) == 4
