"""The page: how a Program becomes machine code.

    check -> simplify -> fuse -> emit -> plan -> jit -> Executable

A node without native code becomes a *host step*, run by its row's reference between compiled segments; ``host_steps``
of the Executable lists them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.engine import Executable, Options, register
from hornbeam.engines.native import jit
from hornbeam.engines.native.affine import combine, dense_strides, identity
from hornbeam.engines.native.executable import HostStep, Layout, NativeExecutable
from hornbeam.engines.native.fuse import Cluster, Fusion, broadcast_index
from hornbeam.engines.native.llvm import Function, Module, index
from hornbeam.engines.native.loops import ColumnEmitter, Kernel, LoopEmitter, Target, targets_of
from hornbeam.engines.native.plan import Plan
from hornbeam.engines.native.target import Target as Machine
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.engines.reference import ReferenceExecutable
from hornbeam.ir.node import PARAM, Node, param, results
from hornbeam.ir.primitives.movement import CONCAT, CONSTANT
from hornbeam.ir.program import Program
from hornbeam.ir.simplify import simplify


class NativeEngine:
    """Compiles Programs through LLVM."""

    name = "native"

    def compile(self, program: Program, options: Options) -> Executable:
        if len(program.nodes) == 1 and is_exact(program.nodes[0]):
            return ReferenceExecutable(program)
        return build(program, host())


# Rows whose results IEEE 754 or plain counting determines: NumPy gives the bits that compiled code gives. An eager one
# needs no compiler.
EXACT = frozenset(
    "add sub mul div neg abs sign floor ceil trunc round sqrt rsqrt select cast bitcast eq ne lt le gt ge is_finite "
    "not and or xor shift_left shift_right constant iota reshape transpose broadcast slice pad concat reverse "
    "stop_gradient pick argmax argmin argsort gather dynamic_slice dynamic_update_slice random_bits custom_gradient".split()
)


def is_exact(node: Node) -> bool:
    specs = [node.spec] if isinstance(node.spec, Spec) else node.spec
    return node.primitive.name in EXACT or all(s.dtype.kind in "biu" for s in (*specs, *(a.spec for a in node.args)))


register(NativeEngine())


def build(program: Program, machine: Machine) -> NativeExecutable:
    program = simplify(program)
    fusion = Fusion(program, TEMPLATES)
    module = Module()
    steps = [s for c in fusion.clusters for s in emit(module, fusion, c, machine)]
    return assemble(program, fusion, module, steps, machine)


def emit(module: Module, fusion: Fusion, cluster: Cluster, machine: Machine) -> list[Kernel | Node]:
    """Kernels for one cluster; a Node where its reference has to run."""
    name = f"k{len(module.functions)}"
    lanes = machine.lanes
    root = cluster.roots[0]
    if cluster.kind == "loop":
        stored = fusion.stored(cluster)
        targets = targets_of(fusion, stored, cluster.outer, cluster.inner)
        if not targets:
            return []
        return [LoopEmitter(module, fusion, name, cluster.outer, cluster.inner, targets, cluster.roots, lanes).emit()]
    if cluster.kind == "column":
        return [ColumnEmitter(module, fusion, name, root, lanes).emit()] if root.spec.size else []
    if cluster.kind == "assemble":
        return _assembled(module, fusion, root, lanes)
    if cluster.kind == "block":
        return list(TEMPLATES[root.primitive.name].emit(module, fusion, name, root, machine))
    return [root]


def _assembled(module: Module, fusion: Fusion, root: Node, lanes: int) -> list[Kernel | Node]:
    """Each part of a concat, or the border and inside of a pad, is a loop that writes its place in the result."""
    kernels: list[Kernel | Node] = []

    def part(node: Node, starts: Sequence[int], strides: Sequence[int], shape: tuple[int, ...]) -> None:
        rank = len(shape)
        whole = dense_strides(root.shape)
        to = combine(
            identity(rank), [s * w for s, w in zip(strides, whole, strict=True)],
            sum(a * w for a, w in zip(starts, whole, strict=True)), variables=rank,
        )  # fmt: skip
        target = Target(node, broadcast_index(node.shape, identity(rank), rank), root, to)
        name = f"k{len(module.functions)}"
        if root.spec.size and all(shape):
            kernels.append(LoopEmitter(module, fusion, name, shape[:-1], shape[-1:], [target], (), lanes).emit())

    attrs = dict(root.attrs)
    rank = len(root.shape)
    if root.primitive is CONCAT:
        start = 0
        for x in root.args:
            starts = [start if i == attrs["axis"] else 0 for i in range(rank)]
            part(x, starts, [1] * rank, x.shape)
            start += x.shape[attrs["axis"]]
    else:
        x, value = root.args
        if x.shape != root.shape:
            part(value, [0] * rank, [1] * rank, root.shape)
        part(x, attrs["before"], [b + 1 for b in attrs["between"]], x.shape)
    return kernels


def assemble(
    program: Program, fusion: Fusion, module: Module, steps: Sequence[Kernel | Node], machine: Machine
) -> NativeExecutable:
    """Lay out the buffers of ``steps``, emit the functions that run them in order, and compile."""
    places: dict[Node, int] = {p: i for i, p in enumerate(program.params)}
    uses: dict[Node, list[int]] = {}
    scratch = _scratch_of(steps)
    for i, step in enumerate(steps):
        for node in [*_touched(fusion, step), *([scratch[i]] if i in scratch else [])]:
            uses.setdefault(node, []).append(i)
            places.setdefault(node, len(places))
    for root in program.roots:
        places.setdefault(root, len(places))
    made = {r for r in program.roots if r.primitive not in (PARAM, CONSTANT)}
    given = {*program.params, *made}
    lives = {n: (min(at), max(at)) for n, at in uses.items() if n not in given and n.primitive is not CONSTANT}
    plan = Plan(lives)

    segments: list[str | HostStep] = []
    run: list[tuple[Kernel, int]] = []

    def close() -> None:
        if run:
            segments.append(_driver(module, f"run{len(segments)}", run, places))
            run.clear()

    for i, step in enumerate(steps):
        if isinstance(step, Kernel):
            run.append((step, places[scratch[i]] if i in scratch else -1))
        else:
            close()
            outs = [step] if isinstance(step.spec, Spec) else list(results(step))
            operands = tuple((places[fusion.base(a)], a.spec.shape) for a in step.args)
            segments.append(HostStep(step, operands, tuple(places.get(o, -1) for o in outs)))
    close()
    layout = Layout(
        tuple(n.spec for n in places),
        len(program.params),
        tuple((i, dict(n.attrs)["value"].array) for n, i in places.items() if n.primitive is CONSTANT),
        tuple(places[r] for r in dict.fromkeys(program.roots) if r in made),
        tuple((places[n], at) for n, at in plan.offsets.items()),
        plan.nbytes,
    )
    symbols = [s for s in segments if isinstance(s, str)]
    code = jit.load(jit.compile(str(module), machine), symbols) if symbols else None
    peak = plan.peak([*program.params, *dict.fromkeys(r for r in program.roots if r in made)])
    return NativeExecutable(code, segments, layout, [places[r] for r in program.roots], peak)


def _touched(fusion: Fusion, step: Kernel | Node) -> list[Node]:
    if isinstance(step, Kernel):
        return list(step.buffers)
    outs = [step] if isinstance(step.spec, Spec) else [p for p in results(step) if p in fusion.used]
    return [*map(fusion.base, step.args), *outs]


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


def _driver(module: Module, name: str, kernels: Sequence[tuple[Kernel, int]], places: dict[Node, int]) -> str:
    """A function of the table that runs ``kernels`` in order."""
    f = Function(module, name, [("ptr", "table")])
    loaded: dict[int, str] = {}

    def pointer(i: int) -> str:
        if i not in loaded:
            at = f.fresh("p")
            f.emit(f"{at} = getelementptr ptr, ptr %table, i64 {i}")
            f.emit(f"%b{i} = load ptr, ptr {at}")
            loaded[i] = f"%b{i}"
        return f"ptr {loaded[i]}"

    for kernel, scratch in kernels:
        arguments = ", ".join(pointer(places[b]) for b in kernel.buffers)
        if not kernel.chunked:
            f.emit(f"call void @{kernel.name}({arguments}, i64 0, i64 {kernel.units})")
            continue
        call = f"call void @{kernel.name}({arguments}, {pointer(scratch)}, i64 "
        f.loop(index(0), index(kernel.units), 1, lambda i, call=call: f.emit(f"{call}{i.ref})"), hint="chunk")
    f.finish()
    return name
