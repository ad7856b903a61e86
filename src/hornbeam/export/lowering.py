"""The walk: two traces of a Program in step, each pair of nodes turned into operations by its row's rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hornbeam.base.spec import Spec
from hornbeam.errors import ExportError
from hornbeam.export.dims import dims_of
from hornbeam.export.graph import Graph, Value
from hornbeam.export.pairing import Pair, different, paired
from hornbeam.export.rules.rule import REFUSED, RULES
from hornbeam.ir.node import PARAM, Node
from hornbeam.ir.primitives.control import CALL
from hornbeam.ir.primitives.movement import PICK
from hornbeam.ir.program import Program

Bodies = tuple[Program, Program]
"""A Program as it is in the two traces."""


def lower(g: Graph, programs: Bodies, arguments: Sequence[Value]) -> list[Value]:
    """Append what the programs compute of ``arguments`` (their inputs), and return the results."""
    first, second = programs
    if first.effects or second.effects:
        raise refused("callback", (*first.effects, *second.effects)[0])
    given = dict(zip(zip(first.inputs, second.inputs, strict=True), arguments, strict=True))
    return lower_outputs(g, first.outputs, second.outputs, given)


def lower_outputs(
    g: Graph, firsts: Sequence[Node], seconds: Sequence[Node], given: Mapping[tuple[Node, Node], Value]
) -> list[Value]:
    """The same for outputs, ``given`` what pairs of parameters stand for."""
    env: dict[tuple[Node, Node], Any] = dict(given)
    for a, b in paired(firsts, seconds):
        if (a, b) not in env:
            args = [env[p] for p in zip(a.args, b.args, strict=True)]
            env[a, b] = _lowered(g, a, b, args)
    return [env[p] for p in zip(firsts, seconds, strict=True)]


def _lowered(g: Graph, a: Node, b: Node, args: list[Any]) -> Any:
    if a.primitive is PARAM:
        raise different(a, b, "one argument and another")
    if a.primitive is PICK:
        return args[0][dict(a.attrs)["index"]]
    pair = Pair(a, b)
    if a.primitive is CALL:
        return lower(g, pair.attrs["program"], args)
    rule = RULES.get(pair.name)
    if rule is None:
        raise refused(pair.name, a)
    g.current = pair.name
    if isinstance(a.spec, Spec) and 0 in pair.shape:
        return g.value(g.full(0, pair.shape, pair.dtype), pair.shape, pair.dtype)  # nothing, in the shape that it has
    try:
        names = rule(g, pair, *args)
    except ExportError as error:
        raise _with_line(error, a) from None
    values = [
        g.value(name, dims_of(*specs), specs[0].dtype)
        for name, specs in zip([names] if isinstance(names, str) else names, pair.specs, strict=True)
    ]
    return values if a.primitive.multiple else values[0]


def refused(row: str, node: Node) -> ExportError:
    reason = REFUSED.get(row, "there is no rule for it")
    return _with_line(ExportError(f"{row} cannot be exported to ONNX: {reason}."), node)


def _with_line(error: ExportError, node: Node) -> ExportError:
    message = str(error)
    return ExportError(f"{message}\n  at {node.line}") if node.line and "\n  at " not in message else error
