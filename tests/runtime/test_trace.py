"""Tracing: closed bodies, captures through several levels, programs that say what they read and write."""

import gc
import threading

import numpy as np

import hornbeam as hb
from hornbeam.ir.check import check
from hornbeam.ir.node import PARAM, topological
from hornbeam.ir.program import Program
from hornbeam.runtime.tensor import as_tensor


def programs_in(program: Program) -> list[Program]:
    """``program`` and the bodies in it, at every depth."""
    found = [program]
    for node in program.nodes:
        for _, value in node.attrs:
            for v in value if isinstance(value, tuple) else (value,):
                if isinstance(v, Program):
                    found += programs_in(v)
    return found


def test_a_program_says_what_it_reads_and_writes():
    v, w, unused = hb.Variable(1.0, name="v"), hb.Variable(2.0, name="w"), hb.Variable(3.0)

    @hb.function
    def f(x):
        w.assign(v * x)
        return w + 1.0

    program = f.program(as_tensor(1.0))
    assert [s.name for s in program.reads] == ["v"]
    assert [s.name for s in program.updates] == ["w"]
    assert len(program.inputs) == len(program.outputs) == 1
    text = str(program)
    assert "f(x0: float32[], @v: float32[]):" in text and "@w := %" in text
    assert unused not in program.reads


def test_a_captured_tensor_is_a_constant():
    big = as_tensor(np.arange(100.0))
    program = hb.function(lambda x: x + big).program(as_tensor(np.zeros(100)))
    (constant,) = [n for n in program.nodes if n.primitive.name == "constant"]
    assert dict(constant.attrs)["value"].array is np.asarray(big)  # and no copy


def test_equal_subexpressions_are_one_node():
    program = hb.function(lambda x: hb.exp(x) * hb.exp(x) + hb.exp(x)).program(as_tensor(1.0))
    assert [n.primitive.name for n in program.nodes] == ["exp", "mul", "add"]


def test_all_bodies_are_closed_programs():
    v, scale = hb.Variable(2.0), as_tensor(3.0)

    @hb.function
    def f(xs):
        offset = xs.sum()

        def step(c, x):
            inner = hb.while_loop(lambda i, y: y < offset, lambda i, y: (i + 1, y * v + scale), (0, x))[1]
            v.assign_add(hb.cond(inner > 5.0, lambda: inner * offset, lambda: x + scale))
            return c + inner, c

        return hb.scan(step, 0.0, xs)

    program = f.program(as_tensor([1.0, 2.0]))
    bodies = programs_in(program)
    assert len(bodies) == 6  # itself, step, condition, body, two branches
    for body in bodies:
        check(body)
        params = {n for n in topological(body.roots) if n.primitive is PARAM}
        assert params <= set(body.params)
        assert body is program or not (body.reads or body.updates)


def test_tapes_inside_bodies():
    @hb.function
    def f(xs):
        def step(c, x):
            with hb.GradientTape() as tape:
                tape.watch(x)
                y = x**3 * c
            return c, tape.gradient(y, x)

        return hb.scan(step, 2.0, xs)[1]

    assert f(as_tensor([1.0, 2.0])).tolist() == [6, 24]


def test_a_tape_around_a_body_sees_what_it_captures():
    @hb.function
    def f(x, y):
        with hb.GradientTape() as tape:
            tape.watch((x, y))
            z = hb.cond(x > 0.0, lambda: hb.cond(y > 0.0, lambda: x * y, lambda: x), lambda: y)
        return tape.gradient(z, [x, y], unconnected_gradients="zero")

    for at, expected in (((2.0, 3.0), [3, 2]), ((2.0, -3.0), [1, 0]), ((-2.0, 3.0), [0, 1])):
        assert [float(g) for g in f(*map(as_tensor, at))] == expected


def test_threads_that_trace_at_once_do_not_meet():
    v = hb.Variable(2.0)
    results = {}

    def work(k):
        @hb.function
        def f(x):
            outs = hb.split(x * float(k % 3), 2)
            with hb.GradientTape() as tape:
                tape.watch(outs)
                y = hb.cond(x.sum() > 0.0, lambda: outs[0] * v, lambda: outs[1])
            return tape.gradient(y, outs[0])

        results[k] = [f(hb.ones(2 * n)).tolist() for n in range(1, 6)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(8):
        assert results[k] == [[2.0] * n if k % 3 else [0.0] * n for n in range(1, 6)] or k % 3 == 0


def test_interned_nodes_are_one_for_all_threads():
    from hornbeam.base.spec import spec
    from hornbeam.ir.bind import interpreting
    from hornbeam.ir.node import NODES, param
    from hornbeam.ir.primitives.arith import MUL

    x = param(spec((2,)))
    barrier, made = threading.Barrier(8), []

    def work():
        barrier.wait()
        with interpreting(NODES):
            y = x
            for _ in range(200):
                y = MUL(y, x)
        made.append(y)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len({id(y) for y in made}) == 1


def test_dropping_a_big_graph():
    from hornbeam.base.spec import spec
    from hornbeam.ir.bind import interpreting
    from hornbeam.ir.node import NODES, param
    from hornbeam.ir.primitives.arith import NEG
    from hornbeam.ir.simplify import simplify

    with interpreting(NODES):
        y = x = param(spec(()))
        for _ in range(30_001):
            y = NEG(y)
    program = Program([x], [y])
    assert simplify(program).nodes[-1].primitive is NEG and len(simplify(program).nodes) == 1
    del program, y
    gc.collect()
