"""Hornbeam from scratch: the whole idea in one file that runs.

    python docs/from_scratch.py

Read it from top to bottom, as a story. It builds a small Hornbeam out of NumPy and nothing else: graphs, gradients of
any order, sessions, eager execution and traced functions, and ends by training a classifier with them. After each idea
stands an assertion or a printed line, so that nothing here is merely said. The names are those of the real thing; the
last paragraph says in which file of it each idea lives. To stay short, there is one dtype, float64, and one thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


# == 1. A row =========================================================================================================
# What must a machine know about an operation? Which shape comes out (infer), which numbers come out (reference), and
# how a small change of the result goes back to the arguments (grad). That is all, and it fits on one line of a table.
# The table is the heart of the matter; everything after it is a walk over what the table describes.
@dataclass(frozen=True, eq=False)
class Primitive:
    """A row. Calling it applies it."""

    name: str
    infer: Callable[..., tuple[int, ...]]  # shapes of the arguments -> shape of the result
    reference: Callable[..., Any]  # arrays -> array: the definition of meaning
    grad: Callable[..., tuple[Any, ...]] | None = None  # (g, *args, out) -> a cotangent for each argument

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        return bind(self, *args, **attrs)

# Operations come in families, and a family is a function that makes rows. Here are those that work element by element.
# Look at the gradients: `g * y` is written with the operators that users write. So a gradient can be computed, traced,
# printed and differentiated again like anything else, and nobody has to teach the machine what a second derivative is.
def elementwise(name: str, reference: Any, grad: Any) -> Primitive:
    return Primitive(name, lambda *shapes: np.broadcast_shapes(*shapes), reference, grad)

ADD = elementwise("add", np.add, lambda g, x, y, out: (g, g))
SUB = elementwise("sub", np.subtract, lambda g, x, y, out: (g, 0 - g))
MUL = elementwise("mul", np.multiply, lambda g, x, y, out: (g * y, g * x))
DIV = elementwise("div", np.divide, lambda g, x, y, out: (g / y, 0 - g * out / y))
EXP = elementwise("exp", np.exp, lambda g, x, out: (g * out,))
LOG = elementwise("log", np.log, lambda g, x, out: (g / x,))
TANH = elementwise("tanh", np.tanh, lambda g, x, out: (g * (1 - out * out),))

# The others move, shrink or combine. Attributes such as `shape` and `axes` are plain Python values. A sum keeps the
# axes it sums over, with length 1.
SUM = Primitive("sum", lambda x, axes: tuple(1 if i in axes else n for i, n in enumerate(x)),
                lambda x, axes: np.sum(x, axis=axes, keepdims=True),
                lambda g, x, out, axes: (BROADCAST(g, shape=x.shape),))  # fmt: skip
BROADCAST = Primitive("broadcast", lambda x, shape: shape, np.broadcast_to, lambda g, x, out, shape: (g,))
RESHAPE = Primitive("reshape", lambda x, shape: shape, np.reshape,
                    lambda g, x, out, shape: (RESHAPE(g, shape=x.shape),))  # fmt: skip
TRANSPOSE = Primitive("transpose", lambda x: x[::-1], np.transpose, lambda g, x, out: (TRANSPOSE(g),))
DOT = Primitive("dot", lambda x, y: (x[0], y[1]), np.matmul,
                lambda g, x, y, out: (g @ TRANSPOSE(y), TRANSPOSE(x) @ g))  # fmt: skip

assert MUL.infer((5, 1), (3,)) == (5, 3)
assert MUL.reference(2.0, 3.0) == 6.0

# == 2. bind ==========================================================================================================
# "Apply this row" can mean: compute now, or make a note for later. Rows don't care. They hand the question to whoever
# is the current *interpreter*. Eager mode, tracing and graphs will differ in nothing but this.
_current: list[Any] = []

def bind(primitive: Primitive, *args: Any, **attrs: Any) -> Any:
    return _current[-1].bind(primitive, [lift(a) for a in args], attrs)

def lift(x: Any) -> Any:
    """Numbers and arrays become constants of the interpreter, a variable its value."""
    return x.value() if isinstance(x, Operators) else _current[-1].constant(np.asarray(x, float))

@contextmanager
def pushed(stack: list[Any], item: Any) -> Any:
    stack.append(item)
    try:
        yield item
    finally:
        stack.remove(item)

def interpreting(interpreter: Any) -> Any:
    return pushed(_current, interpreter)

class Operators:
    """The notation, shared by everything that has a shape: nodes, and further down tensors and variables."""

    __array_ufunc__ = None  # array * node is our business, not NumPy's
    shape: tuple[int, ...]

    def value(self) -> Any: return self
    def __add__(self, other: Any) -> Any: return ADD(self, other)
    def __radd__(self, other: Any) -> Any: return ADD(other, self)
    def __sub__(self, other: Any) -> Any: return SUB(self, other)
    def __rsub__(self, other: Any) -> Any: return SUB(other, self)
    def __mul__(self, other: Any) -> Any: return MUL(self, other)
    def __rmul__(self, other: Any) -> Any: return MUL(other, self)
    def __truediv__(self, other: Any) -> Any: return DIV(self, other)
    def __matmul__(self, other: Any) -> Any: return DOT(self, other)

    def sum(self, *axes: int) -> Any:
        return SUM(self, axes=axes) if axes else RESHAPE(self.sum(*range(len(self.shape))), shape=())

# == 3. Node ==========================================================================================================
# The interpreter that makes notes. A Node is a row applied to other nodes: pure and immutable, its shape known from the
# moment it is made. Nodes are *interned*: asking twice for the same computation gives the same object. So common
# subexpressions need no pass to find them; they never come into being twice.
class Node(Operators):
    def __init__(self, primitive: Primitive, args: tuple[Node, ...], attrs: dict[str, Any]) -> None:
        self.primitive, self.args, self.attrs = primitive, args, attrs
        self.shape = primitive.infer(*(a.shape for a in args), **attrs)

CONSTANT = Primitive("constant", lambda shape, data: shape, lambda shape, data: np.frombuffer(data).reshape(shape))
PARAM = Primitive("param", lambda shape, number: shape, NotImplemented)  # an input; every one is distinct
_interned: dict[Any, Node] = {}

def make(primitive: Primitive, args: Any = (), **attrs: Any) -> Node:
    key = (primitive, tuple(map(id, args)), tuple(attrs.items()))
    if key not in _interned:
        _interned[key] = Node(primitive, tuple(args), attrs)
    return _interned[key]

def param(shape: tuple[int, ...]) -> Node:
    return make(PARAM, shape=shape, number=len(_interned))

class NodeInterpreter:
    def bind(self, primitive: Primitive, args: Any, attrs: Any) -> Node: return make(primitive, args, **attrs)
    def constant(self, a: np.ndarray) -> Node: return make(CONSTANT, shape=a.shape, data=a.tobytes())

NODES = NodeInterpreter()

with interpreting(NODES):
    x, w = param((32, 10)), param((10, 3))
    prediction = x @ w  # nothing is computed, but the shape is known,
    assert prediction.shape == (32, 3)
    assert x @ w is prediction  # and asking again gives the very same node.
    try:
        prediction - param((32, 4))
    except ValueError as error:  # a mistake in shapes surfaces on the line that makes it
        print("before anything ran:", error)

# == 4. Program =======================================================================================================
# Nodes say how values depend on each other. A Program says which of them we give and which we want. It has room for
# *state*, too: `reads` are values that someone else holds before the run, `updates` what they shall hold afterwards.
# State itself never enters a Node; that is why nodes may be shared and programs may run anywhere.
class Program:
    def __init__(self, inputs: Any, outputs: Any, reads: Any = (), updates: Any = ()) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.reads, self.updates = dict(reads), dict(updates)  # variable -> node
        self.params = (*self.inputs, *self.reads.values())
        self.roots = (*self.outputs, *self.updates.values())
        self.nodes = [n for n in topological(self.roots) if n.primitive is not PARAM]

    def __str__(self) -> str:
        name = {p: f"x{i}" for i, p in enumerate(self.params)}
        lines: list[str] = []
        for node in self.nodes:
            name[node] = f"%{len(lines)}"
            lines.append(f"  {name[node]} = {node.primitive.name}({', '.join(name[a] for a in node.args)})")
        return "\n".join([*lines, f"  return {', '.join(name[r] for r in self.roots)}"])

def topological(roots: Any) -> list[Node]:
    """Every node that the roots need, arguments before users."""
    done: dict[Node, None] = {}

    def visit(node: Node) -> None:
        if node not in done:
            for a in node.args:
                visit(a)
            done[node] = None

    for root in roots:
        visit(root)
    return list(done)

# To print a program we walked over its nodes once. To *run* it we do the same, with arrays in place of names. The next
# four lines are the definition of what a program means; whatever runs faster must give what they give.
def evaluate(program: Program, arguments: Any) -> list[Any]:
    env = dict(zip(program.params, arguments, strict=True))
    for node in program.nodes:
        env[node] = node.primitive.reference(*(env[a] for a in node.args), **node.attrs)
    return [env[root] for root in program.roots]

with interpreting(NODES):
    x = param((3,))
    program = Program([x], [((x * x) / (1 + x * x)).sum()])
print("\na program:", program, sep="\n")
assert str(program).count("mul") == 1  # x * x was written twice
assert evaluate(program, [np.ones(3)]) == [1.5]

# == 5. Gradient ======================================================================================================
# A third walk over the same nodes, this time from the end. Each row turns the cotangent of its result into cotangents
# of its arguments, and where several meet they are added. Values are told apart by identity, and nothing below asks
# whether they are nodes: the same walk will serve tensors.
class Record(NamedTuple):
    """One application: out = primitive(*args, **attrs)."""
    primitive: Primitive
    args: Any
    attrs: dict[str, Any]
    out: Any

def backward(records: list[Record], target: Any, sources: list[Any]) -> list[Any]:
    """d target / d source for each source; None where nothing connects them."""
    pending: dict[int, Any] = {}
    found: dict[int, Any] = {}

    def arrive(value: Any, g: Any) -> None:
        for sums in (pending, found):
            sums[id(value)] = sums[id(value)] + g if id(value) in sums else g

    arrive(target, BROADCAST(1.0, shape=target.shape))
    for primitive, args, attrs, out in reversed(records):
        if primitive.grad is not None and id(out) in pending:
            cotangents = primitive.grad(pending.pop(id(out)), *args, out, **attrs)
            for a, g in zip(args, cotangents, strict=True):
                arrive(a, unbroadcast(g, a))
    return [found.get(id(s)) for s in sources]

def unbroadcast(g: Any, like: Any) -> Any:
    """Where an argument was spread over several places, its cotangent is the sum over them."""
    lead = len(g.shape) - len(like.shape)
    axes = [i for i in range(len(g.shape)) if i < lead or like.shape[i - lead] != g.shape[i]]
    return RESHAPE(g.sum(*axes), shape=like.shape) if axes else g

def gradients(target: Node, sources: list[Node]) -> list[Any]:
    """In a graph, the records are the nodes themselves."""
    with interpreting(NODES):
        return backward([Record(n.primitive, n.args, n.attrs, n) for n in topological([target])], target, sources)

# The derivative of x³ is 3x². It is made of nodes again, so we may ask for its derivative, which is 6x.
with interpreting(NODES):
    x = param(())
    (first,) = gradients(x * x * x, [x])
    (second,) = gradients(first, [x])
assert evaluate(Program([x], [first, second]), [np.array(5.0)]) == [75.0, 30.0]

# == 6. Session and Variable ==========================================================================================
# Someone has to own the values that outlive a run. In Keras this someone is famously hard to find; here it is a small
# object that you hold in your hand. A Variable is only a name for a place; the value is in a Session's state. `execute`
# is the one door: all reads see the state before the run, and all updates are written together after it, so a run that
# fails has changed nothing.
class Session:
    def __init__(self) -> None:
        self.state: dict[Variable, Tensor] = {}
        self.runs, self.closed = 0, False

    def execute(self, program: Program, inputs: list[Any]) -> list[Any]:
        self.runs += 1
        results = evaluate(program, [*inputs, *(self.read(v).array for v in program.reads)])
        split = len(program.outputs)
        for variable, array in zip(program.updates, results[split:], strict=True):
            self.write(variable, Tensor(array))
        return results[:split]

    def holder(self, variable: Variable) -> Session:
        """This session if it has a value of its own, else the one in which the variable was made."""
        owner = self if variable in self.state else variable.home
        if owner.closed:
            raise RuntimeError(f"{variable.name} is gone: its session was closed")
        return owner

    def read(self, variable: Variable) -> Tensor: return self.holder(variable).state[variable]
    def write(self, variable: Variable, value: Tensor) -> None: self.holder(variable).state[variable] = value

    def close(self) -> None:
        self.state.clear()
        self.closed = True

    def as_default(self) -> Any:
        return pushed(_sessions, self)

_sessions = [Session()]  # the first is there without being made: the default session

class Variable(Operators):
    def __init__(self, value: Any, name: str) -> None:
        self.name, self.home, self.shape = name, _sessions[-1], np.shape(value)
        self.home.state[self] = Tensor(np.asarray(value, float))

    def value(self) -> Any: return _current[-1].read(self)
    def assign(self, value: Any) -> None: _current[-1].assign(self, lift(value))

def where(variable: Variable) -> Session: return variable.home  # Where is the session? Here.

# == 7. Eager, and the tape ===========================================================================================
# The second interpreter computes at once. It has no machinery of its own: one operation is a program of one node, and
# goes through the same door. What it adds is a memory: while a tape is open, each application is noted on it. So
# `tape.gradient` is `backward` with the tape for its records, and there is nothing more to write.
class Tensor(Operators):
    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape = array, array.shape

@functools.cache
def one_node(primitive: Primitive, shapes: tuple[Any, ...], attrs: tuple[Any, ...]) -> Program:
    params = [param(shape) for shape in shapes]
    return Program(params, [make(primitive, params, **dict(attrs))])

class Eager:
    def bind(self, primitive: Primitive, args: list[Tensor], attrs: dict[str, Any]) -> Tensor:
        program = one_node(primitive, tuple(a.shape for a in args), tuple(attrs.items()))
        (array,) = _sessions[-1].execute(program, [a.array for a in args])
        return record(primitive, args, attrs, Tensor(array))

    def constant(self, array: np.ndarray) -> Tensor: return Tensor(array)
    def read(self, variable: Variable) -> Tensor: return _sessions[-1].read(variable)
    def assign(self, variable: Variable, value: Tensor) -> None: _sessions[-1].write(variable, value)

_current.append(Eager())  # from here on, operations are computed where they are written
_tapes: list[GradientTape] = []

def record(primitive: Primitive, args: Any, attrs: dict[str, Any], out: Any) -> Any:
    for tape in _tapes:
        tape.records.append(Record(primitive, args, attrs, out))
    return out

class GradientTape:
    def __enter__(self) -> GradientTape:
        self.records: list[Record] = []
        _tapes.append(self)
        return self

    def __exit__(self, *exc: Any) -> None:
        _tapes.remove(self)

    def gradient(self, target: Any, sources: list[Any]) -> list[Any]:
        return backward(self.records, target, [lift(s) for s in sources])

v = Variable([1.0, 2.0, 3.0], "v")
with GradientTape() as tape:
    length = (v * v).sum()
assert length.array == 14.0
assert tape.gradient(length, [v])[0].array.tolist() == [2.0, 4.0, 6.0]

# == 8. function ======================================================================================================
# The third interpreter is the first one again, with an eye on variables. Run the user's Python once, on parameters: a
# read becomes an input of the program, an assignment one of its updates. From then on the program runs and the Python
# does not. Tapes work in here too, on nodes instead of tensors, so a whole training step becomes one program.
class Trace(NodeInterpreter):
    def __init__(self) -> None:
        self.reads: dict[Variable, Node] = {}
        self.latest: dict[Variable, Node] = {}

    def bind(self, primitive: Primitive, args: Any, attrs: Any) -> Node:
        return record(primitive, args, attrs, super().bind(primitive, args, attrs))

    def read(self, variable: Variable) -> Node:
        if variable not in self.latest:
            self.latest[variable] = self.reads[variable] = param(variable.shape)
        return self.latest[variable]
    def assign(self, variable: Variable, value: Node) -> None: self.latest[variable] = value

def function(python: Callable[..., Any]) -> Callable[..., Any]:
    @functools.cache
    def trace(*signature: tuple[int, ...]) -> Program:
        inputs = [param(shape) for shape in signature]
        with interpreting(Trace()) as here:
            output = python(*inputs)
        updates = {v: n for v, n in here.latest.items() if n is not here.reads.get(v)}
        return Program(inputs, [output], here.reads, updates)
    return lambda *xs: Tensor(*_sessions[-1].execute(trace(*(x.shape for x in xs)), [x.array for x in xs]))

calls: list[str] = []

@function
def bump(by: Any) -> Any:
    calls.append("Python ran")
    v.assign(v + by)
    return v.sum()

assert [float(bump(Tensor(np.array(1.0))).array) for _ in range(3)] == [9.0, 12.0, 15.0]
assert calls == ["Python ran"]  # three calls, one trace

# == 9. A classifier ==================================================================================================
# Everything is in place. Two interleaved spirals cannot be told apart by a straight line, but 16 tanh units can bend
# one. `step` is plain Python. We train with it as it stands, then with `function(step)`, each time in a session of its
# own, and the losses must agree to the last bit: both ways end in the same rows.
random = np.random.default_rng(0)
turn = np.linspace(0.3, 1.3, 100)[:, None] * np.pi
arm = np.hstack([np.cos(turn), np.sin(turn)]) * turn
points = np.vstack([arm, -arm]) + random.normal(0, 0.1, (200, 2))
labels = np.repeat(np.eye(2), 100, axis=0)
start = {"w1": random.normal(0, 1, (2, 16)), "b1": np.zeros(16), "w2": random.normal(0, 1, (16, 2)), "b2": np.zeros(2)}

def train(mode: str, wrap: Callable[..., Any]) -> list[float]:
    session = Session()
    with session.as_default():
        w1, b1, w2, b2 = weights = [Variable(value, name) for name, value in start.items()]

        def scores(x: Any) -> Any:
            return TANH(x @ w1 + b1) @ w2 + b2

        def step(x: Any, y: Any) -> Any:
            with GradientTape() as tape:
                s = scores(x)
                loss = (LOG(EXP(s).sum(1)).sum() - (s * y).sum()) / len(points)
            for w, g in zip(weights, tape.gradient(loss, weights), strict=True):
                w.assign(w - 0.5 * g)
            return loss

        step = wrap(step)
        losses = [float(step(Tensor(points), Tensor(labels)).array) for _ in range(200)]
        print(f"{mode:9} loss {losses[0]:.3f} to {losses[-1]:.3f} in {session.runs} runs, ", end="")
        right = np.argmax(scores(Tensor(points)).array, 1) == np.argmax(labels, 1)
        print(f"{right.mean():.0%} right")
        assert right.mean() > 0.97
        assert where(w1) is session
    session.close()
    try:
        w1.value()
    except RuntimeError as error:
        assert str(error) == "w1 is gone: its session was closed"
    return losses

print()
assert train("eager", lambda step: step) == train("function", function)  # every bit of every step

# == 10. Second order, for nothing ====================================================================================
# We never wrote a line about second derivatives. But rules are operators, operators go through bind, and bind has each
# application noted on every open tape. So an outer tape sees what the inner one's `gradient` computes.
u = Variable([0.5, -1.0], "u")
with GradientTape() as outer:
    with GradientTape() as inner:
        y = (TANH(u) * EXP(u)).sum()
    (slope,) = inner.gradient(y, [u])
(curvature,) = outer.gradient(slope, [u])

t = np.tanh([0.5, -1.0])
by_hand = np.exp([0.5, -1.0]) * (t + 2 * (1 - t * t) - 2 * t * (1 - t * t))
print("\nsecond derivative of tanh(u)·exp(u):", curvature.array, "and by hand:", by_hand)
assert np.allclose(curvature.array, by_hand, rtol=1e-12)

# == Where it lives ===================================================================================================
# The real thing is made of these ideas. In src/hornbeam, Primitive is ir/primitive.py and its rows ir/primitives/; bind
# is ir/bind.py, the notation ir/operators.py; Node is ir/node.py, Program and evaluate are ir/program.py, backward is
# ir/grad.py. Session is runtime/session.py, Variable runtime/variable.py, where runtime/where.py. Tensor is
# runtime/tensor.py, the eager interpreter runtime/eager.py, GradientTape runtime/tape.py, Trace runtime/trace.py and
# function runtime/function.py. Left out here were dtypes (base/dtypes.py), rewriting (ir/simplify.py), control flow
# (ir/primitives/control.py), graphs with placeholders (runtime/graph.py) and engines (engines/), which may run a
# program as they like if they give what `evaluate` gives. docs/architecture.md goes on from here.
