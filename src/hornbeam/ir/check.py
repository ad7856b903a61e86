"""The verifier: re-derives what every node of a Program claims. Run between passes with ``CHECK=1``, and in the tests.

What it finds is a mistake of ours, never of the user, so it raises an AssertionError.
"""

from __future__ import annotations

from typing import Any

from hornbeam.base.spec import Spec
from hornbeam.ir.node import PARAM, Node, topological
from hornbeam.ir.primitive import ROWS
from hornbeam.ir.program import Program, names_of


class CheckError(AssertionError):
    """A Program that breaks a rule of the IR."""


def check(program: Program) -> None:
    """Raises CheckError, showing the node, its neighbours and the user's line, unless all of this holds.

    Parameters are distinct and every parameter used is among them. Every node's Spec is what its row infers. Bodies of
    control flow are closed, stateless Programs of which the same holds. A slot is read and updated with its own Spec.
    """
    _check(program, set())


def _check(program: Program, checked: set[int]) -> None:
    if id(program) in checked:
        return
    checked.add(id(program))
    params = set(program.params)
    for p in program.params:
        if not isinstance(p, Node) or p.primitive is not PARAM:
            raise _error(program, "a parameter is not a param node", p)
    if len(params) != len(program.params):
        twice = next(p for i, p in enumerate(program.params) if any(p is q for q in program.params[:i]))
        raise _error(program, "two parameters are the same node", twice)
    for node in topological(program.roots):
        if node.primitive is not PARAM:
            _check_node(program, node, checked)
        elif node not in params:
            raise _error(program, "it uses a parameter that is not its own, so it is not closed", node)
    for root in program.roots:
        if not isinstance(root.spec, Spec):
            raise _error(program, "a result is a tuple; take one of them with PICK", root)
    for what, slots in (("reads", program.reads), ("updates", program.updates)):
        for slot, node in slots.items():
            expected = getattr(slot, "spec", node.spec)
            if expected != node.spec:
                raise _error(program, f"it {what} {names_of(slot)}, which is {expected}, as {node.spec}", node)


def _check_node(program: Program, node: Node, checked: set[int]) -> None:
    if ROWS.get(node.primitive.name) is not node.primitive:
        raise _error(program, f"{node.primitive!r} is not a row of the table", node)
    try:
        derived = node.primitive.infer(*(a.spec for a in node.args), **dict(node.attrs))
    except Exception as error:
        raise _error(program, f"{node.primitive!r} refuses its operands: {error}", node) from error
    if derived != node.spec:
        raise _error(program, f"a node claims {_shown(node.spec)}, its row infers {_shown(derived)}", node)
    for _, value in node.attrs:
        for body in value if isinstance(value, tuple) else (value,):
            if isinstance(body, Program):
                if body.reads or body.updates:
                    raise _error(program, f"the body {body.name} touches state", node)
                _check(body, checked)


def _shown(spec: Any) -> str:
    return str(spec) if isinstance(spec, Spec) else f"({', '.join(map(str, spec))})"


def _error(program: Program, what: str, node: Any) -> CheckError:
    lines = [f"{program.name}: {what}.", f"  node   {node!r}"]
    if isinstance(node, Node):
        lines += [f"  arg    {a!r}" for a in node.args]
        lines += [f"  user   {n!r}" for n in topological(program.roots) if any(a is node for a in n.args)]
        if node.line:
            lines.append(f"  at {node.line}")
    return CheckError("\n".join(lines))
