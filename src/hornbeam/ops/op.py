"""``op`` marks a public operation. In session mode a call of one is recorded in the default graph instead of run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from hornbeam.runtime.graph import recording

F = TypeVar("F", bound=Callable[..., Any])


def op(fn: F) -> F:
    """A public operation: runs eagerly, is traced, or is recorded, depending on where it is called.

    What ``fn`` returns may be any structure of tensors. Inside, other operations are called as usual: nothing records
    while a graph is being traced.
    """

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        graph = recording()
        return fn(*args, **kwargs) if graph is None else graph.record(fn, args, kwargs)

    return cast(F, call)
