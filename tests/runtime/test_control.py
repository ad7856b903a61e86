"""Control flow: the same eagerly, traced and in graphs, with captured tensors, variables and gradients."""

from collections import namedtuple

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.runtime.tensor import as_tensor
from tests.runtime.differences import check

X = np.array([0.5, -0.3, 0.8])
Pair = namedtuple("Pair", "a b")


def in_every_mode(f, *args):
    """``f`` eagerly, traced and in a graph with placeholders: equal results, which are returned as NumPy's."""
    tensors = [as_tensor(a) for a in args]
    eager = hb_leaves(f(*tensors))
    traced = hb_leaves(hb.function(f)(*tensors))
    graph = hb.Graph()
    with graph.as_default():
        fed = [graph.placeholder(t.shape, t.dtype) for t in tensors]
        fetched = f(*fed)
    with hb.Session(graph) as sess:
        run = hb_leaves(sess.run(fetched, dict(zip(fed, args, strict=True))))
    for e, t, g in zip(eager, traced, run, strict=True):
        np.testing.assert_array_equal(e, t)
        np.testing.assert_array_equal(e, g)
        assert e.dtype == t.dtype == g.dtype
    return eager


def hb_leaves(out):
    from hornbeam.base import tree

    return [np.asarray(x) for x in tree.leaves(out)]


# -- cond and switch


def test_cond():
    def f(x):
        return hb.cond(hb.sum(x) > 0, lambda: {"y": x * 2.0, "n": 1}, lambda: {"y": -x, "n": 2})

    assert [a.tolist() for a in in_every_mode(f, np.ones(2, np.float32))] == [1, [2, 2]]
    assert [a.tolist() for a in in_every_mode(f, -np.ones(2, np.float32))] == [2, [1, 1]]


def test_cond_differentiates_the_branch_taken():
    for sign in (1, -1):
        check(lambda x: hb.cond(hb.sum(x) > 0, lambda: hb.exp(x) * x, lambda: x**3), X * sign)


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 7])
def test_switch_clamps(index):
    def f(i, x):
        return hb.switch(i, [lambda x: x + 1.0, lambda x: x * 10.0, lambda x: x - 1.0], x)

    (out,) = in_every_mode(f, np.int32(index), np.float32(2))
    assert out == [3, 20, 1][min(max(index, 0), 2)]


def test_only_the_branch_taken_runs_and_assigns():
    v, w, ran = hb.Variable(1.0), hb.Variable(10.0), []

    def f(x):
        def yes():
            hb.callback(lambda: ran.append("yes"), [], [])
            return v.assign_add(x) + w

        def no():
            hb.callback(lambda: ran.append("no"), [], [])
            w.assign(v * 2.0)
            return w.value() * 1.0

        return hb.cond(x > 0, yes, no) + v

    traced = hb.function(f)
    for call in (f, traced):
        v.assign(1.0)
        w.assign(10.0)
        assert [float(call(as_tensor(x))) for x in (2.0, -1.0)] == [16, 9]
        assert (float(v), float(w)) == (3, 6)
    assert ran == ["yes", "no"] * 2


@pytest.mark.parametrize(
    "other, error, match",
    [
        (lambda: hb.ones(3), hb.ShapeError, r"float32\[2\], another float32\[3\]|float32\[3\], another float32\[2\]"),
        (lambda: hb.ones(2, "int32"), hb.DTypeError, "int32"),
        (lambda: (hb.ones(2),), hb.DTypeError, "different structures"),
        (lambda: None, hb.DTypeError, "different structures"),
    ],
)
def test_branches_return_alike(other, error, match):
    with pytest.raises(error, match=match):
        hb.function(lambda x: hb.cond(x > 0, lambda: hb.ones(2), other))(as_tensor(1.0))


def test_a_condition_is_a_scalar():
    for mode in (lambda f: f, hb.function):
        with pytest.raises(hb.ShapeError, match=r"shape \(2,\)(.|\n)*hb.all"):
            mode(lambda x: hb.cond(x > 0, lambda: x, lambda: x))(hb.ones(2))


# -- while


def test_while_loop():
    def f(x):
        return hb.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, x * 2.0), (0, x))

    assert [a.tolist() for a in in_every_mode(f, np.ones(2, np.float32))] == [5, [32, 32]]


