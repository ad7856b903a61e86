"""A session owns state: who finds it where, that closing gives it back, and that runs are atomic."""

import asyncio
import contextvars
import gc
import threading
import weakref

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import config
from hornbeam.errors import HornbeamError
from hornbeam.ir.program import Program
from hornbeam.runtime import session as sessions


def here(offset: int = 0) -> str:
    """This file and the line of the caller."""
    import sys

    return f"test_session.py:{sys._getframe(1).f_lineno + offset}"


# -- being current


def test_there_is_a_session_without_making_one():
    assert hb.current_session() is hb.current_session()
    assert not hb.current_session().closed
    assert sessions.entered() is None


def test_a_with_block_makes_it_current_and_closes_it():
    before = hb.current_session()
    with hb.Session() as sess:
        assert hb.current_session() is sess
        assert not sess.closed
    assert hb.current_session() is before
    assert sess.closed


def test_as_default_does_not_close():
    sess = hb.Session()
    with sess.as_default() as entered:
        assert entered is sess is hb.current_session()
    with sess.as_default():
        with sess.as_default():
            pass
        assert hb.current_session() is sess
    assert not sess.closed
    sess.close()


def test_sessions_nest():
    with hb.Session() as a, hb.Session() as b:
        assert hb.current_session() is b
        with a.as_default():
            assert hb.current_session() is a
        assert hb.current_session() is b


def test_a_block_is_not_re_entrant():
    with hb.Session(name="once") as sess:
        with pytest.raises(hb.SessionError, match=r"'once' is entered already(.|\n)*as_default"):
            with sess:
                pass
        assert hb.current_session() is sess
    assert sess.closed


def test_it_is_left_and_closed_when_the_block_raises():
    before = hb.current_session()
    with pytest.raises(ZeroDivisionError):
        with hb.Session() as sess:
            1 / 0
    assert sess.closed
    assert hb.current_session() is before


def test_blocks_that_end_out_of_order():
    a, b = hb.Session(), hb.Session()

    def block():
        with a.as_default():
            yield

    generator = block()
    next(generator)
    with b.as_default():
        generator.close()  # a's block ends inside b's
        assert hb.current_session() is b
    assert sessions.entered() is None


def test_a_block_left_in_another_context():
    sess = hb.Session()

    def block():
        with sess:
            yield

    generator = block()
    contextvars.copy_context().run(next, generator)
    assert sessions.entered() is None
    generator.close()
    assert sess.closed
    assert sessions.entered() is None


def test_a_closed_default_session_makes_room_for_another():
    first = hb.current_session()
    v = hb.Variable(1.0)
    assert v.home is first
    first.close()
    second = hb.current_session()
    assert second is not first
    assert hb.Variable(2.0).home is second
    with pytest.raises(hb.SessionClosedError):
        v.value()


def test_made_up_names_differ_and_none_is_the_defaults():
    a, b = hb.Session(), hb.Session()
    assert a.name != b.name
    assert "default" not in (a.name, b.name)


def test_an_unknown_engine_is_listed_against_those_there_are():
    with pytest.raises(HornbeamError, match=r"'gpu'(.|\n)*reference"):
        hb.Session(engine="gpu")


# -- state


def test_a_variable_lives_where_it_was_made():
    with hb.Session().as_default() as a:
        v = hb.Variable([1.0, 2.0])
    assert v.home is a
    assert a.variables == [v]
    with hb.Session() as b:
        v.assign([3.0, 4.0])
        assert v.numpy().tolist() == [3, 4]
        assert b.variables == []
    assert v.numpy().tolist() == [3, 4]
    assert a.nbytes == 8


def test_homeless_variables_have_a_value_in_every_session():
    v = hb.Variable(spec=hb.zeros(2).spec, home=None, initializer=lambda session: np.full(2, session.seed, np.float32))
    with hb.Session(seed=3).as_default() as a:
        assert v.numpy().tolist() == [3, 3]
        v.assign_add([1.0, 1.0])
    with hb.Session(seed=5):
        assert v.numpy().tolist() == [5, 5]
    with a:
        assert v.numpy().tolist() == [4, 4]


