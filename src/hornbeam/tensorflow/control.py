"""Control flow under TensorFlow's names. In a graph bodies are recorded too, and become parts of one operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hornbeam.base import tree
from hornbeam.errors import GradientError, InvalidArgumentError, explain
from hornbeam.ops import control
from hornbeam.runtime.graph import Call, Graph, GraphTensor, recording
from hornbeam.runtime.tensor import Tensor, as_tensor
from hornbeam.runtime.variable import variable_of
from hornbeam.tensorflow.arrays import convert_to_tensor, gather


class Body:
    """A Python function recorded in a graph for later use in one of its operations.

    Attributes:
        captured: tensors from outside that it uses, to be given to ``run``.
    """

    def __init__(
        self, graph: Graph, fn: Callable[..., Any], arguments: Sequence[GraphTensor] = (), like: Any = None
    ) -> None:
        first = len(graph.calls)
        self.arguments = [_stand_in(graph, x) for x in arguments]
        returned = fn(*(self.arguments if like is None else tree.unflatten(like, self.arguments)))
        self.outputs, self.structure = tree.flatten(tree.map(_readable, returned))
        own = graph.calls[first:]
        made = {x for call in own for x in call.outputs}
        self.calls = [c for c in own if c not in {a.op for a in self.arguments}]
        if any(c.kind == "gradients" for c in self.calls):
            raise GradientError(explain("tf.gradients cannot be used inside a branch or loop of a graph.",
                                        fix="take the gradient of the result, outside"))  # fmt: skip
        used = [x for c in self.calls for x in c.inputs] + [x for x in self.outputs if isinstance(x, GraphTensor)]
        self.captured = [x for x in dict.fromkeys(used) if x not in made]

    def run(self, arguments: Sequence[Any], captured: Sequence[Any]) -> Any:
        """What the function returns for these values, computed under the current interpreter."""
        values = dict(zip([*self.arguments, *self.captured], [*arguments, *captured], strict=True))

        def value(x: Any) -> Any:
            return values[x] if isinstance(x, GraphTensor) else x

        for call in self.calls:
            if call.kind == "read":
                values[call.outputs[0]] = call.variable.value()
                continue
            args, kwargs = tree.map(value, (call.args, call.kwargs))
            leaves = [as_tensor(x) for x in tree.leaves(call.fn(*args, **kwargs)) if hasattr(x, "shape")]
            values.update(zip(call.outputs, leaves))
        return tree.unflatten(self.structure, [value(x) for x in self.outputs])


def _readable(x: Any) -> Any:
    variable = variable_of(x)
    return variable.value() if variable is not None else x.outputs[0] if isinstance(x, Call) and x.outputs else x


def _stand_in(graph: Graph, like: GraphTensor) -> GraphTensor:
    """A placeholder for a body's argument, with the abstract shapes of ``like``."""
    call = Call(graph, graph.unique_name("argument"), "placeholder", lambda: None)

    def abstract(evaluation: Any) -> list[Tensor]:
        call.structure = tree.flatten(0)[1]
        return [evaluation.trace.param(like.abstract[graph._evaluations.index(evaluation)].spec)]

    return graph._add(call, abstract)


def _tensors(values: Any) -> tuple[list[Any], Any]:
    flat, structure = tree.flatten(values)
    return [convert_to_tensor(x) for x in flat], structure


def cond(
    pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None, name: Any = None
) -> Any:
    """``true_fn()`` if the scalar ``pred`` holds, else ``false_fn()``."""
    assert true_fn is not None and false_fn is not None
    graph = recording()
    if graph is None:
        return control.cond(pred, true_fn, false_fn)
    if isinstance(pred, (bool, int)):
        return true_fn() if pred else false_fn()
    yes, no = Body(graph, true_fn), Body(graph, false_fn)

    def fn(pred: Any, a: Any, b: Any) -> Any:
        return control.cond(pred, lambda: yes.run((), a), lambda: no.run((), b))

    return graph.record(fn, (pred, yes.captured, no.captured), {}, name or "cond")


def switch_case(branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: Any = None) -> Any:
    """The branch with this number; ``default`` (or the last branch) for a number that is none."""
    branches = [branch_fns[k] for k in sorted(branch_fns)] if isinstance(branch_fns, dict) else list(branch_fns)
    branches = [f[1] if isinstance(f, tuple) else f for f in branches]
    if default is not None:
        branches.append(default)
    graph = recording()
    last = len(branches) - 1

    def inside(i: Any) -> Any:
        i = as_tensor(i)
        return control.cond((i < 0) | (i > last), lambda: as_tensor(last), lambda: i.astype("int32"))

    if graph is None:
        return control.switch(inside(branch_index), branches)
    bodies = [Body(graph, f) for f in branches]

    def fn(index: Any, captured: Any) -> Any:
        return control.switch(inside(index), [lambda b=b, c=c: b.run((), c) for b, c in zip(bodies, captured)])

    return graph.record(fn, (branch_index, [b.captured for b in bodies]), {}, name or "switch_case")


