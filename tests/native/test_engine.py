"""The engine as a whole: kernels that are shared, threads, and what is left to the host."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base.spec import spec
from hornbeam.engines.native import threads
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


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="states of threads are read from /proc")
def test_between_runs_every_worker_sleeps():
    """Asleep in the kernel, not awake now and then: neither time nor switches of context pass in a worker."""
    x = hb.tensor(np.ones((600, 600), "float32"))
    with hb.Session(threads=4):
        fn = hb.function(lambda x: hb.sum(hb.exp(x) @ x))
        for _ in range(5):
            fn(x)
    assert threads.pool(4).workers >= 3
    workers = [t.native_id for t in threading.enumerate() if t.name.startswith("hornbeam-")]
    deadline = time.monotonic() + 60
    while any(state(w) != "S" for w in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    before, switches = time.process_time(), [switched(w) for w in workers]
    time.sleep(0.5)
    assert [state(w) for w in workers] == ["S"] * len(workers)
    assert [switched(w) for w in workers] == switches
    assert time.process_time() - before < 0.05


def state(thread: Any) -> str:
    text = Path(f"/proc/self/task/{thread}/stat").read_text()
    return text[text.rindex(")") + 2]


def switched(thread: Any) -> list[str]:
    return [x for x in Path(f"/proc/self/task/{thread}/status").read_text().split("\n") if "ctxt_switches" in x]


def test_what_runs_on_the_host_is_in_the_ledger():
    with hb.Session() as session:
        hb.function(lambda m: hb.linalg.svd(m)[1])(hb.eye(3))
        assert session.ledger.counts["host step"] == 1
    with hb.Session(strict=True), pytest.raises(hb.StrictModeError, match="svd"):
        hb.function(lambda m: hb.linalg.svd(m)[1] * 2)(hb.eye(3))


MISSING = {
    "llvmlite is not installed": "sys.modules['llvmlite'] = None",
    "its library does not load": "break_import()",
    "no code generator": "llvm.initialize_native_target = fail",
    "a processor unknown to it": "llvm.get_process_triple = lambda: 'abacus-unknown-none'",
    "features cannot be asked for": "llvm.get_host_cpu_features = fail",
    "no memory may hold code": "llvm.create_lljit_compiler = fail",
    "code cannot be linked": "llvm.JITLibraryBuilder.link = fail",
}


@pytest.mark.parametrize("what", MISSING)
def test_without_a_usable_llvm_the_reference_takes_over(what):
    program = f"""
import sys
import warnings
import llvmlite.binding as llvm

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "llvmlite":
            raise OSError("libLLVM: cannot open shared object file")

def break_import():
    for name in [n for n in sys.modules if n.startswith("llvmlite")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Broken())

def fail(*args, **options):
    raise RuntimeError("no such thing here")

{MISSING[what]}
import hornbeam as hb
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(float(hb.exp(hb.tensor(0.0))), hb.current_session().engine.name, hb.Session().engine.name, len(caught))
    print(caught[0].message)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    first, *message = done.stdout.splitlines()
    assert first.split() == ["1.0", "reference", "reference", "1"], done.stderr
    assert message[0].startswith("LLVM ") and message[1].endswith("correct but slow."), message


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
