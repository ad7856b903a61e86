"""Flags: typed by their default, checked against what is allowed, set for a block."""

import pytest

from hornbeam.config import CHECK, Flag
from hornbeam.errors import HornbeamError


def test_a_value_from_the_environment(monkeypatch):
    monkeypatch.setenv("HORNBEAM_SPEED", "3")
    assert Flag("SPEED", 1, "").value == 3
    assert Flag("OTHER_SPEED", 1, "").value == 1
    monkeypatch.setenv("HORNBEAM_SPEED", "fast")
    with pytest.raises(HornbeamError, match="HORNBEAM_SPEED='fast' cannot be read as int"):
        Flag("SPEED", 1, "")


def test_what_is_not_allowed_is_answered_with_what_is(monkeypatch):
    monkeypatch.setenv("HORNBEAM_LEVEL", "7")
    with pytest.raises(HornbeamError, match=r"HORNBEAM_LEVEL=7 is not allowed\. Valid: 0, 1"):
        Flag("LEVEL", 0, "", (0, 1))


def test_set_for_a_block_also_if_it_raises():
    before = CHECK.value
    with pytest.raises(ZeroDivisionError):
        with CHECK(1):
            assert CHECK.value == 1
            1 / 0
    assert CHECK.value == before
    with pytest.raises(HornbeamError):
        with CHECK(9):
            pass
    assert CHECK.value == before
