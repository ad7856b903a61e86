"""``x[index]`` and its writing twin: the whole of NumPy's indexing on values of static shape.

An index is first understood (``_Plan``) as three steps: a *cut* (slices and static integers: views only), then either
a *slide* (0-d integer tensors: a dynamic slice) or a *gather* (integer arrays), then a reshape that drops integer
axes and adds new ones. ``getitem`` takes the steps forward; ``setitem`` reads, replaces and takes them back.

What NumPy checks, we check where the index is known. An index that only a tensor knows is clamped when read, as in
the rows; when written, a slide is clamped and a scatter drops it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.spec import Shape, broadcast_shapes
from hornbeam.errors import DTypeError, ShapeError, TracingError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.operators import Operators, lift
from hornbeam.ir.primitives.arith import ADD, AND, MAX, MIN, MUL, OR, SELECT, scalar
from hornbeam.ir.primitives.index import (
    DYNAMIC_SLICE,
    DYNAMIC_UPDATE_SLICE,
    GATHER,
    SCATTER,
    wide_indices,
    wrap_negative,
)
from hornbeam.ir.primitives.movement import (
    BROADCAST,
    CONCAT,
    PAD,
    RESHAPE,
    REVERSE,
    SLICE,
    inverse_permutation,
)


class IndexOutOfRangeError(ShapeError, IndexError):
    """An index outside its axis, or too many of them. An IndexError, so that ``for row in x`` knows where to stop."""


@dataclass
class _Cut:
    """Elements ``start, start + stride, ...`` below ``limit`` of one axis, then in reverse if ``backwards``."""

    start: int
    limit: int
    stride: int = 1
    backwards: bool = False

    @property
    def count(self) -> int:
        return -(-(self.limit - self.start) // self.stride)


@dataclass
class _Plan:
    """An index, understood.

    cuts: one for each axis of the operand; integer and array axes are cut too (an integer to its element).
    slides: axis -> 0-d integer tensor, if there are no arrays.
    axes, indices, many: the axes indexed by arrays, the arrays as one [*many, k] value, and their broadcast shape.
    at: where the dimensions ``many`` go among those that remain.
    shape: of the result.
    """

    cuts: list[_Cut]
    slides: dict[int, Any] = field(default_factory=dict)
    axes: tuple[int, ...] = ()
    indices: Any = None
    many: Shape | None = None
    at: int = 0
    shape: Shape = ()


def getitem(x: Any, index: Any) -> Any:
    """``x[index]``, as in NumPy.

    Raises IndexOutOfRangeError where NumPy raises IndexError, DTypeError for what is no index, and TracingError for a
    mask whose value is not known while tracing.
    """
    plan = _understand(tuple(x.shape), index)
    out = _read_cut(x, plan.cuts)
    if plan.slides:
        starts, sizes = _starts(plan, out)
        out = DYNAMIC_SLICE(out, *starts, sizes=sizes)
    if plan.axes:
        order, first = _together(plan.axes, len(out.shape))
        out = GATHER(out.transpose(order), plan.indices, axis=first)
        out = out.transpose(_many_to(plan, first, len(out.shape)))
    elif plan.many is not None:  # only x[True] and the like: a new axis of one element or none
        size = int(np.prod(plan.many))
        dims = (*out.shape[: plan.at], *plan.many, *out.shape[plan.at :])
        out = out.reshape(plan.shape) if size else BROADCAST(_one_more(out, plan), shape=dims).reshape(plan.shape)
    return out.reshape(plan.shape)


def setitem(x: Any, index: Any, value: Any, mode: str = "set") -> Any:
    """``x`` with ``value`` written to ``x[index]``: a new value, ``x`` is not changed.

    mode: ``set``, or ``add``, ``mul``, ``min``, ``max`` to combine with what is there. An element that is addressed
      several times is combined several times; ``set`` keeps the last.
    ``value`` is broadcast to ``x[index]`` and cast to the dtype of ``x``. Raises what ``getitem`` raises, and
    ShapeError if ``value`` does not broadcast.
    """
    if mode not in _COMBINE:
        raise ValueError(f"setitem: mode {mode!r} is not one of {', '.join(_COMBINE)}.")
    plan = _understand(tuple(x.shape), index)
    value = _fit(value, plan.shape, x)
    if value.size == 0:
        return x
    cut = _read_cut(x, plan.cuts)
    if plan.slides:
        starts, sizes = _starts(plan, cut)
        new = value.reshape(sizes)
        if mode != "set":
            new = _combine(mode, DYNAMIC_SLICE(cut, *starts, sizes=sizes), new)
        new = DYNAMIC_UPDATE_SLICE(cut, new, *starts)
    elif plan.axes:
        order, first = _together(plan.axes, len(cut.shape))
        moved = cut.transpose(order)
        k, many = len(plan.axes), plan.many or ()
        gathered = (*moved.shape[:first], *many, *moved.shape[first + k :])
        back = _many_to(plan, first, len(gathered))
        updates = value.reshape(tuple(gathered[i] for i in back)).transpose(inverse_permutation(back))
        if x.dtype == dtypes.bool_ and mode != "set":
            raise DTypeError(f"setitem: mode {mode!r} with array indices is not defined for bool; use mode 'set'.")
        new = SCATTER(moved, plan.indices, updates, axis=first, mode=mode)
        new = new.transpose(inverse_permutation(order))
    else:
        new = _combine(mode, cut, value.reshape(tuple(cut.shape)))
    return _write_cut(x, plan.cuts, new)


_COMBINE = {"set": None, "add": ADD, "mul": MUL, "min": MIN, "max": MAX}
_COMBINE_BOOL = {"set": None, "add": OR, "mul": AND, "min": AND, "max": OR}


def _combine(mode: str, old: Any, new: Any) -> Any:
    combine = (_COMBINE_BOOL if old.dtype == dtypes.bool_ else _COMBINE)[mode]
    return new if combine is None else combine(old, new)


def _fit(value: Any, shape: Shape, x: Any) -> Any:
    """``value`` as one of x's dtype and of ``shape``; leading 1s that ``shape`` lacks are dropped, as NumPy does."""
    value = lift(value if isinstance(value, (Operators, bool, int, float, complex)) else np.asarray(value), x.dtype)
    given = tuple(value.shape)
    while len(value.shape) > len(shape) and value.shape[0] == 1:
        value = value.reshape(tuple(value.shape[1:]))
    try:
        fits = broadcast_shapes(tuple(value.shape), shape) == shape
    except ShapeError:
        fits = False
    if not fits:
        raise ShapeError(f"a value of shape {given} does not broadcast to {shape}, the shape of x[index].")
    return value if tuple(value.shape) == shape else BROADCAST(value, shape=shape)


