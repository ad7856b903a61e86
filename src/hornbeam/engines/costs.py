"""What a run costs, known before it: bytes of memory, arithmetic operations, bytes that go to and from memory.

Three numbers, each with one definition for every engine:

- ``peak_bytes``: all buffers that are alive at once: arguments, results, constants, and what lies between.
- ``flops``: arithmetic of the simplified Program. A product of [m, k] and [k, n] is 2 m n k: a multiplication and an
  addition each. A map is one for every element of its result, whatever the function (an ``exp`` is one), a reduction
  one for every element that it reduces, a sort n log2 n for a line of n. Moving numbers is none: views, copies, casts,
  selections, gathers. A body of control flow counts as often as it runs; of several branches the costliest.
- ``bytes_moved``: every buffer that a kernel (here: a row) reads or writes, once, whole; of a gather or a slice with
  computed starts, only what it takes. Caches may make it less, and memory that is too small for them more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from hornbeam.base.spec import Spec
from hornbeam.ir.node import Node
from hornbeam.ir.program import Program, names_of

FREE = frozenset("select cast bitcast real imag conj complex".split())  # maps that only move numbers
UNKNOWN = frozenset("cholesky triangular_solve lu qr svd eigh eig fft callback".split())  # no count is exact
LARGEST = 8  # buffers that are shown


class Buffer(NamedTuple):
    """Memory of a run: what it is for, what is in it, and the user's line that asked for it."""

    role: str  # argument, result, constant, arena
    name: str
    spec: Spec
    line: str

    @property
    def nbytes(self) -> int:
        return self.spec.nbytes


class Costs(NamedTuple):
    """What running a program takes. Printing it gives a table.

    arguments, results, constants: bytes of what goes in, what comes out, and what the program has with it.
    arena: bytes of everything between, which share memory where they are not needed at the same time.
    flops, bytes_moved: see the top of this module.
    kernels, host_steps: how many pieces of compiled code run, and how many rows without native code.
    uncounted: what ``flops`` leaves out: rows whose arithmetic depends on the numbers, loops of unknown length (counted
        as one turn).
    buffers: all of them, the largest first.
    """

    program: str
    engine: str
    arguments: int
    results: int
    constants: int
    arena: int
    flops: int
    bytes_moved: int
    kernels: int
    host_steps: int
    uncounted: tuple[str, ...]
    buffers: tuple[Buffer, ...]

    @property
    def peak_bytes(self) -> int:
        return self.arguments + self.results + self.constants + self.arena

    def __str__(self) -> str:
        left_out = f"  (without {', '.join(self.uncounted)})" if self.uncounted else ""
        steps = f"{self.kernels} kernels" + (f", {self.host_steps} host steps" if self.host_steps else "")
        facts = [
            ("program", f"{self.program} on the {self.engine} engine: {steps}"),
            ("arguments", f"{self.arguments:,} bytes"),
            ("results", f"{self.results:,} bytes"),
            ("constants", f"{self.constants:,} bytes"),
            ("arena", f"{self.arena:,} bytes"),
            ("peak", f"{self.peak_bytes:,} bytes"),
            ("flops", f"{self.flops:,}{left_out}"),
            ("bytes moved", f"{self.bytes_moved:,}"),
        ]
        lines = [f"{k:<11}  {v}" for k, v in facts]
        shown = [(f"{b.nbytes:,}", b.role, f"{b.name} {b.spec}", b.line) for b in self.buffers[:LARGEST]]
        if shown:
            sizes, roles, names, _ = (max(map(len, column)) for column in zip(*shown, strict=True))
            lines.append("largest")
            lines += [f"  {n:>{sizes}}  {r:<{roles}}  {x:<{names}}  {at}".rstrip() for n, r, x, at in shown]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)


def by_size(buffers: list[Buffer]) -> tuple[Buffer, ...]:
    """The largest first, else in the order that they have."""
    return tuple(sorted((b for b in buffers if b.nbytes), key=lambda b: -b.nbytes))


def ends(program: Program) -> dict[Node, str]:
    """What a report calls what goes in and out: ``argument 0``, ``@kernel``, ``new @kernel``, ``result 1``."""
    names = {n: f"result {i}" for i, n in enumerate(program.outputs)}
    names |= {n: f"new {names_of(slot)}" for slot, n in program.updates.items()}
    names |= {n: f"argument {i}" for i, n in enumerate(program.inputs)}
    return names | {n: names_of(slot) for slot, n in program.reads.items()}


# -- counting -----------------------------------------------------------------------------------------


def flops(program: Program) -> int:
    """Arithmetic operations of a run."""
    return sum(map(flops_of, program.nodes))


def flops_of(node: Node) -> int:
    """Arithmetic operations of one row."""
    name, kind = node.primitive.name, node.primitive.kind
    if name in _FLOPS:
        return _FLOPS[name](node, dict(node.attrs))
    if kind == "map":
        return 0 if name in FREE else node.spec.size
    return node.args[0].spec.size if kind == "reduce" else repeated(node, flops)


