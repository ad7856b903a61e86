"""Keras gets Hornbeam as its backend, or says why not."""

from __future__ import annotations

import pytest

ASK = "from hornbeam import keras"
OLD, NEW = "3.15.1", "3.16.0"


# --- it works ---------------------------------------------------------------------------------------------------------


def test_keras_runs_on_hornbeam_without_any_variable_set(python):
    python("""
        from hornbeam import keras
        import sys, keras as plain
        assert keras is plain is sys.modules["hornbeam.keras"]
        assert keras.config.backend() == "hornbeam"
        assert keras.layers.Dense.__module__ == "keras.src.layers.core.dense"
    """)


def test_every_way_of_importing_gives_the_same_modules(python):
    python("""
        import hornbeam.keras
        import hornbeam.keras.layers as layers
        from hornbeam.keras.layers import Dense
        from hornbeam.keras import ops
        import keras
        assert hornbeam.keras is keras and layers is keras.layers and ops is keras.ops and Dense is layers.Dense
    """)


def test_plain_keras_after_enable(python):
    python("""
        import hornbeam.keras_setup
        hornbeam.keras_setup.enable()
        import keras
        assert keras.config.backend() == "hornbeam"
    """)


def test_the_optional_modules_are_ours_too(python):
    """Keras passes over an error in them without a word."""
    python("""
        from hornbeam import keras
        import importlib.util as util
        if util.find_spec("keras_hornbeam.src.layer"):
            from keras_hornbeam.src.layer import BackendLayer
            assert issubclass(keras.Layer, BackendLayer)
        if util.find_spec("keras_hornbeam.src.export"):
            import keras_hornbeam.src.export
        from keras_hornbeam.src.trainer import Trainer
        assert issubclass(keras.Model, Trainer)
    """)


def test_set_backend_imports_anew_and_hornbeam_keras_follows(python):
    python("""
        import warnings
        from hornbeam import keras as before
        import hornbeam.keras.layers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before.config.set_backend("hornbeam")
        from hornbeam import keras as after
        import hornbeam.keras.layers as layers, keras
        assert after is keras is not before and layers is keras.layers
        assert after.ops.convert_to_numpy(after.ops.ones(2)).sum() == 2
    """)


def test_the_finder_leaves_no_trace_in_keras(python):
    python("""
        from hornbeam import keras
        import sys
        from importlib.machinery import SourceFileLoader
        for name in "keras", "keras.src.backend.config":
            module = sys.modules[name]
            assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader
    """)


def test_what_keras_puts_off_is_there_when_used(python):
    pytest.importorskip("sklearn")
    python("""
        from hornbeam import keras
        import sys
        assert not {"scipy", "sklearn"} & set(sys.modules)
        from keras.src.utils import audio_dataset_utils
        resampled = audio_dataset_utils.signal.resample([0.0, 1.0, 0.0, -1.0], 8)
        assert len(resampled) == 8 and audio_dataset_utils.wavfile.read
        from sklearn.base import BaseEstimator
        assert issubclass(keras.wrappers.SKLearnClassifier, BaseEstimator)
    """)


def test_scipy_may_be_imported_first(python):
    pytest.importorskip("scipy")
    python("""
        import scipy.signal, scipy.io.wavfile
        from hornbeam import keras
        from keras.src.utils import audio_dataset_utils
        assert audio_dataset_utils.signal.resample is scipy.signal.resample
    """)


def test_pytest_plugin(python, tmp_path):
    (tmp_path / "test_it.py").write_text("import keras\ndef test(): assert keras.config.backend() == 'hornbeam'\n")
    done = python("-m", "pytest", "-q", "-p", "hornbeam.keras_pytest", "-p", "no:cacheprovider", "test_it.py")
    assert "1 passed" in done.stdout


# --- it keeps out -----------------------------------------------------------------------------------------------------


