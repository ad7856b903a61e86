"""Stable sorting of positions by keys that compare as unsigned integers.

A key of up to 32 bits and its position share one word. Long lines of words are dealt out by one byte of the key after
the other, the last byte first; short lines, and keys of 64 bits with their positions in a second array, are merged
bottom-up.
"""

from __future__ import annotations

from collections.abc import Sequence

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import HALF, I64, Function, Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.block import Block, product
from hornbeam.ir.node import Node

U32, U64 = dtypes.uint32, dtypes.uint64
Item = list[Value]
DEALT = 256  # words of a line that is long enough to be dealt out


def argsort(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    """A unit sorts one line, in two arrays of its own that take turns."""
    b = Block(module, fusion, name, node, machine, chunked=True)
    f, x, axis, descending = b.f, node.args[0], b.attrs["axis"], b.attrs["descending"]
    steps, after = x.shape[axis], product(x.shape[axis + 1 :])
    lines = node.spec.size // steps
    wide = x.dtype.itemsize == 8
    arrays = (U64, U32) if wide else (U64,)
    dealing = not wide and steps >= DEALT
    levels = (steps - 1).bit_length()
    each = [-(-steps * d.itemsize // 64) * 64 for d in arrays]  # bytes

    def unit(u: Value) -> None:
        lead, behind = b.split(u, (lines // after, after))
        start = b.at([(lead, steps * after), (behind, 1)])
        own = f.address("%scratch", f.mul(u, index(2 * sum(each))), dtypes.uint8)
        buffers = [
            [f.address(own, index(turn * sum(each) + sum(each[:i])), dtypes.uint8) for i in range(len(arrays))]
            for turn in (0, 1)
        ]

        def fill(i: Value) -> None:
            value = f.load(f.address(b.pointers[0], b.at([(start, 1), (i, after)]), x.dtype), x.dtype)
            key = sortable(f, value)
            key = f.invert(key) if descending else key
            if wide:
                put(buffers[0], i, [key, f.cast(i, U32)])
            else:
                put(buffers[0], i, [f.bits("or", f.bits("shl", f.cast(key, U64), f.constant(32, U64)), f.cast(i, U64))])

        def put(where: Sequence[str], i: Value, item: Item) -> None:
            for base, dtype, value in zip(where, arrays, item, strict=True):
                f.store(value, f.address(base, i, dtype))

        def get(where: Sequence[str], i: Value) -> Item:
            return [f.load(f.address(base, i, dtype), dtype) for base, dtype in zip(where, arrays, strict=True)]

        def level(k: Value) -> None:
            odd = f.compare("ne", f.bits("and", k, index(1)), index(0))
            source = [choose(f, odd, q, p) for p, q in zip(*buffers, strict=True)]
            target = [choose(f, odd, p, q) for p, q in zip(*buffers, strict=True)]
            width = f.bits("shl", index(1), k)
            runs = f.bits("lshr", f.add(index(steps - 1), f.bits("shl", width, index(1))), f.add(k, index(1)))

            def merge(run: Value) -> None:
                low = f.mul(run, f.bits("shl", width, index(1)))
                middle = f.intrinsic("smin", f.add(low, width), index(steps))
                high = f.intrinsic("smin", f.add(middle, width), index(steps))
                left_end, right_end = f.sub(middle, index(1)), f.sub(high, index(1))

                def one(at: Value, i: Value, j: Value) -> list[Value]:
                    left = get(source, f.intrinsic("smin", i, left_end))
                    right = get(source, f.intrinsic("smin", j, right_end))
                    first = f.bits("or", f.compare("ge", j, high), f.compare("le", left[0], right[0]))
                    first = f.bits("and", f.compare("lt", i, middle), first)
                    put(target, at, [f.select(first, p, q) for p, q in zip(left, right, strict=True)])
                    step = f.cast(first, I64)
                    return [f.add(i, step), f.add(j, f.sub(index(1), step))]

                f.loop(low, high, 1, one, [low, middle], hint="m")

            f.loop(index(0), runs, 1, merge, hint="run")

        def result(i: Value) -> None:
            item = get(buffers[0 if dealing else levels % 2], i)
            place = f.cast(item[-1], dtypes.int32)
            f.store(place, f.address(b.out, b.at([(start, 1), (i, after)]), dtypes.int32))

        f.loop(index(0), index(steps), 1, fill, hint="f")
        if dealing:
            deal(f, buffers[0][0], buffers[1][0], steps)
        else:
            f.loop(index(0), index(levels), 1, level, hint="level")
        f.loop(index(0), index(steps), 1, result, hint="r")

    steps_each = 40 if dealing else 40 * max(levels, 1)
    return b.units(lines, unit, node.spec.size * steps_each, scratch=lines * 2 * sum(each))


def deal(f: Function, source: str, target: str, length: int) -> None:
    """Sort words by their upper half: four times into 256 heaps that keep their order. The result is at ``source``."""
    counts = f.alloca(U32, 4 * 256)
    one, byte = f.constant(1, U32), f.constant(255, U64)

    def heap(word: Value, number: int) -> str:
        digit = f.bits("and", f.bits("lshr", word, f.constant(32 + 8 * number, U64)), byte)
        return f.address(counts, f.add(Value(digit.ref, I64), index(256 * number)), U32)

    def count(i: Value) -> None:
        word = f.load(f.address(source, i, U64), U64)
        for number in range(4):
            at = heap(word, number)
            f.store(f.add(f.load(at, U32), one), at)

    zero = f.constant(0, U32)
    f.loop(index(0), index(4 * 256), 1, lambda i: f.store(zero, f.address(counts, i, U32)), hint="z")
    f.loop(index(0), index(length), 1, count, hint="n")
    for number in range(4):

        def begin(d: Value, total: Value, number: int = number) -> list[Value]:
            at = f.address(counts, f.add(d, index(256 * number)), U32)
            many = f.load(at, U32)
            f.store(total, at)
            return [f.add(total, many)]

        def move(i: Value, number: int = number, source: str = source, target: str = target) -> None:
            word = f.load(f.address(source, i, U64), U64)
            at = heap(word, number)
            place = f.load(at, U32)
            f.store(f.add(place, one), at)
            f.store(word, f.address(target, f.cast(place, I64), U64))

        f.loop(index(0), index(256), 1, begin, [zero], hint="d")
        f.loop(index(0), index(length), 1, move, hint="w")
        source, target = target, source


def choose(f: Function, condition: Value, x: str, y: str) -> str:
    """One of two addresses."""
    out = f.fresh("p")
    f.emit(f"{out} = select i1 {condition.ref}, ptr {x}, ptr {y}")
    return out


def sortable(f: Function, x: Value) -> Value:
    """``x`` as an unsigned integer of 32 or 64 bits in the same order: zeros equal, NaN above all, and equal."""
    if x.dtype == dtypes.bool_:
        return f.cast(x, U32)
    if x.dtype in HALF:
        x = f.cast(x, dtypes.float32)
    unsigned: DType = U64 if x.dtype.itemsize == 8 else U32
    top = f.constant(1 << (8 * unsigned.itemsize - 1), unsigned)
    if dtypes.is_floating(x.dtype):
        bits = f.bitcast(f.add(x, f.constant(0.0, x.dtype)), unsigned)  # -0 + 0 = 0
        negative = f.compare("ge", bits, top)
        key = f.select(negative, f.invert(bits), f.bits("or", bits, top))
        return f.select(f.is_nan(x), f.constant((1 << 8 * unsigned.itemsize) - 1, unsigned), key)
    if x.dtype.kind == "u":
        return f.cast(x, unsigned)
    signed = dtypes.int64 if unsigned is U64 else dtypes.int32
    return f.bits("xor", f.cast(f.cast(x, signed), unsigned), top)
