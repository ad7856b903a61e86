"""Random Programs on the native engine: whatever is fused, the bits are those of one row at a time.

``HORNBEAM_FUZZ=5000 pytest tests/native/test_fuzz.py -k random`` tries that many instead of a handful.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hornbeam import config
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.costs import bodies
from hornbeam.engines.native import columns, fuse, loops, lowered
from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.target import host
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.node import NODES, Node, param
from hornbeam.ir.primitives import arith, contract, movement, reduce
from hornbeam.ir.program import Program, evaluate
from tests.native.random_programs import Maker, check, random_array, report, same, smallest
from tests.native.test_sharing import native_rows

CASES = int(os.environ.get("HORNBEAM_FUZZ", "0"))


@settings(
    max_examples=CASES or 25,
    deadline=None,
    derandomize=not CASES,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink) if CASES else (Phase.generate,),  # ``report`` cuts a Program down itself
)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(3, 300 if CASES else 50), lanes=st.sampled_from((1, 4, 16)))
@pytest.mark.parametrize("small", [False, True], ids=["usual", "small"])
@pytest.mark.timeout(0 if CASES else 300)
def test_random_programs(seed: int, size: int, lanes: int, small: bool) -> None:
    """``small``: with limits so low that the random sizes go beyond them. They are no part of the cache's keys."""
    with pytest.MonkeyPatch.context() as patch, config.CACHE("0"):
        for module, name, value in LIMITS if small else ():
            patch.setattr(module, name, value)
        try_program(seed, size, lanes)


LIMITS = [
    (loops, "LONG", 256), (loops, "PART", 128), (columns, "PART", 128), (columns, "PARTS", 5), (loops, "CHUNK", 64),
    (fuse, "MAX_SCRATCH", 256), (fuse, "MAX_OPERATIONS", 12), (fuse, "MAX_ROOTS", 5), (lowered, "WORTH_SHARING", 0),
]  # fmt: skip


def test_of_all_kinds() -> None:
    """Every row that has native code is in some random Program, or in the body of one."""
    missing = set(native_rows())
    for seed in range(2000):
        missing -= rows_in(Maker(seed).program(60)[0])
        if not missing:
            break
    assert not missing


def test_what_fails_is_cut_down() -> None:
    """A "mistake" in one row, anywhere: what is left has little else, in bodies too."""
    sizes = []
    for seed in range(30):
        program, values = Maker(seed).program(60)
        inside = [name for n in program.nodes for b in bodies(n) for name in sorted(rows_in(b)) if name in EASY]
        for name in inside[:1]:
            with interpreting(NODES):
                small, given = smallest(program, values, lambda p, v, name=name: name in rows_in(p))  # type: ignore[misc]
            assert name in rows_in(small) and len(given) == len(small.params)
            sizes.append((size_of(program), size_of(small)))
    assert len(sizes) >= 5 and max(small for _, small in sizes) <= 12, sizes


EASY = ("tanh", "exp", "rsqrt", "neg", "sub", "mul")


def size_of(program: Program) -> int:
    """How many nodes it has, in bodies too, but constants and names of results."""
    counted = (n for n in program.nodes if n.primitive not in (movement.CONSTANT, movement.PICK))
    return sum(1 + sum(map(size_of, bodies(n))) for n in counted)


def rows_in(program: Program) -> set[str]:
    return {n.primitive.name for n in program.nodes}.union(*(rows_in(b) for n in program.nodes for b in bodies(n)))


def try_program(seed: int, size: int, lanes: int) -> None:
    program, values = Maker(seed).program(size)
    try:
        check(program, values, lanes)
    except Exception as error:
        raise AssertionError(f"seed {seed}, size {size}, {report(program, values, lanes, error)}") from None


# -- odd programs -------------------------------------------------------------------


def float32(*shape: int) -> Node:
    return param(Spec(shape, dtypes.float32))


def agrees(params: list[Node], make: Callable[..., Any], lanes: int = 16, tol: float = 1e-5) -> None:
    with interpreting(NODES):
        roots = make(*params)
    program = Program(params, roots if isinstance(roots, list) else [roots])
    rng = np.random.default_rng(0)
    values = [random_array(rng, p.spec) for p in params]
    got = build(program, host().with_lanes(lanes)).run(values)
    for g, w in zip(got, evaluate(program, values), strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol)


def test_results_that_nothing_computes() -> None:
    six = constant_of(np.arange(6, dtype=np.float32).reshape(2, 3).T)
    agrees([float32(5)], lambda x: x)
    agrees([float32(5)], lambda x: [x, x])
    agrees([float32(5)], lambda x: [six, x, six])
    agrees([float32(5)], lambda x: [x.reshape((5, 1)), x, x.reshape((5, 1))])
    agrees([float32(5)], lambda x: [(x + 1).reshape((1, 5)), x + 1, x + 1, (x + 1).reshape((5, 1))])


