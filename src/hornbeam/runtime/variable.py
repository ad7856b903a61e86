"""``Variable``: a named place for a value. The value is not in it but in a session's state."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hornbeam.base.dtypes import DType
from hornbeam.base.spec import Shape, Spec
from hornbeam.errors import ShapeError, TracingError, explain, user_line
from hornbeam.ir.bind import current, interpreting
from hornbeam.ir.operators import Operators
from hornbeam.runtime import session as sessions
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.graph import recording
from hornbeam.runtime.tensor import Tensor, as_tensor

_names = itertools.count()


class Variable(Operators):
    """A value that programs can read and assign.

    It lives in the session in which it was created, its ``home``. A variable made with ``home=None`` has none: its
    value appears in every session that assigns it, or that first reads it if it has an ``initializer``.

    Args:
        initial_value: the first value, or a function without arguments that returns it (run outside any trace).
        trainable: whether tapes watch it on their own.
        initializer: ``session -> value``, for a variable without a home.
    """

    def __init__(
        self,
        initial_value: Any = None,
        *,
        dtype: Any = None,
        trainable: bool = True,
        name: str | None = None,
        spec: Spec | None = None,
        home: Any = ...,
        initializer: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = name or f"variable_{next(_names)}"
        self.trainable = trainable
        self.line = user_line()
        self.first_value = initializer
        self.graph: Any = None
        recorder = recording() if home is ... else None
        self.home = None if recorder is not None else sessions.current() if home is ... else home
        if initial_value is None and spec is not None:
            self.spec = spec
            return
        if recorder is not None:
            value = initial_value() if callable(initial_value) else initial_value
            self.spec = recorder.add_variable(self, value if dtype is None else as_tensor(value, dtype))
            return
        with interpreting(EAGER):
            value = as_tensor(initial_value() if callable(initial_value) else initial_value, dtype)
            if value.is_symbolic:
                raise TracingError(
                    explain(
                        f"variable {self.name!r} would start from a symbolic {value.spec}, which has no value yet.",
                        why="A variable made inside a traced function gets its first value once, outside the trace.",
                        fix="hb.Variable(lambda: hb.zeros(shape))   # or make it before the call",
                    )
                )
        self.spec = value.spec
        noted = getattr(current(), "created", None)
        if noted is not None:
            noted.append(self)
        if self.home is not None:
            # Another object: to tapes, a variable is not what it was made from.
            self.home.write(self, Tensor(value.array))

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        return self.spec.shape

    @property
    def dtype(self) -> DType:  # type: ignore[override]
        return self.spec.dtype

    def value(self) -> Any:
        """The current value, as a tensor."""
        return current().read(self)  # type: ignore[attr-defined]

    as_operand = read_value = value

    def assign(self, value: Any) -> Any:
        """Give it a new value of the same shape, cast to its dtype; returns the value.

        Raises ShapeError if the shape differs.
        """
        if (graph := recording()) is not None:
            return graph.assign(self, value)
        value = as_tensor(value, self.dtype)
        if value.shape != self.shape:
            raise ShapeError(
                explain(
                    f"assign: variable {self.name!r} has shape {self.shape}, the value {value.shape}.",
                    why="A variable keeps its shape for life.",
                    fix="reshape the value, or make a new variable",
                )
            )
        return current().assign(self, value)  # type: ignore[attr-defined]

    def assign_add(self, value: Any) -> Any:
        """Add ``value`` to what it holds, undivided by other threads; returns the sum."""
        return current().update(self, operator.add, value, "assign_add")  # type: ignore[attr-defined]

    def assign_sub(self, value: Any) -> Any:
        """Subtract ``value`` from what it holds, undivided by other threads; returns the difference."""
        return current().update(self, operator.sub, value, "assign_sub")  # type: ignore[attr-defined]

    @property
    def initializer(self) -> Any:
        """The operation that gives a graph's variable its first value; None outside graphs."""
        return None if self.graph is None else self.graph.initializers[id(self)]

    def eval(self, session: Any = None) -> Any:
        """The value in ``session``, or in the default session, for a graph's variable."""
        return (session or sessions.current()).run(self)

    def numpy(self) -> np.ndarray:
        return self.value().numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.value().__array__(dtype, copy)

    def __bool__(self) -> bool:
        return bool(self.value())

    def __int__(self) -> int:
        return int(self.value())

    def __float__(self) -> float:
        return float(self.value())

    def __index__(self) -> int:
        return self.value().__index__()

    def __len__(self) -> int:
        return len(self.value())

    def __iter__(self) -> Any:
        return iter(self.value())

    def __deepcopy__(self, memo: Any) -> Variable:
        with interpreting(EAGER):
            copied = Variable(self.value(), trainable=self.trainable, name=self.name)
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        return f"<Variable {self.name!r} {self.spec} of {self.home!r}>"



def variable_of(x: Any) -> Variable | None:
    """The Variable that ``x`` is or wraps (as Keras's variables do); None if it is something else."""
    return x if isinstance(x, Variable) else getattr(x, "__hornbeam_variable__", None)
