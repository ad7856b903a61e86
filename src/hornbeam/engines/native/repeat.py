"""Many runs of one Executable in one native call: rows are gathered, state changes places, outputs are laid in rows.

The compiled Program stays what it is, a function of a table of addresses. Between two runs only addresses change:

- a *feed* is a parameter whose batch are rows of an array: copied together in a buffer if they are listed, or where
  they lie if they follow each other;
- a *move* puts a result in the place of the parameter that it is in the next run. So state is never copied, and what a
  run was given is never written to;
- a *turn* gives such a result a second buffer, so that one run does not write what it reads. Where a kernel may write
  over what it reads (``Layout.in_place``) there is none: from the second run on, the state is updated where it lies;
- a *stack* is a result that is kept of every run, one after the other.

The job is an array of 64-bit words: a header (the numbers below), then the tables that it points to.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hornbeam.engines.native import cache, jit
from hornbeam.engines.native.buffers import address
from hornbeam.engines.native.target import host
from hornbeam.engines.native.threads import PARALLEL_FOR, parallel_for

REPEAT = "hb_repeat"
WORTH_SHARING = 1 << 16  # bytes of a batch; below, one thread copies it while another would wake
PARTS = 8  # of the rows of a batch that is gathered by several threads


class Feed(NamedTuple):
    """A parameter that is fed with rows: its place, the array, and where rows that are listed are put together."""

    place: int
    data: int
    row: int  # bytes
    buffer: int


class Job(NamedTuple):
    """What ``repeat`` is told. Addresses must stay good until it returns."""

    function: int  # of the table
    table: int
    steps: int
    batch: int  # rows of a step
    rows: int  # address of int64[steps, batch], or 0: they follow each other
    feeds: Sequence[Feed]
    moves: Sequence[tuple[int, int]]  # place of a parameter, of the result that it is in the next run
    turns: Sequence[tuple[int, int]]  # place of a result, its second buffer
    stacks: Sequence[tuple[int, int, int]]  # place of a result, where that of the first run goes, bytes of one
    pool: int
    threads: int

    def words(self) -> np.ndarray:
        tables: list[Sequence[tuple[int, ...]]] = [self.feeds, self.moves, self.turns, self.stacks]
        flat = [np.array(t, np.int64).reshape(-1) for t in tables]
        job = np.empty(_HEADER + sum(t.size for t in flat), np.int64)
        share = sum(f.row for f in self.feeds) * self.batch >= WORTH_SHARING
        head = [self.function, self.table, self.steps, self.batch, self.rows, self.pool, self.threads if share else 1]
        at = _HEADER
        for table, rows in zip(flat, tables, strict=True):
            job[at : at + table.size] = table
            head += [len(rows), address(job) + 8 * at]
            at += table.size
        job[: len(head)] = head
        return job


_HEADER = 16  # function, table, steps, batch, rows, pool, threads, then count and address of four tables; the step


def repeat(job: Job) -> None:
    """Run ``job.function`` on the table ``job.steps`` times. The table ends as the last run left it."""
    words = job.words()
    _entry()(address(words))


_loaded: list[tuple[jit.Code, Callable[[int], None]]] = []


def _entry() -> Callable[[int], None]:
    if not _loaded:
        text = _SOURCE.replace("$parts", str(PARTS)).replace("$parallel_for", PARALLEL_FOR)
        code = jit.load(cache.object_code(text, host()).code, [REPEAT], {PARALLEL_FOR: parallel_for()})
        _loaded.append((code, ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code[REPEAT])))
    return _loaded[0][1]


_SOURCE = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.smin.i64(i64, i64)
declare void @$parallel_for(ptr, ptr, ptr, i64, i64)

define internal i64 @word(ptr %p, i64 %i) alwaysinline {
  %at = getelementptr i64, ptr %p, i64 %i
  %v = load i64, ptr %at
  ret i64 %v
}

define internal ptr @pointer(ptr %p, i64 %i) alwaysinline {
  %at = getelementptr ptr, ptr %p, i64 %i
  %v = load ptr, ptr %at
  ret ptr %v
}

define internal void @put(ptr %p, i64 %i, ptr %v) alwaysinline {
  %at = getelementptr ptr, ptr %p, i64 %i
  store ptr %v, ptr %at
  ret void
}

; One part of the listed rows of this step, of every feed.
define internal void @gather(ptr %job, i64 %part) {
start:
  %batch = call i64 @word(ptr %job, i64 3)
  %all.rows = call ptr @pointer(ptr %job, i64 4)
  %feeds = call i64 @word(ptr %job, i64 7)
  %feed.table = call ptr @pointer(ptr %job, i64 8)
  %step = call i64 @word(ptr %job, i64 15)
  %before = mul i64 %step, %batch
  %rows = getelementptr i64, ptr %all.rows, i64 %before
  %up = add i64 %batch, $parts
  %upper = sub i64 %up, 1
  %per = sdiv i64 %upper, $parts
  %first = mul i64 %part, %per
  %end = add i64 %first, %per
  %last = call i64 @llvm.smin.i64(i64 %end, i64 %batch)
  br label %each
each:
  %k = phi i64 [ 0, %start ], [ %k.next, %rows.done ]
  %some = icmp slt i64 %k, %feeds
  br i1 %some, label %feed, label %done
feed:
  %at = mul i64 %k, 4
  %entry = getelementptr i64, ptr %feed.table, i64 %at
  %data = call ptr @pointer(ptr %entry, i64 1)
  %bytes = call i64 @word(ptr %entry, i64 2)
  %buffer = call ptr @pointer(ptr %entry, i64 3)
  br label %row
row:
  %r = phi i64 [ %first, %feed ], [ %r.next, %copy ]
  %more = icmp slt i64 %r, %last
  br i1 %more, label %copy, label %rows.done
copy:
  %which = call i64 @word(ptr %rows, i64 %r)
  %from = mul i64 %which, %bytes
  %to = mul i64 %r, %bytes
  %source = getelementptr i8, ptr %data, i64 %from
  %target = getelementptr i8, ptr %buffer, i64 %to
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %bytes, i1 false)
  %r.next = add i64 %r, 1
  br label %row
rows.done:
  %k.next = add i64 %k, 1
  br label %each
done:
  ret void
}

define void @hb_repeat(ptr %job) {
start:
  %function = call ptr @pointer(ptr %job, i64 0)
  %table = call ptr @pointer(ptr %job, i64 1)
  %steps = call i64 @word(ptr %job, i64 2)
  %batch = call i64 @word(ptr %job, i64 3)
  %rows = call ptr @pointer(ptr %job, i64 4)
  %pool = call ptr @pointer(ptr %job, i64 5)
  %threads = call i64 @word(ptr %job, i64 6)
  %feeds = call i64 @word(ptr %job, i64 7)
  %feed.table = call ptr @pointer(ptr %job, i64 8)
  %moves = call i64 @word(ptr %job, i64 9)
  %move.table = call ptr @pointer(ptr %job, i64 10)
  %turns = call i64 @word(ptr %job, i64 11)
  %turn.table = call ptr @pointer(ptr %job, i64 12)
  %stacks = call i64 @word(ptr %job, i64 13)
  %stack.table = call ptr @pointer(ptr %job, i64 14)
  %step.at = getelementptr i64, ptr %job, i64 15
  %listed = icmp ne ptr %rows, null
  br label %step
step:
  %i = phi i64 [ 0, %start ], [ %i.next, %next ]
  store i64 %i, ptr %step.at
  br i1 %listed, label %gathered, label %place
gathered:
  call void @$parallel_for(ptr %pool, ptr @gather, ptr %job, i64 $parts, i64 %threads)
  br label %place
place:
  %start.row = mul i64 %i, %batch
  br label %feed
feed:
  %k = phi i64 [ 0, %place ], [ %k.next, %fed ]
  %some.feed = icmp slt i64 %k, %feeds
  br i1 %some.feed, label %fed, label %stack
fed:
  %k4 = mul i64 %k, 4
  %entry = getelementptr i64, ptr %feed.table, i64 %k4
  %feed.place = call i64 @word(ptr %entry, i64 0)
  %data = call ptr @pointer(ptr %entry, i64 1)
  %bytes = call i64 @word(ptr %entry, i64 2)
  %buffer = call ptr @pointer(ptr %entry, i64 3)
  %offset = mul i64 %start.row, %bytes
  %there = getelementptr i8, ptr %data, i64 %offset
  %given = select i1 %listed, ptr %buffer, ptr %there
  call void @put(ptr %table, i64 %feed.place, ptr %given)
  %k.next = add i64 %k, 1
  br label %feed
stack:
  %s = phi i64 [ 0, %feed ], [ %s.next, %stacked ]
  %some.stack = icmp slt i64 %s, %stacks
  br i1 %some.stack, label %stacked, label %run
stacked:
  %s3 = mul i64 %s, 3
  %stack.entry = getelementptr i64, ptr %stack.table, i64 %s3
  %stack.place = call i64 @word(ptr %stack.entry, i64 0)
  %base = call ptr @pointer(ptr %stack.entry, i64 1)
  %stride = call i64 @word(ptr %stack.entry, i64 2)
  %above = mul i64 %i, %stride
  %slot = getelementptr i8, ptr %base, i64 %above
  call void @put(ptr %table, i64 %stack.place, ptr %slot)
  %s.next = add i64 %s, 1
  br label %stack
run:
  call void %function(ptr %table)
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %steps
  br i1 %more, label %move, label %end
move:
  %m = phi i64 [ 0, %run ], [ %m.next, %moved ]
  %some.move = icmp slt i64 %m, %moves
  br i1 %some.move, label %moved, label %turn
moved:
  %m2 = mul i64 %m, 2
  %move.entry = getelementptr i64, ptr %move.table, i64 %m2
  %parameter = call i64 @word(ptr %move.entry, i64 0)
  %result = call i64 @word(ptr %move.entry, i64 1)
  %new = call ptr @pointer(ptr %table, i64 %result)
  call void @put(ptr %table, i64 %parameter, ptr %new)
  %m.next = add i64 %m, 1
  br label %move
turn:
  %t = phi i64 [ 0, %move ], [ %t.next, %turned ]
  %some.turn = icmp slt i64 %t, %turns
  br i1 %some.turn, label %turned, label %next
turned:
  %t2 = mul i64 %t, 2
  %turn.entry = getelementptr i64, ptr %turn.table, i64 %t2
  %turn.place = call i64 @word(ptr %turn.entry, i64 0)
  %other = call ptr @pointer(ptr %turn.entry, i64 1)
  %written = call ptr @pointer(ptr %table, i64 %turn.place)
  call void @put(ptr %table, i64 %turn.place, ptr %other)
  call void @put(ptr %turn.entry, i64 1, ptr %written)
  %t.next = add i64 %t, 1
  br label %turn
next:
  br label %step
end:
  ret void
}
"""
