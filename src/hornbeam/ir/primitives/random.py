"""Random numbers: a counter-based generator, so a number depends on its key and place alone, never on who ran first.

Threefry-2x32 with 20 rounds (J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A key is
uint32[2]. Keys are derived (``fold_in``, ``split``), never advanced.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape, Spec, as_shape, broadcast_shapes
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.ir.bind import constant
from hornbeam.ir.operators import Operators, lift
from hornbeam.ir.primitive import blocked, row
from hornbeam.ir.primitives.arith import CAST, ERF_INV
from hornbeam.ir.primitives.movement import CONCAT, RESHAPE, SLICE

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA
_FOLDED = 0x9E3779B9  # set apart from a key's own numbers, so folding in 0 changes the key too


def threefry(k0: Any, k1: Any, c0: Any, c1: Any) -> tuple[Any, Any]:
    """The two words of each block with counter (c0, c1), low word first. All uint32; arithmetic wraps.

    Of arrays, or of whatever has their operators: compiled code has no other Threefry.
    """
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(_PARITY))
    with np.errstate(over="ignore"):
        x, y = c0 + keys[0], c1 + keys[1]
        for i in range(20):
            turn = _ROTATIONS[i % 8]
            x = x + y
            y = ((y << np.uint32(turn)) | (y >> np.uint32(32 - turn))) ^ x
            if i % 4 == 3:
                turns = i // 4 + 1
                x, y = x + keys[turns % 3], y + (keys[(turns + 1) % 3] + np.uint32(turns))
    return x, y


def _random_bits_spec(key: Spec, shape: Shape) -> Spec:
    if key.dtype != dtypes.uint32:
        raise DTypeError(f"random_bits: a key is uint32[2], got {key}.")
    if key.shape != (2,):
        raise ShapeError(f"random_bits: a key is uint32[2], got {key}. Of several keys take one: keys[0].")
    return Spec(as_shape(shape), dtypes.uint32)


def _random_bits(key: np.ndarray, shape: Shape) -> np.ndarray:
    shape = as_shape(shape)
    size = math.prod(shape)
    block = np.arange((size + 1) // 2, dtype=np.uint64)
    low, high = block.astype(np.uint32), (block >> np.uint64(32)).astype(np.uint32)
    words = np.stack(threefry(key[0:1], key[1:2], low, high), axis=-1)
    return words.reshape(-1)[:size].reshape(shape)


RANDOM_BITS = row("random_bits", kind="block", infer=_random_bits_spec, reference=_random_bits, grad=blocked)
"""``RANDOM_BITS(key, shape=s)``: uint32 numbers; flat element e is word e % 2 of the block with counter e // 2.

An element needs its key and its number only, so an engine may make it wherever it is used, and again."""


def fold_in(key: Any, data: Any) -> Any:
    """A key for the pair (key, data): an independent stream for each ``data``, an integer or an integer scalar.

    Integers are taken modulo 2**64. The key is scrambled first, so that keys and data that differ in the same bits
    do not meet.
    """
    scrambled = RANDOM_BITS(key, shape=(2,))
    if isinstance(data, Operators):
        if data.shape or not dtypes.is_integer(data.dtype):
            raise DTypeError(f"fold_in: data must be an integer scalar, got {data.dtype.name}{tuple(data.shape)}.")
        wide = data if data.dtype == dtypes.uint64 else CAST(data, dtype=dtypes.int64)
        halves = [CAST(half & 0xFFFFFFFF, dtype=dtypes.uint32) for half in (wide, wide >> 32)]
        words = CONCAT(*(RESHAPE(half, shape=(1,)) for half in halves), axis=0)
    else:
        number = int(data) % 2**64
        words = constant(np.asarray([number & 0xFFFFFFFF, number >> 32], np.uint32))
    return RANDOM_BITS(scrambled ^ words ^ constant(np.asarray([0, _FOLDED], np.uint32)), shape=(2,))


def split(key: Any, n: int = 2) -> Any:
    """``n`` independent keys, uint32[n, 2]. Use each of them (and ``key`` itself no longer)."""
    return RANDOM_BITS(key, shape=as_shape((n, 2)))


def _check_floating(name: str, dtype: Any) -> DType:
    dtype = dtypes.as_dtype(dtype)
    if dtype not in dtypes.FLOATS:
        raise DTypeError(f"{name}: dtype must be one of {', '.join(d.name for d in dtypes.FLOATS)}, got {dtype.name}.")
    return dtype


_SIGNIFICAND = {dtypes.float16: 11, dtypes.bfloat16: 8, dtypes.float32: 24, dtypes.float64: 53}


def _whole(key: Any, shape: Shape, bits: int, dtype: DType) -> Any:
    """Whole numbers below 2**bits, exact in ``dtype``: the top bits of one word, or of two."""
    if bits <= 32:
        return CAST(RANDOM_BITS(key, shape=shape) >> (32 - bits), dtype=dtype)
    pairs = RANDOM_BITS(key, shape=(*shape, 2))
    rank, low_bits = len(shape), bits // 2
    high, low = (
        RESHAPE(
            SLICE(pairs, starts=(0,) * rank + (i,), limits=(*shape, i + 1), strides=(1,) * (rank + 1)), shape=shape
        )
        for i in (0, 1)
    )
    high, low = CAST(high >> (32 - (bits - low_bits)), dtype=dtype), CAST(low >> (32 - low_bits), dtype=dtype)
    return high * 2.0**low_bits + low


def uniform(key: Any, shape: Any, dtype: Any = "float32") -> Any:
    """Uniform in [0, 1): every multiple of the dtype's rounding step below 1, equally likely. 1 never occurs."""
    shape, dtype = as_shape(shape), _check_floating("uniform", dtype)
    bits = _SIGNIFICAND[dtype]
    return _whole(key, shape, bits, dtype) * 2.0**-bits


def normal(key: Any, shape: Any, dtype: Any = "float32") -> Any:
    """Standard normal, by the inverse of its distribution function. Half precision is computed in float32."""
    shape, dtype = as_shape(shape), _check_floating("normal", dtype)
    wide = dtypes.float64 if dtype == dtypes.float64 else dtypes.float32
    bits = _SIGNIFICAND[wide] - 1
    # The midpoints of 2**bits cells of (-1, 1): symmetric, exact, and never an end, where erf_inv is infinite.
    centred = (_whole(key, shape, bits, wide) + (0.5 - 2.0 ** (bits - 1))) * 2.0 ** (1 - bits)
    out = ERF_INV(centred) * math.sqrt(2)
    return out if dtype == wide else CAST(out, dtype=dtype)


def bernoulli(key: Any, p: Any, shape: Any) -> Any:
    """True with probability ``p`` (a number, or a value that broadcasts to ``shape``); never at 0, always at 1."""
    shape = as_shape(shape)
    p = lift(p if isinstance(p, (Operators, bool, int, float)) else np.asarray(p), dtypes.float32)
    if broadcast_shapes(tuple(p.shape), shape, name="bernoulli") != shape:
        raise ShapeError(f"bernoulli: p of shape {tuple(p.shape)} does not broadcast to {shape}.")
    return uniform(key, shape, dtypes.float32) < p
