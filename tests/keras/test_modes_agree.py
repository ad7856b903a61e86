"""The same model, seed and data give the same losses, bit for bit, in the three modes."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras

STEPS, BATCH = 6, 16


def data():
    """Real digits; batches of a power of two, so that a mean over a batch times its size is exact."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images[: STEPS * BATCH] / 16.0).astype("float32")[..., None]
    return images, digits.target[: STEPS * BATCH].astype("int32")


def build(optimizer: str, dropout: bool):
    keras.utils.set_random_seed(11)
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        *([keras.layers.Dropout(0.0)] if dropout else []),
        keras.layers.Dense(10),
    ]
    model = keras.Sequential(layers)
    model.compile(
        optimizer={"sgd": keras.optimizers.SGD(0.1), "adam": keras.optimizers.Adam(0.01)}[optimizer],
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def stepper(model):
    def step(x, y):
        with hb.GradientTape() as tape:
            loss = model.loss(y, model(x, training=True))
        weights = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return step


class EachStep(keras.callbacks.Callback):
    """Collects the loss of every step; what Keras logs is the mean since the last reset."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def by_loop(model, wrap):
    x, y = data()
    step = wrap(stepper(model))
    return [float(step(x[i : i + BATCH], y[i : i + BATCH])) for i in range(0, len(x), BATCH)]


def by_fit(model, **options):
    if options:
        model.compile(optimizer=model.optimizer, loss=model.loss, **options)
    each = EachStep()
    model.fit(*data(), batch_size=BATCH, shuffle=False, verbose=0, callbacks=[each])
    return each.losses


def weights(model):
    return [np.asarray(v.numpy()) for v in model.variables]


MODES = {
    "a traced step": lambda model: by_loop(model, hb.function),
    "an eager step": lambda model: by_loop(model, lambda step: step),
    "fit": lambda model: by_fit(model),
    "fit, run_eagerly": lambda model: by_fit(model, run_eagerly=True),
}


@pytest.mark.parametrize("engine", ["reference", "native"])
@pytest.mark.parametrize("dropout", [False, True], ids=["plain", "dropout 0"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_losses_and_weights_are_bit_equal(optimizer, dropout, engine):
    with hb.Session(engine=engine):
        model = build(optimizer, dropout)
        losses, learned = by_loop(model, hb.function), weights(model)
    assert len(set(losses)) == STEPS

    with hb.Session(engine=engine) as session:  # for the engine; each model is used in its home
        for mode, train in MODES.items():
            model = build(optimizer, dropout)
            assert train(model) == losses, mode
            for ours, first in zip(weights(model), learned, strict=True):
                np.testing.assert_array_equal(ours, first, err_msg=mode)
            assert hb.where(model).sessions == (session,)


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_predictions_are_bit_equal(engine):
    x, _ = data()
    with hb.Session(engine=engine):
        model = build("sgd", dropout=True)
        eager = model(x[:BATCH], training=False).numpy()
        traced = hb.function(lambda x: model(x, training=False))(x[:BATCH]).numpy()
        np.testing.assert_array_equal(eager, traced)
        np.testing.assert_array_equal(eager, model.predict(x[:BATCH], batch_size=BATCH, verbose=0))
