"""Rows on arrays so large that threads share the work: the bits are the same for 1, 2, 3 and 8 of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hornbeam import config
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.native import lowered
from hornbeam.engines.native.llvm import SUPPORTED, Module
from hornbeam.engines.native.loops import CHUNK, Kernel
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import NODES, Node, param
from hornbeam.ir.primitive import ROWS
from hornbeam.ir.primitives import contract, index, movement, reduce
from hornbeam.ir.primitives.random import RANDOM_BITS
from hornbeam.ir.program import Program, evaluate
from tests.native.random_programs import random_array
from tests.native.test_rows import agree
from tests.rows.check import several
from tests.rows.samples import SAMPLES

F32, I32, U32, BOOL = dtypes.float32, dtypes.int32, dtypes.uint32, dtypes.bool_
WIDE = (3, CHUNK + 77)  # several units of a flat loop, the last of them not whole
WINDOWS = {"strides": (1, 2), "padding": ((1, 0), (0, 1)), "dilation": (2, 1)}

Case = tuple[Callable[..., Any], list[Spec]]  # what is computed, of parameters like these


def f32(*shape: int) -> Spec:
    return Spec(shape, F32)


def i32(*shape: int) -> Spec:
    return Spec(shape, I32)


def over(row: Any, dtype: Any = F32) -> list[Case]:
    """A reduction of short rows, of one long row, of few columns and of many, and of everything."""
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((40, 33), (1,)), ((2, 70_001), (1,)), ((40_000, 3), (0,)), ((5, 3000), (0,)), ((7, 11, 1300), (0, 1, 2)),
    ]  # fmt: skip
    return [(lambda x, axes=axes: row(x, axes=axes), [Spec(shape, dtype)]) for shape, axes in shapes]


def scattering(mode: str) -> Case:
    return lambda x, i, u: index.SCATTER(x, i, u, axis=1, mode=mode), [f32(20, 9, 5), i32(30, 1), f32(20, 30, 5)]


POOLED = contract.POOL_SUM.infer(f32(3, 9, 8, 5), window=(2, 3), **WINDOWS)
CONVOLVED = contract.CONV.infer(f32(3, 9, 8, 4), f32(2, 3, 4, 6), groups=1, **WINDOWS)

CASES: dict[str, list[Case]] = {
    "reshape": [(lambda x: x.transpose((1, 0)).reshape((CHUNK + 77, 3, 1)), [f32(*WIDE)])],
    "transpose": [(lambda x: movement.TRANSPOSE(x, axes=(2, 0, 1)), [f32(30, 70, 9)])],
    "broadcast": [(lambda x: movement.BROADCAST(x, shape=WIDE), [f32(3, 1)])],
    "reverse": [(lambda x: movement.REVERSE(x, axes=(0, 1)), [f32(*WIDE)])],
    "slice": [(lambda x: movement.SLICE(x, starts=(1, 3), limits=(3, 9000), strides=(1, 2)), [f32(3, 9000)])],
    "iota": [(lambda: movement.IOTA(shape=WIDE, axis=1, dtype=F32), [])],
    "pad": [(lambda x, v: movement.PAD(x, v, before=(1, 2), after=(0, 5), between=(1, 0)), [f32(*WIDE), f32()])],
    "concat": [(lambda x, y: movement.CONCAT(x, y, x, axis=0), [f32(*WIDE), f32(2, WIDE[1])])],
    "stop_gradient": [(lambda x: movement.STOP_GRADIENT(x) + 1, [f32(*WIDE)])],
    "sum": over(reduce.SUM),
    "prod": over(reduce.PROD, I32),
    "reduce_max": over(reduce.REDUCE_MAX),
    "reduce_min": over(reduce.REDUCE_MIN),
    "reduce_and": over(reduce.REDUCE_AND, BOOL),
    "reduce_or": over(reduce.REDUCE_OR, BOOL),
    "argmax": [(lambda x: reduce.ARGMAX(x, axis=1), [f32(30, 40, 3)])],
    "argmin": [(lambda x: reduce.ARGMIN(x, axis=0), [f32(30, 400)])],
    "cumsum": [(lambda x, a=a: reduce.CUMSUM(x, axis=a, reverse=a == 0), [f32(40, 50, 30)]) for a in (0, 1, 2)],
    "cumprod": [(lambda x, a=a: reduce.CUMPROD(x, axis=a, reverse=a == 0), [f32(20, 50, 30)]) for a in (0, 1, 2)],
    "argsort": [(lambda x: index.ARGSORT(x, axis=1, descending=True), [f32(30, 50, 3)])],
    "gather": [(lambda x, i: index.GATHER(x, i, axis=1), [f32(7, 9, 5), i32(40, 1)])],
    "scatter": [scattering(mode) for mode in ("add", "set", "mul", "min", "max")],
    "dynamic_slice": [(lambda x, i, j: index.DYNAMIC_SLICE(x, i, j, sizes=(40, 33)), [f32(50, 60), i32(), i32()])],
    "dot": [
        (contract.matmul, [f32(400, 300), f32(300, 500)]),
        (contract.matmul, [f32(6, 40, 30), f32(6, 30, 50)]),
        (contract.matmul, [f32(3, 5000), f32(5000, 2)]),
        (contract.matmul, [i32(300, 200), i32(200, 300)]),
    ],
    "conv": [
        (lambda x, k, g=g: contract.CONV(x, k, groups=g, **WINDOWS), [f32(3, 9, 8, 4), f32(2, 3, 4 // g, 8)])
        for g in (1, 2, 4)
    ],
    "conv_input_grad": [
        (lambda y, k: contract.CONV_INPUT_GRAD(y, k, shape=(9, 8), groups=1, **WINDOWS), [CONVOLVED, f32(2, 3, 4, 6)])
    ],
    "conv_kernel_grad": [
        (lambda x, y: contract.CONV_KERNEL_GRAD(x, y, shape=(2, 3), groups=1, **WINDOWS), [f32(3, 9, 8, 4), CONVOLVED])
    ],
    "pool_sum": [(lambda x: contract.POOL_SUM(x, window=(2, 3), **WINDOWS), [f32(3, 9, 8, 5)])],
    "pool_max": [(lambda x: contract.POOL_MAX(x, window=(2, 3), **WINDOWS), [f32(3, 9, 8, 5)])],
    "pool_spread": [(lambda y: contract.POOL_SPREAD(y, shape=(9, 8), window=(2, 3), **WINDOWS), [POOLED])],
    "pool_pick": [(lambda x, h: contract.POOL_PICK(x, h, window=(2, 3), **WINDOWS), [f32(3, 9, 8, 5)] * 2)],
    "pool_unpick": [
        (lambda x, y: contract.POOL_UNPICK(x, y, window=(2, 3), **WINDOWS), [f32(3, 9, 8, 5), POOLED])
    ],
    "random_bits": [(lambda key: RANDOM_BITS(key, shape=(20_001,)), [Spec((2,), U32)])],
}  # fmt: skip

ALONE = {
    "constant": "nothing is computed",
    "pick": "names a result",
    "custom_gradient": "names its operands",
    "dynamic_update_slice": "one copy, and one block over it",
    "call": "a body runs on one thread",
    "switch": "a body runs on one thread",
    "while": "a body runs on one thread",
    "scan": "a body runs on one thread",
}
"""Native rows of which one thread does all."""


def elementwise(name: str) -> list[Case]:
    """A map on large arrays, and one whose last operand is broadcast; operands as in its sample."""
    sample = next(s for s in SAMPLES if s.row.name == name)
    dtype = next(d for d in (F32, I32, BOOL) if d in sample.dtypes)
    specs = [Spec(WIDE, a.dtype) for a in sample.arrays(dtype, sample.shapes[0])]
    shapes = [specs] if len(specs) == 1 else [specs, [*specs[:-1], Spec(WIDE[1:], specs[-1].dtype)]]
    attrs = sample.attributes(specs)
    return [(lambda *xs: sample.row(*xs, **attrs), given) for given in shapes]


def native_rows() -> set[str]:
    """The rows that have native code for some dtype."""
    found = set()
    for sample in SAMPLES:
        for arrays, attrs in sample.cases([d for d in sample.dtypes if d.name in SUPPORTED][:1]):
            if not sample.row.effect and all(a.size for a in arrays):
                params = [param(Spec(a.shape, a.dtype)) for a in arrays]
                with interpreting(NODES):
                    program = Program(params, several(sample.row(*params, **attrs)))
                if sample.row.name not in found and not any(isinstance(s, Node) for s in steps(program)):
                    found.add(sample.row.name)
    return found


def steps(program: Program) -> list[Kernel | Node]:
    return Lowered.of(Module(), prepared(program), host(), TEMPLATES).steps


MAPS = sorted(n for n, row in ROWS.items() if row.kind == "map" and any(s.row.name == n for s in SAMPLES))


def test_no_native_row_is_left_out() -> None:
    assert native_rows() - {*MAPS, *CASES} == ALONE.keys() - {"pick"}
    assert CASES.keys() <= native_rows()


@pytest.mark.parametrize("name", sorted({*MAPS, *CASES} & native_rows()))
def test_the_same_bits_for_any_number_of_threads(name: str, monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(lowered, "WORTH_SHARING", 0)
    params: list[Node] = []
    results: list[Any] = []
    with interpreting(NODES):
        for function, specs in CASES.get(name) or elementwise(name):
            given = [param(s) for s in specs]
            params += given
            results += several(function(*given))
    program = Program(params, results, name=name)
    shared = [s for s in steps(program) if isinstance(s, Kernel) and s.units > 1]
    assert len(shared) >= len(results)
    rng = np.random.default_rng(0)
    values = [random_array(rng, p.spec) for p in params]
    with config.CACHE(str(tmp_path)):  # compiled once, and not for those who share as usual
        first = build(program, host(), 1).run(values)
        for got, want in zip(first, evaluate(program, values), strict=True):
            close(name, got, want)
        for threads in (2, 3, 8):
            executable = build(program, host(), threads)
            assert executable.threads == threads
            for _ in range(3):  # who does what differs
                for got, want in zip(executable.run(values), first, strict=True):
                    assert got.tobytes() == want.tobytes(), f"{threads} threads"


def close(name: str, got: np.ndarray, want: np.ndarray) -> None:
    """Right, too; what adds up as many as here is rounded in another order."""
    if got.dtype.kind == "f" and name in ("sum", "dot", "cumsum", "cumprod"):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-2)
    else:
        agree(got, want)
