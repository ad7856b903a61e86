"""Products of matrices: ``C[b, m, n] = sum over k of A[b, m, k] * B[b, k, n]``, written for one problem at a time.

Sizes and strides are known when the code is emitted, so every address is a constant offset and every edge a kernel of
its own. The shape of the computation, from the inside out:

    tile     MR rows x NV vectors of C in registers; a step of k broadcasts MR values of A onto NV vectors of B
    block    of a chunk: a range of rows and columns, k in steps of KC so that A's part stays in the second cache
    chunk    what one thread does at a time; chunks write disjoint parts of C
    phase    all chunks of one function; a phase starts when the one before has ended: pack B, multiply, add splits

Bits depend on (m, n, k, dtype) alone: not on strides, packing, tiles, blocks or threads. Each value of C is one chain
of fused multiply-adds over ascending k from +0; where k is long and C small, k is split into parts by shape alone and
the parts are added in order. With one row or one column, the chain is instead 16 interleaved chains (k mod 16) added as
a balanced tree, because those products are as good as dot products and must load k in vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import HALF, I64, Function, Module, Value, index
from hornbeam.engines.native.target import Target

CHAINS = 16  # interleaved chains of a product with one row or column
CHUNK = 1 << 19  # multiply-adds worth a chunk of their own
UNROLL = 64  # multiply-adds in one turn of the innermost loop
CHUNKS = 32  # wanted of a product that is large enough
SPLIT = 1024  # least k in one part of a split product
STACK = 192 << 10  # bytes of A packed on the stack of a chunk
OWN = 256  # rows up to which chunks pack B for themselves
OWN_STACK = 128 << 10  # bytes of one panel of B packed so


class Strides(NamedTuple):
    """Of an operand, in elements: ``batch`` has one per batch dimension."""

    batch: tuple[int, ...]
    row: int
    column: int

    @property
    def swapped(self) -> Strides:
        return Strides(self.batch, self.column, self.row)


@dataclass(frozen=True)
class Product:
    """C = A B for every index of ``batch``; C += A B if ``accumulate``. A is m x k, B is k x n."""

    m: int
    n: int
    k: int
    a: Strides
    b: Strides
    c: Strides
    batch: tuple[int, ...] = ()
    dtype: DType = dtypes.float32  # of A and B
    out: DType | None = None  # of C, if another
    accumulate: bool = False

    @property
    def result(self) -> DType:
        return self.out or self.dtype

    @property
    def compute(self) -> DType:
        """Of the sums: half precision is added in float32."""
        return dtypes.float32 if self.dtype in HALF else self.dtype

    @property
    def batches(self) -> int:
        return math.prod(self.batch)

    @property
    def swapped(self) -> Product:
        """The transposed product: C' = B' A'."""
        return replace(self, m=self.n, n=self.m, a=self.b.swapped, b=self.a.swapped, c=self.c.swapped)

    @property
    def flops(self) -> int:
        return 2 * self.batches * self.m * self.n * self.k


class Phase(NamedTuple):
    """``@name(ptr A, ptr B, ptr C, ptr scratch, ptr extra ..., i64 chunk)`` for every chunk, in any order."""

    name: str
    chunks: int


class Gemm(NamedTuple):
    """Code of a Product: run the phases in order. ``scratch`` is the bytes, aligned to 64, that all of them share."""

    phases: tuple[Phase, ...]
    scratch: int


Epilogue = Callable[[Function, Value, Value, Value, Value, "Value | None"], Value]
"""``(f, value, batch, row, column, mask) -> value`` to store: a vector of finished sums in row ``row``, columns from
``column`` on, of which ``mask`` exist. It may read ``%name`` of every ``extra`` pointer. Width 1 is possible."""


@dataclass(frozen=True)
class Plan:
    """How a Product is computed. ``plan`` chooses; any Plan that fits gives the same bits."""

    swap: bool  # compute the transposed product, so vectors run along the rows of C
    lanes: int
    mr: int  # rows of a tile
    nv: int  # vectors of a tile
    kc: int  # of k at a time
    mb: int  # rows of a chunk, a multiple of mr
    nb: int  # columns of a chunk, a multiple of nv * lanes
    group: int  # batch entries of a chunk
    splits: int  # of k
    pack_a: bool
    pack_b: bool
    own_b: bool = False  # every chunk packs what it reads of B, a panel at a time; if not, a phase of its own does


