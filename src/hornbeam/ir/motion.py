"""What a scan need not do step by step is done for all steps at once, in front of the loop or behind it.

    in front   what depends on constants alone, and products of sequences with constants
    behind     results that no later step needs, computed from what the loop hands out step by step
    totals     sums over the steps of products: one product that is summed over the steps, too

So the products of a recurrent network with its inputs, and the gradients of all its weights, are one product each
instead of one for every step. Sums are rounded in another order than step by step; as it is decided where the scan is
made, before any engine sees it, every mode and engine has the same order.

What moves is kept for all steps at once. Values ``LARGE`` times larger than what a step takes in and gives out stay in
the loop: who scans over parts so that something large never exists whole, gets that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape, Spec
from hornbeam.ir.beside import is_zero
from hornbeam.ir.bind import bind, interpreting
from hornbeam.ir.node import NODES, PARAM, Node, param, topological
from hornbeam.ir.primitives import reduce
from hornbeam.ir.primitives.arith import ADD, CAST, NEG, SUB
from hornbeam.ir.primitives.contract import DOT
from hornbeam.ir.primitives.movement import (
    BROADCAST,
    CONCAT,
    CONSTANT,
    PAD,
    RESHAPE,
    REVERSE,
    SLICE,
    STOP_GRADIENT,
    TRANSPOSE,
)
from hornbeam.ir.program import Program, again, substitute
from hornbeam.ir.residuals import LARGE, dependents

Thunk = Callable[["Values"], Any]
"""Gives a value outside of the loop, once the loop's own results are known."""

REDUCTIONS = frozenset(
    (reduce.SUM, reduce.PROD, reduce.REDUCE_MAX, reduce.REDUCE_MIN, reduce.REDUCE_AND, reduce.REDUCE_OR)
)
VIEWS = frozenset((RESHAPE, TRANSPOSE, BROADCAST, SLICE, REVERSE, STOP_GRADIENT))
LINEAR = frozenset((RESHAPE, TRANSPOSE, SLICE, REVERSE, NEG))
NEEDS_NO_COPY = frozenset((RESHAPE, TRANSPOSE, BROADCAST, CONSTANT, PARAM))


