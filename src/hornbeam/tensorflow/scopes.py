"""Scopes of names, devices and order, which matter in graphs; and switching between eager and graph mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from hornbeam.ir.bind import current, interpreting
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.graph import recording


@contextlib.contextmanager
def name_scope(name: str | None, default_name: str | None = None, values: Any = None) -> Iterator[str]:
    """Names of operations made inside start with ``name/``."""
    graph = recording()
    if graph is None:
        yield f"{name or default_name or ''}/"
        return
    with graph.name_scope(name if name is not None else default_name) as scope:
        yield scope


@contextlib.contextmanager
def control_dependencies(control_inputs: Sequence[Any] | None) -> Iterator[None]:
    """What is made inside runs after ``control_inputs``, and reads variables as they left them.

    Outside graphs things happen in the order in which they are written, and nothing needs to be said.
    """
    graph = recording()
    if graph is None:
        yield
        return
    inputs = None if control_inputs is None else [getattr(x, "op", x) for x in control_inputs if x is not None]
    with graph.control_dependencies(inputs):
        yield


@contextlib.contextmanager
def device(name: Any) -> Iterator[None]:
    """Where to compute. Every engine has one kind of device, so that any name means that one."""
    yield


@contextlib.contextmanager
def init_scope() -> Iterator[None]:
    """Outside of the function being traced: what is computed inside is computed once, now."""
    if recording() is not None:
        yield
        return
    with interpreting(EAGER):
        yield


def executing_eagerly() -> bool:
    """Whether operations run at once: not in a graph, and not while a function is traced."""
    return current() is EAGER


def inside_function() -> bool:
    """Whether a function is being traced here."""
    return current() is not EAGER and recording() is None
