"""Gradients held to finite differences, eagerly and traced, to second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import hornbeam as hb
from hornbeam.runtime.tensor import as_tensor


def by_differences(f: Callable[..., Any], args: list[np.ndarray], step: float = 1e-5) -> list[np.ndarray]:
    """d f / d arg for each of ``args``, f returning a number."""
    grads = []
    for k, a in enumerate(args):
        g = np.zeros_like(a)
        for i in np.ndindex(a.shape):
            up, down = [x.copy() for x in args], [x.copy() for x in args]
            up[k][i] += step
            down[k][i] -= step
            g[i] = (f(*up) - f(*down)) / (2 * step)
        grads.append(g)
    return grads


def check(f: Callable[..., Any], *args: Any, order: int = 2, tol: float = 1e-6) -> None:
    """``f`` of float64 arrays, summed, has the gradients that differences give: eagerly, traced, and again."""
    arrays = [np.array(a, np.float64) for a in args]

    def total(*xs: Any) -> Any:
        return hb.sum(f(*xs))

    def gradient(*xs: Any) -> Any:
        with hb.GradientTape() as tape:
            tape.watch(xs)
            y = total(*xs)
        return tape.gradient(y, list(xs), unconnected_gradients="zero")

    expected = by_differences(lambda *xs: float(total(*map(as_tensor, xs))), arrays)
    for way in (gradient, hb.function(gradient), _through_a_call(total)):
        for ours, theirs in zip(way(*map(as_tensor, arrays)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tol, atol=tol)
    if order > 1:
        # Weights, so that the gradient of the summed gradient is not that of a constant.
        check(lambda *xs: sum(hb.sum(g * hb.cos(g)) for g in gradient(*xs)), *arrays, order=order - 1, tol=tol * 100)


def _through_a_call(total: Callable[..., Any]) -> Callable[..., Any]:
    """An eager tape around a call of the traced function."""
    traced = hb.function(total)

    def gradient(*xs: Any) -> Any:
        with hb.GradientTape() as tape:
            tape.watch(xs)
            y = traced(*xs)
        return tape.gradient(y, list(xs), unconnected_gradients="zero")

    return gradient
