"""Eager execution: a primitive is a Program of one node, run at once by the current session.

The policy of eager mode is this file: what is cached, and when tapes hear of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from hornbeam.errors import TracingError, explain
from hornbeam.ir import bind as binding
from hornbeam.ir.primitive import Primitive
from hornbeam.runtime import session as sessions
from hornbeam.runtime import tape
from hornbeam.runtime.tensor import Tensor, as_tensor, concrete, is_static


class EagerInterpreter:
    """Applying a primitive runs it."""

    def bind(self, primitive: Primitive, args: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        for a in args:
            if a._array is None:
                graph = getattr(a, "graph", None)
                if graph is not None:  # a graph records also outside its ``with`` block
                    return graph.bind(primitive, args, attrs)
                return self.bind(primitive, tuple(settled(x) for x in args), attrs)
        values = sessions.current().execute_op(primitive, args, attrs)
        outs = tuple([concrete(v) for v in values])
        if tape.active.get():
            tape.record(primitive, args, attrs, outs)
        return outs if primitive.multiple else outs[0]

    def constant(self, array: np.ndarray) -> Tensor:
        return concrete(array)

    def read(self, variable: Any) -> Tensor:
        value = sessions.current().read(variable)
        if tape.active.get():
            tape.note_read(variable, value)
        return value

    def assign(self, variable: Any, value: Tensor) -> Tensor:
        value = settled(value)
        # Another object with the same array: gradients do not flow through a variable.
        sessions.current().write(variable, Tensor(value.array))
        return value

    def update(self, variable: Any, combine: Callable[[Any, Any], Any], value: Any, name: str = "") -> Tensor:
        """Assign ``combine(held, value)``; no other thread writes in between."""
        with sessions.current().writing([variable]):
            return variable.assign(combine(self.read(variable), as_tensor(value, variable.dtype)))


def settled(x: Tensor) -> Tensor:
    """``x`` with a value; a symbolic tensor has one if it is made of constants alone. Raises TracingError if not.

    Layers keep such tensors as attributes: positions, filters, a mean that was given.
    """
    if not x.is_symbolic:
        return x
    if not is_static(x):
        raise leaked(x)
    return concrete(x.array)


def leaked(x: Tensor) -> TracingError:
    return TracingError(
        explain(
            f"a symbolic {x.spec} is used outside the function in whose trace it was made.",
            why="It was kept in a list, an attribute or a global while the function was traced.",
            fix="return it from the function and use what the call returns",
        )
    )


EAGER = EagerInterpreter()
binding.install(EAGER)


def eagerly() -> AbstractContextManager[None]:
    """Within the block operations run at once, also while a function is traced: for first values of variables."""
    return binding.interpreting(EAGER)
