"""Keras's image operations."""

from __future__ import annotations

from keras.src.backend.config import standardize_data_format
from keras.src.random.seed_generator import draw_seed

from hornbeam.ops import image
from keras_hornbeam.src.ops.core import convert_to_tensor
from keras_hornbeam.src.ops.promotion import together_floating

__all__ = [
    "affine_transform", "compute_homography_matrix", "elastic_transform", "gaussian_blur", "hsv_to_rgb",
    "map_coordinates", "perspective_transform", "resize", "rgb_to_grayscale", "rgb_to_hsv", "scale_and_translate",
    "sobel_edges",
]  # fmt: skip


def rgb_to_grayscale(images, data_format=None):
    return image.rgb_to_grayscale(convert_to_tensor(images), standardize_data_format(data_format))


def _floating_images(name, function, images, data_format):
    images = convert_to_tensor(images)
    if images.ndim in (3, 4) and images.dtype.kind in "biuc":
        raise ValueError(f"{name}: Invalid images dtype: expected float dtype. Received: {images.dtype.name}")
    return function(images, standardize_data_format(data_format))


def rgb_to_hsv(images, data_format=None):
    return _floating_images("rgb_to_hsv", image.rgb_to_hsv, images, data_format)


def hsv_to_rgb(images, data_format=None):
    return _floating_images("hsv_to_rgb", image.hsv_to_rgb, images, data_format)


def resize(
    images,
    size,
    interpolation="bilinear",
    antialias=False,
    crop_to_aspect_ratio=False,
    pad_to_aspect_ratio=False,
    fill_mode="constant",
    fill_value=0.0,
    data_format=None,
):
    return image.resize(
        convert_to_tensor(images),
        tuple(size),
        interpolation,
        antialias,
        crop_to_aspect_ratio,
        pad_to_aspect_ratio,
        fill_mode,
        fill_value,
        standardize_data_format(data_format),
    )


def affine_transform(
    images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0, data_format=None
):
    images, transform = convert_to_tensor(images), convert_to_tensor(transform)
    data_format = standardize_data_format(data_format)
    return image.affine_transform(images, transform, interpolation, fill_mode, fill_value, data_format)


def perspective_transform(
    images, start_points, end_points, interpolation="bilinear", fill_value=0, data_format=None
):
    images, start, end = (convert_to_tensor(x) for x in (images, start_points, end_points))
    data_format = standardize_data_format(data_format)
    return image.perspective_transform(images, start, end, interpolation, fill_value, data_format)


def compute_homography_matrix(start_points, end_points):
    return image.compute_homography_matrix(*together_floating(start_points, end_points))


def map_coordinates(inputs, coordinates, order, fill_mode="constant", fill_value=0):
    inputs, coordinates = convert_to_tensor(inputs), convert_to_tensor(coordinates)
    return image.map_coordinates(inputs, coordinates, order, fill_mode, fill_value)


def gaussian_blur(images, kernel_size=(3, 3), sigma=(1.0, 1.0), data_format=None):
    images, sigma = convert_to_tensor(images), convert_to_tensor(sigma)
    return image.gaussian_blur(images, kernel_size, sigma, standardize_data_format(data_format))


def elastic_transform(
    images,
    alpha=20.0,
    sigma=5.0,
    interpolation="bilinear",
    fill_mode="reflect",
    fill_value=0.0,
    seed=None,
    data_format=None,
):
    return image.elastic_transform(
        convert_to_tensor(images),
        convert_to_tensor(alpha),
        sigma,
        interpolation,
        fill_mode,
        fill_value,
        standardize_data_format(data_format),
        key=draw_seed(seed),
    )


def scale_and_translate(images, output_shape, scale, translation, spatial_dims, method, antialias=True):
    images, scale, translation = (convert_to_tensor(x) for x in (images, scale, translation))
    return image.scale_and_translate(images, output_shape, scale, translation, spatial_dims, method, antialias)


def sobel_edges(images, data_format=None):
    return image.sobel_edges(convert_to_tensor(images), standardize_data_format(data_format))