# -- cuts: views only ------------------------------------------------------------------------------


def _read_cut(x: Any, cuts: list[_Cut]) -> Any:
    if any((c.start, c.limit, c.stride) != (0, n, 1) for c, n in zip(cuts, x.shape, strict=True)):
        starts, limits, strides = (tuple(getattr(c, k) for c in cuts) for k in ("start", "limit", "stride"))
        x = SLICE(x, starts=starts, limits=limits, strides=strides)
    return _reverse(x, cuts)


def _reverse(x: Any, cuts: list[_Cut]) -> Any:
    axes = tuple(i for i, c in enumerate(cuts) if c.backwards)
    return REVERSE(x, axes=axes) if axes else x


def _write_cut(x: Any, cuts: list[_Cut], new: Any) -> Any:
    """``x`` with ``new`` where ``_read_cut`` reads."""
    new = _reverse(new, cuts)
    if tuple(new.shape) == tuple(x.shape):
        return new
    if all(c.stride == 1 for c in cuts):
        return DYNAMIC_UPDATE_SLICE(x, new, *(constant(np.asarray(c.start, np.int32)) for c in cuts))
    # A strided write is a choice between x and the padded value: views and one map.
    before = tuple(c.start for c in cuts)
    between = tuple(c.stride - 1 for c in cuts)
    reach = (c.start + (c.count - 1) * c.stride + 1 for c in cuts)
    after = tuple(n - r for n, r in zip(x.shape, reach, strict=True))
    mask = BROADCAST(constant(np.asarray(True)), shape=tuple(new.shape))
    mask = PAD(mask, constant(np.asarray(False)), before=before, after=after, between=between)
    return SELECT(mask, PAD(new, scalar(0, x), before=before, after=after, between=between), x)


# -- slides and gathers ----------------------------------------------------------------------------


def _starts(plan: _Plan, cut: Any) -> tuple[list[Any], Shape]:
    zero = constant(np.asarray(0, np.int32))
    starts = [plan.slides.get(i, zero) for i in range(len(cut.shape))]
    return starts, tuple(1 if i in plan.slides else n for i, n in enumerate(cut.shape))


def _together(axes: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], int]:
    """An order of axes in which ``axes`` are neighbours, and where they start: in place if they already are."""
    if axes == tuple(range(axes[0], axes[0] + len(axes))):
        return tuple(range(rank)), axes[0]
    return axes + tuple(i for i in range(rank) if i not in axes), 0


def _many_to(plan: _Plan, first: int, rank: int) -> tuple[int, ...]:
    """The order that moves the gathered dimensions from ``first`` to where NumPy puts them."""
    count = len(plan.many or ())
    many = tuple(range(first, first + count))
    rest = tuple(i for i in range(rank) if i not in many)
    return rest[: plan.at] + many + rest[plan.at :]


