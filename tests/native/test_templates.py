"""Templates at sizes that the rows' samples do not have: several vectors, long lines, ties, every kind of number."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.native.llvm import HALF
from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.target import host
from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitives import contract, index, reduce
from hornbeam.ir.program import Program, evaluate
from tests.native.test_rows import agree

LANES = (1, 4, 16)
SUMMED = [*((lanes, dtypes.float32) for lanes in LANES), (4, dtypes.bfloat16), (16, dtypes.float16)]


def check(row: Any, values: list[np.ndarray], lanes: int, **attrs: Any) -> None:
    """What the reference gives; to the bit in half precision, so the sums of ``values`` should be exact."""
    params = [param(Spec(v.shape, v.dtype)) for v in values]
    with interpreting(NODES):
        program = Program(params, [row(*params, **attrs)])
    executable = build(program, host().with_lanes(lanes))
    assert not executable.host_steps
    got, want = executable.run(values)[0], evaluate(program, values)[0]
    agree(got, want)
    if want.dtype in HALF:
        np.testing.assert_array_equal(got.astype(np.float32), want.astype(np.float32))


def numbers(seed: int, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Small whole numbers: exact sums, and many ties."""
    low = 0 if np.dtype(dtype).kind == "u" else -4
    return np.asarray(np.random.default_rng(seed).integers(low, 5, shape)).astype(dtype)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("dtype", dtypes.INTEGERS + dtypes.FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("length", [101, 303])
def test_argsort(length: int, dtype: Any, lanes: int) -> None:
    x = numbers(0, (3, length, 2), dtype)
    if dtypes.is_floating(dtype):
        x[0, ::7] = np.nan
        x[0, 1::7] = -np.array(np.nan, dtype)
        x[1, ::5] = -0.0
        x[1, 1::5] = -np.inf
        x[2, ::9] = np.inf
    else:
        x[1, ::5] = np.iinfo(dtype).min
        x[2, ::9] = np.iinfo(dtype).max
    for descending in (False, True):
        check(index.ARGSORT, [x], lanes, axis=1, descending=descending)


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 255, 256, 4097])
def test_argsort_of_long_lines(n: int) -> None:
    for dtype in (np.float32, np.float64, np.int16):
        for descending in (False, True):
            check(index.ARGSORT, [numbers(n, (2, n), dtype)], 16, axis=1, descending=descending)
            far = np.random.default_rng(n).normal(size=(2, n)) * 1e4
            check(index.ARGSORT, [far.astype(dtype)], 16, axis=1, descending=descending)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("shape", [(3, 5, 70), (2, 40), (16, 33), (1, 3, 257), (130,)])
def test_cumulative(shape: tuple[int, ...], lanes: int) -> None:
    x = numbers(1, shape)
    for axis, reverse in itertools.product(range(len(shape)), (False, True)):
        check(reduce.CUMSUM, [x], lanes, axis=axis, reverse=reverse)
        check(reduce.CUMPROD, [np.sign(x)], lanes, axis=axis, reverse=reverse)


