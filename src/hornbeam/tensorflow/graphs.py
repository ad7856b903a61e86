"""``tf.Graph``: the runtime's graph with TensorFlow's methods and collections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from hornbeam.runtime import graph as base
from hornbeam.runtime.graph import Call, GraphTensor


class GraphKeys:
    """Names of a graph's collections."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    METRIC_VARIABLES = "metric_variables"
    UPDATE_OPS = "update_ops"
    LOSSES = "losses"
    REGULARIZATION_LOSSES = "regularization_losses"
    SUMMARIES = "summaries"
    ACTIVATIONS = "activations"
    WEIGHTS = "weights"
    BIASES = "biases"
    GLOBAL_STEP = "global_step"
    TRAIN_OP = "train_op"
    INIT_OP = "init_op"


_NOT_GLOBAL = (GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES)


class Graph(base.Graph):
    """A record of operations, run by sessions."""

    def get_tensor_by_name(self, name: str) -> GraphTensor:
        """The tensor "x:0". Raises ValueError for the name of an operation, KeyError if there is none of that name."""
        return self.tensor_by_name(name)

    def get_operation_by_name(self, name: str) -> Call:
        """The operation "x". Raises KeyError if there is none."""
        return self.operation_by_name(name)

    def get_operations(self) -> list[Call]:
        """All operations in the order in which they were made."""
        return list(self.calls)

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The tensor or operation that ``obj`` names or is. Raises ValueError if it is of another graph."""
        if isinstance(obj, str):
            return self.tensor_by_name(obj) if ":" in obj else self.operation_by_name(obj)
        if getattr(obj, "graph", None) is not self:
            raise ValueError(f"{obj!r} is not an element of this graph.")
        return obj

    def is_feedable(self, tensor: Any) -> bool:
        """Whether the tensor can be fed: every one can."""
        return True

    @contextlib.contextmanager
    def device(self, name: Any) -> Iterator[None]:
        """Where to compute; every engine has one kind of device."""
        yield

    # -- collections ---------------------------------------------------------------------------------------------------

    def add_to_collection(self, name: str, value: Any) -> None:
        """Add ``value`` to a collection."""
        self.collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: str | Sequence[str], value: Any) -> None:
        """Add ``value`` to several collections."""
        for name in (names,) if isinstance(names, str) else tuple(names):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: str) -> list[Any]:
        """The list of what was added to a collection, itself."""
        return self.collections.setdefault(name, [])

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """What is in a collection, those only whose name starts with ``scope``. All variables are in theirs."""
        found = list(self.collections.get(name, ()))
        if name in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.TRAINABLE_VARIABLES):
            elsewhere = {id(v) for key in _NOT_GLOBAL for v in self.collections.get(key, ())}
            own = [v for v in self.variables if id(v) not in elsewhere]
            own = own if name == GraphKeys.GLOBAL_VARIABLES else [v for v in own if v.trainable]
            found = list({id(v): v for v in [*own, *found]}.values())
        return found if scope is None else [x for x in found if getattr(x, "name", "").startswith(scope)]

    def get_all_collection_keys(self) -> list[str]:
        """The names of the collections that something was added to."""
        return list(self.collections)

    def clear_collection(self, name: str) -> None:
        """Forget what was added to a collection."""
        self.collections.pop(name, None)
