"""Checkpoints: arrays by name in one ``.npz`` file, and the file ``checkpoint`` that names the latest in its folder.

Reading one runs nothing: what is read is arrays, and no more of them than the file stores.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from hornbeam.errors import InvalidArgumentError, explain
from hornbeam.model_files.arrays import read_arrays
from hornbeam.model_files.folders import check_stays
from hornbeam.tensorflow.errors import NotFoundError

SUFFIX = ".npz"
STATE = "checkpoint"


class CheckpointState(NamedTuple):
    """Which checkpoints a folder has, the latest of them first named."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str]


def write(prefix: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write all arrays under one prefix; the file is there whole or not at all."""
    part = f"{prefix}{SUFFIX}.part"
    os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
    with open(part, "wb") as file:
        np.savez(file, allow_pickle=False, **dict(arrays))
    os.replace(part, f"{prefix}{SUFFIX}")


def read(prefix: str) -> dict[str, np.ndarray]:
    """All arrays by name.

    Raises:
        ValueError: there is no such checkpoint.
        UnsafeFileError: it is not one that ``write`` wrote.
    """
    path = f"{prefix}{SUFFIX}"
    if not os.path.exists(path):
        theirs = os.path.exists(f"{prefix}.index")
        hint = "It was written by TensorFlow itself; its format is not read here." if theirs else ""
        raise ValueError(explain(f"{prefix!r} is not a checkpoint: there is no file {path!r}.", why=hint))
    return read_arrays(path)


def match(found: Mapping[str, np.ndarray], wanted: Mapping[str, Any], prefix: str) -> dict[str, np.ndarray]:
    """The array for each wanted variable.

    Raises:
        NotFoundError: the checkpoint has none of that name.
        InvalidArgumentError: it has another shape or dtype.
    """
    out = {}
    for name, variable in wanted.items():
        if name not in found:
            has = ", ".join(sorted(found))
            raise NotFoundError(explain(f"Key {name} not found in checkpoint {prefix!r}. It has: {has}."))
        array, spec = found[name], variable.spec
        if array.dtype.kind == "V" and array.dtype.itemsize == spec.dtype.itemsize:
            array = array.view(spec.dtype)  # NumPy stores bfloat16 as plain bytes
        if array.shape != tuple(spec.shape) or array.dtype != spec.dtype:
            raise InvalidArgumentError(
                explain(
                    f"{name}: the checkpoint has {array.dtype.name}{list(array.shape)}, the variable {spec}.",
                    why="There is a mismatch between the current graph and the graph that was saved.",
                )
            )
        out[name] = array
    return out


def remove(prefix: str) -> None:
    """Remove a checkpoint, if it is there."""
    if os.path.exists(f"{prefix}{SUFFIX}"):
        os.remove(f"{prefix}{SUFFIX}")


# -- the file that names the latest ----------------------------------------------------------------------------------


def write_state(folder: str, paths: Iterable[str], latest_filename: str | None = None) -> None:
    """Name checkpoints, the latest last."""
    names = [os.path.relpath(p, folder or ".") for p in paths]
    lines = [f"model_checkpoint_path: {json.dumps(names[-1])}"] if names else []
    lines += [f"all_model_checkpoint_paths: {json.dumps(n)}" for n in names]
    with open(os.path.join(folder, latest_filename or STATE), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def get_checkpoint_state(checkpoint_dir: str, latest_filename: str | None = None) -> CheckpointState | None:
    """The checkpoints of a folder, None if it has none.

    Raises UnsafeFileError if the folder's file names one elsewhere.
    """
    path = os.path.join(checkpoint_dir, latest_filename or STATE)
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        found = re.findall(r'^(\w+): (".*")$', file.read(), re.MULTILINE)
    paths = [(key, os.path.join(checkpoint_dir, json.loads(value))) for key, value in found]
    for _, named in paths:
        check_stays(f"{named}{SUFFIX}", checkpoint_dir, path)
    latest = [p for key, p in paths if key == "model_checkpoint_path"]
    return CheckpointState(latest[0], [p for key, p in paths if key != "model_checkpoint_path"]) if latest else None


def latest_checkpoint(checkpoint_dir: str, latest_filename: str | None = None) -> str | None:
    """The latest checkpoint of a folder, None if it has none."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    return state.model_checkpoint_path if state is not None and checkpoint_exists(state.model_checkpoint_path) else None


def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether there is a checkpoint of this prefix."""
    return os.path.exists(f"{checkpoint_prefix}{SUFFIX}")


def list_variables(ckpt_dir_or_file: str) -> list[tuple[str, list[int]]]:
    """Names and shapes of what a checkpoint holds."""
    prefix = latest_checkpoint(ckpt_dir_or_file) if os.path.isdir(ckpt_dir_or_file) else ckpt_dir_or_file
    if prefix is None:
        raise ValueError(f"{ckpt_dir_or_file!r} has no checkpoint.")
    return sorted((name, list(array.shape)) for name, array in read(prefix).items())
