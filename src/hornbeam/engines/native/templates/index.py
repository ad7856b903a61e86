"""Gather, scatter, slices with computed starts, and positions of extrema."""

from __future__ import annotations

from hornbeam.base import dtypes
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import HALF, I64, Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.block import Block, product
from hornbeam.ir.node import Node


def gather(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """A unit copies the elements behind one index tuple, for one position before the indexed axes."""
    b = Block(module, fusion, name, node, machine)
    f, (x, indices), axis = b.f, node.args, b.attrs["axis"]
    k = indices.shape[-1]
    before, many, after = product(x.shape[:axis]), product(indices.shape[:-1]), product(x.shape[axis + k :])

    def unit(u: Value) -> None:
        lead, which = b.split(u, (before, many))
        place = _place(b, which, x.shape[axis : axis + k], clamp=True)[0]
        source = b.at([(lead, product(x.shape[axis:])), (place, after)])
        target = f.mul(u, index(after))
        b.copy(f.address(b.pointers[0], source, x.dtype), f.address(b.out, target, x.dtype), x.dtype, after)

    return b.units(before * many, unit)


def _place(b: Block, which: Value, sizes: tuple[int, ...], clamp: bool) -> tuple[Value, Value | None]:
    """The flat position that index tuple ``which`` means within ``sizes``; unclamped, also whether it is inside."""
    f, indices = b.f, b.node.args[1]
    k, dtype = indices.shape[-1], indices.dtype
    place, inside = index(0), None
    for i, size in enumerate(sizes):
        value = f.load(f.address(b.pointers[1], b.at([(which, k), (index(i), 1)]), dtype), dtype)
        bounded = b.clamped(value, size - 1)
        if not clamp:
            same = f.compare("eq", f.cast(bounded, dtype), value)
            inside = same if inside is None else f.bits("and", inside, same)
        place = b.at([(place, size), (bounded, 1)])
    return place, inside


def scatter(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """A unit copies the rows of one position before the indexed axes, then applies every update in order."""
    b = Block(module, fusion, name, node, machine)
    f, (x, indices, _), axis, mode = b.f, node.args, b.attrs["axis"], b.attrs["mode"]
    k, dtype = indices.shape[-1], x.dtype
    sizes = x.shape[axis : axis + k]
    before, many, after = product(x.shape[:axis]), product(indices.shape[:-1]), product(x.shape[axis + k :])
    block = product(sizes) * after

    def combine(old: Value, new: Value) -> Value:
        if mode == "set":
            return new
        return (
            f.extremum(mode, old, new)
            if mode in ("max", "min")
            else f.add(old, new)
            if mode == "add"
            else f.mul(old, new)
        )

    def unit(u: Value) -> None:
        rows = f.address(b.out, f.mul(u, index(block)), dtype)
        b.copy(f.address(b.pointers[0], f.mul(u, index(block)), dtype), rows, dtype, block)

        def update(which: Value) -> list[Value]:
            place, inside = _place(b, which, sizes, clamp=False)
            assert inside is not None
            row = f.address(rows, f.mul(place, index(after)), dtype)
            new = f.address(b.pointers[2], f.mul(b.at([(u, many), (which, 1)]), index(after)), dtype)

            def write(j: Value, mask: Value | None) -> None:
                to = f.address(row, j, dtype)
                old, value = (f.load(p, dtype, b.lanes, mask) for p in (to, f.address(new, j, dtype)))
                f.store(combine(old, value), to, mask)

            # An update that is outside is dropped: no turn of a loop that turns once.
            f.loop(index(0), Value(_one_if(b, inside), I64), 1, lambda _: b.row(after, write), hint="in")
            return []

        f.loop(index(0), index(many), 1, update, hint="u")

    return b.units(before, unit)


def _one_if(b: Block, condition: Value) -> str:
    return b.f.cast(condition, I64).ref


def dynamic_slice(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """A unit copies one run along the last axis."""
    b = Block(module, fusion, name, node, machine)
    f, x, sizes = b.f, node.args[0], b.attrs["sizes"]

    def unit(u: Value) -> None:
        starts = _starts(b, x.shape, sizes, first=1)
        digits = b.split(u, sizes[:-1])
        source = _offset(b, starts, digits, x.shape)
        target = f.mul(u, index(sizes[-1]))
        b.copy(f.address(b.pointers[0], source, x.dtype), f.address(b.out, target, x.dtype), x.dtype, sizes[-1])

    return b.units(product(sizes[:-1]), unit)


def dynamic_update_slice(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """One unit copies the whole, then writes the block over it."""
    b = Block(module, fusion, name, node, machine)
    f, (x, update) = b.f, node.args[:2]

    def unit(u: Value) -> None:
        b.copy(b.pointers[0], b.out, x.dtype, product(x.shape))
        starts = _starts(b, x.shape, update.shape, first=2)

        def run(r: Value) -> list[Value]:
            target = _offset(b, starts, b.split(r, update.shape[:-1]), x.shape)
            source = f.mul(r, index(update.shape[-1]))
            b.copy(
                f.address(b.pointers[1], source, x.dtype), f.address(b.out, target, x.dtype), x.dtype, update.shape[-1]
            )
            return []

        f.loop(index(0), index(product(update.shape[:-1])), 1, run, hint="r")

    return b.units(1, unit)


def _starts(b: Block, shape: tuple[int, ...], sizes: tuple[int, ...], first: int) -> list[Value]:
    """Where the block begins along each axis, moved so that it lies inside."""
    operands = b.node.args[first:]
    return [
        b.clamped(b.f.load(p, a.dtype), n - d)
        for p, a, n, d in zip(b.pointers[first:], operands, shape, sizes, strict=True)
    ]


def _offset(b: Block, starts: list[Value], digits: list[Value], shape: tuple[int, ...]) -> Value:
    terms = []
    for i, start in enumerate(starts):
        step = product(shape[i + 1 :])
        terms.append((start, step))
        if i < len(digits):
            terms.append((digits[i], step))
    return b.at(terms)


def extremum_position(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """A unit walks along one row; the first extremum wins, and the first NaN before it."""
    b = Block(module, fusion, name, node, machine)
    f, x, axis = b.f, node.args[0], b.attrs["axis"]
    dtype, steps, after = x.dtype, x.shape[axis], product(x.shape[axis + 1 :])
    better = "gt" if node.primitive.name == "argmax" else "lt"

    def unit(u: Value) -> None:
        before, behind = b.split(u, (product(x.shape[:axis]), after))
        base = b.at([(before, steps * after), (behind, 1)])

        def element(i: Value) -> Value:
            value = f.load(f.address(b.pointers[0], b.at([(base, 1), (i, after)]), dtype), dtype)
            return f.cast(value, dtypes.float32) if dtype in HALF else value

        def step(i: Value, best: Value, place: Value) -> list[Value]:
            value = element(i)
            wins = f.compare(better, value, best)
            if dtypes.is_floating(dtype):
                new_nan = f.bits("and", f.is_nan(value), f.invert(f.is_nan(best)))
                wins = f.bits("or", wins, new_nan)
            return [f.select(wins, value, best), f.select(wins, i, place)]

        _, place = f.loop(index(1), index(steps), 1, step, [element(index(0)), index(0)], hint="i")
        f.store(f.cast(place, dtypes.int32), f.address(b.out, u, dtypes.int32))

    return b.units(product(node.shape), unit)
