"""The runner's own parts: the list of exclusions, reading a report, the tally. Running Keras's tests is not a test."""

from __future__ import annotations

from pathlib import Path

from tests.keras_suite import run, tally
from tests.keras_suite.plugin import exclusions

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
    (tmp_path / "keras" / "src" / "ops").mkdir(parents=True)
    assert not run.selects(["-n", "1", "keras/src/ops", "--tb=no"], tmp_path)
    assert run.selects(["keras/src/ops/numpy_test.py"], tmp_path)
    assert run.selects(["keras/src/ops", "-k", "reshape"], tmp_path)
