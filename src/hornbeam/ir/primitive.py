"""``Primitive``: one row of the table that everything else is a walk over.

A row holds all that is known of an operation: the Spec of its result (``infer``), its meaning in NumPy
(``reference``), its gradient (``grad``) and its scalar code (``code``). Adding an operation is adding a row here and a
sample line in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hornbeam.ir.bind import current

Kind = Literal["map", "view", "reduce", "block"]

ROWS: dict[str, Primitive] = {}
"""Every primitive by name."""


@dataclass(frozen=True, eq=False, slots=True)
class Primitive:
    """A row. Calling it applies it: ``ADD(x, y)``, ``SUM(x, axes=(0,))``.

    kind: decides fusion. ``map`` (elementwise, broadcasting) and ``view`` (re-indexing) melt into their reader,
      ``reduce`` closes a loop nest over its melted producers, ``block`` is a boundary.
    infer: ``(*specs, **attrs) -> Spec`` (a tuple of Specs if ``multiple``); raises ShapeError or DTypeError.
    reference: ``(*arrays, **attrs) -> array``; the definition of meaning. Never writes to its arguments.
    grad: ``(g, *args, out, **attrs) -> tuple`` with one cotangent for each argument, in the operators that users
      write. ``None`` for an argument means that no gradient flows there; a zero-argument callable is evaluated only if
      that argument's gradient is needed. Cotangents of broadcast arguments keep the result's shape: the walker sums
      them. For ``multiple`` rows ``g`` and ``out`` are tuples and entries of ``g`` may be None.
      A row without ``grad`` is an error to differentiate; one that blocks gradients returns Nones.
    code: scalar code for the native engine, a function of a handler (see ``ir.scalar``):
      map ``(s, *xs, **attrs)``, reduce ``(s, acc, x)``.
    multiple: the result is a tuple.
    effect: applying it does something besides returning a value (a host callback), so it is never dropped or merged.
    """

    name: str
    kind: Kind
    infer: Callable[..., Any]
    reference: Callable[..., Any]
    grad: Callable[..., tuple[Any, ...]] | None = None
    code: Callable[..., Any] | None = None
    multiple: bool = False
    effect: bool = False

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        return current().bind(self, args, attrs)

    def __repr__(self) -> str:
        return self.name.upper()


def row(name: str, **columns: Any) -> Primitive:
    """Add a row to the table. Raises ValueError if the name is taken."""
    if name in ROWS:
        raise ValueError(f"there is already a primitive named {name!r}")
    ROWS[name] = Primitive(name, **columns)
    return ROWS[name]


def blocked(*args: Any, **attrs: Any) -> tuple[None, ...]:
    """The ``grad`` of rows through which no gradient flows (comparisons, integer results)."""
    return (None,) * 8
