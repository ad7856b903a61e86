"""Whether two backends agree on a call: what they return or raise, its structure, shapes, dtypes and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from tests.differential.cases import Case
from tests.differential.draw import Call
from tests.differential.wire import Answer, Leaf, Raised, leaves

MANY = 1000  # random numbers: from so many on, their moments are compared


@dataclass(frozen=True)
class Disagreement:
    """What differs: ``kind`` is one of

    - raises: we raise, Keras's JAX backend does not;  accepts: the other way round
    - structure, kind, shape, dtype, value: of the result
    - gradient: the same of gradients, or only one side has them
    - died: one side's process crashed, or did not answer in time
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class Room:
    """What values may differ by: see ``Case``, and the coarsest dtype on a gradient's way, as its unit of rounding."""

    loose: float
    steps: int
    coarsest: float = 0.0


def disagreements(case: Case, call: Call, ours: Answer, theirs: Answer) -> list[Disagreement]:
    room = Room(case.loose, case.steps)
    found = [*_results(ours.result, theirs.result, _values(case), room)]
    if not found and case.reading is not None:
        found += _results(ours.reading, theirs.reading, _equal, room)
    if not found and case.grad and not isinstance(ours.result, Raised):
        coarsest = max((_unit(x.dtype) for x in leaves((call.args, call.kwargs)) if _inexact(x)), default=0.0)
        pair = ours.gradients, theirs.gradients
        if pair[0] is None or pair[1] is None:
            differ = [] if pair[0] is pair[1] else [Disagreement("", f"only one has gradients: {_told(pair)}")]
        else:
            differ = [*_results(*pair, _equal, Room(case.loose, case.steps, coarsest))]
        found += [Disagreement("gradient", f"{d.kind} {d.detail}".strip()) for d in differ]
    return found


def _values(case: Case) -> Any:
    if case.reading is not None or not case.values:
        return lambda *_: None
    return _alike if case.moments else _equal


def _results(ours: Any, theirs: Any, compare: Any, room: Room) -> Iterator[Disagreement]:
    if isinstance(ours, Raised) or isinstance(theirs, Raised):
        if not isinstance(theirs, Raised):
            yield Disagreement("raises", f"we raise {_told(ours)}; JAX returns {_told(theirs)}")
        elif not isinstance(ours, Raised):
            yield Disagreement("accepts", f"we return {_told(ours)}; JAX raises {_told(theirs)}")
        return
    if _shape_of(ours) != _shape_of(theirs):
        yield Disagreement("structure", f"ours {_shape_of(ours)}, JAX {_shape_of(theirs)}")
        return
    for x, y in zip(leaves(ours), leaves(theirs), strict=True):
        found = _leaf(x, y, compare, room)
        if found is not None:
            yield found
            return


def _leaf(x: Leaf, y: Leaf, compare: Any, room: Room) -> Disagreement | None:
    if x.kind != y.kind:
        return Disagreement("kind", f"ours is {x.kind} {x.value!r}, JAX's {y.kind} {y.value!r}")
    if x.kind == "value":
        same = x.value == y.value or (x.value != x.value and y.value != y.value)
        return None if same else Disagreement("value", f"ours {x.value!r}, JAX {y.value!r}")
    if x.value.shape != y.value.shape:
        return Disagreement("shape", f"ours {x.value.shape}, JAX {y.value.shape}")
    if x.value.dtype != y.value.dtype:
        return Disagreement("dtype", f"ours {x.value.dtype}, JAX {y.value.dtype}")
    detail = compare(x.value, y.value, room)
    return None if detail is None else Disagreement("value", detail)


def _equal(x: np.ndarray, y: np.ndarray, room: Room) -> str | None:
    """None, or the worst element.

    Floating values may differ by ``room.loose`` units of rounding: of the largest one's or of 1's, about which
    arguments are drawn, so that what cancels out may leave its rounding behind.
    """
    if not _inexact(x):
        error = np.abs(x.astype(np.float64) - y.astype(np.float64)) if room.steps else x != y
        wrong = error > room.steps
    else:
        wide = np.complex128 if x.dtype.kind == "c" else np.float64
        a, b = x.astype(wide), y.astype(wide)
        finite = np.isfinite(b)
        scale = np.abs(b[finite]).max(initial=1.0)
        with np.errstate(all="ignore"):
            error = np.where(a == b, 0, np.abs(a - b))
        error = np.where(np.isnan(a) & np.isnan(b), 0, error)
        wrong = ~(error <= room.loose * max(_unit(x.dtype), room.coarsest) * scale + _least(x.dtype))
    if not wrong.any():
        return None
    badness = np.where(wrong, np.nan_to_num(error.astype(float), nan=np.inf), -1)
    worst = np.unravel_index(int(np.argmax(badness)), x.shape)
    where = f"at {tuple(int(i) for i in worst)} of {x.dtype}{list(x.shape)}"
    return f"{where} ours {x[worst]!s}, JAX {y[worst]!s} ({int(wrong.sum())} of {x.size} differ)"


def _alike(x: np.ndarray, y: np.ndarray, room: Room) -> str | None:
    """Of random numbers: None, or that mean or deviation differ by more than chance explains."""
    if x.size < MANY:
        return None
    a, b = x.astype(np.float64), y.astype(np.float64)
    deviation = max(a.std(), b.std())
    noise = 6 * np.sqrt(2 / x.size) * deviation + _unit(x.dtype) * max(abs(a.mean()), abs(b.mean()))
    if abs(a.mean() - b.mean()) > noise:
        return f"means {a.mean():.4} and {b.mean():.4} of {x.size} numbers"
    if abs(a.std() - b.std()) > 0.2 * deviation:
        return f"deviations {a.std():.4} and {b.std():.4} of {x.size} numbers"
    return None


def _inexact(x: Any) -> bool:
    return isinstance(x, np.ndarray) and (x.dtype.kind in "fc" or x.dtype == ml_dtypes.bfloat16)


def _unit(dtype: np.dtype) -> float:
    """The spacing of the dtype's numbers at 1; 0 for exact ones."""
    if dtype.kind not in "fc" and dtype != ml_dtypes.bfloat16:
        return 0.0
    return float(ml_dtypes.finfo(dtype).eps)


def _least(dtype: np.dtype) -> float:
    """What may be flushed to zero."""
    return float(ml_dtypes.finfo(dtype).tiny)


def _shape_of(structure: Any) -> str:
    if isinstance(structure, dict):
        return "{" + ", ".join(f"{key}: {_shape_of(value)}" for key, value in structure.items()) + "}"
    if isinstance(structure, (list, tuple)):
        inside = ", ".join(map(_shape_of, structure))
        return f"[{inside}]" if isinstance(structure, list) else f"({inside})"
    return "·"


def _told(result: Any) -> str:
    if isinstance(result, Raised):
        return f"{result.error}: {' '.join(result.message.split())[:200]}"
    if isinstance(result, Leaf):
        x = result.value
        return f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else repr(x)
    if isinstance(result, (list, tuple)):
        return f"({', '.join(map(_told, result))})"
    return str(result)
