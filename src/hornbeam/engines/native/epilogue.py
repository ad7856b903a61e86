"""What a block goes on to compute of its result, a vector at a time, while that is in registers or the nearest cache.

A product of matrices that only one loop reads (a bias is added, an activation follows) does not have to write its
result for the loop to read it back: the loop's rows are computed where a tile has its finished sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import Form, Index
from hornbeam.engines.native.fuse import Cluster, Fusion
from hornbeam.engines.native.llvm import Function, Module, Value, index
from hornbeam.engines.native.loops import LoopEmitter, Memo, Space, targets_of
from hornbeam.engines.native.mathlib import VectorScalars
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import CONSTANT


class Epilogue(LoopEmitter):
    """Called with a vector of a block's result, it computes what follows and stores all of that but one value, which it
    returns to be stored where the block would store its own.

    given: the block's node, whose value is not stored.
    out: what is computed in its place, of the same dtype.
    others: the buffers that are read and written besides; ``names`` are those of the pointers to them.
    rows: of one batch entry of the block, whose ``batch`` and ``row`` count vectors' rows.
    """

    def __init__(self, module: Module, fusion: Fusion, cluster: Cluster, lanes: int) -> None:
        self.given = cluster.roots[0]
        shape, columns = self.given.shape, cluster.columns
        outer, inner = shape[: len(shape) - columns], shape[len(shape) - columns :]
        targets = targets_of(fusion, fusion.stored(cluster), outer, inner)
        super().__init__(module, fusion, "", outer, inner, targets, cluster.roots, lanes)
        place = next(t for t in targets if t.buffer.dtype == self.given.dtype)
        self.out = place.buffer
        self.forms.pop((self.out, place.to))
        self.others = tuple(b for b in self.buffers if b is not self.out)
        self.names = tuple(f"e{i}" for i in range(len(self.others)))
        self.pointers = {b: f"%{name}" for b, name in zip(self.others, self.names, strict=True)}
        self.rows = 1

    def _make_space(self, outer: Shape, inner: Shape, forms: Sequence[Form]) -> Space:
        return Space(outer, inner, forms, flatten=False)

    def _look_below(self, node: Node, at: Index) -> int:
        return 0 if node is self.given else super()._look_below(node, at)

    def _compute(self, node: Node, at: Index, j: Value, mask: Value | None, memo: Memo) -> Value:
        return self.value if node is self.given else super()._compute(node, at, j, mask, memo)

    def __call__(self, f: Function, value: Value, batch: Value, row: Value, column: Value, mask: Value | None) -> Value:
        """``value``: finished sums of columns from ``column`` on, of which ``mask`` exist; of any width."""
        self.f, self.h, self.lanes = f, VectorScalars(f), value.width
        self.value = f.cast(value, self.given.dtype)
        number = row if batch.ref == "0" else f.add(f.mul(batch, index(self.rows)), row)
        self._bases(self._decoded(number, self.space.outer))
        memo, returned = Memo(), self.value
        for t in self.targets:
            found = self._value(t.node, t.at, column, mask, memo)
            if t.buffer is self.out:
                returned = f.splat(found, self.lanes)
            else:
                self._store(t, found, column, mask)
        return returned

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What its code depends on: equal keys mean equal code."""
        lines: list[Any] = []
        numbers: dict[Any, int] = {}

        def number(node: Node, at: Index) -> int:
            key = self._key(node, at)
            if key not in numbers:
                line = self._line(node, at, number)
                numbers[key] = len(lines)
                lines.append(line)
            return numbers[key]

        targets = [(number(t.node, t.at), self._ordinal(t.buffer), t.to) for t in self.targets]
        return self.outer_inner, tuple(lines), tuple(targets), tuple(b.dtype for b in self.others)

    def _line(self, node: Node, at: Index, number: Callable[[Node, Index], int]) -> Any:
        if node is self.given:
            return "given"
        if node.primitive is CONSTANT and node.spec.size == 1:
            return node.dtype, dict(node.attrs)["value"]
        read = self._read_of(node, at)
        if read is not None:
            return self._ordinal(read[0]), read[1]
        return node.primitive.name, node.attrs, node.dtype, *(number(a, i) for a, i in self._below(node, at))

    def _ordinal(self, buffer: Node) -> int:
        return -1 if buffer is self.out else next(i for i, b in enumerate(self.others) if b is buffer)

    @property
    def nanoseconds(self) -> float:
        """On one core, roughly."""
        return self.given.spec.size * (0.03 * self.operations + 0.08 * len(self.others))
