"""``Session``: the owner of variable values, executables, a seed and an engine; the thing that Keras hides.

One exists from the first use; ``Session()`` makes another; ``with sess:`` and ``sess.as_default()`` make it current for
this thread or task. A variable lives in the session in which it was created; computing happens in the current one.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple
from weakref import WeakSet, WeakValueDictionary

import numpy as np

from hornbeam import config
from hornbeam.base.weak import IdentityMap
from hornbeam.engines import engine as engines
from hornbeam.engines.costs import Costs
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

_entered: ContextVar[tuple[Session, ...]] = ContextVar("hornbeam_sessions", default=())
_default: list[Session] = []
_default_lock = threading.Lock()
_moment = threading.Lock()  # held while values are fetched or stored together, never while anything is computed
_numbers = itertools.count(1)
_sessions: WeakSet[Session] = WeakSet()

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
        self.name = name or f"session_{next(_numbers)}"
        self.graph = graph
        self.engine = engines.find(engine or config.ENGINE.value)
        self.options = engines.Options(threads)
        self.seed = int(np.random.SeedSequence().entropy) % 2**63 if seed is None else int(seed)  # type: ignore[arg-type]
        self.state = State()
        self.ledger = Ledger(strict)
        self.opened_at = user_line()
        self.closed_at: str | None = None
        self.runs = 0
        self._executables: IdentityMap[Any] = IdentityMap()  # by Program, and kept as long as one that uses it lives
        self._by_structure: WeakValueDictionary[Any, Any] = WeakValueDictionary()
        self._operations: OrderedDict[Any, Any] = OrderedDict()
        self._writing = threading.RLock()  # held through a run that writes
        self._graph_block: Any = None  # the graph's own `with` block, while this session is in one
        _sessions.add(self)

    # -- being current -----------------------------------------------------------------------------

    @contextmanager
    def as_default(self) -> Iterator[Session]:
        """Within the block this session is the current one. It stays open afterwards."""
        self._check_open()
        _entered.set((*_entered.get(), self))
        try:
            yield self
        finally:
            _leave(self)

    def __enter__(self) -> Session:
        """Make it current (and its graph the default graph) until the block ends, then close it."""
        self._check_open()
        if self._graph_block is not None:
            raise SessionError(
                explain(
                    f"session {self.name!r} is entered already; its `with` block is not re-entrant.",
                    why="Leaving the inner block would close it under the outer one.",
                    fix="with sess.as_default():   # for the inner block; it does not close",
                )
            )
        self._graph_block = nullcontext() if self.graph is None else self.graph.as_default()
        self._graph_block.__enter__()
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(self, *exc: Any) -> None:
        block, self._graph_block = self._graph_block, None
        _leave(self)
        block.__exit__(*exc)
        self.close()

    def close(self) -> None:
        """Give back its state, executables and everything they hold. Closing twice does nothing."""
        with self._writing:  # a run that writes ends first
            if self.closed_at is None:
                with _moment:
                    self.closed_at = user_line() or "unknown"
                    self.state.clear()
                self._forget()
        with _default_lock:
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

    # -- state -------------------------------------------------------------------------------------

    def _holder(self, variable: Any) -> Session:
        """The session whose value of ``variable`` is meant here: this one if it has its own, else the home."""
        home = variable.home
        if home is self or home is None or variable in self.state:
            return self
        home._check_open(f"variable {variable.name!r} cannot be used: its home ")
        return home

    def read(self, variable: Any) -> Tensor:
        """The value of ``variable`` here. Raises UninitializedVariableError or SessionClosedError if there is none."""
        return self.read_all([variable])[0]

    def read_all(self, variables: Iterable[Any]) -> list[Tensor]:
        """The values that ``variables`` have at one moment; no run's updates are seen in part."""
        self._check_open()
        held = [(self._holder(v), v) for v in variables]
        try:
            with _moment:
                return [holder.state[v] for holder, v in held]
        except KeyError:
            self._initialize(held)
        with _moment:
            return [holder.state[v] for holder, v in held]

    def _initialize(self, held: Sequence[tuple[Session, Any]]) -> None:
        """Give those variables without a value that make their own their first one."""
        missing = [v for holder, v in held if v not in holder.state and v.first_value is None]
        if missing:
            for holder, _ in held:
                holder._check_open()
            raise UninitializedVariableError(uninitialized(missing, self))
        for holder, v in held:
            with holder._writing:
                if v not in holder.state:
                    holder.write(v, concrete(as_array(v.first_value(holder))))

    def write(self, variable: Any, value: Tensor) -> None:
        """Give ``variable`` a value here. Waits for runs that write."""
        self._check_open()
        holder = self._holder(variable)
        with holder._writing, _moment:
            holder._check_open()
            holder.state[variable] = value

    def writing(self, variables: Iterable[Any]) -> AbstractContextManager[Any]:
        """A block in which no other thread writes to the sessions that hold ``variables``."""
        self._check_open()
        holders = sorted(dict.fromkeys(map(self._holder, variables)), key=id)  # in one order: nobody waits in a circle
        return holders[0]._writing if len(holders) == 1 else _all_of([h._writing for h in holders])

    def _store(self, values: Sequence[tuple[Any, Tensor]]) -> None:
        """Store all of ``values`` at one moment."""
        by_holder: dict[Session, list[tuple[Any, Tensor]]] = {}
        for variable, value in values:
            by_holder.setdefault(self._holder(variable), []).append((variable, value))
        with _moment:
            for holder in by_holder:
                holder._check_open()
            for holder, pairs in by_holder.items():
                holder.state.update(pairs)

    def is_initialized(self, variable: Any) -> bool:
        holder = self._holder(variable)
        return variable in holder.state or variable.first_value is not None

    # -- running -----------------------------------------------------------------------------------

    def execute(self, program: Program, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run ``program``: all reads see the state before the run, all updates are written together after it.

        A run that fails changes nothing. Runs without updates may overlap; others wait for each other.
        """
        return self.execute_and_tell(program, inputs)[0]

    def execute_and_tell(self, program: Program, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[Tensor]]:
        """``execute``, and the state that the run has seen (in the order of ``program.reads``), for tapes."""
        self._check_open()
        executable = self.executable(program)
        self.runs += 1
        if not program.updates:
            read = self.read_all(program.reads) if program.reads else []
            return executable.run([*inputs, *[t._array for t in read]]), read
        with self.writing(program.updates):
            read = self.read_all(program.reads)
            results = executable.run([*inputs, *[t._array for t in read]])
            outputs, values = results[: len(program.outputs)], results[len(program.outputs) :]
            self._store(list(zip(program.updates, map(concrete, values), strict=True)))
            return outputs, read

    def repeat(
        self,
        program: Program,
        inputs: Sequence[np.ndarray],
        rows: np.ndarray | range,
        stacked: bool = False,
    ) -> list[np.ndarray]:
        """Run ``program`` for each of ``rows`` on those rows of ``inputs``, each on the state that the last run left.

        All of it is one run to other threads: its updates are written together after the last. See ``engine.Loop``.
        Returns the outputs of the last run; with ``stacked`` those of every run, stacked.
        """
        self._check_open()
        executable = self.executable(program)
        self.runs += len(rows)
        parameters = {variable: len(program.inputs) + i for i, variable in enumerate(program.reads)}
        carried = [
            (parameters[variable], len(program.outputs) + i)
            for i, variable in enumerate(program.updates)
            if variable in parameters
        ]
        loop = engines.Loop(inputs, rows, carried, len(program.outputs) if stacked else 0)
        with self.writing(program.updates) if program.updates else nullcontext():
            read = self.read_all(program.reads)
            results = executable.repeat([t.array for t in read], loop)
            outputs, values = results[: len(program.outputs)], results[len(program.outputs) :]
            self._store(list(zip(program.updates, map(concrete, values), strict=True)))
        return outputs

    def executable(self, program: Program) -> Any:
        """What this session's engine made of ``program`` or of an equal one, compiled on first use.

        It is kept as long as such a program lives and the session is open.
        """
        found = self._executables.get(program)
        if found is None:
            found = self._by_structure.get(program.key)
            if found is None:
                found = self._by_structure[program.key] = self._compile(program)
            self._executables[program] = found
        return found

    def plan(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Costs:
        """What calling ``fn`` with such arguments in this session takes, without running it: bytes, by what they are
        for, arithmetic operations, kernels, and the largest buffers with your lines that asked for them.

        ``fn`` is traced if it was not yet for such arguments. An ``hb.TensorSpec`` stands for a tensor, also inside
        lists and dicts. Raises ShapeError for one that leaves a dimension open.
        """
        from hornbeam.runtime import function  # a module above this one

        self._check_open()
        with self.as_default():
            traced = fn if isinstance(fn, function.Function) else function.function(fn)
            return self.engine.plan(traced.program(*args, **kwargs), self.options)

    def set_threads(self, threads: int | None) -> None:
        """Let its computations use so many threads from here on; None leaves it to the engine."""
        self.options = self.options._replace(threads=threads)
        self._forget()

    def _forget(self) -> None:
        """Let go of what was compiled; it is compiled again when it is needed."""
        self._executables.clear()
        self._by_structure.clear()
        self._operations.clear()

    def _compile(self, program: Program) -> Any:
        executable = self.engine.compile(program, self.options)
        on_host = Counter(node.primitive.name for node in getattr(executable, "host_steps", ()))
        if on_host:
            rows = ", ".join(f"{name} x{n}" if n > 1 else name for name, n in sorted(on_host.items()))
            self.ledger.note("host step", f"{program.name}: no native code for {rows}; NumPy runs it")
        return executable

    def execute_op(self, primitive: Primitive, args: Sequence[Tensor], attrs: dict[str, Any]) -> list[np.ndarray]:
        """Run one primitive: a Program of one node, kept by (primitive, specs, attributes)."""
        self._check_open()
        arrays = [x._array for x in args]
        key = (primitive, tuple(attrs.items()), *[(x.shape, x.dtype) for x in args])
        executable = self._operations.get(key)
        if executable is None:
            executable = self._compile(_one_node(primitive, args, attrs))
            if any(map(callable, attrs.values())):
                return executable.run(arrays)  # a user's function, mostly a new one each time: not to be kept
            self._operations[key] = executable
            if len(self._operations) > MAX_OPERATIONS:
                self._operations.popitem(last=False)
        return executable.run(arrays)

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Compute ``fetches`` of its graph, with ``feed_dict`` for placeholders; see ``runtime.graph_run``."""
        from hornbeam.runtime import graph_run  # a module above this one: sessions that run no graph don't need it

        self._check_open()
        return graph_run.run(self, fetches, feed_dict or {})

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None) -> Callable[..., Any]:
        """``run`` with the fetches fixed: a function of the values of ``feed_list``, in that order."""
        from hornbeam.runtime import graph_run

        feeds = list(feed_list or ())
        prepared = graph_run.prepare(self, fetches, feeds)

        def call(*values: Any) -> Any:
            self._check_open()
            if len(values) != len(feeds):
                raise TypeError(f"this callable takes {len(feeds)} values, got {len(values)}.")
            return prepared(self, values)

        return call

    # -- looking in --------------------------------------------------------------------------------

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


