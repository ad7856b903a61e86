"""The values of variables in one session, and nothing else. Values are immutable tensors, so a read is a reference."""

from __future__ import annotations

from hornbeam.base.weak import IdentityMap
from hornbeam.runtime.tensor import Tensor


class State(IdentityMap[Tensor]):
    """variable -> Tensor. A variable that nobody else holds takes its value with it."""

    @property
    def nbytes(self) -> int:
        return sum(t.spec.nbytes for t in self.values())
