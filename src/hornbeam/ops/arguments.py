"""What operations do with their arguments before they compute: tensors, promotion, static values."""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.errors import TracingError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.operators import operand_dtype
from hornbeam.runtime.tensor import Tensor, as_tensor, is_static, static_value

HALF = (dtypes.float16, dtypes.bfloat16)
SCALARS = (bool, int, float, complex)


def operand(x: Any) -> Any:
    """``x`` as a tensor; Python scalars stay as they are, because they are weakly typed."""
    return x if isinstance(x, SCALARS) else as_tensor(x)


def inexact_dtype(dtype: DType) -> DType:
    """The dtype in which functions of real numbers are computed: integers and bools become floating."""
    if dtypes.is_inexact(dtype):
        return dtype
    return dtypes.float64 if dtype.itemsize == 8 else dtypes.float32


def inexact(x: Any) -> Any:
    """``x`` as a floating or complex tensor."""
    x = as_tensor(x)
    return x.astype(inexact_dtype(x.dtype))


def numeric(x: Any) -> Any:
    """``x`` as a tensor of numbers: bools become int32."""
    x = as_tensor(x)
    return x.astype(dtypes.int32) if x.dtype == dtypes.bool_ else x


def truth(x: Any) -> Any:
    """``x`` as a bool tensor: whether each element is not zero."""
    x = as_tensor(x)
    return x if x.dtype == dtypes.bool_ else x != 0


def wide(x: Any) -> Any:
    """A floating tensor for sums: half precision becomes float32, so that intermediate results do not overflow."""
    return x.astype(dtypes.float32) if x.dtype in HALF else x


def accumulator_dtype(dtype: DType) -> DType:
    """The dtype in which values are summed: integers in at least 32 bits."""
    if dtype == dtypes.bool_ or (dtype in dtypes.SIGNED and dtype.itemsize < 4):
        return dtypes.int32
    return dtypes.uint32 if dtype in dtypes.UNSIGNED and dtype.itemsize < 4 else dtype


def meeting(*operands: Any, dtype: Any = None) -> list[Any]:
    """Operands as tensors of the one dtype in which they meet (Python scalars weakly), or of ``dtype``."""
    values = [operand(x) for x in operands]
    met = operand_dtype(*values) if dtype is None else dtypes.as_dtype(dtype)
    return [as_tensor(v, met) for v in values]


def meeting_inexact(*operands: Any) -> list[Any]:
    """Operands as floating or complex tensors of the one dtype in which they meet."""
    values = [operand(x) for x in operands]
    return meeting(*values, dtype=inexact_dtype(operand_dtype(*values)))


def scalar(value: Any, dtype: DType) -> Any:
    """A 0-d constant."""
    return constant(np.asarray(value).astype(dtype))


def known(x: Any) -> bool:
    """Whether the value of ``x`` is known now: it is no tensor, or a concrete one, or made of constants only."""
    x = x.as_operand() if hasattr(x, "as_operand") else x
    return not isinstance(x, Tensor) or not x.is_symbolic or is_static(x)


def static(x: Any, what: str, fix: str) -> np.ndarray:
    """The value of ``x``, which decides a shape. Raises TracingError, saying ``what`` it is, if it is symbolic."""
    if not known(x):
        raise TracingError(
            explain(
                f"{what} is not known while tracing.",
                why="It decides the shape of the result, and shapes are static here.",
                fix=fix,
            )
        )
    return static_value(as_tensor(x) if hasattr(x, "as_operand") or hasattr(x, "__hornbeam_variable__") else x)
