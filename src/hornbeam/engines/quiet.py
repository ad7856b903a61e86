"""Calling NumPy without its warnings."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import Any

import numpy as np

_free: list[Context] = []  # contexts in which nothing runs now


def quietly(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``f(*args, **kwargs)`` under ``np.errstate(all="ignore")``, which takes longer than adding small arrays.

    ``f`` finds no context variable of its caller's: it must be NumPy alone.
    """
    try:
        context = _free.pop()  # one step to other threads, as is ``append``
    except IndexError:
        context = Context()
        context.run(np.seterr, all="ignore")
    try:
        return context.run(f, *args, **kwargs)
    finally:
        _free.append(context)
