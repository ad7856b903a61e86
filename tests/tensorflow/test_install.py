"""`import tensorflow` and imports below it; what is absent says what to write instead."""

from __future__ import annotations

import pytest

from hornbeam import tensorflow as tf


def test_imports(run):
    run("""
        import tensorflow as tf
        import tensorflow.compat.v1 as tf1
        import tensorflow.compat.v1.keras as k1
        import tensorflow.keras.layers as layers
        import tensorflow.nn
        from tensorflow import keras, nn
        from tensorflow.compat.v1 import layers as old_layers
        from tensorflow.keras.layers import Dense
        import hornbeam.tensorflow

        assert tf is hornbeam.tensorflow and tf1 is tf.compat.v1 and nn is tf.nn and tensorflow.nn is nn
        assert tf.keras is keras and keras.layers is layers and layers.Dense is Dense and k1.layers is layers
        assert old_layers.dense is not Dense
        assert keras.__name__ == "keras._tf_keras.keras"
    """)


def test_nothing_is_installed_by_importing(run):
    run("""
        import subprocess, sys
        code = "import hornbeam.tensorflow, sys; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
        assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    """)


def test_tensorflow_itself_is_there_already(run, tmp_path):
    (tmp_path / "tensorflow.py").write_text("")
    run("""
        import importlib.util, subprocess, sys
        code = "import tensorflow; from hornbeam.tensorflow import install; install()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1 and "TensorFlow itself is imported already" in done.stderr, done.stderr
    """)


@pytest.mark.parametrize(
    "name, hint",
    [
        ("python.framework.ops", "private to TensorFlow"),
        ("contrib.layers", "tf.compat.v1.layers"),
        ("examples.tutorials.mnist", "tf.keras.datasets.mnist"),
        ("core.protobuf", "ConfigProto"),
    ],
)
def test_modules_that_are_not_there(run, name, hint):
    run(f"""
        try:
            import tensorflow.{name}
        except ModuleNotFoundError as error:
            assert {hint!r} in str(error), error
        else:
            raise SystemExit("it was there")
    """)


@pytest.mark.parametrize(
    "module, name, hint",
    [
        (tf, "Session", "tf.compat.v1.Session"),
        (tf, "placeholder", "tf.compat.v1.placeholder"),
        (tf, "contrib", "tf.compat.v1.layers"),
        (tf, "reduce_meen", "tf.reduce_mean"),
        (tf.nn, "reluu", "tf.nn.relu"),
        (tf.math, "reduce_summ", "tf.math.reduce_sum"),
        (tf.compat.v1, "Sesion", "tf.compat.v1.Session"),
        (tf, "string", "hold numbers only"),
    ],
)
def test_names_that_are_not_there(module, name, hint):
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert hint in str(caught.value)
    assert not hasattr(module, name)
