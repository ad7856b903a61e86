"""What the packages on top of Keras do on a backend, with small models that are built and not downloaded.

    python -m tests.round_trips.ecosystem --report FILE

Each step is a function; a step that raises is reported in words. Imports nothing of Hornbeam, so that the same steps
can be taken on another backend (KERAS_BACKEND names it).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from tests.round_trips.worker import attempt

PACKAGES = ("hornbeam", "keras-nightly", "keras-hub", "keras-tuner", "tensorflow", "tensorflow-text", "jax", "torch")
VOCABULARY, LENGTH, ROWS = 40, 12, 4

Keras = Any
Hub = Any
Model = Any


def tokens() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(1, VOCABULARY, size=(ROWS, LENGTH)).astype("int32")
    padding = (np.arange(LENGTH) < [[12], [9], [5], [12]]).astype("int32")
    return {"token_ids": ids * padding, "padding_mask": padding}


def images(side: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, side, side, 3)).astype("float32")


def trains_and_round_trips(keras: Keras, model: Model, x: Any, y: np.ndarray) -> str:
    """Four steps on one batch lower its loss, `predict` is finite, and the saved model predicts the same."""
    losses = model.fit(x, y, batch_size=ROWS, epochs=4, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], f"the losses were {losses}"
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        loaded = keras.saving.load_model(Path(folder, "model.keras"))
        found, expected = loaded.predict(x, verbose=0), model.predict(x, verbose=0)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return f"trained, loss {losses[0]:.4g} → {losses[-1]:.4g}; the loaded model predicts the same"


# -- keras-hub -------------------------------------------------------------------------------------------


def bert_classifier(keras: Keras, hub: Hub) -> str:
    backbone = hub.models.BertBackbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        max_sequence_length=LENGTH, dropout=0.0,
    )  # fmt: skip
    model = hub.models.BertTextClassifier(backbone, num_classes=3, preprocessor=None, dropout=0.0)
    x = tokens()
    x["segment_ids"] = np.zeros_like(x["token_ids"])
    return trains_and_round_trips(keras, model, x, np.array([0, 1, 2, 1]))


def gpt2(hub: Hub) -> Model:
    backbone = hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        max_sequence_length=LENGTH, dropout=0.0,
    )  # fmt: skip
    return hub.models.GPT2CausalLM(backbone, preprocessor=None)


def llama(hub: Hub) -> Model:
    backbone = hub.models.Llama3Backbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_query_heads=4, num_key_value_heads=2, hidden_dim=16,
        intermediate_dim=32,
    )  # fmt: skip
    return hub.models.Llama3CausalLM(backbone, preprocessor=None)


def gemma(hub: Hub) -> Model:
    backbone = hub.models.GemmaBackbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_query_heads=2, num_key_value_heads=1, hidden_dim=16,
        intermediate_dim=32, head_dim=8,
    )  # fmt: skip
    return hub.models.GemmaCausalLM(backbone, preprocessor=None)


def language_model(make: Callable[[Hub], Model]) -> Callable[[Keras, Hub], str]:
    def step(keras: Keras, hub: Hub) -> str:
        model, x = make(hub), tokens()
        y = np.roll(x["token_ids"], -1, axis=1)
        return trains_and_round_trips(keras, model, x, y)

    return step


def generation(make: Callable[[Hub], Model], sampler: str) -> Callable[[Keras, Hub], str]:
    """The prompt stays, the rest is filled, and the cached decoding agrees with the whole model where it is greedy."""

    def step(keras: Keras, hub: Hub) -> str:
        model, x = make(hub), tokens()
        model.compile(sampler=sampler)
        prompt = np.where(np.arange(LENGTH) < 4, x["token_ids"], 0)
        mask = (np.arange(LENGTH) < 4) & np.ones((ROWS, 1), bool)

        def generate() -> np.ndarray:
            filled = model.generate({"token_ids": prompt, "padding_mask": mask}, stop_token_ids=None)
            return keras.ops.convert_to_numpy(filled["token_ids"])

        ids = generate()
        assert ids.shape == (ROWS, LENGTH) and (ids[:, :4] == prompt[:, :4]).all()
        assert ((ids >= 0) & (ids < VOCABULARY)).all()
        if sampler == "greedy":
            logits = model.predict({"token_ids": ids, "padding_mask": np.ones_like(ids)}, verbose=0)
            np.testing.assert_array_equal(ids[:, 4:], np.argmax(logits[:, 3:-1], axis=-1))
            return "each token is the likeliest after those before it"
        assert sampler == "beam" or (generate() != ids).any(), "two draws are the same"
        return f"{LENGTH - 4} tokens for each of {ROWS} prompts"

    return step


def bart(keras: Keras, hub: Hub) -> str:
    """An encoder and a decoder: the decoder's tokens are the likeliest after those before them."""
    backbone = hub.models.BartBackbone(
        vocabulary_size=VOCABULARY, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        max_sequence_length=LENGTH, dropout=0.0,
    )  # fmt: skip
    model = hub.models.BartSeq2SeqLM(backbone, preprocessor=None)
    model.compile(sampler="greedy")
    encoder = {f"encoder_{name}": value for name, value in tokens().items()}
    start = (np.arange(LENGTH) < 1) * np.full((ROWS, 1), 2, "int32")
    inputs = {**encoder, "decoder_token_ids": start, "decoder_padding_mask": start > 0}
    ids = keras.ops.convert_to_numpy(model.generate(inputs, stop_token_ids=None)["decoder_token_ids"])
    filled = {**encoder, "decoder_token_ids": ids, "decoder_padding_mask": np.ones_like(ids)}
    likeliest = np.argmax(model.predict(filled, verbose=0)[:, :-1], axis=-1)
    np.testing.assert_array_equal(ids[:, 1:], likeliest)
    return "each token is the likeliest after those before it"


