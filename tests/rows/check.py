"""What the samples are held to: values, gradients by differences, bits, scalar code, hostile arguments."""

from __future__ import annotations

import importlib
import math
import pkgutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

import hornbeam.ir.primitives as families
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec, as_shape
from hornbeam.errors import HornbeamError
from hornbeam.ir.bind import interpreting
from hornbeam.ir.grad import pullback
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitive import Primitive, blocked
from hornbeam.ir.program import Program, conform, evaluate

for _, _name, _ in pkgutil.iter_modules(families.__path__, families.__name__ + "."):
    importlib.import_module(_name)  # so that ROWS is the whole table

Arrays = list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Sample:
    """One line of the table; see ``samples.py``."""

    row: Primitive
    numpy: Callable[..., Any] | None
    shapes: list[tuple[Any, ...]]
    dtypes: tuple[Any, ...]
    values: Any
    attrs: Any
    tol: float
    grad: bool
    special: bool
    holds: Callable[..., Any] | None

    def arrays(self, dtype: Any, shapes: Sequence[Any]) -> Arrays:
        """Operands with values inside the domain, the same on every run."""
        rng = np.random.default_rng(zlib.crc32(self.row.name.encode()))
        makers = self.values if isinstance(self.values, tuple) else (self.values,) * len(shapes)
        return [np.asarray(make(rng, shape, dtype)) for make, shape in zip(makers, shapes, strict=True)]

    def attributes(self, specs: Sequence[Spec]) -> dict[str, Any]:
        return self.attrs(*specs) if callable(self.attrs) else dict(self.attrs)

    def cases(self, only: Sequence[Any] | None = None) -> Iterator[tuple[Arrays, dict[str, Any]]]:
        for dtype in self.dtypes:
            if only is None or dtype in only:
                for shapes in self.shapes:
                    arrays = self.arrays(dtype, shapes)
                    yield arrays, self.attributes(specs_of(arrays))

    @property
    def differentiable(self) -> bool:
        return self.grad and self.row.grad is not None and self.row.grad is not blocked


def specs_of(arrays: Sequence[np.ndarray]) -> list[Spec]:
    return [Spec(a.shape, a.dtype) for a in arrays]


def inexact(values: Sequence[Any]) -> list[Any]:
    return [v for v in values if dtypes.is_inexact(v.dtype)]


def several(value: Any) -> tuple[Any, ...]:
    """The results of a row as a plain tuple, also if there is one (a Spec is a tuple too)."""
    return tuple(value) if isinstance(value, (tuple, list)) and not isinstance(value, Spec) else (value,)


# -- values ------------------------------------------------------------------------------------------


def run(row: Primitive, arrays: Sequence[Any], attrs: dict[str, Any]) -> Arrays:
    """The reference's results, held to ``infer`` in shape and dtype before any conversion."""
    before = [a.copy() for a in arrays]
    spec = row.infer(*specs_of(arrays), **attrs)
    with np.errstate(all="ignore"):
        raw = row.reference(*arrays, **attrs)
    for value, promised in zip(several(raw), several(spec), strict=True):
        given = np.asarray(value)
        assert (given.shape, given.dtype) == tuple(promised), f"{row!r} gave {given.dtype}{given.shape}, not {promised}"
    for a, b in zip(arrays, before, strict=True):
        assert same_bits(a, b), f"{row!r} wrote to its argument"
    return list(several(conform(raw, spec, row)))


def widen(x: np.ndarray) -> np.ndarray:
    """Inexact values in double precision, in which the independent expression is computed."""
    if dtypes.is_complex(x.dtype):
        return x.astype(np.complex128)
    return x.astype(np.float64) if dtypes.is_floating(x.dtype) else x


def agree(got: np.ndarray, want: Any, tol: float, dtype: Any = None) -> None:
    """Equal up to ``tol`` roundings of the less precise of ``dtype`` and the result's dtype. NaN and Inf must match."""
    want = np.asarray(want)
    assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
    if not dtypes.is_inexact(got.dtype):
        np.testing.assert_array_equal(got, want.astype(got.dtype))
        return
    if dtypes.is_complex(got.dtype):
        agree(np.real(got), np.real(want), tol, dtype)
        agree(np.imag(got), np.imag(want), tol, dtype)
        return
    kinds = [got.dtype] + ([dtypes.real_dtype(dtype)] if dtype is not None and dtypes.is_inexact(dtype) else [])
    eps = max(float(ml_dtypes.finfo(d).eps) for d in kinds)
    with np.errstate(all="ignore"):
        g, w = got.astype(np.float64), np.real(want).astype(got.dtype).astype(np.float64)
        near = (g == w) | (np.isnan(g) & np.isnan(w)) | (np.abs(g - w) <= tol * eps * (1 + np.abs(w)))
    if not near.all():
        at = tuple(np.argwhere(~near)[0])
        raise AssertionError(f"{got.dtype}{got.shape} at {at}: got {g[at]!r}, expected {w[at]!r} (eps {eps})")


def same_bits(x: np.ndarray, y: np.ndarray) -> bool:
    return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()


def strided(x: np.ndarray) -> np.ndarray:
    """The same values with gaps between them and the axes stored in reverse."""
    wide = np.zeros(tuple(2 * d for d in reversed(x.shape)), x.dtype)
    view = wide[(*(slice(None, None, 2) for _ in x.shape), ...)].transpose()
    view[...] = x
    return view


SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e-30, 0.5)


