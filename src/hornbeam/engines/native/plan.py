"""The memory plan: which buffers there are, when they live, and where in one arena they lie."""

from __future__ import annotations

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
            size = -(-max(node.spec.nbytes, 1) // ALIGNMENT) * ALIGNMENT
            at = 0
            for start, end, a, b in sorted(placed):
                if a <= last and first <= b and start < at + size and at < end:
                    at = end
            self.offsets[node] = at
            placed.append((at, at + size, first, last))
            self.nbytes = max(self.nbytes, at + size)
