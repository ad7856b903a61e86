"""`tf.compat.v1.Session`, row by row as TensorFlow has it."""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import hornbeam.tensorflow.compat.v1 as tf
from hornbeam.errors import FeedError, FetchError, SessionClosedError, SessionError, UninitializedVariableError


@pytest.fixture
def graph():
    with tf.Graph().as_default() as graph:
        yield graph


@pytest.fixture
def sess(graph):
    with tf.Session(graph=graph) as sess:
        yield sess


# -- opening and closing ---------------------------------------------------------------------------------------------


def test_the_default_graph_is_taken(graph):
    other = tf.Graph()
    assert tf.Session().graph is graph
    assert tf.Session(graph=other).graph is other


def test_in_eager_mode_a_session_has_no_graph_and_eager_mode_stays():
    sess = tf.Session()
    with sess.as_default():
        assert tf.executing_eagerly() and tf.get_default_session() is sess
        v = tf.Variable([1.0, 2.0])
        assert v.home is sess and v.numpy().tolist() == [1, 2]
    assert tf.get_default_session() is None
    with pytest.raises(SessionError, match="is eager, it has its value already"):
        sess.run(tf.constant(1.0))
    sess.close()
    with pytest.raises(SessionClosedError, match=r"test_session\.py"):
        v.numpy()


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"target": tf.ConfigProto()}, TypeError, "Did you mean config="),
        ({"target": tf.Graph()}, TypeError, "Did you mean graph="),
        ({"graph": 3}, TypeError, "graph must be"),
        ({"config": 3}, TypeError, "config must be"),
        ({"target": "grpc://host:1"}, ValueError, "other processes"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        tf.Session(**arguments)


def test_with_enters_the_graph_and_closes(graph):
    other = tf.Graph()
    with tf.Session(graph=other) as sess:
        assert tf.get_default_graph() is other and tf.get_default_session() is sess
        with pytest.raises(RuntimeError, match="not re-entrant"), sess:
            pass
    assert tf.get_default_graph() is graph
    with pytest.raises(RuntimeError, match="closed"):
        sess.run([])
    sess.close()  # a second time


def test_as_default_leaves_the_graph_and_stays_open(graph):
    sess = tf.Session(graph=tf.Graph())
    with sess.as_default(), sess.as_default():
        assert tf.get_default_graph() is graph
    assert not sess.closed


def test_other_threads_see_the_default_session_if_their_context_is_copied(sess):
    seen = []
    copied = contextvars.copy_context()
    thread = threading.Thread(target=lambda: seen.append(copied.run(tf.get_default_session)))
    thread.start()
    thread.join()
    assert seen == [sess]


def test_interactive_session(graph):
    sess = tf.InteractiveSession()
    try:
        assert tf.get_default_session() is sess
        assert tf.constant(2.0).eval() == 2
        with pytest.raises(TypeError), sess:
            pass
    finally:
        sess.close()
    assert tf.get_default_session() is None


def test_eval_needs_a_session(graph):
    x = tf.constant(1.0)
    with pytest.raises(SessionError, match="no session is the default"):
        x.eval()
    assert x.eval(session=tf.Session()) == 1


# -- fetching --------------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "first second")


def test_structures_of_fetches(sess):
    a, b, op = tf.constant(1.0, name="a"), tf.constant([1, 2]), tf.no_op()
    assert sess.run(a) == 1 and isinstance(sess.run(a), np.float32)
    assert sess.run(b).tolist() == [1, 2]
    assert sess.run(op) is None
    assert sess.run("a:0") == 1 and sess.run("a") is None
    assert sess.run([]) == [] and sess.run({}) == {}
    assert sess.run([a, (a, [op])]) == [1, (1, [None])]
    assert sess.run({"x": a, "y": [a]}) == {"x": 1, "y": [1]}
    assert sess.run(OrderedDict(x=a)) == OrderedDict(x=1)
    assert sess.run(Pair(a, op)) == Pair(1, None)


@pytest.mark.parametrize(
    "fetch, error, words",
    [
        (None, TypeError, "None cannot be fetched"),
        ([None], TypeError, "None cannot be fetched"),
        ({"x": None}, TypeError, "None cannot be fetched"),
        (3, TypeError, "must be a string or Tensor"),
        ("nothing:0", ValueError, "does not exist"),
    ],
)
def test_what_cannot_be_fetched(sess, fetch, error, words):
    with pytest.raises(error, match=words) as caught:
        sess.run(fetch)
    assert isinstance(caught.value, FetchError)


def test_another_graph(sess):
    with tf.Graph().as_default():
        elsewhere = tf.constant(1.0)
        fed = tf.placeholder(tf.float32, [])
    with pytest.raises(ValueError, match="not an element of this"):
        sess.run(elsewhere)
    with pytest.raises(FeedError):
        sess.run(tf.constant(1.0), {fed: 1.0})


def test_duplicate_fetches_are_not_the_same_array(sess):
    x = tf.zeros([2])
    a, b = sess.run([x, x])
    a[0] = 1
    assert b.tolist() == [0, 0]


# -- feeding ---------------------------------------------------------------------------------------------------------


def test_any_tensor_can_be_fed(sess):
    x = tf.constant([1.0, 2.0], name="x")
    y = x * 2
    assert sess.run(y, {x: [5, 6]}).tolist() == [10, 12]
    assert sess.run(y, {"x:0": [5, 6]}).tolist() == [10, 12]
    assert sess.run(x, {x: [5, 6]}).tolist() == [5, 6]
    with pytest.raises((TypeError, ValueError)):
        sess.run(y, {"x": [5, 6]})


def test_feeds_that_do_not_fit(sess):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    n = tf.placeholder(tf.int32, [], name="n")
    y, m = x * 2, n + 1
    with pytest.raises(FeedError, match=r"not fed: placeholder 'x' float32\(\?, 3\).*test_session.py"):
        sess.run(y)
    with pytest.raises(ValueError, match=r"shape \(2, 2\) for 'x:0' of shape \(\?, 3\)"):
        sess.run(y, {x: np.zeros((2, 2))})
    with pytest.raises(FeedError, match="would change them"):
        sess.run(m, {n: 1.7})
    with pytest.raises(FeedError, match="would change them"):
        sess.run(m, {n: 2**40})
    with pytest.raises(FeedError, match="None was fed"):
        sess.run(y, {x: None})
    assert sess.run(m, {n: 2.0}) == 3  # nothing is lost
    for size in (1, 5):
        assert sess.run(y, {x: np.ones((size, 3))}).shape == (size, 3)


def test_a_placeholder_without_a_shape_takes_any(sess):
    x = tf.placeholder(tf.float32)
    y = x + 1
    assert sess.run(y, {x: 1}) == 2
    assert sess.run(y, {x: np.ones((2, 3))}).shape == (2, 3)


def test_placeholder_with_default(sess):
    x = tf.placeholder_with_default([1.0, 2.0], [2])
    assert sess.run(x * 1).tolist() == [1, 2]
    assert sess.run(x * 1, {x: [3, 4]}).tolist() == [3, 4]


def test_placeholders_belong_to_graphs():
    with pytest.raises(RuntimeError, match="not compatible with eager execution"):
        tf.placeholder(tf.float32)


# -- variables -------------------------------------------------------------------------------------------------------


def test_sessions_on_one_graph_have_their_own_values(graph):
    v = tf.Variable(1.0, name="v")
    init, add = tf.global_variables_initializer(), v.assign_add(1.0)
    one, two = tf.Session(), tf.Session()
    one.run(init)
    with pytest.raises(UninitializedVariableError, match=r"'v:0'.*test_session.py"):
        two.run(v)
    two.run(init)
    one.run(add)
    assert (one.run(v), two.run(v)) == (2, 1)


def test_all_variables_without_a_value_are_named(sess):
    a, b = tf.Variable(1.0, name="a"), tf.Variable(2.0, name="b")
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"'a:0'.*'b:0'"):
        sess.run(a + b)


