"""Programs run as a user runs them, by `hornbeam run`; everything else in a graph or eagerly in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

import hornbeam

SOURCE = str(Path(hornbeam.__file__).parents[1])
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run a program, given as text or as a file, by `hornbeam run`; returns the process, whose exit code is checked."""

    def run(program: str | Path, code: int = 0) -> subprocess.CompletedProcess:
        file = program if isinstance(program, Path) else tmp_path / "program.py"
        if not isinstance(program, Path):
            file.write_text(dedent(program))
        environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        done = subprocess.run(
            [sys.executable, "-m", "hornbeam", "run", str(file)],
            env=environment | {"PYTHONPATH": SOURCE, "KERAS_HOME": str(tmp_path / "home")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == code, done.stderr
        return done

    return run
