"""Linear algebra on matrices, the last two axes of a value, with all before them a batch. And the Fourier transform.

Real and complex, in single and double precision. A matrix that has no decomposition (not positive definite, not
finite) gives NaNs in its place of the batch and no exception: an engine cannot raise from the middle of a run.

The gradients are those of M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), I. Murray, "Differentiation of the Cholesky decomposition" (2016), M. Seeger et al.,
"Auto-differentiating linear algebra" (2017) and J. Townsend, "Differentiating the singular value decomposition"
(2016). Cotangents of complex values are paired without conjugation, so what is holomorphic (solve, LU, FFT) has one
rule for both; the others have theirs for real matrices only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape, Spec, broadcast_shapes
from hornbeam.errors import GradientError, ShapeError
from hornbeam.ir.grad import zeros_like
from hornbeam.ir.primitive import row
from hornbeam.ir.primitives.arith import ABS, CAST, LOG, SELECT, SIGN, same_dtype, scalar
from hornbeam.ir.primitives.index import ARGSORT, take_along_axis
from hornbeam.ir.primitives.movement import BROADCAST, CONCAT, IOTA, RESHAPE, SLICE, ints
from hornbeam.ir.primitives.reduce import PROD, SUM

COMPUTED = (dtypes.float32, dtypes.float64, *dtypes.COMPLEX)

# -- matrices, in the operators that users write -----------------------------------------------------------------------


def transposed(x: Any) -> Any:
    """The last two axes exchanged; complex numbers stay as they are."""
    rank = len(x.shape)
    return x.transpose((*range(rank - 2), rank - 1, rank - 2))


def part(x: Any, rows: slice = slice(None), columns: slice = slice(None)) -> Any:
    """A block of each matrix."""
    lead = tuple(x.shape[:-2])
    (a, b, _), (c, d, _) = rows.indices(x.shape[-2]), columns.indices(x.shape[-1])
    return SLICE(x, starts=(0,) * len(lead) + (a, c), limits=(*lead, b, d), strides=(1,) * (len(lead) + 2))


def masked(x: Any, keep: Callable[[Any, Any], Any]) -> Any:
    """``x`` where ``keep(row number, column number)``, zeros elsewhere."""
    shape = tuple(x.shape[-2:])
    i, j = (IOTA(shape=shape, axis=axis, dtype=dtypes.int32) for axis in (0, 1))
    return SELECT(keep(i, j), x, scalar(0, x))


def tril(x: Any, below: int = 0) -> Any:
    return masked(x, lambda i, j: i >= j + below)


def triu(x: Any, above: int = 0) -> Any:
    return masked(x, lambda i, j: j >= i + above)


def eye(n: int, dtype: Any) -> Any:
    i, j = (IOTA(shape=(n, n), axis=axis, dtype=dtypes.int32) for axis in (0, 1))
    return CAST(i == j, dtype=dtype)


def diagonal(x: Any) -> Any:
    """The main diagonals, as vectors."""
    k = min(x.shape[-2:])
    square = part(x, slice(k), slice(k))
    return SUM(masked(square, lambda i, j: i == j), axes=(len(x.shape) - 1,))


def column(v: Any) -> Any:
    """Vectors as matrices of one column."""
    return RESHAPE(v, shape=(*v.shape, 1))


def beside(v: Any) -> Any:
    """Vectors as matrices of one row, which scale columns: ``x * beside(v)`` is x diag(v)."""
    return RESHAPE(v, shape=(*v.shape[:-1], 1, v.shape[-1]))


# -- what the rows share ---------------------------------------------------------------------------------------------


def _matrices(name: str, x: Spec, square: bool = False) -> tuple[Shape, int, int]:
    """Batch, rows and columns of ``x``."""
    same_dtype(name, (x,), COMPUTED)
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected matrices (at least 2 axes), got shape {x.shape}.")
    *lead, m, n = x.shape
    if square and m != n:
        raise ShapeError(f"{name}: expected square matrices, got {m} x {n} in shape {x.shape}.")
    return tuple(lead), m, n


def _flag(name: str, *values: Any) -> None:
    if any(type(v) is not bool for v in values):
        raise TypeError(f"{name}: expected True or False, got {', '.join(map(repr, values))}.")


def _real_only(name: str, x: Any) -> None:
    if dtypes.is_complex(x.dtype):
        raise GradientError(f"{name} has no gradient for complex matrices; it has one for real ones.")


def _each(f: Callable[[np.ndarray], Any], x: np.ndarray, failed: Callable[[], Any]) -> Any:
    """``f`` of a stack of matrices. If NumPy refuses one of them, it gets ``failed()`` and the others their due."""
    try:
        return f(x)
    except np.linalg.LinAlgError:
        if x.ndim == 2:
            return failed()
    found = [_each(f, one, failed) for one in x.reshape(-1, *x.shape[-2:])]
    if not isinstance(found[0], tuple):
        return np.stack(found).reshape(*x.shape[:-2], *found[0].shape)
    return tuple(np.stack(v).reshape(*x.shape[:-2], *v[0].shape) for v in zip(*found, strict=True))


def _hermitian(x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x)
    return (x + np.conj(np.swapaxes(x, -1, -2))) * np.asarray(0.5, x.dtype)


def _nans(x: np.ndarray, *shapes: Shape) -> tuple[np.ndarray, ...]:
    return tuple(np.full(s, np.nan, x.dtype) for s in shapes)


def _zeros_for_none(gs: Any, outs: Any) -> list[Any]:
    return [zeros_like(o) if g is None else g for g, o in zip(gs, outs, strict=True)]


def _symmetric(x: Any) -> Any:
    return (x + transposed(x)) * 0.5


def _inverse_differences(x: Any) -> Any:
    """1 / (x_j - x_i), and 0 where they are equal: vectors are a choice there, and what ignores it has a gradient."""
    difference = beside(x) - column(x)
    same = difference == 0
    return SELECT(same, scalar(0, x), 1 / SELECT(same, scalar(1, x), difference))


# -- Cholesky ----------------------------------------------------------------------------------------------------------


def _square_spec(name: str) -> Callable[[Spec], Spec]:
    def infer(a: Spec) -> Spec:
        _matrices(name, a, square=True)
        return a

    return infer


def _cholesky(a: np.ndarray) -> np.ndarray:
    a = _hermitian(a)
    return _each(np.linalg.cholesky, a, lambda: np.tril(_nans(a, a.shape[-2:])[0]))


def _cholesky_grad(g: Any, a: Any, out: Any) -> tuple[Any]:
    """Murray 2016, (10): sym(L^-T Phi(L^T g) L^-1), Phi the lower triangle with its diagonal halved."""
    _real_only("cholesky", a)
    product = transposed(out) @ g
    phi = tril(product, 1) + masked(product, lambda i, j: i == j) * 0.5
    left = TRIANGULAR_SOLVE(out, phi, lower=True, transpose=True, unit=False)
    both = TRIANGULAR_SOLVE(out, transposed(left), lower=True, transpose=True, unit=False)
    return (_symmetric(both),)


CHOLESKY = row("cholesky", kind="block", infer=_square_spec("cholesky"), reference=_cholesky, grad=_cholesky_grad)
"""``CHOLESKY(a)``: lower L with L L^H = (a + a^H) / 2, so the gradient is symmetric too. NaNs in its lower triangle
where that is not positive definite."""

# -- triangular systems ------------------------------------------------------------------------------------------------


def _triangular_solve_spec(a: Spec, b: Spec, lower: bool, transpose: bool, unit: bool) -> Spec:
    _flag("triangular_solve", lower, transpose, unit)
    same_dtype("triangular_solve", (a, b), COMPUTED)
    lead, n, _ = _matrices("triangular_solve", a, square=True)
    if _matrices("triangular_solve", b)[:2] != (lead, n):
        raise ShapeError(f"triangular_solve: matrices {a.shape} and right-hand sides {b.shape} do not fit.")
    return b


def _triangular_solve(a: np.ndarray, b: np.ndarray, lower: bool, transpose: bool, unit: bool) -> np.ndarray:
    """Substitution, row after row, for all matrices of the batch at once."""
    a = np.ascontiguousarray(np.swapaxes(a, -1, -2) if transpose else a)
    x = np.array(b, order="C")
    n, forward = a.shape[-1], lower != transpose
    for i in range(n) if forward else reversed(range(n)):
        known = slice(0, i) if forward else slice(i + 1, n)
        x[..., i, :] -= np.sum(a[..., i, known, None] * x[..., known, :], axis=-2)
        if not unit:
            x[..., i, :] /= a[..., i, i, None]
    return x


def _triangular_solve_grad(
    g: Any, a: Any, b: Any, out: Any, lower: bool, transpose: bool, unit: bool
) -> tuple[Any, Any]:
    """Giles 2008, 2.3.1, with the other triangle (and a unit diagonal) held fixed."""
    db = TRIANGULAR_SOLVE(a, g, lower=lower, transpose=not transpose, unit=unit)

    def da() -> Any:
        outer = out @ transposed(db) if transpose else db @ transposed(out)
        return -(tril if lower else triu)(outer, int(unit))

    return da, db


TRIANGULAR_SOLVE = row(
    "triangular_solve",
    kind="block",
    infer=_triangular_solve_spec,
    reference=_triangular_solve,
    grad=_triangular_solve_grad,
)
"""``TRIANGULAR_SOLVE(a, b, lower, transpose, unit)``: x with a x = b, or a^T x = b. Only the triangle that
``lower`` tells is read, and with ``unit`` not its diagonal, taken as ones. A zero there gives Inf or NaN."""

# -- LU ----------------------------------------------------------------------------------------------------------------


def _lu_spec(a: Spec) -> tuple[Spec, Spec, Spec]:
    lead, m, n = _matrices("lu", a)
    return a, Spec((*lead, min(m, n)), dtypes.int32), Spec((*lead, m), dtypes.int32)


def _lu(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gaussian elimination: the largest of the column becomes the pivot, the first one if several are."""
    *lead, m, n = a.shape
    lu = np.array(a, order="C").reshape(math.prod(lead), m, n)
    batch, k = np.arange(len(lu)), min(m, n)
    pivots = np.zeros((len(lu), k), np.int32)
    permutation = np.tile(np.arange(m, dtype=np.int32), (len(lu), 1))
    for i in range(k):
        best = i + np.argmax(np.abs(lu[:, i:, i]), axis=1)
        pivots[:, i] = best
        for rows in (lu, permutation):
            rows[batch, best], rows[:, i] = rows[:, i].copy(), rows[batch, best]
        pivot = lu[:, i, i, None]
        lu[:, i + 1 :, i] /= np.where(pivot == 0, np.ones((), lu.dtype), pivot)  # then the whole column is 0
        lu[:, i + 1 :, i + 1 :] -= lu[:, i + 1 :, i, None] * lu[:, i, None, i + 1 :]
    return lu.reshape(a.shape), pivots.reshape(*lead, k), permutation.reshape(*lead, m)


