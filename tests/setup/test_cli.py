"""The command `hornbeam`."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent

import pytest

import hornbeam


@pytest.fixture
def run(python, tmp_path):
    """`hornbeam run train.py ...`, where train.py holds the given text."""

    def run_text(text: str, *arguments: str, **options):
        (tmp_path / "train.py").write_text(dedent(text))
        return python("-m", "hornbeam", "run", "train.py", *arguments, **options)

    return run_text


def test_version(python):
    assert python("-m", "hornbeam", "--version").stdout == f"hornbeam {hornbeam.__version__}\n"


def test_run_is_like_python(run, tmp_path):
    done = run(
        """
        import os, sys
        print(__name__, __file__, sys.argv[1:], sys.path[0], sys.modules["__main__"].__dict__ is globals())
        """,
        "--epochs", "3", "--help", "-m",
    )  # fmt: skip
    assert done.stdout == f"__main__ {tmp_path / 'train.py'} ['--epochs', '3', '--help', '-m'] {tmp_path} True\n"


def test_run_means_us_by_keras(run):
    run('import keras; assert keras.config.backend() == "hornbeam"')


def test_run_means_us_by_tensorflow(run):
    run("""
        import tensorflow as tf
        from tensorflow import keras
        from tensorflow.keras import layers
        from tensorflow.keras.layers import Dense
        import tensorflow.compat.v1 as tf1
        import hornbeam.tensorflow
        assert tf is hornbeam.tensorflow and tf.keras is keras and keras.layers is layers and layers.Dense is Dense
        assert tf1 is tf.compat.v1
        assert keras.config.backend() == "hornbeam"
    """)


def test_run_leaves_another_backend_alone(run):
    done = run("import os, sys; assert 'tensorflow' not in sys.modules; print(os.environ['KERAS_BACKEND'])",
               KERAS_BACKEND="jax")  # fmt: skip
    assert done.stdout == "jax\n" and "KERAS_BACKEND=jax is set" in done.stderr


@pytest.mark.parametrize(
    "text, code",
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('no data')", 1),
        ("def step():\n    return 1 / 0\nstep()", 1),
        ("def f(:", 1),
        ("try:\n    {}['x']\nexcept KeyError as error:\n    raise ValueError('bad') from error", 1),
    ],
)
def test_run_ends_as_python_does(run, tmp_path, text, code):
    """The same exit code and the same words, with none of our own frames in a traceback."""
    done = run(text, code=code)
    plain = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (plain.returncode, plain.stderr)


def test_run_interrupted(run):
    done = run("raise KeyboardInterrupt", code=130)
    assert done.stderr.endswith("\nKeyboardInterrupt\n") and "hornbeam" not in done.stderr


def test_run_module(python, tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "train.py").write_text("import sys; print(__name__, __package__, sys.argv[1:], sys.path[0])")
    done = python("-m", "hornbeam", "run", "-m", "recipe.train", "-x", "1")
    assert done.stdout == f"__main__ recipe ['-x', '1'] {tmp_path}\n"


def test_run_nothing(python):
    done = python("-m", "hornbeam", "run", "nosuch.py", code=2)
    assert "there is no file 'nosuch.py'" in done.stderr


def test_doctor(python):
    report = json.loads(python("-m", "hornbeam", "doctor", "--json").stdout)
    assert report["hornbeam"] == hornbeam.__version__ and report["problems"] == []
    assert report["keras backend"].startswith("hornbeam")
    assert "Nothing is wrong." in python("-m", "hornbeam", "doctor").stdout


def test_doctor_names_what_is_wrong(python, fake_keras):
    done = python("-m", "hornbeam", "doctor", ahead=fake_keras("3.15.1", ""), code=1)
    assert "problem: Keras 3.15.1 is too old" in done.stdout and "pip uninstall -y keras" in done.stdout
