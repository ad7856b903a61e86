"""Traced functions: what makes a signature, what is kept and for how long, and what may happen inside."""

import gc
import threading
import time
import weakref
from collections import namedtuple

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import config
from hornbeam.runtime.tensor import as_tensor

Pair = namedtuple("Pair", "a b")


def traces_of(f, *calls):
    for args in calls:
        f(*args)
    return f.traces


# -- signatures


def test_the_python_runs_once_per_signature():
    seen = []

    @hb.function
    def f(x):
        seen.append(x.shape)
        return x + 1.0

    for n in (2, 3, 2, 3):
        assert f(hb.ones(n)).tolist() == [2.0] * n
    assert seen == [(2,), (3,)]
    assert f.traces == 2


def test_type_and_value_of_plain_arguments():
    f = hb.function(lambda n: as_tensor(3) // n)
    assert [f(n).dtype.name for n in (1, 1.0, True)] == ["int32", "float32", "int32"]
    assert f.traces == 3


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 1.0), (1, True), (0.0, -0.0), ("a", "b"), (None, 0), (b"a", "a"), ((1, 2), [1, 2]),
        ({"a": 1}, {"b": 1}), ((1,), (1, 1)),
        (Pair(1, 2), (1, 2)), (np.zeros(2), np.zeros(3)), (np.zeros(2), np.zeros(2, np.float32)),
        (np.int32(1), 1), (int, float),
        ({"a": [1, (2,)]}, {"a": [1, (3,)]}),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_told_apart(one, other):
    assert traces_of(hb.function(lambda a: None), (one,), (other,), (one,), (other,)) == 2


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 1), ("a", "".join(["a"])), (float("nan"), float("nan")), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (np.zeros(2, np.float32), hb.ones(2)), (np.float32(1), hb.ones(())), (np.int64(1), np.int64(2)),
        ([None], [None]),
        (Pair(1, hb.ones(2)), Pair(1, hb.zeros(2))),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_one_signature(one, other):
    assert traces_of(hb.function(lambda a: None), (one,), (other,)) == 1


def test_defaults_and_keywords_are_one_signature():
    f = hb.function(lambda x, n=2, *, k=3: x * n + k)
    x = hb.ones(())
    assert [float(y) for y in (f(x), f(x, 2), f(x, n=2), f(n=2, x=x), f(x, k=3))] == [5.0] * 5
    assert f.traces == 1
    assert float(f(x, k=4)) == 6
    g = hb.function(lambda *xs, **named: sum(xs) + sum(named.values()))
    assert float(g(x, x, a=x)) == 3
    with pytest.raises(TypeError, match=r"<lambda>\(\): missing a required argument: 'x'"):
        f()
    with pytest.raises(TypeError, match="unexpected keyword"):
        f(x, m=1)


class Config:
    def __init__(self, n):
        self.n = n


class Equal(Config):
    __hash__ = None

    def __eq__(self, other):
        raise AssertionError("compared")


@pytest.mark.parametrize("kind", [Config, Equal])
def test_objects_are_told_apart_by_identity_and_not_kept_alive(kind):
    f = hb.function(lambda x, c: x * c.n)
    a, b = kind(2), kind(2)
    assert [float(f(hb.ones(()), c)) for c in (a, b, a, b)] == [2.0] * 4
    assert f.traces == 2 and len(f._cache) == 2
    gone = weakref.ref(a)
    del a
    gc.collect()
    assert gone() is None
    assert len(f._cache) == 1  # the trace went with it
    assert float(f(hb.ones(()), b)) == 2 and f.traces == 2


def test_an_object_at_the_address_of_a_dead_one_is_another():
    f = hb.function(lambda c: as_tensor(c.n))
    for n in range(50):
        assert int(f(Config(n))) == n


def test_variables_as_arguments_and_their_aliasing():
    v, w = hb.Variable(2.0), hb.Variable(3.0)
    f = hb.function(lambda a, b: a.assign_add(b))
    assert [float(f(*vs)) for vs in ((v, w), (v, v), (w, v))] == [5, 10, 13]
    assert f.traces == 3