def _lu_grad(gs: Any, a: Any, outs: Any) -> tuple[Any]:
    """With P a = L U square, dL = L tril(M) and dU = triu(M) U where M = L^-1 P da U^-1 (compare Seeger et al. 2017).

    Rows below the square solve L2 U = a2, columns beside it L U2 = a2, with the rules of solving.
    """
    g, (lu, _, permutation) = gs[0], outs
    if g is None:
        return (None,)
    m, n = a.shape[-2:]
    k = min(m, n)
    square, g_square = part(lu, slice(k), slice(k)), part(g, slice(k), slice(k))
    g_lower, g_upper = tril(g_square, 1), triu(g_square)
    rest = None
    if m > k:
        rest = _solve_upper_from_right(square, part(g, slice(k, m)))
        g_upper = g_upper - triu(transposed(part(lu, slice(k, m))) @ rest)
    elif n > k:
        rest = TRIANGULAR_SOLVE(square, part(g, columns=slice(k, n)), lower=True, transpose=True, unit=True)
        g_lower = g_lower - tril(rest @ transposed(part(lu, columns=slice(k, n))), 1)

    lower = tril(square, 1) + eye(k, a.dtype)
    inner = tril(transposed(lower) @ g_lower, 1) + triu(g_upper @ transposed(triu(square)))
    found = TRIANGULAR_SOLVE(square, inner, lower=True, transpose=True, unit=True)
    found = _solve_upper_from_right(square, found)
    if rest is not None:
        found = CONCAT(found, rest, axis=len(a.shape) - (2 if m > k else 1))
    return (take_along_axis(found, column(ARGSORT(permutation, axis=len(a.shape) - 2, descending=False)), -2),)


