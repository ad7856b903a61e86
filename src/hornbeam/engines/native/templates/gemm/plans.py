"""How a product is computed: the sizes of tiles, blocks and chunks, chosen by estimated time.

Of all this only the parts of a long k, ``_splits`` and ``part_depth``, decide the bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import HALF
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.gemm.product import Product

CHAINS = 16  # interleaved chains of a product with one row or column
CHUNK = 1 << 19  # multiply-adds worth a chunk of their own
CHUNKS = 32  # wanted of a product that is large enough
ROWS = 64  # in a chunk, about, at least: what is read of B from the last cache is multiplied so many times
SPLIT = 1024  # least k in one part of a split product
LONG = 4  # times its rows and columns at which a k is long
SMALL = 1 << 16  # values at most of a C whose long k is split into PARTS, each of them read from end to end
PARTS, PART = 8, 256  # at most, and the least k in one
STACK = 256 << 10  # bytes of A packed on the stack of a chunk
OWN = 256  # rows up to which chunks pack B for themselves
OWN_STACK = 256 << 10  # bytes of B packed so
WIDE = 256  # columns of B packed so, at most
WIDENED = 4  # panels of a chunk, at least, where every chunk widens A for itself


@dataclass(frozen=True)
class Plan:
    """How a Product is computed. ``plan`` chooses; any Plan that fits gives the same bits."""

    swap: bool  # compute the transposed product, so vectors run along the rows of C
    lanes: int
    mr: int  # rows of a tile
    nv: int  # vectors of a tile
    kc: int  # steps of k at a time
    mb: int  # rows of a chunk, a multiple of mr
    nb: int  # columns of a chunk, a multiple of nv * lanes
    group: int  # batch entries of a chunk
    splits: int  # of k
    pack_a: bool
    pack_b: bool
    own_b: bool = False  # every chunk packs what it reads of B; if not, a phase of its own does
    pairs: bool = False  # a step of k is two k: pairs of bfloat16, made by packing both operands

    @property
    def per(self) -> int:
        """Of k in one step."""
        return 2 if self.pairs else 1


PAGE = 4096  # bytes of memory that the processor looks up at a time
DEEP = 512  # steps of k in a block of A that is packed across its rows
SHALLOW = 208  # and of one that is read across its rows as it lies


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
    pairs = target.bf16_dot and p.dtype == dtypes.bfloat16 and lanes >= 4
    depth = max(1, -(-part_depth(p, splits) // (2 if pairs else 1)))  # steps of k
    panel = nv * lanes
    half, rounds = p.dtype in HALF, p.result != p.compute
    kc = min(max(1, depth), _even(depth, max(128, target.l2 // (8 * panel * p.compute.itemsize))))

    mb, nb = _chunk(p, mr, panel, depth, splits)
    while mb > mr and mb * kc * p.compute.itemsize > target.l2 // 2:
        mb -= mr
    down = p.a.row == 1  # steps of k lie apart, rows side by side
    lines, apart = (kc, p.a.column * size) if down else (mr, p.a.row * size)
    wide = min(p.n, nb) >= 8 * panel
    # What is packed is widened once, and not by every tile.
    pack_a = half or (wide and p.a.column != 1 and not _stays(apart, lines, 4096, 8))
    if down and not rounds and apart >= PAGE // 2 and kc > SHALLOW:
        if p.n > panel and kc > DEEP:
            # Every step of k would be on another page: more pages than the processor remembers.
            pack_a, kc = True, _even(depth, DEEP)
        elif not pack_a:
            kc = _even(depth, SHALLOW)
    straight = p.b.column == 1
    fits = p.k * p.n * size <= target.l2 * 3 // 8 and _stays(p.b.row * size, kc, target.l2 // 16, 14)
    pack_b = pairs or not straight or (p.m >= 3 * mr if half else p.m >= 6 * mr and not fits)
    own_b = pack_b and p.m <= OWN
    if own_b:
        mb, nb = _chunk(p, mr, panel, depth, splits, columns_first=True)
        nb = min(nb, max(1, WIDE // panel) * panel)
        pack_a = pack_a and half
        if not rounds:
            kc = min(kc, _even(depth, max(64, OWN_STACK // (nb * p.compute.itemsize))))
        own_b = kc * nb * p.compute.itemsize <= 2 * OWN_STACK
    while pack_a and mb > mr and mb * kc * p.compute.itemsize > STACK:
        mb -= mr
    if _is_long(p) and straight and not half:
        pack_a = pack_b = own_b = False
        mb, nb, kc = _multiple(p.m, mr), _multiple(p.n, panel), _even(depth, PART)
    group = max(1, min(p.batches // CHUNKS, CHUNK // max(1, p.m * p.n * p.k)))
    plan = Plan(swap, lanes, mr, nv, kc, mb, nb, group, splits, pack_a, pack_b, own_b, pairs)

    cost = tiles_cost * p.k / plan.per
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
    if _is_long(p):
        return min(PARTS, p.k // PART)
    tiles = p.batches * -(-(p.m * p.n) // 512)
    return 1 if tiles >= 16 else max(1, min(-(-16 // tiles), p.k // SPLIT))


def _is_long(p: Product) -> bool:
    """Whether k is so much longer than the rest that A and B had best be read once, row by row, for all of C: as in the
    gradient of a layer's weights."""
    c = p.m * p.n
    return p.batches == 1 and SMALL // 16 <= c <= SMALL and p.k >= max(4 * PART, LONG * max(p.m, p.n))


def part_depth(p: Product, splits: int) -> int:
    """Of k in one part: a multiple of CHAINS if there are several."""
    depth = -(-p.k // splits)
    return depth if splits == 1 else _multiple(depth, CHAINS)


def _multiple(x: int, of: int) -> int:
    return -(-x // of) * of


def _even(length: int, most: int) -> int:
    """The largest of equal parts of ``length``, none over ``most``, rounded up to 8."""
    parts = -(-length // most) or 1
    return _multiple(-(-length // parts), 8)


def _chunk(p: Product, mr: int, panel: int, depth: int, splits: int, columns_first: bool = False) -> tuple[int, int]:
    """(rows, columns) of a chunk: enough chunks for many threads, each worth starting, columns whole if possible."""
    others = p.batches * splits
    work = p.m * p.n * max(1, depth)
    wanted = max(1, min(-(-CHUNKS // others), work // CHUNK))
    row_tiles, panels = -(-p.m // mr), -(-p.n // panel)
    if columns_first:
        by_columns = min(wanted, panels)
        by_rows = min(-(-wanted // (2 * by_columns)), max(1, row_tiles // 4))  # every one packs B again
    else:
        by_rows = min(wanted, max(1, p.m // ROWS))
        by_columns = min(max(1, wanted // by_rows), panels)
    rows = -(-row_tiles // by_rows)
    columns = max(-(-panels // by_columns), min(panels, WIDENED) if p.dtype in HALF else 1)
    columns = min(columns, max(1, 4096 // panel))
    return rows * mr, columns * panel