def test_importing_hornbeam_changes_nothing(python):
    python("""
        import os, sys
        finders, variables = list(sys.meta_path), dict(os.environ)
        import hornbeam, hornbeam.keras_setup
        assert sys.meta_path == finders and "keras" not in sys.modules
        assert os.environ.get("KERAS_BACKEND") == variables.get("KERAS_BACKEND")
    """)


@pytest.mark.parametrize("version, pluggable", [(OLD, ""), (NEW, "PLUGGABLE_BACKENDS = frozenset(['mlx'])")])
def test_keras_on_its_own_backend_is_left_alone(python, fake_keras, version, pluggable):
    python(
        """
        import hornbeam.keras_setup
        hornbeam.keras_setup.install()
        import keras
        assert keras.src.backend.backend() == "jax"
        """,
        ahead=fake_keras(version, pluggable),
    )


def test_an_error_that_is_not_about_us_stays_as_it_is(python, fake_keras):
    folder = fake_keras(NEW, "raise ImportError('of Keras own')")
    done = python("import hornbeam.keras_setup as s; s.install(); import keras", ahead=folder, code=1)
    assert done.stderr.endswith("\nImportError: of Keras own\n")


@pytest.mark.parametrize("kind", ["frozenset", "set", "list", "tuple"])
def test_the_name_is_added_to_all_three_copies(python, fake_keras, kind):
    python(
        """
        import hornbeam.keras_setup, sys
        hornbeam.keras_setup.enable()
        import keras
        for holder in hornbeam.keras_setup.HOLDERS:
            assert sorted(sys.modules[holder].PLUGGABLE_BACKENDS) == ["hornbeam", "mlx"], holder
        """,
        ahead=fake_keras(NEW, f"PLUGGABLE_BACKENDS = {kind}(['mlx'])"),
    )


def test_a_set_that_has_the_name_is_not_touched(python, fake_keras):
    python(
        """
        import hornbeam.keras_setup
        hornbeam.keras_setup.enable()
        import keras
        assert keras.src.backend.config.PLUGGABLE_BACKENDS is keras.src.backend.config.original
        """,
        ahead=fake_keras(NEW, "PLUGGABLE_BACKENDS = original = frozenset(['hornbeam', 'mlx'])"),
    )


def test_a_keras_that_is_already_there_lets_the_name_in_afterwards(python, fake_keras):
    python(
        """
        import keras, hornbeam.keras_setup
        hornbeam.keras_setup.install()
        assert "hornbeam" in keras.src.utils.backend_utils.PLUGGABLE_BACKENDS
        """,
        ahead=fake_keras(NEW),
    )


def test_one_finder_however_often_installed(python):
    python("""
        import importlib, sys, hornbeam.keras_setup as setup
        setup.install()
        setup.install()
        importlib.reload(setup).install()
        assert len([finder for finder in sys.meta_path if type(finder).__name__ == "Finder"]) == 1
    """)


# --- it says why not --------------------------------------------------------------------------------------------------


def problem(done) -> str:
    """The message of the KerasSetupError that ended a program."""
    _, found, message = done.stderr.rpartition("hornbeam.errors.KerasSetupError: ")
    assert found, done.stderr
    return message


def test_keras_first_on_another_backend(python, fake_keras):
    done = python(f"import keras\n{ASK}", ahead=fake_keras(NEW), code=1)
    assert "Keras already runs on jax" in problem(done)
    assert "hornbeam run train.py" in problem(done) and 'set_backend("hornbeam")' in problem(done)
    assert "<string>:2" in problem(done), "the user's own line"


def test_the_variable_asks_for_another_backend(python):
    done = python(ASK, KERAS_BACKEND="jax", code=1)
    assert "KERAS_BACKEND=jax" in problem(done) and "unset KERAS_BACKEND" in problem(done)


def test_too_old(python, fake_keras):
    done = python(ASK, ahead=fake_keras(OLD, ""), code=1)
    assert "Keras 3.15.1 is too old" in problem(done)
    assert "pip uninstall -y keras" in problem(done) and "keras-nightly" in problem(done)


