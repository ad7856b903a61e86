"""Keras's core operations: conversion, casting, slicing, control flow, and shape inference by tracing."""

from __future__ import annotations

import builtins
import contextlib

import numpy as np
from keras.src import tree
from keras.src.backend.common import KerasVariable, standardize_dtype
from keras.src.backend.common.backend_utils import standardize_argnums
from keras.src.backend.common.keras_tensor import KerasTensor
from keras.src.backend.common.stateless_scope import StatelessScope
from keras.src.backend.common.symbolic_scope import SymbolicScope
from keras.src.backend.config import floatx

from hornbeam.base.dtypes import ALL
from hornbeam.base.spec import spec
from hornbeam.errors import DTypeError
from hornbeam.ops import control, indexing, transforms
from hornbeam.runtime.graph import SIZES
from hornbeam.runtime.tensor import Tensor, as_tensor, is_tensor
from hornbeam.runtime.trace import abstractly

__all__ = [
    "associative_scan", "cast", "cond", "convert_to_numpy", "convert_to_tensor", "custom_gradient", "fori_loop", "grad",
    "is_tensor", "map", "random_seed_dtype", "remat", "scan", "scatter", "scatter_update", "shape", "slice",
    "slice_update", "stop_gradient", "switch", "unstack", "vectorized_map", "while_loop", "compute_output_spec",
    "device_scope",
]  # fmt: skip


_OWN = frozenset(ALL)  # dtypes that need no looking up, which takes Keras longer than most conversions


def convert_to_tensor(x, dtype=None, sparse=None, ragged=None):
    if sparse:
        raise ValueError("`sparse=True` is not supported with the hornbeam backend")
    if ragged:
        raise ValueError("`ragged=True` is not supported with the hornbeam backend")
    if dtype is not None and dtype not in _OWN:
        dtype = standardize_dtype(dtype)
    if isinstance(x, KerasVariable):
        x = x.value
    if is_tensor(x):
        return as_tensor(x, dtype)
    if dtype is None:
        dtype = _default_dtype(x)
    if isinstance(x, (builtins.list, builtins.tuple)):
        x = tree.map_structure(lambda e: e.value if isinstance(e, KerasVariable) else e, x)
    try:
        return as_tensor(x, dtype)
    except DTypeError:
        # Keras casts here without asking, also numbers that the dtype cannot hold.
        return as_tensor(np.asarray(x)).astype(dtype)


def _default_dtype(x):
    """The dtype that Keras gives Python values, where it is ``floatx``; None leaves it to ``as_tensor``."""
    leaves = tree.flatten(x)
    if any(hasattr(e, "dtype") for e in leaves) or not leaves:
        return None if leaves else floatx()
    if any(isinstance(e, builtins.complex) for e in leaves):
        return None
    if any(isinstance(e, builtins.float) for e in leaves):
        return floatx()
    return None


def convert_to_numpy(x):
    if isinstance(x, KerasVariable):
        x = x.value
    if isinstance(x, Tensor):
        return x.numpy()
    if isinstance(x, (builtins.list, builtins.tuple)) and any(is_tensor(e) or isinstance(e, KerasVariable) for e in x):
        return np.array([convert_to_numpy(e) for e in x])
    return np.array(x)


def shape(x):
    return tuple(x.shape) if hasattr(x, "shape") else np.shape(x)


def cast(x, dtype):
    return convert_to_tensor(x).astype(standardize_dtype(dtype))


def random_seed_dtype():
    return "uint32"


def cond(pred, true_fn, false_fn):
    return control.cond(convert_to_tensor(pred), true_fn, false_fn)


def switch(index, branches, *operands):
    return control.switch(convert_to_tensor(index), branches, *operands)


def while_loop(cond, body, loop_vars, maximum_iterations=None):
    loop_vars = tree.map_structure(convert_to_tensor, loop_vars)
    out = control.while_loop(cond, body, loop_vars, maximum_iterations)
    return tuple(out) if isinstance(loop_vars, (builtins.list, builtins.tuple)) else out


def fori_loop(lower, upper, body_fun, init_val):
    return control.fori_loop(lower, upper, body_fun, tree.map_structure(convert_to_tensor, init_val))


def scan(f, init, xs=None, length=None, reverse=False, unroll=1):
    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f}")
    if not isinstance(unroll, bool) and not (isinstance(unroll, int) and unroll >= 1):
        raise ValueError(f"`unroll` must be an positive integer or boolean. Received: unroll={unroll}")
    if xs is None and length is None:
        raise ValueError("Got no `xs` to scan over and `length` not provided.")
    init = tree.map_structure(convert_to_tensor, init)
    if xs is not None:
        xs = tree.map_structure(convert_to_tensor, xs)

    def step(carry, x):
        carry, y = f(carry, x)
        # Keras lets a step return no y, and expects zeros of the carry's shape for it.
        return carry, tree.map_structure(lambda c: c * 0, carry) if y is None else y

    return control.scan(step, init, xs, length, reverse)


