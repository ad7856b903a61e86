"""Folders: a model that is not zipped, and weights in several files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from hornbeam.model_files.limits import MEMBERS, Tally, refusal

MAP = "weight_map"
SUFFIX = ".weights.h5"


def check_folder(folder: str, inside: str | None = None) -> None:
    """Raise UnsafeFileError unless all in a folder are plain files and folders, or links that stay ``inside``."""
    root = inside or folder
    tally, seen = Tally(folder), 0
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            check_stays(path, root, folder)
            found = os.stat(path)
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise refusal(folder, f"{name!r} is neither a file nor a folder.", "Reading it may never end.")
            seen += 1
            tally.add(repr(name), *([found.st_size] * 2 if stat.S_ISREG(found.st_mode) else (0, 0)))
        if seen > MEMBERS:
            raise refusal(folder, f"it holds more than {MEMBERS:,} files.", "No model needs as many.")


def check_stays(path: str, root: str, file: str) -> None:
    """Raise UnsafeFileError, about ``file``, if ``path`` is not in ``root`` once links are followed."""
    real, root = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([real, root]) != root:
        raise refusal(
            file,
            f"{os.path.basename(path)!r} leads to {real!r}.",
            f"That is outside {root!r}: reading it would read that file, whatever it is, into the model.",
            "put the file itself into the folder, if you trust it, or give its own path",
        )


def shards(path: str) -> list[str]:
    """The files that hold the weights which a map (``.weights.json``) lists, all of them beside it.

    Raises UnsafeFileError if it is no such map, or names a file elsewhere.
    """
    folder = os.path.dirname(os.path.abspath(path))
    try:
        found: Any = json.loads(Path(path).read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise refusal(path, f"it is not a map of weights: {error or 'nested too deeply'}.", "It is not JSON.") from None
    listed = found.get(MAP) if isinstance(found, dict) else None
    if not isinstance(listed, dict):
        raise refusal(path, f"it has no {MAP!r} that gives a file for each weight.", "Keras writes one.")
    names: set[str] = set()
    for key, value in listed.items():
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or name != os.path.basename(name) or "\\" in name or not name.endswith(SUFFIX):
                raise refusal(
                    path,
                    f"{key!r} is said to be in {name!r}.",
                    f"The files of a map lie in its own folder and end in {SUFFIX!r}. Another one would be read into "
                    "the model, whatever it is.",
                )
            check_stays(os.path.join(folder, name), folder, path)
            names.add(name)
    first = os.path.basename(path).removesuffix(".json").replace(".weights", "") + f"_{0:05}{SUFFIX}"
    check_stays(os.path.join(folder, first), folder, path)  # Keras opens it whatever the map says
    return [os.path.join(folder, name) for name in sorted({*names, first})]
