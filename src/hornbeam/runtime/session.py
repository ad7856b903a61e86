"""``Session``: the owner of variable values, executables, a seed and an engine; the thing that Keras hides.

One exists from the first use; ``Session()`` makes another; ``with sess:`` and ``sess.as_default()`` make it current for
this thread or task. A variable lives in the session in which it was created; computing happens in the current one.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

import numpy as np

from hornbeam import config
from hornbeam.base.spec import Spec
from hornbeam.engines import engine as engines
from hornbeam.engines import reference  # noqa: F401  (registers itself)
from hornbeam.errors import (
    SessionClosedError,
    SessionError,
    StrictModeError,
    UninitializedVariableError,
    explain,
    user_line,
)
from hornbeam.ir.node import make, param, results
from hornbeam.ir.primitive import Primitive
from hornbeam.ir.program import Program
from hornbeam.runtime.state import State
from hornbeam.runtime.tensor import Tensor, as_array, concrete

_current: ContextVar[Session | None] = ContextVar("hornbeam_session", default=None)
_default: list[Session] = []
_default_lock = threading.Lock()
_numbers = itertools.count()

MAX_OPERATIONS = 4096  # eager executables kept: primitives times shapes


class Entry(NamedTuple):
    """One line of a ledger: what kind of quiet thing happened, what exactly, and on which line of the user's."""

    kind: str
    what: str
    line: str


