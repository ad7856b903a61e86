"""``NativeExecutable``: compiled code, the plan of its memory, and the steps that remain with Python."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base.spec import Spec
from hornbeam.engines.engine import Loop, one_by_one
from hornbeam.engines.native.buffers import address
from hornbeam.engines.native.jit import Code
from hornbeam.engines.native.plan import ALIGNMENT
from hornbeam.engines.native.repeat import Feed, Job, repeat
from hornbeam.engines.native.threads import available, pool
from hornbeam.ir.node import Node
from hornbeam.ir.program import apply

# Where reference counts are exact, an array that only we hold can be told.
COUNTS_REFERENCES = sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()


class HostStep(NamedTuple):
    """A row that runs by its reference: where its operands and results are in the table of buffers."""

    node: Node
    operands: tuple[tuple[int, tuple[int, ...]], ...]  # place and shape: a reshape has no buffer of its own
    results: tuple[int, ...]


class Layout(NamedTuple):
    """What each place in the table of buffers is."""

    specs: tuple[Spec, ...]
    params: int  # the first places are the arguments
    constants: tuple[tuple[int, np.ndarray], ...]
    results: tuple[int, ...]  # places of arrays that are made anew for every run
    arena: tuple[tuple[int, int], ...]  # place, offset
    nbytes: int
    in_place: tuple[tuple[int, int], ...] = ()  # places of a parameter and of a result that may be written over it


class NativeExecutable:
    """One table of addresses goes into compiled code; host steps see the same buffers as arrays."""

    def __init__(
        self,
        code: Code | None,
        segments: Sequence[str | HostStep],
        layout: Layout,
        roots: Sequence[int],
        threads: int | None,
        flops: int,
        bytes_moved: int,
    ) -> None:
        self._code = code  # keeps the addresses below alive
        self.layout, self.roots = layout, tuple(roots)
        self.threads = threads or available()
        self._given = (*range(layout.params), *layout.results)  # places of what is there for one run only
        held = {*self._given, *(i for i, _ in layout.constants)}
        self.peak_bytes = layout.nbytes + sum(layout.specs[i].nbytes for i in held)
        self.flops, self.bytes_moved = flops, bytes_moved
        entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self.steps: list[Callable[[int], None] | HostStep] = [
            entry(code[s]) if isinstance(s, str) and code is not None else s for s in segments  # type: ignore[misc]
        ]  # fmt: skip
        # The address of the code, if the whole run is one piece of it.
        self._entry = code[segments[0]] if code is not None and len(segments) == 1 else 0  # type: ignore[index]
        self.host_steps: list[Node] = [s.node for s in segments if isinstance(s, HostStep)]  # rows without native code
        self._frames: list[_Frame] = []

    def watched(self, steps: Sequence[Callable[[int], None]]) -> None:
        """Let ``steps`` run in the place of its own; each run is a call of Python from here on."""
        self.steps, self._entry = list(steps), 0

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        frame = self._begin(arguments)
        arrays = frame.arrays
        try:
            for step in self.steps:
                if isinstance(step, HostStep):
                    self._run_on_host(step, arrays)
                else:
                    step(frame.address)
            return [arrays[i] for i in self.roots]
        finally:
            self._end(frame)

    def repeat(self, arguments: Sequence[np.ndarray], loop: Loop) -> list[np.ndarray]:
        """In one native call, unless there are host steps or a result is no buffer of its own (but a parameter)."""
        layout, roots = self.layout, self.roots
        carried = [(parameter, roots[root]) for parameter, root in loop.carried]
        turning = dict.fromkeys(place for _, place in carried)
        stacked = dict.fromkeys(roots[: loop.stacked])
        made = set(layout.results)
        alone = (
            len(stacked) == loop.stacked and made >= stacked.keys() and not stacked.keys() & set(roots[loop.stacked :])
        )
        fed, steps = len(loop.sources), len(loop.rows)
        changing = {*range(fed), *(parameter for parameter, _ in loop.carried)}  # of the last run we know no array
        if not self._entry or not (made >= turning.keys() and alone) or changing & set(roots):
            return one_by_one(self, arguments, loop)
        frame = self._begin(arguments, fed)
        arrays, table = frame.arrays, frame.table
        try:
            # NOTE: held until the call returns: buffers for listed rows, and a second one for each result that turns.
            listed = None if isinstance(loop.rows, range) else np.ascontiguousarray(loop.rows, np.int64)
            feeds, buffers = [], []
            for i, source in enumerate(loop.sources):
                spec = layout.specs[i]
                row, at = spec.nbytes // max(spec.shape[0], 1), address(source)
                if listed is None:
                    feeds.append(Feed(i, at + loop.rows[0] * row, row, 0))
                else:
                    buffers.append(np.empty(spec.shape, spec.dtype))
                    feeds.append(Feed(i, at, row, address(buffers[-1])))
            # From the second step on the state is ours alone, and what may be written over is.
            over = {new for old, new in layout.in_place if carried.count((old, new)) == 1}
            others = {i: frame.result(i, layout.specs[i]) for i in turning if i not in over} if steps > 1 else {}
            stacks = {i: np.empty((steps, *layout.specs[i].shape), layout.specs[i].dtype) for i in stacked}
            repeat(
                Job(
                    function=self._entry,
                    table=frame.address,
                    steps=steps,
                    batch=layout.specs[0].shape[0] if fed else 0,
                    rows=0 if listed is None else address(listed),
                    feeds=feeds,
                    moves=carried,
                    turns=[(i, address(a)) for i, a in others.items()],
                    stacks=[(i, address(a), layout.specs[i].nbytes) for i, a in stacks.items()],
                    pool=table[-2] if self.threads > 1 else 0,
                    threads=self.threads,
                )
            )
            if steps % 2 == 0:
                for i, a in others.items():
                    arrays[i] = a
            for i, a in stacks.items():
                arrays[i] = a
            return [arrays[i] for i in roots]
        finally:
            self._end(frame)

    def _begin(self, arguments: Sequence[np.ndarray], first: int = 0) -> _Frame:
        """A frame with the addresses of ``arguments``, whose first is the parameter ``first``, and of the results."""
        try:
            frame = self._frames.pop()  # one step to other threads, as is ``append``
        except IndexError:
            frame = _Frame(self.layout)
        arrays, table, layout = frame.arrays, frame.table, self.layout
        for i, a in enumerate(arguments, first):
            if type(a) is not np.ndarray or not a.flags.c_contiguous:  # a NumPy scalar has no address to give
                a = np.ascontiguousarray(a).reshape(a.shape)
            arrays[i] = a
            table[i] = address(a)
        for i in layout.results:
            a = arrays[i] = frame.result(i, layout.specs[i])
            table[i] = address(a)
            del a
        if self.threads > 1:
            table[-2], table[-1] = pool(self.threads).address, self.threads
        return frame

    def _end(self, frame: _Frame) -> None:
        arrays = frame.arrays
        for i in self._given:
            arrays[i] = None
        self._frames.append(frame)

    def _run_on_host(self, step: HostStep, arrays: list[Any]) -> None:
        with np.errstate(all="ignore"):
            values = apply(step.node, [arrays[i].reshape(shape) for i, shape in step.operands])
        for i, value in zip(step.results, values if isinstance(values, tuple) else (values,), strict=True):
            if i >= 0:
                arrays[i].flags.writeable = True  # who held it before may have forbidden it
                arrays[i][...] = value


class _Frame:
    """The table, arena and result arrays of one run; kept for the next.

    The arrays in which updates leave a run are the variables' values until the run after the next. Then nobody has
    them any more, and they are written anew: fresh memory from the system costs more than most of the arithmetic.
    """

    def __init__(self, layout: Layout) -> None:
        self.table = (ctypes.c_uint64 * (len(layout.specs) + 2))()  # then a pool, and how many threads may work
        self.address = ctypes.addressof(self.table)
        self.arrays: list[Any] = [None] * len(layout.specs)
        self.rings: dict[int, list[np.ndarray]] = {i: [] for i in layout.results}
        memory = np.empty(layout.nbytes + ALIGNMENT, np.uint8)
        start = -address(memory) % ALIGNMENT
        for i, array in layout.constants:
            dense = self.arrays[i] = np.ascontiguousarray(array).reshape(array.shape)
            self.table[i] = address(dense)
        for i, at in layout.arena:
            spec = layout.specs[i]
            part = memory[start + at : start + at + spec.nbytes]
            self.arrays[i] = part.view(spec.dtype).reshape(spec.shape)
            self.table[i] = address(part if spec.nbytes else memory)

    def result(self, place: int, spec: Spec) -> np.ndarray:
        """An array for a result: one made for an earlier run that nobody holds any more, or a new one."""
        ring = self.rings[place]
        for a in ring:
            if COUNTS_REFERENCES and sys.getrefcount(a) == 3:  # the ring's, ``a`` and the argument
                return a
        a = np.empty(spec.shape, spec.dtype)
        if COUNTS_REFERENCES and len(ring) < 3:
            ring.append(a)
        return a
