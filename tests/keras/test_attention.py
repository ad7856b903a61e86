"""Flash attention, which Keras's own tests ask of JAX and PyTorch only: the same numbers, and the same gradients."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import keras

LAYERS = {
    "MultiHeadAttention": lambda **how: keras.layers.MultiHeadAttention(2, 4, **how),
    "GroupQueryAttention": lambda **how: keras.layers.GroupQueryAttention(4, 4, 2, **how),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_flash_attention_gives_the_same(make, causal, dtype):
    shapes = (2, 5, 8), (2, 4, 8)  # as many keys as queries is no condition
    query, value = (np.random.default_rng(i).normal(size=s).astype("float32") for i, s in enumerate(shapes))
    results, weights = [], None
    for flash in (False, True):
        layer = make(flash_attention=flash, dtype=dtype)
        layer.build(query.shape, value.shape)
        weights = weights or layer.get_weights()
        layer.set_weights(weights)
        with hb.GradientTape() as tape:
            out = layer(query, value, use_causal_mask=causal)
            loss = keras.ops.sum(out * keras.ops.cast(query, dtype))
        results.append([out, *tape.gradient(loss, layer.trainable_variables)])
    for plain, flashed in zip(*results, strict=True):
        np.testing.assert_allclose(*(keras.ops.cast(a, "float32") for a in (flashed, plain)), rtol=1e-5, atol=1e-6)


def test_flash_attention_can_be_asked_for_everywhere():
    keras.config.enable_flash_attention()
    try:
        x = np.ones((1, 3, 8), "float32")
        assert keras.layers.MultiHeadAttention(2, 4)(x, x).shape == (1, 3, 8)
    finally:
        keras.config.disable_flash_attention()