def test_symbolic_structure_of_arguments_is_rebuilt():
    f = hb.function(lambda d: Pair(d["x"][0] + d["x"][1].b, {"n": None, "s": "text"}))
    out = f({"x": [hb.ones(2), Pair(None, hb.ones(2))]})
    assert type(out) is Pair
    assert out.a.tolist() == [2, 2]
    assert out.b == {"n": None, "s": "text"}


def test_outputs():
    v = hb.Variable([1.0])
    kept = object()
    out = hb.function(lambda x: (x, x, 3, "s", None, v, np.ones(2), True, kept, np.float32(2), []))(hb.ones(()))
    assert out[2:5] == (3, "s", None) and out[7] is True and out[8] is kept and out[10] == []
    assert [type(o) for o in (*out[:2], out[5], out[6], out[9])] == [hb.Tensor] * 5
    assert out[5].tolist() == [1]
    assert hb.function(lambda: None)() is None


# -- the cache


def test_the_cache_is_bounded_and_evicts_the_least_recently_used():
    with hb.Session() as sess, config.MAX_TRACES(3):
        f = hb.function(lambda n: as_tensor(n) * 2)
        for n in (0, 1, 2, 0, 3):
            f(n)
        assert f.traces == 4 and len(f._cache) == 3
        f(0), f(2), f(3)
        assert f.traces == 4
        f(1)
        assert f.traces == 5
        gc.collect()
        assert len(sess._executables) == 3
        f.clear()
        gc.collect()
        assert len(sess._executables) == 0


def test_a_retrace_names_the_argument_that_changed():
    @hb.function
    def f(x, options=None, *rest, scale=1.0):
        return x

    x = hb.ones((2, 3))
    f(x, {"deep": [1, hb.ones(3)]})
    f(x, {"deep": [1, hb.ones(4)]})
    f(x, {"deep": [2, hb.ones(4)]})
    f(x, {"deep": [2, hb.ones(4)]}, scale=2.0)
    f(x.astype("int32"), {"deep": [2, hb.ones(4)]}, scale=2.0)
    f(x, [1])
    said = [str(r) for r in f.retraces]
    assert said[0].startswith("argument options['deep'][1] was float32[3], now float32[4] (at ")
    assert said[1].startswith("argument options['deep'][0] was 1, now 2")
    assert said[2].startswith("argument scale was 1.0, now 2.0")
    assert said[3].startswith("argument x was float32[2,3], now int32[2,3]")
    assert said[4].startswith("the structure of the arguments was")
    assert all("test_function.py:" in r.line for r in f.retraces)


