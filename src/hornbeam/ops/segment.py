"""Reductions over segments: rows that carry the same number are reduced to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import as_dim
from hornbeam.errors import DTypeError, ShapeError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.index import SCATTER
from hornbeam.ir.primitives.movement import BROADCAST
from hornbeam.ops.arguments import static
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = ["segment_sum", "segment_prod", "segment_max", "segment_min"]


def _smallest(dtype: DType) -> Any:
    return np.iinfo(dtype).min if dtypes.is_integer(dtype) else -np.inf


def _largest(dtype: DType) -> Any:
    return np.iinfo(dtype).max if dtypes.is_integer(dtype) else np.inf


def _reduction(name: str, mode: str, empty: Callable[[DType], Any], what: str, without: str) -> Callable[..., Any]:
    def segment(data: Any, segment_ids: Any, num_segments: int | None = None) -> Any:
        data, ids = as_tensor(data), as_tensor(segment_ids)
        if not dtypes.is_integer(ids.dtype):
            raise DTypeError(explain(f"{name}: segment_ids must be integers, got {ids.dtype.name}."))
        if ids.ndim != 1 or ids.shape != data.shape[:1]:
            raise ShapeError(
                explain(
                    f"{name}: segment_ids of shape {ids.shape} must have one number for each row of {data.shape}.",
                    fix="segment_ids.reshape((-1,)), and data with as many rows",
                )
            )
        if num_segments is None:
            known = static(ids, f"{name}: the number of segments", f"hb.{name}(data, segment_ids, num_segments=n)")
            num_segments = int(known.max()) + 1 if known.size else 0
        extreme_of_bools = data.dtype == dtypes.bool_ and mode in ("max", "min")
        rows = data.astype(dtypes.uint8) if extreme_of_bools else data
        start = constant(np.asarray(empty(rows.dtype)).astype(rows.dtype))
        out = BROADCAST(start, shape=(as_dim(num_segments), *data.shape[1:]))
        return SCATTER(out, ids.reshape((ids.shape[0], 1)), rows, axis=0, mode=mode).astype(data.dtype)

    segment.__name__ = segment.__qualname__ = name
    segment.__doc__ = f"""{what} of the rows of ``data`` with each number in ``segment_ids``; {without} if none.

    Rows with a number that is negative or not below ``num_segments`` (by default the largest plus 1) count nowhere.
    """
    return op(segment)


segment_sum = _reduction("segment_sum", "add", lambda dtype: 0, "The sum", "0")
segment_prod = _reduction("segment_prod", "mul", lambda dtype: 1, "The product", "1")
segment_max = _reduction("segment_max", "max", _smallest, "The maximum", "the dtype's smallest value")
segment_min = _reduction("segment_min", "min", _largest, "The minimum", "the dtype's largest value")
