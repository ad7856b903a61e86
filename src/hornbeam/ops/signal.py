"""Signals: Fourier transforms, frames, windows, and the short-time transform. They are along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import as_dim
from hornbeam.errors import DTypeError, ShapeError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import CAST, CONJ, REAL_, SELECT, scalar
from hornbeam.ir.primitives.index import GATHER, SCATTER
from hornbeam.ir.primitives.linalg import FFT
from hornbeam.ir.primitives.movement import BROADCAST, CONCAT, PAD, REVERSE
from hornbeam.ops.arguments import inexact
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import as_tensor

__all__ = [
    "fft", "ifft", "fft2", "ifft2", "rfft", "irfft", "frame", "overlap_add", "hann_window", "hamming_window", "stft",
    "istft",
]  # fmt: skip

# -- transforms --------------------------------------------------------------------------------------------------------


def _complex(x: Any) -> Any:
    x = inexact(x)
    return CAST(x, dtype=dtypes.complex_dtype(x.dtype)) if not dtypes.is_complex(x.dtype) else x


@op
def fft(x: Any) -> Any:
    """The discrete Fourier transform."""
    return FFT(_complex(x), rank=1, inverse=False)


@op
def ifft(x: Any) -> Any:
    """The inverse of ``fft``."""
    return FFT(_complex(x), rank=1, inverse=True)


@op
def fft2(x: Any) -> Any:
    """The discrete Fourier transform along the last two axes."""
    return FFT(_complex(x), rank=2, inverse=False)


@op
def ifft2(x: Any) -> Any:
    """The inverse of ``fft2``."""
    return FFT(_complex(x), rank=2, inverse=True)


def _resized(x: Any, n: int) -> Any:
    """The last axis cut or filled with zeros to size ``n``."""
    have = x.shape[-1]
    if have > n:
        return x[..., :n]
    margins = (0,) * (x.ndim - 1)
    zeros = (0,) * x.ndim
    return PAD(x, scalar(0, x), before=zeros, after=(*margins, n - have), between=zeros) if have < n else x


@op
def rfft(x: Any, n: int | None = None) -> Any:
    """The first n // 2 + 1 terms of the transform of real numbers; the others are their conjugates.

    Args:
        n: the length to which ``x`` is cut or filled with zeros; its own by default.
    """
    x = inexact(x)
    if dtypes.is_complex(x.dtype):
        raise DTypeError(explain(f"rfft: expected real numbers, got {x.dtype.name}.", fix="hb.fft(x)"))
    n = x.shape[-1] if n is None else as_dim(n)
    return fft(_resized(x, n))[..., : n // 2 + 1]


@op
def irfft(x: Any, n: int | None = None) -> Any:
    """The real numbers, ``n`` of them, whose transform starts with ``x``.

    Args:
        n: 2 * (size - 1) by default; an odd length must be said.
    """
    x = _complex(x)
    n = 2 * (x.shape[-1] - 1) if n is None else as_dim(n)
    if n < 1:
        raise ShapeError(f"irfft: the length must be positive, got {n} for {x.shape[-1]} terms.")
    x = _resized(x, n // 2 + 1)
    mirrored = x[..., 1 : (n + 1) // 2]
    whole = CONCAT(x, CONJ(REVERSE(mirrored, axes=(x.ndim - 1,))), axis=x.ndim - 1)
    return REAL_(FFT(whole, rank=1, inverse=True))


# -- frames and windows ------------------------------------------------------------------------------------------------


def _places(frames: int, length: int, stride: int) -> np.ndarray:
    """The position in the signal of each element of each frame."""
    return (np.arange(frames)[:, None] * stride + np.arange(length)).astype(np.int32)


@op
def frame(x: Any, length: int, stride: int) -> Any:
    """Pieces (..., frames, length) of a signal, each ``stride`` after the last; only whole ones."""
    x, length, stride = as_tensor(x), as_dim(length), as_dim(stride)
    if x.ndim < 1 or length < 1 or stride < 1:
        raise ShapeError(f"frame: length and stride must be positive, got {length} and {stride} for shape {x.shape}.")
    frames = max((x.shape[-1] - length) // stride + 1, 0)
    if frames == 0:
        return x[..., :0].reshape((*x.shape[:-1], 0, length))
    return GATHER(x, constant(_places(frames, length, stride)[..., None]), axis=x.ndim - 1)


@op
def overlap_add(frames: Any, stride: int) -> Any:
    """A signal of pieces (..., frames, length), each added ``stride`` after the last."""
    frames, stride = as_tensor(frames), as_dim(stride)
    *lead, count, length = frames.shape
    out = BROADCAST(scalar(0, frames), shape=(*lead, stride * (count - 1) + length))
    return SCATTER(out, constant(_places(count, length, stride)[..., None]), frames, axis=len(lead), mode="add")


def _cosine_window(a: float, n: int, dtype: Any, periodic: bool) -> Any:
    if n == 1:
        return constant(np.ones(1, dtypes.as_dtype(dtype)))
    angle = 2 * np.pi * np.arange(n) / (n if periodic else n - 1)
    return constant((a - (1 - a) * np.cos(angle)).astype(dtypes.as_dtype(dtype)))


@op
def hann_window(n: int, dtype: Any = "float32", periodic: bool = True) -> Any:
    """A raised cosine; ``periodic`` ones add up to a constant, symmetric ones end where they start."""
    return _cosine_window(0.5, as_dim(n), dtype, periodic)


@op
def hamming_window(n: int, dtype: Any = "float32", periodic: bool = True) -> Any:
    """A cosine raised to 0.08 at its ends."""
    return _cosine_window(0.54, as_dim(n), dtype, periodic)


_WINDOWS = {"hann": hann_window, "hamming": hamming_window}


def _window(window: Any, length: int, fft_length: int, dtype: DType) -> Any:
    """``window``, of size ``length``, in the middle of ``fft_length`` zeros; None is ones throughout."""
    if fft_length < length:
        raise ShapeError(f"`fft_length` must equal or larger than `sequence_length`, got {fft_length} and {length}.")
    if window is None:
        return constant(np.ones(fft_length, dtype))
    if isinstance(window, str):
        if window not in _WINDOWS:
            raise ValueError(f"If a string is passed to `window`, it must be {' or '.join(_WINDOWS)}, not {window!r}.")
        window = _WINDOWS[window](length, dtype)
    window = as_tensor(window, dtype)
    if window.shape != (length,):
        raise ShapeError(f"The shape of `window` must be equal to [sequence_length]: got {window.shape} for {length}.")
    before = (fft_length - length) // 2
    return PAD(window, scalar(0, window), before=(before,), after=(fft_length - length - before,), between=(0,))


def _reflected(x: Any, n: int) -> Any:
    """Margins of ``n`` mirrored at the ends, which are not repeated."""
    size = x.shape[-1]
    if n >= size:
        raise ShapeError(explain(f"stft: {size} samples are too few to mirror {n}.", fix="center=False, or pad x"))
    last = x.ndim - 1
    before, after = (REVERSE(part, axes=(last,)) for part in (x[..., 1 : n + 1], x[..., size - n - 1 : size - 1]))
    return CONCAT(before, x, after, axis=last)


@op
def stft(
    x: Any, length: int, stride: int, fft_length: int | None = None, window: Any = "hann", center: bool = True
) -> Any:
    """The short-time Fourier transform (..., frames, fft_length // 2 + 1): that of every frame under a window.

    Args:
        window: hann, hamming, ``length`` numbers, or None for ones over the whole of ``fft_length``.
        center: mirror the ends, so that frames are centred on multiples of ``stride``.
    """
    x = inexact(x)
    fft_length = as_dim(length if fft_length is None else fft_length)
    window = _window(window, as_dim(length), fft_length, x.dtype)
    if center:
        x = _reflected(x, fft_length // 2)
    return rfft(frame(x, fft_length, stride) * window)


def _not_zero(weight: Any) -> Any:
    return SELECT(weight > 1e-10, weight, scalar(1, weight))


@op
def istft(
    x: Any,
    length: int,
    stride: int,
    fft_length: int | None = None,
    signal_length: int | None = None,
    window: Any = "hann",
    center: bool = True,
    exact_ends: bool = True,
) -> Any:
    """The signal whose ``stft`` with the same arguments is ``x``; if there is none, the nearest in least squares.

    Args:
        exact_ends: divide the first and last samples by the windows that cover them. Without, as in TensorFlow, by
            as many as cover the middle, so they fade.
    """
    x = _complex(x)
    if x.ndim < 2:
        raise ShapeError(f"istft: Input `x` must have at least 2 dimensions, got shape {x.shape}.")
    fft_length = as_dim(length if fft_length is None else fft_length)
    window = _window(window, as_dim(length), fft_length, dtypes.real_dtype(x.dtype))
    pieces = _resized(irfft(x, fft_length), fft_length) * window
    squares = window * window
    if exact_ends:
        weight = overlap_add(BROADCAST(squares, shape=(x.shape[-2], fft_length)), stride)
        out = overlap_add(pieces, stride) / _not_zero(weight)
    else:
        laps = -(-fft_length // stride)
        weight = BROADCAST(_resized(squares, laps * stride).reshape((laps, stride)).sum(0), shape=(laps, stride))
        out = overlap_add(pieces / _not_zero(weight.reshape((-1,))[:fft_length]), stride)
    start = fft_length // 2 if center else 0
    end = start + signal_length if signal_length is not None else out.shape[-1] - start
    return out[..., start:end]
