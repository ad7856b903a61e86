"""What a call costs, in counts: what is done once must not be done again."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import hornbeam as hb
import hornbeam.tensorflow as tf
from hornbeam.base import tree
from hornbeam.engines.native import pipeline
from hornbeam.engines.quiet import quietly
from hornbeam.ir.primitives import contract
from hornbeam.runtime import graph_run


def never(*args, **kwargs):
    raise AssertionError("this was done before")


def test_a_second_run_of_a_graph_looks_nothing_up(monkeypatch):
    graph = hb.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder("float32", (2,))
        y, z = x * 2.0 + 1.0, x - 1.0
    sess = tf.compat.v1.Session(graph=graph)

    def run(value):
        return sess.run(y, {x: value}), sess.run({"z": [z, z.op]}, {x: value})

    run(np.ones(2, np.float32))
    for name in ("_trace", "_resolve_fetch", "_resolve_feed", "_refuse_none"):
        monkeypatch.setattr(graph_run, name, never)
    first, second = run(np.full(2, 3, np.float32))
    assert first.tolist() == [7, 7]
    assert second["z"][0].tolist() == [2, 2] and second["z"][1] is None


def test_requests_are_told_apart_and_bounded(monkeypatch):
    monkeypatch.setattr(graph_run, "MAX_PLANS", 4)
    graph = hb.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder("float32", ())
        found = [x + float(i) for i in range(6)]
    sess = tf.compat.v1.Session(graph=graph)
    for i, y in enumerate(found):
        assert sess.run(y, {x: 1.0}) == i + 1
        assert sess.run([y], {x: 1.0}) == [i + 1]
    assert len(graph.requests) == len(graph.plans) == 4
    with pytest.raises(TypeError, match="None cannot be fetched"):
        sess.run([found[0], None], {x: 1.0})


def test_arguments_that_are_leaves_are_not_taken_apart(monkeypatch):
    f = hb.function(lambda x, n: x * n)
    x = hb.tensor([1.0, 2.0])
    assert f(x, 2).tolist() == [2, 4]
    monkeypatch.setattr(tree, "flatten", never)
    assert f(x, 2).tolist() == [2, 4]
    assert f.traces == 1


def test_structures_of_leaves_are_those_of_any_arguments():
    f = hb.function(lambda x, y: x)
    f(1, {"a": 2})
    f(1, 2), f(1, [2]), f(1, (2,)), f(1, 2)
    assert f.traces == 4


def test_the_form_of_a_matrix_product_is_found_once_for_its_shapes():
    a, b = hb.ones((3, 1, 2, 4)), hb.ones((5, 4, 2))
    a @ b
    before = contract._matmul_form.cache_info()
    a @ b
    after = contract._matmul_form.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_first_values_of_a_model_need_no_compiler(monkeypatch):
    monkeypatch.setattr(pipeline, "build", never)
    with hb.Session():
        drawn = hb.random.uniform((7, 5), -0.3, 0.3, key=hb.random.key(1)).numpy()
        hb.zeros((3, 2)), hb.ones(4), hb.eye(3)
    assert -0.3 <= drawn.min() < 0 < drawn.max() < 0.3


def test_quietly_in_itself_and_in_threads():
    def divide(depth):
        with np.errstate():
            out = np.float32(1) / np.zeros(3, np.float32)
        return out if depth == 0 else quietly(divide, depth - 1)

    found = []
    threads = [threading.Thread(target=lambda: found.append(quietly(divide, 2))) for _ in range(8)]
    with np.errstate(all="raise"):
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert np.isinf(quietly(divide, 3)).all()
        with pytest.raises(ZeroDivisionError):
            quietly(lambda: 1 // 0)
        with pytest.raises(FloatingPointError):
            divide(0)
    assert len(found) == 8 and np.isinf(found).all()
