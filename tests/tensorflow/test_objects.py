"""Variables, modules, functions, tapes, checkpoints and configuration under TensorFlow 2's names."""

from __future__ import annotations

import numpy as np
import pytest

from hornbeam import tensorflow as tf
from hornbeam.errors import GradientError, InvalidArgumentError, ShapeError


def test_variable():
    v = tf.Variable([1.0, 2.0], name="v")
    assert v.name == "v:0" and "numpy=array([1., 2.]" in repr(v)
    assert v.assign([3, 4]).numpy().tolist() == v.numpy().tolist() == [3, 4]
    assert v.assign_add([1, 1]).numpy().tolist() == [4, 5] and v.assign_sub([4, 5]).numpy().tolist() == [0, 0]
    v.scatter_nd_update([[1]], [9.0])
    v.scatter_add(tf.IndexedSlices(tf.constant([1.0]), tf.constant([0])))
    assert v.read_value().numpy().tolist() == [1, 9] and v.get_shape().as_list() == [2]
    with pytest.raises(ShapeError):
        v.assign([1.0])
    with pytest.raises(ShapeError):
        tf.Variable([1.0], shape=[2])
    with pytest.raises(ValueError, match="needs an initial value"):
        tf.Variable()


def test_module():
    class Dense(tf.Module):
        def __init__(self):
            super().__init__(name="dense")
            self.w, self.fixed = tf.Variable(1.0), tf.Variable(2.0, trainable=False)

    class Net(tf.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.table = [Dense(), Dense()], {"b": tf.Variable(3.0)}

    net = Net()
    assert net.name == "net" and len(net.variables) == 5 and len(net.trainable_variables) == 3
    assert [m.name for m in net.submodules] == ["dense", "dense"]
    with tf.Graph().as_default(), net.name_scope:
        assert tf.constant(1.0, name="x").name == "net/x:0"


def test_function():
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)], jit_compile=True)
    def double(x):
        return x * 2

    assert double([[1, 2]]).numpy().tolist() == [[2, 4]] and double.experimental_get_tracing_count() == 1
    with pytest.raises(ShapeError):
        double([1.0, 2.0])

    @tf.function
    def add(x, y):
        assert not tf.executing_eagerly() and tf.inside_function()
        return x + y

    concrete = add.get_concrete_function(tf.TensorSpec([2], tf.float32), tf.TensorSpec([], tf.float32))
    assert concrete(tf.ones([2]), tf.constant(1.0)).numpy().tolist() == [2, 2]
    with pytest.raises(ValueError, match="unknown dimensions"):
        add.get_concrete_function(tf.TensorSpec([None]), 1)
    with pytest.raises(TypeError, match=r"hb\.cond"):
        tf.function(lambda x: 1 if x > 0 else 2)(tf.constant(1.0))


def test_functions_run_eagerly():
    seen = []
    f = tf.function(lambda x: seen.append(tf.executing_eagerly()) or x)
    tf.config.run_functions_eagerly(True)
    try:
        assert tf.config.functions_run_eagerly()
        f(1)
        f(1)
    finally:
        tf.config.run_functions_eagerly(False)
    f(1)
    assert seen == [True, True, False]


def test_a_missing_attribute_that_means_something_else_has_no_note():
    @tf.function
    def f():
        return None.nothing

    with pytest.raises(AttributeError) as caught:
        f()
    assert not getattr(caught.value, "__notes__", [])