def test_loop_variables_keep_their_kind():
    for mode in (lambda f: f, hb.function):
        assert type(hb.while_loop(lambda x, y: x < 3, lambda x, y: [x + 1, y], [0, 1])) is list
        assert int(mode(lambda: hb.while_loop(lambda x: x < 3, lambda x: x + 1, 0))()) == 3
        out = mode(lambda: hb.while_loop(lambda a, b: a < 3, lambda a, b: (a + 1, b), Pair(0, {"k": 1.0})))()
        assert type(out) is Pair and int(out.a) == 3
        out = mode(lambda: hb.while_loop(lambda x: x["n"] < 3, lambda x: {"n": x["n"] + 1}, {"n": 0}))()
        assert int(out["n"]) == 3
        limited = mode(lambda: hb.while_loop(lambda x: True, lambda x: x + 1, 0, maximum_iterations=4))()
        assert int(limited) == 4
        halved = mode(lambda: hb.while_loop(lambda x, n: n < 2, lambda x, n: (0, n + 1), (5.0, 0)))()[0]
        assert halved.dtype == np.float32  # a number takes the dtype of the variable that it replaces


@pytest.mark.parametrize("limit, steps", [(0, 0), (-2, 0), (3, 3), (9, 5)])
def test_a_limit_that_is_computed(limit, steps):
    def f(x, n):
        return hb.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, x * 2.0), (0, x), maximum_iterations=n + 0)

    assert [a.tolist() for a in in_every_mode(f, np.float32(1), np.int32(limit))] == [steps, 2.0**steps]


def test_a_computed_limit_with_one_loop_variable():
    f = hb.function(lambda n: hb.while_loop(lambda x: True, lambda x: x + 1, 0, maximum_iterations=n))
    assert int(f(as_tensor(4))) == 4
    g = hb.function(lambda n: hb.while_loop(lambda x: True, lambda x: [[x[0] + 1]], [[0]], maximum_iterations=n))
    assert int(g(as_tensor(4))[0][0]) == 4


def test_the_gradient_of_a_loop_with_a_computed_limit():
    def f(x, n):
        return hb.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, x * x), (0, x), maximum_iterations=n)[1]

    for n in (0, 2):
        gradient = hb.function(lambda x, n: hb.grad(f)(x, n))(as_tensor(1.5), as_tensor(n))
        assert float(gradient) == pytest.approx(2**n * 1.5 ** (2**n - 1))


@pytest.mark.parametrize(
    "body, error, match",
    [
        (lambda x: x + 0.5, hb.DTypeError, r"goes in as int32\[\] and comes out as float32\[\](.|\n)*hb.cast"),
        (lambda x: (x, x), hb.DTypeError, "structure"),
        (lambda x: hb.ones(2, "int32"), hb.ShapeError, r"int32\[2\]"),
    ],
)
def test_loop_variables_do_not_change(body, error, match):
    with pytest.raises(error, match=match):
        hb.function(lambda: hb.while_loop(lambda x: hb.sum(x) < 3, body, 0))()


def test_while_captures_and_carries_variables():
    v, w = hb.Variable(1.0), hb.Variable(3.0, name="limit")

    def f(x):
        def body(i):
            v.assign(v * w + x)
            return i + 1

        n = hb.while_loop(lambda i: v < 100.0, body, 0)
        return n, v * 1.0

    for call in (f, hb.function(f)):
        v.assign(1.0)
        assert [float(y) for y in call(as_tensor(0.5))] == [4, 101]
        assert float(v) == 101
    with pytest.raises(hb.TracingError, match="the condition assigns limit"):
        hb.function(lambda: hb.while_loop(lambda i: w.assign_add(1.0) < 9.0, lambda i: i, 0))()


def test_gradients_through_while():
    a = np.array(1.3)

    def f(x, a):
        return hb.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, hb.sin(y * a) + x), (0, x))[1]

    check(f, X, a)


def test_gradients_through_a_loop_that_runs_as_long_as_its_values_say():
    check(lambda x: hb.while_loop(lambda y: hb.sum(y) < 20.0, lambda y: y * y + 1.0, x), X)
    check(lambda x: hb.while_loop(lambda y: hb.sum(y) < -20.0, lambda y: y * y, x), X)  # no step at all


