"""Two traces of one function, walked in step: the same rows everywhere, with dimensions that may differ."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Spec
from hornbeam.errors import ExportError
from hornbeam.export.dims import Dim, Dims, dim, dims_of
from hornbeam.ir.node import Node
from hornbeam.ir.primitives.movement import Literal
from hornbeam.ir.program import Program


class Pair:
    """A node of the first trace with the one in its place in the second."""

    def __init__(self, first: Node, second: Node) -> None:
        self.first, self.second = first, second

    @property
    def name(self) -> str:
        return self.first.primitive.name

    @property
    def specs(self) -> list[tuple[Spec, Spec]]:
        """The Specs of each result, in both traces."""
        if isinstance(self.first.spec, Spec):
            return [(self.first.spec, self.second.spec)]
        return list(zip(self.first.spec, self.second.spec, strict=True))

    @property
    def shape(self) -> Dims:
        return dims_of(self.first.spec, self.second.spec)

    @property
    def dtype(self) -> DType:
        return self.first.spec.dtype

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """The attributes, with an Unknown for every number that differs. Bodies are pairs (first, second)."""
        second = dict(self.second.attrs)
        return {key: self._merged(value, second[key]) for key, value in self.first.attrs}

    def _merged(self, first: Any, second: Any) -> Any:
        if isinstance(first, Program):
            return first, second
        if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second):
            return tuple(map(self._merged, first, second))
        if type(first) is int and type(second) is int:
            return dim(first, second)
        if isinstance(first, Literal):
            return self._merged_literal(first, second)
        if callable(first) and callable(second):  # a rule for gradients, made anew by every trace; it is not exported
            return first
        if type(first) is type(second) and first == second:
            return first
        raise different(self.first, self.second, f"{first} and {second}")

    def _merged_literal(self, first: Literal, second: Literal) -> Literal | Numbers | Counter:
        """A constant, or what depends on the sizes of the traces and can be computed: a mean divides by how many there
        are, positions are counted."""
        a, b = first.array, second.array
        counter = _counter(a, b) if a.ndim == b.ndim == 1 and a.dtype == b.dtype and a.shape != b.shape else None
        if counter is not None:
            return counter
        if a.shape == b.shape and a.dtype == b.dtype:
            if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
                return first
            if a.size <= FEW and _whole(a) and _whole(b):
                return Numbers(tuple(dim(int(m), int(n)) for m, n in zip(a.ravel(), b.ravel(), strict=True)))
        raise different(self.first, self.second, f"{first} and {second}")


FEW = 64  # elements of a constant that may be computed


class Numbers(NamedTuple):
    """The elements of a constant that depends on unknown dimensions."""

    elements: Dims


class Counter(NamedTuple):
    """A constant that counts: ``start + step * i`` for i below ``length``."""

    start: Dim
    step: int
    length: Dim


def _counter(a: np.ndarray, b: np.ndarray) -> Counter | None:
    """What two vectors of different length count, if they count alike and in whole numbers."""
    if min(len(a), len(b)) < 2 or not _whole(a) or not _whole(b):
        return None
    first, second, step = int(a[0]), int(b[0]), int(a[1]) - int(a[0])
    for start, array in ((first, a), (second, b)):
        if not np.array_equal(start + step * np.arange(len(array)), array):
            return None
    return Counter(dim(first, second), step, dim(len(a), len(b)))


def _whole(x: np.ndarray) -> bool:
    """Whether all are whole numbers."""
    return x.dtype.kind in "iuf" and bool(np.isfinite(x).all()) and np.array_equal(x, np.rint(x))


def paired(firsts: Sequence[Node], seconds: Sequence[Node]) -> list[tuple[Node, Node]]:
    """Every pair that the results need, arguments before users. Raises ExportError where the traces differ."""
    done: dict[tuple[Node, Node], None] = {}
    stack = [((a, b), False) for a, b in zip(firsts, seconds, strict=True)]
    while stack:
        pair, expanded = stack.pop()
        if pair in done:
            continue
        if expanded:
            done[pair] = None
            continue
        a, b = pair
        if a.primitive is not b.primitive or len(a.args) != len(b.args):
            raise different(a, b, f"{a.primitive.name} of {_operands(a)} and {b.primitive.name} of {_operands(b)}")
        stack.append((pair, True))
        stack.extend((args, False) for args in zip(a.args, b.args, strict=True) if args not in done)
    return list(done)


def _operands(node: Node) -> str:
    return ", ".join(str(a.spec) for a in node.args[:4]) + (", …" if len(node.args) > 4 else "")


def different(first: Node, second: Node, found: str) -> ExportError:
    line = first.line or second.line
    return ExportError(
        f"What is computed depends on the size of a dimension that the signature leaves open: for two sizes it is "
        f"{found}.\n"
        "  Usually Python loops over that dimension, asks whether it has a certain size, or makes an array of it.\n"
        "  Fix: give the dimension in the input signature, or use hb.scan, hb.where and hb.arange instead"
        + (f"\n  at {line}" if line else "")
    )
