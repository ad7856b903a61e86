"""What the native engine makes of a Program before it fuses: the common algebra, and rows as its kernels have them.

A loop reduces the last axes of an array (rows) or axes before the last (columns). A reduction of both is one of the
rows, then one of the columns of what remains.

A kernel that adds to its result in memory adds in the result's dtype. Half precision is added up in float32 and rounded
once, so such a row gets float32 operands and its result is rounded; the casts melt into the loops around it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.base.dtypes import is_complex
from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import Node
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives.arith import CAST
from hornbeam.ir.primitives.contract import POOL_SPREAD, POOL_UNPICK, windows_overlap, working_dtype
from hornbeam.ir.primitives.index import SCATTER
from hornbeam.ir.primitives.movement import RESHAPE
from hornbeam.ir.primitives.reduce import PROD, REDUCE_AND, REDUCE_MAX, REDUCE_MIN, REDUCE_OR, SUM
from hornbeam.ir.program import Program
from hornbeam.ir.rewrite import PATTERNS, Rules, any_, rewrite
from hornbeam.ir.simplify import simplify

REDUCTIONS = frozenset((SUM, PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_AND, REDUCE_OR))


def in_two(row: Primitive) -> Callable[..., Any]:
    """A reduction of the last axis and others, not all of them at the end: first those at the end."""

    def split(x: Any, axes: tuple[int, ...]) -> Any:
        rank = len(x.shape)
        last = tuple(a for i, a in enumerate(axes) if a - i == rank - len(axes))
        if not last or last == axes or is_complex(x.dtype):
            return None
        wide = working_dtype(x.dtype)
        inner = row(x if wide == x.dtype else CAST(x, dtype=wide), axes=last)
        out = row(inner, axes=tuple(a for a in axes if a not in last))
        return out if wide == x.dtype else CAST(out, dtype=x.dtype)

    return split


def without_ones(row: Primitive) -> Callable[..., Any]:
    """A reduction of axes before the last as one of an array that has no axes of length 1."""

    def squeeze(x: Any, axes: tuple[int, ...]) -> Any:
        rank = len(x.shape)
        if 1 not in x.shape or is_complex(x.dtype) or axes == tuple(range(rank - len(axes), rank)):
            return None
        kept = [i for i, d in enumerate(x.shape) if d != 1]
        dense = RESHAPE(x, shape=tuple(x.shape[i] for i in kept))
        others = tuple(kept.index(a) for a in axes if a in kept)
        inner = in_two(row)(dense, others)
        inner = row(dense, axes=others) if inner is None else inner
        return RESHAPE(inner, shape=tuple(d for i, d in enumerate(x.shape) if i not in axes))

    return squeeze


with interpreting(PATTERNS):
    PREPARE = Rules(
        [
            (row(any_("x"), axes="axes"), rule(row))
            for row in sorted(REDUCTIONS, key=lambda r: r.name)
            for rule in (without_ones, in_two)
        ]
    )


SUMMED: dict[Primitive, tuple[tuple[int, ...], Callable[..., bool]]] = {
    POOL_SPREAD: ((0,), windows_overlap),
    POOL_UNPICK: ((1,), windows_overlap),
    SCATTER: ((0, 2), lambda mode, **others: mode in ("add", "mul")),
}
"""Rows whose kernels add to their result in memory: the operands that they sum, and with which attributes they do."""


def rounded_once(node: Node) -> Node | None:
    """A sum of half precision as one of float32, rounded."""
    if node.primitive not in SUMMED or working_dtype(node.dtype) == node.dtype:
        return None
    (summed, adds), attrs = SUMMED[node.primitive], dict(node.attrs)
    if not adds(**attrs):
        return None
    wide = working_dtype(node.dtype)
    args = [CAST(x, dtype=wide) if i in summed else x for i, x in enumerate(node.args)]
    rounded: Node = CAST(node.primitive(*args, **attrs), dtype=node.dtype)
    return rounded


def prepare(program: Program) -> Program:
    return rewrite(program, PREPARE, rounded_once)


def prepared(program: Program) -> Program:
    return prepare(simplify(program))