# -- gradients ---------------------------------------------------------------------------------------


def program_of(row: Primitive, arrays: Sequence[np.ndarray], attrs: dict[str, Any]) -> Program:
    params = [param(s) for s in specs_of(arrays)]
    with interpreting(NODES):
        return Program(params, several(row(*params, **attrs)), name=row.name)


def pair(gs: Sequence[Any], values: Sequence[Any]) -> float:
    """The pairing that cotangents are for: Re(g · v) without conjugation."""
    return float(sum(np.sum(np.real(g * v)) for g, v in zip(gs, values, strict=True)))


def random_like(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    out = rng.normal(size=x.shape)
    return (out + 1j * rng.normal(size=x.shape) if dtypes.is_complex(x.dtype) else out).astype(x.dtype)


def check_gradient(program: Program, arrays: Sequence[Any], order: int = 2, tol: float = 1e-6, h: float = 1e-4) -> None:
    """The pullback against central differences along a random direction; then the pullback's own pullback."""
    rng = np.random.default_rng(len(program.nodes))
    pulled = pullback(program)
    outs = evaluate(program, arrays)
    cotangents = [random_like(rng, o) for o in inexact(outs)]
    directions = [random_like(rng, a) if dtypes.is_inexact(a.dtype) else None for a in arrays]
    found = evaluate(pulled, [*arrays, *cotangents])

    def along(t: float) -> float:
        moved = [a if v is None else a + t * v for a, v in zip(arrays, directions, strict=True)]
        return pair(cotangents, inexact(evaluate(program, moved)))

    numeric = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    moves = [v for v in directions if v is not None]
    exact = pair(found, moves)
    scale = 1 + sum(float(np.sum(np.abs(g * v))) for g, v in zip(found, moves, strict=True))
    assert abs(numeric - exact) <= tol * scale, f"{program.name}: derivative {exact}, by differences {numeric}"
    if order > 1:
        check_gradient(pulled, [*arrays, *cotangents], order - 1, tol * 10, h)


# -- hostile arguments -------------------------------------------------------------------------------

BAD = (-1, 2**31, 2**63, 0.5, math.nan, None, "x", (), True)
SMALL = 10_000


def hostile_attrs(attrs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``attrs`` with one entry made wrong in one of the ways that callers manage."""
    for key, value in attrs.items():
        for other in _hostile(value):
            yield {**attrs, key: other}
        yield {k: v for k, v in attrs.items() if k != key}
    yield {**attrs, "no_such_attribute": 1}


def _hostile(value: Any) -> Iterator[Any]:
    if isinstance(value, np.dtype):
        yield from (None, "x", -1, math.nan, "float32", np.dtype("O"), np.dtype(">f4"), np.dtype("U3"), *dtypes.ALL)
    elif isinstance(value, tuple) and not isinstance(value, Spec):
        yield from ((), value + value, value[:-1], (*value, 0), (*value, -1), None, -1, 0, "x", math.nan)
        for i in range(len(value)):
            for other in BAD:
                yield (*value[:i], other, *value[i + 1 :])
    else:
        yield from (*BAD, (0,), 0, 1)


def hostile_specs(specs: Sequence[Spec]) -> Iterator[list[Spec]]:
    """``specs`` with one made wrong, one missing or one too many."""
    for i, spec in enumerate(specs):
        others = [Spec(spec.shape, d) for d in dtypes.ALL]
        others += [
            Spec(s, spec.dtype) for s in ((*spec.shape, 2), (2, *spec.shape), (1, *spec.shape), (), (0,), (5,), (0, 0))
        ]
        others += [
            Spec((0,) * spec.ndim, spec.dtype),
            Spec((2**31, *spec.shape[1:]), spec.dtype),
            Spec((1,) * 33, spec.dtype),
        ]
        for other in others:
            yield [*specs[:i], other, *specs[i + 1 :]]
    yield list(specs[:-1])
    yield [*specs, Spec((), dtypes.float32)]
    yield [*specs, *specs]


def endure(row: Primitive, specs: Sequence[Spec], attrs: dict[str, Any], values: Callable[..., Any]) -> None:
    """``infer`` refuses with an honest error, or accepts what the reference can then do."""
    try:
        out = row.infer(*specs, **attrs)
    except (HornbeamError, TypeError, ValueError):
        return
    results = several(out)
    for spec in results:
        assert isinstance(spec, Spec) and as_shape(spec.shape) == spec.shape and spec.dtype in dtypes.ALL, (
            f"accepted: {out}"
        )
        assert all(type(d) is int for d in spec.shape), f"accepted: {out}"
    if sum(s.size for s in (*specs, *results)) > SMALL or _huge(attrs):
        return
    rng = np.random.default_rng(0)
    try:
        run(row, [values(rng, s.shape, s.dtype) for s in specs], attrs)
    except (HornbeamError, TypeError):
        assert row.effect  # a user's function may break its promise when it runs, a row may not


def _huge(attrs: dict[str, Any]) -> bool:
    flat = [v for value in attrs.values() for v in (value if isinstance(value, tuple) else (value,))]
    return any(isinstance(v, (int, float)) and abs(v) > SMALL for v in flat)


def describe(sample: Sample) -> str:
    attrs = (
        ""
        if callable(sample.attrs)
        else "-".join(f"{k}{v}" for k, v in sample.attrs.items() if isinstance(v, (int, tuple)))
    )
    return sample.row.name + (f"-{attrs}" if attrs and len(attrs) < 30 else "")
