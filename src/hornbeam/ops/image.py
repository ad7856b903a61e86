"""Images: (batch, height, width, channels) or one image without the batch; ``data_format`` moves the channels forward.

Resizing multiplies each spatial axis by a matrix of weights that only depends on sizes. The other transforms ask where
each pixel of the result comes from, and read there (``map_coordinates``).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import as_axis, as_shape
from hornbeam.errors import DTypeError, ShapeError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import (
    ABS,
    CAST,
    CEIL,
    EXP,
    FLOOR,
    MAX,
    MIN,
    ROUND,
    SELECT,
    SIN,
    scalar,
)
from hornbeam.ir.primitives.contract import CONV, DOT
from hornbeam.ir.primitives.index import GATHER
from hornbeam.ir.primitives.movement import BROADCAST, CONCAT, IOTA, PAD
from hornbeam.ops import random
from hornbeam.ops.linalg import solve
from hornbeam.ops.op import op
from hornbeam.runtime.tensor import Tensor, as_tensor

__all__ = [
    "resize", "scale_and_translate", "affine_transform", "perspective_transform", "compute_homography_matrix",
    "map_coordinates", "elastic_transform", "gaussian_blur", "sobel_edges", "rgb_to_grayscale", "rgb_to_hsv",
    "hsv_to_rgb",
]  # fmt: skip

# -- layouts -----------------------------------------------------------------------------------------------------------


def _images(name: str, images: Any) -> Any:
    images = as_tensor(images)
    if images.ndim not in (3, 4):
        raise ShapeError(
            explain(
                f"{name}: Invalid images rank: expected rank 3 (single image) or rank 4 (batch of images), got shape "
                f"{images.shape}.",
                why="A grayscale image lacks its channel axis.",
                fix="images[..., None]",
            )
        )
    return images


def _check_format(data_format: str) -> str:
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"data_format is 'channels_last' or 'channels_first', not {data_format!r}.")
    return data_format


def _to_batch(name: str, images: Any, data_format: str) -> Any:
    """As (batch, height, width, channels)."""
    images = _images(name, images)
    if images.ndim == 3:
        images = images.reshape((1, *images.shape))
    return images.transpose((0, 2, 3, 1)) if _check_format(data_format) == "channels_first" else images


def _from_batch(out: Any, like: Any, data_format: str) -> Any:
    """The inverse of ``_to_batch``."""
    out = out.transpose((0, 3, 1, 2)) if data_format == "channels_first" else out
    return out.reshape(out.shape[1:]) if len(like.shape) == 3 else out


def _computing(dtype: DType) -> DType:
    return dtype if dtype in (dtypes.float32, dtypes.float64) else dtypes.float32


def _stored(x: Any, dtype: DType) -> Any:
    """Computed values as ``dtype``: integers are rounded, and saturate."""
    return CAST(ROUND(x), dtype=dtype) if dtypes.is_integer(dtype) else x.astype(dtype)


def _round(x: Any) -> Any:
    """To the nearest whole number, halves away from zero."""
    return SELECT(x < 0, CEIL(x - 0.5), FLOOR(x + 0.5))


def _stack(parts: Sequence[Any], axis: int) -> Any:
    shape = parts[0].shape
    return CONCAT(*(p.reshape((*shape[:axis], 1, *shape[axis:])) for p in parts), axis=axis)


# -- resizing ----------------------------------------------------------------------------------------------------------

# The weights are written once, for NumPy (sizes known) and for tensors (scale_and_translate with computed scales).
_ARRAYS = SimpleNamespace(
    where=np.where, sin=np.sin, maximum=np.maximum, minimum=np.minimum, abs=np.abs,
    sum=lambda x: np.sum(x, axis=0), arange=lambda n: np.arange(n, dtype=np.float64),
)  # fmt: skip


def _meet(x: Any, y: Any) -> tuple[Any, Any]:
    like = x if isinstance(x, Tensor) else y
    return tuple(v if isinstance(v, Tensor) else scalar(v, like) for v in (x, y))  # type: ignore[return-value]


def _tensors(dtype: DType) -> SimpleNamespace:
    return SimpleNamespace(
        where=lambda c, x, y: SELECT(c, *_meet(x, y)), sin=SIN, abs=ABS,
        maximum=lambda x, y: MAX(*_meet(x, y)), minimum=lambda x, y: MIN(*_meet(x, y)),
        sum=lambda x: x.sum(0), arange=lambda n: constant(np.arange(n).astype(dtype)),
    )  # fmt: skip


def _triangle(xp: Any, x: Any) -> Any:
    return xp.maximum(1 - x, 0.0)


def _cubic(xp: Any, x: Any) -> Any:
    """R. Keys, "Cubic convolution interpolation for digital image processing", 1981, with slope -1/2."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return xp.where(x < 1, near, xp.where(x < 2, far, 0.0))


