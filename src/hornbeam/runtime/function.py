"""``function``: trace a Python function once per signature, then run the Program instead of the Python.

A signature is made of the structure of the arguments, the Spec of every tensor or array, the identity of every
variable, and the type *and* value of everything else: ``f(1)``, ``f(1.0)`` and ``f(True)`` are three traces.
"""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from hornbeam import config
from hornbeam.base import tree
from hornbeam.base.spec import Spec
from hornbeam.errors import DTypeError, RetraceError, ShapeError, explain, user_line
from hornbeam.ir.bind import current
from hornbeam.ir.primitives.control import CALL
from hornbeam.ir.program import Program
from hornbeam.runtime import session as sessions
from hornbeam.runtime import tape
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.tensor import Tensor, as_array, as_tensor, concrete
from hornbeam.runtime.trace import Static, Traced, trace
from hornbeam.runtime.variable import variable_of


class TensorSpec(NamedTuple):
    """A promise about an argument: shape (None for a dimension that may vary) and dtype."""

    shape: tuple[int | None, ...] | None
    dtype: Any = "float32"
    name: str | None = None


class Retrace(NamedTuple):
    """Why a function was traced again: the argument that differed from the nearest earlier trace, and where."""

    argument: str
    before: str
    after: str
    line: str

    def __str__(self) -> str:
        return f"{self.argument} was {self.before}, now {self.after} (at {self.line or 'unknown'})"


