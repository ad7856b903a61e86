"""Products against NumPy: sizes, layouts, widths; and bits that depend on the shape alone."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from itertools import product as every
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.engines.native import jit
from hornbeam.engines.native.llvm import Function, Module, Value
from hornbeam.engines.native.target import Target, host, multiplies_pairs
from hornbeam.engines.native.templates import gemm

rng = np.random.default_rng(0)


def normal(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    if np.dtype(dtype).kind in "iu":
        return rng.integers(0, 100, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def guarded(array: np.ndarray, order: str = "C", gap: int = 0) -> np.ndarray:
    """A copy in memory of its own, in a layout: C, F (last two axes turned) or S (every axis strided)."""
    shape = array.shape
    if order == "C":
        view = np.empty((*shape[:-1], shape[-1] + gap), array.dtype)[..., : shape[-1]]
    elif order == "F":
        view = np.empty((*shape[:-2], shape[-1], shape[-2] + gap), array.dtype).swapaxes(-1, -2)[..., : shape[-2], :]
    else:
        view = np.empty((*shape[:-2], 3 * shape[-2], 2 * shape[-1]), array.dtype)[..., ::3, ::2]
    view[...] = array
    return view


def strides(x: np.ndarray) -> gemm.Strides:
    items = [0 if d == 1 else s // x.itemsize for d, s in zip(x.shape, x.strides)]
    return gemm.Strides(tuple(items[:-2]), items[-2], items[-1])


def described(a: np.ndarray, b: np.ndarray, c: np.ndarray, **options: Any) -> gemm.Product:
    return gemm.Product(
        a.shape[-2], b.shape[-1], a.shape[-1], strides(a), strides(b), strides(c), c.shape[:-2], a.dtype,
        None if c.dtype == a.dtype else c.dtype, **options,
    )  # fmt: skip


def run(p: gemm.Product, a: np.ndarray, b: np.ndarray, c: np.ndarray, target: Target, **options: Any) -> None:
    """Every chunk of every phase, the last first: chunks are independent of one another."""
    extra = options.pop("arrays", ())
    module = Module()
    code = gemm.emit(module, "g", p, target, **options)
    if not code.phases:
        return
    kernel = jit.load(jit.compile(str(module), target), [phase.name for phase in code.phases])
    scratch = np.full(code.scratch + 128, 0xFF, np.uint8)
    at = scratch.ctypes.data + -scratch.ctypes.data % 64
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (4 + len(extra)), ctypes.c_int64)
    for phase in code.phases:
        for chunk in reversed(range(phase.chunks)):
            pointers = [x.ctypes.data for x in (a, b, c)]
            call(kernel[phase.name])(*pointers, *(x.ctypes.data for x in extra), at, chunk)
    assert (scratch[at - scratch.ctypes.data + code.scratch :] == 0xFF).all()


def multiply(a: Any, b: Any, target: Target | None = None, order: str = "C", **options: Any) -> np.ndarray:
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = options.pop("out", a.dtype)
    c = guarded(np.full((*batch, a.shape[-2], b.shape[-1]), 77, out), order, 5 if order != "C" else 0)
    how = options.pop("how", None)
    p = described(np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:])), c)
    run(p, a, b, c, target or host(), how=how and how(p), **options)
    return c


def close(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    a, b = a.astype(np.float64), b.astype(np.float64)
    eps = {2: 2**-8, 4: 2**-23, 8: 2**-52}[c.dtype.itemsize]
    bound = eps * (4 + a.shape[-1] ** 0.5) * (np.abs(a) @ np.abs(b)) + 1e-300
    assert (np.abs(c.astype(np.float64) - a @ b) <= bound).all()


SIZES = [
    (1, 1, 1), (1, 1, 100), (1, 17, 5), (17, 1, 5), (1, 70, 40), (70, 1, 40), (1, 33, 1000), (2, 3, 4), (5, 2, 9),
    (14, 32, 8), (15, 33, 7), (29, 65, 31), (64, 64, 64), (128, 10, 130), (10, 128, 33), (3, 200, 50), (200, 3, 50),
    (61, 47, 300), (100, 96, 1),
]  # fmt: skip


LAYOUTS = [(np.float32, "CC"), (np.float64, "CF"), (np.float32, "FC"), (np.float32, "FF"), (np.float64, "SS")]


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes_and_layouts(size, lanes):
    m, n, k = size
    target = host().with_lanes(lanes)
    turn = (SIZES.index(size) + lanes) % len(LAYOUTS)
    for dtype, layout in (LAYOUTS[turn], LAYOUTS[turn - 2]):
        a, b = normal((m, k), dtype), normal((k, n), dtype)
        out = "S" if layout == "SS" else "C" if lanes != 8 else "F"
        close(multiply(guarded(a, layout[0]), guarded(b, layout[1]), target, out), a, b)


@pytest.mark.parametrize("size", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 4, 0), (4, 1, 0), (0, 0, 0)], ids=str)
def test_empty(size):
    m, n, k = size
    assert (multiply(normal((m, k)), normal((k, n))) == 0).all()


@pytest.mark.parametrize("size", [(33, 70, 50), (1, 70, 5), (40, 1, 64), (9, 9, 20000), (1, 3, 9000)], ids=str)
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_bits_depend_on_the_shape_alone(size, lanes):
    """Not on strides, on the plan, nor on the vector width."""
    m, n, k = size
    a, b = normal((m, k)), normal((k, n))
    expected = multiply(a, b)
    target = host().with_lanes(lanes)
    for x, y, z in ("CCC", "CFC", "FCF", "SSC"):
        c = multiply(guarded(a, x), guarded(b, y), target, z)
        np.testing.assert_array_equal(np.ascontiguousarray(c).view(np.uint32), expected.view(np.uint32))


PLANS = [
    {"mr": m, "nv": v, "kc": k, "pack_a": a, "pack_b": b, "swap": s}
    for m, v, k in ((3, 1, 16), (5, 2, 40), (1, 3, 7), (20, 1, 64))
    for a, b, s in every((False, True), repeat=3)
]


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("options", PLANS, ids=str)
def test_every_plan_gives_the_same_bits(options, dtype):
    a, b = normal((2, 41, 64), dtype), normal((2, 64, 53), dtype)

    def how(p: gemm.Product) -> gemm.Plan:
        chosen = replace(gemm.plan(p, host()), **options)
        own_b = chosen.own_b and chosen.pack_b
        return replace(chosen, mb=2 * chosen.mr, nb=2 * chosen.nv * chosen.lanes, own_b=own_b)

    expected = multiply(a, b)
    for x, y, z in ("CCC", "FCF", "CFC"):
        np.testing.assert_array_equal(multiply(guarded(a, x), guarded(b, y), how=how, order=z), expected)


BATCHES = [((5,), (5,)), ((7, 3), (7, 3)), ((6,), (1,)), ((1,), (6,)), ((2, 3), (2, 1)), ((100,), (100,))]


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("size", [(4, 4, 4), (1, 20, 8), (20, 1, 8), (30, 40, 10), (30, 8, 40)], ids=str)
def test_batches(batch, size):
    m, n, k = size
    a, b = normal((*batch[0], m, k)), normal((*batch[1], k, n))
    close(multiply(a, b), a, b)
    close(multiply(a, guarded(b, "F")), a, b)


def test_large_enough_for_blocks_and_chunks():
    a, b = normal((200, 3000)), normal((3000, 150))
    code = gemm.emit(Module(), "g", described(a, b, np.empty((200, 150), np.float32)), host())
    assert sum(phase.chunks for phase in code.phases) > 8
    close(multiply(a, b), a, b)
    close(multiply(guarded(a, "F"), guarded(b, "F")), a, b)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16])
@pytest.mark.parametrize("size", [(33, 17, 40), (1, 40, 20), (3, 2, 5000)], ids=str)
def test_integers_wrap(dtype, size):
    m, n, k = size
    a, b = normal((m, k), dtype), normal((k, n), dtype)
    for x, y in ("CC", "FF"):
        np.testing.assert_array_equal(multiply(guarded(a, x), guarded(b, y)), a @ b)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize(
    "size", [(33, 70, 500), (1, 40, 200), (40, 1, 200), (128, 10, 64), (3, 3, 5000), (90, 100, 5001)], ids=str
)
def test_half_precision_adds_in_float32(dtype, size):
    m, n, k = size
    a, b = normal((m, k), dtype), normal((k, n), dtype)
    for x, y, out in (("C", "C", dtype), ("F", "F", dtype), ("C", "F", np.float32)):
        c = multiply(guarded(a, x), guarded(b, y), out=np.dtype(out))
        wide = a.astype(np.float32).astype(np.float64) @ b.astype(np.float32).astype(np.float64)
        expected = wide.astype(np.float32).astype(out).astype(np.float64)
        tolerance = {ml_dtypes.bfloat16: 2**-7, np.float16: 2**-10, np.float32: 2**-20}[out]
        assert (np.abs(c.astype(np.float64) - expected) <= tolerance * np.abs(expected) + 1e-3).all()


BFLOAT16 = ml_dtypes.bfloat16
PAIRED = [(2, 3, 4), (5, 2, 9), (15, 33, 7), (29, 65, 31), (64, 64, 64), (200, 3, 50), (61, 47, 301), (100, 96, 1),
          (9, 9, 20001), (90, 100, 5001), (300, 40, 65), (33, 300, 130)]  # fmt: skip
pairs_run = pytest.mark.skipif(not host().has("avx512bf16"), reason="this CPU has no vdpbf16ps")


def paired(lanes: int = 16) -> Target:
    return replace(host().with_lanes(lanes), bf16_dot=True)


def test_pairs_are_for_cpus_on_which_they_are_faster():
    able = dict.fromkeys(("avx512bf16", "avx512vl"), True)
    assert multiplies_pairs("znver5", able) and not multiplies_pairs("znver4", {})
    assert not multiplies_pairs("emeraldrapids", able)
    product = described(*(np.empty((40, 40), BFLOAT16) for _ in range(3)))
    assert not gemm.plan(product, replace(host(), bf16_dot=False)).pairs
    assert gemm.plan(product, replace(host().with_lanes(8), bf16_dot=True)).pairs
    assert not gemm.plan(product, replace(host().with_lanes(1), bf16_dot=True)).pairs
    assert not gemm.plan(replace(product, dtype=dtypes.float16), replace(host(), bf16_dot=True)).pairs


@pairs_run
@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("size", PAIRED, ids=str)
def test_pairs_of_bfloat16_give_the_same_bits(size, lanes):
    """The instruction adds the upper halves first, then the lower: one chain over k, as without it."""
    m, n, k = size
    a, b = normal((m, k), BFLOAT16), normal((k, n), BFLOAT16)
    p = described(a, b, np.empty((m, n), BFLOAT16))
    assert gemm.plan(p, paired(lanes)).pairs
    expected = multiply(a, b, replace(host(), bf16_dot=False))
    for x, y, z in ("CCC", "CFC", "FCF", "FFC", "SSC"):
        c = multiply(guarded(a, x), guarded(b, y), paired(lanes), z)
        np.testing.assert_array_equal(np.ascontiguousarray(c).view(np.uint16), expected.view(np.uint16))


@pairs_run
@pytest.mark.parametrize("options", [o for o in PLANS if o["pack_a"] and o["pack_b"]], ids=str)
@pytest.mark.parametrize("own_b", [False, True])
def test_every_plan_of_pairs_gives_the_same_bits(options, own_b):
    a, b = normal((2, 41, 67), BFLOAT16), normal((2, 67, 53), BFLOAT16)

    def how(p: gemm.Product) -> gemm.Plan:
        chosen = replace(gemm.plan(p, paired()), **options, own_b=own_b)
        return replace(chosen, mb=2 * chosen.mr, nb=2 * chosen.nv * chosen.lanes)

    expected = multiply(a, b, replace(host(), bf16_dot=False))
    for x, y, z in ("CCC", "FCF", "CFC"):
        np.testing.assert_array_equal(multiply(guarded(a, x), guarded(b, y), paired(), how=how, order=z), expected)


@pairs_run
@pytest.mark.parametrize("batch", [((5,), (5,)), ((6,), (1,)), ((2, 3), (2, 1))], ids=str)
def test_pairs_in_batches_added_to_c_with_an_epilogue(batch):
    a, b = normal((*batch[0], 30, 41), BFLOAT16), normal((*batch[1], 41, 10), BFLOAT16)
    expected = multiply(a, b, replace(host(), bf16_dot=False))
    np.testing.assert_array_equal(multiply(a, b, paired()), expected)

    def double(f: Function, value: Value, *place: Value | None) -> Value:
        return f.add(value, value)

    for order in "CF":
        c = guarded(normal(expected.shape), order)
        before = c.copy()
        x, y = (np.broadcast_to(v, (*expected.shape[:-2], *v.shape[-2:])) for v in (a, b))
        run(described(x, y, c, accumulate=True), a, b, c, paired(), epilogue=double)
        exact = before + a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_allclose(c, 2 * exact, rtol=1e-5, atol=1e-4)


@pairs_run
def test_pairs_of_infinities_nan_and_subnormals():
    a, b = normal((20, 37), BFLOAT16), normal((37, 20), BFLOAT16)
    a[3, 36], b[7, 2], a[11, 0] = np.inf, np.nan, -np.inf
    expected = a.astype(np.float64) @ b.astype(np.float64)
    for x, y in every("CF", repeat=2):
        c = multiply(guarded(a, x), guarded(b, y), paired()).astype(np.float32)
        np.testing.assert_array_equal(np.isnan(c), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(c), np.isinf(expected))
    tiny = np.full((3, 5), 1e-39, BFLOAT16)
    assert not multiply(tiny, np.ones((5, 4), BFLOAT16), paired()).any()
    assert multiply(tiny, np.ones((5, 4), BFLOAT16), replace(host(), bf16_dot=False)).all()


@pytest.mark.parametrize("size", [(33, 70, 50), (1, 70, 50), (70, 1, 50), (9, 9, 20000), (30, 30, 3000)], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
def test_accumulate_and_epilogue(size, order):
    m, n, k = size
    a, b, bias = normal((m, k)), normal((k, n)), normal((n,))
    c = guarded(normal((m, n)), order)
    before = c.copy()

    def epilogue(f: Function, value: Value, batch: Value, row: Value, column: Value, mask: Value | None) -> Value:
        shift = f.load(f.address("%bias", column, dtypes.float32), dtypes.float32, value.width, mask)
        return f.add(f.mul(value, f.constant(2, dtypes.float32)), shift)

    run(described(a, b, c, accumulate=True), a, b, c, host(), epilogue=epilogue, extra=("bias",), arrays=(bias,))
    expected = 2 * (before + a.astype(np.float64) @ b) + bias
    np.testing.assert_allclose(c, expected, rtol=1e-4, atol=1e-4 * k**0.5)


def test_nothing_is_written_or_read_beyond():
    """NaN around every operand does not reach C, and what surrounds C stays."""
    for m, n, k in [(15, 33, 7), (3, 5, 20), (1, 21, 19), (21, 1, 19)]:
        whole = [np.full((s[0] + 8, s[1] + 8), np.nan, np.float32) for s in ((m, k), (k, n), (m, n))]
        a, b, c = (w[4:-4, 4:-4] for w in whole)
        a[...], b[...] = normal((m, k)), normal((k, n))
        for x, y in ((a, b), (guarded(a, "F"), guarded(b, "F"))):
            c[...] = 0
            run(described(x, y, c), x, y, c, host())
            close(c, a, b)
            c[...] = np.nan
            assert np.isnan(whole[2]).all()


def test_infinities_and_nan_pass_through():
    a, b = normal((20, 37)), normal((37, 20))
    a[3, 5], b[7, 2], a[11, 0] = np.inf, np.nan, -np.inf
    expected = a.astype(np.float64) @ b.astype(np.float64)
    for x, y in every("CF", repeat=2):
        c = multiply(guarded(a, x), guarded(b, y))
        np.testing.assert_array_equal(np.isnan(c), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(c), np.isinf(expected))
