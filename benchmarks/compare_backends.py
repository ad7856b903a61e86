"""Does Hornbeam compute what the other backends of Keras compute?

    scripts/bench --agree --json out.json
    scripts/bench --agree --peer-python /path/to/other/env/bin/python --peers jax,tensorflow

One Keras script, the same data in the same order, the same first weights; every backend in a process of its own.
Prints the largest difference between the losses of any step, and the time of a step. Exits with 1 if a loss differs by
more than the tolerance, with 2 if there is no other backend to compare with, or it does not run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

OWN = "hornbeam"
PEERS = ("jax", "tensorflow", "torch")
BATCH = 32
CASES = {
    f"{model}, {optimizer}{', dropout 0' if dropout else ''}": (model, optimizer, dropout)
    for model in ("dense", "conv")
    for optimizer in ("sgd", "adam")
    for dropout in (False, True)
}

# -- the Keras script, the same for every backend -------------------------------------------------------


def build(keras: Any, kind: str, optimizer: str, dropout: bool) -> Any:
    layers = keras.layers
    middle = {
        "dense": lambda: [layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(64, activation="tanh")],
        "conv": lambda: [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()],
    }[kind]()
    last = [layers.Dropout(0.0)] if dropout else []
    model = keras.Sequential([keras.Input((8, 8, 1)), *middle, *last, layers.Dense(10)])
    model.compile(
        optimizer={"sgd": keras.optimizers.SGD(0.1, momentum=0.9), "adam": keras.optimizers.Adam(0.003)}[optimizer],
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def train(folder: Path, steps: int) -> dict[str, Any]:
    """The losses and the time of every step of every case. The first to come here makes the first weights."""
    keras = import_keras()
    data = np.load(folder / "data.npz")
    report: dict[str, Any] = {"backend": keras.backend.backend(), "keras": keras.__version__, "cases": {}}
    for case, arguments in CASES.items():
        keras.utils.set_random_seed(1)
        model = build(keras, *arguments)
        first = folder / f"{case}.npz"
        if not first.exists():
            np.savez(first, *model.get_weights())
        with np.load(first) as weights:
            model.set_weights(list(weights.values()))
        losses, seconds = [], []
        for i in range(steps):
            at = i * BATCH % (len(data["x"]) - BATCH)
            began = time.perf_counter()
            losses.append(float(model.train_on_batch(data["x"][at : at + BATCH], data["y"][at : at + BATCH])))
            seconds.append(time.perf_counter() - began)
        report["cases"][case] = {"losses": losses, "ms_per_step": 1000 * float(np.median(seconds[steps // 4 :]))}
    return report


def import_keras() -> Any:
    return import_module("hornbeam.keras" if os.environ["KERAS_BACKEND"] == OWN else "keras")


# -- the comparison --------------------------------------------------------------------------------------


def save_digits(folder: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = (digits.images[order] / 16.0).astype("float32")[..., None]
    np.savez(folder / "data.npz", x=x, y=digits.target[order].astype("int32"))


def run(backend: str, python: str, folder: Path, steps: int) -> dict[str, Any]:
    """``train`` on ``backend``, in a process of its own. Raises RuntimeError with what it said if it fails."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if backend == OWN:
        environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p and p != str(Path(__file__).parent))
    elif python != sys.executable:
        environment.pop("PYTHONPATH", None)
    result = folder / f"{backend}.json"
    command = [python, __file__, "--work-in", str(folder), "--steps", str(steps), "--json", str(result)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{backend} ({python}) failed:\n{done.stderr[-3000:]}")
    return json.loads(result.read_text("utf-8"))


def installed(python: str) -> list[str]:
    """Which of the peers an environment has."""
    code = f"from importlib.util import find_spec; print(*[p for p in {PEERS!r} if find_spec(p)])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def compare(own: dict[str, Any], peer: dict[str, Any]) -> dict[str, float]:
    """The largest difference of a step's loss, by case; infinite where a loss is not a number."""
    largest = {}
    for case in CASES:
        difference = np.abs(np.subtract(own["cases"][case]["losses"], peer["cases"][case]["losses"]))
        largest[case] = float(np.max(np.where(np.isfinite(difference), difference, np.inf)))
    return largest


def show(own: dict[str, Any], peers: dict[str, dict[str, Any]], differences: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Largest difference of a loss, and milliseconds per step")
    table.add_column("case")
    table.add_column(f"{OWN}: ms", justify="right")
    for name in peers:
        table.add_column(f"{name}: difference", justify="right")
        table.add_column("ms", justify="right")
    for case in CASES:
        cells = [f"{own['cases'][case]['ms_per_step']:.2f}"]
        for name, report in peers.items():
            cells += [f"{differences[name][case]:.1e}", f"{report['cases'][case]['ms_per_step']:.2f}"]
        table.add_row(case, *cells)
    Console(width=max(100, 40 + 30 * len(peers))).print(table)


def main(arguments: argparse.Namespace) -> int:
    python = arguments.peer_python
    names = [n for n in arguments.peers.split(",") if n] if arguments.peers is not None else installed(python)
    if not names:
        print(f"{python} has none of {', '.join(PEERS)}.\nName another Python:  --peer-python PATH", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_digits(folder)
        own = run(OWN, sys.executable, folder, arguments.steps)
        try:
            peers = {n: run(n, sys.executable if n == OWN else python, folder, arguments.steps) for n in names}
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 2
    differences = {n: compare(own, report) for n, report in peers.items()}
    show(own, peers, differences)
    worst = max(d for each in differences.values() for d in each.values())
    verdict = "within" if worst <= arguments.tolerance else "NOT within"
    print(f"{arguments.steps} steps; the largest difference, {worst:.1e}, is {verdict} {arguments.tolerance:g}.")
    if arguments.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        report = {**machine, "tolerance": arguments.tolerance, OWN: own, "peers": peers, "differences": differences}
        arguments.json.write_text(json.dumps(report, indent=1), "utf-8")
    return 0 if worst <= arguments.tolerance else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has the other backends")
    parser.add_argument("--peers", help="backends to compare with, by comma; by default those that it has")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)  # what the processes of `run` are told
    return parser.parse_args()


if __name__ == "__main__":
    given = parse()
    if given.work_in:
        given.json.write_text(json.dumps(train(given.work_in, given.steps)), "utf-8")
    else:
        sys.exit(main(given))