def associative_scan(f, elems, reverse=False, axis=0):
    return control.associative_scan(f, tree.map_structure(convert_to_tensor, elems), reverse, axis)


def map(f, xs):
    return control.map(f, tree.map_structure(convert_to_tensor, xs))


def vectorized_map(function, elements):
    return control.vectorized_map(function, tree.map_structure(convert_to_tensor, elements))


def slice(inputs, start_indices, shape):
    return indexing.slice(convert_to_tensor(inputs), _values(start_indices), _values(shape))


def slice_update(inputs, start_indices, updates):
    return indexing.slice_update(convert_to_tensor(inputs), _values(start_indices), convert_to_tensor(updates))


def _values(xs):
    return [convert_to_tensor(x) if isinstance(x, KerasVariable) else x for x in xs] if isinstance(
        xs, (builtins.list, builtins.tuple)
    ) else convert_to_tensor(xs)  # fmt: skip


def scatter(indices, values, shape):
    return indexing.scatter_nd(convert_to_tensor(indices), convert_to_tensor(values), tuple(shape))


_MODES = {None: "set", "add": "add", "max": "max", "min": "min", "mul": "mul"}


def scatter_update(inputs, indices, updates, reduction=None):
    if reduction not in _MODES:
        raise ValueError(f"Unsupported reduction: {reduction}")
    inputs = convert_to_tensor(inputs)
    return indexing.scatter_update(inputs, convert_to_tensor(indices), convert_to_tensor(updates), _MODES[reduction])


def stop_gradient(variable):
    return transforms.stop_gradient(convert_to_tensor(variable))


def unstack(x, num=None, axis=0):
    x = convert_to_tensor(x)
    lead = (builtins.slice(None),) * (axis % x.ndim)
    return [x[(*lead, i)] for i in range(num or x.shape[axis])]


def custom_gradient(fun):
    wrapped = transforms.custom_gradient(lambda *args, **kwargs: _adapted(fun(*args, **kwargs)))

    def call(*args, **kwargs):
        return wrapped(*(a.value if isinstance(a, KerasVariable) else a for a in args), **kwargs)

    return call


def _adapted(returned):
    """Keras writes gradient rules for several frameworks: ``grad_fn(upstream)`` and ``grad_fn(*args, upstream=…)``."""
    outputs, grad_fn = returned

    def rule(*cotangents):
        try:
            return grad_fn(*cotangents)
        except TypeError:
            return grad_fn(upstream=cotangents[0] if len(cotangents) == 1 else cotangents)

    return outputs, rule


def remat(f):
    return control.remat(f)


def grad(f, argnums=0):
    def call(*args, **kwargs):
        chosen = standardize_argnums(argnums, len(args))
        given = [tree.map_structure(convert_to_tensor, a) if i in chosen else a for i, a in enumerate(args)]
        return transforms.grad(f, chosen[0] if isinstance(argnums, int) else chosen)(*given, **kwargs)

    return call


@contextlib.contextmanager
def device_scope(device_name):
    """Everything runs on the CPU; the name is only checked. Raises ValueError for anything that is not a string."""
    if not isinstance(device_name, str):
        raise ValueError(
            f"Invalid value for argument `device_name`. Expected a string like 'cpu:0'. Received: {device_name}"
        )
    yield


def compute_output_spec(fn, *args, **kwargs):
    """What ``fn`` returns for KerasTensors, by tracing it: twice where dimensions are unknown, as graphs do.

    Nothing is computed and no state changes.
    """
    leaves = tree.flatten((args, kwargs))
    unknown = any(isinstance(x, KerasTensor) and None in x.shape for x in leaves)
    first = _traced(fn, args, kwargs, SIZES[0])
    second = _traced(fn, args, kwargs, SIZES[1]) if unknown else first

    def merge(a, b):
        if not is_tensor(a):
            return a
        dims = tuple(m if m == n else None for m, n in zip(a.shape, b.shape, strict=True))
        return KerasTensor(dims, dtype=a.dtype)

    return tree.map_structure(merge, first, second)


def _traced(fn, args, kwargs, size):
    leaves = [x for x in tree.flatten((args, kwargs)) if isinstance(x, KerasTensor)]
    specs = [spec(tuple(size if d is None else d for d in x.shape), x.dtype) for x in leaves]

    def call(*tensors):
        remaining = iter(tensors)
        filled = tree.map_structure(lambda x: next(remaining) if isinstance(x, KerasTensor) else x, (args, kwargs))
        return fn(*filled[0], **filled[1])

    with StatelessScope(), SymbolicScope():
        return abstractly(call, *specs)
