"""Tapes: records of what was applied, for ``ir.grad.backward`` to walk back.

Which tapes are recording is a ContextVar, so a tape never sees another thread's or task's work. A tape records under
the interpreter under which it was entered: inside a traced body its enclosing tape sees the control-flow row only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from hornbeam.base import dtypes, tree
from hornbeam.errors import GradientError, explain
from hornbeam.ir import grad as ir_grad
from hornbeam.ir.bind import current
from hornbeam.ir.grad import Record, backward, ones_like, zeros_like
from hornbeam.ir.primitive import Primitive
from hornbeam.runtime.tensor import Tensor, as_tensor

active: ContextVar[tuple[GradientTape, ...]] = ContextVar("hornbeam_tapes", default=())


def record(primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any], outs: tuple[Any, ...]) -> None:
    """Note one application on every tape that is recording under the current interpreter."""
    here = current()
    for tape in active.get():
        if tape.interpreter is here:
            tape.records.append(Record(primitive, args, attrs, outs))


def note_read(variable: Any, value: Tensor) -> None:
    """Tell those tapes that ``value`` was read from ``variable``."""
    here = current()
    for tape in active.get():
        if tape.interpreter is not here:
            continue
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
        self._token: Token[tuple[GradientTape, ...]] | None = None
        self._used = False

    def __enter__(self) -> GradientTape:
        if self._token is not None:
            raise GradientError("this tape is recording already; use another one inside its block.")
        self.interpreter = current()
        self._token = active.set((*active.get(), self))
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._token is not None:
            active.set(tuple(t for t in active.get() if t is not self))
            self._token = None

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
        """Forget everything recorded so far."""
        if self._token is None:
            raise GradientError("reset: the tape is not recording.")
        self.records.clear()
        self.reads.clear()

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within the block, this tape records nothing."""
        token = active.set(tuple(t for t in active.get() if t is not self))
        try:
            yield
        finally:
            active.reset(token)

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = None
    ) -> Any:
        """The gradient of ``target`` (several targets are summed) with respect to each of ``sources``.

        Args:
            sources: tensors or variables in any structure, which the result has too.
            output_gradients: cotangents in the structure of ``target``; ones by default.
            unconnected_gradients: None (the default) gives None where nothing connects target and source, "zero" zeros.
        Raises:
            GradientError: on the second call of a tape that is not persistent, and for targets or sources that are not
                tensors.
        """
        zero = str(getattr(unconnected_gradients, "value", unconnected_gradients)).lower() == "zero"
        if unconnected_gradients is not None and not zero and str(unconnected_gradients).lower() not in ("none",):
            if getattr(unconnected_gradients, "value", "") != "none":
                raise GradientError(f"unconnected_gradients is None or 'zero', not {unconnected_gradients!r}.")
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
        targets = [self._target(t) for t in tree.leaves(target)]
        flat, structure = tree.flatten(sources)
        seeds = [as_tensor(g, t.dtype) for g, t in zip(tree.leaves(output_gradients), targets, strict=False)]
        seeds = seeds or [ones_like(t) for t in targets]
        pairs = [(t, g) for t, g in zip(targets, seeds, strict=True) if dtypes.is_inexact(t.dtype)]
        tensors = [self._tensors(s) for s in flat]
        every = [t for group in tensors for t in group]
        found = iter(backward(self.records, [t for t, _ in pairs], [g for _, g in pairs], every))
        out = []
        for source, group in zip(flat, tensors, strict=True):
            parts = [g for g in (next(found) for _ in group) if g is not None]
            total = sum(parts[1:], parts[0]) if parts else None
            out.append(zeros_like(as_tensor(source)) if total is None and zero else total)
        if not self.persistent:
            self.records = []
        return tree.unflatten(structure, out)

    def _target(self, x: Any) -> Tensor:
        variable = getattr(x, "__hornbeam_variable__", x)
        if id(variable) in self.reads:
            return next(iter(self.reads[id(variable)][1].values()))
        if not isinstance(x, Tensor):
            raise GradientError(f"gradient: the target is a {type(x).__name__}, not a tensor of this runtime.")
        return x

    def _tensors(self, source: Any) -> list[Tensor]:
        """The tensors through which a source entered the records."""
        variable = getattr(source, "__hornbeam_variable__", source)
        if isinstance(variable, Tensor):
            return [variable] if id(variable) in self.watched or self._made_here(variable) else []
        if not hasattr(variable, "spec"):
            raise GradientError(f"gradient: a source is a {type(source).__name__}, not a tensor or variable.")
        if id(variable) not in self.reads or not self._watches(variable):
            return []
        return list(self.reads[id(variable)][1].values())

    def _made_here(self, tensor: Tensor) -> bool:
        """Whether a recorded application of watched values made ``tensor``: differentiating by it needs no watch."""
        return any(o is tensor for r in self.records for o in r.outs)

    def explain(self, target: Any, source: Any) -> str:
        """Why the gradient of ``target`` with respect to ``source`` is None, in one sentence."""
        tensors = self._tensors(source)
        if not tensors:
            watched = "is not watched" if id(source) not in self.reads else "is not trainable and not watched"
            return f"the source was not used under this tape, or {watched}: call tape.watch(source) before using it."
        reached = ir_grad._reached_from(tensors, self.records)
        if id(self._target(target)) in reached:
            return "they are connected."
        for primitive, args, _, outs in self.records:
            if any(id(a) in reached for a in args) and not any(id(o) in reached for o in outs):
                return f"the path ends at {primitive.name}, through which no gradient flows."
        return "nothing recorded leads from the source to the target."

    def jacobian(self, target: Any, sources: Any, **options: Any) -> Any:
        """d target / d source, of shape ``target.shape + source.shape``, for each of ``sources``; one row at a time."""
        target = self._target(target)
        flat, structure = tree.flatten(sources)
        persistent, self.persistent = self.persistent, True
        rows: list[list[Any]] = []
        try:
            for i in range(target.size):
                seed = as_tensor([1.0 if j == i else 0.0 for j in range(target.size)], target.dtype)
                rows.append(tree.leaves(self.gradient(target, flat, seed.reshape(target.shape), "zero")))
        finally:
            self.persistent = persistent
        out = []
        for k, s in enumerate(flat):
            stacked = as_tensor([r[k] for r in rows]) if rows else zeros_like(as_tensor(s))
            out.append(stacked.reshape((*target.shape, *s.shape)))
        return tree.unflatten(structure, out)


@contextmanager
def no_recording() -> Iterator[None]:
    """Within the block no tape records."""
    token = active.set(())
    try:
        yield
    finally:
        active.reset(token)
