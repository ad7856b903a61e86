"""Parts of an array side by side: a sum of padded parts that do not overlap is their concatenation.

The gradient of slices is such a sum. Adding zeros is not quite nothing (-0 + 0 is 0), so this is not for ``simplify``:
it is done where a gradient is made, the same for every mode and engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import Node, make
from hornbeam.ir.primitives.movement import BROADCAST, CONCAT, CONSTANT, PAD, Literal
from hornbeam.ir.program import Program
from hornbeam.ir.rewrite import PATTERNS, Rules, any_, rewrite

Parts = tuple[int, list[tuple[int, Node]]]
"""An axis, and what lies along it from which index on; everything else is zero."""


def is_zero(node: Node) -> bool:
    return node.primitive is CONSTANT and not dict(node.attrs)["value"].array.any()


def _parts(node: Node) -> Parts | None:
    """``node`` as parts with zeros between; None if it is nothing like that."""
    attrs = dict(node.attrs)
    if node.primitive is PAD and is_zero(node.args[1]) and not any(attrs["between"]):
        padded = [i for i, (a, b) in enumerate(zip(attrs["before"], attrs["after"], strict=True)) if a or b]
        return (padded[0], [(attrs["before"][padded[0]], node.args[0])]) if len(padded) == 1 else None
    if node.primitive is CONCAT:
        axis, at, found = attrs["axis"], 0, []
        for part in node.args:
            if not (part.primitive is BROADCAST and is_zero(part.args[0])):
                found.append((at, part))
            at += part.shape[axis]
        return (axis, found) if len(found) < len(node.args) else None
    return None


def _side_by_side(x: Any, y: Any) -> Any:
    """The sum of ``x`` and ``y`` as one concatenation; None if they overlap."""
    ours, theirs = _parts(x), _parts(y)
    if ours is None or theirs is None or ours[0] != theirs[0] or x.shape != y.shape:
        return None
    axis, at = ours[0], 0
    pieces: list[Node] = []
    for start, part in sorted([*ours[1], *theirs[1]], key=lambda p: p[0]):
        if start < at:
            return None
        if start > at:
            pieces.append(_zeros(x, axis, start - at))
        pieces.append(part)
        at = start + part.shape[axis]
    if at < x.shape[axis]:
        pieces.append(_zeros(x, axis, x.shape[axis] - at))
    return CONCAT(*pieces, axis=axis)


def _zeros(like: Node, axis: int, size: int) -> Node:
    zero = make(CONSTANT, (), {"value": Literal(np.zeros((), like.dtype))})
    return make(BROADCAST, (zero,), {"shape": tuple(size if i == axis else d for i, d in enumerate(like.shape))})


with interpreting(PATTERNS):
    SIDE_BY_SIDE = Rules([(any_("x") + any_("y"), _side_by_side)])


def side_by_side(program: Program) -> Program:
    return rewrite(program, SIDE_BY_SIDE)
