"""The native engine's forms as text for a person: clusters, loops, the plan of memory.

Nodes are called what the printed Program calls them. A loop's variables are i, j, k, … from the outside in;
``x0[i, j]`` is read from memory there, names without brackets are at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base.spec import Spec
from hornbeam.engines.native.affine import Form, Index, dense_strides
from hornbeam.engines.native.columns import ColumnEmitter
from hornbeam.engines.native.epilogue import Epilogue
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import CHUNK, LONG, PART, LoopEmitter, Target
from hornbeam.engines.native.lower import BlockEmitter, Nests
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.prepare import prepared
from hornbeam.ir.node import Node, results
from hornbeam.ir.primitives.movement import CONSTANT, IOTA
from hornbeam.ir.primitives.random import RANDOM_BITS
from hornbeam.ir.program import Program, numbered

Names = dict[Node, str]


def clusters(fusion: Fusion) -> str:
    """``2  loop [64] x [100]: reads x0, computes reduce_max %0, sum %3, div %5``"""
    names = named(fusion)
    lines = [f"{fusion.program.name} in {_count(len(fusion.clusters), 'cluster')}:"]
    for i, cluster in enumerate(fusion.clusters):
        space = f" {list(cluster.outer)} x {list(cluster.inner)}" if cluster.kind in ("loop", "column") else ""
        inside = set(cluster.roots)
        sources = dict.fromkeys(s for r in cluster.roots for s in fusion.sources(r) if s not in inside)
        reads = ", ".join(names[s] for s in sources) or "nothing"
        computes = ", ".join(f"{r.primitive.name} {names[r]}" for r in cluster.roots)
        lines.append(f"  {i}  {cluster.kind}{space}: reads {reads}, computes {computes}")
    return "\n".join(lines)


def loops(nests: Nests, indent: str = "") -> str:
    """Every kernel as the loops that it runs."""
    names = named(nests.fusion)
    lines = []
    for i, nest in enumerate(nests):
        for emitter in nest.emitters:
            lines += [f"{indent}kernel {i}, {line}" if j == 0 else f"{indent}  {line}"
                      for j, line in enumerate(_emitter(emitter, names, nests))]  # fmt: skip
    return "\n".join(lines) or f"{indent}nothing to compute"


def plan(lowered: Lowered) -> str:
    """Where each buffer lies in the arena, and from which step to which it is needed."""
    names, memory = named(lowered.fusion), lowered.plan
    lines = [f"{lowered.program.name}: {_count(len(lowered.steps), 'step')}, an arena of {memory.nbytes:,} bytes"]
    for node, at in sorted(memory.offsets.items(), key=lambda item: item[1]):
        first, last = memory.lives[node]
        if node.spec.nbytes:
            lines.append(f"  {at:>10}  {names.get(node, 'scratch')}: {node.spec}, steps {first} to {last}")
    return "\n".join(lines)


def named(fusion: Fusion) -> Names:
    names = numbered(fusion.program)
    for node in fusion.program.nodes:
        if not isinstance(node.spec, Spec):
            names |= {p: f"{names[node]}.{i}" for i, p in enumerate(results(node))}
    return names


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _emitter(emitter: Any, names: Names, nests: Nests) -> list[str]:
    if isinstance(emitter, Node):
        return [f"on the host: {_block(emitter, names)}"]
    if isinstance(emitter, BlockEmitter):
        lines = [f"block: {_block(emitter.node, names)}"]
        if emitter.epilogue:
            lines += ["then:", *(f"  {line}" for line in _Loop(emitter.epilogue, names).stored())]
        for name, value in emitter.node.attrs:
            for body in value if isinstance(value, tuple) else (value,):
                if isinstance(body, Program):
                    inside = Nests(Module(), Fusion(prepared(body), nests.fusion.templates), nests.machine)
                    lines += [f"{name}:", *(f"  {line}" for line in loops(inside).split("\n"))]
        return lines
    return _Loop(emitter, names).lines()


def _block(node: Node, names: Names) -> str:
    spec = node.spec if isinstance(node.spec, Spec) else f"({', '.join(map(str, node.spec))})"
    return f"{names[node]}: {spec} = {node.primitive.name}({', '.join(_operand(a, names) for a in node.args)})"


def _operand(node: Node, names: Names) -> str:
    return f"{names[node]} {list(node.shape)}"


class _Loop:
    """One LoopEmitter, told pass by pass."""

    def __init__(self, emitter: LoopEmitter, names: Names) -> None:
        self.e, self.names = emitter, names
        self.shape = emitter.full_shape
        self.kept: dict[tuple[int, Form], str] = {}

    def lines(self) -> list[str]:
        e = self.e
        size = int(np.prod(self.shape, dtype=np.int64))
        if isinstance(e, ColumnEmitter):
            down = " x ".join(str(d) for d in e.outer_inner[0])
            parts = f" in {e.parts} parts" if e.parts > 1 else ""
            header = f"down {down}{parts}, for {_count(e.rows * e.space.length, 'column')}, {e.lanes} at a time:"
            return [header, *self._pass(list(e.reductions), [], []), *self._stored(e.targets)]
        if e.flat:
            units = f", {-(-size // CHUNK)} units of {CHUNK}" if size > CHUNK else ""
            return [f"along {size}, {e.lanes} at a time{units}:", *self._pass([], e.targets, [])]
        header = f"for {_count(e.space.rows, 'row')}, along {e.space.length}, {e.lanes} at a time"
        if e.reductions and e.space.length >= LONG:
            header += f", in parts of {PART} that are added in order"
        out = []
        for stage in range(e.stages):
            work = e.work_of(stage)
            lines = self._pass(*work) if any(work) else []
            lines += self._stored(e.row_targets(lambda level: level == stage + 1 or level == stage == 0))  # noqa: B023
            out.append(lines)
        told = [lines for lines in out if lines]
        if len(told) == 1:
            return [f"{header}:", *told[0]]
        body = [line for i, lines in enumerate(told) for line in (f"pass {i + 1}:", *(f"  {x}" for x in lines))]
        return [f"{header}, {len(told)} passes:", *body]

    def stored(self) -> list[str]:
        """What is computed for each element and where it goes."""
        return self._pass([], self.e.targets, [])

    def _pass(self, sums: Sequence[Node], full: Sequence[Target], keep: Sequence[Any]) -> list[str]:
        lines: list[str] = []
        memo: dict[Any, str] = {}
        for key, node, at in keep:
            name = self._value(node, at, memo, lines)
            lines.append(f"keep {name} for later passes")
            self.kept[key] = name
        for t in full:
            lines.append(f"store {self._value(t.node, t.at, memo, lines)} in {self._target(t)}")
        for r in sums:
            lines.append(f"{self.names[r]} = {r.primitive.name} of {self._value(r.args[0], self.e.here, memo, lines)}")
        return lines

    def _stored(self, targets: Sequence[Target]) -> list[str]:
        lines: list[str] = []
        memo: dict[Any, str] = {}
        for t in targets:
            lines.append(f"store {self._value(t.node, t.at, memo, lines)} in {self._target(t)}")
        return lines

    def _target(self, t: Target) -> str:
        return f"{self.names[t.buffer]}[{self._linear(t.buffer, t.to)}]"

    def _value(self, node: Node, at: Index, memo: dict[Any, str], lines: list[str]) -> str:
        """What ``node`` at ``at`` is called; what it takes to compute it is added to ``lines``."""
        e = self.e
        key = e._key(node, at)
        if node in e.reduced or (isinstance(e, Epilogue) and node is e.given):
            return self.names[node]
        if key in self.kept:
            return self.kept[key]
        if key in memo:
            return memo[key]
        if node.primitive is CONSTANT and node.spec.size == 1:
            return str(dict(node.attrs)["value"].array.reshape(())[()])
        read = e._read_of(node, at)
        if read is not None:
            return f"{self.names[read[0]]}[{self._linear(*read)}]"
        if node.primitive is IOTA:
            return self._form(at[dict(node.attrs)["axis"]])
        args = [self._value(a, i, memo, lines) for a, i in e._below(node, at)]
        if node.primitive is RANDOM_BITS:
            args = [*args, self._form(key[1])]
        elif node.primitive.kind != "map":
            return args[0]
        name = self.names.get(node, "%")
        given = () if node.primitive is RANDOM_BITS else node.attrs
        attrs = [f"{k}={v.name if isinstance(v, np.dtype) else v!r}" for k, v in given]
        if any(n == name for n in memo.values()):
            name += "'" * (1 + sum(n.startswith(f"{name}'") for n in memo.values()))  # the same row at another element
        memo[key] = name
        lines.append(f"{name} = {node.primitive.name}({', '.join([*args, *attrs])})")
        return name

    def _linear(self, buffer: Node, form: Form) -> str:
        """The element of a buffer: axis by axis where each is one variable, else its number."""
        strides = dense_strides(buffer.shape)
        rest, axes = list(form[:-1]), []
        for d, stride in zip(buffer.shape, strides, strict=True):
            if d == 1:
                axes.append("0")
                continue
            found = [i for i, c in enumerate(rest) if c == stride and self.shape[i] <= d]
            if not found and any(c >= stride for c in rest):
                return self._form(form)
            if found:
                rest[found[0]] = 0
                axes.append(_variable(found[0]))
            else:
                axes.append("0")
        if any(rest) or form[-1]:
            return self._form(form)
        return ", ".join(axes)

    def _form(self, form: Form) -> str:
        terms = [f"{c if c != 1 else ''}{_variable(i)}" for i, c in enumerate(form[:-1]) if c and self.shape[i] != 1]
        if form[-1] or not terms:
            terms.append(str(form[-1]))
        return " + ".join(terms).replace("+ -", "- ")


def _variable(i: int) -> str:
    return "ijklmnpqrs"[i] if i < 10 else f"v{i}"
