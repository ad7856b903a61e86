"""Random numbers. Every sampler takes ``key``: a key, a ``Generator``, an int, or None for the session's own stream.

    hb.random.set_seed(7)
    hb.random.normal((3, 4))                     # the next key of the current session's stream
    hb.random.normal((3, 4), key=hb.random.key(7))  # the same numbers on every call
    gen = hb.random.Generator(7)
    gen.normal((3, 4))                           # the next key of this stream

A key is uint32[2], and what is drawn with it depends on it alone. A stream is a root key and a count of draws, both
state of a session: the n-th draw of a stream uses the same key whether it is run eagerly, traced or in a graph.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Spec, as_axis, as_shape, broadcast_shapes
from hornbeam.errors import DTypeError, ShapeError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.primitives.arith import (
    CAST,
    ERF_INV,
    EXP,
    FLOOR,
    LGAMMA,
    LOG,
    LOG1P,
    LOGISTIC,
    MAX,
    MIN,
    NEXTAFTER,
    SELECT,
    SQRT,
    scalar,
)
from hornbeam.ir.primitives.index import ARGSORT, GATHER
from hornbeam.ir.primitives.movement import BROADCAST, IOTA, STOP_GRADIENT
from hornbeam.ir.primitives.random import RANDOM_BITS, fold_in, split
from hornbeam.ir.primitives.random import bernoulli as _bernoulli
from hornbeam.ir.primitives.random import normal as _normal
from hornbeam.ir.primitives.random import uniform as _uniform
from hornbeam.ir.primitives.reduce import ARGMAX, REDUCE_OR
from hornbeam.ops.control import while_loop
from hornbeam.ops.op import op
from hornbeam.runtime import session as sessions
from hornbeam.runtime.function import function
from hornbeam.runtime.tensor import as_tensor
from hornbeam.runtime.variable import Variable

__all__ = [
    "Generator", "set_seed", "key", "fold_in", "split",
    "bits", "uniform", "normal", "truncated_normal", "randint", "bernoulli", "categorical", "gumbel", "exponential",
    "gamma", "beta", "binomial", "poisson", "dropout", "permutation", "shuffle",
]  # fmt: skip

# -- keys and streams --------------------------------------------------------------------------------------------------


def key(seed: int) -> Any:
    """The key that an integer names (taken modulo 2**64)."""
    return constant(_words(seed))


def _words(seed: int) -> np.ndarray:
    number = int(seed) % 2**64
    return np.asarray([number & 0xFFFFFFFF, number >> 32], np.uint32)


class Generator:
    """A stream of keys, and every sampler of this module as a method that draws with the next of them.

    Args:
        seed: where the stream starts; from the system if None.
        home: as for variables: the session that holds its state; None for one state in each session.
    """

    def __init__(self, seed: int | None = None, *, home: Any = ...) -> None:
        self.root = Variable(
            None if home is None else _words(_entropy() if seed is None else seed),
            spec=Spec((2,), dtypes.uint32),
            initializer=lambda session: _words(session.seed if seed is None else seed),
            trainable=False,
            name="random_root",
            home=home,
        )
        self.draws = Variable(
            None if home is None else np.zeros((), np.uint64),
            spec=Spec((), dtypes.uint64),
            initializer=lambda session: np.zeros((), np.uint64),
            trainable=False,
            name="random_draws",
            home=home,
        )

        self._advance = function(self._next_key, name="next_key")  # one run, so threads never draw the same key

    def next_key(self) -> Any:
        """The next key; the stream moves on."""
        return self._advance()

    def _next_key(self) -> Any:
        drawn = self.draws.value()
        self.draws.assign(drawn + 1)
        return fold_in(self.root.value(), drawn)

    def reset(self, seed: int) -> None:
        """Start anew from ``seed``."""
        self.root.assign(_words(seed))
        self.draws.assign(np.zeros((), np.uint64))


def _entropy() -> int:
    return int(np.random.SeedSequence().entropy) % 2**64  # type: ignore[arg-type]


STREAM = Generator(home=None)
"""The stream of draws without a key: one in every session, rooted in the session's seed."""


