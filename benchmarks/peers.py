"""The other runtimes, in environments of their own: made in the user's cache directory, or found where one says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

OWN = "hornbeam"
PACKAGES = {
    "tensorflow": ["tensorflow-cpu" if sys.platform == "linux" and os.uname().machine == "x86_64" else "tensorflow"],
    "jax": ["jax"],
    "torch": ["torch", "--extra-index-url", "https://download.pytorch.org/whl/cpu"],  # without the files for CUDA
}
KERAS = ("keras-nightly", "keras")


@dataclass(frozen=True)
class Contestant:
    """One way to run a task. ``peer`` is the package it needs, ``kind`` what the worker does with it."""

    name: str
    kind: str
    peer: str = OWN
    environment: dict[str, str] = field(default_factory=dict)


TRAINERS = [
    Contestant(OWN, "keras"),
    *(Contestant(f"keras-{peer}", "keras", peer, {"KERAS_BACKEND": peer}) for peer in PACKAGES),
    Contestant("torch", "torch", "torch"),
    Contestant("torch-compiled", "torch", "torch"),
]
LIBRARIES = [
    Contestant(OWN, "micro"),
    Contestant("numpy", "micro"),
    Contestant("torch", "micro", "torch"),
    Contestant("torch-compiled", "micro", "torch"),
    Contestant("jax", "micro", "jax"),
    Contestant("tensorflow", "micro", "tensorflow"),
]


def environment(contestant: Contestant, cache: Path, threads: int) -> dict[str, str]:
    """Of a worker: its caches in ``cache``, everybody on the CPU with ``threads`` threads."""
    own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if contestant.peer == OWN:
        own["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    return {
        **own,
        "KERAS_HOME": str(cache / "keras"),
        "HORNBEAM_CACHE": str(cache / "hornbeam"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        **contestant.environment,
    }


def find(pythons: list[str]) -> dict[str, str]:
    """The first of these Pythons that has it, for every peer. Raises RuntimeError for one that does not run."""
    found: dict[str, str] = {}
    code = f"from importlib.util import find_spec; print(*[p for p in {[*PACKAGES]} if find_spec(p)])"
    for python in pythons:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{python} does not run:\n{done.stderr[-1000:]}")
        for peer in done.stdout.split():
            found.setdefault(peer, python)
    return found


def installed() -> dict[str, str]:
    """The environments that ``install`` made before."""
    return {peer: str(_python(peer)) for peer in PACKAGES if (_home(peer) / "complete").exists()}


def install(peers: list[str]) -> dict[str, str]:
    """An environment for each, with our version of Keras; those that are there already are used."""
    return {peer: environment_of(peer, [PACKAGES[peer]]) for peer in peers}


def environment_of(name: str, installs: list[list[str]]) -> str:
    """The Python of the environment ``name``, made if it is not there: pip's ``installs`` one by one, and our Keras."""
    home, python = _home(name), str(_python(name))
    if not (home / "complete").exists():
        print(f"Installing {name} into {home} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        for packages in installs:
            subprocess.run([*pip, "install", *packages], check=True)
        # A package may have brought the stable Keras, whose folder is the nightly's.
        subprocess.run([*pip, "uninstall", "--yes", *KERAS], check=True)
        subprocess.run([*pip, "install", _keras()], check=True)
        (home / "complete").touch()
    return python


def _home(peer: str) -> Path:
    from hornbeam.engines.native.cache import user_directory

    caches = user_directory()
    if caches is None:
        raise RuntimeError("This user has no cache directory for the peers' environments; name one: --peer-python PATH")
    return caches.with_name("hornbeam-bench") / f"{peer}-{_keras()}"  # another Keras, another environment


def _python(peer: str) -> Path:
    return _home(peer) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _keras() -> str:
    for name in KERAS:
        try:
            return f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            pass
    raise RuntimeError("Keras is not installed here.")
