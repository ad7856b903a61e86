"""Loop kernels: one pass over an iteration space, vectorised along its last axis.

The space is ``outer`` (rows, dealt out to threads) times ``inner``. Without reductions the space is flattened as far as
its reads allow. With reductions a row is passed over in *stages*: a stage computes what depends on the reductions of
earlier stages; values that a later stage needs again stay in a scratch row, in cache.

The order in which a row is summed depends on its length alone: lanes, then four accumulators if it is long, then a
tree. A very long row is summed in parts of fixed length, which threads share, and then the parts are added in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import Form, Index, counted, offset, positions
from hornbeam.engines.native.fuse import REDUCTIONS, Fusion, root_index
from hornbeam.engines.native.llvm import HALF, I64, Function, Module, Value, index
from hornbeam.engines.native.mathlib import VectorScalars
from hornbeam.engines.native.mathlib import random as drawing
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.arith import ADD, CAST, MUL, NEG, SUB
from hornbeam.ir.primitives.movement import CONSTANT, IOTA, RESHAPE
from hornbeam.ir.primitives.random import RANDOM_BITS

LONG = 65536  # elements of a row that is reduced in parts; too long to have later stages
PART = 32768  # elements that make one part of a long row
CHUNK = 8192  # elements of a flat loop that make one unit of work for a thread
FAR = 2 << 20  # bytes of an array that does not stay in a core's own caches
AHEAD = 1024  # bytes before they are needed that parts of such an array are asked for
CHEAP = frozenset((ADD, SUB, MUL, NEG, CAST))
DRAWING = 20  # additions that one of random bits takes as long as


class Memo(dict[Any, Value]):
    """Values of one vector of elements, by node and element. ``following`` are those of the vector after it, if it is
    computed together with this one."""

    following: Memo | None = None


def memos(vectors: int) -> list[Memo]:
    """Those of ``vectors`` side by side, two and two together."""
    made = [Memo() for _ in range(vectors)]
    for first, second in zip(made[0::2], made[1::2], strict=False):
        first.following = second
    return made


class Target(NamedTuple):
    """A value to compute and where to put it."""

    node: Node
    at: Index
    buffer: Node
    to: Form  # the element of the buffer


class Kernel(NamedTuple):
    """An emitted function ``name(buffers…, begin, end)`` over ``units`` units of work.

    A ``chunked`` one is ``name(buffers…, scratch, unit)`` instead; kernels of one node share its ``scratch`` bytes.
    """

    name: str
    buffers: tuple[Node, ...]
    units: int
    writes: tuple[Node, ...]
    operations: int  # scalar operations, for the report
    scratch: int = 0
    chunked: bool = False
    nanoseconds: float = 0  # on one core, roughly: whether threads are worth waking
    overwrites: tuple[tuple[Node, Node], ...] = ()  # (parameter, result) that may be one buffer, see ``_overwrites``
    within: int | None = None  # bytes that bodies move, where the kernel itself only calls them


def identity_element(name: str, dtype: DType) -> Any:
    if name in ("sum", "reduce_or"):
        return 0
    if name == "prod":
        return 1
    if name == "reduce_and":
        return True if dtype == dtypes.bool_ else -1 if dtype.kind == "i" else np.iinfo(dtype).max
    low = name == "reduce_max"
    if dtypes.is_floating(dtype):
        return -np.inf if low else np.inf
    info = np.iinfo(dtype)
    return info.min if low else info.max


class Space:
    """Loop variables after flattening: original axes that always move together become one."""

    def __init__(
        self, outer: Shape, inner: Shape, forms: Sequence[Form], flatten: bool, columns: bool = False,
        first: int | None = None,
    ) -> None:  # fmt: skip
        """``columns``: only the last of ``inner`` is a vector. ``first``: an axis that begins a group."""
        self.shape = shape = outer + inner
        border = None if flatten else len(outer)
        self.groups: list[list[int]] = []
        for i in (i for i, d in enumerate(shape) if d != 1):
            last = self.groups[-1] if self.groups else None
            crosses = last is not None and border is not None and last[-1] < border <= i
            if last is not None and not crosses and i != first and all(f[last[-1]] == f[i] * shape[i] for f in forms):
                last.append(i)
            else:
                self.groups.append([i])
        inside = [g for g in self.groups if flatten or g[0] >= len(outer)]
        if flatten or columns:
            inside = inside[-1:]  # only the last is a vector; the others are loops around it
        assert len(inside) <= 1, "rows that reductions pass over are contiguous"
        self.inner = inside
        self.outer = [g for g in self.groups if g not in inside]

    def size(self, group: list[int]) -> int:
        size = 1
        for i in group:
            size *= self.shape[i]
        return size

    @property
    def rows(self) -> int:
        return int(np.prod([self.size(g) for g in self.outer], dtype=np.int64))

    @property
    def length(self) -> int:
        return self.size(self.inner[0]) if self.inner else 1

    def inner_step(self, form: Form) -> int:
        return form[self.inner[0][-1]] if self.inner else 0


class LoopEmitter:
    """Emits one kernel that computes ``targets`` over (outer, inner)."""

    def __init__(
        self, module: Module, fusion: Fusion, name: str, outer: Shape, inner: Shape, targets: Sequence[Target],
        inside: Sequence[Node], lanes: int, here: Index | None = None,
    ) -> None:  # fmt: skip
        reductions = [n for n in inside if n.primitive in REDUCTIONS]
        self.inside = set(inside)
        self.module, self.fusion, self.name, self.lanes = module, fusion, name, lanes
        self.rank, self.outer_inner = len(outer) + len(inner), (outer, inner)
        self.targets, self.reductions = list(targets), list(reductions)
        self.reduced = set(reductions)
        self.full_shape = outer + inner
        self.here = positions(self.full_shape) if here is None else here  # where a reduction's operand is
        self.forms: dict[tuple[Node, Form], None] = {}
        self.counters: dict[Form, None] = {}
        self.drawn: dict[Form, None] = {}  # of the counters, those that number random bits
        self.operations = 0
        self.levels: dict[tuple[int, Form], int] = {}
        for t in self.targets:
            self._collect(t.node, t.at)
            self.forms[(t.buffer, t.to)] = None
        for r in self.reductions:
            self._collect(r.args[0], self.here)
        every = [form for _, form in self.forms] + list(self.counters)
        self.space = self._make_space(outer, inner, every)
        self.flat = not self.reductions and not self.space.outer
        self.together = 2 if any(map(self._in_pairs, self.drawn)) else 1  # vectors computed together
        self.stage = 0
        self.kept: dict[tuple[int, Form], tuple[str, DType, int]] = {}  # scratch rows, and the stage that fills them
        self.scalars: dict[Node, Value] = {}
        self.steady = Memo()  # values that stay the same along the row, at hand
        self.buffers = tuple(dict.fromkeys(b for b, _ in self.forms))
        self.written = tuple(dict.fromkeys(t.buffer for t in self.targets))
        self.overwrites = () if self.reductions else tuple(self._overwrites())

    def _make_space(self, outer: Shape, inner: Shape, forms: Sequence[Form]) -> Space:
        return Space(outer, inner, forms, flatten=not self.reductions)

    # -- what is read -------------------------------------------------------------------

    def _key(self, node: Node, at: Index) -> tuple[int, Form]:
        """A node and the element of it that is meant."""
        return id(node), offset(at, node.shape, self.rank)

    def _level(self, node: Node, at: Index) -> int:
        return self.levels[self._key(node, at)]

    def _collect(self, node: Node, at: Index) -> int:
        """Note every read below ``node``; returns its level: how many reductions lie on the way."""
        key = self._key(node, at)
        if key not in self.levels:
            self.levels[key] = self._look_below(node, at)
        return self.levels[key]

    def _look_below(self, node: Node, at: Index) -> int:
        if node in self.reduced:
            return 1 + self._collect(node.args[0], self.here)
        if node.primitive is CONSTANT and node.spec.size == 1:
            return 0
        read = self._read_of(node, at)
        if read is not None:
            self.forms[read] = None
            return 0
        number = counted(node, at, self.rank)
        if number is not None:
            self.counters[number] = None
        if node.primitive is RANDOM_BITS:
            self.drawn[offset(at, node.shape, self.rank)] = None
            self.operations += DRAWING
        if node.primitive.kind == "map":
            self.operations += 1 if node.primitive in CHEAP else 8
        return max((self._collect(a, i) for a, i in self._below(node, at)), default=0)

    def _source(self, node: Node) -> Node:
        """Where the values of ``node`` are taken from: a reshape that this kernel stores copies its argument."""
        return node.args[0] if node in self.inside and node.primitive is RESHAPE else node

    def _is_read(self, node: Node) -> bool:
        """Whether a value comes from memory: it has a buffer, and is not computed by this very kernel."""
        source = self._source(node)
        return self.fusion.in_memory(source) and self.fusion.base(source) not in self.inside

    def _read_of(self, node: Node, at: Index) -> tuple[Node, Form] | None:
        """The buffer and element that hold ``node`` at ``at``; None if it is computed."""
        if not self._is_read(node):
            return None
        return self.fusion.base(self._source(node)), offset(at, node.shape, self.rank)

    def _below(self, node: Node, at: Index) -> list[tuple[Node, Index]]:
        """The arguments of ``node`` and where. A reshape of a value of this kernel is that value in the same place."""
        source = self._source(node)
        if self.fusion.in_memory(source) and (base := self.fusion.base(source)) is not node:
            place = root_index(base.shape, *self.outer_inner)
            assert place is not None
            return [(base, place)]
        return self.fusion.below(node, at, self.rank)

    def _overwrites(self) -> Iterator[tuple[Node, Node]]:
        """(parameter, result) for every new value of a slot that this kernel may write over the old one: it reads no
        more of the old one than the element in whose place it is about to write, and reads that before."""
        for t in self.targets:
            old = self.fusion.program.renewed.get(t.buffer)
            if old is None or old.spec != t.buffer.spec:
                continue
            reads = [form for buffer, form in self.forms if buffer is old]
            if not reads or (reads == [t.to] and self._needs(t.node, t.at, old)):
                yield old, t.buffer

    def _needs(self, node: Node, at: Index, buffer: Node) -> bool:
        """Whether computing ``node`` reads ``buffer``."""
        seen: set[tuple[int, Form]] = set()
        stack = [(node, at)]
        while stack:
            n, i = stack.pop()
            read = self._read_of(n, i)
            if read is not None and read[0] is buffer:
                return True
            if read is None and n.primitive not in (CONSTANT, IOTA) and self._key(n, i) not in seen:
                seen.add(self._key(n, i))
                stack += self._below(n, i)
        return False

    # -- emission -------------------------------------------------------------------

    def emit(self) -> list[Kernel]:
        if self.reductions and self.space.length >= LONG:
            return self._emit_parts()
        return self.emit_whole()

    def emit_whole(self) -> list[Kernel]:
        """One function for a range of units; for the only one there is, without a loop."""
        self.begin()
        span = (index(0), index(1)) if self.units == 1 else (Value("%begin", I64), Value("%end", I64))
        self._units(*span)
        return [self.end(self.units)]

    def begin(self, chunked: bool = False) -> None:
        """Begin a function of the buffers."""
        self.pointers = {b: f"%b{i}" for i, b in enumerate(self.buffers)}
        last = [("ptr", "scratch"), ("i64", "unit")] if chunked else [("i64", "begin"), ("i64", "end")]
        parameters = [*(("ptr", f"b{i}") for i in range(len(self.buffers))), *last]
        name = self.module.name() if chunked else self.name
        aliased = any(old in self.pointers for old, _ in self.overwrites)
        self.f = Function(self.module, name, parameters, aliased=aliased)
        self.h = VectorScalars(self.f)

    def end(self, units: int, scratch: int = 0, work: float = 1) -> Kernel:
        """Close it. Kernels with ``scratch`` do one unit for a call. ``work``: the share of all that there is to do."""
        size = int(np.prod(self.full_shape, dtype=np.int64))
        nanoseconds = work * size * (0.03 * self.operations + 0.08 * len(self.buffers))
        operations = int(work * self.operations)
        name = self.f.finish(share=True)
        return Kernel(
            name, self.buffers, units, self.written, operations, scratch, scratch > 0, nanoseconds, self.overwrites
        )

    @property
    def units(self) -> int:
        """How many parts of the work there are for threads to share."""
        return max(-(-self.space.length // CHUNK), 1) if self.flat else self.space.rows

    def _units(self, begin: Value, end: Value) -> None:
        """Emit the loop over units ``begin`` … ``end``."""
        if self.flat:
            self.f.loop(begin, end, 1, self._flat_unit, hint="unit")
        else:
            self.f.loop(begin, end, 1, self._row, hint="row")

    def _flat_unit(self, unit: Value) -> Sequence[Value]:
        f = self.f
        start = f.mul(unit, index(CHUNK))
        left = f.sub(index(self.space.length), start)
        count = f.intrinsic("smin", left, index(CHUNK))
        self._bases([(group, start) for group in self.space.inner])
        self._hoist([(t.node, t.at) for t in self.targets])

        def body(j: Value, mask: Value | None = None, together: int = 1) -> Sequence[Value]:
            for v, memo in enumerate(memos(together)):
                at = f.add(j, index(v * self.lanes)) if v else j
                for t in self.targets:
                    self._store(t, self._value(t.node, t.at, at, mask, memo), at, mask)
            return ()

        def masked(j: Value) -> Sequence[Value]:
            return body(j, f.tail_mask(f.sub(count, j), self.lanes))

        step = self.together * self.lanes
        done = f.bits("and", count, Value(str(-step), I64))
        if self.space.length >= step:
            f.loop(index(0), done, step, lambda j: body(j, None, self.together), hint="j")
        if self.space.length % step:  # only of the last unit
            f.loop(done, count, self.lanes, masked if self.space.length % self.lanes else body, hint="tail")
        return ()

    def _row(self, row: Value) -> Sequence[Value]:
        self._bases(self._decoded(row, self.space.outer))
        self.scalars, self.kept = {}, {}
        for stage in range(self.stages):
            self.stage = stage
            self._stage(stage)
        return ()

    def _decoded(self, row: Value, groups: Sequence[list[int]]) -> list[tuple[list[int], Value]]:
        """The loop variables of ``groups`` from their flat number."""
        f, variables, rest = self.f, [], row
        for group in reversed(groups[1:]):
            size = index(self.space.size(group))
            variables.append((group, f.rem(rest, size)))
            rest = f.div(rest, size)
        return [(groups[0], rest), *variables] if groups else []

    def _bases(self, variables: Sequence[tuple[list[int], Value]]) -> None:
        """Where each buffer's row starts for these outer variables, and what each counter is there."""
        f, self.steady = self.f, Memo()
        cache: dict[Form, Value] = {}

        def at(form: Form) -> Value:
            if form not in cache:
                total = index(form[-1])
                for group, v in variables:
                    step = form[group[-1]]
                    if step:
                        moved = v if step == 1 else f.mul(v, index(step))
                        total = moved if total.ref == "0" else f.add(total, moved)
                cache[form] = total
            return cache[form]

        self.row_pointers = {
            (buffer, form): f.address(self.pointers[buffer], at(form), buffer.spec.dtype)
            for buffer, form in self.forms
        }
        self.row_counters = {form: at(form) for form in self.counters}

    # -- stages of a row -------------------------------------------------------------------

    def _stage(self, stage: int) -> None:
        f, n = self.f, self.space.length
        sums, full, keep = self.work_of(stage)
        if sums or full or keep:
            for r, total in zip(sums, self._pass(index(0), n, sums, full, keep), strict=True):
                self.scalars[r] = f.cast(total, r.spec.dtype)
        self._store_row(lambda level: level == stage + 1 or level == stage == 0)

    @property
    def stages(self) -> int:
        """How often a row is passed over, at most."""
        return 1 + max([self._level(t.node, t.at) for t in self.targets] + [0])

    def work_of(self, stage: int) -> tuple[list[Node], list[Target], list[tuple[tuple[int, Form], Node, Index]]]:
        """What a pass computes: reductions, results for every element, and values kept for later passes."""
        sums = [r for r in self.reductions if self._level(r.args[0], self.here) == stage]
        full = [t for t in self.targets if self._level(t.node, t.at) == stage and self._is_full(t)]
        return sums, full, self._to_keep(stage)

    def row_targets(self, wanted: Callable[[int], bool]) -> list[Target]:
        """Results that are computed once for a row, of the levels that are ``wanted``."""
        return [t for t in self.targets if not self._is_full(t) and wanted(self._level(t.node, t.at))]

    def _pass(
        self, start: Value, n: int, sums: Sequence[Node], full: Sequence[Target],
        keep: Sequence[tuple[tuple[int, Form], Node, Index]] = (),
    ) -> list[Value]:  # fmt: skip
        """Compute ``n`` elements of a row from ``start`` on; returns the totals of ``sums`` in the dtype that adds."""
        f, lanes = self.f, self.lanes
        unroll = 4 if sums and n >= 16 * lanes else 1  # sums side by side: the order of adding depends on n alone
        turn = max(unroll, self.together)
        first = [self._start(r, lanes) for r in sums for _ in range(unroll)]
        self._hoist([*((n, at) for _, n, at in keep), *((t.node, t.at) for t in full)])
        self._hoist([(r.args[0], self.here) for r in sums])

        def element(i: int) -> Value:
            return index(i) if start.ref == "0" else f.add(start, index(i))

        def one(j: Value, mask: Value | None, accumulators: list[Value], memo: Memo) -> list[Value]:
            for key, node, at in keep:
                value = self._value(node, at, j, mask, memo)
                if key not in self.kept:
                    self.kept[key] = (f.alloca(node.spec.dtype, n), node.spec.dtype, self.stage)
                pointer, dtype, _ = self.kept[key]
                f.store(f.splat(value, lanes), f.address(pointer, j, dtype), mask)
            for t in full:
                self._store(t, self._value(t.node, t.at, j, mask, memo), j, mask)
            if full and self.stage and mask is None:
                self._ask_for_next_row(j)
            return [
                self._accumulate(r, acc, self._value(r.args[0], self.here, j, mask, memo), mask)
                for r, acc in zip(sums, accumulators, strict=True)
            ]

        def body(j: Value, *accumulators: Value) -> list[Value]:
            out = list(accumulators)
            for v, memo in enumerate(memos(turn)):
                at = j if v == 0 else f.add(j, index(v * lanes))
                u = v % unroll
                out[u::unroll] = one(at, None, out[u::unroll], memo)
            return out

        def more(j: Value, *accumulators: Value, mask: Value | None = None) -> list[Value]:
            out = list(accumulators)
            out[0::unroll] = one(j, mask, out[0::unroll], Memo())
            return out

        def masked(j: Value, *accumulators: Value) -> list[Value]:
            return more(j, *accumulators, mask=f.tail_mask(f.sub(element(n), j), lanes))

        main, vectors = n - n % (lanes * turn), n - n % lanes
        accumulators = first
        if main:
            accumulators = f.loop(element(0), element(main), lanes * turn, body, first, hint="j")
        if n > vectors > main and self.together > 1:  # one loop for both, as each would have a Threefry of its own
            accumulators = f.loop(element(main), element(n), lanes, masked, accumulators, hint="tail")
            main = vectors = n
        if vectors > main:
            accumulators = f.loop(element(main), element(vectors), lanes, more, accumulators, hint="j")
        if n > vectors:
            accumulators = more(element(vectors), *accumulators, mask=self._tail(n - vectors))
        return [self._total(r, list(accumulators[k * unroll : (k + 1) * unroll])) for k, r in enumerate(sums)]

    def _store_row(self, wanted: Callable[[int], bool]) -> None:
        """Store results of the row itself whose level is ``wanted``: the reductions that they need are there."""
        memo = Memo()
        for t in self.row_targets(wanted):
            self._store(t, self._value(t.node, t.at, index(0), None, memo), index(0), None)

    def _emit_parts(self) -> list[Kernel]:
        """Units reduce parts of rows; then one for each row adds them in order."""
        n, rows = self.space.length, self.space.rows
        parts = -(-n // PART)
        full = [t for t in self.targets if self._is_full(t)]
        values = [(r.args[0], self.here) for r in self.reductions] + [(t.node, t.at) for t in full]
        assert not any(self._level(*v) for v in values), "a row that is reduced in parts has one stage"
        starts, scratch = [], 0
        for node in self.reductions:
            starts.append(scratch)
            scratch += -(-rows * parts * accumulator_of(node.spec.dtype).itemsize // 64) * 64

        def partial(r: int, row: Value, part: Value) -> str:
            dtype = accumulator_of(self.reductions[r].spec.dtype)
            base = self.f.address("%scratch", index(starts[r]), dtypes.uint8)
            return self.f.address(base, self.f.add(self.f.mul(row, index(parts)), part), dtype)

        self.begin(chunked=True)
        f, unit = self.f, Value("%unit", I64)
        row, part = f.div(unit, index(parts)), f.rem(unit, index(parts))
        self._bases(self._decoded(row, self.space.outer))
        self.scalars, self.kept, self.stage = {}, {}, 0

        def reduce(length: int) -> None:
            self.steady = Memo()  # of the other branch
            totals = self._pass(f.mul(part, index(PART)), length, self.reductions, full)
            for r, total in enumerate(totals):
                f.store(total, partial(r, row, part))

        last = f.compare("eq", part, index(parts - 1))
        f.only_if(last, lambda: reduce(n - (parts - 1) * PART))
        f.only_if(f.invert(last), lambda: reduce(PART))
        reducing = self.end(rows * parts, scratch)

        self.begin(chunked=True)
        f, row = self.f, Value("%unit", I64)
        self._bases(self._decoded(row, self.space.outer))
        self.scalars, self.stage = {}, 1
        for r, node in enumerate(self.reductions):
            dtype = accumulator_of(node.spec.dtype)

            def add(part: Value, total: Value, r: int = r, node: Node = node, dtype: DType = dtype) -> list[Value]:
                return [self._combine(node, total, f.load(partial(r, row, part), dtype))]

            first = f.load(partial(r, row, index(0)), dtype)
            (total,) = f.loop(index(1), index(parts), 1, add, [first], hint="part")
            self.scalars[node] = f.cast(total, node.spec.dtype)
        self._store_row(lambda level: True)
        return [reducing, self.end(rows, scratch, work=0)]

    def _is_full(self, t: Target) -> bool:
        """Whether a target is computed for every element of the row, and not once for the row."""
        return self.space.inner_step(t.to) != 0 or (self.space.length == 1 and self._level(t.node, t.at) == 0)

    def _tail(self, count: int) -> Value:
        bits = ", ".join(f"i1 {'true' if i < count else 'false'}" for i in range(self.lanes))
        return Value(f"<{bits}>" if self.lanes > 1 else "true", dtypes.bool_, self.lanes)

    def _to_keep(self, stage: int) -> list[tuple[tuple[int, Form], Node, Index]]:
        """Values of this stage that a later one reads, and that are dear to compute twice."""
        wanted: dict[tuple[int, Form], tuple[Node, Index]] = {}
        seen: set[Any] = set()

        def visit(node: Node, at: Index) -> None:
            key = self._key(node, at)
            if key in seen or node in self.reduced or self._at_hand(node):
                return
            seen.add(key)
            if self.levels[key] <= stage and self.space.inner_step(key[1]):
                if self.levels[key] == stage and self._dear(node, at):
                    wanted[key] = (node, at)
                return
            for a, i in self._below(node, at):
                visit(a, i)

        roots = [(t.node, t.at) for t in self.targets] + [(r.args[0], self.here) for r in self.reductions]
        for node, at in roots:
            if self._level(node, at) > stage:
                visit(node, at)
        return [(key, node, at) for key, (node, at) in wanted.items()]

    def _at_hand(self, node: Node) -> bool:
        return node.primitive in (CONSTANT, IOTA) or self._is_read(node)

    def _dear(self, node: Node, at: Index) -> bool:
        """More than a few additions and multiplications away from memory."""
        count, stack = 0, [(node, at)]
        while stack and count <= 3:
            n, i = stack.pop()
            if self._at_hand(n) or n in self.reduced:
                continue
            if n.primitive is RANDOM_BITS:
                return True
            if n.primitive.kind == "map":
                if n.primitive not in CHEAP:
                    return True
                count += 1
            stack += self._below(n, i)
        return count > 3

    # -- values -------------------------------------------------------------------

    def _hoist(self, values: Sequence[tuple[Node, Index]]) -> None:
        """Compute now, once, what ``values`` need that is the same all along the row."""
        seen: set[tuple[int, Form]] = set()
        stack = list(values)
        while stack:
            node, at = stack.pop()
            key = self._key(node, at)
            if key in seen or node in self.reduced or key in self.kept or node.primitive is CONSTANT:
                continue
            seen.add(key)
            if self.space.inner_step(key[1]):
                if not self._at_hand(node):
                    stack += self._below(node, at)
            elif self.space.inner:
                self._value(node, at, index(0), None, self.steady)

    def _value(self, node: Node, at: Index, j: Value, mask: Value | None, memo: Memo) -> Value:
        key = self._key(node, at)
        if key in self.steady:
            return self.steady[key]
        if key not in memo:
            memo[key] = self._compute(node, at, j, mask, memo)
        return memo[key]

    def _compute(self, node: Node, at: Index, j: Value, mask: Value | None, memo: Memo) -> Value:
        f = self.f
        if node in self.reduced:
            return self.scalars[node]
        pointer, dtype, filled = self.kept.get(self._key(node, at), ("", node.dtype, self.stage))
        if filled < self.stage:
            return f.load(f.address(pointer, j, dtype), dtype, self.lanes, mask)
        if node.primitive is CONSTANT and node.spec.size == 1:
            return f.constant(dict(node.attrs)["value"].array.reshape(())[()], node.spec.dtype)
        read = self._read_of(node, at)
        if read is not None:
            return self._load(*read, j, mask)
        if node.primitive is IOTA:
            return self._count(at[dict(node.attrs)["axis"]], node.spec.dtype, j)
        args = [self._value(a, i, j, mask, memo) for a, i in self._below(node, at)]
        if node.primitive is RANDOM_BITS:
            return self._draw(node, at, (args[0], args[1]), j, memo)
        if node.primitive.kind != "map":
            return args[0]
        assert node.primitive.code is not None
        return node.primitive.code(self.h, *args, **dict(node.attrs))

    def _draw(self, node: Node, at: Index, key: drawing.Key, j: Value, memo: Memo) -> Value:
        """A vector of random bits. Where its blocks have their other words in another one, that is remembered too."""
        f, (this, form) = self.f, self._key(node, at)
        step, dtype = self.space.inner_step(form), drawing.number_dtype(node.spec.size)
        first = self.row_counters[form]
        if step:
            first = f.add(first, j if step == 1 else f.mul(j, index(step)))
        if memo.following is not None and self._in_pairs(form):
            word, memo.following[this, form] = drawing.side_by_side(f, key, first, dtype, self.lanes)
            return word
        elements = drawing.numbers(f, first, step, dtype, self.lanes if step else 1)
        if step % 2 or self._begins_oddly(form):
            return drawing.word(f, key, elements)
        pair = drawing.words(f, key, f.bits("lshr", elements, f.constant(1, dtype)))
        odd = form[-1] % 2
        memo[this, (*form[:-1], form[-1] ^ 1)] = pair[1 - odd]
        return pair[odd]

    def _in_pairs(self, form: Form) -> bool:
        """Whether random bits numbered by ``form`` can be made for two vectors at a time: the first begins a block."""
        return self.space.inner_step(form) == 1 and form[-1] % 2 == 0 and not self._begins_oddly(form)

    def _begins_oddly(self, form: Form) -> bool:
        """Whether the number where a row begins is now even, now odd."""
        return any(form[group[-1]] % 2 for group in self.space.outer)

    def _count(self, form: Form, dtype: DType, j: Value) -> Value:
        f, step = self.f, self.space.inner_step(form)
        start = self.row_counters[form]
        if step:
            along = f.add(f.splat(j, self.lanes), f.lanes(self.lanes))
            if step != 1:
                along = f.mul(along, f.constant(step, I64, self.lanes))
            start = f.add(along, f.splat(start, self.lanes))
        return f.cast(start, dtype)

    def _load(self, buffer: Node, form: Form, j: Value, mask: Value | None) -> Value:
        f, dtype = self.f, buffer.spec.dtype
        pointer = self.row_pointers[(buffer, form)]
        step = self.space.inner_step(form)
        if step == 0:
            return f.load(pointer, dtype)
        if step == 1:
            if mask is None and self.stage == 0 and self._follows(buffer):
                self._ask_for(pointer, j, AHEAD // dtype.itemsize, dtype)
            return f.load(f.address(pointer, j, dtype), dtype, self.lanes, mask)
        along = f.add(f.splat(j, self.lanes), f.lanes(self.lanes))
        return f.gather(pointer, f.mul(along, f.constant(step, I64, self.lanes)), dtype, mask)

    def _store(self, t: Target, value: Value, j: Value, mask: Value | None) -> None:
        f, dtype = self.f, t.buffer.spec.dtype
        pointer, step = self.row_pointers[(t.buffer, t.to)], self.space.inner_step(t.to)
        if step == 0:
            f.store(f.extract(value, 0), pointer)
        elif step == 1:
            if mask is None and is_far(t.buffer):
                self._ask_for(pointer, j, AHEAD // dtype.itemsize, dtype, write=True)
            f.store(f.splat(value, self.lanes), f.address(pointer, j, dtype), mask)
        else:
            along = f.add(f.splat(j, self.lanes), f.lanes(self.lanes))
            f.scatter(f.splat(value, self.lanes), pointer, f.mul(along, f.constant(step, I64, self.lanes)), mask)

    def _follows(self, buffer: Node) -> bool:
        """Whether what is read next of ``buffer`` lies behind what is read now, and far enough from the core."""
        return is_far(buffer)

    def _ask_for(self, pointer: str, j: Value, ahead: int, dtype: DType, write: bool = False) -> None:
        """Prefetch what lies ``ahead`` elements after element ``j``. Processors do so by themselves within a page, but
        not across pages and not for writing: a loop over large arrays takes a quarter less time."""
        self.f.prefetch(self.f.address(pointer, self.f.add(j, index(ahead)), dtype), write)

    def _ask_for_next_row(self, j: Value) -> None:
        """The later passes find their row in cache: time to bring what the first pass over the next row reads."""
        stored = {t.buffer for t in self.targets}
        for (buffer, form), pointer in self.row_pointers.items():
            if buffer not in stored and self.space.inner_step(form) == 1 and is_far(buffer):
                self._ask_for(pointer, j, self.space.length, buffer.spec.dtype)

    # -- reductions -------------------------------------------------------------------

    def _start(self, r: Node, lanes: int) -> Value:
        dtype = accumulator_of(r.spec.dtype)
        return self.f.constant(identity_element(r.primitive.name, dtype), dtype, lanes)

    def _accumulate(self, r: Node, acc: Value, x: Value, mask: Value | None) -> Value:
        f = self.f
        x = f.splat(f.cast(x, acc.dtype), self.lanes)
        if mask is not None:
            x = f.select(mask, x, self._start(r, self.lanes))
        return self._combine(r, acc, x)

    def _combine(self, r: Node, a: Value, b: Value) -> Value:
        assert r.primitive.code is not None
        return r.primitive.code(self.h, a, b)

    def _total(self, r: Node, accumulators: list[Value]) -> Value:
        while len(accumulators) > 1:
            accumulators = [
                self._combine(r, a, b) for a, b in zip(accumulators[0::2], accumulators[1::2], strict=True)
            ]
        total = accumulators[0]
        while total.width > 1:
            total = self._combine(r, *self.f.halves(total))
        return total


def is_far(buffer: Node) -> bool:
    return buffer.spec.nbytes >= FAR and buffer.spec.dtype.itemsize >= 4


def accumulator_of(dtype: DType) -> DType:
    return dtypes.float32 if dtype in HALF else dtype


def targets_of(fusion: Fusion, nodes: Sequence[Node], outer: Shape, inner: Shape) -> list[Target]:
    """Every node at its own place in a loop over (outer, inner)."""
    rank = len(outer) + len(inner)
    out = []
    for node in nodes:
        at = root_index(node.shape, outer, inner)
        assert at is not None
        out.append(Target(node, at, node, offset(at, node.shape, rank)))
    return out
