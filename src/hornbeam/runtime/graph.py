"""Session mode: a ``Graph`` records calls of public operations, and ``Session.run`` runs the part that is fetched.

A recorded call is a function and its arguments, some of them ``GraphTensor``s; dimensions may be unknown. This module
records; ``runtime.graph_run`` traces what a run needs with concrete shapes and executes it.

What a graph tensor's shape is *before* any run is found by evaluating every call abstractly, twice: with the unknown
dimensions taken to be ``SIZES[0]`` and ``SIZES[1]``. Dimensions that come out different are unknown. Errors of shape or
dtype so surface on the user's line, and a dimension read from ``shape(x)`` stays exact.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hornbeam.base import dtypes, tree
from hornbeam.base.spec import PartialShape as Shape
from hornbeam.base.spec import Spec
from hornbeam.errors import (
    SessionError,
    ShapeError,
    TracingError,
    explain,
    user_line,
)
from hornbeam.ir.bind import current, install, interpreting
from hornbeam.ir.operators import Operators
from hornbeam.ir.primitive import Primitive
from hornbeam.runtime import session as sessions
from hornbeam.runtime import tape as tapes
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import Tensor, as_tensor
from hornbeam.runtime.trace import Trace

SIZES = (840, 1260)
"""What an unknown dimension stands for while shapes are found: divisible by what reshapes usually divide by."""


class _AllTape(GradientTape):
    """A tape on which everything counts as watched, as in a graph."""

    def __init__(self) -> None:
        super().__init__(persistent=True)

    def _watches(self, variable: Any) -> bool:
        return True

    def _tensors(self, source: Any) -> list[Tensor]:
        return [source] if isinstance(source, Tensor) else super()._tensors(source)

    def gradient(self, *args: Any, **kwargs: Any) -> Any:
        # The rules' own applications are recorded meanwhile, for gradients of gradients: walk over what there is now.
        so_far = _AllTape()
        so_far.records, so_far.reads, so_far.interpreter = list(self.records), self.reads, self.interpreter
        return GradientTape.gradient(so_far, *args, **kwargs)


class Evaluation:
    """One walk over recorded calls: a trace, the tape that ``gradients`` asks, and what each graph tensor became."""

    def __init__(self) -> None:
        self.trace = Trace()
        self.trace.outside = self.captured
        self.tape = _AllTape()
        self.values: dict[GraphTensor, Tensor] = {}
        self.used: dict[GraphTensor, None] = {}

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with interpreting(self.trace), self.tape:
            yield

    def captured(self, x: GraphTensor) -> Tensor:
        """What ``x`` is here, for a body that refers to it without having it as an argument."""
        self.used[x] = None
        return self.values[x]

    def arguments(self, call: Call) -> tuple[Any, Any]:
        return tree.map(lambda x: self.values[x] if isinstance(x, GraphTensor) else x, (call.args, call.kwargs))

    def apply(self, call: Call) -> list[Any]:
        """The leaves that the call returns, its tensors as tensors of this trace."""
        args, kwargs = self.arguments(call)
        returned = call.fn(*args, **kwargs)
        leaves, call.structure = tree.flatten(returned)
        return [as_tensor(x) if isinstance(x, (Operators, np.ndarray, np.generic)) else x for x in leaves]


class Call:
    """A recorded call, in TensorFlow's terms an operation: a function, its arguments, and what must run before it.

    kind: ``call``; ``placeholder``; ``read`` and ``assign`` of ``variable``; ``gradients``.
    """

    def __init__(
        self, graph: Graph, name: str, kind: str, fn: Callable[..., Any], args: Any = (), kwargs: Any = None,
        variable: Any = None,
    ) -> None:  # fmt: skip
        self.graph, self.name, self.kind, self.fn, self.args, self.kwargs = graph, name, kind, fn, args, kwargs or {}
        self.variable = variable
        self.line = user_line()
        self.inputs = [x for x in tree.leaves((self.args, self.kwargs)) if isinstance(x, GraphTensor)]
        self.control_inputs: tuple[Call, ...] = graph.controlling
        self.outputs: list[GraphTensor] = []
        self.structure: Any = None
        self.leaves: list[Any] = []
        self.abstract: Callable[[Evaluation], list[Any]] | None = None  # how to evaluate it without its effect
        self.number = len(graph.calls)

    @property
    def type(self) -> str:
        return self.kind if self.kind != "call" else getattr(self.fn, "__name__", "call")

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run this operation in ``session``, or in the default session."""
        _session_for(session, f"operation {self.name!r}").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<graph operation {self.name!r} ({self.type})>"