def test_tape():
    v, other = tf.Variable(3.0), tf.Variable(1.0)
    with tf.GradientTape(persistent=True) as tape:
        y = v * v
    assert float(tape.gradient(y, v)) == 6 and tape.gradient(y, other) is None
    zero = tape.gradient(y, [other], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert float(zero[0]) == 0

    @tf.custom_gradient
    def clipped(x):
        return x * 1.0, lambda g: tf.clip_by_value(g, -1, 1)

    with tf.GradientTape() as tape:
        y = clipped(v) * 5
    assert float(tape.gradient(y, v)) == 1
    with pytest.raises(RuntimeError, match="works in graphs"):
        tf.gradients(y, v)
    with tf.Graph().as_default(), pytest.raises(GradientError, match=r"tf\.stop_gradient"):
        x = tf.constant(1.0)
        tf.gradients(x, x, stop_gradients=[x])


def test_lists():
    @tf.function
    def squares():
        rows = tf.TensorArray(tf.float32, size=2)
        for i in range(2):
            rows = rows.write(i, tf.constant([float(i), float(i * i)]))
        return rows.stack(), rows.concat(), rows.read(1)

    assert [x.numpy().tolist() for x in squares()] == [[[0, 0], [1, 1]], [0, 0, 1, 1], [1, 1]]
    with pytest.raises(InvalidArgumentError, match="dynamic_size"):
        tf.TensorArray(tf.float32, size=1).write(1, 0.0)
    with pytest.raises(InvalidArgumentError, match="nothing was written"):
        tf.TensorArray(tf.float32, size=1).read(0)
    assert len(tf.TensorArray(tf.float32, dynamic_size=True).write(2, 0.0)) == 3


def test_shapes():
    shape = tf.TensorShape([None, 3])
    assert shape.as_list() == [None, 3] and shape.rank == 2 and shape == (None, 3) and not shape.is_fully_defined()
    assert shape.merge_with([2, None]) == (2, 3) and shape.is_compatible_with([5, 3]) and shape[1:] == (3,)
    assert tf.TensorShape([2, 3]).num_elements() == 6 and shape.concatenate([1]).as_list() == [None, 3, 1]
    with pytest.raises(ShapeError):
        shape.assert_is_compatible_with([5, 4])
    assert tf.zeros([2, 3]).get_shape().as_list() == [2, 3]


def test_nest():
    structure = {"b": [1, 2], "a": (3, None)}
    assert tf.nest.flatten(structure) == [3, None, 1, 2]
    assert tf.nest.pack_sequence_as(structure, [1, 2, 3, 4]) == {"a": (1, 2), "b": [3, 4]}
    assert tf.nest.map_structure(lambda x, y: x + y, [1, (2,)], [3, (4,)]) == [4, (6,)]
    assert tf.nest.is_nested([1]) and not tf.nest.is_nested(1)
    with pytest.raises(ValueError):
        tf.nest.assert_same_structure([1], [1, 2])


def test_config():
    assert [d.device_type for d in tf.config.list_physical_devices()] == ["CPU"]
    assert tf.config.list_physical_devices("GPU") == []
    with tf.compat.v1.Session().as_default():
        tf.config.threading.set_intra_op_parallelism_threads(2)
        assert tf.config.threading.get_intra_op_parallelism_threads() == 2
    assert tf.config.threading.get_intra_op_parallelism_threads() == 0
    with tf.device("/GPU:0"):
        assert float(tf.constant(1.0) + 1) == 2


def test_errors_are_ours():
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.constant([1.0, 2.0]) + tf.constant([1.0, 2.0, 3.0])
    assert issubclass(tf.errors.FailedPreconditionError, RuntimeError)


def test_checkpoint(tmp_path):
    class Net(tf.Module):
        def __init__(self):
            super().__init__()
            self.w, self.b = tf.Variable([1.0, 2.0]), tf.Variable(3.0)

    net, step = Net(), tf.Variable(0)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(net=net, step=step), str(tmp_path), max_to_keep=2)
    assert manager.restore_or_initialize() is None
    for i in range(3):
        step.assign(i)
        manager.save()
    assert [p.rpartition("-")[2] for p in manager.checkpoints] == ["2", "3"]
    fresh, count = Net(), tf.Variable(7)
    fresh.w.assign([0, 0])
    tf.train.Checkpoint(net=fresh, step=count).restore(tf.train.latest_checkpoint(str(tmp_path))).assert_consumed()
    assert fresh.w.numpy().tolist() == [1, 2] and int(count) == 2
    with pytest.raises(tf.errors.NotFoundError, match="not found in checkpoint"):
        tf.train.Checkpoint(other=tf.Variable(0)).restore(manager.latest_checkpoint)


def test_initializers():
    for name, variance in (("GlorotUniform", 2 / 300), ("HeNormal", 2 / 200), ("LecunNormal", 1 / 200)):
        drawn = getattr(tf.initializers, name)(seed=1)((200, 100)).numpy()
        np.testing.assert_allclose(drawn.var(), variance, rtol=0.05)
    q = tf.initializers.Orthogonal()((3, 5)).numpy()
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-5)


def test_flags(monkeypatch):
    from hornbeam.tensorflow.compat.v1 import app

    flags = app.flags
    flags.DEFINE_integer("steps", 10, "how many")
    flags.DEFINE_boolean("fast", False, "hurry")
    monkeypatch.setattr("sys.argv", ["train.py", "--steps=3", "--fast", "rest"])
    seen = []
    with pytest.raises(SystemExit) as caught:
        app.run(lambda argv: seen.append(argv) or 4)
    assert caught.value.code == 4 and seen == [["train.py", "rest"]]
    assert flags.FLAGS.steps == 3 and flags.FLAGS.fast is True
    with pytest.raises(AttributeError, match="no flag 'speed'"):
        flags.FLAGS.speed