def test_the_initializer_is_of_the_variables_there_are(sess):
    a = tf.Variable(1.0)
    init = tf.global_variables_initializer()
    b = tf.Variable(2.0)
    sess.run(init)
    assert sess.run(a) == 1
    with pytest.raises(UninitializedVariableError):
        sess.run(b)
    sess.run(tf.variables_initializer([b]))
    assert sess.run([a, b]) == [1, 2]


def test_one_variable_from_another(sess):
    a = tf.Variable(2.0)
    b = tf.Variable(a.initialized_value() * 3)
    sess.run(tf.global_variables_initializer())
    assert sess.run(b) == 6


def test_assignment_needs_no_value_before(sess):
    v = tf.Variable(tf.zeros([2]))
    assert sess.run(v.assign([1.0, 2.0])).tolist() == [1, 2]
    v.load([5.0, 6.0], sess)
    assert v.eval(sess).tolist() == [5, 6]


def test_order_inside_one_run(sess):
    """A read sees the state before the run, or what it is told to come after."""
    v = tf.Variable(3.0)
    read = v + 1
    change = v.assign(7.0)
    with tf.control_dependencies([change]):
        after = tf.identity(v)
    sess.run(tf.global_variables_initializer())
    assert sess.run([read, change]) == [4, 7]
    sess.run(v.initializer)
    assert sess.run([after, read]) == [7, 4]


