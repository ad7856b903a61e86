"""``tf.Variable``: the runtime's variable with TensorFlow's arguments and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hornbeam.errors import ShapeError, explain
from hornbeam.ir.primitives.index import SCATTER
from hornbeam.runtime import session as sessions
from hornbeam.runtime import variable as base
from hornbeam.runtime.graph import Graph, Shape, recording
from hornbeam.runtime.tensor import as_array, as_tensor, concrete
from hornbeam.tensorflow.names import op


class Variable(base.Variable):
    """A value that programs read and assign.

    Eagerly it has its value at once, in the current session. Made in a graph it has none until a session runs its
    initializer.

    Args:
        initial_value: the first value, or a function without arguments that returns it.
        trainable: whether tapes and optimizers see it.
        name: made different from all other names in a graph.
        dtype: of the value; by default as ``tf.convert_to_tensor`` has it.
        shape: what the value must have. Raises ShapeError if it has not.
        collections: names of the graph's collections to be in, besides those of all variables.
    """

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: str | None = None,
        constraint: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
        collections: Sequence[str] | None = None,
        use_resource: bool | None = None,
    ) -> None:
        if initial_value is None:
            raise ValueError(explain("a variable needs an initial value.", fix="tf.Variable(tf.zeros([2, 3]))"))
        graph = recording()
        name = name or "Variable"
        if graph is not None:
            name = graph.unique_name(name)
        self.constraint = constraint
        super().__init__(initial_value, dtype=dtype, trainable=trainable is not False, name=name)
        if shape is not None and not _fits(shape, self.spec.shape):
            raise ShapeError(
                f"variable {name!r} is to have shape {tuple(shape)}, its value has {tuple(self.spec.shape)}."
            )
        if graph is not None:
            for key in collections or ():
                graph.collections.setdefault(key, []).append(self)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its name as TensorFlow has it: that of its tensor, "w:0"."""
        return f"{self._name}:0"

    @name.setter
    def name(self, name: str) -> None:
        self._name = name.removesuffix(":0")

    @property
    def op(self) -> Any:
        """The operation that reads it in its graph."""
        return self._graph().operation_by_name(self._name)

    def _graph(self) -> Graph:
        if self.graph is None:
            raise AttributeError(f"variable {self.name!r} was made eagerly and has no operations.")
        return self.graph

    def get_shape(self) -> Shape:
        return Shape(self.spec.shape)

    def read_value(self) -> Any:
        """Its value as a tensor."""
        return self.value()

    def initialized_value(self) -> Any:
        """In a graph: its value, for the initial value of another variable."""
        return self.value() if self.graph is None else self.initializer.outputs[0]

    def is_initialized(self) -> bool:
        return True

    def set_shape(self, shape: Any) -> None:
        """Raises ShapeError if it has another shape."""
        if not _fits(shape, self.spec.shape):
            raise ShapeError(f"set_shape: variable {self.name!r} has shape {self.spec.shape}, not {tuple(shape)}.")

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Give it a new value; returns the value. Raises ShapeError if the shape differs."""
        return super().assign(value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Add ``delta``; returns the sum."""
        return super().assign_add(delta)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Subtract ``delta``; returns the difference."""
        return super().assign_sub(delta)

    def load(self, value: Any, session: Any = None) -> None:
        """Give it a value in ``session``, or in the default one, outside any graph."""
        (session or sessions.current()).write(self, concrete(as_array(value, self.spec.dtype)))

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Replace the rows that an ``IndexedSlices`` names."""
        return self.assign(_scatter(self, sparse_delta.indices, sparse_delta.values, mode="set"))

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Add to the rows that an ``IndexedSlices`` names."""
        return self.assign(_scatter(self, sparse_delta.indices, sparse_delta.values, mode="add"))

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Replace the elements that the rows of ``indices`` name."""
        return self.assign(_scatter_nd(self, indices, updates, mode="set"))

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Add to the elements that the rows of ``indices`` name."""
        return self.assign(_scatter_nd(self, indices, updates, mode="add"))

    def __eq__(self, other: Any) -> Any:
        """Elementwise; in a graph identity, as for its tensors, so that ``v in variables`` works."""
        return self is other if self.graph is not None else super().__eq__(other)

    def __ne__(self, other: Any) -> Any:
        return self is not other if self.graph is not None else super().__ne__(other)

    __hash__ = base.Variable.__hash__

    def __repr__(self) -> str:
        shape = "(" + ", ".join(map(str, self.spec.shape)) + ("," if len(self.spec.shape) == 1 else "") + ")"
        value = "" if self.graph is not None or self.value().is_symbolic else f", numpy={self.numpy()!r}"
        return f"<tf.Variable {self.name!r} shape={shape} dtype={self.spec.dtype.name}{value}>"


def _fits(shape: Any, found: Any) -> bool:
    return len(shape) == len(found) and all(d is None or d == n for d, n in zip(shape, found))


@op
def _scatter_nd(x: Any, indices: Any, updates: Any, mode: str) -> Any:
    x = as_tensor(x)
    return SCATTER(x, as_tensor(indices), as_tensor(updates).astype(x.dtype), axis=0, mode=mode)


@op
def _scatter(x: Any, indices: Any, updates: Any, mode: str) -> Any:
    at = as_tensor(indices)
    return _scatter_nd(x, at.reshape((*at.shape, 1)), updates, mode)


class IndexedSlices:
    """Rows of a larger tensor: ``values`` at ``indices``. Gradients here are dense; this is for scatter methods."""

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self.values, self.indices, self.dense_shape = values, indices, dense_shape

    @property
    def dtype(self) -> Any:
        return self.values.dtype
