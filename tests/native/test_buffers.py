"""Where arrays lie: what is read from an object is what NumPy says."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.engines.native import buffers

WHOLE = np.arange(24, dtype=np.float32).reshape(4, 6)


ARRAYS = [WHOLE, WHOLE[1:, 2:], WHOLE[::-1], WHOLE.T, np.zeros(()), np.zeros((0, 3)), WHOLE > 3]


@pytest.mark.parametrize("array", ARRAYS)
def test_address(array):
    assert buffers.address(array) == array.__array_interface__["data"][0] == buffers._by_interface(array)


def test_address_of_a_mapped_file(tmp_path):
    mapped = np.memmap(tmp_path / "data", np.int32, "w+", shape=(5,))
    assert buffers.address(mapped) == mapped.ctypes.data


def test_a_numpy_scalar_has_no_lasting_address_and_is_copied():
    x, one = hb.tensor(np.full(3, 2.0, np.float32)), hb.Tensor(np.float32(0.5))  # not an array, though it has a shape
    for _ in range(3):
        assert hb.minimum(x, one).tolist() == [0.5] * 3
