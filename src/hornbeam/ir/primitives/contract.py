"""Contractions and windows: the dot product, convolution and pooling.

Convolutions take ``x`` as (batch, *spatial, channels) and kernels as (*spatial, channels / groups, features). Each
family is closed under differentiation: dot is bilinear; convolution is one trilinear form seen from its three
operands; pooling sums has a transpose; pooling maxima is a choice of positions, and choosing has a transpose.

Half precision is computed in float32 and rounded once. Operands are made contiguous first: the same numbers must give
the same bits however they are strided.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape, Spec, as_dim, as_shape, broadcast_shapes
from hornbeam.errors import ShapeError
from hornbeam.ir.primitive import row
from hornbeam.ir.primitives.arith import CAST, NUMERIC, REAL, same_dtype
from hornbeam.ir.primitives.movement import RESHAPE, TRANSPOSE, inverse_permutation
from hornbeam.ir.primitives.reduce import HALF

Axes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def working_dtype(dtype: DType) -> DType:
    """The dtype in which values of ``dtype`` are multiplied and summed."""
    return dtypes.float32 if dtype in HALF else dtype


# -- dot -------------------------------------------------------------------------------------------


def free_axes(rank: int, *used: Axes) -> Axes:
    """The axes that are neither batched nor contracted, in order."""
    taken = set().union(*used)
    return tuple(i for i in range(rank) if i not in taken)


def _dot_spec(x: Spec, y: Spec, batch: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> Spec:
    dtype = same_dtype("dot", (x, y), NUMERIC)
    for what, (ax, ay) in (("batch", batch), ("contract", contract)):
        if len(ax) != len(ay):
            raise ShapeError(f"dot: {what} axes {ax} and {ay} must pair up.")
        for s, axes in ((x, ax), (y, ay)):
            if any(type(a) is not int or not 0 <= a < s.ndim for a in axes):
                raise ShapeError(f"dot: {what} axes {axes} are not axes of {s.shape}.")
        for i, j in zip(ax, ay, strict=True):
            if x.shape[i] != y.shape[j]:
                raise ShapeError(
                    f"dot: axis {i} of {x.shape} and axis {j} of {y.shape} are paired but differ in size."
                )
    for s, axes in ((x, batch[0] + contract[0]), (y, batch[1] + contract[1])):
        if len(set(axes)) != len(axes):
            raise ShapeError(f"dot: axes {axes} of {s.shape} repeat an axis.")
    xf, yf = free_axes(x.ndim, batch[0], contract[0]), free_axes(y.ndim, batch[1], contract[1])
    dims = [x.shape[a] for a in batch[0] + xf] + [y.shape[a] for a in yf]
    return Spec(as_shape(dims), dtype)


def _dot(x: np.ndarray, y: np.ndarray, batch: tuple[Axes, Axes], contract: tuple[Axes, Axes]) -> np.ndarray:
    (xb, yb), (xc, yc) = batch, contract
    xf, yf = free_axes(x.ndim, xb, xc), free_axes(y.ndim, yb, yc)
    b, m, k = (tuple(x.shape[a] for a in axes) for axes in (xb, xf, xc))
    n = tuple(y.shape[a] for a in yf)
    dtype = working_dtype(x.dtype)
    lhs = np.ascontiguousarray(x.transpose(xb + xf + xc), dtype).reshape(math.prod(b), math.prod(m), math.prod(k))
    rhs = np.ascontiguousarray(y.transpose(yb + yc + yf), dtype).reshape(math.prod(b), math.prod(k), math.prod(n))
    return np.matmul(lhs, rhs).reshape(b + m + n).astype(x.dtype)


def _dot_grad(g: Any, x: Any, y: Any, out: Any, batch: Any, contract: Any) -> tuple[Any, Any]:
    (xb, yb), (xc, yc) = batch, contract
    xf, yf = free_axes(len(x.shape), xb, xc), free_axes(len(y.shape), yb, yc)
    gb = tuple(range(len(xb)))
    gm = tuple(range(len(xb), len(xb) + len(xf)))
    gn = tuple(range(len(xb) + len(xf), len(g.shape)))

    def dx() -> Any:  # (batch, x free, y contracted)
        order = xb + xf + tuple(xc[yc.index(a)] for a in sorted(yc))
        return DOT(g, y, batch=(gb, yb), contract=(gn, yf)).transpose(inverse_permutation(order))

    def dy() -> Any:  # (batch, x contracted, y free)
        order = yb + tuple(yc[xc.index(a)] for a in sorted(xc)) + yf
        return DOT(x, g, batch=(xb, gb), contract=(xf, gm)).transpose(inverse_permutation(order))

    return dx, dy


DOT = row("dot", kind="block", infer=_dot_spec, reference=_dot, grad=_dot_grad)
"""``DOT(x, y, batch=(xb, yb), contract=(xc, yc))``: products summed over the contracted pairs of axes; the result has
the batch axes, then the free axes of ``x``, then those of ``y``."""


def matmul(x: Any, y: Any) -> Any:
    """The matrix product of the last two axes, leading axes broadcast; 1-d operands as in NumPy's ``matmul``.

    A leading axis that only one operand has is a free axis of the dot, so broadcasting copies nothing.
    Raises ShapeError if the inner dimensions differ.
    """
    if x.dtype == dtypes.bool_:
        return matmul(CAST(x, dtype=dtypes.int32), CAST(y, dtype=dtypes.int32)) != 0
    form = _matmul_form(tuple(x.shape), tuple(y.shape))
    x = x if form.x is None else RESHAPE(x, shape=form.x)
    y = y if form.y is None else RESHAPE(y, shape=form.y)
    out = DOT(x, y, batch=form.batch, contract=form.contract)
    out = out if form.order is None else TRANSPOSE(out, axes=form.order)
    return out if form.out is None else RESHAPE(out, shape=form.out)


class MatmulForm(NamedTuple):
    """A matrix product as a dot of reshaped operands, transposed and reshaped; None for what changes nothing."""

    x: Shape | None
    y: Shape | None
    batch: tuple[tuple[int, ...], tuple[int, ...]]
    contract: tuple[tuple[int, ...], tuple[int, ...]]
    order: tuple[int, ...] | None
    out: Shape | None


@lru_cache(1024)
def _matmul_form(xs: Shape, ys: Shape) -> MatmulForm:
    if not xs or not ys:
        raise ShapeError(f"matmul: shapes {xs} and {ys}: a scalar has no matrix product.\n  Fix: x * y")
    if xs[-1] != ys[max(len(ys) - 2, 0)]:
        raise ShapeError(_matmul_message(xs, ys))
    lead = broadcast_shapes(xs[:-2], ys[:-2], name="matmul")
    x_dims, y_dims = ((1,) * (len(lead) - len(s[:-2])) + s[:-2] for s in (xs, ys))

    # Drop every leading 1; of what remains, an axis is batched if both have it.
    x_lead = [i for i, d in enumerate(x_dims) if d != 1]
    y_lead = [i for i, d in enumerate(y_dims) if d != 1]
    x, y = tuple(x_dims[i] for i in x_lead) + xs[-2:], tuple(y_dims[i] for i in y_lead) + ys[-2:]
    shared = [i for i in x_lead if i in y_lead]
    batch = (tuple(map(x_lead.index, shared)), tuple(map(y_lead.index, shared)))
    contract = ((len(x) - 1,), (max(len(y) - 2, 0),))

    # The dot's axes by name: leading ones by number, then rows (-2) and columns (-1).
    x_free = [i for i in x_lead if i not in shared] + [-2] * (len(xs) > 1)
    names = shared + x_free + [i for i in y_lead if i not in shared] + [-1] * (len(ys) > 1)
    wanted = sorted(i for i in names if i >= 0) + [i for i in (-2, -1) if i in names]
    order = tuple(names.index(i) for i in wanted)
    out = lead + xs[-2:-1] + ys[-1:] * (len(ys) > 1)
    return MatmulForm(
        x=x if x != xs else None,
        y=y if y != ys else None,
        batch=batch,
        contract=contract,
        order=order if names != wanted else None,
        out=out if 1 in lead else None,
    )


def _matmul_message(xs: Shape, ys: Shape) -> str:
    inner = ys[max(len(ys) - 2, 0)]
    message = f"matmul: shapes {xs} and {ys} do not fit: the inner dimensions {xs[-1]} and {inner} differ."
    if len(ys) > 1 and xs[-1] == ys[-1]:
        return message + "\n  Often the second operand is stored transposed; then write   x @ hb.swapaxes(y, -1, -2)"
    if len(xs) > 1 and xs[-2] == inner:
        return message + "\n  Often the first operand is stored transposed; then write   hb.swapaxes(x, -1, -2) @ y"
    return message


# -- windows: what convolution and pooling share ---------------------------------------------------


def windows_shape(
    name: str, spatial: Shape, window: Shape, strides: Shape, padding: Pairs, dilation: Shape
) -> Shape:
    """How many windows fit along each spatial axis. Raises ShapeError if the attributes are not one per axis."""
    rank = len(spatial)
    for what, values, least in (("window", window, 1), ("strides", strides, 1), ("dilation", dilation, 1)):
        if len(values) != rank or any(_dimension(name, v) < least for v in values):
            raise ShapeError(f"{name}: {what} must be {rank} ints of at least {least}, got {values}.")
    if len(padding) != rank or any(len(p) != 2 or min(_dimension(name, v) for v in p) < 0 for p in padding):
        raise ShapeError(f"{name}: padding must be {rank} pairs (before, after) of at least 0, got {padding}.")
    padded = as_shape([n + lo + hi for n, (lo, hi) in zip(spatial, padding, strict=True)])
    reach = [(w - 1) * d + 1 for w, d in zip(window, dilation, strict=True)]
    return tuple(max((n - r) // s + 1, 0) for n, r, s in zip(padded, reach, strides, strict=True))


def _dimension(name: str, value: Any) -> int:
    try:
        return as_dim(value)
    except TypeError as error:
        raise ShapeError(f"{name}: {error}.") from None


def pad_spatial(x: np.ndarray, padding: Pairs, value: Any = 0) -> np.ndarray:
    """``x`` with ``value`` around its spatial axes; contiguous."""
    shape = (x.shape[0], *(n + lo + hi for n, (lo, hi) in zip(x.shape[1:-1], padding, strict=True)), x.shape[-1])
    out = np.full(shape, value, x.dtype)
    out[inner(x.shape[1:-1], padding)] = x
    return out


def inner(spatial: Shape, padding: Pairs) -> tuple[slice, ...]:
    """Where the unpadded array lies in the padded one."""
    return (slice(None), *(slice(lo, lo + n) for n, (lo, _) in zip(spatial, padding, strict=True)))


def taps(
    window: Shape, count: Shape, strides: Shape, dilation: Shape
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each position in the window, with the slices of the padded array that it visits from all windows."""
    for tap in itertools.product(*map(range, window)):
        starts = [t * d for t, d in zip(tap, dilation, strict=True)]
        spans = (slice(a, a + (n - 1) * s + 1 if n else a, s) for a, n, s in zip(starts, count, strides, strict=True))
        yield tap, (slice(None), *spans)


