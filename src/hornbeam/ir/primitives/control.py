"""Control flow: rows whose attributes are Programs. Bodies are closed: what they use comes in as operands.

Gradients are control flow again. A branch's pullback computes what it needs of the branch anew, a scan's runs the scan
again keeping the carry of every step, and a while's, whose number of steps is not known, computes each step's anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec, spec
from hornbeam.errors import DTypeError, GradientError, HornbeamError, ShapeError
from hornbeam.ir.bind import bind, constant, interpreting
from hornbeam.ir.grad import pullback, zeros_like
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitive import row
from hornbeam.ir.primitives.arith import scalar
from hornbeam.ir.program import Program, apply_again, evaluate, inline


def check_arguments(name: str, program: Program, given: Sequence[Spec]) -> None:
    if not isinstance(program, Program):
        raise TypeError(f"{name}: a body must be a Program, got {type(program).__name__}.")
    if program.reads or program.updates:
        raise HornbeamError(f"{name}: {program.name} touches state; pass what it reads, and return what it writes.")
    expected = tuple(p.spec for p in program.inputs)
    if tuple(given) != expected:
        raise ShapeError(
            f"{name}: {program.name} takes ({', '.join(map(str, expected))}), given ({', '.join(map(str, given))})."
        )


def check_count(name: str, what: str, count: Any, most: float = 2**48) -> None:
    if type(count) is not int:
        raise TypeError(f"{name}: {what} must be an int, got {count!r}.")
    if not 0 <= count <= most:
        raise ShapeError(f"{name}: {what} must be between 0 and {most}, got {count}.")


def inexact(values: Sequence[Any]) -> list[Any]:
    return [v for v in values if dtypes.is_inexact(v.dtype)]


def _cotangents(gs: Sequence[Any], outs: Sequence[Any]) -> list[Any]:
    """Cotangents of the inexact results, zeros for those that nothing used."""
    return [zeros_like(o) if g is None else g for g, o in zip(gs, outs, strict=True) if dtypes.is_inexact(o.dtype)]


def deal(found: Sequence[Any], operands: Sequence[Any]) -> tuple[Any, ...]:
    """``found`` dealt out to the inexact operands, None to the others."""
    remaining = iter(found)
    return tuple(next(remaining) if dtypes.is_inexact(x.dtype) else None for x in operands)


# -- call --------------------------------------------------------------------------------------------


def _call_spec(*operands: Spec, program: Program) -> tuple[Spec, ...]:
    check_arguments("call", program, operands)
    return program.specs


def _call_grad(gs: Any, *rest: Any, program: Program) -> tuple[Any, ...]:
    *operands, outs = rest
    return deal(CALL(*operands, *_cotangents(gs, outs), program=pullback(program)), operands)


CALL = row(
    "call",
    kind="block",
    infer=_call_spec,
    reference=lambda *operands, program: evaluate(program, operands),
    grad=_call_grad,
    multiple=True,
)

# -- switch ------------------------------------------------------------------------------------------


def _switch_spec(index: Spec, *operands: Spec, branches: tuple[Program, ...]) -> tuple[Spec, ...]:
    if index.shape or not dtypes.is_integer(index.dtype):
        raise DTypeError(f"switch: the index must be an integer scalar, got {index}.")
    if not isinstance(branches, tuple) or not branches:
        raise TypeError(f"switch: expected a tuple of at least one branch, got {branches!r}.")
    for branch in branches:
        check_arguments("switch", branch, operands)
        if branch.specs != branches[0].specs:
            ours, theirs = (", ".join(map(str, b.specs)) for b in (branches[0], branch))
            raise ShapeError(f"switch: branches return different things: ({ours}) and ({theirs}).")
    return branches[0].specs


def _switch(index: np.ndarray, *operands: np.ndarray, branches: tuple[Program, ...]) -> list[np.ndarray]:
    return evaluate(branches[min(max(int(index), 0), len(branches) - 1)], operands)


def _switch_grad(gs: Any, index: Any, *rest: Any, branches: tuple[Program, ...]) -> tuple[Any, ...]:
    *operands, outs = rest
    found = SWITCH(index, *operands, *_cotangents(gs, outs), branches=tuple(pullback(b) for b in branches))
    return (None, *deal(found, operands))


SWITCH = row(  # the branch chosen by an index clamped to the number of branches
    "switch", kind="block", infer=_switch_spec, reference=_switch, grad=_switch_grad, multiple=True
)

# -- while -------------------------------------------------------------------------------------------


def _while_spec(
    *operands: Spec, condition: Program, body: Program, carries: int, limit: int | None
) -> tuple[Spec, ...]:
    check_count("while", "carries", carries, len(operands))
    if limit is not None:
        check_count("while", "limit", limit)
    check_arguments("while", condition, operands)
    check_arguments("while", body, operands)
    if condition.specs != (Spec((), dtypes.bool_),):
        given = ", ".join(map(str, condition.specs))
        raise DTypeError(f"while: the condition must return one bool scalar, not ({given}).")
    if body.specs != tuple(operands[:carries]):
        ours, theirs = (", ".join(map(str, s)) for s in (operands[:carries], body.specs))
        raise ShapeError(f"while: loop variables go in as ({ours}) and come out as ({theirs}); they must not change.")
    return body.specs


def _while(
    *operands: np.ndarray, condition: Program, body: Program, carries: int, limit: int | None
) -> list[np.ndarray]:
    carry, consts, steps = list(operands[:carries]), operands[carries:], 0
    while (limit is None or steps < limit) and evaluate(condition, [*carry, *consts])[0]:
        carry = evaluate(body, [*carry, *consts])
        steps += 1
    return carry


def _while_grad(
    gs: Any, *rest: Any, condition: Program, body: Program, carries: int, limit: int | None
) -> tuple[Any, ...]:
    """Backward over the steps taken: find their number, then pull back through step n-1, …, 0.

    The carry that enters step k is computed anew from the start, which takes n²/2 steps in constant memory: a Program's
    memory is known before it runs, and the number of steps is not. Loops of known length belong in ``scan``.
    """
    *operands, outs = rest
    init, consts = operands[:carries], operands[carries:]
    zero = constant(np.zeros((), np.int32))
    counter = param(Spec((), dtypes.int32))
    with interpreting(NODES):
        bumped = counter + 1
    count = bind(
        WHILE, zero, *operands,
        condition=Program([counter, *condition.inputs], condition.outputs, name=condition.name),
        body=Program([counter, *body.inputs], [bumped, *body.outputs], name=body.name),
        carries=carries + 1, limit=limit,
    )[0]  # fmt: skip

    advance = _advance(body, carries)
    back = pullback(body)
    k = param(Spec((), dtypes.int32))
    d_carry = list(back.inputs[len(body.inputs) :])
    entering, constants = body.inputs[:carries], body.inputs[carries:]
    start = [param(n.spec) for n in entering]
    sums = [param(n.spec) for n in inexact(constants)]
    with interpreting(NODES):
        previous, going = k - 1, k > 0
        carry = bind(WHILE, scalar(0, k), previous, *start, *constants, **advance)[2:]
        found = inline(back, [*carry, *constants, *d_carry])
        totals = [s + d for s, d in zip(sums, found[len(d_carry) :], strict=True)]
    inputs = [k, *d_carry, *sums, *start, *constants]
    result = bind(
        WHILE, count, *_cotangents(gs, outs), *(zeros_like(c) for c in inexact(consts)), *init, *consts,
        condition=Program(inputs, [going], name="steps left"),
        body=Program(inputs, [previous, *found[: len(d_carry)], *totals], name=back.name),
        carries=1 + len(d_carry) + len(sums), limit=limit,
    )  # fmt: skip
    d_init, d_consts = result[1 : 1 + len(d_carry)], result[1 + len(d_carry) :]
    return (*deal(d_init, init), *deal(d_consts, consts))


def _advance(body: Program, carries: int) -> dict[str, Any]:
    """The loop (i, n, carry…, constants…) that takes ``body``'s step while i < n."""
    i, n = param(Spec((), dtypes.int32)), param(Spec((), dtypes.int32))
    with interpreting(NODES):
        going, bumped = i < n, i + 1
    inputs = [i, n, *body.inputs]
    return {
        "condition": Program(inputs, [going], name="before step n"),
        "body": Program(inputs, [bumped, n, *body.outputs], name=body.name),
        "carries": carries + 2,
        "limit": None,
    }


