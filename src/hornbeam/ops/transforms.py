"""Functions of functions: gradients, and rules of one's own for them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from hornbeam.base import dtypes, tree
from hornbeam.errors import GradientError, explain
from hornbeam.ir.bind import current
from hornbeam.ir.primitives.control import CUSTOM_GRADIENT, ClosedRule
from hornbeam.ir.primitives.movement import BROADCAST, STOP_GRADIENT
from hornbeam.ir.program import Program
from hornbeam.ops.op import op
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import Tensor, as_tensor
from hornbeam.runtime.trace import Operands, Trace, trace_body
from hornbeam.runtime.variable import variable_of


@op
def stop_gradient(x: Any) -> Any:
    """``x`` as a constant for differentiation; any structure of tensors."""
    return tree.map(lambda leaf: STOP_GRADIENT(as_tensor(leaf)), x)


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function returning ``(f(*args), gradients)``. An output that is not a scalar is summed.

    Arguments may be any structures of tensors; the gradient of ``argnums`` has the argument's structure (a tuple of
    them if ``argnums`` is a tuple), with zeros where nothing connects.
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        values = list(args)
        with GradientTape() as tape:
            for i in chosen:
                values[i] = tree.map(_distinct, values[i])
                tape.watch(tree.map(lambda t: t if dtypes.is_inexact(t.dtype) else None, values[i]))
            out = f(*values, **kwargs)
        grads = tape.gradient(out, [values[i] for i in chosen], unconnected_gradients="zero")
        return out, grads[0] if isinstance(argnums, int) else tuple(grads)

    return call


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function returning the gradients of ``f``; see ``value_and_grad``."""
    with_value = value_and_grad(f, argnums)
    return lambda *args, **kwargs: with_value(*args, **kwargs)[1]


def jvp(f: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """``(f(*primals), directional derivative along tangents)``, by differentiating the pullback by its cotangent."""
    primals = tuple(tree.map(_distinct, p) for p in primals)
    with GradientTape() as outer:
        with GradientTape() as inner:
            inner.watch(primals)
            out = f(*primals)
        dummies = tree.map(lambda o: STOP_GRADIENT(as_tensor(o)), out)
        outer.watch(dummies)
        pulled = inner.gradient(out, primals, dummies, "zero")
    pushed = outer.gradient(pulled, dummies, tree.map(as_tensor, tuple(tangents)), "zero")
    return out, pushed


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for ``f(*args) -> (outputs, grad_fn)``; ``grad_fn(*cotangents)`` gives the arguments' gradients.

        @hb.custom_gradient
        def clip_gradient(x):
            return x, lambda g: hb.clip(g, -1, 1)

    ``grad_fn`` returns one gradient for each tensor argument (None for none). Raises GradientError if it returns
    another number of them. Its cotangents are zeros for outputs that nothing used.
    """

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        args = tree.map(lambda x: as_tensor(x) if _is_variable(x) else x, args)
        tensors = [t for t in tree.leaves(args) if isinstance(t, Tensor)]
        # Recorded: what ``grad_fn`` closes over depends on the arguments, for derivatives of it.
        outputs, grad_fn = f(*args, **kwargs)
        flat, structure = tree.flatten(outputs)
        flat = [as_tensor(o) for o in flat]

        def rule(*cotangents: Any) -> tuple[Any, ...]:
            returned = grad_fn(*cotangents)
            grads = list(returned) if isinstance(returned, (tuple, list)) else [returned]
            if len(grads) != len(tensors):
                raise GradientError(
                    explain(
                        f"custom_gradient: grad_fn of {f.__name__} returned {len(grads)} gradients for {len(tensors)} "
                        "tensors.",
                        fix="return one gradient for each tensor argument, None where there is none",
                    )
                )
            return tuple(grads)

        closed, captured = _closed(rule, flat)
        outs = CUSTOM_GRADIENT(*flat, *tensors, *captured, results=len(flat), rule=closed)
        return tree.unflatten(structure, outs)

    return call


_depth: ContextVar[int] = ContextVar("hornbeam_rules_being_traced", default=0)
DEEP = 2  # rules in rules that are traced in advance: they may call each other without end


def _closed(rule: Callable[..., Any], outputs: list[Tensor]) -> tuple[Any, list[Tensor]]:
    """``rule`` for use in a trace: traced now, with what it uses from outside as operands.

    The body of a loop is differentiated on its own, when what the rule uses from outside has no place in it any more.
    A rule that assigns variables or calls back is left to run when it is applied.
    """
    if not isinstance(current(), Trace) or _depth.get() >= DEEP:
        return rule, []
    have: list[bool] = []

    def traced(*cotangents: Tensor) -> list[Tensor]:
        found = rule(*cotangents)
        have[:] = [g is not None for g in found]
        return [as_tensor(g) for g in found if g is not None]

    token = _depth.set(_depth.get() + 1)
    try:
        body = trace_body(traced, [o.spec for o in outputs])
    finally:
        _depth.reset(token)
    if body.assigned or body.effects:
        return rule, []
    shared = Operands(body)
    program = Program([*shared.params(body), *body.inputs], body.outputs, name="rule")
    return ClosedRule(program, tuple(have)), shared.values


def _distinct(x: Any) -> Any:
    """An equal tensor that is another object, so that one value passed twice is two arguments to a tape."""
    x = as_tensor(x)
    return BROADCAST(x, shape=x.shape)


def _is_variable(x: Any) -> bool:
    return variable_of(x) is not None


__all__ = ["custom_gradient", "grad", "jvp", "stop_gradient", "value_and_grad"]
