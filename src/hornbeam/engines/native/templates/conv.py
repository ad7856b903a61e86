"""Convolutions as products of matrices over the padded input, without unfolding it.

A row of windows along the last spatial axis is a matrix already: window w starts ``stride * channels`` elements after
the one before, and its ``taps * channels`` elements lie side by side. So for every tap of the *other* spatial axes one
product adds ``(windows, taps * channels) @ (taps * channels, features)`` to a block of the result that stays in cache.
The gradient of the kernel reads the same matrix transposed; the gradient of the input is, for stride 1, the convolution
of the padded cotangent with the turned kernel, and otherwise adds one product per tap into the padded result.
With groups a product is a batch of them, one for each group. One channel per group is ``depthwise``.

Half precision is added up in float32 and rounded once: operands are widened while they are copied and padded, and sums
stand in the scratch until they are complete.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import dense_strides
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import I64, Function, Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates import gemm
from hornbeam.engines.native.templates.block import product
from hornbeam.engines.native.templates.gemm import Product, Strides
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.contract import working_dtype

Mask = Value | None

BLOCK = 96 << 10  # bytes of result that one unit keeps in cache
PIECE = 4096  # elements of one unit where units are stretches of an array
SPLITS = 8  # parts of the batch over which a kernel's gradient is summed side by side
ALIGNMENT = 64


@dataclass(frozen=True)
class Geometry:
    """A convolution with its input padded already: (n, *padded, c) * (*window, c / groups, o) -> (n, *count, o)."""

    n: int
    c: int
    o: int
    padded: Shape
    window: Shape
    count: Shape
    strides: Shape
    dilation: Shape
    dtype: DType  # of the sums
    groups: int = 1

    @property
    def merged(self) -> int:
        """How many taps of the last axis are one product: all of them if they lie side by side."""
        return self.window[-1] if self.dilation[-1] == 1 and self.groups == 1 else 1

    @property
    def depth(self) -> int:
        """Channels of one group."""
        return self.c // self.groups

    @property
    def wide(self) -> int:
        """Features of one group."""
        return self.o // self.groups

    def grouped(self, step: int) -> tuple[int, ...]:
        """The stride of the groups as a batch dimension, if there are some."""
        return (step,) if self.groups > 1 else ()

    @property
    def image(self) -> int:
        """Elements of one padded input."""
        return product(self.padded) * self.c

    @property
    def result(self) -> int:
        """Elements of one result."""
        return product(self.count) * self.o

    def taps(self) -> list[tuple[int, ...]]:
        """The first tap of every run of ``merged`` ones."""
        last = range(0, self.window[-1], self.merged)
        return list(itertools.product(*map(range, self.window[:-1]), last))

    def start(self, tap: Sequence[int]) -> int:
        """The element of a padded input at which the windows' tap ``tap`` begins."""
        steps = dense_strides((*self.padded, self.c))[:-1]
        return sum(t * d * s for t, d, s in zip(tap, self.dilation, steps, strict=True))

    def kernel_row(self, tap: Sequence[int]) -> int:
        """The element of the kernel at which ``tap`` begins."""
        steps = dense_strides((*self.window, self.depth, self.o))[: len(self.window)]
        return sum(t * s for t, s in zip(tap, steps, strict=True))

    def windows(self) -> Strides:
        """Windows as a matrix: a row per window of the last axis, batched over the other spatial axes."""
        steps = dense_strides((*self.padded, self.c))[:-1]
        moves = tuple(s * t for s, t in zip(self.strides, steps, strict=True))
        return Strides(moves[:-1], moves[-1], 1)


