"""Linear algebra on stacks of matrices, the last two axes. Half precision is computed in float32.

Where a matrix has no answer (singular, not positive definite) the result holds Inf or NaN, in every mode alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import as_axes, as_axis, as_dim, broadcast_shapes
from hornbeam.errors import ShapeError, explain
from hornbeam.ir.primitives import linalg as rows
from hornbeam.ir.primitives.arith import (
    ABS,
    CAST,
    CEIL,
    CONJ,
    LOG,
    MAX,
    MIN,
    POW,
    SELECT,
    SQRT,
    scalar,
)
from hornbeam.ir.primitives.linalg import (
    CHOLESKY,
    EIG,
    EIGH,
    LU,
    QR,
    SVD,
    TRIANGULAR_SOLVE,
    transposed,
)
from hornbeam.ir.primitives.movement import BROADCAST
from hornbeam.ir.primitives.reduce import REDUCE_MAX, REDUCE_MIN, kept_shape
from hornbeam.ops.arguments import inexact, meeting_inexact, wide
from hornbeam.ops.op import op

__all__ = [
    "cholesky", "cholesky_inverse", "det", "slogdet", "logdet", "eig", "eigh", "eigvals", "eigvalsh", "inv",
    "lu_factor", "qr", "svd", "svdvals", "solve", "solve_triangular", "lstsq", "pinv", "matrix_power", "matrix_rank",
    "expm", "norm", "cdist",
]  # fmt: skip

# -- arguments ---------------------------------------------------------------------------------------------------------


def _matrices(name: str, x: Any, *, square: bool = False) -> tuple[Any, DType]:
    """``x`` as matrices to compute with, and the dtype that results should have."""
    x = inexact(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        wanted = "square matrices" if square else "matrices"
        raise ShapeError(
            explain(
                f"{name}: expected {wanted} (the last two axes), got shape {x.shape}.",
                why="Leading axes are a batch; the matrices come last.",
                fix="x[None] makes a vector a matrix of one row",
            )
        )
    return wide(x), x.dtype


def _like(x: Any, dtype: DType) -> Any:
    """Results in the dtype of the argument: half precision again, or the real part's."""
    if dtype in (dtypes.float16, dtypes.bfloat16):
        return x.astype(dtype)
    return x


def _adjoint(x: Any) -> Any:
    """Transposed and conjugated."""
    x = transposed(x)
    return CONJ(x) if dtypes.is_complex(x.dtype) else x


def _pair(name: str, a: Any, b: Any) -> tuple[Any, Any, DType]:
    """Matrices and right-hand sides in the dtype in which they meet."""
    a, b = meeting_inexact(a, b)
    a, dtype = _matrices(name, a, square=name != "lstsq")
    return a, wide(b), dtype


def _epsilon(dtype: DType) -> float:
    return float(np.finfo(dtypes.real_dtype(dtype)).eps)


# -- decompositions ----------------------------------------------------------------------------------------------------


@op
def cholesky(a: Any, upper: bool = False) -> Any:
    """The lower triangular L with L L^H = a, or its adjoint; NaN where ``a`` is not positive definite."""
    a, dtype = _matrices("cholesky", a, square=True)
    factor = CHOLESKY(a)
    return _like(_adjoint(factor) if upper else factor, dtype)


@op
def cholesky_inverse(a: Any, upper: bool = False) -> Any:
    """The inverse of the matrix whose Cholesky factor is ``a``."""
    a, dtype = _matrices("cholesky_inverse", a, square=True)
    lower = _adjoint(a) if upper else a
    unit = BROADCAST(rows.eye(a.shape[-1], a.dtype), shape=a.shape)
    half = TRIANGULAR_SOLVE(lower, unit, lower=True, transpose=False, unit=False)
    return _like(_adjoint(half) @ half, dtype)


@op
def lu_factor(a: Any) -> tuple[Any, Any]:
    """``(lu, pivots)``: U and, below its diagonal, L without its ones; step i exchanged the rows i and pivots[i]."""
    a, dtype = _matrices("lu_factor", a)
    lu, pivots, _ = LU(a)
    return _like(lu, dtype), pivots


