"""A pool of threads parked in compiled code, so that a parallel region costs about a microsecond and no GIL.

    address = pool(4).address                                       # enough workers for four threads, kept
    code = jit.load(..., imports={PARALLEL_FOR: parallel_for()})    # for code that declares DECLARATION
    call void @hb_parallel_for(ptr %pool, ptr @fn, ptr %context, i64 chunks, i64 threads)

runs ``fn(context, chunk)`` for every chunk, on the calling thread and up to ``threads - 1`` workers, and returns when
all are done. Chunks are fixed by whoever calls; which thread takes which is not, so results must not depend on it. A
region inside a region, one that finds the pool at work for another thread, and a null pool all run on the caller.

How it works. One word holds (threads allowed, chunks left); taking a chunk is one compare-and-swap of that word, which
succeeds only while the region is open, and the region cannot close while a chunk is taken but not done. So the
description of the region (fn, context, chunks) may be read by whoever holds a chunk, and a worker that comes late finds
nothing left, whatever region is open by then. A worker without work spins briefly, then sleeps on a futex of its own
(a condition variable where there are none), so idle threads use no CPU, and a region wakes only as many as it needs.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import sys
import threading

from hornbeam.engines.native import cache, jit
from hornbeam.engines.native.target import NoTarget, Target, host

PARALLEL_FOR = "hb_parallel_for"
DECLARATION = f"declare void @{PARALLEL_FOR}(ptr, ptr, ptr, i64, i64)"
LIMIT = 64  # threads of one pool, the caller included
SPIN = 600  # looks at the word before a worker sleeps: some 20 to 50 microseconds
STACK = 16 << 20  # bytes of a worker's stack: templates keep blocks there

# The pool in memory: a cache line each for what different threads write.
_WORD, _DONE, _BUSY, _STOP, _SIZE, _FN = 0, 64, 128, 192, 200, 256  # then context and chunks
_SLOTS, _SLOT, _MUTEX, _CONDITION = 512, 256, 64, 128  # one slot a thread: asleep, and a mutex and condition for it
_BYTES = _SLOTS + LIMIT * _SLOT


def supported() -> bool:
    """Whether regions can be parallel here: threads of POSIX are needed."""
    return os.name == "posix"


def available() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class Pool:
    """Workers and the memory they share with callers. ``address`` is good for the life of the pool, also in a fork."""

    def __init__(self, futex: bool | None = None) -> None:
        self._memory = ctypes.create_string_buffer(_BYTES + 64)
        self.address = (ctypes.addressof(self._memory) + 63) & ~63
        self._code = runtime(futex)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        if supported():
            self._call("hb_pool_start")

    @property
    def workers(self) -> int:
        return len(self._threads)

    def ensure(self, threads: int) -> Pool:
        """At least ``threads - 1`` workers, or as many as there may be."""
        wanted = min(threads, LIMIT) - 1 if supported() else 0
        if len(self._threads) < wanted:
            with self._lock:
                self._start(wanted)
        return self

    def close(self) -> None:
        """Let the workers return. No region may be running."""
        with self._lock:
            if self._threads:
                self._call("hb_pool_stop")
                for thread in self._threads:
                    thread.join(5)
                self._threads.clear()
                self._call("hb_pool_start")

    def forget(self) -> None:
        """In the child of a fork, where only the calling thread is left: no workers, nothing open."""
        self._lock = threading.Lock()
        self._threads = []
        ctypes.memset(self.address, 0, _BYTES)
        if supported():
            self._call("hb_pool_start")

    def _start(self, wanted: int) -> None:
        work = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self._code["hb_worker"])
        before = threading.stack_size(STACK)
        try:
            while len(self._threads) < wanted:
                index = len(self._threads) + 1
                # The last argument only keeps memory and code alive as long as the thread is in them.
                thread = threading.Thread(
                    target=lambda call, *arguments: call(*arguments[:2]),
                    args=(work, self.address, index, (self._memory, self._code)),
                    name=f"hornbeam-{index}",
                    daemon=True,
                )
                thread.start()
                self._threads.append(thread)
        finally:
            threading.stack_size(before)
            ctypes.c_int64.from_address(self.address + _SIZE).value = len(self._threads)

    def _call(self, name: str) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._code[name])(self.address)


_pool: Pool | None = None
_runtime: dict[bool, jit.Code] = {}
_guard = threading.Lock()


def pool(threads: int) -> Pool:
    """The pool of this process, with at least ``threads - 1`` workers. Ask again for every run: a fork has none."""
    global _pool
    if _pool is None:
        with _guard:
            _pool = _pool or Pool()
    return _pool.ensure(threads)


def parallel_for() -> int:
    """The address of ``hb_parallel_for``."""
    return runtime()[PARALLEL_FOR]


def probe() -> None:
    """Raises NoTarget where code cannot be made, or not be loaded into this process."""
    try:
        runtime()
    except (RuntimeError, OSError) as error:
        raise NoTarget(f"LLVM cannot make code for this machine ({platform.machine()}): {error}") from error


def runtime(futex: bool | None = None) -> jit.Code:
    """The code of this file, compiled once for the life of the process."""
    futex = sys.platform == "linux" if futex is None else futex
    if futex not in _runtime:
        symbols = [PARALLEL_FOR, "hb_worker", "hb_pool_start", "hb_pool_stop"]
        _runtime[futex] = jit.load(cache.object_code(source(host(), futex), host()).code, symbols)
    return _runtime[futex]


@atexit.register
def _close() -> None:
    if _pool is not None:
        _pool.close()


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()
    if _pool is not None:
        _pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# -- the code --------------------------------------------------------------------------------------

_FUTEX_CALLS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "powerpc64le": 221, "s390x": 238}
_PAUSES = {
    "x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
    "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
    "arm64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"),
}


def source(target: Target, futex: bool = True) -> str:
    """The LLVM IR of the pool: with futexes, or with mutexes and condition variables."""
    declare_pause, pause = _PAUSES.get(target.architecture, ("", ""))
    if not supported():
        sleeping = _NO_SLEEP
    elif futex and target.architecture in _FUTEX_CALLS:
        sleeping = _YIELD + _FUTEX.replace("$futex", str(_FUTEX_CALLS[target.architecture]))
    else:
        sleeping = _YIELD + _PTHREAD
    text = "\n".join([declare_pause, _COMMON, sleeping])
    for name, value in {
        "$pause": pause, "$spin": SPIN, "$word": _WORD, "$done": _DONE, "$busy": _BUSY, "$stop": _STOP, "$size": _SIZE,
        "$fn": _FN, "$context": _FN + 8, "$chunks": _FN + 16, "$slots": _SLOTS, "$slot": _SLOT, "$mutex": _MUTEX,
        "$condition": _CONDITION, "$limit": LIMIT, "$left": (1 << 48) - 1,
    }.items():  # fmt: skip
        text = text.replace(f"{name} ", f"{value} ").replace(f"{name}\n", f"{value}\n").replace(f"{name},", f"{value},")
    return text


_COMMON = """
define internal ptr @slot(ptr %pool, i64 %thread) alwaysinline {
  %a = mul i64 %thread, $slot
  %b = add i64 %a, $slots
  %p = getelementptr i8, ptr %pool, i64 %b
  ret ptr %p
}

