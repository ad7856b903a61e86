"""What leaves the loop of a scan, what its gradient keeps, and that the numbers are those of the loop as written."""

from collections import Counter

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.engines.native.prepare import prepared
from hornbeam.ir.program import Program
from tests.runtime.differences import check

T, B, F, U = 5, 3, 4, 6
rng = np.random.default_rng(3)


def made(*shape):
    return rng.standard_normal(shape) * 0.4


X, H, W, R, BIAS, V = made(T, B, F), made(B, U), made(F, U), made(U, U), made(U), made(U, 2)


def rnn(reverse=False):
    """A network with a product of the input, one of the state, a bias, and one for the output."""

    def f(x, h, w, r, bias, v):
        def step(h, x):
            h = hb.tanh(x @ w + h @ r + bias)
            return h, h @ v

        last, ys = hb.scan(step, h, x, reverse=reverse)
        return hb.sum(last) + hb.sum(hb.sin(ys))

    return f


def unrolled(reverse=False):
    def f(x, h, w, r, bias, v):
        total = 0.0
        for t in reversed(range(T)) if reverse else range(T):
            h = hb.tanh(x[t] @ w + h @ r + bias)
            total = total + hb.sum(hb.sin(h @ v))
        return hb.sum(h) + total

    return f


def gradients_of(f, *args):
    def g(*args):
        with hb.GradientTape() as tape:
            for a in args:
                tape.watch(a)
            y = f(*args)
        return y, tape.gradient(y, list(args))

    return g


def program_of(f, *args) -> Program:
    return prepared(hb.function(f).program(*map(hb.tensor, args)))


def rows_in(program: Program) -> Counter:
    return Counter(n.primitive.name for n in program.nodes)


def scans_of(program: Program) -> list:
    return [n for n in program.nodes if n.primitive.name == "scan"]


def body_of(node) -> Program:
    return dict(node.attrs)["body"]


def test_products_with_weights_leave_the_loop():
    program = program_of(rnn(), X, H, W, R, BIAS, V)
    (scan,) = scans_of(program)
    assert rows_in(body_of(scan))["dot"] == 1  # of the state
    assert rows_in(program)["dot"] == 2  # of the inputs before it, for the outputs after it


def test_gradients_of_weights_are_one_product_each():
    program = program_of(gradients_of(rnn()), X, H, W, R, BIAS, V)
    forward, backward = scans_of(program)
    assert rows_in(body_of(forward))["dot"] == rows_in(body_of(backward))["dot"] == 1
    assert dict(backward.attrs)["carries"] == 1  # the state's cotangent: nothing is added up step by step
    assert rows_in(program)["dot"] == 2 + 5  # x W and its two, h V and its two, and that of R
    assert rows_in(body_of(backward))["tanh"] == 0  # kept, not computed again


