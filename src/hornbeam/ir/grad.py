"""Reverse-mode differentiation: one walk over records of applied rows.

The same walk serves a tape's records (``runtime.tape``), which hold tensors, and a graph's (``records_of``), which hold
nodes. Rules are written with the operators of what they are given and applied through ``bind``, so gradients are
recorded, traced and differentiated again like anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.errors import GradientError, explain
from hornbeam.ir.beside import side_by_side
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.node import NODES, PARAM, Node, as_node, param, results, topological
from hornbeam.ir.primitive import Primitive, blocked
from hornbeam.ir.primitives import movement
from hornbeam.ir.program import Program


class Record(NamedTuple):
    """One application: ``outs = primitive(*args, **attrs)``."""

    primitive: Primitive
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    outs: tuple[Any, ...]


def backward(
    records: Sequence[Record], targets: Sequence[Any], cotangents: Sequence[Any], sources: Sequence[Any]
) -> list[Any]:
    """The sum of ``cotangents[i] · d targets[i] / d source`` for each source, ``None`` where nothing connects them.

    Values are told apart by identity. Raises GradientError if a row on the way has no gradient.
    """
    active = reached_from(sources, records)
    pending: dict[int, Any] = {}
    found: dict[int, Any] = {}
    wanted = {id(s) for s in sources}
    for target, cotangent in zip(targets, cotangents, strict=True):
        _accumulate(pending, target, cotangent)
    for primitive, args, attrs, outs in reversed(records):
        if not any(id(o) in pending for o in outs):
            continue
        gs = tuple(pending.pop(id(o), None) for o in outs)
        for o, g in zip(outs, gs, strict=True):
            if g is not None and id(o) in wanted:
                _accumulate(found, o, g)
        if not any(id(a) in active for a in args):
            continue
        for a, da in zip(args, _apply_rule(primitive, args, attrs, outs, gs), strict=False):
            if da is not None and id(a) in active:
                _accumulate(pending, a, unbroadcast(da() if callable(da) else da, a))
    for s in sources:
        if id(s) in pending:
            _accumulate(found, s, pending.pop(id(s)))
    return [found.get(id(s)) for s in sources]


def _apply_rule(primitive: Primitive, args: Any, attrs: dict[str, Any], outs: Any, gs: Any) -> tuple[Any, ...]:
    if primitive.grad is None:
        raise GradientError(
            explain(
                f"{primitive.name} has no gradient.",
                why="It lies between the target and a source that is differentiated.",
                fix=f"block it with   hb.stop_gradient(...)   around the result of {primitive.name}",
            )
        )
    if primitive.multiple:
        return primitive.grad(gs, *args, outs, **attrs)
    return primitive.grad(gs[0], *args, outs[0], **attrs)


def reached_from(sources: Iterable[Any], records: Iterable[Record]) -> set[int]:
    """Ids of the values that depend differentiably on a source."""
    active = {id(s) for s in sources}
    for primitive, args, _, outs in records:
        if primitive.grad is not blocked and any(id(a) in active for a in args):
            active.update(id(o) for o in outs if dtypes.is_inexact(o.dtype))
    return active


def _accumulate(into: dict[int, Any], value: Any, cotangent: Any) -> None:
    held = into.get(id(value))
    into[id(value)] = cotangent if held is None else held + cotangent


def unbroadcast(g: Any, like: Any) -> Any:
    """``g`` summed to ``like``'s shape, over the axes along which ``like`` was broadcast."""
    if g.shape == like.shape:
        return g
    lead = len(g.shape) - len(like.shape)
    axes = tuple(i for i in range(len(g.shape)) if i < lead or (like.shape[i - lead] == 1 and g.shape[i] != 1))
    return g.sum(axes).reshape(like.shape)


def ones_like(x: Any) -> Any:
    return movement.BROADCAST(constant(np.ones((), x.dtype)), shape=tuple(x.shape))


def zeros_like(x: Any) -> Any:
    return movement.BROADCAST(constant(np.zeros((), x.dtype)), shape=tuple(x.shape))


def records_of(outputs: Iterable[Node]) -> list[Record]:
    """The applications that ``outputs`` need, in order; nodes of ``multiple`` rows with all their results."""
    records = []
    for node in topological(outputs):
        if node.primitive is not movement.PICK:
            outs = results(node) if node.primitive.multiple else (node,)
            records.append(Record(node.primitive, node.args, dict(node.attrs), outs))
    return records


def gradients(targets: Sequence[Node], sources: Sequence[Node], cotangents: Sequence[Node] | None = None) -> list[Any]:
    """Gradients in a graph of nodes; see ``backward``. Cotangents are ones if not given."""
    with interpreting(NODES):
        cotangents = [ones_like(t) for t in targets] if cotangents is None else cotangents
        return backward(records_of(targets), targets, cotangents, sources)


def pullback(body: Program, given: tuple[bool, ...] | None = None) -> Program:
    """The Program (inputs…, cotangents of the inexact outputs…) -> (cotangents of the inexact inputs…).

    It keeps ``body``'s own parameters and computes what it needs of ``body`` again. Unconnected inputs get zeros.
    Outputs that are not ``given`` a cotangent (all are by default) have none, as if nothing depended on them. The
    Program for all of them is kept for the next time ``body`` is differentiated.
    """
    if given is not None and not all(given):
        return _pullback(body, given)
    if body.pullback is None:
        body.pullback = _pullback(body, (True,) * len(body.outputs))
    return body.pullback


def _pullback(body: Program, given: tuple[bool, ...]) -> Program:
    outputs = [n for n, has in zip(body.outputs, given, strict=True) if has and dtypes.is_inexact(n.dtype)]
    sources = [n for n in body.inputs if dtypes.is_inexact(n.dtype)]
    cotangents = [param(n.spec) for n in outputs]
    found = gradients(outputs, sources, cotangents)
    with interpreting(NODES):
        grads = [zeros_like(s) if g is None else g for s, g in zip(sources, found, strict=True)]
    program = Program([*body.inputs, *cotangents], [as_node(g) for g in grads], name=f"pullback of {body.name}")
    own = {*program.inputs}
    if any(n.primitive is PARAM and n not in own for n in topological(program.outputs)):
        raise GradientError(
            explain(
                f"a gradient rule used in {body.name} needs a tensor from outside of it.",
                why="A rule that assigns variables, calls back, or lies deep in other rules is not traced in advance.",
                fix="pass the tensor to the function as an argument, with None for its gradient",
            )
        )
    return side_by_side(program)
