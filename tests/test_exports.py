"""`hornbeam/__init__.py` is the whole table of contents, and importing it brings nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import hornbeam

HEAVY = {"tensorflow", "jax", "jaxlib", "torch", "scipy", "sklearn", "pandas", "onnx", "onnxruntime"}


def test_all_is_complete():
    """Every public name is in __all__, but for the packages that imports leave behind as attributes."""
    found = {name for name, value in vars(hornbeam).items()
             if not name.startswith("_") and not isinstance(value, ModuleType)}  # fmt: skip
    assert found - {"annotations"} <= set(hornbeam.__all__)


def test_all_is_there_once():
    assert len(set(hornbeam.__all__)) == len(hornbeam.__all__)
    assert [name for name in hornbeam.__all__ if not hasattr(hornbeam, name)] == []


def test_every_export_is_documented():
    functions = {name: value for name in hornbeam.__all__ if callable(value := getattr(hornbeam, name))}
    assert [name for name, value in functions.items() if not value.__doc__] == []


@pytest.mark.parametrize("program", ["import hornbeam", "from hornbeam import keras", "import hornbeam.cli"])
def test_import_is_light(program, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"],
        env={"PYTHONPATH": ":".join(sys.path), "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert loaded & HEAVY == set()
    if "keras" not in program:
        assert "keras" not in loaded
