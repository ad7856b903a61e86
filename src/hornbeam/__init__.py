"""Hornbeam: the runtime under Keras, with a session that you can hold, look into and close.

    import hornbeam as hb
    from hornbeam import keras      # the real Keras, running on Hornbeam

This module is the table of contents. Operations are NumPy's names where NumPy has one; ``hb.nn``, ``hb.linalg``,
``hb.image``, ``hb.random`` and ``hb.signal`` hold the rest. They work alike on eager tensors, in traced functions, and
in the graphs of sessions.
"""

from __future__ import annotations

from hornbeam.config import VERSION as __version__

# Sessions, and what lives in them
from hornbeam.runtime.session import Session, current as current_session
from hornbeam.engines.costs import Costs
from hornbeam.runtime.variable import Variable
from hornbeam.runtime.tensor import Tensor, from_dlpack
from hornbeam.runtime.graph import Graph
from hornbeam.runtime.where import Where
from hornbeam.ops.where import where

# Traced functions and gradients
from hornbeam.runtime.function import Function, TensorSpec, function
from hornbeam.runtime.tape import GradientTape
from hornbeam.ops.transforms import custom_gradient, grad, jvp, stop_gradient, value_and_grad

# Errors
from hornbeam.errors import (
    DTypeError,
    ExportError,
    FeedError,
    FetchError,
    GradientError,
    HornbeamError,
    KerasSetupError,
    MissingPackageError,
    NonFiniteError,
    RetraceError,
    SessionClosedError,
    SessionError,
    ShapeError,
    StrictModeError,
    TracingError,
    UninitializedVariableError,
    UnsafeFileError,
    UnsupportedFormatError,
)

# Control flow
from hornbeam.ops.control import (
    associative_scan, callback, cond, fori_loop, map, remat, scan, switch, vectorized_map, while_loop,
)  # fmt: skip

# Making tensors
from hornbeam.ops.creation import (
    arange, empty, empty_like, eye, full, full_like, geomspace, identity, linspace, logspace, meshgrid, ones, ones_like,
    tensor, tri, vander, zeros, zeros_like,
)  # fmt: skip

# Their shapes, parts and joins
from hornbeam.ops.array import (
    append, array_split, atleast_1d, atleast_2d, atleast_3d, broadcast_arrays, broadcast_to, column_stack, concat, copy,
    diag, diagflat, diagonal, dsplit, dstack, expand_dims, flip, fliplr, flipud, hsplit, hstack, moveaxis, ndim,
    ravel, repeat, reshape, roll, rot90, shape, size, split, squeeze, stack, swapaxes, tile, trace, transpose, tril,
    triu, unstack, vsplit, vstack,
)  # fmt: skip
from hornbeam.ops.padding import pad
from hornbeam.ops.indexing import (
    gather_nd, scatter_nd, scatter_update, select, slice, slice_update, take, take_along_axis, unravel_index,
)  # fmt: skip
from hornbeam.ops.sorting import (
    argpartition, argsort, argwhere, bincount, digitize, histogram, isin, nonzero, searchsorted, sort, top_k, unique,
)  # fmt: skip

# Elementwise
from hornbeam.ops.math import (
    abs, add, allclose, angle, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, bitcast, bitwise_and,
    bitwise_not, bitwise_or, bitwise_xor, cast, cbrt, ceil, clip, complex, conj, copysign, cos, cosh, deg2rad, divide,
    divide_no_nan, equal, exp, exp2, expm1, fabs, float_power, floor, floor_divide, fmax, fmin, fmod, gcd, greater,
    greater_equal, heaviside, hypot, imag, isclose, isfinite, isinf, isnan, isneginf, isposinf, isreal, lcm, ldexp,
    left_shift, less, less_equal, log, log1p, log2, log10, logaddexp, logaddexp2, logical_and, logical_not, logical_or,
    logical_xor, maximum, minimum, mod, multiply, nan_to_num, negative, nextafter, not_equal, positive, power, rad2deg,
    real, reciprocal, right_shift, round, rsqrt, sign, signbit, sin, sinc, sinh, sqrt, square, squared_difference,
    subtract, tan, tanh, trunc,
)  # fmt: skip
from hornbeam.ops.special import digamma, erf, erfc, erfinv, gammainc, gammaincc, i0, i0e, lgamma, xlogy

# Reductions and products
from hornbeam.ops.reductions import (
    all, any, argmax, argmin, average, count_nonzero, cumprod, cumsum, diff, logsumexp, max, mean, median, min,
    nanargmax, nanargmin, nancumprod, nancumsum, nanmax, nanmean, nanmedian, nanmin, nanpercentile, nanprod,
    nanquantile, nanstd, nansum, nanvar, percentile, prod, ptp, quantile, std, sum, trapezoid, var,
)  # fmt: skip
from hornbeam.ops.contraction import (
    convolve, corrcoef, correlate, cov, cross, dot, einsum, inner, kron, matmul, outer, tensordot, vdot,
)  # fmt: skip

# Writing what was made in other formats
from hornbeam.export import export_onnx

# By subject
from hornbeam.ops import image, linalg, nn, random, signal

__all__ = [name for name in dir() if not name.startswith("_") and name not in ("annotations", "ops", "runtime")]
