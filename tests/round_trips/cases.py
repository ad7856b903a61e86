"""The models that go round: small ones that between them have every way of keeping state.

The same file runs on every backend, so it imports nothing of Hornbeam; ``keras`` is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

Keras = Any  # the package
Model = Any
Random = np.random.Generator
ROWS = 16  # samples that each model gets
EXACT = 1e-5  # of the output's scale: rounding of float32, where the order of sums differs


def floats(*shape: int) -> Callable[[Random], np.ndarray]:
    return lambda random: random.normal(size=(ROWS, *shape)).astype("float32")


def integers(below: int, *shape: int) -> Callable[[Random], np.ndarray]:
    return lambda random: random.integers(1, below, size=(ROWS, *shape)).astype("int32")


@dataclass(frozen=True)
class Case:
    """A model with its inputs.

    Args:
        layers: makes the model, not compiled, with weights as Keras initialises them.
        inputs: draws what it is called with, for each of its inputs.
        finish: done after the weights have been drawn: what changes the model, as `quantize` does.
        optimizer: its config; the model is then compiled and takes steps before it is saved.
        bound: the largest difference of predictions, relative to the largest prediction.
        because: why it is not `EXACT`.
    """

    layers: Callable[[Keras], Model]
    inputs: tuple[Callable[[Random], np.ndarray], ...] = (floats(8),)
    finish: Callable[[Model, Random], None] = lambda model, random: None
    optimizer: dict[str, Any] | None = None
    bound: float = EXACT
    because: str = ""


def build(keras: Keras, case: Case, seed: int) -> Model:
    """The model with weights drawn from ``seed``, ready to be saved, or to have a file's weights loaded into it."""
    keras.utils.set_random_seed(seed)
    model = case.layers(keras)
    model(arguments(case))
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "float" in weight.dtype:  # not the state of seed generators
            noise = random.normal(scale=0.1, size=weight.shape).astype("float32")
            # Also what starts constant, as biases do, is seen if it is lost; variances stay positive.
            weight.assign_add(abs(noise) if "variance" in weight.path else noise)
    case.finish(model, random)
    if case.optimizer is not None:
        model.compile(keras.optimizers.deserialize(case.optimizer), "mse")
        model.optimizer.build(model.trainable_variables)
    return model


def arguments(case: Case) -> Any:
    """What the model is called with; the same in every process."""
    random = np.random.default_rng(17)
    drawn = [draw(random) for draw in case.inputs]
    return drawn if len(drawn) > 1 else drawn[0]


# -- the models ------------------------------------------------------------------------------------------


def dense(keras: Keras, dropout: float = 0.3) -> Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="gelu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),  # brings the state of a seed generator
            layers.Dense(16, activation="tanh", kernel_regularizer="l2"),
            layers.Dense(3),
        ]
    )


def convolutions(keras: Keras) -> Model:
    layers = keras.layers
    x = image = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(12, 3, activation="silu")(x)
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
    x = layers.Conv2D(8, 3, dilation_rate=2, groups=2, padding="same")(x)
    x = layers.SpectralNormalization(layers.Conv2D(6, 1))(x)
    x = layers.GroupNormalization(3)(x)
    pooled = [layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(x)), layers.GlobalMaxPooling2D()(x)]
    return keras.Model(image, layers.Dense(4)(layers.concatenate(pooled)))


def recurrent(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((10,), dtype="int32"),
            layers.Embedding(20, 6, mask_zero=True),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.GRU(6, return_sequences=True, reset_after=True),
            layers.RNN(layers.StackedRNNCells([layers.GRUCell(5, reset_after=False), layers.SimpleRNNCell(4)])),
            layers.Dense(3),
        ]
    )