def constant_of(array: np.ndarray) -> Node:
    with interpreting(NODES):
        return constant(array)


def test_no_elements() -> None:
    def rows(x: Node) -> list[Node]:
        t = x.transpose((1, 0))
        return [
            x, x + 1, t, x.reshape((3, 0, 2)), reduce.SUM(x, axes=(0,)), reduce.PROD(x, axes=(0, 1)),
            reduce.SUM(x, axes=(1,)), contract.matmul(t, x), contract.matmul(x, t), movement.CONCAT(x, x, axis=0),
            movement.CONCAT(x + 1, constant(np.ones((2, 3), np.float32)), axis=0),
            movement.PAD(x, constant(np.float32([7])[0:1].reshape(())), before=(1, 0), after=(1, 1), between=(2, 0)),
        ]  # fmt: skip

    agrees([float32(0, 3)], rows)


def test_scalars() -> None:
    agrees(
        [float32()],
        lambda x: [
            x, x + 1, arith.EXP(x), reduce.SUM(x, axes=()), x.reshape((1, 1)), movement.BROADCAST(x, shape=(3, 4)),
            contract.DOT(x, x, batch=((), ()), contract=((), ())),
        ],
    )


def test_a_count_that_is_kept_and_also_read_backwards() -> None:
    """The kernel that keeps it must not take its own element for the one that is meant."""

    def kept(x: Node) -> list[Node]:
        count = movement.IOTA(shape=x.shape, axis=1, dtype=dtypes.float32)
        back = movement.REVERSE(count.reshape((x.spec.size,)), axes=(0,))
        return [count, x + back.reshape(x.shape)]

    for lanes in (1, 16):
        agrees([float32(4, 5)], kept, lanes)


def chain(x: Node) -> Node:
    y = x
    for i in range(1000):
        y = y * 0.5 + float(i % 3) if i % 2 else y * y
    return y


def stencil(x: Node) -> Node:
    """Every level reads the one below in two places: melted, the lowest would be computed 2**40 times."""
    n = x.shape[0]
    for i in range(40):
        tail = movement.SLICE(x, starts=(1,), limits=(n - i,), strides=(1,))
        x = (tail + movement.SLICE(x, starts=(0,), limits=(n - i - 1,), strides=(1,))) * 0.5
    return x


def views(x: Node) -> Node:
    for i in range(1000):
        x = movement.TRANSPOSE(x, axes=(1, 0)) if i % 2 else movement.REVERSE(x, axes=(0,))
    return x


def norms(x: Node) -> Node:
    for axis in (1, 0) * 15:
        x = arith.TANH(x - reduce.spread(reduce.REDUCE_MAX(x, axes=(axis,)), x, (axis,)))
    return x


@pytest.mark.parametrize(("make", "shape"), [(chain, (100,)), (stencil, (97,)), (views, (6, 6)), (norms, (33, 20))])
@pytest.mark.timeout(60)
def test_deep(make: Callable[[Node], Node], shape: tuple[int, ...]) -> None:
    agrees([float32(*shape)], make)


@pytest.mark.timeout(60)
def test_wide() -> None:
    def adam(*slots: Node) -> list[Node]:
        outs = []
        for w, g, m, v in zip(*[iter(slots)] * 4, strict=True):
            m = m * 0.9 + g * 0.1
            v = v * 0.99 + g * g * 0.01
            outs += [m, v, w - m / (arith.SQRT(arith.ABS(v)) + 1e-3) * 0.01]
        return outs

    shapes = [(17, 5), (9,), (3, 3, 2)]
    agrees([float32(*shapes[i // 4 % 3]) for i in range(4 * 100)], adam)


def test_the_order_of_a_sum_is_that_of_memory() -> None:
    """Whatever a reduction of several axes is fused with."""
    x, y = float32(4, 7, 9), float32(7, 1)
    with interpreting(NODES):
        plain = x * 1.5
        crossed = plain * y + movement.IOTA(shape=(7, 9), axis=0, dtype=dtypes.float32)
        turned = movement.TRANSPOSE(movement.REVERSE(crossed, axes=(1,)), axes=(0, 2, 1))
        sums = [reduce.SUM(n, axes=a) for n in (plain, crossed, turned) for a in ((1, 2), (0, 1, 2))]
    whole = Program([x, y], [*sums, crossed])
    rng = np.random.default_rng(1)
    values = [random_array(rng, p.spec) for p in (x, y)]
    got = build(whole, host()).run(values)
    for node, value in zip(sums, got, strict=False):
        stored = evaluate(Program([x, y], [node.args[0]]), values)[0]
        p = param(node.args[0].spec)
        with interpreting(NODES):
            alone = Program([p], [reduce.SUM(p, axes=dict(node.attrs)["axes"])])
        same(value, build(alone, host()).run([stored])[0], repr(node))
