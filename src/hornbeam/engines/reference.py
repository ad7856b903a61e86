"""The reference engine: every row's NumPy reference, one after the other. Slow, obvious, and the definition of meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base.spec import Spec
from hornbeam.engines.engine import Options, register
from hornbeam.ir.node import Node
from hornbeam.ir.program import Program, apply
from hornbeam.ir.simplify import simplify


class ReferenceExecutable:
    """Steps in order; a value is let go after its last use, so memory stays near the peak that the graph needs."""

    def __init__(self, program: Program) -> None:
        self.params, self.roots = program.params, program.roots
        self.steps: list[tuple[Node, tuple[Node, ...], tuple[Node, ...]]] = []
        last: dict[Node, int] = {}
        for i, node in enumerate(program.nodes):
            last.update(dict.fromkeys(node.args, i))
            last.setdefault(node, i)
        kept = {*program.roots, *program.params}
        dying: dict[int, list[Node]] = {}
        for node, i in last.items():
            if node not in kept:
                dying.setdefault(i, []).append(node)
        for i, node in enumerate(program.nodes):
            self.steps.append((node, node.args, tuple(dying.get(i, ()))))
        self.peak_bytes = self._peak()

    def _peak(self) -> int:
        live = sum(p.spec.nbytes for p in self.params)
        peak = live
        for node, _, dead in self.steps:
            live += _nbytes(node.spec)
            peak = max(peak, live)
            live -= sum(_nbytes(d.spec) for d in dead)
        return peak

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        env: dict[Node, Any] = dict(zip(self.params, arguments, strict=True))
        with np.errstate(all="ignore"):
            for node, args, dead in self.steps:
                env[node] = apply(node, [env[a] for a in args])
                for d in dead:
                    del env[d]
        return [env[r] for r in self.roots]


def _nbytes(spec: Any) -> int:
    return spec.nbytes if isinstance(spec, Spec) else sum(s.nbytes for s in spec)


class ReferenceEngine:
    name = "reference"

    def compile(self, program: Program, options: Options) -> ReferenceExecutable:
        return ReferenceExecutable(simplify(program))


register(ReferenceEngine())
