"""What TensorFlow has at its root besides operations: its types, gradients in graphs, printing, the clock."""

from __future__ import annotations

import abc
import builtins
import enum
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hornbeam.base import tree
from hornbeam.errors import GradientError, InvalidArgumentError, SessionError, explain
from hornbeam.ops import control
from hornbeam.runtime import tensor as tensors
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.graph import GraphTensor, recording
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow.effects import effect
from hornbeam.tensorflow.names import op
from hornbeam.tensorflow.scopes import executing_eagerly
from hornbeam.tensorflow.variables import IndexedSlices, Variable

__all__ = [
    "IndexedSlices", "Tensor", "TypeSpec", "UnconnectedGradients", "Variable", "gradients", "numpy_function",
    "print", "timestamp",
]  # fmt: skip


class Tensor(abc.ABC):  # noqa: B024  (others register)
    """A tensor, eager, symbolic or of a graph: for ``isinstance`` and annotations. Made by operations only."""


Tensor.register(tensors.Tensor)
Tensor.register(GraphTensor)


class TypeSpec(abc.ABC):  # noqa: B024  (others register)
    """The type of a value: for ``isinstance``."""


TypeSpec.register(TensorSpec)


class UnconnectedGradients(enum.Enum):
    """What a gradient is where nothing connects target and source."""

    NONE = "none"
    ZERO = "zero"


def gradients(
    ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients", colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False, aggregation_method: Any = None, stop_gradients: Any = None,
    unconnected_gradients: UnconnectedGradients = UnconnectedGradients.NONE,
) -> list[Any]:  # fmt: skip
    """In a graph: d sum(ys) / dx for each x, None where nothing connects them.

    Raises SessionError outside a graph, GradientError for ``stop_gradients``.
    """
    graph = recording()
    if graph is None:
        raise SessionError(
            explain("tf.gradients works in graphs.", fix="with tf.GradientTape() as tape: …   tape.gradient(y, x)")
        )
    if stop_gradients is not None:
        raise GradientError(explain("gradients: stop_gradients is not there.", fix="y = f(tf.stop_gradient(x))"))
    found = graph.gradients(ys, xs, grad_ys)
    if unconnected_gradients is UnconnectedGradients.NONE:
        return found
    flat = list(xs) if isinstance(xs, (list, tuple)) else [xs]
    return [_zeros(x) if g is None else g for g, x in zip(found, flat, strict=True)]


@op
def _zeros(x: Any) -> Any:
    return as_tensor(x) * 0


def numpy_function(
    func: Callable[..., Any], inp: Sequence[Any], Tout: Any, stateful: bool = True, name: Any = None
) -> Any:
    """Call a Python function of arrays, now or, while tracing, whenever the program runs.

    ``Tout`` gives the dtype of each result; while tracing it must be a ``tf.TensorSpec``, as shapes must be known.
    Raises InvalidArgumentError if it is not.
    """
    single = not isinstance(Tout, (list, tuple)) or isinstance(Tout, TensorSpec)
    wanted = [Tout] if single else list(Tout)
    values = [as_tensor(x) for x in inp]
    if executing_eagerly():
        returned = func(*(v.numpy() for v in values))
        pairs = zip([returned] if single else returned, wanted, strict=True)
        outs = [as_tensor(np.asarray(r, np.dtype(getattr(t, "dtype", t)))) for r, t in pairs]
    elif all(isinstance(t, TensorSpec) for t in wanted):
        outs = list(control.callback(lambda *xs: [func(*xs)] if single else func(*xs), values, wanted))
    else:
        unknown = "numpy_function: the shapes of its results are not known."
        raise InvalidArgumentError(explain(unknown, fix="Tout=tf.TensorSpec(shape, dtype)"))
    return outs[0] if single else outs


def print(
    *inputs: Any, output_stream: Any = None, summarize: int = 3, sep: str = " ", end: str = "\n", name: Any = None
) -> Any:
    """Print tensors: now, or, while tracing, in every run. In a graph it returns the operation that prints.

    Args:
        output_stream: a file such as ``sys.stdout``; standard error by default.
        summarize: how many elements to show at each end of an axis; -1 shows all.
    """
    graph = recording()
    options = (output_stream or sys.stderr, summarize, sep, end)
    if graph is not None:
        return graph.record(_print, (list(inputs), options), {}, name or "print")
    _print(list(inputs), options)
    return None


def _print(inputs: Any, options: Any) -> Any:
    stream, summarize, sep, end = options
    flat, structure = tree.flatten(inputs)
    shown = [i for i, x in enumerate(flat) if hasattr(x, "shape")]

    def show(*arrays: np.ndarray) -> None:
        leaves = list(flat)
        for i, array in zip(shown, arrays, strict=True):
            edge = array.size if summarize < 0 else summarize
            leaves[i] = _Text(np.array2string(array, threshold=2 * edge, edgeitems=max(edge, 1)))
        parts = tree.unflatten(structure, leaves)
        builtins.print(*parts, sep=sep, end=end, file=stream, flush=True)

    return effect(show, [flat[i] for i in shown])


class _Text(str):
    """Shown without quotes inside lists."""

    def __repr__(self) -> str:
        return str(self)


def timestamp(name: Any = None) -> float:
    """Seconds since 1970."""
    return time.time()
