"""Sample lines of the blocks: contractions, windows, gather and scatter, sorting, random bits. See ``samples.py``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from hornbeam.base.dtypes import ALL, float32, float64, int8, int32, int64, uint8, uint32
from hornbeam.ir.primitives import contract, index, random
from tests.rows.samples import NUMERIC, ORDERED, REAL, distinct, few, fixed, nonzero, normal, sample

# -- dot -----------------------------------------------------------------------------------------------


def _einsum(letters: str) -> Any:
    return lambda x, y, batch, contract: np.einsum(letters, x, y).astype(x.dtype)


for _letters, _shapes, _batch, _contract in (
    ("mk,kn->mn", [((2, 3), (3, 4)), ((2, 0), (0, 4)), ((0, 3), (3, 1))], ((), ()), ((1,), (0,))),
    ("k,k->", [((5,), (5,)), ((0,), (0,))], ((), ()), ((0,), (0,))),
    ("a,b->ab", [((2,), (3,)), ((0,), (3,))], ((), ()), ((), ())),
    ("bmk,bnk->bmn", [((2, 3, 4), (2, 5, 4)), ((0, 3, 4), (0, 1, 4))], ((0,), (0,)), ((2,), (2,))),
    ("kbmj,njkb->bmn", [((2, 3, 2, 4), (2, 4, 2, 3))], ((1,), (3,)), ((0, 3), (2, 1))),
    ("bca,acb->abc", [((3, 4, 2), (2, 4, 3))], ((2, 0, 1), (0, 2, 1)), ((), ())),
    (",a->a", [((), (3,))], ((), ()), ((), ())),
):
    sample(
        contract.DOT, _einsum(_letters), _shapes, dtypes=NUMERIC, tol=16, special=False,
        attrs={"batch": _batch, "contract": _contract},
    )  # fmt: skip

# -- convolution: one output place after the other, and its transposes by their definition -------------


def _places(spatial: Any, window: Any, strides: Any, padding: Any, dilation: Any) -> Any:
    """Each window's place with the slices of the padded array that it covers."""
    reach = [(w - 1) * d + 1 for w, d in zip(window, dilation)]
    counts = [max((n + lo + hi - r) // s + 1, 0) for n, (lo, hi), r, s in zip(spatial, padding, reach, strides)]
    for place in np.ndindex(*counts):
        yield place, tuple(slice(i * s, i * s + r, d) for i, s, r, d in zip(place, strides, reach, dilation))


def _padded(x: Any, padding: Any, value: Any = 0) -> Any:
    return np.pad(x, [(0, 0), *padding, (0, 0)], constant_values=value)


def _counts(spatial: Any, window: Any, **attrs: Any) -> tuple[int, ...]:
    ends = [place for place, _ in _places(spatial, window, **attrs)]
    return tuple(n + 1 for n in ends[-1]) if ends else (0,) * len(spatial)


def _conv(x: Any, k: Any, groups: int, **attrs: Any) -> Any:
    rank, c, o = k.ndim - 2, k.shape[-2], k.shape[-1] // groups
    out = np.zeros((x.shape[0], *_counts(x.shape[1:-1], k.shape[:rank], **attrs), k.shape[-1]), x.dtype)
    for place, span in _places(x.shape[1:-1], k.shape[:rank], **attrs):
        window = _padded(x, attrs["padding"])[(slice(None), *span)]
        for i in range(groups):
            part, kernel = window[..., i * c : (i + 1) * c], k[..., i * o : (i + 1) * o]
            out[(slice(None), *place, slice(i * o, (i + 1) * o))] = np.tensordot(part, kernel, rank + 1)
    return out


def _transpose(f: Any, shape: Any, y: Any) -> Any:
    """The array that pairs with each unit array e to give the sum of f(e) * y."""
    out = np.zeros(shape, y.dtype)
    for i in np.ndindex(*shape):
        e = np.zeros(shape, y.dtype)
        e[i] = 1
        out[i] = (f(e) * y).sum(dtype=y.dtype)
    return out


def _conv_input_grad(y: Any, k: Any, shape: Any, groups: int, **attrs: Any) -> Any:
    x = (y.shape[0], *shape, k.shape[-2] * groups)
    return _transpose(lambda e: _conv(e, k, groups, **attrs), x, y)


def _conv_kernel_grad(x: Any, y: Any, shape: Any, groups: int, **attrs: Any) -> Any:
    k = (*shape, x.shape[-1] // groups, y.shape[-1])
    return _transpose(lambda e: _conv(x, e, groups, **attrs), k, y)


for _x, _k, _strides, _padding, _dilation, _groups in (
    ((2, 5, 2), (3, 2, 3), (1,), ((1, 1),), (1,), 1),
    ((1, 6, 4), (2, 2, 2), (2,), ((0, 1),), (2,), 2),
    ((1, 4, 5, 2), (2, 3, 2, 2), (2, 1), ((0, 1), (2, 0)), (1, 2), 1),
    ((1, 3, 4, 2), (2, 2, 1, 4), (1, 2), ((1, 0), (0, 0)), (1, 1), 2),
    ((1, 3, 2, 3, 2), (2, 1, 2, 1, 2), (1, 1, 2), ((1, 0), (0, 0), (0, 1)), (1, 1, 1), 2),
    ((0, 4, 2), (2, 2, 3), (1,), ((0, 0),), (1,), 1),
    ((1, 2, 2), (3, 2, 1), (1,), ((0, 0),), (1,), 1),
):
    _attrs = {"strides": _strides, "padding": _padding, "dilation": _dilation}
    _y = (_x[0], *_counts(_x[1:-1], _k[:-2], **_attrs), _k[-1])
    _attrs["groups"] = _groups
    _few = (float32, float64, int32) if len(_x) > 3 else NUMERIC
    sample(contract.CONV, _conv, [(_x, _k)], dtypes=NUMERIC, attrs=_attrs, tol=16, special=False)
    sample(
        contract.CONV_INPUT_GRAD, _conv_input_grad, [(_y, _k)], dtypes=_few, tol=16, special=False,
        attrs={"shape": _x[1:-1], **_attrs},
    )  # fmt: skip
    sample(
        contract.CONV_KERNEL_GRAD, _conv_kernel_grad, [(_x, _y)], dtypes=_few, tol=16, special=False,
        attrs={"shape": _k[:-2], **_attrs},
    )  # fmt: skip

# -- pooling -------------------------------------------------------------------------------------------


def _pool(f: Any, fill: Any) -> Any:
    def apply(x: Any, window: Any, **attrs: Any) -> Any:
        padded = _padded(x, attrs["padding"], fill(x.dtype))
        out = np.zeros((x.shape[0], *_counts(x.shape[1:-1], window, **attrs), x.shape[-1]), x.dtype)
        for place, span in _places(x.shape[1:-1], window, **attrs):
            out[(slice(None), *place)] = f(padded[(slice(None), *span)], axis=tuple(range(1, x.ndim - 1)))
        return out

    return apply


def _least(dtype: Any) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


_pool_sum = _pool(lambda x, axis: x.sum(axis=axis, dtype=x.dtype), lambda dtype: 0)
_pool_max = _pool(np.max, _least)


def _pool_pick(x: Any, h: Any, window: Any, **attrs: Any) -> Any:
    xs, hs = _padded(x, attrs["padding"], _least(x.dtype)), _padded(h, attrs["padding"])
    out = np.zeros((x.shape[0], *_counts(x.shape[1:-1], window, **attrs), x.shape[-1]), h.dtype)
    for place, span in _places(x.shape[1:-1], window, **attrs):
        for n, c in itertools.product(range(x.shape[0]), range(x.shape[-1])):
            at = (n, *span, c)
            out[(n, *place, c)] = hs[at].ravel()[xs[at].argmax()]
    return out


for _x, _window, _strides, _padding, _dilation in (
    ((2, 5, 2), (2,), (1,), ((1, 0),), (1,)),
    ((1, 4, 5, 2), (2, 3), (2, 1), ((0, 1), (2, 1)), (2, 1)),
    ((1, 3, 2, 3, 1), (2, 2, 1), (1, 1, 2), ((1, 1), (0, 0), (0, 0)), (1, 1, 1)),
    ((1, 2, 1), (3,), (1,), ((0, 0),), (1,)),
    ((0, 4, 1), (2,), (2,), ((0, 0),), (1,)),
):
    _attrs = {"window": _window, "strides": _strides, "padding": _padding, "dilation": _dilation}
    _y = (_x[0], *_counts(_x[1:-1], **_attrs), _x[-1])
    sample(contract.POOL_SUM, _pool_sum, [(_x,)], dtypes=NUMERIC, attrs=_attrs, special=False)
    sample(contract.POOL_MAX, _pool_max, [(_x,)], distinct, REAL, _attrs)
    sample(
        contract.POOL_SPREAD,
        lambda y, shape, **attrs: _transpose(lambda e: _pool_sum(e, **attrs), (y.shape[0], *shape, y.shape[-1]), y),
        [(_y,)], dtypes=NUMERIC, attrs={"shape": _x[1:-1], **_attrs}, special=False,
    )  # fmt: skip
    sample(contract.POOL_PICK, _pool_pick, [(_x, _x)], (distinct, normal), REAL, _attrs, special=False)
    sample(
        contract.POOL_UNPICK,
        lambda x, y, **attrs: _transpose(lambda e: _pool_pick(x, e, **attrs), x.shape, y),
        [(_x, _y)], (distinct, normal), REAL, _attrs, special=False,
    )  # fmt: skip
    for _row in (contract.POOL_PICK, contract.POOL_UNPICK):  # what is moved may be complex, what decides may not
        _h = _x if _row is contract.POOL_PICK else _y
        _complex = (fixed(np.random.default_rng(0).permutation(np.prod(_x)).reshape(_x), float64), normal)
        _expected = (
            _pool_pick
            if _row is contract.POOL_PICK
            else lambda x, y, **attrs: _transpose(lambda e: _pool_pick(x, e, **attrs), x.shape, y)
        )
        sample(_row, _expected, [(_x, _h)], _complex, NUMERIC, _attrs, special=False)

# -- gather and scatter --------------------------------------------------------------------------------


def _gather(x: Any, indices: Any, axis: int) -> Any:
    """One window of the trailing axes after the other, indices clamped."""
    k, many = indices.shape[-1], indices.shape[:-1]
    out = np.zeros((*x.shape[:axis], *many, *x.shape[axis + k :]), x.dtype)
    for before in np.ndindex(*x.shape[:axis]):
        for i in np.ndindex(*many):
            at = tuple(min(max(int(p), 0), n - 1) for p, n in zip(indices[i], x.shape[axis:]))
            out[before + i] = x[before + at]
    return out


def _scatter(x: Any, indices: Any, updates: Any, axis: int, mode: str) -> Any:
    combine = {"set": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[mode]
    out = x.copy()
    for before in np.ndindex(*x.shape[:axis]):
        for i in np.ndindex(*indices.shape[:-1]):
            at = tuple(int(p) for p in indices[i])
            if all(0 <= p < n for p, n in zip(at, x.shape[axis:])):
                out[before + at] = combine(out[before + at], updates[before + i])
    return out


_ROWS = fixed([[0], [2], [2], [-1], [9]], int32)  # a duplicate, and two out of range
_CELLS = fixed([[[0, 1], [1, 0]], [[0, 1], [3, -7]]], int64)
for _x, _indices, _shape, _updates, _axis in (
    ((3, 2), _ROWS, (5, 1), (5, 2), 0),
    ((2, 3), _ROWS, (5, 1), (2, 5), 1),
    ((2, 2, 3), _CELLS, (2, 2, 2), (2, 2, 3), 0),
    ((2, 2, 2, 1), _CELLS, (2, 2, 2), (2, 2, 2, 1), 1),
    ((4,), fixed([3], uint8), (1,), (), 0),
    ((4,), fixed([127, -128, 2], int8), (3, 1), (3,), 0),
    ((0, 3), fixed([], int32), (0, 1), (0, 3), 0),
):
    sample(index.GATHER, _gather, [(_x, _shape)], (normal, _indices), ALL, {"axis": _axis}, special=False)
    for _mode, _values, _dtypes in (
        ("set", normal, ALL),
        ("add", normal, NUMERIC),
        ("mul", nonzero, NUMERIC),
        ("min", distinct, REAL),
        ("max", distinct, REAL),
    ):
        # Every value its own, so that differences meet no kink: x is apart from the updates.
        _first = (lambda r, s, d: distinct(r, s, d) * 3 - 1) if _values is distinct else _values
        sample(
            index.SCATTER, _scatter, [(_x, _shape, _updates)], (_first, _indices, _values), _dtypes,
            {"axis": _axis, "mode": _mode}, tol=8, special=False,
        )  # fmt: skip
sample(
    index.SCATTER, _scatter, [((0, 2), (2, 1), (2, 2))], (normal, fixed([[0], [1]], int32), normal), ALL,
    {"axis": 0, "mode": "set"},
)  # fmt: skip

# -- slices with computed starts -----------------------------------------------------------------------


def _start(i: int, dtype: Any = int32) -> Any:
    return fixed(i, dtype)


def _clamped(starts: Any, sizes: Any, shape: Any) -> Any:
    return tuple(np.arange(n)[max(min(int(s), n - w), 0) :][:w] for s, w, n in zip(starts, sizes, shape))


def _dynamic_slice(x: Any, *starts: Any, sizes: Any) -> Any:
    return x[np.ix_(*_clamped(starts, sizes, x.shape))] if x.ndim else x


def _dynamic_update_slice(x: Any, update: Any, *starts: Any) -> Any:
    out = x.copy()
    if x.ndim:
        out[np.ix_(*_clamped(starts, update.shape, x.shape))] = update
        return out
    return update


for _i, _j in ((0, 1), (-3, 9), (1, 2)):
    _at = (_start(_i), _start(_j, int64))
    sample(index.DYNAMIC_SLICE, _dynamic_slice, [((3, 4), (), ())], (normal, *_at), ALL, {"sizes": (2, 3)})
    sample(index.DYNAMIC_SLICE, _dynamic_slice, [((3, 4), (), ())], (normal, *_at), ALL, {"sizes": (0, 4)})
    sample(
        index.DYNAMIC_UPDATE_SLICE, _dynamic_update_slice,
        [((3, 4), (2, 3), (), ()), ((3, 4), (3, 0), (), ()), ((3, 4), (1, 1), (), ())], (normal, normal, *_at), ALL,
    )  # fmt: skip
sample(index.DYNAMIC_SLICE, _dynamic_slice, [((),)], dtypes=ALL, attrs={"sizes": ()})
sample(index.DYNAMIC_UPDATE_SLICE, _dynamic_update_slice, [((), ())], dtypes=ALL)

# -- sorting and random bits ---------------------------------------------------------------------------


def _argsort(x: Any, axis: int, descending: bool) -> Any:
    """Python's sort, which is stable in both directions, line by line; NaN the largest."""

    def line(v: Any) -> Any:
        return sorted(range(len(v)), key=lambda i: (v[i] != v[i], 0 if v[i] != v[i] else v[i]), reverse=descending)

    return np.apply_along_axis(line, axis, x) if x.size else np.zeros(x.shape)


for _descending in (False, True):
    sample(
        index.ARGSORT, _argsort, [((2, 7),), ((3, 0),), ((0, 3),), ((2, 5, 2),)], few, ORDERED,
        {"axis": 1, "descending": _descending},
    )  # fmt: skip


def _threefry(key: Any, shape: Any) -> Any:
    """On Python's integers, one block after the other."""
    turns, mask = ((13, 15, 26, 6), (17, 29, 16, 24)), 2**32 - 1
    k = [int(key[0]), int(key[1]), int(key[0]) ^ int(key[1]) ^ 0x1BD11BDA]
    out: list[int] = []
    for block in range(-(-int(np.prod(shape)) // 2)):
        x, y = (block + k[0]) & mask, k[1]
        for group in range(5):
            for turn in turns[group % 2]:
                x = (x + y) & mask
                y = ((y << turn) & mask | y >> (32 - turn)) ^ x
            x, y = (x + k[(group + 1) % 3]) & mask, (y + k[(group + 2) % 3] + group + 1) & mask
        out += [x, y]
    return np.asarray(out[: int(np.prod(shape))], np.uint32).reshape(shape)


for _shape in ((5,), (2, 3), (), (0, 3)):
    _key = fixed([0x13198A2E, 0xFF707344], uint32)
    sample(random.RANDOM_BITS, _threefry, [((2,),)], _key, (uint32,), {"shape": _shape})

