"""Control flow without a return to Python: bodies become functions of tables of addresses, called from loops.

The carries of a loop have two buffers and take turns. A body writes its results where they are wanted; what it merely
passes through is copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from hornbeam.base import dtypes
from hornbeam.engines.costs import bodies, turns
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import I64, Function, Module, Value, index
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.plan import ALIGNMENT
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import Target
from hornbeam.ir.node import Node, results
from hornbeam.ir.program import Program

Address = str


class Body:
    """A body lowered inside the function that runs it: a table on the stack, and memory in the node's scratch."""

    def __init__(self, owner: Control, program: Program) -> None:
        self.owner, self.f = owner, owner.f
        self.lowered = Lowered.of(owner.module, prepared(program), owner.machine, owner.fusion.templates)
        self.name = f"{owner.name}.body{owner.bodies}."
        owner.bodies += 1
        self.functions = self.lowered.segments(self.name)
        self.arena = owner.reserve(self.lowered.plan.nbytes)
        self.own = {r: owner.reserve(r.spec.nbytes) for r in self.lowered.made}

    def prepare(self) -> None:
        """Make the table and fill in what never changes."""
        f, places = self.f, self.lowered.places
        self.table = f.fresh("table")
        f.entry.append(f"  {self.table} = alloca ptr, i64 {max(len(places), 1)}, align 64")
        for node in self.lowered.constants:
            self._put(places[node], self.owner.address_of(node))
        for node, at in self.lowered.plan.offsets.items():
            self._put(places[node], self.owner.scratch(self.arena + at))

    def _put(self, place: int, address: Address) -> None:
        f = self.f
        slot = f.fresh("slot")
        f.emit(f"{slot} = getelementptr ptr, ptr {self.table}, i64 {place}")
        f.emit(f"store ptr {address}, ptr {slot}")

    def run(self, inputs: Sequence[Address], outputs: Sequence[Address | None]) -> None:
        """Call it on these addresses of inputs; results go to ``outputs`` (None: nobody wants it)."""
        program, places = self.lowered.program, self.lowered.places
        for p, address in zip(program.inputs, inputs, strict=True):
            self._put(places[p], address)
        written: dict[Node, Address] = {}
        for root, wanted in zip(program.outputs, outputs, strict=True):
            if root in self.own and (root not in written or wanted is not None):
                written.setdefault(root, wanted or self.owner.scratch(self.own[root]))
        for root, address in written.items():
            self._put(places[root], address)
        for function in self.functions:
            self.f.emit(f"call void @{function}(ptr {self.table})")
        held = dict(zip(program.inputs, inputs, strict=True))
        for root, wanted in zip(program.outputs, outputs, strict=True):
            source = written.get(root) or held.get(root) or self.owner.address_of(root)
            if wanted is not None and wanted is not source:
                self.owner.copy(source, wanted, root.spec.nbytes)


