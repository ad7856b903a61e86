"""The article's three programs, and regressions in TensorFlow 1's style, each as a user runs it."""

from __future__ import annotations

import re

import pytest

from tests.tensorflow.conftest import EXAMPLES

PROGRAMS = ["article_session", "article_plain", "article_function", "tf1_linear_regression", "tf1_logistic_regression"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(run, name):
    losses = [float(x) for x in re.findall(r"loss:? ([\d.]+)", run(EXAMPLES / f"{name}.py").stdout)]
    assert losses[-1] < losses[0] or name == "tf1_linear_regression"  # which asserts on its own


def test_what_lived_in_a_closed_session_is_gone(run):
    program = (EXAMPLES / "article_session.py").read_text() + "\nmodel.predict(x_train)\n"
    opened = program.splitlines().index("sess = tf.compat.v1.Session()") + 1
    closed = program.splitlines().index("sess.close()") + 1
    error = run(program, code=1).stderr
    assert "SessionClosedError" in error
    assert re.search(rf"opened at \S*program.py:{opened}\b", error)
    assert re.search(rf"closed at \S*program.py:{closed}\b", error)


def test_a_model_that_is_not_compiled(run):
    program = (EXAMPLES / "article_function.py").read_text()
    error = run(program.replace('model.compile(optimizer="sgd", loss="mse")\n', ""), code=1).stderr
    assert "model.compile(optimizer=" in error and "tf.keras.optimizers.SGD()" in error


def test_a_fit_reads_no_other_tensorflow(run):
    """Keras with our names installed: layers that ask for TensorFlow's graph, seeds, datasets, TensorBoard, saving."""
    done = run("""
        import numpy as np
        import tensorflow as tf
        from tensorflow import keras
        from keras.src.utils.module_utils import tensorflow as seen_by_keras

        assert not seen_by_keras.available
        keras.utils.set_random_seed(0)
        x, y = np.random.rand(64, 8, 8, 1).astype("float32"), np.random.randint(0, 3, 64)
        normalization = keras.layers.Normalization()
        normalization.adapt(x)
        model = keras.Sequential([
            keras.layers.Input((8, 8, 1)), keras.layers.Rescaling(2.0), normalization, keras.layers.RandomFlip(),
            keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dropout(0.2),
            keras.layers.Dense(3),
        ])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, metrics=["accuracy"])
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(16).prefetch(tf.data.AUTOTUNE)
        history = model.fit(data, epochs=2, validation_data=data, callbacks=[keras.callbacks.TensorBoard("logs")],
                            class_weight={0: 2.0}, verbose=0)
        assert len(history.history["val_loss"]) == 2
        assert model.predict(data.map(lambda x, y: x), verbose=0).shape == (64, 3)
        model.save("model.keras")
        same = keras.models.load_model("model.keras")
        assert np.array_equal(same.predict(x, verbose=0), model.predict(x, verbose=0))
        assert isinstance(model(x[:2]), tf.Tensor)
        import sys
        assert not [name for name in sys.modules if name.startswith("tensorflow.python")]
    """)
    assert "Error" not in done.stderr