def emit(
    module: Module,
    name: str,
    product: Product,
    target: Target,
    epilogue: Epilogue | None = None,
    extra: Sequence[str] = (),
    how: Plan | None = None,
) -> Gemm:
    """Add the functions of ``product`` to ``module``."""
    product = _collapsed(product)
    if product.batches * product.m * product.n == 0:
        return Gemm((), 0)
    how = how or plan(product, target)
    emitter = _Emitter(module, name, product, target, how, epilogue, tuple(extra))
    return emitter.emit_vector() if min(product.m, product.n) == 1 else emitter.emit_tiles()


def _collapsed(p: Product) -> Product:
    """Without batch dimensions of 1, and those that only A has taken as rows of A."""
    keep = [i for i, d in enumerate(p.batch) if d != 1]
    a, b, c = (Strides(tuple(s.batch[i] for i in keep), s.row, s.column) for s in (p.a, p.b, p.c))
    p = replace(p, batch=tuple(p.batch[i] for i in keep), a=a, b=b, c=c)
    while p.batch and p.b.batch[-1] == 0 and p.m > 1 and all(s.batch[-1] == p.m * s.row for s in (p.a, p.c)):
        a, b, c = (Strides(s.batch[:-1], s.row, s.column) for s in (p.a, p.b, p.c))
        p = replace(p, m=p.m * p.batch[-1], batch=p.batch[:-1], a=a, b=b, c=c)
    return p


# -- choosing --------------------------------------------------------------------------------------


def plan(product: Product, target: Target) -> Plan:
    """The Plan with the least estimated time."""
    if min(product.m, product.n) == 1:
        return _vector_plan(product, target)
    natural, swapped = (_plan(p, target, s) for p, s in ((product, False), (product.swapped, True)))
    return min(natural, swapped, key=lambda costed: costed[0])[1]


