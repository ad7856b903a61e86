"""``tf.math``: elementwise functions, reductions, sums over segments."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from hornbeam.base import dtypes
from hornbeam.ops import activations, contraction, nn, reductions, segment, sorting, special
from hornbeam.ops import array as arrays
from hornbeam.ops import math as maths
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow.names import absent, ints, op, table

# One argument x, or two x and y: the rows of this runtime by TensorFlow's names.
FUNCTIONS = {
    "abs": maths.abs, "negative": maths.negative, "sign": maths.sign, "square": maths.square, "sqrt": maths.sqrt,
    "rsqrt": maths.rsqrt, "reciprocal": maths.reciprocal, "exp": maths.exp, "expm1": maths.expm1, "log": maths.log,
    "log1p": maths.log1p, "sin": maths.sin, "cos": maths.cos, "tan": maths.tan, "asin": maths.arcsin,
    "acos": maths.arccos, "atan": maths.arctan, "sinh": maths.sinh, "cosh": maths.cosh, "tanh": maths.tanh,
    "asinh": maths.arcsinh, "acosh": maths.arccosh, "atanh": maths.arctanh, "floor": maths.floor, "ceil": maths.ceil,
    "rint": maths.round, "round": maths.round, "conj": maths.conj, "real": maths.real, "imag": maths.imag,
    "angle": maths.angle, "complex": maths.complex, "sigmoid": activations.sigmoid,
    "log_sigmoid": activations.log_sigmoid, "softplus": activations.softplus, "softsign": activations.softsign,
    "erf": special.erf, "erfc": special.erfc, "erfinv": special.erfinv, "lgamma": special.lgamma,
    "digamma": special.digamma, "igamma": special.gammainc, "igammac": special.gammaincc, "bessel_i0": special.i0,
    "bessel_i0e": special.i0e,
    "is_nan": maths.isnan, "is_inf": maths.isinf, "is_finite": maths.isfinite,
    "add": maths.add, "subtract": maths.subtract, "multiply": maths.multiply, "truediv": maths.divide,
    "divide": maths.divide, "divide_no_nan": maths.divide_no_nan, "floordiv": maths.floor_divide, "floormod": maths.mod,
    "mod": maths.mod, "pow": maths.power, "maximum": maths.maximum, "minimum": maths.minimum, "atan2": maths.arctan2,
    "squared_difference": maths.squared_difference, "xlogy": special.xlogy, "nextafter": maths.nextafter,
    "equal": maths.equal, "not_equal": maths.not_equal, "less": maths.less, "less_equal": maths.less_equal,
    "greater": maths.greater, "greater_equal": maths.greater_equal, "logical_and": maths.logical_and,
    "logical_or": maths.logical_or, "softmax": activations.softmax, "log_softmax": activations.log_softmax,
    "logical_xor": maths.logical_xor, "logical_not": maths.logical_not,
}  # fmt: skip
globals().update(table(FUNCTIONS))


@op
def multiply_no_nan(x: Any, y: Any) -> Any:
    """x * y, and 0 where y is 0, whatever x is."""
    return arrays.where(maths.equal(y, 0), 0, maths.multiply(x, y))


@op
def xlog1py(x: Any, y: Any) -> Any:
    """x * log1p(y), and 0 where x is 0."""
    return special.xlogy(x, maths.add(y, 1))


@op
def add_n(inputs: Sequence[Any]) -> Any:
    """The sum of all inputs."""
    return builtins.sum(inputs[1:], as_tensor(inputs[0]))


@op
def polyval(coeffs: Sequence[Any], x: Any) -> Any:
    """The polynomial with these coefficients, the highest power first, at x."""
    out = as_tensor(coeffs[0])
    for c in coeffs[1:]:
        out = out * x + c
    return out


# -- reductions ------------------------------------------------------------------------------------------------------


def _reduction(name: str, reduce: Any, keeps_integers: bool = False) -> Any:
    def fn(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = as_tensor(input_tensor)
        out = reduce(x, axis=None if axis is None else ints(axis), keepdims=keepdims)
        return out.astype(x.dtype) if keeps_integers and dtypes.is_integer(x.dtype) else out

    fn.__name__, fn.__doc__ = name, reduce.__doc__
    return op(fn)


reduce_sum = _reduction("reduce_sum", reductions.sum, True)
reduce_mean = _reduction("reduce_mean", reductions.mean, True)  # whole numbers have a whole mean, as in TensorFlow
reduce_prod = _reduction("reduce_prod", reductions.prod, True)
reduce_max = _reduction("reduce_max", reductions.max)
reduce_min = _reduction("reduce_min", reductions.min)
reduce_all = _reduction("reduce_all", reductions.all)
reduce_any = _reduction("reduce_any", reductions.any)
reduce_std = _reduction("reduce_std", reductions.std)
reduce_variance = _reduction("reduce_variance", reductions.var)
reduce_logsumexp = _reduction("reduce_logsumexp", reductions.logsumexp)


@op
def reduce_euclidean_norm(input_tensor: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The square root of the sum of squares."""
    return maths.sqrt(reduce_sum(maths.square(input_tensor), axis, keepdims))


@op
def argmax(input: Any, axis: Any = 0, output_type: Any = "int64") -> Any:
    """Where the largest element along ``axis`` is."""
    return reductions.argmax(input, axis=int(axis)).astype(output_type)


@op
def argmin(input: Any, axis: Any = 0, output_type: Any = "int64") -> Any:
    """Where the smallest element along ``axis`` is."""
    return reductions.argmin(input, axis=int(axis)).astype(output_type)


@op
def count_nonzero(input: Any, axis: Any = None, keepdims: bool = False, dtype: Any = "int64") -> Any:
    """How many elements are not 0."""
    return reductions.count_nonzero(input, axis=axis, keepdims=keepdims).astype(dtype)


