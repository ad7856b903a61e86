"""Control flow over tensors: ``cond``, ``switch``, ``while_loop``, ``scan`` and what is made of them.

Eagerly a condition or a while loop simply runs. While tracing, bodies become Programs: what they use from outside comes
in as operands, and a variable that a body assigns is a further result (of a branch) or carry (of a loop).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.base import tree
from hornbeam.base.spec import spec as make_spec
from hornbeam.errors import DTypeError, ShapeError, TracingError, explain
from hornbeam.ir.bind import bind, current
from hornbeam.ir.primitives.control import CALL, CALLBACK, SWITCH, WHILE
from hornbeam.ir.primitives.movement import CONCAT, REVERSE
from hornbeam.ir.primitives.scan import scan as loop
from hornbeam.ir.program import Program
from hornbeam.ops.arguments import known
from hornbeam.ops.op import op
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.tensor import Tensor, as_tensor
from hornbeam.runtime.trace import Body, Operands, as_output, trace_body


@op
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """``true_fn()`` if the scalar ``pred`` holds, else ``false_fn()``.

    Eagerly only the branch taken runs. While tracing both are traced; they must return the same structure, shapes and
    dtypes. Raises ShapeError or DTypeError if they do not, and for a ``pred`` that is not a scalar.
    """
    pred = as_tensor(pred)
    if pred.shape:
        what = f"cond: the condition has shape {pred.shape}."
        raise ShapeError(explain(what, fix="reduce it: hb.all(x) or hb.any(x)"))
    return switch(pred.astype("bool").astype("int32"), [false_fn, true_fn])


@op
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``, with ``index`` clamped to the branches there are."""
    index = as_tensor(index)
    if not index.is_symbolic:
        return tree.map(_as_result, branches[min(max(int(index), 0), len(branches) - 1)](*operands))
    flat, structure = tree.flatten(operands)
    tensors = [as_tensor(x) for x in flat]

    def body_of(branch: Callable[..., Any]) -> Body:
        return trace_body(lambda *xs: branch(*tree.unflatten(structure, xs)), [t.spec for t in tensors])

    bodies = [body_of(branch) for branch in branches]
    for body in bodies[1:]:
        _same_results("switch", bodies[0], body)
    assigned = list(dict.fromkeys(v for b in bodies for v in b.assigned))
    latest = [[b.latest(v) for v in assigned] for b in bodies]
    shared = Operands(*bodies)
    programs = tuple(
        Program([*b.inputs, *shared.params(b)], [*b.outputs, *values], name="branch", effects=b.effects)
        for b, values in zip(bodies, latest, strict=True)
    )
    outs = SWITCH(index.astype("int32"), *tensors, *shared.values, branches=programs)
    count = len(bodies[0].outputs)
    _assign(assigned, outs[count:])
    return tree.unflatten(bodies[0].structure, outs[:count])


def _as_result(x: Any) -> Any:
    """A number that a body returns is a tensor, as it would be in a trace."""
    value = as_tensor(x) if isinstance(x, (bool, int, float, complex)) else as_output(x)
    return x if value is None else value


def _same_results(name: str, first: Body, other: Body) -> None:
    if first.structure != other.structure:
        raise DTypeError(f"{name}: branches return different structures: {first.structure} and {other.structure}.")
    for a, b in zip(first.outputs, other.outputs, strict=True):
        if a.spec != b.spec:
            error = DTypeError if a.dtype != b.dtype else ShapeError
            raise error(
                explain(
                    f"{name}: one branch returns {a.spec}, another {b.spec}.",
                    why="Branches of a traced condition must return the same shapes and dtypes.",
                    fix="cast or reshape the results alike in every branch",
                )
            )


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        current().assign(variable, value)  # type: ignore[attr-defined]