@pytest.mark.parametrize("reverse", [False, True])
def test_the_numbers_are_those_of_the_steps(reverse):
    args = [hb.tensor(a) for a in (X, H, W, R, BIAS, V)]
    moved, plain = (gradients_of(f(reverse))(*args) for f in (rnn, unrolled))
    for a, b in zip(hb_leaves(moved), hb_leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    check(rnn(reverse), X, H, W, R, BIAS, V)


def hb_leaves(found):
    y, grads = found
    return [np.asarray(y), *map(np.asarray, grads)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_eagerly_and_traced(dtype):
    args = [hb.tensor(a.astype(dtype)) for a in (X, H, W, R, BIAS, V)]
    g = gradients_of(rnn())
    for a, b in zip(hb_leaves(g(*args)), hb_leaves(hb.function(g)(*args)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_carry_that_only_adds_products_is_one_product():
    def f(x, y, start):
        return hb.scan(lambda total, xy: (total + hb.transpose(xy[0]) @ xy[1], None), start, (x, y))[0]

    x, y, start = made(T, B, F), made(T, B, U), made(F, U)
    program = program_of(f, x, y, start)
    assert not scans_of(program)
    expected = start + np.einsum("tbf,tbu->fu", x, y)
    np.testing.assert_allclose(np.asarray(f(*map(hb.tensor, (x, y, start)))), expected, rtol=1e-12)
    check(f, x, y, start)


def test_a_carry_that_is_read_stays_one():
    def f(x, y, start):
        def step(total, xy):
            total = total + xy[0] @ xy[1]
            return total, hb.sum(total)

        return hb.scan(step, start, (x, y))[1]

    x, y, start = made(T, B, F), made(T, F, U), made(B, U)
    expected = [(start + (x @ y)[: t + 1].sum(0)).sum() for t in range(T)]
    np.testing.assert_allclose(np.asarray(f(*map(hb.tensor, (x, y, start)))), expected, rtol=1e-12)


def test_what_is_made_of_constants_alone_is_made_once():
    def f(x, h, w):
        return hb.scan(lambda h, x: (hb.tanh(h @ hb.exp(w)[:, :U] + x), None), h, x)[0]

    args = made(T, B, U), H, made(U, 2 * U)
    (scan,) = scans_of(program_of(f, *args))
    assert rows_in(body_of(scan)).keys() <= {"dot", "add", "tanh"}
    check(f, *args)


def test_the_gradient_of_a_part_of_a_weight_is_one_product():
    def f(x, h, w):
        def step(h, x):
            gate = hb.nn.sigmoid(h @ w[:, :U] + x)
            return hb.tanh((gate * h) @ w[:, U:] + x), None

        return hb.sum(hb.scan(step, h, x)[0])

    args = made(T, B, U), H, made(U, 2 * U)
    backward = scans_of(program_of(gradients_of(f), *args))[-1]
    assert dict(backward.attrs)["carries"] == 1
    check(f, *args)


def test_something_large_is_not_made_whole():
    """A loss over parts, so that the scores of all of them never exist at once."""

    def f(x, w):
        return hb.scan(lambda total, x: (total + hb.sum(hb.exp(x @ w)), None), hb.zeros((), w.dtype), x)[0]

    x, w = made(T, B, F), made(F, 200)
    program = program_of(gradients_of(f), x, w)
    assert rows_in(program)["dot"] == 0
    forward, backward = scans_of(program)
    assert rows_in(body_of(forward))["dot"] == 1
    assert rows_in(body_of(backward))["exp"] == 1  # computed again
    large = [s for n in (forward, backward) for s in n.spec if s.size >= T * B * 200]
    assert not large
    check(f, x, w)


def test_a_map_over_sequences_needs_no_loop():
    def f(x, w):
        return hb.map(lambda x: hb.nn.softmax(hb.transpose(x) @ w, -1)[1:], x)

    x, w = made(T, B, F), made(B, U)
    assert not scans_of(program_of(f, x, w))
    eager = np.asarray(f(hb.tensor(x), hb.tensor(w)))
    scores = np.exp(np.swapaxes(x, 1, 2) @ w)
    np.testing.assert_allclose(eager, (scores / scores.sum(-1, keepdims=True))[:, 1:], rtol=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_operands_of_fewer_axes_line_up(rank):
    """Broadcasting is by the last axes; the steps are a first one."""
    shape = (B, U)[2 - rank :]

    def f(x, c, w):
        return hb.map(lambda x: (x + c) * c @ w, x)

    x, c, w = made(T, *shape), made(B, U), made(U, 2)
    np.testing.assert_allclose(
        np.asarray(f(*map(hb.tensor, (x, c, w)))), np.stack([(x[t] + c) * c @ w for t in range(T)]), rtol=1e-12
    )
    check(f, x, c, w)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_loops(length):
    args = [X[:length], H, W, R, BIAS, V]
    f = rnn()
    _, grads = gradients_of(f)(*map(hb.tensor, args))
    for g, a in zip(grads, args, strict=True):
        assert g.shape == a.shape
    check(f, *args)


def test_results_that_nobody_uses_are_not_computed():
    def f(x, h):
        def step(carry, x):
            h, idle = carry
            return (hb.tanh(h + x), hb.exp(idle)), (hb.cos(h), hb.sin(h))

        (h, _), (cosine, _) = hb.scan(step, (h, h * 2.0), x)
        return h, cosine

    (scan,) = scans_of(program_of(f, made(T, B, U), H))
    assert sorted(rows_in(body_of(scan))) == ["add", "cos", "tanh"]
    assert dict(scan.attrs)["carries"] == 1


def test_gradients_of_parts_are_laid_side_by_side():
    def f(x, h):
        def step(h, x):
            z = h + x
            a, b, c = hb.split(z, 3, -1)
            return hb.concat([hb.sin(b), hb.cos(c), hb.exp(a)], -1), None

        return hb.sum(hb.scan(step, h, x)[0])

    args = made(T, B, U), H
    backward = scans_of(program_of(gradients_of(f), *args))[-1]
    rows = rows_in(body_of(backward))
    assert rows["pad"] == 0 and rows["concat"] == 1
    check(f, *args)
