"""Keras's random functions: its two-word seed is a key of ``hornbeam.ops.random``."""

from __future__ import annotations

from keras.src.backend.config import floatx
from keras.src.random.seed_generator import SeedGenerator, draw_seed, make_default_seed

from hornbeam.ops import random
from keras_hornbeam.src.ops.core import cast, convert_to_tensor

__all__ = [
    "normal", "uniform", "truncated_normal", "randint", "categorical", "dropout", "shuffle", "gamma", "binomial",
    "beta", "SeedGenerator", "draw_seed", "make_default_seed",
]  # fmt: skip


def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return random.normal(shape, mean, stddev, dtype or floatx(), key=draw_seed(seed))


def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    return random.uniform(shape, minval, maxval, dtype or floatx(), key=draw_seed(seed))


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return random.truncated_normal(shape, mean, stddev, dtype or floatx(), key=draw_seed(seed))


def randint(shape, minval, maxval, dtype="int32", seed=None):
    return random.randint(shape, minval, maxval, dtype, key=draw_seed(seed))


def categorical(logits, num_samples, dtype="int32", seed=None):
    return random.categorical(convert_to_tensor(logits), num_samples, dtype, key=draw_seed(seed))


def dropout(inputs, rate, noise_shape=None, seed=None):
    inputs = convert_to_tensor(inputs)
    if isinstance(rate, (int, float)) and rate in (0, 1):  # decided without a draw, so the seed stays
        return random.dropout(inputs, rate)
    return random.dropout(inputs, rate, noise_shape, key=draw_seed(seed))


def shuffle(x, axis=0, seed=None):
    return random.shuffle(convert_to_tensor(x), axis, key=draw_seed(seed))


def gamma(shape, alpha, dtype=None, seed=None):
    return random.gamma(shape, convert_to_tensor(alpha), dtype or floatx(), key=draw_seed(seed))


def binomial(shape, counts, probabilities, dtype=None, seed=None):
    counts, probabilities = convert_to_tensor(counts), convert_to_tensor(probabilities)
    return cast(random.binomial(shape, counts, probabilities, key=draw_seed(seed)), dtype or floatx())


def beta(shape, alpha, beta, dtype=None, seed=None):
    return random.beta(shape, convert_to_tensor(alpha), convert_to_tensor(beta), dtype or floatx(), key=draw_seed(seed))
