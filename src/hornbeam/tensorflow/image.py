"""``tf.image``: resizing, flipping, cropping, colours."""

from __future__ import annotations

from typing import Any

from hornbeam.errors import ShapeError
from hornbeam.ops import array as arrays
from hornbeam.ops import image, padding
from hornbeam.ops import math as maths
from hornbeam.ops import random as draws
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow import random
from hornbeam.tensorflow.dtypes import as_dtype
from hornbeam.tensorflow.names import absent, ints, op


class ResizeMethod:
    """Names of the ways to resize."""

    BILINEAR = "bilinear"
    NEAREST_NEIGHBOR = "nearest"
    BICUBIC = "bicubic"
    LANCZOS3 = "lanczos3"
    LANCZOS5 = "lanczos5"


@op
def resize(
    images: Any, size: Any, method: str = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False
) -> Any:
    """Images of (height, width) ``size``, as float32 unless the method is "nearest"."""
    x = as_tensor(images)
    height, width = ints(size)
    if preserve_aspect_ratio:
        scale = min(height / x.shape[-3], width / x.shape[-2])
        height, width = round(x.shape[-3] * scale), round(x.shape[-2] * scale)
    return image.resize(x if method == "nearest" else x.astype("float32"), (height, width), method, antialias=antialias)


@op
def flip_left_right(image: Any) -> Any:
    """Left and right exchanged."""
    return arrays.flip(image, -2)


@op
def flip_up_down(image: Any) -> Any:
    """Top and bottom exchanged."""
    return arrays.flip(image, -3)


@op
def rot90(image: Any, k: int = 1) -> Any:
    """Turned by a quarter, counter-clockwise, ``k`` times."""
    return arrays.rot90(image, k, axes=(-3, -2))


@op
def transpose(image: Any) -> Any:
    """Height and width exchanged."""
    return arrays.swapaxes(image, -3, -2)


def _flipped(name: str, axis: int) -> Any:
    def fn(image: Any, seed: Any = None) -> Any:
        x = as_tensor(image)
        flips = draws.uniform((*x.shape[:-3], 1, 1, 1), key=random.key(seed)) < 0.5
        return arrays.where(flips, arrays.flip(x, axis), x)

    fn.__name__, fn.__doc__ = name, "Each image flipped or not, with equal chance."
    return random.drawing(fn)


random_flip_left_right = _flipped("random_flip_left_right", -2)
random_flip_up_down = _flipped("random_flip_up_down", -3)


@op
def crop_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    """The part of this size that begins at these offsets. Raises ShapeError if it sticks out."""
    x = as_tensor(image)
    top, left, height, width = ints([offset_height, offset_width, target_height, target_width])
    if top < 0 or left < 0 or top + height > x.shape[-3] or left + width > x.shape[-2]:
        raise ShapeError(f"crop_to_bounding_box: {height} x {width} at ({top}, {left}) sticks out of {tuple(x.shape)}.")
    return x[..., top : top + height, left : left + width, :]


@op
def pad_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    """The image at these offsets within zeros of this size. Raises ShapeError if it does not fit."""
    x = as_tensor(image)
    top, left, height, width = ints([offset_height, offset_width, target_height, target_width])
    rows, columns = (top, height - top - x.shape[-3]), (left, width - left - x.shape[-2])
    if min(*rows, *columns) < 0:
        raise ShapeError(
            f"pad_to_bounding_box: {tuple(x.shape)} at ({top}, {left}) does not fit into {height} x {width}."
        )
    return padding.pad(x, [(0, 0)] * (x.ndim - 3) + [rows, columns, (0, 0)])


@op
def resize_with_crop_or_pad(image: Any, target_height: Any, target_width: Any) -> Any:
    """The middle of the image, or the image in the middle of zeros, of this size."""
    x = as_tensor(image)
    height, width = ints([target_height, target_width])
    rows, columns = min(height, x.shape[-3]), min(width, x.shape[-2])
    x = crop_to_bounding_box(x, (x.shape[-3] - rows) // 2, (x.shape[-2] - columns) // 2, rows, columns)
    return pad_to_bounding_box(x, (height - rows) // 2, (width - columns) // 2, height, width)


@op
def central_crop(image: Any, central_fraction: float) -> Any:
    """The middle of the image, this part of each side."""
    x = as_tensor(image)
    top, left = (int((n - n * central_fraction) / 2) for n in x.shape[-3:-1])
    return x[..., top : x.shape[-3] - top, left : x.shape[-2] - left, :]


@random.drawing
def random_crop(value: Any, size: Any, seed: Any = None) -> Any:
    """A block of ``size`` at a random place."""
    x, size = as_tensor(value), ints(size)
    spaces = [n - s + 1 for n, s in zip(x.shape, size, strict=True)]
    if min(spaces) < 1:
        raise ShapeError(f"random_crop: {size} is larger than {tuple(x.shape)}.")
    place = [draws.randint((), 0, n, key=random.key(seed)) for n in spaces]
    return arrays.slice(x, place, size)


@op
def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False) -> Any:
    """Images as ``dtype``: floating ones go from 0 to 1, integer ones up to the dtype's largest value."""
    x, dtype = as_tensor(image), as_dtype(dtype)
    if x.dtype == dtype:
        return x
    if x.dtype.kind in "iu" and dtype.kind not in "iu":
        return x.astype(dtype) / _largest(x.dtype)
    if x.dtype.kind in "iu":
        return maths.cast(x.astype("float64") * (_largest(dtype) / _largest(x.dtype)), dtype)
    scaled = x * (_largest(dtype) + 0.5) if dtype.kind in "iu" else x
    return maths.cast(maths.clip(scaled, 0, _largest(dtype)) if dtype.kind in "iu" else scaled, dtype)


def _largest(dtype: Any) -> int:
    return 2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1


@op
def adjust_brightness(image: Any, delta: Any) -> Any:
    """``delta`` added to every pixel."""
    return as_tensor(image) + delta


@op
def adjust_contrast(images: Any, contrast_factor: Any) -> Any:
    """Each channel's distance from its mean times a factor."""
    x = as_tensor(images)
    mean = x.mean((-3, -2), keepdims=True)
    return (x - mean) * contrast_factor + mean


@op
def per_image_standardization(image: Any) -> Any:
    """Each image with mean 0 and variance 1."""
    x = as_tensor(image).astype("float32")
    axes = (-3, -2, -1)
    mean = x.mean(axes, keepdims=True)
    deviation = maths.sqrt(maths.square(x - mean).mean(axes, keepdims=True))
    count = x.shape[-1] * x.shape[-2] * x.shape[-3]
    return (x - mean) / maths.maximum(deviation, count**-0.5)


@op
def rgb_to_grayscale(images: Any) -> Any:
    """One channel of brightness."""
    return image.rgb_to_grayscale(images)


@op
def grayscale_to_rgb(images: Any) -> Any:
    """Three equal channels."""
    return arrays.repeat(images, 3, axis=-1)


@op
def rgb_to_hsv(images: Any) -> Any:
    """Hue, saturation, value."""
    return image.rgb_to_hsv(images)


@op
def hsv_to_rgb(images: Any) -> Any:
    """Red, green, blue."""
    return image.hsv_to_rgb(images)


@op
def psnr(a: Any, b: Any, max_val: Any) -> Any:
    """The peak signal-to-noise ratio of each image in decibels."""
    difference = as_tensor(a).astype("float32") - as_tensor(b).astype("float32")
    error = maths.square(difference).mean((-3, -2, -1))
    return 20 * maths.log10(as_tensor(max_val).astype("float32")) - 10 * maths.log10(error)


__getattr__ = absent(__name__, globals())
