"""The verifier: sound Programs pass, and each broken rule is found and shown with its neighbours."""

from __future__ import annotations

from typing import Any

import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.ir.bind import interpreting
from hornbeam.ir.check import CheckError, check
from hornbeam.ir.grad import pullback
from hornbeam.ir.node import NODES, Node, make, param
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives.arith import MUL, SIN
from hornbeam.ir.primitives.control import SWITCH
from hornbeam.ir.primitives.linalg import EIGH
from hornbeam.ir.primitives.movement import PICK
from hornbeam.ir.program import Program
from tests.rows.check import program_of, specs_of
from tests.rows.samples import SAMPLES

F32 = Spec((3,), dtypes.float32)


def forged(primitive: Primitive, args: tuple[Node, ...], spec: Any, **attrs: Any) -> Node:
    """A node that nobody could make: with a Spec of its own."""
    node = Node()
    node.primitive, node.args, node.attrs, node.spec = primitive, args, tuple(attrs.items()), spec
    node.line = "train.py:41"
    return node


class Slot:
    def __init__(self, name: str, spec: Spec) -> None:
        self.name, self.spec = name, spec


def test_what_the_samples_build_passes_and_so_do_the_pullbacks() -> None:
    for sample in {s.row.name: s for s in SAMPLES}.values():
        arrays = sample.arrays(sample.dtypes[-1], sample.shapes[0])
        program = program_of(sample.row, arrays, sample.attributes(specs_of(arrays)))
        check(program)
        if sample.differentiable and sample.dtypes[-1] not in dtypes.STORAGE_ONLY:
            check(pullback(program))


def test_a_false_spec_is_shown_with_its_neighbours_and_the_line() -> None:
    x = param(F32)
    wrong = forged(MUL, (x, x), Spec((2, 3), dtypes.float32))
    with interpreting(NODES):
        user = SIN(wrong)
    with pytest.raises(CheckError) as found:
        check(Program([x], [user], name="step"))
    message = str(found.value)
    assert message.startswith("step: a node claims float32[2,3], its row infers float32[3].")
    assert "  node   <mul(param, param): float32[2,3]>" in message
    assert message.count("  arg    <param(") == 2
    assert "  user   <sin(mul): float32[2,3]>" in message
    assert message.endswith("  at train.py:41")


def test_operands_that_a_row_refuses() -> None:
    x, y = param(F32), param(Spec((3,), dtypes.int32))
    with pytest.raises(CheckError, match=r"MUL refuses its operands.*float32, int32"):
        check(Program([x, y], [forged(MUL, (x, y), F32)]))


def test_a_row_that_is_not_in_the_table() -> None:
    x = param(F32)
    stranger = Primitive("mul", "map", MUL.infer, MUL.reference)
    with pytest.raises(CheckError, match="not a row of the table"):
        check(Program([x], [forged(stranger, (x, x), F32)]))


def test_parameters_are_distinct_and_all_there() -> None:
    x, y = param(F32), param(F32)
    with interpreting(NODES):
        out = x + y
    check(Program([x, y], [out]))
    with pytest.raises(CheckError, match="the same node"):
        check(Program([x, y, x], [out]))
    with pytest.raises(CheckError, match="not closed"):
        check(Program([x], [out]))
    with pytest.raises(CheckError, match="not a param node"):
        check(Program([x, y, out], [out]))


def with_branch(body: Program, *args: Node) -> Node:
    """A switch whose only branch is ``body``, made without asking its row."""
    return make(PICK, (forged(SWITCH, args, body.specs, branches=(body,)),), {"index": 0})


def test_bodies_are_closed_and_stateless() -> None:
    x, y, i = param(F32), param(F32), param(Spec((), dtypes.int32))
    with interpreting(NODES):
        doubled, shifted = x * 2, x + y
    check(Program([i, x], [with_branch(Program([x], [doubled]), i, x)]))
    with pytest.raises(CheckError, match="body: it uses a parameter that is not its own"):
        check(Program([i, x, y], [with_branch(Program([x], [shifted], name="body"), i, x)]))
    stateful = Program([x], [doubled], updates={Slot("w", F32): doubled}, name="body")
    with pytest.raises(CheckError, match="touches state"):
        check(Program([i, x], [with_branch(stateful, i, x)]))


def test_slots_are_read_and_updated_with_their_own_spec() -> None:
    x, read = param(F32), param(F32)
    with interpreting(NODES):
        new = x + read
        wide = new.astype("float64")
    slot = Slot("w", F32)
    check(Program([x], [new], {slot: read}, {slot: new}))
    check(Program([x], [new], {"no spec of its own": read}, {"another": wide}))
    with pytest.raises(CheckError, match=r"updates @w, which is float32\[3\], as float64\[3\]"):
        check(Program([x], [new], {slot: read}, {slot: wide}))
    with pytest.raises(CheckError, match="reads @w"):
        check(Program([x], [new], {Slot("w", Spec((2,), dtypes.float32)): read}))


def test_results_are_single_values() -> None:
    x = param(Spec((2, 2), dtypes.float32))
    both = make(EIGH, (x,), {})
    with pytest.raises(CheckError, match="a result is a tuple"):
        check(Program([x], [both]))
