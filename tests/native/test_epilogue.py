"""Products that go on with the loop that reads them: the same bits as in two kernels, and nothing kept between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.native import fuse
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.ir.program import Program, evaluate
from hornbeam.runtime.trace import trace

Shapes = list[tuple[int, ...]]


def relu_layer(x: Any, w: Any, b: Any) -> Any:
    y = x @ w + b
    return hb.where(y > 0, y, 0.0), y > 0  # a result, and a mask of bools


def gelu_layer(x: Any, w: Any, b: Any) -> Any:
    return hb.nn.gelu(x @ w + b)


def residual(x: Any, w: Any, b: Any, y: Any) -> Any:
    return y + (x @ w + b) * 0.5


def masked(x: Any, w: Any, b: Any, mask: Any) -> Any:
    return hb.where(mask > 0, (x @ w) * b, 0.0)


def heads(x: Any, w: Any, b: Any) -> Any:
    return hb.tanh(hb.einsum("bti,ihd->bthd", x, w) + b)


def scores(q: Any, k: Any, bias: Any) -> Any:
    return hb.einsum("bthd,bshd->bhts", q, k) * 0.25 + bias


def turned(x: Any, w: Any, b: Any) -> Any:
    return hb.exp(x.T @ w.T - b)


CASES: list[tuple[Callable[..., Any], Shapes]] = [
    *((relu_layer, [(m, k), (k, n), (n,)]) for m, k, n in [(1, 5, 7), (5, 1, 3), (33, 64, 17), (128, 300, 70)]),
    *((gelu_layer, [(m, k), (k, n), (n,)]) for m, k, n in [(2, 3, 2), (100, 8, 500), (7, 5000, 9), (300, 40, 2)]),
    (gelu_layer, [(3, 2, 40, 24), (24, 35), (35,)]),
    (residual, [(37, 20), (20, 19), (19,), (37, 19)]),
    (residual, [(2, 6, 20), (20, 19), (19,), (6, 1)]),
    (masked, [(64, 9), (9, 130), (64, 1), (64, 130)]),
    (heads, [(3, 5, 12), (12, 4, 3), (4, 3)]),
    (scores, [(2, 9, 3, 8), (2, 17, 3, 8), (3, 9, 17)]),
    (scores, [(2, 9, 3, 8), (2, 17, 3, 8), (2, 1, 1, 17)]),
    (turned, [(50, 31), (40, 50), (40,)]),
    (turned, [(64, 200), (6, 64), (6,)]),
]


def traced(fn: Callable[..., Any], shapes: Shapes, dtype: Any = dtypes.float32) -> Program:
    return trace(fn, [Spec(s, dtype) for s in shapes], "test").program


def arrays(shapes: Shapes, dtype: Any = dtypes.float32) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(rng.normal(size=s) * 0.5).astype(dtype) for s in shapes]


def run(program: Program, given: list[np.ndarray], lanes: int | None = None, threads: int = 1) -> list[np.ndarray]:
    target = host() if lanes is None else host().with_lanes(lanes)
    return build(program, target, threads).run(given)


def apart(program: Program, given: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """In two kernels."""
    with monkeypatch.context() as patch:
        patch.setattr(fuse, "MAX_EPILOGUE", 0)
        patch.setenv("HORNBEAM_CACHE", "0")
        assert len(Fusion(prepared(program), TEMPLATES).clusters) == 2
        return run(program, given)


@pytest.fixture(autouse=True)
def no_cache() -> Any:
    with hb.config.CACHE("0"):
        yield


@pytest.mark.parametrize(("fn", "shapes"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_the_bits_of_two_kernels(fn: Any, shapes: Shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    program, given = traced(fn, shapes), arrays(shapes)
    (cluster,) = Fusion(prepared(program), TEMPLATES).clusters
    assert cluster.kind == "block" and cluster.columns
    expected = apart(program, given, monkeypatch)
    for lanes, threads in [(None, 1), (None, 3), (1, 1), (4, 2), (8, 1)]:
        for got, want in zip(run(program, given, lanes, threads), expected, strict=True):
            assert got.tobytes() == want.tobytes(), (lanes, threads)
    for got, want in zip(expected, evaluate(program, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", [dtypes.float64, dtypes.bfloat16, dtypes.float16], ids=lambda d: d.name)
def test_other_dtypes_round_the_product_first(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: Shapes = [(33, 64), (64, 17), (17,)]
    program, given = traced(relu_layer, shapes, dtype), arrays(shapes, dtype)
    for got, want in zip(run(program, given), apart(program, given, monkeypatch), strict=True):
        assert got.tobytes() == want.tobytes()


def clusters(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> list[str]:
    return [c.kind for c in Fusion(prepared(traced(fn, list(shapes))), TEMPLATES).clusters]


def test_what_is_needed_besides_keeps_its_kernel() -> None:
    square = (32, 32)
    # The product itself is a result; it is read twice; its rows are summed; the loop goes over another shape.
    assert clusters(lambda x, w: (x @ w, hb.tanh(x @ w)), square, square) == ["block", "loop"]
    assert clusters(lambda x, w: hb.tanh(x @ w) @ (x @ w), square, square).count("loop") == 1
    assert clusters(lambda x, w: hb.nn.softmax(x @ w), square, square) == ["block", "loop"]
    assert clusters(lambda x, w: hb.tanh(hb.sum(x @ w, axis=1)), square, square) == ["block", "loop"]
    assert clusters(lambda x, w: hb.tanh((x @ w).T), square, square) == ["block", "loop"]
    # What is read along a product's columns does not lie along them.
    assert clusters(heads, (3, 5, 12), (12, 4, 3), (3,)) == ["block", "loop"]


def test_of_two_products_one_goes_on() -> None:
    found = clusters(lambda x, w, v: hb.tanh(x @ w + x @ v), (32, 32), (32, 16), (32, 16))
    assert found == ["block", "block"]


def test_a_slot_is_not_written_before_it_is_read() -> None:
    w = hb.Variable(np.ones((64, 64), "float32"))

    @hb.function
    def step(x: Any) -> None:
        w.assign(w - 0.1 * (x.T @ x))

    x = np.random.default_rng(0).normal(size=(5, 3000, 64)).astype("float32") / 50
    want = w.numpy()
    for part in x:
        want = want - 0.1 * (part.T @ part)
    step.over_rows(range(0, 15000, 3000), x.reshape(15000, 64))
    np.testing.assert_allclose(w.numpy(), want, rtol=1e-4, atol=1e-4)
