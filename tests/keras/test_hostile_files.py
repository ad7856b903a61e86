"""Files that no honest program writes are refused, with a reason, before anything of them is read, built or written."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import hornbeam as hb
from hornbeam import config as settings
from hornbeam import keras
from hornbeam.model_files import limits
from tests.keras import hostile

SECRET = 42.0
WHY = r"\n  \S.*\n  Fix: \S"  # a reason and what to do


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that a hostile one reaches for: it would fit the model."""
    path = tmp_path / "private" / "secret.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for name in ("x", "dense/vars/0", "layers/dense/vars/0"):
            file[name] = np.full((4, 3), SECRET, "f4")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder / "m.keras"


def refused(call, *args, match=WHY, **kwargs):
    with pytest.raises(hb.UnsafeFileError, match=match) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def as_file_object(path):
    return keras.saving.load_model(io.BytesIO(path.read_bytes()))


def as_folder(path):
    """The same unzipped, as it comes from a repository."""
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return keras.saving.load_model(folder)


def weights_of_it(path):
    hostile.model().load_weights(path)


WHOLE = [keras.saving.load_model, as_file_object]
WEIGHTS = [weights_of_it, keras.saving.KerasFileEditor]
each_of = pytest.mark.parametrize


def test_the_other_entrances_are_the_same(path, secret):
    from hornbeam.tensorflow import keras as tf_keras

    for other in keras.models, tf_keras.models:
        assert other.load_model is keras.saving.load_model
    hostile.weights_inside("external_link")(path, secret)
    refused(keras.saving.load_weights, hostile.model(), path)
    refused(hostile.model().load_weights, path, skip_mismatch=True)
    (path.parent / "backup").mkdir()
    hostile.weights_file(path.parent / "backup" / "latest.weights.h5", "external_link", secret)
    restoring = keras.callbacks.BackupAndRestore(path.parent / "backup")
    refused(hostile.model().fit, np.ones((4, 4)), np.ones((4, 3)), callbacks=[restoring], verbose=0)


# -- weights ---------------------------------------------------------------------------------------------------------


@each_of("enter", [*WHOLE, as_folder, *WEIGHTS], ids=lambda f: f.__qualname__)
@each_of("attack", hostile.HDF5)
def test_weights_inside_a_model(attack, enter, path, secret):
    hostile.weights_inside(attack)(path, secret)
    refused(enter, path)


@each_of("enter", WEIGHTS, ids=lambda f: f.__qualname__)
@each_of("attack", hostile.HDF5)
def test_a_file_of_weights(attack, enter, path, secret):
    file = path.with_name("m.weights.h5")
    hostile.weights_file(file, attack, secret)
    refused(enter, file)


@each_of("attack", hostile.HDF5)
def test_shards(attack, path, secret):
    file = path.with_name("m.weights.json")
    hostile.model().save_weights(file, max_shard_size=1)
    with h5py.File(path.with_name("m_00000.weights.h5"), "a") as shard:
        hostile.HDF5[attack](shard, hostile.KERNEL, secret)
    refused(weights_of_it, file)


@each_of("attack", hostile.HDF5)
def test_the_old_format(attack, path, secret):
    file = path.with_name("m.h5")
    hostile.legacy_file(file, attack, secret)
    refused(keras.saving.load_model, file)
    refused(keras.models.load_model, file, safe_mode=False)
    refused(weights_of_it, file)
    with h5py.File(file, "r") as opened:
        refused(keras.src.legacy.saving.legacy_h5_format.load_model_from_hdf5, opened)


def test_strings_in_an_attribute_that_could_be_the_same_large_one(path, secret):
    file = path.with_name("m.weights.h5")
    hostile.model().save_weights(file)
    with h5py.File(file, "a") as opened:
        hostile.repeated_strings(opened, hostile.KERNEL, secret)
    with settings.FILE_BYTES(1 << 30):
        refused(weights_of_it, file, match="weight_names")


# -- shards ----------------------------------------------------------------------------------------------------------


@each_of("name", ["../private/secret.weights.h5", "/etc/x.weights.h5", "..", "..\\x.weights.h5", "secret.h5", 7, None,
                  ["m_00000.weights.h5", "../x.weights.h5"]], ids=str)  # fmt: skip
