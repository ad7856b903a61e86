"""Checkpoints of `Saver` and `tf.train.Checkpoint` that no `save` wrote."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

import hornbeam as hb
import hornbeam.tensorflow as tf
from hornbeam import config

WHY = r"\n  \S.*\n  Fix: \S"


@pytest.fixture
def prefix(tmp_path):
    return str(tmp_path / "run" / "model")


def array(data, **header) -> bytes:
    file = io.BytesIO()
    if header:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, **header})
    else:
        np.lib.format.write_array(file, data, allow_pickle=True)
    return file.getvalue()


def write(prefix, members, compression=0):
    tf.io.gfile.makedirs(prefix.rpartition("/")[0])
    with zipfile.ZipFile(f"{prefix}.npz", "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def restorers(prefix):
    def saver():
        with tf.compat.v1.Graph().as_default(), tf.compat.v1.Session() as sess:
            tf.compat.v1.get_variable("x", [3])
            tf.compat.v1.train.Saver().restore(sess, prefix)

    yield saver
    yield lambda: tf.train.Checkpoint(x=tf.Variable(np.zeros(3, "f4"))).restore(prefix)
    yield lambda: tf.train.list_variables(prefix)


def refused(prefix, match=WHY):
    for restore in restorers(prefix):
        with pytest.raises(hb.UnsafeFileError, match=match):
            restore()


def test_pickled_objects(prefix):
    write(prefix, {"x.npy": array(np.array([print, 1], object))})
    refused(prefix, "pickled")


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 30, 1 << 30), (-1,)], ids=str)
def test_shapes_that_the_file_does_not_hold(shape, prefix):
    write(prefix, {"x.npy": array(None, shape=shape)})
    refused(prefix)


def test_a_bomb(prefix):
    write(prefix, {"x.npy": array(np.zeros(17 << 20, "f4"))}, zipfile.ZIP_DEFLATED)
    refused(prefix, "decompression bomb")


def test_more_than_the_memory_it_may_have(prefix):
    write(prefix, {"x.npy": array(np.zeros(3000, "f4"))})
    with config.FILE_BYTES(8000):
        refused(prefix, "HORNBEAM_FILE_BYTES")


@pytest.mark.parametrize("data", [b"", b"x" * 50, b"\x93NUMPY\x07\x00", array(None, shape=(3,))[:40]], ids=len)
def test_what_is_no_array(data, prefix):
    write(prefix, {"x.npy": data})
    refused(prefix)


def test_what_is_no_archive(prefix):
    write(prefix, {})
    for data in (b"", b"\x80\x04."):
        with open(f"{prefix}.npz", "wb") as file:
            file.write(data)
        refused(prefix)


@pytest.mark.parametrize("elsewhere", ["../../private/model", "/etc/model"])
def test_a_folder_that_names_a_checkpoint_elsewhere(elsewhere, prefix):
    folder = prefix.rpartition("/")[0]
    tf.train.Checkpoint(x=tf.Variable(np.zeros(3, "f4"))).save(prefix)
    assert tf.train.latest_checkpoint(folder).startswith(prefix)
    with open(f"{folder}/checkpoint", "w") as file:
        file.write(f'model_checkpoint_path: "{elsewhere}"\n')
    with pytest.raises(hb.UnsafeFileError, match=WHY):
        tf.train.latest_checkpoint(folder)
    with pytest.raises(hb.UnsafeFileError, match=WHY):
        tf.train.get_checkpoint_state(folder)
