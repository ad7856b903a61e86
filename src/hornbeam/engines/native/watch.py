"""Looking at single kernels of a run: how long they take (``DEBUG=2``), whether they are right (``CHECK=2``), and
which of them makes a NaN (``NANS=1``).

A program built while one of these flags is set has its kernels apart, and what stands here between them. It computes
the same bits, more slowly. Everything is read through the table of addresses that compiled code gets.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam import config
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines import costs, stages
from hornbeam.engines.native.agreement import Agreement, Mismatch, mismatch
from hornbeam.engines.native.executable import HostStep, NativeExecutable
from hornbeam.engines.native.fuse import Cluster, Fusion
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.nonfinite import first_made
from hornbeam.ir.check import CheckError
from hornbeam.ir.node import Node, param, remake, results
from hornbeam.ir.primitives.movement import CONSTANT, PICK
from hornbeam.ir.program import Program, evaluate


def watch(executable: NativeExecutable, lowered: Lowered, source: str) -> None:
    """Look at every step of ``executable``, which was built with its steps apart. ``source``: whence its code came."""
    plain = zip(executable.steps, lowered.steps, lowered.nests, strict=True)
    watched: list[Any] = []
    for number, (_, group) in enumerate(itertools.groupby(plain, key=lambda p: id(p[2]))):
        calls, steps, nests = zip(*group, strict=True)
        watched.append(Watched(number, calls, steps, nests[0].cluster, lowered, source))
    executable.watched(watched)


class Buffer(NamedTuple):
    """A node's place in the table of addresses."""

    place: int
    spec: Spec

    def array(self, table: int) -> np.ndarray:
        """Its memory in a run, not copied."""
        if not self.spec.size:
            return np.empty(self.spec.shape, self.spec.dtype)
        address = ctypes.c_uint64.from_address(table + 8 * self.place).value
        memory = (ctypes.c_uint8 * self.spec.nbytes).from_address(address)
        return np.ctypeslib.as_array(memory).view(self.spec.dtype).reshape(self.spec.shape)


