"""Makes Keras run on Hornbeam. Importing this module changes nothing; `install`, `enable` and `load` do.

NOTE: the way in. Keras loads a backend of another package only if its name is in `PLUGGABLE_BACKENDS`, a frozenset
written in Keras's source; there is no entry point to register with. So a finder stands before Python's own, lets
Keras's modules run as they are, and then adds our name to the set. Three modules hold a copy of it, as `module_utils`
copies the set while `config` is still running, so that no single place is early enough for all. Where Keras already
allows the name nothing is changed, and the finder can go when Keras has a registry.

NOTE: the price of the import. Where SciPy and scikit-learn are installed, importing Keras imports both, for one audio
function and for `keras.wrappers`: 1.4 s, against 0.4 s without them. The finder puts both off until they are used
(the end of `LOADERS`).
"""

from __future__ import annotations

import importlib
import os
import sys
from _thread import get_ident  # threading's, without the rest of threading
from collections.abc import Callable
from functools import partial, wraps
from importlib.machinery import ModuleSpec
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any

NAME = "hornbeam"  # as in KERAS_BACKEND=hornbeam, for which Keras imports the package keras_hornbeam
ALIAS = "hornbeam.keras"  # becomes Keras itself, see keras.py
MODEL = "keras.src.models.model"
READERS = (  # of model files, which are looked over before
    "keras.src.saving.saving_lib",
    "keras.src.saving.saving_api",
    "keras.src.saving.file_editor",
    MODEL,
    "keras.src.legacy.saving.legacy_h5_format",
)
GENERATORS = tuple(  # of keras-hub, where it compiles generation for the backends that it knows by name
    f"keras_hub.src.models.{name}" for name in ("causal_lm", "text_to_image", "image_to_image", "inpaint")
)
TORCH_OPTIMIZERS = "keras.src.backend.torch.optimizers."
HOLDERS = ("keras.src.backend.config", "keras.src.utils.module_utils", "keras.src.utils.backend_utils")


