"""``install`` makes ``import tensorflow`` mean ``hornbeam.tensorflow`` in this process.

To Keras, TensorFlow then stays what it was: not there. Keras would take any module of that name for a second framework
whose kernels it can call (in preprocessing layers, in data pipelines), so it is told that there is none.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hornbeam import keras_setup
from hornbeam.errors import HornbeamError, explain

ALIAS = "tensorflow"
TARGET = "hornbeam.tensorflow"
KERAS = "keras._tf_keras.keras"  # Keras in TensorFlow's dress, with names such as tf.keras.backend
KERAS_ALIASES = ("tensorflow.keras", "tensorflow.compat.v1.keras", "tensorflow.compat.v2.keras")
NOT_HERE = {
    "tensorflow.python": "It is private to TensorFlow. Use the public name, such as tf.Tensor.",
    "tensorflow.core": "It is private to TensorFlow. Configuration is in tf.compat.v1.ConfigProto.",
    "tensorflow.contrib": "TensorFlow 2 has none either. Use tf.compat.v1.layers, tf.keras or plain operations.",
    "tensorflow.examples": "TensorFlow 2 has none either. For MNIST:  tf.keras.datasets.mnist.load_data()",
}


def install() -> None:
    """Make ``import tensorflow`` and imports below it give Hornbeam's modules, and ``tensorflow.keras`` give Keras's.

    Raises:
        HornbeamError: TensorFlow itself is imported already.
    """
    loaded = sys.modules.get(ALIAS)
    if loaded is not None and loaded.__name__ != TARGET:
        raise HornbeamError(
            explain(
                f"TensorFlow itself is imported already, from {getattr(loaded, '__file__', 'somewhere')}.",
                why="One process cannot have two modules of one name.",
                fix="call hornbeam.tensorflow.install() first, or start the program with   hornbeam run",
            )
        )
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
        keras_setup.after_import("keras.src.utils.module_utils", _without_tensorflow)
        keras_setup.after_import("keras.src.utils.backend_utils", _never_in_its_graph)


class Finder:
    """Finds ``tensorflow`` and what is below it among our modules and Keras's."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != ALIAS and not name.startswith(f"{ALIAS}."):
            return None
        for prefix, hint in NOT_HERE.items():
            if name == prefix or name.startswith(f"{prefix}."):
                raise ModuleNotFoundError(f"{name} is not part of Hornbeam's TensorFlow names. {hint}", name=name)
        spec = ModuleSpec(name, _SameModule(), is_package=True)  # type: ignore[arg-type]  # a Loader by its methods
        return spec if _exists(name) else None


class _SameModule:
    """Gives the module that a name stands for, and not a second copy of it."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(_real(module.__name__))


def _real(name: str) -> str:
    for prefix in KERAS_ALIASES:
        if name == prefix or name.startswith(f"{prefix}."):
            keras_setup.load()
            return KERAS + name.removeprefix(prefix)
    return TARGET + name.removeprefix(ALIAS)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(_real(name)) is not None
    except ModuleNotFoundError:
        return False


def _without_tensorflow(module_utils: ModuleType) -> None:
    """Keras looks for TensorFlow under a name that is not there."""
    for lazy in (module_utils.tensorflow, module_utils.gfile):
        lazy.name, lazy.module, lazy._available = "tensorflow.python", None, None
        lazy.import_error_msg = (
            "This part of Keras is written with TensorFlow's own kernels, which Hornbeam does not have. "
            "Under `hornbeam run` the module `tensorflow` is hornbeam.tensorflow."
        )


def _never_in_its_graph(backend_utils: ModuleType) -> None:
    """Keras asks the module ``tensorflow`` whether it runs eagerly, and if not turns to its TensorFlow backend."""

    def in_tf_graph() -> bool:
        return False

    backend_utils.in_tf_graph = in_tf_graph  # type: ignore[attr-defined]