class Emitter:
    """Functions ``name(x, y, result, scratch, unit)`` for one convolution node."""

    def __init__(self, module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> None:
        self.module, self.name, self.node, self.machine = module, name, node, machine
        self.dtype = node.dtype  # of operands and result
        self.attrs = dict(node.attrs)
        x, y = (fusion.memory_of(a) for a in node.args)
        self.buffers = (x, y, node)
        self.kernels: list[tuple[str, int]] = []
        self.scratch = 0

    def reserve(self, elements: int, dtype: DType) -> int:
        """Bytes at which ``elements`` begin in the scratch that all functions share."""
        at = self.scratch
        self.scratch += -(-elements * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        return at

    def phase(self, label: str, units: int, body: Callable[[Function, Value], None]) -> None:
        f = Function(
            self.module, f"{self.name}.{label}", [("ptr", p) for p in ("x", "y", "out", "scratch")] + [("i64", "u")]
        )
        body(f, Value("%u", I64))
        f.finish()
        self.kernels.append((f"{self.name}.{label}", units))

    def done(self, flops: int) -> list[Kernel]:
        return [
            Kernel(
                name,
                self.buffers,
                units,
                (self.node,),
                flops if i == 0 else 0,
                self.scratch,
                chunked=True,
                nanoseconds=flops / 100,
            )
            for i, (name, units) in enumerate(self.kernels)
        ]

    def multiplier(self, label: str, p: Product) -> Callable[[Function, str, str, str], None]:
        """Emits the product ``p`` once; the result calls it with addresses."""
        how = gemm.plan(p, self.machine)
        if min(p.m, p.n) > 1:
            pack_b = how.pack_b and not how.swap and p.b.column != 1
            pack_a = how.pack_a and how.swap and p.a.row != 1
            how = replace(how, pack_a=pack_a, pack_b=pack_b, own_b=how.own_b and pack_b)
        code = gemm.emit(self.module, f"{self.name}.{label}", p, self.machine, how=how)

        def call(f: Function, a: str, b: str, c: str) -> None:
            scratch = f.alloca(dtypes.uint8, max(code.scratch, 1))
            for phase in code.phases:
                if phase.chunks == 1:
                    f.emit(f"call void @{phase.name}(ptr {a}, ptr {b}, ptr {c}, ptr {scratch}, i64 0)")
                else:
                    text = f"call void @{phase.name}(ptr {a}, ptr {b}, ptr {c}, ptr {scratch}, i64 "
                    f.loop(index(0), index(phase.chunks), 1, lambda i, t=text: f.emit(f"{t}{i.ref})"), hint="c")

        return call

    # -- small loops -------------------------------------------------------------------------------

    def zero(self, f: Function, at: str, length: int, dtype: DType) -> None:
        f.emit(f"call void @llvm.memset.p0.i64(ptr {at}, i8 0, i64 {length * dtype.itemsize}, i1 false)")
        self.module.declare("llvm.memset.p0.i64", "void", "ptr", "i8", "i64", "i1")

    def copy(self, f: Function, source: str, target: str, length: int, dtype: DType, to: DType) -> None:
        """``length`` elements of ``dtype``, converted ``to`` another if that is one."""
        if dtype == to:
            f.emit(
                f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {length * dtype.itemsize}, i1 false)"
            )
            self.module.declare("llvm.memcpy.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1")
            return

        def some(j: Value, mask: Mask) -> None:
            value = f.load(f.address(source, j, dtype), dtype, self.machine.lanes, mask)
            f.store(f.cast(value, to), f.address(target, j, to), mask)

        self.vectors(f, length, some)

    def vectors(self, f: Function, length: int, body: Callable[[Value, Mask], None]) -> None:
        """``body(j, mask)`` over 0 … length."""
        lanes = self.machine.lanes
        whole = length - length % lanes
        if whole:
            f.loop(index(0), index(whole), lanes, lambda j: body(j, None), hint="j")
        if length > whole:
            body(index(whole), f.tail_mask(index(length - whole), lanes))

    def stretches(self, label: str, size: int, body: Callable[[Function, Value, Mask], None]) -> None:
        """A phase: ``body(f, j, mask)`` over 0 … size."""
        lanes = self.machine.lanes

        def stretch(f: Function, u: Value) -> None:
            first = f.mul(u, index(PIECE))
            last = f.intrinsic("smin", f.add(first, index(PIECE)), index(size))

            def vector(j: Value) -> None:
                body(f, j, f.tail_mask(f.sub(last, j), lanes) if size % lanes and lanes > 1 else None)

            f.loop(first, last, lanes, vector, hint="j")

        self.phase(label, -(-size // PIECE), stretch)

    def rows(self, f: Function, sizes: Shape, body: Callable[[list[Value]], None]) -> None:
        """Nested loops over ``sizes``."""

        def nest(depth: int, at: list[Value]) -> None:
            if depth == len(sizes):
                body(at)
            else:
                f.loop(index(0), index(sizes[depth]), 1, lambda i: nest(depth + 1, [*at, i]), hint="s")

        nest(0, [])

    def padded(self, source: str, spatial: Shape, before: Shape, g: Geometry) -> str:
        """A phase that copies (n, *spatial, c) into zeros of (n, *padded, c), as they are summed; returns where, the
        source if there is no difference."""
        if (spatial, self.dtype) == (g.padded, g.dtype):
            return source
        at = self.reserve(g.n * g.image, g.dtype)

        def body(f: Function, u: Value) -> None:
            base = f.address("%scratch", index(at), dtypes.uint8)
            image = f.address(base, f.mul(u, index(g.image)), g.dtype)
            if spatial != g.padded:
                self.zero(f, image, g.image, g.dtype)
            inside = f.address(source, f.mul(u, index(product(spatial) * g.c)), self.dtype)
            from_, to = dense_strides((*spatial, g.c)), dense_strides((*g.padded, g.c))
            first = sum(b * s for b, s in zip(before, to, strict=False))

            def row(at: list[Value]) -> None:
                source_at = plus(f, [(i, s) for i, s in zip(at, from_, strict=False)])
                target_at = plus(f, [(i, s) for i, s in zip(at, to, strict=False)], first)
                source_row, target = f.address(inside, source_at, self.dtype), f.address(image, target_at, g.dtype)
                self.copy(f, source_row, target, spatial[-1] * g.c, self.dtype, g.dtype)

            self.rows(f, spatial[:-1], row)

        self.phase(f"pad{len(self.kernels)}", g.n, body)
        return f"scratch+{at}"

    def widened(self, source: str, size: int, dtype: DType) -> str:
        """A phase that copies ``size`` elements as ``dtype``; returns where, the source if there is no difference."""
        if self.dtype == dtype:
            return source
        at = self.reserve(size, dtype)

        def some(f: Function, j: Value, mask: Mask) -> None:
            value = f.load(f.address(source, j, self.dtype), self.dtype, self.machine.lanes, mask)
            base = f.address("%scratch", index(at), dtypes.uint8)
            f.store(f.cast(value, dtype), f.address(base, j, dtype), mask)

        self.stretches(f"widen{len(self.kernels)}", size, some)
        return f"scratch+{at}"

    def pointer(self, f: Function, where: str) -> str:
        """The address that ``padded`` or ``widened`` named."""
        if where.startswith("scratch+"):
            return f.address("%scratch", index(int(where.removeprefix("scratch+"))), dtypes.uint8)
        return where

    # -- the three directions ----------------------------------------------------------------------

    def convolve(self, g: Geometry, x: str, kernel: str) -> None:
        """The phase that computes the result from the padded ``x``; a unit is a block of rows of one image."""
        rows = g.count[0] if len(g.count) > 1 else 1
        block = next(
            d for d in range(rows, 0, -1)
            if rows % d == 0 and (d == 1 or d * (g.result // rows) * g.dtype.itemsize <= BLOCK)
        )  # fmt: skip
        batch = (block, *g.count[1:-1]) if len(g.count) > 1 else ()
        out = dense_strides((*g.count, g.o))
        w = g.windows()
        p = Product(
            g.count[-1], g.wide, g.merged * g.depth, Strides((*w.batch, *g.grouped(g.depth)), w.row, 1),
            Strides((*(0 for _ in batch), *g.grouped(g.wide)), g.o, 1),
            Strides((*out[: len(batch)], *g.grouped(g.wide)), out[-2], 1),
            (*batch, *g.grouped(g.groups)), g.dtype, accumulate=True,
        )  # fmt: skip
        multiply = self.multiplier("product", p)
        per_image = rows // block
        sums = None if self.dtype == g.dtype else self.reserve(g.n * g.result, g.dtype)

        def body(f: Function, u: Value) -> None:
            image, part = (f.div(u, index(per_image)), f.rem(u, index(per_image))) if per_image > 1 else (u, index(0))
            first = f.mul(part, index(block))
            step = w.batch[0] if batch else 0
            source = f.address(self.pointer(f, x), plus(f, [(image, g.image), (first, step)]), g.dtype)
            length = product((*batch, g.count[-1], g.o))
            place = plus(f, [(image, g.result), (first, out[0] if batch else 0)])
            base = "%out" if sums is None else f.address("%scratch", index(sums), dtypes.uint8)
            target = f.address(base, place, g.dtype)
            self.zero(f, target, length, g.dtype)
            for tap in g.taps():
                a = f.address(source, index(g.start(tap)), g.dtype)
                b = f.address(self.pointer(f, kernel), index(g.kernel_row(tap)), g.dtype)
                multiply(f, a, b, target)
            if sums is not None:
                self.copy(f, target, f.address("%out", place, self.dtype), length, g.dtype, self.dtype)

        self.phase("convolve", g.n * per_image, body)

    def kernel_gradient(self, g: Geometry, x: str, y: str) -> None:
        """Sums over windows, a unit for each tap and part of the batch; then the parts are added in order."""
        splits = next(s for s in range(min(SPLITS, g.n), 0, -1) if g.n % s == 0)
        size = product(g.window) * g.depth * g.o
        parts = self.parts(splits, size, g)
        w = g.windows()
        p = Product(
            g.merged * g.depth, g.wide, g.count[-1], Strides(g.grouped(g.depth), 1, w.row),
            Strides(g.grouped(g.wide), g.o, 1), Strides(g.grouped(g.wide), g.o, 1), g.grouped(g.groups),
            g.dtype, accumulate=True,
        )  # fmt: skip
        multiply = self.multiplier("product", p)
        taps = g.taps()
        each = g.n // splits
        lead = g.window[:-1]

        def body(f: Function, u: Value) -> None:
            part, tap = f.div(u, index(len(taps))), f.rem(u, index(len(taps)))
            runs = g.window[-1] // g.merged
            digits, rest = [], tap
            for d in reversed((*lead[1:], runs) if lead else ()):
                digits.append(f.rem(rest, index(d)))
                rest = f.div(rest, index(d))
            digits = [rest, *reversed(digits)]
            steps = dense_strides((*g.padded, g.c))[:-1]
            moves = [d * s for d, s in zip(g.dilation, steps, strict=True)]
            moves[-1] *= g.merged
            x_start = plus(f, list(zip(digits, moves, strict=True)))
            sums = "%out" if parts is None else f.address("%scratch", index(parts), dtypes.uint8)
            into = f.address(sums, plus(f, [(part, size), (tap, p.m * g.o)]), g.dtype)
            self.zero(f, into, p.m * g.o, g.dtype)
            out = dense_strides((*g.count, g.o))

            def row(at: list[Value]) -> None:
                image = plus(f, [(part, each), (at[0], 1)])
                a = plus(f, [(image, g.image), (x_start, 1), *zip(at[1:], w.batch, strict=True)])
                b = plus(f, [(image, g.result), *zip(at[1:], out, strict=False)])
                multiply(f, f.address(self.pointer(f, x), a, g.dtype), f.address(self.pointer(f, y), b, g.dtype), into)

            self.rows(f, (each, *g.count[:-1]), row)

        self.phase("gradient", splits * len(taps), body)
        self.add_parts(parts, splits, size, g)

    def parts(self, splits: int, size: int, g: Geometry) -> int | None:
        """Bytes into the scratch where the parts of a sum begin; None if the sum is the result as it stands."""
        return self.reserve(splits * size, g.dtype) if splits > 1 or self.dtype != g.dtype else None

    def add_parts(self, parts: int | None, splits: int, size: int, g: Geometry) -> None:
        """A phase that adds them in order."""
        if parts is None:
            return

        def some(f: Function, j: Value, mask: Mask) -> None:
            base = f.address("%scratch", index(parts), dtypes.uint8)
            read = [f.address(base, plus(f, [(j, 1)], s * size), g.dtype) for s in range(splits)]
            total, *others = (f.load(at, g.dtype, self.machine.lanes, mask) for at in read)
            for more in others:
                total = f.add(total, more)
            f.store(f.cast(total, self.dtype), f.address("%out", j, self.dtype), mask)

        self.stretches("add", size, some)

    def convolve_back(self, g: Geometry, y: str, kernel: str, spatial: Shape, before: Shape) -> None:
        """The gradient of the input: each tap's product added into an image, padded if need be; then its inside."""
        moves, out, w = g.windows(), dense_strides((*g.count, g.o)), len(g.count) - 1
        p = Product(
            g.count[-1], g.depth, g.wide, Strides((*out[:w], *g.grouped(g.wide)), g.o, 1),
            Strides((*(0 for _ in range(w)), *g.grouped(g.wide)), 1, g.o),
            Strides((*moves.batch, *g.grouped(g.depth)), moves.row, 1),
            (*g.count[:-1], *g.grouped(g.groups)), g.dtype, accumulate=True,
        )  # fmt: skip
        multiply = self.multiplier("product", p)

        def image(f: Function, u: Value, place: str) -> None:
            self.zero(f, place, g.image, g.dtype)
            source = f.address(self.pointer(f, y), f.mul(u, index(g.result)), g.dtype)
            for tap in itertools.product(*map(range, g.window)):
                b = f.address(self.pointer(f, kernel), index(g.kernel_row(tap)), g.dtype)
                multiply(f, source, b, f.address(place, index(g.start(tap)), g.dtype))

        self.unpadded(g, spatial, before, image)

    def unpadded(
        self, g: Geometry, spatial: Shape, before: Shape, image: Callable[[Function, Value, str], None]
    ) -> None:
        """A phase in which ``image(f, unit, address)`` computes a padded image, of which the inside is the result."""
        same = (spatial, self.dtype) == (g.padded, g.dtype)
        at = 0 if same else self.reserve(g.n * g.image, g.dtype)

        def body(f: Function, u: Value) -> None:
            base = "%out" if same else f.address("%scratch", index(at), dtypes.uint8)
            place = f.address(base, f.mul(u, index(g.image)), g.dtype)
            image(f, u, place)
            if same:
                return
            whole, inside = dense_strides((*g.padded, g.c)), dense_strides((*spatial, g.c))
            first = sum(b * s for b, s in zip(before, whole, strict=False))
            result = f.address("%out", f.mul(u, index(product(spatial) * g.c)), self.dtype)

            def row(at: list[Value]) -> None:
                source = f.address(place, plus(f, list(zip(at, whole, strict=False)), first), g.dtype)
                target = f.address(result, plus(f, list(zip(at, inside, strict=False))), self.dtype)
                self.copy(f, source, target, spatial[-1] * g.c, g.dtype, self.dtype)

            self.rows(f, spatial[:-1], row)

        self.phase("back", g.n, body)

    def turned(self, kernel: str, window: Shape, c: int, o: int, dtype: DType) -> str:
        """A phase that writes (*window reversed, o, c) of a kernel (*window, c, o), as ``dtype``."""
        taps = product(window)
        at = self.reserve(taps * c * o, dtype)

        def body(f: Function, u: Value) -> None:
            source = f.address(kernel, f.mul(u, index(c * o)), self.dtype)
            target = f.address(
                f.address("%scratch", index(at), dtypes.uint8), f.mul(f.sub(index(taps - 1), u), index(c * o)), dtype
            )

            def element(where: list[Value]) -> None:
                value = f.load(f.address(source, plus(f, [(where[0], 1), (where[1], o)]), self.dtype), self.dtype)
                to = f.address(target, plus(f, [(where[0], c), (where[1], 1)]), dtype)
                f.store(f.cast(value, dtype), to)

            self.rows(f, (o, c), element)

        self.phase("turn", taps, body)
        return f"scratch+{at}"


def plus(f: Function, terms: Sequence[tuple[Value, int]], constant: int = 0) -> Value:
    """The sum of value * factor and a constant."""
    total = index(constant)
    for value, factor in terms:
        if factor and value.ref != "0":
            part = value if factor == 1 else f.mul(value, index(factor))
            total = part if total.ref == "0" else f.add(total, part)
    return total


def _attributes(node: Node) -> tuple[Shape, tuple[tuple[int, int], ...], Shape]:
    attrs = dict(node.attrs)
    return attrs["strides"], attrs["padding"], attrs["dilation"]


def forward(node: Node, x: Node, window: Shape, features: int, count: Shape) -> tuple[Geometry, Shape]:
    """The Geometry of the convolution of ``x`` that ``node`` is or differentiates, and its padding before."""
    strides, padding, dilation = _attributes(node)
    spatial = x.shape[1:-1]
    padded = tuple(n + lo + hi for n, (lo, hi) in zip(spatial, padding, strict=True))
    groups = dict(node.attrs)["groups"]
    dtype = working_dtype(x.dtype)
    g = Geometry(x.shape[0], x.shape[-1], features, padded, window, count, strides, dilation, dtype, groups)
    return g, tuple(lo for lo, _ in padding)


def conv(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    x, k = node.args
    g, before = forward(node, x, k.shape[:-2], k.shape[-1], node.shape[1:-1])
    e = Emitter(module, fusion, name, node, machine)
    padded = e.padded("%x", x.shape[1:-1], before, g)
    e.convolve(g, padded, e.widened("%y", k.spec.size, g.dtype))
    return e.done(flops(g))


def conv_kernel_grad(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    x, y = node.args
    g, before = forward(node, x, node.shape[:-2], y.shape[-1], y.shape[1:-1])
    e = Emitter(module, fusion, name, node, machine)
    padded = e.padded("%x", x.shape[1:-1], before, g)
    e.kernel_gradient(g, padded, e.widened("%y", y.spec.size, g.dtype))
    return e.done(flops(g))


def conv_input_grad(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    y, k = node.args
    e = Emitter(module, fusion, name, node, machine)
    turned = as_forward(node)
    if turned is None:
        g, before = forward(node, node, k.shape[:-2], k.shape[-1], y.shape[1:-1])
        cotangent, kernel = (e.widened(p, a.spec.size, g.dtype) for p, a in (("%x", y), ("%y", k)))
        e.convolve_back(g, cotangent, kernel, node.shape[1:-1], before)
        return e.done(flops(g))
    g, before = turned
    source = e.padded("%x", y.shape[1:-1], before, g)
    e.convolve(g, source, e.turned("%y", k.shape[:-2], k.shape[-2], k.shape[-1], g.dtype))
    return e.done(flops(g))


def as_forward(node: Node) -> tuple[Geometry, Shape] | None:
    """The gradient of the input as a convolution of the padded cotangent: for stride 1, a padding within the kernel's
    reach, and one group (or as many as there are channels and features)."""
    y, k = node.args
    strides, padding, dilation = _attributes(node)
    window, channels, features, groups = k.shape[:-2], node.shape[-1], k.shape[-1], dict(node.attrs)["groups"]
    reach = tuple((w - 1) * d for w, d in zip(window, dilation, strict=True))
    fits = all(lo <= r and hi <= r for (lo, hi), r in zip(padding, reach, strict=True))
    if not fits or set(strides) != {1} or (groups != 1 and not groups == channels == features):
        return None
    spatial = node.shape[1:-1]
    padded = tuple(n + r for n, r in zip(spatial, reach, strict=True))
    before = tuple(r - lo for r, (lo, _) in zip(reach, padding, strict=True))
    dtype = working_dtype(y.dtype)
    g = Geometry(y.shape[0], features, channels, padded, window, spatial, strides, dilation, dtype, groups)
    return g, before


def flops(g: Geometry) -> int:
    return 2 * g.n * product(g.count) * product(g.window) * g.depth * g.o


def takes(node: Node) -> bool:
    """Operands with something in them."""
    return all(a.spec.size for a in node.args)
