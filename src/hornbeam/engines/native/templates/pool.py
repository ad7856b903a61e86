"""Pooling: walks over the windows of each position, channels side by side in vectors.

Sums, maxima and picked values are made in registers, a row of results per unit. Their transposes add to the places of a
window from the window's side, so a unit is an image: windows may overlap (of half precision they do not, ``prepare``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import dense_strides
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.block import Block, product
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.contract import lowest, working_dtype

Columns = list[tuple[Value, "Value | None"]]
"""Vectors of channels: where each begins, and which of its lanes exist (None: all)."""

UNROLLED = 16  # taps of a window that are written out


class Pool:
    """The windows of one pooling node over (batch, *spatial, channels)."""

    def __init__(
        self, module: Module, fusion: Fusion, name: str, node: Node, machine: Target, spatial: Shape, count: Shape
    ) -> None:
        self.b = Block(module, fusion, name, node, machine)
        self.f = self.b.f
        attrs = self.b.attrs
        self.batch, self.channels = node.shape[0], node.shape[-1]
        self.spatial, self.count = spatial, count
        self.window, self.strides, self.dilation = attrs["window"], attrs["strides"], attrs["dilation"]
        self.before = tuple(lo for lo, _ in attrs["padding"])
        self.steps = dense_strides((*spatial, self.channels))[:-1]

    def inside(self, axis: int) -> bool:
        """Whether no window leaves the array along ``axis``."""
        last = (self.count[axis] - 1) * self.strides[axis] + (self.window[axis] - 1) * self.dilation[axis]
        return self.before[axis] == 0 and last < self.spatial[axis]

    def walk(
        self, at: Sequence[Value], body: Callable[[Value, Value, list[Value]], list[Value]], carries: Sequence[Value]
    ) -> list[Value]:
        """``body(tap, element, carries)`` for every tap of window ``at`` that is not padding, in order."""
        f, b = self.f, self.b
        starts = [
            f.sub(f.mul(o, index(s)), index(lo)) for o, s, lo in zip(at, self.strides, self.before, strict=True)
        ]
        unroll = math.prod(self.window) <= UNROLLED

        def nest(axis: int, tap: Value, element: Value, carries: Sequence[Value]) -> list[Value]:
            if axis == len(self.window):
                return body(tap, element, list(carries))
            w, d, step = self.window[axis], self.dilation[axis], self.steps[axis]

            def one(t: Value, *carries: Value) -> list[Value]:
                return nest(axis + 1, b.at([(tap, w), (t, 1)]), b.at([(element, 1), (t, d * step)]), carries)

            if self.inside(axis) and unroll:
                for t in range(w):
                    carries = one(index(t), *carries)
                return list(carries)
            first, last = index(0), index(w)
            if not self.inside(axis):
                outside = f.intrinsic("smax", f.sub(index(d - 1), starts[axis]), index(0))
                room = f.intrinsic("smax", f.sub(index(self.spatial[axis] + d - 1), starts[axis]), index(0))
                first, last = f.div(outside, index(d)), f.intrinsic("smin", f.div(room, index(d)), last)
            return f.loop(first, last, 1, one, carries, hint="t")

        return nest(0, index(0), b.at(list(zip(starts, self.steps, strict=True))), carries)

    def across(self, body: Callable[[Columns], None]) -> None:
        """``body`` for the channels, up to four vectors at a time."""
        lanes, c = self.b.lanes, self.channels
        wide = 4 * lanes
        whole = c - c % wide

        def some(start: Value, width: int) -> None:
            columns: Columns = []
            for v in range(-(-width // lanes)):
                left = width - v * lanes
                mask = self.f.tail_mask(index(left), lanes) if left < lanes else None
                columns.append((self.f.add(start, index(v * lanes)) if v else start, mask))
            body(columns)

        if whole:
            self.f.loop(index(0), index(whole), wide, lambda j: some(j, wide), hint="c")
        if c > whole:
            some(index(whole), c - whole)

    def load(self, base: str, element: Value, column: tuple[Value, Value | None], dtype: DType) -> Value:
        return self.f.load(self.address(base, element, column[0], dtype), dtype, self.b.lanes, column[1])

    def address(self, base: str, element: Value, j: Value, dtype: DType) -> str:
        return self.f.address(base, self.b.at([(element, 1), (j, 1)]), dtype)

    def constant(self, value: object, dtype: DType) -> Value:
        return self.f.constant(value, dtype, self.b.lanes)

    def rows(self, body: Callable[[Value, list[Value], Value], None]) -> list[Kernel]:
        """``body(image, window, element)`` for every result; a unit is a row of them."""
        f, b, count = self.f, self.b, self.count
        image = product(self.spatial) * self.channels

        def unit(u: Value) -> None:
            n, *outer = b.split(u, (self.batch, *count[:-1]))

            def one(o: Value) -> None:
                place = f.mul(b.at([(u, count[-1]), (o, 1)]), index(self.channels))
                body(f.mul(n, index(image)), [*outer, o], place)

            f.loop(index(0), index(count[-1]), 1, one, hint="o")

        return b.units(self.batch * product(count[:-1]), unit, self.operations)

    def images(self, body: Callable[[Value, list[Value], Value], None], dtype: DType) -> list[Kernel]:
        """``body(image, window, element)`` for every window; a unit is an image of results, all zero at first."""
        f, b = self.f, self.b
        image, windows = product(self.spatial) * self.channels, product(self.count)

        def unit(n: Value) -> None:
            start = f.mul(n, index(image))
            zero = self.constant(0, dtype)
            b.row(image, lambda j, mask: f.store(zero, self.address(b.out, start, j, dtype), mask))

            def one(w: Value) -> None:
                place = f.mul(b.at([(n, windows), (w, 1)]), index(self.channels))
                body(start, b.split(w, self.count), place)

            f.loop(index(0), index(windows), 1, one, hint="w")

        return b.units(self.batch, unit, self.operations)

    @property
    def operations(self) -> int:
        return self.batch * product(self.count) * product(self.window) * self.channels

    def winners(self, x: str, image: Value, at: list[Value], columns: Columns, dtype: DType) -> list[Value]:
        """For each vector the tap with the first maximum (NaN is one), as int32; -1 if all is padding."""
        f = self.f
        wide = working_dtype(dtype)

        def tap(number: Value, element: Value, carries: list[Value]) -> list[Value]:
            out = []
            for column, best, winner in zip(columns, carries[0::2], carries[1::2], strict=True):
                here = f.cast(self.load(x, b.at([(image, 1), (element, 1)]), column, dtype), wide)
                none = f.compare("lt", winner, self.constant(0, dtypes.int32))
                better = f.bits("or", none, f.compare("gt", here, best))
                if dtypes.is_floating(wide):
                    better = f.bits("or", better, f.bits("and", f.is_nan(here), f.invert(f.is_nan(best))))
                mine = f.splat(f.cast(number, dtypes.int32), b.lanes)
                out += [f.select(better, here, best), f.select(better, mine, winner)]
            return out

        b = self.b
        start = [self.constant(0, wide), self.constant(-1, dtypes.int32)] * len(columns)
        return self.walk(at, tap, start)[1::2]


def reduce_windows(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """``pool_sum`` and ``pool_max``."""
    x = node.args[0]
    p = Pool(module, fusion, name, node, machine, x.shape[1:-1], node.shape[1:-1])
    f, b = p.f, p.b
    summing = node.primitive.name == "pool_sum"
    dtype, wide = node.dtype, working_dtype(node.dtype)
    first = p.constant(0 if summing else lowest(wide), wide)

    def window(image: Value, at: list[Value], place: Value) -> None:
        def some(columns: Columns) -> None:
            def tap(number: Value, element: Value, carries: list[Value]) -> list[Value]:
                source = b.at([(image, 1), (element, 1)])
                values = [f.cast(p.load(b.pointers[0], source, c, dtype), wide) for c in columns]
                if summing:
                    return [f.add(total, v) for total, v in zip(carries, values, strict=True)]
                return [f.extremum("max", best, v) for best, v in zip(carries, values, strict=True)]

            for (j, mask), total in zip(columns, p.walk(at, tap, [first] * len(columns)), strict=True):
                f.store(f.cast(total, dtype), p.address(b.out, place, j, dtype), mask)

        p.across(some)

    return p.rows(window)


def spread(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """``pool_spread``."""
    y, dtype = node.args[0], node.dtype
    p = Pool(module, fusion, name, node, machine, node.shape[1:-1], y.shape[1:-1])
    f, b = p.f, p.b

    def window(image: Value, at: list[Value], place: Value) -> None:
        def some(columns: Columns) -> None:
            values = [p.load(b.pointers[0], place, c, dtype) for c in columns]

            def tap(number: Value, element: Value, carries: list[Value]) -> list[Value]:
                target = b.at([(image, 1), (element, 1)])
                for column, v in zip(columns, values, strict=True):
                    old = p.load(b.out, target, column, dtype)
                    f.store(f.add(old, v), p.address(b.out, target, column[0], dtype), column[1])
                return []

            p.walk(at, tap, [])

        p.across(some)

    return p.images(window, dtype)


def pick(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """``pool_pick``."""
    x, dtype = node.args[0], node.dtype
    p = Pool(module, fusion, name, node, machine, x.shape[1:-1], node.shape[1:-1])
    f, b = p.f, p.b

    def window(image: Value, at: list[Value], place: Value) -> None:
        def some(columns: Columns) -> None:
            winners = p.winners(b.pointers[0], image, at, columns, x.dtype)

            def tap(number: Value, element: Value, carries: list[Value]) -> list[Value]:
                source = b.at([(image, 1), (element, 1)])
                mine = f.splat(f.cast(number, dtypes.int32), b.lanes)
                return [
                    f.select(f.compare("eq", winner, mine), p.load(b.pointers[1], source, column, dtype), old)
                    for column, winner, old in zip(columns, winners, carries, strict=True)
                ]

            for (j, mask), v in zip(columns, p.walk(at, tap, [p.constant(0, dtype)] * len(columns)), strict=True):
                f.store(v, p.address(b.out, place, j, dtype), mask)

        p.across(some)

    return p.rows(window)


def unpick(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """``pool_unpick``."""
    (x, y), dtype = node.args, node.dtype
    p = Pool(module, fusion, name, node, machine, node.shape[1:-1], y.shape[1:-1])
    f, b = p.f, p.b

    def window(image: Value, at: list[Value], place: Value) -> None:
        def some(columns: Columns) -> None:
            winners = p.winners(b.pointers[0], image, at, columns, x.dtype)
            values = [p.load(b.pointers[1], place, c, dtype) for c in columns]

            def tap(number: Value, element: Value, carries: list[Value]) -> list[Value]:
                target = b.at([(image, 1), (element, 1)])
                mine = f.splat(f.cast(number, dtypes.int32), b.lanes)
                for column, winner, v in zip(columns, winners, values, strict=True):
                    old = p.load(b.out, target, column, dtype)
                    new = f.select(f.compare("eq", winner, mine), f.add(old, v), old)
                    f.store(new, p.address(b.out, target, column[0], dtype), column[1])
                return []

            p.walk(at, tap, [])

        p.across(some)

    return p.images(window, dtype)
