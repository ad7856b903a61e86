"""``tf.nest``: nested structures of lists, tuples, named tuples and dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

from hornbeam.base import tree
from hornbeam.tensorflow.names import absent


def flatten(structure: Any, expand_composites: bool = False) -> list[Any]:
    """The leaves in order (dicts by key). None is a leaf."""
    return optree.tree_leaves(structure, none_is_leaf=True, namespace="hornbeam")


def map_structure(func: Callable[..., Any], *structure: Any, **options: Any) -> Any:
    """``func`` of the leaves that stand in one place of each structure."""
    return optree.tree_map(func, *structure, none_is_leaf=True, namespace="hornbeam")


def pack_sequence_as(structure: Any, flat_sequence: Any, expand_composites: bool = False) -> Any:
    """A structure like ``structure`` with other leaves. Raises ValueError if there are too few or too many."""
    definition = optree.tree_structure(structure, none_is_leaf=True, namespace="hornbeam")
    return tree.unflatten(definition, flat_sequence)


def is_nested(structure: Any) -> bool:
    """Whether it is a list, tuple or dict and not a leaf."""
    return not optree.tree_is_leaf(structure, none_is_leaf=True, namespace="hornbeam")


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True, expand_composites: bool = False) -> None:
    """Raises ValueError if the two are not nested alike."""
    one, two = (optree.tree_structure(n, none_is_leaf=True, namespace="hornbeam") for n in (nest1, nest2))
    if one != two:
        raise ValueError(f"the structures differ: {one} and {two}.")


__getattr__ = absent(__name__, globals())
