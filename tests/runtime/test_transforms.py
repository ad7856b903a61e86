"""Functions of functions: gradients, directional derivatives, and rules of one's own in every mode."""

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.runtime.tensor import as_tensor
from tests.runtime.differences import check

X = np.array([0.5, -0.3, 0.8])


def both(f):
    return f, hb.function(f)


# -- grad and friends


def test_value_and_grad():
    for f in both(hb.value_and_grad(lambda x, y: (x * x * y).sum(), argnums=(0, 1))):
        value, (dx, dy) = f(as_tensor(X), as_tensor(2.0).astype("float64"))
        assert (float(value), dx.tolist(), float(dy)) == ((X * X * 2).sum(), (4 * X).tolist(), (X * X).sum())


def test_grad_of_structures_and_of_the_same_tensor_twice():
    x = as_tensor(3.0)
    d = hb.grad(lambda p: p["a"] * p["b"][0] + p["n"])({"a": x, "b": [x], "n": as_tensor(1)})
    assert (float(d["a"]), float(d["b"][0])) == (3, 3)
    assert [float(g) for g in hb.grad(lambda a, b: a * a * b, argnums=(0, 1))(x, x)] == [18, 9]
    assert float(hb.grad(lambda a, b: a * 1.0)(x, b=x)) == 1


def test_grad_of_grad():
    cube = lambda x: x**3
    for f in both(hb.grad(hb.grad(hb.grad(cube)))):
        assert float(f(as_tensor(2.0))) == 6


def test_jvp():
    def f(x, y):
        return {"p": hb.sin(x) * y, "q": x.sum()}

    t = np.array([1.0, 2.0, -1.0])
    for call in both(lambda x, y, s, u: hb.jvp(f, (x, y), (s, u))):
        out, pushed = call(as_tensor(X), as_tensor(X + 1), as_tensor(t), as_tensor(-t))
        np.testing.assert_allclose(out["p"], np.sin(X) * (X + 1))
        np.testing.assert_allclose(pushed["p"], np.cos(X) * (X + 1) * t - np.sin(X) * t)
        np.testing.assert_allclose(pushed["q"], t.sum())


def test_stop_gradient():
    check(lambda x: hb.stop_gradient({"a": x * x})["a"] * 1.0 + hb.stop_gradient(x) * 0.0 + 0.0 * x, X * 0, order=1)
    for f in both(hb.grad(lambda x: (hb.stop_gradient(x) * x).sum())):
        assert f(as_tensor(X)).tolist() == X.tolist()


# -- custom_gradient


@hb.custom_gradient
def doubled_backwards(x):
    return x * x, lambda g: g * 4.0 * x  # twice the truth


@hb.custom_gradient
def log1pexp(x):
    e = hb.exp(x)
    return hb.log(1.0 + e), lambda g: g * (1.0 - 1.0 / (1.0 + e))


def test_a_rule_of_ones_own_eagerly_and_traced():
    for f in both(hb.grad(lambda x: doubled_backwards(x).sum())):
        np.testing.assert_allclose(f(as_tensor(X)), 4 * X)


def test_a_rule_of_ones_own_through_a_call_and_in_a_graph():
    f = hb.function(lambda x: doubled_backwards(x).sum())
    with hb.GradientTape() as tape:
        tape.watch(x := as_tensor(X))
        y = f(x)
    np.testing.assert_allclose(tape.gradient(y, x), 4 * X)
    graph = hb.Graph()
    with graph.as_default():
        p = graph.placeholder([3], "float64")
        (d,) = graph.gradients(hb.map(lambda e: doubled_backwards(e), p), [p])
    with hb.Session(graph) as sess:
        np.testing.assert_allclose(sess.run(d, {p: X}), 4 * X)


def test_a_true_rule_agrees_with_differences_to_second_order():
    check(log1pexp, X)
    check(lambda x: hb.scan(lambda c, e: (log1pexp(c) * e, c), hb.ones((), "float64"), x)[0], X)
    check(lambda x: hb.cond(x.sum() > 0.0, lambda: log1pexp(x), lambda: x), X)
    check(lambda x: hb.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, log1pexp(y)), (0, x))[1], X)


