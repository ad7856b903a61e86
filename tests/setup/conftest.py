"""Each case runs in a fresh interpreter, as it is about what is imported first. Some see a made-up Keras."""

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
Python = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Run a program, given as text or as arguments, and return the finished process, whose exit code is checked."""

    def run(*command: str, ahead: Path | str = "", code: int = 0, **environment: str) -> subprocess.CompletedProcess:
        arguments = command if len(command) > 1 else ("-c", dedent(command[0]))
        inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
        paths = {"PYTHONPATH": f"{ahead or SOURCE}{os.pathsep}{SOURCE}", "KERAS_HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, *arguments],
            env=inherited | paths | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        return done

    return run


# Keras's choice of a backend, without the rest of Keras. `{pluggable}` is the line that holds the names let in.
FAKE_KERAS = {
    "__init__.py": "from keras.src import backend\n",
    "src/__init__.py": "",
    "src/version.py": "__version__ = '{version}'\n",
    "src/utils/__init__.py": "",
    "src/backend/config.py": """
        import os
        {pluggable}
        _BACKEND = os.environ.get("KERAS_BACKEND") or "jax"
        def backend():
            return _BACKEND
        import keras.src.utils.module_utils  # before this module is done, as in Keras
    """,
    "src/utils/module_utils.py": """
        import importlib
        from keras.src.backend import config
        PLUGGABLE_BACKENDS = getattr(config, "PLUGGABLE_BACKENDS", ())
        if not PLUGGABLE_BACKENDS:
            del PLUGGABLE_BACKENDS
    """,
    "src/utils/backend_utils.py": """
        from keras.src.utils.module_utils import *
    """,
    "src/backend/__init__.py": """
        import importlib
        from keras.src.backend.config import backend
        from keras.src.utils import backend_utils, module_utils
        if backend() != "jax" and backend() not in getattr(module_utils, "PLUGGABLE_BACKENDS", ()):
            raise ValueError(f"Unable to import backend : {{backend()}}")
    """,
}


@pytest.fixture
def fake_keras(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with a Keras of some version and some line that names the backends let in."""

    def make(version: str, pluggable: str = "PLUGGABLE_BACKENDS = frozenset(['mlx'])") -> Path:
        for name, text in FAKE_KERAS.items():
            file = tmp_path / "fake" / "keras" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text).format(version=version, pluggable=pluggable))
        return tmp_path / "fake"

    return make


@pytest.fixture
def distribution(tmp_path: Path) -> Callable[[str, str], None]:
    """Record a distribution as installed beside the made-up Keras."""

    def make(name: str, version: str) -> None:
        folder = tmp_path / "fake" / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    return make
