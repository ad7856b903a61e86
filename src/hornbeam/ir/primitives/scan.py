"""``scan``: a loop of known length whose body is a Program, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec, as_shape
from hornbeam.errors import ShapeError
from hornbeam.ir.bind import bind
from hornbeam.ir.grad import pullback, zeros_like
from hornbeam.ir.motion import Motion, Values
from hornbeam.ir.node import Node, param
from hornbeam.ir.primitive import row
from hornbeam.ir.primitives.control import check_arguments, check_count, deal, inexact
from hornbeam.ir.program import Program, evaluate, substitute
from hornbeam.ir.residuals import LARGE, dependents, frontier, kept


def _scan_spec(*operands: Spec, body: Program, carries: int, xs: int, length: int, reverse: bool) -> tuple[Spec, ...]:
    check_count("scan", "carries", carries, len(operands))
    check_count("scan", "xs", xs, len(operands) - carries)
    check_count("scan", "length", length)
    init, sequences, consts = _split(operands, carries, xs)
    for x in sequences:
        if not x.shape or x.shape[0] != length:
            raise ShapeError(f"scan: every sequence must have {length} steps along its first axis, got {x}.")
    steps = [Spec(x.shape[1:], x.dtype) for x in sequences]
    check_arguments("scan", body, [*init, *steps, *consts])
    if body.specs[:carries] != tuple(init):
        ours, theirs = (", ".join(map(str, s)) for s in (init, body.specs[:carries]))
        raise ShapeError(f"scan: the carry goes in as ({ours}) and comes out as ({theirs}); it must not change.")
    return (*init, *(Spec(as_shape((length, *s.shape)), s.dtype) for s in body.specs[carries:]))


def _split(operands: Sequence[Any], carries: int, xs: int) -> tuple[list[Any], list[Any], list[Any]]:
    operands = list(operands)
    return operands[:carries], operands[carries : carries + xs], operands[carries + xs :]


def _scan(
    *operands: np.ndarray, body: Program, carries: int, xs: int, length: int, reverse: bool
) -> list[np.ndarray]:
    carry, sequences, consts = _split(operands, carries, xs)
    ys = [np.zeros((length, *s.shape), s.dtype) for s in body.specs[carries:]]
    for i in reversed(range(length)) if reverse else range(length):
        out = evaluate(body, [*carry, *(x[i] for x in sequences), *consts])
        carry = out[:carries]
        for y, step in zip(ys, out[carries:], strict=True):
            y[i] = step
    return [*carry, *ys]


def _scan_grad(
    gs: Any, *rest: Any, body: Program, carries: int, xs: int, length: int, reverse: bool
) -> tuple[Any, ...]:
    """Backward over the steps, from values that the forward pass is run again to keep (``ir.residuals``)."""
    *operands, outs = rest
    _, sequences, consts = _split(operands, carries, xs)
    p_carry, p_x, p_const = _split(body.inputs, carries, xs)
    d_ys = [g for g, o in zip(gs[carries:], outs[carries:], strict=True) if g is not None and is_inexact(o)]
    given = [i < carries or g is not None for i, g in enumerate(gs)]
    back = pullback(body, tuple(given))
    cotangents = back.inputs[len(body.inputs) :]
    n_carry, n_x = len(inexact(p_carry)), len(inexact(p_x))

    # Which values of each step to keep: results that there are anyway cost nothing.
    ys = dict(zip(body.outputs[carries:], outs[carries:], strict=True))
    wanted = frontier(back.outputs, cotangents)
    varying = dependents([*p_carry, *p_x], back.nodes)
    free = {*p_x, *(n for n in (*body.inputs, *back.nodes) if n not in varying)}
    most = LARGE * sum(n.spec.nbytes for n in (*p_carry, *p_x, *body.outputs[carries:]))
    keep = kept(wanted, free, set(ys), most)
    new = [n for n in keep if n not in ys]
    if new:
        saving = Program(body.inputs, [*body.outputs, *new], name=f"{body.name}, keeping values")
        forward = bind(SCAN, *operands, body=saving, carries=carries, xs=xs, length=length, reverse=reverse)
        ys |= dict(zip(new, forward[len(outs) :], strict=True))

    held: dict[Node, Node] = {n: param(n.spec) for n in keep}
    d_carry = [zeros_like(o) if g is None else g for g, o in zip(gs, outs[:carries], strict=False) if is_inexact(o)]
    step = Program(
        [*cotangents[:n_carry], *p_x, *held.values(), *cotangents[n_carry:], *p_const],
        substitute(back.outputs, held), name=back.name,
    )  # fmt: skip
    found = scan_parts(
        d_carry, [*sequences, *(ys[n] for n in keep), *d_ys], consts, step,
        sums=len(back.outputs) - n_carry - n_x, length=length, reverse=not reverse,
    )  # fmt: skip
    return deal(found, operands)


def is_inexact(x: Any) -> bool:
    return dtypes.is_inexact(x.dtype)


SCAN = row(  # (carries…, xs…, constants…) -> (carries…, ys…): body maps (carry, x, constants) to (carry, y) each step
    "scan", kind="block", infer=_scan_spec, reference=_scan, grad=_scan_grad, multiple=True
)


def scan(
    init: Sequence[Any], sequences: Sequence[Any], consts: Sequence[Any], body: Program, *, length: int, reverse: bool
) -> list[Any]:
    """The results (carries…, ys…) of a scan from which everything is moved that need not be done step by step."""
    return [make() for make in scan_parts(init, sequences, consts, body, sums=0, length=length, reverse=reverse)]


def scan_parts(
    init: Sequence[Any], sequences: Sequence[Any], consts: Sequence[Any], body: Program, *, sums: int, length: int,
    reverse: bool,
) -> list[Callable[[], Any]]:  # fmt: skip
    """Functions that give the results (carries…, ys…, sums…), of which the last are sums over the steps of what
    ``body`` gives. The loop is applied here; what is made behind it, when it is asked for."""
    motion = Motion(body, len(init), len(sequences), sums, length)
    rest = motion.remain()
    values = Values(motion, sequences, consts)
    totals = rest.body.outputs[len(motion.held) : len(motion.held) + len(rest.accumulated)]
    carried = [*(init[k] for k in motion.held), *(zeros_like(t) for t in totals)]
    steps = [*(sequences[i] for i in rest.xs), *(values.all_steps(n) for n in rest.stacked)]
    fixed = [*(consts[i] for i in rest.consts), *(values.constant(n) for n in rest.fixed)]
    outs: Sequence[Any] = ()
    if rest.body.outputs or rest.body.effects:
        outs = bind(
            SCAN, *carried, *steps, *fixed,
            body=rest.body, carries=len(carried), xs=len(steps), length=length, reverse=reverse,
        )  # fmt: skip
    ends, summed, ys = _split(outs, len(motion.held), len(rest.accumulated))
    values.stacks.update(zip(rest.handed, ys[len(rest.ys) :], strict=True))
    values.stacks.update((motion.ys[i], y) for i, y in zip(rest.ys, ys, strict=False))

    made: dict[tuple[str, int], Callable[[], Any]] = {}
    for kind, numbers, known in (("carry", motion.held, ends), ("y", rest.ys, ys), ("sum", rest.accumulated, summed)):
        for i, value in zip(numbers, known, strict=False):
            made[kind, i] = lambda value=value: value  # type: ignore[misc]
    for kind, thunks in (("y", motion.behind), ("sum", motion.totals)):
        for i, thunk in thunks.items():
            made[kind, i] = lambda thunk=thunk: thunk(values)  # type: ignore[misc]
    for k, thunk in motion.from_accumulator.items():
        made["carry", k] = lambda k=k, thunk=thunk: init[k] + thunk(values)  # type: ignore[misc]
    order = [*(("carry", k) for k in range(len(init))), *(("y", i) for i in range(len(motion.ys)))]
    return [made[key] for key in (*order, *(("sum", i) for i in range(sums)))]
