"""Calls of Python for what they do: printing, assertions.

What nobody reads is dropped from a program, so an effect reads and updates a small state, ``TOKEN``; that also keeps
several effects in the order in which they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.base.spec import Spec
from hornbeam.ops import control
from hornbeam.ops.transforms import stop_gradient
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.tensor import as_tensor
from hornbeam.runtime.variable import Variable
from hornbeam.tensorflow.scopes import executing_eagerly

_SPEC = Spec((), np.dtype("int32"))
TOKEN = Variable(
    spec=_SPEC, home=None, initializer=lambda session: np.zeros((), np.int32), trainable=False, name="effects"
)


def effect(function: Callable[..., None], inputs: Sequence[Any]) -> Any:
    """Call ``function`` with the values of ``inputs``: now, or, while tracing, in every run of the program."""
    values = [stop_gradient(as_tensor(x)) for x in inputs]
    if executing_eagerly():
        function(*(v.array for v in values))
        return None

    def call(token: np.ndarray, *arrays: np.ndarray) -> tuple[np.ndarray]:
        function(*arrays)
        return (token,)

    (token,) = control.callback(call, [TOKEN.value(), *values], [TensorSpec((), "int32")])
    return TOKEN.assign(token)
