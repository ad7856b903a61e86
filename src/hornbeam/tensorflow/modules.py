"""``tf.Module``: an object that knows the variables in its attributes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hornbeam.runtime.variable import variable_of
from hornbeam.tensorflow.scopes import name_scope


class Module:
    """Finds the variables and modules in its attributes, and in lists, tuples and dicts there."""

    def __init__(self, name: str | None = None) -> None:
        self._name = name or type(self).__name__.lower()

    @property
    def name(self) -> str:
        return getattr(self, "_name", type(self).__name__.lower())

    @property
    def name_scope(self) -> Any:
        return name_scope(self.name)

    @classmethod
    def with_name_scope(cls, method: Any) -> Any:
        """A method whose operations in a graph are named after the module."""

        def scoped(self: Module, *args: Any, **kwargs: Any) -> Any:
            with self.name_scope:
                return method(self, *args, **kwargs)

        return scoped

    @property
    def variables(self) -> tuple[Any, ...]:
        """All variables, each once, sorted by the names of their attributes."""
        found = {id(v): v for v in _walk(self, set()) if variable_of(v) is not None}
        return tuple(found.values())

    @property
    def trainable_variables(self) -> tuple[Any, ...]:
        return tuple(v for v in self.variables if v.trainable)

    @property
    def non_trainable_variables(self) -> tuple[Any, ...]:
        return tuple(v for v in self.variables if not v.trainable)

    @property
    def submodules(self) -> tuple[Module, ...]:
        """All modules below this one."""
        found = {id(m): m for m in _walk(self, set()) if isinstance(m, Module)}
        return tuple(found.values())


def _walk(x: Any, seen: set[int]) -> Iterator[Any]:
    """What is below ``x``: the variables and modules, each before its own parts."""
    for part in _parts(x):
        if id(part) in seen:
            continue
        seen.add(id(part))
        if variable_of(part) is not None:
            yield part
            continue
        if isinstance(part, Module):
            yield part
        if hasattr(part, "trainable_variables") and not isinstance(part, Module):
            yield from part.variables  # a Keras layer or model
        else:
            yield from _walk(part, seen)


def _parts(x: Any) -> list[Any]:
    if isinstance(x, Module):
        return [value for _, value in sorted(vars(x).items())]
    if isinstance(x, dict):
        return [x[key] for key in sorted(x, key=str)]
    return list(x) if isinstance(x, (list, tuple)) else []
