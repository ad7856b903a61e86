"""The benchmark harness on Hornbeam alone, with tiny sizes: that it runs, and what its report holds. No timings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import machine, report
from benchmarks.micro import GROUPS
from benchmarks.tasks import TASKS

ROOT = Path(__file__).parents[2]


def bench(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_report_of_a_smoke_run(tmp_path):
    tasks = ["article", "lstm", "matmul", "streams", "calls"]
    done = bench("--quick", "--peers", "none", "--rounds", 1, "--tasks", ",".join(tasks), "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert [*data["tasks"], *data["micro"]] == tasks
    assert data["quick"] and data["machine"]["how"] == "native code"
    assert data["machine"]["flops"] > 0 and data["machine"]["bytes"] > 0
    for task in data["tasks"].values():
        assert set(task["results"]) == {"hornbeam"} and task["flops"] > 0
        result = task["results"]["hornbeam"]
        assert set(result["median"]) == set(result["turns"]) == {"step", "predict"}
        for start in (result["cold"], result["warm"]):
            assert min(start["import"], start["build"], start["first"], start["peak_bytes"]) > 0
            assert {"hornbeam", "numpy", "python"} <= set(start["versions"])
    for name, group in data["micro"].items():
        assert set(group["results"]) == {"hornbeam", "numpy"}
        assert set(group["results"]["hornbeam"]["median"]) == set(group["cases"]) == {c.name for c in GROUPS[name].tiny}
    text = (tmp_path / "REPORT.md").read_text("utf-8")
    assert text == report.text(data)
    assert "mean nothing" in text and "## Failed" not in text
    assert all(f"\n| {name} |" in text for name in data["tasks"])
    assert all(f"\n## {name}\n" in text for name in data["micro"])
    widths = [len(line.split(" | ")) for line in text.splitlines() if line.startswith("| import")]
    assert widths == [4]  # what, hornbeam, the best peer, the ratio


def test_a_failure_is_reported(tmp_path):
    done = bench("--quick", "--peers", "none", "--tasks", "article", "--output", tmp_path, HORNBEAM_ENGINE="nonesuch")
    assert done.returncode == 1
    assert "Hornbeam failed at article" in done.stderr
    text = (tmp_path / "REPORT.md").read_text("utf-8")
    assert "- article, hornbeam: " in text.partition("## Failed")[2]


def test_what_is_not_there_is_told():
    done = bench("--tasks", "mpl")
    assert done.returncode == 2 and "mpl: not among article, mlp" in done.stderr
    done = bench("--quick", "--peer-python", sys.executable, "--peers", "jax,tensorfolw")
    assert done.returncode == 2 and "tensorfolw: not among" in done.stderr


@pytest.mark.parametrize("name", TASKS)
def test_tasks_compute_what_they_say(name):
    """Every task takes a step; multiply-adds of its layers are those that ``flops`` counts, where layers tell."""
    from hornbeam import keras

    task = TASKS[name]
    sizes = task.sized(tiny=True)
    x, y = task.data(np.random.default_rng(0), sizes, sizes.batch)
    model = task.model(keras, sizes)
    assert np.isfinite(model.train_on_batch(x, y))
    expected = {"article": 2 * 2 * 10 * 10, "mlp": 4 * 32 * 32 + 6 * (32 * 32 + 32 * 10)}
    if name in expected:
        assert task.flops(sizes) == sizes.batch * expected[name]
    assert task.flops(task.sized(tiny=False)) > task.flops(sizes) or name == "article"


def convolutions(model, keras):
    """Multiply-adds of a forward pass for one sample, by layer."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Conv2D):
            yield int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            yield int(np.prod(layer.kernel.shape))


@pytest.mark.parametrize("name", ["cnn", "resnet"])
@pytest.mark.parametrize("tiny", [True, False])
def test_flops_of_convolutions(name, tiny):
    from hornbeam import keras

    sizes = TASKS[name].sized(tiny)
    first, *others = convolutions(TASKS[name].model(keras, sizes), keras)
    assert TASKS[name].flops(sizes) == sizes.batch * (4 * first + 6 * sum(others))


def test_machine_without_native_code():
    flops, nbytes = machine._numpy(1, tiny=True)
    assert flops > 0 and nbytes > 0
    assert machine.facts()["cores"] >= 1
