"""The algebra that every engine starts from. Only rules that keep bits: a Program gives the same numbers without them.

(So ``x + 0`` stays, since -0 + 0 is 0, and so does reassociation.)
"""

from __future__ import annotations

from typing import Any

from hornbeam.base.dtypes import is_complex
from hornbeam.ir.bind import interpreting
from hornbeam.ir.primitives.arith import CAST, NEG, NOT
from hornbeam.ir.primitives.control import CUSTOM_GRADIENT
from hornbeam.ir.primitives.movement import BROADCAST, PICK, RESHAPE, REVERSE, STOP_GRADIENT, TRANSPOSE
from hornbeam.ir.program import Program
from hornbeam.ir.rewrite import PATTERNS, Rules, any_, rewrite


def unless_complex(x: Any) -> Any:
    """Complex numbers are multiplied by parts: (inf+0j) * (1+0j) has a NaN."""
    return None if is_complex(x.dtype) else x


def custom_result(x: Any, i: int) -> Any:
    """The results of a custom gradient are its first arguments, once there is nothing to differentiate."""
    return x.args[i] if x.primitive is CUSTOM_GRADIENT else None


with interpreting(PATTERNS):
    x = any_("x")
    SIMPLIFY = Rules(
        [
            (x * 1.0, unless_complex),  # x*1 -> x
            (x / 1.0, unless_complex),  # x/1 -> x
            (x - 0.0, lambda x: x),  # x-0 -> x
            (NEG(NEG(x)), lambda x: x),  # -(-x) -> x
            (NOT(NOT(x)), lambda x: x),  # ~(~x) -> x
            (CAST(x, dtype="d"), lambda x, d: x if x.dtype == d else None),  # to its own dtype -> x
            (RESHAPE(RESHAPE(x, shape="s"), shape="t"), lambda x, s, t: x.reshape(t)),  # two reshapes -> one
            (RESHAPE(x, shape="s"), lambda x, s: x if x.shape == s else None),  # to its own shape -> x
            (TRANSPOSE(TRANSPOSE(x, axes="p"), axes="q"), lambda x, p, q: x.transpose([p[i] for i in q])),
            (TRANSPOSE(x, axes="p"), lambda x, p: x if list(p) == sorted(p) else None),  # the identity -> x
            (BROADCAST(x, shape="s"), lambda x, s: x if x.shape == s else None),  # to its own shape -> x
            (REVERSE(REVERSE(x, axes="a"), axes="a"), lambda x, a: x),  # twice -> x
            (STOP_GRADIENT(x), lambda x: x),  # an identity by now
            (PICK(x, index="i"), custom_result),
        ]
    )


def simplify(program: Program) -> Program:
    return rewrite(program, SIMPLIFY)
