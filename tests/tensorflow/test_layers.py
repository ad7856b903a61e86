"""TensorFlow 1's layers, losses and summaries."""

from __future__ import annotations

import struct

import numpy as np
import pytest

import hornbeam.tensorflow.compat.v1 as tf
from hornbeam.tensorflow import events


@pytest.fixture
def sess():
    with tf.Graph().as_default(), tf.Session() as sess:
        yield sess


def test_dense(sess):
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.layers.dense(x, 2, activation=tf.nn.relu, name="d", kernel_regularizer=lambda w: tf.reduce_sum(w * w))
    again = tf.layers.dense(x, 2, activation=tf.nn.relu, name="d", reuse=True)
    other = tf.layers.dense(x, 2)
    names = [v.name for v in tf.global_variables()]
    assert names == ["d/kernel:0", "d/bias:0", "dense/kernel:0", "dense/bias:0"]
    assert other.shape == (None, 2)
    sess.run(tf.global_variables_initializer())
    kernel, feed = sess.run("d/kernel:0"), np.random.rand(4, 3).astype("float32")
    a, b = sess.run([y, again], {x: feed})
    assert np.array_equal(a, b)
    np.testing.assert_allclose(a, np.maximum(feed @ kernel, 0), rtol=1e-5)
    np.testing.assert_allclose(sess.run(tf.losses.get_regularization_losses()), [(kernel**2).sum()], rtol=1e-5)
    assert tf.layers.dense(tf.zeros([2, 5, 3]), 4).shape == (2, 5, 4)
    with pytest.raises(ValueError, match="should be defined"):
        tf.layers.dense(tf.placeholder(tf.float32, [3, None]), 2)


def test_a_convolutional_network(sess):
    x = tf.placeholder(tf.float32, [None, 8, 8, 1])
    y = tf.layers.conv2d(x, 4, 3, padding="same", activation=tf.nn.relu)
    y = tf.layers.max_pooling2d(y, 2, 2)
    up = tf.layers.conv2d_transpose(y, 2, 3, strides=2, padding="same")
    flat = tf.layers.flatten(y)
    assert (y.shape, flat.shape, up.shape) == ((None, 4, 4, 4), (None, 64), (None, 8, 8, 2))
    sess.run(tf.global_variables_initializer())
    assert sess.run(flat, {x: np.ones((3, 8, 8, 1))}).shape == (3, 64)


def test_dropout(sess):
    x, training = tf.ones([1000]), tf.placeholder(tf.bool, [])
    y = tf.layers.dropout(x, 0.5, training=training)
    assert sess.run(y, {training: False}).tolist() == [1] * 1000
    dropped, again = (sess.run(y, {training: True}) for _ in range(2))
    assert set(dropped.tolist()) == {0, 2} and not np.array_equal(dropped, again)


def test_batch_normalization(sess):
    x, training = tf.placeholder(tf.float32, [None, 2]), tf.placeholder(tf.bool, [])
    y = tf.layers.batch_normalization(x, momentum=0.9, epsilon=0.0, training=training)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert [v.name for v in tf.trainable_variables()] == ["batch_normalization/gamma:0", "batch_normalization/beta:0"]
    sess.run(tf.global_variables_initializer())
    feed = np.random.default_rng(0).normal(3, 2, (50, 2)).astype("float32")
    found, _ = sess.run([y, updates], {x: feed, training: True})
    np.testing.assert_allclose(found, (feed - feed.mean(0)) / feed.std(0), rtol=1e-3, atol=1e-4)
    mean, variance = sess.run(["batch_normalization/moving_mean:0", "batch_normalization/moving_variance:0"])
    np.testing.assert_allclose(mean, 0.1 * feed.mean(0), rtol=1e-4)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * feed.var(0), rtol=1e-4)
    outside, _ = sess.run([y, updates], {x: feed, training: False})
    np.testing.assert_allclose(outside, (feed - mean) / np.sqrt(variance), rtol=1e-3, atol=1e-4)
    assert np.array_equal(sess.run("batch_normalization/moving_mean:0"), mean)


