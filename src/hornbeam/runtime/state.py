"""The values of variables in one session, and nothing else. Values are immutable tensors, so a read is a reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import ref

from hornbeam.runtime.tensor import Tensor


class State:
    """variable -> Tensor, by identity. A variable that nobody else holds takes its value with it.

    (Not a WeakKeyDictionary: that compares keys with ``==``, which for variables is elementwise.)
    """

    def __init__(self) -> None:
        self._values: dict[int, tuple[ref[Any], Tensor]] = {}

    def __contains__(self, variable: Any) -> bool:
        return id(variable) in self._values

    def __getitem__(self, variable: Any) -> Tensor:
        return self._values[id(variable)][1]

    def __setitem__(self, variable: Any, value: Tensor) -> None:
        key = id(variable)
        held = self._values.get(key)
        if held is None:
            values = self._values
            weak = ref(variable, lambda _: values.pop(key, None))
        else:
            weak = held[0]
        self._values[key] = (weak, value)

    def __iter__(self) -> Iterator[Any]:
        return iter([v for v in (weak() for weak, _ in list(self._values.values())) if v is not None])

    def __len__(self) -> int:
        return len(self._values)

    @property
    def nbytes(self) -> int:
        return sum(t.spec.nbytes for _, t in list(self._values.values()))

    def clear(self) -> None:
        self._values.clear()
