"""Random Programs of all kinds of rows, what the native engine is held to on them, and cutting down those that fail.

``Maker(seed).program(size)`` grows a graph node by node from a small pool of dimensions, so that shapes meet often.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.engine import Loop, one_by_one
from hornbeam.engines.native import loops
from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.target import host
from hornbeam.errors import HornbeamError
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.fold import is_exact
from hornbeam.ir.grad import gradients
from hornbeam.ir.node import NODES, PARAM, Node, make, param, results
from hornbeam.ir.primitives import arith, compare, contract, control, index, movement, reduce, scan
from hornbeam.ir.primitives.random import RANDOM_BITS
from hornbeam.ir.program import Program, apply, substitute

Arrays = list[np.ndarray]
F32, F64, I32, I64, BOOL, U32 = (
    dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.bool_, dtypes.uint32
)  # fmt: skip
F16, BF16 = dtypes.float16, dtypes.bfloat16
OTHERS = (dtypes.int8, dtypes.int16, dtypes.uint8, dtypes.uint16, U32, dtypes.uint64)
DIMS = (1, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33, 64, 67, 130, 257)
LIMIT = 20_000  # elements of a node
DEPTH = 2  # of bodies in bodies

UNARY = [
    arith.NEG, arith.ABS, arith.SIGN, arith.FLOOR, arith.CEIL, arith.ROUND, arith.EXP, arith.EXPM1, arith.LOG,
    arith.LOG1P, arith.SQRT, arith.RSQRT, arith.TANH, arith.LOGISTIC, arith.SIN, arith.COS, arith.ERF, arith.ATAN,
]  # fmt: skip
RARE = [
    arith.TRUNC, arith.CBRT, arith.TAN, arith.ASIN, arith.ACOS, arith.SINH, arith.COSH, arith.ASINH, arith.ACOSH,
    arith.ATANH, arith.ERFC, arith.ERF_INV, arith.LGAMMA, arith.DIGAMMA, movement.STOP_GRADIENT, compare.IS_FINITE,
]  # fmt: skip
BINARY = [
    arith.ADD, arith.SUB, arith.MUL, arith.DIV, arith.MAX, arith.MIN, arith.POW, arith.ATAN2, arith.MOD,
    arith.FLOORDIV, arith.NEXTAFTER,
]  # fmt: skip
WHOLE = [
    arith.ADD, arith.SUB, arith.MUL, arith.MAX, arith.MIN, arith.FLOORDIV, arith.MOD, arith.AND, arith.OR, arith.XOR,
    arith.SHIFT_LEFT, arith.SHIFT_RIGHT,
]  # fmt: skip
COMPARE = [compare.EQ, compare.NE, compare.LT, compare.LE, compare.GT, compare.GE]
LOGIC = [arith.AND, arith.OR, arith.XOR]
ADDING = [reduce.SUM, reduce.SUM, reduce.REDUCE_MAX, reduce.REDUCE_MIN, reduce.PROD]


def random_array(rng: np.random.Generator, spec: Spec) -> np.ndarray:
    if spec.dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, spec.shape)).astype(bool)
    if spec.dtype.kind in "iu":
        return np.asarray(rng.integers(0 if spec.dtype.kind == "u" else -5, 9, spec.shape)).astype(spec.dtype)
    values = rng.normal(size=spec.shape)
    if rng.random() < 0.3:
        values = np.round(values * 2) / 2  # ties, and zeros of both signs
    return np.asarray(values).astype(spec.dtype)


class Maker:
    """Grows one Program. ``program`` gives it and arguments for it.

    One for the body of control flow in another (``depth``) makes constants where it would make parameters.
    """

    def __init__(self, seed: int, depth: int = 0) -> None:
        self.depth = depth
        self.random = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.dims = [self.random.choice(DIMS) for _ in range(self.random.randint(2, 4))]
        if self.random.random() < 0.08:
            self.dims.append(0)
        self.float = self.random.choice((F32, F32, F32, F32, F32, F64, F64, F16, BF16))
        self.params: list[Node] = []
        self.pool: list[Node] = []

    # -- choosing -------------------------------------------------------------------

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def shape(self, most: int = 4) -> tuple[int, ...]:
        while True:
            shape = tuple(self.random.choice(self.dims) for _ in range(self.random.randint(0, most)))
            if math.prod(shape) <= LIMIT // 4:
                return shape

    def parameter(self, shape: Sequence[int] | None = None, dtype: Any = None) -> Node:
        if dtype is None:
            usual = (self.float,) * 6 + (F32, F64, I32, I64, BOOL)
            dtype = self.random.choice((F16, BF16, *OTHERS) if self.chance(0.12) else usual)
        spec = Spec(self.shape() if shape is None else tuple(shape), dtype)
        if self.depth and spec.size > 64:
            raise Unfit
        node = constant(random_array(self.rng, spec)) if self.depth else param(spec)
        self.params += [] if self.depth else [node]
        self.pool.append(node)
        return node

    def some(self, *kinds: str, test: Callable[[Node], bool] = lambda n: True) -> Node:
        """A node of a dtype of one of ``kinds`` (``f i b``), more often a late one, or a new parameter."""
        fits = [n for n in self.pool if (not kinds or kind_of(n) in kinds) and test(n)]
        if not fits or self.chance(0.05):
            made = self.parameter(dtype={"i": I32, "b": BOOL}.get(kinds[0] if kinds else "f", self.float))
            if test(made):
                return made
        if not fits:
            raise Unfit
        return fits[max(int(len(fits) * self.random.random() ** 0.4) - 1, 0)]

    def partner(self, x: Node, dtype: Any = None) -> Node:
        """A node that broadcasts with ``x``, of its dtype (or of ``dtype``)."""
        dtype = dtype or x.dtype
        fits = [n for n in self.pool if n.dtype == dtype and broadcasts(n.shape, x.shape)]
        if fits and self.chance(0.75):
            return self.random.choice(fits)
        if self.chance(0.4):
            number = self.random.choice((0, 1, 2, -1, 0.5, 3)) if dtype.kind not in "bu" else 1
            return constant(np.asarray(number).astype(dtype))
        dropped = self.random.randint(0, len(x.shape)) if self.chance(0.3) else 0
        shape = [d if self.chance(0.7) else 1 for d in x.shape[dropped:]]
        if self.chance(0.15) and math.prod(shape) <= 4000:
            return constant(random_array(self.rng, Spec(tuple(shape), dtype)))
        return self.parameter(shape, dtype)

    def axes(self, rank: int) -> tuple[int, ...]:
        if rank and self.chance(0.4):
            return (rank - 1,)
        return tuple(i for i in range(rank) if self.chance(0.5))

    # -- one step -------------------------------------------------------------------

    def grow(self) -> None:
        step = self.random.choices([s for s, _ in STEPS], [w for _, w in STEPS])[0]
        try:
            made = step(self)
        except (Unfit, HornbeamError):
            return
        for node in made if isinstance(made, list) else [made]:
            if node.spec.size <= LIMIT:
                self.pool.append(node)

    def unary(self) -> Node:
        x = self.some()
        if kind_of(x) == "b":
            return ~x
        if kind_of(x) == "i":
            return self.random.choice((arith.NEG, arith.ABS, arith.SIGN, arith.NOT))(x)
        return self.random.choice(UNARY if self.chance(0.8) else RARE)(x)

    def binary(self) -> Node:
        x = self.some()
        y = self.partner(x)
        if self.chance(0.5):
            x, y = y, x
        table = {"b": LOGIC, "i": WHOLE, "f": BINARY if self.chance(0.3) else BINARY[:3]}[kind_of(x)]
        return self.random.choice(table)(x, y)

    def compare(self) -> Node:
        x = self.some("f", "i")
        return self.random.choice(COMPARE)(x, self.partner(x))

    def select(self) -> Node:
        x = self.some()
        return arith.SELECT(self.partner(x, BOOL), x, self.partner(x))

    def cast(self) -> Node:
        x = self.some()
        to = self.random.choice((F32, F64, I32, I64, BOOL, self.float, F16, BF16, *OTHERS))
        return arith.CAST(x, dtype=to)

    def bitcast(self) -> Node:
        """Integers as other numbers, and numbers that are given as integers: which NaN was computed is not defined."""
        x = self.some("i", "f", test=lambda n: kind_of(n) == "i" or n.primitive is PARAM)
        same = [d for d in (F32, F64, I32, I64, F16, BF16, *OTHERS) if d.itemsize == x.dtype.itemsize]
        return arith.BITCAST(x, dtype=self.random.choice(same))

    def reshape(self) -> Node:
        x = self.some()
        if self.chance(0.3):  # ones in and out
            shape = [d for d in x.shape if d != 1]
            shape.insert(self.random.randint(0, len(shape)), 1)
            return movement.RESHAPE(x, shape=tuple(shape))
        primes = factors(x.spec.size)
        self.random.shuffle(primes)
        shape = [1] * self.random.randint(1, 4)
        for p in primes:
            shape[self.random.randrange(len(shape))] *= p
        return movement.RESHAPE(x, shape=tuple(shape))

    def merge(self) -> Node:
        """Neighbouring axes taken as one, or one axis split as the pool's dimensions have it."""
        x = self.some(test=lambda n: len(n.shape) > 1)
        at = self.random.randrange(len(x.shape) - 1)
        return movement.RESHAPE(x, shape=(*x.shape[:at], x.shape[at] * x.shape[at + 1], *x.shape[at + 2 :]))

    def transpose(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 1)
        axes = list(range(len(x.shape)))
        self.random.shuffle(axes)
        return movement.TRANSPOSE(x, axes=tuple(axes))

    def broadcast(self) -> Node:
        x = self.some()
        shape = [self.random.choice(self.dims) if d == 1 else d for d in x.shape]
        if self.chance(0.5):
            shape.insert(0, self.random.choice(self.dims))
        if math.prod(shape) > LIMIT:
            raise Unfit
        return movement.BROADCAST(x, shape=tuple(shape))

    def slice(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 0)
        starts, limits, strides = [], [], []
        for d in x.shape:
            whole = self.chance(0.5)
            starts.append(0 if whole else self.random.randint(0, d))
            limits.append(d if whole else self.random.randint(starts[-1], d))
            strides.append(1 if self.chance(0.7) else self.random.randint(1, 3))
        return movement.SLICE(x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))

    def reverse(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 0)
        return movement.REVERSE(x, axes=tuple(i for i in range(len(x.shape)) if self.chance(0.5)))

    def pad(self) -> Node:
        x = self.some()
        widths = [[self.random.choice((0, 0, 1, 2)) for _ in x.shape] for _ in range(3)]
        if self.chance(0.6):
            widths[2] = [0] * len(x.shape)
        scalars = [n for n in self.pool if n.dtype == x.dtype and n.shape == ()]
        value = self.random.choice(scalars) if scalars and self.chance(0.5) else constant(np.zeros((), x.dtype))
        return movement.PAD(x, value, **dict(zip(("before", "after", "between"), map(tuple, widths), strict=True)))

    def concat(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 0)
        axis = self.random.randrange(len(x.shape))
        fits = [
            n for n in self.pool
            if n.dtype == x.dtype and len(n.shape) == len(x.shape) and without(n.shape, axis) == without(x.shape, axis)
        ]  # fmt: skip
        return movement.CONCAT(*[self.random.choice(fits) for _ in range(self.random.randint(1, 3))], x, axis=axis)

    def iota(self) -> Node:
        shape = self.shape()
        if not shape:
            raise Unfit
        return movement.IOTA(
            shape=shape, axis=self.random.randrange(len(shape)), dtype=self.random.choice((self.float, I32, I64))
        )

    def reduction(self) -> Node:
        x = self.some()
        axes = self.axes(len(x.shape))
        if kind_of(x) == "b":
            return self.random.choice((reduce.REDUCE_AND, reduce.REDUCE_OR))(x, axes=axes)
        return self.random.choice(ADDING)(x, axes=axes)

    def position(self) -> Node:
        x = self.some("f", "i", test=lambda n: len(n.shape) > 0)
        return self.random.choice((reduce.ARGMAX, reduce.ARGMIN))(x, axis=self.random.randrange(len(x.shape)))

    def cumulative(self) -> Node:
        x = self.some("f", "i", test=lambda n: len(n.shape) > 0)
        row = reduce.CUMSUM if self.chance(0.8) else reduce.CUMPROD
        return row(x, axis=self.random.randrange(len(x.shape)), reverse=self.chance(0.5))

    def sort(self) -> Node:
        x = self.some("f", "i", test=lambda n: len(n.shape) > 0)
        axis = self.random.randrange(len(x.shape))
        if self.chance(0.5):
            return index.sort(x, axis, self.chance(0.5))
        return index.ARGSORT(x, axis=axis, descending=self.chance(0.5))

    def idiom(self) -> Node | list[Node]:
        x = self.some("f", test=lambda n: len(n.shape) > 0)
        last = (len(x.shape) - 1,) if self.chance(0.8) else tuple(sorted({0, len(x.shape) - 1}))
        which = self.random.randrange(6)
        n = math.prod(x.shape[a] for a in last)

        def over(v: Node) -> Node:
            return reduce.spread(v, x, last)

        if which == 0:  # softmax
            e = arith.EXP(x - over(reduce.REDUCE_MAX(x, axes=last)))
            return e / over(reduce.SUM(e, axes=last))
        if which == 1:  # log-softmax and cross-entropy
            shifted = x - over(reduce.REDUCE_MAX(x, axes=last))
            logs = shifted - over(arith.LOG(reduce.SUM(arith.EXP(shifted), axes=last)))
            return [logs, reduce.SUM(logs * self.partner(x), axes=last) if self.chance(0.5) else logs]
        if which == 2:  # layer normalisation
            mean = reduce.SUM(x, axes=last) / max(n, 1)
            centred = x - over(mean)
            variance = reduce.SUM(centred * centred, axes=last) / max(n, 1)
            return centred * over(arith.RSQRT(variance + 1e-3)) * self.partner(x) + self.partner(x)
        if which == 3:  # gelu
            return x * 0.5 * (1 + arith.ERF(x * math.sqrt(0.5)))
        if which == 4:  # a step of Adam
            g, m, v = self.partner(x), self.partner(x), self.partner(x)
            m = m * 0.9 + g * 0.1
            v = v * 0.99 + g * g * 0.01
            return [m, v, x - m / (arith.SQRT(arith.ABS(v)) + 1e-3) * 0.01]
        key = self.parameter((2,), U32)  # dropout
        return arith.SELECT(RANDOM_BITS(key, shape=x.shape) < 0x60000000, x * 2, constant(np.zeros((), x.dtype)))

    def drawing(self) -> Node:
        """Uniform numbers, or their bits, by a key that is given or drawn."""
        keys = [n for n in self.pool if n.dtype == U32 and n.shape == (2,)]
        key = self.random.choice(keys) if keys and self.chance(0.5) else self.parameter((2,), U32)
        bits = RANDOM_BITS(key, shape=(2,) if self.chance(0.3) else self.shape())
        return bits if self.chance(0.4) else arith.CAST(bits >> 8, dtype=self.float) * 2.0**-24

    def dot(self) -> Node:
        x = self.some("f", "i", test=lambda n: len(n.shape) > 0)
        if self.chance(0.5):
            y = self.parameter((x.shape[-1], self.random.choice(self.dims)), x.dtype)
            return contract.matmul(x, y)
        y = self.random.choice([n for n in self.pool if n.dtype == x.dtype])
        pairs: list[tuple[int, int]] = []
        for i, d in enumerate(x.shape):
            free = [j for j, e in enumerate(y.shape) if e == d and j not in [q for _, q in pairs]]
            if free and self.chance(0.6):
                pairs.append((i, self.random.choice(free)))
        self.random.shuffle(pairs)
        batched = [p for p in pairs if self.chance(0.4)]
        rest = [p for p in pairs if p not in batched]
        batch, contracted = ((tuple(p[0] for p in ps), tuple(p[1] for p in ps)) for ps in (batched, rest))
        node = contract.DOT(x, y, batch=batch, contract=contracted)
        if node.spec.size * math.prod(x.shape[i] for i, _ in rest) > 4_000_000 or node.spec.size > LIMIT:
            raise Unfit
        return node

    def host(self) -> list[Node]:
        """Complex numbers, which run on the host between compiled parts; a body with them would run there in whole."""
        if self.depth:
            raise Unfit
        x = self.some("f", test=lambda n: n.dtype in (F32, F64))
        z = arith.COMPLEX_(x, self.partner(x))
        return [arith.REAL_(z * z), arith.IMAG(arith.CONJ(z))]

    def custom(self) -> Node:
        x = self.some("f")
        return control.CUSTOM_GRADIENT(arith.TANH(x), x, results=1, rule=_tripled)[0]

    # -- control flow -------------------------------------------------------------------

    def operands(self, least: int, most: int) -> list[Node]:
        if self.depth == DEPTH:
            raise Unfit
        return [self.some(test=lambda n: n.spec.size <= LIMIT // 10) for _ in range(self.random.randint(least, most))]

    def body(self, given: Sequence[Spec], wanted: Sequence[Spec] | None = None) -> Program:
        """A few rows of ``given``, with results like ``wanted`` or of any kind."""
        inner = Maker(self.random.getrandbits(32), self.depth + 1)
        inner.dims, inner.float = self.dims, self.float
        inner.params = [param(s) for s in given]
        inner.pool = list(inner.params)
        for _ in range(self.random.randint(0, 8)):
            inner.grow()
        if wanted is None:
            outputs = [inner.some(test=lambda n: n.spec.size <= LIMIT // 10) for _ in range(self.random.randint(1, 3))]
        else:
            outputs = [inner.like(w) for w in wanted]
        return Program(inner.params, outputs, name=f"body {self.random.randint(0, 9)}")

    def like(self, wanted: Spec) -> Node:
        """A node of this Spec."""
        fits = [n for n in self.pool if n.spec == wanted]
        if fits and self.chance(0.9):
            return fits[max(int(len(fits) * self.random.random() ** 0.4) - 1, 0)]
        x = self.random.choice(self.pool)
        axes = tuple(range(len(x.shape)))
        number = reduce.REDUCE_OR(x, axes=axes) if kind_of(x) == "b" else reduce.SUM(x, axes=axes)
        return movement.BROADCAST(arith.CAST(number, dtype=wanted.dtype), shape=wanted.shape)

    def call(self) -> list[Node]:
        operands = self.operands(1, 3)
        return list(control.CALL(*operands, program=self.body(specs(operands))))

    def switch(self) -> list[Node]:
        which, operands = self.some("i", test=lambda n: n.shape == ()), self.operands(1, 3)
        first = self.body(specs(operands))
        others = [self.body(specs(operands), first.specs) for _ in range(self.random.randint(0, 2))]
        return list(control.SWITCH(which, *operands, branches=(first, *others)))

    def loop(self) -> list[Node]:
        """A while: a counter runs up to a number, or something stops it before."""
        carries, consts = self.operands(0, 2), self.operands(0, 2)
        operands = [constant(np.asarray(0, np.int32)), *carries, *consts]
        body = self.body(specs(operands), specs(carries))
        counter, trips = body.inputs[0], self.random.choice((0, 1, 2, 3, 5))
        body = Program(body.inputs, [counter + 1, *body.outputs], name=body.name)
        stop = self.body(specs(operands), [Spec((), BOOL)])
        going = [stop.inputs[0] < trips]
        if self.chance(0.3):
            going = [going[0] & stop.outputs[0]]
        limit = self.random.choice((None, None, 0, 2, 9))
        condition = Program(stop.inputs, going, name=stop.name)
        return list(control.WHILE(*operands, condition=condition, body=body, carries=1 + len(carries), limit=limit))

    def scan(self) -> list[Node]:
        carries, consts = self.operands(0, 2), self.operands(0, 1)
        xs = [n for n in self.operands(0, 2) if n.shape and n.shape[0] <= 9]
        length = xs[0].shape[0] if xs else self.random.randint(0, 4)
        xs = [n for n in xs if n.shape[0] == length]
        rows = [Spec(n.shape[1:], n.dtype) for n in xs]
        given = [*specs(carries), *rows, *specs(consts)]
        if not given:
            raise Unfit
        ys = [s for s in given if s.size * max(length, 1) <= LIMIT // 10 and self.chance(0.5)]
        body = self.body(given, [*specs(carries), *ys])
        made = scan.SCAN(
            *carries, *xs, *consts, body=body, carries=len(carries), xs=len(xs), length=length,
            reverse=self.chance(0.5),
        )  # fmt: skip
        return list(made)

    def indices(self, high: int, k: int = 1) -> Node:
        """Indices [*I, k], some of them out of range."""
        shape = (*self.shape(2), k)
        if self.chance(0.5):
            return constant(np.asarray(self.rng.integers(-1, high + 1, shape)).astype(self.random.choice((I32, I64))))
        return self.parameter(shape, self.random.choice((I32, I64)))

    def gather(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 0)
        k = self.random.randint(1, min(2, len(x.shape)))
        axis = self.random.randint(0, len(x.shape) - k)
        at = self.indices(x.shape[axis], k)
        if x.spec.size * at.spec.size > 30 * LIMIT:
            raise Unfit
        return index.GATHER(x, at, axis=axis)

    def scatter(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 0)
        k = self.random.randint(1, min(2, len(x.shape)))
        axis = self.random.randint(0, len(x.shape) - k)
        at = self.indices(x.shape[axis], k)
        shape = (*x.shape[:axis], *at.shape[:-1], *x.shape[axis + k :])
        if math.prod(shape) > LIMIT:
            raise Unfit
        fits = [n for n in self.pool if n.dtype == x.dtype and n.shape == shape]
        updates = self.random.choice(fits) if fits else self.parameter(shape, x.dtype)
        mode = "set" if kind_of(x) == "b" else self.random.choice(("add", "add", "set", "max", "min", "mul"))
        return index.SCATTER(x, at, updates, axis=axis, mode=mode)

    def window(self) -> Node:
        x = self.some(test=lambda n: len(n.shape) > 0)
        sizes = tuple(self.random.randint(0, d) for d in x.shape)
        one = constant(np.asarray(1, I32))
        starts = [self.some("i", test=lambda n: n.shape == ()) if self.chance(0.3) else one for _ in sizes]
        if self.chance(0.5):
            return index.DYNAMIC_SLICE(x, *starts, sizes=sizes)
        return index.DYNAMIC_UPDATE_SLICE(x, self.parameter(sizes, x.dtype), *starts)

    def pooling(self) -> Node | list[Node]:
        x = self.some("f", "f", "i", test=lambda n: 3 <= len(n.shape) <= 5 and n.spec.size < 4000)
        rank = len(x.shape) - 2
        window = tuple(self.random.randint(1, 3) for _ in range(rank))
        strides = tuple(self.random.randint(1, 2) for _ in range(rank))
        padding = tuple((self.random.randint(0, 1), self.random.randint(0, 1)) for _ in range(rank))
        dilation = tuple(self.random.randint(1, 2) for _ in range(rank))
        rest = {"strides": strides, "padding": padding, "dilation": dilation}
        if self.chance(0.5):
            pooled = self.random.choice((contract.POOL_SUM, contract.POOL_MAX))(x, window=window, **rest)
            h = [n for n in self.pool if n.spec == x.spec]
            others = [
                lambda: contract.POOL_SPREAD(pooled, shape=x.shape[1:-1], window=window, **rest),
                lambda: contract.POOL_PICK(x, self.random.choice(h), window=window, **rest),
                lambda: contract.POOL_UNPICK(x, pooled, window=window, **rest),
            ]
            return [pooled, self.random.choice(others)()] if self.chance(0.5) else pooled
        rest["groups"] = groups = self.random.choice((1, 1, x.shape[-1] or 1))
        k = self.parameter((*window, x.shape[-1] // groups, groups * self.random.randint(1, 5)), x.dtype)
        y = contract.CONV(x, k, **rest)
        transposes = [
            lambda: contract.CONV_INPUT_GRAD(y, k, shape=x.shape[1:-1], **rest),
            lambda: contract.CONV_KERNEL_GRAD(x, y, shape=window, **rest),
        ]
        return [y, self.random.choice(transposes)()] if self.chance(0.4) else y

    # -- the whole -------------------------------------------------------------------

    def program(self, size: int) -> tuple[Program, Arrays]:
        with interpreting(NODES):
            for _ in range(self.random.randint(1, 4)):
                self.parameter()
            for _ in range(10 * size):
                if sum(n.primitive is not PARAM for n in self.pool) >= size:
                    break
                self.grow()
            outputs = [self.some() for _ in range(self.random.randint(1, 5))] + [self.pool[-1]]
            if self.chance(0.05):
                outputs.append(constant(self.rng.normal(size=(3, 2)).astype(np.float32)))
            if self.chance(0.5):
                outputs += self.gradients()
            slots = [p for p in self.params if self.chance(0.2)]
            updates = {}
            for i, p in enumerate(slots):
                same = [n for n in self.pool if n.spec == p.spec]
                updates[f"s{i}"] = self.random.choice(same)
        inputs = [p for p in self.params if p not in set(slots)]
        reads = {f"s{i}": p for i, p in enumerate(slots)}
        return Program(inputs, outputs, reads, updates), self.values([*inputs, *slots])

    def gradients(self) -> list[Node]:
        targets = [n for n in self.pool if kind_of(n) == "f"]
        sources = [p for p in self.params if kind_of(p) == "f"][:4]
        if not targets or not sources:
            return []
        try:
            found = gradients([targets[-1]], sources)
        except HornbeamError:
            return []
        return [g for g in found if g is not None]

    def values(self, params: Sequence[Node]) -> Arrays:
        return [random_array(self.rng, p.spec) for p in params]


STEPS: list[tuple[Callable[[Maker], Any], int]] = [
    (Maker.unary, 10), (Maker.binary, 16), (Maker.compare, 2), (Maker.select, 4), (Maker.cast, 4), (Maker.reshape, 3),
    (Maker.merge, 3), (Maker.transpose, 5), (Maker.broadcast, 5), (Maker.slice, 4), (Maker.reverse, 2), (Maker.pad, 3),
    (Maker.concat, 3), (Maker.iota, 2), (Maker.reduction, 10), (Maker.position, 1), (Maker.cumulative, 2),
    (Maker.sort, 1), (Maker.idiom, 8), (Maker.dot, 4), (Maker.gather, 2), (Maker.scatter, 2), (Maker.window, 2),
    (Maker.pooling, 3), (Maker.bitcast, 1), (Maker.custom, 1), (Maker.host, 1), (Maker.call, 1), (Maker.switch, 1),
    (Maker.loop, 1), (Maker.scan, 2), (Maker.drawing, 2),
]  # fmt: skip


class Unfit(Exception):
    """A step that the nodes at hand do not allow."""


def kind_of(node: Node) -> str:
    return "f" if dtypes.is_floating(node.dtype) else "b" if node.dtype.kind == "b" else "i"


def specs(nodes: Sequence[Node]) -> list[Spec]:
    return [n.spec for n in nodes]


def _tripled(g: Any) -> tuple[Any]:
    return (g * 3,)


def broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    return all(x == y or 1 in (x, y) for x, y in zip(reversed(a), reversed(b), strict=False))


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


def factors(n: int) -> list[int]:
    found, p = [], 2
    while n > 1 and p * p <= n:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found + ([n] if n != 1 else [])


# -- what is checked -------------------------------------------------------------------

_single: dict[Any, Any] = {}


def alone(node: Node, arguments: Arrays, lanes: int) -> Any:
    """What an eager application of ``node`` gives: a Program of one node, compiled unless its row is exact."""
    if is_exact(node) and node.primitive.name not in BODIES:
        return apply(node, arguments)
    got = compiled(node, lanes).run(arguments)
    return tuple(got) if node.primitive.multiple else got[0]


def compiled(node: Node, lanes: int) -> Any:
    """The Executable of a Program of ``node`` alone."""
    params = [param(a.spec) for a in node.args]
    made = make(node.primitive, tuple(params), dict(node.attrs))
    program = Program(params, results(made) if node.primitive.multiple else [made])
    key = (program, lanes, loops.PART)
    if key not in _single:
        if len(_single) > 4000:
            _single.clear()
        _single[key] = build(program, host().with_lanes(lanes))
    return _single[key]


BODIES = ("call", "switch", "while", "scan")


def step_by_step(program: Program, values: Sequence[np.ndarray], lanes: int) -> dict[Node, Any]:
    """Every node's value, each computed alone from those before it. Each agrees with its reference; control flow has
    the bits of its bodies done step by step."""
    env: dict[Node, Any] = dict(zip(program.params, values, strict=True))
    for node in program.nodes:
        arguments = [env[a] for a in node.args]
        env[node] = value = alone(node, arguments, lanes)
        if node.primitive.name in BODIES and compiled(node, lanes).host_steps:
            continue  # a row in it has no native code: all of it is done by the reference
        if node.primitive.name in BODIES:
            with bodies_step_by_step(lanes):
                expected = apply(node, arguments)
            for i, (g, w) in enumerate(zip(value, expected, strict=True)):
                same(g, w, f"result {i} of {node.primitive.name}")
        elif isinstance(node.spec, Spec) and node.dtype.kind != "c":
            near(node, value, apply(node, arguments), arguments)
    return env


@contextmanager
def bodies_step_by_step(lanes: int) -> Iterator[None]:
    """Within the block, references of control flow run their bodies so."""

    def evaluate(body: Program, arguments: Sequence[np.ndarray]) -> Arrays:
        env = step_by_step(body, [*map(np.asarray, arguments)], lanes)  # a step of a line of numbers is no array
        return [env[r] for r in body.roots]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "evaluate", evaluate)
        patch.setattr(scan, "evaluate", evaluate)
        yield


def check(program: Program, values: Arrays, lanes: int) -> None:
    """Each node alone agrees with its reference, and the whole with its nodes run one at a time, bit for bit."""
    with np.errstate(all="ignore"):
        env = step_by_step(program, values, lanes)
    kept = [v.copy() for v in values]
    executable = build(program, host().with_lanes(lanes), threads=3)
    for turn in range(2):  # a second run finds the memory that the first one left
        got = executable.run(values)
        for i, (g, root) in enumerate(zip(got, program.roots, strict=True)):
            same(g, env[root], f"run {turn}, result {i}, {root!r}")
    if program.updates:  # three runs in one call, which may write state over where it lies
        inputs, outputs = len(program.inputs), len(program.outputs)
        carried = [(inputs + list(program.reads).index(slot), outputs + i) for i, slot in enumerate(program.updates)]
        loop = Loop([], range(0, 3, 1), carried)
        pairs = zip(executable.repeat(values, loop), one_by_one(executable, values, loop), strict=True)
        for i, (g, w) in enumerate(pairs):
            same(g, w, f"three runs, result {i}")
    for a, b in zip(kept, values, strict=True):
        same(a, b, "an argument was written to")


def near(node: Node, got: np.ndarray, want: np.ndarray, arguments: Arrays) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype), f"{node!r} gave {got.dtype}{got.shape}"
    if not dtypes.is_floating(want.dtype):
        np.testing.assert_array_equal(got, want, repr(node))
        return
    eps = {8: 1e-11, 4: 1e-5, 2: 2e-2}[want.dtype.itemsize]
    g, w, scale = got.astype(np.float64), want.astype(np.float64), magnitude(node, arguments)
    with np.errstate(all="ignore"):
        close = np.abs(g - w) <= eps * (1 + np.abs(w) + scale)
    good = (g == w) | (np.isnan(g) & np.isnan(w)) | close | (scale > 1e30)
    assert good.all(), f"{node!r}: got {g[~good][:3]}, expected {w[~good][:3]}, at {np.argwhere(~good)[:3]}"


def magnitude(node: Node, arguments: Arrays) -> Any:
    """What a result that adds and subtracts may be off by, relative to rounding; infinite where it may overflow."""
    if node.primitive.name not in ("sum", "dot", "conv", "cumsum", "scatter", "pool_sum", "pool_spread", "pool_unpick",
                                   "conv_input_grad", "conv_kernel_grad", "prod", "cumprod"):  # fmt: skip
        return 0.0
    sizes = [np.abs(a.astype(np.float64)) if a.dtype.kind not in "iub" else a for a in arguments]
    if node.primitive.name in ("prod", "cumprod"):
        a = sizes[0]
        # Products may leave the range on the way and come back.
        logs = np.abs(np.log(np.where((a > 0) & np.isfinite(a), a, 1.0))).sum() if a.dtype.kind == "f" else 0
        return np.inf if logs > 40 else 0.0
    if any(not np.isfinite(a).all() or (a.size and a.max() > 1e12) for a in sizes if a.dtype.kind == "f"):
        return np.inf if node.primitive.name != "sum" else np.nan_to_num(
            np.asarray(node.primitive.reference(sizes[0], **dict(node.attrs))), nan=np.inf, posinf=np.inf)
    if node.primitive.name == "scatter":
        return float(sum(a.sum() for a in (sizes[0], sizes[2])))
    return np.asarray(node.primitive.reference(*sizes, **dict(node.attrs)))


def same(got: np.ndarray, want: np.ndarray, what: str) -> None:
    """Equal bits, but that a NaN is a NaN."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype), f"{what}: {got.dtype}{got.shape}"
    if got.tobytes() == want.tobytes():
        return
    bits = np.dtype(f"u{got.dtype.itemsize}")
    g, w = np.ascontiguousarray(got), np.ascontiguousarray(want)
    differ = np.atleast_1d(g).view(bits) != np.atleast_1d(w).view(bits)
    if dtypes.is_floating(got.dtype):
        differ &= ~(np.isnan(np.atleast_1d(g).astype(np.float64)) & np.isnan(np.atleast_1d(w).astype(np.float64)))
    if differ.any():
        at = np.argwhere(differ)
        some = tuple(at[0])
        raise AssertionError(
            f"{what}: {len(at)} of {got.size} differ, first at {some}: "
            f"{np.atleast_1d(g)[some]!r}, alone {np.atleast_1d(w)[some]!r}"
        )


# -- cutting down -------------------------------------------------------------------


def smallest(program: Program, values: Arrays, fails: Callable[[Program, Arrays], bool]) -> tuple[Program, Arrays]:
    """A small Program that still fails: fewer results, and parameters in the place of nodes."""
    program = Program(program.params, program.roots)
    for count in (1, 2):
        for start in range(len(program.roots)):
            fewer = trimmed(program.params, values, program.roots[start : start + count])
            if len(program.roots) > count and fails(*fewer):
                program, values = fewer
                break
    progress = True
    while progress:
        progress = False
        known = dict(zip(program.params, values, strict=True))
        with np.errstate(all="ignore"):
            for node in program.nodes:
                known[node] = apply(node, [known[a] for a in node.args])
        roots = set(program.roots)
        for node in reversed(program.nodes):
            if node in roots or node.primitive is movement.CONSTANT or node.primitive.multiple:
                continue
            cut = param(node.spec)
            rest = substitute(program.roots, {node: cut, **{p: p for p in program.params}})
            other = trimmed([*program.params, cut], [*values, np.array(known[node])], rest)
            if len(other[0].nodes) < len(program.nodes) and fails(*other):
                program, values = other
                progress = True
                break
        for i in range(len(program.roots)) if not progress and len(program.roots) > 1 else ():
            other = trimmed(program.params, values, program.roots[:i] + program.roots[i + 1 :])
            if fails(*other):
                program, values = other
                progress = True
                break
        for node, new in simpler_bodies(program) if not progress else ():
            rest = substitute(program.roots, {node: new, **{p: p for p in program.params}})
            other = trimmed(program.params, values, rest)
            if fails(*other):
                program, values = other
                progress = True
                break
    return program, values


def simpler_bodies(program: Program) -> Iterator[tuple[Node, Node]]:
    """Each node of control flow, and what it is with zeros in the place of a node of one of its bodies."""

    def simpler(body: Program) -> Iterator[Program]:
        inputs = {p: p for p in body.inputs}
        for inner in reversed(body.nodes):
            if inner.primitive is not movement.CONSTANT and isinstance(inner.spec, Spec):
                zeros = constant(np.zeros(inner.shape, inner.dtype))
                yield Program(body.inputs, substitute(body.outputs, {inner: zeros, **inputs}), name=body.name)
        for inner, new in simpler_bodies(body):
            yield Program(body.inputs, substitute(body.outputs, {inner: new, **inputs}), name=body.name)

    for node in program.nodes:
        for name, value in node.attrs:
            together = value if isinstance(value, tuple) else (value,)
            for i, body in enumerate(together):
                for other in simpler(body) if isinstance(body, Program) else ():
                    changed = (*together[:i], other, *together[i + 1 :]) if isinstance(value, tuple) else other
                    yield node, make(node.primitive, node.args, {**dict(node.attrs), name: changed})


def trimmed(params: Sequence[Node], values: Arrays, roots: Sequence[Node]) -> tuple[Program, Arrays]:
    """The Program of ``roots`` with only the parameters that it needs."""
    needed = set(roots)
    for node in Program(params, roots).nodes:
        needed.update(node.args)
    kept = [(p, v) for p, v in zip(params, values, strict=True) if p in needed]
    return Program([p for p, _ in kept], roots), [v for _, v in kept]


def report(program: Program, values: Arrays, lanes: int, error: BaseException) -> str:
    """The smallest Program that fails like this one, printed."""

    def fails(p: Program, v: Arrays) -> bool:
        try:
            check(p, v, lanes)
        except Exception as other:
            return type(other) is type(error)
        return False

    with interpreting(NODES):
        small, given = smallest(program, values, fails)
    try:
        check(small, given, lanes)
    except Exception as last:
        error = last
    pairs = zip(small.params, given, strict=True)
    shown = "".join(f"\n  {p.spec}: {np.array2string(v.ravel(), threshold=20, edgeitems=4)}" for p, v in pairs)
    return f"lanes {lanes}: {type(error).__name__}: {error}\n{small}{shown}"