def test_the_first_trace_is_one_also_for_many_threads():
    calls = []

    @hb.function
    def f(x):
        calls.append(1)
        time.sleep(0.02)
        return x + 1.0

    barrier = threading.Barrier(4)
    results = []

    def work():
        barrier.wait()
        results.append(f(hb.ones(())).item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (len(calls), results) == (1, [2.0] * 4)


# -- variables


def test_variables_are_created_on_the_first_trace_only():
    holder = []

    @hb.function
    def f(x):
        if not holder:
            holder.append(hb.Variable(lambda: hb.ones(()), name="lazy"))
        return holder[0].assign_add(x)

    assert [float(f(hb.ones(()))) for _ in range(3)] == [2, 3, 4]

    @hb.function
    def g(x):
        return hb.Variable(1.0, name="again") * x

    g(hb.ones(1))
    g(hb.ones(1))
    with pytest.raises(
        hb.RetraceError, match=r"'g' created variable 'again' \(at .*test_function.py:(.|\n)*first trace"
    ):
        g(hb.ones(2))


def test_variables_made_in_a_branch_count():
    @hb.function
    def f(x):
        return hb.cond(x.sum() > 0, lambda: hb.Variable(1.0) * 1.0, lambda: hb.ones(()))

    f(hb.ones(1))
    with pytest.raises(hb.RetraceError):
        f(hb.ones(2))


def test_updates_happen_on_every_call():
    v = hb.Variable(0.0)

    @hb.function
    def f():
        v.assign_add(1.0)
        v.assign(v * 2.0)
        return v.value(), v.assign_sub(1.0)

    assert [[float(x) for x in f()] for _ in range(3)] == [[2, 1], [4, 3], [8, 7]]
    assert float(v) == 7


# -- exceptions and leaks


def test_an_exception_while_tracing_leaves_nothing_half_done():
    v = hb.Variable(1.0)
    fail = [True]

    @hb.function
    def f(x):
        v.assign(x)
        if fail:
            raise ZeroDivisionError
        return x + 1.0

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            f(hb.ones(()) * 5.0)
    assert (float(v), len(f._cache)) == (1, 0)
    fail.clear()
    assert float(f(hb.ones(()) * 5.0)) == 6
    assert (float(v), len(f._cache)) == (5, 1)
    assert (hb.ones(()) + 1.0).item() == 2  # and we are eager again


def test_leaked_tensors_are_refused_also_by_other_traces():
    kept = []

    @hb.function
    def f(x):
        kept.append(x * 2.0)
        return x

    f(hb.ones(()))
    with pytest.raises(hb.TracingError, match="return it from the function"):
        hb.function(lambda y: y + kept[0])(hb.ones(()))
    with pytest.raises(hb.TracingError, match="outside the function"):
        hb.function(lambda y: hb.cond(y > 0, lambda: kept[0], lambda: y))(hb.ones(()))


def test_python_control_flow_on_tensors_says_what_to_use():
    with pytest.raises(hb.TracingError, match=r"hb.cond(.|\n)*test_function.py:"):
        hb.function(lambda x: 1.0 if x > 0 else 2.0)(hb.ones(()))


# -- methods, nesting, threads


class Model:
    def __init__(self, w):
        self.w = hb.Variable(w)

    @hb.function
    def __call__(self, x, scale=1.0):
        return self.w * x * scale

    @hb.function(input_signature=[hb.TensorSpec((None,), "float32")])
    def strict(self, x):
        return self.w * x

    __hash__ = None  # as for a dataclass

    def __eq__(self, other):
        raise AssertionError("compared")


def test_methods_are_traced_per_instance_and_die_with_it():
    a, b = Model(2.0), Model(3.0)
    assert [float(m(hb.ones(()), scale=2.0)) for m in (a, b, a)] == [4, 6, 4]
    assert Model.__call__.__get__(a).traces == 1
    assert a.strict([1.0, 2.0]).tolist() == [2, 4]
    a(hb.ones(3))
    assert str(Model.__call__.__get__(a).retraces[0]).startswith("argument")
    gone = weakref.ref(a), weakref.ref(a.w)
    del a
    gc.collect()
    assert [g() for g in gone] == [None, None]
    assert len(Model.__dict__["__call__"]._methods) == 1


def test_functions_inside_functions_are_part_of_them():
    inner = hb.function(lambda x, n: x * n)

    @hb.function
    def outer(x):
        return inner(x, 2) + inner(x, 3)

    assert float(outer(hb.ones(()))) == 5
    assert (inner.traces, outer.traces) == (0, 1)


def test_recursion_over_python_numbers():
    @hb.function
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    assert float(power(as_tensor(2.0), 10)) == 1024
    assert power.traces == 1


def test_a_function_may_be_used_with_graph_tensors():
    f = hb.function(lambda x: x * 2.0 + 1.0)
    graph = hb.Graph()
    with graph.as_default():
        x = graph.placeholder([None])
        inside = f(x)
    outside = f(x)
    with hb.Session(graph) as sess:
        assert [y.tolist() for y in sess.run([inside, outside], {x: [1.0, 2.0]})] == [[3, 5], [3, 5]]


# -- input_signature


def test_an_input_signature_casts_what_loses_nothing():
    f = hb.function(
        lambda x, n: (x, n), input_signature=[hb.TensorSpec((None, 2), "float32"), hb.TensorSpec((), "int32")]
    )
    for x in ([[1, 2]], np.ones((3, 2)), hb.ones((5, 2)), [[1.5, 2.5]]):
        out = f(x, 3)
        assert (out[0].dtype, out[1].dtype) == (np.float32, np.int32)
    assert f(x=[[1, 2]], n=np.int64(7))[1].item() == 7


@pytest.mark.parametrize(
    "x, n, error, match",
    [
        ([[1, 2]], 2**40, hb.DTypeError, "argument n is int64, its input_signature says int32"),
        ([[1, 2]], 1.5, hb.DTypeError, "argument n is float32"),
        ([[1, 2]], np.int64(2**40), hb.DTypeError, "argument n"),
        ([[1, 2]], as_tensor(np.int64(1)), hb.DTypeError, r"argument n is int64(.|\n)*hb.cast\(x, 'int32'\)"),
        ([[1, 2]], [1], hb.ShapeError, r"argument n has shape \(1,\), its input_signature says \(\)"),
        ([[1, 2, 3]], 1, hb.ShapeError, r"argument x has shape \(1, 3\), its input_signature says \(None, 2\)"),
        (np.full((1, 2), 1e300), 1, hb.DTypeError, "argument x is float64"),
    ],
)
def test_an_input_signature_refuses_the_rest(x, n, error, match):
    f = hb.function(lambda x, n: n, input_signature=[hb.TensorSpec((None, 2), "float32"), hb.TensorSpec((), "int32")])
    with pytest.raises(error, match=match):
        f(x, n)


def test_an_input_signature_has_one_spec_for_each_argument():
    f = hb.function(lambda x, y: x, input_signature=[hb.TensorSpec(None)])
    with pytest.raises(TypeError, match="1 specs in its input_signature, got 2"):
        f(1.0, 2.0)
    nested = hb.function(
        lambda d: d["a"] + d["b"][0], input_signature=[{"a": hb.TensorSpec(None), "b": [hb.TensorSpec(None)]}]
    )
    assert nested({"a": 1, "b": [2.0]}).item() == 3


# -- gradients through calls


def test_gradients_through_a_call():
    v = hb.Variable([2.0, 3.0])
    f = hb.function(lambda x: (v * x**3).sum())
    x = as_tensor([1.0, 2.0])
    with hb.GradientTape() as tape:
        tape.watch(x)
        y = f(x) * 2.0
    dx, dv = tape.gradient(y, [x, v])
    assert (dx.tolist(), dv.tolist()) == ([12, 72], [2, 16])


def test_higher_order_gradients_through_a_call():
    f = hb.function(lambda x: x**4)
    x = as_tensor(2.0)
    with hb.GradientTape() as third:
        third.watch(x)
        with hb.GradientTape() as second:
            second.watch(x)
            with hb.GradientTape() as first:
                first.watch(x)
                y = f(x)
            d1 = first.gradient(y, x)
        d2 = second.gradient(d1, x)
    assert [float(d) for d in (d1, d2, third.gradient(d2, x))] == [32, 48, 48]


def test_a_tape_inside_and_a_tape_around():
    v = hb.Variable(3.0)

    @hb.function
    def slope(x):
        with hb.GradientTape() as tape:
            tape.watch(x)
            y = v * x * x
        return tape.gradient(y, x)

    x = as_tensor(5.0)
    with hb.GradientTape() as tape:
        tape.watch(x)
        g = slope(x)
    assert [float(d) for d in (g, *tape.gradient(g, [x, v]))] == [30, 6, 10]


def test_a_call_that_updates_is_differentiated_by_what_it_read():
    v = hb.Variable(3.0)

    @hb.function
    def f(x):
        y = v * x
        v.assign(100.0)
        return y

    with hb.GradientTape() as tape:
        tape.watch(x := as_tensor(5.0))
        y = f(x)
    assert [float(d) for d in tape.gradient(y, [x, v])] == [3, 5]


def test_the_backward_program_is_made_once():
    f = hb.function(lambda x: hb.exp(x).sum())
    x = hb.ones(3)

    def step():
        with hb.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        tape.gradient(y, x)

    with hb.Session() as sess:
        step()
        made = f.program(x).closed.pullback
        n = len(sess._operations)
        step()
        assert made is not None and f.program(x).closed.pullback is made
        assert len(sess._operations) == n


# -- size and speed


def test_deep_graphs():
    @hb.function
    def deep(x):
        for _ in range(10_000):
            x = x + 1.0
        return x

    x = as_tensor(0.0)
    with hb.GradientTape() as tape:
        tape.watch(x)
        y = deep(x)
    assert float(y) == 10_000
    assert float(tape.gradient(y, x)) == 1
    program = deep.program(x)
    assert len(program.nodes) == 10_001
    assert hash(program) == hash(program.closed)
    del program, tape, y
    deep.clear()
    gc.collect()
