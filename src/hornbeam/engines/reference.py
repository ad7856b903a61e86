"""The reference engine: every row's NumPy reference, one after the other. Slow, obvious, the definition of meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam import config
from hornbeam.base.spec import Spec
from hornbeam.engines import costs, stages
from hornbeam.engines.costs import Buffer, Costs
from hornbeam.engines.engine import Loop, Options, one_by_one, register
from hornbeam.engines.nonfinite import refuse
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
        self.program = program
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
        self.at_peak = self._at_peak(slots)
        self.peak_bytes = sum(costs.nbytes(n) for n in self.at_peak)
        self.flops, self.bytes_moved = costs.flops(program), costs.bytes_of_rows(program)

    def _at_peak(self, slots: Mapping[Node, int]) -> list[Node]:
        """The nodes whose values are held when they take the most memory."""
        nodes = list(slots)
        held = dict.fromkeys(nodes[: self.count])
        live = peak = sum(map(costs.nbytes, held))
        most = list(held)
        for step in self.steps:
            held[step.node] = None
            live += costs.nbytes(step.node)
            if live > peak:
                peak, most = live, list(held)
            for i in step.dead:
                del held[nodes[i]]
                live -= costs.nbytes(nodes[i])
        return most

    def costs(self) -> Costs:
        """What a run takes: the values that rows have given and that later ones, or the caller, need."""
        program, totals = self.program, Counter[str]()
        names = costs.ends(program)
        roles = dict.fromkeys(program.roots, "result") | dict.fromkeys(program.params, "argument")
        buffers = []
        for node in self.at_peak:
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


class ReferenceEngine:
    name = "reference"

    def compile(self, program: Program, options: Options) -> ReferenceExecutable:
        stage = stages.begin(program)
        kind = WaryExecutable if config.NANS.value else ReferenceExecutable
        executable = kind(stage("simplify", simplify, program))
        stages.say(1, f"compile  {program.name}: {len(executable.steps)} rows for the reference engine")
        return executable

    def plan(self, program: Program, options: Options) -> Costs:
        return ReferenceExecutable(simplify(program)).costs()


register(ReferenceEngine())
