"""Which rows of its arrays each of many calls gets: what ``Function.over_rows`` accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hornbeam.errors import ShapeError, explain


def check_samples(arrays: Sequence[np.ndarray]) -> int:
    """How many samples the arrays have. Raises ShapeError if that is not one number."""
    if not arrays:
        raise ShapeError("over_rows: there is no array among the arguments to take rows of.")
    found = {a.shape[:1] for a in arrays}
    if len(found) > 1 or () in found:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise ShapeError(
            explain(
                f"over_rows: arrays of shapes {shapes} have no common number of samples.",
                why="Every call gets the same rows of all of them.",
                fix="give every array one first axis, of the same length; close over what is no sample",
            )
        )
    return found.pop()[0]


def check_rows(rows: Any, samples: int) -> np.ndarray | range:
    """``rows`` as int64[calls, batch], or the range that it is. Raises ShapeError, TypeError or IndexError."""
    if isinstance(rows, range):
        if rows.step < 1 or not rows:
            raise ShapeError(f"over_rows: {rows} must go up and have at least one start of a batch.")
        lowest, highest = rows[0], rows[-1] + rows.step - 1
    else:
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu":
            raise TypeError(f"over_rows: rows must be integers, not {rows.dtype}.")
        if rows.ndim != 2 or not rows.size:
            raise ShapeError(f"over_rows: rows must have shape (calls, batch), both at least 1, got {rows.shape}.")
        rows = np.ascontiguousarray(rows, np.int64)
        lowest, highest = rows.min(), rows.max()
    if lowest < 0 or highest >= samples:
        raise IndexError(f"over_rows: rows {lowest} … {highest} of arrays with {samples} samples.")
    return rows


def batch_of(rows: np.ndarray | range) -> int:
    """How many rows a call gets."""
    return rows.step if isinstance(rows, range) else rows.shape[1]


def each(rows: np.ndarray | range) -> Iterator[Any]:
    """What to index an array with for each call."""
    if isinstance(rows, range):
        return (slice(first, first + rows.step) for first in rows)
    return iter(rows)