@op
def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: Any = None
) -> Any:
    """Apply ``body`` to the loop variables while ``cond`` holds, at most ``maximum_iterations`` (an integer) times.

    A tuple or list of loop variables is passed as separate arguments; anything else as one. Returns the variables in
    their structure. While tracing they must keep their shapes and dtypes. The gradient of a traced loop computes every
    step's input anew (quadratic time, constant memory); loops of known length belong in ``scan``.
    """
    many = isinstance(loop_vars, (tuple, list))
    variables = tuple(loop_vars) if many else (loop_vars,)
    flat, structure = tree.flatten(tree.map(as_tensor, variables))

    def advance(*leaves: Tensor) -> Any:
        returned = body(*tree.unflatten(structure, leaves))
        return tuple(returned) if isinstance(returned, (tuple, list)) and many else (returned,)

    def test(*leaves: Tensor) -> Tensor:
        return as_tensor(cond(*tree.unflatten(structure, leaves))).astype("bool")

    def result(leaves: Sequence[Tensor]) -> Any:
        found = tree.unflatten(structure, leaves)
        if not many:
            return found[0]
        return type(loop_vars)(*found) if hasattr(loop_vars, "_fields") else type(loop_vars)(found)

    specs = [t.spec for t in flat]

    def step(*leaves: Tensor) -> Any:
        return _like_carry("while_loop", advance(*leaves), structure, specs)

    if maximum_iterations is not None and not known(maximum_iterations):
        return result(_counted_loop(test, step, flat, as_tensor(maximum_iterations)))
    limit = None if maximum_iterations is None else int(as_tensor(maximum_iterations))
    if current() is EAGER:
        steps = 0
        while (limit is None or steps < limit) and bool(test(*flat)):
            flat = _like_carry("while_loop", advance(*flat), structure, [t.spec for t in flat], resize=True)
            steps += 1
        return result(flat)
    traced = trace_body(step, specs)
    carried = traced.assigned
    if carried:
        traced = trace_body(step, specs, carried)
    tested = trace_body(test, specs, carried)
    if tested.assigned:
        names = ", ".join(v.name for v in tested.assigned)
        what = f"while_loop: the condition assigns {names}; only the body may."
        raise TracingError(explain(what, fix="assign it in the body"))
    shared = Operands(traced, tested)
    outs = WHILE(
        *flat,
        *(current().read(v) for v in carried),  # type: ignore[attr-defined]
        *shared.values,
        condition=Program(
            [*tested.inputs, *tested.entering, *shared.params(tested)], tested.outputs, name="condition",
            effects=tested.effects,
        ),
        body=Program(
            [*traced.inputs, *traced.entering, *shared.params(traced)], [*traced.outputs, *traced.leaving], name="body",
            effects=traced.effects,
        ),
        carries=len(flat) + len(carried),
        limit=limit,
    )
    _assign(carried, outs[len(flat) :])
    return result(outs[: len(flat)])


def _counted_loop(
    test: Callable[..., Tensor], step: Callable[..., Any], leaves: Sequence[Tensor], limit: Tensor
) -> Sequence[Tensor]:
    """A traced loop whose limit is known only in a run: the limit is a loop variable, too, and counted down."""
    return while_loop(
        lambda left, *xs: (left > 0) & test(*xs), lambda left, *xs: (left - 1, *step(*xs)), (limit, *leaves)
    )[1:]


def _like_carry(name: str, returned: Any, structure: Any, specs: Sequence[Any], resize: bool = False) -> list[Any]:
    """What a body returned as tensors of ``specs``, in other shapes only if they may ``resize``."""
    flat, got = tree.flatten(returned)
    if got != structure:
        what = f"{name}: the body takes {structure} and returns {got}."
        raise DTypeError(explain(what, why="Loop variables keep their structure."))
    out = []
    for value, spec in zip(flat, specs, strict=True):
        # A Python number takes the dtype of the variable that it replaces.
        out.append(as_tensor(value, spec.dtype) if isinstance(value, (bool, int, float)) else as_tensor(value))
        if out[-1].dtype != spec.dtype or (out[-1].shape != spec.shape and not resize):
            error = DTypeError if out[-1].dtype != spec.dtype else ShapeError
            raise error(
                explain(
                    f"{name}: a loop variable goes in as {spec} and comes out as {out[-1].spec}.",
                    why="Loop variables keep their shape and dtype; often an int start meets float arithmetic.",
                    fix=f"start from   hb.cast(x, {out[-1].dtype.name!r})   or cast the result in the body",
                )
            )
    return out


