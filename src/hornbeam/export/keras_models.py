"""``Model.export`` on Hornbeam: ONNX is written by us, and for the other formats it says which backend writes them.

NOTE: Keras's own ``Model.export`` knows a fixed list of formats and asks for each whether the backend is TensorFlow,
JAX or PyTorch; there is no place to register another. So ``keras_setup`` has ours put in its place, where the backend
is Hornbeam, once the module has run.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

from hornbeam.errors import ExportError, KerasSetupError, UnsupportedFormatError, explain
from hornbeam.export import OPSET, require_onnx
from hornbeam.runtime.function import TensorSpec

ELSEWHERE = {  # the formats of Keras that are not ours: its function for each, and the backends that have it
    "tf_saved_model": ("export_saved_model", "tensorflow, jax and torch"),
    "litert": ("export_litert", "tensorflow and torch"),
    "openvino": ("export_openvino", "tensorflow, jax, torch and openvino"),
    "torch": ("export_torch", "torch"),
}


def adjust(module: ModuleType) -> None:
    """Put our ``export`` into ``Model``. Raises KerasSetupError if there is none to replace."""
    if not callable(getattr(module.Model, "export", None)):
        raise KerasSetupError(
            explain(
                "This Keras has no Model.export, so Hornbeam cannot make it write ONNX.",
                why="Keras has changed; Hornbeam has to follow.",
                fix="pip install the Keras that `hornbeam doctor` names",
            )
        )
    module.Model.export = export  # type: ignore[attr-defined]


def export(
    self: Any,
    filepath: Any,
    format: str = "tf_saved_model",
    verbose: bool | None = None,
    input_signature: Any = None,
    **kwargs: Any,
) -> None:
    """Export the model for inference, as ONNX: ``model.export("model.onnx", format="onnx")``.

    Args:
        filepath: where to write it.
        format: ``"onnx"``. The other formats of Keras are written on other backends; the error says how.
        verbose: whether to print where it was written; by default it is.
        input_signature: a structure of ``keras.InputSpec``, ``KerasTensor`` or tensors, of which the first dimension is
            the batch and None any size. By default that of the model's inputs, with a batch of any size.
        **kwargs: ``opset_version``, the version of ONNX's operators.

    Raises UnsupportedFormatError for another format, ExportError for a model that ONNX cannot express.
    """
    if format != "onnx":
        raise _other_format(format)
    opset = kwargs.pop("opset_version", None)
    if kwargs:
        raise TypeError(f"export(format='onnx') takes opset_version, not {', '.join(kwargs)}.")
    require_onnx()
    from hornbeam.export.model import build
    from hornbeam.export.proto import save

    signature, call = _signature(self, input_signature)
    model, arrays = build(call, signature, self.name, OPSET if opset is None else opset)
    save(model, arrays, os.fspath(filepath))
    if verbose or verbose is None:
        from keras.src.utils import io_utils

        io_utils.print_msg(f"Saved artifact at '{filepath}'.")


def _other_format(format: str) -> ExportError:
    if format not in ELSEWHERE:
        return ExportError(f"Unrecognized format={format!r}. On Hornbeam there is format='onnx'.")
    function, backends = ELSEWHERE[format]
    other = backends.partition(" ")[0].rstrip(",")
    return UnsupportedFormatError(
        explain(  # the first sentence is Keras's, for which programs (and its tests) may look
            f"`{function}` only currently supports the {backends} backends. Hornbeam writes format='onnx'.",
            why="Keras writes the others with those backends' compilers; a saved model loads there as it is.",
            fix=f"model.save('model.keras'), and in another process with KERAS_BACKEND={other}:\n"
            f"         keras.saving.load_model('model.keras').export(path, format={format!r})",
        )
    )


def _signature(model: Any, given: Any) -> tuple[list[TensorSpec], Any]:
    """The specs of the inputs as a list, and the model as a function of as many tensors."""
    from keras.src import tree
    from keras.src.export.export_utils import get_input_signature, make_input_spec

    structure = get_input_signature(model) if given is None else given
    if not isinstance(structure, (list, tuple)):
        structure = [structure]
    specs = []
    for i, leaf in enumerate(tree.flatten(structure)):
        spec = make_input_spec(leaf)
        shape = tuple("batch" if axis == 0 and d is None else d for axis, d in enumerate(spec.shape))
        specs.append(TensorSpec(shape, spec.dtype, spec.name or f"input_{i}"))  # type: ignore[arg-type]

    def call(*tensors: Any) -> Any:
        args = tree.pack_sequence_as(structure, list(tensors))
        return model(*args, training=False) if model._call_has_training_arg else model(*args)

    return specs, call
