"""Creation, shapes, joins, choosing and sorting, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam.runtime.eager  # noqa: F401  (installs the interpreter)
from hornbeam.errors import DTypeError, ShapeError, TracingError
from hornbeam.ops import array, creation, indexing, padding, reductions, sorting
from hornbeam.ops.transforms import grad
from hornbeam.runtime.function import function

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 11
M = X[0]
V = np.array([3, 1, 2, 1], np.int32)


def same(got, want, tolerance=0.0):
    """Equal in structure, shape and numbers."""
    if isinstance(want, (list, tuple)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            same(g, w, tolerance)
        return
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.astype(float), want.astype(float), tolerance, tolerance)


CREATION = [
    ("zeros", ((2, 3),)), ("ones", (3,)), ("eye", (3, 4, 1)), ("eye", (3,)), ("identity", (3,)),
    ("tri", (3, 4, -1)),
    ("arange", (5,)), ("arange", (2, 9, 3)), ("arange", (1.0, 2.0, 0.25)), ("arange", (5, 0, -2)),
    ("arange", (3, 3)),
    ("linspace", (0, 10, 11)), ("linspace", (1.0, 2.0, 5, False)), ("linspace", (0, 1, 1)), ("linspace", (0, 1, 0)),
    ("logspace", (0, 2, 3)), ("geomspace", (1, 1000, 4)), ("geomspace", (-1, -8, 4)),
    ("vander", (V,)), ("vander", (V, 3, True)),
    ("bartlett", (7,)), ("blackman", (7,)), ("hamming", (7,)), ("hanning", (7,)), ("hanning", (1,)),
    ("hanning", (0,)),
    ("kaiser", (9, 5.0)), ("kaiser", (9, 40.0)),
]  # fmt: skip


@pytest.mark.parametrize("name, args", CREATION, ids=str)
def test_creation(name, args):
    same(getattr(creation, name)(*args), getattr(np, name)(*args), 1e-5)


def test_creation_of_tensors_like_others():
    same(creation.full((2, 2), [1, 2]), np.full((2, 2), [1, 2]))
    assert creation.full_like(V, 2.7).dtype == np.int32
    same(creation.meshgrid(V, M[0]), np.meshgrid(V, M[0]))
    same(creation.meshgrid(V, M[0], V, indexing="ij"), np.meshgrid(V, M[0], V, indexing="ij"))
    same(creation.linspace(M[:, 0], M[:, 1], 5, axis=-1), np.linspace(M[:, 0], M[:, 1], 5, axis=-1), 1e-6)
    assert [creation.arange(2).dtype, creation.arange(2.0).dtype] == [np.int32, np.float32]


SHAPES = [
    ("reshape", (X, (4, -1))), ("reshape", (X, -1)), ("ravel", (X,)), ("transpose", (X,)),
    ("transpose", (X, (1, 0, 2))),
    ("swapaxes", (X, 0, -1)), ("moveaxis", (X, 0, -1)), ("moveaxis", (X, (0, 1), (2, 0))),
    ("expand_dims", (X, (0, -1))),
    ("squeeze", (X[:1, :, :1],)), ("squeeze", (X[:1], 0)), ("broadcast_to", (M, (2, 3, 4))), ("atleast_3d", (M,)),
    ("atleast_2d", (V,)), ("atleast_1d", (3.0,)), ("flip", (X,)), ("flip", (X, (0, 2))), ("fliplr", (M,)),
    ("flipud", (M,)),
    ("rot90", (M,)), ("rot90", (M, 2)), ("rot90", (M, -1)), ("rot90", (X, 1, (2, 1))),
    ("roll", (X, 5)), ("roll", (X, -1, 1)), ("roll", (X, (1, 2), (0, 2))), ("roll", (X, (1, 2), 1)),
    ("roll", (X, np.array([1, 2]), np.array([0, 2]))),
    ("stack", ([M, M], -1)), ("vstack", ([V, V],)), ("hstack", ([V, V],)), ("dstack", ([M, M],)),
    ("column_stack", ([V, V],)),
    ("append", (M, M, 1)), ("append", (M, V)), ("split", (X, 2, 2)), ("split", (X, [1, 3], 2)),
    ("array_split", (M, 3, 1)),
    ("hsplit", (M, 2)), ("vsplit", (M, 3)), ("dsplit", (X, [1])),
    ("repeat", (M, 2)), ("repeat", (M, 2, 0)), ("repeat", (M, [1, 0, 2], 0)), ("tile", (M, 2)),
    ("tile", (M, (2, 1, 3))),
    ("diag", (V,)), ("diag", (V, 2)), ("diag", (V, -1)), ("diag", (M, 1)), ("diag", (M, -2)), ("diagflat", (M,)),
    ("diagonal", (X, 1, 2, 1)), ("diagonal", (X, 9)), ("trace", (X, 0, 1, 2)), ("tril", (X, 1)), ("triu", (X, -1)),
]  # fmt: skip


@pytest.mark.parametrize("name, args", SHAPES, ids=lambda v: v if isinstance(v, str) else "")
def test_shapes(name, args):
    same(getattr(array, name)(*args), getattr(np, name)(*args))


@pytest.mark.parametrize("mode", [mode for mode in padding.MODES if mode != "empty"])
@pytest.mark.parametrize("width", [1, (2, 0), ((0, 1), (2, 2), (3, 1)), ((5, 7), (0, 0), (9, 2))], ids=str)
def test_pad(mode, width):
    same(padding.pad(X, width, mode), np.pad(X, width, mode=mode), 1e-6)
    same(padding.pad(X.astype(np.int32), width, mode), np.pad(X.astype(np.int32), width, mode=mode))


def test_empty_padding_promises_a_shape_only():
    padded = padding.pad(M, (1, 2), "empty")
    assert padded.shape == (6, 7)
    same(padded[1:4, 1:5], M)


def test_pad_refuses_other_modes_and_names_those_there_are():
    with pytest.raises(ValueError, match="linear_ramp"):
        padding.pad(M, 1, "circular")


def test_spaces_without_a_step():
    for num in (0, 1):
        values, step = creation.linspace(V, V + 1, num, retstep=True)
        assert values.shape == (num, 4) and step.shape == () and np.isnan(step.numpy())


def test_a_number_has_no_indices():
    with pytest.raises(ShapeError, match="atleast_1d"):
        sorting.nonzero(3)
    assert [sorting.argwhere(x).shape for x in (3, 0)] == [(1, 0), (0, 0)] == [np.argwhere(x).shape for x in (3, 0)]


def test_joins_promote_and_refuse():
    assert array.concat([M, V[None]], 0).dtype == np.float32
    same(array.concat([M, V], None), np.concatenate([M, V], None))
    same(array.unstack(M, 1), list(M.T))
    with pytest.raises(ShapeError, match="array_split"):
        array.split(M, 3, 1)
    with pytest.raises(ShapeError):
        array.stack([M, V])


# -- choosing -------------------------------------------------------------------------------------

AT = np.array([[0, -1], [2, 1]])
CHOICES = [
    ("where", (X > 0, X, 0.0)), ("where", (X > 0,)), ("take", (X, AT)), ("take", (X, AT, 1)), ("take", (X, 1, -1)),
    ("take_along_axis", (X, AT[:, :, None] % 3, 1)), ("take_along_axis", (X, np.array([3, 5]), None)),
    ("unravel_index", (np.array([0, 5]), (2, 3))),
    ("select", ([X > 5, X < -5], [X, -X], 7.0)),
]  # fmt: skip


@pytest.mark.parametrize("name, args", CHOICES, ids=lambda v: v if isinstance(v, str) else "")
def test_choosing(name, args):
    same(getattr(indexing, name)(*args), getattr(np, name)(*args))


def test_blocks_and_scattering():
    same(indexing.slice(X, (0, 1, 2), (1, 2, -1)), X[0:1, 1:3, 2:])
    updated = X.copy()
    updated[1:, 1:, 1:3] = 0
    same(indexing.slice_update(X, (1, 1, 1), np.zeros((1, 2, 2))), updated)
    same(indexing.scatter_nd([[0], [2], [0]], [1.0, 2.0, 3.0], (4,)), [4, 0, 2, 0])
    same(indexing.gather_nd(X, [[0, -1], [1, 1]]), X[[0, 1], [-1, 1]])
    with pytest.raises(DTypeError, match="integers"):
        indexing.take(X, 1.5)


# -- sorting and counting -------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
Z = rng.integers(0, 5, (4, 5)).astype(np.int32)
NAN = np.array([1, np.nan, -np.inf, 0, np.nan], np.float32)
SORTING = [
    ("sort", (Z,)), ("sort", (Z, 0)), ("sort", (Z, None)), ("sort", (NAN,)), ("nonzero", (Z,)), ("argwhere", (Z,)),
    ("searchsorted", (np.sort(Z[0]), Z)), ("searchsorted", (np.sort(Z[0]), Z, "right")),
    ("searchsorted", (np.sort(NAN), NAN)),
    ("digitize", (Z, [0, 2, 4])), ("digitize", (Z, [4, 2, 0])), ("digitize", (Z, [0, 2, 4], True)),
    ("digitize", (Z, [4, 2, 0], True)), ("isin", (Z, [1, 3])), ("unique", (Z,)), ("unique", (Z, True, True, True)),
    ("unique", (Z[:, :2] // 2, True, True, True, 0)), ("unique", (np.zeros(0, np.int32), True, True, True)),
    ("bincount", (Z[0],)), ("bincount", (Z[0], M.ravel()[:5], 9)),
    ("histogram", (X,)), ("histogram", (X, 4, (-5, 5))), ("histogram", (X, [-20, 0, 1])),
    ("histogram", (np.ones(3),)),
]  # fmt: skip


@pytest.mark.parametrize("name, args", SORTING, ids=lambda v: v if isinstance(v, str) else "")
def test_sorting(name, args):
    same(getattr(sorting, name)(*args), getattr(np, name)(*args), 1e-6)


def test_argsort_is_stable_in_both_directions():
    same(sorting.argsort(V), [1, 3, 2, 0])
    same(sorting.argsort(V, descending=True), [0, 2, 1, 3])
    same(sorting.top_k(V, 2), ([3, 2], [0, 2]))


def test_isin_by_search():
    many = np.arange(0, 5000, 3)
    same(sorting.isin(np.arange(1000), many, invert=True), np.isin(np.arange(1000), many, invert=True))


def test_what_depends_on_values_needs_a_size_while_tracing():
    for name in ("unique", "nonzero"):
        operation = getattr(sorting, name)
        with pytest.raises(TracingError, match=r"size="):
            function(operation)(Z)
        fixed = function(lambda x: operation(x, size=3))
        same(fixed(Z), operation(Z, size=3))
    with pytest.raises(TracingError, match="length="):
        function(sorting.bincount)(Z[0])
    same(function(lambda x: sorting.bincount(x, length=3))(Z[0]), np.bincount(Z[0], minlength=3)[:3])


def test_unique_of_a_size():
    values, counts = sorting.unique(V, return_counts=True, size=5, fill_value=9)
    same((values, counts), ([1, 2, 3, 9, 9], [2, 1, 1, 0, 0]))
    same(sorting.unique(V, size=2), [1, 2])


GRADIENTS = [
    (lambda x: padding.pad(x, 2, "reflect"), M), (lambda x: padding.pad(x, 5, "wrap"), M),
    (lambda x: padding.pad(x, 2, "linear_ramp"), M), (lambda x: padding.pad(x, 2, "mean"), M),
    (lambda x: array.roll(x, 3), M),
    (lambda x: array.diag(x, 1), M[0]), (lambda x: array.repeat(x, [2, 0, 1], 0), M),
    (lambda x: array.tile(x, 3), M),
    (lambda x: indexing.take(x, AT, 1), M), (lambda x: sorting.sort(x, 0), M), (lambda x: array.diagonal(x, 1), M),
]  # fmt: skip


@pytest.mark.parametrize("f, x", GRADIENTS, ids=map(str, range(len(GRADIENTS))))
def test_gradients_of_what_moves_elements(f, x):
    """Moving elements is linear, so the gradient of sum(w * f(x)) is exact by differences."""
    weights = np.sin(np.arange(np.asarray(f(x)).size, dtype=np.float32)).reshape(np.asarray(f(x)).shape)
    found = np.asarray(grad(lambda v: reductions.sum(f(v) * weights))(creation.tensor(x)))
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = 0.25
        change = ((np.asarray(f(x + step)) - np.asarray(f(x - step))) * weights).sum() / 0.5
        np.testing.assert_allclose(found[i], change, 1e-4, 1e-4)
