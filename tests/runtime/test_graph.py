"""Session mode: what can be fetched and fed, in which order things happen, and what a run leaves behind."""

import gc
import threading
import weakref
from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.runtime import graph as graphs
from hornbeam.runtime import graph_run

Pair = namedtuple("Pair", "a b")


@pytest.fixture
def graph():
    g = hb.Graph()
    with g.as_default():
        yield g


@pytest.fixture
def sess(graph):
    s = hb.Session(graph)
    yield s
    s.close()


def initialize(sess, *variables):
    sess.run([v.initializer for v in variables])


# -- fetches


def test_fetch_structures(graph, sess):
    x = graph.placeholder([2], name="x")
    y, op = x * 2.0, graph.group([])
    feed = {x: [1.0, 2.0]}
    assert sess.run(y, feed).tolist() == [2, 4]
    assert type(sess.run(y.sum(), feed)) is np.float32
    assert sess.run([], feed) == [] and sess.run({}, feed) == {} and sess.run((), feed) == ()
    out = sess.run({"a": [y, (x, op)], "b": Pair(y, {"c": y}), "d": OrderedDict(z=x)}, feed)
    assert out["a"][0].tolist() == [2, 4] and out["a"][1][1] is None
    assert type(out["b"]) is Pair and type(out["d"]) is OrderedDict
    assert type(sess.run(defaultdict(list, k=x), feed)) is defaultdict
    assert sess.run(op) is None


def test_fetches_by_name(graph, sess):
    x = graph.placeholder([], name="x")
    v = hb.Variable(3.0, name="v")
    initialize(sess, v)
    y = graph.record(lambda x: x * 2.0, (x,), {"name": "double"})
    assert sess.run(["double:0", "double", "x:0", "v:0"], {"x:0": 4.0}) == [8, None, 4, 3]
    assert graph.tensor_by_name("double:0") is y
    for name in ("nothing:0", "nothing", "double:7", "double:x"):
        with pytest.raises(hb.FetchError, match=rf"{name}'(.|\n)*does not exist"):
            sess.run(name)


def test_duplicates_are_separate_arrays(graph, sess):
    x = graph.placeholder([2])
    y = x * 2.0
    a, b, c = sess.run([y, y, x], {x: [1.0, 2.0]})
    a[:] = 0
    c[:] = 0
    assert b.tolist() == [2, 4]
    fed = np.ones(2, np.float32)
    sess.run(x, {x: fed})[:] = 0
    assert fed.tolist() == [1, 1]


def test_a_fetched_feed_is_like_any_other_value(graph, sess):
    x = graph.placeholder([])
    assert type(sess.run(x, {x: 2})) is np.float32


@pytest.mark.parametrize("wrong", [None, [None], {"a": [None]}, 3, {1}, object()])
def test_what_cannot_be_fetched(graph, sess, wrong):
    with pytest.raises(hb.FetchError):
        sess.run(wrong)


def test_tensors_from_elsewhere(graph, sess):
    other = hb.Graph()
    with other.as_default():
        stranger = other.placeholder([])
    with pytest.raises(hb.FetchError, match="not an element of this session's graph"):
        sess.run(stranger)
    with pytest.raises(hb.FeedError, match="not a tensor of this session's graph"):
        sess.run([], {stranger: 1.0})
    with pytest.raises(hb.FetchError, match="eager tensor; it has its value already"):
        sess.run(hb.Tensor(np.ones(())))


# -- feeds


def test_feed_values_are_converted_if_nothing_is_lost(graph, sess):
    f, i, b = graph.placeholder([None]), graph.placeholder([], "int32"), graph.placeholder([], "bool")
    half = graph.placeholder([], "float16")
    assert sess.run(f, {f: [1, 2]}).dtype == np.float32
    assert sess.run(f, {f: hb.Tensor(np.ones(3))}).dtype == np.float32
    assert sess.run(i, {i: 3.0}) == 3 and sess.run(b, {b: 1}) == True  # noqa: E712
    for key, value in ((i, 1.7), (i, 2**40), (b, 2), (i, float("nan")), (f, [1j]), (half, 1e10), (f, [1e300])):
        with pytest.raises(hb.FeedError, match=r"would change them(.|\n)*Fix"):
            sess.run(key, {key: value})
    for key, value in ((f, None), (f, ["a"]), (f, [[1], [1, 2]]), (i, object())):
        with pytest.raises(hb.FeedError):
            sess.run(key, {key: value})


