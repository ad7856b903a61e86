"""Convolutions with one channel per group: features side by side in vectors, over the padded input.

With several features per channel (a multiplier), a vector of features reads each of its channels several times. The
gradient of the kernel keeps the sums of up to ``TAPS`` taps in registers while it passes over a part of the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import dense_strides
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import I64, Function, Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates import conv as general
from hornbeam.engines.native.templates.block import product
from hornbeam.engines.native.templates.conv import SPLITS, Emitter, Geometry, Mask, as_forward, flops, forward, plus
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.contract import working_dtype

TAPS = 16  # sums of a kernel's gradient in registers at once
POSITIONS = 4  # results side by side along the last axis, for one vector of the kernel


class Depthwise(Emitter):
    """The three directions. ``u`` counts units, ``j`` is the first of a vector of features or channels."""

    def features(self, f: Function, base: str, place: Value, j: Value, every: int, dtype: DType, mask: Mask) -> Value:
        """A vector of elements ``place + (j + lane) * every``, or ``place + (j + lane) // -every`` if negative, as they
        are summed."""
        lanes, to = self.machine.lanes, working_dtype(dtype)
        if every == 1:
            return f.cast(f.load(f.address(base, plus(f, [(place, 1), (j, 1)]), dtype), dtype, lanes, mask), to)
        lane = f.add(f.splat(j, lanes), f.lanes(lanes))
        moved = (f.div if every < 0 else f.mul)(lane, f.constant(abs(every), I64, lanes))
        return f.cast(f.gather(f.address(base, place, dtype), moved, dtype, mask), to)

    def multiply_add(self, f: Function, x: Value, y: Value, z: Value) -> Value:
        fused = dtypes.is_floating(x.dtype) and self.machine.fma
        return f.fma(x, y, z) if fused else f.add(f.mul(x, y), z)

    def convolve_depthwise(self, g: Geometry, x: str, turned: bool = False) -> None:
        """A unit is a row of results. The kernel's taps count from its end if ``turned``."""
        lanes, multiplier = self.machine.lanes, g.o // g.c
        taps = list(itertools.product(*map(range, g.window)))
        w, count = g.windows(), g.count
        of = -multiplier if multiplier > 1 else 1

        def body(f: Function, u: Value) -> None:
            image, *outer = digits(f, u, (g.n, *count[:-1]))
            start = plus(f, [(image, g.image), *zip(outer, w.batch, strict=True)])
            zero = f.constant(0, g.dtype, lanes)

            def column(j: Value, mask: Mask) -> None:
                def some(first: Value, many: int) -> None:
                    sums = [zero] * many
                    for number, tap in enumerate(taps):
                        at = index((len(taps) - 1 - number if turned else number) * g.o)
                        k = self.features(f, "%y", at, j, 1, self.dtype, mask)
                        for i in range(many):
                            place = plus(f, [(start, 1), (first, w.row)], g.start(tap) + i * w.row)
                            v = self.features(f, self.pointer(f, x), place, j, of, g.dtype, mask)
                            sums[i] = self.multiply_add(f, v, k, sums[i])
                    for i, total in enumerate(sums):
                        place = plus(f, [(u, count[-1] * g.o), (first, g.o), (j, 1)], i * g.o)
                        f.store(f.cast(total, self.dtype), f.address("%out", place, self.dtype), mask)

                whole = count[-1] - count[-1] % POSITIONS
                if whole:
                    f.loop(index(0), index(whole), POSITIONS, lambda o: some(o, POSITIONS), hint="o")
                if count[-1] > whole:
                    f.loop(index(whole), index(count[-1]), 1, lambda o: some(o, 1), hint="o")

            self.vectors(f, g.o, column)

        self.phase("convolve", g.n * product(count[:-1]), body)

    def back(self, g: Geometry, spatial: Shape, before: Shape) -> None:
        """The gradient of the input, added up from the windows' side."""
        w, multiplier = g.windows(), g.o // g.c
        out = dense_strides((*g.count, g.o))
        taps = list(itertools.product(*map(range, g.window)))

        def image(f: Function, u: Value, place: str) -> None:
            self.zero(f, place, g.image, g.dtype)
            source = f.mul(u, index(g.result))

            def column(j: Value, mask: Mask) -> None:
                for (number, tap), m in itertools.product(enumerate(taps), range(multiplier)):
                    k = self.features(f, "%y", index(number * g.o + m), j, multiplier, self.dtype, mask)

                    def one(at: list[Value], k: Value = k, m: int = m, first: int = g.start(tap)) -> None:
                        read = plus(f, [(source, 1), *zip(at, out, strict=False)], m)
                        v = self.features(f, "%x", read, j, multiplier, self.dtype, mask)
                        target = plus(f, [*zip(at, (*w.batch, w.row), strict=True), (j, 1)], first)
                        address = f.address(place, target, g.dtype)
                        old = f.load(address, g.dtype, self.machine.lanes, mask)
                        f.store(self.multiply_add(f, v, k, old), address, mask)

                    self.rows(f, g.count, one)

            self.vectors(f, g.c, column)

        self.unpadded(g, spatial, before, image)

    def gradient(self, g: Geometry, x: str) -> None:
        """The gradient of the kernel: a unit is a vector of features over a part of the batch."""
        lanes, multiplier = self.machine.lanes, g.o // g.c
        splits = next(s for s in range(min(SPLITS, g.n), 0, -1) if g.n % s == 0)
        each, size = g.n // splits, product(g.window) * g.o
        parts = self.parts(splits, size, g)
        taps = list(itertools.product(*map(range, g.window)))
        w, out = g.windows(), dense_strides((*g.count, g.o))
        of = -multiplier if multiplier > 1 else 1
        columns = -(-g.o // lanes)

        def body(f: Function, u: Value) -> None:
            part, column = digits(f, u, (splits, columns))
            j = f.mul(column, index(lanes))
            mask = f.tail_mask(f.sub(index(g.o), j), lanes) if g.o % lanes else None
            base = "%out" if parts is None else f.address("%scratch", index(parts), dtypes.uint8)
            source = self.pointer(f, x)
            for first in range(0, len(taps), TAPS):
                some = taps[first : first + TAPS]

                def one(at: list[Value], sums: Sequence[Value], some: Sequence[Shape] = some) -> list[Value]:
                    n = plus(f, [(part, each), (at[0], 1)])
                    there = plus(f, [(n, g.result), *zip(at[1:], out, strict=False)])
                    start = plus(f, [(n, g.image), *zip(at[1:], (*w.batch, w.row), strict=True)])
                    dy = self.features(f, "%y", there, j, 1, self.dtype, mask)
                    new = []
                    for tap, total in zip(some, sums, strict=True):
                        place = plus(f, [(start, 1)], g.start(tap))
                        v = self.features(f, source, place, j, of, g.dtype, mask)
                        new.append(self.multiply_add(f, dy, v, total))
                    return new

                totals = nest(f, (each, *g.count), one, [f.constant(0, g.dtype, lanes)] * len(some))
                for number, total in enumerate(totals):
                    place = plus(f, [(part, size), (j, 1)], (first + number) * g.o)
                    f.store(total, f.address(base, place, g.dtype), mask)

        self.phase("gradient", splits * columns, body)
        self.add_parts(parts, splits, size, g)


def digits(f: Function, number: Value, sizes: Sequence[int]) -> list[Value]:
    """``number`` in the mixed radix ``sizes``."""
    found: list[Value] = []
    for size in reversed(sizes[1:]):
        found.append(f.rem(number, index(size)))
        number = f.div(number, index(size))
    return [number, *reversed(found)]


def nest(
    f: Function,
    sizes: Sequence[int],
    body: Callable[..., list[Value]],
    carries: Sequence[Value],
    at: Sequence[Value] = (),
) -> list[Value]:
    """Loops over ``sizes`` that hand ``carries`` on: ``body(at, carries)`` gives the next."""
    if not sizes:
        return body(list(at), carries)

    def inner(i: Value, *values: Value) -> list[Value]:
        return nest(f, sizes[1:], body, values, (*at, i))

    return f.loop(index(0), index(sizes[0]), 1, inner, carries, hint="s")


def is_depthwise(node: Node, channels: int) -> bool:
    groups = dict(node.attrs)["groups"]
    return groups == channels and groups > 1


def conv(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    x, k = node.args
    if not is_depthwise(node, x.shape[-1]):
        return general.conv(module, fusion, name, node, machine)
    g, before = forward(node, x, k.shape[:-2], k.shape[-1], node.shape[1:-1])
    e = Depthwise(module, fusion, name, node, machine)
    e.convolve_depthwise(g, e.padded("%x", x.shape[1:-1], before, g))
    return e.done(flops(g))


def conv_input_grad(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    y, k = node.args
    if not is_depthwise(node, node.shape[-1]):
        return general.conv_input_grad(module, fusion, name, node, machine)
    e = Depthwise(module, fusion, name, node, machine)
    turned = as_forward(node)
    if turned is not None:
        g, before = turned
        e.convolve_depthwise(g, e.padded("%x", y.shape[1:-1], before, g), turned=True)
    else:
        g, before = forward(node, node, k.shape[:-2], k.shape[-1], y.shape[1:-1])
        e.back(g, node.shape[1:-1], before)
    return e.done(flops(g))


def conv_kernel_grad(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    x, y = node.args
    if not is_depthwise(node, x.shape[-1]):
        return general.conv_kernel_grad(module, fusion, name, node, machine)
    g, before = forward(node, x, node.shape[:-2], y.shape[-1], y.shape[1:-1])
    e = Depthwise(module, fusion, name, node, machine)
    e.gradient(g, e.padded("%x", x.shape[1:-1], before, g))
    return e.done(flops(g))
