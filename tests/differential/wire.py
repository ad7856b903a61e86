"""What goes through the pipe between the comparing process and a backend's.

Both ends are ours, so it is pickled.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from tests.differential.draw import Call


@dataclass
class Request:
    """A call of one operation, and what to tell of it (see ``cases.Case``)."""

    op: str
    call: Call
    calls: Callable | None = None
    reading: Callable | None = None
    grad: bool = True


@dataclass
class Raised:
    error: str
    message: str


@dataclass
class Leaf:
    """A part of a result: a ``tensor`` of the backend's, an ``array`` of NumPy's or a Python ``value``."""

    kind: str
    value: Any


@dataclass
class Answer:
    """What an operation returned, as nested lists, tuples and dicts of leaves, or what it raised.

    ``gradients`` are those of ``Call``'s floating arrays, in their order, of the outputs' projection; None where the
    outputs have nothing to differentiate.
    """

    result: Any
    reading: Any = None
    gradients: Any = None


@dataclass
class Greeting:
    """A worker's first message."""

    keras: str


def send(stream: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next message. Raises EOFError where the other end is gone."""
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0]))


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """``structure`` with ``function`` applied to the leaves of its lists, tuples and dicts."""
    if isinstance(structure, dict):
        return {key: mapped(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        parts = [mapped(function, part) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    return function(structure)


def leaves(structure: Any) -> list:
    found: list = []
    mapped(found.append, structure)
    return found
