"""What a gradient keeps of the forward pass, and what it computes again.

Additions, selections, views and random bits are computed again from what is kept; products, reductions, exponentials
and the like are not, unless their result is many times larger than what it was made from. Among all choices of values
from which the backward pass can be computed so, the one of the fewest bytes is taken: a smallest cut through the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hornbeam.base.spec import Spec
from hornbeam.ir.node import PARAM, Node, topological
from hornbeam.ir.primitives import arith, compare
from hornbeam.ir.primitives.control import CUSTOM_GRADIENT
from hornbeam.ir.primitives.movement import CONSTANT, IOTA, PICK
from hornbeam.ir.primitives.random import RANDOM_BITS

LARGE = 8  # times what a step takes in and gives out: a value that large is computed again rather than kept
UNLIMITED = 1 << 62

_CHEAP_MAPS = frozenset(
    (arith.ADD, arith.SUB, arith.MUL, arith.NEG, arith.ABS, arith.SIGN, arith.MAX, arith.MIN, arith.CAST, arith.SELECT)
    + (arith.NOT, arith.AND, arith.OR, arith.XOR, arith.BITCAST, compare.EQ, compare.NE, compare.LT, compare.LE)
    + (compare.GT, compare.GE, arith.SHIFT_LEFT, arith.SHIFT_RIGHT)
)


def is_cheap(node: Node) -> bool:
    """Whether computing ``node`` costs little more than reading what it is made from, or no more than keeping it:
    random bits are drawn again as fast as they come from memory, and are one key until then."""
    p = node.primitive
    if p is PICK:
        return node.args[0].primitive is CUSTOM_GRADIENT
    return p in (CONSTANT, IOTA, RANDOM_BITS) or p in _CHEAP_MAPS or p.kind == "view"


def dependents(sources: Iterable[Node], nodes: Iterable[Node]) -> set[Node]:
    """``sources`` and those of ``nodes`` (arguments before users) that depend on one."""
    found = set(sources)
    for node in nodes:
        if any(a in found for a in node.args):
            found.add(node)
    return found


def frontier(outputs: Collection[Node], cotangents: Collection[Node]) -> list[Node]:
    """What the part of ``outputs`` that depends on ``cotangents`` uses of the part that does not."""
    nodes = topological(outputs)
    backward = dependents(cotangents, nodes)
    used = [a for n in nodes if n in backward for a in n.args] + list(outputs)
    return [n for n in dict.fromkeys(used) if n not in backward]


def kept(wanted: Iterable[Node], free: Collection[Node], at_no_cost: Collection[Node], most: int) -> list[Node]:
    """The nodes to keep so that ``wanted`` can be computed from them and from ``free`` parameters without repeating
    anything dear. Nodes ``at_no_cost`` are kept anyway; those of more than ``most`` bytes are computed again."""
    wanted = list(dict.fromkeys(wanted))
    nodes = topological(wanted)
    network = _Network()
    for node in nodes:
        if node in free or not isinstance(node.spec, Spec):
            continue
        dear = node.primitive is PARAM or node in at_no_cost or not (is_cheap(node) or node.spec.nbytes > most)
        network.edge((node, 0), (node, 1), 0 if node in at_no_cost else node.spec.nbytes)
        if dear:
            network.edge(network.source, (node, 0), UNLIMITED)
        else:
            for a in _arguments(node):
                network.edge((a, 1), (node, 0), UNLIMITED)
    for node in wanted:
        network.edge((node, 1), network.sink, UNLIMITED)
    below = network.cut()
    return [n for n in nodes if n not in free and (n, 1) in below and (n, 0) not in below and (n, 0) in network.edges]


def _arguments(node: Node) -> Iterable[Node]:
    """The single values that ``node`` is made from: of a row of several results, what that row is made from."""
    if node.primitive is PICK and node.args[0].primitive is CUSTOM_GRADIENT:
        yield node.args[0].args[dict(node.attrs)["index"]]  # which it is
        return
    for a in node.args:
        if isinstance(a.spec, Spec):
            yield a
        else:
            yield from _arguments(a)


class _Network:
    """A flow network, and its smallest cut by augmenting along shortest paths."""

    source, sink = "source", "sink"

    def __init__(self) -> None:
        self.edges: dict[object, dict[object, int]] = {self.source: {}, self.sink: {}}

    def edge(self, a: object, b: object, capacity: int) -> None:
        self.edges.setdefault(a, {})[b] = capacity
        self.edges.setdefault(b, {}).setdefault(a, 0)

    def cut(self) -> set[object]:
        """The side of the sink in the smallest cut nearest to it."""
        while True:
            came: dict[object, object] = {self.source: None}
            line: list[object] = [self.source]
            for at in line:
                for to, capacity in self.edges[at].items():
                    if capacity and to not in came:
                        came[to] = at
                        line.append(to)
                if self.sink in came:
                    break
            else:
                return self._reaching(self.edges)
            path: list[tuple[object, object]] = []
            at = self.sink
            while at is not self.source:
                path.append((came[at], at))
                at = came[at]
            flow = min(self.edges[a][b] for a, b in path)
            for a, b in path:
                self.edges[a][b] -= flow
                self.edges[b][a] += flow

    def _reaching(self, edges: Mapping[object, Mapping[object, int]]) -> set[object]:
        found: set[object] = {self.sink}
        line: list[object] = [self.sink]
        for at in line:
            for before in edges[at]:
                if before not in found and edges[before][at]:
                    found.add(before)
                    line.append(before)
        return found