def test_feed_shapes(graph, sess):
    x = graph.placeholder([None, 3], name="images")
    with pytest.raises(hb.FeedError, match=r"shape \(2, 4\) for 'images:0' of shape \(\?, 3\)(.|\n)*test_graph.py:"):
        sess.run(x, {x: np.ones((2, 4))})
    with pytest.raises(hb.FeedError):
        sess.run(x, {x: np.ones(3)})
    assert [sess.run(x, {x: np.ones((n, 3))}).shape for n in (0, 1, 5)] == [(0, 3), (1, 3), (5, 3)]


def test_unfed_placeholders_are_all_named(graph, sess):
    x, y = graph.placeholder([], name="x"), graph.placeholder([None], "int32", name="labels")
    unused = graph.placeholder([])
    with pytest.raises(
        hb.FeedError, match=r"'x' float32\(\) (.|\n)*'labels' int32\(\?,\)(.|\n)*test_graph.py:(.|\n)*feed_dict"
    ):
        sess.run((x * 2.0).sum() + y.astype("float32"))
    assert sess.run(x * 2.0, {x: 1.0}) == 2
    assert unused.shape == ()


def test_any_tensor_may_be_fed(graph, sess):
    x = graph.placeholder([])
    y = x * 2.0
    z = y + 1.0
    assert sess.run([y, z], {y: 10.0}) == [10, 11]  # and x is not needed
    v = hb.Variable(5.0, name="v")
    w = v * 2.0
    assert sess.run([w, v], {v: 7.0}) == [14, 7]  # nor v initialized
    initialize(sess, v)
    assert sess.run([w, v], {v: 7.0}) == [14, 7]
    assert sess.run([w, v]) == [10, 5]


# -- state and order


def test_every_session_has_its_own_values(graph):
    v = hb.Variable(1.0, name="v")
    add = v.assign_add(1.0)
    a, b = hb.Session(graph), hb.Session(graph)
    with pytest.raises(hb.UninitializedVariableError, match=r"'v' \(float32\[\], made at .*test_graph.py:"):
        a.run(add)
    initialize(a, v)
    a.run(add)
    with pytest.raises(hb.UninitializedVariableError):
        b.run(v)
    initialize(b, v)
    assert (a.run(v), b.run(v)) == (2, 1)


def test_all_uninitialized_variables_are_listed(graph, sess):
    a, b = hb.Variable(1.0, name="first"), hb.Variable(2.0, name="second")
    with pytest.raises(hb.UninitializedVariableError, match=r"'first'(.|\n)*'second'"):
        sess.run(a * b)


def test_reads_see_the_state_before_the_run(graph, sess):
    v = hb.Variable(1.0)
    plus, assign = v + 1.0, v.assign(4.0)
    initialize(sess, v)
    assert sess.run([plus, assign, v]) == [2, 4, 1]
    assert sess.run(v) == 4


def test_control_dependencies_order_reads_after_assignments(graph, sess):
    v = hb.Variable(3.0)
    before = v.value()
    assign = v.assign(7.0)
    with graph.control_dependencies([assign]):
        after, stale = v * 1.0, before * 1.0
        with graph.control_dependencies(None):
            free = v * 1.0
    initialize(sess, v)
    assert sess.run([after, stale, free]) == [7, 3, 3]
    initialize(sess, v)
    assert sess.run(free) == 3 and sess.run(v) == 3  # nothing asked for the assignment
    assert sess.run(after) == 7 and sess.run(v) == 7


def test_assignments_apply_as_recorded(graph, sess):
    v = hb.Variable(1.0)
    one, two, three = v.assign(10.0), v.assign_add(5.0), v.assign_sub(1.0)
    initialize(sess, v)
    assert sess.run([three, one, two]) == [14, 10, 15]
    assert sess.run(v) == 14
    initialize(sess, v)
    assert sess.run(two) == 6