class Control:
    """Emits the one function of a control-flow node: ``name(buffers…, scratch, unit)``."""

    def __init__(self, module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> None:
        self.module, self.fusion, self.name, self.node, self.machine = module, fusion, name, node, machine
        self.operands = [fusion.base(a) for a in node.args]
        self.outs = [p if p in fusion.used else None for p in results(node)]
        constants = [n for b in bodies(node) for n in _constants(b)]
        buffers = [*self.operands, *(o for o in self.outs if o is not None), *constants]
        self.buffers = tuple(dict.fromkeys(buffers))
        self.numbers = {b: i for i, b in enumerate(self.buffers)}
        parameters = [("ptr", f"b{i}") for i in range(len(self.buffers))] + [("ptr", "scratch"), ("i64", "unit")]
        self.f = Function(module, name, parameters, aliased=True)
        self.bytes = 0
        self.bodies = 0

    def reserve(self, nbytes: int) -> int:
        at = self.bytes
        self.bytes += -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        return at

    def address_of(self, node: Node) -> Address:
        return f"%b{self.numbers[node]}"

    def scratch(self, at: int) -> Address:
        return self.f.address("%scratch", index(at), dtypes.uint8)

    def element(self, base: Address, i: Value, nbytes: int) -> Address:
        """``base`` plus ``i`` parts of ``nbytes``."""
        return self.f.address(base, self.f.mul(i, index(nbytes)), dtypes.uint8)

    def copy(self, source: Address, target: Address, nbytes: int) -> None:
        if nbytes:
            self.module.declare("llvm.memmove.p0.p0.i64", "void", "ptr", "ptr", "i64", "i1")
            self.f.emit(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, i64 {nbytes}, i1 false)")

    def done(self, *each: int) -> list[Kernel]:
        """``each``: the bytes that every body moves in one turn."""
        moved = turns(self.node, dict(self.node.attrs)) * sum(each)
        name = self.f.finish(share=True)
        return [Kernel(name, self.buffers, 1, (self.node,), 0, self.bytes, chunked=True, within=moved)]


class Turns:
    """Two buffers for each of ``nodes``: what a step reads and what it writes change places."""

    def __init__(self, control: Control, nodes: Sequence[Node]) -> None:
        self.control = control
        self.sizes = [-(-max(n.spec.nbytes, 1) // ALIGNMENT) * ALIGNMENT for n in nodes]
        self.nbytes = [n.spec.nbytes for n in nodes]
        self.starts = [control.reserve(2 * size) for size in self.sizes]

    def at(self, step: Value) -> list[Address]:
        """Where the values that enter ``step`` are."""
        turn = self.control.f.bits("and", step, index(1))
        return [
            self.control.element(self.control.scratch(start), turn, size)
            for start, size in zip(self.starts, self.sizes, strict=True)
        ]

    def begin(self, sources: Sequence[Address]) -> None:
        for source, target, n in zip(sources, self.at(index(0)), self.nbytes, strict=True):
            self.control.copy(source, target, n)

    def end(self, step: Value, outs: Sequence[Node | None]) -> None:
        for source, out, n in zip(self.at(step), outs, self.nbytes, strict=True):
            if out is not None:
                self.control.copy(source, self.control.address_of(out), n)


def scan(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    c = Control(module, fusion, name, node, machine)
    f, attrs = c.f, dict(node.attrs)
    n, xs, length = attrs["carries"], attrs["xs"], attrs["length"]
    body = Body(c, attrs["body"])
    carried = Turns(c, body.lowered.program.inputs[:n])
    body.prepare()
    given = [c.address_of(b) for b in c.operands]
    carried.begin(given[:n])
    steps = body.lowered.program.inputs[n : n + xs]
    ys = list(zip(c.outs[n:], body.lowered.program.outputs[n:], strict=True))

    def step(i: Value) -> None:
        at = f.sub(index(length - 1), i) if attrs["reverse"] else i
        slices = [c.element(a, at, s.spec.nbytes) for a, s in zip(given[n : n + xs], steps, strict=True)]
        rows = [None if o is None else c.element(c.address_of(o), at, y.spec.nbytes) for o, y in ys]
        body.run([*carried.at(i), *slices, *given[n + xs :]], [*carried.at(f.add(i, index(1))), *rows])

    f.loop(index(0), index(length), 1, step, hint="step")
    carried.end(index(length), c.outs[:n])
    return c.done(body.lowered.bytes_moved)


def while_(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    c = Control(module, fusion, name, node, machine)
    f, attrs = c.f, dict(node.attrs)
    n, limit = attrs["carries"], attrs["limit"]
    condition, body = Body(c, attrs["condition"]), Body(c, attrs["body"])
    carried = Turns(c, body.lowered.program.inputs[:n])
    answer = c.reserve(1)
    condition.prepare()
    body.prepare()
    given = [c.address_of(b) for b in c.operands]
    carried.begin(given[:n])

    def going(i: Value) -> Value:
        flag = c.scratch(answer)
        condition.run([*carried.at(i), *given[n:]], [flag])
        more = f.load(flag, dtypes.bool_)
        return more if limit is None else f.bits("and", more, f.compare("lt", i, index(limit)))

    def step(i: Value) -> None:
        body.run([*carried.at(i), *given[n:]], carried.at(f.add(i, index(1))))

    carried.end(f.count_while(going, step), c.outs)
    return c.done(condition.lowered.bytes_moved, body.lowered.bytes_moved)


def switch(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    c = Control(module, fusion, name, node, machine)
    f, branches = c.f, dict(node.attrs)["branches"]
    which = f.load(c.address_of(c.operands[0]), node.args[0].dtype)
    chosen = f.intrinsic("smin", f.intrinsic("smax", _signed(f, which), index(0)), index(len(branches) - 1))
    given = [c.address_of(b) for b in c.operands[1:]]
    outs = [None if o is None else c.address_of(o) for o in c.outs]
    moved = []
    for i, branch in enumerate(branches):
        body = Body(c, branch)
        moved.append(body.lowered.bytes_moved)

        def take(body: Body = body) -> None:
            body.prepare()
            body.run(given, outs)

        f.only_if(f.compare("eq", chosen, index(i)), take)
    return c.done(max(moved))


def _signed(f: Function, value: Value) -> Value:
    if value.dtype == dtypes.uint64:
        largest = f.constant(2**63 - 1, dtypes.uint64)
        return Value(f.intrinsic("umin", value, largest).ref, I64)
    return f.cast(value, I64)


def call(module: Module, fusion: Fusion, name: str, node: Node, machine: Target) -> list[Kernel]:
    c = Control(module, fusion, name, node, machine)
    body = Body(c, dict(node.attrs)["program"])
    body.prepare()
    body.run([c.address_of(b) for b in c.operands], [None if o is None else c.address_of(o) for o in c.outs])
    return c.done(body.lowered.bytes_moved)


def _constants(program: Program) -> list[Node]:
    """The constants that a body reads from memory, its own bodies' included, and those that it returns."""
    program = prepared(program)
    found = [n for n in (*program.nodes, *program.outputs) if n.primitive.name == "constant"]
    for node in program.nodes:
        for inner in bodies(node):
            found += _constants(inner)
    return found


