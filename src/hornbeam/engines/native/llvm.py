"""Emitting LLVM IR as text: values that know their dtype and width, and structured loops in SSA form.

A ``Value`` of width 1 is a scalar, of width W a vector ``<W x …>``; mixing the two splats the scalar. bool is ``i1`` in
registers and a byte in memory. Half-precision arithmetic is done in float32 and rounded after every operation, which is
what the reference does. Nothing is ever contracted: ``fma`` is an instruction of its own.
"""

from __future__ import annotations

import itertools
import operator
import re
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType

HALF = (dtypes.float16, dtypes.bfloat16)
_NAMES = {
    "bool": "i1", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64",
    "float16": "half", "bfloat16": "bfloat", "float32": "float", "float64": "double",
}  # fmt: skip
SUPPORTED = frozenset(_NAMES)
_ELEMENT = {dtypes.as_dtype(name): element for name, element in _NAMES.items()}  # a dtype's own name is slow to ask


class Value(NamedTuple):
    """An SSA value or constant."""

    ref: str
    dtype: DType
    width: int = 1

    @property
    def type(self) -> str:
        return vector_type(_ELEMENT[self.dtype], self.width)

    @property
    def typed(self) -> str:
        return f"{self.type} {self.ref}"

    @property
    def is_constant(self) -> bool:
        return self.ref[0] not in "%@"


@cache
def vector_type(element: str, width: int) -> str:
    return element if width == 1 else f"<{width} x {element}>"


def memory_type(dtype: DType) -> str:
    """The type of one element in memory."""
    return "i8" if dtype == dtypes.bool_ else _ELEMENT[dtype]


def literal(value: Any, dtype: DType) -> str:
    """``value`` as IR text, exact to the bit."""
    element = _ELEMENT[dtype]
    if element == "i1":
        return "true" if value else "false"
    if element[0] == "i":
        return str(int(value))
    if element == "half":
        return f"0xH{np.float16(value).view(np.uint16):04X}"
    if element == "bfloat":
        return f"0xR{np.asarray(value, ml_dtypes.bfloat16).view(np.uint16):04X}"
    # Both float and double are written as the bits of a double.
    number = float(np.float32(value)) if element == "float" else float(value)
    return f"0x{struct.unpack('>Q', struct.pack('>d', number))[0]:016X}"


I64 = dtypes.int64


def index(i: int) -> Value:
    return Value(str(i), I64)


_SYMBOL = re.compile(r"@([\w.]+)")
_DEFINED = re.compile(r"([^@]*)@([\w.]+)(.*)", re.DOTALL)


