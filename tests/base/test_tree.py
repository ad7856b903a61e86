"""Structures: dicts in the order of their keys, None as structure, readable paths."""

from collections import OrderedDict, namedtuple

from hornbeam.base import tree

Point = namedtuple("Point", "x y")


def test_there_and_back():
    for structure in (
        3,
        None,
        [],
        {},
        (),
        [1, (2, None)],
        {"b": 1, "a": [2]},
        Point(1, {"z": 2}),
        OrderedDict(b=1, a=2),
    ):
        leaves, treedef = tree.flatten(structure)
        back = tree.unflatten(treedef, leaves)
        assert back == structure
        assert type(back) is type(structure)


def test_dicts_are_flattened_by_key():
    assert tree.leaves({"b": 1, "a": 2}) == [2, 1]
    assert tree.flatten({"b": 1, "a": 2})[1] == tree.flatten({"a": 1, "b": 2})[1]


def test_map_keeps_none():
    assert tree.map(lambda x, y: x + y, {"a": 1, "b": (2, None)}, {"a": 10, "b": (20, None)}) == {
        "a": 11,
        "b": (22, None),
    }


def test_none_is_found_anywhere():
    assert tree.holds_none([1, {"a": (2, None)}])
    assert not tree.holds_none([1, {"a": (2,)}])


def test_paths_read_like_python():
    assert tree.paths({"x": [1, (2,)], "p": Point(3, 4)}) == ["['p'].x", "['p'].y", "['x'][0]", "['x'][1][0]"]
