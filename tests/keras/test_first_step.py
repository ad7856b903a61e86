"""What the first step of a model takes, in counts of what is compiled and traced."""

from __future__ import annotations

import numpy as np

from hornbeam import keras
from hornbeam.engines.native import pipeline


def test_a_model_is_built_without_a_compiler_and_trained_after_one_compile(monkeypatch):
    built: list[str] = []
    build = pipeline.build

    def noted(program, *args):
        built.append(program.name)
        return build(program, *args)

    monkeypatch.setattr(pipeline, "build", noted)
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((11,)), dense(13, activation="relu"), dense(7)], name="small")
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.ones((6, 11), np.float32), np.arange(6)
    assert built == []
    model.fit(x, y, batch_size=3, epochs=2, verbose=0)
    assert built == ["small.train_step"]
    model.predict(x[:1], verbose=0)
    model.predict(x[:1], verbose=0)
    assert built == ["small.train_step", "small.predict_step"]
