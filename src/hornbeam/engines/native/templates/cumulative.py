"""Running sums and products: one step after the other along the axis, as their reference, other axes side by side."""

from __future__ import annotations

from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.block import Block, product
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.contract import working_dtype

VECTORS = 4  # side by side: one addition does not wait for the other


def emit(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """A unit is a few vectors behind the axis; if it is the last axis, up to eight lines."""
    b = Block(module, fusion, name, node, machine)
    f, axis, reverse, dtype = b.f, b.attrs["axis"], b.attrs["reverse"], node.dtype
    wide = working_dtype(dtype)
    before, steps, after = product(node.shape[:axis]), node.shape[axis], product(node.shape[axis + 1 :])
    adding = node.primitive.name == "cumsum"

    def scan(starts: list[Value], width: int, mask: Value | None) -> None:
        """The line of vectors that begin at ``starts``."""

        def value(i: Value, start: Value) -> Value:
            return f.cast(f.load(place(b.pointers[0], i, start), dtype, width, mask), wide)

        def place(base: str, i: Value, start: Value) -> str:
            step = f.sub(index(steps - 1), i) if reverse else i
            return f.address(base, b.at([(start, 1), (step, after)]), dtype)

        def one(i: Value, *totals: Value) -> list[Value]:
            combine = f.add if adding else f.mul
            return put(i, [combine(t, value(i, s)) for t, s in zip(totals, starts, strict=True)])

        def put(i: Value, totals: list[Value]) -> list[Value]:
            for t, s in zip(totals, starts, strict=True):
                f.store(f.cast(t, dtype), place(b.out, i, s), mask)
            return totals

        first = put(index(0), [value(index(0), s) for s in starts])
        f.loop(index(1), index(steps), 1, one, first, hint="i")

    if after == 1:
        together = next(k for k in (8, 4, 2, 1) if before % k == 0)

        def lines(u: Value) -> None:
            first = f.mul(u, index(together * steps))
            scan([f.add(first, index(k * steps)) for k in range(together)], 1, None)

        return b.units(before // together, lines, node.spec.size)

    wide_block = VECTORS * b.lanes
    blocks = -(-after // wide_block)
    left = after - (blocks - 1) * wide_block

    def columns(u: Value) -> None:
        lead, block = b.split(u, (before, blocks))
        start = b.at([(lead, steps * after), (block, wide_block)])
        last = f.compare("eq", block, index(blocks - 1))
        if left < wide_block:
            f.only_if(last, lambda: rest(start))
            f.only_if(f.invert(last), lambda: whole(start))
        else:
            whole(start)

    def whole(start: Value) -> None:
        scan([f.add(start, index(v * b.lanes)) for v in range(VECTORS)], b.lanes, None)

    def rest(start: Value) -> None:
        full, tail = divmod(left, b.lanes)
        if full:
            scan([f.add(start, index(v * b.lanes)) for v in range(full)], b.lanes, None)
        if tail:
            scan([f.add(start, index(full * b.lanes))], b.lanes, f.tail_mask(index(tail), b.lanes))

    return b.units(before * blocks, columns, node.spec.size)
