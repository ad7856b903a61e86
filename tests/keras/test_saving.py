"""Files: what was saved predicts and trains on as before, and reads back bit for bit."""

from __future__ import annotations

import copy
import json
import pickle
import zipfile

import numpy as np
import pytest

from hornbeam import keras

X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def build(optimizer="adam"):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, activation="gelu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


@pytest.fixture
def model():
    made = build()
    made.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    return made


def assert_same(a, b):
    np.testing.assert_array_equal(a.predict(X, verbose=0), b.predict(X, verbose=0))


def assert_trains_on_alike(a, b):
    """Also the optimizer's slots were kept."""
    for each in (a, b):
        each.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    assert_same(a, b)


def test_keras_file(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(model, loaded)
    assert_trains_on_alike(model, loaded)
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert "keras_version" in json.loads(archive.read("metadata.json"))


def test_weights_file(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    other = build()
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.h5")
    assert_same(model, other)
    assert_trains_on_alike(model, other)


def test_sharded_weights(model, tmp_path):
    model.save_weights(tmp_path / "model.weights.json", max_shard_size=3e-7)
    assert len([*tmp_path.iterdir()]) > 2
    other = build()
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.json")
    assert_same(model, other)


def test_hdf5_file(model, tmp_path):
    model.save(tmp_path / "model.h5")
    assert_same(model, keras.saving.load_model(tmp_path / "model.h5", compile=False))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies_train_on_alone(model, copied):
    other, before = copied(model), model.predict(X, verbose=0)
    assert_same(model, other)
    other.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)


def test_a_checkpoint_of_bfloat16(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, dtype="bfloat16")])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.weights[0].dtype == "bfloat16"
    assert_same(model, loaded)


def test_an_optimizer_written_on_pytorch(model, tmp_path):
    """There its module is the one that makes it fast, which cannot be imported without PyTorch."""
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    optimizer = config["compile_config"]["optimizer"]
    assert (optimizer["module"], optimizer["class_name"]) == ("keras.optimizers", "Adam")
    optimizer["module"] = "keras.src.backend.torch.optimizers.torch_adam"
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(tmp_path / "torch.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    loaded = keras.saving.load_model(tmp_path / "torch.keras")
    assert type(loaded.optimizer) is keras.optimizers.Adam
    assert_same(model, loaded)
    assert_trains_on_alike(model, loaded)


def test_code_in_a_file_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        keras.saving.load_model(tmp_path / "model.keras")
    assert_same(model, keras.saving.load_model(tmp_path / "model.keras", safe_mode=False))


def test_export_says_what_it_cannot_do(model, tmp_path):
    with pytest.raises(NotImplementedError, match="Hornbeam writes format='onnx'"):
        model.export(tmp_path / "exported", format="tf_saved_model")
