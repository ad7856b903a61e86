"""Affine index arithmetic: where an element of a view lies in what it is a view of.

An ``Index`` has one form for each axis of a node; a form is the coefficients of the loop variables followed by a
constant. Views map indices to indices, so a chain of views costs nothing in a loop body.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hornbeam.base.spec import Shape
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import BROADCAST, IOTA, RESHAPE, REVERSE, SLICE, TRANSPOSE
from hornbeam.ir.primitives.random import RANDOM_BITS

Form = tuple[int, ...]
Index = tuple[Form, ...]

VIEWS = frozenset((TRANSPOSE, BROADCAST, SLICE, REVERSE, RESHAPE))


def identity(rank: int) -> Index:
    """Axis i is loop variable i."""
    return tuple(tuple(int(i == j) for j in range(rank)) + (0,) for i in range(rank))


@lru_cache(1 << 12)
def positions(shape: Shape) -> Index:
    """Axis i is loop variable i, of a loop over ``shape``: where there is one turn, the variable is 0.

    One element then has one form, by which it is known wherever it is needed.
    """
    return tuple(tuple(int(i == j and d != 1) for j in range(len(shape))) + (0,) for i, d in enumerate(shape))


def combine(forms: Sequence[Form], factors: Sequence[int], constant: int = 0, *, variables: int) -> Form:
    """The sum of ``factors[i] * forms[i]``, plus ``constant``."""
    total = [0] * variables + [constant]
    for form, factor in zip(forms, factors, strict=True):
        for i, c in enumerate(form):
            total[i] += factor * c
    return tuple(total)


def dense_strides(shape: Shape) -> tuple[int, ...]:
    """Element strides of a C-ordered array."""
    strides, step = [], 1
    for d in reversed(shape):
        strides.append(step)
        step *= d
    return tuple(reversed(strides))


@lru_cache(1 << 14)
def offset(index: Index, shape: Shape, variables: int) -> Form:
    """The element of a C-ordered array of ``shape`` that ``index`` means."""
    # An axis of length 1 adds nothing, whatever its stride.
    strides = [0 if d == 1 else s for d, s in zip(shape, dense_strides(shape), strict=True)]
    return combine(index, strides, variables=variables)


def counted(node: Node, index: Index, variables: int) -> Form | None:
    """The number that an element of ``node`` is made from, where it is made from a number and not from memory."""
    if node.primitive is IOTA:
        return index[dict(node.attrs)["axis"]]
    return offset(index, node.shape, variables) if node.primitive is RANDOM_BITS else None


def through(view: Node, index: Index, variables: int) -> Index | None:
    """The index into ``view``'s argument; None if a reshape splits an axis, which no affine form can say."""
    child, attrs = view.args[0], dict(view.attrs)
    zero = (0,) * (variables + 1)
    if view.primitive is TRANSPOSE:
        forms = dict(zip(attrs["axes"], index, strict=True))
        return tuple(forms[i] for i in range(len(index)))
    if view.primitive is BROADCAST:
        lead = len(index) - len(child.shape)
        return tuple(zero if d == 1 else index[lead + i] for i, d in enumerate(child.shape))
    if view.primitive is SLICE:
        starts, strides = attrs["starts"], attrs["strides"]
        return tuple(combine([f], [s], a, variables=variables) for f, a, s in zip(index, starts, strides, strict=True))
    if view.primitive is REVERSE:
        return tuple(
            combine([f], [-1], d - 1, variables=variables) if i in attrs["axes"] else f
            for i, (f, d) in enumerate(zip(index, child.shape, strict=True))
        )
    return _through_reshape(index, view.shape, child.shape, variables)


def _through_reshape(index: Index, shape: Shape, source: Shape, variables: int) -> Index | None:
    groups = reshape_groups(source, shape)
    if groups is None:
        return None
    out: list[Form] = [(0,) * (variables + 1)] * len(source)
    for ours, theirs in groups:  # axes of the source, axes of the view
        if len(ours) > 1:
            return None
        if ours:
            strides = dense_strides(tuple(shape[a] for a in theirs))
            out[ours[0]] = combine([index[a] for a in theirs], strides, variables=variables)
    return tuple(out)


def reshape_groups(source: Shape, shape: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Runs of axes with equal products, axes of length 1 left out; None for arrays without elements."""
    a = [i for i, d in enumerate(source) if d != 1]
    b = [i for i, d in enumerate(shape) if d != 1]
    if any(source[i] == 0 for i in a):
        return None
    groups: list[tuple[list[int], list[int]]] = []
    while a or b:
        ours, theirs = [a.pop(0)], [b.pop(0)]
        p, q = source[ours[0]], shape[theirs[0]]
        while p != q:
            if p < q:
                ours.append(a.pop(0))
                p *= source[ours[-1]]
            else:
                theirs.append(b.pop(0))
                q *= shape[theirs[-1]]
        groups.append((ours, theirs))
    return groups


def splits(view: Node) -> bool:
    """Whether a reshape splits an axis, so that its argument must be in memory (where the reshape is free)."""
    groups = reshape_groups(view.args[0].shape, view.shape)
    return groups is None or any(len(ours) > 1 for ours, _ in groups)
