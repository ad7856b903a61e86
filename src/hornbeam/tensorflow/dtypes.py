"""TensorFlow's dtypes, which here are NumPy's; and ``TensorShape``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import (
    as_dtype,
    bfloat16,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from hornbeam.errors import ShapeError
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.graph import Shape

DType = np.dtype
bool = dtypes.bool_
half, double = float16, float64

__all__ = [
    "DType", "as_dtype", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "half", "bfloat16", "float32", "float64", "double", "complex64", "complex128",
    "TensorShape", "TensorSpec",
]  # fmt: skip


class TensorShape(Shape):
    """A shape in which None stands for a dimension that is not known. A tuple, with TensorFlow's methods."""

    def __new__(cls, dims: Sequence[int | None]) -> TensorShape:
        return super().__new__(cls, (None if d is None else int(d) for d in dims))

    def is_compatible_with(self, other: Any) -> Any:
        """Whether some shape fits both."""
        return len(self) == len(other) and all(a is None or b is None or a == b for a, b in zip(self, other))

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ShapeError if no shape fits both."""
        if not self.is_compatible_with(other):
            raise ShapeError(f"shapes {tuple(self)} and {tuple(other)} are not compatible.")

    def merge_with(self, other: Any) -> TensorShape:
        """What both say together. Raises ShapeError if they contradict each other."""
        self.assert_is_compatible_with(other)
        return TensorShape([b if a is None else a for a, b in zip(self, other)])

    def concatenate(self, other: Any) -> TensorShape:
        return TensorShape([*self, *other])

    def num_elements(self) -> int | None:
        return None if None in self else int(np.prod(self, dtype=np.int64))  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return TensorShape(found) if isinstance(index, slice) else found