def test_variables_assigned_in_a_branch_are_ordered_too(graph, sess):
    v = hb.Variable(1.0)
    x = graph.placeholder([])
    chosen = hb.cond(x > 0.0, lambda: v.assign_add(x), lambda: v.assign(-1.0))
    with graph.control_dependencies([chosen]):
        after = v.value()
    initialize(sess, v)
    assert sess.run([chosen, after], {x: 2.0}) == [3, 3]
    assert sess.run([chosen, after, v], {x: -2.0}) == [-1, -1, 3]
    assert sess.run(v) == -1


def test_a_run_that_fails_changes_nothing(graph, sess):
    v = hb.Variable(1.0)
    add = v.assign_add(1.0)

    def fail(a):
        raise RuntimeError("in the middle")

    with graph.control_dependencies([add]):
        (bad,) = hb.callback(fail, [v.value()], [hb.TensorSpec((), "float32")])
    initialize(sess, v)
    with pytest.raises(RuntimeError, match="in the middle"):
        sess.run(bad)
    assert sess.run(v) == 1


def test_groups_and_callbacks_run_for_their_effect(graph, sess):
    seen, v = [], hb.Variable(1.0)
    x = graph.placeholder([])
    hb.callback(lambda a: seen.append(float(a)), [x], [])
    say = graph.calls[-1]
    add = graph.group([v.assign_add(1.0)])
    both = graph.group([add, say])
    initialize(sess, v)
    sess.run(add)
    assert (sess.run(v), seen) == (2, [])
    sess.run(both, {x: 5.0})
    assert (sess.run(v), seen) == (3, [5])


# -- gradients


def test_gradients(graph, sess):
    x, w = graph.placeholder([None, 2]), hb.Variable([[1.0], [2.0]])
    unused, frozen = hb.Variable(1.0), hb.Variable(2.0, trainable=False)
    y = x @ w * frozen
    loss = (y * y).sum()
    dw, dx, dy, none, df = graph.gradients(loss, [w, x, y, unused, frozen])
    initialize(sess, w, frozen)
    a = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    assert none is None
    got = sess.run([dw, dx, dy, df], {x: a})
    p = a @ [[1.0], [2.0]]
    for ours, theirs in zip(got, [8 * a.T @ p, 8 * p @ [[1.0, 2.0]], 4 * p, 4 * (p * p).sum()], strict=True):
        np.testing.assert_allclose(ours, theirs)
    assert (dw.shape, dx.shape) == ((2, 1), (None, 2))


def test_gradients_of_gradients_and_of_several_targets(graph, sess):
    x = graph.placeholder([])
    y = x**3
    (d,) = graph.gradients(y, x)
    (dd,) = graph.gradients(d, [x])
    (both,) = graph.gradients([y, x * 2.0], [x], [10.0, 1.0])
    assert sess.run([d, dd, both], {x: 2.0}) == [12, 12, 122]


def test_a_tape_in_a_graph(graph, sess):
    v = hb.Variable(3.0)
    with hb.GradientTape() as tape:
        y = v * v
    grads = tape.gradient(y, {"v": v})
    initialize(sess, v)
    assert sess.run(grads) == {"v": 6}


def test_training_converges(graph, sess):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(64, 3)).astype(np.float32)
    b = a @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 0.25
    x, y = graph.placeholder([None, 3]), graph.placeholder([None, 1])
    w, c = hb.Variable(np.zeros((3, 1), np.float32)), hb.Variable(np.zeros(1, np.float32))
    error = x @ w + c - y
    loss = (error * error).mean()
    train = graph.group([v.assign_sub(0.1 * g) for v, g in zip((w, c), graph.gradients(loss, [w, c]), strict=True)])
    initialize(sess, w, c)
    for _ in range(200):
        sess.run(train, {x: a, y: b})
    assert sess.run(loss, {x: a, y: b}) < 1e-6
    assert sess.run(loss, {x: a[:5], y: b[:5]}) < 1e-6


# -- control flow and random numbers


