"""Models in several threads and tasks at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :1]


@pytest.fixture
def model():
    keras.utils.set_random_seed(3)
    made = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)]
    )
    made.compile("sgd", "mse")
    return made


def in_threads(fn, count=4):
    """What ``fn(0)`` … ``fn(count - 1)`` return, started together, each in a thread of its own."""
    start = threading.Barrier(count)

    def run(i):
        start.wait()
        return fn(i)

    with ThreadPoolExecutor(count) as pool:
        return [*pool.map(run, range(count))]


def test_first_predictions_at_once(model):
    wanted = np.asarray(model(X))
    for predicted in in_threads(lambda i: model.predict(X, batch_size=40, verbose=0)):
        np.testing.assert_allclose(predicted, wanted, rtol=1e-6)


def test_different_data_in_every_thread(model):
    def parts(i):
        return model.predict(X[i * 10 : i * 10 + 10], verbose=0)

    wanted = [parts(i) for i in range(4)]
    for got, alone in zip(in_threads(lambda i: [parts(i) for _ in range(3)]), wanted, strict=True):
        for each in got:
            np.testing.assert_array_equal(each, alone)


def test_calls_and_gradients(model):
    def loss_and_gradient(i):
        with hb.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(model(X) - i))
        return [loss, *tape.gradient(loss, model.trainable_variables)]

    wanted = [loss_and_gradient(i) for i in range(4)]
    for got, alone in zip(in_threads(loss_and_gradient), wanted, strict=True):
        for a, b in zip(got, alone, strict=True):
            np.testing.assert_array_equal(a, b)


def test_predicting_while_training(model):
    done = threading.Event()

    def work(i):
        if i == 0:
            model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
            done.set()
            return True
        finite = []
        while not (done.is_set() and finite):
            finite.append(bool(np.isfinite(model.predict_on_batch(X)).all()))
        return all(finite)

    assert all(in_threads(work, 3))
    assert int(model.optimizer.iterations) == 30


def test_models_of_their_own(model):
    def train(i):
        keras.utils.set_random_seed(7)
        mine = keras.models.clone_model(model)
        mine.set_weights(model.get_weights())
        mine.compile("adam", "mse")
        return mine.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history["loss"]

    first, *others = in_threads(train, 3)
    assert all(other == first for other in others)


def test_a_session_for_each_thread(model):
    def run(i):
        with hb.Session() as session:
            mine = keras.models.clone_model(model)
            mine.set_weights([w * i for w in model.get_weights()])
            assert all(w._value.home is session for w in mine.weights)
            return mine.predict(X, verbose=0)

    zero, one, *_ = in_threads(run)
    assert not zero.any()
    np.testing.assert_allclose(one, model.predict(X, verbose=0), rtol=1e-6)


def test_tasks(model):
    wanted = model.predict(X, verbose=0)

    async def run():
        return await asyncio.gather(
            *(asyncio.to_thread(model.predict, X, verbose=0) for _ in range(3))
        )

    for predicted in asyncio.run(run()):
        np.testing.assert_array_equal(predicted, wanted)
