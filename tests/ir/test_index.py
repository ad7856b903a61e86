"""Gather, scatter and sorting: what the table of rows (``tests/rows``) does not show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ir.bind import interpreting
from hornbeam.ir.grad import gradients
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitives import index
from hornbeam.ir.program import Program, evaluate
from tests.rows.check import check_gradient, same_bits

rng = np.random.default_rng(0)


def graph(function: Any, *arrays: np.ndarray) -> Program:
    params = [param(Spec(a.shape, a.dtype)) for a in arrays]
    with interpreting(NODES):
        return Program(params, [function(*params)])


def run(function: Any, *values: Any) -> np.ndarray:
    arrays = [np.asarray(v) for v in values]
    return evaluate(graph(function, *arrays), arrays)[0]


def slopes(function: Any, *values: Any) -> list[np.ndarray]:
    """Gradients of the sum of the results, for the floating operands."""
    arrays = [np.asarray(v) for v in values]
    program = graph(function, *arrays)
    sources = [p for p in program.inputs if dtypes.is_inexact(p.dtype)]
    return evaluate(Program(program.inputs, gradients(program.outputs, sources)), arrays)


def scattering(mode: str) -> Any:
    return lambda x, i, u: index.SCATTER(x, i, u, axis=0, mode=mode)


AT = np.asarray([[1], [0], [1], [9], [-1]], np.int32)

# -- gradients of duplicates, ties and what is out of range ---------------------------------------------


def test_a_clamped_read_sends_its_gradient_where_it_read() -> None:
    for dtype in (np.int8, np.int32, np.int64):
        (g,) = slopes(lambda x, i: index.GATHER(x, i, axis=0), np.zeros(300), np.asarray([[-5], [100], [100]], dtype))
        assert (g[0], g[100], g.sum()) == (1, 2, 3)
    (g,) = slopes(lambda x, i: index.GATHER(x, i, axis=0), np.zeros(3), np.asarray([[200]], np.uint8))
    assert g.tolist() == [0, 0, 1]


def test_the_last_write_wins_and_takes_the_gradient() -> None:
    x, u = np.zeros(3), np.asarray([1.0, 2, 3, 4, 5])
    assert run(scattering("set"), x, AT, u).tolist() == [2, 3, 0]
    dx, du = slopes(scattering("set"), x, AT, u)
    assert dx.tolist() == [0, 0, 1]
    assert du.tolist() == [0, 1, 1, 0, 0]


def test_dropped_updates_have_gradient_zero() -> None:
    for mode in ("add", "mul", "min", "max"):
        _, du = slopes(scattering(mode), np.asarray([1.0, 2, 3]), AT, np.asarray([0.5, 4, 0.7, np.nan, np.inf]))
        assert du[3] == du[4] == 0


def test_products_with_zeros() -> None:
    dx, du = slopes(scattering("mul"), np.asarray([2.0, 3, 5]), AT, np.asarray([0.0, 7, 4, 1, 1]))
    assert dx.tolist() == [7, 0, 1]
    assert du[:3].tolist() == [12, 2, 0]
    _, du = slopes(scattering("mul"), np.asarray([2.0, 3, 5]), AT, np.asarray([0.0, 7, 0, 1, 1]))
    assert du[:3].tolist() == [0, 2, 0]


def test_ties_share_the_gradient() -> None:
    for mode in ("min", "max"):
        dx, du = slopes(scattering(mode), np.asarray([4.0, 1, 5]), AT, np.asarray([1.0, 4, 1, 0, 0]))
        assert dx.tolist() == [0.5, 1 / 3, 1]
        assert du[:3].tolist() == [1 / 3, 0.5, 1 / 3]


def test_many_ties_in_half_precision_do_not_overflow_their_count() -> None:
    n = 70_000
    dx, _ = slopes(
        lambda x, i, u: scattering("max")(x, i, u) * 1000,
        np.zeros(1, np.float16), np.zeros((n, 1), np.int32), np.zeros(n, np.float16),
    )  # fmt: skip
    np.testing.assert_allclose(dx.astype(float), 1000 / n, rtol=1e-2)


def test_half_precision_updates_are_added_in_float32() -> None:
    for dtype in (dtypes.float16, dtypes.bfloat16):
        out = run(scattering("add"), np.zeros(1, dtype), np.zeros((4096, 1), np.int32), np.ones(4096, dtype))
        assert out == 4096


def test_scatter_into_nothing() -> None:
    x, i, u = np.zeros((0, 2)), np.zeros((3, 1), np.int32), np.zeros((3, 2))
    for mode in ("set", "add", "mul", "min", "max"):
        assert run(scattering(mode), x, i, u).shape == (0, 2)
        assert (slopes(scattering(mode), x, i, u)[1] == 0).all()


def test_the_order_of_additions_is_that_of_the_updates() -> None:
    values = (rng.normal(size=1000) * 10.0 ** rng.integers(-6, 6, 1000)).astype(np.float32)
    want = np.float32(0)
    for v in values:
        want += v
    out = run(scattering("add"), np.zeros(2, np.float32), np.ones((1000, 1), np.int64), values)
    assert same_bits(out[1:], np.asarray([want]))


# -- what is refused --------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named() -> None:
    x = np.zeros((3, 2))
    with pytest.raises(DTypeError, match="integers"):
        run(lambda x, i: index.GATHER(x, i, axis=0), x, np.zeros((2, 1)))
    with pytest.raises(ShapeError, match="3 axes from axis 0"):
        run(lambda x, i: index.GATHER(x, i, axis=0), x, np.zeros((2, 3), np.int32))
    with pytest.raises(ShapeError, match="nothing to gather"):
        run(lambda x, i: index.GATHER(x, i, axis=0), x[:0], np.zeros((2, 1), np.int32))
    with pytest.raises(ShapeError, match=r"address \(2, 2\).*\n.*broadcast_to"):
        run(scattering("add"), x, np.zeros((2, 1), np.int32), np.zeros(2))
    with pytest.raises(ShapeError, match="'subtract'"):
        run(scattering("subtract"), x, np.zeros((2, 1), np.int32), x[:2])
    with pytest.raises(DTypeError, match="not defined for complex64"):
        run(scattering("max"), x.astype("c8"), np.zeros((2, 1), np.int32), x[:2].astype("c8"))
    with pytest.raises(ShapeError, match="does not fit"):
        run(lambda x: index.DYNAMIC_SLICE(x, x.sum().astype("int32"), x.sum().astype("int32"), sizes=(4, 1)), x)


# -- sorting and taking along --------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS], ids=str)
def test_sort_is_numpys(axis: int, dtype: Any) -> None:
    x = rng.integers(0, 5, (4, 6, 3)).astype(dtype)
    for descending in (False, True):
        want = np.sort(x, axis=axis)
        want = np.flip(want, axis) if descending else want
        assert same_bits(run(lambda x, d=descending: index.sort(x, axis, d), x), np.ascontiguousarray(want))


def test_nan_sorts_as_the_largest() -> None:
    x = np.asarray([3, np.nan, -np.inf, np.inf, 1], np.float32)
    for dtype in (np.float32, dtypes.bfloat16, np.float16):
        ascending = run(index.sort, x.astype(dtype)).astype(np.float32)
        np.testing.assert_array_equal(ascending, [-np.inf, 1, 3, np.inf, np.nan])
        descending = run(lambda x: index.sort(x, 0, True), x.astype(dtype)).astype(np.float32)
        np.testing.assert_array_equal(descending, ascending[::-1])


def test_sorting_carries_gradients_back() -> None:
    x = rng.permutation(12).reshape(3, 4) * 0.3
    check_gradient(graph(lambda x: index.sort(x * x, 0, True), x), [x])


@pytest.mark.parametrize(
    "xs, indices, axis",
    [
        ((3, 4), (2, 4), 0),
        ((3, 4), (3, 5), 1),
        ((3, 1, 4), (3, 2, 2), -1),
        ((1, 3), (2, 4), 1),
        ((5,), (0,), 0),
        ((0, 3), (0, 2), 1),
    ],
    ids=str,
)
def test_take_along_axis_is_numpys(xs: Any, indices: Any, axis: int) -> None:
    x = rng.normal(size=xs)
    for dtype in (np.int32, np.int64, np.int8, np.uint8):
        i = rng.integers(0 if dtype is np.uint8 else -xs[axis], max(xs[axis], 1), indices).astype(dtype)
        program = graph(lambda x, i: index.take_along_axis(x, i, axis), x, i)
        want = np.take_along_axis(x, i, axis)
        assert same_bits(evaluate(program, [x, i])[0], want)
        check_gradient(program, [x, i])


def test_take_along_axis_stays_in_its_line() -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert run(lambda x, i: index.take_along_axis(x, i, 1), x, [[9], [-9]]).tolist() == [[2], [3]]
    with pytest.raises(ShapeError, match="as many axes"):
        run(lambda x, i: index.take_along_axis(x, i, 1), x, [0])
    with pytest.raises(DTypeError, match="integers"):
        run(lambda x, i: index.take_along_axis(x, i, 1), x, [[0.5]])
    with pytest.raises(ShapeError, match="nothing to take"):
        run(lambda x, i: index.take_along_axis(x, i, 1), x[:, :0], [[0]])
