"""Many steps in one native call: what ``fit``, ``evaluate`` and ``predict`` give is what they give step by step."""

from __future__ import annotations

import numpy as np
import pytest

from hornbeam import keras
from hornbeam.engines.native import executable
from keras_hornbeam.src import epochs
from keras_hornbeam.src.epochs import Epochs, Rows, watches_batches

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(103, 4)).astype("float32")
Y = X[:, :1] * 2 - X[:, 1:2]
LABELS = RANDOM.integers(0, 3, 103)


class Watch(keras.callbacks.Callback):
    """Looks at every batch, so that steps run one by one."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, sorted(logs)))

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(batch)

    def on_predict_batch_end(self, batch, logs=None):
        self.seen.append((batch, logs["outputs"].shape))


def model(**options):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(5, "tanh"), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse", metrics=["mae"], **options)
    return model


def two_inputs():
    keras.utils.set_random_seed(3)
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    out = keras.layers.Dense(3)(keras.layers.multiply([a, keras.layers.Dense(4)(b)]))
    model = keras.Model([a, b], out)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True), weighted_metrics=["accuracy"])
    return model


@pytest.fixture
def stretches(monkeypatch):
    """How many steps each native call took."""
    calls, repeat = [], executable.repeat
    monkeypatch.setattr(executable, "repeat", lambda job: calls.append(job.steps) or repeat(job))
    monkeypatch.setattr(epochs, "STRETCH", 1000)  # seconds: nothing is too long
    return calls


FITS = {
    "shuffled": (model, (X, Y), {}),
    "in order": (model, (X, Y), {"shuffle": False}),
    "within batches": (model, (X, Y), {"shuffle": "batch"}),
    "no partial batch": (model, (X[:100], Y[:100]), {}),
    "one partial batch": (model, (X[:7], Y[:7]), {}),
    "weights": (model, (X, Y), {"sample_weight": np.linspace(0, 1, 103)}),
    "float64": (model, (X.astype("float64"), Y.astype("float64")), {}),
    "columns": (model, (np.asfortranarray(X), Y), {}),
    "tensors": (model, (keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y)), {}),
    "validation": (model, (X, Y), {"validation_split": 0.2}),
    "several inputs": (two_inputs, ([X, X + 1], LABELS), {}),
    "names": (two_inputs, ({"a": X, "b": X + 1}, LABELS), {}),
    "classes": (two_inputs, ({"a": X, "b": X + 1}, LABELS), {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}),
}


@pytest.mark.parametrize("make, data, options", FITS.values(), ids=FITS)
def test_fit_is_the_same_bit_for_bit(make, data, options):
    whole, watched = make(), make()
    histories = [
        m.fit(*data, batch_size=10, epochs=3, verbose=0, callbacks=callbacks, **options).history
        for m, callbacks in ((whole, []), (watched, [Watch()]))
    ]
    assert histories[0] == histories[1]
    for a, b in zip(whole.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(whole.optimizer.iterations) == int(watched.optimizer.iterations)


def test_evaluate_and_predict_are_the_same():
    m = two_inputs()
    data = {"a": X, "b": X + 1}
    assert m.evaluate(data, LABELS, batch_size=10, verbose=0) == m.evaluate(
        data, LABELS, batch_size=10, verbose=0, callbacks=[Watch()]
    )
    watch = Watch()
    watched = m.predict(data, batch_size=10, verbose=0, callbacks=[watch])
    np.testing.assert_array_equal(m.predict(data, batch_size=10, verbose=0), watched)
    assert watched.shape == (103, 3)
    assert watch.seen == [*((i, (10, 3)) for i in range(10)), (10, (3, 3))]


def test_predictions_in_a_structure_and_of_odd_shapes():
    given = keras.Input((4,))
    m = keras.Model(given, {"image": keras.layers.Reshape((2, 2))(given), "sum": keras.ops.sum(given, axis=-1)})
    out = m.predict(X, batch_size=10, verbose=0)
    np.testing.assert_array_equal(out["image"], X.reshape(-1, 2, 2))
    assert out["sum"].shape == (103,)


def test_stretches_grow_and_end_with_the_partial_batch(stretches):
    x = np.zeros((1003, 4), "float32")
    model().fit(x, x[:, :1], batch_size=10, epochs=2, verbose=0)
    assert stretches == [1, 16, 83, 1, 100, 1]


def test_a_stretch_is_short_where_steps_are_long(stretches, monkeypatch):
    monkeypatch.setattr(epochs, "STRETCH", 0)
    model().fit(X, Y, batch_size=10, verbose=0)
    assert stretches == [1] * 11


def test_who_watches_sees_every_batch(stretches):
    watch = Watch()
    model().fit(X, Y, batch_size=10, verbose=0, callbacks=[watch])
    assert watch.seen == [(i, ["loss", "mae"]) for i in range(11)]
    assert stretches == [1] * 11


def test_steps_per_execution_are_calls_too(stretches):
    watch = Watch()
    model(steps_per_execution=4).fit(X, Y, batch_size=10, verbose=0, callbacks=[watch])
    assert [batch for batch, _ in watch.seen] == [3, 7, 11]
    assert stretches == [4, 4]  # then two batches and the partial one, step by step


@pytest.mark.parametrize(
    "callback, watches",
    [
        (lambda p: keras.callbacks.History(), False),
        (lambda p: keras.callbacks.ProgbarLogger(), False),
        (lambda p: keras.callbacks.EarlyStopping(), False),
        (lambda p: keras.callbacks.ModelCheckpoint(p / "a.keras"), False),
        (lambda p: keras.callbacks.ModelCheckpoint(p / "a.keras", save_freq=2), True),
        (lambda p: keras.callbacks.BackupAndRestore(p), False),
        (lambda p: keras.callbacks.TerminateOnNaN(), True),
        (lambda p: keras.callbacks.LambdaCallback(on_epoch_end=print), False),
        (lambda p: keras.callbacks.LambdaCallback(on_train_batch_begin=print), True),
        (lambda p: Watch(), True),
    ],
)
def test_which_callbacks_watch(callback, watches, tmp_path):
    callbacks = keras.callbacks.CallbackList([callback(tmp_path)])
    assert watches_batches(callbacks, "train") is watches


def test_the_bar_ends_at_the_last_step(capsys):
    model().fit(X, Y, batch_size=10, verbose=1)
    assert "11/11" in capsys.readouterr().out


def test_an_interrupt_between_stretches_leaves_whole_steps(monkeypatch):
    m, steps = model(), []
    run = m.make_train_function()

    def interrupted(batches):
        if len(steps) == 1:
            raise KeyboardInterrupt
        steps.append(len(batches))
        return run(batches)

    m.train_function = interrupted
    with pytest.raises(KeyboardInterrupt):
        m.fit(X, Y, batch_size=10, verbose=0)
    assert int(m.optimizer.iterations) == sum(steps)


def test_a_train_function_of_ones_own_finds_batches_in_rows():
    m, shapes = model(), []
    m.train_function = lambda batches: shapes.extend(x.shape for x, y in batches) or {"loss": 0.0}
    m.fit(X, Y, batch_size=50, verbose=0)
    assert shapes == [(50, 4), (50, 4), (3, 4)]


def test_rows_are_a_sequence_of_batches():
    rows = Rows((X, None), range(0, 30, 10))
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[1][0], X[10:20])
    np.testing.assert_array_equal(rows[1:][-1][0], X[20:30])
    assert rows[0][1] is None
    listed = Rows(X, np.array([[5, 1], [2, 2]]))
    np.testing.assert_array_equal(list(listed)[0], X[[5, 1]])


@pytest.mark.parametrize(
    "data",
    [
        lambda: ((x, y) for x, y in [(X[:5], Y[:5])] * 3),
        lambda: Sequence(),
    ],
    ids=["generator", "PyDataset"],
)
def test_other_data_come_batch_by_batch(data):
    iterator = Epochs(data())
    batches = [b for _, _, b in iterator.executions(True, False)]
    assert len(batches) == 3
    assert all(isinstance(b, list) for b in batches)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return X[:5], Y[:5]


def test_dtypes_that_keras_would_convert_are_converted():
    m = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    one, many = X[:1].astype("float64"), X.astype("float64")
    assert m.predict(one, verbose=0).dtype == m.predict(many, verbose=0).dtype == np.float32
    np.testing.assert_allclose(m.predict(one, verbose=0), m.predict(many, batch_size=10, verbose=0)[:1], rtol=1e-6)


def test_predict_at_once_and_with_ceremony():
    m = two_inputs()
    data = [X[:3], X[:3] + 1]
    watched = m.predict(data, verbose=0, callbacks=[Watch()])
    np.testing.assert_array_equal(m.predict(data, verbose=0), watched)
    np.testing.assert_array_equal(m.predict_on_batch(data), watched)
    with pytest.raises(ValueError, match=r"[Cc]ardinality"):
        m.predict([X[:3], X[:2]], verbose=0)
