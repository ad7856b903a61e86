"""``Program``: inputs -> outputs and state updates. Pure data; printing, evaluating and keying it are walks over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hornbeam.base.spec import Spec
from hornbeam.errors import HornbeamError
from hornbeam.ir.bind import bind, constant
from hornbeam.ir.node import PARAM, Node, remake, topological
from hornbeam.ir.primitives.movement import CONSTANT, PICK

Slot = Any
"""A place in a session's state (in practice a Variable). To ``ir`` it is an opaque key with a ``name``."""


class Program:
    """Outputs and updates as functions of inputs and state.

    inputs: parameter Nodes in calling order.
    outputs: result Nodes.
    reads: slot -> parameter Node holding the slot's value before the run.
    updates: slot -> Node whose value the slot holds after the run.
    effects: Nodes that run for what they do (host callbacks), in their order, whether or not their results are used.

    Programs over equal graphs are equal whatever their parameters are called (``key``), but for their slots.
    """

    def __init__(
        self,
        inputs: Sequence[Node],
        outputs: Sequence[Node],
        reads: Mapping[Slot, Node] | None = None,
        updates: Mapping[Slot, Node] | None = None,
        name: str = "program",
        effects: Sequence[Node] = (),
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.reads = dict(reads or {})
        self.updates = dict(updates or {})
        self.name = name
        self.effects = tuple(effects)
        self.pullback: Program | None = None  # what ``ir.grad.pullback`` made of it

    @property
    def params(self) -> tuple[Node, ...]:
        """Inputs, then state read: the arguments of an Executable."""
        return (*self.inputs, *self.reads.values())

    @property
    def roots(self) -> tuple[Node, ...]:
        """Outputs, then updates: the results of an Executable."""
        return (*self.outputs, *self.updates.values())

    @cached_property
    def renewed(self) -> dict[Node, Node]:
        """What updates a slot -> the parameter that held the slot's value before; only where it updates no other."""
        counts = Counter(self.updates.values())
        return {n: self.reads[s] for s, n in self.updates.items() if s in self.reads and counts[n] == 1}

    @cached_property
    def nodes(self) -> list[Node]:
        """Every node but the parameters, arguments before users."""
        return [n for n in topological((*self.effects, *self.roots)) if n.primitive is not PARAM]

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """The structure with numbered nodes: equal keys mean equal computations of (params -> roots), of which the same
        roots renew the same params."""
        number: dict[Node, int] = {p: i for i, p in enumerate(self.params)}
        lines: list[Any] = [p.spec for p in self.params]
        for node in self.nodes:
            number[node] = len(number)
            lines.append((node.primitive.name, tuple(number[a] for a in node.args), node.attrs))
        roots = tuple(number[r] for r in self.roots)
        return (tuple(lines), roots, tuple((number[new], number[old]) for new, old in self.renewed.items()))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Program) and self._hash == other._hash and self.key == other.key)

    @cached_property
    def _hash(self) -> int:
        return hash(self.key)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def closed(self) -> Program:
        """The outputs alone, without effects, state read being inputs like the others: what a tape differentiates."""
        return Program(self.params, self.outputs, name=self.name)

    @property
    def specs(self) -> tuple[Spec, ...]:
        return tuple(n.spec for n in self.outputs)

    def __repr__(self) -> str:
        ins, outs = ", ".join(str(p.spec) for p in self.inputs), ", ".join(str(n.spec) for n in self.outputs)
        return f"<Program {self.name}: ({ins}) -> ({outs}), {len(self.nodes)} nodes>"

    def __str__(self) -> str:
        return render(self)


