"""The algebra that every engine starts from. Only rules that keep bits: a Program gives the same numbers without them.

(So ``x + 0`` stays, since -0 + 0 is 0, and so does reassociation.)
"""

from __future__ import annotations

from typing import Any

from hornbeam.base.dtypes import is_complex
from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import Node, results
from hornbeam.ir.primitives.arith import CAST, NEG, NOT
from hornbeam.ir.primitives.control import CUSTOM_GRADIENT
from hornbeam.ir.primitives.movement import BROADCAST, PICK, RESHAPE, REVERSE, STOP_GRADIENT, TRANSPOSE
from hornbeam.ir.primitives.scan import SCAN
from hornbeam.ir.program import Program, substitute
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
    return absorb_scans(rewrite(program, SIMPLIFY))


def absorb_scans(program: Program) -> Program:
    """Of two scans that take the same steps, keep the one that returns more.

    A scan's gradient runs it again with the carries among its results (``_scan_grad``); what the first run returned is
    then among them too.
    """
    while (pair := _same_steps(program)) is not None:
        less, more = map(results, pair)
        roots = [*program.outputs, *program.updates.values(), *program.effects]
        found = substitute(roots, dict(zip(less, more[: len(less)], strict=True)))
        outputs, rest = found[: len(program.outputs)], found[len(program.outputs) :]
        updates = dict(zip(program.updates, rest, strict=False))
        program = Program(program.inputs, outputs, program.reads, updates, program.name, rest[len(updates) :])
    return program


def _same_steps(program: Program) -> tuple[Node, Node] | None:
    """Two scans over the same operands, the second of which returns what the first does and more."""
    seen: dict[Any, Node] = {}
    for node in program.nodes:
        if node.primitive is not SCAN:
            continue
        attrs = dict(node.attrs)
        body = attrs.pop("body")
        key = (tuple(map(id, node.args)), tuple(attrs.items()), tuple(map(id, body.inputs)))
        other = seen.setdefault(key, node)
        if other is node or body.effects:
            continue
        less, more = sorted((other, node), key=lambda n: len(n.spec))
        ours, theirs = (dict(n.attrs)["body"].outputs for n in (less, more))
        if len(ours) < len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=False)):
            return less, more
    return None