def test_a_map_that_names_a_file_elsewhere(name, path):
    file = path.with_name("m.weights.json")
    hostile.model().save_weights(file, max_shard_size=1)
    found = json.loads(file.read_text())
    found["weight_map"]["/layers/dense/vars"] = name
    file.write_text(json.dumps(found))
    refused(weights_of_it, file)


@each_of("text", ["[]", "{}", "{", '{"weight_map": 3}', "[" * 100_000], ids=lambda text: text[:20])
def test_what_is_no_map(text, path):
    file = path.with_name("m.weights.json")
    file.write_text(text)
    refused(weights_of_it, file)


def test_a_shard_that_is_a_link(path, secret):
    file = path.with_name("m.weights.json")
    hostile.model().save_weights(file, max_shard_size=1)
    shard = path.with_name("m_00000.weights.h5")
    shard.unlink()
    shard.symlink_to(secret)
    refused(weights_of_it, file, match="secret")


# -- archives and folders --------------------------------------------------------------------------------------------


@each_of("enter", [*WHOLE, *WEIGHTS], ids=lambda f: f.__qualname__)
@each_of("attack", hostile.ARCHIVES)
def test_archives(attack, enter, path, secret, tmp_path):
    hostile.ARCHIVES[attack](path, secret)
    before = sorted(tmp_path.rglob("*"))
    refused(enter, path)
    assert sorted(tmp_path.rglob("*")) == before, "something was written"


def test_an_archive_larger_than_the_memory_it_may_have(path):
    hostile.model().save(path)
    with settings.FILE_BYTES(10_000):
        refused(keras.saving.load_model, path, match="HORNBEAM_FILE_BYTES")
    keras.saving.load_model(path)


@each_of("part", ["model.weights.h5", "config.json", "assets/vocabulary.txt"])
def test_a_folder_with_a_link_out_of_it(part, path, secret):
    hostile.model().save(path)
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    place = folder / part
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(secret)
    refused(keras.saving.load_model, folder, match="secret")


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
def test_a_folder_with_a_pipe_that_never_ends(path):
    hostile.model().save(path)
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    os.mkfifo(folder / "assets")
    refused(keras.saving.load_model, folder)


def test_a_link_within_a_folder_is_fine(path):
    model = hostile.model()
    model.save(path)
    folder = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    shutil.move(folder / "model.weights.h5", folder / "real.h5")
    (folder / "model.weights.h5").symlink_to("real.h5")
    np.testing.assert_array_equal(keras.saving.load_model(folder).get_weights()[0], model.get_weights()[0])


# -- configs ---------------------------------------------------------------------------------------------------------

BY_KERAS = {"function_of_python", "class_that_is_no_layer"}  # what is not its own and not registered, Keras never makes


@each_of("enter", [*WHOLE, as_folder], ids=lambda f: f.__qualname__)
@each_of("attack", hostile.CONFIGS)
def test_configs(attack, enter, path, secret, tmp_path):
    hostile.CONFIGS[attack](path, secret)
    floatx = keras.config.floatx()
    if attack in BY_KERAS:
        with pytest.raises((TypeError, ValueError), match="register_keras_serializable"):
            enter(path)
    else:
        refused(enter, path)
    assert keras.config.floatx() == floatx
    assert not [*tmp_path.rglob("planted")]


@each_of("attack", [name for name in hostile.CONFIGS if name not in BY_KERAS and "large" not in name])
def test_configs_alone(attack, path, secret):
    hostile.CONFIGS[attack](path, secret)
    with zipfile.ZipFile(path) as archive:
        text = archive.read("config.json").decode()
    if attack != "huge_layer":  # without weights beside it, a large model is what was asked for
        refused(keras.models.model_from_json, text)


@each_of("attack", ["deep", "rather_deep", "huge_layer", "wide_strings"])
def test_bombs_are_refused_without_safe_mode_too(attack, path, secret):
    hostile.CONFIGS[attack](path, secret)
    refused(keras.saving.load_model, path, safe_mode=False)


@each_of("attack", ["symlink", "asset_bomb", "overlapping"])
def test_archives_are_refused_without_safe_mode_too(attack, path, secret):
    hostile.ARCHIVES[attack](path, secret)
    refused(keras.saving.load_model, path, safe_mode=False)


