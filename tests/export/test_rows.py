"""Every row that can be exported computes what its reference does, and the list of those that cannot is exact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import hornbeam as hb
from hornbeam.base import dtypes
from hornbeam.errors import ExportError
from hornbeam.export import model as _model  # enters the rules
from hornbeam.export import onnx_model
from hornbeam.export.rules.rule import REFUSED, RULES
from hornbeam.ir.primitive import ROWS
from tests.export.evaluate import on_reference, on_runtime
from tests.rows import check
from tests.rows.samples import SAMPLES, Sample

assert _model

# What ONNX Runtime computes everywhere. Other dtypes are left to ONNX's reference.
SERVED = {dtypes.bool_, dtypes.int32, dtypes.int64, dtypes.float32}

# What ONNX's reference cannot evaluate, or evaluates wrongly; ONNX Runtime does instead.
NOT_ON_REFERENCE = {
    "cumprod": "it scans along the first axis only, and forward",
    "scan": "it scans forward only, and stacks numbers as [n, 1]",
    "conv_input_grad": "it does not dilate in groups",
    "pool_max": "it reads beyond the end where the padding is uneven",
    "erf": "it computes float64 in float32",
    "erfc": "it computes float64 in float32",
}

FLOAT8 = set(dtypes.STORAGE_ONLY)
COMPLEX = set(dtypes.COMPLEX)
INTEGERS = set(dtypes.INTEGERS)

# The dtypes of operands or results that a row takes and its operator of ONNX does not.
REFUSED_DTYPES: dict[str, set[Any]] = {
    **dict.fromkeys(
        "add sub mul div neg pow abs sign exp expm1 log log1p sqrt sin cos tan sinh cosh tanh is_finite cast sum prod "
        "cumsum cumprod dot".split(), COMPLEX,
    ),
    **dict.fromkeys(("eq", "ne"), COMPLEX | FLOAT8),
    **dict.fromkeys(
        "select broadcast slice pad concat reverse gather scatter dynamic_slice dynamic_update_slice".split(),
        FLOAT8,
    ),
    **dict.fromkeys(("reduce_and", "reduce_or"), INTEGERS),
    **dict.fromkeys(("conv", "conv_input_grad", "pool_sum"), INTEGERS | COMPLEX),
    "pool_max": INTEGERS - {dtypes.int8, dtypes.uint8},
}  # fmt: skip


def test_every_row_is_exported_or_refused_with_a_reason() -> None:
    assert set(RULES) | set(REFUSED) == set(ROWS)
    assert set(RULES) & set(REFUSED) == set()


def cases(name: str) -> Iterator[tuple[Sample, list[np.ndarray], dict[str, Any], list[np.ndarray]]]:
    for sample in SAMPLES:
        if sample.row.name == name:
            for arrays, attrs in sample.cases():
                yield sample, arrays, attrs, check.run(sample.row, arrays, attrs)


def exported(sample: Sample, arrays: list[np.ndarray], attrs: dict[str, Any]) -> Any:
    return onnx_model(lambda *xs: sample.row(*xs, **attrs), [hb.TensorSpec(a.shape, a.dtype) for a in arrays])


def is_left_open(name: str, arrays: list[np.ndarray], attrs: dict[str, Any]) -> bool:
    """What ONNX does not define: the place of an extremum among NaN, and integers made of floats beyond their range."""
    if name not in ("argmax", "argmin", "cast") or not dtypes.is_floating(arrays[0].dtype):
        return False
    x = arrays[0].astype(np.float64)
    if name != "cast" or not dtypes.is_integer(attrs["dtype"]):
        return name != "cast" and bool(np.isnan(x).any())
    info = np.iinfo(attrs["dtype"])
    return not ((x > info.min - 1) & (x < info.max)).all()


@pytest.mark.parametrize("name", sorted(RULES))
def test_exported_row_agrees_with_its_reference(name: str) -> None:
    refused, compared = set(), 0
    for sample, arrays, attrs, wants in cases(name):
        used = {a.dtype for a in (*arrays, *wants)}
        try:
            model = exported(sample, arrays, attrs)
        except ExportError:
            refused |= used & REFUSED_DTYPES.get(name, set()) or used
            continue
        if is_left_open(name, arrays, attrs):
            continue
        referees = [on_reference] if name not in NOT_ON_REFERENCE else []
        if used <= SERVED or (name == "scan" and used <= SERVED | {dtypes.float64}):
            referees.append(on_runtime)
        for run in referees:
            for got, want in zip(run(model, arrays), wants, strict=True):
                assert got.dtype == want.dtype
                check.agree(got, want, 4 * sample.tol, arrays[0].dtype if arrays else None)
                compared += 1
    assert refused == REFUSED_DTYPES.get(name, set())
    assert compared or name in ("while", "switch")  # compared in test_control.py


@pytest.mark.parametrize("name", sorted(set(REFUSED) & {s.row.name for s in SAMPLES} - {"call"}))
def test_refused_row_says_why(name: str) -> None:
    sample, arrays, attrs, _ = next(cases(name))
    with pytest.raises(ExportError) as caught:
        exported(sample, arrays, attrs)
    assert REFUSED[name] in str(caught.value) and "test_rows.py" in str(caught.value)
