"""Phases, chunks and blocks of a product: B packed, tiles over blocks of k, the parts of k added."""

from __future__ import annotations

from hornbeam.engines.native.llvm import I64, Function, Value, index
from hornbeam.engines.native.templates.gemm.arithmetic import (
    divide,
    floor_multiple,
    plus,
    plus_value,
    smaller,
    times,
)
from hornbeam.engines.native.templates.gemm.emitter import Emitter
from hornbeam.engines.native.templates.gemm.packing import Packing
from hornbeam.engines.native.templates.gemm.product import Epilogue, Gemm, Phase
from hornbeam.engines.native.templates.gemm.sums import sum_phase
from hornbeam.engines.native.templates.gemm.tiles import Tiles


class Blocks:
    """Writes the phases of a product with several rows and columns."""

    def __init__(self, emitter: Emitter) -> None:
        self.e, self.p, self.how, self.panel = emitter, emitter.p, emitter.how, emitter.panel
        self.packing, self.tiles = Packing(emitter), Tiles(emitter)
        self.partial = 0  # bytes into the scratch where the sums of the parts of k begin

    def emit(self) -> Gemm:
        p, how, size = self.p, self.how, self.p.compute.itemsize
        phases = []
        if how.pack_b and not how.own_b and p.k:
            phases.append(self.pack_phase())
        packed = -(-self.e.shared_batches * self.e.packed_elements * size // 64) * 64
        self.partial = packed
        phases.append(self.multiply_phase())
        scratch = packed
        if self.e.apart:
            phases.append(sum_phase(self.e, self.partial))
            scratch += how.splits * p.batches * p.m * p.n * size
        return Gemm(tuple(phases), scratch)

    def pack_phase(self) -> Phase:
        """One chunk: some panels of B, all of k."""
        p, panels = self.p, -(-self.p.n // self.panel)
        each = max(1, min(panels, (1 << 16) // max(1, p.k * self.panel)))
        chunks = -(-panels // each)
        name = f"{self.e.name}.pack"
        f = self.e.phase_function(name)
        batch, rest = divide(f, Value("%chunk", I64), chunks)
        source = self.e.batch_address(f, "%B", p.b, batch, p.dtype)
        into = f.address("%scratch", times(f, batch, self.e.packed_elements), self.e.packed)
        first = times(f, rest, each * self.panel)
        stop = smaller(f, plus(f, first, each * self.panel), index(p.n))
        self.packing.panels(f, source, into, index(0), first, stop, index(self.e.steps), index(p.k))
        f.finish()
        return Phase(name, chunks * self.e.shared_batches)

    def multiply_phase(self) -> Phase:
        p, how = self.p, self.how
        row_chunks, column_chunks = -(-p.m // how.mb), -(-p.n // how.nb)
        name = f"{self.e.name}.multiply"
        f = self.e.phase_function(name)
        rest, column = divide(f, Value("%chunk", I64), column_chunks)
        rest, row = divide(f, rest, row_chunks)
        group, split = divide(f, rest, how.splits)
        buffer = f.alloca(self.e.packed, how.mb * how.kc + how.lanes) if how.pack_a else ""
        panels = f.alloca(self.e.packed, how.kc * how.nb) if how.own_b else ""
        start = times(f, group, how.group)
        stop = smaller(f, plus(f, start, how.group), index(p.batches))
        place = (times(f, row, how.mb), times(f, column, how.nb), times(f, split, self.e.depth))
        f.loop(start, stop, 1, lambda b: self.block(f, b, split, *place, buffer, panels), hint="b")
        f.finish()
        return Phase(name, -(-p.batches // how.group) * how.splits * row_chunks * column_chunks)

    def block(
        self, f: Function, batch: Value, split: Value, row: Value, column: Value, first_k: Value, buffer: str,
        panels: str,
    ) -> list[Value]:  # fmt: skip
        """Rows and columns of one chunk in one batch entry, over all blocks of k of one part. A is packed in ``buffer``
        and B in ``panels``, if at all."""
        p, how, packed = self.p, self.how, self.e.packed
        a = self.e.batch_address(f, "%A", p.a, batch, p.dtype)
        if how.pack_b and not how.own_b:
            entry = times(f, batch if self.e.shared_batches > 1 else index(0), self.e.packed_elements)
            b, b_type = f.address("%scratch", entry, packed), packed
        else:
            b, b_type = self.e.batch_address(f, "%B", p.b, batch, p.dtype), p.dtype
        if self.e.apart:
            entry = plus_value(f, times(f, split, p.batches), batch)
            sums = f.address("%scratch", index(self.partial // p.compute.itemsize), p.compute)
            c = f.address(sums, times(f, entry, p.m * p.n), p.compute)
        else:
            c = self.e.batch_address(f, "%C", p.c, batch, p.result)
        row_stop = smaller(f, plus(f, row, how.mb), index(p.m))
        column_stop = smaller(f, plus(f, column, how.nb), index(p.n))
        k_stop = smaller(f, plus(f, first_k, self.e.depth), index(self.e.steps))

        def of_k(k0: Value) -> list[Value]:
            count = smaller(f, f.sub(k_stop, k0), index(how.kc))
            first = f.compare("eq", k0, first_k)
            span = self.e.span(f, k0, count)
            a_k = f.address(a, times(f, k0, how.per * p.a.column), p.dtype)
            if how.pack_a:

                def pack(i: Value) -> list[Value]:
                    to = f.address(buffer, f.mul(f.sub(i, row), count), packed)
                    self.packing.call(f, "a", f.address(a_k, times(f, i, p.a.row), p.dtype), to, i, span)
                    return []

                f.loop(row, row_stop, how.mr, pack)
            if how.own_b:
                source = f.address(b, times(f, k0, how.per * p.b.row), b_type)
                self.packing.panels(f, source, panels, column, column, column_stop, count, span)

            def panel_of(j: Value) -> tuple[str, str]:
                """The panel of B at column ``j``, and what its tiles prefetch."""
                if how.own_b:
                    return f.address(panels, f.mul(f.sub(j, column), count), packed), ""
                if not how.pack_b:
                    at = plus_value(f, times(f, j, p.b.column), times(f, k0, p.b.row))
                    return f.address(b, at, b_type), ""
                at = plus_value(f, times(f, j, self.e.steps), times(f, k0, self.panel))  # j: a multiple of the panel
                return f.address(b, at, b_type), f.address(b, plus(f, at, self.panel * self.e.steps), b_type)

            def rows_of(i: Value) -> str:
                if how.pack_a:
                    return f.address(buffer, f.mul(f.sub(i, row), count), packed)
                return f.address(a_k, times(f, i, p.a.row), p.dtype)

            def tile(i: Value, j: Value, a_i: str, b_j: str, following: str) -> list[Value]:
                ahead = self.tiles.line_ahead(f, following, f.sub(i, row), count) if following else ""
                self.tiles.call(f, a_i, b_j, c, i, j, count, first, ahead)
                return []

            def tiles_of_column(j: Value) -> list[Value]:
                b_j, following = panel_of(j)
                f.loop(row, row_stop, how.mr, lambda i: tile(i, j, rows_of(i), b_j, following), hint="i")
                return []

            def tiles_of_row(i: Value) -> list[Value]:
                a_i = rows_of(i)
                f.loop(column, column_stop, self.panel, lambda j: tile(i, j, a_i, *panel_of(j)), hint="j")
                return []

            if min(p.n, how.nb) * how.kc * p.compute.itemsize <= self.e.target.l1 * 4 // 3:
                f.loop(row, row_stop, how.mr, tiles_of_row, hint="i")  # B stays near, C is written in order
            else:
                f.loop(column, column_stop, self.panel, tiles_of_column, hint="j")
            return []

        if self.e.blocks == 1:
            of_k(first_k)
        else:
            f.loop(first_k, k_stop, how.kc, of_k, hint="k")
        if self.e.epilogue and not self.e.apart:
            rows, columns = (row, row_stop), (column, column_stop)
            self.go_on(f, self.e.epilogue, c, batch, *((columns, rows) if how.swap else (rows, columns)))
        return []

    def go_on(
        self, f: Function, epilogue: Epilogue, c: str, batch: Value, rows: tuple[Value, Value],
        columns: tuple[Value, Value],
    ) -> None:  # fmt: skip
        """What the epilogue makes of these rows and columns of C, which are in cache, in their place. By whole rows of
        a chunk and not by tiles: what else it reads and writes is then as long as can be from end to end."""
        p, lanes = self.p.swapped if self.how.swap else self.p, self.how.lanes
        (first, stop), (left, right) = rows, columns
        lanes = lanes if p.c.column == 1 else 1

        def row(i: Value) -> list[Value]:
            def vector(j: Value, mask: Value | None = None) -> list[Value]:
                at = f.address(c, f.add(times(f, i, p.c.row), times(f, j, p.c.column)), p.result)
                value = epilogue(f, f.load(at, p.result, lanes, mask), batch, i, j, mask)
                f.store(f.cast(value, p.result), at, mask)
                return []

            def masked(j: Value) -> list[Value]:
                return vector(j, f.tail_mask(f.sub(right, j), lanes))

            whole = plus_value(f, left, floor_multiple(f, f.sub(right, left), lanes))
            f.loop(left, whole, lanes, vector, hint="v")
            if p.n % lanes:
                f.loop(whole, right, lanes, masked, hint="tail")
            return []

        f.loop(first, stop, 1, row, hint="row")
