"""`get_variable` and `variable_scope`: TensorFlow's rules of reuse, and its errors."""

from __future__ import annotations

import pytest

import hornbeam.tensorflow.compat.v1 as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


def test_names():
    with tf.variable_scope("a"):
        one = tf.get_variable("v", [2])
        with tf.variable_scope("b"):
            two = tf.get_variable("v", [2])
            x = tf.constant(1.0, name="x")
    assert (one.name, two.name, x.name) == ("a/v:0", "a/b/v:0", "a/b/x:0")


def test_a_second_variable_of_the_name_is_an_error():
    with tf.variable_scope("a"):
        tf.get_variable("v", [2])
        with pytest.raises(ValueError, match=r"a/v already exists, disallowed. Did you mean .*test_scopes.py"):
            tf.get_variable("v", [2])


def test_reuse():
    with tf.variable_scope("a"):
        v = tf.get_variable("v", [2])
    with tf.variable_scope("a", reuse=True) as scope:
        assert tf.get_variable("v", [2]) is v and scope.reuse is True
        with pytest.raises(ValueError, match="a/w does not exist"):
            tf.get_variable("w", [2])
        with pytest.raises(ValueError, match=r"specified shape \(3,\) and found shape \(2,\)"):
            tf.get_variable("v", [3])
        with pytest.raises(ValueError, match="specified dtype"):
            tf.get_variable("v", [2], tf.float64)
        with tf.variable_scope("b") as inner:
            assert inner.reuse is True
    with tf.variable_scope(scope):
        assert tf.get_variable("v") is v
    with tf.variable_scope("a") as scope:
        scope.reuse_variables()
        assert tf.get_variable("v") is v


def test_auto_reuse():
    found = []
    for _ in range(2):
        with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
            found.append(tf.get_variable("v", [2]))
    assert found[0] is found[1]


def test_default_names_are_made_unique():
    names = []
    for _ in range(2):
        with tf.variable_scope(None, default_name="layer") as scope:
            names.append(scope.name)
    assert names == ["layer", "layer_1"]


def test_what_a_scope_says_of_its_variables():
    one = tf.constant_initializer(1.0)
    with tf.variable_scope("a", initializer=one, regularizer=lambda v: tf.reduce_sum(v)):
        tf.get_variable("v", [2])
        tf.get_variable("w", initializer=tf.zeros([3]))
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run("a/v:0").tolist() == [1, 1]
        assert sess.run(losses) == [2, 0]


def test_a_shape_must_be_known():
    with pytest.raises(ValueError, match="must be fully defined"):
        tf.get_variable("v", [None, 2])


def test_graphs_do_not_share():
    tf.get_variable("v", [2])
    with tf.Graph().as_default():
        tf.get_variable("v", [2])


def test_collections(graph):
    v = tf.Variable(1.0, name="v")
    w = tf.Variable(1.0, trainable=False, name="w")
    local = tf.Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES], name="local")
    assert tf.global_variables() == [v, w] and tf.trainable_variables() == [v] and tf.local_variables() == [local]
    assert tf.global_variables("w") == [w]
    tf.add_to_collection("mine", 3)
    copied = tf.get_collection("mine")
    copied.append(4)
    assert tf.get_collection("mine") == [3]
    tf.get_collection_ref("mine").append(5)
    assert graph.get_collection("mine") == [3, 5]