def _lanczos(radius: int, xp: Any, x: Any) -> Any:
    apart = xp.where(x > 1e-3, x, 1.0)  # below, sin x / x is 1 up to rounding
    y = radius * xp.sin(math.pi * apart) * xp.sin(math.pi / radius * apart) / (math.pi**2 * apart * apart)
    return xp.where(x > radius, 0.0, xp.where(x > 1e-3, y, 1.0))


_KERNELS: dict[str, Any] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos3": functools.partial(_lanczos, 3),
    "lanczos5": functools.partial(_lanczos, 5),
    "area": None,
}
_SYNONYMS = {
    "linear": "bilinear", "trilinear": "bilinear", "triangle": "bilinear", "cubic": "bicubic", "tricubic": "bicubic",
}  # fmt: skip


def _method(method: str, also: tuple[str, ...] = ()) -> str:
    found = _SYNONYMS.get(method, method)
    if found not in _KERNELS and found not in also:
        raise ValueError(f"interpolation {method!r} is not one of {', '.join((*also, *_KERNELS, *_SYNONYMS))}.")
    return found


def _weights(xp: Any, m: int, n: int, scale: Any, translation: Any, method: str, antialias: bool) -> Any:
    """(m, n): how much of each of ``m`` samples goes into each of ``n``, which lie at i * scale + translation.

    Positions count from the samples' edges, the first sample's centre being 1/2. Columns sum to 1, but for those
    whose centre lies outside, which are 0.
    """
    step = 1 / scale
    centre = (xp.arange(n) + 0.5 - translation) * step - 0.5
    if method == "area":
        left = ((xp.arange(n) - translation) * step).reshape((1, n))
        own = xp.arange(m).reshape((m, 1))
        weights = xp.maximum(xp.minimum(left + step, own + 1) - xp.maximum(left, own), 0.0)
    else:
        distance = xp.abs(centre.reshape((1, n)) - xp.arange(m).reshape((m, 1)))
        weights = _KERNELS[method](xp, distance / xp.maximum(step, 1.0) if antialias else distance)
    total = xp.sum(weights)
    valid = (abs(total) > 1e-4) & (centre >= -0.5) & (centre <= m - 0.5)
    return xp.where(valid, weights / xp.where(valid, total, 1.0), 0.0)


@functools.lru_cache(maxsize=256)
def _resize_weights(m: int, n: int, method: str, antialias: bool, dtype: DType) -> np.ndarray:
    """The weights of plain resizing, computed in float64."""
    return _weights(_ARRAYS, m, n, np.float64(n / m), 0.0, method, antialias).astype(dtype)


def _weigh(x: Any, weights: Any, axis: int) -> Any:
    """``x`` with its ``axis`` multiplied by ``weights`` (old size, new size)."""
    out = DOT(x, weights, batch=((), ()), contract=((axis,), (0,)))
    last = x.ndim - 1
    return out.transpose((*range(axis), last, *range(axis, last)))


