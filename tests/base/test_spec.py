"""Specs and the arithmetic of shapes: canonical results, and errors for whatever is not a shape."""

import numpy as np
import pytest

from hornbeam.base.spec import as_axes, as_axis, as_dim, as_shape, broadcast_shapes, spec
from hornbeam.errors import ShapeError


def test_a_spec_is_a_shape_and_a_dtype():
    s = spec((2, 3), "float64")
    assert (s.ndim, s.size, s.nbytes, str(s)) == (2, 6, 48, "float64[2,3]")
    assert str(spec(())) == "float32[]"
    assert spec([2]) == spec(2) == spec((np.int64(2),))


@pytest.mark.parametrize("shape", [(-1,), (2.0,), (True,), "ab", None, (2**30, 2**30), ((2,),), {1.5}])
def test_what_is_not_a_shape(shape):
    with pytest.raises(ShapeError):
        as_shape(shape)


def test_dimensions_are_ints():
    assert as_dim(np.uint8(3)) == 3
    for wrong in (3.0, True, np.bool_(True), "3", None):
        with pytest.raises(TypeError, match="must be an int"):
            as_dim(wrong)


def test_axes_are_counted_from_the_front():
    assert as_axis(-1, 3) == 2
    assert as_axes(None, 3) == (0, 1, 2)
    assert as_axes((-1, 0), 3) == (0, 2)
    assert as_axes(1, 3) == (1,)
    for wrong in (3, -4, 1.0, "x"):
        with pytest.raises(ShapeError):
            as_axis(wrong, 3)
    with pytest.raises(ShapeError, match="repeat"):
        as_axes((0, -3), 3)


@pytest.mark.parametrize(
    "shapes", [[(2, 3), (3,)], [(), (2,)], [(1, 4), (3, 1)], [(0, 2), (1, 2)], [(2,), (2,)], [(1,), (0,)]]
)
def test_broadcasting_is_numpys(shapes):
    assert broadcast_shapes(*shapes) == np.broadcast_shapes(*shapes)


def test_what_does_not_broadcast_says_why():
    with pytest.raises(ShapeError, match=r"sub: shapes \(32, 10\) and \(32,\)(.|\n)*y\[:, None\]"):
        broadcast_shapes((32, 10), (32,), name="sub")