def test_an_uninitialized_variable_is_named():
    v = hb.Variable(spec=hb.zeros(2).spec, home=None, name="forgotten")
    line = here(-1)
    with pytest.raises(hb.UninitializedVariableError, match=f"'forgotten'(.|\n)*{line}"):
        v.value()


def test_a_dying_variable_takes_its_value_along():
    with hb.Session() as sess:
        v = hb.Variable(np.zeros(1000, np.float32))
        value = weakref.ref(v.value())
        assert sess.nbytes == 4000
        v = None
        assert (sess.nbytes, len(sess.state), value()) == (0, 0, None)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_compiled_programs_keep_neither_variables_nor_functions_alive(engine):
    with hb.Session(engine=engine) as sess:
        v = hb.Variable(np.zeros(1000, np.float32))
        step = hb.function(lambda x: v.assign_add(x))
        step(hb.ones(1000))
        compiled = weakref.ref(sess.executable(step.program(hb.ones(1000))))
        dead = weakref.ref(v), weakref.ref(step)
        v = step = None
        gc.collect()
        assert [d() for d in (*dead, compiled)] == [None, None, None]
        assert sess.nbytes == 0


def test_equal_programs_share_what_was_compiled():
    with hb.Session() as sess:
        a, b = hb.Variable(1.0), hb.Variable(10.0)
        one, other = hb.function(lambda: a * 2.0), hb.function(lambda: b * 2.0)
        assert (float(one()), float(other())) == (2, 20)
        assert sess.executable(one.program()) is sess.executable(other.program())
        del one
        gc.collect()
        assert float(other()) == 20


# -- closing


def test_closing_gives_everything_back():
    sess = hb.Session()
    with sess.as_default():
        v = hb.Variable(np.zeros(10, np.float32))
        f = hb.function(lambda x: x * v)
        f(hb.ones(10))
        held = weakref.ref(v.value()), weakref.ref(sess.executable(f.program(hb.ones(10))))
    sess.close()
    sess.close()
    gc.collect()
    assert [h() for h in held] == [None, None]
    assert sess.nbytes == 0
    assert "closed" in repr(sess)


def test_use_after_close_names_both_lines():
    sess, opened = hb.Session(name="short"), here()
    with sess.as_default():
        v, f = hb.Variable(1.0, name="weight"), hb.function(lambda: v + 1.0)
        f()
    sess.close()
    closed = here(-1)
    for use in (v.value, v.numpy, lambda: v.assign(2.0), lambda: v + 1, f, lambda: v.assign_add(1.0)):
        with pytest.raises(hb.SessionClosedError, match=f"'weight'(.|\n)*'short'(.|\n)*{opened}(.|\n)*{closed}"):
            use()
    for use in (lambda: sess.run([]), sess.__enter__, sess.as_default().__enter__):
        with pytest.raises(hb.SessionClosedError, match=f"'short'(.|\n)*{opened}(.|\n)*{closed}"):
            use()


def test_a_with_block_is_opened_and_closed_on_its_own_line():
    with hb.Session() as sess:
        line = here(-1)
    assert sess.opened_at.endswith(line)
    assert sess.closed_at.endswith(line)


def test_lines_are_the_users_also_through_contextlib_and_threads():
    with hb.Session().as_default() as sess, hb.Session() as inner:
        line = here(-1)
    assert inner.opened_at.endswith(line)
    assert sess.opened_at.endswith(line)

    lines = []
    thread = threading.Thread(target=lambda: lines.append((sess.close(), here())))
    thread.start()
    thread.join()
    assert sess.closed_at.endswith(lines[0][1])

    direct = hb.Session()
    thread = threading.Thread(target=direct.close)
    thread.start()
    thread.join()
    assert direct.closed_at == "unknown"


def test_closing_while_current():
    sess = hb.Session()
    with sess.as_default():
        sess.close()
        with pytest.raises(hb.SessionClosedError):
            hb.ones(2) + 1.0
    assert (hb.ones(2) + 1.0).tolist() == [2, 2]


# -- runs


def fail(*_):
    raise RuntimeError("in the middle")


def failing_step(a, b):
    @hb.function
    def step(x):
        a.assign_add(x)
        (y,) = hb.callback(fail, [a.value()], [hb.TensorSpec((), "float32")])
        b.assign(y)
        return y

    return step


