"""Eager execution: one primitive at a time, with the numbers of every other mode, and little on top of NumPy."""

import weakref

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.runtime import session as sessions
from hornbeam.runtime.tensor import as_tensor


def test_eager_and_traced_give_the_same_bits():
    x = as_tensor(np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32))

    def f(x):
        y = hb.exp(x - x.mean(1, keepdims=True)) / 3.0
        return (y.sum(0) * hb.tanh(y)).T @ y, y**3, x > y

    for eager, traced in zip(f(x), hb.function(f)(x), strict=True):
        assert eager.dtype == traced.dtype
        assert eager.numpy().tobytes() == traced.numpy().tobytes()


def test_no_warnings_from_numpy():
    x = as_tensor([0.0, -1.0, 1e38])
    assert np.isinf((1.0 / x)[0].item())
    assert np.isnan(hb.log(x)[1].item())
    assert np.isinf((x * x)[2].item())
    with np.errstate(all="raise"):
        1.0 / x


def test_executables_are_kept_by_primitive_specs_and_attributes():
    with hb.Session() as sess:
        a, b = as_tensor(np.ones((2, 3))), as_tensor(np.ones(3))
        a + a
        n = len(sess._operations)
        a + (a + a)
        assert len(sess._operations) == n
        a.sum(0), a.sum(1), a + b
        assert len(sess._operations) == n + 3


def test_kept_executables_are_bounded(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_OPERATIONS", 5)
    with hb.Session() as sess:
        for n in range(10):
            hb.ones(n) + 1.0
        assert len(sess._operations) == 5
        assert (hb.ones(3) + 1.0).tolist() == [2, 2, 2]


def test_what_a_custom_gradient_closes_over_is_not_kept():
    class Big:
        pass

    def once():
        big = Big()

        @hb.custom_gradient
        def f(x):
            return x, lambda g: (g, big)[0]

        f(hb.ones(3))
        return weakref.ref(big)

    assert once()() is None


def test_a_leaked_symbolic_tensor_says_so():
    kept = []
    hb.function(lambda x: kept.append(x * 2))(hb.ones(2))
    for use in (lambda: kept[0] + 1, lambda: hb.exp(kept[0]), lambda: hb.function(lambda x: x)(kept[0])):
        with pytest.raises(hb.TracingError, match=r"outside the function(.|\n)*return it"):
            use()


def test_shape_errors_name_the_users_line():
    with pytest.raises(hb.ShapeError, match=r"\(2,\) and \(3,\)(.|\n)*test_eager.py:"):
        hb.ones(2) + hb.ones(3)
    with pytest.raises(hb.DTypeError):
        ~hb.ones(2)