@op
def resize(
    images: Any,
    size: Sequence[int],
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str = "channels_last",
) -> Any:
    """Images resampled to ``size`` (height, width), pixels being squares around their centres.

    Args:
        interpolation: nearest, bilinear, bicubic, lanczos3, lanczos5 or area.
        antialias: widen the kernel when shrinking, so that every pixel counts.
        crop_to_aspect_ratio: first cut off what the new proportions leave no room for, equally on both sides.
        pad_to_aspect_ratio: first add margins of ``fill_value`` to reach the new proportions.
    """
    x = _to_batch("resize", images, data_format)
    method = _method(interpolation, also=("nearest",))
    if len(size) != 2 or min(as_shape(size)) < 1:
        raise ShapeError(f"resize: size must be two positive ints (height, width), got {size!r}.")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("resize: only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be True.")
    if fill_mode != "constant":
        raise ValueError(f"resize: fill_mode can only be 'constant', got {fill_mode!r}.")
    height, width = as_shape(size)
    if crop_to_aspect_ratio:
        x = _crop_to_ratio(x, height, width)
    elif pad_to_aspect_ratio:
        x = _pad_to_ratio(x, height, width, fill_value)
    changed = [(a, n) for a, n in ((1, height), (2, width)) if x.shape[a] != n]
    if method == "nearest":
        for axis, n in changed:
            at = np.floor((np.arange(n) + 0.5) * x.shape[axis] / n).astype(np.int32)
            x = GATHER(x, constant(at.reshape(n, 1)), axis=axis)
        return _from_batch(x, images, data_format)
    dtype = x.dtype
    x = x.astype(_computing(dtype))
    for axis, n in sorted(changed, key=lambda c: c[1] / x.shape[c[0]]):  # what shrinks most, first
        x = _weigh(x, constant(_resize_weights(x.shape[axis], n, method, bool(antialias), x.dtype)), axis)
    return _from_batch(_stored(x, dtype), images, data_format)


