"""Quantized layers, where Keras's own tests have a branch for each of its backends and none for others."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras

LAYERS = {
    "Dense": lambda: keras.layers.Dense(5),
    "EinsumDense": lambda: keras.layers.EinsumDense("ab,bc->ac", output_shape=(5,)),
}


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_float8_statistics_are_what_training_saw(make, traced):
    """Each scale comes from the largest value of the steps before; the gradient's is found in the backward pass."""
    layer, random = make(), np.random.default_rng(0)
    layer.build((None, 4))
    layer.quantize("float8")
    optimizer = keras.optimizers.SGD(0.1)

    def step(x, g):
        with hb.GradientTape() as tape:
            loss = keras.ops.sum(layer(x, training=True) * g)
        optimizer.apply(tape.gradient(loss, layer.trainable_variables), layer.trainable_variables)

    if traced:
        optimizer.build(layer.trainable_variables)
        step = hb.function(step)
    seen = {"inputs": [], "kernel": [], "outputs_grad": []}
    for _ in range(3):
        x, g = random.normal(size=(6, 4)).astype("float32"), random.normal(size=(6, 5)).astype("float32")
        for name, value in zip(seen, (x, layer._kernel, g), strict=True):
            seen[name].append(np.abs(np.asarray(value)).max())
        step(x, g)
    for name, largest in seen.items():
        limit = 57344.0 if name == "outputs_grad" else 448.0  # e5m2 and e4m3
        history = np.asarray(getattr(layer, f"{name}_amax_history"))
        np.testing.assert_allclose(np.sort(history)[-3:], np.sort(largest))
        assert history[0] == largest[-1]
        np.testing.assert_allclose(getattr(layer, f"{name}_scale"), max(largest[:2]) / limit, rtol=1e-6)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantized_models_predict_nearly_the_same_and_survive_files(mode, tmp_path):
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(3)])
    x = np.random.default_rng(1).normal(size=(10, 8)).astype("float32")
    before = model.predict(x, verbose=0)
    model.quantize(mode)
    after = model.predict(x, verbose=0)
    assert 0 < np.abs(after - before).max() / np.abs(before).max() < {"int8": 0.03, "int4": 0.3, "float8": 0.1}[mode]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras").predict(x, verbose=0), after)


def test_lora_trains_the_small_matrices_only():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(1)])
    dense = model.layers[0]
    dense.enable_lora(2)
    model.compile("sgd", "mse")
    kernel, x = np.asarray(dense._kernel), np.random.default_rng(1).normal(size=(10, 8)).astype("float32")
    model.fit(x, x[:, :1], verbose=0, epochs=2)
    np.testing.assert_array_equal(dense._kernel, kernel)
    assert np.asarray(dense.lora_kernel_b).any()
    np.testing.assert_allclose(dense.kernel, kernel + dense.lora_kernel_a @ dense.lora_kernel_b, rtol=1e-6)
