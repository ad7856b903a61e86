"""Packing: panels of A and B, in the order in which tiles read them."""

from __future__ import annotations

from collections.abc import Callable

from hornbeam.base import dtypes
from hornbeam.engines.native.llvm import I64, Function, Value, index
from hornbeam.engines.native.templates.gemm.arithmetic import (
    choose,
    divide,
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

    def step(self, f: Function, at: str, along: int, width: int, mask: Value | None, alone: bool) -> Value:
        """One step of k of ``width`` rows or columns that lie side by side: the value of each, or a pair of it and the
        next one (0 if it is ``alone``)."""
        p = self.p
        first = f.load(at, p.dtype, width, mask)
        if not self.how.pairs:
            return f.cast(first, p.compute)
        upper = f.bitcast(f.cast(first, dtypes.float32), dtypes.uint32)
        if alone:
            return upper
        second = f.load(f.address(at, index(along), p.dtype), p.dtype, width, mask)
        return f.bits("or", upper, f.cast(f.bitcast(second, dtypes.uint16), dtypes.uint32))

    def steps(self, f: Function, count: Value, body: Callable[[Value, bool], None]) -> None:
        """``body(k, alone)`` for the first k of every step of ``count`` k."""
        per = self.how.per
        whole = floor_multiple(f, count, per)
        f.loop(index(0), whole, per, lambda k: body(k, False))
        if self.p.k % per:
            f.loop(whole, count, per, lambda k: body(k, True))

    def place(self, f: Function, k: Value, step: int) -> Value:
        """Where the step of ``k`` lies in a panel of ``step`` rows or columns."""
        return times(f, divide(f, k, self.how.per)[0], step)

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
        self, f: Function, source: str, into: str, origin: Value, first: Value, stop: Value, count: Value, span: Value
    ) -> None:  # fmt: skip
        """Columns ``first`` (a multiple of the panel) to ``stop`` of B, of which ``source`` is column 0: ``span`` of k,
        in ``count`` steps. Column j begins ``(j - origin) * count`` steps after ``into``."""
        p, lanes, packed = self.p, self.how.lanes, self.e.packed

        def panel(j: Value) -> list[Value]:
            start = f.address(source, times(f, j, p.b.column), p.dtype)
            to = f.address(into, times_value(f, minus(f, j, origin), count), packed)
            self.call(f, "b", start, to, j, span)
            return []

        if p.b.column != 1 or p.n < self.panel:
            f.loop(first, stop, self.panel, panel)
            return
        # Rows of B are read from end to end; panels that are whole are written side by side.
        whole = smaller(f, stop, index(p.n // self.panel * self.panel))

        def row(k: Value, alone: bool) -> None:
            at = f.address(source, times(f, k, p.b.row), p.dtype)
            to = f.address(into, self.place(f, k, self.panel), packed)

            def piece(j: Value) -> list[Value]:
                place = times_value(f, minus(f, j, origin), count)
                for start in range(0, self.panel, lanes):
                    value = self.step(f, f.address(at, plus(f, j, start), p.dtype), p.b.row, lanes, None, alone)
                    f.store(value, f.address(to, plus(f, place, start), packed))
                return []

            f.loop(first, whole, self.panel, piece)

        self.steps(f, span, row)
        if p.n % self.panel:
            f.loop(f.intrinsic("smax", first, whole), stop, self.panel, panel)

    def function(self, which: str, valid: int) -> str:
        """``(from, into, count)``: ``count`` of k of ``valid`` rows of A, or columns of B, as a panel ``[k][step]``."""
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
        lanes, p, packed = self.how.lanes, self.p, self.e.packed

        def row(k: Value, alone: bool) -> None:
            source, into = f.address("%source", times(f, k, along), p.dtype), self.place(f, k, step)
            for start in range(0, valid, lanes):
                mask = lane_mask(valid - start, lanes)
                value = self.step(f, f.address(source, index(start), p.dtype), along, lanes, mask, alone)
                f.store(value, f.address("%into", plus(f, into, start), packed), None if padded else mask)
            for start in range(-(-valid // lanes) * lanes, step if padded else 0, lanes):
                f.store(f.constant(0, packed, lanes), f.address("%into", plus(f, into, start), packed))

        self.steps(f, Value("%count", I64), row)

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
        lanes, p, per, packed = self.how.lanes, self.p, self.how.per, self.e.packed
        groups = range(0, -(-size // lanes) * lanes, lanes)
        base = f.address("%source", times(f, first, across), p.dtype)
        into = f.address("%into", first, packed)

        def square(k: Value, count: int | None, mask: Value | None) -> None:
            turned = []
            for start in groups:
                rows = []
                for i in range(start, start + lanes):
                    if i < valid:
                        values = f.load(f.address(base, plus(f, k, i * across), p.dtype), p.dtype, lanes * per, mask)
                        rows.append(f.pairs(values) if per > 1 else f.cast(values, packed))
                    else:
                        rows.append(f.constant(0, packed, lanes))
                turned.append(transposed(f, rows))
            for kk in range(lanes if count is None else -(-count // per)):
                for start, columns in zip(groups, turned, strict=True):
                    to = f.address(into, plus(f, self.place(f, k, step), kk * step + start), packed)
                    f.store(columns[kk], to, None if padded else lane_mask(valid - start, lanes))

        count = Value("%count", I64)
        whole = floor_multiple(f, count, lanes * per)

        def body(k: Value) -> list[Value]:
            square(k, None, None)
            return []

        f.loop(index(0), whole, lanes * per, body)
        known = {p.k} if padded and not self.how.own_b else self.e.spans
        tails = sorted({c % (lanes * per) for c in known} - {0})
        if tails:
            rest = f.sub(count, whole)

            def tail(n: int) -> Callable[[], None]:
                return lambda: square(whole, n, lane_mask(n, lanes * per))

            choose(f, [(f.compare("eq", rest, index(n)), tail(n)) for n in tails] + [(None, lambda: None)])

    def scalars(self, f: Function, valid: int, step: int, across: int, along: int, padded: bool) -> None:
        def body(k: Value, alone: bool) -> None:
            self.scalar_column(f, k, alone, valid, step, across, along, padded)

        self.steps(f, Value("%count", I64), body)

    def scalar_column(
        self, f: Function, k: Value, alone: bool, valid: int, step: int, across: int, along: int, padded: bool
    ) -> None:  # fmt: skip
        p, packed = self.p, self.e.packed
        source, into = times(f, k, along), self.place(f, k, step)

        def one(i: Value) -> list[Value]:
            at = f.address("%source", f.add(source, times(f, i, across)), p.dtype)
            f.store(self.step(f, at, along, 1, None, alone), f.address("%into", f.add(into, i), packed))
            return []

        def none(i: Value) -> list[Value]:
            f.store(f.constant(0, packed), f.address("%into", f.add(into, i), packed))
            return []

        f.loop(index(0), index(valid), 1, one)
        if padded and valid < step:
            f.loop(index(valid), index(step), 1, none)
