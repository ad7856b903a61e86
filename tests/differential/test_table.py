"""The table names every operation that the installed Keras asks of a backend, and its lines draw what they say."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from hornbeam import keras
from tests.differential.cases import CASES
from tests.differential.draw import Draw, generator
from tests.differential.wire import leaves

PARTS = ("ops/core", "ops/numpy", "ops/nn", "ops/math", "ops/linalg", "ops/image", "random")


def defined(file: Path) -> set[str]:
    """The functions that a module defines, read without importing it: backends need their libraries."""
    body = ast.parse(file.read_text()).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}


def contract() -> set[str]:
    """What Keras's NumPy or JAX backend defines and Keras offers as an operation, or calls itself."""
    folder = Path(keras.__file__).parent / "src" / "backend"
    names = set()
    for part in PARTS:
        both = [defined(folder / backend / f"{part}.py") for backend in ("numpy", "jax")]
        offered = {name for name in set.union(*both) if hasattr(keras.ops, name) or hasattr(keras.ops.image, name)}
        names |= set.intersection(*both) | offered
    return names


def test_every_operation_of_the_contract_has_a_line():
    covered = {name.rpartition(".")[2] for name in CASES}
    assert len(contract()) > 300
    assert contract() - covered == set()


def test_every_public_operation_has_a_line():
    public = {name for name in dir(keras.ops) if callable(getattr(keras.ops, name)) and not name.startswith("_")}
    images = {f"image.{name}" for name in dir(keras.ops.image) if not name.startswith("_")}
    random = {f"random.{name}" for name in dir(keras.random) if name.islower() and not name.startswith("_")}
    assert (public | images | random) - set(CASES) == set()


@pytest.mark.parametrize("wide", [False, True])
def test_every_line_draws_the_same_call_for_the_same_seed(wide):
    for op, case in CASES.items():
        for index in range(5):
            first, second = (repr(case.make(Draw(generator(0, op, index), wide))) for _ in range(2))
            assert first == second


def test_empty_and_0d_arrays_are_drawn():
    calls = [CASES["add"].make(Draw(generator(0, "add", index))) for index in range(100)]
    shapes = [x.shape for call in calls for x in leaves(call.args) if isinstance(x, np.ndarray)]
    assert () in shapes and any(0 in shape for shape in shapes)