WHILE = row(  # (carries…, constants…) -> carries…, while the condition holds and at most ``limit`` times
    "while", kind="block", infer=_while_spec, reference=_while, grad=_while_grad, multiple=True
)

# -- values with rules or effects of their own -------------------------------------------------------


class ClosedRule(NamedTuple):
    """A rule as a Program (captured…, cotangents…) -> gradients of the arguments that ``have`` one.

    What a rule uses from outside comes in as operands, like what a body uses: the rule can be applied wherever the
    operands can be.
    """

    program: Program
    have: tuple[bool, ...]


def _custom_spec(*operands: Spec, results: int, rule: Callable[..., Any] | ClosedRule) -> tuple[Spec, ...]:
    check_count("custom_gradient", "results", results, len(operands))
    if not callable(rule) and not isinstance(rule, ClosedRule):
        raise TypeError(f"custom_gradient: the rule must be callable, got {rule!r}.")
    return operands[:results]


def _custom_grad(gs: Any, *rest: Any, results: int, rule: Callable[..., Any] | ClosedRule) -> tuple[Any, ...]:
    *operands, outs = rest
    filled = tuple(zeros_like(o) if g is None else g for g, o in zip(gs, outs, strict=True))
    if isinstance(rule, ClosedRule):
        given = iter(apply_again(rule.program, [*operands[results + len(rule.have) :], *filled]))
        return (*(None,) * results, *(next(given) if has else None for has in rule.have))
    found = tuple(rule(*filled))
    if len(found) != len(operands) - results:
        raise GradientError(
            f"custom_gradient: the rule returned {len(found)} cotangents for {len(operands) - results} arguments.\n"
            "  Return one for each argument of the function, None where no gradient flows."
        )
    return (*(None,) * results, *found)


