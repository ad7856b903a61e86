"""Running what was exported: on ONNX's own reference, and on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from hornbeam.base import dtypes


def on_reference(model: onnx.ModelProto, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, _fed(model, arrays))


def on_runtime(model: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``model``: a ModelProto, or a path."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], arrays, strict=True)))


def _fed(model: onnx.ModelProto, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip([i.name for i in model.graph.input], arrays, strict=True))


SERVED = (dtypes.float32, dtypes.int32, dtypes.int64, dtypes.bool_)
