"""Images: against direct formulas, known cases, and finite differences."""

import numpy as np
import pytest

import hornbeam.ops.image as image
import hornbeam.ops.segment as segment
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.runtime.function import function
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import as_tensor

rng = np.random.default_rng(0)
IMAGES = rng.random((2, 6, 8, 3)).astype(np.float32)
METHODS = ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area"]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_resize_keeps_constants_and_layouts(method, antialias):
    for size in ((3, 5), (12, 16), (6, 3)):
        out = image.resize(IMAGES * 0 + 0.25, size, method, antialias).numpy()
        assert out.shape == (2, *size, 3)
        np.testing.assert_allclose(out, 0.25, rtol=1e-5)
        out = image.resize(IMAGES, size, method, antialias).numpy()
        first = image.resize(IMAGES[0].transpose(2, 0, 1), size, method, antialias, data_format="channels_first")
        np.testing.assert_allclose(first.numpy(), out[0].transpose(2, 0, 1), rtol=1e-5, atol=1e-6)
        traced = function(lambda x, s=size: image.resize(x, s, method, antialias))(IMAGES).numpy()
        assert np.all(traced == out)
    assert np.all(image.resize(IMAGES, (6, 8), method, antialias).numpy() == IMAGES)


def test_resize_by_two():
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    line = lambda *a, **k: image.resize(x, *a, **k).numpy().ravel().tolist()
    assert line((1, 8), "bilinear") == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert line((1, 8), "nearest") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert line((1, 2), "area") == [0.5, 2.5] == line((1, 2), "bilinear")
    assert line((1, 2), "bilinear", antialias=True) == pytest.approx([5 / 7, 16 / 7])
    assert image.resize((x * 50).astype(np.uint8), (1, 3)).numpy().dtype == np.uint8


def test_resize_to_aspect_ratio():
    cropped = image.resize(IMAGES, (3, 3), "nearest", crop_to_aspect_ratio=True).numpy()
    np.testing.assert_array_equal(cropped, image.resize(IMAGES[:, :, 1:7], (3, 3), "nearest").numpy())
    padded = image.resize(IMAGES, (8, 8), pad_to_aspect_ratio=True, fill_value=0.5).numpy()
    assert np.all(padded[:, [0, -1]] == 0.5) and np.all(padded[:, 1:-1] == IMAGES)


def test_scale_and_translate():
    x = IMAGES[0, :, :, 0]
    same = image.scale_and_translate(x, (6, 8), np.float32([1, 1]), np.float32([0, 2]), (0, 1)).numpy()
    np.testing.assert_allclose(same[:, 2:], x[:, :6], atol=1e-6)
    assert np.all(same[:, :2] == 0)
    resized = image.scale_and_translate(x, (12, 4), np.float32([2, 0.5]), np.float32([0, 0]), (0, 1), "cubic").numpy()
    np.testing.assert_allclose(resized, image.resize(x[..., None], (12, 4), "bicubic", True).numpy()[..., 0], atol=1e-5)


PADDED = {"constant": {"mode": "constant", "constant_values": 9}, "nearest": {"mode": "edge"}, "wrap": {"mode": "wrap"},
          "mirror": {"mode": "reflect"}, "reflect": {"mode": "symmetric"}}  # fmt: skip


@pytest.mark.parametrize("mode", PADDED)
def test_map_coordinates(mode):
    x = rng.random((4, 5))
    wide = np.pad(x, 10, **PADDED[mode])
    at = rng.random((2, 200)) * 16 - 6
    low = np.floor(at).astype(int)
    f, g = at - low
    i, j = low + 10
    corners = (wide[i, j], wide[i, j + 1], wide[i + 1, j], wide[i + 1, j + 1])
    weights = ((1 - f) * (1 - g), (1 - f) * g, f * (1 - g), f * g)
    want = sum(w * c for w, c in zip(weights, corners))
    np.testing.assert_allclose(image.map_coordinates(x, at, 1, mode, 9).numpy(), want, atol=1e-12)
    near = np.floor(at + 0.5).astype(int) + 10
    np.testing.assert_array_equal(image.map_coordinates(x, at, 0, mode, 9).numpy(), wide[near[0], near[1]])


def test_projections():
    shift = [1, 0, 2, 0, 1, -1, 0, 0]  # read two to the right and one up
    out = image.affine_transform(IMAGES, shift, fill_value=7).numpy()
    np.testing.assert_allclose(out[:, 1:, :6], IMAGES[:, :5, 2:], atol=1e-6)
    assert np.all(out[:, 0] == 7) and np.all(out[:, :, 6:] == 7)
    corners = np.float32([[0, 0], [7, 0], [0, 5], [7, 5]])
    same = image.perspective_transform(IMAGES, corners, corners).numpy()
    np.testing.assert_allclose(same[:, 1:-1, 1:-1], IMAGES[:, 1:-1, 1:-1], atol=1e-4)
    moved = corners + np.float32([[1, 0], [0, 1], [0, 0], [-1, -1]])
    a = image.compute_homography_matrix(moved[None], corners[None]).numpy()[0]
    x, y = corners.T
    k = a[6] * x + a[7] * y + 1
    np.testing.assert_allclose((a[0] * x + a[1] * y + a[2]) / k, moved[:, 0], atol=1e-4)
    np.testing.assert_allclose((a[3] * x + a[4] * y + a[5]) / k, moved[:, 1], atol=1e-4)