def windows_overlap(strides: Shape, window: Shape, dilation: Shape, **others: Any) -> bool:
    """Whether an element can lie in several windows."""
    return any(s <= (w - 1) * d for s, w, d in zip(strides, window, dilation, strict=True))


# -- convolution -----------------------------------------------------------------------------------


def _check_conv(
    name: str, x: Shape, k: Shape, dtype: DType, strides: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Spec:
    """The convolution of ``x`` with ``k``; all three rows check themselves against it."""
    if not 3 <= len(x) <= 5 or len(k) != len(x):
        raise ShapeError(
            f"{name}: inputs {x} must be (batch, 1 to 3 spatial axes, channels) and kernels {k} "
            "(as many spatial axes, channels / groups, features)."
        )
    if _dimension(name, groups) < 1 or k[-2] * groups != x[-1] or k[-1] % groups:
        raise ShapeError(
            f"{name}: inputs {x} have {x[-1]} channels and kernels {k} take {k[-2]} in each of {groups} groups, "
            f"for {k[-1]} features; channels must be {k[-2]} * {groups} and features a multiple of {groups}."
        )
    count = windows_shape(name, x[1:-1], k[:-2], strides, padding, dilation)
    return Spec(as_shape((x[0], *count, k[-1])), dtype)


def _conv_spec(x: Spec, k: Spec, strides: Shape, padding: Pairs, dilation: Shape, groups: int) -> Spec:
    dtype = same_dtype("conv", (x, k), NUMERIC)
    return _check_conv("conv", x.shape, k.shape, dtype, strides, padding, dilation, groups)


def _conv_input_grad_spec(
    y: Spec, k: Spec, shape: Shape, strides: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Spec:
    dtype = same_dtype("conv_input_grad", (y, k), NUMERIC)
    if y.ndim < 3 or k.ndim < 3:
        raise ShapeError(f"conv_input_grad: {y.shape} and {k.shape} need a batch, spatial axes and channels.")
    x = as_shape((y.shape[0], *shape, k.shape[-2] * max(_dimension("conv_input_grad", groups), 0)))
    made = _check_conv("conv_input_grad", x, k.shape, dtype, strides, padding, dilation, groups)
    if made.shape != y.shape:
        raise ShapeError(f"conv_input_grad: a convolution of {x} with {k.shape} gives {made.shape}, not {y.shape}.")
    return Spec(x, dtype)


def _conv_kernel_grad_spec(
    x: Spec, y: Spec, shape: Shape, strides: Shape, padding: Pairs, dilation: Shape, groups: int
) -> Spec:
    dtype = same_dtype("conv_kernel_grad", (x, y), NUMERIC)
    if x.ndim < 3 or y.ndim < 3 or _dimension("conv_kernel_grad", groups) < 1:
        raise ShapeError(f"conv_kernel_grad: {x.shape} and {y.shape} need a batch, spatial axes and channels.")
    k = as_shape((*shape, x.shape[-1] // groups, y.shape[-1]))
    made = _check_conv("conv_kernel_grad", x.shape, k, dtype, strides, padding, dilation, groups)
    if made.shape != y.shape:
        raise ShapeError(f"conv_kernel_grad: a convolution of {x.shape} with {k} gives {made.shape}, not {y.shape}.")
    return Spec(k, dtype)


def by_group(v: np.ndarray, groups: int) -> np.ndarray:
    """(..., groups * c) as matrices (groups, rows, c)."""
    rows, c = math.prod(v.shape[:-1]), v.shape[-1] // groups
    return np.ascontiguousarray(v.reshape(rows, groups, c).transpose(1, 0, 2))


def ungroup(v: np.ndarray, shape: Shape) -> np.ndarray:
    """Matrices (groups, rows, c) as an array of ``shape`` (..., groups * c)."""
    return v.transpose(1, 0, 2).reshape(shape)


def _product(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """One tap: (groups, rows, c) @ (groups, c, o). With one channel per group an outer product, without a matmul."""
    return x * k if k.shape[1] == 1 else np.matmul(x, k)


def _conv(
    x: np.ndarray, k: np.ndarray, strides: Shape, padding: Pairs, dilation: Shape, groups: int
) -> np.ndarray:
    shape = _conv_spec(Spec(x.shape, x.dtype), Spec(k.shape, k.dtype), strides, padding, dilation, groups).shape
    dtype = working_dtype(x.dtype)
    padded, k = pad_spatial(x.astype(dtype), padding), k.astype(dtype)
    out = np.zeros((groups, math.prod(shape[:-1]), shape[-1] // groups), dtype)
    everything = list(taps(k.shape[:-2], shape[1:-1], strides, dilation))
    at_once = max(1, 32 // max(k.shape[-2], 1)) if groups == 1 else 1  # few channels make poor matrix products
    for i in range(0, len(everything), at_once):
        some = everything[i : i + at_once]
        columns = [by_group(padded[span], groups) for _, span in some]
        kernels = [by_group(k[tap], groups) for tap, _ in some]
        out += _product(_beside(columns, 2), _beside(kernels, 1))
    return ungroup(out, shape).astype(x.dtype)


def _beside(parts: list[np.ndarray], axis: int) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def _conv_input_grad(
    y: np.ndarray, k: np.ndarray, shape: Shape, strides: Shape, padding: Pairs, dilation: Shape, groups: int
) -> np.ndarray:
    dtype = working_dtype(y.dtype)
    rows, k = by_group(y.astype(dtype), groups), k.astype(dtype)
    channels = k.shape[-2] * groups
    padded = pad_spatial(np.zeros((y.shape[0], *shape, channels), dtype), padding)
    for tap, span in taps(k.shape[:-2], y.shape[1:-1], strides, dilation):
        back = np.ascontiguousarray(by_group(k[tap], groups).transpose(0, 2, 1))
        padded[span] += ungroup(_product(rows, back), (*y.shape[:-1], channels))
    return padded[inner(shape, padding)].astype(y.dtype)


def _conv_kernel_grad(
    x: np.ndarray, y: np.ndarray, shape: Shape, strides: Shape, padding: Pairs, dilation: Shape, groups: int
) -> np.ndarray:
    dtype = working_dtype(x.dtype)
    padded, rows = pad_spatial(x.astype(dtype), padding), by_group(y.astype(dtype), groups)
    out = np.zeros((*shape, x.shape[-1] // groups, y.shape[-1]), dtype)
    for tap, span in taps(shape, y.shape[1:-1], strides, dilation):
        columns = np.ascontiguousarray(by_group(padded[span], groups).transpose(0, 2, 1))
        out[tap] = ungroup(np.matmul(columns, rows), out.shape[-2:])
    return out.astype(x.dtype)


CONV = row(
    "conv",
    kind="block",
    infer=_conv_spec,
    reference=_conv,
    grad=lambda g, x, k, out, **attrs: (
        lambda: CONV_INPUT_GRAD(g, k, shape=tuple(x.shape[1:-1]), **attrs),
        lambda: CONV_KERNEL_GRAD(x, g, shape=tuple(k.shape[:-2]), **attrs),
    ),
)
"""``CONV(x, k, strides, padding=((before, after), ...), dilation, groups)``: cross-correlation, as layers use it."""

CONV_INPUT_GRAD = row(
    "conv_input_grad",
    kind="block",
    infer=_conv_input_grad_spec,
    reference=_conv_input_grad,
    grad=lambda g, y, k, out, shape, **attrs: (
        lambda: CONV(g, k, **attrs),
        lambda: CONV_KERNEL_GRAD(g, y, shape=tuple(k.shape[:-2]), **attrs),
    ),
)
"""The transpose of CONV in ``x``, whose spatial sizes are ``shape``. Transposed convolution is made of it."""

CONV_KERNEL_GRAD = row(
    "conv_kernel_grad",
    kind="block",
    infer=_conv_kernel_grad_spec,
    reference=_conv_kernel_grad,
    grad=lambda g, x, y, out, shape, **attrs: (
        lambda: CONV_INPUT_GRAD(y, g, shape=tuple(x.shape[1:-1]), **attrs),
        lambda: CONV(x, g, **attrs),
    ),
)
"""The transpose of CONV in ``k``, whose spatial sizes are ``shape``."""

# -- pooling ---------------------------------------------------------------------------------------


def _pooled(name: str, x: Shape, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> Shape:
    if not 3 <= len(x) <= 5:
        raise ShapeError(f"{name}: inputs {x} must be (batch, 1 to 3 spatial axes, channels).")
    return as_shape((x[0], *windows_shape(name, x[1:-1], window, strides, padding, dilation), x[-1]))


def _pool_sum_spec(x: Spec, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> Spec:
    dtype = same_dtype("pool_sum", (x,), NUMERIC)
    return Spec(_pooled("pool_sum", x.shape, window, strides, padding, dilation), dtype)


def _pool_sum(x: np.ndarray, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> np.ndarray:
    shape = _pooled("pool_sum", x.shape, window, strides, padding, dilation)
    padded = pad_spatial(x.astype(working_dtype(x.dtype)), padding)
    out = np.zeros(shape, padded.dtype)
    for _, span in taps(window, shape[1:-1], strides, dilation):
        out += padded[span]
    return out.astype(x.dtype)


def _pool_spread_spec(
    y: Spec, shape: Shape, window: Shape, strides: Shape, padding: Pairs, dilation: Shape
) -> Spec:
    dtype = same_dtype("pool_spread", (y,), NUMERIC)
    if y.ndim < 3:
        raise ShapeError(f"pool_spread: {y.shape} needs a batch, spatial axes and channels.")
    x = as_shape((y.shape[0], *shape, y.shape[-1]))
    pooled = _pooled("pool_spread", x, window, strides, padding, dilation)
    if pooled != y.shape:
        raise ShapeError(f"pool_spread: pooling {x} gives {pooled}, not {y.shape}.")
    return Spec(x, dtype)


def _pool_spread(
    y: np.ndarray, shape: Shape, window: Shape, strides: Shape, padding: Pairs, dilation: Shape
) -> np.ndarray:
    padded = pad_spatial(np.zeros((y.shape[0], *shape, y.shape[-1]), working_dtype(y.dtype)), padding)
    for _, span in taps(window, y.shape[1:-1], strides, dilation):
        padded[span] += y.astype(padded.dtype)
    return padded[inner(shape, padding)].astype(y.dtype)


POOL_SUM = row(
    "pool_sum",
    kind="block",
    infer=_pool_sum_spec,
    reference=_pool_sum,
    grad=lambda g, x, out, **attrs: (POOL_SPREAD(g, shape=tuple(x.shape[1:-1]), **attrs),),
)
"""Sums over windows of the spatial axes; what lies in the padding counts as 0."""

POOL_SPREAD = row(
    "pool_spread",
    kind="block",
    infer=_pool_spread_spec,
    reference=_pool_spread,
    grad=lambda g, y, out, shape, **attrs: (POOL_SUM(g, **attrs),),
)
"""The transpose of POOL_SUM, with spatial sizes ``shape``: each element added to every place of its window."""


def _pool_max_spec(x: Spec, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> Spec:
    dtype = same_dtype("pool_max", (x,), REAL)
    return Spec(_pooled("pool_max", x.shape, window, strides, padding, dilation), dtype)


def lowest(dtype: DType) -> Any:
    """The identity of the maximum."""
    return np.asarray(np.iinfo(dtype).min if dtypes.is_integer(dtype) else -np.inf, dtype)


def _pool_max(x: np.ndarray, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> np.ndarray:
    shape = _pooled("pool_max", x.shape, window, strides, padding, dilation)
    padded = pad_spatial(x, padding, lowest(x.dtype))
    out = np.full(shape, lowest(x.dtype), x.dtype)
    for _, span in taps(window, shape[1:-1], strides, dilation):
        out = np.maximum(out, padded[span])
    return out


def _winner(x: np.ndarray, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> np.ndarray:
    """For each window the number of the tap with its first maximum (NaN is the maximum); -1 if all is padding."""
    shape = _pooled("pool_pick", x.shape, window, strides, padding, dilation)
    padded = pad_spatial(x, padding)
    real = pad_spatial(np.ones((1, *x.shape[1:-1], 1), bool), padding)
    best = np.zeros(shape, x.dtype)
    winner = np.full(shape, -1)
    for number, (_, span) in enumerate(taps(window, shape[1:-1], strides, dilation)):
        here = padded[span]
        better = real[span] & ((winner < 0) | (here > best) | ((here != here) & (best == best)))
        best, winner = np.where(better, here, best), np.where(better, number, winner)
    return winner


def _pool_pick_spec(x: Spec, h: Spec, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> Spec:
    same_dtype("pool_pick", (x,), REAL)
    dtype = same_dtype("pool_pick", (h,), NUMERIC)
    if x.shape != h.shape:
        raise ShapeError(f"pool_pick: {x.shape} and {h.shape} must be the same shape.")
    return Spec(_pooled("pool_pick", x.shape, window, strides, padding, dilation), dtype)


def _pool_pick(
    x: np.ndarray, h: np.ndarray, window: Shape, strides: Shape, padding: Pairs, dilation: Shape
) -> np.ndarray:
    winner = _winner(x, window, strides, padding, dilation)
    padded = pad_spatial(h, padding)
    out = np.zeros(winner.shape, h.dtype)
    for number, (_, span) in enumerate(taps(window, winner.shape[1:-1], strides, dilation)):
        out = np.where(winner == number, padded[span], out)
    return out


def _pool_unpick_spec(x: Spec, y: Spec, window: Shape, strides: Shape, padding: Pairs, dilation: Shape) -> Spec:
    same_dtype("pool_unpick", (x,), REAL)
    dtype = same_dtype("pool_unpick", (y,), NUMERIC)
    pooled = _pooled("pool_unpick", x.shape, window, strides, padding, dilation)
    if pooled != y.shape:
        raise ShapeError(f"pool_unpick: pooling {x.shape} gives {pooled}, not {y.shape}.")
    return Spec(x.shape, dtype)


def _pool_unpick(
    x: np.ndarray, y: np.ndarray, window: Shape, strides: Shape, padding: Pairs, dilation: Shape
) -> np.ndarray:
    winner = _winner(x, window, strides, padding, dilation)
    wide = y.astype(working_dtype(y.dtype))
    padded = pad_spatial(np.zeros(x.shape, wide.dtype), padding)
    for number, (_, span) in enumerate(taps(window, winner.shape[1:-1], strides, dilation)):
        padded[span] += np.where(winner == number, wide, np.zeros((), wide.dtype))
    return padded[inner(x.shape[1:-1], padding)].astype(y.dtype)


POOL_MAX = row(
    "pool_max",
    kind="block",
    infer=_pool_max_spec,
    reference=_pool_max,
    grad=lambda g, x, out, **attrs: (POOL_UNPICK(x, g, **attrs),),
)
"""Maxima over windows of the spatial axes; the padding never wins (a window of padding alone gives the least value)."""

POOL_PICK = row(
    "pool_pick",
    kind="block",
    infer=_pool_pick_spec,
    reference=_pool_pick,
    grad=lambda g, x, h, out, **attrs: (None, POOL_UNPICK(x, g, **attrs)),
)
"""``h`` where each window of ``x`` has its first maximum."""

POOL_UNPICK = row(
    "pool_unpick",
    kind="block",
    infer=_pool_unpick_spec,
    reference=_pool_unpick,
    grad=lambda g, x, y, out, **attrs: (None, POOL_PICK(x, g, **attrs)),
)
"""The transpose of POOL_PICK in ``h``: each element added where its window of ``x`` has its first maximum."""
