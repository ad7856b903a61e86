"""Graphs: the default one, placeholders, collections, initializers, eager mode on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hornbeam.errors import SessionError, explain
from hornbeam.ir.bind import current
from hornbeam.runtime import graph as graphs
from hornbeam.runtime.eager import EAGER
from hornbeam.runtime.graph import GraphTensor, recording
from hornbeam.tensorflow.arrays import group, identity
from hornbeam.tensorflow.graphs import Graph, GraphKeys


def get_default_graph() -> Graph:
    """The graph that records here: the innermost entered, else the process's own."""
    return graphs.default_graph(Graph)  # type: ignore[return-value]


def reset_default_graph() -> None:
    """Forget the process's own graph. Raises SessionError inside a graph's ``with`` block."""
    graphs.reset_default_graph(Graph)


def disable_eager_execution() -> None:
    """From here on operations are recorded in the default graph."""
    graphs.disable_eager_execution(Graph)


disable_v2_behavior = disable_eager_execution


def enable_eager_execution(config: Any = None, device_policy: Any = None, execution_mode: Any = None) -> None:
    """From here on operations run at once again."""
    graphs.enable_eager_execution()


enable_v2_behavior = enable_eager_execution


def executing_eagerly_outside_functions() -> bool:
    """Whether operations outside of functions run at once."""
    return recording() is None


def disable_resource_variables() -> None:
    """Nothing to disable: a read sees the state before the run, or what control dependencies put before it."""


enable_resource_variables = disable_resource_variables


def in_graph(what: str) -> graphs.Graph:
    """The graph that records here. Raises SessionError in eager mode, saying how to come into a graph."""
    graph = recording()
    if graph is None:
        traced = current() is not EAGER
        raise SessionError(
            explain(
                f"{what} is not compatible with eager execution.",
                why="It belongs to a graph"
                + (", and a function is being traced here." if traced else "; operations here run at once."),
                fix="tf.compat.v1.disable_eager_execution() at the top, or   with tf.Graph().as_default():",
            )
        )
    return graph


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> GraphTensor:
    """A tensor to be fed at every run. None in ``shape`` fits any size; without a shape anything can be fed.

    Raises SessionError in eager mode.
    """
    graph = in_graph("tf.compat.v1.placeholder()")
    dims = None if shape is None else [shape] if isinstance(shape, int) else list(shape)
    return graph.placeholder(dims, dtype, name or "Placeholder")


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Any:
    """A tensor that can be fed, and else has the value ``input``."""
    out = identity(input, name=name or "PlaceholderWithDefault")
    if isinstance(out, GraphTensor):
        out.shape = graphs.Shape(shape) if shape is not None else out.shape
        out.any_shape = shape is None
    return out


# -- collections -----------------------------------------------------------------------------------------------------


def add_to_collection(name: str, value: Any) -> None:
    """Add ``value`` to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: str | Sequence[str], value: Any) -> None:
    """Add ``value`` to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection_ref(key: str) -> list[Any]:
    """The list of what was added to a collection, itself."""
    return get_default_graph().get_collection_ref(key)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """What is in a collection of the default graph, those only whose name starts with ``scope``."""
    return get_default_graph().get_collection(key, scope)


def _variables(key: str) -> Any:
    return lambda scope=None: get_collection(key, scope)


global_variables = _variables(GraphKeys.GLOBAL_VARIABLES)
all_variables = global_variables
trainable_variables = _variables(GraphKeys.TRAINABLE_VARIABLES)
local_variables = _variables(GraphKeys.LOCAL_VARIABLES)
model_variables = _variables(GraphKeys.MODEL_VARIABLES)
moving_average_variables = _variables(GraphKeys.MOVING_AVERAGE_VARIABLES)


# -- first values ----------------------------------------------------------------------------------------------------


def variables_initializer(var_list: Sequence[Any], name: str = "init") -> Any:
    """An operation that gives these variables their first values. Raises SessionError in eager mode."""
    return in_graph("tf.compat.v1.variables_initializer()").group([v.initializer for v in var_list], name)


def global_variables_initializer() -> Any:
    """An operation that gives all variables made so far their first values; make it after variables and optimizers.

    Raises SessionError in eager mode, where variables have their values already.
    """
    graph = in_graph("tf.compat.v1.global_variables_initializer()")
    return graph.group([v.initializer for v in global_variables()], "init")


initialize_all_variables = global_variables_initializer


def local_variables_initializer() -> Any:
    """An operation that gives all local variables their first values. Raises SessionError in eager mode."""
    graph = in_graph("tf.compat.v1.local_variables_initializer()")
    return graph.group([v.initializer for v in local_variables()], "init_local")


def assign(
    ref: Any, value: Any, validate_shape: bool = True, use_locking: bool = False, name: str | None = None
) -> Any:
    """Give a variable a new value when this runs."""
    return ref.assign(value)


def assign_add(ref: Any, value: Any, use_locking: bool = False, name: str | None = None) -> Any:
    """Add to a variable when this runs."""
    return ref.assign_add(value)


def assign_sub(ref: Any, value: Any, use_locking: bool = False, name: str | None = None) -> Any:
    """Subtract from a variable when this runs."""
    return ref.assign_sub(value)


__all__ = [
    "Graph", "GraphKeys", "get_default_graph", "reset_default_graph",
    "disable_eager_execution", "disable_v2_behavior", "enable_eager_execution", "enable_v2_behavior",
    "executing_eagerly_outside_functions", "disable_resource_variables", "enable_resource_variables",
    "placeholder", "placeholder_with_default",
    "add_to_collection", "add_to_collections", "get_collection", "get_collection_ref",
    "global_variables", "all_variables", "trainable_variables", "local_variables", "model_variables",
    "moving_average_variables", "variables_initializer", "global_variables_initializer", "initialize_all_variables",
    "local_variables_initializer", "assign", "assign_add", "assign_sub", "group",
]  # fmt: skip
