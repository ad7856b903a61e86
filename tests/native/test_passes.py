"""How many passes over memory a computation takes: as many as the algebra needs.

A pass is a kernel that reads or writes an array as large as the data; between them a network's statistics (a mean for
each channel, a loss) take kernels of their own, which are counted apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base.spec import Spec, spec
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.runtime.trace import trace

ROWS, COLUMNS = 64, 100
X, ROW, LABELS = spec((ROWS, COLUMNS)), spec((COLUMNS,)), Spec((ROWS,), np.dtype("int32"))


def lowered(fn: Callable[..., Any], *specs: Spec) -> Lowered:
    return Lowered.of(Module(), prepared(trace(fn, specs, "test").program), host(), TEMPLATES)


def passes(plan: Lowered) -> list[str]:
    """The kinds of the clusters that touch arrays of the data's size, in their order."""
    found: dict[int, str] = {}
    for step, nest in zip(plan.steps, plan.nests, strict=True):
        assert isinstance(step, Kernel)
        if any(b.spec.size >= ROWS * COLUMNS for b in step.buffers):
            found[id(nest)] = nest.cluster.kind
    return list(found.values())


def stored(plan: Lowered) -> list[Spec]:
    """Arrays of the data's size that the plan keeps between kernels, besides what goes in and out."""
    return [n.spec for n in plan.plan.offsets if n.spec.size >= ROWS * COLUMNS and n.primitive.name != "param"]


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return hb.nn.layer_normalization(x, gamma, beta, axis=-1, epsilon=1e-5)


def batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = hb.mean(x, axis=0), hb.var(x, axis=0)
    return hb.nn.batch_normalization(x, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=1e-5)


def batch_norm_at_once(x: Any, gamma: Any, beta: Any) -> Any:
    mean, variance = hb.nn.moments(x, 0)
    return hb.nn.batch_normalization(x, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=1e-5)


def cross_entropy(logits: Any, labels: Any) -> Any:
    return hb.mean(hb.nn.categorical_crossentropy(labels, logits, from_logits=True))


