"""Nested structures (dicts, lists, tuples, namedtuples) through optree, with None kept as a leaf-less node.

Everything above flattens user structures here, so a structure means the same to functions, sessions and control flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optree

TreeDef = optree.PyTreeSpec


def flatten(tree: Any) -> tuple[list[Any], TreeDef]:
    """Leaves in a fixed order (dict keys sorted), and the structure to put them back. ``None`` is structure."""
    return optree.tree_flatten(tree, none_is_leaf=False, namespace="hornbeam")  # type: ignore[return-value]


def unflatten(treedef: TreeDef, leaves: Any) -> Any:
    return optree.tree_unflatten(treedef, leaves)


def leaves(tree: Any) -> list[Any]:
    return flatten(tree)[0]


def map(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """``fn`` applied leaf by leaf to trees of one structure. Raises ValueError if the structures differ."""
    return optree.tree_map(fn, tree, *rest, none_is_leaf=False, namespace="hornbeam")


def replace(fn: Callable[[Any], Any], tree: Any, kinds: tuple[type, ...]) -> Any:
    """``tree`` with ``fn(part)`` for every part that is one of ``kinds``, even where such a part has leaves itself."""

    def is_one(part: Any) -> bool:
        return isinstance(part, kinds)

    return optree.tree_map(
        lambda part: fn(part) if is_one(part) else part, tree, is_leaf=is_one, none_is_leaf=False, namespace="hornbeam"
    )


def holds_none(tree: Any) -> bool:
    """Whether there is a None anywhere in it."""
    return any(x is None for x in optree.tree_leaves(tree, none_is_leaf=True, namespace="hornbeam"))


def paths(tree: Any) -> list[str]:
    """A readable accessor for every leaf, such as ``['x'][0]``, in the order of ``leaves``."""
    accessors = optree.tree_accessors(tree, none_is_leaf=False, namespace="hornbeam")
    return ["".join(str(e.codify("")) for e in a) for a in accessors]