class Watched:
    """The steps of one cluster, looked at."""

    def __init__(
        self, number: int, calls: Sequence[Any], steps: Sequence[Kernel | Node], cluster: Cluster, lowered: Lowered,
        source: str,
    ) -> None:  # fmt: skip
        self.number, self.steps, self.cluster, self.source = number, steps, cluster, source
        self.on_host = any(isinstance(c, HostStep) for c in calls)
        self.program, inputs, outputs = rows_of(lowered.fusion, cluster)
        places, base = lowered.places, lowered.fusion.base
        self.inputs = [Buffer(places.get(base(n), -1), n.spec) for n in inputs]  # what is empty may have no place
        self.outputs = [Buffer(places[n], n.spec) for n in outputs]
        self.calls: list[Callable[[int], None]] = [self._host if isinstance(c, HostStep) else c for c in calls]
        self._agreement: Agreement | None = None

    def __call__(self, table: int) -> None:
        """Run the steps on the buffers of ``table``. Raises CheckError or NonFiniteError for what it finds."""
        expected = None
        if config.CHECK.value >= 2 and not self.on_host:
            self._agreement = self._agreement or Agreement(self.program)
            expected = self._agreement.expected(self._read(table))
        began = time.perf_counter()
        for call in self.calls:
            call(table)
        taken = time.perf_counter() - began
        if config.DEBUG.value >= 2:
            stages.say(2, self.timed(taken))
        results = [b.array(table) for b in self.outputs]
        if expected is not None:
            self._compare(results, expected)
        if config.NANS.value and any(dtypes.is_floating(r.dtype) and not np.isfinite(r).all() for r in results):
            first_made(self.program, self._read(table), self.named)

    def _read(self, table: int) -> list[np.ndarray]:
        return [b.array(table) for b in self.inputs]

    def _host(self, table: int) -> None:
        """Run the row by its reference."""
        values = evaluate(self.program, self._read(table))
        for buffer, value in zip(self.outputs, values, strict=True):
            buffer.array(table)[...] = value

    def _compare(self, got: Sequence[np.ndarray], expected: Sequence[Any]) -> None:
        for i, (array, values) in enumerate(zip(got, expected, strict=True)):
            found = mismatch(array, *values)
            if found is not None:
                raise CheckError(self._told(i, found))

    def _told(self, output: int, m: Mismatch) -> str:
        spec = self.outputs[output].spec
        return "\n".join(
            [
                f"{self.named}: result {output}, {spec}, is not what its rows mean.",
                f"  {m.wrong} of {spec.size} elements are wrong; the worst at {m.at}:"
                f" got {m.got!s}, the rows give {m.want!s} (rounding explains {m.allowed:.3g})",
                *(f"  row    {n!r}{f'   {n.line}' if n.line else ''}" for n in self.program.nodes),
                f"  at {self.line or 'unknown'}",
            ]
        )

    # -- what it is -------------------------------------------------------------------

    @property
    def rows(self) -> str:
        nodes = [n.primitive for n in self.program.nodes if n.primitive not in (CONSTANT, PICK)]
        work = [p for p in nodes if p.kind != "view"] or nodes
        listed = list(dict.fromkeys(p.name for p in work))
        return ",".join(listed[:6]) + (",…" if len(listed) > 6 else "")

    @property
    def named(self) -> str:
        return f"kernel {self.number} ({self.cluster.kind}: {self.rows})"

    @property
    def line(self) -> str:
        return next((n.line for n in reversed(self.program.nodes) if n.line and n.primitive is not CONSTANT), "")

    def timed(self, seconds: float) -> str:
        """``kernel 7  loop  sub,exp,sum  float32[128,10]  0.031 ms  12.4 GFLOP/s  41 GB/s  code: disk  train.py:41``"""
        spec = self.outputs[0].spec if self.outputs else ""
        nbytes = sum(b.spec.nbytes for b in {b.place: b for b in (*self.inputs, *self.outputs)}.values())
        work = costs.flops(self.program)
        rates = [f"{work / seconds / 1e9:.1f} GFLOP/s"] if work else []
        where = "host" if self.on_host else f"code: {self.source}"
        facts = [f"kernel {self.number}", self.cluster.kind, self.rows, str(spec), f"{1e3 * seconds:.3f} ms"]
        return "  ".join([*facts, *rates, f"{nbytes / seconds / 1e9:.1f} GB/s", where, self.line])


def rows_of(fusion: Fusion, cluster: Cluster) -> tuple[Program, list[Node], list[Node]]:
    """What ``cluster`` computes, as a Program of its own: of the nodes it reads (second), what it stores (third)."""
    root = cluster.roots[0]
    if cluster.kind == "loop" or cluster.columns:
        outputs = fusion.stored(cluster)
    elif isinstance(root.spec, Spec):
        outputs = list(cluster.roots)
    else:
        outputs = [p for p in results(root) if p in fusion.used]
    roots = set(cluster.roots)
    inputs: dict[Node, Node] = {}
    done: dict[Node, Node] = {}
    stack = [(node, False) for node in reversed(outputs or cluster.roots)]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready:
            done[node] = remake(node, tuple(done[a] for a in node.args))
        elif fusion.in_memory(node) and node.primitive is not CONSTANT and not _computed(fusion, node, roots):
            done[node] = inputs[node] = param(node.spec)
        else:
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
    made = [done[n] for n in outputs]
    effects = [done[r] for r in cluster.roots if r.primitive.effect]
    return Program(list(inputs.values()), made, name=root.primitive.name, effects=effects), list(inputs), outputs


def _computed(fusion: Fusion, node: Node, roots: set[Node]) -> bool:
    """Whether ``node`` is one of ``roots``, a result of one, or one in another shape."""
    base = fusion.base(node)
    return base in roots or (base.primitive is PICK and base.args[0] in roots)