; Whether the thread could take a chunk now, or should return.
define internal i1 @awaited(ptr %pool, i64 %thread) alwaysinline {
  %word.p = getelementptr i8, ptr %pool, i64 $word
  %word = load atomic i64, ptr %word.p seq_cst, align 8
  %left = and i64 %word, $left
  %some = icmp ne i64 %left, 0
  %allowed = lshr i64 %word, 48
  %ours = icmp ult i64 %thread, %allowed
  %work = and i1 %some, %ours
  %stop.p = getelementptr i8, ptr %pool, i64 $stop
  %stop = load atomic i64, ptr %stop.p seq_cst, align 8
  %stopped = icmp ne i64 %stop, 0
  %any = or i1 %work, %stopped
  ret i1 %any
}

; Run chunks until none is left.
define internal void @drain(ptr %pool, i64 %thread) {
start:
  %word.p = getelementptr i8, ptr %pool, i64 $word
  %done.p = getelementptr i8, ptr %pool, i64 $done
  %fn.p = getelementptr i8, ptr %pool, i64 $fn
  %context.p = getelementptr i8, ptr %pool, i64 $context
  %chunks.p = getelementptr i8, ptr %pool, i64 $chunks
  br label %look
look:
  %word = load atomic i64, ptr %word.p seq_cst, align 8
  %left = and i64 %word, $left
  %some = icmp ne i64 %left, 0
  %allowed = lshr i64 %word, 48
  %ours = icmp ult i64 %thread, %allowed
  %work = and i1 %some, %ours
  br i1 %work, label %take, label %end
take:
  %less = sub i64 %word, 1
  %swap = cmpxchg ptr %word.p, i64 %word, i64 %less seq_cst seq_cst
  %taken = extractvalue { i64, i1 } %swap, 1
  br i1 %taken, label %run, label %look
run:
  %fn = load ptr, ptr %fn.p
  %context = load ptr, ptr %context.p
  %chunks = load i64, ptr %chunks.p
  %chunk = sub i64 %chunks, %left
  call void %fn(ptr %context, i64 %chunk)
  %ignored = atomicrmw add ptr %done.p, i64 1 seq_cst
  br label %look
end:
  ret void
}