def test_filters():
    dot = np.zeros((1, 7, 7, 2), np.float32)
    dot[0, 3, 3] = 1
    blurred = image.gaussian_blur(dot, (5, 3), (1.0, 0.5)).numpy()
    bell = lambda n, s: np.exp(-0.5 * ((np.arange(n) - n // 2) / s) ** 2)
    want = np.outer(bell(5, 1.0) / bell(5, 1.0).sum(), bell(3, 0.5) / bell(3, 0.5).sum())
    np.testing.assert_allclose(blurred[0, 1:6, 2:5, 1], want, atol=1e-6)
    ramp = np.broadcast_to(np.arange(7, dtype=np.float32), (1, 7, 7))[..., None]
    edges = image.sobel_edges(ramp).numpy()
    assert edges.shape == (1, 7, 7, 1, 2) and np.all(edges[0, 1:-1, 1:-1, 0] == [0, 8])


def test_colours():
    np.testing.assert_allclose(image.hsv_to_rgb(image.rgb_to_hsv(IMAGES)).numpy(), IMAGES, atol=1e-6)
    assert image.rgb_to_hsv(np.float32([[[0, 0, 0.5], [0.5, 0.5, 0.5], [0, 0, 0]]])).tolist() == [
        [[pytest.approx(2 / 3), 1, 0.5], [0, 0, 0.5], [0, 0, 0]]
    ]
    grey = image.rgb_to_grayscale(IMAGES.transpose(0, 3, 1, 2), "channels_first").numpy()
    np.testing.assert_allclose(grey[:, 0], IMAGES @ np.float32([0.2989, 0.587, 0.114]), atol=1e-6)


def test_elastic_transform():
    out = image.elastic_transform(IMAGES, 2.0, 1.0, key=3).numpy()
    assert out.shape == IMAGES.shape and not np.allclose(out, IMAGES)
    assert np.all(image.elastic_transform(IMAGES, 0.0, 1.0, key=3).numpy() == IMAGES)
    assert np.all(image.elastic_transform(IMAGES, 2.0, 1.0, key=3).numpy() == out)


GRADIENTS = [
    (lambda x: image.resize(x, (4, 5), "bicubic", True), IMAGES.astype(np.float64)),
    (lambda x: image.map_coordinates(x, np.array([[0.3, 2.6], [4.2, 7.7]]), 1, "wrap"), rng.random((4, 6))),
    (lambda c: image.map_coordinates(rng.random((4, 6)) * 0 + np.arange(6.0), c), np.array([[0.3, 2.6], [1.2, 3.7]])),
    (lambda s: image.scale_and_translate(np.eye(6), (9, 6), s, np.zeros(1), (0,)), np.array([1.3])),
    (lambda x: image.gaussian_blur(x, (3, 3), (0.8, 1.2)), rng.random((5, 5, 2))),
    (image.rgb_to_hsv, rng.random((2, 2, 3))),
    (lambda x: segment.segment_prod(x, [0, 2, 0, 5], 4), rng.random((4, 2))),
]


@pytest.mark.parametrize("fn, x", GRADIENTS)
def test_gradients(fn, x):
    weights = np.cos(np.arange(fn(x).size)).reshape(fn(x).shape)
    source = as_tensor(x)
    with GradientTape() as tape:
        tape.watch(source)
        out = (fn(source) * weights).sum()
    direction = np.sin(np.arange(x.size) + 1).reshape(x.shape)
    h = 1e-6
    slope = ((fn(x + h * direction) - fn(x - h * direction)).numpy() * weights).sum() / (2 * h)
    assert abs((tape.gradient(out, source).numpy() * direction).sum() - slope) < 1e-5 * max(1, abs(slope))


def test_segments():
    data, ids = np.arange(8.0).reshape(4, 2), [0, 2, 0, -1]
    assert segment.segment_sum(data, ids).tolist() == [[4, 6], [0, 0], [2, 3]]
    assert segment.segment_max(data, ids, 2).tolist() == [[4, 5], [-np.inf, -np.inf]]
    assert segment.segment_min(np.int32(data), ids, 2).tolist() == [[0, 1], [2**31 - 1] * 2]
    assert segment.segment_prod(data, ids, 3).tolist() == [[0, 5], [1, 1], [2, 3]]
    assert segment.segment_max(data > 3, ids).tolist() == [[True] * 2, [False] * 2, [False] * 2]
    assert segment.segment_min(data > 3, ids).tolist() == [[False] * 2, [True] * 2, [False] * 2]
    with pytest.raises(ShapeError, match="segment_ids"):
        segment.segment_sum(data, [0, 1])


def test_mistakes():
    with pytest.raises(ShapeError, match="rank"):
        image.resize(IMAGES[0, 0], (2, 2))
    with pytest.raises(ValueError, match="area"):
        image.resize(IMAGES, (2, 2), "spline")
    with pytest.raises(DTypeError, match="rgb_to_hsv"):
        image.rgb_to_hsv(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ShapeError, match="same as the rank"):
        image.map_coordinates(IMAGES, np.zeros((2, 3)))