def test_control_flow_with_captured_graph_tensors(graph, sess):
    x, n = graph.placeholder([2]), graph.placeholder([], "int32")
    v = hb.Variable(2.0)
    chosen = hb.cond(x.sum() > 0.0, lambda: x * v, lambda: x[::-1] * 1.0)
    counted, grown = hb.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y + x * v), (0, x))
    total = hb.scan(lambda c, row: (c + row * x.sum(), c), 0.0, x)[0]
    (d,) = graph.gradients(grown, [v])
    initialize(sess, v)
    feed = {x: [1.0, 2.0], n: 3}
    out = sess.run([chosen, counted, grown, total, d], feed)
    assert [np.asarray(o).tolist() for o in out] == [[2, 4], 3, [7, 14], 9, 9]
    assert sess.run(chosen, {x: [-1.0, -2.0]}).tolist() == [-2, -1]
    with pytest.raises(hb.FeedError, match="not fed"):
        sess.run(chosen, {})


def test_random_numbers_move_on_with_every_run(graph, sess):
    x = hb.random.normal((3,))
    a, b = sess.run(x), sess.run(x)
    assert not np.array_equal(a, b)
    p, q = sess.run([x, x])
    np.testing.assert_array_equal(p, q)


# -- shapes


def test_unknown_dimensions_are_found_and_printed(graph):
    x = graph.placeholder([None, 6], name="x")
    assert repr(x) == "<graph tensor 'x:0' shape=(?, 6) dtype=float32>"
    assert (x @ np.ones((6, 2), np.float32)).shape == (None, 2)
    assert x.reshape(-1, 2).shape == (None, 2)
    assert x.sum(0).shape == (6,) and x.mean(1).shape == (None,)
    assert x[0].shape == (6,) and x[:, 1:3].shape == (None, 2)
    assert x.get_shape().as_list() == [None, 6] and x.ndim == 2
    assert not x.shape.is_fully_defined()
    x.set_shape([4, None])
    assert x.shape == (4, 6)
    for wrong in ([5, 6], [4], [4, 7]):
        with pytest.raises(hb.ShapeError):
            x.set_shape(wrong)
    with pytest.raises(hb.ShapeError, match=r"test_graph\.py:"):
        x + graph.placeholder([None, 5])


def test_a_graph_tensor_has_no_value(graph):
    x = graph.placeholder([None], name="x")
    for ask in (float, int, bool, np.asarray, len, iter, lambda x: x.size):
        with pytest.raises(hb.TracingError, match=r"'?x:0"):
            ask(x)
    assert (x == 3) is False and (x != x) is False and x in {x}
    with pytest.raises(hb.SessionError, match="no session is the default"):
        x.eval({x: [1.0]})
    with hb.Session(graph):
        assert x.eval({x: [1.0]}).tolist() == [1]


def test_a_graph_tensor_outside_its_block(graph, sess):
    x = graph.placeholder([])
    with graphs.interpreting(graphs.EAGER):
        y = x * 2.0 + hb.ones(())
        with pytest.raises(hb.TracingError, match="traced outside its graph"):
            hb.function(lambda z: z + x)(hb.ones(()))
    assert sess.run(y, {x: 3.0}) == 7


# -- names and the default graph


def test_names(graph):
    a, b = graph.placeholder([], name="a"), graph.placeholder([], name="a")
    with graph.name_scope("layer"):
        c = graph.placeholder([], name="a")
        with graph.name_scope("inner") as scope:
            d = graph.placeholder([], name="a")
    with graph.name_scope("layer"):
        e = graph.placeholder([], name="a")
    with graph.name_scope(scope):
        f = graph.placeholder([], name="b")
    names = [t.name for t in (a, b, c, d, e, f)]
    assert names == ["a:0", "a_1:0", "layer/a:0", "layer/inner/a:0", "layer_1/a:0", "layer/inner/b:0"]
    assert graph.operation_by_name("a_1") is b.op
    with pytest.raises(ValueError, match="'a:0'"):
        graph.tensor_by_name("a")
    with pytest.raises(KeyError):
        graph.operation_by_name("zzz")


def test_a_finalized_graph_does_not_grow(graph, sess):
    v = hb.Variable(1.0)
    x = v * 2.0
    initialize(sess, v)
    graph.finalize()
    with pytest.raises(hb.SessionError, match=r"finalized(.|\n)*before the loop"):
        x + 1.0
    assert sess.run([x, v]) == [2, 1]


