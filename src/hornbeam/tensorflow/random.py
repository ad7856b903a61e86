"""``tf.random``: draws from the session's stream, or from a stream of its own for each ``seed``."""

from __future__ import annotations

import functools
from typing import Any

from hornbeam.base import dtypes
from hornbeam.ops import random as draws
from hornbeam.runtime.graph import recording
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow.names import absent, ints, op

_UNSET = 87654321  # the part of a pair of seeds that is not given


def set_seed(seed: int) -> None:
    """Start the streams of the current session anew; in a graph: its seed, with which its operations are made."""
    graph = recording()
    if graph is not None:
        graph.seed = int(seed)
        return
    _stream.cache_clear()
    draws.set_seed(int(seed))


@functools.lru_cache(maxsize=1024)
def _stream(seed: int) -> draws.Generator:
    return draws.Generator(seed, home=None)


def key(seed: Any) -> Any:
    """What an operation draws with: the session's stream (None), or the one that a seed names."""
    return seed if seed is None or isinstance(seed, draws.Generator) else _stream(int(seed))


def own_stream(seed: Any) -> Any:
    """``seed``; in a graph a stream of the operation's own, named by the graph's seed and its own (or else its number).

    So a graph with a seed draws the same numbers in every session, and other ones in every run.
    """
    graph = recording()
    if graph is None or (seed is None and graph.seed is None) or isinstance(seed, draws.Generator):
        return seed
    pair = (_UNSET if graph.seed is None else graph.seed, len(graph.calls) if seed is None else int(seed))
    return draws.Generator((pair[0] * 0x9E3779B97F4A7C15 + pair[1] * 0xBF58476D1CE4E5B9) % 2**64, home=None)


def drawing(fn: Any) -> Any:
    """An operation with an argument ``seed``, which becomes a stream when it is recorded."""
    recorded = op(fn)

    @functools.wraps(fn)
    def call(*args: Any, seed: int | None = None, **kwargs: Any) -> Any:
        return recorded(*args, seed=own_stream(seed), **kwargs)

    return call


@drawing
def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: Any = None) -> Any:
    """Draws from the normal distribution."""
    return draws.normal(ints(shape), mean, stddev, dtype, key=key(seed))


@drawing
def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: Any = None) -> Any:
    """Draws from the normal distribution, none further than two deviations from the mean."""
    return draws.truncated_normal(ints(shape), mean, stddev, dtype, key=key(seed))


@drawing
def uniform(shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", seed: Any = None) -> Any:
    """Draws from [minval, maxval), real or whole numbers as ``dtype`` says."""
    if dtypes.is_integer(dtypes.as_dtype(dtype)):
        return draws.randint(ints(shape), minval, maxval, dtype, key=key(seed))
    return draws.uniform(ints(shape), minval, 1.0 if maxval is None else maxval, dtype, key=key(seed))


@drawing
def categorical(logits: Any, num_samples: Any, dtype: Any = "int64", seed: Any = None) -> Any:
    """For each row of ``logits`` so many classes."""
    return draws.categorical(logits, int(num_samples), dtype or "int64", key=key(seed))


@drawing
def shuffle(value: Any, seed: Any = None) -> Any:
    """The rows of ``value`` in random order."""
    return draws.shuffle(value, key=key(seed))


@drawing
def gamma(shape: Any, alpha: Any, beta: Any = None, dtype: Any = "float32", seed: Any = None) -> Any:
    """Draws from the gamma distribution; the shapes of the parameters come last."""
    alpha = as_tensor(alpha).astype(dtype)
    beta = as_tensor(1.0 if beta is None else beta).astype(dtype)
    dims = (*ints(shape), *(alpha + beta).shape)
    return draws.gamma(dims, alpha, dtype, key=key(seed)) / beta


@drawing
def poisson(shape: Any, lam: Any, dtype: Any = "float32", seed: Any = None) -> Any:
    """Draws from the Poisson distribution; the shape of ``lam`` comes last."""
    lam = as_tensor(lam)
    return draws.poisson((*ints(shape), *lam.shape), lam, dtype, key=key(seed))


@op
def stateless_normal(shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32") -> Any:
    """Normal draws that depend on ``seed``, two integers, alone."""
    return draws.normal(ints(shape), mean, stddev, dtype, key=as_tensor(seed).astype("uint32"))


@op
def stateless_uniform(shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32") -> Any:
    """Uniform draws that depend on ``seed``, two integers, alone."""
    words = as_tensor(seed).astype("uint32")
    if dtypes.is_integer(dtypes.as_dtype(dtype)):
        return draws.randint(ints(shape), minval, maxval, dtype, key=words)
    return draws.uniform(ints(shape), minval, 1.0 if maxval is None else maxval, dtype, key=words)


class Generator:
    """A stream of random numbers of its own: ``tf.random.Generator.from_seed(1).normal([2, 3])``."""

    def __init__(self, stream: draws.Generator) -> None:
        self._stream = stream

    @classmethod
    def from_seed(cls, seed: int, alg: Any = None) -> Generator:
        return cls(draws.Generator(int(seed)))

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        return cls(draws.Generator())

    def reset_from_seed(self, seed: int) -> None:
        """Start anew from ``seed``."""
        self._stream.reset(int(seed))

    def normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", name: Any = None) -> Any:
        return normal(shape, mean, stddev, dtype, seed=self._stream)

    def truncated_normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", name: Any = None
    ) -> Any:
        return truncated_normal(shape, mean, stddev, dtype, seed=self._stream)

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", name: Any = None) -> Any:
        return uniform(shape, minval, maxval, dtype, seed=self._stream)

    def split(self, count: int = 1) -> list[Generator]:
        """So many generators whose streams do not meet."""
        roots = [int(draws.randint((), 0, 2**31 - 1, key=self._stream)) for _ in range(count)]
        return [Generator.from_seed(r) for r in roots]


__getattr__ = absent(__name__, globals())
