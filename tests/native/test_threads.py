"""The pool: every chunk once, at most as many threads as asked, fork-safe, idle when idle."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from hornbeam.engines.native import jit, threads
from hornbeam.engines.native.target import host

pytestmark = pytest.mark.skipif(not threads.supported(), reason="no POSIX threads")

CODE = f"""
{threads.DECLARATION}
declare ptr @pthread_self()

; chunk i: count[2 i] += 1, count[2 i + 1] = the thread; some work, so that others come in
define void @body(ptr %c, i64 %i) {{
start:
  %k = mul i64 %i, 2
  %p = getelementptr i64, ptr %c, i64 %k
  %v = load i64, ptr %p
  %w = add i64 %v, 1
  store i64 %w, ptr %p
  %q = getelementptr i64, ptr %p, i64 1
  %self = call ptr @pthread_self()
  store ptr %self, ptr %q
  br label %spin
spin:
  %n = phi i64 [ 0, %start ], [ %m, %spin ]
  %m = add i64 %n, 1
  store volatile i64 %w, ptr %p
  %more = icmp slt i64 %m, 3000
  br i1 %more, label %spin, label %end
end:
  ret void
}}

define void @go(ptr %pool, ptr %c, i64 %n, i64 %t, i64 %repeat) {{
start:
  br label %each
each:
  %r = phi i64 [ 0, %start ], [ %s, %each ]
  call void @hb_parallel_for(ptr %pool, ptr @body, ptr %c, i64 %n, i64 %t)
  %s = add i64 %r, 1
  %more = icmp slt i64 %s, %repeat
  br i1 %more, label %each, label %end
end:
  ret void
}}

; a region in every chunk of a region: 4 x 4 chunks
define void @outer(ptr %c, i64 %i) {{
  %pool = load ptr, ptr %c
  %k = mul i64 %i, 8
  %first = add i64 %k, 1
  %p = getelementptr i64, ptr %c, i64 %first
  call void @hb_parallel_for(ptr %pool, ptr @body, ptr %p, i64 4, i64 4)
  ret void
}}
define void @nested(ptr %pool, ptr %c) {{
  store ptr %pool, ptr %c
  call void @hb_parallel_for(ptr %pool, ptr @outer, ptr %c, i64 4, i64 4)
  ret void
}}
"""


@pytest.fixture(scope="module")
def code() -> jit.Code:
    return jit.load(jit.compile(CODE), ["go", "nested"], {threads.PARALLEL_FOR: threads.parallel_for()})


@pytest.fixture(params=[True, False], ids=["futex", "pthread"])
def pool(request: Any) -> Any:
    if request.param and sys.platform != "linux":
        pytest.skip("futexes are of Linux")
    pool = threads.Pool(futex=request.param)
    yield pool
    pool.close()
    assert pool.workers == 0


def go(code: jit.Code, address: int, chunks: int, at_most: int, repeat: int) -> tuple[list[int], set[int]]:
    """(how often each chunk ran, the threads that ran the last)."""
    counts = (ctypes.c_int64 * (2 * max(chunks, 1)))()
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3)(code["go"])
    call(address, ctypes.addressof(counts), chunks, at_most, repeat)
    return list(counts[: 2 * chunks : 2]), set(counts[1 : 2 * chunks : 2])


@pytest.mark.parametrize("at_most", [1, 2, 3, 8])
@pytest.mark.parametrize("chunks", [0, 1, 2, 7, 100])
def test_every_chunk_once(code, at_most, chunks):
    counts, ran = go(code, threads.pool(at_most).address, chunks, at_most, 300)
    assert counts == [300] * chunks
    assert len(ran) <= at_most


def test_no_pool_is_serial(code):
    counts, ran = go(code, 0, 5, 8, 3)
    assert counts == [3] * 5 and len(ran) == 1


def test_workers_take_part_and_sleep_again(pool):
    own = jit.load(jit.compile(CODE), ["go"], {threads.PARALLEL_FOR: pool._code[threads.PARALLEL_FOR]})
    pool.ensure(3)
    assert pool.workers == 2
    most, deadline = 0, time.monotonic() + 30
    while most < 2 and time.monotonic() < deadline:  # a busy machine may not run them at once
        time.sleep(0.002)  # they sleep by now
        counts, ran = go(own, pool.address, 64, 3, 20)
        assert counts == [20] * 64
        most = max(most, len(ran))
    assert 2 <= most <= 3
    counts, ran = go(own, pool.address, 64, 2, 20)
    assert counts == [20] * 64 and len(ran) <= 2
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.02


def test_closed_and_used_again(pool):
    own = jit.load(jit.compile(CODE), ["go"], {threads.PARALLEL_FOR: pool._code[threads.PARALLEL_FOR]})
    for _ in range(5):
        pool.ensure(4)
        assert go(own, pool.address, 16, 4, 10)[0] == [10] * 16
        pool.close()
        assert go(own, pool.address, 16, 4, 10) == ([10] * 16, {threading.get_ident()})


def test_a_region_in_a_region(code):
    counts = (ctypes.c_int64 * 40)()
    address = threads.pool(4).address
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code["nested"])
    for _ in range(100):
        call(address, ctypes.addressof(counts))
    assert list(counts[1:33:2]) == [100] * 16


def test_many_callers_at_once(code):
    failures = []

    def caller() -> None:
        for _ in range(50):
            if go(code, threads.pool(4).address, 9, 4, 20)[0] != [20] * 9:
                failures.append(1)

    callers = [threading.Thread(target=caller) for _ in range(6)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    assert not failures


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that a process with threads forks is the point
def test_a_fork_has_a_pool_of_its_own(code):
    address = threads.pool(3).address
    assert go(code, address, 16, 3, 50)[0] == [50] * 16
    child = os.fork()
    if child == 0:
        serial = go(code, address, 16, 3, 50)  # no worker yet
        parallel = go(code, threads.pool(3).address, 16, 3, 50)
        right = serial[0] == parallel[0] == [50] * 16 and len(serial[1]) == 1 and threads.pool(3).workers == 2
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert go(code, address, 16, 3, 50)[0] == [50] * 16


def test_a_process_with_workers_ends():
    text = "from hornbeam.engines.native import threads; threads.pool(4); print('up')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", text], env=environment, timeout=60, capture_output=True)
    assert done.returncode == 0 and done.stdout == b"up\n" and not done.stderr


def test_both_ways_of_sleeping_compile_for_other_machines():
    from dataclasses import replace

    for futex in (True, False):
        for name in ("x86_64-unknown-linux-gnu", "arm64-apple-darwin", "riscv64-unknown-linux-gnu"):
            text = threads.source(replace(host(), triple=name), futex)
            assert "$" not in text


def test_pools_are_collected():
    gc.collect()
    before = threading.active_count()
    for _ in range(3):
        threads.Pool().ensure(2).close()
    assert threading.active_count() == before
