"""What is trained: Keras models with their data, the same script on every backend.

``flops`` are the multiplications and additions of matrix products and convolutions in one training step, forward and
backward. They bound the step from below; everything else in it counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Task:
    """A model, compiled; what it is fed; and sizes, those of a smoke run in ``tiny``.

    ``batch`` and ``steps`` (of an epoch) are sizes, too.
    """

    name: str
    about: str
    model: Callable[[Any, Any], Any]  # (keras, sizes) -> a compiled model
    data: Callable[[Any, Any, int], tuple[Any, Any]]  # (random generator, sizes, samples) -> x, y
    flops: Callable[[Any], int]
    sizes: dict[str, int]
    tiny: dict[str, int] = field(default_factory=dict)

    def sized(self, tiny: bool) -> SimpleNamespace:
        return SimpleNamespace(**(self.sizes | self.tiny if tiny else self.sizes))


def training(first: int, others: int = 0) -> int:
    """Of multiply-adds forward: each has two more for its gradients, the first layer's but one (none for the data)."""
    return 2 * (2 * first + 3 * others)


# -- models ----------------------------------------------------------------------------------------------


def article(keras: Any, s: Any) -> Any:
    model = keras.Sequential([keras.Input((s.features,)), keras.layers.Dense(s.units)])
    model.compile(optimizer="sgd", loss="mse")
    return model


def mlp(keras: Any, s: Any) -> Any:
    dense = keras.layers.Dense
    hidden = [dense(s.hidden, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((s.features,)), *hidden, dense(s.classes)])
    return classifier(keras, model, keras.optimizers.Adam())


def cnn(keras: Any, s: Any) -> Any:
    layers = keras.layers
    body = []
    for filters in (s.filters, 2 * s.filters):
        body += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
    model = keras.Sequential([keras.Input((s.image, s.image, 1)), *body, layers.Flatten(), layers.Dense(s.classes)])
    return classifier(keras, model, keras.optimizers.Adam())


def resnet(keras: Any, s: Any) -> Any:
    layers = keras.layers

    def convolution(x: Any, filters: int, stride: int) -> Any:
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def block(x: Any, filters: int, stride: int) -> Any:
        out = layers.ReLU()(convolution(x, filters, stride))
        out = convolution(out, filters, 1)
        if stride > 1:
            x = layers.BatchNormalization()(layers.Conv2D(filters, 1, strides=stride, use_bias=False)(x))
        return layers.ReLU()(layers.add([out, x]))

    given = keras.Input((s.image, s.image, 3))
    x = layers.ReLU()(convolution(given, s.filters, 1))
    for stage in range(3):
        for i in range(s.blocks):
            x = block(x, s.filters << stage, 2 if stage and not i else 1)
    model = keras.Model(given, layers.Dense(s.classes)(layers.GlobalAveragePooling2D()(x)))
    return classifier(keras, model, keras.optimizers.SGD(0.1, momentum=0.9))