def _crop_to_ratio(x: Any, height: int, width: int) -> Any:
    h, w = x.shape[1:3]
    new_h, new_w = max(min(h, w * height // width), 1), max(min(w, h * width // height), 1)
    top, left = (h - new_h) // 2, (w - new_w) // 2
    return x[:, top : top + new_h, left : left + new_w]


def _pad_to_ratio(x: Any, height: int, width: int, value: float) -> Any:
    h, w = x.shape[1:3]
    top, left = (max(h, w * height // width) - h) // 2, (max(w, h * width // height) - w) // 2
    margins = (0, top, left, 0)
    return PAD(x, as_tensor(value).astype(x.dtype), before=margins, after=margins, between=(0, 0, 0, 0))


@op
def scale_and_translate(
    images: Any,
    output_shape: Sequence[int],
    scale: Any,
    translation: Any,
    spatial_dims: Sequence[int],
    method: str = "bilinear",
    antialias: bool = True,
) -> Any:
    """Resampled so that a position p along spatial_dims[i] moves to p * scale[i] + translation[i].

    What comes from outside is 0. ``scale`` and ``translation`` may be computed, and have gradients.
    """
    x = as_tensor(images)
    shape, method = as_shape(output_shape), _method(method)
    axes = [as_axis(a, x.ndim) for a in spatial_dims]
    if len(shape) != x.ndim:
        raise ShapeError(f"scale_and_translate: output_shape {shape} must have as many axes as {x.shape}.")
    dtype = x.dtype
    x = x.astype(_computing(dtype))
    scale, translation = as_tensor(scale).astype(x.dtype), as_tensor(translation).astype(x.dtype)
    for i, axis in enumerate(axes):
        by, to = (v[i] if v.ndim else v for v in (scale, translation))
        x = _weigh(x, _weights(_tensors(x.dtype), x.shape[axis], shape[axis], by, to, method, antialias), axis)
    return _stored(x, dtype)


# -- reading between pixels --------------------------------------------------------------------------------------------


def _mirror(at: Any, n: int) -> Any:
    """d c b | a b c d | c b a"""
    if n == 1:
        return at * 0
    return ABS((at + (n - 1)) % (2 * (n - 1)) - (n - 1))


_FILL_MODES: dict[str, Any] = {
    "constant": lambda at, n: at,
    "nearest": lambda at, n: MIN(MAX(at, scalar(0, at)), scalar(n - 1, at)),
    "wrap": lambda at, n: at % n,
    "mirror": _mirror,
    "reflect": lambda at, n: (_mirror(2 * at + 1, 2 * n + 1) - 1) // 2,  # c b a | a b c d | d c b
}


def _fill_mode(fill_mode: str) -> str:
    if fill_mode not in _FILL_MODES:
        raise ValueError(f"fill_mode {fill_mode!r} is not one of {', '.join(_FILL_MODES)}.")
    return fill_mode


def _order(interpolation: str) -> int:
    orders = {"nearest": 0, "bilinear": 1}
    if interpolation not in orders:
        raise ValueError(f"interpolation {interpolation!r} is not one of {', '.join(orders)}.")
    return orders[interpolation]


def _read(x: Any, exact: Sequence[Any], coordinates: Sequence[Any], order: int, fill_mode: str, fill_value: Any) -> Any:
    """``x`` at whole positions ``exact`` along its first axes and at real ``coordinates`` along the next.

    All have one shape [*I]; the result has the axes I, then the remaining ones of ``x``.
    """
    places: list[list[tuple[Any, Any, Any]]] = []
    for axis, c in enumerate(coordinates, len(exact)):
        n, low = x.shape[axis], FLOOR(c)
        corners = [(_round(c), None)] if order == 0 else [(low, 1 - (c - low)), (low + 1, c - low)]
        place: list[tuple[Any, Any, Any]] = []
        for at, weight in corners:
            at = CAST(at, dtype=dtypes.int32)
            inside = (at >= 0) & (at < n) if fill_mode == "constant" else None
            place.append((_FILL_MODES[fill_mode](at, n), inside, weight))
        places.append(place)
    shape = tuple(coordinates[0].shape)
    rest = (1,) * (x.ndim - len(exact) - len(coordinates))
    dtype = x.dtype
    computed = x.astype(_computing(dtype)) if order else x
    fill = as_tensor(fill_value).astype(computed.dtype)
    total: Any = None
    for corner in itertools.product(*places):
        at = _stack([*exact, *(i for i, _, _ in corner)], len(shape))
        value = GATHER(computed, at, axis=0)
        if fill_mode == "constant":
            inside = functools.reduce(lambda a, b: a & b, [valid for _, valid, _ in corner])
            value = SELECT(inside.reshape(shape + rest), value, fill)
        if order:
            weight = functools.reduce(lambda a, b: a * b, [w for _, _, w in corner])
            value = value * weight.reshape(shape + rest).astype(value.dtype)
        total = value if total is None else total + value
    return total if order == 0 else _stored(total, dtype)


@op
def map_coordinates(
    inputs: Any, coordinates: Any, order: int = 1, fill_mode: str = "constant", fill_value: Any = 0.0
) -> Any:
    """``inputs`` read at ``coordinates``, one array of positions for each axis of ``inputs``.

    Args:
        order: 0 for the nearest element, 1 for linear interpolation, each of the neighbours being filled on its own.
        fill_mode: what lies outside: constant (``fill_value``), nearest, wrap (a b c | a b c), mirror
            (c b | a b c | b a) or reflect (b a | a b c | c b).
    """
    x, coordinates = as_tensor(inputs), as_tensor(coordinates)
    if coordinates.ndim < 2:
        raise ShapeError(
            f"map_coordinates: Invalid coordinates rank: expected at least rank 2, got {coordinates.shape}."
        )
    if coordinates.shape[0] != x.ndim:
        raise ShapeError(
            f"map_coordinates: the first dimension of coordinates must be the same as the rank of `inputs`, got "
            f"{coordinates.shape} for {x.shape}."
        )
    if order not in (0, 1):
        raise ValueError(f"map_coordinates: order is 0 or 1, not {order!r}.")
    coordinates = coordinates.astype(_computing(coordinates.dtype))
    return _read(x, (), [coordinates[i] for i in range(x.ndim)], order, _fill_mode(fill_mode), fill_value)


def _sample(images: Any, y: Any, x: Any, order: int, fill_mode: str, fill_value: Any) -> Any:
    """Images (batch, height, width, channels) read at ``y`` and ``x`` (batch, rows, columns)."""
    which = IOTA(shape=tuple(y.shape), axis=0, dtype=dtypes.int32)
    return _read(images, [which], [y, x], order, fill_mode, fill_value)


def _grid(height: int, width: int) -> tuple[Any, Any]:
    """Row and column numbers (1, height, width)."""
    shape = (1, height, width)
    return IOTA(shape=shape, axis=1, dtype=dtypes.float32), IOTA(shape=shape, axis=2, dtype=dtypes.float32)


def _project(images: Any, transforms: Any, order: int, fill_mode: str, fill_value: Any) -> Any:
    """Each pixel (x, y) read at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), k = c0 x + c1 y + 1.

    ``transforms`` are (a0, a1, a2, b0, b1, b2, c0, c1), (batch, 8) or (1, 8).
    """
    batch, height, width, _ = images.shape
    if transforms.shape[0] not in (1, batch):
        raise ShapeError(f"{transforms.shape[0]} transforms do not fit {batch} images.")
    rows, columns = _grid(height, width)
    a0, a1, a2, b0, b1, b2, c0, c1 = (transforms[:, i].reshape((-1, 1, 1)) for i in range(8))
    k = c0 * columns + c1 * rows + 1
    x, y = (a0 * columns + a1 * rows + a2) / k, (b0 * columns + b1 * rows + b2) / k
    shape = (batch, height, width)
    return _sample(images, BROADCAST(y, shape=shape), BROADCAST(x, shape=shape), order, fill_mode, fill_value)


@op
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: Any = 0,
    data_format: str = "channels_last",
) -> Any:
    """Images whose pixel (x, y) is read at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), k = c0 x + c1 y + 1.

    Args:
        transform: (a0, a1, a2, b0, b1, b2, c0, c1), for all images or one row for each.
        interpolation: nearest or bilinear.
        fill_mode: what lies outside, as in ``map_coordinates``.
    """
    x = _to_batch("affine_transform", images, data_format)
    transform = as_tensor(transform)
    if transform.ndim not in (1, 2):
        raise ShapeError(
            "affine_transform: Invalid transform rank: expected rank 1 (single transform) or rank 2 (batch of "
            f"transforms), got shape {transform.shape}."
        )
    if transform.shape[-1] != 8:
        raise ShapeError(
            f"affine_transform: Invalid transform shape: expected the last dimension to be 8, got {transform.shape}."
        )
    transform = transform.reshape((-1, 8)).astype(dtypes.float32)
    out = _project(x, transform, _order(interpolation), _fill_mode(fill_mode), fill_value)
    return _from_batch(out, images, data_format)


@op
def compute_homography_matrix(start_points: Any, end_points: Any) -> Any:
    """The projections (batch, 8) that take four ``end_points`` to ``start_points``, both (batch, 4, 2) as (x, y)."""
    start, end = as_tensor(start_points), as_tensor(end_points)
    dtype = _computing(dtypes.result_type(start, end))
    start, end = start.astype(dtype), end.astype(dtype)
    sx, sy, ex, ey = start[..., 0], start[..., 1], end[..., 0], end[..., 1]
    zero, one = ex * 0, ex * 0 + 1
    x_rows = _stack([ex, ey, one, zero, zero, zero, -sx * ex, -sx * ey], 2)
    y_rows = _stack([zero, zero, zero, ex, ey, one, -sy * ex, -sy * ey], 2)
    return solve(CONCAT(x_rows, y_rows, axis=1), CONCAT(sx, sy, axis=1)[..., None])[..., 0]


@op
def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: Any = 0,
    data_format: str = "channels_last",
) -> Any:
    """Images seen so that four ``start_points`` (x, y) move to ``end_points``; both (4, 2) or (batch, 4, 2)."""
    x = _to_batch("perspective_transform", images, data_format)
    start, end = as_tensor(start_points), as_tensor(end_points)
    for name, points in (("start_points", start), ("end_points", end)):
        if points.ndim not in (2, 3) or points.shape[-2:] != (4, 2):
            raise ShapeError(
                f"perspective_transform: Invalid {name} shape: expected (4, 2) or (N, 4, 2), got {points.shape}."
            )
    if start.shape != end.shape:
        raise ShapeError(
            f"perspective_transform: start_points {start.shape} and end_points {end.shape} must have the same shape."
        )
    transforms = compute_homography_matrix(*(p.reshape((-1, 4, 2)).astype(dtypes.float32) for p in (start, end)))
    return _from_batch(_project(x, transforms, _order(interpolation), "constant", fill_value), images, data_format)


@op
def elastic_transform(
    images: Any,
    alpha: Any = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: Any = 0.0,
    data_format: str = "channels_last",
    *,
    key: Any = None,
) -> Any:
    """Images warped by a smooth random field: noise blurred with ``sigma`` and multiplied by ``alpha`` (pixels).

    P. Simard et al., "Best practices for convolutional neural networks applied to visual document analysis", 2003.
    """
    x = _to_batch("elastic_transform", images, data_format)
    sigma = float(sigma)
    shape = tuple(x.shape[:3])
    noise = random.normal((*shape, 2), stddev=sigma, key=key)
    width = int(6 * sigma) | 1
    field = gaussian_blur(noise, (width, width), (sigma, sigma)) * as_tensor(alpha, "float32")
    rows, columns = _grid(*shape[1:])
    out = _sample(
        x, rows + field[..., 0], columns + field[..., 1], _order(interpolation), _fill_mode(fill_mode), fill_value
    )
    return _from_batch(out, images, data_format)


# -- filters -----------------------------------------------------------------------------------------------------------


def _gaussian(n: int, sigma: Any, dtype: DType) -> Any:
    offset = constant((np.arange(n) - (n - 1) / 2).astype(dtype)) / sigma
    bell = EXP(offset * offset * -0.5)
    return bell / bell.sum()


def _same(n: int) -> tuple[int, int]:
    """Margins that keep the size under a window of ``n``."""
    return (n - 1) // 2, n // 2


@op
def gaussian_blur(
    images: Any, kernel_size: Sequence[int] = (3, 3), sigma: Any = (1.0, 1.0), data_format: str = "channels_last"
) -> Any:
    """Images blurred by a Gaussian of widths ``sigma``, one axis after the other; zeros outside."""
    x = _to_batch("gaussian_blur", images, data_format)
    dtype, channels = x.dtype, x.shape[-1]
    x = x.astype(_computing(dtype))
    sigma = as_tensor(sigma).astype(x.dtype)
    for axis, n in enumerate(as_shape(kernel_size)):
        window = [1, 1, 1, 1]
        window[axis] = n
        kernel = _gaussian(n, sigma[axis] if sigma.ndim else sigma, x.dtype).reshape(tuple(window))
        kernel = BROADCAST(kernel, shape=(*window[:3], channels))
        padding = tuple(_same(n) if i == axis else (0, 0) for i in range(2))
        x = CONV(x, kernel, strides=(1, 1), padding=padding, dilation=(1, 1), groups=channels)
    return _from_batch(_stored(x, dtype), images, data_format)


_SOBEL = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])