class Identity:
    """Compares an unhashable object by what it is, and keeps it alive so that its id is not given away."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return f"{type(self.value).__name__} object"


class Signature(NamedTuple):
    structure: Any
    leaves: tuple[Hashable, ...]


class Function:
    """A Python function that is traced; made by ``function``.

    Attributes:
        retraces: the latest reasons for tracing again, oldest first.
        traces: how many times the Python function ran.
    """

    def __init__(
        self, fn: Callable[..., Any], *, name: str | None = None, input_signature: Any = None, autograph: bool = True
    ) -> None:
        functools.update_wrapper(self, fn)
        self.python_function = fn
        self.name = name or getattr(fn, "__name__", "function")
        self.input_signature = None if input_signature is None else tuple(input_signature)
        self.retraces: deque[Retrace] = deque(maxlen=100)
        self.traces = 0
        self._cache: OrderedDict[Signature, Traced] = OrderedDict()
        self._created = False
        self._lock = threading.RLock()
        self._methods: weakref.WeakKeyDictionary[Any, Function] = weakref.WeakKeyDictionary()
        try:
            self._parameters: Any = inspect.signature(fn)
        except (TypeError, ValueError):
            self._parameters = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: every instance has traces of its own, dropped with it."""
        if instance is None:
            return self
        if instance not in self._methods:
            bound = functools.partial(_call_weakly, self.python_function, weakref.ref(instance))
            functools.update_wrapper(bound, self.python_function)
            self._methods[instance] = Function(bound, name=self.name, input_signature=self.input_signature)
        return self._methods[instance]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current() is not EAGER:
            return self.python_function(*args, **kwargs)  # part of what is being traced
        if self.input_signature is not None:
            args = self._bind_signature(args, kwargs)
            kwargs = {}
        flat, structure = tree.flatten((args, kwargs))
        keys, inputs = self._read_arguments(flat)
        traced = self._traced(Signature(structure, keys), flat, structure)
        outs = run_program(traced.program, inputs)
        leaves = [o.value if isinstance(o, Static) else outs[o] for o in traced.outputs]
        return tree.unflatten(traced.structure, leaves)

    def _read_arguments(self, flat: list[Any]) -> tuple[tuple[Hashable, ...], list[Tensor]]:
        keys: list[Hashable] = []
        inputs: list[Tensor] = []
        for leaf in flat:
            kind = type(leaf)
            if kind is Tensor:
                inputs.append(leaf)
                keys.append(leaf.spec)
            elif isinstance(leaf, (np.ndarray, np.generic)):
                inputs.append(concrete(as_array(leaf)))
                keys.append(inputs[-1].spec)
            else:
                keys.append((kind, _hashable(leaf)))
        return tuple(keys), inputs

    def _traced(self, signature: Signature, flat: list[Any], structure: Any) -> Traced:
        traced = self._cache.get(signature)
        if traced is not None:
            return traced
        with self._lock:
            traced = self._cache.get(signature)
            if traced is None:
                self._note_retrace(signature)
                traced = self._trace(signature, flat, structure)
                self._cache[signature] = traced
                if len(self._cache) > config.MAX_TRACES.value:
                    _, dropped = self._cache.popitem(last=False)
                    sessions.current().forget(dropped.program)
            return traced

    def _trace(self, signature: Signature, flat: list[Any], structure: Any) -> Traced:
        positions = [i for i, key in enumerate(signature.leaves) if isinstance(key, Spec)]
        specs: list[Spec] = [signature.leaves[i] for i in positions]  # type: ignore[misc]

        def call(*inputs: Tensor) -> Any:
            leaves = list(flat)
            for i, x in zip(positions, inputs, strict=True):
                leaves[i] = x
            args, kwargs = tree.unflatten(structure, leaves)
            return self.python_function(*args, **kwargs)

        self.traces += 1
        traced = trace(call, specs, self.name)
        if traced.trace.created:
            if self._created:
                first = traced.trace.created[0]
                raise RetraceError(
                    explain(
                        f"function {self.name!r} created variable {first.name!r} (at {first.line}) in a later trace.",
                        why="A function may create variables in its first trace only; usually an optimizer, layer or "
                        "metric is made, or used for the first time, inside it, and the call's arguments changed.",
                        fix="make the variables outside:   opt = keras.optimizers.Adam(); opt.build(variables)",
                    )
                )
            self._created = True
        return traced

    def _note_retrace(self, signature: Signature) -> None:
        if not self._cache:
            return
        nearest, differing = _nearest(signature, list(self._cache))
        if differing is None:
            found = Retrace("the structure of the arguments", str(nearest.structure), str(signature.structure), user_line())
        else:
            before, after = nearest.leaves[differing], signature.leaves[differing]
            found = Retrace(self._argument_name(signature, differing), _show(before), _show(after), user_line())
        self.retraces.append(found)
        sessions.current().ledger.note("retrace", f"{self.name}: {found}")

    def _argument_name(self, signature: Signature, leaf: int) -> str:
        marked = tree.unflatten(signature.structure, range(len(signature.leaves)))
        path = dict(zip(tree.leaves(marked), tree.paths(marked), strict=True))[leaf]
        names = list(self._parameters.parameters) if self._parameters else []
        # Paths start with [0][i] for positional and with [1]['name'] for keyword arguments.
        first, rest = path[4:].split("]", 1)
        positional = path.startswith("[0]")
        name = names[int(first)] if positional and int(first) < len(names) else first.strip("'")
        return f"argument {name}{rest}"

    def _bind_signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        assert self.input_signature is not None
        bound = self._parameters.bind(*args, **kwargs)
        values = tuple(bound.arguments.values())
        if len(values) != len(self.input_signature):
            raise TypeError(f"{self.name} has {len(self.input_signature)} specs in its input_signature, got {len(values)}.")
        return tuple(self._conform(v, s, i) for i, (v, s) in enumerate(zip(values, self.input_signature, strict=True)))

    def _conform(self, value: Any, wanted: Any, position: int) -> Any:
        """``value`` as the tensor that ``wanted`` promises. Raises ShapeError or DTypeError if it is not."""
        tensor = as_tensor(value, wanted.dtype) if not hasattr(value, "dtype") else as_tensor(value)
        name = f"{self.name}: argument {position}"
        if str(np.dtype(tensor.dtype)) != str(np.dtype(as_tensor(0, wanted.dtype).dtype)):
            raise DTypeError(f"{name} is {tensor.dtype.name}, its input_signature says {wanted.dtype}.")
        shape = wanted.shape
        if shape is not None and (
            len(shape) != tensor.ndim or any(d is not None and d != n for d, n in zip(shape, tensor.shape, strict=True))
        ):
            raise ShapeError(f"{name} has shape {tensor.shape}, its input_signature says {tuple(shape)}.")
        return tensor

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The Program that these arguments would run, traced if it was not yet."""
        flat, structure = tree.flatten((args, kwargs))
        keys, _ = self._read_arguments(flat)
        return self._traced(Signature(structure, keys), flat, structure).program

    def clear(self) -> None:
        """Let go of every trace. Variables that it created stay."""
        self._cache.clear()

    def __repr__(self) -> str:
        return f"<function {self.name}: {len(self._cache)} traces>"


def run_program(program: Program, inputs: list[Tensor]) -> list[Tensor]:
    """Run ``program`` in the current session; tapes that are recording see one ``call``."""
    session = sessions.current()
    recording = bool(tape.active.get())
    read = [session.read(v) for v in program.reads] if recording else []
    outs = [concrete(a) for a in session.execute(program, [t.array for t in inputs])]
    if recording:
        for variable, value in zip(program.reads, read, strict=True):
            tape.note_read(variable, value)
        pure = Program(program.params, program.outputs, name=program.name)
        tape.record(CALL, (*inputs, *read), {"program": pure}, tuple(outs))
    return outs


def function(fn: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Make ``fn`` a traced function; also a decorator, with or without options.

        @hb.function
        def step(x, y): ...

    Args:
        input_signature: a TensorSpec for each argument, checked on every call.
        name: shown in messages.
    """
    if fn is None:
        return lambda f: Function(f, **options)
    return Function(fn, **options)


def _hashable(leaf: Any) -> Hashable:
    variable = variable_of(leaf)
    if variable is not None:
        return Identity(leaf)
    try:
        hash(leaf)
    except TypeError:
        return Identity(leaf)
    return leaf


def _show(key: Hashable) -> str:
    return str(key) if isinstance(key, Spec) else f"{key[1]!r}" if isinstance(key, tuple) else repr(key)


def _nearest(signature: Signature, others: list[Signature]) -> tuple[Signature, int | None]:
    """The earlier signature with the fewest differences, and the first leaf that differs (None: the structure does)."""
    same = [s for s in others if s.structure == signature.structure]
    if not same:
        return others[-1], None
    differences = lambda s: [i for i, (a, b) in enumerate(zip(s.leaves, signature.leaves, strict=True)) if a != b]  # noqa: E731
    best = min(same, key=lambda s: len(differences(s)))
    return best, differences(best)[0]


def _call_weakly(fn: Callable[..., Any], instance: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
    return fn(instance(), *args, **kwargs)
