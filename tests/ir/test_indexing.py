"""``getitem`` and ``setitem`` against NumPy, on indices of every kind in every combination."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.base import dtypes
from hornbeam.base.spec import Spec
from hornbeam.errors import DTypeError, HornbeamError, ShapeError, TracingError
from hornbeam.ir.bind import constant, interpreting
from hornbeam.ir.grad import gradients
from hornbeam.ir.indexing import getitem, setitem
from hornbeam.ir.node import NODES, param
from hornbeam.ir.program import Program, evaluate
from tests.rows.check import check_gradient

VIEWS = {"slice", "reverse", "reshape", "constant"}


def graph(function: Any, *arrays: np.ndarray) -> Program:
    params = [param(Spec(a.shape, a.dtype)) for a in arrays]
    with interpreting(NODES):
        return Program(params, [function(*params)])


def run(function: Any, *values: Any) -> np.ndarray:
    arrays = [np.asarray(v) for v in values]
    return evaluate(graph(function, *arrays), arrays)[0]


def numbers(shape: Any, dtype: Any = np.float64) -> np.ndarray:
    return (np.arange(np.prod(shape, dtype=int)) + 1).reshape(shape).astype(dtype)


def same(got: np.ndarray, want: np.ndarray, what: Any = "") -> None:
    assert got.shape == want.shape, f"{what}: {got.shape}, NumPy gives {want.shape}"
    assert (got == want).all(), what


# -- properties ----------------------------------------------------------------------------------------

bound = st.none() | st.integers(-6, 6)
slices = st.builds(slice, bound, bound, st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))


@st.composite
def cases(draw: Any) -> tuple[tuple[int, ...], Any, list[int]]:
    """A shape, an index that mostly fits it, and which of its integer parts are tensors in the second run."""
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=0, max_size=4)))
    many = draw(st.sampled_from([(), (1,), (2,), (3,), (2, 3), (0,), (1, 2)]))
    index: list[Any] = []
    axis = 0
    ellipsis = False
    while axis < len(shape) or draw(st.integers(0, 3)) == 0:
        if axis < len(shape) and not ellipsis and draw(st.integers(0, 5)) == 0:
            index.append(Ellipsis)
            ellipsis = True
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        kind = draw(st.sampled_from(["slice", "slice", "int", "new", "array", "array", "mask", "flag", "stop"]))
        if kind == "stop":
            break
        if kind == "new":
            index.append(None)
        elif kind == "flag":
            if draw(st.integers(0, 3)) == 0:
                index.append(draw(st.booleans()))
        elif axis >= len(shape):
            break
        elif kind == "slice":
            index.append(draw(slices))
            axis += 1
        elif kind == "mask" and shape[axis]:
            rank = draw(st.integers(1, min(2, len(shape) - axis)))
            dims = shape[axis : axis + rank]
            if 0 in dims:  # NumPy lets a mask of length 0 pass for any axis; see test_an_empty_mask
                continue
            bits = draw(st.lists(st.booleans(), min_size=int(np.prod(dims)), max_size=int(np.prod(dims))))
            index.append(np.asarray(bits, bool).reshape(dims))
            axis += rank
        elif shape[axis] == 0:
            index.append(np.zeros((0,), np.int64) if kind == "array" else slice(None))
            axis += 1
        else:
            position = st.integers(-shape[axis], shape[axis] - 1)
            if kind == "int":
                index.append(draw(position))
            else:
                dims = tuple(draw(st.sampled_from([d, 1])) for d in many[draw(st.integers(0, len(many))) :])
                count = int(np.prod(dims))
                drawn = draw(st.lists(position, min_size=count, max_size=count))
                array = np.asarray(drawn, draw(st.sampled_from([np.int32, np.int64, np.int8]))).reshape(dims)
                index.append(array.tolist() if array.size and array.ndim and draw(st.booleans()) else array)
            axis += 1
    whole = tuple(index)
    integers = [isinstance(p, (int, list, np.ndarray)) and np.asarray(p).dtype.kind == "i" for p in whole]
    tensors = [i for i, integer in enumerate(integers) if integer and draw(st.booleans())]
    return shape, (whole[0] if len(whole) == 1 and draw(st.booleans()) else whole), tensors


def numpy_get(x: np.ndarray, index: Any) -> np.ndarray | None:
    try:
        return np.asarray(x[index])
    except IndexError:
        return None


@settings(max_examples=600, deadline=None)
@given(cases())
def test_getitem_is_numpys(case: Any) -> None:
    shape, index, tensors = case
    x = numbers(shape)
    want = numpy_get(x, index)
    if want is None:
        with pytest.raises(HornbeamError):
            run(lambda x: getitem(x, index), x)
        return
    try:
        program = graph(lambda x: getitem(x, index), x)
    except IndexError:
        assert want.size == 0  # NumPy overlooks an index that is out of range if nothing is read there
        return
    same(evaluate(program, [x])[0], want, index)
    parts = index if isinstance(index, tuple) else (index,)
    if all(isinstance(p, (int, slice, type(None), type(Ellipsis))) and not isinstance(p, bool) for p in parts):
        assert {n.primitive.name for n in program.nodes} <= VIEWS
    # The same with some of the integers known only when it runs.
    values = [np.asarray(parts[i]) for i in tensors]

    def dynamic(x: Any, *given: Any) -> Any:
        known = dict(zip(tensors, given, strict=True))
        return getitem(x, tuple(known.get(i, p) for i, p in enumerate(parts)))

    if tensors:
        same(run(dynamic, x, *values), want, index)


@settings(max_examples=400, deadline=None)
@given(cases(), st.sampled_from(["set", "add", "mul", "min", "max"]), st.booleans())
def test_setitem_is_numpys(case: Any, mode: str, scalar: bool) -> None:
    shape, index, tensors = case
    x = numbers(shape)
    where = numpy_get(x, index)
    if where is None or where.size == 0:
        return
    parts = index if isinstance(index, tuple) else (index,)
    value = np.asarray(5.5) if scalar else -2.0 * numbers(where.shape) + 7
    want = x.copy()
    if mode == "set":
        # Which of duplicates NumPy stores is not promised: write one after the other.
        flat, at = want.reshape(-1), np.arange(x.size).reshape(shape)[index]
        for place, v in zip(np.ravel(at), np.broadcast_to(value, where.shape).ravel(), strict=True):
            flat[place] = v
    else:
        ufunc = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[mode]
        at = np.arange(x.size).reshape(shape)[index]
        ufunc.at(want.reshape(-1), np.ravel(at), np.broadcast_to(value, where.shape).ravel())
    got = run(lambda x, v: setitem(x, index, v, mode), x, value)
    np.testing.assert_allclose(got, want, rtol=1e-12, err_msg=f"{index} {mode}")
    if tensors:
        values = [np.asarray(parts[i]) for i in tensors]

        def dynamic(x: Any, v: Any, *given: Any) -> Any:
            known = dict(zip(tensors, given, strict=True))
            return setitem(x, tuple(known.get(i, p) for i, p in enumerate(parts)), v, mode)

        np.testing.assert_allclose(run(dynamic, x, value, *values), want, rtol=1e-12, err_msg=f"{index} {mode}")


# -- gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        np.s_[1],
        np.s_[::-2, None, 1:],
        np.s_[[0, 2, 0], :, [1, 1, 0]],
        np.s_[..., [[0, 1], [1, 1]]],
        np.s_[np.asarray([True, False, True])],
        np.s_[0:2, [1, 0]],
    ],
    ids=str,
)
def test_gradients_by_differences(index: Any) -> None:
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    v = np.random.default_rng(1).normal(size=x[index].shape)
    check_gradient(graph(lambda x: getitem(x, index), x), [x])
    for mode in ("set", "add", "mul"):
        check_gradient(graph(lambda x, v, mode=mode: setitem(x, index, v, mode), x, v), [x, v])


def test_gradient_through_a_tensor_index() -> None:
    x, i = np.random.default_rng(0).normal(size=(3, 4)), np.asarray(-1, np.int32)
    check_gradient(graph(lambda x, i: x[i] * x[:, i].sum(), x, i), [x, i])
    check_gradient(graph(lambda x, i: setitem(x, (slice(None), i), x[0, :3]), x, i), [x, i])


def test_a_row_of_a_table_sends_its_gradient_back_to_it_alone() -> None:
    x = param(Spec((4, 2), dtypes.float32))
    with interpreting(NODES):
        loss = getitem(x, [1, 1, 3]).sum()
    (g,) = evaluate(Program([x], gradients([loss], [x])), [np.zeros((4, 2), np.float32)])
    assert g.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


# -- what is cheap ----------------------------------------------------------------------------------------


def names(program: Program) -> list[str]:
    return [n.primitive.name for n in program.nodes]


def test_plain_indexing_is_views_alone() -> None:
    x = numbers((4, 5))
    assert names(graph(lambda x: x[...], x)) == []
    assert names(graph(lambda x: x[:, None], x)) == ["reshape"]
    assert names(graph(lambda x: x[1:3], x)) == ["slice"]
    assert names(graph(lambda x: x[::-1], x)) == ["reverse"]
    assert names(graph(lambda x: x[2, ::-2], x)) == ["slice", "reverse", "reshape"]


def test_a_contiguous_write_is_one_update_in_place() -> None:
    x, v = numbers((4, 5)), numbers((2, 5))
    assert names(graph(lambda x, v: setitem(x, slice(1, 3), v), x, v)).count("dynamic_update_slice") == 1
    assert "scatter" not in names(graph(lambda x, v: setitem(x, slice(0, None, 2), v), x, v))
    assert names(graph(lambda x, v: setitem(x, ..., v), x, x)) == []


def test_rows_of_a_table_are_one_gather() -> None:
    x, i = numbers((4, 5)), np.asarray([0, 1], np.int32)
    assert [n for n in names(graph(lambda x, i: x[i], x, i)) if n in ("gather", "transpose", "concat")] == ["gather"]


# -- what is refused, and how ----------------------------------------------------------------------------


def test_iteration_stops() -> None:
    assert len(list_of(numbers((3, 2)))) == 3


def list_of(array: np.ndarray) -> list[Any]:
    x = param(Spec(array.shape, array.dtype))
    with interpreting(NODES):
        return list(iter(x))  # by __getitem__ until IndexError


@pytest.mark.parametrize(
    "index", [3, -4, (0, 2), [3], (slice(None), [0, -3]), 2**80, (0, 0, 0), (Ellipsis, Ellipsis)], ids=str
)
def test_out_of_range_is_an_index_error(index: Any) -> None:
    for kind in (IndexError, ShapeError):
        with pytest.raises(kind):
            run(lambda x: getitem(x, index), numbers((3, 2)))
        with pytest.raises(kind):
            run(lambda x: setitem(x, index, 0.0), numbers((3, 2)))


def test_messages_name_the_axis_and_the_range() -> None:
    with pytest.raises(IndexError, match=r"index 7 is out of range for axis 1 of shape \(3, 2\) \(valid: -2 ... 1\)"):
        run(lambda x: x[:, 7], numbers((3, 2)))
    with pytest.raises(IndexError, match="mask of length 2 does not fit axis 0"):
        run(lambda x: x[[True, False]], numbers((3, 2)))


@pytest.mark.parametrize(
    "index", [1.5, "a", [0.5], np.zeros(2), slice(0.5, 2), slice("a"), {}, 1j, (0, "x"), len], ids=str
)
def test_what_is_no_index_is_a_dtype_error(index: Any) -> None:
    with pytest.raises(DTypeError, match="integers"):
        run(lambda x: getitem(x, index), numbers((3, 2)))


def test_a_step_of_zero_and_a_ragged_list() -> None:
    for index in (slice(None, None, 0), [[0, 1], [0]]):
        with pytest.raises(ShapeError):
            run(lambda x, index=index: x[index], numbers((3, 2)))


def test_an_unknown_mask_teaches_where() -> None:
    with pytest.raises(TracingError, match=r"hb\.where\(mask, x, 0\)"):
        run(lambda x: x[x > 1], numbers((3, 2)))
    with pytest.raises(TracingError, match="bounds"):
        run(lambda x, i: x[i : i + 1], numbers((3, 2)), np.int32(0))


def test_a_mask_with_a_value_is_used() -> None:
    class Known(type(param(Spec((), dtypes.bool_)))):  # type: ignore[misc]
        """Stands for an eager tensor: a value that can be had."""

        __slots__ = ()

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.asarray([True, False, True])

    mask = Known()
    mask.spec = Spec((3,), dtypes.bool_)
    same(run(lambda x: x[mask], numbers((3, 2))), numbers((3, 2))[[0, 2]])


def test_tensor_indices_out_of_range_are_clamped_when_read_and_harmless_when_written() -> None:
    x = numbers((3, 2))
    same(run(lambda x, i: x[i], x, np.int32(9)), x[2])
    same(run(lambda x, i: x[i], x, np.asarray([9, -9], np.int32)), x[[2, 0]])
    same(run(lambda x, i: setitem(x, i, 0.0), x, np.asarray([9, -9], np.int32)), x)
    for dtype in (np.uint8, np.uint64, np.int8, np.int64):
        same(run(lambda x, i: x[i], numbers((300,)), np.asarray([1, 100], dtype)), numbers((300,))[[1, 100]])


def test_values_are_broadcast_and_cast_as_in_numpy() -> None:
    x = numbers((3, 4), np.float32)
    for value in (7, True, np.float64(2), [1, 2, 3, 4], np.ones((1, 1, 4)), np.ones((3, 1), np.int32)):
        want = x.copy()
        want[:] = value
        got = run(lambda x, value=value: setitem(x, slice(None), value), x)
        same(got, want)
        assert got.dtype == x.dtype
    with pytest.raises(ShapeError, match=r"\(5,\) does not broadcast"):
        run(lambda x: setitem(x, 0, np.ones(5)), x)


def test_writing_bools() -> None:
    x = np.asarray([True, False, False])
    same(run(lambda x: setitem(x, 1, True), x), np.asarray([True, True, False]))
    same(run(lambda x: setitem(x, [0, 1], [False, True]), x), np.asarray([False, True, False]))
    same(run(lambda x: setitem(x, slice(None), True, "max"), x), np.asarray([True] * 3))
    with pytest.raises(ValueError, match="mode"):
        run(lambda x: setitem(x, 0, True, "subtract"), x)


def test_writing_nothing_changes_nothing() -> None:
    x = numbers((3, 2))
    for index in (slice(0, 0), [], np.zeros(3, bool), (False,), (slice(None), slice(2, None))):
        same(run(lambda x, index=index: setitem(x, index, 5.0), x), x)


def test_an_empty_mask_fits_an_empty_axis_only() -> None:
    mask = np.zeros(0, bool)
    same(run(lambda x: x[mask], numbers((0, 2))), numbers((0, 2))[mask])
    with pytest.raises(IndexError, match="length 0"):  # where NumPy looks away
        run(lambda x: x[mask], numbers((3, 2)))


def test_many_axes() -> None:
    x = numbers((1,) * 12 + (3,))
    same(run(lambda x: x[(0,) * 12], x), x[(0,) * 12])
    same(run(lambda x: x[..., [2, 0]], x), x[..., [2, 0]])


def test_constants_are_as_good_as_arrays() -> None:
    x = numbers((3, 2))
    same(run(lambda x: x[constant(np.asarray([2, 0], np.int32))], x), x[[2, 0]])
