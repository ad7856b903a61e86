"""Running what was exported: on ONNX's own reference, and on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator


def on_reference(model: onnx.ModelProto, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        found = ReferenceEvaluator(model).run(None, dict(zip([i.name for i in model.graph.input], arrays, strict=True)))
    return [np.asarray(x) for x in found]


def on_runtime(model: onnx.ModelProto | str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``model``: the model, or the file that it is in."""
    session = onnxruntime.InferenceSession(
        model if isinstance(model, str) else model.SerializeToString(), _options(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], arrays, strict=True)))


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; it warns of what it optimizes
    return options


def kinds(model: onnx.ModelProto) -> list[str]:
    """The operators of a model, in their order."""
    return [node.op_type for node in model.graph.node]