class GraphTensor(Operators):
    """A result of a recorded call. Operators on it record further calls; it has no value outside ``Session.run``."""

    _array = None
    trace = None
    any_shape = False  # of a placeholder made without a shape: a scalar until it is fed, with any shape

    def __init__(self, call: Call, index: int, abstract: tuple[Tensor, Tensor]) -> None:
        self.op, self.index, self.abstract = call, index, abstract
        a, b = (t.shape for t in abstract)
        self.shape = Shape(m if m == n else None for m, n in zip(a, b, strict=True))
        self.dtype = abstract[0].dtype

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.index}"

    @property
    def spec(self) -> Spec:
        return Spec(self.shape, self.dtype)  # type: ignore[arg-type]  # None for what is not known

    def get_shape(self) -> Shape:
        return self.shape

    def set_shape(self, shape: Sequence[int | None]) -> None:
        """Promise dimensions that could not be found. Raises ShapeError if they contradict what is known."""
        if len(shape) != len(self.shape) or any(
            a is not None and b is not None and a != b for a, b in zip(shape, self.shape, strict=True)
        ):
            raise ShapeError(f"set_shape: {self.name} has shape {self.shape}, not {tuple(shape)}.")
        self.shape = Shape(b if a is None else a for a, b in zip(shape, self.shape, strict=True))

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Its value in ``session``, or in the default session."""
        return _session_for(session, f"tensor {self.name!r}").run(self, feed_dict)

    def as_operand(self) -> Any:
        """Itself while recording. In a body that is being traced, what it is there."""
        here = current()
        return here.outside(self) if isinstance(here, Trace) and here.outside is not None else self

    # The mixin's operators work: they apply rows, which are recorded. What needs dimensions is recorded whole.

    def __getitem__(self, index: Any) -> Any:
        if (x := self.as_operand()) is not self:
            return x[index]
        return self.graph.record(lambda x, *i: x[_rebuild(index, i)], (self, *_graph_leaves(index)), {}, "getitem")

    def __matmul__(self, other: Any) -> Any:
        if (x := self.as_operand()) is not self:
            return x @ other
        return self.graph.record(lambda x, y: x @ y, (self, _operand(other, self)), {}, "matmul")

    def __rmatmul__(self, other: Any) -> Any:
        if (x := self.as_operand()) is not self:
            return other @ x
        return self.graph.record(lambda x, y: y @ x, (self, _operand(other, self)), {}, "matmul")

    def reshape(self, *shape: Any) -> Any:
        if (x := self.as_operand()) is not self:
            return x.reshape(*shape)
        return self.graph.record(lambda x: x.reshape(*shape), (self,), {}, "reshape")

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        if (x := self.as_operand()) is not self:
            return x.mean(axis, keepdims)
        return self.graph.record(lambda x: x.mean(axis, keepdims), (self,), {}, "mean")

    @property
    def size(self) -> int:
        if None in self.shape:
            raise TracingError(explain(f"the size of {self.name} {self.shape} is not known before the run."))
        return int(np.prod(self.shape, dtype=np.int64))

    def __iter__(self) -> Iterator[Any]:
        if not self.shape or self.shape[0] is None:
            raise TracingError(explain(f"{self.name} cannot be iterated over: its first dimension is not known."))
        return (self[i] for i in range(self.shape[0]))

    def __len__(self) -> int:
        if not self.shape or self.shape[0] is None:
            raise TracingError(explain(f"the length of {self.name} is not known before the run.", fix="tf.shape(x)[0]"))
        return self.shape[0]

    def __bool__(self) -> bool:
        raise self._no_value("bool() or if")

    def __float__(self) -> float:
        raise self._no_value("float()")

    def __int__(self) -> int:
        raise self._no_value("int()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise self._no_value("a NumPy function")

    def _no_value(self, asked: str) -> TracingError:
        return TracingError(
            explain(
                f"graph tensor {self.name!r} (made at {self.op.line}) has no value; {asked} asked for it.",
                why="A graph describes a computation; values appear when a session runs it.",
                fix=f"value = sess.run({self.op.name})   # or tf.cond / tf.where inside the graph",
            )
        )

    def __eq__(self, other: Any) -> Any:
        return self is other  # as in TensorFlow 1, so that tensors are keys

    def __ne__(self, other: Any) -> Any:
        return self is not other

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<graph tensor {self.name!r} shape={self.shape!r} dtype={self.dtype.name}>"


def _operand(x: Any, like: GraphTensor) -> Any:
    return x if isinstance(x, GraphTensor) else as_tensor(x) if not isinstance(x, np.ndarray) else x


def _graph_leaves(index: Any) -> list[GraphTensor]:
    parts = index if isinstance(index, tuple) else (index,)
    flat = [e for p in parts for e in ((p.start, p.stop, p.step) if isinstance(p, slice) else (p,))]
    return [e for e in flat if isinstance(e, GraphTensor)]


def _rebuild(index: Any, values: Sequence[Any]) -> Any:
    remaining = iter(values)

    def value(e: Any) -> Any:
        return next(remaining) if isinstance(e, GraphTensor) else e

    parts = index if isinstance(index, tuple) else (index,)
    rebuilt = tuple(slice(*map(value, (p.start, p.stop, p.step))) if isinstance(p, slice) else value(p) for p in parts)
    return rebuilt if isinstance(index, tuple) else rebuilt[0]


class Graph:
    """A record of calls; the interpreter that is current inside ``with graph.as_default()``.

    Attributes:
        calls: everything recorded, in order.
        variables: variables made under this graph; they have no home session.
        collections: named lists, such as TensorFlow's ``UPDATE_OPS``.
        seed: of operations that draw random numbers, if set.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.variables: list[Any] = []
        self.initializers: dict[int, Call] = {}
        self.collections: dict[str, list[Any]] = {}
        self.controlling: tuple[Call, ...] = ()
        self.finalized = False
        self.seed: int | None = None
        self._names: dict[str, int] = {}
        self._scope = ""
        self._by_name: dict[str, Call] = {}
        self.lock = threading.RLock()  # held while recording and while planning a run
        self.requests: OrderedDict[Any, Any] = OrderedDict()  # see runtime.graph_run, as for the next
        self.plans: OrderedDict[Any, Any] = OrderedDict()
        self._evaluations = (Evaluation(), Evaluation())
        self._sizes = SIZES

    # -- being current -----------------------------------------------------------------------------

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        with interpreting(self):
            yield self

    def finalize(self) -> None:
        """Refuse further recording, so that a loop cannot grow the graph by mistake."""
        self.finalized = True

    # -- names -------------------------------------------------------------------------------------

    def unique_name(self, base: str) -> str:
        name = f"{self._scope}{base}"
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return name if count == 0 else self.unique_name(f"{base}_{count}")

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefix names made inside; a trailing slash re-enters a scope, None leaves all of them."""
        before = self._scope
        self._scope = "" if not name else name if name.endswith("/") else self.unique_name(name) + "/"
        try:
            yield self._scope
        finally:
            self._scope = before

    @contextmanager
    def control_dependencies(self, inputs: Sequence[Any] | None) -> Iterator[None]:
        """What is recorded inside runs after ``inputs``, and reads variables as they left them."""
        before = self.controlling
        self.controlling = () if inputs is None else (*before, *(_call_of(x) for x in inputs))
        try:
            yield
        finally:
            self.controlling = before

    def tensor_by_name(self, name: str) -> GraphTensor:
        """Raises KeyError if no operation has the name, ValueError if it is an operation's and not a tensor's."""
        call, colon, index = name.partition(":")
        if not colon:
            raise ValueError(f"{name!r} names an operation; its first tensor is {name + ':0'!r}.")
        return self.operation_by_name(call).outputs[int(index)]

    def operation_by_name(self, name: str) -> Call:
        if name in self._by_name:
            return self._by_name[name]
        for variable in self.variables:
            if _stem(variable) == name:
                return variable_read(self, variable).op
        raise KeyError(f"the graph has no operation named {name!r}.")

    # -- recording ---------------------------------------------------------------------------------

    def record(self, fn: Callable[..., Any], args: Any, kwargs: Any, name: str = "") -> Any:
        """Record ``fn(*args, **kwargs)``; returns graph tensors in the structure that ``fn`` returns."""
        kwargs = dict(kwargs)
        base = kwargs.pop("name", None) or name or getattr(fn, "__name__", "call")
        args, kwargs = tree.map(_readable, (tuple(args), kwargs))
        return self._add(Call(self, self._fresh_name(base), "call", fn, args, kwargs))

    def _fresh_name(self, base: str) -> str:
        if self.finalized:
            raise SessionError(
                explain(
                    "the graph is finalized and cannot grow.",
                    why="Something in the loop builds graph operations, such as a + b in sess.run(a + b).",
                    fix="build the operation once, before the loop",
                )
            )
        return self.unique_name(base.strip("<>"))

    def _name_on(self, variable: Any, what: str) -> str:
        with self.name_scope(None):  # a variable's name is whole
            return self._fresh_name(f"{_stem(variable)}/{what}")

    def _add(self, call: Call, abstract: Callable[[Evaluation], list[Any]] | None = None) -> Any:
        with self.lock:
            return self._added(call, abstract)

    def _added(self, call: Call, abstract: Callable[[Evaluation], list[Any]] | None) -> Any:
        call.abstract = abstract
        try:
            first, second = self._evaluate(0, call), self._evaluate(1, call)
        except ShapeError as error:
            first, second = self._settled(call, error)
        call.inputs = list(dict.fromkeys([*call.inputs, *self._evaluations[0].used]))
        self.calls.append(call)
        self._by_name[call.name] = call
        call.leaves = []
        for a, b in zip(first, second, strict=True):
            if not isinstance(a, Tensor):
                call.leaves.append(a)
                continue
            out = GraphTensor(call, len(call.outputs), (a, b))
            for evaluation, value in zip(self._evaluations, (a, b), strict=True):
                evaluation.values[out] = value
            call.outputs.append(out)
            call.leaves.append(out)
        return tree.unflatten(call.structure, call.leaves)

    def _evaluate(self, which: int, call: Call) -> list[Any]:
        evaluation = self._evaluations[which]
        evaluation.used.clear()
        with evaluation.evaluating():
            return call.abstract(evaluation) if call.abstract else evaluation.apply(call)

    def _settled(self, call: Call, error: ShapeError) -> tuple[list[Any], list[Any]]:
        """Evaluate ``call``, which failed for made-up sizes, with what its operands suggest an unknown dimension is.

        Adding ``(?, 6)`` and ``(7, 6)`` says that ? is 7. From then on the graph's unknown dimensions are taken to be
        that. Raises ``error`` if nothing fits.
        """
        shapes = [x.shape for x in tree.leaves((call.args, call.kwargs)) if hasattr(x, "shape")]
        before = self._evaluations, self._sizes
        if self._sizes == SIZES and any(None in shape for shape in shapes):
            for size in sorted({d for shape in shapes for d in shape if d is not None and d > 1}):
                try:
                    return self._with_size(size, call)
                except ShapeError:
                    self._evaluations, self._sizes = before
        made_up = f"\n  ({SIZES[0]} stands for a dimension that is not known before the run.)"
        raise ShapeError(f"{error}{made_up if str(SIZES[0]) in str(error) else ''}") from None

    def _with_size(self, size: int, call: Call) -> tuple[list[Any], list[Any]]:
        """Evaluate everything recorded anew with ``size`` for unknown dimensions, and then ``call``."""
        self._evaluations, self._sizes = (Evaluation(), Evaluation()), (size, size)
        for earlier in self.calls:
            found = [[x for x in self._evaluate(which, earlier) if isinstance(x, Tensor)] for which in (0, 1)]
            for evaluation, values in zip(self._evaluations, found, strict=True):
                evaluation.values.update(zip(earlier.outputs, values, strict=True))
        result = self._evaluate(0, call), self._evaluate(1, call)
        for earlier in self.calls:
            for out in earlier.outputs:
                out.abstract = (self._evaluations[0].values[out], self._evaluations[1].values[out])
        return result

    # As an interpreter: operators apply rows, variables are read and assigned.

    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        return self.record(lambda *xs: primitive(*xs, **attrs), args, {}, primitive.name)

    def constant(self, array: np.ndarray) -> Tensor:
        return Tensor(array)

    def read(self, variable: Any) -> GraphTensor:
        call = Call(self, self._name_on(variable, "read"), "read", lambda: variable.value(), variable=variable)
        return self._add(call)

    def assign(self, variable: Any, value: Any) -> GraphTensor:
        return self.update(variable, None, value, "assign")

    def update(
        self, variable: Any, combine: Callable[[Any, Any], Any] | None, value: Any, name: str = "assign"
    ) -> GraphTensor:
        """Record ``variable := combine(its value then, value)``, or just ``value``; returns the value assigned."""

        def combined(new: Any) -> Any:
            new = as_tensor(new, variable.dtype)
            return new if combine is None else combine(variable.value(), new).astype(variable.dtype)

        def fn(new: Any) -> Any:
            return variable.assign(combined(new))

        value = _readable(value)
        call = Call(self, self._name_on(variable, name), "assign", fn, (value,), variable=variable)

        def abstract(evaluation: Evaluation) -> list[Any]:
            # Without the effect: in the abstract, nothing has run.
            (new,), _ = evaluation.arguments(call)
            out = combined(new)
            if out.shape != variable.shape:
                raise ShapeError(
                    explain(f"assign: variable {variable.name!r} has shape {variable.shape}, the value {out.shape}.")
                )
            call.structure = tree.flatten(out)[1]
            return [out]

        return self._add(call, abstract)

    def add_variable(self, variable: Any, initial_value: Any) -> Spec:
        """Take in a new variable; returns its Spec. Its initializer is an assignment to be run in a session."""
        value = _readable(initial_value)
        spec = value.abstract[0].spec if isinstance(value, GraphTensor) else as_tensor(value).spec
        variable.spec = spec
        variable.graph = self
        self.variables.append(variable)
        call = Call(self, self._name_on(variable, "initializer"), "assign", variable.assign, (value,),
                    variable=variable)  # fmt: skip

        def abstract(evaluation: Evaluation) -> list[Any]:
            (new,), _ = evaluation.arguments(call)
            call.structure = tree.flatten(0)[1]
            return [as_tensor(new, spec.dtype)]

        self._add(call, abstract)
        self.initializers[id(variable)] = call
        return spec

    def placeholder(
        self, shape: Sequence[int | None] | None, dtype: Any = "float32", name: str | None = None
    ) -> GraphTensor:
        """A tensor whose value is fed at every run. ``shape`` may have None for dimensions that vary.

        Without a shape it is taken for a scalar while the graph is recorded, and anything can be fed.
        """
        dims = Shape(None if d is None else int(d) for d in shape or ())
        kind = dtypes.as_dtype(dtype)
        call = Call(self, self._fresh_name(name or "placeholder"), "placeholder", _unfed)

        def abstract(evaluation: Evaluation) -> list[Any]:
            size = self._sizes[self._evaluations.index(evaluation)]
            call.structure = tree.flatten(0)[1]
            return [evaluation.trace.param(Spec(tuple(size if d is None else d for d in dims), kind))]

        out = self._add(call, abstract)
        out.shape, out.any_shape = dims, shape is None
        return out

    def group(self, calls: Sequence[Any], name: str = "group") -> Call:
        """An operation that runs all of ``calls``."""
        call = Call(self, self._fresh_name(name), "call", lambda: ())
        call.control_inputs = (*call.control_inputs, *(_call_of(c) for c in calls))
        self._add(call)
        return call

    def gradients(self, ys: Any, xs: Any, grad_ys: Any = None) -> list[Any]:
        """d sum(ys) / dx for each of ``xs`` (tensors or variables); None where nothing connects them."""
        ys, flat = tree.leaves(ys), list(xs) if isinstance(xs, (list, tuple)) else [xs]
        variables = [x if not isinstance(x, GraphTensor) else None for x in flat]
        tensors = [x for x in flat if isinstance(x, GraphTensor)]

        def fn(targets: Any, sources: Any, weights: Any) -> Any:
            given = iter(sources)
            wanted = [next(given) if v is None else v for v in variables]
            tape = next(t for t in entered_tapes() if isinstance(t, _AllTape))
            return tape.gradient(targets, wanted, weights)

        call = Call(self, self._fresh_name("gradients"), "gradients", fn, (ys, tensors, grad_ys))
        return self._add(call)


def _stem(variable: Any) -> str:
    """What operations on a variable are named after. TensorFlow names a variable after its tensor, "w:0"."""
    return variable.name.removesuffix(":0")


def _unfed() -> Any:
    raise AssertionError("an unfed placeholder is reported before its trace")


def entered_tapes() -> tuple[Any, ...]:
    """Those that record here, innermost first."""
    return tuple(reversed(tapes.active.get()))


def _readable(x: Any) -> Any:
    """Variables among arguments are read when the call is recorded, so that the order of reads is the program's."""
    variable = x if hasattr(x, "read_value") and hasattr(x, "home") else getattr(x, "__hornbeam_variable__", None)
    return variable.value() if variable is not None else x


