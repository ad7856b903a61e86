"""Rewriting nodes by rules written in the notation they transform: ``(pattern, replacement)``.

A pattern is an expression over named wildcards (``any_("x")``) built with the same operators and rows as everything
else, under an interpreter that records it. The replacement is a function of the wildcards' nodes; it may return None to
decline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import Node, NodeInterpreter, as_node, remake
from hornbeam.ir.operators import Operators
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.primitives.movement import CONSTANT
from hornbeam.ir.program import Program


class Pattern(Operators):
    """A wildcard, a constant, or a row applied to patterns. Attributes that are strings bind what they meet."""

    def __init__(
        self, name: str = "", primitive: Primitive | None = None, args: Sequence[Any] = (), attrs: Any = None
    ) -> None:
        self.name, self.primitive, self.args, self.attrs = name, primitive, tuple(args), attrs or {}
        self.value: Any = None

    shape = property(lambda self: ())  # enough for operators to build a pattern
    dtype = np.dtype("float32")

    def match(self, node: Node, found: dict[str, Any]) -> bool:
        """Whether ``node`` has this form; what the wildcards stand for is put in ``found``."""
        if self.primitive is None:
            return found.setdefault(self.name, node) is node
        if node.primitive is not self.primitive:
            return False
        attrs = dict(node.attrs)
        if self.primitive is CONSTANT:
            array = attrs["value"].array
            return bool(array.size and (array == self.value).all() and _same_sign(array, self.value))
        if len(node.args) != len(self.args):
            return False
        for key, wanted in self.attrs.items():
            if isinstance(wanted, str):
                if found.setdefault(wanted, attrs[key]) != attrs[key]:
                    return False
            elif attrs[key] != wanted:
                return False
        return all(p.match(a, found) for p, a in zip(self.args, node.args, strict=True))


def _same_sign(array: np.ndarray, value: Any) -> bool:
    """-0.0 equals 0.0, but adding one and the other are different things."""
    return array.dtype.kind in "bu" or bool((np.signbit(array.real) == np.signbit(value)).all())


class _PatternInterpreter:
    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Pattern:
        return Pattern("", primitive, args, attrs)

    def constant(self, array: np.ndarray) -> Pattern:
        pattern = Pattern("", CONSTANT)
        pattern.value = array[()]
        return pattern


PATTERNS = _PatternInterpreter()


def any_(name: str) -> Pattern:
    """A wildcard: the same name must stand for the same node throughout a pattern."""
    return Pattern(name)


class Rules(list[tuple[Pattern, Callable[..., Any]]]):
    """Rewrite rules, tried in order. Lists of rules join with ``+``."""

    def __init__(self, rules: Sequence[tuple[Pattern, Callable[..., Any]]]) -> None:
        super().__init__(rules)
        self.by_primitive: dict[Any, list[tuple[Pattern, Callable[..., Any]]]] = {}
        for pattern, replacement in rules:
            self.by_primitive.setdefault(pattern.primitive, []).append((pattern, replacement))

    def __add__(self, other: Any) -> Rules:  # type: ignore[override]
        return Rules([*self, *other])

    def apply(self, node: Node) -> Node | None:
        """What the first rule that fits makes of ``node``; None if none does. A rewrite never changes a Spec."""
        for pattern, replacement in self.by_primitive.get(node.primitive, ()):
            found: dict[str, Any] = {}
            if pattern.match(node, found):
                new = replacement(**found)
                if new is not None:
                    new = as_node(new)
                    if new.spec == node.spec:
                        return new
        return None


def rewrite(program: Program, rules: Rules, *others: Callable[[Node], Node | None]) -> Program:
    """``program`` with ``rules`` and ``others`` applied to every node, arguments first, until none fits.

    What stands in for a node has the node's line.
    """
    env: dict[Node, Node] = {p: p for p in program.params}
    nodes = NodeInterpreter()
    with interpreting(nodes):
        for node in program.nodes:
            nodes.line = node.line
            new = remake(node, tuple(env[a] for a in node.args))
            while (better := _first(new, rules.apply, *others)) is not None:
                new = better
            env[node] = new
    outputs = [env[n] for n in program.outputs]
    updates = {slot: env[n] for slot, n in program.updates.items()}
    effects = [env[n] for n in program.effects]
    return Program(program.inputs, outputs, program.reads, updates, program.name, effects)


def _first(node: Node, *rewrites: Callable[[Node], Node | None]) -> Node | None:
    """What the first of ``rewrites`` that fits makes of ``node``."""
    for apply in rewrites:
        found = apply(node)
        if found is not None:
            return found
    return None
