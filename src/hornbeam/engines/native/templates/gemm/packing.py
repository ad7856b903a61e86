"""Packing: panels of A and B, in the order in which tiles read them."""

from __future__ import annotations

from collections.abc import Callable

from hornbeam.engines.native.llvm import I64, Function, Value, index
from hornbeam.engines.native.templates.gemm.arithmetic import (
    choose,
    floor_multiple,
    lane_mask,
    minus,
    plus,
    smaller,
    times,
    times_value,
    transposed,
    variants,
)
from hornbeam.engines.native.templates.gemm.emitter import Emitter


class Packing:
    """Writes the functions that pack, and calls of them."""

    def __init__(self, emitter: Emitter) -> None:
        self.e, self.p, self.how, self.panel = emitter, emitter.p, emitter.how, emitter.panel

    def call(self, f: Function, which: str, source: str, into: str, at: Value, count: Value) -> None:
        """Pack the panel that starts at row (of A) or column (of B) ``at``."""
        total, step = (self.p.m, self.how.mr) if which == "a" else (self.p.n, self.panel)
        options: list[tuple[Value | None, Callable[[], None]]] = []
        for valid in variants(total, step):
            name = self.function(which, valid)

            def action(name: str = name) -> None:
                f.emit(f"call void @{name}(ptr {source}, ptr {into}, i64 {count.ref})")

            options.append((f.compare("le", plus(f, at, valid), index(total)), action))
        options[-1] = (None, options[-1][1])
        choose(f, options)

    def panels(
        self, f: Function, source: str, into: str, origin: Value, first: Value, stop: Value, count: Value
    ) -> None:
        """Columns ``first`` (a multiple of the panel) to ``stop`` of B, of which ``source`` is column 0: ``count`` of
        k. Column j begins ``(j - origin) * count`` elements after ``into``."""
        p, lanes = self.p, self.how.lanes

        def panel(j: Value) -> list[Value]:
            start = f.address(source, times(f, j, p.b.column), p.dtype)
            to = f.address(into, times_value(f, minus(f, j, origin), count), p.compute)
            self.call(f, "b", start, to, j, count)
            return []

        if p.b.column != 1 or p.n < self.panel:
            f.loop(first, stop, self.panel, panel)
            return
        # Rows of B are read from end to end; panels that are whole are written side by side.
        whole = smaller(f, stop, index(p.n // self.panel * self.panel))

        def row(k: Value) -> list[Value]:
            at = f.address(source, times(f, k, p.b.row), p.dtype)
            to = f.address(into, times(f, k, self.panel), p.compute)

            def piece(j: Value) -> list[Value]:
                place = times_value(f, minus(f, j, origin), count)
                for start in range(0, self.panel, lanes):
                    value = f.load(f.address(at, plus(f, j, start), p.dtype), p.dtype, lanes)
                    f.store(f.cast(value, p.compute), f.address(to, plus(f, place, start), p.compute))
                return []

            f.loop(first, whole, self.panel, piece)
            return []

        f.loop(index(0), count, 1, row)
        if p.n % self.panel:
            f.loop(f.intrinsic("smax", first, whole), stop, self.panel, panel)

    def function(self, which: str, valid: int) -> str:
        """``(from, into, count)``: ``valid`` rows of A, or columns of B, as a panel ``into[k][step]``."""
        p = self.p
        name = f"{self.e.name}.pack_{which}{valid}"
        if any(f"@{name}(" in g[:200] for g in self.e.module.functions):
            return name
        f = self.e.function(name, ("ptr", "source"), ("ptr", "into"), ("i64", "count"), internal=True)
        across, along = (p.a.row, p.a.column) if which == "a" else (p.b.column, p.b.row)
        step = self.how.mr if which == "a" else self.panel
        if across == 1 or valid == 1:
            self.copy(f, valid, step, along, padded=which == "b")
        elif along == 1:
            self.turn(f, valid, step, across, padded=which == "b")
        else:
            self.scalars(f, valid, step, across, along, padded=which == "b")
        f.finish()
        return name

    def copy(self, f: Function, valid: int, step: int, along: int, padded: bool) -> None:
        lanes, p = self.how.lanes, self.p

        def row(k: Value) -> list[Value]:
            source, into = f.address("%source", times(f, k, along), p.dtype), times(f, k, step)
            for start in range(0, valid, lanes):
                mask = lane_mask(valid - start, lanes)
                value = f.load(f.address(source, index(start), p.dtype), p.dtype, lanes, mask)
                value = f.cast(value, p.compute)
                to = f.address("%into", plus(f, into, start), p.compute)
                f.store(value, to, None if padded else mask)
            for start in range(-(-valid // lanes) * lanes, step if padded else 0, lanes):
                f.store(f.constant(0, p.compute, lanes), f.address("%into", plus(f, into, start), p.compute))
            return []

        f.loop(index(0), Value("%count", I64), 1, row)

    def turn(self, f: Function, valid: int, step: int, across: int, padded: bool) -> None:
        """Squares of lanes x lanes, turned in registers."""
        lanes = self.how.lanes
        if not padded:
            return self.squares(f, index(0), valid, valid, step, across, padded)
        whole = valid // lanes * lanes

        def square(at: Value) -> list[Value]:
            self.squares(f, at, lanes, lanes, step, across, padded)
            return []

        f.loop(index(0), index(whole), lanes, square, hint="at")
        if whole < step:
            self.squares(f, index(whole), valid - whole, step - whole, step, across, padded)
        return None

    def squares(self, f: Function, first: Value, valid: int, size: int, step: int, across: int, padded: bool) -> None:
        """``size`` rows of A (or columns of B) from ``first`` on, of which ``valid`` exist and the others are zero."""
        lanes, p = self.how.lanes, self.p
        groups = range(0, -(-size // lanes) * lanes, lanes)
        base = f.address("%source", times(f, first, across), p.dtype)
        into = f.address("%into", first, p.compute)

        def square(k: Value, count: int | None, mask: Value | None) -> None:
            turned = []
            for start in groups:
                rows = []
                for i in range(start, start + lanes):
                    if i < valid:
                        at = f.address(base, plus(f, k, i * across), p.dtype)
                        rows.append(f.cast(f.load(at, p.dtype, lanes, mask), p.compute))
                    else:
                        rows.append(f.constant(0, p.compute, lanes))
                turned.append(transposed(f, rows))
            for kk in range(lanes if count is None else count):
                for start, columns in zip(groups, turned, strict=True):
                    to = f.address(into, plus(f, times(f, k, step), kk * step + start), p.compute)
                    f.store(columns[kk], to, None if padded else lane_mask(valid - start, lanes))

        count = Value("%count", I64)
        whole = floor_multiple(f, count, lanes)

        def body(k: Value) -> list[Value]:
            square(k, None, None)
            return []

        f.loop(index(0), whole, lanes, body)
        known = {p.k} if padded and not self.how.own_b else self.e.counts
        tails = sorted({c % lanes for c in known} - {0})
        if tails:
            rest = f.sub(count, whole)

            def tail(n: int) -> Callable[[], None]:
                return lambda: square(whole, n, lane_mask(n, lanes))

            choose(f, [(f.compare("eq", rest, index(n)), tail(n)) for n in tails] + [(None, lambda: None)])

    def scalars(self, f: Function, valid: int, step: int, across: int, along: int, padded: bool) -> None:
        def body(k: Value) -> list[Value]:
            self.scalar_column(f, k, valid, step, across, along, padded)
            return []

        f.loop(index(0), Value("%count", I64), 1, body)

    def scalar_column(
        self, f: Function, k: Value, valid: int, step: int, across: int, along: int, padded: bool
    ) -> None:
        p = self.p
        source, into = times(f, k, along), times(f, k, step)

        def one(i: Value) -> list[Value]:
            at = f.address("%source", f.add(source, times(f, i, across)), p.dtype)
            value = f.cast(f.load(at, p.dtype), p.compute)
            f.store(value, f.address("%into", f.add(into, i), p.compute))
            return []

        def none(i: Value) -> list[Value]:
            f.store(f.constant(0, p.compute), f.address("%into", f.add(into, i), p.compute))
            return []

        f.loop(index(0), index(valid), 1, one)
        if padded and valid < step:
            f.loop(index(valid), index(step), 1, none)
