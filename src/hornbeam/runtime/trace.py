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
from hornbeam.errors import TracingError, explain
from hornbeam.ir.bind import current, interpreting
from hornbeam.ir.node import Node, make, param, results
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives.movement import CONSTANT, STOP_GRADIENT, Literal
from hornbeam.ir.program import Program
from hornbeam.runtime import tape
from hornbeam.runtime.eager import leaked
from hornbeam.runtime.tensor import Tensor, as_tensor, is_static


class Trace:
    """An interpreter that builds a graph of Nodes.

    outer: the trace in which this one is a body; None for a function, and for a body met while running eagerly.
    takes_operands: whether this is a body, which takes every tensor from outside as an operand.
    captures: tensors from outside that are used here, each with the parameter that stands for it.
    reads: variables read before they were assigned here, with their parameter; only outermost traces have them.
    values: variables read or assigned here, with their latest value.
    assigned: variables assigned here.
    effects: nodes that run for what they do.
    outside: what a graph tensor is here, when a graph is evaluated in this trace.
    created: variables created while this trace, or one inside it, was current.
    """

    def __init__(self, outer: Trace | None = None, *, closed: bool = False) -> None:
        self.outer = outer
        self.takes_operands = closed
        self.captures: dict[int, tuple[Tensor, Tensor]] = {}
        self.reads: dict[Any, Tensor] = {}
        self.values: dict[Any, Tensor] = {}
        self.assigned: dict[Any, None] = {}
        self.effects: dict[Node, None] = {}
        self.outside: Callable[[Any], Tensor] | None = None if outer is None else outer.outside
        self.created: list[Any] = [] if outer is None else outer.created

    def wrap(self, node: Node) -> Tensor:
        return Tensor(None, node, self)

    def param(self, spec: Spec) -> Tensor:
        return self.wrap(param(spec))

    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        args = tuple(self.own(a) for a in args)
        node = make(primitive, tuple([a.node for a in args]), attrs)
        if primitive.effect or _has_effects(attrs):
            self.effects[node] = None
        outs = tuple(map(self.wrap, results(node))) if primitive.multiple else (self.wrap(node),)
        if tape.active.get():
            tape.record(primitive, args, attrs, outs)
        return outs if primitive.multiple else outs[0]

    def constant(self, array: np.ndarray) -> Tensor:
        return self.wrap(make(CONSTANT, (), {"value": Literal(array)}))

    def own(self, x: Any) -> Tensor:
        """``x`` as a tensor of this trace: bodies capture what comes from outside, functions embed constants."""
        if x.trace is self:
            return x
        if x.trace is None and x._array is None:  # a graph's tensor, which a body refers to
            return self.own(_known(x.as_operand()))
        if x.is_symbolic and not self._encloses(x.trace):
            if not is_static(x):
                raise leaked(x)
            return self.wrap(x.node)  # made of constants alone, it means the same everywhere
        if not self.takes_operands:
            return x  # still the same object, so that tapes know it; its node is a constant
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

    def update(self, variable: Any, combine: Callable[[Any, Any], Any], value: Any, name: str = "") -> Tensor:
        """Assign ``combine(held, value)``."""
        return variable.assign(combine(self.read(variable), as_tensor(value, variable.dtype)))


def _has_effects(attrs: dict[str, Any]) -> bool:
    programs = [p for v in attrs.values() for p in (v if type(v) is tuple else (v,)) if type(p) is Program]
    return any(p.effects for p in programs)


def _known(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    raise TracingError(
        explain(
            f"{x!r} is used in a function that is traced outside its graph.",
            why="A traced function runs on its own; a graph's tensors have values in the graph's runs only.",
            fix="pass it to the function as an argument",
        )
    )


class Traced(NamedTuple):
    """A traced function: its Program, the structure of its outputs, and where each output comes from."""

    program: Program
    structure: tree.TreeDef
    outputs: tuple[Any, ...]  # per leaf: an index into program.outputs, or a Static
    created: tuple[Any, ...]  # variables made meanwhile


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
    reads = {v: t.node for v, t in here.reads.items()}
    updates = {v: here.values[v].node for v in here.assigned}
    program = Program([i.node for i in inputs], nodes, reads, updates, name, list(here.effects))
    return Traced(program, structure, tuple(outputs), tuple(here.created))


def as_output(leaf: Any) -> Any:
    """``leaf`` as a tensor if it is one, or a variable or array; None for plain Python values."""
    if isinstance(leaf, (Tensor, np.ndarray, np.generic)) or hasattr(leaf, "as_operand"):
        return as_tensor(leaf)
    return as_tensor(leaf) if hasattr(leaf, "__hornbeam_variable__") else None


class Body(NamedTuple):
    """A traced body of control flow: its parameters and results, and what it takes from outside (``trace``)."""

    trace: Trace
    inputs: list[Node]
    outputs: list[Node]
    entering: list[Node]  # the variables that a loop carries, as they enter
    leaving: list[Node]  # and as they leave
    structure: tree.TreeDef

    @property
    def assigned(self) -> list[Any]:
        return list(self.trace.assigned)

    @property
    def effects(self) -> list[Node]:
        return list(self.trace.effects)

    def latest(self, variable: Any) -> Node:
        """The value of ``variable`` at the end, whether or not this body assigned it."""
        with interpreting(self.trace):
            return self.trace.own(self.trace.read(variable)).node


def trace_body(fn: Callable[..., Any], specs: Sequence[Spec], carried: Sequence[Any] = ()) -> Body:
    """Trace ``fn`` as a body inside the current interpreter. Variables ``carried`` are parameters and results too."""
    outer = current()
    here = Trace(outer if isinstance(outer, Trace) else None, closed=True)
    inputs = [here.param(s) for s in specs]
    entering = [here.param(v.spec) for v in carried]
    here.values.update(zip(carried, entering, strict=True))
    with interpreting(here):
        flat, structure = tree.flatten(fn(*inputs))
        outputs = [here.own(as_tensor(leaf)).node for leaf in flat]
    leaving = [here.values[v].node for v in carried]
    return Body(here, [i.node for i in inputs], outputs, [e.node for e in entering], leaving, structure)


class Operands:
    """What several bodies take from outside, as one list of operands that all of them accept."""

    def __init__(self, *bodies: Body) -> None:
        self.captured = {i: outer for b in bodies for i, (outer, _) in b.trace.captures.items()}
        self.reads = list(dict.fromkeys(v for b in bodies for v in b.trace.reads))

    @property
    def values(self) -> list[Tensor]:
        return [*self.captured.values(), *(current().read(v) for v in self.reads)]  # type: ignore[attr-defined]

    def params(self, body: Body) -> list[Node]:
        """The parameters of ``body`` for these operands; made up where it does not use one."""
        captures, reads = body.trace.captures, body.trace.reads
        nodes = [captures[i][1].node if i in captures else param(t.spec) for i, t in self.captured.items()]
        return [*nodes, *(reads[v].node if v in reads else param(v.spec) for v in self.reads)]


def abstractly(fn: Callable[..., Any], *specs: Spec) -> Any:
    """What ``fn`` returns for symbolic tensors of ``specs``: shapes and dtypes, without running anything."""
    outer = current()
    here = Trace(outer if isinstance(outer, Trace) else None)
    with interpreting(here):
        return fn(*(here.param(s) for s in specs))