def set_seed(seed: int) -> None:
    """Restart the current session's stream of random numbers from ``seed``."""
    sessions.current().seed = int(seed)
    STREAM.reset(seed)


def _as_key(given: Any) -> Any:
    if given is None:
        return STREAM.next_key()
    if isinstance(given, Generator):
        return given.next_key()
    if isinstance(given, (int, np.integer)):
        return key(int(given))
    return as_tensor(given)


def _floating(name: str, dtype: Any) -> DType:
    dtype = dtypes.as_dtype(dtype)
    if dtype not in dtypes.FLOATS:
        raise DTypeError(
            explain(
                f"{name}: dtype must be floating, got {dtype.name}.",
                fix="hb.random.randint(shape, low, high) for whole numbers",
            )
        )
    return dtype


def _wide(dtype: DType) -> DType:
    """Where half precision is computed."""
    return dtypes.float64 if dtype == dtypes.float64 else dtypes.float32


def _parameter(x: Any, dtype: DType) -> Any:
    """A distribution's parameter: Python numbers stay weak."""
    return x if isinstance(x, (bool, int, float)) else as_tensor(x).astype(dtype)


# -- uniform bits, whole numbers, reals --------------------------------------------------------------------------------


@op
def bits(shape: Any, *, key: Any = None) -> Any:
    """Uniform uint32 numbers."""
    return RANDOM_BITS(_as_key(key), shape=as_shape(shape))


@op
def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Uniform in [minval, maxval); ``maxval`` itself never occurs, also not by rounding."""
    dtype = _floating("uniform", dtype)
    unit = _uniform(_as_key(key), as_shape(shape), dtype)
    low, high = _parameter(minval, dtype), _parameter(maxval, dtype)
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        if (low, high) == (0, 1):
            return unit
        # Rounding of the sum can reach the end, so the end is moved in by one step.
        last = constant(np.asarray(np.nextafter(np.asarray(high, dtype), np.asarray(low, dtype)), dtype))
        drawn = unit * (high - low) + low
        # Not MIN: what compares and selects is exact, so that the first values of a model need no compiler.
        return SELECT(drawn > last, last, drawn)
    low, high = as_tensor(low, dtype), as_tensor(high, dtype)
    return MIN(unit * (high - low) + low, NEXTAFTER(high, low))


@op
def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", *, key: Any = None) -> Any:
    """Whole numbers uniform in [minval, maxval), which may be all of ``dtype``'s range.

    By multiplying 64 random bits (128 for ranges wider than 2**32) and keeping the upper half: the bias of a number is
    less than 2**-32, where a remainder's would reach 1. Raises DTypeError for bounds outside of ``dtype``, ValueError
    for an empty range (of Python ints; of tensors it counts as holding ``minval``).
    """
    shape, dtype = as_shape(shape), dtypes.as_dtype(dtype)
    if not dtypes.is_integer(dtype):
        raise DTypeError(explain(f"randint: dtype must be integer, got {dtype.name}.", fix="hb.random.uniform(shape)"))
    drawn_key = _as_key(key)
    if isinstance(minval, (int, float)) and isinstance(maxval, (int, float)):
        low, span = int(minval), int(maxval) - int(minval)
        info = np.iinfo(dtype)
        if span <= 0:
            raise ValueError(explain(f"randint: [{minval}, {maxval}) holds no whole number.", fix="minval < maxval"))
        if low < info.min or low + span > int(info.max) + 1:
            raise DTypeError(f"randint: [{minval}, {maxval}) is not inside {dtype.name}, {info.min} … {info.max}.")
        offset = _below(drawn_key, shape, span)
        return CAST(offset if low == 0 else offset + low % 2**64, dtype=dtype)
    low, high = (CAST(as_tensor(v), dtype=dtypes.int64) for v in (minval, maxval))
    span = CAST(MAX(high - low, scalar(1, low)), dtype=dtypes.uint64)
    offset = _below(drawn_key, shape, span)
    return CAST(offset + CAST(low, dtype=dtypes.uint64), dtype=dtype)


def _below(key: Any, shape: tuple[int, ...], span: Any) -> Any:
    """uint64 numbers uniform below ``span``, an int or a uint64 tensor (whose zero means 2**64)."""
    if isinstance(span, int) and span <= 2**32:
        high, low = (CAST(w, dtype=dtypes.uint64) for w in _two_words(key, shape))
        return (high * span + ((low * span) >> 32)) >> 32
    keys = split(key)
    upper, lower = _word64(keys[0], shape), _word64(keys[1], shape)
    if isinstance(span, int):
        if span == 2**64:
            return upper
        span = constant(np.asarray(span, np.uint64))
    product = upper * span
    total = product + _upper_half(lower, span)
    return _upper_half(upper, span) + CAST(total < product, dtype=dtypes.uint64)


def _two_words(key: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    pairs = RANDOM_BITS(key, shape=(2, *shape))
    return pairs[0], pairs[1]


def _word64(key: Any, shape: tuple[int, ...]) -> Any:
    high, low = (CAST(w, dtype=dtypes.uint64) for w in _two_words(key, shape))
    return (high << 32) | low


def _upper_half(x: Any, y: Any) -> Any:
    """The upper 64 bits of the product of uint64 numbers, by schoolbook multiplication of 32-bit halves."""
    mask = 0xFFFFFFFF
    x1, x0, y1, y0 = x >> 32, x & mask, y >> 32, y & mask
    middle = x1 * y0 + ((x0 * y0) >> 32)
    return x1 * y1 + (middle >> 32) + ((x0 * y1 + (middle & mask)) >> 32)


def _open_unit(key: Any, shape: tuple[int, ...], dtype: DType) -> Any:
    """Uniform in (0, 1), with finer steps towards 0 (float32: 2**-33), so that its logarithm has a good tail."""
    if dtype == dtypes.float64:
        return _uniform(key, shape, dtype) + 2.0**-54
    fine = CAST(RANDOM_BITS(key, shape=shape), dtype=dtypes.float32) * 2.0**-32 + 2.0**-33
    return MIN(fine, scalar(1 - 2.0**-24, fine))


# -- distributions -----------------------------------------------------------------------------------------------------


@op
def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Normally distributed."""
    dtype = _floating("normal", dtype)
    return _scaled(_normal(_as_key(key), as_shape(shape), dtype), mean, stddev, dtype)


