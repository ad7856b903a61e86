"""``Node``: a primitive applied to nodes; pure, immutable and interned, so equal computations are one object."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape, Spec
from hornbeam.errors import HornbeamError, user_line
from hornbeam.ir.operators import Operators
from hornbeam.ir.primitive import Primitive, blocked, row
from hornbeam.ir.primitives.movement import CONSTANT, PICK, Literal

_serial = itertools.count()

PARAM = row("param", kind="block", infer=lambda spec, serial: spec, reference=None, grad=blocked)
"""An input of a Program. Every one is distinct: ``serial`` is never repeated."""


class Node(Operators):
    """One application of a row. Made by ``make`` only.

    ``spec`` is a tuple of Specs if the row has several results; ``pick`` nodes then give them one by one.
    ``line`` is the user's ``file:line`` that first asked for it.
    """

    __slots__ = ("__weakref__", "args", "attrs", "line", "primitive", "spec")

    primitive: Primitive
    args: tuple[Node, ...]
    attrs: tuple[tuple[str, Any], ...]
    spec: Any
    line: str

    @property
    def shape(self) -> Shape:
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        return self.spec.dtype

    def __repr__(self) -> str:
        attrs = "".join(f", {k}={v!r}" for k, v in self.attrs)
        return f"<{self.primitive.name}({', '.join(a.primitive.name for a in self.args)}{attrs}): {self.spec}>"

    def __bool__(self) -> bool:
        raise TypeError("a Node has no truth value; compare nodes with `is`.")


_interned: WeakValueDictionary[tuple[Any, ...], Node] = WeakValueDictionary()
_interning = threading.Lock()  # two threads that make the same node must get one: results of a row are told by identity


def make(primitive: Primitive, args: tuple[Node, ...], attrs: dict[str, Any], line: str | None = None) -> Node:
    """The Node for this application. Raises what the row's ``infer`` raises, with the user's line.

    ``line`` is that of the node which this one stands in for; found by looking for it if None.
    """
    items = tuple(attrs.items())
    key = (primitive, tuple(map(id, args)), items)  # ids: == of nodes makes a node. The interned node keeps its args
    node = None if primitive.effect else _interned.get(key)
    if node is None:
        try:
            spec = primitive.infer(*(a.spec for a in args), **attrs)
        except HornbeamError as error:
            raise _with_line(error) from None
        node = Node()
        node.primitive, node.args, node.attrs, node.spec = primitive, args, items, spec
        node.line = user_line() if line is None else line
        if not primitive.effect:
            with _interning:
                return _interned.setdefault(key, node)
    return node


def _with_line(error: HornbeamError) -> HornbeamError:
    line = user_line()
    message = str(error)
    return type(error)(f"{message}\n  at {line}") if line and "\n  at " not in message else error


def param(spec: Spec) -> Node:
    """A new input."""
    return make(PARAM, (), {"spec": spec, "serial": next(_serial)})


def results(node: Node) -> tuple[Node, ...]:
    """The results of a node of a ``multiple`` row."""
    return tuple(make(PICK, (node,), {"index": i}) for i in range(len(node.spec)))


def topological(outputs: Iterable[Node]) -> list[Node]:
    """Every node that ``outputs`` need, arguments before users."""
    done: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, expanded = stack.pop()
        if node in done:
            continue
        if expanded:
            done[node] = None
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args) if a not in done)
    return list(done)


def as_node(value: Any) -> Node:
    """``value`` if it is a Node, or the one it wraps (a symbolic tensor, in a user's gradient rule)."""
    return value if type(value) is Node else value.node


def remake(node: Node, args: tuple[Node, ...]) -> Node:
    """``node`` with other arguments; ``node`` itself if they are the same."""
    if all(a is b for a, b in zip(args, node.args, strict=True)):
        return node
    return make(node.primitive, args, dict(node.attrs), node.line)


class NodeInterpreter:
    """Applying a primitive makes a Node. ``line`` is the user's line that new ones get, where it is known."""

    def __init__(self) -> None:
        self.line: str | None = None

    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        node = make(primitive, tuple(map(as_node, args)), attrs, self.line)
        return results(node) if primitive.multiple else node

    def constant(self, array: np.ndarray) -> Node:
        return make(CONSTANT, (), {"value": Literal(array)}, self.line)


NODES = NodeInterpreter()
