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
from hornbeam.base import dtypes, tree
from hornbeam.base.spec import Spec, as_shape
from hornbeam.base.weak import IdentityMap
from hornbeam.errors import DTypeError, RetraceError, ShapeError, explain, user_line
from hornbeam.ir.bind import current
from hornbeam.ir.operators import Operators
from hornbeam.ir.primitives.control import CALL
from hornbeam.ir.program import Program
from hornbeam.runtime import session as sessions
from hornbeam.runtime import tape
from hornbeam.runtime.eager import EAGER, settled
from hornbeam.runtime.graph import GraphTensor
from hornbeam.runtime.rows import batch_of, check_rows, check_samples, each
from hornbeam.runtime.tensor import Tensor, as_array, as_tensor, cast_exactly, concrete
from hornbeam.runtime.trace import Static, Trace, Traced, trace
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
    """Stands for an object by what it is, not by what it equals, and does not keep it alive."""

    __slots__ = ("number", "ref", "shown")

    def __init__(self, value: Any, let_go: Callable[[Any], None] | None = None) -> None:
        self.number, self.shown = id(value), f"{type(value).__name__} object at {id(value):#x}"
        try:
            self.ref: Callable[[], Any] = weakref.ref(value, let_go)
        except TypeError:  # of a type that cannot be referred to weakly
            self.ref = lambda: value

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Identity) and self.number == other.number and self.ref() is other.ref() is not None

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return self.shown


