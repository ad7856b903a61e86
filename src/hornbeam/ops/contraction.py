"""Sums of products: matrix, tensor and outer products, ``einsum``, and what is defined by them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import as_axis, broadcast_shapes
from hornbeam.errors import ShapeError
from hornbeam.ir import operators
from hornbeam.ir.primitives.arith import CONJ
from hornbeam.ir.primitives.contract import CONV, DOT
from hornbeam.ir.primitives.movement import BROADCAST, REVERSE
from hornbeam.ir.primitives.reduce import SUM
from hornbeam.ops.arguments import inexact, meeting, numeric
from hornbeam.ops.array import concat, diagonal, moveaxis, stack
from hornbeam.ops.op import op
from hornbeam.ops.reductions import mean
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "matmul", "dot", "vdot", "inner", "outer", "kron", "cross", "tensordot", "einsum",
    "correlate", "convolve", "cov", "corrcoef",
]  # fmt: skip


def _numbers(*operands: Any) -> list[Any]:
    return [numeric(v) for v in meeting(*operands)]


@op
def matmul(x: Any, y: Any) -> Any:
    """The matrix product of the last two axes, leading axes broadcast; vectors as in NumPy's ``matmul``."""
    return operators.matmul(as_tensor(x), as_tensor(y))


@op
def dot(x: Any, y: Any) -> Any:
    """The last axis of ``x`` with the last but one of ``y`` (its only one if it is a vector); scalars multiply."""
    x, y = meeting(x, y)
    if not x.ndim or not y.ndim:
        return x * y
    return _contract(x, y, (x.ndim - 1,), (max(y.ndim - 2, 0),))


def _contract(x: Any, y: Any, x_axes: tuple[int, ...], y_axes: tuple[int, ...]) -> Any:
    if x.dtype == dtypes.bool_:
        return DOT(numeric(x), numeric(y), batch=((), ()), contract=(x_axes, y_axes)) != 0
    return DOT(x, y, batch=((), ()), contract=(x_axes, y_axes))


@op
def inner(x: Any, y: Any) -> Any:
    """The last axes of both; scalars multiply."""
    x, y = meeting(x, y)
    if not x.ndim or not y.ndim:
        return x * y
    return _contract(x, y, (x.ndim - 1,), (y.ndim - 1,))


@op
def vdot(x: Any, y: Any) -> Any:
    """The sum of products of all elements, the first conjugated."""
    x, y = (v.reshape((v.size,)) for v in meeting(x, y))
    return _contract(CONJ(x) if dtypes.is_complex(x.dtype) else x, y, (0,), (0,))


@op
def outer(x: Any, y: Any) -> Any:
    """All products of an element of ``x`` with one of ``y``: a matrix."""
    x, y = meeting(x, y)
    return x.reshape((-1, 1)) * y.reshape((1, -1))


@op
def kron(x: Any, y: Any) -> Any:
    """The Kronecker product: ``y`` times each element of ``x``, laid out as blocks."""
    x, y = meeting(x, y)
    rank = max(x.ndim, y.ndim)
    xs, ys = ((1,) * (rank - v.ndim) + v.shape for v in (x, y))
    blocks = x.reshape(tuple(d for n in xs for d in (n, 1))) * y.reshape(tuple(d for n in ys for d in (1, n)))
    return blocks.reshape(tuple(m * n for m, n in zip(xs, ys, strict=True)))


