"""What every function of one product shares: the product, its plan, counts that follow from them, addresses."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.engines.native.llvm import Function, Module, Value, index
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.gemm.arithmetic import divide, minus, plus_value, smaller, times
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
        # One step of k of a row or column, as it lies in a panel: a value to sum, or a pair of values.
        self.packed = dtypes.uint32 if how.pairs else self.p.compute
        self.steps = -(-self.p.k // how.per)
        self.depth = -(-part_depth(self.p, how.splits) // how.per)  # steps of one part
        self.blocks = max(1, -(-self.depth // max(1, how.kc)))
        # Sums of several parts of k, or of blocks that C would round, stand in the scratch until they are whole.
        self.apart = how.splits > 1 or (self.blocks > 1 and self.p.result != self.p.compute)

    @cached_property
    def packed_elements(self) -> int:
        """Of B, in one batch entry."""
        return -(-self.p.n // self.panel) * self.steps * self.panel if self.how.pack_b and not self.how.own_b else 0

    @cached_property
    def spans(self) -> set[int]:
        """How many k one block may have."""
        depth, most = self.depth * self.how.per, max(1, self.how.kc) * self.how.per
        parts = {max(0, min(depth, self.p.k - s * depth)) for s in range(self.how.splits)}
        return {min(most, part - k) for part in parts for k in range(0, part, most)} or {0}

    @cached_property
    def counts(self) -> set[int]:
        """How many steps one call of a tile function may get."""
        return {-(-k // self.how.per) for k in self.spans}

    def span(self, f: Function, first: Value, count: Value) -> Value:
        """How many k ``count`` steps from ``first`` on are: the last pair may lack its second."""
        ks = times(f, count, self.how.per)
        if self.p.k % self.how.per == 0:
            return ks
        return smaller(f, ks, minus(f, index(self.p.k), times(f, first, self.how.per)))

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

    def factor(self, f: Function, x: Value) -> Value:
        """``x`` as it is multiplied."""
        return x if self.how.pairs else f.cast(x, self.p.compute)

    def multiply_add(self, f: Function, x: Value, y: Value, z: Value) -> Value:
        if self.how.pairs:
            return f.add_pairs(x, y, z)
        if not dtypes.is_floating(x.dtype):
            return f.add(f.mul(x, y), z)
        return f.intrinsic("fma" if self.target.fma else "fmuladd", x, y, z)