def text_to_text(keras: Keras, hub: Hub) -> str:
    """Strings in, strings out: a model that was trained on a row of letters goes on with it."""
    letters = "abcdefgh"
    vocabulary = {token: i for i, token in enumerate(["!", *letters, "ab", "<|endoftext|>"])}  # 0 pads
    tokenizer = hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=["a b"])
    backbone = hub.models.GPT2Backbone(
        vocabulary_size=len(vocabulary), num_layers=1, num_heads=2, hidden_dim=32, intermediate_dim=32,
        max_sequence_length=LENGTH, dropout=0.0,
    )  # fmt: skip
    preprocessor = hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=LENGTH)
    model = hub.models.GPT2CausalLM(backbone, preprocessor=preprocessor)
    model.compile(
        keras.optimizers.Adam(0.03), keras.losses.SparseCategoricalCrossentropy(from_logits=True), sampler="greedy"
    )
    model.fit([letters] * ROWS, batch_size=ROWS, epochs=40, verbose=0)
    found = model.generate(["abcd", "abcdef"])
    assert found == [letters, letters], f"{found} instead of {letters} twice"
    return "trained on strings, goes on with a string; tokenizer and data without TensorFlow"


def resnet(keras: Keras, hub: Hub) -> str:
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2], block_type="basic_block",
        image_shape=(32, 32, 3),
    )  # fmt: skip
    model = hub.models.ResNetImageClassifier(backbone, num_classes=3, preprocessor=None)
    return trains_and_round_trips(keras, model, images(32), np.array([0, 1, 2, 1]))


def vit(keras: Keras, hub: Hub) -> str:
    backbone = hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=(8, 8), num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
        dropout_rate=0.0, attention_dropout=0.0,
    )  # fmt: skip
    model = hub.models.ViTImageClassifier(backbone, num_classes=3, preprocessor=None)
    return trains_and_round_trips(keras, model, images(32), np.array([0, 1, 2, 1]))


# -- keras-tuner -----------------------------------------------------------------------------------------


def search(kind: str, **options: Any) -> Callable[[Keras, Any], str]:
    def build(keras: Keras, parameters: Any) -> Model:
        hidden = keras.layers.Dense(parameters.Int("units", 4, 32, step=4), activation="relu")
        model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(parameters.Float("rate", 1e-3, 1e-1, sampling="log")), "mse")
        return model

    def step(keras: Keras, tuner: Any) -> str:
        x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
        y = x.sum(axis=1, keepdims=True)
        with tempfile.TemporaryDirectory() as folder:
            made = getattr(tuner, kind)(partial(build, keras), "val_loss", seed=1, directory=folder, **options)
            made.search(x, y, validation_split=0.25, epochs=2, verbose=0)
            score = made.oracle.get_best_trials(1)[0].score
            loss = float(made.get_best_models(1)[0].evaluate(x[48:], y[48:], verbose=0))
        np.testing.assert_allclose(loss, score, rtol=1e-5)
        return f"{len(made.oracle.trials)} trials; the best model, loaded from its checkpoint, has the reported loss"

    return step


MAKERS = {"GPT-2": gpt2, "Llama 3": llama, "Gemma": gemma}
STEPS: dict[str, dict[str, Callable[[Keras, Any], str]]] = {
    "keras_hub": {
        "BertTextClassifier": bert_classifier,
        **{f"{name}CausalLM": language_model(make) for name, make in MAKERS.items()},
        **{f"{name}, generate, greedy": generation(make, "greedy") for name, make in MAKERS.items()},
        **{f"GPT-2, generate, {sampler}": generation(gpt2, sampler) for sampler in ("top_k", "top_p", "beam")},
        "BART, generate, greedy": bart,
        "GPT-2, from strings to strings": text_to_text,
        "ResNetImageClassifier": resnet,
        "ViTImageClassifier": vit,
    },
    "keras_tuner": {
        "RandomSearch": search("RandomSearch", max_trials=2),
        "Hyperband": search("Hyperband", max_epochs=4, factor=2),
    },
}


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    keras = import_module("hornbeam.keras" if os.environ["KERAS_BACKEND"] == "hornbeam" else "keras")
    report: dict[str, Any] = {"versions": versions(), "steps": {}}
    for package, steps in STEPS.items():
        module = import_module(package)
        for name, step in steps.items():
            keras.utils.set_random_seed(1)
            result = attempt(lambda: {"what": step(keras, module)})
            report["steps"].setdefault(package, {})[name] = result
    report["imported"] = [name for name in ("tensorflow", "jax", "torch") if name in sys.modules]
    options.report.write_text(json.dumps(report, indent=1), "utf-8")


if __name__ == "__main__":
    main()
