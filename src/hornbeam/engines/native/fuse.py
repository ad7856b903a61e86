"""Fusion: which nodes share a kernel, and which values go through memory.

A *cluster* becomes one kernel over one iteration space. ``loop`` clusters compute maps and views over ``outer + inner``,
with reductions over ``inner`` along the way: a softmax is one cluster that passes once over memory. ``column`` clusters
reduce leading axes. ``block`` clusters are one node with a template of its own (a product, a gather), ``assemble`` ones
write their parts side by side (pad, concat), and a ``host`` cluster is a row without native code, run by its reference.

Maps and views melt into the one cluster that uses them. A value goes to memory if a block reads it, if several clusters
do, or if it is a result. Clusters over one space then join if one reads the other element by element, or if both read
the same thing, so that an optimizer's slots are updated in one pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hornbeam.base.spec import Shape, Spec
from hornbeam.engines.native.affine import VIEWS, splits
from hornbeam.engines.native.llvm import SUPPORTED
from hornbeam.ir.node import PARAM, Node
from hornbeam.ir.primitives.movement import CONCAT, CONSTANT, IOTA, PAD, PICK
from hornbeam.ir.primitives.reduce import REDUCE_AND, REDUCE_MAX, REDUCE_MIN, REDUCE_OR, PROD, SUM
from hornbeam.ir.program import Program

REDUCTIONS = frozenset((SUM, PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_AND, REDUCE_OR))
MAX_SCRATCH = 64 * 1024  # bytes of row values that a cluster may keep between its passes over a row


class Cluster:
    """Nodes that become one kernel. ``outputs`` are those whose values others need."""

    def __init__(self, kind: str, root: Node, outer: Shape = (), inner: Shape = ()) -> None:
        self.kind = kind
        self.outer, self.inner = outer, inner
        self.roots = [root]  # nodes computed for their own sake; what melts into them is not listed
        self.number = 0

    @property
    def space(self) -> Shape:
        return self.outer + self.inner

    @property
    def reduces(self) -> bool:
        return any(r.primitive in REDUCTIONS for r in self.roots)

    def __repr__(self) -> str:
        names = ",".join(r.primitive.name for r in self.roots)
        return f"<{self.kind} {names} {list(self.outer)}x{list(self.inner)}>"


class Fusion:
    """The clusters of a program, in an order in which they can run.

    memory: nodes that have a buffer of their own, besides parameters and constants.
    """

    def __init__(self, program: Program, templates: Iterable[str]) -> None:
        self.program = program
        self.templates = frozenset(templates)
        self.nodes = program.nodes
        self.users: dict[Node, list[Node]] = {}
        for node in self.nodes:
            for a in node.args:
                self.users.setdefault(a, []).append(node)
        self.memory: set[Node] = set()
        self.cluster_of: dict[Node, Cluster] = {}
        self._place()
        self.clusters = self._joined()

    # -- what goes to memory --------------------------------------------------------------------------------------------------

    def kind(self, node: Node) -> str:
        p = node.primitive
        if p is CONSTANT or p is PARAM:
            return "leaf"
        if p is PICK:
            return "pick"
        specs = [node.spec] if isinstance(node.spec, Spec) else list(node.spec)
        supported = all(s.dtype.name in SUPPORTED for s in [*specs, *(a.spec for a in node.args if _single(a))])
        if not supported:
            return "host"
        if p in VIEWS or p is IOTA:
            return "view"
        if p.kind == "map":
            return "map" if p.code is not None else "host"
        if p in REDUCTIONS:
            return self._reduction_kind(node)
        if p is PAD or p is CONCAT:
            return "assemble"
        return "block" if p.name in self.templates else "host"

    def _reduction_kind(self, node: Node) -> str:
        axes, rank = dict(node.attrs)["axes"], len(node.args[0].shape)
        if axes == tuple(range(rank - len(axes), rank)):
            return "row"
        return "column" if axes == tuple(range(len(axes))) else "host"

    def _readers(self, node: Node) -> list[Node]:
        """The nodes that read ``node``, seen through views that have no memory of their own."""
        out = []
        for user in self.users.get(node, ()):
            if self.kinds[user] == "view" and user not in self.memory:
                out += self._readers(user)
            else:
                out.append(user)
        return out

    def _place(self) -> None:
        self.kinds = {n: self.kind(n) for n in self.nodes}
        roots = {n for n in self.program.roots if n.primitive not in (PARAM, CONSTANT)}
        for node in reversed(self.nodes):
            kind = self.kinds[node]
            if kind in ("leaf", "pick"):
                continue
            if kind not in ("map", "view"):
                self.memory.add(node)
                self._own(node, kind)
                continue
            readers = self._readers(node)
            needed = node in roots or any(self._needs_memory(node, r) for r in self.users.get(node, ()))
            if kind == "view":
                if needed:
                    self.memory.add(node)
                    self._own(node, "map")
                continue
            homes = {id(self.cluster_of[r]): self.cluster_of[r] for r in readers if r in self.cluster_of}
            if needed or len(homes) != 1 or self._repeats(node, next(iter(homes.values()))):
                if readers or needed:
                    self.memory.add(node)
                    self._own(node, "map")
            else:
                self.cluster_of[node] = next(iter(homes.values()))

    def _needs_memory(self, node: Node, user: Node) -> bool:
        kind = self.kinds[user]
        if kind in ("block", "host"):
            return True
        if kind == "pick":
            return False
        return user.primitive.name == "reshape" and splits(user) and bool(self._readers(user) or user in self.memory)

    def _repeats(self, node: Node, home: Cluster) -> bool:
        """Whether melting would compute ``node`` many times over: it is broadcast along leading axes."""
        space = home.space
        if not node.shape or not space or node.spec.size <= 1:
            return False
        size = 1
        for d in space:
            size *= d
        return node.shape[-1] == space[-1] and node.shape[-1] > 1 and size >= 8 * node.spec.size

    def _own(self, node: Node, kind: str) -> None:
        shape = node.spec.shape if _single(node) else ()
        if kind == "map":
            cluster = Cluster("loop", node, shape[:-1], shape[-1:])
        elif kind == "row":
            source = node.args[0].shape
            k = len(source) - len(dict(node.attrs)["axes"])
            cluster = Cluster("loop", node, source[:k], source[k:])
        elif kind == "column":
            source = node.args[0].shape
            k = len(dict(node.attrs)["axes"])
            cluster = Cluster("column", node, source[k:], source[:k])
        else:
            cluster = Cluster(kind, node, shape)
        self.cluster_of[node] = cluster

    # -- joining clusters ---------------------------------------------------------------------------------------------------------

    def _joined(self) -> list[Cluster]:
        clusters = [self.cluster_of[n] for n in self.nodes if n in self.memory]
        for number, c in enumerate(clusters):
            c.number = number
        return clusters


def _single(node: Node) -> bool:
    return isinstance(node.spec, Spec)


def sources(node: Node, memory: set[Node], inside: Iterable[Node] = ()) -> list[Node]:
    """The nodes with memory (or leaves) that computing ``node`` reads, not looking into those ``inside``."""
    found: dict[Node, None] = {}
    stack: list[Any] = list(node.args)
    seen: set[Node] = set()
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        if n in memory or n.primitive in (PARAM, CONSTANT):
            found[n] = None
        else:
            stack.extend(n.args)
    return list(found)
