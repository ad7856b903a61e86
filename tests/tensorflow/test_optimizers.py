"""TensorFlow 1's optimizers against their formulas in NumPy, in graphs and eagerly."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam.tensorflow.compat.v1 as tf

START = np.array([1.0, -2.0, 0.5], np.float32)


def descent(w, g, s, t):
    return w - 0.1 * g


def momentum(w, g, s, t):
    s["a"] = 0.9 * s.get("a", 0) + g
    return w - 0.1 * s["a"]


def nesterov(w, g, s, t):
    s["a"] = 0.9 * s.get("a", 0) + g
    return w - 0.1 * (g + 0.9 * s["a"])


def adagrad(w, g, s, t):
    s["a"] = s.get("a", 0.1) + g * g
    return w - 0.1 * g / np.sqrt(s["a"])


def rmsprop(w, g, s, t):
    s["r"] = 0.9 * s.get("r", 1.0) + 0.1 * g * g
    s["m"] = 0.5 * s.get("m", 0) + 0.1 * g / np.sqrt(s["r"] + 1e-10)
    return w - s["m"]


def centered(w, g, s, t):
    s["r"] = 0.9 * s.get("r", 1.0) + 0.1 * g * g
    s["g"] = 0.9 * s.get("g", 0.0) + 0.1 * g
    return w - 0.1 * g / np.sqrt(s["r"] - s["g"] ** 2 + 1e-10)


def adam(w, g, s, t):
    """The epsilon is added to the corrected root (epsilon-hat), which shows where gradients are small."""
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    return w - 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * s["m"] / (np.sqrt(s["v"]) + 0.1)


OPTIMIZERS = [
    (lambda: tf.train.GradientDescentOptimizer(0.1), descent, []),
    (lambda: tf.train.MomentumOptimizer(0.1, 0.9), momentum, ["w/Momentum:0"]),
    (lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True), nesterov, ["w/Momentum:0"]),
    (lambda: tf.train.AdagradOptimizer(0.1), adagrad, ["w/Adagrad:0"]),
    (lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5), rmsprop, ["w/RMSProp:0", "w/RMSProp_1:0"]),
    (lambda: tf.train.RMSPropOptimizer(0.1, centered=True), centered,
     ["w/RMSProp:0", "w/RMSProp_1:0", "w/RMSProp_2:0"]),
    (lambda: tf.train.AdamOptimizer(0.1, epsilon=0.1), adam,
     ["beta1_power:0", "beta2_power:0", "w/Adam:0", "w/Adam_1:0"]),
]  # fmt: skip
each = pytest.mark.parametrize("make, formula, slots", OPTIMIZERS, ids=lambda x: getattr(x, "__name__", ""))


def expected(formula, steps=5):
    w, state, out = START.astype(np.float64), {}, []
    for t in range(1, steps + 1):
        w = formula(w, 2 * w, state, t)  # the gradient of sum(w²)
        out.append(w)
    return out


@each
def test_in_a_graph(make, formula, slots):
    with tf.Graph().as_default():
        w = tf.Variable(START, name="w")
        optimizer = make()
        step = optimizer.minimize(tf.reduce_sum(tf.square(w)))
        assert [v.name for v in optimizer.variables()] == slots
        assert set(tf.global_variables()) == {w, *optimizer.variables()}
        assert tf.trainable_variables() == [w]
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            for wanted in expected(formula):
                sess.run(step)
                np.testing.assert_allclose(sess.run(w), wanted, rtol=1e-5, atol=1e-6)


@each
def test_eagerly(make, formula, slots):
    w, optimizer = tf.Variable(START, name="w"), make()
    for wanted in expected(formula):
        optimizer.minimize(lambda: tf.reduce_sum(tf.square(w)))
        np.testing.assert_allclose(w.numpy(), wanted, rtol=1e-5, atol=1e-6)


@pytest.fixture
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def test_steps_and_decay(graph):
    step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(1.0, step, 2, 0.5, staircase=True)
    w = tf.Variable(10.0)
    train = tf.train.GradientDescentOptimizer(rate).minimize(w, global_step=step)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        seen = [sess.run([rate, train, w])[0] for _ in range(4)]
        assert seen == [1, 1, 0.5, 0.5] and sess.run([step, w]) == [4, 7]
        assert tf.train.global_step(sess, step) == 4


DECAYS = [
    (lambda s: tf.train.exponential_decay(1.0, s, 2, 0.5), lambda t: 0.5 ** (t / 2)),
    (lambda s: tf.train.polynomial_decay(1.0, s, 4, 0.2, 2.0), lambda t: 0.8 * (1 - min(t, 4) / 4) ** 2 + 0.2),
    (lambda s: tf.train.inverse_time_decay(1.0, s, 2, 0.5), lambda t: 1 / (1 + 0.5 * t / 2)),
    (lambda s: tf.train.cosine_decay(1.0, s, 4), lambda t: 0.5 * (1 + np.cos(np.pi * min(t, 4) / 4))),
    (lambda s: tf.train.piecewise_constant(s, [1, 3], [1.0, 0.5, 0.1]), lambda t: [1, 1, 0.5, 0.5, 0.1, 0.1][t]),
]


@pytest.mark.parametrize("decay, formula", DECAYS)
def test_decays(decay, formula):
    for t in range(6):
        np.testing.assert_allclose(float(decay(tf.constant(t))), formula(t), rtol=1e-5, atol=1e-6)


def test_clipped_gradients(graph):
    w, unused = tf.Variable([3.0, 4.0]), tf.Variable(1.0)
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(tf.reduce_sum(w * w))
    assert [v for _, v in pairs] == [w, unused] and pairs[1][0] is None
    train = optimizer.apply_gradients([(tf.clip_by_norm(g, 1.0), v) for g, v in pairs if g is not None])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        np.testing.assert_allclose(sess.run(w), [2.4, 3.2], rtol=1e-6)


def test_no_gradient(graph):
    w = tf.Variable([3.0, 4.0])
    with pytest.raises(ValueError, match="No gradients provided"):
        tf.train.GradientDescentOptimizer(1.0).minimize(tf.cast(tf.argmax(w, 0), tf.float32))
    with pytest.raises(ValueError, match="No variables to optimize"), tf.Graph().as_default():
        tf.train.GradientDescentOptimizer(1.0).minimize(tf.constant(1.0))


def test_learning_rate_may_be_fed(graph):
    w, rate = tf.Variable(1.0), tf.placeholder(tf.float32, [])
    train = tf.train.GradientDescentOptimizer(rate).minimize(w)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train, {rate: 0.25})
        assert sess.run(w) == 0.75


def test_moving_average(graph):
    w = tf.Variable(1.0, name="w")
    average = tf.train.ExponentialMovingAverage(0.9)
    update = average.apply([w])
    assert average.average(w).name == "w/ExponentialMovingAverage:0"
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(w.assign(2.0))
        sess.run(update)
        np.testing.assert_allclose(sess.run(average.average(w)), 1.1, rtol=1e-6)


# -- saving ----------------------------------------------------------------------------------------------------------


def test_saver(graph, tmp_path):
    w, half = tf.Variable([1.0, 2.0], name="w"), tf.Variable(tf.constant([1.5, 3.0], tf.bfloat16), name="layer/half")
    step = tf.train.AdamOptimizer().minimize(tf.reduce_sum(w * w))
    saver, prefix = tf.train.Saver(max_to_keep=2), str(tmp_path / "model.ckpt")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(step)
        paths = [saver.save(sess, prefix, global_step=n) for n in (1, 2, 3)]
        values = sess.run(tf.global_variables())
    assert paths[-1] == f"{prefix}-3" == tf.train.latest_checkpoint(str(tmp_path))
    assert tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths == paths[1:]
    assert [tf.train.checkpoint_exists(p) for p in paths] == [False, True, True]
    assert ("layer/half", [2]) in tf.train.list_variables(paths[-1])
    with tf.Session() as sess:  # without an initializer
        saver.restore(sess, paths[-1])
        for found, wanted in zip(sess.run(tf.global_variables()), values, strict=True):
            assert found.dtype == wanted.dtype and np.array_equal(found, wanted)
    assert half.dtype == tf.bfloat16


def test_saver_restores_all_or_nothing(graph, tmp_path):
    w = tf.Variable([1.0, 2.0], name="w")
    prefix = str(tmp_path / "model.ckpt")
    with tf.Session() as sess:
        sess.run(w.initializer)
        tf.train.Saver({"v": w}).save(sess, prefix)
        with pytest.raises(tf.errors.NotFoundError, match="Key w not found in checkpoint"):
            tf.train.Saver().restore(sess, prefix)
    with tf.Graph().as_default(), tf.Session() as sess:
        a, b = tf.Variable(0.0, name="a"), tf.Variable([0.0], name="b")
        with pytest.raises(tf.errors.InvalidArgumentError, match="mismatch between the current graph"):
            tf.train.Saver({"v": b}).restore(sess, prefix)
        sess.run(tf.global_variables_initializer())
        assert sess.run([a, b]) == [0, [0]]
        with pytest.raises(ValueError, match="when it is None"):
            tf.train.Saver().restore(sess, None)
        with pytest.raises(ValueError, match="is not a checkpoint"):
            tf.train.Saver().restore(sess, prefix + "-7")


def test_saver_needs_variables_with_values(graph, tmp_path):
    with pytest.raises(ValueError, match="No variables to save"):
        tf.train.Saver()
    tf.Variable(1.0, name="w")
    with tf.Session() as sess, pytest.raises(tf.errors.FailedPreconditionError):
        tf.train.Saver().save(sess, str(tmp_path / "model.ckpt"))
