"""Why Keras cannot run on Hornbeam: each reason told apart, with the command that mends it.

Imported only when something is wrong, and by `hornbeam doctor`. What is installed is asked of the files and not of
Keras, whose import is what failed.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from hornbeam.errors import KerasSetupError, explain
from hornbeam.keras_setup import HOLDERS, NAME

FIRST = (3, 16)  # brought backends of other packages; the floor that we test stands in pyproject.toml


def diagnose(error: Exception) -> KerasSetupError | None:
    """What an error from within Keras's import means; None where it has nothing to do with us."""
    without = [name for name in HOLDERS if name in sys.modules and not hasattr(sys.modules[name], "PLUGGABLE_BACKENDS")]
    if without or too_old():
        return unsuitable(without)
    if isinstance(error, ImportError) and f"keras-{NAME}" in str(error) and error.__cause__ is not None:
        return hidden(error.__cause__)
    if isinstance(error, ImportError) and (error.name or "").startswith("keras") and len(installed()) > 1:
        return unsuitable(without)
    return None


def not_installed() -> KerasSetupError:
    return _problem(
        "Keras is not installed.",
        "Hornbeam runs Keras and does not replace it.",
        f'pip install "{requirement()}"',
    )


def other_backend_asked(name: str) -> KerasSetupError:
    return _problem(
        f"`from hornbeam import keras` means Keras on Hornbeam, but KERAS_BACKEND={name} asks for {name}.",
        "The variable may come from the shell's start-up file, or from a line of this program.",
        f"unset KERAS_BACKEND      # or, to use {name} here:  import keras",
    )


def other_backend_loaded(name: str) -> KerasSetupError:
    if too_old():
        return unsuitable()
    return _problem(
        f"Keras already runs on {name or 'another backend'} in this process.",
        "Keras takes its backend when it is first imported, and an earlier line, or a package, imported it.",
        "from hornbeam import keras      # above every `import keras`; in a notebook, restart the kernel first\n"
        "  Without touching the program:  hornbeam run train.py\n"
        f'  Or give up every layer and tensor made so far:  keras.config.set_backend("{NAME}")',
    )


def not_keras(module: ModuleType) -> KerasSetupError:
    """`import keras` worked and brought something else."""
    if too_old():
        return unsuitable()
    if module.__file__ is None and installed():
        return _problem(
            "The files of Keras are gone, though it counts as installed.",
            "Uninstalling `keras` takes away the files of `keras-nightly` too, as both use one folder.",
            _reinstall(),
        )
    if module.__file__ is None:
        return not_installed()
    return _problem(
        f"`import keras` found {module.__file__}, which is not Keras.",
        "A file or folder of that name beside the program hides the installed package.",
        f"mv {Path(module.__file__).name} my_{Path(module.__file__).name}",
    )


def unsuitable(without: list[str] | tuple[str, ...] = ()) -> KerasSetupError:
    """Keras has no list of backends to be added to: overwritten by another Keras, too old, or changed since."""
    if len(installed()) > 1:
        both = " and ".join(f"{name} {version}" for name, version in installed().items())
        return _problem(
            f"{both} are installed over each other; the files are now those of {version()}.",
            "Both fill the folder `keras`, and the last one wins. Often another package asked for `keras`.",
            _reinstall(),
        )
    if too_old():
        return _problem(
            f"Keras {version()} is too old: backends of other packages came with {'.'.join(map(str, FIRST))}.",
            "An installed `keras` is not replaced by `keras-nightly`, which has another name.",
            _reinstall(),
        )
    return _problem(
        f"Keras {version()} has no PLUGGABLE_BACKENDS in {', '.join(without)}, where Hornbeam gets in.",
        "This Keras differs from the ones that Hornbeam was tested with.",
        f'pip install --force-reinstall --no-deps "{requirement().replace(">=", "==")}"',
    )


def hidden(cause: BaseException) -> KerasSetupError:
    """An error in our own package, which Keras reports as "not installed"."""
    missing = isinstance(cause, ModuleNotFoundError)
    return _problem(
        f"Keras {version()} could not import Hornbeam's side of it: {type(cause).__name__}: {cause}",
        "Something that Hornbeam needs is not installed." if missing else "The two may not fit together.",
        "pip install --upgrade hornbeam" if missing else "hornbeam doctor      # and report what it prints",
    )


def version() -> str:
    """The version in Keras's files, whatever is recorded as installed; "unknown" if there is none."""
    try:
        spec = find_spec("keras")
    except ValueError:  # a `keras` put together in memory
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in Path(folder, "src", "version.py"), Path(folder, "__init__.py"):
            if file.is_file() and (found := re.search(r'__version__ = ["\'](.+?)["\']', file.read_text("utf-8"))):
                return found[1]
    return "unknown"


def too_old() -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version())
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < FIRST


def installed() -> dict[str, str]:
    """The distributions that fill the folder `keras`, with their versions."""
    known = {}
    for name in "keras", "keras-nightly":
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return known


def requirement() -> str:
    """The Keras that Hornbeam asks for, as in pyproject.toml, the one place that says it."""
    try:
        needs = metadata.requires("hornbeam") or []
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        needs = []
    return next((need for need in needs if need.startswith("keras")), "keras-nightly")


def _reinstall() -> str:
    return f'pip uninstall -y keras keras-nightly && pip install "{requirement()}"'


def _problem(what: str, why: str, fix: str) -> KerasSetupError:
    return KerasSetupError(explain(what, why=why, fix=fix))
