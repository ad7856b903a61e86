"""One contestant at one task, in a process of its own: ``python -m benchmarks.worker CONTESTANT TASK``.

It imports, builds and takes the first step, says on stdout how long that took and what else it can measure, and then
measures what each line of stdin names. At the end of stdin it says how much memory it took at most. Every answer is a
line of JSON. Nothing but the standard library is imported before the import that is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module, metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

PACKAGES = {
    "hornbeam": ("hornbeam", "keras-nightly", "keras", "numpy", "llvmlite"),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "keras-nightly", "keras", "numpy"),
    "jax": ("jax", "jaxlib", "keras-nightly", "keras", "numpy"),
    "torch": ("torch", "keras-nightly", "keras", "numpy"),
    "numpy": ("numpy",),
}


def timed(f: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    value = f()
    return time.perf_counter() - began, value


class Contestant:
    """What is timed. ``load`` is the import, ``make`` builds, ``first`` takes the first step."""

    def __init__(self, name: str, task: str, options: argparse.Namespace) -> None:
        self.name, self.task, self.options = name, task, options
        self.measures: dict[str, Callable[[], list[float]]] = {}

    def load(self) -> None:
        raise NotImplementedError

    def make(self) -> None:
        raise NotImplementedError

    def first(self) -> None:
        raise NotImplementedError

    def repeated(self, f: Callable[[], Any]) -> list[float]:
        """Seconds of one call: means over enough calls to last, some of them."""
        f()
        once, _ = timed(f)
        n = max(1, int(self.options.window / max(once, 1e-7)))
        seconds = []
        for _ in range(self.options.repeats):
            began = time.perf_counter()
            for _ in range(n):
                f()
            seconds.append((time.perf_counter() - began) / n)
        return seconds


class KerasTask(Contestant):
    def load(self) -> None:
        if self.name == "hornbeam":
            self.keras = import_module("hornbeam.keras")
        else:
            self.keras = import_module("keras")
        self.keras.Sequential([self.keras.Input((1,)), self.keras.layers.Dense(1)])

    def make(self) -> None:
        import numpy as np

        from benchmarks.tasks import TASKS

        task = TASKS[self.task]
        self.sizes = task.sized(self.options.tiny)
        self.x, self.y = task.data(np.random.default_rng(0), self.sizes, self.sizes.batch * self.sizes.steps)
        self.keras.utils.set_random_seed(1)
        self.build_seconds, self.model = timed(lambda: task.model(self.keras, self.sizes))
        self.measures = {"step": self.steps, "predict": lambda: self.repeated(self.predict)}

    def first(self) -> None:
        self.model.fit(self.x[: self.sizes.batch], self.y[: self.sizes.batch], batch_size=self.sizes.batch, verbose=0)

    def steps(self) -> list[float]:
        """Seconds of a step, averaged over each epoch of a ``fit`` but the first."""
        ends: list[float] = []
        note = self.keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
        epochs = self.options.repeats + 1
        self.model.fit(self.x, self.y, batch_size=self.sizes.batch, epochs=epochs, verbose=0, callbacks=[note])
        return [(after - before) / self.sizes.steps for before, after in pairwise(ends)]

    def predict(self) -> Any:
        return self.model.predict(self.x[:1], verbose=0)


class TorchTask(Contestant):
    def load(self) -> None:
        torch = import_module("torch")
        torch.nn.Linear(1, 1)

    def make(self) -> None:
        import numpy as np

        from benchmarks.plain_torch import Trainer
        from benchmarks.tasks import TASKS

        task = TASKS[self.task]
        sizes = self.sizes = task.sized(self.options.tiny)
        x, y = task.data(np.random.default_rng(0), sizes, sizes.batch * sizes.steps)
        import_module("torch").manual_seed(1)
        compiled = self.name == "torch-compiled"
        self.build_seconds, self.trainer = timed(lambda: Trainer(self.task, sizes, x, y, compiled))
        self.measures = {"step": self.steps, "predict": lambda: self.repeated(self.trainer.predict)}

    def first(self) -> None:
        self.trainer.first()

    def steps(self) -> list[float]:
        self.trainer.epoch()
        return [timed(self.trainer.epoch)[0] / self.sizes.steps for _ in range(self.options.repeats)]


class MicroTask(Contestant):
    def load(self) -> None:
        from benchmarks.micro import KINDS

        self.library = KINDS[self.name]()
        self.prepared: tuple[Any, Callable[[], Any] | None] = (None, None)  # the latest case

    def make(self) -> None:
        import numpy as np

        from benchmarks.micro import GROUPS

        group = GROUPS[self.task]
        if self.options.threads:
            self.library.limit(self.options.threads)
        for case in group.sized(self.options.tiny):
            self.measures[case.name] = lambda case=case: self.measure(case, np)  # type: ignore[misc]

    def first(self) -> None:
        pass

    def measure(self, case: Any, np: Any) -> list[float]:
        if self.prepared[0] != case:
            self.prepared = (None, None)
            self.prepared = (case, self.prepare(case, np))
        f = self.prepared[1]
        return self.repeated(f) if f else []

    def prepare(self, case: Any, np: Any) -> Callable[[], Any] | None:
        rng = np.random.default_rng(0)
        arrays = []
        for i, shape in enumerate(case.shapes):
            ids = case.classes and i == len(case.shapes) - 1
            arrays.append(rng.integers(0, case.classes, shape) if ids else rng.standard_normal(shape, "float32"))
        if case.classes:
            arrays.append(rng.standard_normal((*case.shapes[-1], case.shapes[0][-1]), "float32"))
        return self.library.case(case, arrays)


def restrict(threads: int) -> None:
    """Keep this process on the first ``threads`` of its cores; 0 leaves it on all."""
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def peak_bytes() -> int | None:
    """The most memory that was resident in this process; None where the system does not say.

    NOTE: on Linux not from getrusage, which counts the parent's memory at the time of the fork, too.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def versions(name: str) -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES[name.removesuffix("-compiled").removeprefix("keras-")]:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    if name == "hornbeam" and "hornbeam" not in found:  # in a checkout
        found["hornbeam"] = import_module("hornbeam").__version__
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant")
    parser.add_argument("task")
    parser.add_argument("--kind", choices=("keras", "torch", "micro"), required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--window", type=float, default=0.02, help="seconds that repeated calls are timed for")
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    restrict(options.threads)
    kind = {"keras": KerasTask, "torch": TorchTask, "micro": MicroTask}[options.kind]
    contestant = kind(options.contestant, options.task, options)
    load, _ = timed(contestant.load)
    contestant.make()
    first, _ = timed(contestant.first)
    build = getattr(contestant, "build_seconds", None)
    answer({"import": load, "build": build, "first": first, "measures": list(contestant.measures)})
    for line in sys.stdin:
        answer(contestant.measures[line.strip()]())
    answer({"peak_bytes": peak_bytes(), "versions": versions(options.contestant)})


if __name__ == "__main__":
    main(parse())
