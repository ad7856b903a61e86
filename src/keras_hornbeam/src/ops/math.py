"""Keras's mathematical functions beyond NumPy's: segments, ranking, Fourier, special functions."""

from __future__ import annotations

from hornbeam.ops import array, linalg, reductions, segment, signal, sorting, special
from hornbeam.ops import math as elementwise
from keras_hornbeam.src.ops.core import convert_to_tensor
from keras_hornbeam.src.ops.promotion import floating, together_floating

__all__ = [
    "cdist", "erf", "erfc", "erfinv", "extract_sequences", "fft", "fft2", "gammainc", "ifft2", "in_top_k", "irfft",
    "istft", "lgamma", "logdet", "logsumexp", "rfft", "rsqrt", "segment_max", "segment_min", "segment_prod",
    "segment_sum", "stft", "top_k",
]  # fmt: skip


def segment_sum(data, segment_ids, num_segments=None, sorted=False):
    return segment.segment_sum(convert_to_tensor(data), convert_to_tensor(segment_ids), num_segments)


def segment_max(data, segment_ids, num_segments=None, sorted=False):
    return segment.segment_max(convert_to_tensor(data), convert_to_tensor(segment_ids), num_segments)


def segment_min(data, segment_ids, num_segments=None, sorted=False):
    return segment.segment_min(convert_to_tensor(data), convert_to_tensor(segment_ids), num_segments)


def segment_prod(data, segment_ids, num_segments=None, sorted=False):
    return segment.segment_prod(convert_to_tensor(data), convert_to_tensor(segment_ids), num_segments)


def top_k(x, k, sorted=True, is_stable=True):
    return sorting.top_k(convert_to_tensor(x), k)  # always sorted and stable


def in_top_k(targets, predictions, k):
    targets, predictions = convert_to_tensor(targets), convert_to_tensor(predictions)
    score = array.take_along_axis(predictions, array.expand_dims(targets, -1), axis=-1)
    better = reductions.sum((predictions > score).astype("int32"), axis=-1)
    known = (targets >= 0) & (targets < predictions.shape[-1])
    return (better < k) & known & (score == score)[..., 0]  # NaN is no high score


def logsumexp(x, axis=None, keepdims=False):
    return reductions.logsumexp(floating(x), axis, keepdims)


def cdist(x, y):
    return linalg.cdist(*together_floating(x, y))


def extract_sequences(x, sequence_length, sequence_stride):
    return signal.frame(convert_to_tensor(x), sequence_length, sequence_stride)


def _get_complex_tensor_from_tuple(x):
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"Input `x` should be a tuple of two tensors, real and imaginary parts. Received: x={x}")
    real, imag = (convert_to_tensor(part) for part in x)
    if real.shape != imag.shape:
        raise ValueError(
            "Both the real and imaginary parts should have the same shape. "
            f"Received: x[0].shape={real.shape}, x[1].shape={imag.shape}"
        )
    if real.dtype.kind in "biu" or imag.dtype.kind in "biu":
        raise ValueError(f"The parts of a complex tensor must be floating. Received: {real.dtype}, {imag.dtype}")
    return elementwise.complex(real, imag)


def _parts(x):
    return elementwise.real(x), elementwise.imag(x)


def fft(x):
    return _parts(signal.fft(_get_complex_tensor_from_tuple(x)))


def fft2(x):
    return _parts(signal.fft2(_get_complex_tensor_from_tuple(x)))


def ifft2(x):
    return _parts(signal.ifft2(_get_complex_tensor_from_tuple(x)))


def rfft(x, fft_length=None):
    return _parts(signal.rfft(floating(x), fft_length))


def irfft(x, fft_length=None):
    return signal.irfft(_get_complex_tensor_from_tuple(x), fft_length)


def stft(x, sequence_length, sequence_stride, fft_length, window="hann", center=True):
    x = convert_to_tensor(x)
    if x.dtype.name not in ("float32", "float64"):
        raise TypeError(f"Invalid input type. Expected `float32` or `float64`. Received: input type={x.dtype}")
    return _parts(signal.stft(x, sequence_length, sequence_stride, fft_length, window, center))


def istft(x, sequence_length, sequence_stride, fft_length, length=None, window="hann", center=True):
    x = _get_complex_tensor_from_tuple(x)
    if window is not None:
        return signal.istft(x, sequence_length, sequence_stride, fft_length, length, window, center, exact_ends=False)
    # Without a window Keras sums what overlaps, and does not average it.
    out = signal.overlap_add(signal.irfft(x, fft_length), sequence_stride)
    start = fft_length // 2 if center else 0
    return out[..., start : out.shape[-1] - start if length is None else start + length]


def rsqrt(x):
    return elementwise.rsqrt(floating(x))


def erf(x):
    return special.erf(floating(x))


def erfc(x):
    return special.erfc(floating(x))


def erfinv(x):
    return special.erfinv(floating(x))


def gammainc(x1, x2):
    return special.gammainc(*together_floating(x1, x2))


def lgamma(x):
    return special.lgamma(floating(x))


def logdet(x):
    return linalg.logdet(floating(x))
