"""Random arguments: dtypes, shapes with 0-d and empty ones among them, values, axes, and whole calls.

Everything drawn depends on the generator alone, so a seed, an operation's name and a number name a call for good.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float32", *HALVES)  # float32 is what most programs are made of
SIGNED = ("int32", "int8", "int16")
INTS = (*SIGNED, "uint8", "uint16", "uint32")
NUMBERS = (*FLOATS, *INTS)
ALL = (*NUMBERS, "bool")
COMPLEX = ("complex64",)

WIDE = {"float32": "float64", "int32": "int64", "uint32": "uint64", "complex64": "complex128"}


@dataclass
class Call:
    """An operation's arguments. ``tensors`` are given as the backend's, otherwise as NumPy's arrays."""

    args: tuple
    kwargs: dict[str, Any] = field(default_factory=dict)
    tensors: bool = True


def call(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


def generator(seed: int, op: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(op.encode()), index])


class Draw:
    """Draws arguments. ``wide`` adds the dtypes of 64 bits, which Keras has where JAX's x64 is switched on."""

    def __init__(self, rng: np.random.Generator, wide: bool = False):
        self.rng = rng
        self.wide = wide

    # -- choices -----------------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one_of(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def int(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def flag(self) -> bool:
        return self.chance(0.5)

    def maybe(self, value: Any) -> Any:
        """``value``, or None."""
        return value if self.flag() else None

    def uniform(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    # -- dtypes and shapes -------------------------------------------------------------------------------------------

    def dtype(self, among: Sequence[str] = ALL) -> str:
        dtype = self.one_of(*among)
        return WIDE.get(dtype, dtype) if self.wide and self.chance(0.7) else dtype

    def shape(self, least: int = 0, most: int = 3, longest: int = 5, empty: bool = True) -> tuple[int, ...]:
        """Of ``least`` to ``most`` axes. One in eight has an axis of length 0, unless ``empty`` forbids it."""
        shape = [self.int(1, longest) for _ in range(self.int(least, most))]
        if empty and shape and self.chance(0.125):
            shape[self.int(0, len(shape) - 1)] = 0
        return tuple(shape)

    def broadcast(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts with ``shape``: with ones in it, or shorter."""
        ones = tuple(1 if self.chance(0.3) else n for n in shape)
        return ones[self.int(0, len(ones)) :] if self.chance(0.4) else ones

    def axis(self, rank: int) -> int:
        """An axis, perhaps negative; one in forty does not exist."""
        if rank == 0 or self.chance(0.025):
            return self.one_of(0, -1, rank, -rank - 1)
        return self.int(-rank, rank - 1)

    def axes(self, rank: int) -> int | tuple[int, ...] | None:
        """What a reduction takes: None, one axis, or several."""
        kind = self.int(0, 2)
        if kind == 0 or rank == 0:
            return None
        if kind == 1:
            return self.axis(rank)
        chosen = self.rng.permutation(rank)[: self.int(1, rank)]
        return tuple(int(a) - (rank if self.flag() else 0) for a in chosen)

    # -- values ------------------------------------------------------------------------------------------------------

    def array(
        self,
        dtypes: Sequence[str] = ALL,
        shape: Sequence[int] | None = None,
        low: float = -4.0,
        high: float = 4.0,
        odd: float = 0.0,
        **shapes: Any,
    ) -> np.ndarray:
        """Values in ``[low, high]``, each with the chance ``odd`` of being NaN, an infinity or a zero of either sign.

        Args:
            dtypes: One of these is drawn.
            shape: The shape; None draws one with ``shapes``, the arguments of ``shape()``.
            low: Integers reach as far, and unsigned ones from 0.
            high: The same, above.
            odd: For floating dtypes only.
        """
        name = self.dtype(dtypes)
        dtype = np.dtype(getattr(ml_dtypes, name, name))
        shape = self.shape(**shapes) if shape is None else tuple(shape)
        if name == "bool":
            return self.rng.integers(0, 2, shape).astype(bool)
        if name.startswith(("int", "uint")):
            least = max(int(np.ceil(low)), 0 if name.startswith("u") else int(np.ceil(low)))
            return self.rng.integers(least, max(int(high), least) + 1, shape).astype(dtype)
        values = self.rng.uniform(low, high, shape)
        if name.startswith("complex"):
            return np.asarray(values + 1j * self.rng.uniform(low, high, shape)).astype(dtype)
        if odd:
            strange = self.rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], shape)
            values = np.where(self.rng.random(shape) < odd, strange, values)
        return np.asarray(values).astype(dtype)

    def strange(self, dtypes: Sequence[str] = ALL, **more: Any) -> np.ndarray:
        """An array that in one case of three has NaN, infinities and zeros in it."""
        return self.array(dtypes, odd=0.3 if self.chance(0.33) else 0.0, **more)

    def apart(self, dtypes: Sequence[str] = FLOATS, shape: Sequence[int] | None = None, **shapes: Any) -> np.ndarray:
        """An array without two equal values: what sorts or chooses has one answer, and a gradient."""
        shape = self.shape(**shapes) if shape is None else tuple(shape)
        count = int(np.prod(shape))
        name = self.dtype(dtypes)
        values = self.rng.permutation(count).reshape(shape)
        if not name.startswith(("int", "uint")):
            values = (values - count // 2) / 4
        return np.asarray(values).astype(np.dtype(getattr(ml_dtypes, name, name)))

    def pair(self, dtypes: Sequence[str] = ALL, second: Sequence[str] | None = None, **more: Any) -> tuple[Any, Any]:
        """Two operands that broadcast, of one dtype or two; the second may be a Python number, which is weak."""
        x = self.strange(dtypes, **more)
        if self.chance(0.15):
            return x, self.scalar(second or dtypes)
        more = {key: value for key, value in more.items() if key in ("low", "high")}
        others = second or (dtypes if self.flag() else (str(x.dtype),))
        return x, self.strange(others, shape=self.broadcast(x.shape), **more)

    def scalar(self, dtypes: Sequence[str] = ALL) -> Any:
        """A Python number of a kind that ``dtypes`` has."""
        kinds = [int]
        if any("float" in d for d in dtypes):
            kinds.append(float)
        if "bool" in dtypes:
            kinds.append(bool)
        kind = self.one_of(*kinds)
        return {int: self.int(0, 3), float: self.uniform(-3, 3), bool: self.flag()}[kind]

    def indices(self, count: int, shape: Sequence[int], dtypes: Sequence[str] = ("int32",)) -> np.ndarray:
        """Numbers from 0 to ``count`` - 1."""
        return self.rng.integers(0, max(count, 1), tuple(shape)).astype(self.dtype(dtypes))

    def matrices(self, dtypes: Sequence[str] = ("float32",), rows: int | None = None, columns: int | None = None,
                 batch: Sequence[int] | None = None) -> np.ndarray:  # fmt: skip
        """Matrices of any rank, in a batch of some shape."""
        rows = self.int(1, 4) if rows is None else rows
        columns = self.int(1, 4) if columns is None else columns
        batch = self.shape(0, 2, 3) if batch is None else tuple(batch)
        return self.array(dtypes, (*batch, rows, columns), -1.0, 1.0)

    def square(self, dtypes: Sequence[str] = ("float32",), batch: Sequence[int] | None = None) -> np.ndarray:
        """Square matrices that are far from singular."""
        n = self.int(1, 4)
        x = self.matrices(dtypes, n, n, batch)
        return (x + 3 * np.eye(n)).astype(x.dtype)

    def definite(self, dtypes: Sequence[str] = ("float32",)) -> np.ndarray:
        """Symmetric positive definite matrices with eigenvalues that are apart."""
        n = self.int(1, 4)
        x = self.matrices(dtypes, n, n)
        symmetric = x @ np.swapaxes(x, -1, -2) * 0.1
        return (symmetric + np.diag(np.arange(1, n + 1))).astype(x.dtype)
