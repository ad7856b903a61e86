"""Tapes: records of what was applied, for ``ir.grad.backward`` to walk back.

Which tapes are recording is a ContextVar, so a tape never sees another thread's or task's work. A tape records under
the interpreter under which it was entered: inside a traced body its enclosing tape sees the control-flow row only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from hornbeam.base import dtypes, tree
from hornbeam.errors import GradientError, ShapeError, explain
from hornbeam.ir.bind import current
from hornbeam.ir.grad import Record, backward, ones_like, reached_from, zeros_like
from hornbeam.ir.operators import Operators
from hornbeam.ir.primitive import Primitive
from hornbeam.runtime import session as sessions
from hornbeam.runtime.tensor import Tensor, as_tensor

active: ContextVar[tuple[GradientTape, ...]] = ContextVar("hornbeam_tapes", default=())


def record(primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any], outs: tuple[Any, ...]) -> None:
    """Note one application on every tape that is recording under the current interpreter."""
    here = current()
    for tape in active.get():
        if tape.interpreter is here and not tape.paused:
            tape.records.append(Record(primitive, args, attrs, outs))


def note_read(variable: Any, value: Tensor) -> None:
    """Tell those tapes that ``value`` was read from ``variable``."""
    here = current()
    for tape in active.get():
        if tape.interpreter is here and not tape.paused:
            tape.reads.setdefault(id(variable), (variable, {}))[1][id(value)] = value


class GradientTape:
    """Records what is computed in its block, to differentiate it afterwards.

        with hb.GradientTape() as tape:
            loss = hb.mean(hb.square(model(x) - y))
        grads = tape.gradient(loss, model.trainable_variables)

    Trainable variables are watched when they are read; ``watch`` adds tensors. Inside a ``function`` the tape works on
    symbolic tensors just the same. Nested tapes give higher derivatives.

    Args:
        persistent: allow more than one call of ``gradient``; the records are kept until the tape is dropped.
        watch_accessed_variables: whether reading a trainable variable watches it.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self.persistent = persistent
        self.watch_accessed_variables = watch_accessed_variables
        self.records: list[Record] = []
        self.reads: dict[int, tuple[Any, dict[int, Tensor]]] = {}  # variable -> the tensors read from it
        self.watched: dict[int, Any] = {}  # tensors and variables watched by hand
        self.interpreter: Any = None
        self.paused = False
        self._recording = False
        self._used = False
        self._unconnected: dict[int, str] = {}  # source -> why its gradient was None

    def __enter__(self) -> GradientTape:
        if self._recording:
            raise GradientError("this tape is recording already; use another one inside its block.")
        self.interpreter, self._recording, self._used = current(), True, False
        active.set((*active.get(), self))
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        self._recording = False
        active.set(tuple(t for t in active.get() if t is not self))

    def watch(self, tensor: Any) -> None:
        """Differentiate with respect to these tensors or variables too (any structure of them).

        Raises GradientError for Python numbers, arrays, and integer tensors, which have no gradients.
        """
        for leaf in tree.leaves(tensor):
            value = getattr(leaf, "__hornbeam_variable__", leaf)
            if not hasattr(value, "spec"):
                raise GradientError(
                    explain(
                        f"watch: {leaf!r:.80} is a {type(leaf).__name__}, not a tensor.",
                        why="Only what is computed from a tensor can be followed.",
                        fix="x = hb.tensor(x); tape.watch(x)",
                    )
                )
            if not dtypes.is_inexact(value.dtype):
                raise GradientError(
                    explain(
                        f"watch: a tensor of {value.dtype.name} has no gradient.",
                        fix="x = hb.cast(x, 'float32'); tape.watch(x)",
                    )
                )
            self.watched[id(value)] = value

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables watched so far, in the order of their first reading."""
        return tuple(v for v, _ in self.reads.values() if self._watches(v))

    def _watches(self, variable: Any) -> bool:
        return id(variable) in self.watched or (self.watch_accessed_variables and variable.trainable)

    def reset(self) -> None:
        """Forget everything recorded so far. Raises GradientError outside the tape's block."""
        if not self._recording:
            raise GradientError(explain("reset: the tape is not recording.", fix="call it inside   with tape:"))
        self.records.clear()
        self.reads.clear()

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within the block, this tape records nothing."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    # -- derivatives -------------------------------------------------------------------------------

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = None
    ) -> Any:
        """The gradient of ``target`` (several targets are summed) with respect to each of ``sources``.

        Args:
            sources: tensors or variables in any structure, which the result has too.
            output_gradients: cotangents in the structure of ``target``; ones by default.
            unconnected_gradients: None (the default) gives None where nothing connects target and source, and
                ``explain`` says why; "zero" gives zeros.
        Raises:
            GradientError: on the second call of a tape that is not persistent, and for targets or sources that are not
                tensors of a floating dtype.
        """
        zero = _wants_zero(unconnected_gradients)
        recorded = getattr(self.interpreter, "gradients", None)
        if recorded is not None:  # by a graph, which differentiates when it runs
            flat, structure = tree.flatten(sources)
            grads = recorded(target, flat, output_gradients)
            grads = [zeros_like(s) if g is None and zero else g for g, s in zip(grads, flat, strict=True)]
            return tree.unflatten(structure, grads)
        leaves, target_structure = tree.flatten(target)
        if not leaves:
            raise GradientError(explain("gradient: there is no target; it is None or an empty structure."))
        targets = [self._target(t) for t in leaves]
        seeds = _seeds(targets, target_structure, output_gradients)
        flat, structure = tree.flatten(sources)
        with self._derivative():
            grads = self._pull(targets, seeds, flat, zero)
        return tree.unflatten(structure, grads)

    def jacobian(self, target: Any, sources: Any, unconnected_gradients: Any = None, **options: Any) -> Any:
        """d target / d source, of shape ``target.shape + source.shape``, for each of ``sources``; one row at a time."""
        zero, target = _wants_zero(unconnected_gradients), self._target(target)
        flat, structure = tree.flatten(sources)
        with self._derivative():
            rows = [self._pull([target], [seed], flat, zero) for seed in _unit_seeds(target, 1)]
        return tree.unflatten(structure, _stacked(rows, flat, tuple(target.shape)))

    def batch_jacobian(self, target: Any, source: Any, unconnected_gradients: Any = None, **options: Any) -> Any:
        """For each row b of the leading axis, d target[b] / d source[b]: shape ``target.shape + source.shape[1:]``.

        Rows must not mix. Raises ShapeError if the leading axes differ.
        """
        zero, target = _wants_zero(unconnected_gradients), self._target(target)
        if not target.shape or not source.shape or target.shape[0] != source.shape[0]:
            raise ShapeError(explain(f"batch_jacobian: {target.shape} and {source.shape} have no common leading axis."))
        with self._derivative():
            rows = [self._pull([target], [seed], [source], zero) for seed in _unit_seeds(target, target.shape[0])]
        (out,) = _stacked(rows, [source], (len(rows),))
        if out is None:
            return None
        return out.transpose((1, 0, *range(2, out.ndim))).reshape((*target.shape, *source.shape[1:]))

    @contextmanager
    def _derivative(self) -> Iterator[None]:
        """One set of gradients: all that a tape gives unless it is persistent."""
        if self._used and not self.persistent:
            raise GradientError(
                explain(
                    "this tape has given its gradients; a tape that is not persistent gives one set.",
                    fix="hb.GradientTape(persistent=True), or ask for all sources in one call",
                )
            )
        self._used = True
        if not self.persistent:
            self._stop()
        try:
            yield
        finally:
            if not self.persistent:
                self.records = []
                self.reads = {i: (v, {}) for i, (v, _) in self.reads.items()}  # what was watched may still be asked

    def _pull(self, targets: list[Tensor], seeds: list[Any], sources: list[Any], zero: bool) -> list[Any]:
        """Gradients of the targets, weighted by seeds, with respect to each source."""
        entered = [self._tensors(s) for s in sources]
        found = iter(backward(self.records, targets, seeds, [t for group in entered for t in group]))
        grads: list[Any] = []
        for source, group in zip(sources, entered, strict=True):
            parts = [g for g in [next(found) for _ in group] if g is not None]
            if parts:
                grads.append(sum(parts[1:], parts[0]))
            elif zero:
                grads.append(zeros_like(_variable(source)))
            else:
                self._unconnected[id(_variable(source))] = why = self._why(targets, source)
                sessions.current().ledger.note("unconnected gradient", why)
                grads.append(None)
        return grads

    def _target(self, x: Any) -> Tensor:
        variable = _variable(x)
        if read := self._read_as(variable):
            x = read[-1]
        elif isinstance(variable, Operators):
            x = as_tensor(variable)
        if not isinstance(x, Tensor):
            raise GradientError(
                explain(
                    f"gradient: the target is a {type(x).__name__}, not a tensor of this runtime.",
                    why="What was computed with NumPy or Python leaves no record to differentiate.",
                    fix="compute it with operations of this runtime, inside the tape's block",
                )
            )
        if not dtypes.is_inexact(x.dtype):
            what = f"gradient: the target is {x.dtype.name}; only floating tensors have gradients."
            raise GradientError(explain(what, fix="differentiate what it was cast, rounded or counted from"))
        return x

    def _tensors(self, source: Any) -> list[Tensor]:
        """The tensors through which a source entered the records."""
        variable = _variable(source)
        if isinstance(variable, Tensor):
            return [variable] if id(variable) in self.watched or self._made_here(variable) else []
        if not isinstance(variable, Operators):
            what = f"gradient: a source is a {type(source).__name__}, not a tensor or variable."
            raise GradientError(explain(what, fix="x = hb.tensor(x); tape.watch(x)   # before computing with it"))
        return self._read_as(variable) if self._watches(variable) else []

    def _read_as(self, variable: Any) -> list[Tensor]:
        """What was read from ``variable`` while this tape recorded."""
        return list(self.reads[id(variable)][1].values()) if id(variable) in self.reads else []

    def _made_here(self, tensor: Tensor) -> bool:
        """Whether a recorded application of watched values made ``tensor``: differentiating by it needs no watch."""
        return any(o is tensor for r in self.records for o in r.outs)

    def explain(self, target: Any, source: Any) -> str:
        """Why the gradient of ``target`` with respect to ``source`` is None, in one sentence.

        For a tape that is not persistent, ask after ``gradient`` has answered None.
        """
        said = self._unconnected.get(id(_variable(source)))
        return said or self._why([self._target(t) for t in tree.leaves(target)], source)

    def _why(self, targets: list[Tensor], source: Any) -> str:
        variable = _variable(source)
        tensors = self._tensors(source)
        if not dtypes.is_inexact(variable.dtype):
            return f"the source is {variable.dtype.name}; only floating tensors have gradients."
        if not tensors:
            if id(variable) in self.reads:
                return "the variable is not trainable, or not watched by itself: call tape.watch(variable) first."
            if not isinstance(variable, Tensor):
                return "the variable was not read under this tape, in this thread."
            return "the source was not watched: call tape.watch(source) before using it."
        reached = reached_from(tensors, self.records)
        if any(id(t) in reached for t in targets):
            return "they are connected."
        needed = {id(t) for t in targets}
        ends: dict[str, None] = {}
        for primitive, args, _, outs in reversed(self.records):
            if any(id(o) in needed for o in outs):
                needed.update(map(id, args))
                if any(id(a) in reached for a in args):
                    ends[primitive.name] = None
        if ends:
            return f"the path ends at {', '.join(ends)}, through which no gradient flows."
        return (
            "nothing recorded leads from the source to the target: it was computed outside the tape, with NumPy, "
            "or through the assignment of a variable."
        )


