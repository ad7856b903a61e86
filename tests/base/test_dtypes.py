"""Promotion is JAX's lattice, as ``jax.numpy.promote_types`` gave it, but that our default floats have 32 bits."""

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.errors import DTypeError

NAMES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128",
]  # fmt: skip

# Each row: the dtype in which it meets each of NAMES, in that order.
# (JAX, with 64 bits enabled, has float64 for "float32?".)
TABLE = """
    bool:       bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128
    int8:       int8 int8 int16 int32 int64 int16 int32 int64 float32? float16 bfloat16 float32 float64 complex64 complex128
    int16:      int16 int16 int16 int32 int64 int16 int32 int64 float32? float16 bfloat16 float32 float64 complex64 complex128
    int32:      int32 int32 int32 int32 int64 int32 int32 int64 float32? float16 bfloat16 float32 float64 complex64 complex128
    int64:      int64 int64 int64 int64 int64 int64 int64 int64 float32? float16 bfloat16 float32 float64 complex64 complex128
    uint8:      uint8 int16 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128
    uint16:     uint16 int32 int32 int32 int64 uint16 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128
    uint32:     uint32 int64 int64 int64 int64 uint32 uint32 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128
    uint64:     uint64 float32? float32? float32? float32? uint64 uint64 uint64 uint64 float16 bfloat16 float32 float64 complex64 complex128
    float16:    float16 float16 float16 float16 float16 float16 float16 float16 float16 float16 float32 float32 float64 complex64 complex128
    bfloat16:   bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 float32 bfloat16 float32 float64 complex64 complex128
    float32:    float32 float32 float32 float32 float32 float32 float32 float32 float32 float32 float32 float32 float64 complex64 complex128
    float64:    float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 complex128 complex128
    complex64:  complex64 complex64 complex64 complex64 complex64 complex64 complex64 complex64 complex64 complex64 complex64 complex64 complex128 complex64 complex128
    complex128: complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128 complex128
"""  # noqa: E501

# With a Python bool, int, float and complex.
WEAK = """
    bool:       bool int32 float32 complex64
    int8:       int8 int8 float32 complex64
    int16:      int16 int16 float32 complex64
    int32:      int32 int32 float32 complex64
    int64:      int64 int64 float32 complex64
    uint8:      uint8 uint8 float32 complex64
    uint16:     uint16 uint16 float32 complex64
    uint32:     uint32 uint32 float32 complex64
    uint64:     uint64 uint64 float32 complex64
    float16:    float16 float16 float16 complex64
    bfloat16:   bfloat16 bfloat16 bfloat16 complex64
    float32:    float32 float32 float32 complex64
    float64:    float64 float64 float64 complex128
    complex64:  complex64 complex64 complex64 complex64
    complex128: complex128 complex128 complex128 complex128
"""


def rows(table: str) -> list[tuple[str, list[str]]]:
    lines = (line.replace("?", "").split(":") for line in table.strip().splitlines())
    return [(name.strip(), cells.split()) for name, cells in lines]


@pytest.mark.parametrize("name, expected", rows(TABLE), ids=NAMES)
def test_two_dtypes_meet(name, expected):
    assert [dtypes.result_type(dtypes.as_dtype(name), dtypes.as_dtype(other)).name for other in NAMES] == expected


@pytest.mark.parametrize("name, expected", rows(WEAK), ids=NAMES)
def test_python_numbers_are_weak(name, expected):
    scalars = (True, 2, 2.5, 2.5j)
    assert [dtypes.result_type(dtypes.as_dtype(name), s).name for s in scalars] == expected
    assert [dtypes.result_type(s, dtypes.as_dtype(name)).name for s in scalars] == expected


def test_numbers_alone_have_32_bits():
    assert [dtypes.result_type(s).name for s in (True, 2, 2.5, 2j)] == ["bool", "int32", "float32", "complex64"]
    assert dtypes.result_type(1, 2.0) == dtypes.float32
    assert [dtypes.weak_dtype(s).name for s in (True, 2, 2**40, 2.5, 2j)] == [
        "bool",
        "int32",
        "int64",
        "float32",
        "complex64",
    ]


def test_storage_formats_meet_nothing():
    with pytest.raises(DTypeError, match="no common dtype"):
        dtypes.result_type(dtypes.float8_e4m3fn, dtypes.float8_e5m2)


@pytest.mark.parametrize(
    "given", ["float32", np.float32, np.dtype("float32"), np.dtype(">f4").newbyteorder("="), float]
)
def test_what_names_a_dtype(given):
    assert dtypes.as_dtype(given) is dtypes.float32


@pytest.mark.parametrize("given", ["float33", "f", None, 3, object, np.dtype("U3"), np.dtype("M8[s]")])
def test_what_does_not_is_answered_with_the_valid_names(given):
    with pytest.raises(DTypeError, match=r"is not a dtype(.|\n)*bfloat16"):
        dtypes.as_dtype(given)


def test_kinds():
    assert dtypes.is_floating(dtypes.bfloat16) and dtypes.is_inexact(dtypes.complex64)
    assert not dtypes.is_floating(dtypes.int8) and dtypes.is_integer(dtypes.uint8) and dtypes.is_bool(dtypes.bool_)
    assert (dtypes.real_dtype(dtypes.complex128), dtypes.real_dtype(dtypes.float16)) == (dtypes.float64, dtypes.float16)
    assert (dtypes.complex_dtype(dtypes.float16), dtypes.complex_dtype(dtypes.float64)) == (
        dtypes.complex64,
        dtypes.complex128,
    )
