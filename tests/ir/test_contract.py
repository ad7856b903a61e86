"""Contractions and windows: what the table of rows (``tests/rows``) does not show."""

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
from hornbeam.ir.primitives import contract
from hornbeam.ir.program import Program, evaluate
from tests.rows.check import agree, check_gradient

rng = np.random.default_rng(0)


def graph(function: Any, *arrays: np.ndarray) -> Program:
    params = [param(Spec(a.shape, a.dtype)) for a in arrays]
    with interpreting(NODES):
        return Program(params, [function(*params)])


def run(function: Any, *arrays: np.ndarray) -> np.ndarray:
    return evaluate(graph(function, *arrays), arrays)[0]


# -- matmul --------------------------------------------------------------------------------------------

SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((6, 5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((5, 2, 3), (5, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (1, 5, 3, 4)),
    ((1, 5, 2, 3), (6, 1, 3, 4)),
    ((7, 1, 5, 2, 3), (6, 5, 3, 4)),
    ((1, 1, 2, 3), (1, 3, 4)),
    ((0, 2, 3), (1, 3, 4)),
    ((2, 0), (0, 3)),
    ((5, 0, 3), (3, 2)),
    ((1, 1), (1, 1)),
]


@pytest.mark.parametrize("xs, ys", SHAPES, ids=str)
def test_matmul_is_numpys(xs: Any, ys: Any) -> None:
    x, y = rng.normal(size=xs), rng.normal(size=ys)
    program = graph(lambda x, y: x @ y, x, y)
    out = evaluate(program, [x, y])[0]
    assert out.shape == (x @ y).shape
    np.testing.assert_allclose(out, x @ y, rtol=1e-12, atol=1e-12)
    assert "broadcast" not in [n.primitive.name for n in program.nodes]
    check_gradient(program, [x, y])


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d not in dtypes.STORAGE_ONLY], ids=str)
def test_matmul_of_every_dtype(dtype: Any) -> None:
    x, y = rng.integers(0, 3, (4, 5)).astype(dtype), rng.integers(0, 3, (5, 3)).astype(dtype)
    out = run(lambda x, y: x @ y, x, y)
    assert out.dtype == dtype
    agree(out, x @ y if dtype.kind in "bc" else x.astype(np.float64) @ y.astype(np.float64), 4)


def test_a_dense_layer_is_one_dot_forward_and_two_backward() -> None:
    x, w = (param(Spec(s, dtypes.float32)) for s in ((8, 4, 16), (16, 32)))
    with interpreting(NODES):
        out = x @ w
    names = [n.primitive.name for n in Program([x, w], gradients([out], [x, w])).nodes]
    assert names.count("dot") == 2
    assert "transpose" not in names and "reshape" not in names


@pytest.mark.parametrize(
    "xs, ys, match",
    [
        ((2, 3), (4, 5), r"\(2, 3\) and \(4, 5\).*3 and 4 differ"),
        ((2, 3), (4, 3), r"swapaxes\(y"),
        ((3, 2), (3, 4), r"swapaxes\(x"),
        ((3,), (4,), "3 and 4"),
        ((), (3,), r"x \* y"),
        ((2, 2, 3), (4, 3, 2), "do not broadcast"),
    ],
)
def test_matmul_names_the_shapes_and_the_fix(xs: Any, ys: Any, match: str) -> None:
    with pytest.raises(ShapeError, match=match):
        run(lambda x, y: contract.matmul(x, y), np.zeros(xs), np.zeros(ys))


def test_dot_takes_one_dtype_and_no_bool() -> None:
    attrs: Any = {"batch": ((), ()), "contract": ((0,), (0,))}
    for a, b in ((np.float32, np.float64), (bool, bool)):
        with pytest.raises(DTypeError):
            run(lambda x, y: contract.DOT(x, y, **attrs), np.zeros(3, a), np.zeros(3, b))


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16], ids=str)
def test_half_precision_is_rounded_once(dtype: Any) -> None:
    ones = np.ones(4096, dtype)
    assert run(lambda x: x @ x, ones) == 4096  # summed in half precision it would stop growing at 2048 or 256
    x = np.ones((1, 64, 64, 1), dtype)
    k = np.ones((64, 64, 1, 1), dtype)
    attrs: Any = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    assert run(lambda x, k: contract.CONV(x, k, groups=1, **attrs), x, k) == 4096
    assert run(lambda x: contract.POOL_SUM(x, window=(64, 64), **attrs), x) == 4096


# -- convolution ---------------------------------------------------------------------------------------


