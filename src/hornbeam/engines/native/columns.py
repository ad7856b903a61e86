"""Column kernels: reductions of axes before the last, columns side by side in vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import Form, offset, positions
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import I64, Module, Value, index
from hornbeam.engines.native.loops import Kernel, LoopEmitter, Memo, Space, Target, accumulator_of, is_far, memos
from hornbeam.ir.node import Node

FEW_COLUMNS = 1024  # columns that make units enough for threads
PARTS = 32  # at most, of the rows of few columns
PART = 32768  # elements that make one of them
WIDE = 4  # vectors of columns in a block


def column_axes(node: Node) -> tuple[list[int], list[int]]:
    """The axes that a reduction reduces, and those it keeps."""
    reduced = list(dict(node.attrs)["axes"])
    return reduced, [a for a in range(len(node.args[0].shape)) if a not in reduced]


class ColumnEmitter(LoopEmitter):
    """Emits reductions of axes before the last: columns side by side in vectors, rows added one after the other.

    Several ``roots`` reduce the same axes of arrays of one shape.

    Where there are many rows and few columns, the longest of the reduced axes is split into parts that threads share;
    then the parts are added in order. Splitting depends on the shape alone, so the bits do.
    """

    def __init__(self, module: Module, fusion: Fusion, name: str, roots: Sequence[Node], lanes: int) -> None:
        shape = roots[0].args[0].shape
        reduced, kept = column_axes(roots[0])
        outer, inner = tuple(shape[a] for a in reduced), tuple(shape[a] for a in kept)
        self.border = len(outer)
        self.parts, self.split = _column_parts(outer, inner)
        # Loop variables are the reduced axes, then the kept ones.
        variables = positions(outer + inner)
        place = {a: variables[i] for i, a in enumerate((*reduced, *kept))}
        at = variables[len(outer) :]
        targets = [Target(root, at, root, offset(at, root.shape, len(shape))) for root in roots]
        here = tuple(place[a] for a in range(len(shape)))
        super().__init__(module, fusion, name, outer, inner, targets, roots, lanes, here)

    def _make_space(self, outer: Shape, inner: Shape, forms: Sequence[Form]) -> Space:
        return Space(outer, inner, forms, flatten=False, columns=True, first=self.split if self.parts > 1 else None)

    def _follows(self, buffer: Node) -> bool:
        """Rows are read across: the next one lies behind this one only if a block is all of it."""
        return is_far(buffer) and self.space.length <= WIDE * self.lanes

    @property
    def leading(self) -> list[list[int]]:
        """What is kept besides the columns."""
        return [g for g in self.space.outer if g[0] >= self.border]

    @property
    def rows(self) -> int:
        return int(np.prod([self.space.size(g) for g in self.leading], dtype=np.int64))

    @property
    def blocks(self) -> int:
        """Units of work for one row of columns: four vectors each, then single ones."""
        whole, left = divmod(self.space.length, WIDE * self.lanes)
        return whole + -(-left // self.lanes)

    def emit(self) -> list[Kernel]:
        if self.parts == 1:
            return self.emit_whole()
        size = self.rows * self.space.length
        self.begin(chunked=True)
        f = self.f
        part, unit = f.div(Value("%unit", I64), index(self.rows * self.blocks)), None
        unit = f.rem(Value("%unit", I64), index(self.rows * self.blocks))
        of = self.full_shape[self.split]
        first = f.div(f.mul(part, index(of)), index(self.parts))
        last = f.div(f.mul(f.add(part, index(1)), index(of)), index(self.parts))
        starts, scratch = [], 0
        for root in self.reductions:
            starts.append(scratch)
            scratch += -(-self.parts * size * accumulator_of(root.dtype).itemsize // 64) * 64
        bases = [f.address("%scratch", index(start), dtypes.uint8) for start in starts]
        before = f.mul(part, index(size))
        sums = [f.address(b, before, accumulator_of(r.dtype)) for r, b in zip(self.reductions, bases, strict=True)]
        self._unit(unit, (first, last), sums)
        summing = self.end(self.parts * self.rows * self.blocks, scratch)
        return [summing, self._adding(size, starts, scratch)]

    def _adding(self, size: int, starts: Sequence[int], scratch: int) -> Kernel:
        """The parts, added in order."""
        self.begin(chunked=True)
        f, lanes = self.f, self.lanes

        def vector(j: Value, mask: Value | None) -> None:
            for root, start in zip(self.reductions, starts, strict=True):
                dtype, total = accumulator_of(root.dtype), None
                base = f.address("%scratch", index(start), dtypes.uint8)
                for part in range(self.parts):
                    value = f.load(f.address(base, f.add(j, index(part * size)), dtype), dtype, lanes, mask)
                    total = value if total is None else self._combine(root, total, value)
                assert total is not None
                f.store(f.cast(total, root.dtype), f.address(self.pointers[root], j, root.dtype), mask)

        whole = size - size % lanes
        f.loop(index(0), index(whole), lanes, lambda j: vector(j, None), hint="j")
        if size > whole:
            vector(index(whole), self._tail(size - whole))
        return self.end(1, scratch, work=0)

    @property
    def units(self) -> int:
        return self.rows * self.blocks

    def _units(self, begin: Value, end: Value) -> None:
        self.f.loop(begin, end, 1, lambda u: self._unit(u, None, None), hint="unit")

    def _unit(self, number: Value, span: tuple[Value, Value] | None, sums: Sequence[str] | None) -> None:
        """Blocks of four vectors first, then single vectors, the last of them masked."""
        f, lanes = self.f, self.lanes
        wide = lanes * WIDE
        whole, left = divmod(self.space.length, wide)
        row, block = f.div(number, index(self.blocks)), f.rem(number, index(self.blocks))
        into = sums
        if sums is not None:
            above = f.mul(row, index(self.space.length))
            into = [f.address(s, above, accumulator_of(r.dtype)) for r, s in zip(self.reductions, sums, strict=True)]
        kept = self._decoded(row, self.leading)
        if whole:
            in_whole = f.intrinsic("smin", f.add(block, index(1)), index(whole))

            def wide_block(b: Value) -> None:
                self._block(kept, f.mul(b, index(wide)), WIDE, False, span, into)

            f.loop(block, in_whole, 1, wide_block, hint="w")
        if left:
            first = f.intrinsic("smax", block, index(whole))

            def vector(b: Value) -> None:
                at = f.add(f.mul(f.sub(b, index(whole)), index(lanes)), index(whole * wide))
                self._block(kept, at, 1, bool(left % lanes), span, into)

            f.loop(first, f.add(block, index(1)), 1, vector, hint="n")

    def _block(
        self, kept: list[tuple[list[int], Value]], column: Value, vectors: int, masked: bool,
        span: tuple[Value, Value] | None, sums: Sequence[str] | None,
    ) -> None:  # fmt: skip
        """Reduce ``vectors`` of columns, over ``span`` of the split axis, into the result or the part at ``sums``."""
        f, lanes = self.f, self.lanes
        mask = f.tail_mask(f.sub(index(self.space.length), column), lanes) if masked else None
        reduced = [g for g in self.space.outer if g[0] < self.border]
        columns = [column if v == 0 else f.add(column, index(v * lanes)) for v in range(vectors)]
        operands = [(r.args[0], self.here) for r in self.reductions]

        def one(j: Value, accumulators: Sequence[Value], memo: Memo) -> list[Value]:
            values = [self._value(node, at, j, mask, memo) for node, at in operands]
            return [
                self._combine(r, acc, f.splat(f.cast(value, acc.dtype), lanes))
                for r, acc, value in zip(self.reductions, accumulators, values, strict=True)
            ]

        def nest(depth: int, variables: list[tuple[list[int], Value]], accumulators: Sequence[Value]) -> list[Value]:
            if depth == len(reduced):
                self._bases([*variables, *kept])
                self._hoist(operands)
                n = len(operands)
                vectors = enumerate(zip(columns, memos(len(columns)), strict=True))
                return [x for i, (j, memo) in vectors for x in one(j, accumulators[i * n : i * n + n], memo)]
            group = reduced[depth]
            start, stop = index(0), index(self.space.size(group))
            if span is not None and self.split in group:
                inside = index(self.space.size(group) // self.full_shape[self.split])
                start, stop = f.mul(span[0], inside), f.mul(span[1], inside)

            def turn(i: Value, *values: Value) -> list[Value]:
                return nest(depth + 1, [*variables, (group, i)], values)

            return f.loop(start, stop, 1, turn, accumulators, hint="r")

        totals = iter(nest(0, [], [self._start(r, lanes) for _ in columns for r in self.reductions]))
        if sums is None:
            self._bases(kept)
        for j, (i, target) in itertools.product(columns, enumerate(self.targets)):
            total = next(totals)
            if sums is None:
                self._store(target, f.cast(total, target.node.dtype), j, mask)
            else:
                f.store(total, f.address(sums[i], j, total.dtype), mask)


def _column_parts(outer: Shape, inner: Shape) -> tuple[int, int]:
    """Into how many parts a reduction of ``outer`` for each of ``inner`` is split, and along which axis."""
    columns = int(np.prod(inner, dtype=np.int64))
    if columns >= FEW_COLUMNS or not outer:
        return 1, 0
    axis = max(range(len(outer)), key=lambda i: outer[i])
    work = columns * int(np.prod(outer, dtype=np.int64))
    return max(min(PARTS, outer[axis], work // PART), 1), axis
