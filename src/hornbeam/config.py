"""Flags: each is an environment variable ``HORNBEAM_<NAME>``, a value here, and a context manager.

    HORNBEAM_CHECK=1 python train.py         # verify every Program before it is compiled
    with config.CHECK(1): ...                # the same for a block
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from hornbeam.errors import HornbeamError

VERSION = "0.1.0"

T = TypeVar("T", int, str)


class Flag(Generic[T]):
    """A setting of the process, typed by its default. Raises HornbeamError for a value that is not allowed."""

    def __init__(self, name: str, default: T, about: str, allowed: tuple[T, ...] | None = None) -> None:
        self.name, self.about = name, about
        self.default: T = default
        self.allowed: tuple[T, ...] | None = allowed
        self._listeners: list[Callable[[], None]] = []
        self._value: T = self._parse(os.environ.get(f"HORNBEAM_{name}"))

    @property
    def value(self) -> T:
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        value, before = self._checked(value), self._value
        self._value = value
        if value != before:
            for listener in self._listeners:
                listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change: for who keeps what was made under the old value."""
        self._listeners.append(listener)

    def _parse(self, text: str | None) -> T:
        if text is None:
            return self.default
        try:
            return self._checked(type(self.default)(text))
        except ValueError:
            kind = type(self.default).__name__
            raise HornbeamError(f"HORNBEAM_{self.name}={text!r} cannot be read as {kind}.") from None

    def _checked(self, value: T) -> T:
        if self.allowed is not None and value not in self.allowed:
            valid = ", ".join(map(repr, self.allowed))
            raise HornbeamError(f"HORNBEAM_{self.name}={value!r} is not allowed. Valid: {valid}.")
        return value

    @contextmanager
    def __call__(self, value: T) -> Iterator[None]:
        before, self.value = self.value, value
        try:
            yield
        finally:
            self.value = before


CACHE = Flag("CACHE", "1", "compiled code on disk: 1 in the user's cache directory, 0 none, readonly, or a directory")
CHECK = Flag(
    "CHECK", 0, "1 verifies the result of every stage of a build, 2 also each kernel's results in every run", (0, 1, 2)
)
DEBUG = Flag(
    "DEBUG", 0, "prints 1 compiles and cache misses, 2 kernel times, 3 graphs, 4 loops, 5 LLVM IR, 6 assembly",
    (0, 1, 2, 3, 4, 5, 6),
)  # fmt: skip
DUMP = Flag("DUMP", "", "a directory in which every build writes all its stages")
ENGINE = Flag("ENGINE", "native", "the engine of sessions that do not name one")
FILE_BYTES = Flag("FILE_BYTES", 0, "most bytes a model file may ask for while it is read; 0: the memory that is free")
MAX_TRACES = Flag("MAX_TRACES", 64, "traces kept by one function; the least recently used is let go")
NANS = Flag("NANS", 0, "1 stops a run at the first kernel that makes a NaN or an infinity of finite numbers", (0, 1))
