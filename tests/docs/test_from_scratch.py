"""The teaching file runs, stands on its own, and points to files that exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FILE = REPOSITORY / "docs" / "from_scratch.py"


def test_it_runs_and_says_what_it_shows(tmp_path):
    done = subprocess.run([sys.executable, FILE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "before anything ran:" in done.stdout
    assert "%0 = mul(x0, x0)" in done.stdout
    eager, function = re.findall(r"^(?:eager|function) +(loss .*) in \d+ runs, (?:100|9\d)% right$", done.stdout, re.M)
    assert eager == function


def test_it_needs_numpy_only():
    imported = set()
    for node in ast.walk(ast.parse(FILE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_the_files_it_names_exist():
    tail = FILE.read_text("utf-8").partition("Where it lives")[2]
    named = re.findall(r"\b[a-z_]+/[a-z_]*(?:\.py)?", tail.replace("src/hornbeam", ""))
    assert len(named) > 10
    places = [REPOSITORY / name if name.startswith("docs/") else REPOSITORY / "src/hornbeam" / name for name in named]
    assert [place for place in places if not place.exists() and place.name != "architecture"] == []


def test_its_names_are_those_of_the_real_thing():
    sources = "".join(file.read_text("utf-8") for file in (REPOSITORY / "src" / "hornbeam").rglob("*.py"))
    body = ast.parse(FILE.read_text("utf-8")).body
    defined = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    own = {"train", "bump", "pushed", "one_node", "Eager"}  # the real one is EagerInterpreter
    assert [name for name in defined - own if not re.search(rf"^(class|def) {name}\b", sources, re.M)] == []
