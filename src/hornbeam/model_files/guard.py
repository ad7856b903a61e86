"""Puts the checks before Keras's readers, in the modules that read files, as `keras_setup.LOADERS` lists them.

Every public entrance comes through one of the functions below: `keras.saving.load_model` (and `keras.models`),
`Model.load_weights`, `keras.saving.load_weights`, the callbacks that restore, `KerasFileEditor`, and `tf.keras`, which
is Keras too. A reader that a newer Keras does not have under its name is an error at import, not an open door.
"""

from __future__ import annotations

import functools
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from zipfile import ZipFile, is_zipfile

from hornbeam.errors import KerasSetupError, explain
from hornbeam.model_files.configs import check_config
from hornbeam.model_files.folders import check_folder, shards
from hornbeam.model_files.hdf5 import check_hdf5
from hornbeam.model_files.limits import MODEL, SLACK
from hornbeam.model_files.zips import check_archive
from hornbeam.runtime.allowance import allowance

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
HUB = "hf://"


# -- what is checked, by format --------------------------------------------------------------------------------------


def check_model(source: Any, safe: bool, inside: str | None = None) -> int:
    """Look over a whole model: a `.keras` file (path or file object), or a folder. Returns the bytes of its weights.

    ``inside``: where the links of a folder may lead, if not into the folder alone.
    """
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        check_folder(os.fspath(source), inside)
        return _check_parts_of_folder(os.fspath(source), safe)
    with ZipFile(source) as archive:
        name = _name(source)
        check_archive(archive, name)
        present = archive.namelist()
        if CONFIG in present:  # what is missing, Keras says
            check_config(archive.read(CONFIG), name, safe)
        return _check_member(archive, name) if WEIGHTS in present else 0


def check_weights(path: str) -> None:
    """Look over a file of weights: `.weights.h5`, a map of shards, a `.keras`, or an old `.h5`."""
    if path.endswith(".keras"):
        with ZipFile(path) as archive:
            check_archive(archive, path)
            if WEIGHTS in archive.namelist():
                _check_member(archive, path)
        return
    for part in shards(path) if path.endswith("weights.json") else [path]:
        if os.path.exists(part):
            _check_hdf5_file(part)


def _check_parts_of_folder(folder: str, safe: bool) -> int:
    config, weights = os.path.join(folder, CONFIG), os.path.join(folder, WEIGHTS)
    if os.path.exists(config):
        with open(config, "rb") as file:
            check_config(file.read(), folder, safe)
    return _check_hdf5_file(weights) if os.path.exists(weights) else 0


def _check_member(archive: ZipFile, name: str) -> int:
    """The weights inside an archive. Stored as Keras stores them they are read in place, else they are unpacked."""
    import h5py

    with archive.open(WEIGHTS) as member:
        stored = archive.getinfo(WEIGHTS).compress_type == 0
        try:
            opened = h5py.File(member if stored else io.BytesIO(member.read()), "r")
        except OSError:
            try:
                opened = h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r")  # every byte, against its checksum
            except OSError:
                return 0  # no HDF5, whoever opens it: Keras says so
        with opened as file:
            return check_hdf5(file, f"{name}/{WEIGHTS}")


def _check_hdf5_file(path: str) -> int:
    import h5py

    with h5py.File(path, "r") as file:
        return check_hdf5(file, path)


def _name(source: Any) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "the file"))


# -- where it is checked ---------------------------------------------------------------------------------------------


