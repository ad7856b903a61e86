"""What is asked for, a Product, and what comes back, a Gemm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import HALF, Function, Value


class Strides(NamedTuple):
    """Of an operand, in elements: ``batch`` has one per batch dimension."""

    batch: tuple[int, ...]
    row: int
    column: int

    @property
    def swapped(self) -> Strides:
        return Strides(self.batch, self.column, self.row)


@dataclass(frozen=True)
class Product:
    """C = A B for every index of ``batch``; C += A B if ``accumulate``. A is m x k, B is k x n."""

    m: int
    n: int
    k: int
    a: Strides
    b: Strides
    c: Strides
    batch: tuple[int, ...] = ()
    dtype: DType = dtypes.float32  # of A and B
    out: DType | None = None  # of C, if another
    accumulate: bool = False

    @property
    def result(self) -> DType:
        return self.out or self.dtype

    @property
    def compute(self) -> DType:
        """Of the sums: half precision is added in float32."""
        return dtypes.float32 if self.dtype in HALF else self.dtype

    @property
    def batches(self) -> int:
        return math.prod(self.batch)

    @property
    def swapped(self) -> Product:
        """The transposed product: C' = B' A'."""
        return replace(self, m=self.n, n=self.m, a=self.b.swapped, b=self.a.swapped, c=self.c.swapped)

    @property
    def flops(self) -> int:
        return 2 * self.batches * self.m * self.n * self.k


class Phase(NamedTuple):
    """``@name(ptr A, ptr B, ptr C, ptr extra ..., ptr scratch, i64 chunk)`` for every chunk, in any order."""

    name: str
    chunks: int


class Gemm(NamedTuple):
    """Code of a Product: run the phases in order. ``scratch`` is the bytes, aligned to 64, that all of them share."""

    phases: tuple[Phase, ...]
    scratch: int


Epilogue = Callable[[Function, Value, Value, Value, Value, "Value | None"], Value]
"""``(f, value, batch, row, column, mask) -> value`` to store: a vector of finished sums in row ``row``, columns from
``column`` on, of which ``mask`` exist. It may read ``%name`` of every ``extra`` pointer. Width 1 is possible."""