# -- scan and what is made of it


def test_scan():
    def f(x):
        return hb.scan(lambda c, x: (c + x, {"twice": x * 2.0, "c": c}), hb.zeros(()), x)

    last, before, twice = in_every_mode(f, np.arange(4, dtype=np.float32))
    assert (last, before.tolist(), twice.tolist()) == (6, [0, 0, 1, 3], [0, 2, 4, 6])
    carry, ys = hb.scan(lambda c, x: (c * 2.0 + x, c), 0.0, hb.ones(3), reverse=True)
    assert (float(carry), ys.tolist()) == (7, [3, 1, 0])
    carry, ys = hb.scan(lambda c, _: (c + 1, c), 0, length=3)
    assert (int(carry), ys.tolist()) == (3, [0, 1, 2])
    carry, ys = hb.scan(lambda c, x: (c, x), 1.0, hb.zeros((0, 2)))
    assert (float(carry), ys.shape) == (1, (0, 2))


def test_scan_wants_one_length_and_a_pair():
    with pytest.raises(hb.ShapeError, match="number of steps"):
        hb.scan(lambda c, x: (c, x), 0.0, (hb.ones(2), hb.ones(3)))
    with pytest.raises(hb.ShapeError):
        hb.scan(lambda c, x: (c, x), 0.0)
    with pytest.raises(hb.DTypeError, match="a pair"):
        hb.scan(lambda c, x: c, 0.0, hb.ones(2))
    with pytest.raises(hb.ShapeError, match="goes in as"):
        hb.scan(lambda c, x: (hb.ones(3), x), 0.0, hb.ones(2))


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_through_scan(reverse):
    w = np.array([[0.4, -0.2, 0.1], [0.3, 0.5, -0.6], [0.2, 0.1, 0.7]])

    def rnn(xs, w, h):
        last, hs = hb.scan(lambda h, x: (hb.tanh(w @ h + x),) * 2, h, xs, reverse=reverse)
        return hb.sum(last * last) + hb.sum(hs * xs)

    check(rnn, np.stack([X, X * 2, -X]), w, X)


def test_an_eager_tape_sees_what_a_scan_captures():
    w, v = as_tensor(3.0), hb.Variable(2.0)
    with hb.GradientTape() as tape:
        tape.watch(w)
        last, _ = hb.scan(lambda c, x: (c * w + v * x, None), 1.0, hb.ones(2))
    dw, dv = tape.gradient(last, [w, v])
    assert (float(last), float(dw), float(dv)) == (17, 8, 4)


def test_scan_carries_variables():
    v = hb.Variable(1.0)

    def f(xs):
        out = hb.scan(lambda c, x: (c + v.assign_add(x), v * 2.0), 0.0, xs)
        return (*out, v.value())

    for call in (f, hb.function(f)):
        v.assign(1.0)
        carry, ys, after = call(as_tensor([1.0, 2.0]))
        assert (float(carry), ys.tolist(), float(after), float(v)) == (6, [4, 8], 4, 4)


def test_bodies_in_bodies():
    v = hb.Variable(1.0)

    def f(xs, scale):
        def step(c, x):
            def inner(i, y):
                return i + 1, hb.cond(y > 2.0, lambda: y * scale, lambda: y + v * x)

            return c + hb.while_loop(lambda i, y: i < 3, inner, (0, x))[1], c * scale

        return hb.scan(step, as_tensor(0.0).astype(xs.dtype), xs)[0]

    in_every_mode(f, np.array([1.0, 2.0]), np.array(3.0))
    check(f, np.array([0.3, 1.7]), np.array(1.5))


def test_bodies_in_bodies_assign_variables():
    v = hb.Variable(0.0)

    @hb.function
    def f(xs):
        def step(c, x):
            hb.cond(x > 1.0, lambda: v.assign_add(x), lambda: v.assign_sub(1.0))
            return c, v.value()

        return hb.scan(step, 0, xs)[1]

    assert f(as_tensor([1.0, 2.0, 3.0])).tolist() == [-1, 1, 4]
    assert float(v) == 4


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fori_loop(n):
    (out,) = in_every_mode(lambda x: hb.fori_loop(0, n, lambda i, y: y * 2.0 + i, x), np.float32(1))
    expected = 1.0
    for i in range(n):
        expected = expected * 2 + i
    assert out == expected
    assert float(hb.function(lambda n: hb.fori_loop(0, n, lambda i, y: y * 2.0 + i, 1.0))(as_tensor(n))) == expected
    check(lambda x: hb.fori_loop(0, n, lambda i, y: hb.sin(y) * x, x), X)