def _solve_upper_from_right(u: Any, b: Any) -> Any:
    """b U^-T, with U the upper triangle of ``u``."""
    return transposed(TRIANGULAR_SOLVE(u, transposed(b), lower=False, transpose=False, unit=False))


LU = row("lu", kind="block", infer=_lu_spec, reference=_lu, grad=_lu_grad, multiple=True)
"""``LU(a) -> (lu, pivots, permutation)``: U is the upper triangle of ``lu``, L the lower one with ones on its diagonal,
and L U = a[permutation]. Step i exchanged the rows i and pivots[i]."""

# -- QR ----------------------------------------------------------------------------------------------------------------


def _qr_spec(a: Spec, full: bool) -> tuple[Spec, Spec]:
    _flag("qr", full)
    lead, m, n = _matrices("qr", a)
    k = m if full else min(m, n)
    return Spec((*lead, m, k), a.dtype), Spec((*lead, k, n), a.dtype)


def _qr(a: np.ndarray, full: bool) -> tuple[np.ndarray, np.ndarray]:
    q, r = np.linalg.qr(np.ascontiguousarray(a), mode="complete" if full else "reduced")
    return q, r


def _qr_grad(gs: Any, a: Any, outs: Any, full: bool) -> tuple[Any]:
    """Seeger et al. 2017, 4.3: (gq + q copyltu(r gr^T - gq^T q)) r^-T. Columns beyond the square obey r2 = q^T a2."""
    _real_only("qr", a)
    m, n = a.shape[-2:]
    if full and m > n:
        raise GradientError(
            f"qr: the full decomposition of {m} x {n} matrices has no gradient, the columns of q beyond the first {n} "
            "are not determined.\n  Fix: the reduced one (full=False, mode='reduced')"
        )
    q, r = outs
    gq, gr = _zeros_for_none(gs, outs)
    beyond = []
    if n > m:
        g_beyond = part(gr, columns=slice(m, n))
        gq = gq + part(a, columns=slice(m, n)) @ transposed(g_beyond)
        beyond = [q @ g_beyond]
        r, gr = part(r, columns=slice(m)), part(gr, columns=slice(m))
    inner = r @ transposed(gr) - transposed(gq) @ q
    found = _solve_upper_from_right(r, gq + q @ (tril(inner) + transposed(tril(inner, 1))))
    return (CONCAT(found, *beyond, axis=len(a.shape) - 1),)