define void @hb_worker(ptr %pool, i64 %thread) {
start:
  %stop.p = getelementptr i8, ptr %pool, i64 $stop
  br label %again
again:
  %stop = load atomic i64, ptr %stop.p seq_cst, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %end, label %spin
spin:
  %turn = phi i64 [ 0, %again ], [ %next, %idle ]
  %called = call i1 @awaited(ptr %pool, i64 %thread)
  br i1 %called, label %work, label %idle
idle:
  $pause
  %next = add i64 %turn, 1
  %more = icmp ult i64 %next, $spin
  br i1 %more, label %spin, label %sleep
sleep:
  call void @rest(ptr %pool, i64 %thread)
  br label %again
work:
  call void @drain(ptr %pool, i64 %thread)
  br label %again
end:
  ret void
}

define void @hb_parallel_for(ptr %pool, ptr %fn, ptr %context, i64 %chunks, i64 %threads) {
start:
  %none = icmp eq ptr %pool, null
  br i1 %none, label %serial, label %count
count:
  %size.p = getelementptr i8, ptr %pool, i64 $size
  %workers = load atomic i64, ptr %size.p monotonic, align 8
  %most = add i64 %workers, 1
  %a = call i64 @llvm.smin.i64(i64 %threads, i64 %chunks)
  %use = call i64 @llvm.smin.i64(i64 %a, i64 %most)
  %several = icmp sgt i64 %use, 1
  br i1 %several, label %claim, label %serial
claim:
  %busy.p = getelementptr i8, ptr %pool, i64 $busy
  %swap = cmpxchg ptr %busy.p, i64 0, i64 1 seq_cst seq_cst
  %free = extractvalue { i64, i1 } %swap, 1
  br i1 %free, label %open, label %serial
open:
  %word.p = getelementptr i8, ptr %pool, i64 $word
  %done.p = getelementptr i8, ptr %pool, i64 $done
  %fn.p = getelementptr i8, ptr %pool, i64 $fn
  %context.p = getelementptr i8, ptr %pool, i64 $context
  %chunks.p = getelementptr i8, ptr %pool, i64 $chunks
  store ptr %fn, ptr %fn.p
  store ptr %context, ptr %context.p
  store i64 %chunks, ptr %chunks.p
  store atomic i64 0, ptr %done.p seq_cst, align 8
  %high = shl i64 %use, 48
  %word = or i64 %high, %chunks
  store atomic i64 %word, ptr %word.p seq_cst, align 8
  br label %wake
wake:
  %i = phi i64 [ 1, %open ], [ %j, %wake ]
  call void @rouse(ptr %pool, i64 %i)
  %j = add i64 %i, 1
  %others = icmp slt i64 %j, %use
  br i1 %others, label %wake, label %share
share:
  call void @drain(ptr %pool, i64 0)
  br label %wait
wait:
  %turn = phi i64 [ 0, %share ], [ %next, %pausing ], [ %next, %yielding ]
  %done = load atomic i64, ptr %done.p seq_cst, align 8
  %all = icmp eq i64 %done, %chunks
  %next = add i64 %turn, 1
  br i1 %all, label %close, label %pausing.or.yielding
pausing.or.yielding:
  %short = icmp ult i64 %turn, $spin
  br i1 %short, label %pausing, label %yielding
pausing:
  $pause
  br label %wait
yielding:
  call void @give_way()
  br label %wait
close:
  store atomic i64 0, ptr %busy.p seq_cst, align 8
  ret void
serial:
  %any = icmp sgt i64 %chunks, 0
  br i1 %any, label %each, label %end
each:
  %k = phi i64 [ 0, %serial ], [ %l, %each ]
  call void %fn(ptr %context, i64 %k)
  %l = add i64 %k, 1
  %rest = icmp slt i64 %l, %chunks
  br i1 %rest, label %each, label %end
end:
  ret void
}
declare i64 @llvm.smin.i64(i64, i64)

; fn(pool, slot) for every slot.
define internal void @each_slot(ptr %pool, ptr %fn) {
start:
  br label %each
each:
  %i = phi i64 [ 0, %start ], [ %j, %each ]
  call void %fn(ptr %pool, i64 %i)
  %j = add i64 %i, 1
  %more = icmp ult i64 %j, $limit
  br i1 %more, label %each, label %end
end:
  ret void
}

define void @hb_pool_start(ptr %pool) {
  %stop.p = getelementptr i8, ptr %pool, i64 $stop
  store atomic i64 0, ptr %stop.p seq_cst, align 8
  %size.p = getelementptr i8, ptr %pool, i64 $size
  store atomic i64 0, ptr %size.p seq_cst, align 8
  call void @each_slot(ptr %pool, ptr @prepare)
  ret void
}