@op
def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Normally distributed within two standard deviations, by the inverse of the distribution function."""
    dtype = _floating("truncated_normal", dtype)
    wide = _wide(dtype)
    unit = _uniform(_as_key(key), as_shape(shape), wide) * 2 - 1
    drawn = ERF_INV(unit * math.erf(math.sqrt(2))) * math.sqrt(2)
    inside = MIN(MAX(drawn, scalar(-2, drawn)), scalar(2, drawn)).astype(dtype)
    return _scaled(inside, mean, stddev, dtype)


def _scaled(x: Any, mean: Any, stddev: Any, dtype: DType) -> Any:
    mean, stddev = _parameter(mean, dtype), _parameter(stddev, dtype)
    if not (isinstance(stddev, (int, float)) and stddev == 1):
        x = x * stddev
    return x if isinstance(mean, (int, float)) and mean == 0 else x + mean


@op
def bernoulli(shape: Any, p: Any = 0.5, *, key: Any = None) -> Any:
    """True with probability ``p``, a number or something that broadcasts to ``shape``."""
    p = p if isinstance(p, (bool, int, float)) else as_tensor(p)
    return _bernoulli(_as_key(key), p, as_shape(shape))


@op
def exponential(shape: Any, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Exponentially distributed with mean 1."""
    dtype = _floating("exponential", dtype)
    return (-LOG1P(-_open_unit(_as_key(key), as_shape(shape), _wide(dtype)))).astype(dtype)


