"""Threads and tasks: who is current where, that writers take turns, and that readers see whole states."""

import asyncio
import concurrent.futures
import contextvars
import threading
import time

import numpy as np

import hornbeam as hb
from hornbeam.runtime.tensor import as_tensor


def in_threads(n, work):
    """``work(k)`` in ``n`` threads at once; their results in order, their exceptions raised here."""
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(work, range(n)))


def test_a_new_thread_starts_in_the_default_session():
    with hb.Session() as sess:
        v = hb.Variable(2.0)
        f = hb.function(lambda x: x * v)
        assert in_threads(2, lambda k: hb.current_session() is sess) == [False, False]
        assert in_threads(4, lambda k: float(f(as_tensor(float(k))))) == [
            0,
            2,
            4,
            6,
        ]  # a variable is found all the same
        copied = contextvars.copy_context()
        assert copied.run(lambda: hb.current_session() is sess)
        in_threads(4, lambda k: v.assign_add(1.0))
        assert float(v) == 6


def test_no_update_is_lost():
    v = hb.Variable(0)
    step = hb.function(lambda: v.assign_add(1))

    def work(k):
        for _ in range(100):
            step() if k % 2 else v.assign_add(1)

    in_threads(6, work)
    assert int(v) == 600


def test_readers_never_see_half_a_run():
    a, b = hb.Variable(np.zeros(50)), hb.Variable(np.zeros(50))
    stop = threading.Event()

    @hb.function
    def write():
        a.assign_add(hb.ones(50, "float64"))
        b.assign_sub(hb.ones(50, "float64"))

    total = hb.function(lambda: hb.sum(hb.abs(a + b)))

    def work(k):
        if k < 2:
            for _ in range(200):
                write()
            stop.set()
            return 0.0
        worst = 0.0
        while not stop.is_set():
            worst = max(worst, float(total()))
        return worst

    assert in_threads(4, work) == [0.0] * 4
    assert a.numpy()[0] == 400


def meeting(threads):
    """A callback that returns 0 when ``threads`` of its calls are under way at once, and fails if they never are."""
    barrier = threading.Barrier(threads, timeout=60)

    def meet(*_):
        barrier.wait()
        return np.float32(0)

    return hb.callback(meet, [], [hb.TensorSpec((), "float32")])[0]


def test_readers_overlap():
    v = hb.Variable(1.0)
    read = hb.function(lambda: v + meeting(4))
    assert in_threads(4, lambda k: float(read())) == [1.0] * 4


def test_readers_do_not_wait_for_a_writer():
    v, begun, go_on = hb.Variable(2.0), threading.Event(), threading.Event()

    def wait(*_):
        begun.set()
        assert go_on.wait(60)
        return np.float32(1)

    write = hb.function(lambda: v.assign(v + hb.callback(wait, [], [hb.TensorSpec((), "float32")])[0]))
    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(60)
    assert float(v) == 2  # the state before the run that goes on
    go_on.set()
    writer.join()
    assert float(v) == 3


def test_writers_take_turns():
    v, running, most = hb.Variable(0.0), [], []

    def alone():
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return np.float32(1)

    write = hb.function(lambda: v.assign_add(hb.callback(alone, [], [hb.TensorSpec((), "float32")])[0]))
    in_threads(4, lambda k: write())
    assert (max(most), float(v)) == (1, 4)


def test_sessions_do_not_wait_for_each_other():
    barrier = threading.Barrier(4, timeout=60)

    def meet(*_):
        barrier.wait()
        return np.float32(1)

    def work(k):
        with hb.Session():
            v = hb.Variable(0.0)
            hb.function(lambda: v.assign_add(hb.callback(meet, [], [hb.TensorSpec((), "float32")])[0]))()
            return float(v)

    assert in_threads(4, work) == [1.0] * 4


def test_lazy_first_values_are_made_once():
    made = []

    def first(session):
        made.append(1)
        time.sleep(0.01)
        return np.float32(len(made))

    v = hb.Variable(spec=hb.zeros(()).spec, home=None, initializer=first)
    with hb.Session().as_default() as sess:
        context = contextvars.copy_context()
        assert in_threads(4, lambda k: float(context.copy().run(v.numpy))) == [1] * 4
    sess.close()
    assert made == [1]


def test_threads_never_draw_the_same_numbers():
    drawn = in_threads(8, lambda k: [hb.random.uniform(()).item() for _ in range(20)])
    flat = [x for d in drawn for x in d]
    assert len(set(flat)) == len(flat)


def test_closing_waits_for_a_run_that_writes():
    sess = hb.Session()
    with sess.as_default():
        v = hb.Variable(0.0)
        begun = threading.Event()

        def slow(*_):
            begun.set()
            time.sleep(0.1)  # long enough to be closed meanwhile, if closing did not wait
            return np.float32(1)

        write = hb.function(lambda: v.assign_add(hb.callback(slow, [], [hb.TensorSpec((), "float32")])[0]))
        context = contextvars.copy_context()
        done = []
        thread = threading.Thread(target=lambda: done.append(context.run(lambda: float(write()))))
        thread.start()
        assert begun.wait(60)
        sess.close()
        thread.join()
    assert done == [1]
    assert sess.nbytes == 0


def test_tapes_belong_to_their_task():
    async def work(k):
        x = as_tensor(float(k))
        with hb.GradientTape() as tape:
            tape.watch(x)
            y = x * x
            await asyncio.sleep(0.001)
            z = y * x
        return float(tape.gradient(z, x)), len(tape.records)

    async def main():
        return await asyncio.gather(*(work(k) for k in range(5)))

    assert asyncio.run(main()) == [(3.0 * k * k, 0) for k in range(5)]
