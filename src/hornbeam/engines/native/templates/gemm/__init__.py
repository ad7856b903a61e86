"""Products of matrices: ``C[b, m, n] = sum over k of A[b, m, k] * B[b, k, n]``, written for one problem at a time.

Sizes and strides are known when the code is emitted, so every address is a constant offset and every edge a kernel of
its own. The shape of the computation, from the inside out:

    tile     MR rows x NV vectors of C in registers; a step of k broadcasts MR values of A onto NV vectors of B
    block    of a chunk: a range of rows and columns, k in steps of KC so that A's part stays in the second cache
    chunk    what one thread does at a time; chunks write disjoint parts of C
    phase    all chunks of one function; a phase starts when the one before has ended: pack B, multiply, add splits

Bits depend on (m, n, k, dtype) alone: not on strides, packing, tiles, blocks or threads. Each value of C is one chain
of fused multiply-adds over ascending k from +0; where k is long and C small, k is split into parts by shape alone and
the parts are added in order. With one row or one column, the chain is instead 16 interleaved chains (k mod 16) added as
a balanced tree, because those products are as good as dot products and must load k in vectors.

Half precision is widened to float32 as it is packed, once; C is rounded when its sums are complete. Where the CPU is
faster with pairs of bfloat16, panels hold pairs of k instead, in the order that makes the same chain: the bits are the
same but for subnormal operands and sums, which that instruction takes for 0.

    product.py     what is asked for, and what comes back
    plans.py       how it is computed: the sizes of all of the above
    emitter.py     what every function of one product shares
    blocks.py      phases, chunks and blocks, and what a product goes on with
    packing.py     panels of A and B laid out for the tiles
    tiles.py       tiles
    vector.py      products with one row or column
    sums.py        the parts of a split k, added
    arithmetic.py  offsets, masks and branches
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates.gemm.blocks import Blocks
from hornbeam.engines.native.templates.gemm.emitter import Emitter
from hornbeam.engines.native.templates.gemm.plans import Plan, plan
from hornbeam.engines.native.templates.gemm.product import Epilogue, Gemm, Phase, Product, Strides
from hornbeam.engines.native.templates.gemm.vector import emit_vector


def emit(
    module: Module,
    name: str,
    product: Product,
    target: Target,
    epilogue: Epilogue | None = None,
    extra: Sequence[str] = (),
    how: Plan | None = None,
) -> Gemm:
    """Add the functions of ``product`` to ``module``."""
    product = collapsed(product)
    if product.batches * product.m * product.n == 0:
        return Gemm((), 0)
    how = how or plan(product, target)
    emitter = Emitter(module, name, product, target, how, epilogue, tuple(extra))
    return emit_vector(emitter) if min(product.m, product.n) == 1 else Blocks(emitter).emit()


def collapsed(p: Product) -> Product:
    """Without batch dimensions of 1, and those that only A has taken as rows of A."""
    keep = [i for i, d in enumerate(p.batch) if d != 1]
    a, b, c = (Strides(tuple(s.batch[i] for i in keep), s.row, s.column) for s in (p.a, p.b, p.c))
    p = replace(p, batch=tuple(p.batch[i] for i in keep), a=a, b=b, c=c)
    while p.batch and p.b.batch[-1] == 0 and p.m > 1 and all(s.batch[-1] == p.m * s.row for s in (p.a, p.c)):
        a, b, c = (Strides(s.batch[:-1], s.row, s.column) for s in (p.a, p.b, p.c))
        p = replace(p, m=p.m * p.batch[-1], batch=p.batch[:-1], a=a, b=b, c=c)
    return p