def test_maps():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for mapped in (hb.map, hb.vectorized_map):
        (out,) = in_every_mode(lambda x, mapped=mapped: mapped(lambda row: hb.sum(row) * row, x), x)
        np.testing.assert_array_equal(out, x.sum(1, keepdims=True) * x)
        a, b = mapped(lambda e: (e["p"] + e["q"], e["p"][0]), {"p": as_tensor(x), "q": as_tensor(x)})
        np.testing.assert_array_equal(a, 2 * x)
        np.testing.assert_array_equal(b, x[:, 0])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan_is_a_cumulative_sum(n, reverse):
    x = np.random.default_rng(n).integers(-9, 9, (2, n)).astype(np.float64)
    expected = np.flip(np.cumsum(np.flip(x, 1), 1), 1) if reverse else np.cumsum(x, 1)
    for axis in (1, -1):
        out = hb.associative_scan(lambda a, b: a + b, as_tensor(x), reverse=reverse, axis=axis)
        np.testing.assert_array_equal(out, expected)


def test_associative_scan_of_structures():
    a, b = np.array([0.5, 0.9, 0.2, 0.7]), np.array([1.0, 2.0, 3.0, 4.0])

    def combine(first, then):
        return first[0] * then[0], first[1] * then[0] + then[1]

    _, y = hb.associative_scan(combine, (as_tensor(a), as_tensor(b)))
    expected, state = [], 0.0
    for p, q in zip(a, b, strict=True):
        state = state * p + q
        expected.append(state)
    np.testing.assert_allclose(y, expected)
    check(lambda a, b: hb.associative_scan(combine, (a, b))[1], a, b, order=1)
    with pytest.raises(hb.ShapeError):
        hb.associative_scan(combine, (hb.ones(2), hb.ones(3)))


# -- remat and callbacks


def test_remat_computes_again_and_differentiates_the_same():
    runs = []
    v = hb.Variable(np.array(2.0))

    def f(x, scale=1.0, *, name="n"):
        runs.append(name)
        return {"y": hb.exp(x * v) * scale, "z": x}

    again = hb.remat(f)
    check(lambda x: again(x, 2.0, name="m")["y"], X * 0.5)
    with hb.GradientTape() as tape:
        tape.watch(x := as_tensor(X))
        out = again(x)
    dx, dv = tape.gradient(out["y"], [x, v])
    np.testing.assert_allclose(dx, 2 * np.exp(2 * X))
    np.testing.assert_allclose(dv, (X * np.exp(2 * X)).sum())
    assert "m" in runs


def test_remat_assigns_variables():
    v = hb.Variable(1.0)
    for call in (hb.remat(lambda x: v.assign_add(x) * 2.0), hb.function(hb.remat(lambda x: v.assign_add(x) * 2.0))):
        v.assign(1.0)
        assert (float(call(as_tensor(3.0))), float(v)) == (8, 4)


def test_callbacks():
    def f(x):
        return hb.callback(
            lambda a: (a.sum(), a.astype(np.int32)), [x], [hb.TensorSpec((), "float32"), hb.TensorSpec((3,), "int32")]
        )

    total, ints = in_every_mode(f, np.array([1.5, 2.5, 3.5], np.float32))
    assert (total, ints.tolist()) == (7.5, [1, 2, 3])
    with pytest.raises(hb.ShapeError, match="promised"):
        hb.callback(lambda: np.ones(3), [], [hb.TensorSpec((2,), "float32")])


def test_callbacks_run_once_per_run_and_are_not_dropped():
    ran = []
    f = hb.function(lambda x: (hb.callback(lambda a: ran.append(float(a)), [x], []), x)[1])
    for n in (1.0, 2.0):
        f(as_tensor(n))
    assert ran == [1, 2]
