"""What every function of one product shares: the product, its plan, counts that follow from them, addresses."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import Function, Module, Value, index
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.gemm.arithmetic import divide, plus_value, times
from hornbeam.engines.native.templates.gemm.plans import Plan, part_depth
from hornbeam.engines.native.templates.gemm.product import Epilogue, Product, Strides


class Emitter:
    """What the functions of one Product share. ``p`` is the product as computed: swapped if the plan says so."""

    def __init__(
        self,
        module: Module,
        name: str,
        product: Product,
        target: Target,
        how: Plan,
        epilogue: Epilogue | None,
        extra: tuple[str, ...],
    ) -> None:
        self.module, self.name, self.target, self.how = module, name, target, how
        self.p = product.swapped if how.swap else product
        if self.p.b.column != 1 and not how.pack_b:  # a vector of B must be contiguous
            self.how = how = replace(how, pack_b=True)
        self.epilogue, self.extra = epilogue, extra
        self.panel = how.nv * how.lanes
        self.depth = part_depth(self.p, how.splits)
        self.blocks = max(1, -(-self.depth // max(1, how.kc)))

    @cached_property
    def packed_elements(self) -> int:
        """Of B, in one batch entry."""
        return -(-self.p.n // self.panel) * self.p.k * self.panel if self.how.pack_b and not self.how.own_b else 0

    @cached_property
    def counts(self) -> set[int]:
        """How many k one call of a tile function may get."""
        parts = {max(0, min(self.depth, self.p.k - s * self.depth)) for s in range(self.how.splits)}
        blocks = {min(self.how.kc, part - k) for part in parts for k in range(0, part, max(1, self.how.kc))}
        return blocks or {0}

    @cached_property
    def shared_batches(self) -> int:
        """How many different B there are."""
        return self.p.batches if any(self.p.b.batch) else 1

    def function(self, name: str, *parameters: tuple[str, str], internal: bool = False) -> Function:
        f = Function(self.module, name, parameters, "nounwind ")
        f.header = f.header.replace("define void", "define internal void") if internal else f.header
        return f

    def phase_function(self, name: str) -> Function:
        pointers = [("ptr", x) for x in ("A", "B", "C", *self.extra, "scratch")]
        f = self.function(name, *pointers, ("i64", "chunk"))
        if self.how.swap:  # A of the computed product is B of the caller's
            f.header = f.header.replace("%A,", "%X,").replace("%B,", "%A,").replace("%X,", "%B,")
        return f

    def batch_address(self, f: Function, base: str, strides: Strides, batch: Value, dtype: DType) -> str:
        offset, rest = index(0), batch
        for size, stride in zip(reversed(self.p.batch), reversed(strides.batch), strict=True):
            rest, at = divide(f, rest, size)
            offset = plus_value(f, offset, times(f, at, stride))
        return f.address(base, offset, dtype)

    def multiply_add(self, f: Function, x: Value, y: Value, z: Value) -> Value:
        if not dtypes.is_floating(x.dtype):
            return f.add(f.mul(x, y), z)
        return f.intrinsic("fma" if self.target.fma else "fmuladd", x, y, z)
