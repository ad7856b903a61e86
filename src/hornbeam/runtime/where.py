"""``where(x)``: which session holds ``x``, and what else is known of it. The answer to the question Keras hides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from hornbeam.runtime import session as sessions
from hornbeam.runtime.function import Function
from hornbeam.runtime.graph import Call, Graph, GraphTensor
from hornbeam.runtime.session import Session
from hornbeam.runtime.tensor import Tensor
from hornbeam.runtime.variable import variable_of


class Where(NamedTuple):
    """Where something is. Printing it gives one line for each thing known."""

    what: str
    sessions: tuple[Session, ...]
    computed_by: Session
    nbytes: int
    details: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        homes = ", ".join(_describe(s) for s in self.sessions) or "no session"
        lines = [
            ("what", self.what),
            ("state in", homes),
            ("bytes", f"{self.nbytes:,}"),
            ("computed by", _describe(self.computed_by)),
            ("engine", self.computed_by.engine.name),
            *self.details,
        ]
        width = max(len(k) for k, _ in lines)
        return "\n".join(f"{k:<{width}}  {v}" for k, v in lines)

    def __repr__(self) -> str:
        return str(self)


def where(x: Any) -> Where:
    """Which session holds ``x`` (a tensor, variable, layer, model, optimizer, metric, function, graph or session), how
    many bytes, which engine computes with it, and on which of your lines it came to be.

    Raises TypeError for something that has nothing to do with this runtime.
    """
    now = sessions.current()
    if isinstance(x, Session):
        held = (("opened at", x.opened_at or "unknown"), ("variables", str(len(x.state))), ("runs", str(x.runs)))
        return Where(repr(x), (x,), x, 0 if x.closed else x.nbytes, held)
    if isinstance(x, Tensor):
        if x.is_symbolic:
            return Where(f"symbolic tensor {x.spec}", (), now, 0, (("value", "none until its function runs"),))
        return Where(f"tensor {x.spec}", (), now, x.spec.nbytes, (("value", "with the tensor itself, in host memory"),))
    if isinstance(x, (GraphTensor, Call, Graph)):
        return _of_graph(x, now)
    if isinstance(x, Function):
        variables = {id(v): v for traced in x._cache.values() for v in traced.program.reads}
        details = [("traces", str(x.traces)), ("kept", str(len(x._cache)))]
        details += [("retraced because", str(r)) for r in list(x.retraces)[-3:]]
        return _of_variables(f"function {x.name!r}", variables.values(), now, details)
    if (variable := variable_of(x)) is not None:
        details = [("made at", variable.line or "unknown"), ("trainable", str(variable.trainable))]
        return _of_variables(f"variable {variable.name!r} {variable.spec}", [variable], now, details)
    held_by = getattr(x, "variables", None)
    if held_by is not None:
        found = {id(v): v for v in map(variable_of, held_by) if v is not None}
        if (optimizer := getattr(x, "optimizer", None)) is not None:
            found.update((id(v), v) for v in map(variable_of, optimizer.variables) if v is not None)
        name = getattr(x, "name", "")
        lines = sorted({v.line for v in found.values() if v.line})
        details = [("variables", str(len(found)))]
        details += [("made at", ", ".join(lines[:3]) + (" …" if len(lines) > 3 else ""))] if lines else []
        return _of_variables(f"{type(x).__name__} {name!r}", found.values(), now, details)
    raise TypeError(f"where: a {type(x).__name__} holds no tensors or variables of this runtime.")


def _of_variables(what: str, variables: Iterable[Any], now: Session, details: list[tuple[str, str]]) -> Where:
    variables = list(variables)
    homes: dict[int, Session] = {}
    for v in variables:
        home = now if v in now.state else v.home
        if home is not None:
            homes[id(home)] = home
    nbytes = sum(v.spec.nbytes for v in variables)
    return Where(what, tuple(homes.values()), now, nbytes, tuple(details))


def _of_graph(x: Any, now: Session) -> Where:
    graph = x if isinstance(x, Graph) else x.graph
    call = x.op if isinstance(x, GraphTensor) else x if isinstance(x, Call) else None
    details = [("graph", f"{len(graph.calls)} operations, {len(graph.variables)} variables")]
    if call is not None:
        details.append(("made at", call.line or "unknown"))
    return Where(repr(x), (), now, 0, (*details, ("value", "none until a session runs it")))


def _describe(session: Session) -> str:
    state = f"closed at {session.closed_at}" if session.closed else f"opened at {session.opened_at or 'first use'}"
    return f"session {session.name!r} ({state})"