CUSTOM_GRADIENT = row(
    # (results…, arguments…, captured…) -> results…: an identity whose cotangents go to the arguments, by ``rule``
    "custom_gradient",
    kind="view",
    infer=_custom_spec,
    reference=lambda *operands, results, rule: operands[:results],
    grad=_custom_grad,
    multiple=True,
)


def _callback_spec(*operands: Spec, function: Callable[..., Any], specs: tuple[Spec, ...]) -> tuple[Spec, ...]:
    if not callable(function):
        raise TypeError(f"callback: the function must be callable, got {function!r}.")
    if not isinstance(specs, tuple) or any(not isinstance(s, Spec) for s in specs):
        raise TypeError(f"callback: specs must be a tuple with the Spec of each result, got {specs!r}.")
    return tuple(spec(*s) for s in specs)


def _read_only(x: np.ndarray) -> np.ndarray:
    """A view that the user's function cannot write through: constants and state live in these arrays."""
    view = x.view()
    view.flags.writeable = False
    return view


def _callback(*operands: np.ndarray, function: Callable[..., Any], specs: tuple[Spec, ...]) -> tuple[np.ndarray, ...]:
    returned = function(*map(_read_only, operands))
    values = () if not specs else returned if isinstance(returned, (tuple, list)) else (returned,)
    if len(values) != len(specs):
        raise ShapeError(f"callback: promised {len(specs)} results, the function returned {len(values)}.")
    out = []
    for value, promised in zip(values, specs, strict=True):
        array = np.asarray(value)
        if array.shape != promised.shape:
            raise ShapeError(f"callback: promised {promised}, the function returned shape {array.shape}.")
        if dtypes.is_complex(array.dtype) and not dtypes.is_complex(promised.dtype):
            raise DTypeError(f"callback: promised {promised}, the function returned {array.dtype}.")
        out.append(array.astype(promised.dtype))  # a copy: the function may keep its array
    return tuple(out)


CALLBACK = row(  # a Python function of host arrays, called at run time; it has no gradient
    "callback", kind="block", infer=_callback_spec, reference=_callback, multiple=True, effect=True
)
