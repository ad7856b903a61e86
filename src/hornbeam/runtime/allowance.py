"""How much variables may take that are made on a file's word: a config of a few bytes can ask for any shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from hornbeam.base.dtypes import as_dtype
from hornbeam.errors import UnsafeFileError, explain


class Allowance:
    """What is left of the bytes that a file may ask for, and the file's name for the message."""

    def __init__(self, size: int, file: str) -> None:
        self.size, self.left, self.file = size, size, file


_current: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def allowance(size: int, file: str) -> Iterator[None]:
    """Within it, variables that ``spend`` notes may take ``size`` bytes together."""
    token = _current.set(Allowance(size, file))
    try:
        yield
    finally:
        _current.reset(token)


def spend(shape: Sequence[int], dtype: str, name: str) -> None:
    """Note a variable that is about to be made. Raises UnsafeFileError where the allowance does not cover it."""
    allowed = _current.get()
    if allowed is None:
        return
    size = math.prod(shape) * as_dtype(dtype).itemsize  # Python's integers: no product is too large to compare
    allowed.left -= size
    if allowed.left < 0:
        raise UnsafeFileError(
            explain(
                f"{allowed.file}: the variable {name!r} of shape {tuple(shape)} would take {size:,} bytes. With it the "
                f"model has more than the {allowed.size:,} bytes that the weights in the file account for.",
                why="A file that describes a model far larger than what it stores fills the memory of who loads it.",
                fix="build the model in Python and load the file's weights: model.load_weights(path)",
            )
        )