QR = row("qr", kind="block", infer=_qr_spec, reference=_qr, grad=_qr_grad, multiple=True)
"""``QR(a, full) -> (q, r)``: a = q r with orthonormal columns in ``q``, all of them if ``full``."""

# -- eigenvalues -------------------------------------------------------------------------------------------------------


def _eigh_spec(a: Spec) -> tuple[Spec, Spec]:
    lead, n, _ = _matrices("eigh", a, square=True)
    return Spec((*lead, n), dtypes.real_dtype(a.dtype)), a


def _eigh(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = _hermitian(a)

    def failed() -> tuple[np.ndarray, np.ndarray]:
        return _nans(np.real(a), a.shape[-1:])[0], _nans(a, a.shape[-2:])[0]

    return _each(lambda x: tuple(np.linalg.eigh(x)), a, failed)


def _eigh_grad(gs: Any, a: Any, outs: Any) -> tuple[Any]:
    """Giles 2008, 3.1: V (diag(gw) + F * (V^T gv)) V^T with F_ij = 1 / (w_j - w_i), made symmetric as ``a`` is."""
    _real_only("eigh", a)
    (gw, gv), (w, v) = gs, outs
    inner = zeros_like(v) if gw is None else masked(BROADCAST(beside(gw), shape=tuple(v.shape)), lambda i, j: i == j)
    if gv is not None:
        inner = inner + _inverse_differences(w) * (transposed(v) @ gv)
    return (_symmetric(v @ inner @ transposed(v)),)


EIGH = row("eigh", kind="block", infer=_eigh_spec, reference=_eigh, grad=_eigh_grad, multiple=True)
"""``EIGH(a) -> (w, v)``: eigenvalues of (a + a^H) / 2 in ascending order, and the eigenvectors as columns. Where
eigenvalues are equal, their vectors' gradient leaves out the undetermined turn among them."""


def _eig_spec(a: Spec) -> tuple[Spec, Spec]:
    lead, n, _ = _matrices("eig", a, square=True)
    dtype = dtypes.complex_dtype(a.dtype)
    return Spec((*lead, n), dtype), Spec(a.shape, dtype)


def _eig(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a = np.ascontiguousarray(a, dtypes.complex_dtype(a.dtype))
    return _each(lambda x: tuple(np.linalg.eig(x)), a, lambda: _nans(a, a.shape[-1:], a.shape[-2:]))


EIG = row("eig", kind="block", infer=_eig_spec, reference=_eig, multiple=True)  # no gradient yet
"""``EIG(a) -> (w, v)``: complex eigenvalues of any square matrix, in no set order, and eigenvectors as columns."""

# -- singular values ---------------------------------------------------------------------------------------------------


def _svd_spec(a: Spec, full: bool) -> tuple[Spec, Spec, Spec]:
    _flag("svd", full)
    lead, m, n = _matrices("svd", a)
    k = min(m, n)
    u, vh = ((m, m), (n, n)) if full else ((m, k), (k, n))
    return Spec((*lead, *u), a.dtype), Spec((*lead, k), dtypes.real_dtype(a.dtype)), Spec((*lead, *vh), a.dtype)


def _svd(a: np.ndarray, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a = np.ascontiguousarray(a)

    def failed() -> tuple[np.ndarray, ...]:
        one = Spec(a.shape[-2:], a.dtype)
        return tuple(np.full(s.shape, np.nan, s.dtype) for s in _svd_spec(one, full))

    return _each(lambda x: tuple(np.linalg.svd(x, full_matrices=full)), a, failed)


def _svd_grad(gs: Any, a: Any, outs: Any, full: bool) -> tuple[Any]:
    """Townsend 2016, (20) to (26), with F_ij = 1 / (s_j^2 - s_i^2)."""
    _real_only("svd", a)
    gu, gs_, gvh = gs
    m, n = a.shape[-2:]
    if full and m != n:
        if gu is not None or gvh is not None:
            raise GradientError(
                f"svd: the full decomposition of {m} x {n} matrices has no gradient through its vectors, those beyond "
                f"the first {min(m, n)} are not determined.\n  Fix: the reduced one (full_matrices=False)"
            )
        outs = SVD(a, full=False)  # whose vectors second derivatives can pass through
    u, s, vh = outs
    v, k = transposed(vh), min(m, n)
    inner = zeros_like(eye(k, a.dtype))
    if gs_ is not None:
        inner = masked(BROADCAST(beside(gs_), shape=(*s.shape, k)), lambda i, j: i == j)
    differences = _inverse_differences(s * s)
    if gu is not None:
        turn = transposed(u) @ gu
        inner = inner + differences * (turn - transposed(turn)) * beside(s)
    if gvh is not None:
        turn = vh @ transposed(gvh)
        inner = inner + column(s) * (differences * (turn - transposed(turn)))
    found = u @ inner @ vh
    if gu is not None and m > k:  # what leaves the space of u
        out_of_u = gu / beside(s)
        found = found + (out_of_u - u @ (transposed(u) @ out_of_u)) @ vh
    if gvh is not None and n > k:
        out_of_v = gvh / column(s)
        found = found + u @ (out_of_v - (out_of_v @ v) @ vh)
    return (found,)


SVD = row("svd", kind="block", infer=_svd_spec, reference=_svd, grad=_svd_grad, multiple=True)
"""``SVD(a, full) -> (u, s, vh)``: a = u diag(s) vh, s descending, u and vh orthonormal, square if ``full``."""

# -- Fourier -----------------------------------------------------------------------------------------------------------


def _fft_spec(x: Spec, rank: int, inverse: bool) -> Spec:
    ints("fft", (rank,))
    _flag("fft", inverse)
    same_dtype("fft", (x,), dtypes.COMPLEX)
    if not 1 <= rank <= x.ndim:
        raise ShapeError(f"fft: cannot transform the last {rank} axes of shape {x.shape}.")
    if 0 in x.shape[-rank:]:
        raise ShapeError(f"fft: nothing to transform, shape {x.shape} is empty along its last {rank} axes.")
    return x


def _fft(x: np.ndarray, rank: int, inverse: bool) -> np.ndarray:
    transform = np.fft.ifftn if inverse else np.fft.fftn
    return transform(np.ascontiguousarray(x), axes=tuple(range(-rank, 0))).astype(x.dtype, copy=False)


FFT = row(  # its matrix is symmetric, so with cotangents paired without conjugation it is its own transpose
    "fft",
    kind="block",
    infer=_fft_spec,
    reference=_fft,
    grad=lambda g, x, out, rank, inverse: (FFT(g, rank=rank, inverse=inverse),),
)
"""``FFT(x, rank, inverse)``: the Fourier transform over the last ``rank`` axes; the inverse divides by their size."""

# -- composites --------------------------------------------------------------------------------------------------------


def solve(a: Any, b: Any) -> Any:
    """x with a x = b. ``b`` is a stack of vectors if it has one axis less than ``a``, and of matrices otherwise.

    Leading axes broadcast. Raises ShapeError if the sizes do not fit. A singular ``a`` gives Inf or NaN.
    """
    if len(a.shape) >= 2 and len(b.shape) == len(a.shape) - 1:
        x = solve(a, column(b))
        return RESHAPE(x, shape=tuple(x.shape[:-1]))
    if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-2] != a.shape[-1] or a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"solve: matrices {tuple(a.shape)} and right-hand sides {tuple(b.shape)} do not fit.")
    lead = broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]), name="solve")
    a, b = (v if v.shape[:-2] == lead else BROADCAST(v, shape=(*lead, *v.shape[-2:])) for v in (a, b))
    lu, _, permutation = LU(a)
    b = take_along_axis(b, column(permutation), -2)
    y = TRIANGULAR_SOLVE(lu, b, lower=True, transpose=False, unit=True)
    return TRIANGULAR_SOLVE(lu, y, lower=False, transpose=False, unit=False)


