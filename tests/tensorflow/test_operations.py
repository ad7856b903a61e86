"""TensorFlow's operations: one line each, the same eagerly, in a function and in a graph."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam.tensorflow.compat.v1 as tf1
from hornbeam import tensorflow as tf
from hornbeam.errors import ShapeError

A = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
IMAGE = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)

FIXED = [2, 2]  # where a graph must know how many rows there are

TABLE = [  # operation of A, NumPy's value, shape of the placeholder in a graph
    (lambda a: tf.constant([1, 2], shape=[2, 1]), [[1], [2]]),
    (lambda a: tf.fill([2], 3) + tf.size(a), [7, 7]),
    (lambda a: tf.reshape(a, [tf.shape(a)[0] * 2, -1]), A.reshape(4, 1)),
    (lambda a: tf.transpose(a), A.T),
    (lambda a: tf.concat([a, a], 0), np.concatenate([A, A])),
    (lambda a: tf.stack([a, a], axis=1), np.stack([A, A], 1)),
    (lambda a: tf.unstack(a)[1], A[1], FIXED),
    (lambda a: tf.split(a, 2, axis=1)[1], A[:, 1:]),
    (lambda a: tf.split(a, [1, -1])[1], A[1:]),
    (lambda a: tf.gather(a, [1, 0], axis=1), A[:, [1, 0]]),
    (lambda a: tf.gather(a, [[0], [1]], batch_dims=1), [[1], [4]]),
    (lambda a: tf.gather_nd(a, [[0, 1], [1, 0]]), [2, 3]),
    (lambda a: tf.where(a > 2, a, 0.0), np.where(A > 2, A, 0)),
    (lambda a: tf.pad(a, [[1, 0], [0, 1]]), np.pad(A, [(1, 0), (0, 1)])),
    (lambda a: tf.tile(a, [1, 2]), np.tile(A, (1, 2))),
    (lambda a: tf.slice(a, [0, 1], [-1, 1]), A[:, 1:]),
    (lambda a: tf.one_hot([0, 2, -1], 3, on_value=5.0, off_value=1.0), [[5, 1, 1], [1, 1, 5], [1, 1, 1]]),
    (lambda a: tf.range(1.0, 2.0, 0.25), np.arange(1, 2, 0.25)),
    (lambda a: tf.range(tf.shape(a)[0]), [0, 1]),
    (lambda a: tf.sequence_mask([1, 3], 3), [[1, 0, 0], [1, 1, 1]]),
    (lambda a: tf.cast(a, tf.int32), A.astype(int)),
    (lambda a: tf.reduce_sum(a, axis=1, keepdims=True), A.sum(1, keepdims=True)),
    (lambda a: tf.reduce_mean(a, [0, 1]), 2.5),
    (lambda a: tf.reduce_mean(tf.constant([1, 2])), 1),
    (lambda a: tf.argmax(a), [1, 1]),
    (lambda a: tf.math.reduce_std(a, 0), A.std(0)),
    (lambda a: tf.cumsum(a, axis=1, exclusive=True), [[0, 1], [0, 3]]),
    (lambda a: tf.math.cumprod(a, reverse=True, exclusive=True), [[3, 4], [1, 1]]),
    (lambda a: tf.clip_by_value(a, 2, 3), A.clip(2, 3)),
    (lambda a: tf.clip_by_norm(a, 1.0), A / np.linalg.norm(A)),
    (lambda a: tf.clip_by_global_norm([a, None, a], 1.0)[0][2], A / np.sqrt(2 * (A**2).sum())),
    (lambda a: tf.math.l2_normalize(a, 1), A / np.linalg.norm(A, axis=1, keepdims=True)),
    (lambda a: tf.math.top_k(a, 1)[0], [[2], [4]]),
    (lambda a: tf.math.in_top_k([0, 1], a, 1), [False, True], FIXED),
    (lambda a: tf.math.confusion_matrix([0, 1, 1], [0, 0, 1], 2), [[1, 0], [1, 1]]),
    (lambda a: tf.math.unsorted_segment_mean(a, [1, 1], 3), [[0, 0], [2, 3], [0, 0]], FIXED),
    (lambda a: tf.matmul(a, a, transpose_a=True), A.T @ A),
    (lambda a: tf.tensordot(a, a, [[1], [0]]), A @ A, FIXED),
    (lambda a: tf.einsum("ij,kj->ik", a, a), A @ A.T),
    (lambda a: tf.norm(a, axis=1), np.linalg.norm(A, axis=1)),
    (lambda a: tf.sort(a, direction="DESCENDING"), [[2, 1], [4, 3]]),
    (lambda a: tf.tensor_scatter_nd_add(a, [[0], [0]], [[1.0, 1.0], [1.0, 1.0]]), [[3, 4], [3, 4]]),
    (lambda a: tf.nn.leaky_relu(-a), -0.2 * A),
    (lambda a: tf.nn.bias_add(a, [1.0, 2.0]), A + [1, 2]),
    (lambda a: tf.nn.moments(a, [0])[1], A.var(0)),
    (lambda a: tf.nn.batch_normalization(a, 1.0, 4.0, 0.5, 2.0, 0.0), (A - 1) + 0.5),
    (lambda a: tf.nn.l2_loss(a), 15),
    (lambda a: tf.nn.embedding_lookup(a, [1, 1]), A[[1, 1]]),
    (lambda a: tf.nn.softmax_cross_entropy_with_logits([[0.0, 1.0]] * 2, a), np.log1p(np.exp(-1)) * np.ones(2), FIXED),
    (lambda a: tf.nn.sparse_softmax_cross_entropy_with_logits([1, 0], a), np.log1p(np.exp([-1, 1])), FIXED),
    (lambda a: tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.ones_like(a), logits=a), np.log1p(np.exp(-A))),
    (lambda a: tf.nn.weighted_cross_entropy_with_logits(tf.ones_like(a), a, 3.0), 3 * np.log1p(np.exp(-A))),
    (lambda a: tf.nn.max_pool(IMAGE, [1, 2, 2, 1], [1, 2, 2, 1], "VALID"), [[[[5], [7]], [[13], [15]]]]),
    (lambda a: tf.nn.avg_pool2d(IMAGE, 2, 2, "SAME"), [[[[2.5], [4.5]], [[10.5], [12.5]]]]),
    (lambda a: tf.nn.conv2d(IMAGE, tf.ones([4, 4, 1, 1]), 1, "VALID"), [[[[120]]]]),
    (lambda a: tf.linalg.diag_part(tf.linalg.diag([1.0, 2.0], k=1), k=1), [1, 2]),
    (lambda a: tf.linalg.band_part(a, 0, -1), np.triu(A)),
    (lambda a: tf.linalg.set_diag(a, [0.0, 0.0]), [[0, 2], [3, 0]]),
    (lambda a: tf.linalg.solve(a, a), np.eye(2), FIXED),
    (lambda a: tf.image.flip_left_right(IMAGE[0])[0, :, 0], [3, 2, 1, 0]),
    (lambda a: tf.image.resize_with_crop_or_pad(IMAGE[0], 2, 6)[0, :, 0], [0, 4, 5, 6, 7, 0]),
    (lambda a: tf.image.convert_image_dtype(tf.constant([0.0, 0.5, 1.0]), tf.uint8), [0, 127, 255]),
    (lambda a: tf.cond(a[0, 0] > 0, lambda: a + 1, lambda: a), A + 1),
    (lambda a: tf.case([(a[0, 0] > 5, lambda: a)], default=lambda: a * 2), A * 2),
    (lambda a: tf.switch_case(tf.cast(a[0, 1], tf.int32), [lambda: a, lambda: a, lambda: a * 2]), A * 2),
    (lambda a: tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x + a), [0, tf.zeros_like(a)])[1], 3 * A),
    (lambda a: tf.while_loop(
        lambda x: True, lambda x: x + a, [a * 0], maximum_iterations=tf.cast(a[1, 0], tf.int32)
    )[0], 3 * A),
    (lambda a: tf.map_fn(lambda row: row * 2 + tf.reduce_sum(a), a), 2 * A + 10),
    (lambda a: tf.scan(lambda total, row: total + row, a, initializer=tf.zeros([2])), A.cumsum(0)),
    (lambda a: tf.foldr(lambda total, row: total * 2 + row, a, tf.zeros([2])), A[1] * 2 + A[0]),
]


@pytest.mark.parametrize("mode", ["eager", "function", "graph"])
@pytest.mark.parametrize("number", range(len(TABLE)))
def test_value(number, mode):
    operation, wanted, *shape = TABLE[number]
    if mode == "eager":
        found = operation(tf.constant(A))
    elif mode == "function":
        found = tf.function(operation)(A)
    else:
        with tf.Graph().as_default(), tf1.Session() as sess:
            x = tf1.placeholder(tf.float32, *(shape or [[None, 2]]))
            found = sess.run(operation(x), {x: A})
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size, padding, wanted", [(2, "SAME", 8), (3, "SAME", 8), (3, "SAME", 7), (3, "VALID", 9)])
def test_transposed_convolution_has_the_shape_asked_for(size, padding, wanted):
    x, kernel = tf.random.normal([1, 4, 4, 3]), tf.random.normal([size, size, 2, 3])
    y = tf.nn.conv2d_transpose(x, kernel, [1, wanted, wanted, 2], 2, padding)
    assert y.shape == (1, wanted, wanted, 2)
    z = tf.random.normal(y.shape)  # it is the transpose: <conv z, x> = <z, conv_transpose x>
    there = tf.reduce_sum(tf.nn.conv2d(z, kernel, 2, padding) * x)
    np.testing.assert_allclose(there, tf.reduce_sum(z * y), rtol=1e-4)


def test_transposed_convolution_of_a_wrong_shape():
    with pytest.raises(ShapeError):
        tf.nn.conv2d_transpose(tf.ones([1, 4, 4, 1]), tf.ones([3, 3, 1, 1]), [1, 20, 20, 1], 2, "SAME")


def test_dtypes():
    assert tf.constant(1.5).dtype == tf.float32 and tf.constant(3).dtype == tf.int32
    assert tf.constant(np.zeros(2)).dtype == tf.float64
    assert tf.as_dtype("float32") is tf.float32 and tf.float32.name == "float32"
    assert isinstance(tf.constant(1), tf.Tensor) and not isinstance(1, tf.Tensor)


def test_old_arguments():
    assert tf1.reduce_sum(A, reduction_indices=1, keep_dims=True).shape == (2, 1)
    assert tf1.argmax(A, dimension=1).numpy().tolist() == [1, 1]
    assert tf1.div(7, 2).numpy() == 3 and tf1.div(7.0, 2.0).numpy() == 3.5
    assert tf1.to_int32(2.7).numpy() == 2
    kept = tf1.nn.dropout(tf.ones([1000]), keep_prob=0.9).numpy()
    assert 0.8 < (kept > 0).mean() < 0.97
    with pytest.raises(ValueError, match="named arguments"):
        tf1.nn.softmax_cross_entropy_with_logits(A, A)


# -- branches and loops that change variables ------------------------------------------------------------------------


def test_only_the_branch_taken_assigns():
    with tf.Graph().as_default(), tf1.Session() as sess:
        v = tf.Variable(1.0)
        yes = tf1.placeholder(tf.bool, [])
        out = tf.cond(yes, lambda: v.assign_add(1.0), lambda: v * 10)
        sess.run(v.initializer)
        assert [sess.run(out, {yes: False}), sess.run(v), sess.run(out, {yes: True}), sess.run(v)] == [10, 1, 2, 2]


def test_gradient_through_a_branch_and_a_loop():
    with tf.Graph().as_default(), tf1.Session() as sess:
        x = tf1.placeholder(tf.float32, [])
        y = tf.cond(x > 0, lambda: x * x, lambda: -x)
        z = tf.while_loop(lambda i, p: i < 3, lambda i, p: (i + 1, p * x), [0, tf.constant(1.0)])[1]
        by_y, by_z = tf.gradients(y, x)[0], tf.gradients(z, x)[0]
        assert sess.run([by_y, by_z], {x: 3.0}) == [6, 27]
        assert sess.run(by_y, {x: -3.0}) == -1


# -- assertions and printing -----------------------------------------------------------------------------------------


def test_assertions_hold_in_every_run():
    @tf.function
    def f(x):
        tf.debugging.assert_positive(x, message="so it is")
        return tf.sqrt(x)

    assert float(f(tf.constant(4.0))) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="so it is"):
        f(tf.constant(-4.0))
    with pytest.raises(tf.errors.InvalidArgumentError, match="every element of x is equal"):
        tf.debugging.assert_equal([1, 2], [1, 3])
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.debugging.check_numerics([np.nan], "bad")


def test_print(capsys):
    @tf.function
    def f(x):
        tf.print("x is", x, [x, 1])
        return x

    f(tf.constant([1.0, 2.0]))
    f(tf.constant([3.0, 4.0]))
    assert capsys.readouterr().err == "x is [1. 2.] [[1. 2.], 1]\nx is [3. 4.] [[3. 4.], 1]\n"
    with tf.Graph().as_default(), tf1.Session() as sess:
        x = tf1.placeholder(tf.float32, [])
        with tf.control_dependencies([tf.print("in a graph", x)]):
            y = tf.identity(x)
        sess.run(y, {x: 5})
    assert capsys.readouterr().err == "in a graph 5.\n"


# -- random numbers --------------------------------------------------------------------------------------------------


def test_eager_seeds():
    tf.random.set_seed(1)
    a, b = tf.random.normal([3]).numpy(), tf.random.normal([3]).numpy()
    c, d = tf.random.uniform([3], seed=5).numpy(), tf.random.uniform([3], seed=5).numpy()
    tf.random.set_seed(1)
    assert np.array_equal(tf.random.normal([3]), a) and not np.array_equal(a, b)
    assert np.array_equal(tf.random.uniform([3], seed=5), c) and not np.array_equal(c, d)
    one, two = (tf.random.Generator.from_seed(3) for _ in range(2))
    assert np.array_equal(one.normal([2]), two.normal([2]))


def test_graph_seeds():
    def draws(seed):
        with tf.Graph().as_default():
            if seed is not None:
                tf1.set_random_seed(seed)
            x, y = tf1.random_normal([2]), tf1.random_normal([2], seed=7)
            with tf1.Session() as one, tf1.Session() as two:
                return [s.run([x, y]) for s in (one, one, two)]

    first, again, other = draws(3)
    assert np.array_equal(first, other) and not np.array_equal(first, again)  # each session from the start
    assert np.array_equal(draws(3)[0], first) and not np.array_equal(draws(4)[0], first)
    unseeded = draws(None)
    assert not np.array_equal(unseeded[0][0], unseeded[2][0]) and np.array_equal(unseeded[0][1], unseeded[2][1])
