"""Programs as data: interning, keys, the printed form, evaluation, inlining."""

from __future__ import annotations

import gc
import textwrap
from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import DTypeError, HornbeamError, ShapeError
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.node import NODES, Node, _interned, make, param, topological
from hornbeam.ir.primitives.arith import ADD, CAST, EXP, MUL, SIN
from hornbeam.ir.primitives.control import CALLBACK, SWITCH
from hornbeam.ir.primitives.linalg import QR
from hornbeam.ir.primitives.scan import SCAN
from hornbeam.ir.program import Program, evaluate, inline, substitute

V, S = Spec((3,), dtypes.float32), Spec((), dtypes.float32)


@pytest.fixture(autouse=True)
def _nodes() -> Any:
    with interpreting(NODES):
        yield


class Slot:
    def __init__(self, name: str) -> None:
        self.name = name


# -- nodes ---------------------------------------------------------------------------------------------


def test_equal_computations_are_one_node() -> None:
    x, y = param(V), param(V)
    assert EXP(x * y) is EXP(x * y)
    assert x * y is not y * x
    assert x * 2 is x * 2  # small constants compare by value
    assert CAST(x, dtype=dtypes.float64) is not CAST(x, dtype=dtypes.int32)


def test_constants_are_told_apart_by_bits_and_dtype() -> None:
    assert constant(np.float32(0)) is not constant(np.float32(-0.0))
    assert constant(np.float32(1)) is not constant(np.float64(1))
    assert constant(np.zeros((1, 2))) is not constant(np.zeros((2, 1)))
    assert constant(np.float32(np.nan)) is constant(np.float32(np.nan))
    large = np.zeros(1000)
    assert constant(large) is constant(large)  # large ones by identity, their bytes are not compared
    assert constant(large) is not constant(large.copy())


def test_parameters_are_never_the_same() -> None:
    assert param(V) is not param(V)


def test_effects_are_never_merged() -> None:
    x = param(S)
    attrs: dict[str, Any] = {"function": print, "specs": (S,)}
    assert CALLBACK(x, **attrs)[0] is not CALLBACK(x, **attrs)[0]


def test_nodes_go_when_nobody_holds_them() -> None:
    x = param(V)
    gc.collect()
    before = len(_interned)
    y = EXP(SIN(x * 17.25))
    assert len(_interned) > before
    del y
    gc.collect()
    assert len(_interned) == before


def test_a_node_has_no_truth_value_and_compares_elementwise() -> None:
    x = param(V)
    with pytest.raises(TypeError, match="truth value"):
        bool(x)
    assert (x == x).dtype == dtypes.bool_


def test_refused_operands_are_reported_with_the_users_line() -> None:
    x, y = param(V), param(Spec((4,), dtypes.float32))
    with pytest.raises(ShapeError, match=r"(?s)add: shapes \(3,\) and \(4,\).*\n  at .*test_program\.py:\d+"):
        x + y
    with pytest.raises(DTypeError, match=r"(?s)add: operands have dtypes float32, int32.*\n  at .*test_program\.py:"):
        ADD(x, CAST(x, dtype=dtypes.int32))


def test_order_is_arguments_before_users_and_deep_graphs_do_not_recurse() -> None:
    x = param(S)
    y = x
    for _ in range(5000):
        y = SIN(y)
    order = topological([y])
    assert order[0] is x
    assert order[-1] is y
    assert len(order) == 5001
    (got,) = evaluate(Program([x], [y]), [np.float32(0)])
    assert got == 0


# -- keys ----------------------------------------------------------------------------------------------


def axpy(name: str = "axpy") -> Program:
    a, x, y = param(S), param(V), param(V)
    return Program([a, x, y], [a * x + y], name=name)


def test_equal_graphs_have_equal_keys_whatever_they_are_called() -> None:
    one, two = axpy(), axpy("another")
    assert one.key == two.key
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two}) == 1


def test_different_graphs_have_different_keys() -> None:
    a, x, y = param(S), param(V), param(V)
    different = [
        Program([a, x, y], [a * x + y]),
        Program([a, y, x], [a * x + y]),  # other order of arguments
        Program([a, x, y], [x * a + y]),
        Program([a, x, y], [a * x - y]),
        Program([a, x, y], [a * x + y, x]),
        Program([a, x, y], [a * x + 1]),
        Program([a, x, y], [a * x + 2]),
        Program([a, x, y, param(V)], [a * x + y]),
    ]
    assert len({p.key for p in different}) == len(different)
    wide = param(Spec((4,), dtypes.float32))
    assert Program([x], [EXP(x)]) != Program([wide], [EXP(wide)])


def test_bodies_are_part_of_the_key() -> None:
    def switch(f: Any) -> Program:
        i, x, inner = param(Spec((), dtypes.int32)), param(V), param(V)
        return Program([i, x], SWITCH(i, x, branches=(Program([inner], [f(inner)]),)))

    assert switch(SIN) == switch(SIN)
    assert switch(SIN) != switch(EXP)