@op
def sobel_edges(images: Any, data_format: str = "channels_last") -> Any:
    """The slopes of images (batch of) along y and x, stacked in a new last axis; zeros outside."""
    x = _to_batch("sobel_edges", images, data_format)
    channels = x.shape[-1]
    pair = np.tile(np.stack([_SOBEL, _SOBEL.T], axis=-1), (1, 1, channels)).astype(x.dtype)
    kernel = constant(np.ascontiguousarray(pair.reshape(3, 3, 1, 2 * channels)))
    out = CONV(x, kernel, strides=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=channels)
    out = out.reshape((*x.shape, 2))
    out = out.transpose((0, 3, 1, 2, 4)) if data_format == "channels_first" else out
    return out.reshape(out.shape[1:]) if len(as_tensor(images).shape) == 3 else out


# -- colours -----------------------------------------------------------------------------------------------------------


def _channels(name: str, images: Any, data_format: str, *, floating: bool = True) -> tuple[Any, int]:
    """The images, and the axis of their channels."""
    images = _images(name, images)
    axis = images.ndim - (1 if _check_format(data_format) == "channels_last" else 3)
    if floating and images.dtype not in dtypes.FLOATS:
        raise DTypeError(
            explain(
                f"{name}: Invalid images dtype: expected float dtype, got {images.dtype.name}.",
                fix="hb.cast(images, 'float32') / 255",
            )
        )
    if floating and images.shape[axis] != 3:
        raise ShapeError(f"{name}: images must have 3 channels on axis {axis}, got shape {images.shape}.")
    return images, axis