class Module:
    """Functions and the declarations they need."""

    def __init__(self) -> None:
        self.functions: list[str] = []  # and the constants that they use
        self.globals: list[str] = []
        self.declared: dict[str, str] = {}
        self.bodies: dict[str, str] = {}  # text of a function or constant -> its name
        self._numbers = itertools.count()
        self._shared: dict[Any, Any] = {}
        self.exported: set[str] = set()  # functions that are looked up by their name
        self.helpers: set[str] = set()  # functions and constants already emitted, by name

    def name(self) -> str:
        """A name for a function, not given before."""
        return f"k{next(self._numbers)}"

    def shared(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` emitted for an equal ``key`` before, or emits now."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def constant(self, kind: str, values: Sequence[str]) -> str:
        """The name of an array of ``values`` of the type ``kind``; that of an equal one if there is one."""
        text = f" = internal constant [{len(values)} x {kind}] [{', '.join(f'{kind} {v}' for v in values)}]"
        if text not in self.bodies:
            self.bodies[text] = self.name()
            self.functions.append(f"@{self.bodies[text]}{text}")
        return self.bodies[text]

    def declare(self, name: str, result: str, *arguments: str) -> None:
        self.declared.setdefault(name, f"declare {result} @{name}({', '.join(arguments)})")

    def __str__(self) -> str:
        return "\n".join([*self.globals, *self.declared.values(), *self.distinct()])

    def distinct(self) -> list[str]:
        """Functions and constants without those that are equal to an earlier one, which their users use instead.

        Layers of one shape are one piece of code: LLVM takes most of the time that a first step takes.
        """
        names: dict[str, str] = {}  # of one left out -> of the one that stays
        known: dict[tuple[str, str], str] = {}
        kept = []
        for text in self.functions:  # what is called comes before its callers
            if names:
                text = _SYMBOL.sub(lambda m: f"@{names.get(m[1], m[1])}", text)
            head, name, rest = _DEFINED.match(text).groups()  # type: ignore[union-attr]
            first = known.setdefault((head, rest), name)
            if first == name or name in self.exported:
                kept.append(text)
            else:
                names[name] = first
        return kept


class Function:
    """One function being emitted: append-only text with a current block.

    Pointer parameters do not overlap unless it is ``aliased``. ``finish`` closes it and adds it to the module.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Sequence[tuple[str, str]],
        attributes: str = "",
        aliased: bool = False,
    ) -> None:
        self.module, self.name = module, name
        self.lines: list[str] = []
        self.entry: list[str] = []
        pointer = "ptr" if aliased else "ptr noalias"
        listed = ", ".join(f"{pointer if kind == 'ptr' else kind} %{p}" for kind, p in parameters)
        self.header = f"define void @{name}({listed}) {attributes}{{"
        self.counter = itertools.count()
        self.block = "start"
        self.known: dict[str, str] = {}  # what the block computes -> its name

    # -- text -------------------------------------------------------------------

    def fresh(self, hint: str = "v") -> str:
        return f"%{hint}{next(self.counter)}"

    def emit(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def define(self, dtype: DType, width: int, text: str) -> Value:
        """A new value of the instruction ``text``."""
        ref = self.fresh()
        self.emit(f"{ref} = {text}")
        return Value(ref, dtype, width)

    def pure(self, dtype: DType, width: int, text: str) -> Value:
        """The value of ``text``, which depends on its operands alone; computed once in a block."""
        ref = self.known.get(text)
        if ref is None:
            ref = self.known[text] = self.fresh()
            self.lines.append(f"  {ref} = {text}")
        return Value(ref, dtype, width)

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name
        self.known = {}

    def finish(self, share: bool = False) -> str:
        """Close it; returns the name of the function to call: an earlier, equal one if it may ``share``."""
        self.emit("ret void")
        body = "\n".join([self.header.partition("(")[2], "start:", *self.entry, *self.lines, "}"])
        name = self.module.bodies.setdefault(body, self.name) if share else self.name
        if name == self.name:
            self.module.functions.append(f"{self.header.partition('(')[0]}({body}")
        return name

    # -- control -------------------------------------------------------------------

    def loop(
        self,
        start: Value,
        stop: Value,
        step: int,
        body: Callable[..., Sequence[Value] | None],
        carries: Sequence[Value] = (),
        hint: str = "i",
    ) -> list[Value]:
        """``for i in range(start, stop, step)``: ``body(i, *carries)`` returns the next carries; so does this."""
        if start.is_constant and stop.is_constant and int(stop.ref) - int(start.ref) <= step:  # no turn, or one
            return list(body(start, *carries) or ()) if int(start.ref) < int(stop.ref) else list(carries)
        n = next(self.counter)
        head, inside, latch, done = (f"{hint}.{part}{n}" for part in ("head", "body", "latch", "done"))
        before = self.block
        self.emit(f"br label %{head}")
        self.label(head)
        i = Value(self.fresh(hint), I64)
        following = self.fresh(f"{hint}n")
        at = len(self.lines)
        phis = [Value(self.fresh("c"), c.dtype, c.width) for c in carries]
        test = self.fresh()
        self.emit(f"{test} = icmp slt i64 {i.ref}, {stop.ref}")
        self.emit(f"br i1 {test}, label %{inside}, label %{done}")
        self.label(inside)
        nexts = list(body(i, *phis) or ())
        self.emit(f"br label %{latch}")
        self.label(latch)
        self.emit(f"{following} = add nsw i64 {i.ref}, {step}")
        self.emit(f"br label %{head}")
        lines = [f"  {i.ref} = phi i64 [ {start.ref}, %{before} ], [ {following}, %{latch} ]"]
        for phi, first, nxt in zip(phis, carries, nexts, strict=True):
            lines.append(f"  {phi.ref} = phi {phi.type} [ {first.ref}, %{before} ], [ {nxt.ref}, %{latch} ]")
        self.lines[at:at] = lines
        self.label(done)
        return phis

    def any(self, mask: Value) -> Value:
        """Whether any lane of a bool vector is true."""
        if mask.width == 1:
            return mask
        name = f"llvm.vector.reduce.or.v{mask.width}i1"
        self.module.declare(name, "i1", mask.type)
        return self.define(mask.dtype, 1, f"call i1 @{name}({mask.typed})")

    def when(self, condition: Value, compute: Callable[[], Sequence[Value]], otherwise: Sequence[Value]) -> list[Value]:
        """A branch: the values of ``compute()`` where the scalar ``condition`` holds, else ``otherwise``."""
        n = next(self.counter)
        before = self.block
        self.emit(f"br i1 {condition.ref}, label %when{n}, label %after{n}")
        self.label(f"when{n}")
        computed = list(compute())
        inside = self.block
        self.emit(f"br label %after{n}")
        self.label(f"after{n}")
        return [
            self.define(x.dtype, x.width, f"phi {x.type} [ {y.ref}, %{before} ], [ {x.ref}, %{inside} ]")
            for x, y in zip(computed, otherwise, strict=True)
        ]

    def while_any(self, condition: Callable[[Value], Value], body: Callable[[Value], Value], start: Value) -> Value:
        """``while any(condition(x)): x = body(x)``."""
        n = next(self.counter)
        before = self.block
        self.emit(f"br label %while{n}")
        self.label(f"while{n}")
        x = Value(self.fresh("c"), start.dtype, start.width)
        at = len(self.lines)
        test = self.any(condition(x))
        self.emit(f"br i1 {test.ref}, label %again{n}, label %done{n}")
        self.label(f"again{n}")
        following = body(x)
        self.emit(f"br label %while{n}")
        self.lines.insert(
            at, f"  {x.ref} = phi {x.type} [ {start.ref}, %{before} ], [ {following.ref}, %{self.block} ]"
        )
        self.label(f"done{n}")
        return x

    def count_while(self, going: Callable[[Value], Value], body: Callable[[Value], Any]) -> Value:
        """``i = 0; while going(i): body(i); i += 1``; returns the last i."""
        n = next(self.counter)
        head, inside, done = (f"while.{part}{n}" for part in ("head", "body", "done"))
        before = self.block
        self.emit(f"br label %{head}")
        self.label(head)
        i, following = Value(self.fresh("i"), I64), self.fresh("in")
        at = len(self.lines)
        test = going(i)
        self.emit(f"br i1 {test.ref}, label %{inside}, label %{done}")
        self.label(inside)
        body(i)
        self.emit(f"{following} = add nsw i64 {i.ref}, 1")
        last = self.block
        self.emit(f"br label %{head}")
        self.lines.insert(at, f"  {i.ref} = phi i64 [ 0, %{before} ], [ {following}, %{last} ]")
        self.label(done)
        return i

    def only_if(self, condition: Value, body: Callable[[], Any]) -> None:
        """``if condition: body()``."""
        n = next(self.counter)
        self.emit(f"br i1 {condition.ref}, label %then{n}, label %after{n}")
        self.label(f"then{n}")
        body()
        self.emit(f"br label %after{n}")
        self.label(f"after{n}")

    # -- memory -------------------------------------------------------------------

    def alloca(self, dtype: DType, count: int) -> str:
        ref = self.fresh("stack")
        self.entry.append(f"  {ref} = alloca {memory_type(dtype)}, i64 {count}, align 64")
        return ref

    def address(self, base: str, offset: Value, dtype: DType) -> str:
        """The address of element ``offset`` of an array at ``base``."""
        if offset.ref == "0":
            return base
        return self.pure(I64, 1, f"getelementptr inbounds {memory_type(dtype)}, ptr {base}, i64 {offset.ref}").ref

    def load(self, address: str, dtype: DType, width: int = 1, mask: Value | None = None) -> Value:
        """``width`` consecutive elements; where ``mask`` is false memory is not touched and the lanes are zero."""
        element = memory_type(dtype)
        kind = vector_type(element, width)
        if mask is None:
            out = self.fresh()
            self.emit(f"{out} = load {kind}, ptr {address}, align {dtype.itemsize}")
        else:
            name = f"llvm.masked.load.v{width}{_suffix(element)}.p0"
            lanes = f"<{width} x i1>"
            self.module.declare(name, kind, "ptr", "i32", lanes, kind)
            out = self.fresh()
            self.emit(
                f"{out} = call {kind} @{name}(ptr {address}, i32 {dtype.itemsize}, {lanes} {mask.ref}, "
                f"{kind} zeroinitializer)"
            )
        if dtype == dtypes.bool_:
            return self.define(dtype, width, f"icmp ne {kind} {out}, {'zeroinitializer' if width > 1 else '0'}")
        return Value(out, dtype, width)

    def store(self, value: Value, address: str, mask: Value | None = None) -> None:
        element = memory_type(value.dtype)
        kind = vector_type(element, value.width)
        ref = value.ref
        if value.dtype == dtypes.bool_:
            ref = self.fresh()
            self.emit(f"{ref} = zext {value.typed} to {kind}")
        if mask is None:
            self.emit(f"store {kind} {ref}, ptr {address}, align {value.dtype.itemsize}")
            return
        name = f"llvm.masked.store.v{value.width}{_suffix(element)}.p0"
        lanes = f"<{value.width} x i1>"
        self.module.declare(name, "void", kind, "ptr", "i32", lanes)
        self.emit(f"call void @{name}({kind} {ref}, ptr {address}, i32 {value.dtype.itemsize}, {lanes} {mask.ref})")

    def prefetch(self, address: str, write: bool = False, locality: int = 3) -> None:
        """Ask for the cache line at ``address``, which need not exist; ``locality`` 3 is the nearest cache."""
        self.module.declare("llvm.prefetch.p0", "void", "ptr", "i32", "i32", "i32")
        self.emit(f"call void @llvm.prefetch.p0(ptr {address}, i32 {int(write)}, i32 {locality}, i32 1)")

    def gather(self, base: str, offsets: Value, dtype: DType, mask: Value | None = None) -> Value:
        """Elements at a vector of i64 ``offsets`` from ``base``."""
        width, element = offsets.width, memory_type(dtype)
        if width == 1 and mask is None:
            return self.load(self.address(base, offsets, dtype), dtype)
        kind, lanes = f"<{width} x {element}>", f"<{width} x i1>"
        pointers = self.fresh("p")
        self.emit(f"{pointers} = getelementptr {element}, ptr {base}, {offsets.typed}")
        name = f"llvm.masked.gather.v{width}{_suffix(element)}.v{width}p0"
        self.module.declare(name, kind, f"<{width} x ptr>", "i32", lanes, kind)
        where = mask.ref if mask is not None else splat_constant("true", "i1", width)
        out = self.fresh()
        self.emit(
            f"{out} = call {kind} @{name}(<{width} x ptr> {pointers}, i32 {dtype.itemsize}, {lanes} {where}, "
            f"{kind} zeroinitializer)"
        )
        if dtype == dtypes.bool_:
            return self.define(dtype, width, f"icmp ne {kind} {out}, zeroinitializer")
        return Value(out, dtype, width)

    def scatter(self, value: Value, base: str, offsets: Value, mask: Value | None = None) -> None:
        """Store lanes at a vector of i64 ``offsets`` from ``base``."""
        if value.width == 1 and mask is None:
            self.store(value, self.address(base, offsets, value.dtype))
            return
        width, element = value.width, memory_type(value.dtype)
        kind, lanes, ref = f"<{width} x {element}>", f"<{width} x i1>", value.ref
        if value.dtype == dtypes.bool_:
            ref = self.fresh()
            self.emit(f"{ref} = zext {value.typed} to {kind}")
        pointers = self.fresh("p")
        self.emit(f"{pointers} = getelementptr {element}, ptr {base}, {offsets.typed}")
        name = f"llvm.masked.scatter.v{width}{_suffix(element)}.v{width}p0"
        self.module.declare(name, "void", kind, f"<{width} x ptr>", "i32", lanes)
        where = mask.ref if mask is not None else splat_constant("true", "i1", width)
        self.emit(
            f"call void @{name}({kind} {ref}, <{width} x ptr> {pointers}, i32 {value.dtype.itemsize}, {lanes} {where})"
        )

    # -- values -------------------------------------------------------------------

    def constant(self, value: Any, dtype: DType, width: int = 1) -> Value:
        text = literal(value, dtype)
        return Value(text if width == 1 else splat_constant(text, _ELEMENT[dtype], width), dtype, width)

    def splat(self, x: Value, width: int) -> Value:
        if x.width == width:
            return x
        assert x.width == 1, f"cannot widen a vector of {x.width} lanes to {width}"
        element = _ELEMENT[x.dtype]
        if x.is_constant:
            return Value(splat_constant(x.ref, element, width), x.dtype, width)
        kind = vector_type(element, width)
        one = self.pure(x.dtype, width, f"insertelement {kind} poison, {element} {x.ref}, i64 0")
        zeros = f"<{width} x i32> zeroinitializer"
        return self.pure(x.dtype, width, f"shufflevector {kind} {one.ref}, {kind} poison, {zeros}")

    def alike(self, *xs: Value) -> list[Value]:
        """All with the width of the widest."""
        width = max(x.width for x in xs)
        return [self.splat(x, width) for x in xs]

    def lanes(self, width: int, dtype: DType = I64) -> Value:
        """The vector 0, 1, …, width - 1."""
        element = _ELEMENT[dtype]
        if width == 1:
            return Value(literal(0, dtype), dtype)
        return Value("<" + ", ".join(f"{element} {literal(i, dtype)}" for i in range(width)) + ">", dtype, width)

    def tail_mask(self, count: Value, width: int) -> Value:
        """Lanes below ``count``."""
        return self.compare("lt", self.lanes(width), self.splat(count, width))

    def extract(self, x: Value, lane: int) -> Value:
        return x if x.width == 1 else self.define(x.dtype, 1, f"extractelement {x.typed}, i64 {lane}")

    def halves(self, x: Value) -> tuple[Value, Value]:
        half = x.width // 2
        if half == 1:
            return self.extract(x, 0), self.extract(x, 1)
        parts = []
        for start in (0, half):
            picks = ", ".join(f"i32 {start + i}" for i in range(half))
            parts.append(
                self.define(x.dtype, half, f"shufflevector {x.typed}, {x.type} poison, <{half} x i32> <{picks}>")
            )
        return parts[0], parts[1]

    def interleaved(self, x: Value, y: Value) -> tuple[Value, Value]:
        """x0, y0, x1, y1, … as two vectors."""
        if x.width == 1:
            return x, y
        parts = []
        for start in (0, x.width // 2):
            picks = ", ".join(f"i32 {start + i // 2 + i % 2 * x.width}" for i in range(x.width))
            chosen = f"shufflevector {x.typed}, {y.typed}, <{x.width} x i32> <{picks}>"
            parts.append(self.define(x.dtype, x.width, chosen))
        return parts[0], parts[1]

    # -- arithmetic -------------------------------------------------------------------

    def in_float(self, compute: Callable[..., Value], *xs: Value) -> Value:
        """``compute`` on half-precision values widened to float32, the result rounded back."""
        return self.cast(compute(*(self.cast(x, dtypes.float32) for x in xs)), xs[0].dtype)

    def _binary(self, float_op: str, int_op: str, x: Value, y: Value) -> Value:
        if x.width != y.width:
            x, y = self.alike(x, y)
        if x.dtype == I64 and (known := _known(int_op, x.ref, y.ref)) is not None:
            return Value(known, I64, x.width)
        if x.dtype in HALF:
            return self.in_float(lambda a, b: self._binary(float_op, int_op, a, b), x, y)
        op = float_op if dtypes.is_floating(x.dtype) else int_op
        return self.pure(x.dtype, x.width, f"{op} {x.type} {x.ref}, {y.ref}")

    def add(self, x: Value, y: Value) -> Value:
        return self._binary("fadd", "add", x, y)

    def sub(self, x: Value, y: Value) -> Value:
        return self._binary("fsub", "sub", x, y)

    def mul(self, x: Value, y: Value) -> Value:
        return self._binary("fmul", "mul", x, y)

    def div(self, x: Value, y: Value) -> Value:
        return self._binary("fdiv", "udiv" if x.dtype.kind == "u" else "sdiv", x, y)

    def rem(self, x: Value, y: Value) -> Value:
        return self._binary("frem", "urem" if x.dtype.kind == "u" else "srem", x, y)

    def neg(self, x: Value) -> Value:
        if dtypes.is_floating(x.dtype):
            if x.dtype in HALF:
                return self.in_float(self.neg, x)
            return self.pure(x.dtype, x.width, f"fneg {x.typed}")
        return self.sub(self.constant(0, x.dtype, x.width), x)

    def bits(self, op: str, x: Value, y: Value) -> Value:
        """``and or xor shl lshr ashr``."""
        x, y = self.alike(x, y)
        if x.dtype == I64 and (known := _known(op, x.ref, y.ref)) is not None:
            return Value(known, I64, x.width)
        return self.pure(x.dtype, x.width, f"{op} {x.type} {x.ref}, {y.ref}")

    def invert(self, x: Value) -> Value:
        return self.bits("xor", x, self.constant(1 if x.dtype == dtypes.bool_ else -1, x.dtype, x.width))

    def compare(self, op: str, x: Value, y: Value) -> Value:
        """``eq ne lt le gt ge``; with NaN only ``ne`` holds."""
        x, y = self.alike(x, y)
        if x.dtype in HALF:
            x, y = (self.cast(v, dtypes.float32) for v in (x, y))
        if dtypes.is_floating(x.dtype):
            code = f"fcmp {'une' if op == 'ne' else 'o' + op}"
        elif op in ("eq", "ne"):
            code = f"icmp {op}"
        else:
            code = f"icmp {'s' if x.dtype.kind == 'i' else 'u'}{op}"
        return self.pure(dtypes.bool_, x.width, f"{code} {x.type} {x.ref}, {y.ref}")

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        condition, x, y = self.alike(condition, x, y)
        return self.pure(x.dtype, x.width, f"select {condition.typed}, {x.typed}, {y.typed}")

    def intrinsic(self, name: str, *xs: Value) -> Value:
        """``llvm.<name>`` of operands of one type."""
        xs = tuple(self.alike(*xs))
        first = xs[0]
        if first.dtype == I64 and len(xs) == 2 and (known := _known(name, first.ref, xs[1].ref)) is not None:
            return Value(known, I64, first.width)
        full = f"llvm.{name}.{'v' + str(first.width) if first.width > 1 else ''}{_suffix(_ELEMENT[first.dtype])}"
        self.module.declare(full, first.type, *(x.type for x in xs))
        return self.define(first.dtype, first.width, f"call {first.type} @{full}({', '.join(x.typed for x in xs)})")

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x * y + z, rounded once."""
        return self.intrinsic("fma", x, y, z)

    def pairs(self, x: Value) -> Value:
        """Neighbours of a vector of bfloat16 as uint32, the first of each two in the upper half."""
        width = x.width // 2
        whole = self.define(dtypes.uint32, width, f"bitcast {x.typed} to {Value('', dtypes.uint32, width).type}")
        return self.intrinsic("fshl", whole, whole, self.constant(16, dtypes.uint32, width))

    def add_pairs(self, x: Value, y: Value, z: Value) -> Value:
        """float32 z + x * y, where x and y are uint32 that hold two bfloat16: first the upper halves, then the lower.

        Each product is exact and each sum rounded; operands and sums that are subnormal count as 0. Needs avx512bf16.
        """
        width = z.width
        pair = f"<{2 * width} x bfloat>"
        halves = [self.define(dtypes.bfloat16, 2 * width, f"bitcast {v.typed} to {pair}") for v in (x, y)]
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * width}"
        self.module.declare(name, z.type, z.type, pair, pair)
        return self.define(z.dtype, width, f"call {z.type} @{name}({', '.join(v.typed for v in (z, *halves))})")

    def bitcast(self, x: Value, dtype: DType) -> Value:
        out = Value("", dtype, x.width)
        if x.dtype == dtypes.bool_:  # a byte outside registers
            return self.cast(x, dtype)
        return self.pure(dtype, x.width, f"bitcast {x.typed} to {out.type}")

    def cast(self, x: Value, dtype: DType) -> Value:
        """As the reference casts: floating to integer saturates, NaN becomes 0; to bool asks whether it is 0."""
        source = x.dtype
        if source == dtype:
            return x
        target = Value("", dtype, x.width).type
        if dtype == dtypes.bool_:
            return self.compare("ne", x, self.constant(0, source, x.width))
        if source == dtypes.bool_:
            if dtypes.is_floating(dtype):
                one, zero = self.constant(1, dtype, x.width), self.constant(0, dtype, x.width)
                return self.select(x, one, zero)
            return self.define(dtype, x.width, f"zext {x.typed} to {target}")
        if dtypes.is_floating(source) and dtypes.is_floating(dtype):
            if source in HALF and dtype in HALF:
                return self.cast(self.cast(x, dtypes.float32), dtype)
            if source == dtypes.float64 and dtype == dtypes.bfloat16:
                return self.cast(self.cast(x, dtypes.float32), dtype)  # as ml_dtypes does
            if source == dtypes.float64 and dtype == dtypes.float16:
                return self.cast(self._to_odd(x), dtype)
            if dtype == dtypes.bfloat16:
                return self._to_bfloat16(x)
            if source == dtypes.bfloat16 and dtype == dtypes.float64:
                return self.cast(self.cast(x, dtypes.float32), dtype)
            if source == dtypes.bfloat16:  # no fpext, which LLVM would swap with floor and then call for the way back
                upper = self.cast(self.bitcast(x, dtypes.uint16), dtypes.uint32)
                return self.bitcast(self.bits("shl", upper, self.constant(16, dtypes.uint32, x.width)), dtype)
            op = "fpext" if dtype.itemsize > source.itemsize else "fptrunc"
            return self.define(dtype, x.width, f"{op} {x.typed} to {target}")
        if dtypes.is_floating(source):
            if source in HALF:
                return self.cast(self.cast(x, dtypes.float32), dtype)
            op = "fptoui" if dtype.kind == "u" else "fptosi"
            name = f"llvm.{op}.sat.{_mangled(target)}.{_mangled(x.type)}"
            self.module.declare(name, target, x.type)
            return self.define(dtype, x.width, f"call {target} @{name}({x.typed})")
        if dtypes.is_floating(dtype):
            if dtype in HALF:
                return self.cast(self.cast(x, dtypes.float32), dtype)
            return self.define(dtype, x.width, f"{'uitofp' if source.kind == 'u' else 'sitofp'} {x.typed} to {target}")
        if dtype.itemsize == source.itemsize:
            return Value(x.ref, dtype, x.width)
        op = "trunc" if dtype.itemsize < source.itemsize else "zext" if source.kind == "u" else "sext"
        return self.define(dtype, x.width, f"{op} {x.typed} to {target}")

    def _to_bfloat16(self, x: Value) -> Value:
        """float32 to bfloat16, half to even, in integers.

        NOTE: no fptrunc: where the CPU has the instruction it loses subnormals, and elsewhere it is a call.
        """
        bits = self.bitcast(x, dtypes.uint32)
        upper = self.bits("lshr", bits, self.constant(16, dtypes.uint32, x.width))
        odd = self.bits("and", upper, self.constant(1, dtypes.uint32, x.width))
        rounded = self.add(self.add(bits, self.constant(0x7FFF, dtypes.uint32, x.width)), odd)
        quiet = self.bits("or", bits, self.constant(0x400000, dtypes.uint32, x.width))
        chosen = self.select(self.is_nan(x), quiet, rounded)
        upper = self.bits("lshr", chosen, self.constant(16, dtypes.uint32, x.width))
        return self.bitcast(self.cast(upper, dtypes.uint16), dtypes.bfloat16)

    def _to_odd(self, x: Value) -> Value:
        """float64 to float32, an inexact one to the neighbour with an odd last bit: rounding that again is right.

        NOTE: LLVM would call __truncdfhf2 for float64 to float16, which a process need not have.
        """
        near = self.define(dtypes.float32, x.width, f"fptrunc {x.typed} to {Value('', dtypes.float32, x.width).type}")
        back = self.cast(near, dtypes.float64)
        beyond = self.compare("gt", self.intrinsic("fabs", back), self.intrinsic("fabs", x))
        bits = self.sub(self.bitcast(near, dtypes.int32), self.cast(beyond, dtypes.int32))
        inexact = self.cast(self.compare("ne", back, x), dtypes.int32)
        return self.bitcast(self.bits("or", bits, inexact), dtypes.float32)

    def is_nan(self, x: Value) -> Value:
        x = self.cast(x, dtypes.float32) if x.dtype in HALF else x
        return self.define(dtypes.bool_, x.width, f"fcmp uno {x.type} {x.ref}, {x.ref}")

    def extremum(self, op: str, x: Value, y: Value) -> Value:
        """``max`` or ``min`` with NaN winning, as NumPy has it."""
        if dtypes.is_integer(x.dtype):  # not by comparison: LLVM 22 gets some of those with -1 in every lane wrong
            return self.intrinsic(f"{'u' if x.dtype.kind == 'u' else 's'}{op}", x, y)
        first = self.compare("ge" if op == "max" else "le", x, y)
        if dtypes.is_floating(x.dtype):
            first = self.bits("or", *self.alike(first, self.is_nan(x)))
        return self.select(first, x, y)


_ON_CONSTANTS: dict[str, Callable[[int, int], int]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "and": operator.and_, "smin": min, "smax": max,
}  # fmt: skip
_UNIT = {"add": "0", "sub": "0", "mul": "1", "sdiv": "1"}  # as the second operand it changes nothing


def _known(op: str, x: str, y: str) -> str | None:
    """What ``op`` makes of 64-bit integers if that needs no instruction; None if it does."""
    if y == _UNIT.get(op):
        return x
    if x == _UNIT.get(op) and op in ("add", "mul"):
        return y
    if (op == "mul" and "0" in (x, y)) or (op == "srem" and y == "1"):
        return "0"
    compute = _ON_CONSTANTS.get(op)
    if compute is None or not (_NUMBER.fullmatch(x) and _NUMBER.fullmatch(y)):
        return None
    return str((compute(int(x), int(y)) + 2**63) % 2**64 - 2**63)


_NUMBER = re.compile("-?[0-9]+")


def splat_constant(text: str, element: str, width: int) -> str:
    return "<" + ", ".join([f"{element} {text}"] * width) + ">"


def _suffix(element: str) -> str:
    return {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}.get(element, element)


def _mangled(kind: str) -> str:
    if not kind.startswith("<"):
        return _suffix(kind)
    width, element = kind.strip("<>").split(" x ")
    return f"v{width}{_suffix(element)}"