def inverse(a: Any) -> Any:
    """a^-1. A singular matrix gives Inf or NaN."""
    n = a.shape[-1] if a.shape else 0
    return solve(a, BROADCAST(eye(n, a.dtype), shape=tuple(a.shape)))


def _parity(pivots: Any, dtype: Any) -> Any:
    """1 for an even number of exchanges, -1 for an odd one."""
    steps = IOTA(shape=(pivots.shape[-1],), axis=0, dtype=dtypes.int32)
    exchanges = SUM(CAST(pivots != steps, dtype=dtypes.int32), axes=(len(pivots.shape) - 1,))
    return CAST(1 - (exchanges & 1) * 2, dtype=dtype)


def slogdet(a: Any) -> tuple[Any, Any]:
    """The determinant's sign (of modulus 1 if complex, 0 if singular) and the logarithm of its absolute value."""
    _matrices("slogdet", Spec(tuple(a.shape), a.dtype), square=True)
    lu, pivots, _ = LU(a)
    pivot, last = diagonal(lu), (len(a.shape) - 2,)
    return _parity(pivots, a.dtype) * PROD(SIGN(pivot), axes=last), SUM(LOG(ABS(pivot)), axes=last)


def det(a: Any) -> Any:
    """The determinant. Its gradient is NaN where ``a`` is singular."""
    _matrices("det", Spec(tuple(a.shape), a.dtype), square=True)
    lu, pivots, _ = LU(a)
    return _parity(pivots, a.dtype) * PROD(diagonal(lu), axes=(len(a.shape) - 2,))
