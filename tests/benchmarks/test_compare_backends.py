"""The comparison with other backends, tried with Hornbeam itself as the other one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare_backends.py"


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_equal_to_itself(tmp_path):
    done = run("--peers", "hornbeam", "--steps", 2, "--tolerance", 0, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    assert set(report["differences"]["hornbeam"].values()) == {0.0}
    cases = report["hornbeam"]["cases"]
    assert len(cases) == 8 and all(len(case["losses"]) == 2 for case in cases.values())
    for case in ("dense, sgd", "dense, adam", "conv, sgd", "conv, adam"):
        assert cases[case]["losses"] == cases[f"{case}, dropout 0"]["losses"]


def test_a_difference_is_a_failure():
    done = run("--peers", "hornbeam", "--steps", 1, "--tolerance", -1)
    assert done.returncode == 1, done.stderr
    assert "NOT within" in done.stdout


def test_a_backend_that_is_not_there_is_told():
    done = run("--peers", "nonesuch", "--steps", 1)
    assert done.returncode == 2
    assert done.stderr.startswith("nonesuch (")
