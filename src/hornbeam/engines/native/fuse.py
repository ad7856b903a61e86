"""Fusion: which nodes share a kernel, and which values go through memory.

A *cluster* becomes one kernel over one iteration space. ``loop`` clusters compute maps and views over
``outer + inner``, with reductions over ``inner`` along the way: a softmax is one cluster that passes once over memory.
``column`` clusters reduce leading axes, of several arrays if they are made of the same ones. ``block`` clusters are one
node with a template of its own (a product, a gather) and maybe the loop that follows it, ``assemble`` ones write their
parts side by side (pad, concat), a ``host`` cluster is a row without native code, run by its reference, and there is
nothing to do for an ``empty`` one.

Maps, views and random bits melt into the one cluster that uses them. A value goes to memory if a block reads it, if
several clusters do, or if it is a result; but what takes a few cheap operations on one array is computed by each
reader, from that array, instead of being stored beside it, and so is what takes a few on random bits, which are drawn
anew from their key. Clusters over one space then join if one reads the other element by element, or if both read the
same thing, so that an optimizer's slots are updated in one pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from hornbeam.base.spec import Shape, Spec
from hornbeam.engines.native.affine import VIEWS, Form, Index, counted, offset, positions, splits, through
from hornbeam.engines.native.llvm import SUPPORTED
from hornbeam.engines.native.mathlib import supports
from hornbeam.engines.native.prepare import REDUCTIONS, prepared
from hornbeam.ir.check import CheckError
from hornbeam.ir.node import PARAM, Node
from hornbeam.ir.primitives.movement import CONCAT, CONSTANT, IOTA, PAD, PICK, RESHAPE
from hornbeam.ir.primitives.random import RANDOM_BITS
from hornbeam.ir.program import Program

MAX_ROOTS = 24  # nodes computed by one kernel: beyond that registers and pointers spill
MAX_COLUMN_ROOTS = 4  # column reductions of one kernel: each has four vectors of sums in registers
MAX_OPERATIONS = 100  # maps and views in one kernel: code grows no faster than the program
MAX_VIEWS = 64  # views on views that nothing holds
MAX_AGAIN = 3  # cheap operations that every reader does for itself
MAX_DRAWN = 8  # cheap operations on random bits that every reader does for itself
BYTES_DRAWN = 3  # that come from memory in the time in which a core makes a random word, half a nanosecond
MAX_EPILOGUE = 40  # operations that a block goes on with
MAX_SCRATCH = 64 * 1024  # bytes of row values that a cluster may keep between its passes over a row


CHEAP = frozenset("add sub mul neg cast max min abs eq ne lt le gt ge and or xor not select".split())


class Cluster:
    """Nodes that become one kernel. ``outputs`` are those whose values others need."""

    def __init__(self, kind: str, root: Node, outer: Shape = (), inner: Shape = ()) -> None:
        self.kind = kind
        self.outer, self.inner = outer, inner
        self.roots = [root]  # nodes computed for their own sake; what melts into them is not listed
        self.operations = 1  # nodes computed, those that melt included
        self.columns = 0  # of a block that goes on with the other roots: its result's last axes, along which it does

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

    def __init__(self, program: Program, templates: Mapping[str, Any]) -> None:
        self.program = program
        self.templates = templates
        self.nodes = program.nodes
        self.users: dict[Node, list[Node]] = {}
        for node in self.nodes:
            for a in dict.fromkeys(node.args):
                self.users.setdefault(a, []).append(node)
        self.used = {*self.users, *program.roots}
        self.results = set(program.roots)
        self.memory: set[Node] = set()
        self.again: set[Node] = set()  # maps that several clusters compute, each for itself
        self.cluster_of: dict[Node, Cluster] = {}
        self._place()
        self.clusters = self._joined()

    def __str__(self) -> str:
        from hornbeam.engines.native import printed  # for eyes only

        return printed.clusters(self)

    def verify(self) -> None:
        """Raises CheckError unless every cluster comes after what it reads, and every result is computed or given."""
        ready: set[Node] = set(self.program.params)
        for cluster in self.clusters:
            inside = set(cluster.roots)
            for root in cluster.roots:
                for source in self.sources(root):
                    if source not in ready and source not in inside and source.primitive is not CONSTANT:
                        raise CheckError(f"{cluster!r} reads {source!r}, which no earlier cluster computes.\n{self}")
            ready |= inside
        for root in self.program.roots:
            base = root.args[0] if root.primitive is PICK else root
            if base not in ready and base.primitive is not CONSTANT:
                raise CheckError(f"no cluster computes the result {root!r}.\n{self}")

    # -- what goes to memory -------------------------------------------------------------------

    def kind(self, node: Node) -> str:
        p = node.primitive
        if p is CONSTANT or p is PARAM:
            return "leaf"
        if p is PICK:
            return "pick"
        specs = [node.spec] if isinstance(node.spec, Spec) else list(node.spec)
        if not any(s.size for s in specs) and not p.effect:
            return "empty"
        supported = all(s.dtype.name in SUPPORTED for s in [*specs, *(a.spec for a in node.args if _single(a))])
        if not supported:
            return "host"
        if p in VIEWS or p is IOTA:
            return "view"
        if p.kind == "map":
            return "map" if p.code is not None and supports(p.name, node.args[0].spec.dtype) else "host"
        if p in REDUCTIONS:
            return self._reduction_kind(node)
        if p is PAD or p is CONCAT:
            return "assemble"
        if p is RANDOM_BITS:
            return "random"
        template = self.templates.get(p.name)
        return "block" if template is not None and template.takes(node) and self._bodies_run(node) else "host"

    def _bodies_run(self, node: Node) -> bool:
        """Whether the bodies of control flow have native code throughout."""
        for _, value in node.attrs:
            for body in value if isinstance(value, tuple) else (value,):
                if isinstance(body, Program):
                    kinds = Fusion(prepared(body), self.templates).kinds.values()
                    if "host" in kinds:
                        return False
        return True

    def _reduction_kind(self, node: Node) -> str:
        axes, rank = dict(node.attrs)["axes"], len(node.args[0].shape)
        if axes == tuple(range(rank - len(axes), rank)):
            return "row"
        return "host" if rank - 1 in axes else "column"  # ``prepared`` leaves none for the host

    def _readers(self, node: Node) -> list[Node]:
        """The nodes that read ``node``, seen through views that have no memory of their own, and ``again``."""
        out = []
        for user in self.users.get(node, ()):
            if user in self.again or (self.kinds[user] == "view" and user not in self.memory):
                out += self._readers(user)
            else:
                out.append(user)
        return out

    def _place(self) -> None:
        self.kinds = {n: self.kind(n) for n in self.nodes}
        roots = {n for n in self.program.roots if n.primitive not in (PARAM, CONSTANT)}
        keys = {self._seen(n.args[0]) for n in self.nodes if n.primitive is RANDOM_BITS}  # read in every row
        depth: dict[Node, int] = {}  # of views on views
        for node in self.nodes:
            depth[node] = 1 + depth.get(node.args[0], 0) if self.kinds[node] == "view" and node.args else 0
        for node in reversed(self.nodes):
            kind = self.kinds[node]
            if kind in ("leaf", "pick"):
                continue
            if kind not in ("map", "view", "random"):
                self.memory.add(node)
                self._own(node, kind)
                continue
            readers = self._readers(node)
            needed = node in roots or any(self._needs_memory(node, u) for u in self.users.get(node, ()))
            needed = needed or (kind != "view" and any(self.kinds[r] in ("block", "host") for r in readers))
            homes = {id(self.cluster_of[r]): self.cluster_of[r] for r in readers if r in self.cluster_of}
            if kind == "view":
                if needed or (depth[node] % MAX_VIEWS == MAX_VIEWS - 1 and readers):
                    self.memory.add(node)
                    self._own(node, "map")
                else:
                    for home in homes.values():
                        home.operations += 1
                continue
            needed = needed or node in keys or self._read_in_several_places(node)
            if not needed and len(homes) > 1 and self._better_again(node, list(homes.values())):
                self.again.add(node)
                for home in homes.values():
                    home.operations += 1
                continue
            if needed or len(homes) != 1 or not self._takes(next(iter(homes.values())), node):
                if readers or needed:
                    self.memory.add(node)
                    self._own(node, "map")
            else:
                self.cluster_of[node] = home = next(iter(homes.values()))
                home.operations += 1

    def _needs_memory(self, node: Node, user: Node) -> bool:
        kind = self.kinds[user]
        if kind == "block":
            through = self.kinds[node] == "view" and self.templates[user.primitive.name].reads_through(self, user, node)
            return not through
        if kind == "host":
            return True
        if kind == "pick":
            return False
        if kind == "row" and not self._in_order(node, self.cluster_of[user]):
            return True
        return user.primitive is RESHAPE and splits(user) and bool(self._readers(user) or user in self.memory)

    def _in_order(self, node: Node, row: Cluster) -> bool:
        """Whether ``row`` can reduce ``node`` where it is computed: its elements are reduced in the order of memory,
        whatever is fused, so all below must lie in that order or stay the same within a row."""
        axes = along(row.outer, row.inner)
        if len(axes) < 2:
            return True
        rank = len(row.space)
        stack: list[tuple[Node, Index]] = [(node, positions(row.space))]
        seen: set[Any] = set()
        while stack:
            n, at = stack.pop()
            if (id(n), at) in seen:
                continue
            seen.add((id(n), at))
            number = counted(n, at, rank)
            if not together(offset(at, n.shape, rank) if number is None else number, row.space, axes):
                return False
            leaf = self.kinds.get(n, "leaf") not in ("map", "view") or n in self.memory
            if not leaf and not (n.primitive in VIEWS and through(n, at, rank) is None):
                stack += self.below(n, at, rank)
        return True

    def _read_in_several_places(self, node: Node) -> bool:
        """Whether one iteration would need several elements of ``node``, each computed with all that is below it."""
        users = self.users.get(node, ())
        if len(users) < 2 or node.spec.size <= 1:
            return False
        if node.primitive is RANDOM_BITS and sum(u.spec.size for u in users if _single(u)) <= node.spec.size:
            return False  # its parts, each of which is made where it is used
        return any(self.kinds[u] == "view" and u not in self.memory for u in users)

    def _takes(self, home: Cluster, node: Node) -> bool:
        """Whether ``node`` should melt into ``home``."""
        return home.operations < MAX_OPERATIONS and not self._repeats(node, home)

    def _better_again(self, node: Node, homes: list[Cluster]) -> bool:
        """Whether each of ``homes`` should compute ``node`` for itself: a few cheap operations, and no more bytes to
        read than if it had been stored. (A product's results are not read for this: it may end with the operations.)
        """
        if self._drawn_again(node, homes):
            return True
        large: set[Node] = set()
        seen: set[Node] = set()
        stack = [node]
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen.add(n)
            number = n.spec.size <= 1 and n.primitive.name == "div"
            if not (n.primitive.name in CHEAP or number) or len(seen) > MAX_AGAIN:
                return False
            for a in n.args:
                while self.kinds.get(a) == "view" and a.args:
                    a = a.args[0]
                if self.kinds.get(a) == "map" and a.primitive.name in CHEAP:
                    stack.append(a)
                elif _single(a) and 8 * a.spec.size > node.spec.size and a.spec.size > 1:
                    large.add(a)
        small = any(_product(h.space) >= 8 * node.spec.size for h in homes)
        if not small and (len(large) > 1 or any(a.dtype.itemsize > node.dtype.itemsize for a in large)):
            return False
        return all(self._takes(h, node) for h in homes) and not any(a.primitive.name == "dot" for a in large)

    def _drawn_again(self, node: Node, homes: list[Cluster]) -> bool:
        """Whether each of ``homes`` should make ``node`` from random bits that it draws again: a few cheap operations
        on bits and on small things, such as the mask of a dropout, between its forward and its backward pass.

        Kept, ``node`` is written once and read by each; drawn again, it takes Threefry in all of them but one. The
        mask, a byte, is thus drawn in two places and kept for three. What lies in the caches is read faster than it
        is drawn (for a mask by a few tenths of a nanosecond), but the memory is free in the meantime.
        """
        if (len(homes) - 1) * BYTES_DRAWN > (len(homes) + 1) * node.dtype.itemsize:
            return False
        seen: dict[Node, None] = {}
        stack = [node]
        while stack:
            n = stack.pop()
            if n in seen:
                continue
            seen[n] = None
            if n.primitive is RANDOM_BITS:
                continue
            if not (n.primitive.name in CHEAP or n.primitive.name == "shift_right") or len(seen) > MAX_DRAWN:
                return False
            for a in map(self._seen, n.args):
                if self.kinds.get(a) in ("map", "random") and a.spec.size > 1:
                    stack.append(a)
                elif 8 * a.spec.size > node.spec.size and a.spec.size > 1:
                    return False
        return any(n.primitive is RANDOM_BITS for n in seen) and all(self._takes(h, node) for h in homes)

    def _seen(self, node: Node) -> Node:
        """What ``node`` is a view of."""
        while self.kinds.get(node) == "view" and node.args:
            node = node.args[0]
        return node

    def _repeats(self, node: Node, home: Cluster) -> bool:
        """Whether melting would compute ``node`` many times over: it is broadcast along leading axes."""
        space = home.space
        if node.primitive is RANDOM_BITS:
            return _product(space) >= 8 * node.spec.size  # a word is dear even once a row
        if not node.shape or not space or node.spec.size <= 1:
            return False
        return node.shape[-1] == space[-1] and node.shape[-1] > 1 and _product(space) >= 8 * node.spec.size

    def _own(self, node: Node, kind: str) -> None:
        shape = node.spec.shape if _single(node) else ()
        if kind in ("map", "random"):
            cluster = Cluster("loop", node, shape[:-1], shape[-1:])
        elif kind == "row":
            source = node.args[0].shape
            k = len(source) - len(dict(node.attrs)["axes"])
            cluster = Cluster("loop", node, source[:k], source[k:])
        elif kind == "column":
            source, axes = node.args[0].shape, dict(node.attrs)["axes"]
            cluster = Cluster("column", node, tuple(source[a] for a in axes), node.shape)
        else:
            cluster = Cluster(kind, node, shape)
        self.cluster_of[node] = cluster

    # -- looking through what melts -------------------------------------------------------------------

    def in_memory(self, node: Node) -> bool:
        """Whether ``node`` can be read from a buffer: it has one, or it is a reshape of one that does."""
        if node in self.memory or node.primitive in (PARAM, PICK, CONSTANT):
            return True
        return node.primitive is RESHAPE and self.in_memory(node.args[0])

    def base(self, node: Node) -> Node:
        """The node whose buffer holds ``node``, which is in memory."""
        while node.primitive is RESHAPE and node not in self.memory:
            node = node.args[0]
        return node

    def memory_of(self, node: Node) -> Node:
        """The node whose buffer holds the values of ``node``, maybe in another order."""
        while not self.in_memory(node):
            node = node.args[0]
        return self.base(node)

    def below(self, node: Node, index: Index, rank: int) -> list[tuple[Node, Index]]:
        """What one iteration needs to compute ``node`` at ``index``: its arguments and where."""
        if node.primitive in VIEWS:
            inner = through(node, index, rank)
            assert inner is not None, f"{node!r} should have found its argument in memory"
            return [(node.args[0], inner)]
        if node.primitive is RANDOM_BITS:
            return [(node.args[0], (word,)) for word in ((0,) * (rank + 1), (0,) * rank + (1,))]
        return [(a, broadcast_index(a.shape, index, rank)) for a in node.args]

    def sources(self, root: Node) -> dict[Node, None]:
        """The nodes whose buffers computing ``root`` reads."""
        found: dict[Node, None] = {}
        seen: set[Node] = set()
        stack = list(root.args)
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.primitive is CONSTANT and node.spec.size == 1:
                continue  # part of the code, wherever it is needed
            if self.in_memory(node):
                base = self.base(node)
                found.setdefault(base.args[0] if base.primitive is PICK else base)
            else:
                stack.extend(node.args)
        return found

    # -- joining clusters -------------------------------------------------------------------

    def _joined(self) -> list[Cluster]:
        """Clusters with their neighbours joined, in an order in which they can run."""
        clusters = [self.cluster_of[n] for n in self.nodes if n in self.memory]
        graph = Dependencies(self, clusters)
        # The largest first: what small ones do must not stand between. Where it does, try again when they have joined.
        waiting = sorted(clusters, key=lambda c: -_product(c.space))
        while waiting:
            left, blocked = len(graph.order), []
            for cluster in waiting:
                if cluster.kind in ("loop", "column") and cluster in graph.order and self._absorb(graph, cluster):
                    blocked.append(cluster)
            waiting = blocked if len(graph.order) < left else []
        for cluster in clusters:
            if cluster.kind == "block":
                self._go_on(graph, cluster)
        return graph.ordered()

    def _go_on(self, graph: Dependencies, block: Cluster) -> None:
        """Let ``block`` go on with the loop that is alone in reading its result, if that goes over it elementwise."""
        root = block.roots[0]
        columns = self.templates[root.primitive.name].columns(root)
        readers = list(graph.outputs[block])
        if not columns or len(readers) != 1 or root in self.results:
            return
        (loop,) = readers
        if loop.kind != "loop" or loop.reduces or loop.space != root.shape or loop.operations > MAX_EPILOGUE:
            return
        # One value takes the place of the block's. A slot's new value might do so before its old one is read.
        placed = [r for r in self.stored(loop) if r.dtype == root.dtype]
        if not placed or any(r in self.program.renewed for r in loop.roots) or not graph.independent(block, loop):
            return
        rank = len(root.shape)
        outer, inner = root.shape[: rank - columns], root.shape[rank - columns :]
        reads, own = Reads(self, outer, inner), {root, *loop.roots}
        for node, form in (read for r in loop.roots for read in reads.of(r)):
            if node is None or not together(form, root.shape, along(outer, inner)):
                return
            if node in own and not reads.elementwise(node, form):
                return
        self._join(block, loop)
        graph.merge(block, loop)
        block.columns = columns

    def _absorb(self, graph: Dependencies, cluster: Cluster) -> bool:
        """Join ``cluster`` to an earlier neighbour, and that to another, as long as one fits. Returns whether one
        would fit but for a third that stands between."""
        found: Cluster | None = cluster
        while found is not None:
            cluster, found, between = found, None, False
            for other in graph.neighbours(cluster):
                if self._fits(other, cluster):
                    if graph.independent(other, cluster):
                        self._join(other, cluster)
                        graph.merge(other, cluster)
                        found = other
                        break
                    between = True
        return between

    def _fits(self, first: Cluster, second: Cluster) -> bool:
        """Whether ``second`` can run in ``first``'s loops: one space, and elementwise reads of each other's values."""
        if first.kind == second.kind == "column":
            same = first.outer == second.outer and first.roots[0].args[0].shape == second.roots[0].args[0].shape
            alike = same and dict(first.roots[0].attrs)["axes"] == dict(second.roots[0].attrs)["axes"]
            return alike and len(first.roots) + len(second.roots) <= MAX_COLUMN_ROOTS
        space = common_space(first, second)
        if space is None or len(first.roots) + len(second.roots) > MAX_ROOTS:
            return False
        if first.operations + second.operations > 2 * MAX_OPERATIONS:
            return False
        outer, inner = space
        size = max((r.spec.dtype.itemsize for r in (*first.roots, *second.roots)), default=4)
        staged = first.reduces or second.reduces
        if staged and first.reduces and size * _product(inner) * 2 > MAX_SCRATCH:
            return False
        inside = {*first.roots, *second.roots}
        reads = Reads(self, outer, inner)
        axes = along(outer, inner) if staged else []
        every = [read for root in (*first.roots, *second.roots) for read in reads.of(root)]
        if not all(together(form, outer + inner, axes) for _, form in every):
            return False
        own = [(node, form) for node, form in every if node is not None and node in inside]
        return all(reads.elementwise(node, form) for node, form in own)

    def _join(self, first: Cluster, second: Cluster) -> None:
        if first.kind == second.kind == "loop":
            space = common_space(first, second)
            assert space is not None
            first.outer, first.inner = space
        first.roots += second.roots
        first.operations += second.operations
        for node, cluster in self.cluster_of.items():
            if cluster is second:
                self.cluster_of[node] = first

    def stored(self, cluster: Cluster) -> list[Node]:
        """The roots of ``cluster`` that something outside it needs in memory."""
        return [
            r for r in cluster.roots
            if r in self.results or any(self.cluster_of.get(u) is not cluster for u in self._readers(r))
        ]  # fmt: skip


@lru_cache(1 << 14)
def broadcast_index(shape: Shape, index: Index, rank: int) -> Index:
    """The index of an operand of ``shape`` that a map broadcasts."""
    zero = (0,) * (rank + 1)
    lead = len(index) - len(shape)
    return tuple(zero if d == 1 else index[lead + i] for i, d in enumerate(shape))


def common_space(first: Cluster, second: Cluster) -> tuple[Shape, Shape] | None:
    """The (outer, inner) over which both can run: equal spaces, or results of the rows of one in the other."""
    if first.kind != "loop" or second.kind != "loop":
        return None
    if first.reduces and second.reduces:
        return (first.outer, first.inner) if (first.outer, first.inner) == (second.outer, second.inner) else None
    if first.space == second.space:
        reducing = first if first.reduces else second
        return reducing.outer, reducing.inner
    for rows, other in ((first, second), (second, first)):
        if rows.reduces and not other.reduces and squeezed(other.space) == squeezed(rows.outer):
            return rows.outer, rows.inner
    return None


def along(outer: Shape, inner: Shape) -> list[int]:
    """The variables of a loop over (outer, inner) that walk along a row."""
    return [len(outer) + i for i, d in enumerate(inner) if d != 1]


def together(form: Form, shape: Shape, axes: list[int]) -> bool:
    """Whether ``form`` treats the variables ``axes`` of a loop over ``shape`` as one that runs through all of them."""
    return all(form[a] == form[b] * shape[b] for a, b in itertools.pairwise(axes))


def squeezed(shape: Shape) -> Shape:
    return tuple(d for d in shape if d != 1)


def root_index(shape: Shape, outer: Shape, inner: Shape) -> Index | None:
    """The index at which a loop over (outer, inner) computes a node of ``shape``; None if it has no place there."""
    rank = len(outer) + len(inner)
    if shape == outer + inner:
        return positions(shape)
    if squeezed(shape) != squeezed(outer):
        return None
    variables = iter(i for i, d in enumerate(outer) if d != 1)
    zero = (0,) * (rank + 1)
    forms = []
    for d in shape:
        v = next(variables) if d != 1 else None
        forms.append(zero if v is None else tuple(int(j == v) for j in range(rank)) + (0,))
    return tuple(forms)


class Reads:
    """What computing a root reads from memory, and at which elements, over the loops (outer, inner); with no node, what
    it counts."""

    def __init__(self, fusion: Fusion, outer: Shape, inner: Shape) -> None:
        self.fusion, self.outer, self.inner = fusion, outer, inner
        self.rank = len(outer) + len(inner)

    def of(self, root: Node) -> list[tuple[Node | None, Form]]:
        found: dict[tuple[Node | None, Form], None] = {}
        seen: set[Any] = set()
        stack: list[tuple[Node, Index]] = []
        if root.primitive in REDUCTIONS:
            stack.append((root.args[0], positions(self.outer + self.inner)))
        else:
            index = root_index(root.shape, self.outer, self.inner)
            assert index is not None
            if root.primitive is RESHAPE and self.fusion.in_memory(root.args[0]):
                found[(self.fusion.base(root.args[0]), offset(index, root.shape, self.rank))] = None
            else:
                stack += self._below(root, index, found)
        while stack:
            node, index = stack.pop()
            if (id(node), index) in seen:
                continue
            seen.add((id(node), index))
            if self.fusion.in_memory(node):
                base = self.fusion.base(node)
                found[(base, offset(index, node.shape, self.rank))] = None
            else:
                stack += self._below(node, index, found)
        return list(found)

    def _below(self, node: Node, index: Index, found: dict[tuple[Node | None, Form], None]) -> list[tuple[Node, Index]]:
        number = counted(node, index, self.rank)
        if number is not None:
            found[(None, number)] = None
        return self.fusion.below(node, index, self.rank)

    def elementwise(self, node: Node, form: Form) -> bool:
        """Whether a read at ``form`` is the element that the same iteration computes of ``node``."""
        index = root_index(node.shape, self.outer, self.inner)
        return index is not None and offset(index, node.shape, self.rank) == form


class Dependencies:
    """The graph of clusters: who reads whom, kept up to date while clusters are joined.

    ``order`` numbers the clusters so that what is read comes before its readers; numbers may be left out.
    """

    def __init__(self, fusion: Fusion, clusters: list[Cluster]) -> None:
        self.inputs: dict[Cluster, dict[Cluster, None]] = {}
        self.outputs: dict[Cluster, dict[Cluster, None]] = {c: {} for c in clusters}
        self.reads: dict[Cluster, dict[Node, None]] = {}
        self.readers: dict[Node, dict[Cluster, None]] = {}
        for c in clusters:
            sources = {s: None for r in c.roots for s in fusion.sources(r)}
            self.reads[c] = sources
            self.inputs[c] = dict.fromkeys(fusion.cluster_of[s] for s in sources if s in fusion.memory)
            for s in sources:
                self.readers.setdefault(s, {})[c] = None
            for i in self.inputs[c]:
                self.outputs[i][c] = None
        self.order = {c: i for i, c in enumerate(clusters)}
        self.at = dict(enumerate(clusters))  # number -> cluster

    def neighbours(self, cluster: Cluster) -> list[Cluster]:
        """Clusters that ``cluster`` reads, then those that read what it reads, the latest first."""
        size = _product(cluster.space)
        big = [s for s in self.reads[cluster] if _single(s) and s.spec.size >= size]
        direct = [c for c in self.inputs[cluster] if c.kind == cluster.kind == "loop"]
        siblings = {c: None for s in big for c in self.readers[s] if c.kind == cluster.kind}
        earlier = [c for c in siblings if self.order[c] < self.order[cluster] and c not in self.inputs[cluster]]
        return [*sorted(direct, key=self._late), *sorted(earlier, key=self._late)]

    def _late(self, cluster: Cluster) -> int:
        return -self.order[cluster]

    def independent(self, first: Cluster, second: Cluster) -> bool:
        """Whether no way leads from ``first`` to the later ``second`` through a third: they join without a circle."""
        stack = [c for c in self.inputs[second] if c is not first]
        seen: set[Cluster] = set()
        while stack:
            c = stack.pop()
            if c is first:
                return False
            if c not in seen and self.order[c] > self.order[first]:
                seen.add(c)
                stack.extend(self.inputs[c])
        return True

    def merge(self, first: Cluster, second: Cluster) -> None:
        """``first`` takes in ``second``, which is later."""
        for c in self.inputs.pop(second):
            del self.outputs[c][second]
            if c is not first:
                self.inputs[first][c] = None
                self.outputs[c][first] = None
        for c in self.outputs.pop(second):
            self.inputs[c] = {i if i is not second else first: None for i in self.inputs[c]}
            self.outputs[first][c] = None
        for s in self.reads.pop(second):
            del self.readers[s][second]
            self.reads[first][s] = None
            self.readers[s][first] = None
        self._reorder(first, second)

    def _reorder(self, first: Cluster, second: Cluster) -> None:
        """What ``second`` read now comes before ``first``: of the clusters between them, those that need ``first`` move
        behind it."""
        low, high = self.order[first], self.order.pop(second)
        numbers = [n for n in range(low, high + 1) if n in self.at]
        behind: dict[Cluster, None] = {first: None}
        before: list[Cluster] = []
        for n in numbers:
            c = self.at.pop(n)
            if c is first or c is second:
                continue
            if any(i in behind for i in self.inputs[c]):
                behind[c] = None
            else:
                before.append(c)
        for n, c in zip(numbers, [*before, *behind], strict=False):
            self.order[c], self.at[n] = n, c

    def ordered(self) -> list[Cluster]:
        return sorted(self.inputs, key=lambda c: self.order[c])


def _product(shape: Shape) -> int:
    size = 1
    for d in shape:
        size *= d
    return size


def _single(node: Node) -> bool:
    return isinstance(node.spec, Spec)
