"""What is composed of the rows of linear algebra, and their corners: singular, indefinite, degenerate, not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import GradientError, ShapeError
from hornbeam.ir.bind import interpreting
from hornbeam.ir.grad import gradients
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitives import linalg
from hornbeam.ir.program import Program, evaluate
from tests.rows.check import check_gradient, several, specs_of

RNG = np.random.default_rng(0)
BATCH = RNG.normal(size=(2, 3, 3)) + 2 * np.eye(3)
COMPLEX = BATCH + 1j * RNG.normal(size=(2, 3, 3))


def traced(function: Callable[..., Any], *arrays: np.ndarray) -> Program:
    params = [param(s) for s in specs_of(arrays)]
    with interpreting(NODES):
        return Program(params, several(function(*params)))


def compare(function: Callable[..., Any], numpy: Callable[..., Any], *arrays: np.ndarray) -> None:
    program = traced(function, *arrays)
    for got, want in zip(evaluate(program, arrays), several(numpy(*arrays)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
        assert got.shape == np.shape(want)
    check_gradient(program, arrays)


def test_solve_takes_matrices_and_vectors_and_broadcasts() -> None:
    b = RNG.normal(size=(2, 3, 2))
    compare(linalg.solve, np.linalg.solve, BATCH, b)
    compare(linalg.solve, np.linalg.solve, BATCH[0], b[0, :, 0])
    compare(linalg.solve, np.linalg.solve, BATCH[:1], np.stack([b, b]))
    compare(linalg.solve, lambda a, b: np.linalg.solve(a, b[..., None])[..., 0], BATCH, b[..., 0])
    compare(linalg.solve, np.linalg.solve, COMPLEX, b + 1j)


@pytest.mark.parametrize("a", [BATCH, COMPLEX, BATCH[0], BATCH[:, :1, :1]], ids=["real", "complex", "one", "1x1"])
def test_inverse_and_determinants(a: np.ndarray) -> None:
    compare(linalg.inverse, np.linalg.inv, a)
    compare(linalg.det, np.linalg.det, a)
    compare(linalg.slogdet, lambda a: tuple(np.linalg.slogdet(a)), a)


def test_empty_matrices() -> None:
    empty = np.zeros((2, 0, 0))
    compare(linalg.inverse, np.linalg.inv, empty)
    compare(linalg.det, np.linalg.det, empty)


def test_wrong_shapes_are_shape_errors() -> None:
    a, b = param(Spec((3, 3), dtypes.float32)), param(Spec((2, 4), dtypes.float32))
    scalar = param(Spec((), dtypes.float32))
    with interpreting(NODES):
        for attempt in (
            lambda: linalg.solve(a, b),
            lambda: linalg.solve(b, b),
            lambda: linalg.solve(scalar, scalar),
            lambda: linalg.inverse(b),
            lambda: linalg.inverse(scalar),
            lambda: linalg.det(b),
            lambda: linalg.slogdet(scalar),
        ):
            with pytest.raises(ShapeError):
                attempt()


def test_singular_matrices_do_not_raise() -> None:
    singular = np.zeros((2, 2))
    (det,) = evaluate(traced(linalg.det, singular), [singular])
    sign, logarithm = evaluate(traced(linalg.slogdet, singular), [singular])
    assert (det, sign, logarithm) == (0, 0, -np.inf)
    assert not np.isfinite(evaluate(traced(linalg.inverse, singular), [singular])[0]).any()


def test_one_matrix_without_a_decomposition_leaves_the_others_alone() -> None:
    good = np.eye(2, dtype=np.float32) * 2
    bad = {"cholesky": -good, "eigh": good * np.nan, "eig": good * np.nan, "svd": good * np.nan}
    for name, worse in bad.items():
        row = getattr(linalg, name.upper())
        attrs = {"full": False} if name == "svd" else {}
        with np.errstate(all="ignore"):
            outs = several(row.reference(np.stack([good, worse, good]), **attrs))
            alone = several(row.reference(good, **attrs))
        for out, one in zip(outs, alone, strict=True):
            np.testing.assert_array_equal(out[0], one)
            np.testing.assert_array_equal(out[2], one)
            assert np.isnan(out[1]).any()
            assert out.dtype == one.dtype


def test_equal_eigenvalues_have_a_gradient_where_their_choice_does_not_matter() -> None:
    a = np.eye(3) * 2

    def of_values(x: Any) -> Any:
        w, _ = linalg.EIGH(x)
        return (w * w).sum()

    def rebuilt(x: Any) -> Any:
        w, v = linalg.EIGH(x)
        return ((v * linalg.beside(w)) @ linalg.transposed(v)).sum()

    for function, want in ((of_values, 4 * np.eye(3)), (rebuilt, np.ones((3, 3)))):
        x = param(Spec((3, 3), dtypes.float64))
        with interpreting(NODES):
            out = function(x)
        (g,) = evaluate(Program([x], gradients([out], [x])), [a])
        assert np.isfinite(g).all()
        if function is of_values:
            np.testing.assert_allclose(g, want, atol=1e-12)


def test_singular_values_of_the_full_decomposition_have_both_derivatives() -> None:
    a = RNG.normal(size=(4, 2))
    check_gradient(traced(lambda x: linalg.SVD(x, full=True)[1], a), [a])


def test_what_is_not_determined_has_no_gradient_and_says_so() -> None:
    x, z = param(Spec((4, 2), dtypes.float64)), param(Spec((2, 2), dtypes.complex128))
    with interpreting(NODES):
        cases = {
            "full": (linalg.QR(x, full=True)[0], x),
            "beyond": (linalg.SVD(x, full=True)[0], x),
            "complex": (linalg.CHOLESKY(z), z),
            "eig": (linalg.EIG(z)[0], z),
        }
    for match, (out, source) in cases.items():
        with pytest.raises(GradientError, match=match):
            gradients([out], [source])


def test_matrices_read_only_what_they_promise_to() -> None:
    """A triangular solve does not look at the other triangle, nor at a unit diagonal."""
    a = np.asarray([[2.0, np.nan], [1.0, 4.0]])
    (x,) = several(
        linalg.TRIANGULAR_SOLVE.reference(a, np.asarray([[2.0], [9.0]]), lower=True, transpose=False, unit=False)
    )
    np.testing.assert_array_equal(x, [[1.0], [2.0]])
    a = np.asarray([[np.nan, 3.0], [np.nan, np.nan]])
    x = linalg.TRIANGULAR_SOLVE.reference(a, np.asarray([[5.0], [1.0]]), lower=False, transpose=False, unit=True)
    np.testing.assert_array_equal(x, [[2.0], [1.0]])
