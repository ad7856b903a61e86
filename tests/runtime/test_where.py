"""``where``: which session holds something, and what else is known of it."""

import pytest

import hornbeam as hb
from hornbeam.runtime.where import where


def test_a_session():
    with hb.Session(name="mine") as sess:
        v = hb.Variable([1.0, 2.0])
        answer = where(sess)
        assert answer.sessions == (sess,) and answer.nbytes == 8
        assert "session 'mine' (opened at" in str(answer) and "test_where.py:" in str(answer)
        assert v is not None
    assert "closed at" in str(where(sess))
    assert where(sess).nbytes == 0


def test_a_variable_is_where_it_was_made_whoever_computes():
    with hb.Session(name="home").as_default() as home:
        v = hb.Variable([1.0, 2.0], name="w")
    with hb.Session(name="guest") as guest:
        answer = where(v)
        assert (answer.sessions, answer.computed_by, answer.nbytes) == ((home,), guest, 8)
        text = str(answer)
        assert "variable 'w' float32[2]" in text and "engine       native" in text
        assert "test_where.py:" in text and "trainable    True" in text


def test_tensors():
    answer = where(hb.zeros((2, 3)))
    assert (answer.sessions, answer.nbytes) == ((), 24)
    assert "tensor float32[2,3]" in str(answer)
    seen = []
    hb.function(lambda x: seen.append(str(where(x))))(hb.ones(2))
    assert "none until its function runs" in seen[0]


def test_a_function():
    v = hb.Variable([1.0, 2.0])
    f = hb.function(lambda x, n=1: v * x * float(n), name="step")
    f(hb.ones(2))
    f(hb.ones(2), 2)
    answer = where(f)
    assert answer.sessions == (hb.current_session(),) and answer.nbytes == 8
    text = str(answer)
    assert "function 'step'" in text and "argument n was 1, now 2" in text


def test_graphs():
    graph = hb.Graph()
    with graph.as_default():
        x = graph.placeholder([None])
        hb.Variable(1.0)
    for thing in (x, x.op, graph):
        text = str(where(thing))
        assert "operations, 1 variables" in text and "none until a session runs it" in text
    assert "test_where.py:" in str(where(x))


class Layer:
    name = "dense"

    def __init__(self):
        self.variables = [hb.Variable([1.0]), hb.Variable([1.0, 2.0])]


def test_what_has_variables():
    a = Layer()
    with hb.Session().as_default() as other:
        a.variables.append(hb.Variable(1.0))
    answer = where(a)
    assert answer.sessions == (hb.current_session(), other)
    assert answer.nbytes == 16
    assert "Layer 'dense'" in str(answer) and "variables    3" in str(answer)


def test_strangers():
    with pytest.raises(TypeError, match="a dict holds no tensors"):
        where({})
