"""The one hook between the stages of a build: it verifies (``CHECK``), prints (``DEBUG``), writes to files (``DUMP``).

An engine begins with ``stage = begin(program)`` and then says ``program = stage("simplify", simplify, program)``. What
a stage returns is printed by ``str`` and verified by its ``verify`` if it has one. With no flag set, ``begin`` returns
a function that does nothing but call.

The ladder: every step shows what the ones below it show, and

    DEBUG=1   compiles, and what was looked for in vain in the cache of object code
    DEBUG=2   the time of every kernel of every run
    DEBUG=3   the graph after each pass
    DEBUG=4   clusters, loops, and the plan of memory
    DEBUG=5   LLVM IR
    DEBUG=6   assembly
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hornbeam import config
from hornbeam.ir.check import check
from hornbeam.ir.program import Program

LEVELS = {"traced": 3, "simplify": 3, "prepare": 3, "fuse": 4, "lower": 4, "plan": 4, "emit": 5, "jit": 6}
"""Stage -> the step of the ladder that prints its result."""

FILES = {"emit": "emit.ll", "jit": "assembly.s"}  # others are stage.txt

Stage = Callable[..., Any]

_numbers = itertools.count(1)


def begin(program: Program) -> Stage:
    """The hook for one build of ``program``, which it shows and verifies as it was traced."""
    if not (config.CHECK.value or config.DEBUG.value >= 3 or config.DUMP.value):
        return _unseen
    stage = Stages(program.name)
    stage("traced", lambda: program)
    return stage


def looking() -> bool:
    """Whether a flag asks to look at more than that a build happened."""
    return bool(config.CHECK.value or config.DEBUG.value >= 2 or config.DUMP.value or config.NANS.value)


def watching() -> bool:
    """Whether a flag asks to look at single kernels of a run."""
    return config.CHECK.value >= 2 or config.DEBUG.value >= 2 or config.NANS.value > 0


def say(step: int, text: str) -> None:
    """Print ``text`` if ``DEBUG`` is at ``step`` of the ladder or above."""
    if config.DEBUG.value >= step:
        print(f"DEBUG={step}  {text}", file=sys.stderr)


def _unseen(name: str, make: Callable[..., Any], *args: Any, shown: Callable[[Any], str] = str) -> Any:
    return make(*args)


class Stages:
    """The hook when somebody looks. ``shown`` makes the text of a result whose ``str`` is not what a person reads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = _new_folder(Path(config.DUMP.value), name) if config.DUMP.value else None
        self.count, self.before = 0, ""

    def __call__(self, name: str, make: Callable[..., Any], *args: Any, shown: Callable[[Any], str] = str) -> Any:
        value = make(*args)
        if config.CHECK.value:
            verify(value)
        step = LEVELS[name]
        if self.folder is not None or config.DEBUG.value >= step:
            text = shown(value)
            say(step, f"{self.name}, {name}:" + (f"\n{text}" if text != self.before else " nothing to do"))
            self.before = text
            if self.folder is not None:
                file = self.folder / f"{self.count}-{FILES.get(name, name + '.txt')}"
                file.write_text(text.rstrip("\n") + "\n", "utf-8")
        self.count += 1
        return value


def verify(value: Any) -> None:
    """Raises CheckError (an AssertionError) if ``value`` breaks a rule of its IR."""
    if isinstance(value, Program):
        check(value)
    elif hasattr(value, "verify"):
        value.verify()


def _new_folder(parent: Path, name: str) -> Path:
    """A folder that no build wrote to before: ``0007-train_step``."""
    readable = re.sub(r"[^\w.-]+", "_", name)[:60]
    while True:
        folder = parent / f"{next(_numbers):04}-{readable}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
