"""Functions that only TensorFlow 1 had, or had with other arguments."""

from __future__ import annotations

from typing import Any

from hornbeam.tensorflow import arrays, debugging, image, linalg, math, random
from hornbeam.tensorflow.compat.v1.graphs import get_default_graph

# -- other names for the same ------------------------------------------------------------------------------------------

RENAMED = {
    "log": math.log, "log1p": math.log1p, "expm1": math.expm1, "rsqrt": math.rsqrt, "reciprocal": math.reciprocal,
    "sub": math.subtract, "mul": math.multiply, "neg": math.negative, "mod": math.floormod, "floormod": math.floormod,
    "floordiv": math.floordiv, "floor_div": math.floordiv, "realdiv": math.truediv, "div_no_nan": math.divide_no_nan,
    "ceil": math.ceil, "rint": math.rint, "conj": math.conj, "real": math.real, "imag": math.imag, "erf": math.erf,
    "lgamma": math.lgamma, "is_nan": math.is_nan, "is_inf": math.is_inf, "is_finite": math.is_finite,
    "logical_xor": math.logical_xor, "cumprod": math.cumprod, "segment_sum": math.segment_sum,
    "segment_max": math.segment_max, "segment_min": math.segment_min, "unsorted_segment_sum": math.unsorted_segment_sum,
    "global_norm": math.global_norm, "confusion_matrix": math.confusion_matrix, "bincount": math.bincount,
    "accumulate_n": math.add_n,
    "random_normal": random.normal, "truncated_normal": random.truncated_normal, "random_uniform": random.uniform,
    "random_shuffle": random.shuffle, "random_gamma": random.gamma, "multinomial": random.categorical,
    "set_random_seed": random.set_seed, "random_crop": image.random_crop,
    "cholesky": linalg.cholesky, "matrix_inverse": linalg.inv, "matrix_solve": linalg.solve,
    "matrix_diag": linalg.diag, "diag": linalg.diag, "matrix_diag_part": linalg.diag_part,
    "diag_part": linalg.diag_part,
    "check_numerics": debugging.check_numerics, "assert_positive": debugging.assert_positive,
    "assert_non_negative": debugging.assert_non_negative, "assert_less_equal": debugging.assert_less_equal,
    "assert_greater_equal": debugging.assert_greater_equal,
}  # fmt: skip
globals().update(RENAMED)


def div(x: Any, y: Any, name: Any = None) -> Any:
    """As Python 2 divided: whole numbers give a whole quotient."""
    x, y = arrays.convert_to_tensor(x), arrays.convert_to_tensor(y)
    return (math.floordiv if x.dtype.kind in "iu" and y.dtype.kind in "iu" else math.truediv)(x, y, name=name)


def _casts(dtype: str) -> Any:
    def cast(x: Any, name: Any = None) -> Any:
        return arrays.cast(x, dtype, name=name)

    cast.__doc__ = f"``x`` as {dtype}."
    return cast


to_float, to_double, to_int32, to_int64 = map(_casts, ("float32", "float64", "int32", "int64"))

# -- reductions with their old arguments -----------------------------------------------------------------------------


def _reduction(reduce: Any) -> Any:
    def fn(
        input_tensor: Any, axis: Any = None, keepdims: Any = None, name: Any = None, reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Any:  # fmt: skip
        axis = reduction_indices if axis is None else axis
        return reduce(input_tensor, axis, bool(keepdims or keep_dims), name=name)

    fn.__name__, fn.__doc__ = reduce.__name__, reduce.__doc__
    return fn


reduce_sum, reduce_mean, reduce_prod, reduce_max = map(
    _reduction, (math.reduce_sum, math.reduce_mean, math.reduce_prod, math.reduce_max)
)
reduce_min, reduce_all, reduce_any, reduce_logsumexp = map(
    _reduction, (math.reduce_min, math.reduce_all, math.reduce_any, math.reduce_logsumexp)
)


def argmax(input: Any, axis: Any = None, name: Any = None, dimension: Any = None, output_type: Any = "int64") -> Any:
    """Where the largest element along ``axis`` is."""
    return math.argmax(input, next((a for a in (axis, dimension) if a is not None), 0), output_type, name=name)


def argmin(input: Any, axis: Any = None, name: Any = None, dimension: Any = None, output_type: Any = "int64") -> Any:
    """Where the smallest element along ``axis`` is."""
    return math.argmin(input, next((a for a in (axis, dimension) if a is not None), 0), output_type, name=name)


def expand_dims(input: Any, axis: Any = None, name: Any = None, dim: Any = None) -> Any:
    """A new axis of size 1."""
    return arrays.expand_dims(input, dim if axis is None else axis, name=name)


def squeeze(input: Any, axis: Any = None, name: Any = None, squeeze_dims: Any = None) -> Any:
    """Without axes of size 1, or without those given."""
    return arrays.squeeze(input, squeeze_dims if axis is None else axis, name=name)


def reverse_v2(tensor: Any, axis: Any, name: Any = None) -> Any:
    """The other way round along ``axis``."""
    return arrays.reverse(tensor, axis, name=name)


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The graph's seed and the operation's."""
    return get_default_graph().seed, op_seed


__all__ = [
    *RENAMED, "div", "to_float", "to_double", "to_int32", "to_int64",
    "reduce_sum", "reduce_mean", "reduce_prod", "reduce_max", "reduce_min", "reduce_all", "reduce_any",
    "reduce_logsumexp",
    "argmax", "argmin", "expand_dims", "squeeze", "reverse_v2", "get_seed",
]  # fmt: skip