@op
def rgb_to_grayscale(images: Any, data_format: str = "channels_last") -> Any:
    """Luminance (0.2989 R + 0.587 G + 0.114 B), keeping a channel axis of 1."""
    images, axis = _channels("rgb_to_grayscale", images, data_format, floating=False)
    if images.shape[axis] == 1:
        return images
    if images.shape[axis] != 3:
        raise ShapeError(
            "rgb_to_grayscale: Invalid channel size: expected 3 (RGB) or 1 (Grayscale). The images have shape "
            f"{images.shape}."
        )
    dtype = images.dtype
    weights = constant(np.array([[0.2989], [0.5870], [0.1140]]).astype(_computing(dtype)))
    return _weigh(images.astype(weights.dtype), weights, axis).astype(dtype)


def _planes(images: Any, axis: int) -> tuple[Any, Any, Any]:
    at: list[Any] = [slice(None)] * images.ndim
    return tuple(images[(*at[:axis], i, *at[axis + 1 :])] for i in range(3))  # type: ignore[return-value]


@op
def rgb_to_hsv(images: Any, data_format: str = "channels_last") -> Any:
    """Hue, saturation and value in [0, 1]."""
    images, axis = _channels("rgb_to_hsv", images, data_format)
    zero, one = scalar(0, images), scalar(1, images)
    tiny = float(_epsilon(images.dtype))
    r, g, b = _planes(SELECT(ABS(images) < tiny, zero, images), axis)
    value = MAX(MAX(r, g), b)
    span = value - MIN(MIN(r, g), b)
    coloured = span > 0
    saturation = SELECT(value > 0, span / SELECT(value > 0, value, one), zero)
    sixth = 1 / (6 * SELECT(coloured, span, one))
    hue = SELECT(value == g, (b - r) * sixth + 2 / 6, (r - g) * sixth + 4 / 6)
    hue = SELECT(value == r, (g - b) * sixth, hue)
    hue = SELECT(coloured, SELECT(hue < 0, hue + 1, hue), zero)
    return _stack([hue, saturation, value], axis)


def _epsilon(dtype: DType) -> float:
    one = np.ones((), dtype)
    return np.nextafter(one, np.asarray(2, dtype)).astype(np.float64) - 1


@op
def hsv_to_rgb(images: Any, data_format: str = "channels_last") -> Any:
    """Red, green and blue of images as ``rgb_to_hsv`` makes them."""
    images, axis = _channels("hsv_to_rgb", images, data_format)
    hue, saturation, value = _planes(images, axis)
    zero, one = scalar(0, images), scalar(1, images)
    turn = (hue % 1.0) * 6

    def channel(away: Any) -> Any:
        return value * (1 - saturation + saturation * MIN(MAX(away, zero), one))

    return _stack([channel(ABS(turn - 3) - 1), channel(2 - ABS(turn - 2)), channel(2 - ABS(turn - 4))], axis)