def case(
    pred_fn_pairs: Any, default: Callable[[], Any] | None = None, exclusive: bool = False, name: Any = None
) -> Any:
    """The function of the first condition that holds, else ``default``."""
    pairs = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, dict) else pred_fn_pairs)
    if not pairs and default is not None:
        return default()
    (pred, fn), rest = pairs[0], pairs[1:]
    if not rest and default is None:
        return cond(pred, fn, fn)
    return cond(pred, fn, lambda: case(rest, default))


def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, shape_invariants: Any = None,
    parallel_iterations: int = 10, back_prop: bool = True, swap_memory: bool = False,
    maximum_iterations: Any = None, name: Any = None,
) -> Any:  # fmt: skip
    """Apply ``body`` to the loop variables while ``cond`` holds. They keep their shapes in graphs and traces."""
    graph = recording()
    if graph is None:
        return control.while_loop(cond, body, loop_vars, maximum_iterations)
    flat, structure = _tensors(tuple(loop_vars))
    test = Body(graph, lambda *xs: cond(*tree.unflatten(structure, xs)), flat)
    step = Body(graph, lambda *xs: body(*tree.unflatten(structure, xs)), flat)

    def fn(variables: Any, a: Any, b: Any, limit: Any) -> Any:
        return control.while_loop(
            lambda *xs: test.run(xs, a),
            lambda *xs: tuple(tree.leaves(step.run(xs, b))),
            tuple(variables),
            limit,
        )

    given = (flat, test.captured, step.captured, maximum_iterations)
    return tree.unflatten(structure, graph.record(fn, given, {}, name or "while"))


def _stepped(name: str, graph: Graph, fn: Callable[..., Any], init: Any, elems: Any, reverse: bool) -> tuple[Any, Any]:
    """``control.scan`` of a recorded body: the carry and the stacked results."""
    carry, carry_structure = _tensors(init)
    rows, row_structure = _tensors(elems)
    firsts = [gather(x, 0) for x in rows]

    def call(*xs: Any) -> Any:
        return fn(tree.unflatten(carry_structure, xs[: len(carry)]), tree.unflatten(row_structure, xs[len(carry) :]))

    body = Body(graph, call, [*carry, *firsts])

    def run(carry: Any, rows: Any, captured: Any) -> Any:
        def step(state: Any, row: Any) -> Any:
            new, out = body.run((*state, *row), captured)
            return tuple(tree.leaves(new)), out

        return control.scan(step, tuple(carry), tuple(rows), reverse=reverse)

    last, outs = graph.record(run, (carry, rows, body.captured), {}, name)
    return tree.unflatten(carry_structure, last), outs


def _scan(name: str, fn: Callable[..., Any], init: Any, elems: Any, reverse: bool = False) -> tuple[Any, Any]:
    graph = recording()
    if graph is None:
        return control.scan(fn, tree.map(as_tensor, init), tree.map(as_tensor, elems), reverse=reverse)
    return _stepped(name, graph, fn, init, elems, reverse)


def map_fn(
    fn: Callable[[Any], Any], elems: Any, dtype: Any = None, parallel_iterations: Any = None, back_prop: bool = True,
    swap_memory: bool = False, infer_shape: bool = True, name: Any = None, fn_output_signature: Any = None,
) -> Any:  # fmt: skip
    """``fn`` of each slice along the first axis, results stacked."""
    return _scan(name or "map", lambda _, x: ((), fn(x)), (), elems)[1]


def vectorized_map(fn: Callable[[Any], Any], elems: Any, fallback_to_while_loop: bool = True) -> Any:
    """``fn`` of each slice along the first axis, results stacked."""
    return map_fn(fn, elems)


def scan(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True, reverse: bool = False,
    name: Any = None,
) -> Any:  # fmt: skip
    """All ``a = fn(a, x)`` over the slices ``x``, stacked. Raises InvalidArgumentError without ``initializer``."""

    def step(a: Any, x: Any) -> Any:
        new = fn(a, x)
        return new, new

    if initializer is not None:
        return _scan(name or "scan", step, initializer, elems, reverse)[1]
    raise InvalidArgumentError(
        explain("scan needs an initializer.", fix="tf.scan(fn, elems[1:], initializer=elems[0])")
    )


def foldl(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any, name: Any = None, **options: Any) -> Any:
    """The last ``a = fn(a, x)`` over the slices ``x``, first to last."""
    return _scan(name or "foldl", lambda a, x: (fn(a, x), ()), initializer, elems)[0]


def foldr(fn: Callable[[Any, Any], Any], elems: Any, initializer: Any, name: Any = None, **options: Any) -> Any:
    """The last ``a = fn(a, x)`` over the slices ``x``, last to first."""
    return _scan(name or "foldr", lambda a, x: (fn(a, x), ()), initializer, elems, True)[0]
