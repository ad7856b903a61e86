"""Where a NaN or an infinity comes from: the first row that makes one of finite operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.errors import NonFiniteError, explain
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import CONSTANT
from hornbeam.ir.program import Program, apply


def first_made(program: Program, arguments: Sequence[np.ndarray], where: str) -> None:
    """Raise NonFiniteError for the first row of ``program`` that makes a NaN or an infinity of finite operands.

    Returns if none does: what is not finite was so before. ``where`` names the kernel that is made of these rows.
    """
    env: dict[Node, Any] = dict(zip(program.params, arguments, strict=True))
    with np.errstate(all="ignore"):
        for node in program.nodes:
            operands = [env[a] for a in node.args]
            env[node] = apply(node, operands)
            refuse(node, operands, env[node], where)
    known = [*arguments, *(env[n] for n in program.nodes if n.primitive is CONSTANT)]
    if all(_is_finite(a) for a in known) and all(_is_finite(env[r]) for r in program.roots):
        raise NonFiniteError(
            explain(
                f"{where}: compiled code made a NaN or an infinity where its rows make none.",
                why="That is a mistake of Hornbeam's.",
                fix="HORNBEAM_CHECK=2   # shows the element; HORNBEAM_ENGINE=reference works around it",
                line=next((n.line for n in reversed(program.nodes) if n.line), ""),
            )
        )


def refuse(node: Node, operands: Sequence[Any], value: Any, where: str = "") -> None:
    """Raise NonFiniteError if ``node`` made ``value``, or a part of it, NaN or infinite, of finite ``operands``."""
    if node.primitive is CONSTANT or (node.primitive.kind == "view" and node.primitive.name != "custom_gradient"):
        return
    for part in value if isinstance(value, tuple) else (value,):
        made = _made(node, operands, part)
        if made.any():
            raise NonFiniteError(_told(node, operands, part, made, where))


def _made(node: Node, operands: Sequence[Any], value: np.ndarray) -> np.ndarray:
    """Which elements of ``value`` are not finite though what they were made of is."""
    if _is_finite(value):
        return np.zeros(value.shape, bool)
    wrong = ~np.isfinite(value)
    if node.primitive.kind == "map":
        for x in operands:
            wrong &= np.broadcast_to(_finite(x), value.shape)
    elif node.primitive.kind == "reduce" and "axes" in dict(node.attrs):
        wrong &= _finite(operands[0]).all(axis=dict(node.attrs)["axes"])
    elif not all(_is_finite(x) for x in operands):
        wrong[...] = False
    return wrong


def _told(node: Node, operands: Sequence[Any], value: np.ndarray, made: np.ndarray, where: str) -> str:
    at = tuple(int(i) for i in np.argwhere(made)[0])
    kinds = {"NaN": np.isnan(value[made]).any(), "Inf": np.isinf(value[made]).any()}
    name = node.primitive.name
    example = ""
    if node.primitive.kind == "map":
        of = ", ".join(str(np.broadcast_to(x, value.shape)[at]) for x in operands)
        example = f", the first at {at}: {name}({of}) is {value[at]!s}"
    return explain(
        f"{name} made {' and '.join(k for k, found in kinds.items() if found)} of finite operands: "
        f"{int(made.sum())} of the {value.size} elements of its {value.dtype.name}{list(value.shape)}{example}."
        + (f"\n  in {where}" if where else ""),
        why="The run was stopped before it changed any variable (HORNBEAM_NANS=1).",
        line=node.line or "unknown",
    )


def _finite(x: Any) -> np.ndarray:
    return np.isfinite(x) if dtypes.is_inexact(x.dtype) else np.ones(x.shape, bool)


def _is_finite(x: Any) -> bool:
    if isinstance(x, tuple):
        return all(map(_is_finite, x))
    return not dtypes.is_inexact(x.dtype) or bool(np.isfinite(x).all())
