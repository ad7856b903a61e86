"""The comparer: what it lets pass, what it calls a disagreement, and which of those the list excuses."""

from __future__ import annotations

import dataclasses

import ml_dtypes
import numpy as np
import pytest

from tests.differential import known
from tests.differential.cases import CASES, Case
from tests.differential.compare import Disagreement, disagreements
from tests.differential.draw import call
from tests.differential.run import code
from tests.differential.wire import Answer, Leaf, Raised, mapped

CASE = Case("op", lambda d: call(), loose=4)
CALL = call(np.ones(3, "float32"))


def tensors(structure):
    return mapped(lambda x: Leaf("tensor", np.asarray(x)), structure)


def kinds(ours, theirs, case=CASE, given=CALL):
    ours, theirs = (x if isinstance(x, Answer) else Answer(x) for x in (ours, theirs))
    return [found.kind for found in disagreements(case, given, ours, theirs)]


def test_both_raising_is_agreement_and_one_raising_is_not():
    error, value = Raised("ValueError", "no"), tensors(np.float32(1))
    assert kinds(error, Raised("TypeError", "never")) == []
    assert kinds(error, value) == ["raises"]
    assert kinds(value, error) == ["accepts"]


def test_structure_kind_shape_and_dtype_are_compared_in_this_order():
    x = np.zeros((2, 1), "float32")
    assert kinds(tensors((x, x)), tensors((x, x))) == []
    assert kinds(tensors((x, x)), tensors([x, x])) == ["structure"]
    assert kinds(tensors((x,)), tensors((x, x))) == ["structure"]
    assert kinds(tensors(x), Leaf("value", 0.0)) == ["kind"]
    assert kinds(tensors(x), tensors(x[:, 0])) == ["shape"]
    assert kinds(tensors(x), tensors(x.astype("float16"))) == ["dtype"]
    assert kinds(tensors(x[:0]), tensors(x[:0])) == []


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", ml_dtypes.bfloat16, "complex64"])
def test_floats_may_differ_by_rounding(dtype):
    x = np.array([1.0, 0.5, 0.25]).astype(dtype)
    unit = float(ml_dtypes.finfo(x.dtype).eps)
    near, far = (x + np.array(units * unit).astype(dtype) for units in (2, 8))
    assert kinds(tensors(near), tensors(x)) == []
    assert kinds(tensors(far), tensors(x)) == ["value"]


def test_what_is_not_finite_must_be_the_same():
    x = np.array([np.nan, np.inf, -np.inf, 1], "float32")
    assert kinds(tensors(x), tensors(x.copy())) == []
    for place in range(3):
        other = x.copy()
        other[place] = 1
        assert kinds(tensors(other), tensors(x)) == kinds(tensors(x), tensors(other)) == ["value"]
    assert kinds(tensors(-x), tensors(x)) == ["value"]


def test_integers_are_equal_or_not():
    x = np.array([3, 200], "uint8")
    assert kinds(tensors(x), tensors(x.copy())) == []
    assert kinds(tensors(x), tensors(x + np.uint8(1))) == ["value"]


def test_integers_that_are_rounded_may_differ_by_a_step():
    x, case = np.array([3, 200], "uint8"), dataclasses.replace(CASE, steps=1)
    assert kinds(tensors(x), tensors(x + np.uint8(1)), case) == []
    assert kinds(tensors(x + np.uint8(2)), tensors(x), case) == ["value"]


def test_the_worst_element_is_told():
    x = np.zeros((2, 2), "float32")
    y = np.array([[0, 1], [5, 0]], "float32")
    (found,) = disagreements(CASE, CALL, Answer(tensors(x)), Answer(tensors(y)))
    assert found.detail == "at (1, 0) of float32[2, 2] ours 0.0, JAX 5.0 (2 of 4 differ)"


def test_gradients_are_compared_in_the_coarsest_dtype_on_their_way():
    one, near = np.ones(1, "float32"), np.ones(1, "float32") * 1.01
    ours, theirs = (Answer(tensors(one), gradients=tensors((x,))) for x in (one, near))
    assert kinds(ours, theirs) == ["gradient"]
    assert kinds(ours, theirs, given=call(one.astype(ml_dtypes.bfloat16))) == []
    assert kinds(ours, Answer(tensors(one))) == ["gradient"]
    assert kinds(ours, theirs, dataclasses.replace(CASE, grad=False)) == []


def test_a_reading_stands_for_values_that_are_free():
    case = dataclasses.replace(CASE, reading=lambda x: x, grad=False)
    x = np.ones(2, "float32")
    assert kinds(Answer(tensors(x), tensors(x)), Answer(tensors(-x), tensors(x)), case) == []
    assert kinds(Answer(tensors(x), tensors(x)), Answer(tensors(x), tensors(-x)), case) == ["value"]


def test_random_numbers_are_compared_by_their_moments():
    case = dataclasses.replace(CASE, moments=True, grad=False)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=4000).astype("float32") for _ in range(2))
    assert kinds(tensors(x), tensors(y), case) == []
    assert kinds(tensors(x), tensors(y + 1), case) == ["value"]
    assert kinds(tensors(x), tensors(y * 2), case) == ["value"]
    assert kinds(tensors(x[:10]), tensors(y[:10] + 1), case) == []


def test_every_rule_of_the_list_names_operations_and_kinds_that_exist():
    there = {"raises", "accepts", "structure", "kind", "shape", "dtype", "value", "gradient", "died"}
    for rule in known.read():
        assert rule.reason and set(rule.kinds) <= there
        assert all(known.named(pattern, CASES) for pattern in rule.ops), rule.ops


def test_a_rule_excuses_what_it_describes_and_nothing_else():
    rule = known.Rule(("nan*",), ("value",), "why", detail="ours inf", call="float16")
    told = Disagreement("value", "at () of float16[] ours inf, JAX nan")

    def reason(op="nanmax", what=told, given="nanmax(float16[3])", x64=False, rule=rule):
        return known.reason([rule], op, what, given, x64)

    assert reason() == "why"
    assert reason(op="max") is None
    assert reason(what=Disagreement("dtype", "ours inf")) is None
    assert reason(what=Disagreement("value", "ours 1")) is None
    assert reason(given="nanmax(float32[3])") is None
    wide = dataclasses.replace(rule, x64=True)
    assert reason(rule=wide) is None and reason(rule=wide, x64=True) == "why"


def test_a_call_is_told_as_code():
    given = call(np.array([1, 2], "int8"), [3, None], axis=(0, -1))
    assert code(CASE, given, None) == "op(int8[2]([1,2]), (3, None), axis=(0, -1)), given tensors"
