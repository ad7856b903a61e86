"""Random numbers: the published vectors, keys that are told apart, and distributions that are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import DTypeError, HornbeamError, ShapeError
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitives import random
from hornbeam.ir.program import Program, evaluate, substitute

KEY = np.asarray([7, 42], np.uint32)


def run(function: Any, *values: Any) -> np.ndarray:
    arrays = [np.asarray(v) for v in values]
    params = [param(Spec(a.shape, a.dtype)) for a in arrays]
    with interpreting(NODES):
        out = function(*params)
    return evaluate(Program(params, [out]), arrays)[0]


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_vectors(counter: Any, key: Any, words: Any) -> None:
    got = random.threefry(*(np.asarray([w], np.uint32) for w in (*key, *counter)))
    assert tuple(int(w[0]) for w in got) == words


def test_a_number_depends_on_its_place_alone() -> None:
    many = run(lambda k: random.RANDOM_BITS(k, shape=(10, 10)), KEY).ravel()
    for n in (1, 2, 3, 99):
        assert (run(lambda k, n=n: random.RANDOM_BITS(k, shape=(n,)), KEY) == many[:n]).all()


def test_keys_are_told_apart() -> None:
    k = param(Spec((2,), dtypes.uint32))
    with interpreting(NODES):
        folded = [random.fold_in(k, i) for i in (0, 1, 2, -1, 2**32, 2**63)]
        split = random.split(k, 5)
        program = Program([k], [k, *folded, random.fold_in(folded[0], 1), *(split[i] for i in range(5))])
    keys = [np.asarray(key, np.uint32) for key in ([0, 0], [0, 1], [1, 0])]
    seen = {out.tobytes() for key in keys for out in evaluate(program, [key])}
    assert len(seen) == 3 * 13


@pytest.mark.parametrize("data", [0, 5, -1, 2**31 - 1, -(2**31)])
def test_folding_in_a_tensor_is_folding_in_its_value(data: int) -> None:
    want = run(lambda k: random.fold_in(k, data), KEY)
    for dtype in (np.int32, np.int64):
        assert (run(random.fold_in, KEY, np.asarray(data, dtype)) == want).all()
    if 0 <= data < 100:
        for dtype in (np.int8, np.uint8, np.uint32, np.uint64):
            assert (run(random.fold_in, KEY, np.asarray(data, dtype)) == want).all()


def test_folding_in_what_is_no_integer_scalar() -> None:
    for bad in (np.zeros(2, np.int32), np.float32(1)):
        with pytest.raises(DTypeError, match="integer scalar"):
            run(random.fold_in, KEY, bad)


@pytest.mark.parametrize("dtype", [d.name for d in dtypes.FLOATS])
def test_uniform_is_uniform_and_never_one(dtype: str) -> None:
    u = run(lambda k: random.uniform(k, (200, 100), dtype), KEY)
    assert u.dtype == dtypes.as_dtype(dtype)
    u = u.astype(np.float64).ravel()
    assert u.min() >= 0 and u.max() < 1
    bins = np.histogram(u, 16, (0, 1))[0]
    assert ((bins - 1250) ** 2 / 1250).sum() < 40  # chi-squared with 15 degrees of freedom: p < 0.0005 beyond
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("dtype", [d.name for d in dtypes.FLOATS])
def test_normal_has_the_moments_of_the_normal(dtype: str) -> None:
    x = run(lambda k: random.normal(k, (20_000,), dtype), KEY)
    assert x.dtype == dtypes.as_dtype(dtype)
    x = x.astype(np.float64)
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 0.03 and abs(x.std() - 1) < 0.02
    assert abs((x**3).mean()) < 0.1 and abs((x**4).mean() - 3) < 0.2


def test_the_ends_of_normal_are_finite() -> None:
    """Over all words, the centred numbers are exact and inside (-1, 1)."""
    words = np.asarray([0, 2**32 - 1, 2**31, 2**31 - 1], np.uint32)
    for dtype, bits in ((dtypes.float32, 23), (dtypes.float64, 52)):
        shape = (4,) if bits < 32 else (4, 2)
        drawn = np.broadcast_to(words.reshape(4, *(1,) * (len(shape) - 1)), shape)
        bits_param = param(Spec(shape, dtypes.uint32))
        key = param(Spec((2,), dtypes.uint32))
        with interpreting(NODES):
            made = random.normal(key, (4,), dtype)
            source = random.RANDOM_BITS(key, shape=shape)
        (out,) = substitute([made], {source: bits_param})
        values = evaluate(Program([bits_param], [out]), [drawn])[0]
        assert np.isfinite(values).all() and abs(values[0] + values[1]) < 1e-6 and values[1] > 5


def test_bernoulli_keeps_its_ends() -> None:
    assert not run(lambda k: random.bernoulli(k, 0.0, (1000,)), KEY).any()
    assert run(lambda k: random.bernoulli(k, 1, (1000,)), KEY).all()
    assert abs(run(lambda k: random.bernoulli(k, 0.3, (10_000,)), KEY).mean() - 0.3) < 0.02
    p = np.asarray([0.0, 0.5, 1.0], np.float16)
    means = run(lambda k, p: random.bernoulli(k, p, (4000, 3)), KEY, p).mean(0)
    assert means[0] == 0 and means[2] == 1 and abs(means[1] - 0.5) < 0.03


def test_what_is_no_key_or_dtype_is_refused() -> None:
    with pytest.raises(DTypeError, match="uint32"):
        run(lambda k: random.uniform(k, (3,)), np.zeros(2, np.int32))
    with pytest.raises(ShapeError, match=r"keys\[0\]"):
        run(lambda k: random.uniform(k, (3,)), np.zeros((4, 2), np.uint32))
    with pytest.raises(DTypeError, match="float16"):
        run(lambda k: random.normal(k, (3,), "int32"), KEY)
    with pytest.raises(ShapeError):
        run(lambda k: random.bernoulli(k, constant(np.zeros(4, np.float32)), (3,)), KEY)
    for shape in ((-1,), (2**62, 2**62), "x", 0.5):
        with pytest.raises(HornbeamError):
            run(lambda k, shape=shape: random.uniform(k, shape), KEY)