def test_a_failed_run_changes_nothing(sess):
    v = tf.Variable(0.0)
    x = tf.placeholder(tf.float32, [])
    bump = v.assign_add(1.0)
    with tf.control_dependencies([bump]):
        fails = tf.debugging.check_numerics(x * 1.0, "x")
    sess.run(v.initializer)
    with pytest.raises(tf.errors.InvalidArgumentError):
        sess.run(fails, {x: np.nan})
    assert sess.run(v) == 0
    sess.run(fails, {x: 1.0})
    assert sess.run(v) == 1


def test_names(sess):
    a = tf.constant(1.0, name="a")
    b = tf.constant(1.0, name="a")
    with tf.name_scope("s"):
        c = tf.add(a, b, name="c")
    with tf.name_scope("s") as scope:
        d = tf.add(a, b, name="c")
    v = tf.Variable(1.0, name="w")
    assert [t.name for t in (a, b, c, d, v)] == ["a:0", "a_1:0", "s/c:0", "s_1/c:0", "w:0"]
    assert scope == "s_1/"
    graph = sess.graph
    assert graph.get_tensor_by_name("s/c:0") is c
    with pytest.raises(ValueError, match="its first tensor is"):
        graph.get_tensor_by_name("s/c")
    with pytest.raises(KeyError):
        graph.get_operation_by_name("nothing")
    sess.run(v.initializer)
    assert sess.run("w:0") == 1 and v.op.name.startswith("w")


def test_make_callable(sess):
    x, y = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    add = sess.make_callable(x + y, [x, y])
    assert add(1, 2) == 3
    with pytest.raises(TypeError, match="takes 2 values, got 1"):
        add(1)


def test_a_finalized_graph_does_not_grow(sess):
    x = tf.constant(1.0)
    sess.graph.finalize()
    assert sess.run(x) == 1
    with pytest.raises(RuntimeError, match="finalized"):
        x + 1


def test_gradients(sess):
    v, w = tf.Variable(3.0), tf.Variable(1.0)
    x = tf.placeholder(tf.float32, [None])
    y = tf.reduce_sum(v * v * x)
    (by_v, by_x), by_w = tf.gradients(y, [v, x]), tf.gradients(y, w)
    assert by_w == [None]
    sess.run(tf.global_variables_initializer())
    assert sess.run(by_v, {x: [1, 2]}) == 18
    assert sess.run(by_x, {x: [1, 2]}).tolist() == [9, 9]
    second = tf.gradients(by_v, v)[0]
    assert sess.run(second, {x: [1, 2]}) == 6


# -- configuration ---------------------------------------------------------------------------------------------------


def test_config():
    config = tf.ConfigProto(intra_op_parallelism_threads=2, allow_soft_placement=True, log_device_placement=False)
    config.gpu_options.allow_growth = True
    assert tf.Session(config=config).options.threads == 2
    with pytest.raises(AttributeError, match="no field 'operation_timeout'"):
        config.operation_timeout = 3
    with pytest.raises(ValueError, match="cannot be had here"):
        config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    with pytest.raises(ValueError, match="cannot be had here"):
        tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    assert "allow_growth=True" in repr(config)
