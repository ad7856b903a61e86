"""``Lowered``: a Program as kernels and host steps in order, with a place for every buffer and a plan of their memory.

The Executable of a whole Program is made from one; so is a function for each body of native control flow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines import costs
from hornbeam.engines.native.driver import Step, emit_driver
from hornbeam.engines.native.executable import HostStep
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.lower import Nest, Nests
from hornbeam.engines.native.plan import Plan
from hornbeam.engines.native.target import Target as Machine
from hornbeam.ir.node import PARAM, Node, param, results
from hornbeam.ir.primitives.movement import CONSTANT
from hornbeam.ir.program import Program

WORTH_SHARING = 15_000  # nanoseconds of one core's work; waking a worker takes up to a third of that
TASKS = 16  # parts of a kernel's work, so that a thread that is late is waited for briefly


class Lowered:
    """What running ``program`` takes.

    steps: kernels, and nodes whose reference runs on the host.
    nests: for each step, what it is a part of.
    places: buffer -> its place in the table of addresses; parameters come first.
    made: results with memory of their own (not parameters or constants).
    plan: where the other buffers lie in the arena.
    in_place: pairs of a parameter and a result that may be one buffer: nobody reads the old value once the new one is
        written.
    """

    def __init__(self, nests: Nests) -> None:
        self.module, self.fusion = nests.module, nests.fusion
        self.program = program = nests.fusion.program
        made = [(step, nest) for nest in nests for step in nest.emit()]
        self.steps: list[Kernel | Node] = [step for step, _ in made]
        self.nests: list[Nest] = [nest for _, nest in made]
        self.places: dict[Node, int] = {p: i for i, p in enumerate(program.params)}
        self._scratch = _scratch_of(self.steps)
        uses: dict[Node, list[int]] = {}
        for i, step in enumerate(self.steps):
            for node in [*self._touched(step), *([self._scratch[i]] if i in self._scratch else [])]:
                uses.setdefault(node, []).append(i)
                self.places.setdefault(node, len(self.places))
        for root in program.roots:
            self.places.setdefault(root, len(self.places))
        self.made = list(dict.fromkeys(r for r in program.roots if r.primitive not in (PARAM, CONSTANT)))
        given = {*program.params, *self.made}
        self.in_place = [] if self.host_steps else list(self._in_place(uses))
        self.plan = Plan(
            {n: (min(at), max(at)) for n, at in uses.items() if n not in given and n.primitive is not CONSTANT}
        )

    def _in_place(self, uses: Mapping[Node, Sequence[int]]) -> Iterator[tuple[Node, Node]]:
        returned = set(self.program.roots)
        for i, step in enumerate(self.steps):
            for old, new in step.overwrites if isinstance(step, Kernel) else ():
                if old not in returned and max(uses.get(old, [i])) <= i == min(uses[new]):
                    yield old, new

    @classmethod
    def of(cls, module: Module, program: Program, machine: Machine, templates: Mapping[str, Any]) -> Lowered:
        """From a ``prepared`` program, without a stop on the way."""
        return cls(Nests(module, Fusion(program, templates), machine))

    def __str__(self) -> str:
        from hornbeam.engines.native import printed  # for eyes only

        return printed.plan(self)

    def verify(self) -> None:
        """Raises CheckError for a plan in which buffers overlap."""
        self.plan.verify()

    def summary(self) -> str:
        """``train_step: 312 nodes, 41 kernels, 2 host steps, arena 3.2 MB``"""
        host, nodes = len(self.host_steps), len(self.program.nodes)
        counts = [(nodes, "node"), (len(self.steps) - host, "kernel"), *([(host, "host step")] if host else [])]
        counted = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for n, what in counts)
        return f"{self.program.name}: {counted}, arena {self.plan.nbytes:,} bytes"

    @cached_property
    def bytes_moved(self) -> int:
        """What the kernels of each nest read and write, buffers once and whole (``costs``)."""
        total = 0
        for _, group in itertools.groupby(zip(self.nests, self.steps, strict=True), key=lambda pair: id(pair[0])):
            steps = [step for _, step in group]
            within = [s.within for s in steps if isinstance(s, Kernel) and s.within is not None]
            touched = dict.fromkeys(b for s in steps for b in self._touched(s)) if not within else {}
            total += sum(within) + sum(self._part(b, steps[0]) for b in touched)
        return total

    def _part(self, buffer: Node, step: Kernel | Node) -> int:
        """The bytes of ``buffer`` that a step needs."""
        node = step if isinstance(step, Node) else step.writes[0]
        taker = any(costs.taken(node, a) and self.fusion.base(a) is buffer for a in node.args)
        return costs.nbytes(node if taker else buffer)

    @property
    def scratch_names(self) -> dict[Node, str]:
        """What each scratch memory is of."""
        steps = ((node, self.steps[i]) for i, node in self._scratch.items())
        return {node: f"scratch of {step.writes[0].primitive.name}" for node, step in steps if isinstance(step, Kernel)}

    @property
    def constants(self) -> list[Node]:
        return [n for n in self.places if n.primitive is CONSTANT]

    @property
    def host_steps(self) -> list[Node]:
        return [s for s in self.steps if isinstance(s, Node)]

    def segments(self, prefix: str, shared: bool = False, apart: bool = False) -> list[str | HostStep]:
        """Emit functions of the table that run the kernels; between them stand the host steps.

        If the work may be ``shared``, the table goes on with the address of a pool of threads and how many may work.
        With ``apart`` there is one function for each step.
        """
        found: list[str | HostStep] = []
        run: list[Step] = []

        def close() -> None:
            if run:
                driver = emit_driver(self.module, f"{prefix}{len(found)}", run, pool=len(self.places))
                found.append(driver)
                self.module.exported.add(driver)
                run.clear()

        for i, step in enumerate(self.steps):
            if isinstance(step, Kernel):
                scratch = [self._scratch[i]] if i in self._scratch else []
                places = tuple(self.places[b] for b in [*step.buffers, *scratch])
                run.append(Step(step.name, places, step.chunked, step.units, _tasks(step) if shared else 1))
                if apart:
                    close()
            else:
                close()
                outs = [step] if isinstance(step.spec, Spec) else list(results(step))
                operands = tuple((self.places[self.fusion.base(a)], a.spec.shape) for a in step.args)
                found.append(HostStep(step, operands, tuple(self.places.get(o, -1) for o in outs)))
        close()
        return found

    def _touched(self, step: Kernel | Node) -> list[Node]:
        """The buffers that a step reads or writes."""
        if isinstance(step, Kernel):
            return list(step.buffers)
        outs = [step] if isinstance(step.spec, Spec) else [p for p in results(step) if p in self.fusion.used]
        return [*map(self.fusion.base, step.args), *outs]


def _tasks(kernel: Kernel) -> int:
    """In how many parts threads share its units; 1 if that would not pay."""
    if kernel.nanoseconds < WORTH_SHARING:
        return 1
    per = -(-kernel.units // min(kernel.units, TASKS))
    return -(-kernel.units // per)


def _scratch_of(steps: Sequence[Kernel | Node]) -> dict[int, Node]:
    """A buffer for the scratch memory of each step that has some; steps that write one node share it."""
    shared: dict[Node, Node] = {}
    found = {}
    for i, step in enumerate(steps):
        if isinstance(step, Kernel) and step.chunked:
            writes = step.writes[0]
            if writes not in shared:
                shared[writes] = param(Spec((step.scratch,), dtypes.uint8))
            found[i] = shared[writes]
    return found