class Ledger:
    """What would otherwise happen silently: retraces, narrowing casts, unconnected gradients, fallbacks."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.counts: Counter[str] = Counter()
        self.entries: deque[Entry] = deque(maxlen=1000)

    def note(self, kind: str, what: str) -> None:
        """Count it; raise StrictModeError in a strict session."""
        self.counts[kind] += 1
        self.entries.append(Entry(kind, what, user_line()))
        if self.strict:
            raise StrictModeError(explain(f"{kind}: {what}", why="This session is strict: nothing may happen quietly."))


class Session:
    """Owns state and computing resources.

        with hb.Session(seed=7) as sess:
            model = build()
            model.fit(x, y)
        # closed: its variables and executables are gone

    Args:
        graph: a Graph to run parts of (TF1 style); see ``run``.
        engine: name of the engine that compiles Programs; the flag ``HORNBEAM_ENGINE`` by default.
        seed: of random numbers drawn without an explicit key. Drawn from the system if None.
        threads: how many threads its computations may use; None leaves it to the engine.
        strict: raise StrictModeError where the ledger would note something.
        name: shown in messages; made up if None.
    """

    def __init__(
        self,
        graph: Any = None,
        *,
        engine: str | None = None,
        seed: int | None = None,
        threads: int | None = None,
        strict: bool = False,
        name: str | None = None,
    ) -> None:
        number = next(_numbers)
        self.name = name or ("default" if number == 0 else f"session_{number}")
        self.graph = graph
        self.engine = engines.find(engine or config.ENGINE.value)
        self.options = engines.Options(threads)
        self.seed = int(np.random.SeedSequence().entropy) % 2**63 if seed is None else int(seed)  # type: ignore[arg-type]
        self.state = State()
        self.ledger = Ledger(strict)
        self.opened_at = user_line()
        self.closed_at: str | None = None
        self.runs = 0
        self._executables: dict[Program, Any] = {}
        self._operations: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.RLock()
        self._tokens: list[tuple[Token[Any], Any]] = []

    # -- being current ----------------------------------------------------------------------------------------------------

    @contextmanager
    def as_default(self) -> Iterator[Session]:
        """Within the block this session is the current one. It stays open afterwards."""
        self._check_open()
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    def __enter__(self) -> Session:
        """Make it current (and its graph the default graph) until the block ends, then close it."""
        self._check_open()
        if self._tokens:
            raise SessionError(f"{self!r} is entered already: a session's `with` block cannot be nested in itself.")
        entered = self.graph.as_default() if self.graph is not None else None
        if entered is not None:
            entered.__enter__()
        self._tokens.append((_current.set(self), entered))
        return self

    def __exit__(self, *exc: Any) -> None:
        token, entered = self._tokens.pop()
        _current.reset(token)
        if entered is not None:
            entered.__exit__(*exc)
        self.close()

    def close(self) -> None:
        """Give back its state, executables and everything they hold. Closing twice does nothing."""
        if self.closed_at is None:
            with self._lock:
                self.closed_at = user_line() or "unknown"
                self.state.clear()
                self._executables.clear()
                self._operations.clear()
        if _default and _default[0] is self:
            _default.clear()

    @property
    def closed(self) -> bool:
        return self.closed_at is not None

    def _check_open(self, what: str = "") -> None:
        if self.closed_at is not None:
            raise SessionClosedError(
                explain(
                    f"{what}session {self.name!r} is closed.\n"
                    f"  opened at {self.opened_at or 'unknown'}\n  closed at {self.closed_at}",
                    why="Closing a session gives back the values of the variables that were created in it.",
                    fix="close it after the last use, or save and load the values you want to keep",
                )
            )

    # -- state --------------------------------------------------------------------------------------------------------------

    def _holder(self, variable: Any) -> Session:
        """The session whose value of ``variable`` is meant here: this one if it has its own, else the home."""
        if variable in self.state or variable.home is None:
            return self
        variable.home._check_open(f"variable {variable.name!r} cannot be used: its home ")
        return variable.home

    def read(self, variable: Any) -> Tensor:
        """The value of ``variable`` here. Raises UninitializedVariableError or SessionClosedError if there is none."""
        self._check_open()
        holder = self._holder(variable)
        if variable not in holder.state:
            if variable.first_value is None:
                raise UninitializedVariableError(uninitialized([variable], self))
            holder.write(variable, concrete(as_array(variable.first_value(holder))))
        return holder.state[variable]

    def write(self, variable: Any, value: Tensor) -> None:
        self._check_open()
        holder = self._holder(variable)
        with holder._lock:
            holder.state[variable] = value

    def is_initialized(self, variable: Any) -> bool:
        holder = self._holder(variable)
        return variable in holder.state or variable.first_value is not None

    # -- running --------------------------------------------------------------------------------------------------------------

    def execute(self, program: Program, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run ``program``: all reads see the state before the run, all updates are written together after it.

        A run that fails changes nothing. Runs without updates may overlap; others wait for each other.
        """
        self._check_open()
        executable = self.executable(program)
        if not program.updates:
            return self._run(program, executable, inputs)
        holders = sorted({id(h): h for h in map(self._holder, program.updates)}.values(), key=id)
        for h in holders:
            h._lock.acquire()
        try:
            results = self._run(program, executable, inputs)
            outputs, values = results[: len(program.outputs)], results[len(program.outputs) :]
            stored = [(self._holder(v), v, concrete(a)) for v, a in zip(program.updates, values, strict=True)]
            for holder, variable, value in stored:
                holder.state[variable] = value
            return outputs
        finally:
            for h in reversed(holders):
                h._lock.release()

    def _run(self, program: Program, executable: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        missing = [v for v in program.reads if not self.is_initialized(v)]
        if missing:
            raise UninitializedVariableError(uninitialized(missing, self))
        arguments = [*inputs, *(self.read(v).array for v in program.reads)]
        self.runs += 1
        return executable.run(arguments)

    def executable(self, program: Program) -> Any:
        """What this session's engine made of ``program``; compiled on first use and kept until the session closes."""
        found = self._executables.get(program)
        if found is None:
            found = self._executables[program] = self.engine.compile(program, self.options)
        return found

    def forget(self, program: Program) -> None:
        """Let go of what was compiled for ``program``."""
        self._executables.pop(program, None)

    def execute_op(self, primitive: Primitive, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> list[np.ndarray]:
        """Run one primitive: a Program of one node, kept by (primitive, specs, attributes)."""
        self._check_open()
        key = (primitive, tuple((a.shape, a.dtype) for a in arrays), tuple(attrs.items()))
        executable = self._operations.get(key)
        if executable is None:
            executable = self.engine.compile(_one_node(primitive, arrays, attrs), self.options)
            self._operations[key] = executable
            if len(self._operations) > MAX_OPERATIONS:
                self._operations.popitem(last=False)
        return executable.run(arrays)

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Compute ``fetches`` of its graph, with ``feed_dict`` as the values of placeholders; see ``runtime.graph``."""
        from hornbeam.runtime import graph  # a module above this one: sessions that run no graph don't need it

        self._check_open()
        return graph.run(self, fetches, feed_dict or {})

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None) -> Callable[..., Any]:
        """``run`` with the fetches fixed: a function of the values of ``feed_list``, in that order."""
        feeds = list(feed_list or ())

        def call(*values: Any) -> Any:
            if len(values) != len(feeds):
                raise TypeError(f"this callable takes {len(feeds)} values, got {len(values)}.")
            return self.run(fetches, dict(zip(feeds, values, strict=True)))

        return call

    # -- looking in ---------------------------------------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Any]:
        """The variables that have a value in this session."""
        return list(self.state)

    @property
    def nbytes(self) -> int:
        """Bytes of state held."""
        return self.state.nbytes

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.state)} variables, {self.nbytes} bytes"
        return f"<Session {self.name!r} ({self.engine.name}): {state}>"


def _one_node(primitive: Primitive, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> Program:
    inputs = [param(Spec(a.shape, a.dtype)) for a in arrays]
    node = make(primitive, tuple(inputs), attrs)
    return Program(inputs, results(node) if primitive.multiple else [node], name=primitive.name)


def uninitialized(variables: Sequence[Any], session: Session) -> str:
    listed = ", ".join(f"{v.name!r} ({v.spec}, made at {v.line or 'unknown'})" for v in variables)
    return explain(
        f"uninitialized in {session!r}: {listed}.",
        why="A graph's variables get their values in a session by running their initializers in it.",
        fix="sess.run(tf.compat.v1.global_variables_initializer())   # after all variables and optimizers are made",
    )


def current() -> Session:
    """The session that computes here: the innermost one entered in this thread or task, else the default one."""
    session = _current.get()
    if session is not None:
        return session
    return default()


def default() -> Session:
    """The session that exists without being made. Closing it makes room for a new one."""
    with _default_lock:
        if not _default:
            _default.append(Session(name="default"))
        return _default[0]


def entered() -> Session | None:
    """The innermost session entered in this thread or task; None if there is none (``tf.get_default_session``)."""
    return _current.get()

