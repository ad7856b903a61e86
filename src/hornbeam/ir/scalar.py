"""What a row's ``code`` is written against: a handler of scalar operations.

A loop body is a function of a handler, so printing it, evaluating it and emitting machine code for it are the same
body run under different handlers. ``NumpyScalars`` evaluates; the tests run every row's code under it and compare
with the row's ``reference``.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from hornbeam.base.dtypes import DType

Scalar = Any


class ScalarHandler(Protocol):
    """One value per lane. Operands of a binary operation have one dtype, conditions are bool."""

    def constant(self, value: Any, like: Scalar) -> Scalar: ...
    def add(self, x: Scalar, y: Scalar) -> Scalar: ...
    def sub(self, x: Scalar, y: Scalar) -> Scalar: ...
    def mul(self, x: Scalar, y: Scalar) -> Scalar: ...
    def div(self, x: Scalar, y: Scalar) -> Scalar: ...
    def neg(self, x: Scalar) -> Scalar: ...
    def compare(self, op: str, x: Scalar, y: Scalar) -> Scalar:
        """``op`` is one of ``eq ne lt le gt ge``; with NaN only ``ne`` holds."""

    def select(self, condition: Scalar, x: Scalar, y: Scalar) -> Scalar: ...
    def cast(self, x: Scalar, dtype: DType) -> Scalar: ...
    def call(self, name: str, *xs: Scalar) -> Scalar:
        """A function of the math library (``exp``, ``tanh``, ``max``, ``and`` …) by its row's name."""


class NumpyScalars:
    """Evaluates scalar code on NumPy values of any shape; math calls go to the function given for their name."""

    def __init__(self, functions: dict[str, Any]) -> None:
        self.functions = functions

    def constant(self, value: Any, like: Scalar) -> Scalar:
        return np.asarray(value, np.asarray(like).dtype)

    def add(self, x: Scalar, y: Scalar) -> Scalar:
        return np.add(x, y)

    def sub(self, x: Scalar, y: Scalar) -> Scalar:
        return np.subtract(x, y)

    def mul(self, x: Scalar, y: Scalar) -> Scalar:
        return np.multiply(x, y)

    def div(self, x: Scalar, y: Scalar) -> Scalar:
        return np.divide(x, y)

    def neg(self, x: Scalar) -> Scalar:
        return np.negative(x)

    def compare(self, op: str, x: Scalar, y: Scalar) -> Scalar:
        ufunc = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater"}
        return getattr(np, ufunc.get(op, "greater_equal"))(x, y)

    def select(self, condition: Scalar, x: Scalar, y: Scalar) -> Scalar:
        return np.where(condition, x, y)

    def cast(self, x: Scalar, dtype: DType) -> Scalar:
        return np.asarray(x).astype(dtype)

    def call(self, name: str, *xs: Scalar) -> Scalar:
        return self.functions[name](*xs)
