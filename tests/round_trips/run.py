"""Files between the backends of Keras, `keras.applications`, and packages on top of Keras, tried on Hornbeam.

    scripts/round-trips                                   files: every backend saves, every other one loads
    scripts/round-trips --applications                    all of them, beside JAX (--only MobileNetV2,ResNet50;
                                                          without JAX: --backends hornbeam)
    scripts/round-trips --ecosystem                       keras-hub and keras-tuner
    scripts/round-trips --peer-python ../env/bin/python   backends of that environment, instead of installing them

Every backend runs in a process of its own. Environments that are needed are made in the user's cache directory. A run
of everything writes its part of tests/round_trips/RESULT.md, one of some applications their rows. Exits with 1 if a
prediction differs by more than its bound, or something fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.peers import OWN, PACKAGES
from tests.round_trips import processes, report
from tests.round_trips.cases import CASES

Data = dict[str, Any]


def files(options: argparse.Namespace) -> Iterator[Data]:
    """What is known so far, again and again: the whole takes long."""
    backends = options.backends or [OWN, *PACKAGES]
    pythons = processes.pythons(options.peer_python, backends)
    cases = options.only or [*CASES]
    data: dict[str, Any] = {"backends": backends, "cases": cases, "saved": {}, "loaded": {}}
    with tempfile.TemporaryDirectory(prefix="hornbeam-round-trips-") as name:
        folder = Path(name)
        arguments = [str(folder / "files"), "--cases", ",".join(cases)]
        for backend in backends:
            say(f"{backend} saves ...")
            data["saved"][backend] = processes.run("worker", backend, pythons[backend], folder, "save", *arguments)
        for backend in backends:
            say(f"{backend} loads ...")
            loading = ["load", *arguments, "--of", ",".join(other for other in backends if other != backend)]
            data["loaded"][backend] = processes.run("worker", backend, pythons[backend], folder, *loading)
    yield data


def applications(options: argparse.Namespace) -> Iterator[Data]:
    from hornbeam import keras
    from tests.round_trips.applications import names

    backends = [OWN] if options.backends == [OWN] else [OWN, "jax"]  # the first makes the weights
    pythons = processes.pythons(options.peer_python, backends)
    public = names(keras)
    data: dict[str, Any] = {"backends": backends, "public": len(public), "results": {}}
    with tempfile.TemporaryDirectory(prefix="hornbeam-round-trips-") as common:
        for name in options.only or public:
            say(f"{name} ...")
            with tempfile.TemporaryDirectory(prefix="hornbeam-round-trips-") as folder:
                # JAX compiles every random draw of a first weight; it may keep those from one to the next.
                caches = {OWN: Path(folder), "jax": Path(common)}
                data["results"][name] = {
                    backend: processes.run("applications", backend, pythons[backend], caches[backend], name, folder)
                    for backend in backends
                }
            yield data


def ecosystem(options: argparse.Namespace) -> Iterator[Data]:
    python = options.peer_python[0] if options.peer_python else processes.ecosystem_python()
    with tempfile.TemporaryDirectory(prefix="hornbeam-round-trips-") as folder:
        found = processes.run("ecosystem", OWN, python, Path(folder))
    if isinstance(found, str):
        sys.exit(found)
    yield found


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    options = parse()
    name, do = next((n, f) for n, f in RUNS.items() if getattr(options, n, True))
    kept = do is applications or not (options.only or options.backends)
    installed = {package: metadata.version(package) for package in ("hornbeam", "keras-nightly")}
    data: Data = {}
    for found in do(options):
        versions = {**installed, **found.get("versions", {})}
        data = {**found, "made": time.strftime("%Y-%m-%d"), "versions": versions}
        if kept:
            report.write(name, data)
    print(report.section(name, data))
    problems = report.failures(name, data)
    print(*problems, sep="\n", file=sys.stderr)
    return 1 if problems else 0


RUNS = {"applications": applications, "ecosystem": ecosystem, "files": files}  # files unless another is asked for


def parse() -> argparse.Namespace:
    def listed(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(
        prog="scripts/round-trips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--applications", action="store_true")
    parser.add_argument("--ecosystem", action="store_true")
    parser.add_argument("--only", type=listed, help=f"models, by comma: {', '.join(CASES)}; or applications")
    parser.add_argument("--backends", type=listed, help=f"by comma: {', '.join([OWN, *PACKAGES])}")
    parser.add_argument("--peer-python", action="append", help="a Python that has backends; may be given several times")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