@op
def gumbel(shape: Any, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Gumbel distributed: the largest of many exponentials, centred."""
    dtype = _floating("gumbel", dtype)
    return (-LOG(-LOG1P(-_open_unit(_as_key(key), as_shape(shape), _wide(dtype))))).astype(dtype)


@op
def categorical(logits: Any, num_samples: int = 1, dtype: Any = "int32", *, key: Any = None) -> Any:
    """Classes (batch, num_samples) drawn with the probabilities softmax(logits), ``logits`` being (batch, classes).

    The largest of logits plus Gumbel noise falls on a class with just its probability.
    """
    logits = as_tensor(logits)
    if logits.ndim != 2:
        raise ShapeError(
            explain(
                f"categorical: logits must be (batch, classes), got shape {logits.shape}.",
                why="One distribution is a batch of one.",
                fix="hb.random.categorical(logits[None], n)[0]",
            )
        )
    batch, classes = logits.shape
    wide = _wide(logits.dtype)
    noise = gumbel((batch, int(num_samples), classes), wide, key=_as_key(key))
    scores = logits.astype(wide).reshape((batch, 1, classes)) + noise
    return ARGMAX(scores, axis=2).astype(dtype)


_ROUNDS = 8


def _log_gamma(key: Any, shape: tuple[int, ...], alpha: Any, dtype: DType) -> Any:
    """Logarithms of gamma variates (they do not underflow for small ``alpha``).

    Marsaglia and Tsang, "A simple method for generating gamma variables", 2000, with a fixed number of rounds: each
    accepts with probability over 0.95, so the chance that a number is left at the mode of its distribution is below
    4e-11. Below 1, alpha is raised by 1 and the result multiplied by a power of a uniform number.
    """
    keys = split(key, 2 * _ROUNDS + 1)
    alpha = STOP_GRADIENT(alpha)
    small = alpha < 1
    d = SELECT(small, alpha + 1, alpha) - 1 / 3
    c = 1 / (3 * SQRT(d))
    cube = BROADCAST(scalar(1, d), shape=shape)
    for i in reversed(range(_ROUNDS)):  # the first accepted round is written last, so it stays
        x = _normal(keys[2 * i], shape, dtype)
        root = 1 + c * x
        v = SELECT(root > 0, root * root * root, scalar(1, d))
        log_u = LOG(_open_unit(keys[2 * i + 1], shape, dtype))
        accept = (root > 0) & (log_u < 0.5 * x * x + d * (1 - v + LOG(v)))
        cube = SELECT(accept, v, cube)
    log_unit = LOG(_open_unit(keys[2 * _ROUNDS], shape, dtype))
    return LOG(d * cube) + SELECT(small, log_unit / alpha, scalar(0, d))


def _drawn_shape(name: str, shape: Any, *parameters: Any) -> tuple[int, ...]:
    shape = as_shape(shape)
    if broadcast_shapes(shape, *(p.shape for p in parameters), name=name) != shape:
        listed = ", ".join(str(p.shape) for p in parameters)
        raise ShapeError(f"{name}: parameters of shape {listed} do not broadcast to {shape}.")
    return shape


@op
def gamma(shape: Any, alpha: Any, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Gamma distributed with shape parameter ``alpha``, broadcast to ``shape``, and scale 1.

    No gradient flows to ``alpha``.
    """
    dtype = _floating("gamma", dtype)
    alpha = as_tensor(alpha).astype(_wide(dtype))
    shape = _drawn_shape("gamma", shape, alpha)
    return EXP(_log_gamma(_as_key(key), shape, alpha, alpha.dtype)).astype(dtype)


@op
def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Beta distributed: a gamma variate's share of two. No gradient flows to the parameters."""
    dtype = _floating("beta", dtype)
    alpha, beta = as_tensor(alpha).astype(_wide(dtype)), as_tensor(beta).astype(_wide(dtype))
    shape = _drawn_shape("beta", shape, alpha, beta)
    keys = split(_as_key(key))
    x, y = _log_gamma(keys[0], shape, alpha, alpha.dtype), _log_gamma(keys[1], shape, beta, beta.dtype)
    return LOGISTIC(x - y).astype(dtype)


_SEARCHED = 10.0  # means below are searched for from 0 on, means above are drawn by rejection
_LONGEST = 100  # steps of a search; a mean below 10 gets there once in 10**60
_ATTEMPTS = 64  # of a rejection; each succeeds with probability over 0.7


@op
def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = "float32", *, key: Any = None) -> Any:
    """How many of ``counts`` trials succeed, each with its probability; both broadcast to ``shape``.

    By W. Hörmann, "The generation of binomial random variates", 1993 (BTRS), in float64.
    """
    n = FLOOR(as_tensor(counts).astype(dtypes.float64))
    p = as_tensor(probabilities).astype(dtypes.float64)
    shape = _drawn_shape("binomial", shape, n, p)
    keys = split(_as_key(key))
    n, p = BROADCAST(n, shape=shape), BROADCAST(p, shape=shape)
    mirrored = p > 0.5
    p = SELECT(mirrored, 1 - p, p)
    ratio = p / (1 - p)
    few = n * p < _SEARCHED

    first = EXP(n * LOG1P(-p))
    small = _search(keys[0], first, lambda k, weight: weight * ratio * MAX(n - k + 1, scalar(0, n)) / k)

    m = SELECT(few, scalar(40, n), n)  # any numbers for which the other method is defined
    p, ratio = SELECT(few, scalar(0.5, p), p), SELECT(few, scalar(1, p), ratio)
    spread = SQRT(m * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    scale, mode = (2.83 + 5.1 / b) * spread, FLOOR((m + 1) * p)
    peak = LGAMMA(mode + 1) + LGAMMA(m - mode + 1)

    def attempt(u: Any, v: Any, us: Any) -> tuple[Any, Any]:
        k = FLOOR((2 * a / us + b) * u + m * p + 0.5)
        within = (k >= 0) & (k <= m)
        at = SELECT(within, k, mode)
        height = peak - LGAMMA(at + 1) - LGAMMA(m - at + 1) + (at - mode) * LOG(ratio)
        surely = (us >= 0.07) & (v <= 0.92 - 4.2 / b)
        return at, within & (surely | (LOG(v * scale / (a / (us * us) + b)) <= height))

    drawn = SELECT(few, MIN(small, n), _reject(keys[1], few, mode, attempt))
    return SELECT(mirrored, n - drawn, drawn).astype(dtype)


@op
def poisson(shape: Any, mean: Any, dtype: Any = "float32", *, key: Any = None) -> Any:
    """Poisson distributed with ``mean``, broadcast to ``shape``.

    By W. Hörmann, "The transformed rejection method for generating Poisson random variables", 1993 (PTRS), in float64.
    """
    mean = as_tensor(mean).astype(dtypes.float64)
    shape = _drawn_shape("poisson", shape, mean)
    keys = split(_as_key(key))
    mean = BROADCAST(mean, shape=shape)
    few = mean < _SEARCHED
    small = _search(keys[0], EXP(-mean), lambda k, weight: weight * mean / k)

    mean = SELECT(few, scalar(20, mean), mean)
    b = 0.931 + 2.53 * SQRT(mean)
    a = -0.059 + 0.02483 * b
    scale = 1.1239 + 1.1328 / (b - 3.4)

    def attempt(u: Any, v: Any, us: Any) -> tuple[Any, Any]:
        k = FLOOR((2 * a / us + b) * u + mean + 0.43)
        within = (k >= 0) & ((us >= 0.013) | (v <= us))
        at = SELECT(within, k, FLOOR(mean))
        height = at * LOG(mean) - mean - LGAMMA(at + 1)
        surely = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        return at, within & (surely | (LOG(v * scale / (a / (us * us) + b)) <= height))

    return SELECT(few, small, _reject(keys[1], few, FLOOR(mean), attempt)).astype(dtype)


def _search(key: Any, first: Any, next_weight: Callable[[Any, Any], Any]) -> Any:
    """The k at which the sum of the probabilities ``first``, ``next_weight(1, first)``, … passes a uniform number."""

    def step(left: Any, weight: Any, found: Any, k: Any) -> tuple[Any, ...]:
        beyond = left >= weight
        on = (left - weight, next_weight(k + 1, weight), k + 1)
        return (*(SELECT(beyond, new, old) for new, old in zip(on, (left, weight, found))), k + 1)

    start = (_uniform(key, first.shape, dtypes.float64), first, first * 0, scalar(0, first))
    return while_loop(lambda left, weight, found, k: _any(left >= weight), step, start, maximum_iterations=_LONGEST)[2]


def _reject(key: Any, done: Any, fallback: Any, attempt: Callable[..., tuple[Any, Any]]) -> Any:
    """``attempt(u, v, 1/2 - |u|)`` with new uniform numbers until it accepts; where ``done`` already, anything."""

    def step(i: Any, done: Any, drawn: Any) -> tuple[Any, ...]:
        keys = split(fold_in(key, i))
        u, v = (_open_unit(keys[j], done.shape, dtypes.float64) for j in (0, 1))
        u = u - 0.5
        value, accepted = attempt(u, v, 0.5 - abs(u))
        return i + 1, done | accepted, SELECT(~done & accepted, value, drawn)

    start = (constant(np.zeros((), np.int32)), done, fallback)
    return while_loop(lambda i, done, drawn: _any(~done), step, start, maximum_iterations=_ATTEMPTS)[2]


def _any(x: Any) -> Any:
    return REDUCE_OR(x, axes=tuple(range(x.ndim))) if x.ndim else x


# -- dropping and permuting --------------------------------------------------------------------------------------------


@op
def dropout(x: Any, rate: Any, noise_shape: Any = None, *, key: Any = None) -> Any:
    """``x`` with elements set to 0 with probability ``rate`` and the others divided by 1 - rate.

    Args:
        noise_shape: the shape in which it is decided, broadcast to that of ``x``; None entries are taken from ``x``.
    """
    x = as_tensor(x)
    fixed = isinstance(rate, (int, float))
    if fixed and not 0 <= rate <= 1:
        raise ValueError(explain(f"dropout: rate is a probability, got {rate}.", fix="0 <= rate <= 1"))
    if fixed and rate == 0:
        return x
    zero = scalar(0, x)
    if fixed and rate == 1:
        return BROADCAST(zero, shape=x.shape)
    dims = x.shape if noise_shape is None else _noise_shape(x.shape, noise_shape)
    kept = _bernoulli(_as_key(key), 1 - rate, dims)
    scale = 1 / (1 - rate)
    return SELECT(kept, x * (scale if fixed else as_tensor(scale).astype(x.dtype)), zero)


def _noise_shape(shape: tuple[int, ...], wanted: Any) -> tuple[int, ...]:
    if len(wanted) != len(shape):
        raise ShapeError(f"dropout: noise_shape {tuple(wanted)} must have one entry for each axis of {shape}.")
    dims = as_shape([n if d is None else d for n, d in zip(shape, wanted)])
    if broadcast_shapes(dims, shape, name="dropout") != shape:
        raise ShapeError(f"dropout: noise_shape {dims} does not broadcast to {shape}.")
    return dims


@op
def shuffle(x: Any, axis: int = 0, *, key: Any = None) -> Any:
    """The slices of ``x`` along ``axis`` in random order."""
    x = as_tensor(x)
    axis = as_axis(axis, x.ndim)
    order = _order(_as_key(key), x.shape[axis])
    return GATHER(x, order.reshape((x.shape[axis], 1)), axis=axis) if x.size else x


@op
def permutation(x: Any, axis: int = 0, *, key: Any = None) -> Any:
    """``shuffle``; for an int ``x`` the numbers 0 … x-1 in random order, as int32."""
    if isinstance(x, (int, np.integer)):
        return _order(_as_key(key), int(x))
    return shuffle(x, axis, key=key)


def _order(key: Any, n: int) -> Any:
    """0 … n-1 sorted by random numbers; ties, one pair in 2**32, keep their order."""
    if n == 0:
        return IOTA(shape=(0,), axis=0, dtype=dtypes.int32)
    return ARGSORT(RANDOM_BITS(key, shape=(n,)), axis=0, descending=False)


# -- samplers as methods -----------------------------------------------------------------------------------------------


def _method(sampler: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(sampler)
    def draw(self: Generator, *args: Any, **kwargs: Any) -> Any:
        return sampler(*args, key=self, **kwargs)

    return draw


for _sampler in (
    bits, uniform, normal, truncated_normal, randint, bernoulli, categorical, gumbel, exponential, gamma, beta,
    binomial, poisson, dropout, permutation, shuffle,
):  # fmt: skip
    setattr(Generator, _sampler.__name__, _method(_sampler))
