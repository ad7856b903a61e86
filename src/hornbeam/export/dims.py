"""Dimensions that are not known when a model is exported, found by tracing at two sizes.

A Program has concrete shapes. So what is exported is traced twice, every unknown dimension of the inputs being one
number in the first trace and another in the second: what comes out equal is known, what differs is an ``Unknown``, told
from others by the two numbers. The numbers of a symbol differ modulo 2, 3 and 5, so that what depends on whether a
dimension is even (the padding of a strided convolution, say) differs too, and is not taken for a constant.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from hornbeam.base.spec import Spec
from hornbeam.errors import ExportError


class Unknown(NamedTuple):
    """A dimension by its sizes in the two traces."""

    first: int
    second: int


Dim = int | Unknown
Dims = tuple[Dim, ...]


def dim(first: int, second: int) -> Dim:
    return first if first == second else Unknown(first, second)


def both(function: Callable[..., int], *dims: Dim) -> Dim:
    """``function`` of dimensions, computed in both traces."""
    return dim(*(function(*(d if isinstance(d, int) else d[i] for d in dims)) for i in (0, 1)))


def dims_of(first: Spec, second: Spec) -> Dims:
    return tuple(map(dim, first.shape, second.shape))


def sizes() -> Iterator[Unknown]:
    """A pair of sizes for each symbol. All are beyond what is folded into constants, so that no trace is special."""
    for i in itertools.count():
        yield Unknown(840 + 120 * i, 1261 + 180 * i)


class Term(NamedTuple):
    """``factor`` times the product of symbols, plus ``offset``."""

    factor: int
    symbols: tuple[Unknown, ...]
    offset: int


def as_term(unknown: Unknown, symbols: Mapping[Unknown, str]) -> Term | None:
    """How ``unknown`` is computed from the symbols: ``2 * batch * time``, ``time - 1``. None if it is no such term."""
    found = []
    for count in (1, 2, 3):
        for chosen in itertools.combinations(symbols, count):
            first, second = (math.prod(s[i] for s in chosen) for i in (0, 1))
            factor, rest = divmod(unknown.second - unknown.first, second - first)
            if not rest and factor > 0:
                found.append(Term(factor, chosen, unknown.first - factor * first))
    return min(found, key=lambda term: (abs(term.offset), len(term.symbols)), default=None)


def described(unknown: Dim, symbols: Mapping[Unknown, str]) -> str:
    """A dimension in the words of the signature: ``batch``, ``2*time + 1``, or ``?``."""
    if isinstance(unknown, int):
        return str(unknown)
    term = symbols.get(unknown) or as_term(unknown, symbols)
    if not isinstance(term, Term):
        return term or "?"
    product = "*".join([*([str(term.factor)] if term.factor > 1 else []), *(symbols[s] for s in term.symbols)])
    return product + (f" {'+' if term.offset > 0 else '-'} {abs(term.offset)}" if term.offset else "")


def known(what: str, values: Any, fix: str) -> Any:
    """``values`` (a dimension, or tuples of them), of which none may be unknown. Raises ExportError if one is."""
    flat = [values]
    while flat:
        value = flat.pop()
        if isinstance(value, Unknown):
            raise ExportError(
                f"{what} depends on a dimension of the inputs that is not known: it is {value.first} in one trace, "
                f"{value.second} in another.\n  Fix: {fix}"
            )
        if isinstance(value, tuple):
            flat.extend(value)
    return values
