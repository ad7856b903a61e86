"""Nothing stays of what was compiled, run, opened and let go of: objects are counted, and the memory of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")

# A quarter of the cycles is for caches that fill up; then there are as many objects, and no more memory.
COMMON = """
import gc
import os
import numpy as np
import hornbeam as hb
from hornbeam.ir import node

def counted():
    gc.collect()
    ours = [o for o in gc.get_objects() if str(type(o).__module__).startswith("hornbeam")]
    resident = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
    return len(ours), len(gc.get_objects()), len(node._interned), resident

def hold(cycle, times):
    for i in range(times // 4):
        cycle(i)
    before = counted()
    for i in range(times // 4, times):
        cycle(i)
    ours, objects, nodes, resident = (b - a for a, b in zip(before, counted()))
    print(f"{ours} of ours, {objects} objects, {nodes} nodes, {resident:,} bytes more", flush=True)
    assert ours <= 0 and nodes <= 0 and objects < max(times // 20, 10) and resident < LIMIT

LIMIT = 1 << 20
"""

CYCLES = {
    "compile and discard": """
x = hb.ones(8)
v = hb.Variable(np.ones(8, "float32"))

def work(x, i):  # no two of them have the same code, or the same numbers in it
    for k in range(8):
        x = x * (1.5 + i + k / 16) + v
    v.assign(x)

def cycle(i):
    hb.function(lambda x: work(x, i))(x)

hold(cycle, 1000)
""",
    "run": """
v = hb.Variable(np.ones((64, 64), "float32"))
x = hb.ones((64, 64))

@hb.function
def step(x):
    with hb.GradientTape() as tape:
        loss = hb.mean(hb.tanh(v @ x))
    v.assign(v - tape.gradient(loss, v) * 0.1)
    return loss

hold(lambda i: step(x), 10_000)
""",
    "sessions": """
def cycle(i):
    with hb.Session(seed=i, threads=1 + i % 3) as session:
        v = hb.Variable(np.ones(100, "float32"))
        hb.function(lambda x: v.assign(v * x))(hb.random.uniform((100,)))
        session.plan(hb.abs, v)

hold(cycle, 1000)
""",
    "tapes and eager operations": """
v = hb.Variable(np.ones(20, "float32"))

def cycle(i):
    with hb.GradientTape() as outer:
        with hb.GradientTape() as inner:
            y = hb.sum(hb.tanh(v * float(i)) * v)
        g = inner.gradient(y, v)
    outer.gradient(g, v)

hold(cycle, 1000)
""",
    "models of Keras": """
from hornbeam import keras

x, y = np.ones((32, 4), "float32"), np.ones((32, 1), "float32")

def cycle(i):
    with hb.Session(seed=i):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, y, verbose=0)
        model.predict(x, verbose=0)
    keras.backend.clear_session()

hold(cycle, 40)
""",
    "failures": """
x = hb.ones(3)

@hb.function
def fails(x):
    return hb.callback(lambda x: 1 / 0, [x], [hb.TensorSpec((), "float32")])[0]

def cycle(i):
    for wrong in (lambda: x + hb.ones(4), lambda: fails(x), lambda: hb.function(lambda x: x @ x[:2])(x)):
        try:
            wrong()
        except (hb.HornbeamError, ZeroDivisionError):
            pass

hold(cycle, 1000)
""",
}


@pytest.mark.parametrize("name", CYCLES)
def test_nothing_stays(name: str, tmp_path: Path) -> None:
    # What is compiled is compiled for good in the first; the others find code, and what was made of it, on disk.
    cache = "0" if name == "compile and discard" else str(tmp_path / "cache")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HORNBEAM_CACHE": cache}
    program = [sys.executable, "-c", COMMON + CYCLES[name]]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
