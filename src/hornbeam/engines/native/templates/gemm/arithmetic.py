"""Offsets and indices, folded where they are known when the code is emitted; masks, branches, squares turned."""

from __future__ import annotations

from collections.abc import Callable

from hornbeam.base import dtypes
from hornbeam.engines.native.llvm import I64, Function, Value, index


def plus_value(f: Function, x: Value, y: Value) -> Value:
    if x.ref == "0" or y.ref == "0":
        return y if x.ref == "0" else x
    return index(int(x.ref) + int(y.ref)) if x.is_constant and y.is_constant else f.add(x, y)


def minus(f: Function, x: Value, y: Value) -> Value:
    if y.ref == "0":
        return x
    return index(int(x.ref) - int(y.ref)) if x.is_constant and y.is_constant else f.sub(x, y)


def times_value(f: Function, x: Value, y: Value) -> Value:
    return times(f, x, int(y.ref)) if y.is_constant else times(f, y, int(x.ref)) if x.is_constant else f.mul(x, y)


def floor_multiple(f: Function, x: Value, of: int) -> Value:
    """The largest multiple of a power of two that is not more than ``x``."""
    if x.is_constant:
        return index(int(x.ref) // of * of)
    return x if of == 1 else f.bits("and", x, index(-of))


def divide(f: Function, x: Value, by: int) -> tuple[Value, Value]:
    """(quotient, remainder)."""
    if by == 1:
        return x, index(0)
    return f.define(I64, 1, f"udiv i64 {x.ref}, {by}"), f.define(I64, 1, f"urem i64 {x.ref}, {by}")


def times(f: Function, x: Value, by: int) -> Value:
    if x.is_constant:
        return index(int(x.ref) * by)
    return index(0) if by == 0 else x if by == 1 else f.mul(x, index(by))


def plus(f: Function, x: Value, more: int) -> Value:
    if x.is_constant:
        return index(int(x.ref) + more)
    return x if more == 0 else f.add(x, index(more))


def smaller(f: Function, x: Value, y: Value) -> Value:
    if x.is_constant and y.is_constant:
        return index(min(int(x.ref), int(y.ref)))
    return f.intrinsic("smin", x, y)


def lane_mask(valid: int, lanes: int) -> Value | None:
    """The first ``valid`` lanes; None if that is all of them."""
    if valid >= lanes:
        return None
    bits = ", ".join(f"i1 {'true' if i < valid else 'false'}" for i in range(lanes))
    return Value(f"<{bits}>", dtypes.bool_, lanes)


def variants(total: int, step: int) -> list[int]:
    """Sizes of the pieces of ``total``: ``step``, and what is left over."""
    return [s for s, there in ((step, total >= step), (total % step, total % step > 0)) if there]


def choose(f: Function, options: list[tuple[Value | None, Callable[[], None]]]) -> None:
    """The first option whose condition holds; the last has none."""
    done = f.fresh("chosen")[1:]
    for condition, action in options:
        if condition is None:
            action()
            f.emit(f"br label %{done}")
        else:
            yes, no = f.fresh("yes")[1:], f.fresh("no")[1:]
            f.emit(f"br i1 {condition.ref}, label %{yes}, label %{no}")
            f.label(yes)
            action()
            f.emit(f"br label %{done}")
            f.label(no)
    f.label(done)


def transposed(f: Function, rows: list[Value]) -> list[Value]:
    """The columns of a square of vectors, in log2 steps of two-vector shuffles."""
    n, half = len(rows), 1
    kind = rows[0].type
    while half < n:
        out = list(rows)
        for i in range(n):
            if i & half:
                continue
            x, y = rows[i], rows[i | half]
            low = [lane if not lane & half else n + (lane ^ half) for lane in range(n)]
            high = [lane | half if not lane & half else n + lane for lane in range(n)]
            for at, picks in ((i, low), (i | half, high)):
                mask = ", ".join(f"i32 {q}" for q in picks)
                text = f"shufflevector {kind} {x.ref}, {kind} {y.ref}, <{n} x i32> <{mask}>"
                out[at] = f.define(x.dtype, n, text)
        rows, half = out, half * 2
    return rows