def test_convolution_with_a_kernel_of_one_is_a_dot() -> None:
    x, k = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(1, 1, 5, 6))
    attrs: Any = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    np.testing.assert_allclose(run(lambda x, k: contract.CONV(x, k, **attrs), x, k), x @ k[0, 0], rtol=1e-12)


def test_transposed_convolution_keeps_a_remainder_of_the_strides() -> None:
    y, k = rng.normal(size=(1, 3, 2)), rng.normal(size=(2, 4, 2))
    attrs: Any = {"strides": (3,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    for size in (8, 9, 10):  # all of them have three windows
        assert run(lambda y, k, n=size: contract.CONV_INPUT_GRAD(y, k, shape=(n,), **attrs), y, k).shape == (1, size, 4)
    with pytest.raises(ShapeError, match=r"gives \(1, 4, 2\), not \(1, 3, 2\)"):
        run(lambda y, k: contract.CONV_INPUT_GRAD(y, k, shape=(11,), **attrs), y, k)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"strides": (0,)}, "strides"),
        ({"strides": (1, 1)}, "strides"),
        ({"dilation": (-1,)}, "dilation"),
        ({"padding": ((-1, 0),)}, "padding"),
        ({"padding": ((0, 1.5),)}, "1.5"),
        ({"padding": ((2**62, 0),)}, "2\\*\\*48"),
        ({"groups": 3}, "groups"),
        ({"groups": 0}, "groups"),
    ],
    ids=str,
)
def test_convolution_refuses_what_does_not_fit(change: Any, match: str) -> None:
    attrs: Any = {"strides": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1} | change
    with pytest.raises(ShapeError, match=match):
        run(lambda x, k: contract.CONV(x, k, **attrs), np.zeros((1, 5, 4)), np.zeros((2, 4, 4)))


def test_convolution_names_channels_that_differ() -> None:
    attrs: Any = {"strides": (1,), "padding": ((0, 0),), "dilation": (1,), "groups": 1}
    with pytest.raises(ShapeError, match=r"have 4 channels and kernels .* take 3"):
        run(lambda x, k: contract.CONV(x, k, **attrs), np.zeros((1, 5, 4)), np.zeros((2, 3, 4)))


# -- pooling -------------------------------------------------------------------------------------------

POOL: Any = {"window": (3,), "strides": (1,), "padding": ((1, 1),), "dilation": (1,)}


def column(*values: float) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(1, -1, 1)


def test_the_first_of_equal_maxima_takes_the_gradient() -> None:
    x = column(1, 5, 5, 1)
    program = graph(lambda x: contract.POOL_MAX(x, **POOL), x)
    (g,) = evaluate(Program(program.inputs, gradients(program.outputs, program.inputs)), [x])
    assert g.ravel().tolist() == [0, 3, 1, 0]


def test_padding_never_wins() -> None:
    x = column(-np.inf, -np.inf)
    h = column(3, 4)
    assert run(lambda x, h: contract.POOL_PICK(x, h, **POOL), x, h).ravel().tolist() == [3, 3]
    low = np.full((1, 2, 1), np.iinfo(np.int8).min, np.int8)
    assert run(lambda x, h: contract.POOL_PICK(x, h, **POOL), low, h).ravel().tolist() == [3, 3]


def test_a_window_of_padding_alone() -> None:
    attrs: Any = {"window": (1,), "strides": (2,), "padding": ((1, 1),), "dilation": (1,)}
    x = column(2, 3)
    assert run(lambda x: contract.POOL_MAX(x, **attrs), x).ravel().tolist() == [-np.inf, 3]
    assert run(lambda x: contract.POOL_PICK(x, x, **attrs), x).ravel().tolist() == [0, 3]
    assert run(lambda x: contract.POOL_SUM(x, **attrs), x).ravel().tolist() == [0, 3]


def test_nan_is_the_maximum() -> None:
    x, h = column(1, np.nan, 7, np.nan), column(1, 2, 3, 4)
    assert np.isnan(run(lambda x: contract.POOL_MAX(x, **POOL), x)).all()
    assert run(lambda x, h: contract.POOL_PICK(x, h, **POOL), x, h).ravel().tolist() == [2, 2, 2, 4]


def test_pooling_to_third_order() -> None:
    x = rng.permutation(24).reshape(1, 4, 3, 2) + 0.1 * rng.normal(size=(1, 4, 3, 2))
    attrs: Any = {"window": (2, 2), "strides": (1, 1), "padding": ((0, 1), (1, 0)), "dilation": (1, 1)}
    check_gradient(graph(lambda x: contract.POOL_MAX(x * x * x, **attrs), x / 10), [x / 10], order=3)
