"""One backend, in a process of its own: saves every model, or loads what another backend saved.

    python -m tests.round_trips.worker save FOLDER --cases dense,LoRA
    python -m tests.round_trips.worker load FOLDER --of tensorflow,jax --report FILE

The backend is the one that KERAS_BACKEND names. ``FOLDER/tensorflow/dense/`` holds what TensorFlow saved of the case
"dense": the files, the predictions, and the losses of the training that went on. Runs on every backend, so it imports
nothing of Hornbeam.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.round_trips.cases import CASES, Case, arguments, build

SAVERS_SEED, LOADERS_SEED = 1, 2  # what is loaded into has other weights
SHARD = 0.75  # of a model's bytes: no layer of any is larger
STEPS = 3


def save(keras: Any, case: Case, folder: Path) -> None:
    """Everything about a model that a loader needs. The files are of the state before the losses."""
    folder.mkdir(parents=True)
    model = build(keras, case, SAVERS_SEED)
    if case.optimizer is not None:
        losses(model, case, steps=1)
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    model.save_weights(folder / "sharded.weights.json", max_shard_size=SHARD * size(model, case) / 2**30)
    assert len([*folder.glob("sharded*.h5")]) > 1, f"{folder}: the weights were not sharded"
    expected = {f"output{i}": value for i, value in enumerate(predictions(model, case))}
    if case.optimizer is not None:
        expected["losses"] = losses(model, case, STEPS)
    np.savez(folder / "expected.npz", **expected)


def load(keras: Any, case: Case, folder: Path) -> dict[str, float | str]:
    """By kind of file: the largest difference relative to the largest prediction, or what went wrong."""

    def weights(name: str) -> Callable[[], Any]:
        def made() -> Any:
            model = build(keras, case, LOADERS_SEED)
            model.load_weights(folder / name)
            return model

        return made

    ways = {  # weights first: building a model registers the custom objects that the whole file names
        "weights": weights("model.weights.h5"),
        "sharded": weights("sharded.weights.json"),
        "keras": lambda: keras.saving.load_model(folder / "model.keras"),
    }
    return {name: attempt(lambda: difference(make(), case, folder)) for name, make in ways.items()}


def difference(model: Any, case: Case, folder: Path) -> float:
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    found = {f"output{i}": value for i, value in enumerate(predictions(model, case))}
    if case.optimizer is not None:
        found["losses"] = losses(model, case, STEPS)
    assert [*found] == [*expected], f"{[*found]} instead of {[*expected]}"
    return max(relative(found[name], value) for name, value in expected.items())


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a part of the largest value; infinite where shapes differ or a number is not finite."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def predictions(model: Any, case: Case) -> list[np.ndarray]:
    outputs = model.predict(arguments(case), verbose=0)
    return [np.asarray(x, "float32") for x in (outputs if isinstance(outputs, list) else [outputs])]


def losses(model: Any, case: Case, steps: int) -> np.ndarray:
    """Of so many training steps, each on all samples."""
    x = arguments(case)
    y = np.random.default_rng(5).normal(size=(len(x), 3)).astype("float32")
    history = model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=0)
    return np.asarray(history.history["loss"])


def size(model: Any, case: Case) -> int:
    """Bytes of what the model's files hold."""
    optimizer = [] if case.optimizer is None else model.optimizer.variables
    return sum(weight.numpy().nbytes for weight in [*model.weights, *optimizer])


def attempt(do: Callable[[], Any]) -> Any:
    """What it gives, or the exception in words: one model that fails does not hide the others."""
    try:
        return do()
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("save", "load"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--of", default="", help="backends whose files to load, by comma")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    keras = import_module("hornbeam.keras" if os.environ["KERAS_BACKEND"] == "hornbeam" else "keras")
    backend = keras.backend.backend()
    assert backend == os.environ["KERAS_BACKEND"]
    report: dict[str, Any] = {}
    for name in options.cases.split(","):
        case = CASES[name]
        if options.do == "save":
            report[name] = attempt(lambda: save(keras, case, options.folder / backend / name))
        else:
            for peer in options.of.split(","):
                folder = options.folder / peer / name
                report.setdefault(peer, {})[name] = attempt(lambda: load(keras, case, folder))
    options.report.write_text(json.dumps(report, indent=1), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