Y, P = np.array([[0.0, 1.0], [1.0, 1.0]], np.float32), np.array([[0.5, 0.5], [3.0, 1.0]], np.float32)
LOSSES = [
    (lambda: tf.losses.mean_squared_error(Y, P), np.mean((P - Y) ** 2)),
    (lambda: tf.losses.mean_squared_error(Y, P, weights=[[1.0], [0.0]]), np.mean((P - Y)[0] ** 2)),
    (lambda: tf.losses.mean_squared_error(Y, P, reduction=tf.losses.Reduction.SUM), np.sum((P - Y) ** 2)),
    (lambda: tf.losses.absolute_difference(Y, P), np.mean(np.abs(P - Y))),
    (lambda: tf.losses.huber_loss(Y, P), (0.125 + 0.125 + 1.5 + 0) / 4),
    (lambda: tf.losses.hinge_loss(Y, P), np.mean(np.maximum(0, 1 - (2 * Y - 1) * P))),
    (lambda: tf.losses.sigmoid_cross_entropy(Y, P), np.mean(np.log1p(np.exp(P)) - Y * P)),
    (lambda: tf.losses.softmax_cross_entropy(np.eye(2), P),
     np.mean(np.log(np.exp(P).sum(1)) - P[[0, 1], [0, 1]])),
    (lambda: tf.losses.sparse_softmax_cross_entropy([0, 1], P),
     np.mean(np.log(np.exp(P).sum(1)) - P[[0, 1], [0, 1]])),
]  # fmt: skip


@pytest.mark.parametrize("make, wanted", LOSSES)
def test_losses(sess, make, wanted):
    loss = make()
    np.testing.assert_allclose(sess.run([loss, tf.losses.get_total_loss()]), [wanted, wanted], rtol=1e-5)


def test_losses_want_equal_shapes(sess):
    with pytest.raises(ValueError, match="must have the same shape"):
        tf.losses.mean_squared_error(np.zeros(3), np.zeros((3, 1)))


# -- event files -----------------------------------------------------------------------------------------------------


def records(folder):
    """The records of the event files in a folder, checksums checked."""
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            assert struct.unpack("<I", data[8:12])[0] == events.masked_crc(data[:8])
            body, data = data[12 : 12 + size], data[12 + size :]
            assert struct.unpack("<I", data[:4])[0] == events.masked_crc(body)
            yield body
            data = data[4:]


def test_checksums():
    """CRC-32C of "123456789" is E3069283, then rotated by 15 bits and moved."""
    crc = 0xE3069283
    assert events.masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_summaries_of_a_graph(sess, tmp_path):
    loss = tf.placeholder(tf.float32, [])
    tf.summary.scalar("loss", loss)
    tf.summary.histogram("weights", tf.constant([1.0, 2.0, 3.0]))
    merged = tf.summary.merge_all()
    with tf.summary.FileWriter(str(tmp_path / "logs"), sess.graph) as writer:
        for step in (1, 2):
            writer.add_summary(sess.run(merged, {loss: 0.5 * step}), global_step=step)
        writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="mine", simple_value=3.0)]), 9)
    found = list(records(tmp_path / "logs"))
    assert len(found) == 4 and b"brain.Event:2" in found[0]
    assert b"\x0a\x04loss\x15" + struct.pack("<f", 1.0) in found[2] and b"weights" in found[2]
    assert b"\x10\x09" in found[3] and b"mine" in found[3]


def test_summaries_eagerly(tmp_path):
    import hornbeam.tensorflow as tf2

    assert tf2.summary.scalar("nowhere", 1.0, step=0) is False
    writer = tf2.summary.create_file_writer(str(tmp_path))

    @tf2.function
    def step(i):
        tf2.summary.scalar("loss", tf2.cast(i, "float32") * 2, step=i)

    with writer.as_default():
        for i in range(3):
            step(tf2.constant(i))
        with tf2.summary.record_if(False):
            assert tf2.summary.scalar("not", 1.0, step=0) is False
        with pytest.raises(ValueError, match="needs a step"):
            tf2.summary.scalar("loss", 1.0)
        tf2.summary.image("picture", np.zeros((1, 2, 2, 3)), step=0)
        tf2.summary.text("words", "hello", step=0)
    found = list(records(tmp_path))
    assert len(found) == 6 and b"\x15" + struct.pack("<f", 4.0) in found[3]
    assert b"\x89PNG" in found[4] and b"hello" in found[5]