def guard_saving_lib(module: ModuleType) -> None:
    """`.keras` files and folders, `.weights.h5`, shards."""

    def load_model(original: Any, filepath: Any, custom_objects: Any = None, compile: Any = True,
                   safe_mode: Any = True) -> Any:  # fmt: skip
        if not isinstance(filepath, io.IOBase):
            filepath = str(filepath)
        size, inside = 0, None
        if str(filepath).startswith(HUB) and module.huggingface_hub is not None:
            filepath = _from_hub(module, filepath)
            inside = os.path.dirname(os.path.dirname(filepath))  # <store>/snapshots/<revision>, links to <store>/blobs
        if _readable_model(filepath):
            size = check_model(filepath, _safe(safe_mode), inside)
        with allowance(SLACK + MODEL * size, _name(filepath)):
            return original(filepath, custom_objects, compile, safe_mode)

    def load_weights_only(original: Any, model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        with _local(module, str(filepath)) as path:
            if os.path.isfile(path):
                check_weights(path)
            return original(model, path, *args, **kwargs)

    _around(module, "load_model", load_model)
    _around(module, "load_weights_only", load_weights_only)


def guard_saving_api(module: ModuleType) -> None:
    """Weights in the old format, which are read here; `saving_lib` reads the others."""

    def load_weights(original: Any, model: Any, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        path = str(filepath)
        if path.endswith((".h5", ".hdf5")) and not path.endswith(".weights.h5") and os.path.isfile(path):
            check_weights(path)
        return original(model, filepath, *args, **kwargs)

    _around(module, "load_weights", load_weights)


def guard_legacy(module: ModuleType) -> None:
    """Models in the old format: config, weights and training config in one HDF5 file."""

    def load_model_from_hdf5(original: Any, filepath: Any, custom_objects: Any = None, compile: Any = True,
                             safe_mode: Any = True) -> Any:  # fmt: skip
        import h5py

        given = isinstance(filepath, h5py.File)
        opened = filepath if given else h5py.File(filepath, "r")
        name = opened.filename
        try:
            size = check_hdf5(opened, name)
            for key in ("model_config", "training_config"):
                text = opened.attrs.get(key)
                if isinstance(text, (str, bytes)):
                    check_config(text, name, _safe(safe_mode))
        finally:
            if not given:
                opened.close()
        with allowance(SLACK + MODEL * size, name):
            return original(filepath, custom_objects, compile, safe_mode)

    _around(module, "load_model_from_hdf5", load_model_from_hdf5)


def guard_editor(module: ModuleType) -> None:
    """`keras.saving.KerasFileEditor`."""

    def __init__(original: Any, self: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
        path = str(filepath)
        if os.path.isfile(path) and path.endswith((".keras", ".weights.h5")):
            check_weights(path)
        original(self, filepath, *args, **kwargs)

    _around(module.KerasFileEditor, "__init__", __init__)


def guard_models(module: ModuleType) -> None:
    """`keras.models.model_from_json`: a config alone."""

    def model_from_json(original: Any, json_string: Any, custom_objects: Any = None) -> Any:
        if isinstance(json_string, (str, bytes)):
            check_config(json_string, "the JSON", _safe(True))
        return original(json_string, custom_objects)

    _around(module, "model_from_json", model_from_json)


GUARDS: dict[str, Callable[[ModuleType], None]] = {
    "keras.src.saving.saving_lib": guard_saving_lib,
    "keras.src.saving.saving_api": guard_saving_api,
    "keras.src.legacy.saving.legacy_h5_format": guard_legacy,
    "keras.src.saving.file_editor": guard_editor,
    "keras.src.models.model": guard_models,
}


def _around(holder: Any, name: str, function: Callable[..., Any]) -> None:
    original = getattr(holder, name, None)
    if original is None:
        raise KerasSetupError(
            explain(
                f"Keras has no {holder.__name__}.{name}, before which Hornbeam looks over model files.",
                why="This Keras differs from the ones that Hornbeam was tested with.",
                fix="pip install the Keras that `hornbeam doctor` names",
            )
        )

    @functools.wraps(original)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    setattr(holder, name, guarded)


def _readable_model(source: Any) -> bool:
    """Whether there is something to look over; of what is not there, or not a model, Keras says what it is."""
    if isinstance(source, io.IOBase):
        place = source.tell() if source.seekable() else 0
        answer = is_zipfile(source)
        if source.seekable():
            source.seek(place)
        return answer
    return os.path.isdir(source) or (os.path.isfile(source) and is_zipfile(source))


def _safe(asked: Any) -> bool:
    """Keras's own rule: the scope around the call, as `keras.config.enable_unsafe_deserialization` sets it, decides."""
    from keras.src.saving.serialization_lib import in_safe_mode

    scope = in_safe_mode()
    return bool(asked if scope is None else scope)


def _from_hub(module: ModuleType, path: str) -> str:
    """The folder of a model from the hub, whose files are links to the hub's store of them."""
    found = module.huggingface_hub.snapshot_download(
        repo_id=path.removeprefix(HUB), library_name="keras", library_version=module.keras_version
    )
    return str(found)


@contextmanager
def _local(module: ModuleType, path: str) -> Iterator[str]:
    """The file itself, fetched first if it is elsewhere, so that what was looked over is what is read."""
    if not module.file_utils.is_remote_path(path):
        yield path
        return
    folder = tempfile.mkdtemp()
    try:
        here = os.path.join(folder, os.path.basename(path))
        module.file_utils.copy(path, here)
        yield here
    finally:
        shutil.rmtree(folder, ignore_errors=True)
