"""Whether what a kernel computed is what its rows mean, on the values that it had.

Compiled code adds in another order and has its own exp, so it agrees with the reference to rounding. How much rounding
matters depends on the values: a difference of nearly equal numbers has few right digits. So the same rows are computed
twice more, in float64 and on operands changed by a rounding error; what these change is what rounding may change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Spec
from hornbeam.ir.node import Node, make, param
from hornbeam.ir.primitives.arith import BITCAST, CAST, NEXTAFTER
from hornbeam.ir.primitives.movement import CONSTANT, Literal
from hornbeam.ir.program import Program, evaluate

ROUNDINGS = 32.0  # units in the last place that a few rows may be apart, however well conditioned
SENSITIVITY = 8.0  # times what a change of the operands' last bits changes


class Mismatch(NamedTuple):
    """The worst element of a result."""

    at: tuple[int, ...]
    got: Any
    want: Any
    allowed: float
    wrong: int  # elements that are


class Agreement:
    """Compares results with those of ``program``, whose inputs are what a kernel reads and outputs what it writes."""

    def __init__(self, program: Program) -> None:
        self.program, self.wide = program, widened(program)

    def expected(self, arguments: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each output, its value by the references, in float64, and in float64 of operands that were rounded."""
        wide = [_wide(a) for a in arguments]
        rounded = [_rounded(w, a.dtype) for w, a in zip(wide, arguments, strict=True)]
        runs = evaluate(self.program, arguments), evaluate(self.wide, wide), evaluate(self.wide, rounded)
        return list(zip(*runs, strict=True))


def mismatch(got: np.ndarray, want: np.ndarray, wide: np.ndarray, rounded: np.ndarray) -> Mismatch | None:
    """The worst element of ``got`` that is further from ``want`` than rounding explains; None if there is none."""
    if not got.size:
        return None
    if not dtypes.is_floating(got.dtype):
        wrong = (got != want) & (want == wide) & (wide == rounded)  # what rounding decides may come out either way
        distance, allowed = np.where(wrong, 1.0, 0.0), np.zeros(got.shape)
    else:
        with np.errstate(all="ignore"):
            g, w = got.astype(np.float64), want.astype(np.float64)
            spread = np.fmax(_finite(w - wide), _finite(rounded - wide)).max()
            allowed = ROUNDINGS * _epsilon(got.dtype) * np.abs(w) + SENSITIVITY * spread + _tiny(got.dtype)
            distance = np.abs(g - w)
            same = (g == w) | (np.isnan(g) & np.isnan(w))
            # At the edge of what the dtype holds, one may have overflowed where the other did not.
            edge = ~np.isfinite(w) & (np.isfinite(wide) | np.isfinite(rounded)) if spread else np.zeros(g.shape, bool)
            distance = np.where(same | edge, 0.0, np.where(np.isnan(distance), np.inf, distance))
            wrong = distance > np.where(np.isfinite(allowed), allowed, 0.0)
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(wrong, distance, -1.0)), got.shape))
    return Mismatch(at, got[at], want[at], float(allowed[at]), int(wrong.sum()))


def widened(program: Program) -> Program:
    """The same rows in float64. Those that look at bits keep their dtype, on rounded values."""
    inputs = [param(_wide_spec(p.spec)) for p in program.params]
    env: dict[Node, Node] = dict(zip(program.params, inputs, strict=True))
    for node in program.nodes:
        env[node] = _widened(node, tuple(env[a] for a in node.args))
    return Program(inputs, [env[r] for r in program.roots], name=program.name)


def _widened(node: Node, args: tuple[Node, ...]) -> Node:
    attrs = dict(node.attrs)
    if node.primitive in (BITCAST, NEXTAFTER):
        own = tuple(_cast(a, b.dtype) for a, b in zip(args, node.args, strict=True))
        made = make(node.primitive, own, attrs, node.line)
        return _cast(made, _wide_dtype(made.dtype))
    if node.primitive is CONSTANT:
        return make(CONSTANT, (), {"value": Literal(_wide(attrs["value"].array))}, node.line)
    if node.primitive is CAST and dtypes.is_floating(attrs["dtype"]):
        return _cast(args[0], dtypes.float64)
    for name, value in attrs.items():
        if isinstance(value, np.dtype):
            attrs[name] = _wide_dtype(value)
        elif isinstance(value, Program):
            attrs[name] = widened(value)
        elif isinstance(value, tuple) and any(isinstance(v, Program) for v in value):
            attrs[name] = tuple(widened(v) for v in value)
    return make(node.primitive, args, attrs, node.line)


def _cast(node: Node, dtype: DType) -> Node:
    return node if node.dtype == dtype else make(CAST, (node,), {"dtype": dtype}, node.line)


def _wide_dtype(dtype: DType) -> DType:
    return dtypes.float64 if dtypes.is_floating(dtype) else dtype


def _wide_spec(spec: Spec) -> Spec:
    return Spec(spec.shape, _wide_dtype(spec.dtype))


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(_wide_dtype(array.dtype))


def _rounded(array: np.ndarray, dtype: DType) -> np.ndarray:
    """``array`` with the last bits that ``dtype`` holds changed, alike in every run. Zeros stay zeros."""
    if not dtypes.is_floating(dtype):
        return array
    signs = np.random.default_rng(array.size).integers(0, 2, array.shape) * 2 - 1
    with np.errstate(all="ignore"):
        return array * (1 + signs * (0.5 * _epsilon(dtype)))


def _epsilon(dtype: DType) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def _tiny(dtype: DType) -> float:
    return float(ml_dtypes.finfo(dtype).smallest_subnormal)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), np.abs(x), 0.0)
