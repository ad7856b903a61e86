"""What an engine is: something that compiles a Program into an Executable."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from hornbeam.errors import HornbeamError
from hornbeam.ir.program import Program


class EngineUnavailable(HornbeamError):
    """An engine cannot work on this machine."""


class Options(NamedTuple):
    """What changes the code made for a Program, besides the Program."""

    threads: int | None = None  # None: as many as the engine sees fit


class Executable(Protocol):
    """A compiled Program. Sessions refer to it weakly, and run it from several threads at once."""

    peak_bytes: int  # of all buffers alive at once, arguments and results included

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The values of ``program.roots`` for those of ``program.params``. Arguments are not written to."""


class Engine(Protocol):
    name: str

    def compile(self, program: Program, options: Options) -> Executable: ...


ENGINES = {"native": "hornbeam.engines.native.pipeline", "reference": "hornbeam.engines.reference"}
"""Engine -> the module that registers it, imported when it is first asked for."""

_engines: dict[str, Engine] = {}


def register(engine: Any) -> None:
    _engines[engine.name] = engine


def find(name: str) -> Engine:
    """The engine called ``name``. Raises HornbeamError listing the engines there are.

    Where LLVM cannot make code for this machine, the reference engine stands in for the native one, with one warning.
    """
    if name not in ENGINES:
        raise HornbeamError(f"there is no engine named {name!r}. Engines: {', '.join(ENGINES)}.")
    if name not in _engines:
        try:
            importlib.import_module(ENGINES[name])
        except EngineUnavailable as error:
            warnings.warn(f"{error}\n  Running on the reference engine, which is correct but slow.", stacklevel=2)
            _engines[name] = find("reference")
    return _engines[name]