def repeated(node: Node, cost: Callable[[Program], int]) -> int:
    """What the bodies of control flow cost together; 0 for other rows."""
    attrs = dict(node.attrs)
    each = [cost(body) for body in bodies(node)]
    return turns(node, attrs) * (max(each) if node.primitive.name == "switch" else sum(each)) if each else 0


def bodies(node: Node) -> Iterator[Program]:
    """The Programs that are attributes of ``node``."""
    for _, value in node.attrs:
        for body in value if isinstance(value, tuple) else (value,):
            if isinstance(body, Program):
                yield body


def turns(node: Node, attrs: Mapping[str, Any]) -> int:
    """How often the bodies of ``node`` run; of a while the most it may be, or 1 where nothing says."""
    if node.primitive.name == "while":
        return 1 if attrs["limit"] is None else int(attrs["limit"])
    return int(attrs.get("length", 1))


def uncounted(program: Program) -> tuple[str, ...]:
    """What ``flops`` leaves out, in words."""
    found: dict[str, int] = {}

    def walk(program: Program) -> None:
        for node in program.nodes:
            name = node.primitive.name
            endless = name == "while" and dict(node.attrs)["limit"] is None
            if name in UNKNOWN or endless:
                what = "all but one turn of while" if endless else name
                found[what] = found.get(what, 0) + 1
            for body in bodies(node):
                walk(body)

    walk(program)
    return tuple(name if n == 1 else f"{name} x{n}" for name, n in sorted(found.items()))


def _dot(node: Node, attrs: dict[str, Any]) -> int:
    return 2 * node.spec.size * math.prod(node.args[0].shape[a] for a in attrs["contract"][0])


def _lines(node: Node, attrs: dict[str, Any]) -> int:
    n = node.shape[attrs["axis"]]
    return node.spec.size * math.ceil(math.log2(n)) if n > 1 else 0


def _windows(which: Callable[[Node], Node]) -> Callable[[Node, dict[str, Any]], int]:
    return lambda node, attrs: which(node).spec.size * math.prod(attrs["window"])


def _convolution(y: Callable[[Node], Node], kernel: Callable[[Node], Node]) -> Callable[[Node, dict[str, Any]], int]:
    """Each of the y's takes a multiplication and an addition for every tap and channel of its group."""

    def count(node: Node, attrs: dict[str, Any]) -> int:
        k = kernel(node)
        return 2 * y(node).spec.size * (k.spec.size // max(k.shape[-1], 1))

    return count


def _itself(node: Node) -> Node:
    return node


_FLOPS: dict[str, Callable[[Node, dict[str, Any]], int]] = {
    "dot": _dot,
    "conv": _convolution(_itself, lambda n: n.args[1]),
    "conv_input_grad": _convolution(lambda n: n.args[0], lambda n: n.args[1]),
    "conv_kernel_grad": _convolution(lambda n: n.args[1], _itself),
    "pool_sum": _windows(_itself),
    "pool_max": _windows(_itself),
    "pool_pick": _windows(_itself),
    "pool_spread": _windows(lambda n: n.args[0]),
    "pool_unpick": _windows(lambda n: n.args[1]),
    "argmax": lambda node, attrs: node.args[0].spec.size,
    "argmin": lambda node, attrs: node.args[0].spec.size,
    "cumsum": lambda node, attrs: node.spec.size,
    "cumprod": lambda node, attrs: node.spec.size,
    "argsort": _lines,
    "scatter": lambda node, attrs: 0 if attrs["mode"] == "set" else node.args[2].spec.size,
    "random_bits": lambda node, attrs: node.spec.size,
}

TAKES_A_PART = frozenset(("gather", "dynamic_slice"))  # of its first operand, as much as its result is


def bytes_of_rows(program: Program) -> int:
    """``bytes_moved`` where every row is a kernel; views and constants move nothing."""
    return sum(map(bytes_of, program.nodes))


def bytes_of(node: Node) -> int:
    """Those that one row reads and writes."""
    if node.primitive.kind == "view" or node.primitive.name == "constant":
        return 0
    if any(True for _ in bodies(node)):
        return repeated(node, bytes_of_rows)
    args = dict.fromkeys(node.args)
    return nbytes(node) + sum(nbytes(node if taken(node, a) else a) for a in args)


def taken(node: Node, operand: Node) -> bool:
    """Whether ``node`` reads only as much of ``operand`` as it gives."""
    return node.primitive.name in TAKES_A_PART and operand is node.args[0]


def nbytes(node: Node) -> int:
    """Of a node's value, or of all values if there are several."""
    return node.spec.nbytes if isinstance(node.spec, Spec) else sum(s.nbytes for s in node.spec)