class Motion:
    """Decides what leaves the loop of a scan whose ``body`` maps (carries, xs, constants) to (carries, ys, sums).

    held: numbers of the carries that are still carried; ``from_accumulator`` tells what becomes of the others.
    behind: number of a y -> how it is made behind the loop; the others are results of the loop.
    totals: number of a sum -> how it is made behind the loop; the others are added up in carries that start at zero.
    emitted: nodes that the loop hands out in every step for what is made behind it.
    ahead: products that are made in front of the loop.
    """

    def __init__(self, body: Program, carries: int, xs: int, sums: int, length: int) -> None:
        inputs, outputs = body.inputs, body.outputs
        self.length, self.effects, self.name = length, dict.fromkeys(body.effects), body.name
        self.p_carries, self.p_xs = inputs[:carries], inputs[carries : carries + xs]
        self.p_consts = inputs[carries + xs :]
        self.next = list(outputs[:carries])
        self.ys = list(outputs[carries : len(outputs) - sums])
        self.sums = list(outputs[len(outputs) - sums :])
        self.nodes = topological([*body.effects, *outputs])
        self.varying = dependents([*self.p_carries, *self.p_xs], self.nodes)
        self.carried = dependents(self.p_carries, self.nodes)
        step = sum(n.spec.nbytes for n in (*self.p_carries, *self.p_xs, *self.ys))
        self.most = LARGE * step
        self._supported: dict[Node, bool] = {}
        self.given = set(self.p_xs)
        self.ahead = self._products_of_sequences() if length > 1 else set()
        self.emitted: dict[Node, None] = {}
        self.held = list(range(carries))
        self.behind: dict[int, Thunk] = {}
        self.totals: dict[int, Thunk] = {}
        self.from_accumulator: dict[int, Thunk] = {}
        if length > 1:
            self._decide()

    # -- decisions -----------------------------------------------------------------------------

    def _decide(self) -> None:
        accumulators = self._accumulators()
        for k, added in accumulators.items():
            if (thunk := self._total_if_whole(added, products=True)) is not None:
                self.from_accumulator[k] = thunk
                self.held.remove(k)
        self._find_totals(products=True)
        stays = self._in_loop()
        for i, y in enumerate(self.ys):
            self._move_behind(i, y, stays)
        self._find_totals(products=False)

    def _products_of_sequences(self) -> set[Node]:
        """Products that no carry takes part in, and that can be computed for all steps in front of the loop."""
        found = set()
        for n in self.nodes:
            if n.primitive is DOT and n in self.varying and n not in self.carried:
                below = [b for b in topological([n]) if b in self.varying and b.primitive is not PARAM]
                if all(self._supports(b) for b in below):
                    found.add(n)
        return found

    def _in_loop(self) -> set[Node]:
        """What the steps need of each other, whatever becomes of ys and of totals."""
        open_sums = [s for i, s in enumerate(self.sums) if i not in self.totals]
        return set(topological([*self.effects, *(self.next[k] for k in self.held), *open_sums]))

    def _accumulators(self) -> dict[int, Node]:
        """Carries that only ever have something added: number -> what is added in a step."""
        uses = Counter([a for n in self.nodes for a in n.args])
        uses.update([*self.next, *self.ys, *self.sums, *self.effects])
        found = {}
        for k, (p, out) in enumerate(zip(self.p_carries, self.next, strict=True)):
            if out.primitive is ADD and any(a is p for a in out.args) and uses[p] == uses[out] == 1:
                added = out.args[1] if out.args[0] is p else out.args[0]
                if added.spec == p.spec and dtypes.is_inexact(p.dtype):
                    found[k] = added
        return found

    def _find_totals(self, products: bool) -> None:
        for i, s in enumerate(self.sums):
            if i not in self.totals and (thunk := self._total_if_whole(s, products)) is not None:
                self.totals[i] = thunk

    def _total_if_whole(self, node: Node, products: bool) -> Thunk | None:
        before = dict(self.emitted)
        thunk = self._total(node, products)
        if thunk is None:
            self.emitted = before
        return thunk

    def _total(self, node: Node, products: bool) -> Thunk | None:
        """The sum of ``node`` over the steps; None if it had better be added up in the loop. Without ``products``, of
        what exists for all steps anyway."""
        if node not in self.varying:
            zero = node.primitive is BROADCAST and is_zero(node.args[0])
            return (lambda v: v.constant(node)) if zero and not products else None
        if node.primitive is DOT:
            return self._total_product(node) if products else None
        if not products and (all_steps := self._whole(node)) is not None:
            return lambda v: reduce.SUM(all_steps(v), axes=(0,))
        if node.primitive is reduce.SUM and not products:
            inner = self._whole(node.args[0])
            axes = (0, *(a + 1 for a in dict(node.attrs)["axes"]))
            return None if inner is None else lambda v: reduce.SUM(inner(v), axes=axes)
        if self._is_linear(node):
            part = self._total(node.args[0], products)
            return None if part is None else lambda v: again(node, [part(v), *map(v.constant, node.args[1:])])
        if node.primitive in (ADD, SUB) and node.args[0].shape == node.args[1].shape:
            parts = [self._total(a, products) for a in node.args]
            if None not in parts:
                return lambda v: again(node, [part(v) for part in parts if part is not None])
        return None

    @staticmethod
    def _is_linear(node: Node) -> bool:
        if node.primitive is PAD:
            return is_zero(node.args[1])
        if node.primitive is CAST:
            return dtypes.is_floating(node.dtype) and dtypes.is_floating(node.args[0].dtype)
        return node.primitive in LINEAR

    def _total_product(self, node: Node) -> Thunk | None:
        x, y = node.args
        attrs = dict(node.attrs)
        if x not in self.varying or y not in self.varying:
            return None
        xs, ys = self._stacked(x), self._stacked(y)
        if xs is None or ys is None:
            return None
        batch, contract = (tuple(tuple(a + 1 for a in axes) for axes in attrs[k]) for k in ("batch", "contract"))
        contract = ((0, *contract[0]), (0, *contract[1]))
        return lambda v: DOT(xs(v), ys(v), batch=batch, contract=contract)

    def _move_behind(self, i: int, y: Node, stays: set[Node]) -> None:
        """Make the result ``y`` behind the loop, if the steps do not need it and something is gained."""
        if y in stays or y.primitive is PARAM:
            return
        if y not in self.varying:
            if self._may_leave(y):
                self.behind[i] = lambda v: BROADCAST(v.constant(y), shape=(self.length, *y.shape))
            return
        below, leaves = self._reach(y, stays)
        if not all(self._supports(n) for n in below):
            return
        products = any(n.primitive is DOT and n in self.varying for n in below)
        if not products and any(n in self.carried for n in leaves):
            return
        new = [n for n in leaves if n in self.varying and not self._exists(n)]
        if sum(n.spec.nbytes for n in new) > self.most:
            return
        self.emitted.update(dict.fromkeys(new))
        self.behind[i] = lambda v: v.all_steps(y)

    # -- values of all steps ---------------------------------------------------------------------------

    def _exists(self, node: Node) -> bool:
        """Whether ``node`` can be had for all steps without handing out more."""
        if node in self.given or node in self.emitted or node in self.ahead:
            return True
        return any(node is y and i not in self.behind for i, y in enumerate(self.ys))

    def _reach(self, node: Node, stop: set[Node]) -> tuple[list[Node], list[Node]]:
        """What computes ``node`` from ``stop``, parameters and what exists, and those of them that it uses."""
        below: dict[Node, None] = {}
        leaves: dict[Node, None] = {}
        stack = [node]
        while stack:
            n = stack.pop()
            if n in below or n in leaves:
                continue
            at_end = n.primitive is PARAM or n not in self.varying or (n is not node and (n in stop or self._exists(n)))
            (leaves if at_end else below)[n] = None
            if not at_end:
                stack.extend(n.args)
        return list(below), list(leaves)

    def _whole(self, node: Node) -> Thunk | None:
        """``node`` for all steps, from what exists for all steps anyway, through views; None if that is not all."""
        if self._exists(node):
            return lambda v: v.all_steps(node)
        if node.primitive in VIEWS and node in self.varying and (inner := self._whole(node.args[0])) is not None:
            return lambda v: stacked_again(node, [(inner(v), True)], self.length)
        return None

    def _stacked(self, node: Node) -> Thunk | None:
        """``node``, which varies, for all steps, handed out by the loop if need be; None if it is too large."""
        if (found := self._whole(node)) is not None:
            return found
        if node.primitive in VIEWS:
            inner = self._stacked(node.args[0])
            return None if inner is None else lambda v: stacked_again(node, [(inner(v), True)], self.length)
        if not isinstance(node.spec, Spec) or node.spec.nbytes > self.most:
            return None
        self.emitted[node] = None
        return lambda v: v.all_steps(node)

    def _may_leave(self, node: Node) -> bool:
        return all(not n.primitive.effect and n not in self.effects for n in topological([node]))

    def _supports(self, node: Node) -> bool:
        """Whether ``node`` can be computed for all steps at once, in memory that is in proportion."""
        if node not in self._supported:
            p = node.primitive
            fine = p.kind == "map" or p in VIEWS or p in REDUCTIONS or p is DOT or p in (PAD, CONCAT)
            self._supported[node] = fine and node.spec.nbytes <= self.most
        return self._supported[node]

    # -- what remains in the loop ------------------------------------------------------------------

    def remain(self) -> Remainder:
        """The loop that is left: carries ``held``, then those of sums; ys that stay, then what is ``emitted``."""
        accumulated = [i for i in range(len(self.sums)) if i not in self.totals]
        handed = [n for n in self.emitted if not any(n is y and i not in self.behind for i, y in enumerate(self.ys))]
        kept_ys = [i for i in range(len(self.ys)) if i not in self.behind]
        totals = [param(self.sums[i].spec) for i in accumulated]
        with interpreting(NODES):
            added = [t + self.sums[i] for t, i in zip(totals, accumulated, strict=True)]
        roots = [*(self.next[k] for k in self.held), *added, *(self.ys[i] for i in kept_ys), *handed, *self.effects]
        front = self._front(roots)
        roots = substitute(roots, front)
        count = len(roots) - len(self.effects)
        used = set(topological(roots))
        xs = [i for i, p in enumerate(self.p_xs) if p in used]
        consts = [i for i, p in enumerate(self.p_consts) if p in used]
        stacked = [n for n, p in front.items() if n in self.varying and p in used]
        fixed = [n for n, p in front.items() if n not in self.varying and p in used]
        inputs = [
            *(self.p_carries[k] for k in self.held), *totals,
            *(self.p_xs[i] for i in xs), *(front[n] for n in stacked),
            *(self.p_consts[i] for i in consts), *(front[n] for n in fixed),
        ]  # fmt: skip
        body = Program(inputs, roots[:count], name=self.name, effects=roots[count:])
        return Remainder(body, accumulated, kept_ys, handed, xs, stacked, consts, fixed)

    def _front(self, roots: Sequence[Node]) -> dict[Node, Node]:
        """What is made in front of the loop, with the parameter that brings it in."""
        if self.length < 2:
            return {}
        needed = set(topological(roots))
        fixed = dependents(self.p_consts, self.nodes) - self.varying
        return {
            n: param(n.spec) for n in self.nodes
            if n in needed and (n in self.ahead or (n in fixed and self._worth_moving(n)))
        }  # fmt: skip

    def _worth_moving(self, node: Node) -> bool:
        """Of what depends on constants alone: not what is merely larger than what it is made from."""
        if node.primitive in NEEDS_NO_COPY or not isinstance(node.spec, Spec) or not self._may_leave(node):
            return False
        given = sum(p.spec.nbytes for p in topological([node]) if p.primitive is PARAM)
        return node.spec.nbytes <= given or node.primitive.kind in ("block", "reduce")


