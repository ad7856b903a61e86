"""Looking into a build and a run: printed forms, the DEBUG ladder, DUMP, CHECK=2 and NANS=1."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam import config
from hornbeam.base.spec import spec
from hornbeam.engines import stages
from hornbeam.engines.native.agreement import Agreement, mismatch, widened
from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.lower import Nests
from hornbeam.engines.native.lowered import Lowered
from hornbeam.engines.native.mathlib import VectorScalars
from hornbeam.engines.native.prepare import prepared
from hornbeam.engines.native.target import host
from hornbeam.engines.native.templates import TEMPLATES
from hornbeam.ir.check import CheckError
from hornbeam.ir.program import evaluate
from hornbeam.runtime.trace import trace


def traced(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> Any:
    return trace(fn, [spec(s) for s in shapes], "test").program


def nests(fn: Callable[..., Any], *shapes: tuple[int, ...]) -> Nests:
    """At four lanes, so that the text is the same on every machine."""
    fusion = Fusion(prepared(traced(fn, *shapes)), TEMPLATES)
    return Nests(Module(), fusion, host().with_lanes(4))


def as_told(text: str) -> str:
    return dedent(text).strip("\n")


def two_steps(x: Any, w: Any) -> Any:
    return hb.nn.softmax(hb.tanh(x) @ w)


# -- printed forms -----------------------------------------------------------------------------------


def test_clusters_read_aloud():
    assert str(nests(two_steps, (8, 6), (6, 10)).fusion) == as_told(
        """
        test in 3 clusters:
          0  loop [8] x [6]: reads x0, computes tanh %0
          1  block: reads x1, %0, computes dot %1
          2  loop [8] x [10]: reads %1, computes reduce_max %2, exp %5, sum %7, mul %10
        """
    )


@pytest.mark.parametrize(
    "fn, shapes, told",
    [
        (
            lambda x, y: hb.exp(x * 2.0) + y,
            [(3, 5), (5,)],
            """
            kernel 0, for 3 rows, along 5, 4 at a time:
              %1 = mul(x0[i, j], 2.0)
              %2 = exp(%1)
              %3 = add(%2, x1[j])
              store %3 in %3[i, j]
            """,
        ),
        (
            lambda x: hb.tanh(x),
            [(200, 100)],
            """
            kernel 0, along 20000, 4 at a time, 3 units of 8192:
              %0 = tanh(x0[i, j])
              store %0 in %0[i, j]
            """,
        ),
        (
            hb.nn.softmax,
            [(64, 100)],
            """
            kernel 0, for 64 rows, along 100, 4 at a time, 3 passes:
              pass 1:
                %0 = reduce_max of x0[i, j]
              pass 2:
                %2 = sub(x0[i, j], %0)
                %3 = exp(%2)
                keep %3 for later passes
                %5 = sum of %3
              pass 3:
                %7 = div(1.0, %5)
                %8 = mul(%3, %7)
                store %8 in %8[i, j]
            """,
        ),
        (
            lambda x: hb.sum(x * x, axis=0),
            [(64, 100)],
            """
            kernel 0, down 64, for 100 columns, 4 at a time:
              %0 = mul(x0[i, j], x0[i, j])
              %1 = sum of %0
              store %1 in %1[j]
            """,
        ),
        (
            lambda x: hb.random.dropout(x, 0.25, key=hb.random.key(3)),
            [(6, 10)],
            """
            kernel 0, along 60, 4 at a time:
              %1 = random_bits(%0[0], %0[1], 10i + j)
              %3 = shift_right(%1, 8)
              %4 = cast(%3, dtype='float32')
              %6 = mul(%4, 5.9604645e-08)
              %8 = lt(%6, 0.75)
              %10 = mul(x0[i, j], 1.3333334)
              %12 = select(%8, %10, 0.0)
              store %12 in %12[i, j]
            """,
        ),
        (
            lambda x: hb.concat([x.T, hb.zeros((4, 1))], axis=1),
            [(3, 4)],
            """
            kernel 0, for 4 rows, along 3, 4 at a time:
              store x0[j, i] in %3[i, j]
            kernel 0, along 4, 4 at a time:
              store 0.0 in %3[4i + 3]
            """,
        ),
        (
            lambda x: hb.fori_loop(0, 3, lambda i, c: c * 2.0, x),
            [(5,)],
            """
            kernel 0, block: %0: (float32[5]) = scan(x0 [5])
              body:
                kernel 0, along 5, 4 at a time:
                  %1 = mul(x0[i], 2.0)
                  store %1 in %1[i]
            """,
        ),
    ],
    ids="rows map softmax column dropout concat scan".split(),
)
def test_loops_read_aloud(fn, shapes, told):
    assert str(nests(fn, *shapes)) == as_told(told)


def test_the_plan_read_aloud():
    program = traced(lambda x: hb.cumsum(hb.tanh(x), axis=0) @ x, (16, 16))
    lowered = Lowered(Nests(Module(), Fusion(prepared(program), TEMPLATES), host()))
    told = str(lowered).split("\n")
    assert re.fullmatch(r"test: 3 steps, an arena of \d[\d,]* bytes", told[0])
    assert [line.split() for line in told[1:3]] == [
        "0 %0: float32[16,16], steps 0 to 1".split(),
        "1024 %1: float32[16,16], steps 1 to 2".split(),
    ]
    lowered.verify()
    first, second = list(lowered.plan.offsets)[:2]
    lowered.plan.offsets[second] = lowered.plan.offsets[first]
    with pytest.raises(CheckError, match="overlap while both are needed"):
        lowered.verify()


def test_clusters_out_of_order_are_found():
    fusion = nests(two_steps, (8, 6), (6, 10)).fusion
    fusion.verify()
    fusion.clusters.reverse()
    with pytest.raises(CheckError, match="no earlier cluster computes"):
        fusion.verify()


# -- the ladder --------------------------------------------------------------------------------------


def run_some() -> None:
    with hb.Session():
        fn = hb.function(two_steps)
        fn(hb.ones((8, 6)), hb.ones((6, 10)))
        fn(hb.ones((8, 6)), hb.ones((6, 10)))
        hb.linalg.svd(hb.eye(3))


def test_every_step_of_the_ladder_shows_more(capfd, tmp_path):
    shown = [r"^DEBUG=1  compile  two_steps: 11 nodes, 3 kernels, arena [\d,]+ bytes  [\d.]+ ms  code: compiled$",
             r"^DEBUG=2  kernel 2  loop  reduce_max,sub,exp,sum,div,mul  float32\[8,10\]  [\d.]+ ms .* GB/s .*test_st",
             r"^DEBUG=3  two_steps, simplify:",
             r"^DEBUG=4  two_steps, lower:\nkernel 0, along 48",
             r"^DEBUG=5  two_steps, emit:",
             r"^DEBUG=6  two_steps, jit:"]  # fmt: skip
    for step in (0, 1, 2, 4, 6):
        with config.CACHE("0"), config.DEBUG(step):
            run_some()
        err = capfd.readouterr().err
        assert [bool(re.search(s, err, re.M)) for s in shown] == [i < step for i in range(6)], err
    assert "define void @" in err and ".text" in err
    assert len(re.findall(r"^DEBUG=2  kernel 2  loop  reduce_max", err, re.M)) == 2
    assert re.search(r"^DEBUG=2  kernel 0  host  svd .* host  ", err, re.M)


def test_a_miss_says_what_was_looked_for(capfd, tmp_path):
    with config.CACHE(str(tmp_path / "cache")), config.DEBUG(1):
        run_some()
        first = capfd.readouterr().err
        run_some()
        second = capfd.readouterr().err
    assert re.search(r"^DEBUG=1  cache miss  \w{16}…  text=\w+  triple=.*  level=", first, re.M)
    assert "cache miss" not in second and re.search(r"^DEBUG=1  recall  two_steps: from disk  ", second, re.M)
    with config.CACHE(str(tmp_path / "cache")), config.DEBUG(2):
        run_some()
        capfd.readouterr()
        run_some()
    assert "code: disk" in capfd.readouterr().err  # who looks at kernels has them built, from code that is known


def test_the_reference_engine_is_shown_too(capfd):
    with config.DEBUG(3), hb.Session(engine="reference"):
        hb.function(two_steps)(hb.ones((8, 6)), hb.ones((6, 10)))
    err = capfd.readouterr().err
    assert "DEBUG=1  compile  two_steps: 11 rows for the reference engine" in err
    assert "DEBUG=3  two_steps, simplify:" in err


def test_all_stages_in_files(tmp_path):
    with config.DUMP(str(tmp_path / "dump")):
        run_some()
    (folder,) = (tmp_path / "dump").glob("*-two_steps")
    names = sorted(p.name for p in folder.iterdir())
    assert names == [
        "0-traced.txt", "1-simplify.txt", "2-prepare.txt", "3-fuse.txt", "4-lower.txt", "5-plan.txt", "6-emit.ll",
        "7-assembly.s",
    ]  # fmt: skip
    assert folder.joinpath("1-simplify.txt").read_text().startswith("two_steps(x0: float32[8,6], x1: float32[6,10]):\n")
    assert all(p.stat().st_size > 50 for p in folder.iterdir())


def test_looking_changes_no_bit_and_leaves_nothing_behind():
    x, w = (hb.tensor(np.random.default_rng(i).normal(size=(70, 70)).astype("float32")) for i in (1, 2))
    with hb.Session() as session:
        fn = hb.function(lambda x, w: (two_steps(x, w), hb.sum(x * w, axis=0)))

        def bits() -> list[bytes]:
            return [t.numpy().tobytes() for t in fn(x, w)]

        plain = bits()
        before = session.executable(fn.program(x, w))
        with config.CHECK(2), config.NANS(1):
            assert bits() == plain
            assert session.executable(fn.program(x, w)) is not before
        assert bits() == plain
        again = session.executable(fn.program(x, w))
        assert len(again.steps) == len(before.steps) == 1 and not stages.watching()


# -- CHECK=2 -----------------------------------------------------------------------------------------


def test_a_wrong_kernel_is_named_with_its_rows_and_worst_element(monkeypatch):
    call = VectorScalars.call
    monkeypatch.setattr(VectorScalars, "call", lambda s, name, *xs: xs[0] if name == "exp" else call(s, name, *xs))
    x = np.zeros((4, 8), np.float32)
    x[2, 5] = 3.0
    with config.CACHE("0"), hb.Session() as session:
        v = hb.Variable(np.zeros((4, 8), np.float32))

        @hb.function
        def step(x):
            v.assign(hb.exp(x))
            return v

        with config.CHECK(2), pytest.raises(CheckError) as caught:
            step(x)
        assert not v.numpy().any() and session.ledger.counts["host step"] == 0
    said = str(caught.value)
    assert "kernel 0 (loop: exp)" in said and "32 of 32 elements are wrong; the worst at (2, 5): got 3.0" in said
    assert "test_stages.py" in said and "row    <exp(param)" in said


def test_rounding_is_no_mismatch_and_errors_are():
    def badly_conditioned(x: Any, y: Any) -> Any:
        return hb.sum(x * y, axis=-1) - hb.sum(y * x + 1e-3, axis=-1), hb.floor(hb.exp(x)), hb.argmax(x, axis=-1)

    program = traced(badly_conditioned, (20, 1000), (20, 1000))
    rng = np.random.default_rng(0)
    arguments = [rng.normal(size=(20, 1000)).astype(np.float32) * 100 for _ in range(2)]
    arguments[0] /= 100
    with hb.Session() as session:
        got = session.execute(program, arguments)
    expected = Agreement(program).expected(arguments)
    assert [mismatch(g, *e) for g, e in zip(got, expected, strict=True)] == [None] * 3
    got[0][7] += 1.0
    found = mismatch(got[0], *expected[0])
    assert found is not None and found.at == (7,) and found.wrong == 1
    got[2][3] += 1
    assert mismatch(got[2], *expected[2])
    got[1][3, 3] = np.nan
    found = mismatch(got[1], *expected[1])
    assert found is not None and found.at == (3, 3)


def test_widened_rows_are_the_same_in_float64():
    def several(x: Any) -> Any:
        bits = hb.bitcast(hb.bitcast(x, "int32") & 0x7FFFFFFF, "float32")
        half = hb.cast(hb.cast(x, "bfloat16") * 2.0, "float32")
        return bits, half, hb.fori_loop(0, 3, lambda i, c: c * 1.5 + hb.cast(i, "float32"), x), hb.arange(4.0)

    x = np.array([-1.5, 0.25, 3.0, -0.0], np.float32)
    program = traced(several, (4,))
    narrow, wide = evaluate(program, [x]), evaluate(widened(program), [x.astype(np.float64)])
    assert all(w.dtype == np.float64 for w in wide)
    for n, w in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(n.astype(np.float64), w)


# -- NANS=1 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_the_first_nan_stops_the_run_and_changes_nothing(engine):
    with config.NANS(1), hb.Session(engine=engine):
        v = hb.Variable(np.array([4.0, 9.0], np.float32))

        @hb.function
        def step(x):
            y = hb.sqrt(x) + 1.0
            v.assign(v - y)
            return hb.sum(v)

        assert float(step(hb.tensor([1.0, 4.0]))) == 8.0
        with pytest.raises(hb.NonFiniteError, match=r"sqrt made NaN of .* at \(1,\): sqrt\(-4.0\)") as caught:
            step(hb.tensor([1.0, -4.0]))
        assert v.numpy().tolist() == [2.0, 6.0]
        line = step.python_function.__code__.co_firstlineno + 2
        assert f"test_stages.py:{line}" in str(caught.value)
        with pytest.raises(hb.NonFiniteError, match="log made Inf"):
            hb.log(hb.tensor([1.0, 0.0]))
        with pytest.raises(hb.NonFiniteError, match="div made NaN"):
            hb.zeros(3) / hb.zeros(3)


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_infinities_that_were_there_are_nobodys_fault(engine):
    with config.NANS(1), hb.Session(engine=engine):
        mask = hb.tensor([True, False, True])
        masked = hb.function(lambda x: hb.select([mask], [x], float("-inf")) * 2.0)(hb.ones(3))
        assert masked.numpy().tolist() == [2.0, -np.inf, 2.0]
        assert hb.nn.softmax(masked).numpy().tolist() == [0.5, 0.0, 0.5]
        assert np.isnan((hb.tensor([np.nan, 1.0]) * 2.0).numpy()).tolist() == [True, False]


def test_a_nan_inside_a_long_computation_is_traced_to_its_row():
    with config.NANS(1), hb.Session():
        fn = hb.function(lambda x, w: hb.mean(hb.log(hb.nn.relu(x @ w) - 0.5)))
        with pytest.raises(hb.NonFiniteError, match=r"log made NaN.*\n  in kernel \d \(loop: "):
            fn(hb.ones((4, 4)), -hb.ones((4, 4)))


def test_numbered_folders_do_not_collide(tmp_path):
    (tmp_path / "0001-a_b").mkdir()
    first, second = (stages._new_folder(tmp_path, "a b") for _ in range(2))
    assert first != second and {first.name[5:], second.name[5:]} == {"a_b"} and isinstance(first, Path)


def test_many_steps_are_looked_at_one_by_one():
    w = hb.Variable(np.ones(4, np.float32))

    @hb.function
    def step(x):
        w.assign(hb.sqrt(w * hb.mean(x, axis=0)))
        return hb.sum(w)

    x = np.ones((6, 4), np.float32)
    x[5, 2] = -9.0
    with config.NANS(1):
        with pytest.raises(hb.NonFiniteError, match="sqrt made NaN"):
            step.over_rows(range(0, 6, 2), x)
        assert w.numpy().tolist() == [1.0] * 4