def install() -> None:
    """Let Keras accept the name `hornbeam`, now or whenever it is imported. Which backend it uses stays as it is."""
    if not any(getattr(finder, "lets_in", None) == NAME for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    for holder in HOLDERS:
        if holder in sys.modules:
            _let_in(sys.modules[holder])


def enable() -> str:
    """Choose Hornbeam as Keras's backend unless KERAS_BACKEND already names one, and return the name chosen."""
    name = os.environ.get("KERAS_BACKEND") or NAME  # Keras, too, takes an empty value for none
    if name == NAME:
        os.environ["KERAS_BACKEND"] = NAME
        install()
    return name


def load() -> ModuleType:
    """Import Keras, running on Hornbeam.

    Raises:
        KerasSetupError: Keras already runs on, or KERAS_BACKEND asks for, another backend; or Keras is missing, too
            old, changed or damaged. The message tells which, and gives the command that mends it.
    """
    if "keras" in sys.modules:
        install()  # so that keras.config.set_backend("hornbeam"), which the error offers, works from here on
    elif enable() != NAME:
        raise _diagnosis().other_backend_asked(os.environ["KERAS_BACKEND"])
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name != "keras":
            raise
        raise _diagnosis().not_installed() from None
    if HOLDERS[0] not in sys.modules:
        raise _diagnosis().not_keras(keras)
    if backend() != NAME:
        raise _diagnosis().other_backend_loaded(backend())
    return keras


def backend() -> str:
    """The backend the loaded Keras uses; before Keras knows, the one that KERAS_BACKEND asks for."""
    answer = getattr(sys.modules.get(HOLDERS[0]), "backend", None)
    return answer() if answer is not None else os.environ.get("KERAS_BACKEND", "")


def after_import(name: str, change: Callable[[ModuleType], None]) -> None:
    """Have ``change(module)`` called once Keras's module ``name`` has run, or now if it has."""
    if name in sys.modules:
        change(sys.modules[name])
    before = LOADERS.get(name)
    around = partial(_Around, partial(_then, change))
    LOADERS[name] = around if before is None else lambda loader: around(before(loader))
    install()


def _then(change: Callable[[ModuleType], None], module: ModuleType, run: Run) -> None:
    run(module)
    change(module)


class Finder:
    """Finds Keras's modules where the other finders do, and has a few of them run between our own lines.

    A plain class, as `importlib.abc` would be one more import.
    """

    lets_in = NAME

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.startswith("scipy") and get_ident() in _threads_without_scipy:
            raise ModuleNotFoundError(f"put off by {__name__}", name=name)
        if name.startswith(f"{ALIAS}."):
            return ModuleSpec(name, _SameModule())  # type: ignore[arg-type]  # a Loader by its methods
        if name not in LOADERS:
            return None
        if name == "keras":
            _forget_aliases()
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:  # None: a folder without code, which not_keras() tells of
            spec.loader = LOADERS[name](spec.loader)
        return spec


class _Around:
    """A loader that has another one run the module within a function of ours, and leaves no trace in the module."""

    def __init__(self, around: Around, loader: Any) -> None:
        self.around, self.loader = around, loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = module.__spec__.loader = self.loader  # type: ignore[union-attr]
        self.around(module, self.loader.exec_module)


class _SameModule:
    """`import hornbeam.keras.layers` gives keras.layers itself and not a second copy of it."""

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(module.__name__.removeprefix("hornbeam."))


Run = Callable[[ModuleType], None]
Around = Callable[[ModuleType, Run], None]


def _explained(module: ModuleType, run: Run) -> None:
    """All of Keras. What goes wrong because we are the backend is told as what it is.

    Keras says of every ImportError and AttributeError in a backend's package that the backend is not installed.
    """
    try:
        run(module)
    except (ImportError, AttributeError, ValueError) as error:
        problem = _diagnosis().diagnose(error) if backend() == NAME else None
        if problem is None:
            raise
        raise problem from (error.__cause__ or error)


def _then_let_in(module: ModuleType, run: Run) -> None:
    run(module)
    _let_in(module)


def _let_in(holder: ModuleType) -> None:
    """Add our name to a module's copy of the set. That the set is gone shows when Keras rejects us: `_explained`."""
    allowed = getattr(holder, "PLUGGABLE_BACKENDS", None)
    if allowed is not None and NAME not in allowed:
        holder.PLUGGABLE_BACKENDS = type(allowed)([*allowed, NAME])  # type: ignore[attr-defined]


def _guarded(module: ModuleType, run: Run) -> None:
    run(module)
    if backend() == NAME:
        importlib.import_module("hornbeam.model_files.guard").GUARDS[module.__name__](module)


def _exporting(module: ModuleType, run: Run) -> None:
    _guarded(module, run)
    if backend() == NAME:
        importlib.import_module("hornbeam.export.keras_models").adjust(module)


def _reading_torch_optimizers(module: ModuleType, run: Run) -> None:
    """On PyTorch Keras writes its optimizers under the module that makes them fast there. They are the same ones."""
    run(module)
    if backend() != NAME:
        return
    original = module.deserialize_keras_object

    @wraps(original)
    def deserialize_keras_object(config: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(config, dict) and str(config.get("module")).startswith(TORCH_OPTIMIZERS):
            config = {**config, "module": "keras.optimizers"}
        return original(config, *args, **kwargs)

    module.deserialize_keras_object = deserialize_keras_object  # type: ignore[attr-defined]


def _generating_compiled(module: ModuleType, run: Run) -> None:
    run(module)
    if backend() == NAME:
        importlib.import_module("hornbeam.keras_generation").compile_generation(module)


_threads_without_scipy: set[int] = set()  # by thread, as another one may be importing SciPy for itself


def _without_scipy(module: ModuleType, run: Run) -> None:
    """Keras tries to import SciPy here and does without if it must. It gets Keras's own lazy modules instead."""
    _threads_without_scipy.add(get_ident())
    try:
        run(module)
    finally:
        _threads_without_scipy.discard(get_ident())
    lazy = sys.modules["keras.src.utils.module_utils"].LazyModule
    for name, package, function in (("signal", "scipy.signal", "resample"), ("wavfile", "scipy.io.wavfile", "read")):
        if getattr(module, name, package) is None:
            setattr(module, name, lazy(package, pip_name="scipy", required_attr=function))


LOADERS: dict[str, Callable[[Any], Any]] = {  # the modules that load in a way of ours, each given its own loader
    "keras": partial(_Around, _explained),
    **dict.fromkeys(HOLDERS, partial(_Around, _then_let_in)),
    **dict.fromkeys(READERS, partial(_Around, _guarded)),
    MODEL: partial(_Around, _exporting),  # guarded, too
    "keras.src.saving.serialization_lib": partial(_Around, _reading_torch_optimizers),
    **dict.fromkeys(GENERATORS, partial(_Around, _generating_compiled)),
    "keras.src.utils.audio_dataset_utils": partial(_Around, _without_scipy),
    "keras.wrappers": LazyLoader,  # for scikit-learn: run when first looked into
    "keras._tf_keras.keras.wrappers": LazyLoader,
}


def _forget_aliases() -> None:
    """Keras is imported anew (keras.config.set_backend does that): `hornbeam.keras` must not stay the one before."""
    for name in [name for name in sys.modules if name.startswith(f"{ALIAS}.")]:
        del sys.modules[name]
    if getattr(sys.modules.get(ALIAS), "__name__", None) == "keras":
        del sys.modules[ALIAS]
        vars(sys.modules["hornbeam"]).pop("keras", None)


def _diagnosis() -> ModuleType:
    """The messages, imported only when something is wrong."""
    return importlib.import_module("hornbeam.keras_diagnosis")
