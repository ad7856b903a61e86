"""One of `keras.applications` on one backend, in a process of its own, with random weights.

    python -m tests.round_trips.applications MobileNetV2 FOLDER --report FILE

The first backend to come makes the weights and the predictions in ``FOLDER``; the others load the weights and tell how
far their predictions are from those. Runs on every backend, so it imports nothing of Hornbeam.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tests.round_trips.worker import relative

SIDE = 96  # pixels; InceptionResNetV2, Xception and others need 71 or 75
CLASSES = 10


def names(keras: Any) -> list[str]:
    """Of all public applications."""
    functions = inspect.getmembers(keras.applications, inspect.isfunction)
    return [name for name, function in functions if "weights" in inspect.signature(function).parameters]


def make(keras: Any, name: str, side: int = SIDE) -> Any:
    """Whole, up to the logits: a softmax of random ones would hide differences."""
    function = getattr(keras.applications, name)
    return function(weights=None, input_shape=(side, side, 3), classes=CLASSES, classifier_activation=None)


def images(side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, size=(2, side, side, 3)).astype("float32")


def timed(do: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processors that it took, which other work on the machine disturbs less than the time of a clock."""
    began = time.process_time()
    value = do()
    return time.process_time() - began, value


def measure(keras: Any, name: str, folder: Path) -> dict[str, Any]:
    keras.utils.set_random_seed(1)
    build, model = timed(lambda: make(keras, name))
    weights, expected = folder / f"{name}.weights.h5", folder / f"{name}.npy"
    if expected.exists():
        model.load_weights(weights)
    first, found = timed(lambda: model.predict(images(), batch_size=2, verbose=0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if not expected.exists():
        model.save_weights(weights)
        np.save(expected, found)
    return {
        "parameters": model.count_params(),
        "build": build,
        "first": first,
        "peak_bytes": peak,
        "finite": bool(np.isfinite(found).all()),
        "difference": relative(found, np.load(expected)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    keras = import_module("hornbeam.keras" if os.environ["KERAS_BACKEND"] == "hornbeam" else "keras")
    options.report.write_text(json.dumps(measure(keras, options.name, options.folder)), "utf-8")


if __name__ == "__main__":
    main()
