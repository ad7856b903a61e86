"""Kernels for clusters: which emitter computes what."""

from __future__ import annotations

from collections.abc import Sequence

from hornbeam.engines.native.affine import combine, dense_strides, positions
from hornbeam.engines.native.fuse import Cluster, Fusion, broadcast_index
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import ColumnEmitter, Kernel, LoopEmitter, Target, targets_of
from hornbeam.engines.native.target import Target as Machine
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import CONCAT


def emit(module: Module, fusion: Fusion, cluster: Cluster, machine: Machine) -> list[Kernel | Node]:
    """Kernels for one cluster; a Node where its reference has to run."""
    name = module.name()
    lanes = machine.lanes
    root = cluster.roots[0]
    if cluster.kind == "empty":
        return []
    if cluster.kind == "loop":
        stored = fusion.stored(cluster)
        targets = targets_of(fusion, stored, cluster.outer, cluster.inner)
        if not targets:
            return []
        emitter = LoopEmitter(module, fusion, name, cluster.outer, cluster.inner, targets, cluster.roots, lanes)
        return list(emitter.emit())
    if cluster.kind == "column":
        return list(ColumnEmitter(module, fusion, name, root, lanes).emit())
    if cluster.kind == "assemble":
        return _assembled(module, fusion, root, lanes)
    if cluster.kind == "block":
        return list(fusion.templates[root.primitive.name].emit(module, fusion, name, root, machine))
    return [root]


def _assembled(module: Module, fusion: Fusion, root: Node, lanes: int) -> list[Kernel | Node]:
    """Each part of a concat, or the border and inside of a pad, is a loop that writes its place in the result."""
    kernels: list[Kernel | Node] = []

    def part(node: Node, starts: Sequence[int], strides: Sequence[int], shape: tuple[int, ...]) -> None:
        rank = len(shape)
        whole = dense_strides(root.shape)
        to = combine(
            positions(shape), [s * w for s, w in zip(strides, whole, strict=True)],
            sum(a * w for a, w in zip(starts, whole, strict=True)), variables=rank,
        )  # fmt: skip
        target = Target(node, broadcast_index(node.shape, positions(shape), rank), root, to)
        name = module.name()
        if root.spec.size and all(shape):
            kernels.extend(LoopEmitter(module, fusion, name, shape[:-1], shape[-1:], [target], (), lanes).emit())

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
    return kernels