def test_a_run_that_fails_changes_nothing():
    a, b = hb.Variable(1.0), hb.Variable(2.0)
    step = failing_step(a, b)
    with pytest.raises(RuntimeError, match="in the middle"):
        step(5.0)
    assert (float(a), float(b)) == (1, 2)
    with pytest.raises(RuntimeError):
        step(5.0)
    a.assign(7.0)  # and nothing stays locked
    assert float(a) == 7


def test_an_interrupted_run_changes_nothing():
    def interrupt(*_):
        raise KeyboardInterrupt

    a = hb.Variable(1.0)

    @hb.function
    def step():
        a.assign_add(1.0)
        return hb.callback(interrupt, [], [hb.TensorSpec((), "float32")])

    with pytest.raises(KeyboardInterrupt):
        step()
    assert float(a) == 1


def test_closing_in_the_middle_of_a_run_stores_nothing():
    sess = hb.Session()

    def close():
        sess.close()
        return np.float32(3)

    with sess.as_default():
        v = hb.Variable(1.0)
        step = hb.function(lambda: v.assign(hb.callback(close, [], [hb.TensorSpec((), "float32")])[0]))
        with pytest.raises(hb.SessionClosedError):
            step()
    assert len(sess.state) == 0


def test_reads_see_the_state_before_the_run():
    a, b = hb.Variable(1.0), hb.Variable(2.0)

    @hb.function
    def swap():
        x, y = a.value(), b.value()
        a.assign(y)
        b.assign(x)

    swap()
    assert (float(a), float(b)) == (2, 1)


def test_a_run_may_touch_variables_of_several_sessions():
    with hb.Session().as_default() as first:
        a = hb.Variable(1.0)
    with hb.Session().as_default() as second:
        b = hb.Variable(2.0)

    @hb.function
    def both():
        a.assign_add(b)
        b.assign_add(a)

    with hb.Session():
        both()
    assert (float(first.read(a)), float(second.read(b))) == (3, 5)


def test_asyncio_tasks_have_sessions_of_their_own():
    async def work(seed: int) -> tuple[bool, float]:
        with hb.Session(seed=seed) as sess:
            v = hb.Variable(float(seed))
            await asyncio.sleep(0.001)
            inside = await asyncio.to_thread(lambda: hb.current_session() is sess and float(v) == seed)
            await asyncio.sleep(0.001)
            return inside and hb.current_session() is sess, float(v)

    async def main():
        return await asyncio.gather(*(work(i) for i in range(5)))

    assert asyncio.run(main()) == [(True, float(i)) for i in range(5)]
    assert sessions.entered() is None


def test_strict_sessions_raise_what_others_note():
    f = hb.function(lambda x: x)
    with hb.Session() as sess:
        f(1)
        f(2)
        assert sess.ledger.counts["retrace"] == 1
        assert sess.ledger.entries[-1].line.endswith(here(-2))
    with hb.Session(strict=True):
        with pytest.raises(hb.StrictModeError, match="retrace"):
            f(3)


def test_check_refuses_a_broken_program_before_it_is_compiled():
    good = hb.function(lambda x: x + 1.0).program(hb.ones(3))
    (node,) = good.outputs
    broken = Program([*good.inputs, *good.inputs], [node])
    with hb.Session() as sess:
        with config.CHECK(1):
            assert sess.execute(good, [np.ones(3, np.float32)])[0].tolist() == [2, 2, 2]
            assert (hb.ones(3) * 2.0).tolist() == [2, 2, 2]
            with pytest.raises(AssertionError, match="two parameters are the same"):
                sess.execute(broken, [np.ones(3, np.float32)] * 2)


def test_same_seed_same_draws_in_every_mode():
    def draw():
        return hb.random.normal((3,)), hb.random.uniform((2,))

    with hb.Session(seed=11):
        eager = [x.tolist() for _ in range(2) for x in draw()]
    with hb.Session(seed=11):
        traced = hb.function(draw)
        assert [x.tolist() for _ in range(2) for x in traced()] == eager
    graph = hb.Graph()
    with graph.as_default():
        nodes = draw()
    with hb.Session(graph, seed=11) as sess:
        assert [x.tolist() for _ in range(2) for x in sess.run(nodes)] == eager
    with hb.Session(seed=12):
        assert [x.tolist() for x in draw()] != eager[:2]
