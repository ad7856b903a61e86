"""Running a ``Graph``: what is fetched is traced once per (fetches, feeds and their Specs), then run in a session."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import tree
from hornbeam.base.spec import Spec
from hornbeam.errors import FeedError, FetchError, HornbeamError, explain
from hornbeam.ir.bind import interpreting
from hornbeam.ir.program import Program
from hornbeam.runtime.graph import Call, Evaluation, Graph, GraphTensor, default_graph, entered_tapes, variable_read
from hornbeam.runtime.tensor import Tensor, cast_exactly

MAX_PLANS = 256  # kept per graph: fetches times feed shapes; and as many requests


class Plan(NamedTuple):
    """What one (fetches, feed specs) was traced into."""

    program: Program
    places: list[int | None]  # where the value of each fetch is among the outputs; None for an operation


class Request:
    """Fetches and feeds, looked up in their graph: a function of a session and the values that are fed."""

    def __init__(self, graph: Graph, fetches: Sequence[Any], structure: tree.TreeDef, feeds: Sequence[Any]) -> None:
        self.graph, self.structure = graph, structure
        self.asked = (fetches, feeds)  # by whose ids it is found, so they must live
        self.fed = [_resolve_feed(graph, key) for key in feeds]
        self.wanted = [_resolve_fetch(graph, f) for f in fetches]
        self.names = (tuple(map(id, self.wanted)), tuple(map(id, self.fed)))

    def __call__(self, session: Any, values: Iterable[Any]) -> Any:
        arrays = [_feed_array(t, v) for t, v in zip(self.fed, values, strict=True)]
        plan = self.plan(arrays)
        outputs = session.execute(plan.program, arrays)
        return tree.unflatten(self.structure, [None if i is None else np.array(outputs[i])[()] for i in plan.places])

    def plan(self, arrays: Sequence[np.ndarray]) -> Plan:
        def trace() -> Plan:
            return _trace(self.wanted, self.fed, [Spec(a.shape, a.dtype) for a in arrays])

        return _kept(self.graph, self.graph.plans, (self.names, *[a.shape for a in arrays]), trace)


def run(session: Any, fetches: Any, feed_dict: dict[Any, Any]) -> Any:
    """Values of ``fetches``, in their structure: arrays for tensors and variables, None for operations.

    All reads see the state before the run unless ``control_dependencies`` order them after an assignment; several
    assignments of one variable apply in the order in which they were recorded; all updates are written together.

    Raises:
        FetchError: for what is not in the graph. FeedError: for a placeholder without a value, or a value that does not
        fit. UninitializedVariableError: naming every variable that is not initialized.
    """
    return prepare(session, fetches, feed_dict)(session, feed_dict.values())


def prepare(session: Any, fetches: Any, feeds: Iterable[Any]) -> Request:
    """What to call for ``fetches``, given values for ``feeds``. Looked up once for the same objects."""
    graph = session.graph or default_graph()
    flat, structure = ([fetches], _LEAF) if type(fetches) in (GraphTensor, Call) else tree.flatten(fetches)

    def look_up() -> Request:
        _refuse_none(fetches)
        return Request(graph, flat, structure, list(feeds))

    return _kept(graph, graph.requests, (structure, tuple(map(id, flat)), tuple(map(id, feeds))), look_up)


_LEAF = tree.flatten(0)[1]


def _kept(graph: Graph, kept: OrderedDict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """What is kept under ``key``, made if it is not; the least recently used is let go."""
    with graph.lock:
        found = kept.get(key)
        if found is None:
            found = kept[key] = make()
            if len(kept) > MAX_PLANS:
                kept.popitem(last=False)
        elif len(kept) > 1:
            kept.move_to_end(key)
        return found


def _trace(wanted: Sequence[Any], feeds: Sequence[GraphTensor], specs: Sequence[Spec]) -> Plan:
    evaluation = Evaluation()
    trace = evaluation.trace
    inputs = [trace.param(s) for s in specs]
    evaluation.values.update(zip(feeds, inputs, strict=True))
    calls = _needed(wanted, set(feeds))
    unfed = [c for c in calls if c.kind == "placeholder"]
    if unfed:
        tensors = [c.outputs[0] for c in unfed]
        listed = ", ".join(f"{t.op.name!r} {t.dtype.name}{t.shape!r} (made at {t.op.line})" for t in tensors)
        raise FeedError(
            explain(
                f"not fed: placeholder {listed}.",
                why="What is fetched depends on it, and a placeholder has no value of its own.",
                fix=f"sess.run(…, feed_dict={{{unfed[0].name}: value}})",
            )
        )
    # What each call sees of variables assigned by calls that it depends on.
    seen: dict[Call, dict[Any, Tensor]] = {}
    with interpreting(trace):
        # What a read sees of a variable that nothing it depends on has assigned: what was fed, or the state.
        before = {t.op.variable: x for t, x in zip(feeds, inputs, strict=True) if t.op.kind == "read"}
        trace.values.update(before)
        differentiates = any(c.kind == "gradients" for c in calls)
        with evaluation.tape if differentiates else nullcontext():
            for call in calls:
                visible: dict[Any, Tensor] = {}
                for earlier in sorted({*call.control_inputs, *(x.op for x in call.inputs)}, key=lambda c: c.number):
                    visible.update(seen.get(earlier, ()))
                if call.kind == "read":
                    leaves: list[Any] = [_read(evaluation, call.variable, visible, before)]
                else:
                    values = dict(trace.values)
                    leaves = evaluation.apply(call)
                    visible.update((v, trace.values[v]) for v in trace.assigned if trace.values[v] is not values.get(v))
                seen[call] = visible
                made = [x for x in leaves if isinstance(x, Tensor)]
                for out, value in zip(call.outputs, made, strict=True):
                    evaluation.values.setdefault(out, value)
    tensors = list(dict.fromkeys(w for w in wanted if not isinstance(w, Call)))
    nodes = [trace.own(evaluation.values[t]).node for t in tensors]
    places = {t: i for i, t in enumerate(tensors)}
    reads = {v: t.node for v, t in trace.reads.items()}
    updates = {v: trace.values[v].node for v in trace.assigned}
    program = Program([i.node for i in inputs], nodes, reads, updates, "run", list(trace.effects))
    return Plan(program, [places.get(w) for w in wanted])


def _read(evaluation: Evaluation, variable: Any, visible: dict[Any, Tensor], before: dict[Any, Tensor]) -> Tensor:
    """A read sees assignments that it depends on, and otherwise the state before the run."""
    trace = evaluation.trace
    if variable not in before:
        if variable not in trace.reads:
            latest = trace.values.pop(variable, None)
            trace.read(variable)
            if latest is not None:
                trace.values[variable] = latest
        before[variable] = trace.reads[variable]
    value = visible.get(variable, before[variable])
    for tape in entered_tapes():
        tape.reads.setdefault(id(variable), (variable, {}))[1][id(value)] = value
    return value


def _needed(wanted: Sequence[Any], fed: set[GraphTensor]) -> list[Call]:
    """The calls that ``wanted`` depends on, stopping at fed tensors, in the order in which they were recorded."""
    done: set[Call] = set()
    stack = [w if isinstance(w, Call) else w.op for w in wanted if isinstance(w, Call) or w not in fed]
    while stack:
        call = stack.pop()
        if call in done or (call.outputs and all(o in fed for o in call.outputs)):
            continue
        done.add(call)
        stack.extend(call.control_inputs)
        stack.extend(x.op for x in call.inputs if x not in fed)
    return sorted(done, key=lambda c: c.number)


def _refuse_none(fetches: Any) -> None:
    if tree.holds_none(fetches):
        raise FetchError(
            explain(
                "None cannot be fetched.",
                why="Often an operation made in eager mode returned None, or a gradient is unconnected.",
            )
        )


def _resolve_fetch(graph: Graph, fetch: Any) -> Any:
    if isinstance(fetch, str):
        fetch = _by_name(graph, fetch)
    variable = getattr(fetch, "__hornbeam_variable__", fetch)
    if hasattr(variable, "read_value"):
        fetch = variable_read(graph, variable)
    if isinstance(fetch, Tensor):
        raise FetchError(
            explain(
                f"{fetch!r:.60} is an eager tensor; it has its value already.",
                why="It was made outside the graph, where operations run at once.",
                fix="use it directly, or build the graph inside   with graph.as_default():",
            )
        )
    if not isinstance(fetch, (GraphTensor, Call)):
        raise FetchError(
            explain(
                f"{fetch!r:.60} of type {type(fetch).__name__} cannot be fetched.",
                why="A fetch is a graph tensor, an operation, a variable, a name, or a structure of them.",
            )
        )
    if fetch.graph is not graph:
        raise FetchError(
            explain(
                f"{fetch!r} is not an element of this session's graph.",
                why="It was recorded in another graph, often before reset_default_graph().",
                fix="Session(graph=that_graph)",
            )
        )
    return fetch


def _by_name(graph: Graph, name: str) -> Any:
    try:
        return graph.tensor_by_name(name) if ":" in name else graph.operation_by_name(name)
    except (KeyError, ValueError, IndexError):
        raise FetchError(
            explain(f"the fetch {name!r} refers to a tensor or operation which does not exist in the graph.")
        ) from None


def _resolve_feed(graph: Graph, key: Any) -> GraphTensor:
    tensor = graph.tensor_by_name(key) if isinstance(key, str) else key
    variable = getattr(key, "__hornbeam_variable__", key)
    if hasattr(variable, "read_value"):
        tensor = variable_read(graph, variable)
    if not isinstance(tensor, GraphTensor) or tensor.graph is not graph:
        raise FeedError(explain(f"{key!r:.60} cannot be fed: it is not a tensor of this session's graph."))
    return tensor


def _feed_array(tensor: GraphTensor, value: Any) -> np.ndarray:
    """``value`` as an array for ``tensor``. Raises FeedError if its shape does not fit or its values would change."""
    if value is None:
        raise FeedError(explain(f"None was fed for {tensor.name!r}."))
    try:
        array = np.array(value)
    except (ValueError, HornbeamError) as error:
        raise FeedError(explain(f"what was fed for {tensor.name!r} is not an array: {error}")) from None
    if array.shape != tensor.shape and not tensor.any_shape and (
        array.ndim != len(tensor.shape)
        or any(d is not None and d != n for d, n in zip(tensor.shape, array.shape, strict=True))
    ):
        raise FeedError(
            explain(
                f"cannot feed a value of shape {array.shape} for {tensor.name!r} of shape {tensor.shape!r}.",
                why=f"The placeholder was made at {tensor.op.line}.",
                fix="reshape the value; to allow any batch size declare the first dimension None",
            )
        )
    if array.dtype == tensor.dtype:
        return array
    if array.dtype.kind not in "biufcV":
        raise FeedError(explain(f"cannot feed {array.dtype} for {tensor.name!r} of dtype {tensor.dtype.name}."))
    fed = cast_exactly(array, tensor.dtype)
    if fed is None:
        raise FeedError(
            explain(
                f"feeding {array.dtype.name} values for {tensor.name!r} of {tensor.dtype.name} would change them.",
                why="For example 1.7 would become 1.",
                fix=f"round them yourself: np.rint(value).astype({tensor.dtype.name!r}), or make the placeholder float",
            )
        )
    return fed
