"""Variables shared by name: ``variable_scope`` and ``get_variable``."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from hornbeam.base import dtypes
from hornbeam.errors import explain
from hornbeam.runtime.graph import Graph, recording
from hornbeam.tensorflow.arrays import convert_to_tensor
from hornbeam.tensorflow.compat.v1.graphs import GraphKeys, add_to_collection
from hornbeam.tensorflow.initializers import glorot_uniform_initializer, zeros_initializer
from hornbeam.tensorflow.scopes import name_scope
from hornbeam.tensorflow.variables import Variable


class _Reuse(enum.Enum):
    AUTO_REUSE = "auto"


AUTO_REUSE = _Reuse.AUTO_REUSE


class VariableScope:
    """A prefix of names, whether variables are made or found, and what holds for those made without saying.

    Attributes:
        reuse: False makes new variables, True finds those there are, AUTO_REUSE does as needed.
    """

    def __init__(
        self, graph: Graph | None, name: str = "", reuse: Any = False, initializer: Any = None, regularizer: Any = None,
        dtype: Any = None, original_name_scope: str = "",
    ) -> None:  # fmt: skip
        self.graph, self.name, self.reuse, self.original_name_scope = graph, name, reuse, original_name_scope
        self.initializer, self.regularizer, self.dtype = initializer, regularizer, dtype

    def reuse_variables(self) -> None:
        """From here on find variables instead of making them."""
        self.reuse = True

    def global_variables(self) -> list[Any]:
        """The variables below this scope."""
        prefix = f"{self.name}/" if self.name else ""
        return [v for v in (self.graph.variables if self.graph else []) if v.name.startswith(prefix)]

    def trainable_variables(self) -> list[Any]:
        """The trainable variables below this scope."""
        return [v for v in self.global_variables() if v.trainable]


class _Store:
    """What a graph's scopes share: variables by name, and how often each scope's name was opened."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.opened: dict[str, int] = {}


_stores: WeakKeyDictionary[Graph, _Store] = WeakKeyDictionary()
_scope: ContextVar[VariableScope | None] = ContextVar("hornbeam_variable_scope", default=None)
_roots: WeakKeyDictionary[Graph, VariableScope] = WeakKeyDictionary()


def _store(graph: Graph | None) -> _Store:
    return _Store() if graph is None else _stores.setdefault(graph, _Store())  # eagerly variables are not shared


def get_variable_scope() -> VariableScope:
    """The innermost scope of the graph that records here."""
    graph, scope = recording(), _scope.get()
    if scope is not None and scope.graph is graph:
        return scope
    return VariableScope(None) if graph is None else _roots.setdefault(graph, VariableScope(graph))


