"""Functions for the operations that take functions, and readings of results that have more than one right form.

They are written with ``keras.ops``, so that either backend runs them. Keras is imported when they are called: the
process that compares runs without it.
"""

from __future__ import annotations

from typing import Any


def ops() -> Any:
    import keras

    return keras.ops


# -- operations that take functions ------------------------------------------------------------------------------------


def cond(pred: Any, x: Any) -> Any:
    return ops().cond(pred, lambda: x * 2, lambda: -x)


def switch(index: Any, x: Any, y: Any) -> Any:
    return ops().switch(index, [lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x - y], x, y)


def while_loop(limit: int, x: Any, maximum: int | None) -> Any:
    return ops().while_loop(lambda i, x: i < limit, lambda i, x: (i + 1, x * 2), (0, x), maximum_iterations=maximum)


def fori_loop(lower: int, upper: int, x: Any) -> Any:
    return ops().fori_loop(lower, upper, lambda i, x: x * 2 + ops().cast(i, x.dtype), x)


def scan(init: Any, xs: Any, reverse: bool) -> Any:
    return ops().scan(lambda carry, x: (carry + x, carry * x), init, xs, reverse=reverse)


def associative_scan(elements: Any, reverse: bool, axis: int) -> Any:
    """Of arrays their sums; of pairs the composition of linear functions, which does not commute."""

    def together(a: Any, b: Any) -> Any:
        return (a[0] * b[0], a[1] * b[0] + b[1]) if isinstance(a, (tuple, list)) else a + b

    return ops().associative_scan(together, elements, reverse=reverse, axis=axis)


def map(xs: Any) -> Any:
    return ops().map(lambda x: (x + 1, ops().sum(x)), xs)


def vectorized_map(x: Any, y: Any) -> Any:
    return ops().vectorized_map(lambda xy: xy[0] * ops().sum(xy[1]), (x, y))


def vectorize(x: Any, y: Any) -> Any:
    return ops().vectorize(lambda a, b: ops().maximum(a, b) - a * b)(x, y)


def custom_gradient(x: Any) -> Any:
    def square(x: Any) -> Any:
        def grad(*args: Any, upstream: Any = None) -> Any:
            (upstream,) = args if upstream is None else (upstream,)
            return ops().multiply(upstream, 7)

        return ops().square(x), grad

    return ops().custom_gradient(square)(x)


def grad(x: Any, y: Any) -> Any:
    return ops().grad(lambda x, y: ops().sum(ops().sin(x) * y), argnums=(0, 1))(x, y)


def jvp(x: Any, tangent: Any, has_aux: bool) -> Any:
    def fun(x: Any) -> Any:
        return (ops().sin(x) * x, ops().sum(x)) if has_aux else ops().sin(x) * x

    return ops().jvp(fun, (x,), (tangent,), has_aux=has_aux)


def remat(x: Any, y: Any) -> Any:
    import keras

    return keras.remat(lambda x, y: ops().tanh(x) * y)(x, y)


def compute_output_spec(x: Any, axis: int) -> Any:
    from keras import KerasTensor
    from keras.src import backend

    found = backend.compute_output_spec(
        lambda x: ops().softmax(ops().sum(x, axis=axis)), KerasTensor((None, *x.shape), str(x.dtype))
    )
    return found.shape, found.dtype


def device_scope(x: Any) -> Any:
    from keras.src import backend

    with backend.device_scope("cpu:0"):
        return ops().add(x, 1)


def random_seed_dtype() -> str:
    from keras.src import backend

    return backend.ops.core.random_seed_dtype()


def get_complex_tensor_from_tuple(real: Any, imag: Any) -> Any:
    from keras.src import backend

    return backend.ops.math._get_complex_tensor_from_tuple((real, imag))


def compute_homography_matrix(start: Any, end: Any) -> Any:
    from keras.src import backend

    return backend.ops.image.compute_homography_matrix(start, end)


def fft_of_parts(name: str, real: Any, imag: Any, *lengths: Any) -> Any:
    return getattr(ops(), name)((real, imag), *lengths)


def istft(real: Any, imag: Any, *args: Any, **kwargs: Any) -> Any:
    return ops().istft((real, imag), *args, **kwargs)


# -- readings ----------------------------------------------------------------------------------------------------------


def _transposed(x: Any) -> Any:
    return ops().swapaxes(x, -1, -2)


def of_eigh(result: Any, x: Any) -> Any:
    """Eigenvalues, and what the eigenvectors make of them: each vector's sign is free."""
    values, vectors = result
    return values, ops().matmul(vectors * ops().expand_dims(values, -2), _transposed(vectors))


def of_eig(result: Any, x: Any) -> Any:
    """The power sums of the eigenvalues, whose order is free."""
    values, _ = result
    return [ops().sum(ops().real(values**k), axis=-1) for k in (1, 2)]


def of_svd(result: Any, x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values, and the product of the factors: the signs of singular vectors are free."""
    if not compute_uv:
        return result
    u, s, vh = result
    n = s.shape[-1]
    return s, ops().matmul(u[..., :n] * ops().expand_dims(s, -2), vh[..., :n, :])


def of_qr(result: Any, x: Any, mode: str = "reduced") -> Any:
    """The products QR and RᵀR: the signs of Q's columns are free."""
    q, r = result
    return ops().matmul(q, r), ops().matmul(_transposed(r), r)


def of_argpartition(result: Any, x: Any, kth: int, axis: int = -1) -> Any:
    """The ``kth`` element, and the sums before it: the order on either side is free."""
    values = ops().moveaxis(ops().take_along_axis(x, result, axis=axis), axis, -1)
    return values[..., kth], ops().sum(ops().cast(values[..., :kth], "float32"), axis=-1)