class Remainder:
    """The loop that is left, and where its operands come from: numbers of sequences and constants given, and nodes
    that are made in front, ``stacked`` ones for all steps."""

    def __init__(
        self, body: Program, accumulated: list[int], ys: list[int], handed: list[Node], xs: list[int],
        stacked: list[Node], consts: list[int], fixed: list[Node],
    ) -> None:  # fmt: skip
        self.body, self.accumulated, self.ys, self.handed = body, accumulated, ys, handed
        self.xs, self.stacked, self.consts, self.fixed = xs, stacked, consts, fixed


class Values:
    """What nodes of the body are outside of the loop: constants as they are, others for all steps."""

    def __init__(self, motion: Motion, sequences: Sequence[Any], consts: Sequence[Any]) -> None:
        self.motion, self.length = motion, motion.length
        self.constants: dict[Node, Any] = dict(zip(motion.p_consts, consts, strict=True))
        self.stacks: dict[Node, Any] = dict(zip(motion.p_xs, sequences, strict=True))

    def constant(self, node: Node) -> Any:
        for n in topological_to(node, set(self.constants)):
            self.constants[n] = again(n, [self.constants[a] for a in n.args])
        return self.constants[node]

    def all_steps(self, node: Node) -> Any:
        """``node``, which varies, for all steps, from what is known of that."""
        for n in topological_to(node, set(self.stacks)):
            if n in self.motion.varying:
                self.stacks[n] = stacked_again(n, [self._argument(a) for a in n.args], self.length)
        return self.stacks[node]

    def _argument(self, node: Node) -> tuple[Any, bool]:
        return (self.stacks[node], True) if node in self.motion.varying else (self.constant(node), False)