define void @hb_pool_stop(ptr %pool) {
  %size.p = getelementptr i8, ptr %pool, i64 $size
  store atomic i64 0, ptr %size.p seq_cst, align 8
  %stop.p = getelementptr i8, ptr %pool, i64 $stop
  store atomic i64 1, ptr %stop.p seq_cst, align 8
  call void @each_slot(ptr %pool, ptr @rouse)
  ret void
}
"""

_YIELD = """
declare i32 @sched_yield()
define internal void @give_way() {
  %r = call i32 @sched_yield()
  ret void
}
"""

# Each way of sleeping defines: prepare a slot, rest until roused (or not at all, if already awaited), rouse.
_FUTEX = """
declare i64 @syscall(i64, ...)
define internal void @prepare(ptr %pool, i64 %thread) {
  ret void
}
define internal void @rest(ptr %pool, i64 %thread) noinline {
start:
  %asleep.p = call ptr @slot(ptr %pool, i64 %thread)
  %before = atomicrmw xchg ptr %asleep.p, i32 1 seq_cst
  %called = call i1 @awaited(ptr %pool, i64 %thread)
  br i1 %called, label %end, label %sleep
sleep:
  ; FUTEX_WAIT_PRIVATE: returns at once if asleep is no longer 1
  %r = call i64 (i64, ...) @syscall(i64 $futex, ptr %asleep.p, i32 128, i32 1, ptr null, ptr null, i32 0)
  %asleep = load atomic i32, ptr %asleep.p seq_cst, align 4
  %still = icmp eq i32 %asleep, 1
  br i1 %still, label %sleep, label %end
end:
  store atomic i32 0, ptr %asleep.p seq_cst, align 4
  ret void
}
define internal void @rouse(ptr %pool, i64 %thread) {
start:
  %asleep.p = call ptr @slot(ptr %pool, i64 %thread)
  %asleep = load atomic i32, ptr %asleep.p seq_cst, align 4
  %is = icmp eq i32 %asleep, 1
  br i1 %is, label %wake, label %end
wake:
  store atomic i32 0, ptr %asleep.p seq_cst, align 4
  %r = call i64 (i64, ...) @syscall(i64 $futex, ptr %asleep.p, i32 129, i32 1, ptr null, ptr null, i32 0)
  br label %end
end:
  ret void
}
"""

_PTHREAD = """
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_signal(ptr)
define internal void @prepare(ptr %pool, i64 %thread) {
  %slot = call ptr @slot(ptr %pool, i64 %thread)
  %mutex = getelementptr i8, ptr %slot, i64 $mutex
  %condition = getelementptr i8, ptr %slot, i64 $condition
  %a = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %b = call i32 @pthread_cond_init(ptr %condition, ptr null)
  ret void
}
define internal void @rest(ptr %pool, i64 %thread) noinline {
start:
  %slot = call ptr @slot(ptr %pool, i64 %thread)
  %mutex = getelementptr i8, ptr %slot, i64 $mutex
  %condition = getelementptr i8, ptr %slot, i64 $condition
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  %before = atomicrmw xchg ptr %slot, i32 1 seq_cst
  %called = call i1 @awaited(ptr %pool, i64 %thread)
  br i1 %called, label %end, label %sleep
sleep:
  %b = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  %asleep = load atomic i32, ptr %slot seq_cst, align 4
  %still = icmp eq i32 %asleep, 1
  br i1 %still, label %sleep, label %end
end:
  store atomic i32 0, ptr %slot seq_cst, align 4
  %c = call i32 @pthread_mutex_unlock(ptr %mutex)
  ret void
}
define internal void @rouse(ptr %pool, i64 %thread) {
start:
  %slot = call ptr @slot(ptr %pool, i64 %thread)
  %asleep = load atomic i32, ptr %slot seq_cst, align 4
  %is = icmp eq i32 %asleep, 1
  br i1 %is, label %wake, label %end
wake:
  %mutex = getelementptr i8, ptr %slot, i64 $mutex
  %condition = getelementptr i8, ptr %slot, i64 $condition
  %a = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i32 0, ptr %slot seq_cst, align 4
  %b = call i32 @pthread_cond_signal(ptr %condition)
  %c = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %end
end:
  ret void
}
"""

_NO_SLEEP = """
define internal void @give_way() {
  ret void
}
define internal void @prepare(ptr %pool, i64 %thread) {
  ret void
}
define internal void @rest(ptr %pool, i64 %thread) {
  ret void
}
define internal void @rouse(ptr %pool, i64 %thread) {
  ret void
}
"""