def _plan(p: Product, target: Target, swap: bool) -> tuple[float, Plan]:
    """(cycles of one batch entry, the Plan) with vectors along the columns."""
    lanes = _lanes(target, p.compute)
    tiles_cost, mr, nv = min(_tilings(p.m, p.n, lanes, target.registers))
    size = p.dtype.itemsize
    splits = _splits(p)
    depth = max(1, _depth(p, splits))
    panel = nv * lanes
    # Sums are stored between blocks of k, so they must not be rounded there.
    kc = depth if p.result != p.compute else min(max(1, depth), _even(depth, max(128, target.l2 // (8 * panel * size))))

    mb, nb = _chunk(p, mr, panel, depth, splits)
    while mb > mr and mb * kc * p.compute.itemsize > target.l2 // 2:
        mb -= mr
    lines, apart = (kc, p.a.column) if p.a.row == 1 else (mr, p.a.row)
    reused = min(p.n, nb) >= 8 * panel
    pack_a = (reused and not _stays(apart * size, lines, 4096, 8)) or (p.dtype in HALF and min(p.n, nb) > panel)
    straight = p.b.column == 1
    fits = p.k * p.n * size <= target.l2 // 4 and _stays(p.b.row * size, kc, target.l2 // 16, 14)
    pack_b = not straight or (p.m >= 6 * mr and not fits)
    own_b = pack_b and p.m <= OWN
    if own_b:
        mb, nb = _chunk(p, mr, panel, depth, splits, columns_first=True)
        if p.result == p.compute:
            kc = min(kc, _even(depth, max(64, OWN_STACK // (panel * p.compute.itemsize))))
        own_b = kc * panel * p.compute.itemsize <= 2 * OWN_STACK
    while pack_a and mb > mr and mb * kc * p.compute.itemsize > STACK:
        mb -= mr
    group = max(1, min(p.batches // CHUNKS, CHUNK // max(1, p.m * p.n * p.k)))
    plan = Plan(swap, lanes, mr, nv, kc, mb, nb, group, splits, pack_a, pack_b, own_b)

    cost = tiles_cost * p.k
    cost += p.m * p.k * ((0.25 if p.a.row == 1 else 0.4) if p.a.column == 1 or p.a.row == 1 else 2.0) * pack_a
    cost += p.n * p.k * ((0.15 if straight else 0.4) if straight or p.b.row == 1 else 2.0) * pack_b
    cost += p.m * p.n * (0.1 if p.c.column == 1 else 1.5) * -(-depth // kc)
    return cost, plan


def _stays(stride: int, lines: int, way: int, ways: int) -> bool:
    """Whether ``lines`` lines that lie ``stride`` bytes apart fit a cache of ``ways`` ways of ``way`` bytes."""
    return lines <= ways * (way // math.gcd(stride, way) if stride >= 64 else lines)


def _vector_plan(p: Product, target: Target) -> Plan:
    """One row or column: chunks of rows of the matrix; its bytes are what counts."""
    lanes, rows, splits = _lanes(target, p.compute), max(p.m, p.n), _splits(p)
    depth = max(1, -(-p.k // splits))
    wanted = max(1, min(-(-CHUNKS // (p.batches * splits)), 4 * rows * depth // CHUNK))
    mb = _multiple(-(-rows // wanted), CHAINS)
    group = max(1, min(p.batches // CHUNKS, CHUNK // (4 * rows * depth)))
    return Plan(False, lanes, 1, 1, depth, mb, lanes, group, splits, False, False)


def _lanes(target: Target, dtype: DType) -> int:
    return max(1, target.lanes * 4 // dtype.itemsize)


def _tilings(m: int, n: int, lanes: int, registers: int) -> Iterator[tuple[float, int, int]]:
    """(cycles for one k, rows, vectors) of every tile that fits the registers, rows as even as can be."""
    vectors = -(-n // lanes)
    for nv in range(1, min(8, vectors) + 1):
        most = (registers - nv - 1) // nv
        if most < 1:
            break
        mr = -(-m // -(-m // most))
        cost = 0.0
        for rows, times in ((mr, m // mr), (m % mr, 1)):
            for columns, repeats in ((nv, vectors // nv), (vectors % nv, 1)):
                if rows and columns:
                    cycles = max(rows * columns / 2, (rows + columns) / 2, 4.0) * (1 + 0.01 * max(0, nv - 2)) + 0.4
                    cost += times * repeats * cycles
        yield cost, mr, nv


def _splits(p: Product) -> int:
    """Parts of k. NOTE: of the shape alone, and the same for the transposed product, since it decides the bits."""
    tiles = p.batches * -(-(p.m * p.n) // 512)
    return 1 if tiles >= 16 else max(1, min(-(-16 // tiles), p.k // SPLIT))


def _depth(p: Product, splits: int) -> int:
    """Of k in one part: a multiple of CHAINS if there are several."""
    depth = -(-p.k // splits)
    return depth if splits == 1 else _multiple(depth, CHAINS)


def _multiple(x: int, of: int) -> int:
    return -(-x // of) * of


def _even(length: int, most: int) -> int:
    """The largest of equal parts of ``length``, none over ``most``, rounded up to 8."""
    parts = -(-length // most) or 1
    return _multiple(-(-length // parts), 8)


def _chunk(
    p: Product, mr: int, panel: int, depth: int, splits: int, columns_first: bool = False
) -> tuple[int, int]:
    """(rows, columns) of a chunk: enough chunks for many threads, each worth starting, columns whole if possible."""
    others = p.batches * splits
    work = p.m * p.n * max(1, depth)
    wanted = max(1, min(-(-CHUNKS // others), work // CHUNK))
    row_tiles, panels = -(-p.m // mr), -(-p.n // panel)
    if columns_first:
        by_columns = min(wanted, panels)
        by_rows = min(-(-wanted // (2 * by_columns)), max(1, row_tiles // 4))  # every one packs B again
    else:
        by_rows = min(wanted, max(1, row_tiles // 2))
        by_columns = min(max(1, wanted // by_rows), panels)
    rows = -(-row_tiles // by_rows)
    columns = -(-panels // by_columns)
    columns = min(columns, max(1, 4096 // panel))
    return rows * mr, columns * panel


# -- writing ---------------------------------------------------------------------------------------


class _Emitter:
    """Writes the functions of one Product. ``p`` is the product as computed: already swapped if the plan says so."""

    def __init__(
        self,
        module: Module,
        name: str,
        product: Product,
        target: Target,
        how: Plan,
        epilogue: Epilogue | None,
        extra: tuple[str, ...],
    ) -> None:
        self.module, self.name, self.target, self.how = module, name, target, how
        self.whole = product
        self.p = product.swapped if how.swap else product
        if self.p.b.column != 1 and not how.pack_b:  # a vector of B must be contiguous
            self.how = how = replace(how, pack_b=True)
        self.epilogue, self.extra = epilogue, extra
        self.panel = how.nv * how.lanes
        self.depth = _depth(self.p, how.splits)
        self.blocks = max(1, -(-self.depth // max(1, how.kc)))
        self.panel_buffer = ""  # on the stack of a chunk
        self.partial = 0  # bytes into the scratch where the sums of the parts of k begin

    # -- the parts of the whole --

    @cached_property
    def packed_elements(self) -> int:
        """Of B, in one batch entry."""
        return -(-self.p.n // self.panel) * self.p.k * self.panel if self.how.pack_b and not self.how.own_b else 0

    def emit_tiles(self) -> Gemm:
        p, how, size = self.p, self.how, self.p.compute.itemsize
        phases = []
        if how.pack_b and not how.own_b and p.k:
            phases.append(self.pack_phase())
        packed = -(-self.shared_batches * self.packed_elements * size // 64) * 64
        self.partial = packed
        phases.append(self.multiply_phase())
        scratch = packed
        if how.splits > 1:
            phases.append(self.sum_phase())
            scratch += how.splits * p.batches * p.m * p.n * size
        return Gemm(tuple(phases), scratch)

    @cached_property
    def counts(self) -> set[int]:
        """How many k one call of a tile function may get."""
        parts = {max(0, min(self.depth, self.p.k - s * self.depth)) for s in range(self.how.splits)}
        blocks = {min(self.how.kc, part - k) for part in parts for k in range(0, part, max(1, self.how.kc))}
        return blocks or {0}

    @cached_property
    def shared_batches(self) -> int:
        """How many different B there are."""
        return self.p.batches if any(self.p.b.batch) else 1

    def function(self, name: str, *parameters: tuple[str, str], internal: bool = False) -> Function:
        f = Function(self.module, name, parameters, "nounwind ")
        f.header = f.header.replace("define void", "define internal void") if internal else f.header
        return f

    def phase_function(self, name: str) -> Function:
        pointers = [("ptr", x) for x in ("A", "B", "C", "scratch", *self.extra)]
        f = self.function(name, *pointers, ("i64", "chunk"))
        if self.how.swap:  # A of the computed product is B of the caller's
            f.header = f.header.replace("%A,", "%X,").replace("%B,", "%A,").replace("%X,", "%B,")
        return f

    def pack_phase(self) -> Phase:
        """One chunk: some panels of B, all of k."""
        p, panels = self.p, -(-self.p.n // self.panel)
        each = max(1, min(panels, (1 << 16) // max(1, p.k * self.panel)))
        chunks = -(-panels // each)
        name = f"{self.name}.pack"
        f = self.phase_function(name)
        batch, rest = divide(f, Value("%chunk", I64), chunks)
        source = self.batch_address(f, "%B", p.b, batch, p.dtype)
        into = f.address("%scratch", times(f, batch, self.packed_elements), p.compute)
        first = times(f, rest, each)
        stop = smaller(f, plus(f, first, each), index(panels))

        def panel(j: Value) -> list[Value]:
            start = f.address(source, times(f, j, self.panel * p.b.column), p.dtype)
            to = f.address(into, times(f, j, p.k * self.panel), p.compute)
            self.call_pack(f, "b", start, to, times(f, j, self.panel), index(p.k))
            return []

        if p.b.column == 1 and p.n >= self.panel:
            # Rows of B are read from end to end; panels that are whole are written side by side.
            whole = smaller(f, stop, index(p.n // self.panel))

            def row(k: Value) -> list[Value]:
                at = f.address(source, times(f, k, p.b.row), p.dtype)
                to = f.address(into, times(f, k, self.panel), p.compute)
                lanes = self.how.lanes

                def piece(j: Value) -> list[Value]:
                    for start in range(0, self.panel, lanes):
                        piece_at = f.address(at, plus(f, times(f, j, self.panel), start), p.dtype)
                        value = f.load(piece_at, p.dtype, lanes)
                        place = plus(f, times(f, j, p.k * self.panel), start)
                        f.store(f.cast(value, p.compute), f.address(to, place, p.compute))
                    return []

                f.loop(first, whole, 1, piece)
                return []

            f.loop(index(0), index(p.k), 1, row)
            if p.n % self.panel:
                f.loop(f.intrinsic("smax", first, whole), stop, 1, panel)
            f.finish()
            return Phase(name, chunks * self.shared_batches)

        f.loop(first, stop, 1, panel)
        f.finish()
        return Phase(name, chunks * self.shared_batches)

    def multiply_phase(self) -> Phase:
        p, how = self.p, self.how
        row_chunks, column_chunks = -(-p.m // how.mb), -(-p.n // how.nb)
        name = f"{self.name}.multiply"
        f = self.phase_function(name)
        rest, column = divide(f, Value("%chunk", I64), column_chunks)
        rest, row = divide(f, rest, row_chunks)
        group, split = divide(f, rest, how.splits)
        buffer = f.alloca(p.compute, how.mb * how.kc + how.lanes) if how.pack_a else ""
        self.panel_buffer = f.alloca(p.compute, how.kc * self.panel) if how.own_b else ""
        start = times(f, group, how.group)
        stop = smaller(f, plus(f, start, how.group), index(p.batches))
        place = (times(f, row, how.mb), times(f, column, how.nb), times(f, split, self.depth))
        f.loop(start, stop, 1, lambda b: self.block(f, b, split, *place, buffer), hint="b")
        f.finish()
        return Phase(name, -(-p.batches // how.group) * how.splits * row_chunks * column_chunks)

    def block(
        self, f: Function, batch: Value, split: Value, row: Value, column: Value, first_k: Value, buffer: str
    ) -> list[Value]:
        """Rows and columns of one chunk in one batch entry, over all blocks of k of one part."""
        p, how = self.p, self.how
        a = self.batch_address(f, "%A", p.a, batch, p.dtype)
        if how.pack_b and not how.own_b:
            entry = times(f, batch if self.shared_batches > 1 else index(0), self.packed_elements)
            b, b_type = f.address("%scratch", entry, p.compute), p.compute
        else:
            b, b_type = self.batch_address(f, "%B", p.b, batch, p.dtype), p.dtype
        if how.splits > 1:
            entry = plus_value(f, times(f, split, p.batches), batch)
            sums = f.address("%scratch", index(self.partial // p.compute.itemsize), p.compute)
            c = f.address(sums, times(f, entry, p.m * p.n), p.compute)
        else:
            c = self.batch_address(f, "%C", p.c, batch, p.result)
        row_stop = smaller(f, plus(f, row, how.mb), index(p.m))
        column_stop = smaller(f, plus(f, column, how.nb), index(p.n))
        k_stop = smaller(f, plus(f, first_k, self.depth), index(p.k))

        def of_k(k0: Value) -> list[Value]:
            count = smaller(f, f.sub(k_stop, k0), index(how.kc))
            first = f.compare("eq", k0, first_k)
            last = f.compare("ge", plus(f, k0, how.kc), k_stop)
            a_k = f.address(a, times(f, k0, p.a.column), p.dtype)
            if how.pack_a:

                def pack(i: Value) -> list[Value]:
                    to = f.address(buffer, f.mul(f.sub(i, row), count), p.compute)
                    self.call_pack(f, "a", f.address(a_k, times(f, i, p.a.row), p.dtype), to, i, count)
                    return []

                f.loop(row, row_stop, how.mr, pack)

            def panel(j: Value) -> list[Value]:
                if how.pack_b and not how.own_b:
                    at = plus_value(f, times(f, j, p.k), times(f, k0, self.panel))  # j is a multiple of the panel
                else:
                    at = plus_value(f, times(f, j, p.b.column), times(f, k0, p.b.row))
                b_j = f.address(b, at, b_type)
                if how.own_b:
                    self.call_pack(f, "b", b_j, self.panel_buffer, j, count)
                    b_j = self.panel_buffer

                def tile(i: Value) -> list[Value]:
                    if how.pack_a:
                        a_i = f.address(buffer, f.mul(f.sub(i, row), count), p.compute)
                    else:
                        a_i = f.address(a_k, times(f, i, p.a.row), p.dtype)
                    self.call_tile(f, a_i, b_j, c, batch, i, j, count, first, last)
                    return []

                f.loop(row, row_stop, how.mr, tile, hint="i")
                return []

            f.loop(column, column_stop, self.panel, panel, hint="j")
            return []

        if self.blocks == 1:
            of_k(first_k)
        else:
            f.loop(first_k, k_stop, how.kc, of_k, hint="k")
        return []

    def batch_address(self, f: Function, base: str, strides: Strides, batch: Value, dtype: DType) -> str:
        offset, rest = index(0), batch
        for size, stride in zip(reversed(self.p.batch), reversed(strides.batch), strict=True):
            rest, at = divide(f, rest, size)
            offset = plus_value(f, offset, times(f, at, stride))
        return f.address(base, offset, dtype)

    def variants(self, total: int, step: int) -> list[int]:
        """Sizes of the pieces of ``total``: ``step``, and what is left over."""
        return [s for s, there in ((step, total >= step), (total % step, total % step > 0)) if there]

    def choose(self, f: Function, options: list[tuple[Value | None, Callable[[], None]]]) -> None:
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

    # -- packing --

    def call_pack(self, f: Function, which: str, source: str, into: str, at: Value, count: Value) -> None:
        """Pack the panel that starts at row (of A) or column (of B) ``at``."""
        total, step = (self.p.m, self.how.mr) if which == "a" else (self.p.n, self.panel)
        options: list[tuple[Value | None, Callable[[], None]]] = []
        for valid in self.variants(total, step):
            name = self.pack_function(which, valid)

            def action(name: str = name) -> None:
                f.emit(f"call void @{name}(ptr {source}, ptr {into}, i64 {count.ref})")

            options.append((f.compare("le", plus(f, at, valid), index(total)), action))
        options[-1] = (None, options[-1][1])
        self.choose(f, options)

    def pack_function(self, which: str, valid: int) -> str:
        """``(from, into, count)``: ``valid`` rows of A, or columns of B, as a panel ``into[k][step]``."""
        p = self.p
        name = f"{self.name}.pack_{which}{valid}"
        if any(f"@{name}(" in g[:200] for g in self.module.functions):
            return name
        f = self.function(name, ("ptr", "source"), ("ptr", "into"), ("i64", "count"), internal=True)
        across, along = (p.a.row, p.a.column) if which == "a" else (p.b.column, p.b.row)
        step = self.how.mr if which == "a" else self.panel
        if across == 1 or valid == 1:
            self.pack_copy(f, valid, step, along, padded=which == "b")
        elif along == 1:
            self.pack_transposed(f, valid, step, across, padded=which == "b")
        else:
            self.pack_scalars(f, valid, step, across, along, padded=which == "b")
        f.finish()
        return name

    def pack_copy(self, f: Function, valid: int, step: int, along: int, padded: bool) -> None:
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

    def pack_transposed(self, f: Function, valid: int, step: int, across: int, padded: bool) -> None:
        """Squares of lanes x lanes, turned in registers."""
        lanes = self.how.lanes
        if not padded:
            return self.pack_squares(f, index(0), valid, valid, step, across, padded)
        whole = valid // lanes * lanes

        def square(at: Value) -> list[Value]:
            self.pack_squares(f, at, lanes, lanes, step, across, padded)
            return []

        f.loop(index(0), index(whole), lanes, square, hint="at")
        if whole < step:
            self.pack_squares(f, index(whole), valid - whole, step - whole, step, across, padded)
        return None

    def pack_squares(
        self, f: Function, first: Value, valid: int, size: int, step: int, across: int, padded: bool
    ) -> None:
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
        known = {p.k} if padded and not self.how.own_b else self.counts
        tails = sorted({c % lanes for c in known} - {0})
        if tails:
            rest = f.sub(count, whole)

            def tail(n: int) -> Callable[[], None]:
                return lambda: square(whole, n, lane_mask(n, lanes))

            self.choose(f, [(f.compare("eq", rest, index(n)), tail(n)) for n in tails] + [(None, lambda: None)])

    def pack_scalars(self, f: Function, valid: int, step: int, across: int, along: int, padded: bool) -> None:
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

    # -- tiles --

    def call_tile(
        self, f: Function, a: str, b: str, c: str, batch: Value, i: Value, j: Value, count: Value, first: Value,
        last: Value,
    ) -> None:  # fmt: skip
        p = self.p
        options: list[tuple[Value | None, Callable[[], None]]] = []
        extra = "".join(f"ptr %{x}, " for x in self.extra)
        for columns in self.variants(p.n, self.panel):
            for rows in self.variants(p.m, self.how.mr):
                name = self.tile_function(rows, columns)

                def action(name: str = name) -> None:
                    f.emit(
                        f"call void @{name}(ptr {a}, ptr {b}, ptr {c}, {extra}i64 {batch.ref}, i64 {i.ref}, "
                        f"i64 {j.ref}, i64 {count.ref}, i1 {first.ref}, i1 {last.ref})"
                    )

                inside = f.bits(
                    "and",
                    f.compare("le", plus(f, i, rows), index(p.m)),
                    f.compare("le", plus(f, j, columns), index(p.n)),
                )
                options.append((inside, action))
        options[-1] = (None, options[-1][1])
        self.choose(f, options)

    def tile_function(self, rows: int, columns: int) -> str:
        """One tile over ``count`` of k. ``first``: the sums start here; ``last``: they end here."""
        p, how = self.p, self.how
        name = f"{self.name}.tile{rows}x{columns}"
        if any(f"@{name}(" in g[:200] for g in self.module.functions):
            return name
        pointers = [("ptr", x) for x in ("a", "b", "c", *self.extra)]
        numbers = [("i64", x) for x in ("batch", "i", "j", "count")] + [("i1", "first"), ("i1", "last")]
        f = self.function(name, *pointers, *numbers, internal=True)
        lanes = how.lanes
        vectors = -(-columns // lanes)
        masks = [lane_mask(columns - v * lanes, lanes) for v in range(vectors)]
        a_type = p.compute if how.pack_a else p.dtype
        a_row, a_k = (1, how.mr) if how.pack_a else (p.a.row, p.a.column)
        b_type, b_k = (p.compute, self.panel) if how.pack_b else (p.dtype, p.b.row)

        def step(k: Value, sums: Sequence[Value], ahead: int) -> list[Value]:
            b_at = f.address("%b", times(f, k, b_k), b_type)
            a_at = f.address("%a", times(f, k, a_k), a_type)
            row_b = []
            for v in range(vectors):
                at = f.address(b_at, index(ahead * b_k + v * lanes), b_type)
                row_b.append(f.cast(f.load(at, b_type, lanes, None if how.pack_b else masks[v]), p.compute))
            out = list(sums)
            for r in range(rows):
                at = f.address(a_at, index(ahead * a_k + r * a_row), a_type)
                x = f.splat(f.cast(f.load(at, a_type), p.compute), lanes)
                for v in range(vectors):
                    out[r * vectors + v] = self.multiply_add(f, x, row_b[v], sums[r * vectors + v])
            return out

        if p.c.column == 1:
            self.prefetch_c(f, rows, columns)
        start = [f.constant(0, p.compute, lanes)] * (rows * vectors)
        start = self.start_sums(f, rows, masks, start)
        count = Value("%count", I64)
        unroll = self.unroll(rows * vectors)
        even = not any(c % unroll for c in self.counts)
        whole = count if even else floor_multiple(f, count, unroll)

        def several(k: Value, *sums: Value) -> Sequence[Value]:
            now: Sequence[Value] = sums
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
        even = next(u for u in (8, 4, 2, 1) if u <= most and not any(c % u for c in self.counts))
        return even if even * sums >= 16 else most

    def multiply_add(self, f: Function, x: Value, y: Value, z: Value) -> Value:
        if not dtypes.is_floating(x.dtype):
            return f.add(f.mul(x, y), z)
        return f.intrinsic("fma" if self.target.fma else "fmuladd", x, y, z)

    def prefetch_c(self, f: Function, rows: int, columns: int) -> None:
        """Rows of C lie in pages of their own: they are asked for before the sums, so storing need not wait."""
        self.module.declare("llvm.prefetch.p0", "void", "ptr", "i32", "i32", "i32")
        line = 64 // self.c_strides[2].itemsize
        for r in range(rows):
            for column in range(0, columns, line):
                f.emit(f"call void @llvm.prefetch.p0(ptr {self.c_address(f, r, column)}, i32 1, i32 3, i32 1)")

    @property
    def c_strides(self) -> tuple[int, int, DType]:
        """(row, column, dtype) of where tiles are stored: C, or the sums of one part of k."""
        p = self.p
        return (p.n, 1, p.compute) if self.how.splits > 1 else (p.c.row, p.c.column, p.result)

    def c_address(self, f: Function, row: int, column: int) -> str:
        r, s, dtype = self.c_strides
        at = f.add(times(f, Value("%i", I64), r), times(f, Value("%j", I64), s))
        return f.address("%c", plus(f, at, row * r + column * s), dtype)

    def start_sums(
        self, f: Function, rows: int, masks: Sequence[Value | None], zeros: list[Value]
    ) -> list[Value]:
        """Zero in the first block of k (or C, to add to it), what was stored in the others."""
        accumulate = self.p.accumulate and self.how.splits == 1
        if self.blocks == 1 and not accumulate:
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
        epilogue = self.epilogue if self.how.splits == 1 else None
        if s == 1 and not (epilogue and self.how.swap):

            def straight(finish: bool) -> None:
                for r in range(rows):
                    for v, mask in enumerate(masks):
                        value = sums[r * len(masks) + v]
                        if finish and epilogue:
                            row, column = plus(f, Value("%i", I64), r), plus(f, Value("%j", I64), v * lanes)
                            value = epilogue(f, value, Value("%batch", I64), row, column, mask)
                        f.store(f.cast(value, dtype), self.c_address(f, r, v * lanes), mask)

            self.at_last(f, straight, epilogue is not None)
            return

        # Columns are apart: through memory, as rows of the tile turned (rows of C if the product is swapped).
        width = len(masks) * lanes
        memory = f.alloca(self.p.compute, rows * width)
        for at, value in enumerate(sums):
            f.store(value, f.address(memory, index(at * lanes), self.p.compute))
        self.at_last(f, lambda finish: self.store_turned(f, rows, columns, width, memory, finish), epilogue is not None)

    def at_last(self, f: Function, store: Callable[[bool], None], special: bool) -> None:
        """``store(True)`` where the sums are finished, ``store(False)`` before, if there is a difference."""
        if not special or self.blocks == 1:
            store(special)
            return
        self.choose(f, [(Value("%last", dtypes.bool_), lambda: store(True)), (None, lambda: store(False))])

    def store_turned(self, f: Function, rows: int, columns: int, width: int, memory: str, finish: bool) -> None:
        """Column ``j`` of the tile holds ``rows`` values, gathered and stored as vectors if rows are adjacent in C."""
        r, s, dtype = self.c_strides
        lanes, p = self.how.lanes, self.p
        epilogue = self.epilogue if finish else None

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
                    if epilogue:
                        where = (at, row) if self.how.swap else (row, at)
                        value = epilogue(f, value, Value("%batch", I64), *where, mask)
                    to = f.address("%c", f.add(times(f, row, r), times(f, at, s)), dtype)
                    f.store(f.cast(value, dtype), to, mask)
            return []

        f.loop(index(0), index(columns), 1, column)

    # -- parts of k --

    def sum_phase(self) -> Phase:
        """The parts of k added in order, each chunk some rows of one batch entry."""
        p, how = self.p, self.how
        name = f"{self.name}.sum"
        f = self.phase_function(name)
        each = max(1, min(p.m, (1 << 15) // (p.n * how.splits)))
        chunks = -(-p.m // each)
        batch, rest = divide(f, Value("%chunk", I64), chunks)
        first = times(f, rest, each)
        stop = smaller(f, plus(f, first, each), index(p.m))
        part = p.batches * p.m * p.n
        sums = f.address("%scratch", index(self.partial // p.compute.itemsize), p.compute)
        sums = f.address(sums, times(f, batch, p.m * p.n), p.compute)
        c = self.batch_address(f, "%C", p.c, batch, p.result)
        wide = how.lanes if p.c.column == 1 and not (self.epilogue and how.swap) else 1

        def piece(i: Value, j: Value, width: int) -> None:
            at = f.add(times(f, i, p.n), j)
            to = f.address(c, f.add(times(f, i, p.c.row), times(f, j, p.c.column)), p.result)
            total = f.load(f.address(sums, at, p.compute), p.compute, width)
            for s in range(1, how.splits):
                more = f.load(f.address(sums, plus(f, at, s * part), p.compute), p.compute, width)
                total = f.add(total, more)
            if p.accumulate:
                total = f.add(f.cast(f.load(to, p.result, width), p.compute), total)
            if self.epilogue:
                total = self.epilogue(f, total, batch, *((j, i) if how.swap else (i, j)), None)
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

    # -- one row or column --

    def emit_vector(self) -> Gemm:
        phases = [self.vector_phase()]
        if self.how.splits == 1:
            return Gemm(tuple(phases), 0)
        phases.append(self.sum_phase())
        return Gemm(tuple(phases), self.how.splits * self.p.batches * self.p.m * self.p.n * self.p.compute.itemsize)

    def vector_phase(self) -> Phase:
        """``y[r] = sum over k of X[r, k] * v[k]``, where y is the one row or column of C."""
        p, how = self.p, self.how
        row_chunks = -(-max(p.m, p.n) // how.mb)
        name = f"{self.name}.multiply"
        f = self.phase_function(name)
        rest, row = divide(f, Value("%chunk", I64), row_chunks)
        group, split = divide(f, rest, how.splits)
        first = times(f, row, how.mb)
        stop = smaller(f, plus(f, first, how.mb), index(max(p.m, p.n)))
        k0 = times(f, split, self.depth)
        count = f.sub(smaller(f, plus(f, k0, self.depth), index(p.k)), k0)
        vector = _Vector(self, f)

        def entry(batch: Value) -> list[Value]:
            a, b = self.batch_address(f, "%A", p.a, batch, p.dtype), self.batch_address(f, "%B", p.b, batch, p.dtype)
            a = f.address(a, times(f, k0, p.a.column), p.dtype)
            b = f.address(b, times(f, k0, p.b.row), p.dtype)
            if how.splits > 1:
                at = times(f, plus_value(f, times(f, split, p.batches), batch), p.m * p.n)
                c = f.address("%scratch", at, p.compute)
            else:
                c = self.batch_address(f, "%C", p.c, batch, p.result)
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

    def __init__(self, emitter: _Emitter, f: Function) -> None:
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


def plus_value(f: Function, x: Value, y: Value) -> Value:
    if x.ref == "0" or y.ref == "0":
        return y if x.ref == "0" else x
    return index(int(x.ref) + int(y.ref)) if x.is_constant and y.is_constant else f.add(x, y)


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
