"""``tf.debugging``: assertions about tensors, which hold eagerly at once and in graphs and functions at every run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.errors import InvalidArgumentError, ShapeError, explain
from hornbeam.ops import math as maths
from hornbeam.runtime.tensor import as_tensor, is_static, static_value
from hornbeam.tensorflow.arrays import is_tensor
from hornbeam.tensorflow.effects import effect
from hornbeam.tensorflow.names import absent, op


def _check(holds: Any, text: str) -> Any:
    """Raise if ``holds``, a bool tensor, has a False in it: now if it is known, else when the program runs."""
    holds = as_tensor(holds)

    def test(array: np.ndarray) -> None:
        if not array.all():
            raise InvalidArgumentError(text)

    if holds.is_symbolic and not is_static(holds):
        return effect(test, [holds])
    test(static_value(holds))
    return None


def _relation(name: str, relation: Callable[[Any, Any], Any], words: str) -> Callable[..., Any]:
    def check(x: Any, y: Any, message: str | None = None, summarize: Any = None) -> Any:
        return _check(relation(x, y), explain(f"{name}: {message or f'not every element of x is {words} that of y'}."))

    check.__name__, check.__doc__ = name, f"Raises InvalidArgumentError unless every element of x is {words} that of y."
    return op(check)


def _sign(name: str, test: Callable[[Any], Any], words: str) -> Callable[..., Any]:
    def check(x: Any, message: str | None = None, summarize: Any = None) -> Any:
        return _check(test(as_tensor(x)), explain(f"{name}: {message or f'not every element is {words}'}."))

    check.__name__, check.__doc__ = name, f"Raises InvalidArgumentError unless every element of x is {words}."
    return op(check)


assert_equal = _relation("assert_equal", maths.equal, "equal to")
assert_none_equal = _relation("assert_none_equal", maths.not_equal, "different from")
assert_less = _relation("assert_less", maths.less, "less than")
assert_less_equal = _relation("assert_less_equal", maths.less_equal, "at most")
assert_greater = _relation("assert_greater", maths.greater, "greater than")
assert_greater_equal = _relation("assert_greater_equal", maths.greater_equal, "at least")
assert_near = _relation("assert_near", lambda x, y: maths.isclose(x, y, 1e-5, 1e-5), "near")
assert_positive = _sign("assert_positive", lambda x: x > 0, "positive")
assert_negative = _sign("assert_negative", lambda x: x < 0, "negative")
assert_non_negative = _sign("assert_non_negative", lambda x: x >= 0, "at least 0")
assert_non_positive = _sign("assert_non_positive", lambda x: x <= 0, "at most 0")
assert_all_finite = _sign("assert_all_finite", maths.isfinite, "finite")


@op
def Assert(condition: Any, data: Any, summarize: Any = None) -> Any:
    """Raises InvalidArgumentError, showing ``data``, unless the condition holds."""
    return _check(condition, explain(f"Assert: the condition does not hold. Data: {data!r:.200}"))


@op
def check_numerics(tensor: Any, message: str) -> Any:
    """``tensor`` itself. Raises InvalidArgumentError if it has a NaN or an infinity."""
    x = as_tensor(tensor)
    _check(maths.isfinite(x), explain(f"check_numerics: {message}: the tensor has a NaN or an infinity."))
    return x


@op
def assert_rank(x: Any, rank: int, message: str | None = None) -> None:
    """Raises ShapeError unless ``x`` has so many axes."""
    x = as_tensor(x)
    if x.ndim != int(rank):
        raise ShapeError(explain(f"assert_rank: {message or ''} the tensor has {x.ndim} axes, not {int(rank)}."))


@op
def assert_shapes(shapes: Any, message: str | None = None) -> None:
    """Raises ShapeError unless each tensor has its shape, in which equal letters stand for equal sizes."""
    sizes: dict[Any, int] = {}
    for x, wanted in shapes.items() if isinstance(shapes, dict) else shapes:
        shape = as_tensor(x).shape
        for n, d in zip(shape, wanted):
            if d is not None and n != (sizes.setdefault(d, n) if isinstance(d, str) else d):
                raise ShapeError(explain(f"assert_shapes: {message or ''} {tuple(shape)} is not {tuple(wanted)}."))
        if len(shape) != len(wanted):
            raise ShapeError(explain(f"assert_shapes: {message or ''} {tuple(shape)} is not {tuple(wanted)}."))


def assert_type(tensor: Any, tf_type: Any, message: str | None = None) -> None:
    """Raises TypeError unless the tensor has this dtype."""
    if as_tensor(tensor).dtype != np.dtype(tf_type):
        raise TypeError(f"assert_type: {message or ''} the tensor is {as_tensor(tensor).dtype.name}, not {tf_type}.")


__all__ = ["is_tensor"]
__getattr__ = absent(__name__, globals())
