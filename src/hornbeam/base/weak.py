"""``IdentityMap``: a map by identity that does not keep its keys alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar
from weakref import ref

V = TypeVar("V")


class IdentityMap(Generic[V]):
    """object -> value. A key that nobody else holds takes its value with it.

    (Not a WeakKeyDictionary: that compares keys with ``==``, which for variables is elementwise.)
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ref[Any], V]] = {}

    def __contains__(self, key: Any) -> bool:
        return id(key) in self._entries

    def __getitem__(self, key: Any) -> V:
        return self._entries[id(key)][1]

    def get(self, key: Any) -> V | None:
        entry = self._entries.get(id(key))
        return None if entry is None else entry[1]

    def __setitem__(self, key: Any, value: V) -> None:
        self.update([(key, value)])

    def update(self, pairs: Iterable[tuple[Any, V]]) -> None:
        """Set all of them or, if interrupted, none."""
        entries = self._entries
        new = {}
        for key, value in pairs:
            at = id(key)
            held = entries.get(at)
            weak = ref(key, lambda _, at=at: entries.pop(at, None)) if held is None else held[0]  # type: ignore[misc]
            new[at] = (weak, value)
        entries.update(new)  # one step, which no signal and no other thread can divide

    def __iter__(self) -> Iterator[Any]:
        return iter([key for key in (weak() for weak, _ in list(self._entries.values())) if key is not None])

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> list[V]:
        return [value for _, value in list(self._entries.values())]

    def clear(self) -> None:
        self._entries.clear()
