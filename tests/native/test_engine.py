"""The engine as a whole: kernels that are shared, threads, and what is left to the host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base.spec import spec
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.ir.program import Program
from hornbeam.runtime.trace import trace


def steps(program: Program) -> list[Any]:
    """The kernels (and host steps) that the program becomes."""
    return Lowered.of(Module(), prepared(program), host(), TEMPLATES).steps


def traced(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> Program:
    return trace(fn, [spec(s) for s in shapes], "test").program


def gelu_layer(x: Any, w: Any, b: Any) -> Any:
    return hb.nn.gelu(x @ w + b)


def test_a_layer_is_one_kernel():
    found = steps(traced(gelu_layer, (32, 16), (16, 8), (8,)))
    assert all(isinstance(s, Kernel) for s in found) and len(found) == 1


def test_equal_layers_share_their_kernels():
    def deep(x, *ws):
        for w in ws:
            x = hb.tanh(x @ w)
        return x

    shapes = [(32, 32)] + [(32, 32)] * 6
    names = [s.name for s in steps(traced(deep, *shapes))]
    assert len(names) == 6 and len(set(names)) == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_same_bits_for_any_number_of_threads(threads, dtype):
    rng = np.random.default_rng(0)
    x, w = (hb.tensor(rng.normal(size=(600, 600)).astype(dtype)) for _ in range(2))

    def images(x, w):
        return hb.nn.conv(x.reshape((20, 30, 30, 20)), w[:3, :480].reshape((3, 3, 20, 8)), padding="same")

    def compute(x, w):
        return hb.nn.softmax(x @ w), hb.sum(x * w, axis=0), hb.mean(hb.exp(w)), images(x, w), *gradients(x, w)

    gradients = hb.grad(lambda x, w: hb.sum(images(x, w) * 0.5), (0, 1))

    def run(count):
        with hb.Session(threads=count):
            fn = hb.function(compute)
            return [t.numpy().tobytes() for t in fn(x, w)]

    assert run(threads) == run(1)


def test_what_runs_on_the_host_is_in_the_ledger():
    with hb.Session() as session:
        hb.function(lambda m: hb.linalg.svd(m)[1])(hb.eye(3))
        assert session.ledger.counts["host step"] == 1
    with hb.Session(strict=True), pytest.raises(hb.StrictModeError, match="svd"):
        hb.function(lambda m: hb.linalg.svd(m)[1] * 2)(hb.eye(3))


def test_without_a_target_the_reference_takes_over():
    program = """
import warnings
import llvmlite.binding as llvm
def no_target():
    raise RuntimeError("no such target")
llvm.initialize_native_target = no_target
import hornbeam as hb
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(float(hb.exp(hb.tensor(0.0))), hb.current_session().engine.name, hb.Session().engine.name, len(caught))
"""
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["1.0", "reference", "reference", "1"], done.stderr


def test_calling_a_kernel_again_is_data():
    def lines(layers: int) -> int:
        def fn(x: Any, w: Any) -> Any:
            for _ in range(layers):
                x = hb.tanh(x @ w)
            return x

        module = Module()
        Lowered.of(module, prepared(traced(fn, (64, 64), (64, 64))), host(), TEMPLATES).segments("run", shared=True)
        return str(module).count("\n")

    assert lines(2) == lines(20)


def test_equal_functions_are_one_piece_of_code():
    def functions(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> list[str]:
        module = Module()
        Lowered.of(module, prepared(traced(fn, *shapes)), host(), TEMPLATES).segments("run", shared=True)
        return module.distinct()

    one = functions(lambda x, w, v: hb.tanh(x @ w), (64, 64), (64, 64), (64, 64))
    two = functions(lambda x, w, v: hb.tanh(hb.tanh(x @ w) @ v), (64, 64), (64, 64), (64, 64))
    other = functions(lambda x, w, v: hb.tanh(hb.tanh(x @ w) @ v), (64, 64), (64, 64), (64, 40))
    assert len(one) == len(two) < len(other)