def render(program: Program, indent: str = "") -> str:
    """A form to read aloud: one node a line, bodies of control flow indented below the node that has them."""
    names = numbered(program)
    header = ", ".join(f"{names[p]}: {p.spec}" for p in program.params)
    lines = [f"{indent}{program.name}({header}):"]
    for node in program.nodes:
        spec = node.spec if isinstance(node.spec, Spec) else f"({', '.join(map(str, node.spec))})"
        parts = [names[a] for a in node.args]
        bodies = []
        for k, v in node.attrs:
            bodies += [(k, b) for b in (v if isinstance(v, tuple) else (v,)) if isinstance(b, Program)]
            parts.append(f"{k}={v!r}" if not isinstance(v, np.dtype) else f"{k}={v.name}")
        lines.append(f"{indent}  {names[node]}: {spec} = {node.primitive.name}({', '.join(parts)})")
        lines += [render(body, indent + "    ") for _, body in bodies]
    lines.append(f"{indent}  return {', '.join(names[n] for n in program.outputs)}")
    lines += [f"{indent}  {names_of(slot)} := {names[n]}" for slot, n in program.updates.items()]
    return "\n".join(lines)


def numbered(program: Program) -> dict[Node, str]:
    """What its printed form calls every node: ``x0`` an input, ``@kernel`` state, ``%3`` what is computed."""
    names = {p: f"x{i}" for i, p in enumerate(program.inputs)}
    names |= {p: names_of(slot) for slot, p in program.reads.items()}
    return names | {node: f"%{i}" for i, node in enumerate(program.nodes)}


def names_of(slot: Slot) -> str:
    return f"@{getattr(slot, 'name', slot)}"


def evaluate(program: Program, arguments: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The values of ``program.roots`` by the rows' references, given those of ``program.params``: what a Program means.

    Raises what a row's reference raises; a result that is not what ``infer`` promised is an AssertionError.
    """
    env: dict[Node, Any] = dict(zip(program.params, arguments, strict=True))
    with np.errstate(all="ignore"):
        for node in program.nodes:
            env[node] = apply(node, [env[a] for a in node.args])
    return [env[r] for r in program.roots]


def apply(node: Node, arguments: Sequence[Any]) -> Any:
    """One row's reference on arrays, held to what its ``infer`` promised."""
    return conform(node.primitive.reference(*arguments, **dict(node.attrs)), node.spec, node)


def conform(value: Any, spec: Any, node: Any) -> Any:
    """``value`` as an array of exactly ``spec``."""
    if type(spec) is not Spec:
        return tuple(conform(v, s, node) for v, s in zip(value, spec, strict=True))
    if type(value) is np.ndarray and value.dtype is spec.dtype and value.shape == spec.shape:
        return value
    array = np.asarray(value, spec.dtype)
    assert array.shape == spec.shape, f"{node!r} gave shape {array.shape}"
    return array


def substitute(outputs: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Node]:
    """``outputs`` rebuilt with some nodes replaced."""
    env: dict[Node, Node] = dict(mapping)
    for node in topological(outputs):
        if node not in env:
            env[node] = remake(node, tuple(env[a] for a in node.args))
    return [env[n] for n in outputs]


def inline(program: Program, arguments: Sequence[Node]) -> list[Node]:
    """The program's outputs as functions of ``arguments`` instead of its inputs."""
    if program.reads or program.updates:
        raise HornbeamError(f"{program!r} touches state and cannot be inlined.")
    return substitute(program.outputs, dict(zip(program.inputs, arguments, strict=True)))


def again(node: Node, arguments: Sequence[Any]) -> Any:
    """``node``'s row applied to other values, by the current interpreter; a tuple for a row of several results."""
    if node.primitive is CONSTANT:
        return constant(dict(node.attrs)["value"].array)
    if node.primitive is PICK:
        return arguments[0][dict(node.attrs)["index"]]
    return bind(node.primitive, *arguments, **dict(node.attrs))


def apply_again(program: Program, arguments: Sequence[Any]) -> list[Any]:
    """The program's outputs for values of the current interpreter, row by row: recorded, traced or run at once."""
    env: dict[Node, Any] = dict(zip(program.params, arguments, strict=True))
    for node in program.nodes:
        env[node] = again(node, [env[a] for a in node.args])
    return [env[n] for n in program.outputs]
