"""``where``: of a condition, a choice; of anything else, the answer to "which session is it in?"."""

from __future__ import annotations

from typing import Any

from hornbeam.ops.indexing import where as choose
from hornbeam.runtime.where import where as locate


def where(x: Any, *choices: Any) -> Any:
    """With two choices, ``choices[0]`` where the bool tensor ``x`` holds and ``choices[1]`` elsewhere, broadcast.

    With none, a report of where ``x`` is (a tensor, variable, layer, model, optimizer, function, graph or session):
    which session holds its state, how many bytes, which engine computes, and on which of your lines it came to be.

    Raises TypeError for one choice, or for something that has nothing to do with this runtime.
    """
    if len(choices) == 1:
        raise TypeError("where takes a condition and two choices, or one thing to look for.")
    return choose(x, *choices) if choices else locate(x)
