"""Keras models: exported with a batch of any size, run by ONNX Runtime, equal to ``predict``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import hornbeam as hb
from hornbeam import keras
from hornbeam.errors import ExportError
from tests.export.evaluate import kinds, on_reference, on_runtime

L = keras.layers


def sequence(*layers: Any) -> Any:
    return keras.Sequential(layers)


def cnn() -> Any:
    return sequence(
        keras.Input((12, 12, 1)),
        L.Conv2D(4, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling2D(),
        L.DepthwiseConv2D(3, strides=2, padding="same"), L.AveragePooling2D(2, padding="same"), L.Dropout(0.5),
        L.Conv2DTranspose(3, 3, strides=2), L.Flatten(), L.Dense(10, activation="softmax"),
    )  # fmt: skip


def transformer(times: int | None) -> Any:
    tokens = keras.Input((times,), dtype="int32")
    x = L.Embedding(50, 16)(tokens)
    y = L.LayerNormalization()(x)
    x = x + L.MultiHeadAttention(4, 4)(y, y, use_causal_mask=True)
    x = x + L.Dense(16)(L.Dense(32, activation="gelu")(L.LayerNormalization()(x)))
    return keras.Model(tokens, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(x)))


def activations() -> Any:
    x = keras.Input((8,))
    names = "relu relu6 leaky_relu elu selu celu gelu softplus softsign tanh sigmoid hard_sigmoid silu mish log_softmax"
    return keras.Model(x, [L.Activation(name)(x) for name in names.split()])


def floats(*shape: int) -> Callable[[int], np.ndarray]:
    return lambda batch: np.random.default_rng(batch).normal(size=(batch, *shape)).astype("float32")


def tokens(times: int) -> Callable[[int], np.ndarray]:
    return lambda batch: np.random.default_rng(batch).integers(0, 50, (batch, times)).astype("int32")


MODELS: dict[str, tuple[Callable[[], Any], Callable[[int], np.ndarray]]] = {
    "mlp": (lambda: sequence(keras.Input((4,)), L.Dense(8, activation="relu"), L.Dense(3)), floats(4)),
    "cnn": (cnn, floats(12, 12, 1)),
    "images of any size": (
        lambda: sequence(keras.Input((None, None, 3)), L.Conv2D(4, 3), L.MaxPooling2D(2), L.GlobalMaxPooling2D()),
        floats(9, 8, 3),
    ),
    "causal convolution": (
        lambda: sequence(keras.Input((None, 3)), L.Conv1D(4, 3, padding="causal", dilation_rate=2)), floats(9, 3)
    ),
    "lstm": (lambda: sequence(keras.Input((7, 4)), L.LSTM(8, return_sequences=True), L.LSTM(5)), floats(7, 4)),
    "gru, any length": (lambda: sequence(keras.Input((None, 4)), L.Bidirectional(L.GRU(5))), floats(9, 4)),
    "lstm with a mask": (
        lambda: sequence(keras.Input((None,), dtype="int32"), L.Embedding(50, 8, mask_zero=True), L.GRU(4), L.Dense(1)),
        tokens(6),
    ),
    "transformer": (lambda: transformer(10), tokens(10)),
    "transformer, any length": (lambda: transformer(None), tokens(13)),
    "normalizations": (
        lambda: sequence(
            keras.Input((6, 8)), L.GroupNormalization(4), L.UnitNormalization(), L.RMSNormalization(),
            L.Normalization(mean=1.0, variance=2.0), L.ZeroPadding1D(), L.Permute((2, 1)), L.Reshape((4, 16)),
        ),
        floats(6, 8),
    ),
    "activations": (activations, floats(8)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("name", MODELS)
def test_exported_model_predicts_the_same(name: str, tmp_path: Any) -> None:
    make, data = MODELS[name]
    keras.utils.set_random_seed(1)
    model = make()
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    onnx.checker.check_model(path, full_check=True)
    for batch in (1, 2, 5):
        x = data(batch)
        wants = model.predict(x, verbose=0)
        wants = wants if isinstance(wants, list) else [wants]
        for got, want in zip(on_runtime(path, [x]), wants, strict=True):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_trained_model_and_another_runtime(tmp_path: Any) -> None:
    model = MODELS["cnn"][0]()
    x, y = floats(12, 12, 1)(32), np.arange(32) % 10
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    model.export(tmp_path / "cnn.onnx", format="onnx", verbose=False)
    exported = onnx.load(tmp_path / "cnn.onnx")
    assert kinds(exported).count("Conv") == 2 and kinds(exported).count("ConvTranspose") == 1
    (got,) = on_reference(exported, [x[:3]])
    np.testing.assert_allclose(got, model.predict(x[:3], verbose=0), rtol=1e-5, atol=1e-5)


def test_the_graph_of_a_dense_layer_and_its_names(tmp_path: Any) -> None:
    layers = [keras.Input((4,), name="features"), L.Dense(8, activation="relu", name="hidden")]
    model = keras.Sequential(layers, name="net")
    model.export(tmp_path / "net.onnx", format="onnx", verbose=False)
    exported = onnx.load(tmp_path / "net.onnx")
    assert kinds(exported) == ["MatMul", "Add", "Relu"]
    assert exported.graph.name == "net"
    assert [v.name for v in exported.graph.input] == ["features"]
    assert [t.name for t in exported.graph.initializer] == ["net/hidden/kernel", "net/hidden/bias"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(exported.graph.initializer[0]), model.layers[0].kernel)


def test_several_inputs_and_outputs_under_their_names(tmp_path: Any) -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = keras.Model({"b": b, "a": a}, {"total": a + b, "beside": L.Concatenate()([a, b])})
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    exported = onnx.load(tmp_path / "m.onnx")
    assert {v.name for v in exported.graph.output} == {"total", "beside"}
    fed = {"a": floats(4)(3), "b": floats(4)(3) + 1}
    found = on_runtime(str(tmp_path / "m.onnx"), [fed[v.name] for v in exported.graph.input])
    wants = model.predict(fed, verbose=0)
    for value, got in zip(exported.graph.output, found, strict=True):
        np.testing.assert_allclose(got, wants[value.name], rtol=1e-6)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = L.Dense(3)

    def call(self, x: Any) -> Any:
        return {"scores": self.dense(x)}


def test_subclassed_models(tmp_path: Any) -> None:
    model, path = Subclassed(), str(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="built"):
        model.export(path, format="onnx")
    x = floats(4)(2)
    want = model(x)["scores"].numpy()
    model.export(path, format="onnx", verbose=False)
    np.testing.assert_allclose(on_runtime(path, [x])[0], want, rtol=1e-5, atol=1e-6)
    assert onnx.load(path).graph.output[0].name == "scores"


def test_input_signature_and_opset(tmp_path: Any, capsys: Any) -> None:
    model, path = MODELS["mlp"][0](), str(tmp_path / "m.onnx")
    signature = [keras.InputSpec(shape=(2, 4), dtype="float32")]
    model.export(path, format="onnx", input_signature=signature, opset_version=20)
    assert "Saved artifact" in capsys.readouterr().out
    exported = onnx.load(path)
    assert [d.dim_value for d in exported.graph.input[0].type.tensor_type.shape.dim] == [2, 4]
    assert exported.opset_import[0].version == 20
    with pytest.raises(TypeError, match="opset_version, not strict"):
        model.export(path, format="onnx", strict=True)


def test_hb_export_onnx_takes_a_model(tmp_path: Any) -> None:
    model, path = MODELS["mlp"][0](), tmp_path / "m.onnx"
    hb.export_onnx(model, path)
    whole = path.read_bytes()
    model.export(path, format="onnx", verbose=False)
    assert path.read_bytes() == whole


def test_a_model_lives_in_its_session(tmp_path: Any) -> None:
    with hb.Session():
        model = MODELS["mlp"][0]()
    with pytest.raises(hb.SessionClosedError):
        model.export(tmp_path / "m.onnx", format="onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["tf_saved_model", "litert", "openvino", "torch"])
def test_other_formats_say_where_they_are_written(format: str, tmp_path: Any) -> None:
    model = MODELS["mlp"][0]()
    backend = "torch" if format == "torch" else "tensorflow"
    with pytest.raises(NotImplementedError, match=rf"format='onnx'(.|\n)*model.save\(.*KERAS_BACKEND={backend}"):
        model.export(tmp_path / "m", format=format)
    with pytest.raises(ValueError, match="Unrecognized format='nonsense'"):
        model.export(tmp_path / "m", format="nonsense")
    assert list(tmp_path.iterdir()) == []


def test_what_keras_exports_by_default_is_refused_too(tmp_path: Any) -> None:
    with pytest.raises(ExportError, match="tf_saved_model"):
        MODELS["mlp"][0]().export(tmp_path / "m")


def test_random_layers_are_refused(tmp_path: Any) -> None:
    class Noisy(L.Layer):
        def call(self, x: Any) -> Any:
            return x + keras.random.normal((4,), seed=1)

    with pytest.raises(ExportError, match="random_bits cannot be exported"):
        sequence(keras.Input((4,)), Noisy()).export(tmp_path / "m.onnx", format="onnx")


def test_stateful_layers_are_refused(tmp_path: Any) -> None:
    model = sequence(keras.Input(batch_shape=(2, 3, 4)), L.LSTM(2, stateful=True))
    signature = [keras.InputSpec(shape=(2, 3, 4), dtype="float32")]
    with pytest.raises(ExportError, match="assigns variables"):
        model.export(tmp_path / "m.onnx", format="onnx", input_signature=signature)
