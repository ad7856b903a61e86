"""The algebra that every engine starts from. Only rules that keep bits: a Program gives the same numbers without them.

(So ``x + 0`` stays, since -0 + 0 is 0, and so does reassociation.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hornbeam.base.dtypes import is_complex
from hornbeam.ir.bind import interpreting
from hornbeam.ir.fold import folded, literal
from hornbeam.ir.node import Node, make, results, topological
from hornbeam.ir.primitives.arith import ADD, CAST, DIV, MUL, NEG, NOT, SELECT, SUB
from hornbeam.ir.primitives.control import CUSTOM_GRADIENT
from hornbeam.ir.primitives.movement import (
    BROADCAST,
    CONSTANT,
    PICK,
    RESHAPE,
    REVERSE,
    STOP_GRADIENT,
    TRANSPOSE,
    Literal,
)  # fmt: skip
from hornbeam.ir.primitives.scan import SCAN
from hornbeam.ir.program import Program, substitute
from hornbeam.ir.rewrite import PATTERNS, Rules, any_, rewrite


def unless_complex(x: Any) -> Any:
    """Complex numbers are multiplied by parts: (inf+0j) * (1+0j) has a NaN."""
    return None if is_complex(x.dtype) else x


def custom_result(x: Any, i: int) -> Any:
    """The results of a custom gradient are its first arguments, once there is nothing to differentiate."""
    return x.args[i] if x.primitive is CUSTOM_GRADIENT else None


def number_of(x: Any) -> Any:
    """A constant of one element without axes; None for anything else."""
    if x.primitive is not CONSTANT or x.spec.size != 1:
        return None
    return x if not x.shape else CONSTANT(value=Literal(literal(x).reshape(())))


def without_broadcast(row: Any) -> list[Any]:
    """``row`` of a number that was broadcast to the other's shape, which it is anyhow."""

    def first(x: Any, y: Any, s: Any) -> Any:
        number = number_of(x) if y.shape == s else None
        return None if number is None else row(number, y)

    def second(x: Any, y: Any, s: Any) -> Any:
        number = number_of(x) if y.shape == s else None
        return None if number is None else row(y, number)

    x, y = any_("x"), any_("y")
    return [(row(BROADCAST(x, shape="s"), y), first), (row(y, BROADCAST(x, shape="s")), second)]


def chosen(c: Any, x: Any, y: Any) -> Any:
    """What a known condition chooses everywhere."""
    if c.primitive is not CONSTANT or c.spec.size != 1:
        return None
    return x if literal(c).item() else y


with interpreting(PATTERNS):
    c, x, y = any_("c"), any_("x"), any_("y")
    SIMPLIFY = Rules(
        [
            (x * 1.0, unless_complex),  # x*1 -> x
            (1.0 * x, unless_complex),  # 1*x -> x
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
            *(rule for row in (ADD, SUB, MUL, DIV) for rule in without_broadcast(row)),
            (SELECT(c, x, y), chosen),  # c known -> x or y
        ]
    )


def simplify(program: Program) -> Program:
    return trim_scans(absorb_scans(rewrite(program, SIMPLIFY, folded)))


def absorb_scans(program: Program) -> Program:
    """Of two scans that take the same steps, keep the one that returns more.

    A scan's gradient runs it again with the carries among its results (``_scan_grad``); what the first run returned is
    then among them too.
    """
    while (pair := _same_steps(program)) is not None:
        less, more = map(results, pair)
        program = replaced(program, dict(zip(less, more[: len(less)], strict=True)))
    return program


def replaced(program: Program, mapping: Mapping[Node, Node]) -> Program:
    """``program`` with some nodes replaced throughout."""
    found = substitute([*program.roots, *program.effects], mapping)
    outputs, rest = found[: len(program.outputs)], found[len(program.outputs) :]
    updates = dict(zip(program.updates, rest, strict=False))
    return Program(program.inputs, outputs, program.reads, updates, program.name, rest[len(updates) :])


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


def trim_scans(program: Program) -> Program:
    """Scans without the results that nobody uses, and without the carries and operands that only those need.

    A gradient computes cotangents of all its operands; what is asked for is often less.
    """
    while (found := _untrimmed(program)) is not None:
        program = replaced(program, found)
    return program


def _untrimmed(program: Program) -> dict[Node, Node] | None:
    """For the last scan that has useless results: what takes the place of the others."""
    used: dict[Node, set[int]] = {}
    for node in topological([*program.roots, *program.effects]):
        if node.primitive is PICK and node.args[0].primitive is SCAN:
            used.setdefault(node.args[0], set()).add(dict(node.attrs)["index"])
    for node in reversed(program.nodes):
        if node.primitive is SCAN and not _has_effects(node):
            wanted = _needed_results(node, used.get(node, set()))
            if len(wanted) < len(node.spec):
                return _trimmed(node, wanted)
    return None


def _has_effects(node: Node) -> bool:
    return bool(dict(node.attrs)["body"].effects)


def _needed_results(node: Node, used: set[int]) -> list[int]:
    """The results that are used, or that a step needs of the one before it for those."""
    attrs = dict(node.attrs)
    body, carries = attrs["body"], attrs["carries"]
    wanted = set(used)
    while True:
        reached = set(topological([body.outputs[i] for i in sorted(wanted)]))
        more = {k for k in range(carries) if body.inputs[k] in reached} | wanted
        if more == wanted:
            return sorted(wanted)
        wanted = more


def _trimmed(node: Node, wanted: list[int]) -> dict[Node, Node]:
    attrs = dict(node.attrs)
    body, n, xs = attrs["body"], attrs["carries"], attrs["xs"]
    outputs = [body.outputs[i] for i in wanted]
    reached = set(topological(outputs))
    kept = [i for i, p in enumerate(body.inputs) if p in reached or (i in wanted and i < n)]
    attrs["body"] = Program([body.inputs[i] for i in kept], outputs, name=body.name)
    attrs["carries"] = sum(i < n for i in wanted)
    attrs["xs"] = sum(n <= i < n + xs for i in kept)
    new = results(make(SCAN, tuple(node.args[i] for i in kept), attrs)) if wanted else ()
    old = results(node)
    return {old[i]: made for i, made in zip(wanted, new, strict=True)}
