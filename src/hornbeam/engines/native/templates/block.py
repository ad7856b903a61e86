"""What templates share: an emitted function over the dense buffers of one node's operands and result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import I64, Function, Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.ir.node import Node


def product(shape: Shape) -> int:
    size = 1
    for d in shape:
        size *= d
    return size


class Block:
    """Emits ``name(result, operands…, begin, end)``, or ``name(result, operands…, scratch, unit)`` if ``chunked``.

    ``pointers[i]`` is operand i, ``out`` the result.
    """

    def __init__(
        self, module: Module, fusion: Fusion, name: str, node: Node, machine: Target, chunked: bool = False
    ) -> None:
        self.node, self.name, self.lanes = node, name, machine.lanes
        self.attrs = dict(node.attrs)
        operands = [fusion.base(a) for a in node.args]
        self.buffers = tuple(dict.fromkeys([node, *operands]))
        last = [("ptr", "scratch"), ("i64", "unit")] if chunked else [("i64", "begin"), ("i64", "end")]
        parameters = [*(("ptr", f"b{i}") for i in range(len(self.buffers))), *last]
        self.chunked = chunked
        self.f = Function(module, name, parameters)
        self.out = "%b0"
        self.pointers = [f"%b{self._number(b)}" for b in operands]

    def _number(self, buffer: Node) -> int:
        return next(i for i, b in enumerate(self.buffers) if b is buffer)

    def units(self, count: int, body: Callable[[Value], None], operations: int = 0, scratch: int = 0) -> list[Kernel]:
        """The units of work that threads may share, and the end of the function."""
        if self.chunked:
            body(Value("%unit", I64))
        else:
            self.f.loop(Value("%begin", I64), Value("%end", I64), 1, body, hint="unit")
        work = 0.1 * sum(n.spec.nbytes for n in self.buffers) + 0.1 * operations
        name = self.f.finish(share=True)
        return [Kernel(name, self.buffers, count, (self.node,), operations, scratch, self.chunked, nanoseconds=work)]

    def split(self, number: Value, sizes: Sequence[int]) -> list[Value]:
        """The digits of ``number`` in the mixed radix ``sizes``, the most significant first."""
        digits: list[Value] = []
        for size in reversed(sizes[1:]):
            digits.append(self.f.rem(number, index(size)) if size != 1 else index(0))
            number = self.f.div(number, index(size)) if size != 1 else number
        return [number, *reversed(digits)] if sizes else []

    def at(self, terms: Sequence[tuple[Value, int]]) -> Value:
        """The sum of value * factor."""
        total = index(0)
        for value, factor in terms:
            if factor and value.ref != "0":
                part = value if factor == 1 else self.f.mul(value, index(factor))
                total = part if total.ref == "0" else self.f.add(total, part)
        return total

    def row(self, length: int, body: Callable[[Value, Value | None], None]) -> None:
        """``body(j, mask)`` over 0 … length in vectors, the last of them masked."""
        f, lanes = self.f, self.lanes
        whole = length - length % lanes
        if whole:
            f.loop(index(0), index(whole), lanes, lambda j: body(j, None), hint="j")
        if length > whole:
            body(index(whole), f.tail_mask(index(length - whole), lanes))

    def copy(self, source: str, target: str, dtype: DType, length: int) -> None:
        f = self.f
        if length == 1:
            f.store(f.load(source, dtype), target)
            return

        def move(j: Value, mask: Value | None) -> None:
            f.store(f.load(f.address(source, j, dtype), dtype, self.lanes, mask), f.address(target, j, dtype), mask)

        self.row(length, move)

    def clamped(self, value: Value, high: int) -> Value:
        """An index as i64 in 0 … high."""
        f = self.f
        if value.dtype.kind == "u":
            wide = f.intrinsic("umin", f.cast(value, dtypes.uint64), f.constant(max(high, 0), dtypes.uint64))
            return Value(wide.ref, I64)
        return f.intrinsic("smin", f.intrinsic("smax", f.cast(value, I64), index(0)), index(max(high, 0)))