@op
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """``carry, y = f(carry, x)`` over the leading axis of ``xs``; returns the last carry and the stacked ``y``.

    ``init``, ``xs`` and ``y`` may be any structures. ``xs=None`` needs ``length``; ``f`` then gets None. Raises
    ShapeError if sequences differ in length or a carry changes shape, DTypeError if it changes dtype.
    """
    carry, carry_structure = tree.flatten(init)
    carry = [as_tensor(c) for c in carry]
    sequences, xs_structure = tree.flatten(xs)
    sequences = [as_tensor(x) for x in sequences]
    lengths = {x.shape[0] for x in sequences if x.shape} | ({int(length)} if length is not None else set())
    if len(lengths) != 1 or any(not x.shape for x in sequences):
        shapes = [x.shape for x in sequences]
        what = f"scan: sequences of shapes {shapes} and length={length} do not give one number of steps."
        raise ShapeError(explain(what))
    (steps,) = lengths
    n, specs = len(carry), [c.spec for c in carry]
    results: list[Any] = []

    def step(*leaves: Tensor) -> Any:
        returned = f(tree.unflatten(carry_structure, leaves[:n]), tree.unflatten(xs_structure, leaves[n:]))
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise DTypeError("scan: the function must return a pair (carry, y).")
        ys, structure = tree.flatten(returned[1])
        results[:] = [structure]
        return [*_like_carry("scan", returned[0], carry_structure, specs), *ys]

    inputs = [*specs, *(type(x.spec)(x.shape[1:], x.dtype) for x in sequences)]
    body = trace_body(step, inputs)
    carried = body.assigned
    if carried:
        body = trace_body(step, inputs, carried)
    shared = Operands(body)
    outs = loop(
        [*carry, *(current().read(v) for v in carried)],  # type: ignore[attr-defined]
        sequences,
        shared.values,
        Program(
            [*body.inputs[:n], *body.entering, *body.inputs[n:], *shared.params(body)],
            [*body.outputs[:n], *body.leaving, *body.outputs[n:]],
            name="step",
            effects=body.effects,
        ),
        length=steps,
        reverse=bool(reverse),
    )
    _assign(carried, outs[n : n + len(carried)])
    return tree.unflatten(carry_structure, outs[:n]), tree.unflatten(results[0], outs[n + len(carried) :])


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``val = body_fun(i, val)`` for i in lower … upper-1. Its gradient takes linear time if the bounds are ints."""
    if isinstance(lower, int) and isinstance(upper, int):
        counter = np.arange(lower, max(lower, upper), dtype=np.int32)
        return scan(lambda val, i: (body_fun(i, val), None), init_val, counter)[0]
    lower, upper = as_tensor(lower), as_tensor(upper)
    return while_loop(lambda i, val: i < upper, lambda i, val: (i + 1, body_fun(i, val)), (lower, init_val))[1]


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """``f`` applied to each slice of ``xs`` along its first axis, results stacked."""
    return scan(lambda _, x: ((), f(x)), (), xs)[1]


def vectorized_map(f: Callable[[Any], Any], elements: Any) -> Any:
    """``f`` applied to each slice along the first axis, one after the other, results stacked."""
    return map(f, elements)


@op
def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes combined by the associative ``f``: ``y[i] = f(y[i-1], x[i])`` in logarithmic depth.

    ``elems`` may be any structure of tensors with one length along ``axis``. Raises ShapeError if their lengths differ.
    """
    flat, structure = tree.flatten(elems)
    flat = [as_tensor(x) for x in flat]
    axis = axis % flat[0].ndim
    if len({x.shape[axis] for x in flat}) != 1:
        raise ShapeError("Array inputs to associative_scan must have the same first dimension.")

    def take(x: Any, part: slice) -> Any:
        return x[(slice(None),) * axis + (part,)]

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        return tree.leaves(f(tree.unflatten(structure, a), tree.unflatten(structure, b)))

    def prefixes(xs: list[Any]) -> list[Any]:
        n = xs[0].shape[axis]
        if n < 2:
            return xs
        pairs = combine([take(x, slice(0, n - 1, 2)) for x in xs], [take(x, slice(1, None, 2)) for x in xs])
        odd = prefixes(pairs)
        inner = odd if n % 2 else [take(o, slice(0, -1)) for o in odd]
        even = combine(inner, [take(x, slice(2, None, 2)) for x in xs]) if n > 2 else [take(x, slice(0, 0)) for x in xs]
        even = [CONCAT(take(x, slice(0, 1)), e, axis=axis) for x, e in zip(xs, even, strict=True)]
        return [_interleave(e, o, axis) for e, o in zip(even, odd, strict=True)]

    flat = [REVERSE(x, axes=(axis,)) for x in flat] if reverse else flat
    out = prefixes(flat)
    return tree.unflatten(structure, [REVERSE(x, axes=(axis,)) for x in out] if reverse else out)