def sparse_cross_entropy(logits: Any, labels: Any) -> Any:
    return hb.mean(hb.nn.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def labelled_cross_entropy(logits: Any, labels: Any) -> Any:
    """As a compiled model has it: labels come as floats, and rows with labels out of range count for nothing."""
    labels = hb.cast(hb.cast(labels, "float32"), "int32")
    counts = (labels >= 0) & (labels < COLUMNS)
    losses = hb.nn.sparse_categorical_crossentropy(hb.where(counts, labels, 0), logits, from_logits=True)
    return hb.mean(hb.where(counts, losses, 0.0))


def adam(w: Any, g: Any, m: Any, v: Any, rate: Any, step: Any) -> tuple[Any, Any, Any]:
    rate = rate * hb.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    m, v = m * 0.9 + g * 0.1, v * 0.999 + g * g * 0.001
    return w - rate * m / (hb.sqrt(v) + 1e-7), m, v


def weighted(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A loss whose gradient with respect to the result of ``fn`` is the last argument."""
    return lambda *args: hb.sum(fn(*args[:-1]) * args[-1])


LOOP, COLUMN = "loop", "column"

CASES: dict[str, tuple[Callable[..., Any], list[Spec], list[str]]] = {
    "map": (lambda x: hb.tanh(x * 2 + 1) - x, [X], [LOOP]),
    "softmax": (hb.nn.softmax, [X], [LOOP]),
    "softmax backward": (hb.grad(weighted(hb.nn.softmax)), [X, X], [LOOP]),
    "log-softmax": (hb.nn.log_softmax, [X], [LOOP]),
    "log-softmax backward": (hb.grad(weighted(hb.nn.log_softmax)), [X, X], [LOOP]),
    "layer norm": (layer_norm, [X, ROW, ROW], [LOOP]),
    # The gradient of x by rows, those of scale and offset by columns.
    "layer norm backward": (hb.grad(weighted(layer_norm), argnums=(0, 1, 2)), [X, ROW, ROW, X], [LOOP, COLUMN]),
    "batch norm": (batch_norm, [X, ROW, ROW], [COLUMN, COLUMN, LOOP]),
    # Mean; variance, and sums of the gradient that need the mean; those that need the variance (two); the gradient.
    "batch norm backward": (
        hb.grad(weighted(batch_norm), argnums=(0, 1, 2)), [X, ROW, ROW, X], [COLUMN, COLUMN, COLUMN, COLUMN, LOOP]
    ),
    # A sample of each column; the moments of the distances from it; the result.
    "moments, batch norm": (batch_norm_at_once, [X, ROW, ROW], [LOOP, COLUMN, LOOP]),
    "moments, batch norm backward": (
        hb.grad(weighted(batch_norm_at_once), argnums=(0, 1, 2)), [X, ROW, ROW, X], [LOOP, COLUMN, COLUMN, LOOP]
    ),
    "cross-entropy": (cross_entropy, [X, X], [LOOP]),
    "cross-entropy, both": (hb.value_and_grad(cross_entropy), [X, X], [LOOP]),
    "sparse cross-entropy": (sparse_cross_entropy, [X, LABELS], [LOOP]),
    "sparse cross-entropy backward": (hb.grad(sparse_cross_entropy), [X, LABELS], [LOOP]),
    "sparse cross-entropy, both": (hb.value_and_grad(sparse_cross_entropy), [X, LABELS], [LOOP]),
    "labelled cross-entropy, both": (hb.value_and_grad(labelled_cross_entropy), [X, LABELS], [LOOP]),
    "adam": (adam, [X, X, X, X, spec(()), spec(())], [LOOP]),
    "column": (lambda x: hb.sum(hb.exp(x), axis=0), [X], [COLUMN]),
    "several columns": (lambda x: (hb.sum(x, axis=0), hb.max(x, axis=0), hb.sum(x * x, axis=0)), [X], [COLUMN]),
    "mean": (lambda x: hb.mean(x * x), [X], [LOOP]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_passes_over_memory(name):
    fn, specs, expected = CASES[name]
    plan = lowered(fn, *specs)
    assert passes(plan) == expected, str(plan.fusion)
    assert not stored(plan), str(plan)  # the data is read where it is, nothing as large is kept beside it


def test_small_kernels_beside_the_passes():
    counts = {name: len(lowered(fn, *specs).steps) - len(expected) for name, (fn, specs, expected) in CASES.items()}
    beside = {name: n for name, n in counts.items() if n}
    assert beside == {
        "batch norm": 3, "batch norm backward": 5, "moments, batch norm": 2, "moments, batch norm backward": 4,
        "cross-entropy": 1, "cross-entropy, both": 1, "sparse cross-entropy": 1, "sparse cross-entropy, both": 1,
        "labelled cross-entropy, both": 1,
    }  # fmt: skip


def test_an_optimizers_step_reads_and_writes_every_tensor_once():
    shapes = [(78, 51), (51,), (51, 51), (51,), (51, 10), (10,)]
    n = len(shapes)

    def step(rate: Any, count: Any, *arrays: Any) -> Any:
        return [adam(*arrays[i::n], rate, count) for i in range(n)]

    plan = lowered(step, spec(()), spec(()), *(spec(s) for s in shapes * 4))
    kernels = [s for s in plan.steps if isinstance(s, Kernel)]
    touched = [b for k in kernels for b in k.buffers if b.spec.size > 1]
    assert len(touched) == len(set(touched)) == 7 * n
    assert len(kernels) == n + 1  # one for each tensor, and one for the rate that they share


def test_the_gradient_of_a_gelu_layer():
    def layers(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
        return hb.nn.gelu(x @ w1 + b1) @ w2 + b2

    specs = [spec(s) for s in [(32, 16), (16, 64), (64,), (64, 16), (16,), (32, 16)]]
    plan = lowered(hb.grad(weighted(layers), argnums=(0, 1, 2, 3, 4)), *specs)
    kinds = [cluster.kind for cluster in plan.fusion.clusters]
    # x@w1; g@w2.T; gelu, its gradient and what both multiply; dx, dw1, dw2; db1, db2.
    assert kinds.count("block") == 5 and kinds.count("column") == 2 and kinds.count("loop") <= 1
    assert len(kinds) == sum(map(kinds.count, ("block", "column", "loop")))
