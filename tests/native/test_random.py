"""Random bits in compiled loops: those of the reference, wherever they are made, and made where they are used."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec, spec
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.node import NODES, Node, param
from hornbeam.ir.primitives import arith, index, movement, reduce
from hornbeam.ir.primitives.random import RANDOM_BITS, fold_in, split, threefry, uniform
from hornbeam.ir.program import Program, evaluate
from hornbeam.runtime.trace import trace
from tests.native.test_passes import weighted

KEY = Spec((2,), dtypes.uint32)
BITS = np.asarray([0x13198A2E, 0xFF707344], np.uint32)
WIDTHS, THREADS = (1, 4, 8, 16), (1, 2, 3, 8)


def lowered(fn: Callable[..., Any], *specs: Spec, lanes: int | None = None) -> Lowered:
    machine = host().with_lanes(lanes or host().lanes)
    return Lowered.of(Module(), prepared(trace(fn, specs, "test").program), machine, TEMPLATES)


def kept(plan: Lowered, size: int) -> list[str]:
    """The dtypes of what is stored between kernels, as large as ``size``."""
    return [n.dtype.name for n in plan.plan.offsets if n.spec.size >= size and n.primitive.name != "param"]


def drawn(shape: tuple[int, ...], key: Node) -> Node:
    return RANDOM_BITS(key, shape=shape)


def one(x: int) -> Node:
    return constant(np.asarray(x, np.uint32))


def wholes(shape: tuple[int, ...], key: Node) -> list[Node]:
    """Whole arrays of bits, read element by element, and kept."""
    bits = drawn(shape, key)
    return [bits, bits ^ one(5), drawn(shape, bits.reshape((-1,))[:2]) if bits.spec.size > 1 else bits]


def views(shape: tuple[int, ...], key: Node) -> list[Node]:
    """In another order, and in parts: every other number, from an odd one on, two halves, backwards."""
    bits = drawn(shape, key)
    n = shape[-1]
    zeros, every = (0,) * (len(shape) - 1), (1,) * (len(shape) - 1)
    pick = [
        movement.SLICE(drawn(shape, key) ^ one(i), starts=(*zeros, i), limits=shape, strides=(*every, step))
        for i, step in ((0, 2), (1, 2), (1, 1), (n - 1, 3))
    ]
    turned = movement.TRANSPOSE(drawn(shape, fold_in(key, 1)), axes=tuple(reversed(range(len(shape)))))
    back = movement.REVERSE(drawn(shape, fold_in(key, 2)), axes=(len(shape) - 1,))
    wide = drawn((2, *shape), fold_in(key, 3))
    pairs = drawn((*shape, 2), fold_in(key, 4))
    return [
        *pick, turned ^ one(1), back + one(1), back ^ bits, wide[0] + wide[1] * one(3), pairs[..., 0] - pairs[..., 1],
        movement.CONCAT(bits, drawn(shape, split(key)[1]), axis=0), uniform(key, shape, "float64"),
    ]  # fmt: skip


def reductions(shape: tuple[int, ...], key: Node) -> list[Node]:
    """Of rows that begin at even and at odd numbers, of columns, of everything; and what comes of them."""
    bits = drawn(shape, key)
    last, total = (len(shape) - 1,), tuple(range(len(shape)))
    high = reduce.REDUCE_MAX(drawn(shape, fold_in(key, 1)), axes=last)
    return [
        reduce.SUM(bits, axes=last), reduce.SUM(drawn(shape, fold_in(key, 2)), axes=(0,)), reduce.SUM(bits, axes=total),
        bits - reduce.spread(high, bits, last), drawn(shape[-1:], key) ^ bits, drawn((*shape[:-1], 1), key) + bits,
    ]  # fmt: skip


def others(shape: tuple[int, ...], key: Node) -> list[Node]:
    """What is no loop reads bits from memory."""
    order = index.ARGSORT(drawn(shape, key), axis=0, descending=False)
    return [order, reduce.CUMSUM(drawn(shape, split(key, 3)[2]), axis=0, reverse=False)]


@pytest.mark.parametrize("lanes", WIDTHS)
@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (wholes, [(), (1,), (5,), (2, 3), (3, 1, 7), (31,), (32,), (33,), (64,), (3, 0), (9, 33), (2**16 + 7,)]),
        (views, [(1,), (7,), (64,), (5, 3), (6, 10), (3, 1, 7), (4, 33), (16, 64)]),
        (reductions, [(1,), (5, 3), (6, 10), (7, 65), (3, 2, 33), (40, 1000), (2, 70_001)]),
        (others, [(5,), (6, 10), (33, 7)]),
    ],
    ids="wholes views reductions others".split(),
)
def test_bits_are_those_of_the_reference(make: Any, shapes: list[tuple[int, ...]], lanes: int) -> None:
    for shape in shapes:
        key = param(KEY)
        with interpreting(NODES):
            program = Program([key], make(shape, key))
        got = build(program, host().with_lanes(lanes)).run([BITS])
        for g, w, root in zip(got, evaluate(program, [BITS]), program.roots, strict=True):
            assert g.dtype == w.dtype and g.tobytes() == w.tobytes(), f"{shape}: {root!r}"


def test_any_number_of_threads_makes_the_same_bits():
    shape = (1000, 301)
    key, x, row = param(KEY), param(spec(shape)), param(spec(shape[1:]))
    with interpreting(NODES):
        kept = uniform(key, shape) < 0.75
        zero = constant(np.zeros((), np.float32))
        program = Program([key, x, row], [
            drawn(shape, key), arith.SELECT(kept, x + row, zero), reduce.SUM(arith.SELECT(kept, x, zero), axes=(0,)),
        ])  # fmt: skip
    rng = np.random.default_rng(0)
    values = [BITS, rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[1:]).astype(np.float32)]
    runs = [[a.tobytes() for a in build(program, host(), threads).run(values)] for threads in THREADS]
    assert all(run == runs[0] for run in runs)
    assert runs[0][:2] == [a.tobytes() for a in evaluate(program, values)[:2]]


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**34 + 9])
@pytest.mark.parametrize("lanes", WIDTHS)
def test_numbers_of_elements_beyond_32_bits(size: int, lanes: int) -> None:
    """Few elements of an array that nobody could keep."""
    spans = [(s, s + 67, 1) for s in (0, size // 2, size - 70)] + [(size - 70, size, 3), (5, size, size // 40)]
    key = param(KEY)
    with interpreting(NODES):
        bits = drawn((size,), key)
        parts = [movement.SLICE(bits, starts=(a,), limits=(b,), strides=(step,)) for a, b, step in spans]
        program = Program([key], [*(p ^ one(0) for p in parts), movement.REVERSE(parts[2], axes=(0,)) ^ one(0)])
    places = [np.arange(*span) for span in (*spans, (size - 4, size - 71, -1))]
    got = build(program, host().with_lanes(lanes)).run([BITS])
    for g, at in zip(got, places, strict=True):
        block = at.astype(np.uint64) // np.uint64(2)
        low, high = block.astype(np.uint32), (block >> np.uint64(32)).astype(np.uint32)
        words = threefry(BITS[0:1], BITS[1:2], low, high)
        assert (g == np.where(at % 2, words[1], words[0])).all()


# -- what is made where, and how often ----------------------------------------------------------------


def blocks_of(plan: Lowered) -> int:
    """Vectors of Threefry in the code: each has twenty rounds, which end with an exclusive or."""
    rounds = len(re.findall(r" = xor <\d+ x i32>", str(plan.module)))
    assert rounds % 20 == 0
    return rounds // 20


@pytest.mark.parametrize("lanes", [4, 16])
def test_no_word_is_made_in_vain(lanes: int) -> None:
    def at(fn: Callable[..., Any], *specs: Spec) -> int:
        return blocks_of(lowered(fn, KEY, *specs, lanes=lanes))

    def biased(k: Any, x: Any, b: Any) -> Any:
        return hb.random.dropout(x + b, 0.5, key=k)

    assert at(lambda k: hb.random.bits((10, 4 * lanes), key=k)) == 1  # two vectors a turn, and nothing is left
    assert at(lambda k: hb.random.bits((5 * lanes + 1,), key=k)) == 2  # one loop for a vector and a part of one
    assert at(biased, spec((8, 4 * lanes)), spec((4 * lanes,))) == 1  # rows that begin with a block
    assert at(lambda k: hb.random.uniform((8, 4 * lanes), dtype="float64", key=k)) == 1  # both words for one number
    sums = lowered(lambda k: hb.sum(hb.random.bits((8, 64 * lanes), key=k), axis=1), KEY, lanes=lanes)
    assert blocks_of(sums) == 2  # four vectors a turn
    columns = lowered(lambda k: hb.sum(hb.random.bits((8, 4 * lanes), key=k), axis=0), KEY, lanes=lanes)
    assert blocks_of(columns) == 2


def test_a_sampler_is_one_pass_that_keeps_nothing():
    shape = (64, 100)
    samplers: dict[str, Callable[[Any], Any]] = {
        "uniform": lambda k: hb.random.uniform(shape, -0.1, 0.1, key=k),
        "uniform in float64": lambda k: hb.random.uniform(shape, dtype="float64", key=k),
        "uniform in bfloat16": lambda k: hb.random.uniform(shape, dtype="bfloat16", key=k),
        "normal": lambda k: hb.random.normal(shape, 1.0, 2.0, key=k),
        "truncated normal": lambda k: hb.random.truncated_normal(shape, stddev=0.05, key=k),
        "randint": lambda k: hb.random.randint(shape, 0, 10, key=k),
        "bernoulli": lambda k: hb.random.bernoulli(shape, 0.3, key=k),
        "gumbel": lambda k: hb.random.gumbel(shape, key=k),
        "sum of noise": lambda k: hb.sum(hb.random.normal(shape, key=k), axis=0),
    }
    for name, fn in samplers.items():
        plan = lowered(fn, KEY)
        assert len(plan.steps) == 1 and not kept(plan, 64 * 100), f"{name}\n{plan.fusion}"


def test_keys_are_made_first():
    """Once, not in every row: two words, from kernels as small as they are."""
    plan = lowered(lambda k, i, x: hb.random.dropout(x, 0.5, key=hb.random.fold_in(k, i)), KEY, Spec((), dtypes.int32),
                   spec((64, 100)))  # fmt: skip
    assert [c.kind for c in plan.fusion.clusters][-1] == "loop" and not kept(plan, 3)
    assert [c.space for c in plan.fusion.clusters if c.space == (64, 100)] == [(64, 100)]


def dropped(x: Any, k: Any) -> Any:
    return hb.random.dropout(hb.tanh(x), 0.1, key=k)


@pytest.mark.parametrize("noise", [None, (64, 1), (1, 100)])
def test_a_dropout_is_one_pass_forward_and_one_backward(noise: Any) -> None:
    def fn(x: Any, k: Any) -> Any:
        return hb.random.dropout(hb.tanh(x), 0.1, noise, key=k)

    forward, backward = lowered(fn, X, KEY), lowered(hb.grad(weighted(fn)), X, KEY, X)
    for plan in (forward, backward):
        large = [c for c in plan.fusion.clusters if c.space == X.shape]
        assert len(large) == 1 and not kept(plan, X.size), str(plan.fusion)


X = spec((64, 100))


def test_masks_of_a_training_step_are_made_twice_and_never_kept():
    def loss(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any, w3: Any, k: Any) -> Any:
        k1, k2 = hb.random.split(k)
        h = hb.random.dropout(hb.tanh(x @ w1 + b1), 0.3, key=k1)
        h = hb.random.dropout(hb.tanh(h @ w2 + b2), 0.3, key=k2)
        return hb.mean(hb.square(h @ w3 - y))

    shapes = [(64, 16), (64, 10), (16, 100), (100,), (100, 100), (100,), (100, 10)]
    plan = lowered(hb.value_and_grad(loss, argnums=(2, 3, 4, 5, 6)), *map(spec, shapes), KEY)
    assert not {"bool", "uint32"} & set(kept(plan, 64 * 100)), str(plan)
    loops = [c for c in plan.fusion.clusters if c.kind == "loop" and c.space == (64, 100)]
    assert len(loops) <= 4, str(plan.fusion)  # for each layer one forward and one backward, whatever else is done there


def separately(times: int, made: Callable[[Any], Any]) -> Callable[..., Any]:
    """Uses what ``made`` makes of a key in kernels that cannot be one: between them is a row of another kind."""

    def fn(x: Any, k: Any) -> Any:
        drawn, y = made(k), x
        for _ in range(times):
            y = hb.where(drawn, y, 0.0) if drawn.dtype == "bool" else y * drawn
            y = hb.cumsum(y, axis=0)
        return y

    return fn


@pytest.mark.parametrize(
    ("times", "make", "stored"),
    [
        (2, lambda k: hb.random.bernoulli(X.shape, 0.3, key=k), 0),
        (4, lambda k: hb.random.bernoulli(X.shape, 0.3, key=k), 1),  # a byte is read four times faster than made
        (4, lambda k: hb.random.uniform(X.shape, key=k), 0),  # four bytes are not
        (2, lambda k: hb.random.normal(X.shape, key=k), 1),  # dear
    ],
)
def test_bits_are_drawn_again_or_kept_by_what_each_costs(times: int, make: Any, stored: int) -> None:
    plan = lowered(separately(times, make), X, KEY)
    assert [c.kind for c in plan.fusion.clusters].count("block") == times
    again = {n.primitive.name for n in plan.fusion.again}
    assert ("random_bits" in again) == (not stored), str(plan.fusion)


def test_a_scans_gradient_keeps_no_masks():
    steps = 7

    def loss(w: Any, x: Any, k: Any) -> Any:
        def step(h: Any, i: Any) -> Any:
            h = hb.random.dropout(hb.tanh(h @ w), 0.2, key=hb.random.fold_in(k, i))
            return h, None

        return hb.sum(hb.scan(step, x, hb.arange(steps))[0])

    plan = lowered(hb.grad(loss), spec((32, 32)), spec((64, 32)), KEY)
    stacked = [n.spec for n in plan.program.nodes if isinstance(n.spec, Spec) and n.spec.shape[:3] == (steps, 64, 32)]
    assert stacked and all(dtypes.is_floating(s.dtype) for s in stacked), stacked


def test_the_same_dropout_in_every_mode():
    x = hb.tensor(np.random.default_rng(0).normal(size=(33, 70)).astype(np.float32))
    key = hb.random.key(3)
    found = []
    for engine in ("native", "reference"):
        with hb.Session(engine=engine):
            fn = hb.grad(lambda x: hb.sum(hb.random.dropout(x, 0.25, key=key) * x))
            found += [fn(x).numpy().tobytes(), hb.function(fn)(x).numpy().tobytes()]
    assert len(set(found)) == 1


def test_a_key_that_is_renewed_early_is_still_the_old_one_for_the_backward_pass():
    x = np.random.default_rng(0).normal(size=(5 * 8, 12)).astype(np.float32)
    found = []
    for many in (False, True):
        with hb.Session():
            key = hb.Variable(BITS)
            w1, w2 = (hb.Variable(np.random.default_rng(i).normal(size=s).astype(np.float32) * 0.3)
                      for i, s in enumerate([(12, 70), (70, 3)]))  # fmt: skip

            @hb.function
            def step(x, key=key, w1=w1, w2=w2):
                old = key.value()
                key.assign(hb.random.fold_in(old, 1))

                def loss(w1, w2):
                    return hb.mean(hb.square(hb.random.dropout(hb.tanh(x @ w1), 0.4, key=old) @ w2))

                value, (g1, g2) = hb.value_and_grad(loss, argnums=(0, 1))(w1.value(), w2.value())
                w1.assign(w1 - 0.1 * g1)
                w2.assign(w2 - 0.1 * g2)
                return value

            if many:
                last = step.over_rows(range(0, 40, 8), x)
            else:
                last = [step(x[i : i + 8]) for i in range(0, 40, 8)][-1]
            found.append([np.asarray(a).tobytes() for a in (last, key.numpy(), w1.numpy(), w2.numpy())])
    assert found[0] == found[1]
