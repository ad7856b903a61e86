"""Views: rows that only re-index, and so cost nothing when fused. And the constants and counters that feed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape, Spec, as_shape, broadcast_shapes
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.primitive import blocked, row
from hornbeam.ir.primitives.arith import SELECT, canonical_dtype, same_dtype


class Literal:
    """A constant array as an attribute: small ones compare by value (so Nodes intern), large ones by identity."""

    __slots__ = ("array", "key")

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        small = array.size <= 64
        self.key = (array.dtype, array.shape, array.tobytes()) if small else id(array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return str(self.array) if self.array.size == 1 else str(Spec(self.array.shape, self.array.dtype))


def _constant_spec(value: Literal) -> Spec:
    if not isinstance(value, Literal):
        raise TypeError(f"constant: the value must be a Literal, got {type(value).__name__}.")
    return Spec(as_shape(value.array.shape), canonical_dtype("constant", value.array.dtype))


def ints(name: str, *attributes: Any) -> None:
    """Attributes are canonical, tuples of ints: rules and engines read them as they are. Raises TypeError if not."""
    for values in attributes:
        if not isinstance(values, tuple) or any(type(v) is not int for v in values):
            raise TypeError(f"{name}: expected a tuple of ints, got {values!r}.")


CONSTANT = row(
    "constant",
    kind="view",
    infer=_constant_spec,
    reference=lambda value: value.array,
    grad=lambda g, out, value: (),
)


def _iota_spec(shape: Shape, axis: int, dtype: DType) -> Spec:
    ints("iota", shape, (axis,))
    if not 0 <= axis < len(shape):
        raise ShapeError(f"iota: axis {axis} is out of range for shape {shape}.")
    return Spec(as_shape(shape), canonical_dtype("iota", dtype))


def _iota(shape: Shape, axis: int, dtype: DType) -> np.ndarray:
    counted = np.arange(shape[axis]).astype(dtype).reshape([-1] + [1] * (len(shape) - axis - 1))
    return np.broadcast_to(counted, shape)


IOTA = row("iota", kind="view", infer=_iota_spec, reference=_iota, grad=lambda g, out, shape, axis, dtype: ())


def _reshape_spec(x: Spec, shape: Shape) -> Spec:
    ints("reshape", shape)
    out = Spec(as_shape(shape), x.dtype)
    if out.size != x.size:
        raise ShapeError(f"reshape: {x.shape} has {x.size} elements and cannot become {out.shape} with {out.size}.")
    return out


RESHAPE = row(
    "reshape",
    kind="view",
    infer=_reshape_spec,
    reference=lambda x, shape: np.reshape(x, shape),
    grad=lambda g, x, out, shape: (RESHAPE(g, shape=x.shape),),
)


def _transpose_spec(x: Spec, axes: tuple[int, ...]) -> Spec:
    ints("transpose", axes)
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(f"transpose: axes {axes} are not a permutation of the {x.ndim} axes of {x.shape}.")
    return Spec(tuple(x.shape[a] for a in axes), x.dtype)


def inverse_permutation(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


TRANSPOSE = row(
    "transpose",
    kind="view",
    infer=_transpose_spec,
    reference=lambda x, axes: np.transpose(x, axes),
    grad=lambda g, x, out, axes: (TRANSPOSE(g, axes=inverse_permutation(axes)),),
)


def _broadcast_spec(x: Spec, shape: Shape) -> Spec:
    ints("broadcast_to", shape)
    as_shape(shape)
    if broadcast_shapes(x.shape, shape, name="broadcast_to") != shape:
        raise ShapeError(f"broadcast_to: {x.shape} cannot be broadcast to {shape}.")
    return Spec(shape, x.dtype)


BROADCAST = row(  # the walker sums the cotangent back to x's shape, as for every broadcasting row
    "broadcast",
    kind="view",
    infer=_broadcast_spec,
    reference=lambda x, shape: np.broadcast_to(x, shape),
    grad=lambda g, x, out, shape: (g,),
)


def _slice_spec(x: Spec, starts: Shape, limits: Shape, strides: Shape) -> Spec:
    ints("slice", starts, limits, strides)
    if not len(starts) == len(limits) == len(strides) == x.ndim:
        raise ShapeError(f"slice: starts, limits and strides must have one entry for each of {x.ndim} axes.")
    for axis, (start, limit, stride, size) in enumerate(zip(starts, limits, strides, x.shape, strict=True)):
        if not (0 <= start <= limit <= size and stride >= 1):
            raise ShapeError(f"slice: {start}:{limit}:{stride} is not inside axis {axis} of size {size}.")
    dims = (-(-(b - a) // s) for a, b, s in zip(starts, limits, strides, strict=True))
    return Spec(tuple(dims), x.dtype)


def _slice(x: np.ndarray, starts: Shape, limits: Shape, strides: Shape) -> np.ndarray:
    return x[tuple(slice(a, b, s) for a, b, s in zip(starts, limits, strides, strict=True))]


def _slice_grad(g: Any, x: Any, out: Any, starts: Shape, limits: Shape, strides: Shape) -> tuple[Any]:
    spread = tuple(s - 1 for s in strides)
    reach = [a + (n - 1) * s + 1 if n else a for a, n, s in zip(starts, out.shape, strides, strict=True)]
    after = tuple(n - r for n, r in zip(x.shape, reach, strict=True))
    return (PAD(g, constant(np.zeros((), g.dtype)), before=tuple(starts), after=after, between=spread),)


SLICE = row("slice", kind="view", infer=_slice_spec, reference=_slice, grad=_slice_grad)


def _pad_spec(x: Spec, value: Spec, before: Shape, after: Shape, between: Shape) -> Spec:
    ints("pad", before, after, between)
    same_dtype("pad", (x, value), dtypes.ALL)
    if value.shape:
        raise ShapeError(f"pad: the padding value must be a scalar, got shape {value.shape}.")
    if not len(before) == len(after) == len(between) == x.ndim:
        raise ShapeError(f"pad: before, after and between must have one entry for each of {x.ndim} axes.")
    if min((*before, *after, *between), default=0) < 0:
        raise ShapeError(f"pad: widths must not be negative, got before {before}, after {after}, between {between}.")
    dims = (a + n + max(n - 1, 0) * m + b for a, n, m, b in zip(before, x.shape, between, after, strict=True))
    return Spec(as_shape(tuple(dims)), x.dtype)


def _pad(x: np.ndarray, value: np.ndarray, before: Shape, after: Shape, between: Shape) -> np.ndarray:
    out = np.empty(_pad_spec(Spec(x.shape, x.dtype), Spec((), x.dtype), before, after, between).shape, x.dtype)
    out[...] = value
    spans = (slice(a, a + n + max(n - 1, 0) * m, m + 1) for a, n, m in zip(before, x.shape, between, strict=True))
    out[tuple(spans)] = x
    return out


def _pad_grad(g: Any, x: Any, value: Any, out: Any, before: Shape, after: Shape, between: Shape) -> tuple[Any, Any]:
    limits = tuple(a + n + max(n - 1, 0) * m for a, n, m in zip(before, x.shape, between, strict=True))
    inner = SLICE(g, starts=tuple(before), limits=limits, strides=tuple(m + 1 for m in between))

    def of_value() -> Any:
        # Selected, not subtracted from the whole: an infinite cotangent inside must not make this NaN.
        true, false = (constant(np.asarray(b)) for b in (True, False))
        inside = PAD(BROADCAST(true, shape=tuple(x.shape)), false, before=before, after=after, between=between)
        return SELECT(inside, constant(np.zeros((), g.dtype)), g).sum()

    return inner, of_value


PAD = row("pad", kind="view", infer=_pad_spec, reference=_pad, grad=_pad_grad)


def _concat_spec(*parts: Spec, axis: int) -> Spec:
    ints("concat", (axis,))
    if not parts:
        raise ShapeError("concat: nothing to concatenate.")
    first = parts[0]
    same_dtype("concat", parts, dtypes.ALL)
    if not 0 <= axis < first.ndim:
        raise ShapeError(f"concat: axis {axis} is out of range for {first.ndim} dimensions.")
    for other in parts[1:]:
        if other.ndim != first.ndim or any(
            a != b for i, (a, b) in enumerate(zip(first.shape, other.shape, strict=True)) if i != axis
        ):
            shapes = ", ".join(str(p.shape) for p in parts)
            raise ShapeError(f"concat: shapes {shapes} differ in more than axis {axis}.")
    total = sum(p.shape[axis] for p in parts)
    return Spec(as_shape((*first.shape[:axis], total, *first.shape[axis + 1 :])), first.dtype)


def _concat_grad(g: Any, *parts_and_out: Any, axis: int) -> tuple[Any, ...]:
    pieces, start = [], 0
    for part in parts_and_out[:-1]:
        starts, limits = [0] * g.ndim, list(g.shape)
        starts[axis], limits[axis] = start, start + part.shape[axis]
        start = limits[axis]
        pieces.append(SLICE(g, starts=tuple(starts), limits=tuple(limits), strides=(1,) * g.ndim))
    return tuple(pieces)


CONCAT = row(
    "concat",
    kind="view",
    infer=_concat_spec,
    reference=lambda *parts, axis: np.concatenate(parts, axis),
    grad=_concat_grad,
)


def _reverse_spec(x: Spec, axes: tuple[int, ...]) -> Spec:
    ints("reverse", axes)
    if any(not 0 <= a < x.ndim for a in axes) or len(set(axes)) != len(axes):
        raise ShapeError(f"reverse: axes {axes} are not distinct axes of {x.shape}.")
    return x


REVERSE = row(
    "reverse",
    kind="view",
    infer=_reverse_spec,
    reference=lambda x, axes: np.flip(x, axes),
    grad=lambda g, x, out, axes: (REVERSE(g, axes=axes),),
)

STOP_GRADIENT = row(  # an identity that also separates a stored value from the one it was computed as
    "stop_gradient",
    kind="view",
    infer=lambda x: x,
    reference=lambda x: x,
    grad=blocked,
)


def _pick_spec(x: tuple[Spec, ...], index: int) -> Spec:
    if not isinstance(x, tuple) or isinstance(x, Spec):
        raise DTypeError("pick takes a row with several results.")
    ints("pick", (index,))
    if not 0 <= index < len(x):
        raise ShapeError(f"pick: there are {len(x)} results, no number {index}.")
    return x[index]


PICK = row("pick", kind="view", infer=_pick_spec, reference=lambda x, index: x[index])  # seen through by the walker
