"""The driver: kernels in their order as a table of constants, and a short loop that walks it.

Calls spelled out, and a function for what each thread does of a kernel, were half of the code of a deep network, and
LLVM takes as long over calls as over arithmetic. A table takes no time, and a run but some nanoseconds more a kernel.

    @places = [0, 2, 7, …]                        of the kernels' buffers in the table of addresses, one after the other
    @steps  = [{ @caller, @kernel, its places, units, per, tasks }, …]
    run0(table)          for each step: its tasks, shared by the pool:  @caller({ table, step }, task)
    caller(job, task)    the kernel, called with the addresses at its places, for the units of this task

Everything in these tables is a word of 64 bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from hornbeam.engines.native.llvm import I64, Function, Module, Value, index
from hornbeam.engines.native.threads import PARALLEL_FOR

_STEP = "{ ptr, ptr, ptr, i64, i64, i64 }"
_CALLER, _KERNEL, _PLACES, _UNITS, _PER, _TASKS = range(6)


class Step(NamedTuple):
    """A kernel, to be called as ``(buffers…, first unit, last)``, or for each unit if it is ``chunked``."""

    kernel: str
    places: tuple[int, ...]  # of its buffers
    chunked: bool
    units: int
    tasks: int  # how many parts of about as many units may run at once


def emit_driver(module: Module, name: str, steps: Sequence[Step], pool: int) -> str:
    """A function of the table of addresses that runs ``steps``; returns its name, that of an equal one if there is one.

    Where there are parts to share, the table has a pool of threads at the place ``pool``, then how many may work.
    """
    f = Function(module, name, [("ptr", "table")], aliased=True)
    places = module.constant("i64", [str(place) for step in steps for place in step.places])
    starts = itertools.accumulate((len(step.places) for step in steps), initial=0)
    rows = [
        _row(module, step, f"getelementptr (i64, ptr @{places}, i64 {at})")
        for step, at in zip(steps, starts, strict=False)
    ]
    table = module.constant(_STEP, rows)
    f.entry += ["  %job = alloca [2 x ptr]", "  store ptr %table, ptr %job"]
    current = f.fresh("p")
    f.emit(f"{current} = getelementptr ptr, ptr %job, i64 1")
    shared = any(step.tasks > 1 for step in steps)
    if shared:
        module.declare(PARALLEL_FOR, "void", "ptr", "ptr", "ptr", "i64", "i64")
        workers, threads = _word(f, "ptr", "%table", pool), _word(f, "i64", "%table", pool + 1)

    def run(i: Value) -> None:
        step = f.fresh("step")
        f.emit(f"{step} = getelementptr {_STEP}, ptr @{table}, i64 {i.ref}")
        f.emit(f"store ptr {step}, ptr {current}")
        caller = _word(f, "ptr", step, _CALLER)
        if shared:
            tasks = _word(f, "i64", step, _TASKS)
            f.emit(f"call void @{PARALLEL_FOR}(ptr {workers}, ptr {caller}, ptr %job, i64 {tasks}, i64 {threads})")
        else:
            f.emit(f"call void {caller}(ptr %job, i64 0)")

    f.loop(index(0), index(len(steps)), 1, run, hint="step")
    return f.finish(share=True)


def _row(module: Module, step: Step, places: str) -> str:
    caller = module.shared(("caller", len(step.places), step.chunked), lambda: _caller(module, step))
    per = -(-step.units // step.tasks)
    pointers, counts = (f"@{caller}", f"@{step.kernel}", places), (step.units, per, step.tasks)
    return f"{{ {', '.join([*(f'ptr {p}' for p in pointers), *(f'i64 {n}' for n in counts)])} }}"


def _caller(module: Module, step: Step) -> str:
    """The function that calls every kernel with as many buffers."""
    f = Function(module, module.name(), [("ptr", "job"), ("i64", "task")], aliased=True)
    table, row = _word(f, "ptr", "%job", 0), _word(f, "ptr", "%job", 1)
    kernel, places = _word(f, "ptr", row, _KERNEL), _word(f, "ptr", row, _PLACES)
    units, per = (Value(_word(f, "i64", row, i), I64) for i in (_UNITS, _PER))
    first = f.mul(Value("%task", I64), per)
    last = f.intrinsic("smin", f.add(first, per), units)
    buffers = [_word(f, "ptr", table, _word(f, "i64", places, i)) for i in range(len(step.places))]
    call = f"call void {kernel}({', '.join(f'ptr {b}' for b in buffers)}, i64 "
    if step.chunked:
        f.loop(first, last, 1, lambda i: f.emit(f"{call}{i.ref})"), hint="unit")
    else:
        f.emit(f"{call}{first.ref}, i64 {last.ref})")
    return f.finish(share=True)


def _word(f: Function, kind: str, base: str, i: int | str) -> str:
    """Word ``i`` of those at ``base``."""
    at, word = f.fresh("p"), f.fresh("w")
    f.emit(f"{at} = getelementptr i64, ptr {base}, i64 {i}")
    f.emit(f"{word} = load {kind}, ptr {at}")
    return word
