"""Keras's dtype rules, applied to the arguments of an operation before Hornbeam computes it."""

from __future__ import annotations

import functools

from keras.src.backend import config
from keras.src.backend.common import dtypes
from keras.src.backend.common.variables import standardize_dtype

from hornbeam.base.dtypes import as_dtype
from keras_hornbeam.src.ops.core import convert_to_tensor

SCALARS = (bool, int, float)


@functools.cache
def _meet(kinds, floatx):
    return as_dtype(dtypes.result_type(*(k if isinstance(k, type) else standardize_dtype(k) for k in kinds)))


def _kind(x):
    return type(x) if type(x) in SCALARS else x.dtype


def meet(*xs):
    """The dtype in which values meet; Python scalars are weak. Among equals nothing changes, not even in 64 bits."""
    first = getattr(xs[0], "dtype", None)
    if first is not None and all(getattr(x, "dtype", None) == first for x in xs[1:]):
        return first
    return _meet(tuple(_kind(x) for x in xs), config.floatx())


def meet_floating(*xs):
    """The dtype in which values meet, floating at least."""
    dtype = meet(*xs)
    return _meet((dtype, float), config.floatx()) if dtype.kind in "biu" else dtype


def values(*xs):
    """Tensors, where Python scalars stay as they are."""
    return [x if type(x) in SCALARS else convert_to_tensor(x) for x in xs]


def together(*xs):
    """Values as tensors of the dtype in which they meet."""
    xs = values(*xs)
    dtype = meet(*xs)
    return [convert_to_tensor(x, dtype) for x in xs]


def together_floating(*xs):
    """Values as floating tensors of the dtype in which they meet."""
    xs = values(*xs)
    dtype = meet_floating(*xs)
    return [convert_to_tensor(x, dtype) for x in xs]


def floating(x):
    """A tensor; integers and bools as ``floatx``."""
    x = convert_to_tensor(x)
    return x.astype(config.floatx()) if x.dtype.kind in "biu" else x


def without_bool(x):
    """A tensor; bools as int32."""
    x = convert_to_tensor(x)
    return x.astype("int32") if x.dtype.kind == "b" else x