def _variable(x: Any) -> Any:
    return getattr(x, "__hornbeam_variable__", x)


def _wants_zero(unconnected: Any) -> bool:
    """From None, "none" or "zero", also as members of TensorFlow's enumeration."""
    given = getattr(unconnected, "value", unconnected)
    if given not in (None, "none", "zero"):
        raise GradientError(f"unconnected_gradients is None, 'none' or 'zero', not {unconnected!r}.")
    return given == "zero"


def _seeds(targets: list[Tensor], structure: tree.TreeDef, given: Any) -> list[Any]:
    """The cotangents ``given`` in the structure of the targets; ones if there are none."""
    if given is None:
        return [ones_like(t) for t in targets]
    try:
        parts = structure.flatten_up_to(given)
    except ValueError as error:
        raise GradientError(explain(f"gradient: output_gradients do not match the targets: {error}")) from None
    seeds = [as_tensor(g, t.dtype) for g, t in zip(parts, targets, strict=True)]
    for seed, target in zip(seeds, targets, strict=True):
        if seed.shape != target.shape:
            what = f"gradient: an output gradient of shape {seed.shape} for a target of {target.shape}."
            raise ShapeError(explain(what))
    return seeds


def _unit_seeds(target: Tensor, rows: int) -> Iterator[Any]:
    """Cotangents that pick the elements of ``target`` one by one, in all of its ``rows`` (or 1) at once."""
    each = target.size // max(rows, 1)
    for i in range(each):
        unit = np.zeros((rows, each), target.dtype)
        unit[:, i] = 1
        yield as_tensor(unit.reshape(target.shape))


def _stacked(rows: list[list[Any]], sources: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """For each source, its gradients in all rows as one tensor of ``shape + source.shape``."""
    out: list[Any] = []
    for k, source in enumerate(sources):
        parts = [row[k] for row in rows]
        if any(p is None for p in parts):
            out.append(None)
        else:
            stacked = as_tensor(parts) if parts else as_tensor(np.zeros((0,), _variable(source).dtype))
            out.append(stacked.reshape((*shape, *source.shape)))
    return out