@op
def qr(x: Any, mode: str = "reduced") -> tuple[Any, Any]:
    """``(q, r)``: x = q r, ``q`` with orthonormal columns (all of them if ``mode`` is complete), ``r`` triangular."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"qr: mode {mode!r} is not supported. Expected one of {{'reduced', 'complete'}}.")
    x, dtype = _matrices("qr", x)
    q, r = QR(x, full=mode == "complete")
    return _like(q, dtype), _like(r, dtype)


@op
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """``(u, s, vh)``: x = u diag(s) vh, ``s`` descending; only ``s`` without ``compute_uv``."""
    x, dtype = _matrices("svd", x)
    u, s, vh = SVD(x, full=bool(full_matrices and compute_uv))
    return (_like(u, dtype), _like(s, dtype), _like(vh, dtype)) if compute_uv else _like(s, dtype)


@op
def svdvals(x: Any) -> Any:
    """The singular values, descending."""
    return svd(x, compute_uv=False)


@op
def eigh(a: Any) -> tuple[Any, Any]:
    """``(w, v)``: ascending eigenvalues and, as columns, eigenvectors of symmetric or Hermitian matrices."""
    a, dtype = _matrices("eigh", a, square=True)
    w, v = EIGH(a)
    return _like(w, dtype), _like(v, dtype)


@op
def eigvalsh(a: Any) -> Any:
    """The ascending eigenvalues of symmetric or Hermitian matrices."""
    return eigh(a)[0]


@op
def eig(a: Any) -> tuple[Any, Any]:
    """``(w, v)``: complex eigenvalues and, as columns, eigenvectors of any square matrices. They have no gradient."""
    w, v = EIG(_matrices("eig", a, square=True)[0])
    return w, v


@op
def eigvals(a: Any) -> Any:
    """The complex eigenvalues of any square matrices."""
    return eig(a)[0]


# -- determinants and inverses -----------------------------------------------------------------------------------------


@op
def det(a: Any) -> Any:
    """The determinant."""
    a, dtype = _matrices("det", a, square=True)
    return _like(rows.det(a), dtype)


@op
def slogdet(a: Any) -> tuple[Any, Any]:
    """``(sign, logarithm of the absolute value)`` of the determinant, where it would overflow."""
    a, dtype = _matrices("slogdet", a, square=True)
    sign, log = rows.slogdet(a)
    return _like(sign, dtype), _like(log, dtype)


@op
def logdet(a: Any) -> Any:
    """The logarithm of the determinant's absolute value."""
    return slogdet(a)[1]


@op
def inv(a: Any) -> Any:
    """The inverse."""
    a, dtype = _matrices("inv", a, square=True)
    return _like(rows.inverse(a), dtype)


@op
def solve(a: Any, b: Any) -> Any:
    """x with a x = b; ``b`` holds vectors if it has one axis less than ``a``, and else matrices."""
    a, b, dtype = _pair("solve", a, b)
    return _like(rows.solve(a, b), dtype)


@op
def solve_triangular(
    a: Any, b: Any, lower: bool = False, *, transpose: bool = False, unit_diagonal: bool = False
) -> Any:
    """x with a x = b (or a^T x = b), ``a`` being triangular; its other triangle is not read.

    ``b`` holds vectors if it has one axis less than ``a``, and else matrices.
    """
    a, b, dtype = _pair("solve_triangular", a, b)
    vectors = b.ndim == a.ndim - 1
    if vectors:
        b = b.reshape((*b.shape, 1))
    if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
        raise ShapeError(f"solve_triangular: matrices {a.shape} and right-hand sides {b.shape} do not fit.")
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2], name="solve_triangular")
    a, b = (BROADCAST(v, shape=(*lead, *v.shape[-2:])) if v.shape[:-2] != lead else v for v in (a, b))
    x = TRIANGULAR_SOLVE(a, b, lower=bool(lower), transpose=bool(transpose), unit=bool(unit_diagonal))
    return _like(x.reshape(x.shape[:-1]) if vectors else x, dtype)


def _inverted(s: Any, cutoff: Any) -> Any:
    """1 / s, and 0 where ``s`` is not above ``cutoff``."""
    kept = s > cutoff
    return SELECT(kept, 1 / SELECT(kept, s, scalar(1, s)), scalar(0, s))


def _largest(s: Any) -> Any:
    """The largest singular value, with its axis kept."""
    return s[..., :1]