@op
def cross(x: Any, y: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """The cross product of vectors with 2 or 3 components along the given axes; of two 2-d ones only the third."""
    x, y = _numbers(x, y)
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = moveaxis(x, axisa, -1), moveaxis(y, axisb, -1)
    if x.shape[-1] not in (2, 3) or y.shape[-1] not in (2, 3):
        raise ShapeError(f"cross: vectors have 2 or 3 components, got {x.shape[-1]} and {y.shape[-1]}.")
    (x0, x1, *x2), (y0, y1, *y2) = ([v[..., i] for i in range(v.shape[-1])] for v in (x, y))
    z = x0 * y1 - x1 * y0
    if not x2 and not y2:
        return z
    # A missing third component is 0.
    first = x1 * y2[0] - x2[0] * y1 if x2 and y2 else x1 * y2[0] if y2 else -(x2[0] * y1)
    second = x2[0] * y0 - x0 * y2[0] if x2 and y2 else -(x0 * y2[0]) if y2 else x2[0] * y0
    shape = broadcast_shapes(first.shape, second.shape, z.shape)
    parts = [p if p.shape == shape else BROADCAST(p, shape=shape) for p in (first, second, z)]
    return moveaxis(stack(parts, -1), -1, axisc)


@op
def tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    """Products summed over pairs of axes: the last ``axes`` of ``x`` with the first of ``y``, or two lists of axes."""
    x, y = meeting(x, y)
    if isinstance(axes, (int, np.integer)):
        count = int(axes)
        if not 0 <= count <= min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: {count} axes of {x.shape} and {y.shape} cannot be paired.")
        pairs: Any = (range(x.ndim - count, x.ndim), range(count))
    else:
        pairs = axes
    x_axes, y_axes = (
        tuple(as_axis(a, v.ndim) for a in (given if isinstance(given, Iterable) else (given,)))
        for given, v in zip(pairs, (x, y), strict=True)
    )
    return _contract(x, y, x_axes, y_axes)


# -- einsum --------------------------------------------------------------------------------------------------------


@op
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein's summation: ``einsum("bij,bjk->bik", x, y)``.

    A label that is repeated within an operand takes its diagonal, one that the output lacks is summed over, ``...``
    stands for the axes without label. Without ``->`` the output has the labels that occur once, in alphabetical order.
    Raises ShapeError for subscripts that are no such thing or do not fit.
    """
    if not operands:
        raise ShapeError("einsum: no operands were given.")
    values = meeting(*operands)
    bools = values[0].dtype == dtypes.bool_
    values = [numeric(v) for v in values]
    terms, output = _parse(subscripts, values)
    values, terms = _align(values, terms, output)

    while len(values) > 1:
        i, j = _cheapest(values, terms, output)
        (x, xs), (y, ys) = (values[i], terms[i]), (values[j], terms[j])
        values = [v for k, v in enumerate(values) if k not in (i, j)]
        terms = [t for k, t in enumerate(terms) if k not in (i, j)]
        needed = set(output).union(*terms)
        value, term = _pair(x, xs, y, ys, needed)
        values.append(value)
        terms.append(term)
    value, term = _sum_out(values[0], terms[0], set(output))
    out = value.transpose([term.index(label) for label in output]) if output else value
    return out != 0 if bools else out


Term = tuple[str, ...]


def _parse(subscripts: str, values: list[Any]) -> tuple[list[Term], Term]:
    """The labels of each operand's axes and of the output's. One under ``...`` is ``.k``, k counted from the end."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(values):
        raise ShapeError(f"einsum: {subscripts!r} is for {len(inputs)} operands, {len(values)} were given.")
    terms = [_labels(term, v.ndim, subscripts) for term, v in zip(inputs, values, strict=True)]
    dots = max((sum(label[0] == "." for label in term) for term in terms), default=0)
    hidden = tuple(f".{k}" for k in range(dots, 0, -1))
    if arrow:
        named = right.replace("...", "")
        before, ellipsis, after = right.partition("...")
        output = (*before, *(hidden if ellipsis else ()), *after)
        if not named.replace(".", "").isalpha() and named:
            raise ShapeError(f"einsum: the output of {subscripts!r} has something other than letters.")
    else:
        everything = "".join(inputs).replace(".", "")
        output = (*hidden, *sorted(label for label in set(everything) if everything.count(label) == 1))
    known = set().union(*terms) if terms else set()
    if len(set(output)) != len(output) or not set(output) <= known:
        raise ShapeError(f"einsum: every label of the output of {subscripts!r} must be once there, and in an operand.")
    return terms, output


def _labels(term: str, rank: int, subscripts: str) -> Term:
    before, ellipsis, after = term.partition("...")
    if not (before + after).isalpha() and before + after:
        raise ShapeError(f"einsum: {term!r} in {subscripts!r} must be letters, with at most one '...'.")
    missing = rank - len(before) - len(after)
    if missing < 0 or (missing and not ellipsis):
        raise ShapeError(f"einsum: {term!r} in {subscripts!r} labels {len(before) + len(after)} axes of {rank}.")
    return (*before, *(f".{k}" for k in range(missing, 0, -1)), *after)


def _align(values: list[Any], terms: list[Term], output: Term) -> tuple[list[Any], list[Term]]:
    """Each label once per operand, and axes of size 1 that broadcast dropped; labels used nowhere else summed."""
    sizes: dict[str, int] = {}
    for value, term in zip(values, terms, strict=True):
        for label, size in zip(term, value.shape, strict=True):
            if sizes.get(label, 1) not in (1, size) and size != 1:
                name = "..." if label[0] == "." else label
                raise ShapeError(f"einsum: label {name!r} has size {sizes[label]} and {size}.")
            sizes[label] = size if sizes.get(label, 1) == 1 else sizes[label]
    out_values, out_terms = [], []
    for value, term in zip(values, terms, strict=True):
        for label in dict.fromkeys(term):
            while term.count(label) > 1:
                i = term.index(label)
                j = term.index(label, i + 1)
                if value.shape[i] != value.shape[j]:
                    sizes_here = f"{value.shape[i]} and {value.shape[j]}"
                    raise ShapeError(f"einsum: label {label!r} has size {sizes_here} in one operand.")
                value = diagonal(value, 0, i, j)
                term = (*(s for k, s in enumerate(term) if k not in (i, j)), label)
        kept = [i for i, label in enumerate(term) if value.shape[i] == sizes[label]]
        if len(kept) < len(term):
            value = value.reshape(tuple(value.shape[i] for i in kept))
            term = tuple(term[i] for i in kept)
        out_values.append(value)
        out_terms.append(term)
    for i, (value, term) in enumerate(zip(out_values, out_terms, strict=True)):
        needed = set(output).union(*(t for k, t in enumerate(out_terms) if k != i))
        out_values[i], out_terms[i] = _sum_out(value, term, needed)
    return out_values, out_terms


def _sum_out(value: Any, term: Term, needed: set[str]) -> tuple[Any, Term]:
    axes = tuple(i for i, label in enumerate(term) if label not in needed)
    return (SUM(value, axes=axes) if axes else value), tuple(label for label in term if label in needed)


def _cheapest(values: list[Any], terms: list[Term], output: Term) -> tuple[int, int]:
    """The pair of operands whose product takes the fewest multiplications; the first of equals."""
    if len(values) == 2:
        return 0, 1
    sizes = {label: d for v, t in zip(values, terms, strict=True) for label, d in zip(t, v.shape, strict=True)}
    pairs = [(i, j) for i in range(len(terms)) for j in range(i + 1, len(terms))]
    return min(pairs, key=lambda p: math.prod(sizes[label] for label in {*terms[p[0]], *terms[p[1]]}))


def _pair(x: Any, xs: Term, y: Any, ys: Term, needed: set[str]) -> tuple[Any, Term]:
    """One dot: labels of both that are needed later are batched, the others contracted."""
    shared = [label for label in xs if label in ys]
    batch = [label for label in shared if label in needed]
    contract = [label for label in shared if label not in needed]
    axes = lambda term, labels: tuple(term.index(label) for label in labels)
    term = (*batch, *(s for s in xs if s not in shared), *(s for s in ys if s not in shared))
    if not contract:  # a product without a sum is elementwise
        dims = lambda v, t: tuple(v.shape[t.index(label)] if label in t else 1 for label in term)
        parts = [
            v.transpose(tuple(t.index(label) for label in term if label in t)).reshape(dims(v, t)) if t else v
            for v, t in ((x, xs), (y, ys))
        ]
        return parts[0] * parts[1], term
    out = DOT(x, y, batch=(axes(xs, batch), axes(ys, batch)), contract=(axes(xs, contract), axes(ys, contract)))
    return out, term


# -- signals and statistics ----------------------------------------------------------------------------------------


@op
def correlate(x: Any, y: Any, mode: str = "valid") -> Any:
    """The cross-correlation of two vectors: sums of products with ``y`` (conjugated) at every shift.

    mode: ``valid`` where they overlap wholly, ``same`` as long as the longer one, ``full`` wherever they overlap.
    """
    x, y = _numbers(x, y)
    return _correlate(x, CONJ(y) if dtypes.is_complex(y.dtype) else y, mode)


@op
def convolve(x: Any, y: Any, mode: str = "full") -> Any:
    """The convolution of two vectors; ``mode`` as in ``correlate``."""
    x, y = _numbers(x, y)
    if x.ndim == y.ndim == 1 and y.shape[0] > x.shape[0]:
        x, y = y, x
    return _correlate(x, REVERSE(y, axes=(0,)) if y.ndim == 1 else y, mode)


def _correlate(x: Any, y: Any, mode: str) -> Any:
    if x.ndim != 1 or y.ndim != 1 or not x.size or not y.size:
        raise ShapeError(f"correlate: two vectors that are not empty are needed, got {x.shape} and {y.shape}.")
    swapped = y.shape[0] > x.shape[0]
    if swapped:  # sums at shift k of (x, y) are those at -k of (y, x)
        x, y = y, x
    m = y.shape[0]
    if mode not in ("valid", "same", "full"):
        raise ValueError(f"correlate: mode must be valid, same or full, got {mode!r}.")
    lead = {"valid": 0, "same": m // 2, "full": m - 1}[mode]
    trail = {"valid": 0, "same": m - 1 - m // 2, "full": m - 1}[mode]
    signal, taps = x.reshape((1, -1, 1)), y.reshape((-1, 1, 1))
    out = CONV(signal, taps, strides=(1,), padding=((lead, trail),), dilation=(1,), groups=1).reshape((-1,))
    return REVERSE(out, axes=(0,)) if swapped else out


@op
def cov(x: Any, y: Any = None, rowvar: bool = True, ddof: int = 1) -> Any:
    """The covariance matrix of variables that are the rows of ``x`` (and of ``y``), columns being observations."""
    x = _observations(x, rowvar)
    x = x if y is None else concat([x, _observations(y, rowvar)], 0)
    centred = x - mean(x, 1, keepdims=True)
    other = CONJ(centred) if dtypes.is_complex(x.dtype) else centred
    out = DOT(centred, other, batch=((), ()), contract=((1,), (1,))) / ((x.shape[1] - ddof) or math.nan)
    return out.reshape(()) if out.size == 1 else out


def _observations(x: Any, rowvar: bool) -> Any:
    x = inexact(x)
    if x.ndim > 2:
        raise ShapeError(f"cov: a vector or a matrix is needed, got shape {x.shape}.")
    x = x.reshape((1, -1)) if x.ndim < 2 else x
    return x if rowvar or x.shape[0] == 1 else x.transpose()


@op
def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    """The correlation coefficients of variables that are the rows of ``x``."""
    from hornbeam.ops.math import clip, real, sqrt

    c = cov(x, y, rowvar)
    if not c.ndim:
        return c / c
    deviation = sqrt(real(diagonal(c)))
    out = c / deviation.reshape((-1, 1)) / deviation.reshape((1, -1))
    return out if dtypes.is_complex(c.dtype) else clip(out, -1, 1)
