"""The round trips within Hornbeam, and what the report says of results. Between backends: `scripts/round-trips`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hornbeam import keras
from tests.round_trips import report
from tests.round_trips.cases import CASES, Case
from tests.round_trips.worker import load, relative, save

KINDS = ("weights", "sharded", "keras")


@pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning", "ignore:.*support masking:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_to_a_file_and_back(name, tmp_path):
    save(keras, CASES[name], tmp_path / name)
    assert load(keras, CASES[name], tmp_path / name) == dict.fromkeys(KINDS, 0.0)


def test_weights_that_do_not_arrive_are_seen(tmp_path, monkeypatch):
    save(keras, CASES["dense"], tmp_path / "dense")
    monkeypatch.setattr(keras.Model, "load_weights", lambda *arguments: None)
    found = load(keras, CASES["dense"], tmp_path / "dense")
    assert found["keras"] == 0 and min(found["weights"], found["sharded"]) > 0.1


def test_the_measure_of_a_difference():
    expected = np.array([1.0, -4.0])
    assert relative(np.array([1.5, -4.0]), expected) == 0.125
    assert relative(np.array([1.0, np.nan]), expected) == relative(np.ones(3), expected) == np.inf


def files(difference=1e-7, **changes):
    backends = ["hornbeam", "jax", "torch"]
    loaded = {
        loader: {saver: {"dense": dict.fromkeys(KINDS, difference)} for saver in backends if saver != loader}
        for loader in backends
    }
    data = {"made": "today", "versions": {}, "backends": backends, "cases": ["dense"]}
    return {**data, "saved": {backend: {"dense": None} for backend in backends}, "loaded": {**loaded, **changes}}


def test_a_table_of_files():
    data = files()
    data["loaded"]["jax"]["hornbeam"]["dense"]["sharded"] = 3e-6
    data["loaded"]["jax"]["torch"]["dense"]["keras"] = 0.5  # between others: shown, but not our failure
    line = next(line for line in report.section("files", data).splitlines() if line.startswith("| dense"))
    assert line == "| dense | 1.0e-07 | 1.0e-07 | 3.0e-06 | 1.0e-07 | 5.0e-01 | 1e-05 |"
    assert report.failures("files", data) == []
    data["loaded"]["jax"]["torch"]["dense"]["keras"] = "TypeError: no"
    assert "\n- torch → jax, dense: TypeError: no\n" in report.section("files", data)
    assert report.failures("files", data) == []


@pytest.mark.parametrize("bad", [2e-5, float("inf"), float("nan"), "ValueError: no"])
def test_a_failure_of_one_file(bad):
    data = files()
    data["loaded"]["hornbeam"]["torch"]["dense"]["keras"] = bad
    assert report.failures("files", data) == [f"torch → hornbeam, dense: {bad} (bound 1e-05)"]


def test_a_failure_of_a_process():
    failures = report.failures("files", files(jax="exit code 1: no jax"))
    assert failures == ["hornbeam → jax, dense: exit code 1: no jax (bound 1e-05)"]
    data = files()
    data["saved"]["torch"] = {"dense": "ValueError: no"}
    assert report.failures("files", data) == ["torch could not save dense: ValueError: no"]


def test_rows_of_applications_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "DATA", tmp_path / "RESULT.json")
    monkeypatch.setattr(report, "PAGE", tmp_path / "RESULT.md")

    def result(difference, first=1.0):
        one = {"parameters": 2e6, "build": 1.0, "first": first, "peak_bytes": 2**28, "finite": True, "difference": 0.0}
        return {"hornbeam": one, "jax": {**one, "difference": difference}}

    data = {"made": "today", "versions": {}, "public": 3}
    report.write("applications", {**data, "results": {"B": result(2e-5), "A": result(1e-6)}})
    report.write("applications", {**data, "results": {"B": result(1e-7, first=30.0)}})
    kept = json.loads(report.DATA.read_text())["applications"]
    assert [*kept["results"]] == ["A", "B"] and report.failures("applications", kept) == []
    text = report.PAGE.read_text()
    assert "2 of 3 public applications" in text and "more than 20 s on Hornbeam: B." in text
    alone = {"A": {"hornbeam": result(0)["hornbeam"]}}
    assert "| A | 2.0 M | – | 1.0 s | 1.0 s | 256 MiB | – | – |" in report.applications({**data, "results": alone})
    assert "| B | 2.0 M | 1.0e-07 | 1.0 s | 30.0 s | 256 MiB | 30.0 s | 256 MiB |" in text
    bad = {**data, "results": {"A": result(2e-5), "B": {**result(0), "hornbeam": "exit code 1"}}}
    assert [line.split(":")[0] for line in report.failures("applications", bad)] == ["A on jax", "B on hornbeam"]


def test_every_looser_bound_has_a_reason():
    assert all(bool(case.because) == (case.bound != Case.bound) for case in CASES.values())


def test_the_page_is_what_the_results_say():
    assert report.PAGE.read_text("utf-8") == report.text(json.loads(report.DATA.read_text("utf-8")))
