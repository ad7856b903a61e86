"""Every row of the table held to its sample lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import GradientError, HornbeamError
from hornbeam.ir.bind import interpreting
from hornbeam.ir.grad import gradients
from hornbeam.ir.node import NODES, param
from hornbeam.ir.primitive import ROWS, blocked
from hornbeam.ir.program import Program, evaluate
from hornbeam.ir.scalar import NumpyScalars
from tests.rows import check
from tests.rows.check import Sample, agree, inexact, several, specs_of
from tests.rows.samples import ELSEWHERE, SAMPLES


def each(samples: list[Sample]) -> Any:
    return pytest.mark.parametrize("sample", samples, ids=check.describe)


each_sample = each(SAMPLES)
each_row = pytest.mark.parametrize("name", sorted(set(ROWS) - set(ELSEWHERE)))


def test_every_row_has_a_sample() -> None:
    assert sorted({s.row.name for s in SAMPLES} | set(ELSEWHERE)) == sorted(ROWS)


@each_row
def test_dtypes_are_those_that_infer_accepts(name: str) -> None:
    samples = [s for s in SAMPLES if s.row.name == name]
    listed = {d for s in samples for d in s.dtypes}
    accepted = set()
    for sample in samples:
        for dtype in dtypes.ALL:
            arrays = sample.arrays(dtype, sample.shapes[0])
            try:
                sample.row.infer(*specs_of(arrays), **sample.attributes(specs_of(arrays)))
            except HornbeamError:
                continue
            if any(a.dtype == dtype for a in arrays):
                accepted.add(dtype)
    assert accepted <= listed, f"untested: {sorted(d.name for d in accepted - listed)}"


@each_sample
def test_value(sample: Sample) -> None:
    for arrays, attrs in sample.cases():
        outs = check.run(sample.row, arrays, attrs)
        with np.errstate(all="ignore"):
            if sample.holds is not None:
                for got, want in sample.holds(outs, *arrays, **attrs):
                    agree(got, want, sample.tol, arrays[0].dtype)
            else:
                assert sample.numpy is not None
                wants = several(sample.numpy(*map(check.widen, arrays), **attrs))
                for got, want in zip(outs, wants, strict=True):
                    agree(got, want, sample.tol, arrays[0].dtype if arrays else None)


@each([s for s in SAMPLES if s.differentiable])
def test_gradient_by_differences_to_second_order(sample: Sample) -> None:
    for arrays, attrs in sample.cases(only=(dtypes.float64, dtypes.complex128)):
        if inexact(arrays):
            check.check_gradient(check.program_of(sample.row, arrays, attrs), arrays)


@each([s for s in SAMPLES if s.row.grad not in (None, blocked)])
def test_gradient_has_the_operands_specs(sample: Sample) -> None:
    """Python scalars in a rule must not widen half precision, and what broadcasts must be summed back."""
    for arrays, attrs in sample.cases(only=set(dtypes.ALL) - set(dtypes.STORAGE_ONLY)):
        program = check.program_of(sample.row, arrays, attrs)
        outputs, sources = inexact(program.outputs), inexact(program.inputs)
        try:
            found = gradients(outputs, sources)
        except GradientError:
            assert not sample.grad
            continue
        for source, g in zip(sources, found, strict=True):
            assert g is None or g.spec == source.spec


@each([s for s in SAMPLES if s.row.grad in (None, blocked)])
def test_gradient_that_is_blocked_or_missing(sample: Sample) -> None:
    for arrays, attrs in sample.cases():
        program = check.program_of(sample.row, arrays, attrs)
        sources = inexact(program.inputs)
        if sample.row.grad is blocked:
            with interpreting(NODES):
                total = [o.astype("float32") for o in program.outputs if not dtypes.is_complex(o.dtype)]
            assert gradients(total, sources) == [None] * len(sources)
        elif sources and inexact(program.outputs):
            with pytest.raises(GradientError, match=sample.row.name):
                gradients(inexact(program.outputs), sources)


@each_sample
def test_strided_operands_give_the_same_bits(sample: Sample) -> None:
    for arrays, attrs in sample.cases():
        dense = check.run(sample.row, arrays, attrs)
        gaps = check.run(sample.row, [check.strided(a) for a in arrays], attrs)
        for x, y in zip(dense, gaps, strict=True):
            assert check.same_bits(x, y), f"{x.dtype}{x.shape}"


@each_sample
def test_nan_and_inf_pass_through(sample: Sample) -> None:
    for arrays, attrs in sample.cases(only=(*dtypes.FLOATS, *dtypes.COMPLEX)):
        with np.errstate(all="ignore"):
            for i, a in enumerate(arrays):
                if dtypes.is_inexact(a.dtype) and a.size:
                    odd = np.resize(np.asarray(check.SPECIAL, np.float64), a.shape).astype(a.dtype)
                    operands = [*arrays[:i], odd, *arrays[i + 1 :]]
                    outs = check.run(sample.row, operands, attrs)
                    if sample.special and sample.numpy is not None and a.dtype in (dtypes.float32, dtypes.float64):
                        wants = several(sample.numpy(*map(check.widen, operands), **attrs))
                        for got, want in zip(outs, wants, strict=True):
                            agree(got, want, sample.tol, a.dtype)


class _Scalars(NumpyScalars):
    """With the conversions that the row promises (saturating), which a handler may leave to the machine."""

    def cast(self, x: Any, dtype: Any) -> Any:
        return self.functions["cast"](x, dtype)


@each([s for s in SAMPLES if s.row.code is not None and s.row.kind in ("map", "reduce")])
def test_code_agrees_with_the_reference(sample: Sample) -> None:
    row = sample.row
    functions: dict[str, Any] = {r.name: r.reference for r in ROWS.values()}
    functions |= {f"bitcast_{d.name}": lambda x, d=d: ROWS["bitcast"].reference(x, d) for d in dtypes.ALL}
    scalars = _Scalars(functions)
    for arrays, attrs in sample.cases():
        want = check.run(row, arrays, attrs)[0]
        with np.errstate(all="ignore"):
            if row.kind == "map":
                got = np.asarray(row.code(scalars, *arrays, **attrs))
                assert check.same_bits(got, want), f"{want.dtype}{want.shape}"
            else:
                axes = attrs["axes"]
                moved = np.moveaxis(arrays[0], axes, range(len(axes)))
                steps = moved.reshape(-1, *want.shape) if moved.size else []
                if len(steps):
                    acc = steps[0]
                    for x in steps[1:]:
                        acc = row.code(scalars, acc, x)
                    agree(np.asarray(acc), check.widen(want), 16)


@each_sample
def test_hostile_attributes(sample: Sample) -> None:
    arrays = sample.arrays(sample.dtypes[0], sample.shapes[0])
    specs = specs_of(arrays)
    for attrs in check.hostile_attrs(sample.attributes(specs)):
        check.endure(sample.row, specs, attrs, _any_values)


@each_row
def test_hostile_operands(name: str) -> None:
    sample = next(s for s in SAMPLES if s.row.name == name)
    for shapes in sample.shapes[:3]:
        arrays = sample.arrays(sample.dtypes[0], shapes)
        attrs = sample.attributes(specs_of(arrays))
        for specs in check.hostile_specs(specs_of(arrays)):
            check.endure(sample.row, specs, attrs, _any_values)


def _any_values(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    return (rng.integers(0, 2, shape) if dtype.kind in "biu" else rng.uniform(0.5, 2, shape)).astype(dtype)


# -- points that a table does not show ---------------------------------------------------------------


def _gradient(function: Any, *values: Any) -> list[Any]:
    params = [param(Spec(np.shape(v), dtypes.float64)) for v in values]
    with interpreting(NODES):
        out = function(*params)
    found = gradients([out], params)
    return evaluate(Program(params, found), [np.asarray(v, np.float64) for v in values])


def test_ties_share_the_gradient() -> None:
    for row in (ROWS["max"], ROWS["min"]):
        dx, dy = _gradient(row, [1.0, 2.0], [1.0, 5.0])
        assert dx[0] == dy[0] == 0.5
        assert {dx[1], dy[1]} == {0.0, 1.0}
    for row in (ROWS["reduce_max"], ROWS["reduce_min"]):
        (dx,) = _gradient(lambda x, row=row: row(x, axes=(0,)), [3.0, 3.0, 3.0, 3.0])
        assert dx.tolist() == [0.25] * 4


def test_pow_at_zero_has_the_limits_as_gradient() -> None:
    dx, dy = _gradient(ROWS["pow"], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0])
    assert dx.tolist() == [0, 1, 0, 0]
    assert dy.tolist() == [0, 0, 0, 0]


def test_abs_and_sign_of_complex_zero_have_gradient_zero() -> None:
    x = param(Spec((1,), dtypes.complex128))
    with interpreting(NODES):
        outs = [ROWS["abs"](x), ROWS["sign"](x)]
    for out in outs:
        (g,) = evaluate(Program([x], gradients([out], [x])), [np.zeros(1, np.complex128)])
        assert g == 0


def test_nan_wins_a_reduction() -> None:
    x = np.asarray([1, np.nan, 3], np.float32)
    for name in ("reduce_max", "reduce_min"):
        for dtype in dtypes.FLOATS:
            (out,) = check.run(ROWS[name], [x.astype(dtype)], {"axes": (0,)})
            assert np.isnan(out)


def test_many_ties_in_half_precision_do_not_overflow_their_count() -> None:
    n = 70_000
    x = param(Spec((n,), dtypes.float16))
    with interpreting(NODES):
        out = ROWS["reduce_max"](x, axes=(0,))
        scaled = out * 1000
    (g,) = evaluate(Program([x], gradients([scaled], [x])), [np.zeros(n, np.float16)])
    np.testing.assert_allclose(g.astype(float), 1000 / n, rtol=1e-3)


def test_a_custom_rule_must_answer_for_every_argument() -> None:
    x = param(Spec((), dtypes.float32))
    with interpreting(NODES):
        (y,) = ROWS["custom_gradient"](x * 2, x, results=1, rule=lambda g: ())
    with pytest.raises(GradientError, match="custom_gradient"):
        gradients([y], [x])


def test_a_custom_rule_replaces_the_gradient() -> None:
    (dx,) = _gradient(lambda x: ROWS["custom_gradient"](x * x, x, results=1, rule=lambda g: (g * 7,))[0], [1.0, 2.0])
    assert dx.tolist() == [7, 7]


def test_a_callback_cannot_write_to_what_it_is_given() -> None:
    def spoil(x: np.ndarray) -> np.ndarray:
        x += 1
        return x

    with pytest.raises(ValueError, match="read-only"):
        ROWS["callback"].reference(np.zeros(2), function=spoil, specs=(Spec((2,), dtypes.float64),))
