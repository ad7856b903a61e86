"""What is known before a run: rows of small constants, where every engine would compute the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base.spec import Spec
from hornbeam.ir.node import Node, make
from hornbeam.ir.primitives.movement import BROADCAST, CONSTANT, Literal
from hornbeam.ir.program import apply

# Rows whose results IEEE 754 or plain counting determines: NumPy gives the bits that compiled code gives.
EXACT = frozenset(
    "add sub mul div neg abs sign floor ceil trunc round sqrt rsqrt select cast bitcast eq ne lt le gt ge is_finite "
    "not and or xor shift_left shift_right constant iota reshape transpose broadcast slice pad concat reverse "
    "stop_gradient pick argmax argmin argsort gather dynamic_slice dynamic_update_slice random_bits "
    "custom_gradient".split()
)
LARGEST = 64  # elements of what is folded, and of what it is made of


def is_exact(node: Node) -> bool:
    """Whether every engine gives the bits of the row's reference. Integers and bools are exact in every row."""
    specs = [node.spec] if isinstance(node.spec, Spec) else node.spec
    return node.primitive.name in EXACT or all(s.dtype.kind in "biu" for s in (*specs, *(a.spec for a in node.args)))


def folded(node: Node) -> Node | None:
    """The constant that ``node`` is; None if it is none, or a large one, or one that engines may round differently."""
    row = node.primitive
    if not node.args or row.kind == "block" or row.effect or row.multiple or row.reference is None:
        return None
    if any(a.primitive is not CONSTANT or a.spec.size > LARGEST for a in node.args) or node.spec.size > LARGEST:
        return None
    if not is_exact(node) or (row is BROADCAST and node.args[0].spec.size == 1 < node.spec.size):
        return None  # one number in many places stays one: a loop has it at hand, where it would read an array
    with np.errstate(all="ignore"):
        value = apply(node, [literal(a) for a in node.args])
    return make(CONSTANT, (), {"value": Literal(value)})


def literal(node: Node) -> Any:
    """The array of a constant."""
    return dict(node.attrs)["value"].array
