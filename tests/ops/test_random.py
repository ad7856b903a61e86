"""Samplers: moments and distances from the distribution function, determinism, and one stream in every mode."""

import math

import numpy as np
import pytest

import hornbeam.ops.random as random
from hornbeam.errors import DTypeError, ShapeError
from hornbeam.runtime.function import function
from hornbeam.runtime.session import Session
from hornbeam.runtime.tape import GradientTape
from hornbeam.runtime.tensor import as_tensor

N = 20000


def phi(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def distance(sample, cdf):
    """Kolmogorov and Smirnov's: the largest gap between the sample's distribution function and ``cdf``."""
    sample = np.sort(np.asarray(sample, np.float64).ravel())
    at = cdf(sample)
    steps = np.arange(len(sample) + 1) / len(sample)
    return max(np.max(steps[1:] - at), np.max(at - steps[:-1]))


CRITICAL = 1.95 / math.sqrt(N)  # exceeded once in a thousand samples

CONTINUOUS = [
    ("uniform", lambda: random.uniform((N,), -1.0, 3.0, key=1), lambda x: np.clip((x + 1) / 4, 0, 1)),
    ("normal", lambda: random.normal((N,), 2.0, 3.0, key=2), lambda x: phi((x - 2) / 3)),
    (
        "truncated_normal",
        lambda: random.truncated_normal((N,), 1.0, 0.5, key=3),
        lambda x: (phi((x - 1) / 0.5) - phi(-2)) / (phi(2) - phi(-2)),
    ),
    ("exponential", lambda: random.exponential((N,), key=4), lambda x: 1 - np.exp(-x)),
    ("gumbel", lambda: random.gumbel((N,), key=5), lambda x: np.exp(-np.exp(-x))),
    ("gamma 1", lambda: random.gamma((N,), 1.0, key=6), lambda x: 1 - np.exp(-x)),
    ("gamma 3", lambda: random.gamma((N,), 3.0, key=7), lambda x: 1 - np.exp(-x) * (1 + x + x * x / 2)),
    ("gamma 1/2", lambda: random.gamma((N,), 0.5, key=8), lambda x: 2 * phi(np.sqrt(2 * x)) - 1),
    ("beta", lambda: random.beta((N,), 2.0, 1.0, key=9), lambda x: x * x),
    ("normal, float64", lambda: random.normal((N,), dtype="float64", key=10), phi),
]


@pytest.mark.parametrize("draw, cdf", [c[1:] for c in CONTINUOUS], ids=[c[0] for c in CONTINUOUS])
def test_continuous(draw, cdf):
    assert distance(draw().numpy(), cdf) < CRITICAL


DISCRETE = [
    ("binomial, few", lambda: random.binomial((N,), 20, 0.2, key=1), 4.0, 3.2),
    ("binomial, many", lambda: random.binomial((N,), 200, 0.9, key=1), 180.0, 18.0),
    ("poisson, small", lambda: random.poisson((N,), 3.0, key=1), 3.0, 3.0),
    ("poisson, large", lambda: random.poisson((N,), 60.0, key=1), 60.0, 60.0),
    ("bernoulli", lambda: random.bernoulli((N,), 0.3, key=1).astype("float32"), 0.3, 0.21),
    ("randint", lambda: random.randint((N,), -3, 4, key=1).astype("float32"), 0.0, 4.0),
    ("randint, tensors", lambda: random.randint((N,), np.int64(-3), np.int64(4), key=1).astype("float32"), 0.0, 4.0),
]


@pytest.mark.parametrize("draw, mean, variance", [d[1:] for d in DISCRETE], ids=[d[0] for d in DISCRETE])
def test_discrete(draw, mean, variance):
    x = draw().numpy().astype(np.float64)
    assert np.all(x == np.round(x))
    assert abs(x.mean() - mean) < 4 * math.sqrt(variance / N)
    assert abs(x.var() / variance - 1) < 0.06


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_ends_are_never_drawn(dtype):
    x = random.uniform((N,), 1.0, 2.0, dtype, key=0).numpy().astype(np.float64)
    assert x.min() >= 1 and x.max() < 2
    y = random.truncated_normal((N,), dtype=dtype, key=0).numpy().astype(np.float64)
    assert np.abs(y).max() <= 2 and np.isfinite(random.normal((N,), dtype=dtype, key=0).numpy().astype(float)).all()


@pytest.mark.parametrize(
    "low, high, dtype",
    [(0, 256, "uint8"), (-(2**31), 2**31, "int32"), (-(2**63), 2**63, "int64"), (0, 3 << 61, "int64")]
    + [(0, 2**64, "uint64")],
)
def test_randint_reaches_all_of_its_range(low, high, dtype):
    x = random.randint((N,), low, high, dtype, key=4).numpy()
    assert x.dtype == dtype and int(x.min()) >= low and int(x.max()) < high
    assert distance((x.astype(np.float64) - low) / (high - low), lambda u: u) < CRITICAL + 1 / 256
    assert len(np.unique(x & 15)) == 16


def test_categorical():
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        x = random.categorical(np.log(p), N, key=3).numpy()
    found = np.stack([np.bincount(row, minlength=3) for row in x]) / N
    assert np.abs(found - p).max() < 0.015 and found[1, 2] == 0
    with pytest.raises(ShapeError, match=r"batch of one"):
        random.categorical([0.0, 1.0], 2)


def test_dropout():
    x = np.ones((100, 200), np.float32)
    y = random.dropout(x, 0.2, key=1).numpy()
    assert set(np.unique(y)) == {0, np.float32(1.25)} and abs((y == 0).mean() - 0.2) < 0.02
    assert np.all(random.dropout(x, 0.5, noise_shape=(None, 1), key=1).numpy().std(axis=1) == 0)
    assert np.all(random.dropout(x, 1.0).numpy() == 0) and np.all(random.dropout(x, 0.0).numpy() == 1)
    source = as_tensor(x)
    with GradientTape() as tape:
        tape.watch(source)
        out = random.dropout(source, 0.2, key=1)
    assert np.all(tape.gradient(out, source).numpy() == y)


def test_shuffle_and_permutation():
    x = np.arange(24).reshape(4, 6)
    y = random.shuffle(x, axis=1, key=2).numpy()
    assert np.all(np.sort(y, axis=1) == x) and np.all(y - y[:1] == (x - x[:1])) and not np.all(y == x)
    orders = {tuple(random.permutation(3, key=k).tolist()) for k in range(60)}
    assert len(orders) == 6


def test_one_stream_in_every_mode():
    draw = function(lambda: (random.normal((2,)), random.randint((2,), 0, 100)))
    with Session(seed=5):
        eager = [(random.normal((2,)).tolist(), random.randint((2,), 0, 100).tolist()) for _ in range(3)]
    with Session(seed=5):
        traced = [tuple(t.tolist() for t in draw()) for _ in range(3)]
        random.set_seed(6)
        other = tuple(t.tolist() for t in draw())
    with Session(seed=6):
        mixed = (random.normal((2,)).tolist(), random.randint((2,), 0, 100).tolist())
    assert eager == traced and len({str(e) for e in eager}) == 3 and mixed == other


def test_generator():
    a, b = random.Generator(3), random.Generator(3)
    first = a.normal((4,)).tolist()
    assert first == random.normal((4,), key=b).tolist() != a.normal((4,)).tolist()
    a.reset(3)
    assert a.normal((4,)).tolist() == first
    assert random.Generator().bits((4,)).tolist() != random.Generator().bits((4,)).tolist()


def test_loops_give_the_same_traced():
    def draw():
        counts = [3.0, 50.0, 100.0, 20.0, 4.0]
        return random.binomial((5,), counts, 0.4, key=3), random.poisson((3,), [1.0, 20.0, 0.0], key=4)

    for eager, traced in zip(draw(), function(draw)()):
        assert eager.tolist() == traced.tolist()


def test_mistakes():
    with pytest.raises(DTypeError, match="uint8"):
        random.randint((2,), 0, 257, "uint8")
    with pytest.raises(ValueError, match="no whole number"):
        random.randint((2,), 3, 3)
    with pytest.raises(DTypeError, match="randint"):
        random.normal((2,), dtype="int32")
    with pytest.raises(ShapeError, match="broadcast"):
        random.gamma((2,), np.ones(3))