def _interleave(even: Any, odd: Any, axis: int) -> Any:
    """even[0], odd[0], even[1], odd[1], …; ``even`` may have one more."""
    n = odd.shape[axis]
    head = even[(slice(None),) * axis + (slice(0, n),)]
    shape = list(even.shape)
    paired = CONCAT(
        head.reshape((*shape[:axis], n, 1, *shape[axis + 1 :])), odd.reshape((*shape[:axis], n, 1, *shape[axis + 1 :])),
        axis=axis + 1,
    ).reshape((*shape[:axis], 2 * n, *shape[axis + 1 :]))  # fmt: skip
    return CONCAT(paired, even[(slice(None),) * axis + (slice(n, None),)], axis=axis) if shape[axis] > n else paired


def remat(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` with its intermediate results computed again in the backward pass instead of kept.

    Takes any arguments; those that are tensors are differentiated, and so are the variables that ``f`` reads.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        flat, structure = tree.flatten((args, kwargs))
        at = [i for i, x in enumerate(flat) if isinstance(x, Tensor)]

        def inner(*tensors: Tensor) -> Any:
            leaves = list(flat)
            for i, t in zip(at, tensors, strict=True):
                leaves[i] = t
            inner_args, inner_kwargs = tree.unflatten(structure, leaves)
            return f(*inner_args, **inner_kwargs)

        body = trace_body(inner, [flat[i].spec for i in at])
        shared, assigned = Operands(body), body.assigned
        program = Program(
            [*body.inputs, *shared.params(body)], [*body.outputs, *(body.latest(v) for v in assigned)], name="remat",
            effects=body.effects,
        )
        outs = CALL(*(flat[i] for i in at), *shared.values, program=program)
        _assign(assigned, outs[len(body.outputs) :])
        return tree.unflatten(body.structure, outs[: len(body.outputs)])

    return call


@op
def callback(function: Callable[..., Any], inputs: Sequence[Any], specs: Sequence[TensorSpec]) -> tuple[Any, ...]:
    """Call a Python ``function`` of NumPy arrays at run time, also inside traced functions; it has no gradient.

    ``specs`` promises what it returns. Raises ShapeError at run time if it returns something else.
    """
    promised = tuple(make_spec(s.shape, s.dtype) for s in specs)
    return bind(CALLBACK, *(as_tensor(x) for x in inputs), function=function, specs=promised)


__all__ = [
    "associative_scan", "callback", "cond", "fori_loop", "map", "remat", "scan", "switch", "vectorized_map",
    "while_loop",
]  # fmt: skip
