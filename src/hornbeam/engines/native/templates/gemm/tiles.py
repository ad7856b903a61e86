"""Tiles: rows x vectors of C in registers, summed over a block of k, started and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import I64, Function, Value, index
from hornbeam.engines.native.templates.gemm.arithmetic import (
    choose,
    divide,
    floor_multiple,
    lane_mask,
    plus,
    times,
    variants,
)
from hornbeam.engines.native.templates.gemm.emitter import Emitter

UNROLL = 64  # multiply-adds in one turn of the innermost loop
LINE = 64  # bytes of a cache line


class Tiles:
    """Writes the functions that compute a tile, and calls of them."""

    def __init__(self, emitter: Emitter) -> None:
        self.e, self.p, self.how, self.panel = emitter, emitter.p, emitter.how, emitter.panel

    def call(
        self, f: Function, a: str, b: str, c: str, i: Value, j: Value, count: Value, first: Value, ahead: str
    ) -> None:
        """``ahead``: what to prefetch meanwhile, if tiles prefetch (``self.ahead``)."""
        p = self.p
        more = f"ptr {ahead}, " if self.ahead else ""
        options: list[tuple[Value | None, Callable[[], None]]] = []
        for columns in variants(p.n, self.panel):
            for rows in variants(p.m, self.how.mr):
                name = self.function(rows, columns)

                def action(name: str = name) -> None:
                    f.emit(
                        f"call void @{name}(ptr {a}, ptr {b}, ptr {c}, {more}i64 {i.ref}, "
                        f"i64 {j.ref}, i64 {count.ref}, i1 {first.ref})"
                    )

                inside = f.bits(
                    "and",
                    f.compare("le", plus(f, i, rows), index(p.m)),
                    f.compare("le", plus(f, j, columns), index(p.n)),
                )
                options.append((inside, action))
        options[-1] = (None, options[-1][1])
        choose(f, options)

    @property
    def ahead(self) -> bool:
        """Whether tiles prefetch: the panel of B after theirs, where panels come from the last cache."""
        return self.how.pack_b and not self.how.own_b

    def line_ahead(self, f: Function, panel: str, tile: Value, count: Value) -> str:
        """Where tile ``tile`` of a column of tiles begins to prefetch the next ``panel``: a line for a turn of k."""
        lines = times(f, divide(f, count, self.unroll(self.how.mr * self.how.nv))[0], LINE)
        return f.address(panel, f.mul(divide(f, tile, self.how.mr)[0], lines), dtypes.uint8)

    def function(self, rows: int, columns: int) -> str:
        """One tile over ``count`` steps of k. ``first``: the sums start here."""
        p, how = self.p, self.how
        name = f"{self.e.name}.tile{rows}x{columns}"
        if any(f"@{name}(" in g[:200] for g in self.e.module.functions):
            return name
        pointers = [("ptr", x) for x in ("a", "b", "c", *(["ahead"] if self.ahead else []))]
        numbers = [("i64", x) for x in ("i", "j", "count")] + [("i1", "first")]
        f = self.e.function(name, *pointers, *numbers, internal=True)
        lanes = how.lanes
        vectors = -(-columns // lanes)
        masks = [lane_mask(columns - v * lanes, lanes) for v in range(vectors)]
        a_type = self.e.packed if how.pack_a else p.dtype
        a_row, a_k = (1, how.mr) if how.pack_a else (p.a.row, p.a.column)
        b_type, b_k = (self.e.packed, self.panel) if how.pack_b else (p.dtype, p.b.row)

        def step(k: Value, sums: Sequence[Value], ahead: int) -> list[Value]:
            b_at = f.address("%b", times(f, k, b_k), b_type)
            a_at = f.address("%a", times(f, k, a_k), a_type)
            row_b = []
            for v in range(vectors):
                at = f.address(b_at, index(ahead * b_k + v * lanes), b_type)
                row_b.append(self.e.factor(f, f.load(at, b_type, lanes, None if how.pack_b else masks[v])))
            out = list(sums)
            for r in range(rows):
                at = f.address(a_at, index(ahead * a_k + r * a_row), a_type)
                x = f.splat(self.e.factor(f, f.load(at, a_type)), lanes)
                for v in range(vectors):
                    out[r * vectors + v] = self.e.multiply_add(f, x, row_b[v], sums[r * vectors + v])
            return out

        if p.c.column == 1:
            self.prefetch_c(f, rows, columns)
        start = [f.constant(0, p.compute, lanes)] * (rows * vectors)
        start = self.start_sums(f, rows, masks, start)
        count = Value("%count", I64)
        unroll = self.unroll(rows * vectors)
        even = not any(c % unroll for c in self.e.counts)
        whole = count if even else floor_multiple(f, count, unroll)

        def several(k: Value, *sums: Value) -> Sequence[Value]:
            now: Sequence[Value] = sums
            if self.ahead:
                line = f.address("%ahead", times(f, k, LINE // unroll), dtypes.uint8)
                f.prefetch(line, locality=2)
            for ahead in range(unroll):
                now = step(k, now, ahead)
            return now

        sums = f.loop(index(0), whole, unroll, several, start, hint="k")
        if not even:
            sums = f.loop(whole, count, 1, lambda k, *s: step(k, s, 0), sums, hint="k")
        self.store_sums(f, rows, columns, masks, sums)
        f.finish()
        return name

    def unroll(self, sums: int) -> int:
        """Steps of k in one turn: some 56 multiply-adds, and none left over if that can be had."""
        most = next(u for u in (8, 4, 2, 1) if u * sums <= UNROLL or u == 1)
        even = next(u for u in (8, 4, 2, 1) if u <= most and not any(c % u for c in self.e.counts))
        return even if even * sums >= 16 else most

    def prefetch_c(self, f: Function, rows: int, columns: int) -> None:
        """Rows of C lie in pages of their own: they are asked for before the sums, so storing need not wait."""
        line = LINE // self.c_strides[2].itemsize
        for r in range(rows):
            for column in range(0, columns, line):
                f.prefetch(self.c_address(f, r, column), write=True)

    @property
    def c_strides(self) -> tuple[int, int, DType]:
        """(row, column, dtype) of where tiles are stored: C, or the sums of one part of k."""
        p = self.p
        return (p.n, 1, p.compute) if self.e.apart else (p.c.row, p.c.column, p.result)

    def c_address(self, f: Function, row: int, column: int) -> str:
        r, s, dtype = self.c_strides
        at = f.add(times(f, Value("%i", I64), r), times(f, Value("%j", I64), s))
        return f.address("%c", plus(f, at, row * r + column * s), dtype)

    def start_sums(self, f: Function, rows: int, masks: Sequence[Value | None], zeros: list[Value]) -> list[Value]:
        """Zero in the first block of k (or C, to add to it), what was stored in the others."""
        accumulate = self.p.accumulate and not self.e.apart
        if self.e.blocks == 1 and not accumulate:
            return zeros
        stored = self.load_c(f, rows, masks) if accumulate else None
        if stored is not None:
            return stored
        before, there, done = f.block, f.fresh("more")[1:], f.fresh("start")[1:]
        f.emit(f"br i1 %first, label %{done}, label %{there}")
        f.label(there)
        loaded = self.load_c(f, rows, masks)
        end = f.block
        f.emit(f"br label %{done}")
        f.label(done)
        out = []
        for zero, value in zip(zeros, loaded, strict=True):
            text = f"phi {zero.type} [ {zero.ref}, %{before} ], [ {value.ref}, %{end} ]"
            out.append(f.define(zero.dtype, zero.width, text))
        return out

    def load_c(self, f: Function, rows: int, masks: Sequence[Value | None]) -> list[Value]:
        _, s, dtype = self.c_strides
        lanes, out = self.how.lanes, []
        for r in range(rows):
            for v, mask in enumerate(masks):
                at = self.c_address(f, r, v * lanes)
                if s == 1:
                    value = f.load(at, dtype, lanes, mask)
                else:
                    offsets = f.mul(f.lanes(lanes), f.splat(index(s), lanes)) if lanes > 1 else index(0)
                    value = f.gather(at, offsets, dtype, mask) if lanes > 1 else f.load(at, dtype)
                out.append(f.cast(value, self.p.compute))
        return out

    def store_sums(
        self, f: Function, rows: int, columns: int, masks: Sequence[Value | None], sums: Sequence[Value]
    ) -> None:
        _, s, dtype = self.c_strides
        lanes = self.how.lanes
        if s == 1:
            for r in range(rows):
                for v, mask in enumerate(masks):
                    f.store(f.cast(sums[r * len(masks) + v], dtype), self.c_address(f, r, v * lanes), mask)
            return

        # Columns are apart: through memory, as rows of the tile turned (rows of C if the product is swapped).
        width = len(masks) * lanes
        memory = f.alloca(self.p.compute, rows * width)
        for at, value in enumerate(sums):
            f.store(value, f.address(memory, index(at * lanes), self.p.compute))
        self.store_turned(f, rows, columns, width, memory)

    def store_turned(self, f: Function, rows: int, columns: int, width: int, memory: str) -> None:
        """Column ``j`` of the tile holds ``rows`` values, gathered and stored as vectors if rows are adjacent in C."""
        r, s, dtype = self.c_strides
        lanes, p = self.how.lanes, self.p

        def column(j: Value) -> list[Value]:
            for start in range(0, rows, lanes):
                n = min(lanes, rows - start)
                wide = lanes if r == 1 and lanes > 1 else 1
                for piece in [start] if wide > 1 else range(start, start + n):
                    mask = lane_mask(n, lanes) if wide > 1 else None
                    base = f.address(memory, plus(f, j, piece * width), p.compute)
                    if wide > 1:
                        offsets = f.mul(f.lanes(lanes), f.splat(index(width), lanes))
                        value = f.gather(base, offsets, p.compute, mask)
                    else:
                        value = f.load(base, p.compute)
                    row, at = plus(f, Value("%i", I64), piece), f.add(Value("%j", I64), j)
                    to = f.address("%c", f.add(times(f, row, r), times(f, at, s)), dtype)
                    f.store(f.cast(value, dtype), to, mask)
            return []

        f.loop(index(0), index(columns), 1, column)