def transformer(keras: Any, s: Any) -> Any:
    layers = keras.layers

    class Positions(keras.Layer):  # type: ignore[name-defined]
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(shape=(s.length, s.width), initializer="random_normal", name="table")

        def call(self, x: Any) -> Any:
            return x + self.table

    given = keras.Input((s.length,), dtype="int32")
    x = Positions()(layers.Embedding(s.words, s.width)(given))
    for _ in range(s.layers):
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        attention = layers.MultiHeadAttention(s.heads, s.width // s.heads)
        x = layers.add([x, attention(y, y, use_causal_mask=True)])
        y = layers.LayerNormalization(epsilon=1e-5)(x)
        y = layers.Dense(4 * s.width, activation="gelu")(y)
        x = layers.add([x, layers.Dense(s.width)(y)])
    model = keras.Model(given, layers.Dense(s.words)(layers.LayerNormalization(epsilon=1e-5)(x)))
    return classifier(keras, model, keras.optimizers.Adam())


def lstm(keras: Any, s: Any) -> Any:
    layers = keras.layers
    model = keras.Sequential([keras.Input((s.length, s.features)), layers.LSTM(s.units), layers.Dense(s.classes)])
    return classifier(keras, model, keras.optimizers.RMSprop())


def classifier(keras: Any, model: Any, optimizer: Any) -> Any:
    model.compile(optimizer=optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


# -- data ------------------------------------------------------------------------------------------------


def regression(rng: Any, s: Any, n: int) -> tuple[Any, Any]:
    return rng.standard_normal((n, s.features), "float32"), rng.standard_normal((n, 1), "float32")


def labelled(*shape: str | int) -> Callable[[Any, Any, int], tuple[Any, Any]]:
    """Samples of that shape (sizes by name) with a class each."""

    def data(rng: Any, s: Any, n: int) -> tuple[Any, Any]:
        dims = [getattr(s, d) if isinstance(d, str) else d for d in shape]
        return rng.standard_normal((n, *dims), "float32"), rng.integers(0, s.classes, n).astype("int32")

    return data


def text(rng: Any, s: Any, n: int) -> tuple[Any, Any]:
    words = rng.integers(0, s.words, (n, s.length + 1)).astype("int32")
    return words[:, :-1].copy(), words[:, 1:].copy()


# -- bounds ----------------------------------------------------------------------------------------------


def cnn_flops(s: Any) -> int:
    one = s.image - 2
    two = one // 2 - 2
    first, second = 9 * s.filters * one**2, 9 * s.filters * 2 * s.filters * two**2
    return s.batch * training(first, second + (two // 2) ** 2 * 2 * s.filters * s.classes)


def resnet_flops(s: Any) -> int:
    f, pixels = s.filters, s.image**2  # filters double and pixels quarter: a convolution of any stage costs the same
    same = 9 * f * f * pixels
    entering = same // 2 + 2 * f * f * pixels // 4  # the first of a later stage reads half the channels; its shortcut
    others = 2 * 3 * s.blocks * same - 2 * same + 2 * entering + 4 * f * s.classes
    return s.batch * training(27 * f * pixels, others)


def transformer_flops(s: Any) -> int:
    weights = s.layers * 12 * s.width**2 + s.width * s.words
    return s.batch * s.length * training(0, weights + s.layers * 2 * s.length * s.width)


def lstm_flops(s: Any) -> int:
    gates = 4 * s.units
    return s.batch * training(s.length * s.features * gates, s.length * s.units * gates + s.units * s.classes)


TASKS = {
    task.name: task
    for task in [
        Task(
            "article", "the article's model: Dense 10, SGD, mean squared error", article, regression,
            lambda s: s.batch * training(s.features * s.units),
            {"batch": 32, "steps": 200, "features": 10, "units": 10}, {"steps": 10},
        ),
        Task(
            "mlp", "784-512-512-10, Adam", mlp, labelled("features"),
            lambda s: s.batch * training(s.features * s.hidden, s.hidden * (s.hidden + s.classes)),
            {"batch": 128, "steps": 40, "features": 784, "hidden": 512, "classes": 10},
            {"batch": 16, "steps": 3, "features": 32, "hidden": 32},
        ),
        Task(
            "cnn", "convolutions of 32 and 64 filters on 28×28, Adam", cnn, labelled("image", "image", 1), cnn_flops,
            {"batch": 128, "steps": 10, "image": 28, "filters": 32, "classes": 10},
            {"batch": 4, "steps": 2, "image": 12, "filters": 4},
        ),
        Task(
            "resnet", "ResNet-20 on 32×32, SGD with momentum", resnet, labelled("image", "image", 3), resnet_flops,
            {"batch": 64, "steps": 4, "image": 32, "filters": 16, "blocks": 3, "classes": 10},
            {"batch": 2, "steps": 2, "image": 8, "filters": 4, "blocks": 1},
        ),
        Task(
            "transformer", "2 layers, width 128, 128 tokens of 5000 words, Adam", transformer, text, transformer_flops,
            {"batch": 16, "steps": 4, "length": 128, "width": 128, "heads": 4, "layers": 2, "words": 5000},
            {"batch": 2, "steps": 2, "length": 8, "width": 16, "heads": 2, "layers": 1, "words": 50},
        ),
        Task(
            "lstm", "LSTM 64 on 50×32, RMSprop", lstm, labelled("length", "features"), lstm_flops,
            {"batch": 64, "steps": 20, "length": 50, "features": 32, "units": 64, "classes": 10},
            {"batch": 4, "steps": 2, "length": 5, "features": 4, "units": 8},
        ),
    ]
}  # fmt: skip
