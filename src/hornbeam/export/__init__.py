"""Writing what Hornbeam runs in formats that others run. The format is ONNX.

    hb.export_onnx(fn, "fn.onnx", [hb.TensorSpec((None, 4))])
    model.export("model.onnx", format="onnx")                     # a Keras model

A Program's rows become ONNX's operators one by one (``rules``), variables become initializers under their names. For
dimensions that are not known the function is traced at two sizes (``dims``, ``pairing``).

NOTE: nothing here imports the ``onnx`` package before something is exported; it is the extra ``hornbeam[onnx]``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hornbeam.errors import MissingPackageError
from hornbeam.runtime.function import Function

OPSET = 22  # of ONNX 1.17: bfloat16 everywhere, and runtimes of today have had time to follow


def export_onnx(
    fn: Callable[..., Any], path: Any, signature: Sequence[Any] | None = None, *, opset: int = OPSET
) -> None:
    """Write ``fn`` as an ONNX model to ``path``.

    fn: a function of tensors, traced or not; or a Keras model. Variables that it reads are written with their values.
    signature: for each argument a ``TensorSpec`` or a structure of them. In its shape a number is a fixed size, None
      any size, and a name (``"time"``) any size that is the same wherever the name stands. May be left out for a
      function with an ``input_signature``, and for a Keras model.
    opset: the version of ONNX's operators.
    Weights beyond 2 GiB go into a second file, ``path + ".data"``.

    Raises ExportError for what ONNX cannot say, with the operation and the line that made it; MissingPackageError if
    the ``onnx`` package is not installed.
    """
    require_onnx()
    models = sys.modules.get("keras.src.models.model")
    if signature is None and models is not None and isinstance(fn, models.Model):
        fn.export(path, format="onnx", verbose=False, opset_version=opset)
        return
    model, arrays = _build(fn, signature, opset)
    _part("proto").save(model, arrays, os.fspath(path))


def onnx_model(fn: Callable[..., Any], signature: Sequence[Any] | None = None, *, opset: int = OPSET) -> Any:
    """The same as an ``onnx.ModelProto``, of at most 2 GiB."""
    require_onnx()
    return _part("proto").embed(*_build(fn, signature, opset))


def _build(fn: Callable[..., Any], signature: Sequence[Any] | None, opset: int) -> Any:
    name = str(getattr(fn, "name", None) or getattr(fn, "__name__", "function"))
    if signature is None and isinstance(fn, Function):
        signature = fn.input_signature
    if signature is None:
        raise _part("model").missing_signature(name)
    return _part("model").build(fn, signature, name, opset)


def _part(name: str) -> Any:
    return importlib.import_module(f"hornbeam.export.{name}")


def require_onnx() -> None:
    """Raises MissingPackageError, with the command that installs it, if there is no ``onnx``."""
    try:
        importlib.import_module("onnx")
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise MissingPackageError(
            "Exporting to ONNX needs the package onnx, which is not installed.\n  Fix: pip install 'hornbeam[onnx]'"
        ) from None
