"""Tracing: run Python once on symbolic tensors, and keep the Program that it describes.

A trace inside another (the body of a ``cond`` in a ``function``) takes what it uses from outside as operands, so bodies
are closed Programs. Variables are values like any other here: reading gives the latest value, assigning replaces it,
and what is left at the end are the Program's updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import tree
from hornbeam.base.spec import Spec
from hornbeam.ir.bind import current, interpreting
from hornbeam.ir.node import Node, make, param, results
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives.movement import CONSTANT, STOP_GRADIENT, Literal
from hornbeam.ir.program import Program
from hornbeam.runtime import tape
from hornbeam.runtime.eager import leaked
from hornbeam.runtime.tensor import Tensor, as_tensor


class Trace:
    """An interpreter that builds a graph of Nodes.

    captures: tensors of enclosing traces that are used here, each with the parameter that stands for it.
    reads: variables read before they were assigned here, with their parameter; only outermost traces have them.
    values: variables read or assigned here, with their latest value.
    assigned: variables assigned here.
    created: variables created while this trace was current.
    """

    def __init__(self, outer: Trace | None = None) -> None:
        self.outer = outer
        self.captures: dict[int, tuple[Tensor, Tensor]] = {}
        self.reads: dict[Any, Tensor] = {}
        self.values: dict[Any, Tensor] = {}
        self.assigned: dict[Any, None] = {}
        self.created: list[Any] = []
        self.closed = False

    def wrap(self, node: Node) -> Tensor:
        return Tensor(None, node, self)

    def param(self, spec: Spec) -> Tensor:
        return self.wrap(param(spec))

    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        args = tuple(self.own(a) for a in args)
        node = make(primitive, tuple(a.node for a in args), attrs)
        outs = tuple(map(self.wrap, results(node))) if primitive.multiple else (self.wrap(node),)
        if tape.active.get():
            tape.record(primitive, args, attrs, outs)
        return outs if primitive.multiple else outs[0]

    def constant(self, array: np.ndarray) -> Tensor:
        return self.wrap(make(CONSTANT, (), {"value": Literal(array)}))

    def own(self, x: Any) -> Tensor:
        """``x`` as a tensor of this trace. Constants are embedded, tensors of enclosing traces captured."""
        if x.trace is self:
            return x
        if not x.is_symbolic:
            # The same object on every tape, whichever trace it is used in.
            x._node = x._node or make(CONSTANT, (), {"value": Literal(x.array)})
            return x
        if not self._encloses(x.trace):
            raise leaked(x)
        if id(x) not in self.captures:
            self.captures[id(x)] = (x, self.param(x.spec))
        return self.captures[id(x)][1]

    def _encloses(self, trace: Trace) -> bool:
        outer = self.outer
        while outer is not None and outer is not trace:
            outer = outer.outer
        return outer is not None

    def read(self, variable: Any) -> Tensor:
        if variable not in self.values:
            if self.outer is not None:
                with interpreting(self.outer):
                    value = self.outer.read(variable)
                self.values[variable] = self.own(value)
            else:
                self.values[variable] = self.reads[variable] = self.param(variable.spec)
        value = self.values[variable]
        if tape.active.get():
            tape.note_read(variable, value)
        return value

    def assign(self, variable: Any, value: Tensor) -> Tensor:
        # A new tensor: gradients do not flow through a variable.
        stored = self.wrap(make(STOP_GRADIENT, (self.own(value).node,), {}))
        self.values[variable] = stored
        self.assigned[variable] = None
        return value


class Traced(NamedTuple):
    """A traced function: its Program, the structure of its outputs, and where each output comes from."""

    program: Program
    structure: tree.TreeDef
    outputs: tuple[Any, ...]  # per leaf: an index into program.outputs, or ("constant", value)
    trace: Trace


class Static(NamedTuple):
    """An output that is not a tensor, kept as it is."""

    value: Any


def trace(fn: Callable[..., Any], specs: Sequence[Spec], name: str) -> Traced:
    """Run ``fn`` on symbolic tensors of ``specs``, outside any other trace."""
    here = Trace()
    inputs = [here.param(s) for s in specs]
    with interpreting(here):
        returned = fn(*inputs)
        flat, structure = tree.flatten(returned)
        nodes: list[Node] = []
        outputs: list[Any] = []
        for leaf in flat:
            value = as_output(leaf)
            if value is None:
                outputs.append(Static(leaf))
            else:
                outputs.append(len(nodes))
                nodes.append(here.own(value).node)
    here.closed = True
    reads = {v: t.node for v, t in here.reads.items()}
    updates = {v: here.values[v].node for v in here.assigned}
    program = Program([i.node for i in inputs], nodes, reads, updates, name)
    return Traced(program, structure, tuple(outputs), here)


def as_output(leaf: Any) -> Any:
    """``leaf`` as a tensor if it is one, or a variable or array; None for plain Python values."""
    if isinstance(leaf, (Tensor, np.ndarray, np.generic)) or hasattr(leaf, "as_operand"):
        return as_tensor(leaf)
    return as_tensor(leaf) if hasattr(leaf, "__hornbeam_variable__") else None


class Body(NamedTuple):
    """A traced body of control flow, not closed yet."""

    trace: Trace
    inputs: list[Node]
    outputs: list[Node]
    structure: tree.TreeDef

    @property
    def assigned(self) -> list[Any]:
        return list(self.trace.assigned)


def trace_body(fn: Callable[..., Any], specs: Sequence[Spec], variables: Sequence[Any] = ()) -> Body:
    """Trace ``fn`` inside the current interpreter. ``variables`` enter as further inputs and leave as further outputs
    (after ``fn``'s own), so that a loop can carry what its body assigns."""
    outer = current()
    here = Trace(outer if isinstance(outer, Trace) else None)
    inputs = [here.param(s) for s in specs]
    for v in variables:
        here.values[v] = here.param(v.spec)
    entering = [here.values[v].node for v in variables]
    with interpreting(here):
        returned = fn(*inputs)
        flat, structure = tree.flatten(returned)
        outputs = [here.own(as_tensor(leaf)).node for leaf in flat]
    here.closed = True
    leaving = [here.values[v].node for v in variables]
    return Body(here, [i.node for i in inputs] + entering, outputs + leaving, structure)


def close(body: Body, captured: Sequence[Tensor], reads: Sequence[Any], extra: Sequence[Node] = (), name: str = "body") -> Program:
    """The Program of ``body`` over its inputs, then ``captured``, then the variables ``reads``; parameters that this
    body does not use are made up, so that several bodies can take the same operands."""
    inputs = list(body.inputs)
    for t in captured:
        inputs.append(body.trace.captures[id(t)][1].node if id(t) in body.trace.captures else param(t.spec))
    for v in reads:
        inputs.append(body.trace.reads[v].node if v in body.trace.reads else param(v.spec))
    return Program(inputs, [*body.outputs, *extra], name=name)


def operands_of(*bodies: Body) -> tuple[list[Tensor], list[Any]]:
    """What the bodies use from outside: tensors of enclosing traces, and variables (where there is no such trace)."""
    captured = {i: outer for b in bodies for i, (outer, _) in b.trace.captures.items()}
    reads = dict.fromkeys(v for b in bodies for v in b.trace.reads)
    return list(captured.values()), list(reads)


def abstractly(fn: Callable[..., Any], *specs: Spec) -> Any:
    """What ``fn`` returns for symbolic inputs of ``specs``: shapes without numbers."""
    here = Trace()
    with interpreting(here):
        return fn(*(here.param(s) for s in specs))
