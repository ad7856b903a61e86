"""Where the elements of an array lie in memory."""

from __future__ import annotations

import ctypes

import numpy as np

_word = ctypes.c_size_t.from_address
_HEAD = object.__basicsize__


def _by_interface(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def _by_layout(a: np.ndarray) -> int:
    """By NumPy's C interface: the first field of an array, after the head that every object has, is that address.

    A call needs the addresses of all it is given, and this is an eighth of what asking the array takes.
    """
    return _word(id(a) + _HEAD).value


def _agree() -> bool:
    """Whether objects lie in memory as NumPy's C interface has them: not so where ``id`` is only a number."""
    if not hasattr(ctypes, "pythonapi"):
        return False
    return all(_by_layout(a) == _by_interface(a) for a in (np.zeros(()), np.zeros(3, np.int8)[1:]))


address = _by_layout if _agree() else _by_interface