def _call_of(x: Any) -> Call:
    if isinstance(x, Call):
        return x
    if isinstance(x, GraphTensor):
        return x.op
    raise TypeError(f"{x!r:.80} is not an operation or tensor of a graph.")


def variable_read(graph: Graph, variable: Any) -> GraphTensor:
    """The one read of ``variable`` that fetching or feeding it means; also in a finalized graph."""
    reads = graph.collections.setdefault("fetched variables", [])
    for call in reads:
        if call.variable is variable:
            return call.outputs[0]
    finalized, graph.finalized = graph.finalized, False
    try:
        with graph.as_default(), graph.control_dependencies(None):
            tensor = graph.read(variable)
    finally:
        graph.finalized = finalized
    reads.append(tensor.op)
    return tensor


def _session_for(session: Any, what: str) -> Any:
    found = session or sessions.entered()
    if found is None:
        raise SessionError(
            explain(
                f"{what} cannot be evaluated: no session is the default one here.",
                fix="with tf.compat.v1.Session():   # or pass session=",
            )
        )
    return found


# -- the default graph -----------------------------------------------------------------------------

_default: list[Graph] = []


def recording() -> Graph | None:
    """The graph that records here; None while running eagerly or tracing."""
    interpreter = current()
    return interpreter if isinstance(interpreter, Graph) else None


def default_graph(make: Callable[[], Graph] = Graph) -> Graph:
    """The innermost graph entered here, else the process's own, which ``make`` makes if there is none yet."""
    graph = recording()
    if graph is not None:
        return graph
    if not _default:
        _default.append(make())
    return _default[0]


def reset_default_graph(make: Callable[[], Graph] = Graph) -> None:
    """Forget the process's own graph. Raises SessionError inside a graph's ``with`` block."""
    was_default = bool(_default) and recording() is _default[0]
    if recording() is not None and not was_default:
        raise SessionError("reset_default_graph: not inside   with graph.as_default():")
    _default.clear()
    if was_default:  # the graph that is still installed here is the old one
        _default.append(make())
        install(_default[0])


def disable_eager_execution(make: Callable[[], Graph] = Graph) -> None:
    """From here on operations are recorded in the default graph, as in TensorFlow 1."""
    install(default_graph(make))


def enable_eager_execution() -> None:
    """From here on operations run at once again."""
    install(EAGER)
