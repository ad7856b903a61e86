"""The reference engine: every row's NumPy reference, one after the other. Slow, obvious, the definition of meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam import config
from hornbeam.base.spec import Spec
from hornbeam.engines import costs, stages
from hornbeam.engines.costs import Buffer, Costs
from hornbeam.engines.engine import Executable, Loop, Options, one_by_one, register
from hornbeam.engines.nonfinite import refuse
from hornbeam.engines.quiet import quietly
from hornbeam.ir.fold import EXACT, is_exact
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import CONSTANT
from hornbeam.ir.program import Program, conform
from hornbeam.ir.simplify import simplify


class Step(NamedTuple):
    """One application: where its arguments are found, where its result goes, and what nobody needs after it."""

    node: Node
    reference: Callable[..., Any]
    attrs: dict[str, Any]
    sources: list[int]
    target: int
    dead: list[int]


class ReferenceExecutable:
    """Steps in order; a value is let go after its last use, so memory stays near the peak that the graph needs."""

    def __init__(self, program: Program) -> None:
        slots: dict[Node, int] = {node: i for i, node in enumerate((*program.params, *program.nodes))}
        self.roots = [slots[r] for r in program.roots]
        self.count = len(program.params)
        last: dict[Node, Node] = {}
        for node in program.nodes:
            last.update(dict.fromkeys((*node.args, node), node))
        kept = {*program.roots, *program.params}
        dying: dict[Node, list[int]] = {}
        for node, user in last.items():
            if node not in kept:
                dying.setdefault(user, []).append(slots[node])
        self.steps = [
            Step(n, n.primitive.reference, dict(n.attrs), [slots[a] for a in n.args], slots[n], dying.get(n, []))
            for n in program.nodes
        ]
        self.peak_bytes, self.fullest = self._peak([costs.nbytes(n) for n in slots])
        self.flops, self.bytes_moved = costs.flops(program), costs.bytes_of_rows(program)

    def _peak(self, sizes: Sequence[int]) -> tuple[int, int]:
        """The most bytes that are held at once, and after how many steps."""
        live = peak = sum(sizes[: self.count])
        fullest = 0
        for i, step in enumerate(self.steps, 1):
            live += sizes[step.target]
            if live > peak:
                peak, fullest = live, i
            live -= sum(sizes[i] for i in step.dead)
        return peak, fullest

    def _held(self, program: Program) -> list[Node]:
        """The nodes whose values are there when memory is fullest."""
        held = dict(enumerate(program.params))
        for i, step in enumerate(self.steps[: self.fullest], 1):
            held[step.target] = step.node
            for dead in step.dead if i < self.fullest else ():
                del held[dead]
        return list(held.values())

    def costs(self, program: Program) -> Costs:
        """What a run takes: the values that rows have given and that later ones, or the caller, need.

        ``program`` is what it was made of; it is not kept, as it would keep variables alive.
        """
        totals = Counter[str]()
        names = costs.ends(program)
        roles = dict.fromkeys(program.roots, "result") | dict.fromkeys(program.params, "argument")
        buffers = []
        for node in self._held(program):
            role = "constant" if node.primitive is CONSTANT else roles.get(node, "arena")
            totals[role] += costs.nbytes(node)
            specs = [node.spec] if isinstance(node.spec, Spec) else node.spec
            buffers += [Buffer(role, names.get(node, node.primitive.name), spec, node.line) for spec in specs]
        return Costs(
            program=program.name,
            engine="reference",
            arguments=totals["argument"],
            results=totals["result"],
            constants=totals["constant"],
            arena=totals["arena"],
            flops=self.flops,
            bytes_moved=self.bytes_moved,
            kernels=0,
            host_steps=len(self.steps),
            uncounted=costs.uncounted(program),
            buffers=costs.by_size(buffers),
        )

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        if len(arguments) != self.count:
            raise ValueError(f"this program takes {self.count} arguments, got {len(arguments)}.")
        values: list[Any] = [*arguments, *[None] * len(self.steps)]
        with np.errstate(all="ignore"):
            for node, reference, attrs, sources, target, dead in self.steps:
                value = reference(*[values[i] for i in sources], **attrs)
                values[target] = conform(value, node.spec, node)
                for i in dead:
                    values[i] = None
        return [values[i] for i in self.roots]

    def repeat(self, arguments: Sequence[np.ndarray], loop: Loop) -> list[np.ndarray]:
        return one_by_one(self, arguments, loop)


class WaryExecutable(ReferenceExecutable):
    """Stops at the first row that makes a NaN or an infinity of finite operands (``NANS=1``)."""

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        values: list[Any] = [*arguments, *[None] * len(self.steps)]
        with np.errstate(all="ignore"):
            for node, reference, attrs, sources, target, _ in self.steps:
                operands = [values[i] for i in sources]
                values[target] = conform(reference(*operands, **attrs), node.spec, node)
                refuse(node, operands, values[target])
        return [values[i] for i in self.roots]


class RowExecutable:
    """One row, applied to the arguments in their order, that is NumPy alone: what an eager operation mostly is."""

    def __init__(self, node: Node) -> None:
        self.node, self.spec, self.attrs = node, node.spec, dict(node.attrs)
        self.reference: Callable[..., Any] = node.primitive.reference
        self.peak_bytes = sum(map(costs.nbytes, (*node.args, node)))
        self.flops, self.bytes_moved = costs.flops_of(node), costs.bytes_of(node)

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [conform(quietly(self.reference, *arguments, **self.attrs), self.spec, self.node)]

    def repeat(self, arguments: Sequence[np.ndarray], loop: Loop) -> list[np.ndarray]:
        return one_by_one(self, arguments, loop)


def by_numpy(program: Program) -> Executable | None:
    """An Executable without a compiler's work, if ``program`` is one row that has the same bits on every engine."""
    if len(program.nodes) != 1 or not is_exact(program.nodes[0]):
        return None
    (node,) = program.nodes
    alone = [*map(id, node.args), id(node)] == [*map(id, program.params), *map(id, program.roots)]  # == makes nodes
    numpy_alone = node.primitive.name in EXACT  # not so control flow on integers, which runs what users wrote
    return RowExecutable(node) if alone and numpy_alone else ReferenceExecutable(program)


class ReferenceEngine:
    name = "reference"

    def compile(self, program: Program, options: Options) -> ReferenceExecutable:
        stage = stages.begin(program)
        kind = WaryExecutable if config.NANS.value else ReferenceExecutable
        executable = kind(stage("simplify", simplify, program))
        stages.say(1, f"compile  {program.name}: {len(executable.steps)} rows for the reference engine")
        return executable

    def plan(self, program: Program, options: Options) -> Costs:
        simple = simplify(program)
        return ReferenceExecutable(simple).costs(simple)


register(ReferenceEngine())