def transformer(keras: Keras) -> Model:
    """Two inputs, a layer that is used twice, two outputs."""
    layers = keras.layers
    tokens, other = keras.Input((9,), dtype="int32"), keras.Input((6, 16))
    x = layers.Embedding(30, 16)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8, dropout=0.1)(x, x, use_causal_mask=True))
    x = x + layers.GroupQueryAttention(8, 4, 2)(x, other)
    shared = layers.EinsumDense("btd,de->bte", output_shape=(None, 16), bias_axes="e", activation="gelu")
    x = layers.RMSNormalization()(shared(x) + x)
    return keras.Model([tokens, other], [layers.Dense(5)(x), layers.GlobalAveragePooling1D()(shared(x))])


def mixed_precision(keras: Keras) -> Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return dense(keras)
    finally:
        keras.config.set_dtype_policy(before)


def preprocessing(keras: Keras) -> Model:
    layers = keras.layers
    parts = [layers.Normalization(), layers.Rescaling(0.5, 0.1), layers.GaussianNoise(0.1), layers.Dense(3)]
    return keras.Sequential([keras.Input((8,)), *parts])


def adapted(model: Model, random: Random) -> None:
    model.layers[0].adapt(random.normal(2, 3, size=(100, 8)).astype("float32"))


def lookup(keras: Keras) -> Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((10,), dtype="int32"),
            layers.Embedding(20, 8),
            layers.Conv1D(8, 3, activation="relu"),
            layers.EinsumDense("btd,de->bte", output_shape=(8, 12), bias_axes="e"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(3),
        ]
    )


def custom(keras: Keras) -> Model:
    """A registered layer with a weight, a registered function, and a registered subclass of Model around them."""
    register = keras.saving.register_keras_serializable("round_trips")

    @register
    class Scale(keras.layers.Layer):
        def __init__(self, start: float = 1.0, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.start = start

        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(self.start))

        def call(self, x: Any) -> Any:
            return x * self.scale

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "start": self.start}

    @register
    def bent(x: Any) -> Any:
        return keras.ops.where(x > 0, x, 0.1 * x)

    @register
    class Scaled(keras.Model):
        def __init__(self, units: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.blocks = [keras.layers.Dense(units, activation=bent), Scale(2.0)]
            self.named = {"last": keras.layers.Dense(2)}

        def call(self, x: Any) -> Any:
            for block in self.blocks:
                x = block(x)
            return self.named["last"](x)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "units": self.units}

    return Scaled(6)


def with_lora(model: Model, random: Random) -> None:
    """LoRA on every layer that has it, with adapters that do something: one factor of theirs is zero at first."""
    for layer in model.layers:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2)
    for weight in model.trainable_variables:
        if "lora" in weight.path:
            weight.assign(random.normal(scale=0.3, size=weight.shape).astype("float32"))


def quantized(kind: str) -> Callable[[Model, Random], None]:
    return lambda model, random: model.quantize(kind)


ROUNDINGS = 16  # one after the other in `dense`, about
BFLOAT16 = f"where fused loops round to bfloat16 is up to the backend, {ROUNDINGS} times in a row or so, by 2⁻⁹ at most"

CASES = {
    "dense": Case(dense),
    "convolutions": Case(convolutions, (floats(12, 12, 3),)),
    "recurrent": Case(recurrent, (integers(20, 10),)),
    "attention": Case(transformer, (integers(30, 9), floats(6, 16))),
    "adapted normalization": Case(preprocessing, finish=adapted),
    "custom objects": Case(custom),
    "LoRA": Case(lookup, (integers(20, 10),), with_lora),
    "mixed_bfloat16": Case(mixed_precision, bound=ROUNDINGS * 2**-9, because=BFLOAT16),
    "int8": Case(lookup, (integers(20, 10),), quantized("int8")),
    "int4": Case(lookup, (integers(20, 10),), quantized("int4")),
    **{
        f"training with {kind}": Case(partial(dense, dropout=0.0), optimizer={"class_name": kind, "config": config})
        for kind, config in {
            "Adam": {"learning_rate": 0.01, "amsgrad": True},
            "SGD": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True},
            "RMSprop": {"learning_rate": 0.01, "centered": True, "clipnorm": 1.0},
        }.items()
    },
}
