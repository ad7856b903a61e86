"""What a second process knows of a Program that a first one compiled: its code and layout, without emitting it again.

Object code is kept by the text that it was made from; making that text takes longer than finding the object. So the
layout is kept too, by a digest of the Program and of the sources of the compiler, and refers to the object. It lies in
the same store, under the same rules: what is damaged, planted or of another version is a miss.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from hornbeam import config
from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.engines.native import cache
from hornbeam.engines.native.executable import Layout
from hornbeam.engines.native.target import Target
from hornbeam.ir.primitives.movement import Literal
from hornbeam.ir.program import Program


class Compiled(NamedTuple):
    """All that an Executable without host steps is made of."""

    object_key: str  # of its code in the store
    symbols: tuple[str, ...]
    layout: Layout
    roots: tuple[int, ...]
    shares_work: bool  # whether it calls the pool of threads
    flops: int
    bytes_moved: int


def key_of(program: Program, machine: Target) -> str | None:
    """What names ``program`` in the store. None if there is no store, or something that only this process knows in it
    (a function)."""
    sources = digest_of_sources() if cache.current() is not None else None
    if sources is None:
        return None
    digest = hashlib.sha256(f"{sources} {machine!r} ".encode())
    try:
        _add(digest, program)
    except _Unknown:
        return None
    return digest.hexdigest()


def load(key: str | None) -> tuple[Compiled, bytes] | None:
    """What was saved under ``key``, with the code; None if either is missing."""
    store = cache.current()
    entry = None if store is None or key is None else store.get(key)
    if store is None or entry is None:
        return None
    length = int.from_bytes(entry[:8], "little")
    found, values = json.loads(entry[8 : 8 + length]), entry[8 + length :]
    code = store.get(found["object"])
    if code is None:
        return None
    constants, at = [], 0
    for place, spec in found["constants"]:
        s = _spec(spec)
        part = np.frombuffer(values, np.uint8, s.nbytes, at).copy()
        constants.append((place, part.view(s.dtype).reshape(s.shape)))
        at += s.nbytes
    layout = Layout(
        specs=tuple(map(_spec, found["specs"])),
        params=found["params"],
        constants=tuple(constants),
        results=tuple(found["results"]),
        arena=tuple((place, offset) for place, offset in found["arena"]),
        nbytes=found["nbytes"],
        in_place=tuple((old, new) for old, new in found["in_place"]),
    )
    compiled = Compiled(
        found["object"], tuple(found["symbols"]), layout, tuple(found["roots"]), found["shares_work"], found["flops"],
        found["bytes_moved"],
    )  # fmt: skip
    return compiled, code


def save(key: str | None, compiled: Compiled) -> None:
    store, layout = cache.current(), compiled.layout
    if store is None or key is None:
        return
    values = [(place, np.ascontiguousarray(a)) for place, a in layout.constants]
    about = {
        "object": compiled.object_key,
        "symbols": compiled.symbols,
        "specs": [_plain(s) for s in layout.specs],
        "params": layout.params,
        "constants": [(place, (a.shape, a.dtype.name)) for place, a in values],
        "results": layout.results,
        "arena": layout.arena,
        "nbytes": layout.nbytes,
        "in_place": layout.in_place,
        "roots": compiled.roots,
        "shares_work": compiled.shares_work,
        "flops": compiled.flops,
        "bytes_moved": compiled.bytes_moved,
    }
    header = json.dumps(about).encode()
    store.put(key, b"".join([len(header).to_bytes(8, "little"), header, *(a.tobytes() for _, a in values)]))


@once
def digest_of_sources() -> str | None:
    """Of every file that decides what a Program becomes; None where they cannot be read (in an archive)."""
    digest = hashlib.sha256(f"{config.VERSION} {np.__version__} ".encode())
    try:
        root = Path(config.__file__).parent
        for part in ("base", "ir", "engines"):
            for file in sorted((root / part).rglob("*.py")):
                digest.update(f"{file.relative_to(root)} ".encode())
                digest.update(file.read_bytes())
    except OSError:
        return None
    return digest.hexdigest()


class _Unknown(Exception):
    """A value without a form that another process could have."""


def _add(digest: Any, value: Any) -> None:
    """Every value with its type and extent, so that no two Programs have one digest."""
    kind = type(value)
    if kind in (int, bool, str, float, complex, bytes, NoneType):
        digest.update(f"{kind.__name__} {value!r};".encode())
    elif kind is tuple:
        digest.update(f"tuple {len(value)}:".encode())
        for part in value:
            _add(digest, part)
    elif kind is Spec:
        digest.update(f"spec {value.shape!r} {value.dtype.name};".encode())
    elif isinstance(value, np.dtype):
        digest.update(f"dtype {value.name};".encode())
    elif kind is Literal:
        array = value.array
        digest.update(f"literal {array.shape!r} {array.dtype.name}:".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    elif kind is Program:
        digest.update(b"program:")
        _add(digest, value.key)
    else:
        raise _Unknown


def _plain(spec: Spec) -> tuple[Sequence[int], str]:
    return spec.shape, spec.dtype.name


def _spec(plain: Any) -> Spec:
    shape, dtype = plain
    return Spec(tuple(shape), dtypes.as_dtype(dtype))