class Signature(NamedTuple):
    structure: Any
    leaves: tuple[Hashable, ...]  # a Spec, (type, value), or Identity


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
        self.name = name or str(getattr(fn, "__name__", "function"))
        self.input_signature = None if input_signature is None else tuple(input_signature)
        self.retraces: deque[Retrace] = deque(maxlen=100)
        self.traces = 0
        self._cache: OrderedDict[Signature, Traced] = OrderedDict()
        self._created = False
        self._lock = threading.RLock()
        self._methods: IdentityMap[Function] = IdentityMap()
        try:
            self._parameters: inspect.Signature | None = inspect.signature(fn)
        except (TypeError, ValueError):
            self._parameters = None
        self._plain = _count_if_plain(self._parameters)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: every instance has traces of its own, dropped with it."""
        if instance is None:
            return self
        with self._lock:
            method = self._methods.get(instance)
            if method is None:
                bound = functools.partial(_call_weakly, self.python_function, weakref.ref(instance))
                functools.update_wrapper(bound, self.python_function)
                if self._parameters is not None:
                    _, *rest = self._parameters.parameters.values()
                    bound.__signature__ = self._parameters.replace(parameters=rest)  # type: ignore[attr-defined]
                method = type(self)(bound, name=self.name, input_signature=self.input_signature)
                self._methods[instance] = method
        return method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        here = current()
        if here is not EAGER:  # part of what is being traced or recorded
            if self.input_signature is not None and isinstance(here, Trace):
                args, kwargs = self._arguments(args, kwargs)
            return self.python_function(*args, **kwargs)
        args, kwargs = self._arguments(args, kwargs)
        flat, structure = _flatten(args, kwargs)
        for leaf in flat:
            if type(leaf) is GraphTensor:
                with leaf.graph.as_default():
                    return self.python_function(*args, **kwargs)
        leaves, inputs = _read_arguments(flat)
        traced = self._traced(Signature(structure, leaves), flat)
        outs = run_program(traced.program, inputs)
        returned = [o.value if isinstance(o, Static) else outs[o] for o in traced.outputs]
        return tree.unflatten(traced.structure, returned)

    def over_rows(self, rows: np.ndarray | range, *args: Any, stacked: bool = False) -> Any:
        """Call it once for each element of ``rows``, on those rows of every array in ``args``, in one native call.

        A training loop without its Python: every call finds the state that the one before left, and the bits are those
        of a loop of calls. Not while tracing or recording, when it *is* a loop of calls.

        Args:
            rows: integers of shape (calls, batch); or ``range(first, stop, batch)`` where rows follow each other.
            args: arrays (or tensors) with samples along their first axis, in any structure; what else is among them is
                passed as it is.
            stacked: whether to return the results of every call, stacked along a new first axis, instead of the last's.
        Raises ShapeError for arrays without samples or of different numbers of them, IndexError for rows that they do
        not have.
        """
        args, kwargs = self._arguments(args, {}) if self.input_signature is None else (args, {})
        flat, structure = tree.flatten((args, kwargs))
        flat = [leaf.array if type(leaf) is Tensor and not leaf.is_symbolic else leaf for leaf in flat]
        fed = [i for i, leaf in enumerate(flat) if isinstance(leaf, np.ndarray)]
        rows = check_rows(rows, check_samples([flat[i] for i in fed]))
        if current() is not EAGER or tape.active.get() or self.input_signature is not None:
            results = []
            for some in each(rows):
                leaves = [leaf[some] if isinstance(leaf, np.ndarray) else leaf for leaf in flat]
                args, kwargs = tree.unflatten(structure, leaves)
                results.append(self(*args, **kwargs))
            return tree.map(lambda *parts: as_tensor(list(parts)), *results) if stacked else results[-1]
        batch, keys = batch_of(rows), [_key(leaf) if i not in fed else None for i, leaf in enumerate(flat)]
        for i in fed:
            dtype = dtypes.as_dtype(flat[i].dtype)
            flat[i] = np.ascontiguousarray(flat[i], dtype)
            keys[i] = Spec((batch, *flat[i].shape[1:]), dtype)
        traced = self._traced(Signature(structure, tuple(keys)), flat)
        outs = sessions.current().repeat(traced.program, [flat[i] for i in fed], rows, stacked)
        calls = len(rows)
        returned = [
            concrete(outs[o]) if not isinstance(o, Static) else [o.value] * calls if stacked else o.value
            for o in traced.outputs
        ]
        return tree.unflatten(traced.structure, returned)

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The Program that these arguments would run, traced if it was not yet. A TensorSpec stands for a tensor."""
        args, kwargs = tree.replace(_stand_in, (args, kwargs), (TensorSpec, Spec))
        flat, structure = _flatten(*self._arguments(args, kwargs))
        leaves, _ = _read_arguments(flat)
        return self._traced(Signature(structure, leaves), flat).program

    def clear(self) -> None:
        """Let go of every trace. Variables that it created stay."""
        self._cache.clear()

    def __repr__(self) -> str:
        return f"<function {self.name}: {len(self._cache)} traces>"

    # -- arguments ---------------------------------------------------------------------------------

    def _arguments(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Arguments in one form: with ``n=1`` the default, ``f(x)``, ``f(x, 1)`` and ``f(x, n=1)`` are alike."""
        if self._parameters is not None and (kwargs or len(args) != self._plain):
            try:
                bound = self._parameters.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}(): {error}") from None
            if self.input_signature is None:
                bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        if self.input_signature is None:
            return args, kwargs
        values = (*args, *kwargs.values())
        if len(values) != len(self.input_signature):
            expected = f"{self.name} has {len(self.input_signature)} specs in its input_signature"
            raise TypeError(f"{expected}, got {len(values)} arguments.")
        names = [*self._parameters.parameters] if self._parameters else [str(i) for i in range(len(values))]
        conformed = [
            _conform(f"{self.name}: argument {n}", v, s)
            for n, v, s in zip(names, values, self.input_signature, strict=False)
        ]
        return tuple(conformed[: len(args)]), dict(zip(kwargs, conformed[len(args) :], strict=True))

    # -- traces ------------------------------------------------------------------------------------

    def _traced(self, signature: Signature, flat: list[Any]) -> Traced:
        traced = self._cache.get(signature)
        if traced is not None:
            self._touch(signature)
            return traced
        with self._lock:
            traced = self._cache.get(signature)
            if traced is None:
                self._note_retrace(signature)
                traced = self._trace(signature, flat)
                self._cache[self._forgotten_with_its_objects(signature)] = traced
                while len(self._cache) > config.MAX_TRACES.value:
                    self._cache.popitem(last=False)
            return traced

    def _touch(self, signature: Signature) -> None:
        """Make it the most recently used."""
        if len(self._cache) > 1:
            try:
                self._cache.move_to_end(signature)
            except KeyError:  # another thread has just let go of it
                pass

    def _forgotten_with_its_objects(self, signature: Signature) -> Signature:
        """An equal signature whose trace goes when one of the objects in it does."""
        let_go = functools.partial(_let_go, weakref.ref(self))
        keys = [Identity(k.ref(), let_go) if isinstance(k, Identity) else k for k in signature.leaves]
        return Signature(signature.structure, tuple(keys))

    def _trace(self, signature: Signature, flat: list[Any]) -> Traced:
        positions = [i for i, key in enumerate(signature.leaves) if isinstance(key, Spec)]
        specs: list[Spec] = [signature.leaves[i] for i in positions]  # type: ignore[misc]

        def call(*inputs: Tensor) -> Any:
            leaves = list(flat)
            for i, x in zip(positions, inputs, strict=True):
                leaves[i] = x
            args, kwargs = tree.unflatten(signature.structure, leaves)
            return self.python_function(*args, **kwargs)

        self.traces += 1
        traced = trace(call, specs, self.name)
        if traced.created and self._created:
            first = traced.created[0]
            raise RetraceError(
                explain(
                    f"function {self.name!r} created variable {first.name!r} (at {first.line}) in a later trace.",
                    why="A function may create variables in its first trace only; usually an optimizer, layer or "
                    "metric is made, or used for the first time, inside it, and the call's arguments changed.",
                    fix="make the variables outside:   opt = keras.optimizers.Adam(); opt.build(variables)",
                )
            )
        self._created = self._created or bool(traced.created)
        return traced._replace(created=())

    def _note_retrace(self, signature: Signature) -> None:
        others = list(self._cache)
        if not others:
            return
        nearest, differing = _nearest(signature, others)
        if differing is None:
            before, after = str(nearest.structure), str(signature.structure)
            found = Retrace("the structure of the arguments", before, after, user_line())
        else:
            before, after = _show(nearest.leaves[differing]), _show(signature.leaves[differing])
            found = Retrace(self._argument_name(signature, differing), before, after, user_line())
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


def run_program(program: Program, inputs: list[Tensor]) -> list[Tensor]:
    """Run ``program`` in the current session; tapes that are recording see one ``call``."""
    arrays, read = sessions.current().execute_and_tell(program, [t.array for t in inputs])
    outs = [concrete(a) for a in arrays]
    if tape.active.get():
        for variable, value in zip(program.reads, read, strict=True):
            tape.note_read(variable, value)
        tape.record(CALL, (*inputs, *read), {"program": program.closed}, tuple(outs))
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


def _count_if_plain(parameters: inspect.Signature | None) -> int | None:
    """How many arguments there are, if all of them can be given by position; else None."""
    if parameters is None:
        return None
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    plain = all(p.kind in by_position for p in parameters.parameters.values())
    return len(parameters.parameters) if plain else None


def _flatten(args: Any, kwargs: Any) -> tuple[list[Any], tree.TreeDef]:
    """The leaves of a call's arguments and their structure, which for arguments that are leaves is known."""
    if not kwargs and _LEAVES.issuperset(map(type, args)):
        return list(args), _structure_of_leaves(len(args))
    return tree.flatten((args, kwargs))


_LEAVES = frozenset([Tensor, np.ndarray, bool, int, float, str])


@functools.cache
def _structure_of_leaves(n: int) -> tree.TreeDef:
    return tree.flatten(((0,) * n, {}))[1]


def _read_arguments(flat: list[Any]) -> tuple[tuple[Hashable, ...], list[Tensor]]:
    """What the leaves are in a signature, and those that are inputs of the Program."""
    keys: list[Hashable] = []
    inputs: list[Tensor] = []
    for leaf in flat:
        if type(leaf) is Tensor:
            inputs.append(settled(leaf) if leaf.is_symbolic else leaf)
            keys.append(leaf.spec)
        elif isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind in "biufcV":
            inputs.append(concrete(as_array(leaf)))
            keys.append(inputs[-1].spec)
        else:
            keys.append(_key(leaf))
    return tuple(keys), inputs


def _key(leaf: Any) -> Hashable:
    """Plain values by type and value; what is compared by identity, or cannot be hashed, by identity."""
    kind = type(leaf)
    if kind in (bool, int, str, bytes):
        return kind, leaf
    if kind in (float, complex):
        return kind, repr(leaf)  # -0.0 is not 0.0 here, and nan is nan
    by_identity: Any = object.__hash__
    if variable_of(leaf) is not None or kind.__hash__ is by_identity:
        return Identity(leaf)
    try:
        hash(leaf)
    except TypeError:
        return Identity(leaf)
    return kind, leaf


def _stand_in(wanted: TensorSpec | Spec) -> Tensor:
    """A tensor like this, without memory: only its Spec is looked at. Raises ShapeError for an unknown dimension."""
    shape = wanted.shape
    if shape is None or None in shape:
        raise ShapeError(
            explain(
                f"{wanted} leaves a dimension open.",
                why="A Program is made for one shape, and what it takes depends on it.",
                fix="hb.TensorSpec((32, 784), 'float32')   # a number for every dimension",
            )
        )
    return concrete(np.broadcast_to(np.zeros((), dtypes.as_dtype(wanted.dtype)), as_shape(shape)))


def _let_go(function: Callable[[], Function | None], dead: Any) -> None:
    """Drop the traces whose signature names an object that is no more."""
    alive = function()
    if alive is not None:
        for signature in list(alive._cache):
            if any(isinstance(k, Identity) and k.ref is dead for k in signature.leaves):
                alive._cache.pop(signature, None)


def _conform(name: str, value: Any, wanted: Any) -> Any:
    """``value`` as the tensors that ``wanted`` promises. Raises ShapeError or DTypeError if it is not."""
    if isinstance(wanted, dict):
        return {k: _conform(f"{name}[{k!r}]", value[k], w) for k, w in wanted.items()}
    if not hasattr(wanted, "dtype"):
        if len(value) != len(wanted):
            raise TypeError(f"{name} has {len(value)} parts, its input_signature says {len(wanted)}.")
        parts = [_conform(f"{name}[{i}]", v, w) for i, (v, w) in enumerate(zip(value, wanted, strict=True))]
        return type(wanted)(parts)
    tensor, dtype = as_tensor(value), dtypes.as_dtype(wanted.dtype)
    if tensor.dtype != dtype:
        exact = None if isinstance(value, Operators) else cast_exactly(tensor.array, dtype)
        if exact is None:
            raise DTypeError(
                explain(
                    f"{name} is {tensor.dtype.name}, its input_signature says {dtype.name}.",
                    why="Tensors keep their dtype, and a cast that would change numbers is refused.",
                    fix=f"hb.cast(x, {dtype.name!r})",
                )
            )
        tensor = concrete(exact)
    shape = wanted.shape
    if shape is not None and (
        len(shape) != tensor.ndim or any(d is not None and d != n for d, n in zip(shape, tensor.shape, strict=True))
    ):
        raise ShapeError(explain(f"{name} has shape {tensor.shape}, its input_signature says {tuple(shape)}."))
    return tensor


def _show(key: Hashable) -> str:
    if isinstance(key, Spec) or not isinstance(key, tuple):
        return str(key)
    kind, value = key
    return value if kind in (float, complex) else repr(value)


def _nearest(signature: Signature, others: list[Signature]) -> tuple[Signature, int | None]:
    """The earlier signature with the fewest differences, and the first leaf that differs (None: the structure does)."""

    def differences(s: Signature) -> list[int]:
        return [i for i, (a, b) in enumerate(zip(s.leaves, signature.leaves, strict=True)) if a != b]

    same = [s for s in others if s.structure == signature.structure]
    if not same:
        return others[-1], None
    best = min(same, key=lambda s: len(differences(s)))
    return best, differences(best)[0]


def _call_weakly(fn: Callable[..., Any], instance: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
    return fn(instance(), *args, **kwargs)