def _one_node(primitive: Primitive, args: Sequence[Tensor], attrs: dict[str, Any]) -> Program:
    inputs = [param(x.spec) for x in args]
    node = make(primitive, tuple(inputs), attrs)
    outputs = results(node) if primitive.multiple else [node]
    return Program(inputs, outputs, name=primitive.name, effects=[node] if primitive.effect else [])


@contextmanager
def _all_of(locks: Sequence[AbstractContextManager[Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        yield


def uninitialized(variables: Sequence[Any], session: Session) -> str:
    listed = ", ".join(f"{v.name!r} ({v.spec}, made at {v.line or 'unknown'})" for v in variables)
    return explain(
        f"uninitialized in {session!r}: {listed}.",
        why="A graph's variables get their values in a session by running their initializers in it.",
        fix="sess.run(tf.compat.v1.global_variables_initializer())   # after all variables and optimizers are made",
    )


def current() -> Session:
    """The session that computes here: the innermost one entered in this thread or task, else the default one."""
    entered = _entered.get()
    return entered[-1] if entered else default()


def default() -> Session:
    """The session that exists without being made. Closing it makes room for a new one."""
    if _default:
        return _default[0]
    with _default_lock:
        if not _default:
            _default.append(Session(name="default"))
        return _default[0]


def entered() -> Session | None:
    """The innermost session entered in this thread or task; None if there is none (``tf.get_default_session``)."""
    entered = _entered.get()
    return entered[-1] if entered else None


def _leave(session: Session) -> None:
    """No longer current, whatever was entered since: blocks of generators and tasks may end in any order."""
    entered = list(_entered.get())
    if session in entered:
        del entered[len(entered) - 1 - entered[::-1].index(session)]
        _entered.set(tuple(entered))


def _forget_everywhere() -> None:
    for session in list(_sessions):
        session._forget()


for _flag in (config.CHECK, config.DEBUG, config.DUMP, config.NANS):  # what they show is built into what was compiled
    _flag.on_change(_forget_everywhere)
