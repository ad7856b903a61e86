"""How TensorFlow's names are made: operations that take ``name=``, and modules that tell what they lack."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from hornbeam.runtime.graph import recording

GONE = {  # what TensorFlow has or had and we have not: what to write in its place
    "contrib": "tf.compat.v1.layers, tf.keras or plain operations",
    "estimator": "tf.keras.Model, or tf.compat.v1.Session with your own loop",
    "distribute": "one process for now",
    "saved_model": "model.save('model.keras'), or tf.train.Checkpoint",
    "lite": "model.save('model.keras')",
    "lookup": "a Python dict before the data becomes tensors",
    "strings": "Python strings before the data becomes tensors; tensors hold numbers only",
    "string": "Python strings before the data becomes tensors; tensors hold numbers only",
    "RaggedTensor": "a padded tensor and tf.sequence_mask",
    "SparseTensor": "a dense tensor, or tf.gather with indices",
    "py_function": "tf.numpy_function",
    "raw_ops": "the public function, such as tf.add",
    "python": "the public name; tensorflow.python is private to TensorFlow",
}


def op(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A TensorFlow operation: takes ``name=``, which names the operation that it is in a graph.

    Eagerly and in traces the name is dropped.
    """

    @functools.wraps(fn)
    def call(*args: Any, name: str | None = None, **kwargs: Any) -> Any:
        graph = recording()
        return fn(*args, **kwargs) if graph is None else graph.record(fn, args, kwargs, name or fn.__name__)

    return call


def ints(x: Any) -> tuple[int, ...]:
    """Axes or sizes as a tuple: from a number, a sequence or a tensor, known or computed from shapes."""
    return (int(x),) if getattr(x, "shape", None) == () or not hasattr(x, "__iter__") else tuple(int(i) for i in x)


def renamed(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """The operation ``fn`` of this runtime under TensorFlow's ``name``."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    functools.update_wrapper(call, fn)
    call.__name__ = call.__qualname__ = name
    return op(call)


def table(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Operations by TensorFlow's names, from operations of this runtime with the same arguments."""
    return {name: renamed(name, fn) for name, fn in rows.items()}


def absent(module: str, namespace: Mapping[str, Any], lazy: Mapping[str, str] | None = None) -> Callable[[str], Any]:
    """A module's ``__getattr__``: loads ``lazy`` names, and says what to write in place of a name that is not there."""

    def getattr_(name: str) -> Any:
        if lazy is not None and name in lazy:
            value = importlib.import_module(lazy[name])
            cast(Any, namespace)[name] = value
            return value
        raise _missing(module, name, [*namespace, *(lazy or ())])

    return getattr_


def _missing(module: str, name: str, known: list[str]) -> AttributeError:
    if name.startswith("_"):
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    shown = module.replace("hornbeam.tensorflow", "tf")
    message = f"{shown}.{name} is not part of Hornbeam's TensorFlow names."
    hint = GONE.get(name) or _in_v1(shown, name) or ""
    if not hint:
        near = difflib.get_close_matches(name, [n for n in known if not n.startswith("_")], 3, 0.7)
        hint = " or ".join(f"{shown}.{n}" for n in near)
    return AttributeError(f"{message}\n  Use {hint}." if hint else message, name=name)


def _in_v1(shown: str, name: str) -> str:
    """Where TensorFlow 2 keeps a name of TensorFlow 1."""
    if shown != "tf" or not hasattr(importlib.import_module("hornbeam.tensorflow.compat.v1"), name):
        return ""
    return f"tf.compat.v1.{name}, or import tensorflow.compat.v1 as tf in a TensorFlow 1 program"
