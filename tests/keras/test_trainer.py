"""``fit``, ``evaluate`` and ``predict`` do what Keras promises, traced as well as eagerly."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(50, 4)).astype("float32")
Y = (X @ np.array([1, -2, 0.5, 0], "float32"))[:, None]
LABELS = RANDOM.integers(0, 3, 50)


def regression(optimizer="sgd", **options):
    keras.utils.set_random_seed(3)
    layers = [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


def classifier():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    return model


def same_weights(a, b, **tolerance):
    for u, v in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_allclose(u, v, **tolerance or {"rtol": 0, "atol": 0})


def quiet(model, *args, **options):
    return model.fit(*args, verbose=0, shuffle=False, **options)


# -- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 3}, {"jit_compile": False}])
def test_ways_to_run_agree(options):
    plain, other = regression(), regression(**options)
    histories = [quiet(m, X, Y, batch_size=8, epochs=2).history for m in (plain, other)]  # 7 batches, the last of 2
    assert histories[0] == histories[1]
    same_weights(plain, other)
    predictions = [m.predict(X, batch_size=7, verbose=0) for m in (plain, other)]
    assert predictions[1].shape == (50, 1)
    np.testing.assert_array_equal(*predictions)
    assert plain.evaluate(X, Y, verbose=0) == other.evaluate(X, Y, verbose=0)


def test_callbacks_see_the_first_and_last_step_of_an_execution():
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda step, logs: seen.append(step),
        on_train_batch_end=lambda step, logs: seen.append((step, sorted(logs))),
    )
    quiet(regression(steps_per_execution=3), X, Y, batch_size=10, callbacks=[note])
    assert seen == [0, (2, ["loss", "mae"]), 3, (5, ["loss", "mae"])]


def test_two_batch_sizes_are_two_traces():
    model = regression()
    quiet(model, X, Y, batch_size=20, epochs=3)
    traces = []
    model.train_step = lambda data: traces.append(1) or type(model).train_step(model, data)
    model.make_train_function(force=True)
    quiet(model, X, Y, batch_size=20, epochs=3)
    assert len(traces) == 2


def test_fit_goes_on_where_it_stopped_and_compile_starts_anew():
    model = regression("adam")
    quiet(model, X, Y)
    step = model.train_function
    quiet(model, X, Y)
    assert model.train_function is step
    assert int(model.optimizer.iterations) == 4
    model.compile("adam", "mse")
    assert model.train_function is model.test_function is model.predict_function is None
    assert int(model.optimizer.iterations) == 0


def test_trainable_counts_from_the_next_compile():
    model = regression()
    first = model.layers[0]
    quiet(model, X, Y)
    first.trainable = False
    model.compile("sgd", "mse")
    before = first.get_weights()[0]
    quiet(model, X, Y)
    np.testing.assert_array_equal(before, first.get_weights()[0])
    first.trainable = True
    model.compile("sgd", "mse")
    quiet(model, X, Y)
    assert np.all(before != first.get_weights()[0])
    model.trainable = False
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        quiet(model, X, Y)


def test_batch_methods():
    model = regression()
    loss, mae = model.train_on_batch(X, Y)
    assert isinstance(loss, float) and isinstance(mae, float)
    later = model.train_on_batch(X, Y, return_dict=True)
    assert later["loss"] < loss  # of this batch alone: metrics start anew
    assert model.test_on_batch(X, Y)[0] < later["loss"]
    np.testing.assert_allclose(model.predict_on_batch(X), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)


# -- data ------------------------------------------------------------------------------------------------------------


def test_class_weights_are_sample_weights():
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    by_class, by_sample = classifier(), classifier()
    quiet(by_class, X, LABELS, class_weight=weights)
    quiet(by_sample, X, LABELS, sample_weight=np.array([weights[i] for i in LABELS], "float32"))
    same_weights(by_class, by_sample)
    a = by_class.train_on_batch(X, LABELS, class_weight=weights)
    b = by_sample.train_on_batch(X, LABELS, sample_weight=np.array([weights[i] for i in LABELS], "float32"))
    assert a == b
    with pytest.raises(ValueError, match="cannot be specified at the same time"):
        by_class.train_on_batch(X, LABELS, class_weight=weights, sample_weight=np.ones(50))


def test_validation():
    model = regression()
    history = quiet(model, X, Y, validation_split=0.2, epochs=4, validation_freq=2).history
    assert {name: len(values) for name, values in history.items()} == {
        "loss": 4,
        "mae": 4,
        "val_loss": 2,
        "val_mae": 2,
    }
    history = quiet(model, X, Y, validation_data=(X, Y, np.ones(50)), validation_batch_size=5).history
    assert history["val_loss"] == [pytest.approx(model.evaluate(X, Y, verbose=0)[0], rel=1e-5)]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return X[i * 10 : i * 10 + 10], Y[i * 10 : i * 10 + 10]


def generate():
    yield from (Batches()[i] for i in range(5))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dataset", [generate, Batches], ids=["generator", "PyDataset"])
def test_datasets_train_like_arrays(dataset):
    arrays, other = regression(), regression()
    assert quiet(arrays, X, Y, batch_size=10).history == quiet(other, dataset()).history
    same_weights(arrays, other)
    assert other.evaluate(dataset(), verbose=0) == arrays.evaluate(X, Y, batch_size=10, verbose=0)
    np.testing.assert_array_equal(other.predict(dataset(), verbose=0), arrays.predict(X, batch_size=10, verbose=0))


def test_a_generator_that_ends_early_warns_and_ends_fit():
    with pytest.warns(UserWarning, match="ran out of data"):
        quiet(regression(), generate(), epochs=3, steps_per_epoch=4)


def test_tensors_train_like_arrays():
    arrays, tensors = regression(), regression()
    assert quiet(arrays, X, Y).history == quiet(tensors, hb.tensor(X), hb.tensor(Y)).history
    np.testing.assert_array_equal(arrays.predict(X, verbose=0), tensors.predict(hb.tensor(X), verbose=0))


def two_headed(as_dict):
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    joined = keras.layers.Concatenate()([a, b])
    u = keras.layers.Dense(1, name="u")(joined)
    v = keras.layers.Dense(3, activation="softmax", name="v")(joined)
    return keras.Model({"a": a, "b": b}, {"u": u, "v": v}) if as_dict else keras.Model([a, b], [u, v])


def test_dicts_in_and_out():
    keras.utils.set_random_seed(1)
    model = two_headed(as_dict=True)
    losses = {"u": "mse", "v": "sparse_categorical_crossentropy"}
    model.compile(
        "rmsprop",
        losses,
        metrics={"u": ["mae"], "v": ["accuracy"]},
        loss_weights={"u": 1.0, "v": 0.5},
    )
    x, y = {"a": X, "b": X[:, :2]}, {"u": Y, "v": LABELS}
    logs = quiet(model, x, y, sample_weight={"u": np.ones(50), "v": np.ones(50)}).history
    assert {*logs} == {"loss", "u_loss", "u_mae", "v_loss", "v_accuracy"}
    assert logs["loss"][0] == pytest.approx(logs["u_loss"][0] + 0.5 * logs["v_loss"][0], rel=1e-5)
    assert {k: p.shape for k, p in model.predict(x, batch_size=16, verbose=0).items()} == {
        "u": (50, 1),
        "v": (50, 3),
    }


def test_lists_in_and_out():
    model = two_headed(as_dict=False)
    model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], metrics=[["mae"], ["accuracy"]])
    quiet(model, [X, X[:, :2]], [Y, LABELS], validation_split=0.2)
    assert [p.shape for p in model.predict([X, X[:, :2]], verbose=0)] == [(50, 1), (50, 3)]


# -- callbacks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["training", "evaluating", "predicting"])
def test_stopping_in_the_middle(method):
    steps = []

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(batch)
            setattr(self.model, f"stop_{method}", True)

        on_test_batch_end = on_predict_batch_end = on_train_batch_end

    model = regression()
    if method == "training":
        assert quiet(model, X, Y, batch_size=5, epochs=5, callbacks=[Stop()]).epoch == [0]
    elif method == "evaluating":
        model.evaluate(X, Y, batch_size=5, callbacks=[Stop()], verbose=0)
    else:
        assert model.predict(X, batch_size=5, callbacks=[Stop()], verbose=0).shape == (5, 1)
    assert steps == [0]


def test_early_stopping_restores_the_best_weights():
    model = regression(keras.optimizers.SGD(1e-3))
    best = {}

    def spoil(epoch, logs):
        best[epoch] = model.get_weights()
        if epoch >= 1:
            model.layers[-1].kernel.assign(model.layers[-1].kernel * 10)

    stop = keras.callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True)
    history = quiet(model, X, Y, epochs=9, callbacks=[stop, keras.callbacks.LambdaCallback(on_epoch_end=spoil)])
    assert history.epoch == [0, 1, 2, 3]
    for got, wanted in zip(model.get_weights(), best[1], strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_learning_rate_is_read_at_every_step():
    model = regression(keras.optimizers.SGD(0.5))
    rates = []
    callbacks = [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0 if epoch == 1 else rate),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(model.get_weights())),
    ]
    quiet(model, X, Y, epochs=2, callbacks=callbacks)
    np.testing.assert_array_equal(rates[0][0], rates[1][0])
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10, factor=0.1)
    model.optimizer.learning_rate = 0.1
    quiet(model, X, Y, epochs=3, callbacks=[plateau])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_terminate_on_nan():
    x = X.copy()
    x[15] = np.nan
    history = quiet(regression(), x, Y, batch_size=10, epochs=5, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert history.epoch == [0]


def test_backup_and_restore_continues_exactly(tmp_path):
    def die(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    whole, broken, resumed = (regression("adam") for _ in range(3))
    quiet(whole, X, Y, epochs=4)
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        quiet(
            broken,
            X,
            Y,
            epochs=4,
            callbacks=[backup, keras.callbacks.LambdaCallback(on_epoch_begin=die)],
        )
    assert quiet(resumed, X, Y, epochs=4, callbacks=[keras.callbacks.BackupAndRestore(tmp_path)]).epoch == [2, 3]
    same_weights(whole, resumed)


# -- overriding the steps --------------------------------------------------------------------------------------------


class Custom(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.mean = keras.metrics.Mean(name="mean")
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        return self.dense(x)

    @property
    def metrics(self):
        return [self.mean]

    def train_step(self, data):
        x, y = data
        with hb.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(self(x) - y))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.mean.update_state(loss)
        self.steps.assign_add(1.0)
        return {"mean": self.mean.result()}

    def test_step(self, data):
        x, y = data
        return {"error": keras.ops.max(keras.ops.abs(self(x) - y)), "rows": len(x)}

    def predict_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return {"once": self(x), "twice": 2 * self(x)}


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_steps_of_ones_own(run_eagerly):
    model = Custom()
    model.compile("adam", run_eagerly=run_eagerly)
    history = quiet(model, X, Y, batch_size=10, epochs=2).history
    assert [*history] == ["mean"] and history["mean"][1] < history["mean"][0]
    assert float(model.steps.value) == 10
    assert {*model.evaluate(X, Y, verbose=0, return_dict=True)} == {"error", "rows"}
    predicted = model.predict(X, batch_size=20, verbose=0)
    np.testing.assert_allclose(predicted["twice"], 2 * predicted["once"])


# -- optimizers ------------------------------------------------------------------------------------------------------

OPTIONS = [
    {"gradient_accumulation_steps": 3},
    {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 2},
    {"weight_decay": 0.01},
    {"clipnorm": 0.1},
    {"global_clipnorm": 0.1},
    {"clipvalue": 0.01},
    {"loss_scale_factor": 4.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_optimizer_options_mean_the_same_when_traced(options):
    traced = regression(keras.optimizers.Adam(0.01, **options))
    eager = regression(keras.optimizers.Adam(0.01, **options), run_eagerly=True)
    plain = regression(keras.optimizers.Adam(0.01))
    for model in (traced, eager, plain):
        quiet(model, X, Y, batch_size=8)
    same_weights(traced, eager)
    assert int(traced.optimizer.iterations) == (2 if "gradient_accumulation_steps" in options else 7)
    if "loss_scale_factor" not in options:
        assert any(np.any(a != b) for a, b in zip(traced.get_weights(), plain.get_weights(), strict=True))


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_loss_scaling_skips_what_overflows(run_eagerly):
    sgd = keras.optimizers.SGD(0.01)
    scaled = keras.optimizers.LossScaleOptimizer(sgd, initial_scale=2.0**17, dynamic_growth_steps=3)
    model = regression(scaled, run_eagerly=run_eagerly)
    for layer in model.layers:
        layer.dtype_policy = "mixed_float16"
    quiet(model, X, Y, batch_size=10, epochs=2)
    steps, scale = int(model.optimizer.iterations), float(model.optimizer.dynamic_scale)
    assert 0 < steps < 10 and scale != 2.0**17
    assert all(np.isfinite(w).all() and w.dtype == np.float32 for w in model.get_weights())


def test_mixed_precision_trains():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = regression("adam")
    finally:
        keras.config.set_dtype_policy("float32")
    losses = quiet(model, X, Y, epochs=5).history["loss"]
    assert losses[-1] < losses[0]
    assert model.predict(X, verbose=0).dtype == "bfloat16"
    assert all(w.dtype == np.float32 for w in model.get_weights())


def images():
    pixels = [keras.layers.Reshape((2, 2, 1)), keras.layers.UpSampling2D(3), keras.layers.Conv2D(4, 3, padding="same")]
    pooled = [keras.layers.AveragePooling2D(2, 1), keras.layers.MaxPooling2D(2, 1, "same"), keras.layers.Flatten()]
    middle = [keras.layers.BatchNormalization(), keras.layers.DepthwiseConv2D(3, 2, padding="same")]
    return [*pixels, *middle, *pooled]


def attention():
    x = keras.Input((2, 4))
    return [
        keras.layers.Reshape((1, 4)),
        keras.layers.UpSampling1D(2),
        keras.Model(x, keras.layers.MultiHeadAttention(2, 3)(x, x)),
        keras.layers.Flatten(),
    ]


MIXED = {
    "Dense": lambda: [keras.layers.Dense(7, activation="gelu")],
    "Conv2D": images,
    "LSTM": lambda: [keras.layers.Reshape((4, 1)), keras.layers.LSTM(5)],
    "MultiHeadAttention": attention,
}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("layers", MIXED.values(), ids=MIXED)
def test_mixed_precision_trains_in_native_code_as_float32_does(layers, policy):
    def losses():
        keras.utils.set_random_seed(4)
        model = keras.Sequential([keras.Input((4,)), *layers(), keras.layers.Dense(1, dtype="float32")])
        model.compile("adam", "mse")
        ledger = hb.current_session().ledger
        before = ledger.counts["host step"]  # an orthogonal matrix takes one
        history = quiet(model, X, Y, batch_size=10, epochs=3).history
        assert ledger.counts["host step"] == before, ledger.entries
        return history["loss"]

    expected = losses()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = losses()
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(mixed, expected, rtol=0.05)


# -- sessions --------------------------------------------------------------------------------------------------------


def test_a_model_lives_and_dies_with_its_session():
    with hb.Session():
        model = regression()
        quiet(model, X, Y)
    for use in (lambda: model.predict(X, verbose=0), lambda: quiet(model, X, Y), model.get_weights):
        with pytest.raises(hb.errors.SessionClosedError, match=r"test_trainer\.py"):
            use()


def test_another_session_lends_its_resources_only():
    model = regression()
    with hb.Session() as session:
        quiet(model, X, Y)
        inside = model.predict(X, verbose=0)
        assert session.runs > 0
        assert not {*map(id, session.variables)} & {id(w._value) for w in model.weights}
    np.testing.assert_array_equal(inside, model.predict(X, verbose=0))


# -- models that are built on the way ----------------------------------------------------------------------------------


class Positions(keras.layers.Layer):
    """Keeps a tensor that it made in ``build``, which may happen in a trace."""

    def build(self, shape):
        self.positions = keras.ops.arange(shape[-1], dtype="float32") / shape[-1]
        self.built = True

    def call(self, x):
        return x + self.positions


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_tensors_made_while_building_stay_usable(method):
    model = keras.Sequential([Positions(), keras.layers.Normalization(mean=[0.0, 1, 2, 3], variance=[1.0, 2, 3, 4])])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    getattr(model, method)(X, *([] if method == "predict" else [Y]), verbose=0)
    np.testing.assert_allclose(model(X), model.predict(X, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.layers[0].positions, [0, 0.25, 0.5, 0.75])


def test_a_step_of_ones_own_needs_no_call():
    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = keras.layers.Dense(2), keras.layers.Dense(4)

        def train_step(self, data):
            with hb.GradientTape() as tape:
                loss = keras.ops.mean(keras.ops.square(self.decode(self.encode(data)) - data))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"error": loss}

    model = Pair()
    model.compile("adam")
    losses = quiet(model, X, epochs=3).history["error"]
    assert losses[2] < losses[0] and len(model.weights) == 4


def test_no_data():
    with pytest.raises(ValueError, match="no batch of data"):
        regression().predict(X[:0], verbose=0)


class Counted(keras.layers.Layer):
    """Asks for values, as the lookup layers do."""

    def __init__(self, supports_jit):
        super().__init__()
        self.supports_jit = supports_jit

    def call(self, x):
        return keras.ops.convert_to_tensor(np.cumsum(keras.ops.convert_to_numpy(x), axis=1))

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize("supports_jit", [False, True])
def test_what_asks_for_values_runs_eagerly_unless_it_is_to_be_compiled(supports_jit):
    with hb.Session() as session:
        model = keras.Sequential([Counted(supports_jit)])
        if supports_jit:
            with pytest.raises(hb.errors.TracingError, match="no value yet"):
                model.predict(X, verbose=0)
            model.compile(jit_compile=False)
        np.testing.assert_allclose(model.predict(X, verbose=0), np.cumsum(X, axis=1))
        assert session.ledger.counts["fallback"] == 1


def test_steps_written_for_keras_2():
    class Old(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, kernel_regularizer="l2")

        def call(self, x):
            return self.dense(x)

        def train_step(self, data):
            x, y = data
            with hb.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compiled_loss(y, y_pred, regularization_losses=self.losses)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            self.compiled_metrics.update_state(y, y_pred)
            return {"total": loss, **self.compiled_metrics.result()}

    keras.utils.set_random_seed(4)
    old = Old()
    old.compile("sgd", "mse", metrics=["mae"])
    logs = quiet(old, X, Y, batch_size=50).history
    keras.utils.set_random_seed(4)
    new = keras.Sequential([keras.layers.Dense(1, kernel_regularizer="l2")])
    new.compile("sgd", "mse", metrics=["mae"])
    expected = quiet(new, X, Y, batch_size=50).history
    assert logs["total"] == pytest.approx(expected["loss"]) and logs["mae"] == pytest.approx(expected["mae"])
    same_weights(old, new)


def test_a_model_that_is_dropped_gives_everything_back():
    with hb.Session() as session:
        model = regression("adam")
        quiet(model, X, Y, validation_split=0.2)
        model.predict(X, verbose=0)
        assert session.variables
        dropped = weakref.ref(model)
        del model
        keras.utils.clear_session()
        gc.collect()
        assert dropped() is None and not session.variables


def test_the_stateless_style_in_a_function():
    """As one writes for JAX: state goes in and comes out; nothing of the model changes meanwhile."""
    model, stateful = regression("adam"), regression("adam")
    for each in (model, stateful):
        each.optimizer.build(each.trainable_variables)

    def loss_of(weights, rest, x, y):
        y_pred, rest = model.stateless_call(weights, rest, x, training=True)
        return keras.ops.mean(keras.losses.mean_squared_error(y, y_pred)), rest

    @hb.function
    def step(weights, rest, slots, x, y):
        with hb.GradientTape() as tape:
            tape.watch(weights)
            loss, rest = loss_of(weights, rest, x, y)
        weights, slots = model.optimizer.stateless_apply(slots, tape.gradient(loss, weights), weights)
        return loss, weights, rest, slots

    before = model.get_weights()
    state = [[v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]
    state.append([v.value for v in model.optimizer.variables])
    for _ in range(3):
        _, *state = step(*state, X, Y)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    quiet(stateful, X, Y, batch_size=50, epochs=3)
    for a, b in zip(state[0], stateful.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
