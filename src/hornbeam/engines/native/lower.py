"""Clusters laid out as loop nests and blocks: what emits the kernels of which cluster.

A ``LoopEmitter`` knows its schedule (rows, vectors, passes over a row, parts that threads share) as soon as it is made;
``emit`` writes it down as LLVM IR. Printed, it is the loop form that ``DEBUG=4`` shows (``printed``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hornbeam.engines.native.affine import combine, dense_strides, positions
from hornbeam.engines.native.columns import ColumnEmitter
from hornbeam.engines.native.epilogue import Epilogue
from hornbeam.engines.native.fuse import Cluster, Fusion, broadcast_index
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import Kernel, LoopEmitter, Target, targets_of
from hornbeam.engines.native.target import Target as Machine
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import CONCAT

MAX_PARTS = 8  # of a concat in one loop


class BlockEmitter:
    """The kernels of a node that has a template, and of the loop that it goes on with."""

    def __init__(self, module: Module, fusion: Fusion, name: str, cluster: Cluster, machine: Machine) -> None:
        self.module, self.fusion, self.name, self.machine = module, fusion, name, machine
        self.node = cluster.roots[0]
        self.epilogue = Epilogue(module, fusion, cluster, machine.lanes) if cluster.columns else None

    def emit(self) -> list[Kernel]:
        template = self.fusion.templates[self.node.primitive.name]
        more = {"epilogue": self.epilogue} if self.epilogue else {}
        return list(template.emit(self.module, self.fusion, self.name, self.node, self.machine, **more))


class Nest(NamedTuple):
    """A cluster and what emits it: several emitters where its parts are written side by side, a Node where the host
    runs it, nothing if there is nothing to do."""

    cluster: Cluster
    emitters: Sequence[LoopEmitter | BlockEmitter | Node]

    def emit(self) -> list[Kernel | Node]:
        """Its steps, in order."""
        steps: list[Kernel | Node] = []
        for emitter in self.emitters:
            steps += [emitter] if isinstance(emitter, Node) else emitter.emit()
        return steps


class Nests(list[Nest]):
    """Those of a whole program, in the order in which they run."""

    def __init__(self, module: Module, fusion: Fusion, machine: Machine) -> None:
        super().__init__(lower_cluster(module, fusion, c, machine) for c in fusion.clusters)
        self.module, self.fusion, self.machine = module, fusion, machine

    def __str__(self) -> str:
        from hornbeam.engines.native import printed  # for eyes only

        return printed.loops(self)


def lower_cluster(module: Module, fusion: Fusion, cluster: Cluster, machine: Machine) -> Nest:
    """How ``cluster`` is computed."""
    name = module.name()
    lanes = machine.lanes
    root = cluster.roots[0]
    emitters: Sequence[Any] = [root]
    if cluster.kind == "empty":
        emitters = []
    elif cluster.kind == "loop":
        targets = targets_of(fusion, fusion.stored(cluster), cluster.outer, cluster.inner)
        emitters = targets and [
            LoopEmitter(module, fusion, name, cluster.outer, cluster.inner, targets, cluster.roots, lanes)
        ]
    elif cluster.kind == "column":
        emitters = [ColumnEmitter(module, fusion, name, cluster.roots, lanes)]
    elif cluster.kind == "assemble":
        emitters = _assembled(module, fusion, root, lanes)
    elif cluster.kind == "block":
        emitters = [BlockEmitter(module, fusion, name, cluster, machine)]
    return Nest(cluster, emitters)


def _assembled(module: Module, fusion: Fusion, root: Node, lanes: int) -> list[LoopEmitter]:
    """The parts of a concat, or the border and inside of a pad, are loops that write their places in the result; parts
    of one shape that come after one another share a loop, and what they have in common."""
    loops: list[tuple[tuple[int, ...], list[Target]]] = []

    def part(node: Node, starts: Sequence[int], strides: Sequence[int], shape: tuple[int, ...]) -> None:
        rank = len(shape)
        whole = dense_strides(root.shape)
        to = combine(
            positions(shape), [s * w for s, w in zip(strides, whole, strict=True)],
            sum(a * w for a, w in zip(starts, whole, strict=True)), variables=rank,
        )  # fmt: skip
        target = Target(node, broadcast_index(node.shape, positions(shape), rank), root, to)
        if not root.spec.size or not all(shape):
            return
        if root.primitive is CONCAT and loops and loops[-1][0] == shape and len(loops[-1][1]) < MAX_PARTS:
            loops[-1][1].append(target)
        else:
            loops.append((shape, [target]))

    attrs = dict(root.attrs)
    rank = len(root.shape)
    if root.primitive is CONCAT:
        start = 0
        for x in root.args:
            starts = [start if i == attrs["axis"] else 0 for i in range(rank)]
            part(x, starts, [1] * rank, x.shape)
            start += x.shape[attrs["axis"]]
    else:
        x, value = root.args
        if x.shape != root.shape:
            part(value, [0] * rank, [1] * rank, root.shape)
        part(x, attrs["before"], [b + 1 for b in attrs["between"]], x.shape)
    return [
        LoopEmitter(module, fusion, module.name(), shape[:-1], shape[-1:], targets, (), lanes)
        for shape, targets in loops
    ]
