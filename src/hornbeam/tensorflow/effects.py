"""Calls of Python for what they do: printing, assertions, summaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.ops import control
from hornbeam.ops.transforms import stop_gradient
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow.scopes import executing_eagerly

_DONE = (np.zeros((), np.int32),)


def effect(function: Callable[..., None], inputs: Sequence[Any]) -> Any:
    """Call ``function`` with the values of ``inputs``: now, or, while tracing, in every run of the program.

    Effects are kept in their order. Returns None, or a tensor that is there once it has happened.
    """
    values = [stop_gradient(as_tensor(x)) for x in inputs]
    if executing_eagerly():
        function(*(v.array for v in values))
        return None

    def call(*arrays: np.ndarray) -> tuple[np.ndarray]:
        function(*arrays)
        return _DONE

    return control.callback(call, values, [TensorSpec((), "int32")])[0]