WINDOWS = [  # spatial, window, strides, padding, dilation
    ((9,), (3,), (1,), ((1, 1),), (1,)),
    ((7, 8), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    ((7, 8), (3, 3), (2, 2), ((1, 1), (0, 2)), (1, 1)),
    ((6, 9), (3, 2), (1, 3), ((4, 3), (0, 0)), (2, 1)),
    ((11, 3), (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1)),
    ((3, 4, 5), (2, 3, 1), (1, 2, 2), ((0, 1), (1, 1), (2, 0)), (2, 1, 1)),
]


def wide_numbers(seed: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Numbers whose products and sums are exact in float32 and, but for small ones, not in half precision."""
    return 33 * numbers(seed, shape, dtype) if np.dtype(dtype).itemsize == 2 else numbers(seed, shape, dtype)


@pytest.mark.parametrize(("lanes", "dtype"), SUMMED)
@pytest.mark.parametrize("channels", [1, 5, 16, 70])
@pytest.mark.parametrize("case", WINDOWS, ids=lambda c: f"{c[0]}-{c[1]}")
def test_pooling(case: Any, channels: int, lanes: int, dtype: Any) -> None:
    spatial, window, strides, padding, dilation = case
    attrs = {"window": window, "strides": strides, "padding": padding, "dilation": dilation}
    x, h = (wide_numbers(seed, (2, *spatial, channels), dtype) for seed in (2, 3))
    x[0, 1] = np.nan
    count = contract.windows_shape("pool", spatial, window, strides, padding, dilation)
    y = wide_numbers(4, (2, *count, channels), dtype)
    check(contract.POOL_SUM, [h], lanes, **attrs)
    check(contract.POOL_MAX, [x], lanes, **attrs)
    check(contract.POOL_SPREAD, [y], lanes, shape=spatial, **attrs)
    check(contract.POOL_PICK, [x, h], lanes, **attrs)
    check(contract.POOL_UNPICK, [x, y], lanes, **attrs)


@pytest.mark.parametrize(("lanes", "dtype"), SUMMED)
@pytest.mark.parametrize(
    ("channels", "groups", "features"), [(6, 6, 6), (20, 20, 40), (6, 3, 9), (70, 70, 70), (4, 1, 3), (32, 2, 32)]
)
@pytest.mark.parametrize("case", WINDOWS, ids=lambda c: f"{c[0]}-{c[1]}")
def test_convolution(case: Any, channels: int, groups: int, features: int, lanes: int, dtype: Any) -> None:
    spatial, window, strides, padding, dilation = case
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    count = contract.windows_shape("conv", spatial, window, strides, padding, dilation)
    x, y = wide_numbers(5, (3, *spatial, channels), dtype), wide_numbers(6, (3, *count, features), dtype)
    k = numbers(7, (*window, channels // groups, features), dtype)
    check(contract.CONV, [x, k], lanes, **attrs)
    check(contract.CONV_INPUT_GRAD, [y, k], lanes, shape=spatial, **attrs)
    check(contract.CONV_KERNEL_GRAD, [x, y], lanes, shape=window, **attrs)


def test_the_kernel_s_gradient_of_a_long_line() -> None:
    """The cotangent is larger than a cache, which a product on its own would copy a panel at a time."""
    attrs = {"strides": (10,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    x, y = numbers(5, (1, 40_000, 1)), numbers(6, (1, 3986, 100))
    for lanes in LANES:
        check(contract.CONV_KERNEL_GRAD, [x, y], lanes, shape=(150,), **attrs)


@pytest.mark.parametrize(("lanes", "dtype"), SUMMED)
@pytest.mark.parametrize("mode", ["add", "mul", "set", "max", "min"])
def test_scatter(mode: str, lanes: int, dtype: Any) -> None:
    """Many updates of one place: rounding each would lose most of them."""
    places = np.random.default_rng(8).integers(-1, 4, (2000, 1)).astype(np.int32)
    x, updates = wide_numbers(9, (3, 4, 21), dtype), wide_numbers(10, (3, 2000, 21), dtype)
    if mode == "mul":
        x, updates = np.sign(x), np.sign(updates) * np.array(1, dtype)
        updates[updates == 0] = 1
    check(index.SCATTER, [x, places, updates], lanes, axis=1, mode=mode)


LARGE = [  # shape, axes: split into parts, or with axes before, between and behind those that are kept
    ((70001, 3), (0,)), ((2, 70001), (1,)), ((3, 300, 400, 5), (1, 2)), ((65536,), (0,)), ((7, 40000, 2), (0, 1)),
    ((40, 1, 3000, 1, 2), (0, 2)), ((5, 6, 7, 8), (1,)), ((5, 6, 7, 8), (0, 2)), ((5, 6, 7, 8), (1, 3)),
    ((3, 70000), (0,)), ((5, 6, 7, 8), (0, 1, 3)), ((9, 1, 1, 70), (1, 2)), ((9, 70, 1), (0,)), ((300, 300), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("shape", "axes"), LARGE)
def test_reduction(shape: tuple[int, ...], axes: tuple[int, ...], lanes: int) -> None:
    for dtype in (np.float32, np.float16, np.int32):
        x = numbers(8, shape, dtype)
        for row in (reduce.SUM, reduce.REDUCE_MAX):
            check(row, [x], lanes, axes=axes)
    check(reduce.REDUCE_AND, [x > -4], lanes, axes=axes)


@pytest.mark.parametrize("dtype", dtypes.INTEGERS, ids=str)
@pytest.mark.parametrize(("shape", "axes"), [((2,), ()), ((3, 5), (1,)), ((5, 3), (0,)), ((40,), (0,))])
def test_extrema_of_integers(shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any) -> None:
    """Lanes that are left over hold the largest number, or the least."""
    for lanes in LANES:
        for row in (reduce.REDUCE_MIN, reduce.REDUCE_MAX):
            check(row, [numbers(11, shape, dtype)], lanes, axes=axes)


def test_parts_are_fused_with_what_they_read() -> None:
    """A long row is read once, for its sum and for what is stored beside it."""
    x, y = param(Spec((300, 300), dtypes.float32)), param(Spec((300, 300), dtypes.float32))
    values = [numbers(seed, (300, 300)) for seed in (9, 10)]
    with interpreting(NODES):
        product = x * y
        mean = reduce.SUM(product, axes=(0, 1)) / 90000
        program = Program([x, y], [product, mean, mean * 2])
    for lanes in LANES:
        results = build(program, host().with_lanes(lanes)).run(values)
        for got, want in zip(results, evaluate(program, values), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-6)