@op
def pinv(x: Any, rcond: Any = None) -> Any:
    """The Moore-Penrose inverse. Singular values below ``rcond`` times the largest count as 0.

    Args:
        rcond: 10 times the larger side times the dtype's precision by default.
    """
    x, dtype = _matrices("pinv", x)
    m, n = x.shape[-2:]
    if 0 in (m, n):
        return _like(transposed(x), dtype)
    rcond = 10 * max(m, n) * _epsilon(x.dtype) if rcond is None else rcond
    u, s, vh = SVD(x, full=False)
    inverted = _inverted(s, _largest(s) * rcond).astype(x.dtype)
    return _like((_adjoint(vh) * rows.beside(inverted)) @ _adjoint(u), dtype)


@op
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The x that comes closest to a x = b, the shortest one if several do.

    Args:
        b: a vector, or a matrix of columns.
        rcond: singular values below it times the largest count as 0; the larger side times the precision by default.
    """
    a, b, dtype = _pair("lstsq", a, b)
    vectors = b.ndim == a.ndim - 1
    if vectors:
        b = b.reshape((*b.shape, 1))
    if b.ndim < 2 or a.shape[-2] != b.shape[-2]:
        raise ShapeError(f"lstsq: matrices {a.shape} and right-hand sides {b.shape} do not fit.")
    rcond = max(a.shape[-2:]) * _epsilon(a.dtype) if rcond is None else rcond
    u, s, vh = SVD(a, full=False)
    inverted = _inverted(s, _largest(s) * rcond).astype(a.dtype)
    x = _adjoint(vh) @ (rows.column(inverted) * (_adjoint(u) @ b))
    return _like(x.reshape(x.shape[:-1]) if vectors else x, dtype)


@op
def matrix_rank(x: Any, tol: Any = None) -> Any:
    """How many singular values are above ``tol``: the largest times the larger side times the precision by default."""
    x, _ = _matrices("matrix_rank", x)
    s = SVD(x, full=False)[1]
    if tol is None:
        tol = _largest(s) * (max(x.shape[-2:]) * _epsilon(x.dtype))
    return CAST(s > tol, dtype=dtypes.int32).sum(-1)


@op
def matrix_power(a: Any, n: int) -> Any:
    """``a`` multiplied by itself, ``n`` times; its inverse if ``n`` is negative."""
    a, dtype = _matrices("matrix_power", a, square=True)
    n = as_dim(n)
    if n < 0:
        a, n = rows.inverse(a), -n
    out = None
    while n:
        if n & 1:
            out = a if out is None else out @ a
        n >>= 1
        a = a @ a if n else a
    return _like(BROADCAST(rows.eye(a.shape[-1], a.dtype), shape=a.shape) if out is None else out, dtype)


_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
    670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
_SQUARINGS = 24


@op
def expm(a: Any) -> Any:
    """The exponential of matrices.

    N. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005: a quotient of polynomials
    of degree 13 where the norm is below 5.37 (3.93 in single precision), halved until it is; up to 24 times.
    """
    a, dtype = _matrices("expm", a, square=True)
    size = REDUCE_MAX(ABS(a).sum(-2), axes=(a.ndim - 2,))
    limit = 5.371920351148152 if dtypes.real_dtype(a.dtype) == dtypes.float64 else 3.925724783138660
    few = scalar(0, size)
    halvings = MIN(MAX(CEIL(LOG(MAX(size / limit, scalar(1e-30, size))) / math.log(2)), few), scalar(_SQUARINGS, few))
    scale = POW(scalar(0.5, size), halvings)
    x = a * scale.reshape((*scale.shape, 1, 1)).astype(a.dtype)
    one = rows.eye(a.shape[-1], a.dtype)
    # Both polynomials divided by their constant term, lest they overflow: only their quotient counts.
    b = [float(c) / _PADE[0] for c in _PADE]
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    odd = x @ (x6 @ (x6 * b[13] + x4 * b[11] + x2 * b[9]) + x6 * b[7] + x4 * b[5] + x2 * b[3] + one * b[1])
    even = x6 @ (x6 * b[12] + x4 * b[10] + x2 * b[8]) + x6 * b[6] + x4 * b[4] + x2 * b[2] + one * b[0]
    out = rows.solve(even - odd, even + odd)
    for i in range(_SQUARINGS):
        again = halvings > i
        again = again.reshape((*again.shape, 1, 1))
        # What is not squared further must not overflow either, or its gradient would be NaN.
        factor = SELECT(again, out, BROADCAST(one, shape=out.shape))
        out = SELECT(again, factor @ factor, out)
    return _like(out, dtype)


# -- norms and distances -----------------------------------------------------------------------------------------------


def _length(squares: Any) -> Any:
    """The square root of sums of squares; its gradient is 0 at 0."""
    positive = squares > 0
    return SELECT(positive, SQRT(SELECT(positive, squares, scalar(1, squares))), SELECT(positive, squares, squares * 0))


def _squares(x: Any) -> Any:
    if dtypes.is_complex(x.dtype):
        size = ABS(x)
        return size * size
    return x * x


def _vector_norm(x: Any, order: Any, axes: tuple[int, ...]) -> Any:
    if order in (None, 2):
        return _length(_squares(x).sum(axes))
    size = ABS(x)
    if order == math.inf:
        return REDUCE_MAX(size, axes=axes)
    if order == -math.inf:
        return REDUCE_MIN(size, axes=axes)
    if order == 0:
        return CAST(size != 0, dtype=size.dtype).sum(axes)
    if order == 1:
        return size.sum(axes)
    total = POW(size, scalar(order, size)).sum(axes)
    return POW(total, scalar(1 / order, total))


_MATRIX_ORDERS: dict[Any, Callable[[Any, int], Any]] = {
    "fro": lambda x, last: _length(_squares(x).sum((last - 1, last))),
    "nuc": lambda x, last: SVD(x, full=False)[1].sum(-1),
    2: lambda x, last: REDUCE_MAX(SVD(x, full=False)[1], axes=(last - 1,)),
    -2: lambda x, last: REDUCE_MIN(SVD(x, full=False)[1], axes=(last - 1,)),
    1: lambda x, last: REDUCE_MAX(ABS(x).sum(last - 1), axes=(last - 1,)),
    -1: lambda x, last: REDUCE_MIN(ABS(x).sum(last - 1), axes=(last - 1,)),
    math.inf: lambda x, last: REDUCE_MAX(ABS(x).sum(last), axes=(last - 1,)),
    -math.inf: lambda x, last: REDUCE_MIN(ABS(x).sum(last), axes=(last - 1,)),
}


@op
def norm(x: Any, ord: Any = None, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The norm of vectors (one axis) or matrices (two axes), as NumPy defines its orders.

    Args:
        ord: for vectors a number or ±inf; for matrices fro, nuc, ±1, ±2 or ±inf. None is the Euclidean norm of all.
        axis: None for all axes; with ``ord`` there must be one or two then.
    """
    x = inexact(x)
    dtype, x = x.dtype, wide(x)
    given: tuple[int, ...]
    if axis is None:
        given = tuple(range(x.ndim))
        if ord is not None and x.ndim not in (1, 2):
            raise ShapeError(
                explain(f"norm: with an order, {x.ndim} axes need an `axis`.", fix=f"norm(x, {ord!r}, axis=-1)")
            )
    else:
        given = tuple(as_axis(a, x.ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    axes = as_axes(given, x.ndim)
    if ord is None:
        out = _length(_squares(x).sum(axes)) if axes else ABS(x)
    elif len(axes) == 1:
        if isinstance(ord, str):
            raise ValueError(f"norm: order {ord!r} is for matrices (two axes); vectors take a number.")
        out = _vector_norm(x, ord, axes)
    elif len(axes) == 2:
        if ord not in _MATRIX_ORDERS:
            raise ValueError(f"norm: order {ord!r} is not one of {', '.join(map(str, _MATRIX_ORDERS))} for matrices.")
        moved = x.transpose((*(i for i in range(x.ndim) if i not in given), *given))
        out = _MATRIX_ORDERS[ord](moved, x.ndim - 1)
    else:
        raise ShapeError(f"norm: one axis for vectors or two for matrices, got {given}.")
    out = out.reshape(kept_shape(x.shape, axes)) if keepdims else out
    return _like(out, dtype)


@op
def cdist(x: Any, y: Any) -> Any:
    """The Euclidean distance of each row of ``x`` (..., m, d) to each row of ``y`` (..., n, d); 0 has gradient 0."""
    x, y = meeting_inexact(x, y)
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"cdist: {x.shape} and {y.shape} must be rows of points (at least 2 axes) of one dimension.")
    apart = wide(x)[..., :, None, :] - wide(y)[..., None, :, :]
    return _like(_length(_squares(apart).sum(-1)), x.dtype)
