"""The parts of a split k, added; sums that were kept apart from a C of half precision, rounded."""

from __future__ import annotations

from hornbeam.engines.native.llvm import I64, Value, index
from hornbeam.engines.native.templates.gemm.arithmetic import divide, plus, smaller, times
from hornbeam.engines.native.templates.gemm.emitter import Emitter
from hornbeam.engines.native.templates.gemm.product import Phase


def sum_phase(e: Emitter, partial: int) -> Phase:
    """The parts of k, from ``partial`` bytes into the scratch on, added in order; each chunk some rows of one batch
    entry."""
    p, how = e.p, e.how
    name = f"{e.name}.sum"
    f = e.phase_function(name)
    each = max(1, min(p.m, (1 << 15) // (p.n * how.splits)))
    chunks = -(-p.m // each)
    batch, rest = divide(f, Value("%chunk", I64), chunks)
    first = times(f, rest, each)
    stop = smaller(f, plus(f, first, each), index(p.m))
    part = p.batches * p.m * p.n
    sums = f.address("%scratch", index(partial // p.compute.itemsize), p.compute)
    sums = f.address(sums, times(f, batch, p.m * p.n), p.compute)
    c = e.batch_address(f, "%C", p.c, batch, p.result)
    wide = how.lanes if p.c.column == 1 and not (e.epilogue and how.swap) else 1

    def piece(i: Value, j: Value, width: int) -> None:
        at = f.add(times(f, i, p.n), j)
        to = f.address(c, f.add(times(f, i, p.c.row), times(f, j, p.c.column)), p.result)
        total = f.load(f.address(sums, at, p.compute), p.compute, width)
        for s in range(1, how.splits):
            more = f.load(f.address(sums, plus(f, at, s * part), p.compute), p.compute, width)
            total = f.add(total, more)
        if p.accumulate:
            total = f.add(f.cast(f.load(to, p.result, width), p.compute), total)
        if e.epilogue:
            total = e.epilogue(f, total, batch, *((j, i) if how.swap else (i, j)), None)
        f.store(f.cast(total, p.result), to)

    def row(i: Value) -> list[Value]:
        whole = p.n // wide * wide

        def several(j: Value) -> list[Value]:
            piece(i, j, wide)
            return []

        def one(j: Value) -> list[Value]:
            piece(i, j, 1)
            return []

        f.loop(index(0), index(whole), wide, several)
        f.loop(index(whole), index(p.n), 1, one)
        return []

    f.loop(first, stop, 1, row)
    f.finish()
    return Phase(name, chunks * p.batches)
