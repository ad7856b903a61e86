"""Attention in blocks of queries: the same numbers as all at once, in memory that does not grow with their square."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.ops import attention

RANDOM = np.random.default_rng(0)
BATCH, TIMES, SOURCES, HEADS, DEPTH = 2, 11, 7, 4, 3


def normal(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("float32")


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "mask": {"mask": RANDOM.random((BATCH, 1, TIMES, SOURCES)) < 0.7},
    "mask of keys": {"mask": RANDOM.random((BATCH, 1, 1, SOURCES)) < 0.7, "is_causal": True},
    "bias": {"bias": normal(HEADS, TIMES, SOURCES)[None], "scale": 0.3},
    "bias of keys": {"bias": normal(SOURCES), "soft_cap": 2.0},
    "few keys": {"groups": 2, "bias": normal(TIMES, SOURCES), "is_causal": True},
}


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("rows", [1, 4, 11])
@pytest.mark.parametrize("name", CASES)
def test_blocks_give_the_same(name: str, rows: int, traced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(CASES[name])
    groups = options.pop("groups", HEADS)
    q, k, v = normal(BATCH, TIMES, HEADS, DEPTH), *(normal(BATCH, SOURCES, groups, d) for d in (DEPTH, 5))
    weights = normal(BATCH, TIMES, HEADS, 5)

    def loss(q: Any, k: Any, v: Any) -> Any:
        return hb.sum(hb.nn.dot_product_attention(q, k, v, **options) * weights)

    both = hb.value_and_grad(loss, argnums=(0, 1, 2))
    value, grads = both(q, k, v)
    monkeypatch.setattr(attention, "LARGE", 0)
    monkeypatch.setattr(attention, "BLOCK", rows * BATCH * HEADS * SOURCES * 4)
    in_blocks, grads_in_blocks = (hb.function(both) if traced else both)(q, k, v)
    np.testing.assert_allclose(in_blocks, value, rtol=1e-5)
    for got, want in zip(grads_in_blocks, grads, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_logits_are_never_there_at_once() -> None:
    times, heads = 4096, 4
    logits = heads * times * times * 4

    def loss(q: Any, k: Any, v: Any) -> Any:
        return hb.sum(hb.square(hb.nn.dot_product_attention(q, k, v, is_causal=True)))

    for fn in (hb.nn.dot_product_attention, hb.grad(loss, argnums=(0, 1, 2))):
        given = [hb.zeros((1, times, heads, 16))] * 3
        program = hb.function(fn).program(*given)
        assert hb.Session().executable(program).peak_bytes < logits / 2
