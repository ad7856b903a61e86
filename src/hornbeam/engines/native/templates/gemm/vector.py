"""Products with one row or column: a matrix times a vector."""

from __future__ import annotations

from collections.abc import Sequence

from hornbeam.engines.native.llvm import I64, Function, Value, index
from hornbeam.engines.native.templates.gemm.arithmetic import divide, floor_multiple, plus, plus_value, smaller, times
from hornbeam.engines.native.templates.gemm.emitter import Emitter
from hornbeam.engines.native.templates.gemm.plans import CHAINS
from hornbeam.engines.native.templates.gemm.product import Gemm, Phase
from hornbeam.engines.native.templates.gemm.sums import sum_phase


def emit_vector(e: Emitter) -> Gemm:
    """The phases of a product with one row or column."""
    phases = [vector_phase(e)]
    if e.how.splits == 1:
        return Gemm(tuple(phases), 0)
    phases.append(sum_phase(e, 0))
    return Gemm(tuple(phases), e.how.splits * e.p.batches * e.p.m * e.p.n * e.p.compute.itemsize)


def vector_phase(e: Emitter) -> Phase:
    """``y[r] = sum over k of X[r, k] * v[k]``, where y is the one row or column of C."""
    p, how = e.p, e.how
    row_chunks = -(-max(p.m, p.n) // how.mb)
    name = f"{e.name}.multiply"
    f = e.phase_function(name)
    rest, row = divide(f, Value("%chunk", I64), row_chunks)
    group, split = divide(f, rest, how.splits)
    first = times(f, row, how.mb)
    stop = smaller(f, plus(f, first, how.mb), index(max(p.m, p.n)))
    k0 = times(f, split, e.depth)
    count = f.sub(smaller(f, plus(f, k0, e.depth), index(p.k)), k0)
    vector = _Vector(e, f)

    def entry(batch: Value) -> list[Value]:
        a, b = e.batch_address(f, "%A", p.a, batch, p.dtype), e.batch_address(f, "%B", p.b, batch, p.dtype)
        a = f.address(a, times(f, k0, p.a.column), p.dtype)
        b = f.address(b, times(f, k0, p.b.row), p.dtype)
        if how.splits > 1:
            at = times(f, plus_value(f, times(f, split, p.batches), batch), p.m * p.n)
            c = f.address("%scratch", at, p.compute)
        else:
            c = e.batch_address(f, "%C", p.c, batch, p.result)
        matrix, v = (a, b) if p.n == 1 else (b, a)
        vector.rows(matrix, v, c, batch, first, stop, count)
        return []

    start = times(f, group, how.group)
    f.loop(start, smaller(f, plus(f, start, how.group), index(p.batches)), 1, entry, hint="b")
    f.finish()
    return Phase(name, -(-p.batches // how.group) * how.splits * row_chunks)


class _Vector:
    """Rows of a matrix times a vector, in whichever direction the matrix lies in memory. The order of the sums does
    not depend on it: CHAINS interleaved chains either way."""

    def __init__(self, emitter: Emitter, f: Function) -> None:
        self.e, self.f, self.p = emitter, f, emitter.p
        p = self.p
        by_rows = p.n == 1
        self.row, self.k = (p.a.row, p.a.column) if by_rows else (p.b.column, p.b.row)
        self.v = p.b.row if by_rows else p.a.column
        if emitter.how.splits > 1:
            self.y, self.y_type = 1, p.compute
        else:
            self.y, self.y_type = (p.c.row if by_rows else p.c.column), p.result
        self.total = max(p.m, p.n)
        self.lanes = min(emitter.how.lanes, CHAINS)

    def rows(self, matrix: str, v: str, y: str, batch: Value, first: Value, stop: Value, count: Value) -> None:
        f, at = self.f, first
        along_k = self.k == 1 or self.total < self.lanes
        # Rows at a time along k: eight registers of sums. Along rows: vectors of rows, side by side in memory.
        few = max(1, 8 * self.lanes // CHAINS)
        several = self.e.target.registers * 3 // 16
        for width in (few, 1) if along_k else (several * self.lanes, self.lanes, 1):
            whole = plus_value(f, at, times(f, divide(f, f.sub(stop, at), width)[0], width))

            def some(r: Value, width: int = width) -> list[Value]:
                x = f.address(matrix, times(f, r, self.row), self.p.dtype)
                if along_k or width == 1:
                    for i, value in enumerate(self.along_k(x, v, count, width if along_k else 1)):
                        self.store(value, y, batch, plus(f, r, i))
                else:
                    for i, value in enumerate(self.along_rows(x, v, count, width // self.lanes)):
                        self.store(value, y, batch, plus(f, r, i * self.lanes))
                return []

            f.loop(at, whole, width, some, hint="r")
            at = whole

    def load(self, base: str, offset: Value, stride: int, width: int, mask: Value | None = None) -> Value:
        f, dtype = self.f, self.p.dtype
        at = f.address(base, offset, dtype)
        if stride == 1 or width == 1:
            return f.cast(f.load(at, dtype, width, mask), self.p.compute)
        if stride == 0:
            value = f.splat(f.cast(f.load(at, dtype), self.p.compute), width)
            return value if mask is None else f.select(mask, value, f.constant(0, self.p.compute))
        offsets = Value("<" + ", ".join(f"i64 {i * stride}" for i in range(width)) + ">", I64, width)
        return f.cast(f.gather(at, offsets, dtype, mask), self.p.compute)

    def along_k(self, x: str, v: str, count: Value, rows: int) -> list[Value]:
        """Sums of ``rows`` rows, vectors along k."""
        f, lanes, parts = self.f, self.lanes, CHAINS // self.lanes
        zero = f.constant(0, self.p.compute, lanes)

        def step(k: Value, sums: Sequence[Value], masked: bool) -> list[Value]:
            out = list(sums)
            for part in range(parts):
                at = plus(f, k, part * lanes)
                mask = None
                if masked and lanes == 1:
                    mask = f.compare("lt", at, count)
                elif masked:
                    mask = f.tail_mask(f.sub(count, at), lanes)
                y = self.guarded(v, times(f, at, self.v), self.v, mask)
                for r in range(rows):
                    z = self.guarded(x, plus(f, times(f, at, self.k), r * self.row), self.k, mask)
                    out[r * parts + part] = self.e.multiply_add(f, z, y, sums[r * parts + part])
            return out

        whole = floor_multiple(f, count, CHAINS)
        sums = f.loop(index(0), whole, CHAINS, lambda k, *s: step(k, s, False), [zero] * (rows * parts), hint="k")
        sums = f.loop(whole, count, CHAINS, lambda k, *s: step(k, s, True), sums, hint="k")
        return [self.tree(sums[r * parts : (r + 1) * parts]) for r in range(rows)]

    def guarded(self, base: str, at: Value, stride: int, mask: Value | None) -> Value:
        """A vector along k, zero where ``mask`` is false."""
        f = self.f
        if mask is None or mask.width > 1:
            return self.load(base, at, stride, self.lanes, mask)
        zero = f.constant(0, self.p.compute)
        return f.select(mask, self.load(base, f.select(mask, at, index(0)), stride, 1), zero)

    def along_rows(self, x: str, v: str, count: Value, vectors: int) -> list[Value]:
        """Sums of ``vectors`` vectors of rows, a register for each chain; some of the chains at a time."""
        f, lanes = self.f, self.lanes
        at_once = 4 if vectors > 1 else CHAINS // 2
        whole = floor_multiple(f, count, CHAINS)
        chains: list[list[Value]] = [[] for _ in range(vectors)]
        for low in range(0, CHAINS, at_once):

            def step(k: Value, sums: Sequence[Value], masked: bool, low: int = low) -> list[Value]:
                out = list(sums)
                for i in range(at_once):
                    at = plus(f, k, low + i)
                    inside = f.compare("lt", at, count) if masked else None
                    at = f.select(inside, at, index(0)) if inside else at
                    y = self.load(v, times(f, at, self.v), 1, 1)
                    y = f.splat(f.select(inside, y, f.constant(0, self.p.compute)) if inside else y, lanes)
                    row = f.address(x, times(f, at, self.k), self.p.dtype)
                    for w in range(vectors):
                        z = self.load(row, index(w * lanes * self.row), self.row, lanes)
                        z = f.select(inside, z, f.constant(0, self.p.compute)) if inside else z
                        place = w * at_once + i
                        out[place] = self.e.multiply_add(f, z, y, sums[place])
                return out

            zeros = [f.constant(0, self.p.compute, lanes)] * (at_once * vectors)
            sums = f.loop(index(0), whole, CHAINS, lambda k, *s: step(k, s, False), zeros, hint="k")
            sums = f.loop(whole, count, CHAINS, lambda k, *s: step(k, s, True), sums, hint="k")
            for w in range(vectors):
                chains[w] += sums[w * at_once : (w + 1) * at_once]
        return [self.tree(parts, stop=1) for parts in chains]

    def tree(self, parts: Sequence[Value], stop: int = 0) -> Value:
        """Chain i plus chain i + 8, then + 4, + 2, + 1: between registers first, then between lanes unless ``stop``."""
        f, parts = self.f, list(parts)
        while len(parts) > 1:
            half = len(parts) // 2
            parts = [f.add(parts[i], parts[i + half]) for i in range(half)]
        total = parts[0]
        while not stop and total.width > 1:
            half = total.width // 2
            if half == 1:
                return f.add(f.extract(total, 0), f.extract(total, 1))
            total = f.add(*f.halves(total))
        return total

    def store(self, value: Value, y: str, batch: Value, row: Value) -> None:
        f, p = self.f, self.p
        split = self.e.how.splits > 1
        epilogue = None if split else self.e.epilogue
        scalar = value.width > 1 and (self.y != 1 or (epilogue is not None and p.n == 1))
        for i in range(value.width if scalar else 1):
            one = f.extract(value, i) if scalar else value
            at = plus(f, row, i)
            to = f.address(y, times(f, at, self.y), self.y_type)
            if p.accumulate and not split:
                one = f.add(f.cast(f.load(to, self.y_type, one.width), p.compute), one)
            if epilogue:
                where = (at, index(0)) if p.n == 1 else (index(0), at)
                one = epilogue(f, one, batch, *where, None)
            f.store(f.cast(one, self.y_type), to)
