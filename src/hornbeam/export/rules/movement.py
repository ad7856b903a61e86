"""Constants and counters, and what only moves elements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hornbeam.export.dims import Dim, Unknown, both, known
from hornbeam.export.graph import Graph, Value
from hornbeam.export.pairing import Counter, Numbers, Pair
from hornbeam.export.rules.rule import rule

FAR = 2**63 - 1  # beyond the end of any axis


@rule("constant")
def constant(g: Graph, pair: Pair) -> str:
    value = pair.attrs["value"]
    if isinstance(value, Numbers):
        numbers = g.cast(g.shape(value.elements), pair.dtype)
        return numbers if len(pair.shape) == 1 else g.reshape(numbers, pair.shape)
    if isinstance(value, Counter):
        numbers = _counted(g, value.length)
        numbers = numbers if value.step == 1 else g.op("Mul", numbers, g.constant(value.step))
        return g.cast(numbers if value.start == 0 else g.op("Add", numbers, g.size(value.start)), pair.dtype)
    array = value.array
    return g.constant(array, array.dtype) if array.size <= 64 else g.known("constant", array)


def _counted(g: Graph, n: Dim) -> str:
    """0, 1, … below ``n``, as int64."""
    return g.op("Range", g.constant(0), g.op("Squeeze", g.size(n), g.constant([0])), g.constant(1))


@rule("iota")
def iota(g: Graph, pair: Pair) -> str:
    shape, axis = pair.attrs["shape"], pair.attrs["axis"]
    n = shape[axis]
    column = (n,) + (1,) * (len(shape) - axis - 1)
    if isinstance(n, int):
        counted = g.known("iota", np.arange(n).astype(pair.dtype).reshape(column))
    else:
        numbers = g.cast(_counted(g, n), pair.dtype)
        counted = g.reshape(numbers, column) if len(column) > 1 else numbers
    return expanded(g, Value(counted, column, pair.dtype), shape)


def expanded(g: Graph, x: Value, shape: tuple[Dim, ...]) -> str:
    """``x`` broadcast. An axis that ``x`` has in full is asked for as 1, which leaves it as it is."""
    own = (1,) * (len(shape) - len(x.shape)) + tuple(x.shape)
    if x.shape == shape:
        return x.name
    return g.op("Expand", x, g.shape(tuple(1 if a == b else b for a, b in zip(own, shape, strict=True))))


@rule("broadcast")
def broadcast(g: Graph, pair: Pair, x: Value) -> str:
    return expanded(g, x, pair.shape)


@rule("reshape")
def reshape(g: Graph, pair: Pair, x: Value) -> str:
    return g.reshape(x, pair.shape)


@rule("transpose")
def transpose(g: Graph, pair: Pair, x: Value) -> str:
    return g.transpose(x, pair.attrs["axes"])


@rule("slice")
def slice_(g: Graph, pair: Pair, x: Value) -> str:
    starts, limits, strides = (pair.attrs[k] for k in ("starts", "limits", "strides"))
    axes = [i for i, n in enumerate(x.shape) if (starts[i], limits[i], strides[i]) != (0, n, 1)]
    if not axes:
        return x.name
    steps = known("the stride of a slice", tuple(strides[i] for i in axes), "slice with a number as the step")
    first = g.shape(tuple(_position(starts[i], x.shape[i]) for i in axes))
    ends = [_end(starts[i], limits[i], step, x.shape[i], pair.shape[i]) for i, step in zip(axes, steps, strict=True)]
    last = g.shape(tuple(_position(end, x.shape[i]) for i, end in zip(axes, ends, strict=True)))
    return g.op("Slice", x, first, last, g.constant(axes), g.constant(steps))


def _end(start: Dim, limit: Dim, step: int, n: Dim, count: Dim) -> Dim:
    """Where a slice ends. With a step the row ends behind the last element, which is n - 1 for one n, n for another.
    What is meant is the distance from the end that gives the right count for both, if there is only one."""
    if step == 1 or isinstance(limit, int):
        return limit
    ends = [both(lambda size, c=c: size - c, n) for c in range(step + 1)]
    fitting = [end for end in ends if both(lambda a, b: -(-(b - a) // step), start, end) == count]
    return fitting[0] if len(fitting) == 1 else limit


def _position(at: Dim, n: Dim) -> Dim:
    """A place along an axis of size ``n``; where that is unknown, counted from the end if that makes it known."""
    if isinstance(at, int):
        return at
    from_end = both(lambda a, b: a - b, at, n)
    if isinstance(from_end, Unknown):
        return at
    return from_end if from_end else FAR


@rule("pad")
def pad(g: Graph, pair: Pair, x: Value, value: Value) -> str:
    before, after, between = (pair.attrs[k] for k in ("before", "after", "between"))
    name, shape = x.name, list(x.shape)
    for axis, gap in enumerate(known("the padding between elements", between, "pad by a number")):
        if gap:
            # Each element gets an axis of its own, is padded along it, and the last one's padding is cut off.
            n = shape[axis]
            split = (*shape[: axis + 1], 1, *shape[axis + 1 :])
            name = g.reshape(Value(name, tuple(shape), x.dtype), split)
            name = padded(g, name, value, [(0, gap if i == axis + 1 else 0) for i in range(len(split))])
            wide = both(lambda d, m=gap: d * (m + 1), n)
            shape[axis] = wide
            name = g.reshape(name, tuple(shape))
            name = g.op("Slice", name, g.constant([0]), g.constant([-gap]), g.constant([axis]))
            shape[axis] = both(lambda d, m=gap: d - m, wide)
    return padded(g, name, value, list(zip(before, after, strict=True)))


def padded(g: Graph, x: str, value: Value | str, widths: Sequence[tuple[Dim, Dim]]) -> str:
    """``x`` with ``value`` around it, (before, after) on each axis.

    NOTE: not on some axes: ONNX Runtime mistakes them where it moves a transposition past the padding.
    """
    if all(w == (0, 0) for w in widths):
        return x
    return g.op("Pad", x, g.shape((*(w[0] for w in widths), *(w[1] for w in widths))), value)


@rule("concat")
def concat(g: Graph, pair: Pair, *parts: Value) -> str:
    axis = pair.attrs["axis"]
    parts = tuple(p for p in parts if p.shape[axis] != 0)
    return g.op("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0].name


@rule("reverse")
def reverse(g: Graph, pair: Pair, x: Value) -> str:
    return reversed_(g, x, pair.attrs["axes"])


def reversed_(g: Graph, x: Value | str, axes: tuple[int, ...]) -> str:
    n = len(axes)
    starts, ends, steps = (g.constant([v] * n) for v in (-1, -FAR, -1))
    return g.op("Slice", x, starts, ends, g.constant(axes), steps) if n else x if isinstance(x, str) else x.name


@rule("stop_gradient")
def stop_gradient(g: Graph, pair: Pair, x: Value) -> str:
    return x.name
