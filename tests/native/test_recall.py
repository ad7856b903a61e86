"""A Program that was compiled before is not emitted again, and only that Program is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import config
from hornbeam.base.spec import spec
from hornbeam.engines.native import cache, pipeline, recall
from hornbeam.engines.native.target import host
from hornbeam.runtime.trace import trace

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(30, 3)).astype("float32")
ORDER = np.arange(100, dtype="int64")[::-1].copy()


@pytest.fixture(autouse=True)
def directory(tmp_path):
    with config.CACHE(str(tmp_path / "cache")):
        yield tmp_path / "cache"


def program(fn, *shapes):
    return trace(fn, [spec(s) for s in shapes], "p").program


PROGRAMS = {
    "loops and products": (lambda x: hb.nn.softmax(hb.tanh(x @ x) + 1), [(40, 40)]),
    "large and small constants": (lambda x: x @ hb.tensor(TABLE) + hb.tensor([1.0, 2.0, 3.0]), [(50, 30)]),
    "a constant result": (lambda x: (x + 1, hb.tensor(ORDER)), [(3,)]),
    "several dtypes": (lambda x: hb.cast(x, "bfloat16") * 2, [(5, 7)]),
    "control flow": (lambda x: hb.while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, x * 2 + x), (0, x))[1], [(6,)]),
    "threads": (lambda x: hb.exp(x) * hb.sin(x), [(700, 700)]),
    "an argument as it is": (lambda x, y: (y, x + y, x), [(4,), (4,)]),
}


@pytest.mark.parametrize("fn, shapes", PROGRAMS.values(), ids=PROGRAMS)
def test_the_second_process_does_not_emit(fn, shapes, monkeypatch):
    given = [RANDOM.normal(size=s).astype("float32") for s in shapes]
    first = pipeline.build(program(fn, *shapes), host())
    monkeypatch.setattr(pipeline, "Lowered", None)
    monkeypatch.setattr(cache.jit, "compile", None)
    second = pipeline.build(program(fn, *shapes), host())
    assert (second.peak_bytes, second.threads) == (first.peak_bytes, first.threads)
    for a, b in zip(first.run(given), second.run(given), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.astype("float64"), b.astype("float64"))


def test_another_width_another_source_or_no_store_is_a_miss(monkeypatch):
    found = program(lambda x: hb.exp(x), (9,))
    key = recall.key_of(found, host())
    assert key == recall.key_of(program(lambda x: hb.exp(x), (9,)), host())
    others = [recall.key_of(found, host().with_lanes(1 if host().lanes > 1 else 4))]
    with config.CACHE("0"):
        assert recall.key_of(found, host()) is None
    monkeypatch.setattr(recall, "digest_of_sources", lambda: "other")
    others.append(recall.key_of(found, host()))
    monkeypatch.setattr(recall, "digest_of_sources", lambda: None)  # sources that cannot be read
    assert recall.key_of(found, host()) is None
    assert len({key, *others}) == 3


def test_programs_that_differ_in_anything_have_different_keys():
    fns = [
        lambda x: x + hb.tensor(0.0),
        lambda x: x + hb.tensor(-0.0),
        lambda x: x + hb.tensor([0.0]),
        lambda x: x + hb.tensor(TABLE[:, 0]),
        lambda x: x + hb.tensor(TABLE[:, 1]),
        lambda x: hb.sum(hb.reshape(x, (5, 6)), axis=0),
        lambda x: hb.sum(hb.reshape(x, (5, 6)), axis=1),
        lambda x: hb.sum(hb.reshape(x, (6, 5)), axis=0),
        lambda x: hb.cond(x[0] > 0, lambda: x, lambda: x + 1),
        lambda x: hb.cond(x[0] > 0, lambda: x, lambda: x + 2),
        lambda x: (x, x + 1),
        lambda x: (x + 1, x),
    ]
    programs = [program(fn, shape) for fn in fns for shape in [(30,)]] + [program(fns[0], (31,))]
    assert len({recall.key_of(p, host()) for p in programs}) == len(programs)


def test_what_holds_a_function_is_not_kept(directory):
    seen = []
    found = program(lambda x: hb.callback(seen.append, [x * 2], []) or x + 1, (3,))
    assert recall.key_of(found, host()) is None


@pytest.mark.parametrize("damage", [lambda f: f.unlink(), lambda f: f.write_bytes(f.read_bytes()[:-1])])
def test_a_missing_or_damaged_entry_is_compiled_again(directory, damage):
    found = program(lambda x: hb.exp(x) + 1, (9,))
    x = RANDOM.normal(size=9).astype("float32")
    expected = pipeline.build(found, host()).run([x])[0]
    for entry in list(directory.glob("*.o")):
        kept = entry.read_bytes()
        damage(entry)
        np.testing.assert_array_equal(pipeline.build(found, host()).run([x])[0], expected)
        assert entry.read_bytes() == kept
