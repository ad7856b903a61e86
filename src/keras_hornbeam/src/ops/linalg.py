"""Keras's linear algebra. Keras's own checks of shapes come first; integers are computed as ``floatx``."""

from __future__ import annotations

import numpy as np
from keras.src import tree

from hornbeam.ops import linalg, transforms
from keras_hornbeam.src.ops.core import convert_to_tensor
from keras_hornbeam.src.ops.promotion import floating, together_floating

__all__ = [
    "cholesky", "cholesky_inverse", "det", "eig", "eigh", "inv", "jvp", "lstsq", "lu_factor", "matrix_power",
    "matrix_rank", "norm", "pinv", "qr", "solve", "solve_triangular", "svd",
]  # fmt: skip


def cholesky(a, upper=False):
    out = linalg.cholesky(floating(a), upper)
    if not out.is_symbolic and np.isnan(out.array).any():
        raise ValueError("Cholesky decomposition failed: the input is not positive definite, or not finite.")
    return out


def cholesky_inverse(a, upper=False):
    return linalg.cholesky_inverse(floating(a), upper)


def det(a):
    return linalg.det(floating(a))


def eig(a):
    return linalg.eig(floating(a))


def eigh(a):
    return linalg.eigh(floating(a))


def inv(a):
    return linalg.inv(floating(a))


def lu_factor(a):
    return linalg.lu_factor(floating(a))


def norm(x, ord=None, axis=None, keepdims=False):
    return linalg.norm(floating(x), ord, axis, keepdims)


def qr(x, mode="reduced"):
    return linalg.qr(floating(x), mode)


def solve(a, b):
    return linalg.solve(*together_floating(a, b))


def solve_triangular(a, b, lower=False):
    a, b = together_floating(a, b)
    return linalg.solve_triangular(a, b, lower)


def svd(x, full_matrices=True, compute_uv=True):
    return linalg.svd(floating(x), full_matrices, compute_uv)


def lstsq(a, b, rcond=None):
    a, b = together_floating(a, b)
    return linalg.lstsq(a, b, rcond)


def matrix_rank(x, tol=None):
    return linalg.matrix_rank(floating(x), tol)


def matrix_power(a, n):
    return linalg.matrix_power(floating(a), n)


def pinv(x, rcond=None):
    return linalg.pinv(floating(x), rcond)


def jvp(fun, primals, tangents, has_aux=False):
    primals, tangents = (tuple(tree.map_structure(convert_to_tensor, v) for v in vs) for vs in (primals, tangents))
    if not has_aux:
        return transforms.jvp(fun, primals, tangents)
    kept = []

    def only_outputs(*args):
        out, aux = fun(*args)
        kept.append(aux)
        return out

    out, pushed = transforms.jvp(only_outputs, primals, tangents)
    return out, pushed, kept[-1]