def test_unsafe_deserialization_is_the_users_decision(path):
    hostile.lambda_code(path, None)
    refused(keras.saving.load_model, path, match="safe_mode=False")
    assert keras.saving.load_model(path, safe_mode=False).predict(np.ones((1, 4)), verbose=0)[0, 0] == 2
    keras.config.enable_unsafe_deserialization()
    try:
        assert keras.saving.load_model(path).predict(np.ones((1, 4)), verbose=0)[0, 0] == 2
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)


without_slots = pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # Keras says so

# -- what honest files need is allowed -------------------------------------------------------------------------------


@without_slots
def test_functions_that_models_compute_with(path):
    def built():
        x = inputs = keras.Input((8, 8, 3))
        for function in (keras.activations.relu, keras.ops.tanh, keras.applications.resnet50.preprocess_input):
            x = keras.layers.Lambda(function)(x)
        x = keras.layers.Conv2D(2, 3, activation="gelu", kernel_regularizer="l2", kernel_constraint="max_norm")(x)
        return keras.Model(inputs, keras.ops.mean(keras.ops.exp(x), axis=(1, 2)))

    model = built()
    model.compile("adam", keras.losses.mean_squared_error, metrics=[keras.metrics.mean_absolute_error])
    model.save(path)
    x = np.ones((2, 8, 8, 3), "float32")
    np.testing.assert_array_equal(keras.saving.load_model(path).predict(x, verbose=0), model.predict(x, verbose=0))


@without_slots
def test_a_function_that_the_program_has_registered(path):
    """Its module may be one of Keras's: an extension's, or Keras's own tests."""
    register = keras.saving.register_keras_serializable(package="mine")

    def halved(y, p):
        return keras.ops.mean(keras.ops.square(y - p), axis=-1) / 2

    halved.__module__ = "keras.src.extension"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", register(halved))
    model.save(path)
    try:
        assert keras.saving.load_model(path).loss is halved
    finally:
        keras.saving.get_custom_objects().pop("mine>halved")
    refused(keras.saving.load_model, path, match="mine>halved")


@without_slots
def test_an_optimizer_without_state_in_the_file(path):
    """Adam's slots are twice the weights, and are made when the model is loaded."""
    size = 3000
    model = keras.Sequential([keras.Input((size,)), keras.layers.Dense(size, kernel_initializer="zeros")])
    model.compile("adam", "mse")
    model.optimizer.built = False  # what is not built is not saved
    model.save(path)
    model = keras.saving.load_model(path)
    assert 3 * size * size * 4 > limits.SLACK
    assert len(model.optimizer.variables) == 2 + 2 * 2


def test_a_compressed_archive(path):
    hostile.model().save(path)
    members = {name: zipfile.ZipFile(path).read(name) for name in zipfile.ZipFile(path).namelist()}
    hostile.write(path, members, zipfile.ZIP_DEFLATED)
    keras.saving.load_model(path)


@each_of("name", ["none.keras", "none.weights.h5", "none.h5", "none.weights.json"])
def test_what_is_not_there_is_not_called_hostile(name, path):
    with pytest.raises((OSError, ValueError)) as caught:
        keras.saving.load_model(path.with_name(name)) if name.endswith("keras") else weights_of_it(path.with_name(name))
    assert not isinstance(caught.value, hb.UnsafeFileError)


def with_weights(path, weights, compression=zipfile.ZIP_STORED):
    """The model in a file, with other bytes in the place of its weights."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | {"model.weights.h5": weights}
    hostile.write(path, members, compression)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_weights_that_are_not_hdf5_are_not_called_hostile(compression, path):
    hostile.model().save(path)
    with_weights(path, bytes(5000), compression)
    with pytest.raises((OSError, ValueError)) as caught:
        keras.saving.load_model(path)
    assert not isinstance(caught.value, hb.UnsafeFileError)


def test_a_wrong_checksum_hides_no_link(path, secret):
    """What cannot be read to its end may be readable in parts, and Keras may read them."""
    hostile.weights_inside("external_link")(path, secret)
    checksum = zipfile.ZipFile(path).getinfo("model.weights.h5").CRC.to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(checksum, bytes(4)))
    with pytest.raises((hb.UnsafeFileError, zipfile.BadZipFile)):
        keras.saving.load_model(path)