def _cumulative(name: str, accumulate: Any, neutral: int) -> Any:
    def fn(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False) -> Any:
        x, axis = as_tensor(x), int(axis)
        x = arrays.flip(x, axis) if reverse else x
        out = accumulate(x, axis=axis)
        if exclusive:
            first = arrays.take(x, [0], axis=axis)
            rest = arrays.take(out, list(builtins.range(x.shape[axis] - 1)), axis=axis)
            out = arrays.concat([first * 0 + neutral, rest], axis=axis)
        return arrays.flip(out, axis) if reverse else out

    fn.__name__, fn.__doc__ = name, f"{accumulate.__doc__} ``exclusive`` leaves each element out of its own."
    return op(fn)


cumsum = _cumulative("cumsum", reductions.cumsum, 0)
cumprod = _cumulative("cumprod", reductions.cumprod, 1)


# -- limits and norms ------------------------------------------------------------------------------------------------


@op
def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any) -> Any:
    """``t`` with what is below or above the limits moved to them."""
    return maths.minimum(maths.maximum(t, clip_value_min), clip_value_max)


@op
def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None) -> Any:
    """``t`` made shorter if its Euclidean norm is above ``clip_norm``."""
    t = as_tensor(t)
    norm = maths.sqrt(reductions.sum(maths.square(t), axis=axes, keepdims=True))
    return t * clip_norm / maths.maximum(norm, clip_norm)


@op
def global_norm(t_list: Sequence[Any]) -> Any:
    """The Euclidean norm of all elements of all tensors; None among them is left out."""
    squares = [reductions.sum(maths.square(t)) for t in t_list if t is not None]
    return maths.sqrt(builtins.sum(squares[1:], squares[0]))


@op
def clip_by_global_norm(t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None) -> Any:
    """All tensors made shorter by one factor if their global norm is above ``clip_norm``; and that norm."""
    norm = global_norm(t_list) if use_norm is None else as_tensor(use_norm)
    scale = clip_norm / maths.maximum(norm, clip_norm)
    return [None if t is None else as_tensor(t) * scale for t in t_list], norm


@op
def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    """``x`` with Euclidean norm 1 along ``axis``."""
    x = as_tensor(x)
    return x * maths.rsqrt(maths.maximum(reductions.sum(maths.square(x), axis=axis, keepdims=True), epsilon))


@op
def zero_fraction(value: Any) -> Any:
    """Which part of all elements is 0."""
    return reductions.mean(maths.equal(value, 0).astype("float32"))


# -- order and counting ----------------------------------------------------------------------------------------------


@op
def top_k(input: Any, k: int = 1, sorted: bool = True) -> Any:
    """The ``k`` largest elements along the last axis, largest first, and where they are."""
    return sorting.top_k(input, int(k))


@op
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether each target's prediction is among the ``k`` largest of its row."""
    predictions, targets = as_tensor(predictions), as_tensor(targets)
    own = arrays.take_along_axis(predictions, targets.astype("int32").reshape((-1, 1)), axis=1)
    return reductions.sum((predictions > own).astype("int32"), axis=1) < k


@op
def bincount(arr: Any, weights: Any = None, minlength: Any = None, maxlength: Any = None, dtype: Any = "int32") -> Any:
    """How often each whole number from 0 on occurs."""
    counts = sorting.bincount(arr, weights=weights, minlength=minlength or 0, length=maxlength)
    return counts if weights is not None else counts.astype(dtype)


@op
def confusion_matrix(
    labels: Any, predictions: Any, num_classes: Any = None, weights: Any = None, dtype: Any = "int32"
) -> Any:
    """How often each label (row) was predicted as each class (column)."""
    labels, predictions = as_tensor(labels).astype("int32"), as_tensor(predictions).astype("int32")
    if num_classes is None:
        num_classes = 1 + max(int(reductions.max(labels)), int(reductions.max(predictions)))
    classes = int(num_classes)
    rows, columns = nn.one_hot(labels, classes), nn.one_hot(predictions, classes)
    rows = rows if weights is None else rows * as_tensor(weights).astype("float32").reshape((-1, 1))
    return contraction.matmul(rows.transpose(), columns).astype(dtype)


# -- segments --------------------------------------------------------------------------------------------------------


def _segments(name: str, reduce: Any) -> tuple[Any, Any]:
    def unsorted(data: Any, segment_ids: Any, num_segments: Any) -> Any:
        return reduce(data, segment_ids, int(num_segments))

    def in_order(data: Any, segment_ids: Any) -> Any:
        return reduce(data, segment_ids, None)

    unsorted.__name__, in_order.__name__ = f"unsorted_{name}", name
    unsorted.__doc__ = in_order.__doc__ = reduce.__doc__
    return op(unsorted), op(in_order)


unsorted_segment_sum, segment_sum = _segments("segment_sum", segment.segment_sum)
unsorted_segment_prod, segment_prod = _segments("segment_prod", segment.segment_prod)
unsorted_segment_max, segment_max = _segments("segment_max", segment.segment_max)
unsorted_segment_min, segment_min = _segments("segment_min", segment.segment_min)


@op
def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any) -> Any:
    """The mean of the elements of each segment, 0 of a segment without any."""
    data = as_tensor(data)
    ones = as_tensor(segment_ids) * 0 + 1
    count = segment.segment_sum(ones.astype(data.dtype), segment_ids, int(num_segments))
    total = segment.segment_sum(data, segment_ids, int(num_segments))
    return total / maths.maximum(count, 1).reshape((-1,) + (1,) * (data.ndim - 1))


__getattr__ = absent(__name__, globals())
