"""The package ``onnx`` is optional, and Keras gets our ``Model.export`` or says that it has none."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import hornbeam as hb
from hornbeam import keras, keras_setup
from hornbeam.errors import KerasSetupError, MissingPackageError
from hornbeam.export import keras_models, onnx_model


def test_without_onnx_the_error_has_the_command(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    for export in (
        lambda: hb.export_onnx(lambda x: x, tmp_path / "f.onnx", [hb.TensorSpec((1,))]),
        lambda: onnx_model(lambda x: x, [hb.TensorSpec((1,))]),
        lambda: model.export(tmp_path / "f.onnx", format="onnx"),
    ):
        with pytest.raises(MissingPackageError, match=r"pip install 'hornbeam\[onnx\]'"):
            export()
    assert list(tmp_path.iterdir()) == []


def test_models_export_is_ours() -> None:
    assert keras.Model.export is keras_models.export
    assert keras.Sequential.export is keras_models.export


def test_a_keras_without_export_is_told_of() -> None:
    with pytest.raises(KerasSetupError, match=r"no Model\.export"):
        keras_models.adjust(SimpleNamespace(Model=type("Model", (), {})))  # type: ignore[arg-type]


def test_export_stays_keras_own_on_another_backend(monkeypatch: Any) -> None:
    def run(module: Any) -> None:
        module.Model = type("Model", (), {"export": keras_models.adjust})

    module: Any = ModuleType(keras_setup.MODEL)
    monkeypatch.setattr(keras_setup, "backend", lambda: "jax")
    keras_setup._exporting(module, run)
    assert module.Model.export is keras_models.adjust
