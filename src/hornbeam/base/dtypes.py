"""Dtypes are NumPy dtypes (with ml_dtypes' bfloat16 and float8), and promotion is one small lattice.

The lattice is JAX's: a Python scalar is *weak*, it takes the dtype of the tensor it meets and never widens it unless
its kind is higher (``int32_tensor * 2.5`` is floating). NumPy's own rules differ (int32 + float32 is float64 there).
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from hornbeam.errors import DTypeError

DType = np.dtype

bool_ = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))
bfloat16 = np.dtype(ml_dtypes.bfloat16)
float8_e4m3fn = np.dtype(ml_dtypes.float8_e4m3fn)
float8_e5m2 = np.dtype(ml_dtypes.float8_e5m2)
complex64, complex128 = np.dtype("complex64"), np.dtype("complex128")

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGERS = SIGNED + UNSIGNED
FLOATS = (float16, bfloat16, float32, float64)
COMPLEX = (complex64, complex128)
STORAGE_ONLY = (float8_e4m3fn, float8_e5m2)  # cast to and from, never computed with
ALL = (bool_, *INTEGERS, *FLOATS, *COMPLEX, *STORAGE_ONLY)

_BY_NAME = {d.name: d for d in ALL}
_KNOWN = {d: d for d in ALL}
_ALIASES = {"half": float16, "float": float32, "double": float64}  # by which C and TensorFlow call them


def as_dtype(dtype: Any) -> DType:
    """The NumPy dtype that ``dtype`` names: a string, a NumPy or ml_dtypes type, a Python type, or ``.name`` bearer.

    Raises DTypeError listing the valid names if there is none.
    """
    if isinstance(dtype, np.dtype):
        known = _KNOWN.get(dtype)
        if known is not None:
            return known
        if dtype.name in _BY_NAME:
            return _BY_NAME[dtype.name]
    elif dtype is float:
        return float32
    elif dtype is int:
        return int32
    elif dtype is bool:
        return bool_
    elif isinstance(dtype, str):
        found = _BY_NAME.get(dtype) or _ALIASES.get(dtype)
        if found is not None:
            return found
    else:
        name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
        if isinstance(name, str) and name.lower() in _BY_NAME:
            return _BY_NAME[name.lower()]
    raise DTypeError(f"{dtype!r} is not a dtype of this runtime. Valid: {', '.join(_BY_NAME)}.")


def is_floating(dtype: DType) -> bool:
    return dtype in FLOATS or dtype in STORAGE_ONLY


def is_complex(dtype: DType) -> bool:
    return dtype.kind == "c"


def is_inexact(dtype: DType) -> bool:
    """Whether gradients can flow through values of this dtype."""
    return is_floating(dtype) or is_complex(dtype)


def is_integer(dtype: DType) -> bool:
    return dtype.kind in "iu"


def is_bool(dtype: DType) -> bool:
    return dtype.kind == "b"


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real part: complex64 -> float32, everything else unchanged."""
    return {complex64: float32, complex128: float64}.get(dtype, dtype)


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype with parts of ``dtype``; half precision is widened to complex64."""
    return complex128 if dtype in (float64, complex128) else complex64


def weak_dtype(value: bool | int | float | complex) -> DType:
    """What a Python scalar is when nothing else decides: bool, int32 (int64 if it must), float32 or complex64."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, int):
        return int32 if -(2**31) <= value < 2**31 else int64
    if isinstance(value, float):
        return float32
    return complex64


# The lattice: each dtype with those directly above it. "i*", "f*", "c*" are the weak dtypes of Python scalars.
_ABOVE = {
    "bool": ["i*"],
    "i*": ["uint8", "int8"],
    "uint8": ["int16", "uint16"],
    "uint16": ["int32", "uint32"],
    "uint32": ["int64", "uint64"],
    "uint64": ["f*"],
    "int8": ["int16"],
    "int16": ["int32"],
    "int32": ["int64"],
    "int64": ["f*"],
    "f*": ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "c*"],
    "float8_e4m3fn": [],
    "float8_e5m2": [],
    "bfloat16": ["float32"],
    "float16": ["float32"],
    "float32": ["float64", "complex64"],
    "float64": ["complex128"],
    "c*": ["complex64"],
    "complex64": ["complex128"],
    "complex128": [],
}


def _upper_set(name: str) -> frozenset[str]:
    seen, queue = {name}, [name]
    while queue:
        for above in _ABOVE[queue.pop()]:
            if above not in seen:
                seen.add(above)
                queue.append(above)
    return frozenset(seen)


_UPPER = {name: _upper_set(name) for name in _ABOVE}
_JOIN: dict[tuple[str, str], str] = {}


def _join(a: str, b: str) -> str:
    """Least upper bound in the lattice."""
    key = (a, b)
    if key not in _JOIN:
        common = _UPPER[a] & _UPPER[b]
        least = [n for n in common if _UPPER[n] == common]
        if not least:
            raise DTypeError(f"{a} and {b} have no common dtype. Cast one of them: hb.cast(x, {b!r}).")
        _JOIN[key] = least[0]
    return _JOIN[key]


def _lattice_name(x: Any) -> str:
    if isinstance(x, bool):
        return "bool"
    if isinstance(x, int):
        return "i*"
    if isinstance(x, float):
        return "f*"
    if isinstance(x, complex):
        return "c*"
    return as_dtype(getattr(x, "dtype", x)).name


def result_type(*operands: Any) -> DType:
    """The dtype in which ``operands`` meet. Each is a tensor, an array, a dtype, or a (weak) Python scalar."""
    names = [_lattice_name(x) for x in operands]
    out = names[0]
    for name in names[1:]:
        out = _join(out, name)
    return {"i*": int32, "f*": float32, "c*": complex64}.get(out) or _BY_NAME[out]
