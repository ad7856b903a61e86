"""``dot`` as a product of matrices: axes are grouped into batch, rows, columns and the contracted ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hornbeam.base.spec import Shape
from hornbeam.engines.native.affine import dense_strides, identity, offset
from hornbeam.engines.native.epilogue import Epilogue
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates import gemm
from hornbeam.engines.native.templates.gemm import Product, Strides
from hornbeam.ir.node import Node


def product_of(node: Node, strides: Sequence[Shape]) -> Product | None:
    """The Product that ``node`` is for operands with these strides; None if a group of axes has no one stride."""
    x, y = node.args
    attrs = dict(node.attrs)
    (xb, yb), (xc, yc) = attrs["batch"], attrs["contract"]
    xf = tuple(i for i in range(len(x.shape)) if i not in xb and i not in xc)
    yf = tuple(i for i in range(len(y.shape)) if i not in yb and i not in yc)
    groups = [(x.shape, strides[0], axes) for axes in (xf, xc)] + [(y.shape, strides[1], axes) for axes in (yc, yf)]
    steps = [_collapsed([s[a] for a in axes], [t[a] for a in axes]) for s, t, axes in groups]
    if any(s is None for s in steps):
        return None
    m, k, n = (_size(s, axes) for s, axes in ((x.shape, xf), (x.shape, xc), (y.shape, yf)))
    out = dense_strides(node.shape)
    rank = len(xb)
    return Product(
        m, n, k,
        Strides(tuple(strides[0][a] for a in xb), steps[0] or 0, steps[1] or 0),
        Strides(tuple(strides[1][a] for a in yb), steps[2] or 0, steps[3] or 0),
        Strides(out[:rank], n, 1),
        tuple(x.shape[a] for a in xb), x.dtype,
    )  # fmt: skip


def _size(shape: Shape, axes: Sequence[int]) -> int:
    size = 1
    for a in axes:
        size *= shape[a]
    return size


def _collapsed(sizes: Sequence[int], strides: Sequence[int]) -> int | None:
    """The one stride of several axes taken as one; None if there is none."""
    kept = [(d, s) for d, s in zip(sizes, strides, strict=True) if d != 1]
    if any(s != inner * d for (_, s), (d, inner) in pairwise(kept)):
        return None
    return kept[-1][1] if kept else 1


def operand_strides(fusion: Fusion, node: Node) -> Shape | None:
    """Element strides of ``node`` in the buffer that holds it, through transposes; None if it has no such buffer."""
    rank = len(node.shape)
    index = identity(rank)
    while not fusion.in_memory(node):
        if fusion.kinds.get(node) != "view" or node.primitive.name != "transpose":
            return None
        ((node, index),) = fusion.below(node, index, rank)
    return offset(index, node.shape, rank)[:-1]


def takes(node: Node) -> bool:
    """Whether dense operands can be multiplied as they are."""
    return node.dtype.kind != "b" and product_of(node, [dense_strides(a.shape) for a in node.args]) is not None


def reads_through(fusion: Fusion, node: Node, view: Node) -> bool:
    """Whether the product can read the argument ``view`` where it lies, without a copy."""
    strides = [operand_strides(fusion, a) or (dense_strides(a.shape) if a is not view else None) for a in node.args]
    return all(s is not None for s in strides) and product_of(node, [s for s in strides if s is not None]) is not None


def columns(node: Node) -> int:
    """How many of the result's last axes are the columns of the product, if there are several columns."""
    y, attrs = node.args[1], dict(node.attrs)
    free = [i for i in range(len(y.shape)) if i not in (*attrs["batch"][1], *attrs["contract"][1])]
    return len(free) if _size(y.shape, free) > 1 else 0


def emit(
    module: Module, fusion: Fusion, name: str, node: Node, machine: Target, epilogue: Epilogue | None = None
) -> list[Kernel]:
    """A kernel for each phase: packing, multiplying, adding what was split."""
    strides = [operand_strides(fusion, a) for a in node.args]
    found = product_of(node, [s for s in strides if s is not None])
    assert found is not None
    product = gemm.collapsed(found)
    x, y = (fusion.memory_of(a) for a in node.args)
    buffers: tuple[Node, ...] = (x, y, node)
    writes: tuple[Node, ...] = (node,)
    work = product.flops / 100
    if epilogue is None:
        code = module.shared(("gemm", product), lambda: gemm.emit(module, name, product, machine))
    else:
        epilogue.rows = product.m
        code = module.shared(
            ("gemm", product, epilogue.key),
            lambda: gemm.emit(module, name, product, machine, epilogue, epilogue.names),
        )
        buffers, writes = (x, y, epilogue.out, *epilogue.others), epilogue.written
        work += epilogue.nanoseconds
    return [
        Kernel(
            phase.name,
            buffers,
            phase.chunks,
            writes,
            product.flops if i == 0 else 0,
            code.scratch,
            chunked=True,
            nanoseconds=work,
        )
        for i, phase in enumerate(code.phases)
    ]
