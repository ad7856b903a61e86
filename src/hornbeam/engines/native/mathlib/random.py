"""Random words as vector code: ``random_bits`` wherever its numbers are used. Element e is word e % 2 of block e // 2.

A block of Threefry is about 70 instructions for as many blocks as there are lanes. Two vectors of elements that lie
side by side are the two words of one vector of blocks, so a loop that takes two at a time makes no word in vain.
"""

from __future__ import annotations

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import I64, Function, Value
from hornbeam.engines.native.mathlib.lanes import Lanes
from hornbeam.ir.primitives.random import threefry

Key = tuple[Value, Value]


def number_dtype(size: int) -> DType:
    """What numbers the elements of an array of ``size``: 32 bits where they are enough, as vectors of them are half as
    many."""
    return dtypes.uint32 if size < 2**31 else dtypes.uint64


def numbers(f: Function, first: Value, step: int, dtype: DType, lanes: int) -> Value:
    """``first`` (an int64 scalar), first + step, …"""
    along = f.lanes(lanes, dtype)
    if step != 1:
        along = f.mul(along, f.constant(step, dtype, lanes))
    return f.add(f.splat(f.cast(first, dtype), lanes), along)


def words(f: Function, key: Key, blocks: Value) -> tuple[Value, Value]:
    """Both words of each of ``blocks``."""
    number = Lanes(f, blocks)
    low = number.cast(dtypes.uint32)
    high = (number >> 32).cast(dtypes.uint32) if blocks.dtype.itemsize == 8 else low.constant(0)
    x, y = threefry(Lanes(f, key[0]), Lanes(f, key[1]), low, high)
    return x.v, y.v


def word(f: Function, key: Key, elements: Value) -> Value:
    """The word of each of ``elements``, wherever they lie: of a block's two words one is made in vain."""
    number = Lanes(f, elements)
    x, y = words(f, key, (number >> 1).v)
    odd = (number & 1).ne(0)
    return f.select(odd.v, y, x)


def side_by_side(f: Function, key: Key, first: Value, dtype: DType, lanes: int) -> tuple[Value, Value]:
    """The words of two vectors of elements, from the even element ``first`` (an int64 scalar) on."""
    half = f.bits("lshr", first, f.constant(1, I64))
    x, y = words(f, key, numbers(f, half, 1, dtype, lanes))
    return f.interleaved(x, y)
