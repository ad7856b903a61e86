"""The runner's own parts: processes that crash or hang, what is printed, and its exit code. Keras is not needed."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from pathlib import Path

import pytest

from tests.differential import run
from tests.differential.compare import Disagreement
from tests.differential.draw import call
from tests.differential.wire import Answer, Request

PEER = textwrap.dedent("""\
    import os, sys, time
    from tests.differential.wire import Answer, Greeting, receive, send
    send(sys.stdout.buffer, Greeting("3"))
    while True:
        op = receive(sys.stdin.buffer).op
        if op == "crash":
            os._exit(139)
        if op == "hang":
            time.sleep(60)
        send(sys.stdout.buffer, Answer(op))
""")


@pytest.fixture
def worker(tmp_path: Path):
    env = os.environ | {"PYTHONPATH": str(run.ROOT)}
    with (tmp_path / "log").open("wb") as log:
        worker = run.Worker("jax", sys.executable, env, log)
        worker.command = [sys.executable, "-c", PEER, "jax"]
        yield worker
        worker.stop()


@pytest.mark.parametrize("how, said", [("crash", "crashed"), ("hang", "no answer in 2 s")])
def test_a_process_that_dies_is_a_disagreement_and_is_started_again(worker, monkeypatch, how, said):
    monkeypatch.setattr(run, "SECONDS", 2.0)
    assert worker.ask(Request(how, call())) == Disagreement("died", f"jax: {said}")
    monkeypatch.setattr(run, "SECONDS", 60.0)
    assert worker.ask(Request("add", call())) == Answer("add")


def test_a_process_that_does_not_start_says_why(worker):
    worker.command = [sys.executable, "-c", "raise ImportError('no jaxlib here')"]
    with pytest.raises(SystemExit, match="no jaxlib here"):
        worker.start()


def test_only_what_is_not_listed_is_printed_and_fails(capsys):
    options = argparse.Namespace(ops=["add"], cases=3, seed=7, engine="native", x64=False, known=False)
    listed = run.Found("add", 0, "native", "add(1)", Disagreement("value", "1 and 2"), "undefined")
    new = run.Found("add", 2, "native", "add(2)", Disagreement("dtype", "a and b"), None)
    assert run.report([listed], options) == 0
    assert "1 and 2" not in capsys.readouterr().out
    assert run.report([listed, new], options) == 1
    out = capsys.readouterr().out
    assert "a and b" in out and "scripts/differential --ops add --seed 7 --case 2 --engine native" in out
    options.known = True
    run.report([listed], options)
    assert "undefined" in capsys.readouterr().out
