"""A module of this package, run on one backend in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine, peers
from benchmarks.peers import OWN, Contestant

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def pythons(given: list[str] | None, wanted: list[str]) -> dict[str, str]:
    """The interpreter of every wanted backend: one of those given, or else of an environment made for it."""
    others = [name for name in wanted if name != OWN]
    found = {OWN: sys.executable, **(peers.find(given) if given else peers.install(others))}
    absent = [name for name in wanted if name not in found]
    if absent:
        sys.exit(f"No Python of --peer-python has {' or '.join(absent)}.\nLeave it out:  --backends {OWN},...")
    return {name: found[name] for name in wanted}


def ecosystem_python() -> str:
    """An environment with this working copy, keras-hub and keras-tuner, and without TensorFlow.

    Both ask pip for the stable Keras, and keras-hub for tensorflow-text; what they import is in the requirements.
    """
    lines = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    alone = [line for line in lines if line.startswith(("keras-hub", "keras-tuner"))]
    others = [line for line in lines if line not in alone]
    name = "-".join(["ecosystem", *alone]).replace("==", "-")  # other versions, another environment
    return peers.environment_of(name, [["--editable", str(ROOT), *others], ["--no-deps", *alone]])


def run(module: str, backend: str, python: str, caches: Path, *arguments: str, limit: float = 3600) -> Any:
    """What ``python -m tests.round_trips.MODULE ... --report FILE`` wrote to the file; in words, how it ended if not.

    ``caches`` is a folder for its caches of compiled code and for what it says.
    """
    caches.mkdir(parents=True, exist_ok=True)
    report = caches / f"{module}-{backend}.json"
    report.unlink(missing_ok=True)
    contestant = Contestant(backend, "keras", backend, {"KERAS_BACKEND": backend})
    environment = peers.environment(contestant, caches / backend, machine.cores())
    if backend == OWN:
        environment["PYTHONPATH"] = str(ROOT / "src")
    log = caches / f"{module}-{backend}.log"
    with log.open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(
                [python, "-m", f"tests.round_trips.{module}", *arguments, "--report", str(report)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {limit:.0f} s"
    if done.returncode or not report.exists():
        return f"exit code {done.returncode}: {log.read_text('utf-8')[-1500:].strip()}"
    return json.loads(report.read_text("utf-8"))