IN_BODIES = {
    "scan": lambda f, x: hb.sum(hb.scan(lambda c, e: (f(c) * e, f(e)), hb.ones((), "float64"), x)[1]),
    "map": lambda f, x: hb.map(f, x).sum(),
    "cond": lambda f, x: hb.cond(x.sum() > 0.0, lambda: f(x) * x, lambda: f(x) + x).sum(),
    "switch": lambda f, x: hb.switch(as_tensor(1), [lambda x: x, f], x).sum(),
    "while": lambda f, x: hb.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, f(y)), (0, x))[1].sum(),
    "fori": lambda f, x: hb.fori_loop(0, 2, lambda i, y: f(y), x).sum(),
    "remat": lambda f, x: hb.remat(f)(x).sum(),
    "function": lambda f, x: hb.function(f)(x).sum(),
    "nested": lambda f, x: hb.map(lambda e: hb.cond(e > 0.0, lambda: hb.map(f, x).sum() * e, lambda: f(e)), x).sum(),
}


@pytest.mark.parametrize("where", IN_BODIES)
@pytest.mark.parametrize("kind", ["tensor", "variable"])
def test_a_rule_in_a_body_may_use_what_the_forward_pass_does_not(where, kind):
    """The gradient of f is s, a tensor or variable of outside: f(x) = x s in disguise, as far as gradients go."""
    variable = hb.Variable(1.5, dtype="float64")

    def run(x, s, f):
        with hb.GradientTape() as tape:
            tape.watch(x)
            scale = s * 0.5 if kind == "tensor" else variable.value()
            y = IN_BODIES[where](lambda x: f(x, scale), x)
        return tape.gradient(y, x)

    def disguised(x, s):
        @hb.custom_gradient
        def f(x):
            return x * 1.5, lambda g: g * s

        return f(x)

    x, s = as_tensor(X), as_tensor(3.0).astype("float64")
    expected = np.asarray(run(x, s, lambda x, s: x * 1.5))
    for call in both(lambda x, s: run(x, s, disguised)):
        np.testing.assert_allclose(np.asarray(call(x, s)), expected, rtol=1e-12)


def test_rules_that_call_each_other():
    @hb.custom_gradient
    def sine(x):
        return hb.sin(x), lambda g: g * cosine(x)

    @hb.custom_gradient
    def cosine(x):
        return hb.cos(x), lambda g: -g * sine(x)

    check(sine, X)
    for call in both(hb.grad(lambda x: hb.map(hb.grad(sine), x).sum())):
        np.testing.assert_allclose(call(as_tensor(X)), -np.sin(X))


def test_a_rule_with_effects_runs_when_it_is_applied():
    count = hb.Variable(0)

    @hb.custom_gradient
    def f(x):
        def rule(g):
            count.assign_add(1)
            return g * 2.0

        return x * 2.0, rule

    assert hb.function(hb.grad(lambda x: f(x).sum()))(as_tensor(X)).tolist() == [2.0] * len(X)
    assert int(count) == 1
    hb.function(f)(as_tensor(X))
    assert int(count) == 1


def test_a_rule_with_effects_that_needs_what_is_outside():
    @hb.function
    def f(x, s):
        @hb.custom_gradient
        def doubled(x):
            return x * 2.0, lambda g: (hb.callback(print, [], []), g * s)[1]

        return hb.grad(lambda x: hb.map(doubled, x).sum())(x)

    with pytest.raises(hb.GradientError, match=r"rule used in step needs a tensor from outside(.|\n)*argument"):
        f(as_tensor(X), as_tensor(2.0))


def test_several_arguments_results_and_none():
    @hb.custom_gradient
    def f(x, n, y):
        return {"a": x * y, "b": y}, lambda da, db: (da * y, None, da * x + db)

    check(lambda x, y: f(x, as_tensor(3), y)["a"] + f(x, as_tensor(3), y)["b"], X, X + 1)
    g = hb.grad(lambda x: f(x, as_tensor(3), x)["b"].sum())
    assert g(as_tensor(X)).tolist() == [1, 1, 1]


def test_a_rule_that_returns_the_wrong_number():
    @hb.custom_gradient
    def f(x, y):
        return x * y, lambda g: g

    for grad in both(hb.grad(lambda x: f(x, x).sum())):
        with pytest.raises(hb.GradientError, match="returned 1 gradients for 2 tensors"):
            grad(as_tensor(X))


def test_variables_as_arguments():
    v = hb.Variable(3.0)
    for call in both(lambda: gradient_of_variable(v)):
        assert float(call()) == 24


def gradient_of_variable(v):
    with hb.GradientTape() as tape:
        y = doubled_backwards(v) * 2.0
    return tape.gradient(y, v)
