"""The page: how a Program becomes machine code.

    recall, or: check → simplify → prepare → fuse → lower → plan → emit → jit (or cache); then Executable

Each stage's result can be printed, verified and dumped (``engines.stages``). A node without native code becomes a *host
step*, run by its row's reference between compiled segments; ``host_steps`` of the Executable lists them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from hornbeam.engines import costs, stages
from hornbeam.engines.costs import Buffer, Costs
from hornbeam.engines.engine import Executable, Options, register
from hornbeam.engines.native import cache, jit, recall
from hornbeam.engines.native.executable import HostStep, Layout, NativeExecutable
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.lower import Nests
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.prepare import prepare
from hornbeam.engines.native.target import Target as Machine
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.engines.native.threads import PARALLEL_FOR, parallel_for, probe
from hornbeam.engines.native.watch import watch
from hornbeam.engines.reference import ReferenceExecutable, by_numpy
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import PICK
from hornbeam.ir.program import Program
from hornbeam.ir.simplify import simplify


class NativeEngine:
    """Compiles Programs through LLVM."""

    name = "native"

    def compile(self, program: Program, options: Options) -> Executable:
        # An eager row that NumPy computes to the same bits needs no compiler.
        known = None if stages.watching() else by_numpy(program)
        if known is not None:
            stages.begin(program)
            return known
        return build(program, host(), options.threads)

    def plan(self, program: Program, options: Options) -> Costs:
        if by_numpy(program) is not None:
            return ReferenceExecutable(program).costs(program)
        simple = simplify(program)
        return costs_of(simple, Lowered.of(Module(), prepare(simple), host(), TEMPLATES))


probe()  # raises NoTarget where there is nothing to compile for, or nowhere to load it
register(NativeEngine())


def build(program: Program, machine: Machine, threads: int | None = None) -> NativeExecutable:
    """``program`` for ``machine``, to run on at most ``threads`` threads (None: one per core)."""
    began, name = time.perf_counter(), program.name
    key = None if stages.looking() else recall.key_of(program, machine)
    known = recall.load(key)
    if known is not None:
        made = executable(*known, threads)
        stages.say(1, f"recall  {name}: from disk  {1e3 * (time.perf_counter() - began):.1f} ms")
        return made
    stage, module, watched = stages.begin(program), Module(), stages.watching()
    simple = stage("simplify", simplify, program)
    program = stage("prepare", prepare, simple)
    fusion = stage("fuse", Fusion, program, TEMPLATES)
    nests = stage("lower", Nests, module, fusion, machine)
    lowered = stage("plan", Lowered, nests)
    segments = lowered.segments("run", shared=True, apart=watched)
    text = stage("emit", str, module)
    compiled = recall.Compiled(
        object_key=cache.key_of(cache.key_parts(text, machine)),
        symbols=tuple(s for s in segments if isinstance(s, str)),
        layout=layout(lowered),
        roots=tuple(lowered.places[r] for r in lowered.program.roots),
        shares_work=PARALLEL_FOR in module.declared,
        flops=costs.flops(simple),
        bytes_moved=lowered.bytes_moved,
    )
    code = cache.Found(b"", "none needed")
    if compiled.symbols:
        code = stage("jit", cache.object_code, text, machine, shown=lambda _: jit.assembly(text, machine))
    if compiled.symbols == tuple(segments) != ():
        recall.save(key, compiled)
    made = executable(compiled, code.code, threads, segments)
    took = 1e3 * (time.perf_counter() - began)
    stages.say(1, f"compile  {lowered.summary()}  {took:.1f} ms  code: {code.source}")
    if watched:
        watch(made, lowered, code.source)
    return made


def executable(
    compiled: recall.Compiled, code: bytes, threads: int | None, segments: Sequence[str | HostStep] | None = None
) -> NativeExecutable:
    """``code`` linked into this process. ``segments`` are given where there are host steps between its symbols."""
    imports = {PARALLEL_FOR: parallel_for()} if compiled.shares_work else {}
    linked = jit.load(code, compiled.symbols, imports) if compiled.symbols else None
    segments = compiled.symbols if segments is None else segments
    threads = threads if imports else 1
    return NativeExecutable(
        linked, segments, compiled.layout, compiled.roots, threads, compiled.flops, compiled.bytes_moved
    )


def layout(lowered: Lowered) -> Layout:
    """What the Executable has to know of the places."""
    places, plan = lowered.places, lowered.plan
    return Layout(
        specs=tuple(n.spec for n in places),
        params=len(lowered.program.params),
        constants=tuple((places[n], dict(n.attrs)["value"].array) for n in lowered.constants),
        results=tuple(places[r] for r in lowered.made),
        arena=tuple((places[n], at) for n, at in plan.offsets.items()),
        nbytes=plan.nbytes,
        in_place=tuple((places[old], places[new]) for old, new in lowered.in_place),
    )


def costs_of(simple: Program, lowered: Lowered) -> Costs:
    """What a run of ``lowered``, which was made from ``simple``, takes."""
    names = lowered.scratch_names | costs.ends(lowered.program)
    roles = dict.fromkeys(lowered.plan.offsets, "arena")
    roles |= dict.fromkeys(lowered.constants, "constant")
    roles |= dict.fromkeys(lowered.made, "result")
    roles |= dict.fromkeys(lowered.program.params, "argument")
    buffers = [Buffer(role, names.get(n, row_of(n).primitive.name), n.spec, n.line) for n, role in roles.items()]

    def total(role: str) -> int:
        return sum(b.nbytes for b in buffers if b.role == role)

    return Costs(
        program=simple.name,
        engine=NativeEngine.name,
        arguments=total("argument"),
        results=total("result"),
        constants=total("constant"),
        arena=lowered.plan.nbytes,
        flops=costs.flops(simple),
        bytes_moved=lowered.bytes_moved,
        kernels=len(lowered.steps) - len(lowered.host_steps),
        host_steps=len(lowered.host_steps),
        uncounted=costs.uncounted(simple),
        buffers=costs.by_size(buffers),
    )


def row_of(node: Node) -> Node:
    """The node whose row computes ``node``: a result of a row of several is named after that."""
    return node.args[0] if node.primitive is PICK else node