def test_the_default_graph():
    try:
        graphs.disable_eager_execution()
        g = graphs.default_graph()
        x = g.placeholder([])
        y = x * hb.ones(()) + 1.0
        assert y.graph is g
        with hb.Session() as sess:
            assert sess.run(y, {x: 2.0}) == 3
        with hb.Graph().as_default() as inner:
            assert graphs.default_graph() is inner
            with pytest.raises(hb.SessionError):
                graphs.reset_default_graph()
        graphs.reset_default_graph()
        assert graphs.default_graph() is not g
    finally:
        graphs.enable_eager_execution()
        graphs.reset_default_graph()
    assert (hb.ones(()) + 1.0).item() == 2


def test_entering_a_session_enters_its_graph():
    g = hb.Graph()
    with hb.Session(g) as sess:
        x = hb.ones((2,)) * 2.0
        assert x.graph is g
        assert sess.run(x).tolist() == [2, 2]
    with hb.Session(g).as_default():
        assert isinstance(hb.ones(2), hb.Tensor)


# -- callables, caches, threads


def test_make_callable(graph, sess):
    x, v = graph.placeholder([None]), hb.Variable(1.0)
    initialize(sess, v)
    call = sess.make_callable([x * 2.0, v.assign_add(1.0)], [x])
    assert [r.tolist() for r in call([1.0])] == [[2], 2]
    assert [r.tolist() for r in call([1.0, 2.0])] == [[2, 4], 3]
    for wrong in ((), ([1.0], [2.0])):
        with pytest.raises(TypeError, match="takes 1 values"):
            call(*wrong)
    with pytest.raises(hb.FetchError):
        sess.make_callable(None)
    sess.close()
    with pytest.raises(hb.SessionClosedError):
        call([1.0])


def test_plans_are_kept_per_fetches_and_shapes_and_bounded(graph, sess, monkeypatch):
    monkeypatch.setattr(graph_run, "MAX_PLANS", 4)
    x = graph.placeholder([None])
    y = x * 2.0
    for n in (1, 2, 1, 2):
        sess.run(y, {x: np.ones(n)})
    assert len(graph.plans) == 2
    for n in range(9):
        sess.run(y, {x: np.ones(n)})
    gc.collect()
    assert len(graph.plans) == len(sess._executables) == 4


def test_a_graph_keeps_no_session_alive(graph):
    v = hb.Variable(np.ones(100, np.float32))
    sess = hb.Session(graph)
    initialize(sess, v)
    sess.run(v * 2.0)
    gone = weakref.ref(sess)
    del sess
    gc.collect()
    assert gone() is None


def test_runs_from_many_threads(graph, sess):
    x, v = graph.placeholder([None]), hb.Variable(0.0)
    y, add = (x * 2.0).sum(), v.assign_add(1.0)
    initialize(sess, v)
    wrong = []

    def work(k):
        for n in range(1, 15):
            if sess.run(y, {x: np.full(n, k)}) != 2 * n * k:
                wrong.append((k, n))
            sess.run([add, v])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert sess.run(v) == 6 * 14


def test_an_unknown_dimension_that_meets_a_known_one_is_that():
    g = hb.Graph()
    with g.as_default():
        x = g.placeholder([None, 6])
        w = hb.Variable(np.ones((6, 6), np.float32))
        h = x @ w
        total = h + hb.zeros((7, 6))
        (slope,) = g.gradients(total, [w])
    assert tuple(total.shape) == (7, 6) and tuple(h.shape) == (None, 6) and slope is not None
    with hb.Session(g) as session:
        session.run(w.initializer)
        assert session.run(total, {x: np.ones((7, 6), np.float32)}).tolist() == [[6.0] * 6] * 7


def test_a_size_that_stands_for_an_unknown_one_is_explained():
    g = hb.Graph()
    with g.as_default():
        x = g.placeholder([None, 3])
        with pytest.raises(hb.ShapeError, match="not known before the run"):
            x + np.ones((4, 2), np.float32)
