"""``tf.linalg``: decompositions, solving, norms, diagonals."""

from __future__ import annotations

from typing import Any

from hornbeam.errors import ShapeError
from hornbeam.ops import array as arrays
from hornbeam.ops import contraction, linalg, padding
from hornbeam.ops import math as maths
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow import arrays as root
from hornbeam.tensorflow import math
from hornbeam.tensorflow.arrays import eye, matmul
from hornbeam.tensorflow.names import absent, ints, op, table

FUNCTIONS = {
    "det": linalg.det, "slogdet": linalg.slogdet, "logdet": linalg.logdet, "expm": linalg.expm, "eig": linalg.eig,
    "eigvals": linalg.eigvals, "eigh": linalg.eigh, "eigvalsh": linalg.eigvalsh, "trace": arrays.trace,
    "cross": contraction.cross,
}  # fmt: skip
globals().update(table(FUNCTIONS))
einsum, norm, tensordot = root.einsum, root.norm, root.tensordot
global_norm, l2_normalize = math.global_norm, math.l2_normalize


def _adjoint(x: Any) -> Any:
    return maths.conj(arrays.swapaxes(x, -1, -2))


@op
def cholesky(input: Any) -> Any:
    """The lower triangular L with L Lᴴ = x."""
    return linalg.cholesky(input)


@op
def inv(input: Any, adjoint: bool = False) -> Any:
    """The inverse matrix."""
    return linalg.inv(_adjoint(input) if adjoint else input)


@op
def pinv(a: Any, rcond: Any = None) -> Any:
    """The Moore-Penrose inverse."""
    return linalg.pinv(a, rcond)


@op
def solve(matrix: Any, rhs: Any, adjoint: bool = False) -> Any:
    """x with matrix x = rhs."""
    return linalg.solve(_adjoint(matrix) if adjoint else matrix, rhs)


@op
def triangular_solve(matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False) -> Any:
    """x with matrix x = rhs, reading one triangle of the matrix only."""
    matrix = _adjoint(matrix) if adjoint else as_tensor(matrix)
    return linalg.solve_triangular(matrix, rhs, lower=lower != adjoint)


@op
def lstsq(matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True) -> Any:
    """x for which matrix x is nearest to rhs."""
    if not l2_regularizer:
        return linalg.lstsq(matrix, rhs)
    a = as_tensor(matrix)
    gram = contraction.matmul(_adjoint(a), a) + l2_regularizer * eye(a.shape[-1], dtype=a.dtype)
    return linalg.solve(gram, contraction.matmul(_adjoint(a), rhs))


@op
def qr(input: Any, full_matrices: bool = False) -> Any:
    """Q with orthonormal columns and upper triangular R, with Q R = x."""
    return linalg.qr(input, "complete" if full_matrices else "reduced")


@op
def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True) -> Any:
    """Singular values s, then U and V with U diag(s) Vᴴ = x."""
    if not compute_uv:
        return linalg.svd(tensor, full_matrices, False)
    u, s, vh = linalg.svd(tensor, full_matrices, True)
    return s, u, _adjoint(vh)


@op
def matvec(a: Any, b: Any, transpose_a: bool = False) -> Any:
    """Matrix times vector."""
    return arrays.squeeze(matmul(a, arrays.expand_dims(b, -1), transpose_a=transpose_a), -1)


@op
def matrix_transpose(a: Any, conjugate: bool = False) -> Any:
    """The last two axes exchanged."""
    return _adjoint(a) if conjugate else arrays.swapaxes(a, -1, -2)


adjoint = op(lambda matrix: _adjoint(matrix))


@op
def diag(diagonal: Any, k: int = 0) -> Any:
    """Matrices with these diagonals, 0 beside them."""
    d = as_tensor(diagonal)
    n = d.shape[-1]
    square = eye(n, dtype=d.dtype) * arrays.expand_dims(d, -1)
    widths = [(0, 0)] * (d.ndim - 1)
    return padding.pad(square, [*widths, (max(-k, 0), max(k, 0)), (max(k, 0), max(-k, 0))]) if k else square


@op
def diag_part(input: Any, k: int = 0) -> Any:
    """The diagonals of matrices."""
    x = as_tensor(input)
    return arrays.diagonal(x, offset=k, axis1=x.ndim - 2, axis2=x.ndim - 1)


@op
def set_diag(input: Any, diagonal: Any, k: int = 0) -> Any:
    """Matrices with their diagonals replaced."""
    if k:
        raise ShapeError("set_diag: the main diagonal only (k=0).")
    x = as_tensor(input)
    on = eye(x.shape[-2], x.shape[-1], dtype="bool")
    d = as_tensor(diagonal).astype(x.dtype)
    rows = arrays.expand_dims(padding.pad(d, [(0, 0)] * (d.ndim - 1) + [(0, x.shape[-2] - d.shape[-1])]), -1)
    return arrays.where(on, rows, x)


@op
def band_part(input: Any, num_lower: Any, num_upper: Any) -> Any:
    """Matrices with what is further below or above the diagonal set to 0; -1 keeps all of that side."""
    x = as_tensor(input)
    lower, upper = ints([num_lower, num_upper])
    x = x if upper < 0 else arrays.tril(x, upper)
    return x if lower < 0 else arrays.triu(x, -lower)


__getattr__ = absent(__name__, globals())
