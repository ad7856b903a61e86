"""Configs: the JSON that describes a model. Keras makes objects from it by name, and calls some of them."""

from __future__ import annotations

import json
import re
from typing import Any

from hornbeam.model_files.limits import DEPTH, refusal

# Functions that a model computes with. Keras also finds its others by name (of keras.utils, keras.datasets,
# keras.applications, keras.config …), bars the worst of them, and has a Lambda call the rest with the file's arguments.
FUNCTIONS = re.compile(
    r"builtins|keras\.(ops|random|activations|losses|metrics|initializers|regularizers|constraints|quantizers|layers)"
    r"(\.\w+)*|keras\.applications\.\w+\.preprocess_input|keras\.utils\.(normalize|to_categorical)"
)
CODE = {
    "__lambda__": "Python code",
    "TFSMLayer": "a TensorFlow program in another file",
    "TorchModuleWrapper": "a pickled PyTorch module",
}
LOOKUPS = {"StringLookup", "IntegerLookup", "TextVectorization"}
TRUST = "if you trust whoever made the file: keras.saving.load_model(path, safe_mode=False)"
DTYPES = re.compile(r"(bool|u?int|b?float|complex|float8_e\dm\dfn?)\d*_?")


def check_config(text: str | bytes, file: str, safe: bool) -> None:
    """Raise UnsafeFileError for a config that is not JSON, too deep, or asks for an array that no file could hold.

    Args:
        safe: also for one that holds code, names another file to read, or a function of Keras with which no model
            computes. ``safe_mode=False`` is the caller's word that the file may run what it likes.
    """
    try:
        config = json.loads(text)
    except RecursionError:
        raise _too_deep(file) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise refusal(file, f"its config is not JSON: {error}.", "The file is damaged, or not a model.") from None
    pending: list[tuple[Any, int]] = [(config, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > DEPTH:
            raise _too_deep(file)
        if isinstance(value, dict):
            _check_object(value, file, safe)
            pending += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            pending += [(each, depth + 1) for each in value]


def _check_object(config: dict[str, Any], file: str, safe: bool) -> None:
    kind, inner = config.get("class_name"), config.get("config")
    if kind in ("__numpy__", "__tensor__") and isinstance(inner, dict):
        if not DTYPES.fullmatch(str(inner.get("dtype"))):
            raise refusal(
                file,
                f"its config has an array of dtype {str(inner.get('dtype'))[:40]!r}.",
                "Only numbers are stored in a config: a string dtype can name any length, and takes it.",
            )
    if not safe or not isinstance(kind, str):
        return
    settings = inner if isinstance(inner, dict) else {}
    old = kind == "Lambda" and isinstance(settings.get("function"), list)  # as Keras 2 wrote it
    if old or (kind in CODE and (kind != "TorchModuleWrapper" or "module" in settings)):
        raise refusal(
            file,
            f"its config holds {CODE.get(kind, CODE['__lambda__'])} ({kind}), which would run.",
            "Loading it is arbitrary code execution: it can do on this computer whatever you can. Keras's safe_mode, "
            "which is on, forbids it.",
            TRUST,
        )
    if kind in LOOKUPS and isinstance(settings.get("vocabulary"), str):
        raise refusal(
            file,
            f"its config has a {kind} read its vocabulary from {settings['vocabulary']!r}.",
            "A model carries its vocabulary with it; one that names another file reads whatever is there.",
            TRUST,
        )
    module = config.get("module")
    if kind == "function" and isinstance(module, str) and module.split(".")[0] in ("keras", "builtins"):
        name = f"{module}.{inner}"
        if not FUNCTIONS.fullmatch(module) and not FUNCTIONS.fullmatch(name) and not _registered(inner):
            raise refusal(
                file,
                f"its config names the function {name[:200]!r}.",
                "Models compute with functions of keras.ops and its like. A file that names another has Keras call it, "
                "with arguments from the file.",
                TRUST,
            )


def _registered(name: Any) -> bool:
    """Whether the program has itself registered something with Keras under this name, which Keras then takes."""
    from keras.src.saving.object_registration import get_registered_object

    return isinstance(name, str) and get_registered_object(name) is not None


def _too_deep(file: str) -> Exception:
    return refusal(file, f"its config is nested more than {DEPTH} deep.", "No model is; reading it would not end well.")
