"""A map by identity that lets its keys die."""

import gc
import weakref

import numpy as np
import pytest

from hornbeam.base.weak import IdentityMap


class Thing:
    def __eq__(self, other):
        raise AssertionError("compared")

    __hash__ = None


def test_by_identity_without_comparing():
    a, b, held = Thing(), Thing(), IdentityMap()
    held[a], held[b] = 1, 2
    held[a] = 3
    assert (held[a], held.get(b), held.get(Thing()), len(held)) == (3, 2, None, 2)
    assert a in held and Thing() not in held
    assert [id(x) for x in held] == [id(a), id(b)]
    assert held.values() == [3, 2]
    with pytest.raises(KeyError):
        held[Thing()]


def test_a_dead_key_takes_its_value_along():
    held = IdentityMap()
    a = Thing()
    held[a] = value = np.zeros(3)
    alive = weakref.ref(value)
    del a, value
    gc.collect()
    assert (len(held), list(held), alive()) == (0, [], None)


def test_a_key_in_a_cycle_dies_too():
    held, a = IdentityMap(), Thing()
    a.me = a
    held[a] = 1
    del a
    gc.collect()
    assert len(held) == 0


def test_an_update_that_fails_sets_nothing():
    held, a = IdentityMap(), Thing()
    with pytest.raises(TypeError):
        held.update([(a, 1), (3, 2)])  # an int cannot be referred to weakly
    assert len(held) == 0


def test_cleared_keys_may_die_later():
    held, a = IdentityMap(), Thing()
    held[a] = 1
    held.clear()
    b = Thing()
    held[b] = 2
    del a
    assert held.values() == [2]
