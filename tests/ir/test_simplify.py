"""Every rule fires where it should, and none changes a bit: a Program gives the same numbers without them."""

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base import dtypes
from hornbeam.base.spec import spec
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.check import check
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitives.arith import CAST, EXP, NEG, NOT, SELECT
from hornbeam.ir.primitives.control import CUSTOM_GRADIENT
from hornbeam.ir.primitives.movement import BROADCAST, RESHAPE, REVERSE, STOP_GRADIENT, TRANSPOSE
from hornbeam.ir.primitives.reduce import PROD, SUM
from hornbeam.ir.program import Program, evaluate
from hornbeam.ir.simplify import SIMPLIFY, simplify

HARD = np.array([[0.0, -0.0, 1.5], [np.inf, -np.inf, np.nan], [1e-45, -1e38, -3.0]])


def number(value, x):
    return constant(np.asarray(value, x.dtype))


# What is written, and how many nodes are left of it.
CASES = {
    "x*1": (lambda x: x * 1.0, 0),
    "1*x": (lambda x: 1.0 * x, 0),
    "1*x, broadcast": (lambda x: BROADCAST(RESHAPE(number(1, x), shape=(1, 1)), shape=(3, 3)) * x, 0),
    "x/[2]": (lambda x: x / BROADCAST(number(2, x), shape=(3, 3)), 2),
    "[2]/x": (lambda x: BROADCAST(number(2, x), shape=(3, 3)) / x, 2),
    "x*[2]": (lambda x: x * BROADCAST(number(2, x), shape=(3, 3)), 2),
    "[2]*x": (lambda x: BROADCAST(number(2, x), shape=(3, 3)) * x, 2),
    "x+[2]": (lambda x: x + BROADCAST(number(2, x), shape=(3, 3)), 2),
    "[2]+x": (lambda x: BROADCAST(number(2, x), shape=(3, 3)) + x, 2),
    "x-[2]": (lambda x: x - BROADCAST(number(2, x), shape=(3, 3)), 2),
    "[2]-x": (lambda x: BROADCAST(number(2, x), shape=(3, 3)) - x, 2),
    "a number in another shape": (lambda x: RESHAPE(number(2, x), shape=(1, 1)) + x, 2),
    "x/1": (lambda x: x / 1.0, 0),
    "x-0": (lambda x: x - 0.0, 0),
    "-(-x)": (lambda x: NEG(NEG(x)), 0),
    "cast to its own": (lambda x: CAST(x, dtype=x.dtype), 0),
    "two reshapes": (lambda x: RESHAPE(RESHAPE(x, shape=(9,)), shape=(1, 9)), 1),
    "reshape there and back": (lambda x: RESHAPE(RESHAPE(x, shape=(9,)), shape=(3, 3)), 0),
    "reshape to its own": (lambda x: RESHAPE(x, shape=(3, 3)), 0),
    "two transposes": (lambda x: TRANSPOSE(TRANSPOSE(x, axes=(1, 0)), axes=(1, 0)), 0),
    "transpose of nothing": (lambda x: TRANSPOSE(x, axes=(0, 1)), 0),
    "broadcast to its own": (lambda x: BROADCAST(x, shape=(3, 3)), 0),
    "reversed twice": (lambda x: REVERSE(REVERSE(x, axes=(0,)), axes=(0,)), 0),
    "stop_gradient": (lambda x: STOP_GRADIENT(x), 0),
    "custom_gradient": (lambda x: CUSTOM_GRADIENT(x, x, results=1, rule=lambda g: (g,))[0], 0),
    "a known choice": (lambda x: SELECT(constant(np.array(True)), x, -x), 0),
    "the other choice": (lambda x: SELECT(constant(np.array([[False]])), EXP(x), x), 0),
    "a choice that follows from shapes": (lambda x: SELECT(size(x) == 0, EXP(x), NEG(x)), 1),
    "deep": (lambda x: EXP(NEG(NEG(STOP_GRADIENT(x * 1.0) - 0.0) * 1.0)), 1),
}

# What looks like a rule and is not: it would change a bit.
KEPT = {
    "x+0": lambda x: x + 0.0,  # -0 + 0 is 0
    "x - -0": lambda x: x - (-0.0),  # the same
    "x*0": lambda x: x * 0.0,
    "x*-1": lambda x: x * -1.0,
    "x-x": lambda x: x - x,
    "x/x": lambda x: x / x,
    "0-x": lambda x: 0.0 - x,
    "x*1 that broadcasts": lambda x: x * constant(np.ones((2, 1, 1), x.dtype)),
    "reversed along others": lambda x: REVERSE(REVERSE(x, axes=(0,)), axes=(1,)),
    "there and back by other dtypes": lambda x: CAST(CAST(x, dtype=dtypes.float16), dtype=x.dtype),
    "a choice that broadcasts": lambda x: x + SELECT(constant(np.ones((2, 3, 3), bool)), x, -x),
    "a sum of floats, which engines may order": lambda x: x + SUM(constant(np.ones(3, x.dtype)), axes=(0,)),
    "a function that engines may round": lambda x: x + EXP(constant(np.ones((), x.dtype))),
    "transposes that do not cancel": lambda x: TRANSPOSE(TRANSPOSE(x, axes=(1, 0)), axes=(0, 1)),
}


