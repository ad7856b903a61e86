"""The runner's own parts: the list of exclusions, reading a report, the tally. Running Keras's tests is not a test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.keras_suite import run, tally
from tests.keras_suite.plugin import exclusions, missing

REPORT = """<testsuites><testsuite>
<testcase classname="keras.src.ops.numpy_test.T" name="test_a" time="1.25" />
<testcase classname="keras.src.ops.numpy_test.T" name="test_b" time="0.5"><failure message="no">...</failure></testcase>
<testcase classname="keras.src.ops.numpy_test.T" name="test_b" time="0.5" />
<testcase classname="keras.src.ops.numpy_test.T" name="test_s"><skipped message="support sparse tensors" /></testcase>
<testcase classname="keras.src.random.random_test.T" name="test_c"><skipped message="JAX only" /></testcase>
<testcase classname="keras.src.random.random_test.T" name="test_d"><skipped message="Excluded: old" /></testcase>
<testcase classname="" name="keras.src.random.draw_test"><error message="collection failure">...</error></testcase>
</testsuite></testsuites>"""


def test_every_exclusion_has_a_reason():
    assert exclusions() and all(exclusions().values())


def test_a_report_is_tallied_by_folder(tmp_path: Path):
    (tmp_path / "report.xml").write_text(REPORT)
    rows = tally.count(tally.read(tmp_path / "report.xml"))
    assert rows == {"ops": [1, 1, 1, 0, 2, 1, 0], "random": [0, 1, 1, 1, 0, 0, 1]}


def test_the_tally_keeps_the_rows_of_other_runs(tmp_path: Path, monkeypatch):
    page = tmp_path / "TALLY.md"
    monkeypatch.setattr(tally, "PAGE", page)
    tally.write("reference", {"ops": [5, 1, 0, 0, 9, 0, 0], "random": [3, 0, 2, 0, 1, 1, 1]}, "today")
    tally.write("native", {"ops": [6, 0, 0, 0, 2, 0, 0]}, "today")
    tally.write("reference", {"ops": [6, 0, 0, 0, 8, 0, 0]}, "later")
    engines = tally.earlier(page.read_text().splitlines())
    assert {name: {folder: cells[:7] for folder, cells in rows.items()} for name, rows in engines.items()} == {
        "native": {"ops": ["6", "0", "0", "0", "2", "0", "0"]},
        "reference": {"ops": ["6", "0", "0", "0", "8", "0", "0"], "random": ["3", "0", "2", "0", "1", "1", "1"]},
    }
    assert "| **all** | 9 | 0 | 2 | 0 | 9 | 1 | 1 |  |" in page.read_text()


def test_only_runs_of_whole_folders_are_tallied(tmp_path: Path):
    (tmp_path / "keras" / "src" / "ops" / "nn").mkdir(parents=True)
    assert not run.selects(["-n", "1", "keras/src/ops", "--tb=no"], tmp_path)
    assert run.selects(["keras/src/ops/numpy_test.py"], tmp_path)
    assert run.selects(["keras/src/ops/nn/"], tmp_path)
    assert run.selects(["keras/src/ops", "-k", "reshape"], tmp_path)


def test_the_last_line_says_what_it_came_to(tmp_path: Path):
    (tmp_path / "report.xml").write_text(REPORT)
    options = argparse.Namespace(backend="hornbeam", engine="native", sample=4)
    said = run.verdict(tally.read(tmp_path / "report.xml"), 1, options)
    assert "hornbeam, native engine, one in 4" in said
    assert "1 passed, 2 failed, 2 skipped, 1 excluded" in said
    assert "pytest ended with code 1" in said


def test_without_the_package_index_it_says_so_and_fails(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SystemExit) as stopped:
        run.release_sources(tmp_path)
    assert "could not be downloaded from the package index" in str(stopped.value.code)
    assert "No matching distribution" in capfd.readouterr().err  # pip's own words stand above


@pytest.mark.parametrize("second, code", [("pass", 0), ("raise KeyboardInterrupt", 2)])
def test_a_run_that_was_cut_short_is_a_failure_whatever_its_report_lists(tmp_path: Path, monkeypatch, second, code):
    folder = tmp_path / "tree" / "keras" / "src"
    folder.mkdir(parents=True)
    (folder / "some_test.py").write_text(f"def test_first():\n    pass\n\n\ndef test_second():\n    {second}\n")
    monkeypatch.setattr(sys, "argv", ["keras-suite", f"--scratch={tmp_path}", "-n", "0", "keras/src"])
    monkeypatch.setattr(run, "release_sources", lambda *_: tmp_path)
    monkeypatch.setattr(run, "environment", lambda *_: sys.executable)
    monkeypatch.setattr(run, "lay_out", lambda *_: tmp_path / "tree")
    assert run.main() == code


def test_keras_says_in_its_own_words_that_a_module_is_missing():
    try:
        try:
            raise ModuleNotFoundError("No module named 'grain'", name="grain")
        except ImportError:
            raise ImportError("This requires the grain module.")
    except ImportError as error:
        assert missing(error) == "grain"
    assert missing(ImportError("StringLookup needs it. Install it via `pip install tensorflow`.")) == "tensorflow"
    assert missing(ImportError("cannot import name 'GPTQ'")) is None
    assert missing(None) is None
