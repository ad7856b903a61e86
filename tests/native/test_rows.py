"""Every row's samples on the native engine, at several vector widths, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hornbeam.engines.native.pipeline import build
from hornbeam.engines.native.target import host
from hornbeam.ir.bind import interpreting
from hornbeam.ir.node import NODES, param
from hornbeam.ir.program import Program, evaluate
from tests.rows.check import several, specs_of
from tests.rows.samples import SAMPLES

NAMES = sorted({s.row.name for s in SAMPLES if not s.row.effect})
TOLERANCE = {1: 0.0, 2: 2e-2, 4: 1e-5, 8: 1e-12, 16: 1e-12}  # by bytes of an element; integers and bools agree exactly


def together(name: str) -> list[tuple[Program, list[np.ndarray]]]:
    """All samples of a row, many to a program, so that there is little to compile."""
    cases = [(s.row, *case) for s in SAMPLES if s.row.name == name for case in s.cases()]
    programs = []
    for start in range(0, len(cases), 40):
        group = cases[start : start + 40]
        inputs: list[Any] = []
        outputs: list[Any] = []
        values: list[np.ndarray] = []
        with interpreting(NODES):
            for row, arrays, attrs in group:
                xs = [param(s) for s in specs_of(arrays)]
                inputs += xs
                outputs += several(row(*xs, **attrs))
                values += arrays
        programs.append((Program(inputs, outputs, name=name), values))
    return programs


def agree(got: np.ndarray, want: np.ndarray) -> None:
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want)
        return
    tol = TOLERANCE[want.dtype.itemsize if want.dtype.kind != "c" else want.dtype.itemsize // 2]
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(got.astype(wide), want.astype(wide), rtol=tol, atol=tol, equal_nan=True)


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
@pytest.mark.parametrize("name", NAMES)
def test_native_agrees_with_the_reference(name: str, lanes: int) -> None:
    for program, values in together(name):
        executable = build(program, host().with_lanes(lanes))
        for got, want in zip(executable.run(values), evaluate(program, values), strict=True):
            agree(got, want)
