"""``bind`` applies a primitive under the current interpreter; an interpreter decides what applying means.

Eager execution, tracing and plain graph building differ in nothing else. ``ir`` knows one interpreter, which makes
Nodes (``ir.node.NODES``); ``runtime`` installs its own from above.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from hornbeam.ir.primitive import Primitive


class Interpreter(Protocol):
    """What it means to apply a primitive and to have a constant."""

    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        """The result (a tuple of results if ``primitive.multiple``) of applying ``primitive``."""

    def constant(self, array: np.ndarray) -> Any:
        """A value of this interpreter that always equals ``array``, which the caller no longer changes."""


_current: ContextVar[Interpreter] = ContextVar("hornbeam_interpreter")
_default: list[Interpreter] = []


def install(interpreter: Interpreter) -> None:
    """Make ``interpreter`` the one used where no other was chosen. Called once, by ``runtime.eager``."""
    _default[:] = [interpreter]


def current() -> Interpreter:
    return _current.get(None) or _default[0]


@contextmanager
def interpreting(interpreter: Interpreter) -> Iterator[None]:
    """Within the block, primitives of this thread or task are applied by ``interpreter``."""
    token = _current.set(interpreter)
    try:
        yield
    finally:
        try:
            _current.reset(token)
        except ValueError:  # left in another context (a generator closed elsewhere), where it was never current
            pass


def bind(primitive: Primitive, *args: Any, **attrs: Any) -> Any:
    return current().bind(primitive, args, attrs)


def constant(array: np.ndarray) -> Any:
    return current().constant(array)
