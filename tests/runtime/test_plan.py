"""``session.plan``: what a run takes, by hand and as it turns out to be."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.engines import costs, engine
from hornbeam.engines.engine import Options

ENGINES = ["native", "reference"]


def f32(*shape: int) -> hb.TensorSpec:
    return hb.TensorSpec(shape, "float32")


def plan(fn: Any, *args: Any, engine: str = "native") -> hb.Costs:
    with hb.Session(engine=engine) as session:
        return session.plan(fn, *args)


# -- by hand -----------------------------------------------------------------------------------------

M, K, N = 16, 64, 32


def test_a_product():
    found = plan(lambda x, y: x @ y, f32(M, K), f32(K, N))
    assert (found.arguments, found.results, found.constants) == (4 * (M * K + K * N), 4 * M * N, 0)
    assert found.flops == 2 * M * N * K
    assert found.bytes_moved == 4 * (M * K + K * N + M * N)
    assert (found.kernels, found.host_steps, found.uncounted) == (1, 0, ())


def test_a_product_and_the_loop_after_it():
    found = plan(lambda x, w: hb.sum(hb.tanh(x @ w), axis=0), f32(M, K), f32(K, N))
    assert found.kernels == 2 and found.flops == 2 * M * N * K + M * N + M * N
    [(_, product), *work] = [(b.name, b.nbytes) for b in found.buffers if b.role == "arena"]
    assert product == 4 * M * N
    assert found.arena == product + sum(-(-n // 64) * 64 for _, n in work)  # what a product works in
    assert found.bytes_moved == 4 * (M * K + K * N + M * N) + 4 * (M * N + N)
    assert found.peak_bytes == 4 * (M * K + K * N) + 4 * N + found.arena


def test_a_product_that_goes_on_with_what_reads_it():
    found = plan(lambda x, w, b: hb.tanh(x @ w + b), f32(M, K), f32(K, N), f32(N))
    assert found.flops == 2 * M * N * K + M * N + M * N
    assert (found.kernels, found.bytes_moved) == (1, 4 * (M * K + K * N + N + M * N))


def test_one_pass_reads_once_and_writes_once():
    found = plan(hb.nn.softmax, f32(M, N))
    assert found.flops == 5 * M * N + M  # maximum, difference, exponential, sum, product; and the inverse of a sum
    assert (found.arena, found.kernels, found.bytes_moved) == (0, 1, 2 * 4 * M * N)


def test_every_row_of_the_reference_is_a_kernel():
    found = plan(lambda x: hb.exp(x) * 2.0, f32(100), engine="reference")
    assert (found.flops, found.kernels, found.host_steps) == (200, 0, 3)
    assert found.bytes_moved == 800 + 804  # exp, then a product with the number
    assert (found.arguments, found.results, found.constants, found.arena) == (400, 400, 4, 400)


@pytest.mark.parametrize(
    ("fn", "shapes", "flops"),
    [
        (lambda x: hb.reshape(x.T, (N * M,)), [(M, N)], 0),
        (lambda x: hb.cast(x, "int32"), [(M,)], 0),
        (lambda x: hb.where(x > 0, x, -x), [(M,)], 2 * M),
        (lambda x: hb.sum(x, axis=0), [(M, N)], M * N),
        (lambda x: hb.cumsum(x, axis=1), [(M, N)], M * N),
        (lambda x: hb.argmax(x, axis=1), [(M, N)], M * N),
        (lambda x: hb.argsort(x, axis=1), [(M, 32)], M * 32 * 5),
        (lambda x, k: hb.nn.conv(x, k, padding="valid"), [(2, 8, 8, 3), (3, 3, 3, 5)], 2 * (2 * 6 * 6 * 5) * 9 * 3),
        (lambda x: hb.nn.max_pool(x, (2, 2), (2, 2)), [(2, 8, 8, 3)], 2 * 4 * 4 * 3 * 4),
        (lambda x: hb.fori_loop(0, 7, lambda i, x: x * x, x), [(M,)], None),
        (lambda x: hb.scan(lambda c, r: (c + r, c * 2.0), x[0], x)[1], [(9, N)], 9 * (N + N)),
        (lambda x: hb.cond(x[0] > 0, lambda: x * x * x, lambda: -x), [(M,)], None),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_arithmetic(engine: str, fn: Any, shapes: Any, flops: int | None):
    found = plan(fn, *(f32(*s) for s in shapes), engine=engine)
    assert flops is None or found.flops == flops
    assert found.flops == plan(fn, *(f32(*s) for s in shapes)).flops  # whoever runs it


def test_gradients_of_a_convolution_take_as_much_as_it():
    def through(x: Any, k: Any) -> Any:
        return hb.grad(lambda x, k: hb.sum(hb.nn.conv(x, k, padding="same")), argnums=(0, 1))(x, k)

    x, k = f32(2, 8, 8, 3), f32(3, 3, 3, 5)
    assert plan(through, x, k).flops == 2 * plan(lambda x, k: hb.nn.conv(x, k, padding="same"), x, k).flops


def test_a_gather_takes_what_it_gives():
    rows = hb.TensorSpec((8,), "int32")
    found = plan(lambda table, i: hb.take(table, i, axis=0), f32(5000, N), rows)
    assert found.bytes_moved < 3 * 4 * 8 * N
    assert found.arguments == 4 * 5000 * N + 4 * 8


def test_what_no_count_is_exact_for_is_said():
    found = plan(lambda m: hb.linalg.svd(m)[1], f32(3, 3))
    assert found.uncounted == ("svd",) and found.host_steps == 1
    endless = plan(lambda x: hb.while_loop(lambda x: hb.sum(x) < 9.0, lambda x: x * 2.0, (x,))[0], f32(4))
    assert endless.uncounted == ("all but one turn of while",) and endless.flops == 4 + 1 + 4
    assert "without all but one turn of while" in str(endless)


# -- what is said ------------------------------------------------------------------------------------


def test_state_names_and_lines():
    with hb.Session() as session:
        w = hb.Variable(np.zeros((K, N), "float32"), name="w")

        @hb.function
        def step(x):
            w.assign(w - hb.mean(x))

        found = session.plan(step, f32(M))
        assert step.traces == 1 and session.runs == 0
        step(hb.zeros(M))
        assert step.traces == 1  # the plan's trace is the run's
    assert (found.arguments, found.results) == (4 * (K * N + M), 4 * K * N)
    assert {b.name for b in found.buffers[:2]} == {"@w", "new @w"}
    assert all("test_plan.py:" in b.line for b in found.buffers)
    assert f"{4 * K * N:,}  argument  @w float32[{K},{N}]" in str(found) == repr(found)


def test_arguments_may_be_anything_that_calls_take():
    def fn(data: Any, scale: float, flag: bool = False) -> Any:
        return data["x"][0] * scale if flag else data["x"][1]

    given = {"x": [f32(3), hb.zeros(7)]}
    assert plan(fn, given, 2.0).results == 0  # an argument as it is
    with hb.Session() as session:
        assert session.plan(fn, given, 2.0, flag=True).results == 12


def test_open_dimensions():
    with pytest.raises(hb.ShapeError, match=r"leaves a dimension open(.|\n)*test_plan\.py:"):
        plan(hb.exp, hb.TensorSpec((None, 3)))


def test_closed_sessions_plan_nothing():
    session = hb.Session()
    session.close()
    with pytest.raises(hb.SessionClosedError):
        session.plan(hb.exp, f32(3))


# -- and as it turns out -------------------------------------------------------------------------------


def programs() -> dict[str, tuple[Any, list[tuple[int, ...]]]]:
    return {
        "products and loops": (lambda x, w: hb.nn.softmax(hb.tanh(x @ w) @ w), [(40, 40), (40, 40)]),
        "constants": (lambda x: x @ hb.tensor(np.eye(30, dtype="float32")), [(50, 30)]),
        "rows": (lambda x: hb.sort(hb.cumsum(x * 2.0, axis=0), axis=1), [(20, 30)]),
        "control": (lambda x: hb.scan(lambda c, r: (c + r, c), x[0], x), [(30, 20)]),
        "parts": (lambda x: (hb.sum(x), hb.max(x, axis=0)), [(300_000, 2)]),
    }


@pytest.mark.parametrize("name", programs())
def test_the_first_run_allocates_what_was_planned(name: str):
    """NumPy tells tracemalloc of every array. Those of a run: the arena, with room to align it, and the results."""
    fn, shapes = programs()[name]
    program = hb.function(fn).program(*(f32(*s) for s in shapes))
    native = engine.find("native")
    planned, executable = native.plan(program, Options(1)), native.compile(program, Options(1))
    assert (executable.peak_bytes, executable.flops) == (planned.peak_bytes, planned.flops)
    assert executable.bytes_moved == planned.bytes_moved
    arguments = [np.ones(s, np.float32) for s in shapes]
    numpy = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    tracemalloc.start()
    try:
        held = executable.run(arguments)
        traces = tracemalloc.take_snapshot().filter_traces([numpy]).traces
    finally:
        tracemalloc.stop()
    assert sum(t.size for t in traces) == planned.arena + 64 + planned.results
    assert sum(a.nbytes for a in held) == planned.results


def test_executables_of_both_engines_know():
    program = hb.function(lambda x: hb.exp(x) @ x).program(f32(9, 9))
    for name in ENGINES:
        executable = engine.find(name).compile(program, Options())
        found = engine.find(name).plan(program, Options())
        assert executable.flops == found.flops == 81 + 2 * 9**3
        assert (executable.peak_bytes, executable.bytes_moved) == (found.peak_bytes, found.bytes_moved)


def test_a_model_of_keras():
    from hornbeam import keras

    with hb.Session() as session:
        model = keras.Sequential([keras.Input((K,)), keras.layers.Dense(N, "relu"), keras.layers.Dense(3)])
        model.compile("adam", "mse")
        forward = session.plan(model, f32(M, K))
        step = session.plan(hb.function(model.train_step), (f32(M, K), f32(M, 3)))
        weights = sum(4 * w.numpy().size for w in model.weights)
    products = 2 * M * (K * N + N * 3)
    assert products <= forward.flops <= 1.1 * products
    assert step.flops > 2 * forward.flops  # the first layer's input has no gradient
    assert forward.arguments == weights + 4 * M * K
    assert step.results > 3 * weights  # weights and Adam's two slots, anew


def test_rows_that_costs_names_are_rows():
    from hornbeam.ir.primitive import ROWS

    assert {*costs._FLOPS, *costs.UNKNOWN, *costs.TAKES_A_PART, *costs.FREE} <= ROWS.keys()