def size(x):
    return PROD(constant(np.array(x.shape, np.int32)), axes=(0,))


def built(f, dtype):
    x = param(spec((3, 3), dtype))
    with interpreting(NODES):
        return Program([x], [f(x)])


def bits(program, array):
    return [(a.dtype, a.shape, a.tobytes()) for a in evaluate(program, [array])]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "complex64"])
@pytest.mark.parametrize("name", [*CASES, *KEPT])
def test_no_bit_changes(name, dtype):
    if dtype == "complex64" and "dtypes" in name:
        dtype = "float64"  # complex is not cast to real
    f = CASES[name][0] if name in CASES else KEPT[name]
    program = built(f, dtype)
    simpler = simplify(program)
    check(program)
    check(simpler)
    with np.errstate(all="ignore"):
        array = HARD.astype(dtypes.as_dtype(dtype))
    assert bits(simpler, array) == bits(program, array)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires(name):
    f, left = CASES[name]
    assert len(simplify(built(f, "float32")).nodes) == left


@pytest.mark.parametrize("name", [k for k in KEPT if k != "transposes that do not cancel"])
def test_what_is_not_a_rule_stays(name):
    program = built(KEPT[name], "float32")
    assert simplify(program).nodes == program.nodes


def test_double_negation_of_bools():
    x = param(spec((3,), "bool"))
    with interpreting(NODES):
        program = Program([x], [NOT(NOT(x))])
    assert simplify(program).nodes == []


def test_every_rule_is_tried():
    """A rule without a case above would go untested."""
    fired = set()
    original = SIMPLIFY.by_primitive
    for rules in original.values():
        for i, (pattern, replacement) in enumerate(rules):
            for f, _ in [*CASES.values(), (lambda x: NOT(NOT(x)), 0)]:
                x = param(spec((3, 3), "bool" if f not in [c[0] for c in CASES.values()] else "float32"))
                with interpreting(NODES):
                    for node in Program([x], [f(x)]).nodes:
                        found: dict = {}
                        if pattern.match(node, found) and replacement(**found) is not None:
                            fired.add((pattern.primitive, i))
    assert len(fired) == len(SIMPLIFY)


def test_complex_numbers_are_multiplied_by_parts():
    for f in (lambda x: x * 1.0, lambda x: x / 1.0):
        program = built(f, "complex64")
        assert simplify(program).nodes == program.nodes


def test_outputs_updates_and_names_stay():
    x, s = param(spec((3, 3))), param(spec((3, 3)))
    with interpreting(NODES):
        program = Program([x], [x * 1.0, s / 1.0], {"slot": s}, {"slot": x - 0.0}, name="step")
    simpler = simplify(program)
    assert (simpler.name, simpler.outputs, simpler.updates, simpler.reads) == ("step", (x, s), {"slot": x}, {"slot": s})


def test_a_scan_and_its_rerun_for_the_gradient_are_one():
    """Losses and gradients of a recurrence: forward once, backward once; and the same bits as without."""
    w = hb.tensor([[0.5, -0.25], [0.125, 0.75]])
    xs = hb.tensor(np.linspace(-1, 1, 10, dtype=np.float32).reshape(5, 2))

    def loss(w):
        carry, ys = hb.scan(lambda c, x: (hb.tanh(c @ w + x), c), hb.zeros((1, 2)), xs)
        return hb.sum(carry) + hb.sum(ys)

    program = hb.function(hb.value_and_grad(loss)).program(w)

    def scans(p):
        return [n for n in p.nodes if n.primitive.name == "scan"]

    assert len(scans(program)) == 3 and len(scans(simplify(program))) == 2
    for plain, simple in zip(evaluate(program, [w.array]), evaluate(simplify(program), [w.array]), strict=True):
        np.testing.assert_array_equal(plain, simple)


def test_small_constants_are_folded_and_large_ones_are_not():
    x = param(spec((3,)))
    with interpreting(NODES):
        small = CAST(constant(np.arange(64, dtype=np.int32)) * 2 + 1, dtype=dtypes.float32)
        large = constant(np.arange(65, dtype=np.int32)) * 2
        spread = BROADCAST(constant(np.float32(1)), shape=(3, 65))
        program = simplify(Program([x], [small, large, spread, x / (small[1] - 1)]))
    names = [n.primitive.name for n in program.nodes]
    assert sorted(names) == ["broadcast", "constant", "constant", "constant", "constant", "constant", "div", "mul"]
    np.testing.assert_array_equal(evaluate(program, [np.ones(3, np.float32)])[0], np.arange(64) * 2.0 + 1)


def test_what_a_fold_divides_by_zero_is_quiet(recwarn):
    x = param(spec(()))
    with interpreting(NODES):
        program = simplify(Program([x], [x + constant(np.float32(1)) / constant(np.float32(0))]))
    assert len(program.nodes) == 2
    assert evaluate(program, [np.float32(0)])[0] == np.inf
    assert not recwarn.list