def _one_more(x: Any, plan: _Plan) -> Any:
    ones = (1,) * len(plan.many or ())
    return RESHAPE(x, shape=(*x.shape[: plan.at], *ones, *x.shape[plan.at :]))


# -- understanding an index ------------------------------------------------------------------------


@dataclass
class _Entry:
    """One element of an index. kind: ``new``, ``rest`` (an Ellipsis), ``slice``, ``int``, ``slide`` (a 0-d integer
    tensor), ``array``, or ``flag`` (a 0-d bool: an array that takes no axis). length: of a mask's axis."""

    kind: str
    value: Any = None
    length: int | None = None

    @property
    def takes(self) -> int:
        return self.kind not in ("new", "rest", "flag")


def _understand(shape: Shape, index: Any) -> _Plan:
    entries = _entries(index)
    taken = sum(e.takes for e in entries)
    if taken > len(shape):
        raise IndexOutOfRangeError(
            f"too many indices: {taken} for a tensor of shape {shape}, which has {len(shape)} axes."
        )
    if not any(e.kind == "rest" for e in entries):
        entries.append(_Entry("rest"))
    has_arrays = any(e.kind in ("array", "flag") for e in entries)

    plan = _Plan([])
    arrays: list[tuple[int, Any]] = []  # axis (-1: none), index
    advanced: list[int] = []  # positions among the entries; integers beside arrays count as arrays
    dims: list[int | None] = []  # of the result; None where the arrays' dimensions go
    remaining = 0  # dimensions so far that come from the operand's own
    for position, entry in enumerate(entries):
        axis = len(plan.cuts)
        if entry.kind == "new":
            dims.append(1)
            continue
        if entry.kind == "rest":
            count = len(shape) - taken
            plan.cuts += [_Cut(0, n) for n in shape[axis : axis + count]]
            dims += shape[axis : axis + count]
            remaining += count
            continue
        if has_arrays and entry.kind != "slice":
            if not advanced:
                plan.at = remaining
                dims.append(None)
            advanced.append(position)
            if entry.takes:
                arrays.append((axis, _from_front(entry, axis, shape)))
                plan.cuts.append(_Cut(0, shape[axis]))
            else:
                arrays.append((-1, entry.value))
            continue
        if entry.kind == "slice":
            plan.cuts.append(_slice_cut(entry.value, shape[axis]))
            dims.append(plan.cuts[-1].count)
            remaining += 1
        elif entry.kind == "int":
            i = int(_from_front(entry, axis, shape))
            plan.cuts.append(_Cut(i, i + 1))
        else:
            plan.slides[axis] = _from_front(entry, axis, shape)
            plan.cuts.append(_Cut(0, shape[axis]))
            if shape[axis] == 0:
                raise IndexOutOfRangeError(f"axis {axis} of shape {shape} is empty: no index is in range.")

    if has_arrays:
        plan.many = broadcast_shapes(*(tuple(a.shape) for _, a in arrays), name="indices")
        plan.axes = tuple(axis for axis, _ in arrays if axis >= 0)
        if advanced != list(range(advanced[0], advanced[-1] + 1)):  # arrays apart: their dimensions go in front
            plan.at = 0
            dims.remove(None)
            dims.insert(0, None)
        if plan.axes:
            plan.indices = _stack(arrays, plan.many, shape)
    plan.shape = tuple(d for dim in dims for d in ((plan.many or ()) if dim is None else (dim,)))
    return plan


def _entries(index: Any) -> list[_Entry]:
    """The elements of an index by kind; masks as the arrays of their positions."""
    entries: list[_Entry] = []
    for item in index if isinstance(index, tuple) else (index,):
        if item is None:
            entries.append(_Entry("new"))
        elif item is Ellipsis:
            if any(e.kind == "rest" for e in entries):
                raise IndexOutOfRangeError("an index can only have a single Ellipsis ('...').")
            entries.append(_Entry("rest"))
        elif isinstance(item, slice):
            entries.append(_Entry("slice", item))
        elif isinstance(item, int) and not isinstance(item, bool):
            entries.append(_Entry("int", np.asarray(item) if abs(item) < 2**62 else np.asarray(2**62)))
        elif isinstance(item, Operators) and item.dtype != dtypes.bool_:
            if not dtypes.is_integer(item.dtype):
                raise DTypeError(_not_an_index(item, f"a tensor of {item.dtype.name}"))
            entries.append(_Entry("array" if item.shape else "slide", item))
        else:
            array = _as_array(item)
            if array.dtype == dtypes.bool_:
                entries += _mask_entries(array)
            else:
                entries.append(_Entry("array" if array.ndim else "int", array))
    return entries