def test_too_old_is_said_to_plain_keras_as_well(python, fake_keras):
    done = python("import hornbeam.keras_setup as s; s.enable(); import keras", ahead=fake_keras(OLD, ""), code=1)
    assert "Keras 3.15.1 is too old" in problem(done)


def test_so_old_that_it_has_no_choice_of_backends(python, tmp_path):
    (tmp_path / "fake" / "keras").mkdir(parents=True)
    (tmp_path / "fake" / "keras" / "__init__.py").write_text('__version__ = "2.15.0"\n')
    for program in ASK, f"import keras; {ASK}":
        assert "Keras 2.15.0 is too old" in problem(python(program, ahead=tmp_path / "fake", code=1))


def test_the_list_is_gone(python, fake_keras):
    done = python(ASK, ahead=fake_keras("3.99.0", "REGISTRY = ['mlx']"), code=1)
    assert "Keras 3.99.0 has no PLUGGABLE_BACKENDS in keras.src.backend.config" in problem(done)
    assert "--force-reinstall" in problem(done)


def test_two_distributions_over_each_other(python, fake_keras, distribution):
    distribution("keras", OLD)
    distribution("keras-nightly", "3.16.0.dev2026102704")
    done = python(ASK, ahead=fake_keras(OLD, ""), code=1)
    assert "keras 3.15.1 and keras-nightly 3.16.0.dev2026102704 are installed over each other" in problem(done)
    assert "pip uninstall -y keras keras-nightly && pip install" in problem(done)


def test_two_distributions_that_happen_to_fit_are_no_error(python, distribution, tmp_path):
    distribution("keras", OLD)
    python(ASK, ahead=tmp_path / "fake")


NO_KERAS = """
    import sys
    from importlib.machinery import ModuleSpec
    class Elsewhere:
        def find_spec(self, name, path=None, target=None):
            if name == "keras":
                {answer}
    sys.meta_path.insert(0, Elsewhere())
    from hornbeam import keras
"""


def test_not_installed(python):
    done = python(NO_KERAS.format(answer="raise ModuleNotFoundError('No module named keras', name='keras')"), code=1)
    assert "Keras is not installed" in problem(done) and 'pip install "keras-nightly' in problem(done)


def test_a_folder_without_files_is_left(python):
    done = python(NO_KERAS.format(answer="return ModuleSpec(name, None, is_package=True)"), code=1)
    assert "files of Keras are gone" in problem(done) and "pip uninstall -y keras" in problem(done)


def test_another_file_named_keras(python, tmp_path):
    (tmp_path / "keras.py").write_text("")
    done = python(ASK, ahead=tmp_path, code=1)
    assert f"found {tmp_path / 'keras.py'}, which is not Keras" in problem(done)


@pytest.mark.parametrize(
    "line, cause",
    [
        ("import nosuchpackage", "ModuleNotFoundError: No module named 'nosuchpackage'"),
        ("from keras.src.backend import nosuchname", "ImportError: cannot import name 'nosuchname'"),
        ("import sys; sys.nosuchname", "AttributeError: module 'sys' has no attribute 'nosuchname'"),
    ],
)
def test_an_error_of_our_own_is_not_called_not_installed(python, tmp_path, line, cause):
    """Keras says "not installed" of all of these."""
    package = tmp_path / "broken" / "keras_hornbeam" / "src"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text(f"{line}\n")
    done = python(ASK, ahead=tmp_path / "broken", code=1)
    assert cause in problem(done)
    assert "not installed" not in problem(done).replace("Something that Hornbeam needs is not installed", "")
    assert f'{package / "__init__.py"}", line 1' in done.stderr, "the line that failed is shown"


def test_a_keras_without_the_readers_that_are_guarded_is_refused(python):
    done = python("""
        import hornbeam.model_files.guard as guard
        guard.GUARDS["keras.src.saving.saving_lib"] = lambda module: guard._around(module, "renamed", None)
        from hornbeam import keras
    """, code=1)  # fmt: skip
    assert "KerasSetupError" in done.stderr and "saving_lib.renamed" in done.stderr