def topological_to(node: Node, known: set[Node]) -> list[Node]:
    """What ``node`` needs besides ``known``, arguments before users."""
    done: dict[Node, None] = {}
    stack = [(node, False)]
    while stack:
        n, expanded = stack.pop()
        if n in done or n in known:
            continue
        if expanded:
            done[n] = None
        else:
            stack.append((n, True))
            stack.extend((a, False) for a in n.args)
    return list(done)


def stacked_again(node: Node, args: Sequence[tuple[Any, bool]], length: int) -> Any:
    """``node``'s row applied for all steps: to values with the steps along a first axis, or without (False)."""
    p, attrs = node.primitive, dict(node.attrs)
    values = [x for x, _ in args]
    if p is DOT:
        return _all_products(node, *args)
    rank = len(node.shape)
    if p.kind == "map" or p is BROADCAST:
        values = [_lifted(x, rank) if stacked else x for x, stacked in args]
    if p in (RESHAPE, BROADCAST):
        attrs["shape"] = (length, *attrs["shape"])
    elif p is TRANSPOSE:
        attrs["axes"] = (0, *(a + 1 for a in attrs["axes"]))
    elif p is REVERSE or p in REDUCTIONS:
        attrs["axes"] = tuple(a + 1 for a in attrs["axes"])
    elif p is SLICE:
        starts, limits, strides = attrs["starts"], attrs["limits"], attrs["strides"]
        attrs |= {"starts": (0, *starts), "limits": (length, *limits), "strides": (1, *strides)}
    elif p is PAD:
        attrs |= {k: (0, *attrs[k]) for k in ("before", "after", "between")}
    elif p is CONCAT:
        attrs["axis"] += 1
        values = [x if stacked else BROADCAST(x, shape=(length, *x.shape)) for x, stacked in args]
    return bind(p, *values, **attrs)


def _lifted(x: Any, rank: int) -> Any:
    """``x`` (steps, …) with ones after the steps, so that it broadcasts as a step of it does in ``rank`` axes."""
    missing = rank + 1 - len(x.shape)
    shape: Shape = (x.shape[0], *(1,) * missing, *x.shape[1:])
    return RESHAPE(x, shape=shape) if missing else x


def _all_products(node: Node, x: tuple[Any, bool], y: tuple[Any, bool]) -> Any:
    """The product of every step, the steps batched if both operands vary, else among the free axes."""
    attrs = dict(node.attrs)
    (xb, yb), (xc, yc) = attrs["batch"], attrs["contract"]
    xb, xc = (tuple(a + x[1] for a in axes) for axes in (xb, xc))
    yb, yc = (tuple(a + y[1] for a in axes) for axes in (yb, yc))
    if x[1] and y[1]:
        return DOT(x[0], y[0], batch=((0, *xb), (0, *yb)), contract=(xc, yc))
    out = DOT(x[0], y[0], batch=(xb, yb), contract=(xc, yc))
    # The steps are the first of the free axes of the operand that has them.
    at = len(xb) if x[1] else len(x[0].shape) - len(xc)
    rest = [a for a in range(len(out.shape)) if a != at]
    return out if at == 0 else TRANSPOSE(out, axes=(at, *rest))
