"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.errors import ShapeError, explain
from hornbeam.ir.primitives.arith import SELECT, TANH, scalar
from hornbeam.ir.primitives.contract import DOT
from hornbeam.ir.primitives.reduce import HALF
from hornbeam.ops.activations import softmax
from hornbeam.ops.array import moveaxis
from hornbeam.ops.control import remat, scan
from hornbeam.ops.creation import arange, tri
from hornbeam.ops.op import op
from hornbeam.ops.padding import pad
from hornbeam.runtime.tensor import as_tensor

LARGE = 64 << 20  # bytes of logits that are computed at once
BLOCK = 16 << 20  # and of those of a block of queries, where all of them would be more


def _check(query: Any, key: Any, value: Any) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    if any(len(s) != 4 for s in shapes):
        raise ShapeError(
            explain(
                f"dot_product_attention: only supports 4D inputs (batch, time, heads, depth), got {shapes}.",
                fix="split the heads: x.reshape((batch, time, heads, -1))",
            )
        )
    (b, _, n, h), (kb, s, m, kh), (vb, vs, vm, _) = shapes
    if not (b == kb == vb and s == vs and m == vm and h == kh and m and n % m == 0):
        raise ShapeError(
            f"dot_product_attention: query {shapes[0]}, key {shapes[1]} and value {shapes[2]} do not fit: batches and "
            "depths must agree, key and value must have the same times and heads, and the query's heads be a multiple."
        )


def _per_head(name: str, x: Any, shape: tuple[int, ...]) -> Any:
    """A bias or mask, broadcastable to the logits (batch, heads, times, times)."""
    rank = x.ndim
    if rank == 3 and x.shape[1] == shape[1] and x.shape[1] != shape[2]:
        x = x.reshape((*x.shape[:2], 1, x.shape[2]))
    elif rank == 3:
        x = x.reshape((x.shape[0], 1, *x.shape[1:]))
    if x.ndim > 4 or any(a not in (1, b) for a, b in zip(reversed(x.shape), reversed(shape))):
        raise ShapeError(f"dot_product_attention: {name} {tuple(x.shape)} does not broadcast to the logits {shape}.")
    return x


@op
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    soft_cap: float | None = None,
) -> Any:
    """softmax(query · key * scale + bias) · value, for each batch and head; inputs are (batch, time, heads, depth).

    Keys and values may have fewer heads, each serving several of the query's (grouped-query attention). Of half
    precision, the logits and their softmax are computed in float32. Where the logits would take more than ``LARGE``
    bytes, there are never more of them at a time than take ``BLOCK``, neither here nor in the gradient: queries are
    taken in blocks, whose logits the gradient computes again.

    Args:
        bias: added to the logits, of a shape that broadcasts to (batch, heads, query times, key times).
        mask: such a shape of bools; False hides a key from a query. A row that hides all keys weighs them equally.
        scale: 1 / sqrt(depth) by default.
        is_causal: whether each time sees only keys up to its own.
        soft_cap: limits the logits smoothly to (-soft_cap, soft_cap), by ``soft_cap * tanh(logits / soft_cap)``.
    """
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    _check(query, key, value)
    dtype = dtypes.result_type(query, key, value)
    dtype = dtype if dtypes.is_floating(dtype) else dtypes.float32
    query, key, value = query.astype(dtype), key.astype(dtype), value.astype(dtype)
    wide = dtypes.float32 if dtype in HALF else dtype
    batch, times, heads, depth = query.shape
    groups, sources = key.shape[2], key.shape[1]

    shape = (batch, heads, times, sources)
    bias = None if bias is None else _per_head("bias", as_tensor(bias).astype(wide), shape)
    mask = None if mask is None else _per_head("mask", as_tensor(mask).astype("bool"), shape)

    def attend(q: Any, key: Any, value: Any, bias: Any, mask: Any, past: Any) -> Any:
        """Some of the queries, to which ``past`` says which keys are not later than they are."""
        rows = q.shape[1]
        q = q.astype(wide) * (1 / math.sqrt(depth) if scale is None else scale)
        if groups == heads:
            logits = DOT(q, key.astype(wide), batch=((0, 2), (0, 2)), contract=((3,), (3,)))
        else:
            q = q.reshape((batch, rows, groups, heads // groups, depth)).transpose((0, 2, 3, 1, 4))
            logits = DOT(q, key.astype(wide), batch=((0, 1), (0, 2)), contract=((4,), (3,)))
            logits = logits.reshape((batch, heads, rows, sources))
        if bias is not None:
            logits = logits + bias
        if soft_cap is not None:
            logits = TANH(logits / soft_cap) * soft_cap
        visible = past if mask is None else mask if past is None else mask & past
        if visible is not None:
            hidden = -0.7 * float(np.finfo(wide).max)  # finite, so that a row without any key is no NaN
            logits = SELECT(visible, logits, scalar(hidden, logits))
        weights = softmax(logits).astype(dtype)
        if groups == heads:
            return DOT(weights, value, batch=((0, 1), (0, 2)), contract=((3,), (1,))).transpose((0, 2, 1, 3))
        weights = weights.reshape((batch, groups, heads // groups, rows, sources))
        out = DOT(weights, value, batch=((0, 1), (0, 2)), contract=((4,), (1,)))
        return out.reshape((batch, heads, rows, value.shape[3])).transpose((0, 2, 1, 3))

    row_bytes = batch * heads * sources * wide.itemsize
    if times * row_bytes <= LARGE:
        past = tri(times, sources, dtype="bool") if is_causal else None
        return attend(query, key, value, bias, mask, past)

    rows = max(1, min(BLOCK // row_bytes, times))
    again = remat(attend)

    def block(_: Any, x: dict[str, Any]) -> Any:
        past = None
        if is_causal:
            past = (arange(rows, dtype="int32") + x["first"])[:, None] >= arange(sources, dtype="int32")
        return (), again(x["query"], key, value, x.get("bias", bias), x.get("mask", mask), past)

    blocks = -(-times // rows)
    parts = {"query": _in_blocks(query, 1, rows), "first": arange(blocks, dtype="int32") * rows}
    parts |= {name: _in_blocks(x, x.ndim - 2, rows)
              for name, x in (("bias", bias), ("mask", mask)) if x is not None and x.ndim > 1 and x.shape[-2] > 1}
    out = scan(block, (), parts)[1]  # (blocks, batch, rows, heads, depth)
    out = out.transpose((1, 0, 2, 3, 4)).reshape((batch, blocks * rows, heads, value.shape[3]))
    return out[:, :times]


def _in_blocks(x: Any, axis: int, rows: int) -> Any:
    """``x`` with ``axis`` split into blocks of ``rows``, filled up with zeros, along a new first axis."""
    missing = -x.shape[axis] % rows
    x = pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)])
    x = x.reshape((*x.shape[:axis], x.shape[axis] // rows, rows, *x.shape[axis + 1 :]))
    return moveaxis(x, axis, 0)
