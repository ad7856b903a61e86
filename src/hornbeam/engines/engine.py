"""What an engine is: something that compiles a Program into an Executable."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from hornbeam.engines.costs import Costs
from hornbeam.errors import HornbeamError
from hornbeam.ir.program import Program


class EngineUnavailable(HornbeamError):
    """An engine cannot work on this machine."""


class Options(NamedTuple):
    """What changes the code made for a Program, besides the Program."""

    threads: int | None = None  # None: as many as the engine sees fit


class Loop(NamedTuple):
    """How a Program runs many times in a row.

    sources: arrays, dense; the first parameters of every run are rows of theirs.
    rows: int64[steps, batch], which rows each run gets; or a range of the first rows of the runs, when the rows of a
        run follow each other and the runs do, too (its step is the batch).
    carried: (parameter, root): what a run leaves in this root, the next one finds in this parameter.
    stacked: how many of the first roots are kept of every run; of the others, the last one's.
    """

    sources: Sequence[np.ndarray]
    rows: np.ndarray | range
    carried: Sequence[tuple[int, int]]
    stacked: int = 0

    def batch(self, step: int) -> list[np.ndarray]:
        """The rows that a run gets."""
        if isinstance(self.rows, range):
            first = self.rows[step]
            return [s[first : first + self.rows.step] for s in self.sources]
        return [np.take(s, self.rows[step], axis=0) for s in self.sources]


class Executable(Protocol):
    """A compiled Program. Sessions refer to it weakly, and run it from several threads at once."""

    # What a run takes, known before it; see ``costs``.
    peak_bytes: int
    flops: int
    bytes_moved: int

    def run(self, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The values of ``program.roots`` for those of ``program.params``. Arguments are not written to."""

    def repeat(self, arguments: Sequence[np.ndarray], loop: Loop) -> list[np.ndarray]:
        """Run at least once, as ``loop`` says; ``arguments`` are those of the first run, without the rows."""


def one_by_one(executable: Executable, arguments: Sequence[np.ndarray], loop: Loop) -> list[np.ndarray]:
    """``repeat`` by ``run``, for executables that have no better way."""
    arguments = list(arguments)
    kept: list[list[np.ndarray]] = [[] for _ in range(loop.stacked)]
    fed = len(loop.sources)
    for step in range(len(loop.rows)):
        results = executable.run([*loop.batch(step), *arguments])
        for parameter, root in loop.carried:
            arguments[parameter - fed] = results[root]
        for whole, part in zip(kept, results, strict=False):
            whole.append(part)
    return [*map(np.stack, kept), *results[loop.stacked :]]


class Engine(Protocol):
    name: str

    def compile(self, program: Program, options: Options) -> Executable: ...

    def plan(self, program: Program, options: Options) -> Costs:
        """What the Executable would take, without making code for it."""


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
