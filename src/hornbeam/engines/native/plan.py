"""The memory plan: which buffers there are, when they live, and where in one arena they lie."""

from __future__ import annotations

from itertools import combinations

from hornbeam.ir.check import CheckError
from hornbeam.ir.node import Node

ALIGNMENT = 64


class Plan:
    """Offsets in one arena for buffers that are not arguments, constants or results.

    lives: buffer -> (first, last) step at which it is needed.
    """

    def __init__(self, lives: dict[Node, tuple[int, int]]) -> None:
        self.lives = lives
        self.offsets: dict[Node, int] = {}
        self.nbytes = 0
        # The largest first, each at the lowest place that is free for as long as it lives.
        placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
        for node in sorted(lives, key=lambda n: -n.spec.nbytes):
            first, last = lives[node]
            size = -(-node.spec.nbytes // ALIGNMENT) * ALIGNMENT
            at = 0
            for start, end, a, b in sorted(placed):
                if a <= last and first <= b and start < at + size and at < end:
                    at = end
            self.offsets[node] = at
            placed.append((at, at + size, first, last))
            self.nbytes = max(self.nbytes, at + size)

    def verify(self) -> None:
        """Raises CheckError unless buffers that live at the same time lie apart, aligned and inside the arena."""
        for node, at in self.offsets.items():
            if at % ALIGNMENT or at + node.spec.nbytes > self.nbytes:
                raise CheckError(f"{node!r} lies at {at} of an arena of {self.nbytes} bytes.")
        for a, b in combinations(self.offsets, 2):
            (first, last), (begin, end) = self.lives[a], self.lives[b]
            at, other = self.offsets[a], self.offsets[b]
            if first <= end and begin <= last and at < other + b.spec.nbytes and other < at + a.spec.nbytes:
                raise CheckError(f"{a!r} at {at} and {b!r} at {other} overlap while both are needed.")