def _as_array(item: Any) -> np.ndarray:
    """An index that is a list, an array or a mask, as an integer or bool array."""
    if isinstance(item, Operators):
        array = _known_mask(item)
    else:
        try:
            array = np.asarray(item)
        except ValueError:
            raise ShapeError(f"the index {item!r} is ragged; rows of an index array must be of equal length.") from None
    if array.size == 0 and isinstance(item, (list, tuple)):
        array = array.astype(np.int64)
    if not (dtypes.is_bool(array.dtype) or dtypes.is_integer(array.dtype)):
        raise DTypeError(_not_an_index(item, f"{type(item).__name__} of {array.dtype}"))
    return array


def _known_mask(mask: Any) -> np.ndarray:
    try:
        array = np.asarray(mask) if hasattr(mask, "__array__") else None
    except TracingError:
        array = None
    if array is None or array.dtype != dtypes.bool_:
        raise TracingError(
            explain(
                f"a mask of shape {tuple(mask.shape)} is used as an index, but its value is not known while tracing.",
                why="How many elements it selects decides the shape of the result, and shapes are static here.",
                fix="keep the shape and blank out the rest:   hb.where(mask, x, 0)",
            )
        )
    return array


def _not_an_index(item: Any, what: str) -> str:
    return (
        f"only integers, slices, Ellipsis, None, and integer or bool arrays are indices, not {what}: {item!r}.\n"
        "  Fix: cast positions to an integer dtype:   hb.cast(i, 'int32')"
    )


def _mask_entries(mask: np.ndarray) -> list[_Entry]:
    """A mask as the arrays of positions where it holds."""
    if mask.ndim == 0:
        return [_Entry("flag", np.zeros(int(mask), np.int64))]
    return [_Entry("array", found, length=n) for found, n in zip(np.nonzero(mask), mask.shape, strict=True)]


def _from_front(entry: _Entry, axis: int, shape: Shape) -> Any:
    """The positions along ``axis``, counted from the front. Raises IndexOutOfRangeError for known ones."""
    indices, size = entry.value, shape[axis]
    if isinstance(indices, Operators):
        return wrap_negative(indices, size)
    if entry.length not in (None, size):
        raise IndexOutOfRangeError(
            f"a mask of length {entry.length} does not fit axis {axis} of shape {shape}, whose length is {size}."
        )
    wrong = (indices < -size) | (indices >= size)
    if wrong.any():
        worst = int(indices[wrong].flat[0]) if indices.ndim else int(indices)
        valid = f"{-size} ... {size - 1}" if size else "none"
        raise IndexOutOfRangeError(f"index {worst} is out of range for axis {axis} of shape {shape} (valid: {valid}).")
    indices = indices.astype(np.int64)
    return np.where(indices < 0, indices + size, indices)


def _slice_cut(item: slice, size: int) -> _Cut:
    bounds = [_bound(b) for b in (item.start, item.stop, item.step)]
    if bounds[2] == 0:
        raise ShapeError("a slice's step must not be zero.")
    walk = range(*slice(*bounds).indices(size))
    if not len(walk):
        return _Cut(0, 0)
    low, high = min(walk[0], walk[-1]), max(walk[0], walk[-1])
    return _Cut(low, high + 1, abs(walk.step) if len(walk) > 1 else 1, len(walk) > 1 and walk.step < 0)


def _bound(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return operator.index(value)
    except TypeError:
        if not isinstance(value, Operators):
            raise DTypeError(f"a slice's bounds must be integers, got {value!r}.") from None
    raise TracingError(
        explain(
            "a slice's bounds must be integers that are known while tracing; got a tensor.",
            why="They decide the shape of the result, and shapes are static here.",
            fix="fix the length and let only the start vary:   hb.slice(x, starts, sizes)",
        )
    )


def _stack(arrays: list[tuple[int, Any]], many: Shape, shape: Shape) -> Any:
    """The arrays, broadcast, as one value [*many, k]; what is known is one constant."""
    own = [(axis, a) for axis, a in arrays if axis >= 0]
    if all(isinstance(a, np.ndarray) for _, a in own):
        small = max(shape) < 2**31
        stacked = np.stack([np.broadcast_to(a, many) for _, a in own], axis=-1)
        return constant(stacked.astype(np.int32 if small else np.int64))
    least = np.int32 if max(shape) < 2**31 else np.int64
    values = [
        wide_indices(a, shape[axis]) if isinstance(a, Operators) else constant(a.astype(least)) for axis, a in own
    ]
    dtype = dtypes.result_type(*values)
    columns = [RESHAPE(BROADCAST(lift(v, dtype), shape=many), shape=(*many, 1)) for v in values]
    return columns[0] if len(columns) == 1 else CONCAT(*columns, axis=len(many))