@contextlib.contextmanager
def variable_scope(
    name_or_scope: str | VariableScope | None, default_name: str | None = None, values: Any = None,
    initializer: Any = None, regularizer: Any = None, caching_device: Any = None, partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Any = None, dtype: Any = None, use_resource: Any = None, constraint: Any = None,
    auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:  # fmt: skip
    """Within the block names start with this scope's, and ``get_variable`` makes or finds variables as ``reuse`` says.

    A scope object re-enters that scope. ``default_name`` is made unique if there is no name. Raises ValueError for a
    ``custom_getter`` or ``partitioner``.
    """
    if custom_getter is not None or partitioner is not None:
        raise ValueError("variable_scope: custom_getter and partitioner are not there.")
    outer, graph = get_variable_scope(), recording()
    if isinstance(name_or_scope, VariableScope):
        whole = name_or_scope.name
        like, inherited = name_or_scope, name_or_scope.reuse
    else:
        own = name_or_scope or _unique(graph, outer, default_name or "")
        whole = f"{outer.name}/{own}" if outer.name else own
        like, inherited = outer, outer.reuse
    if reuse is None or (reuse is False and inherited is True):
        reuse = inherited  # below a scope that finds variables all scopes do
    inside = whole.rpartition("/")[2] if auxiliary_name_scope else None
    names = name_scope(inside) if inside else contextlib.nullcontext("")
    with names as entered:
        scope = VariableScope(
            graph,
            whole,
            reuse,
            initializer or like.initializer,
            regularizer or like.regularizer,
            dtype or like.dtype,
            str(entered),
        )
        token = _scope.set(scope)
        try:
            yield scope
        finally:
            _scope.reset(token)


def _unique(graph: Graph | None, outer: VariableScope, name: str) -> str:
    store, whole = _store(graph), f"{outer.name}/{name}"
    count = store.opened.get(whole, 0)
    store.opened[whole] = count + 1
    return name if count == 0 else f"{name}_{count}"


def get_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: bool | None = None, collections: Any = None, caching_device: Any = None, partitioner: Any = None,
    validate_shape: bool = True, use_resource: Any = None, custom_getter: Any = None, constraint: Any = None,
    synchronization: Any = None, aggregation: Any = None,
) -> Variable:  # fmt: skip
    """The variable of this name in the current scope: made, or found if the scope reuses variables.

    Args:
        initializer: of an ``initializer(shape, dtype)``, or the first value itself; Glorot's uniform one by default.
        regularizer: its value of the variable goes into the collection REGULARIZATION_LOSSES.
    Raises:
        ValueError: it exists and the scope does not reuse, it does not and the scope does, or shape or dtype differ.
    """
    scope, graph = get_variable_scope(), recording()
    store, whole = _store(graph), f"{scope.name}/{name}" if scope.name else name
    found = store.variables.get(whole)
    if found is not None and scope.reuse is False:
        raise ValueError(
            explain(
                f"Variable {whole} already exists, disallowed. Did you mean to set reuse=True or "
                f"reuse=tf.AUTO_REUSE in VarScope? It was made at {found.line}."
            )
        )
    if found is None and scope.reuse is True:
        raise ValueError(
            explain(
                f"Variable {whole} does not exist, or was not created with tf.get_variable(). Did you mean to set "
                "reuse=tf.AUTO_REUSE in VarScope?"
            )
        )
    dims = None if shape is None else tuple([shape] if isinstance(shape, int) else shape)
    if found is not None:
        if dims is not None and (
            len(dims) != len(found.shape) or any(d not in (None, n) for d, n in zip(dims, found.shape))
        ):
            raise ValueError(
                explain(f"Trying to share variable {whole}, but specified shape {dims} and found shape {found.shape}.")
            )
        if dtype is not None and np.dtype(dtype) != found.dtype:
            raise ValueError(
                explain(f"Trying to share variable {whole}, but specified dtype {dtype} and found {found.dtype.name}.")
            )
        return found
    kind = dtypes.as_dtype(dtype or scope.dtype or "float32")
    initializer = initializer if initializer is not None else scope.initializer
    value = _first_value(whole, dims, kind, dtype, initializer)
    with graph.name_scope(None) if graph is not None else contextlib.nullcontext():
        variable = Variable(value, trainable=trainable, name=whole, collections=collections, constraint=constraint)
    store.variables[whole] = variable
    regularizer = regularizer or scope.regularizer
    if regularizer is not None:
        with name_scope(f"{name}/Regularizer/"):
            loss = regularizer(variable)
        if loss is not None:
            add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return variable


def _first_value(name: str, shape: Any, kind: Any, dtype: Any, initializer: Any) -> Any:
    if initializer is not None and not callable(initializer):
        return convert_to_tensor(initializer, dtype)
    if shape is None or None in shape:
        raise ValueError(explain(f"Shape of a new variable ({name}) must be fully defined, but instead was {shape}."))
    if initializer is None:
        initializer = glorot_uniform_initializer() if dtypes.is_inexact(kind) else zeros_initializer()  # type: ignore[call-arg]
    made = initializer() if isinstance(initializer, type) else initializer
    return made(shape, dtype=kind)