def test_a_node_with_equal_bodies_is_one_node() -> None:
    i, x = param(Spec((), dtypes.int32)), param(V)

    def branch() -> Program:
        inner = param(V)
        return Program([inner], [SIN(inner)])

    assert SWITCH(i, x, branches=(branch(),))[0] is SWITCH(i, x, branches=(branch(),))[0]


# -- the printed form ----------------------------------------------------------------------------------


def assert_printed(program: Program, golden: str) -> None:
    assert str(program) == textwrap.dedent(golden).strip("\n")


def test_printed_form() -> None:
    assert_printed(
        axpy(),
        """
        axpy(x0: float32[], x1: float32[3], x2: float32[3]):
          %0: float32[3] = mul(x0, x1)
          %1: float32[3] = add(%0, x2)
          return %1
        """,
    )


def test_printed_form_of_state_constants_and_attributes() -> None:
    x, w = param(V), param(V)
    slot = Slot("w")
    new = w - (x * 0.5).sum().astype("float64").astype("float32")
    assert_printed(
        Program([x], [new], {slot: w}, {slot: new}, name="train"),
        """
        train(x0: float32[3], @w: float32[3]):
          %0: float32[] = constant(value=0.5)
          %1: float32[3] = mul(x0, %0)
          %2: float32[] = sum(%1, axes=(0,))
          %3: float64[] = cast(%2, dtype=float64)
          %4: float32[] = cast(%3, dtype=float32)
          %5: float32[3] = sub(@w, %4)
          return %5
          @w := %5
        """,
    )


def test_printed_form_of_several_results() -> None:
    x = param(Spec((4, 2), dtypes.float32))
    q, r = QR(x, full=False)
    assert_printed(
        Program([x], [r, q], name="orthonormal"),
        """
        orthonormal(x0: float32[4,2]):
          %0: (float32[4,2], float32[2,2]) = qr(x0, full=False)
          %1: float32[2,2] = pick(%0, index=1)
          %2: float32[4,2] = pick(%0, index=0)
          return %1, %2
        """,
    )


def test_printed_form_of_bodies() -> None:
    c, x, inner_c, inner_x = param(S), param(V), param(S), param(S)
    body = Program([inner_c, inner_x], [inner_c + inner_x], name="total")
    out = SCAN(c, x, body=body, carries=1, xs=1, length=3, reverse=False)[0]
    printed = str(Program([c, x], [out], name="main"))
    assert printed.splitlines()[2:5] == [
        "    total(x0: float32[], x1: float32[]):",
        "      %0: float32[] = add(x0, x1)",
        "      return %0",
    ]
    assert "<Program total: (float32[], float32[]) -> (float32[]), 1 nodes>" in printed


# -- evaluating, substituting, inlining ------------------------------------------------------------------


def test_evaluate_gives_outputs_then_updates() -> None:
    x, w = param(V), param(V)
    slot = Slot("w")
    program = Program([x], [x * w], {slot: w}, {slot: w + 1})
    assert [id(p) for p in program.params] == [id(x), id(w)]
    out, new = evaluate(program, [np.full(3, 2, np.float32), np.arange(3, dtype=np.float32)])
    assert out.tolist() == [0, 2, 4]
    assert new.tolist() == [1, 2, 3]


def test_evaluate_wants_every_argument() -> None:
    with pytest.raises(ValueError, match="zip"):
        evaluate(axpy(), [np.float32(1)])


def test_a_program_may_return_its_inputs_and_constants() -> None:
    x = param(V)
    one = constant(np.float32(1))
    got = evaluate(Program([x], [x, one, x]), [np.zeros(3, np.float32)])
    assert [g.shape for g in got] == [(3,), (), (3,)]


def test_a_result_that_is_not_what_infer_promised_is_our_mistake() -> None:
    x = param(V)
    wrong = MUL.__class__("wrong", "map", lambda x: x, lambda x: x[:1])
    with pytest.raises(AssertionError, match="gave shape"):
        evaluate(Program([x], [make(wrong, (x,), {})]), [np.zeros(3, np.float32)])


def test_substitute_replaces_nodes_and_keeps_the_rest() -> None:
    x, y = param(V), param(V)
    kept = SIN(y)
    out = EXP(x) * kept
    (new,) = substitute([out], {x: y})
    assert new is EXP(y) * kept
    assert substitute([out], {})[0] is out
    assert substitute([out], {kept: x})[0] is EXP(x) * x


def test_inline_applies_a_program_to_nodes() -> None:
    program = axpy()
    a, x = param(S), param(V)
    (out,) = inline(program, [a, x, x])
    assert out is a * x + x
    with pytest.raises(ValueError, match="zip"):
        inline(program, [a])


def test_inline_refuses_state() -> None:
    x = param(V)
    with pytest.raises(HornbeamError, match="touches state"):
        inline(Program([x], [x], updates={Slot("w"): x}), [x])


def test_specs_and_repr() -> None:
    program = axpy()
    assert program.specs == (V,)
    assert repr(program) == "<Program axpy: (float32[], float32[3], float32[3]) -> (float32[3]), 2 nodes>"
    assert isinstance(program.outputs[0], Node)
