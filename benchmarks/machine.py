"""The machine: what it is, and what it can do at most, measured by code of our own.

The FMA peak is a loop of independent fused multiply-adds in registers; the bandwidth is the triad ``a = b + s c`` of
arrays larger than the caches, counting the three arrays once. Both on one core and on all. Where there is no native
engine NumPy's matrix product and addition stand in, and the facts say so.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": cores(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def load() -> float | None:
    """Processes that were running or waiting during the last minute, on average."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def limits(tiny: bool = False) -> dict[str, Any]:
    """Operations and bytes per second, of one core and of all."""
    try:
        measure: Callable[[int, bool], tuple[float, float]] = _native
        measure(1, True)
        how = "native code"
    except ImportError:
        measure, how = _numpy, "NumPy"
    flops_one, bytes_one = measure(1, tiny)
    flops, nbytes = measure(cores(), tiny)
    return {
        "flops": flops, "flops_of_one_core": flops_one, "bytes": nbytes, "bytes_of_one_core": bytes_one, "how": how,
    }  # fmt: skip


# -- native code -----------------------------------------------------------------------------------------


def _native(threads: int, tiny: bool) -> tuple[float, float]:
    from hornbeam.base import dtypes
    from hornbeam.engines.native import jit
    from hornbeam.engines.native.llvm import I64, Function, Module, Value, index
    from hornbeam.engines.native.target import host

    target = host()
    module = Module()
    chains = 24 if target.registers >= 32 else 10

    peak = Function(module, "peak", [("i64", "n"), ("ptr", "out")])
    half = peak.constant(0.5, dtypes.float32, target.lanes)

    def multiply_add(_: Value, *sums: Value) -> list[Value]:
        if target.fma:
            return [peak.fma(x, half, half) for x in sums]
        return [peak.add(peak.mul(x, half), half) for x in sums]

    for x in peak.loop(index(0), Value("%n", I64), 1, multiply_add, [half] * chains):
        peak.store(x, "%out")
    peak.finish()

    triad = Function(module, "triad", [("i64", "n"), ("ptr", "a"), ("ptr", "b"), ("ptr", "c")])
    scale = triad.constant(3.0, dtypes.float32, target.lanes)

    def element(i: Value) -> None:
        b, c = (triad.load(triad.address(p, i, dtypes.float32), dtypes.float32, target.lanes) for p in ("%b", "%c"))
        triad.store(triad.add(b, triad.mul(scale, c)), triad.address("%a", i, dtypes.float32))

    triad.loop(index(0), Value("%n", I64), target.lanes, element)
    triad.finish()

    code = jit.load(jit.compile(str(module), target), ["peak", "triad"])
    spin = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(code["peak"])
    stream = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 3)(code["triad"])

    n = 10**4 if tiny else 10**7
    sinks = [np.zeros(target.lanes, np.float32) for _ in range(threads)]
    seconds = _best(threads, lambda i: spin(n, sinks[i].ctypes.data))
    flops = threads * n * chains * target.lanes * 2 / seconds

    part = _elements(target.l3, tiny) // threads // target.lanes * target.lanes
    arrays = [[np.ones(part, np.float32) for _ in range(3)] for _ in range(threads)]
    seconds = _best(threads, lambda i: stream(part, *(a.ctypes.data for a in arrays[i])))
    return flops, threads * 3 * 4 * part / seconds


def _elements(l3: int, tiny: bool) -> int:
    """Of each of the three arrays: together four times the last cache, within reason."""
    return 1 << 16 if tiny else min(max(4 * l3 // 12, 16 << 20), 96 << 20)


def _best(threads: int, work: Callable[[int], None], repeats: int = 7) -> float:
    """Seconds that ``threads`` threads need for ``work(i)``, begun together, at their fastest."""
    best = float("inf")
    for _ in range(repeats):
        spans: list[tuple[float, float]] = []
        start = threading.Barrier(threads)

        def one(i: int, start: threading.Barrier = start, spans: list[tuple[float, float]] = spans) -> None:
            start.wait()
            began = time.perf_counter()
            work(i)
            spans.append((began, time.perf_counter()))

        workers = [threading.Thread(target=one, args=(i,)) for i in range(threads)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        best = min(best, max(end for _, end in spans) - min(began for began, _ in spans))
    return best


# -- without it ------------------------------------------------------------------------------------------


def _numpy(threads: int, tiny: bool) -> tuple[float, float]:
    """NumPy's own threads do the product, whatever ``threads`` says; the sum runs on one."""
    n = 64 if tiny else 2048
    x, out = np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    a, b, c = (np.ones(_elements(8 << 20, tiny), np.float32) for _ in range(3))

    def product(_: int) -> None:
        np.matmul(x, x, out=out)

    def total(_: int) -> None:
        np.add(b, c, out=a)

    return 2 * n**3 / _best(1, product), 3 * a.nbytes / _best(1, total)


# -- what it is ------------------------------------------------------------------------------------------


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
