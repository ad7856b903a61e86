"""Tensors: operators with everything, conversions both ways, and that nothing can change one."""

import copy
import gc
import math
import operator
import pickle
import weakref

import ml_dtypes
import numpy as np
import pytest

import hornbeam as hb
from hornbeam.runtime.tensor import as_tensor

A = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
I = np.array([5, -3], np.int32)
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
BITWISE = [operator.and_, operator.or_, operator.xor]


# -- operators


@pytest.mark.parametrize("op", ARITHMETIC + COMPARISONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2, 2.5, True, A + 0.5, A[0], [1.5, 2.5], np.float32(3)], ids=str)
def test_operators_with_numbers_arrays_and_lists_on_both_sides(op, other):
    t, n = as_tensor(A), np.asarray(other, np.float32)
    for ours, theirs in ((op(t, other), op(A, n)), (op(other, t), op(n, A))):
        assert type(ours) is hb.Tensor
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("op", BITWISE + [operator.lshift, operator.rshift], ids=lambda f: f.__name__)
def test_bitwise_operators(op):
    np.testing.assert_array_equal(op(as_tensor(I), 2), op(I, np.int32(2)))
    np.testing.assert_array_equal(op(2, as_tensor(abs(I))), op(np.int32(2), abs(I)))
    if op in BITWISE:
        t = as_tensor([True, False])
        assert op(t, True).tolist() == op(np.array([True, False]), True).tolist()


@pytest.mark.parametrize("power", [0, 1, 2, 3, 4, 5, -1, 0.5, 2.0])
def test_powers(power):
    base = abs(A)
    np.testing.assert_allclose(as_tensor(base) ** power, base**power, rtol=1e-6)
    np.testing.assert_allclose(2.0 ** as_tensor(A), 2.0**A, rtol=1e-6)


def test_unary_and_matrix_operators():
    t = as_tensor(A)
    for ours, theirs in ((-t, -A), (+t, A), (abs(t), abs(A)), (~as_tensor(I), ~I), (t @ A, A @ A), (A @ t, A @ A)):
        np.testing.assert_array_equal(ours, theirs)
    assert abs(as_tensor(True)).dtype == bool
    np.testing.assert_array_equal(t.T, A.T)
    np.testing.assert_array_equal(t.mean(0, keepdims=True), A.mean(0, keepdims=True))
    np.testing.assert_array_equal(t.sum(-1).reshape(2, -1), A.sum(-1).reshape(2, -1))


def test_promotion():
    i, f, h = as_tensor(I), as_tensor(A), as_tensor(A).astype("float16")
    assert (i + 1).dtype == np.int32
    assert (i + 1.0).dtype == (i / 2).dtype == np.float32
    assert (h * 2.5).dtype == np.float16
    assert (h * np.pi).dtype == (h * np.float64(2)).dtype == np.float16
    assert (h + f).dtype == (i + h.astype("float32")).dtype == np.float32
    assert (i + h[0]).dtype == np.float16
    assert (h.astype("bfloat16") + h).dtype == np.float32
    assert (f + np.zeros(2)).dtype == np.float64  # arrays keep their dtype
    assert (f * 1j).dtype == np.complex64
    assert (as_tensor(True) + True).dtype == bool


def test_python_ints_that_do_not_fit_are_refused():
    with pytest.raises(hb.DTypeError, match=r"300 does not fit in uint8 \(0 … 255\)"):
        as_tensor(np.zeros(2, np.uint8)) + 300
    with pytest.raises(hb.DTypeError):
        as_tensor(I) + 2**40
    assert (as_tensor(A) + 2**40).dtype == np.float32


def test_operators_leave_strangers_alone():
    class Stranger:
        def __radd__(self, other):
            return "mine"

    assert as_tensor(A) + Stranger() == "mine"
    for wrong in ("text", None, {}, object()):
        with pytest.raises(TypeError):
            as_tensor(A) + wrong
    assert (as_tensor(A) == "text") is False
    assert (as_tensor(A) != None) is True  # noqa: E711


def test_indexing_and_iteration():
    t = as_tensor(A)
    for index in (0, -1, slice(None, None, -1), (slice(None), 1), (..., None), [1, 0], A > 0, np.array([0, 1])):
        np.testing.assert_array_equal(t[index], A[index])
    assert [row.tolist() for row in t] == A.tolist()
    assert len(t) == 2
    assert 4.0 in t and 9.0 not in t
    assert [x.tolist() for x in reversed(t)] == A[::-1].tolist()
    for use in (len, iter, lambda x: x[0]):
        with pytest.raises((TypeError, IndexError)):
            use(as_tensor(1.0))


# -- as Python numbers


def test_scalars_are_python_numbers():
    t = as_tensor(2.5)
    assert (float(t), int(t), complex(t), bool(t), t.item(), round(float(t), 0)) == (2.5, 2, 2.5, True, 2.5, 2.0)
    assert f"{t:.3f} {t}" == "2.500 2.5"
    assert [10, 20, 30][as_tensor(1)] == 20
    assert list(range(as_tensor(3))) == [0, 1, 2]
    assert math.sqrt(as_tensor(4.0)) == 2
    assert float(as_tensor([3.0])) == 3
    for many in (float, int, bool, operator.index):
        with pytest.raises((TypeError, ValueError)):
            many(as_tensor([1.0, 2.0]))
    with pytest.raises(TypeError):
        operator.index(as_tensor(1.0))
    with pytest.raises(TypeError):
        f"{as_tensor([1.0, 2.0]):.3f}"


def test_repr_says_everything():
    assert repr(as_tensor([1.0, 2.0])) == "tensor([1., 2.], float32, shape=(2,))"
    assert repr(as_tensor(3)) == "tensor(3, int32, shape=())"
    assert "..." in repr(hb.zeros(1000)) and len(repr(hb.zeros(1000))) < 200
    shown = []
    hb.function(lambda x: shown.append(repr(x)))(hb.zeros((2, 3)))
    assert shown == ["<symbolic tensor float32[2,3]>"]


# -- immutability and identity


def test_nothing_changes_a_tensor():
    source = A.copy()
    t = as_tensor(source)
    source[:] = 0
    t.numpy()[:] = 0
    np.array(t)[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(t)[:] = 0
    with pytest.raises(TypeError):
        t[0] = 1.0
    np.testing.assert_array_equal(t, A)


def test_array_conversion_copies_only_if_asked():
    t = as_tensor(A)
    assert np.asarray(t) is np.asarray(t)
    assert np.array(t, copy=True).flags.writeable
    assert np.asarray(t, np.float64).dtype == np.float64
    assert t.numpy() is not t.numpy()
    np.testing.assert_array_equal(np.add(np.asarray(t), 1), A + 1)


def test_hash_is_identity_and_eq_is_elementwise():
    t, u = as_tensor(A), as_tensor(A)
    assert len({t, u}) == 2
    assert {t: 1}[t] == 1
    assert (t == u).tolist() == [[True, True], [True, True]]


def test_copies_and_pickles():
    t = as_tensor(A)
    assert copy.deepcopy(t) is t
    assert copy.deepcopy({"a": [t]})["a"][0] is t
    back = pickle.loads(pickle.dumps(t))
    np.testing.assert_array_equal(back, A)
    with pytest.raises(ValueError):
        np.asarray(back)[0] = 0
    with pytest.raises(hb.TracingError):
        hb.function(lambda x: pickle.dumps(x))(t)


def test_tensors_take_attributes_and_weak_references():
    t = as_tensor(A)
    t._keras_mask = "anything"
    assert t._keras_mask == "anything"
    gone = weakref.ref(t)
    del t
    gc.collect()
    assert gone() is None


# -- DLPack


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "uint8", "bool", "complex64"])
def test_dlpack_both_ways(dtype):
    array = np.array([[1, 0, 3]], dtype)
    out = np.from_dlpack(as_tensor(array))
    np.testing.assert_array_equal(out, array)
    assert out.dtype == dtype
    back = hb.from_dlpack(array)
    np.testing.assert_array_equal(back, array)
    assert back.dtype == dtype and type(back) is hb.Tensor


def test_dlpack_shares_no_memory():
    source = A.copy()
    t = hb.from_dlpack(source)
    source[:] = 0
    np.testing.assert_array_equal(t, A)
    out = np.from_dlpack(t)
    if out.flags.writeable:
        out[:] = 0
    np.testing.assert_array_equal(t, A)
    with pytest.raises(BufferError, match="immutable"):
        np.from_dlpack(t, copy=False)


# -- as_tensor


class Dataset:
    """Like h5py's: an array in disguise."""

    shape, dtype = (3,), np.dtype("float64")

    def __array__(self, dtype=None, copy=None):
        return np.arange(3, dtype=dtype or self.dtype)


@pytest.mark.parametrize(
    "given, dtype",
    [
        (1, "int32"), (2**31, "int64"), (-(2**31), "int32"), (2**63, "uint64"), (1.0, "float32"), (True, "bool"),
        (1j, "complex64"),
        ([1, 2], "int32"), ([1, 2.5], "float32"), ([[True]], "bool"), ([], "float32"), ((), "float32"),
        ([1, 2**40], "int64"),
        (range(3), "int32"),
        (np.float64(1), "float64"), (np.zeros(2), "float64"), (np.int64(3), "int64"),
        (np.zeros(2, np.uint16), "uint16"),
        (np.zeros(2, ml_dtypes.bfloat16), "bfloat16"), ([np.zeros(2), np.ones(2)], "float64"),
        ([np.float64(1)], "float64"),
        (Dataset(), "float64"), (memoryview(b"abc"), "uint8"),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_what_becomes_a_tensor(given, dtype):
    t = as_tensor(given)
    assert t.dtype.name == dtype
    np.testing.assert_array_equal(np.asarray(t), np.asarray(given))


def test_nothing_is_copied_if_nothing_changes():
    t = as_tensor(A)
    assert as_tensor(t) is t
    assert as_tensor(t, "float32") is t
    assert as_tensor(t, "float64").dtype == np.float64


def test_lists_of_tensors_are_stacked():
    v = hb.Variable([9.0, 9.0])
    assert as_tensor([hb.zeros(2), [1, 2], v, np.ones(2, np.float32)]).tolist() == [[0, 0], [1, 2], [9, 9], [1, 1]]
    nested = as_tensor([[hb.ones(()), 2], (3.5, as_tensor(4))])
    assert (nested.tolist(), nested.dtype) == ([[1, 2], [3.5, 4]], np.float32)
    assert as_tensor([as_tensor(1), 2.5]).dtype == np.float32
    assert as_tensor([as_tensor(1.0).astype("float16"), 2.5]).dtype == np.float16
    assert as_tensor([as_tensor(1), 2], "float64").dtype == np.float64
    with hb.GradientTape() as tape:
        tape.watch(x := as_tensor(3.0))
        y = as_tensor([x, x * x, 1.0])
    assert float(tape.gradient(y, x)) == 7


def test_keras_like_variables_in_lists():
    class Wrapper:
        __hornbeam_variable__ = hb.Variable(2.0)

    assert as_tensor(Wrapper()).item() == 2
    assert as_tensor([Wrapper(), Wrapper()]).tolist() == [2, 2]
    assert hb.function(lambda: as_tensor([Wrapper(), 1.0]))().tolist() == [2, 1]


@pytest.mark.parametrize(
    "given",
    ["text", None, object(), ["a"], [1, None], [[1], [1, 2]], {}, np.array(["a"]), np.array([None]), 10**30, b"x",
     np.zeros(1, "M8[s]"), np.zeros(1, [("a", "i4")])],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_what_does_not_is_a_dtype_error(given):
    with pytest.raises(hb.DTypeError):
        as_tensor(given)


def test_tensors_of_different_shapes_do_not_stack():
    with pytest.raises(hb.ShapeError, match=r"\(2,\), \(3,\)(.|\n)*concatenate"):
        as_tensor([hb.zeros(2), hb.zeros(3)])


@pytest.mark.parametrize(
    "value, dtype", [(300, "uint8"), (-1, "uint8"), (2**31, "int32"), ([1, 2**40], "int32"), ((200,), "int8")]
)
def test_ints_out_of_range(value, dtype):
    with pytest.raises(hb.DTypeError, match="does not fit"):
        as_tensor(value, dtype)


def test_symbolic_tensors_have_no_numbers():
    for ask in (
        float,
        int,
        bool,
        np.asarray,
        np.array,
        lambda x: x.numpy(),
        lambda x: x.item(),
        lambda x: x.tolist(),
        "{:.2f}".format,
    ):
        with pytest.raises(hb.TracingError, match=r"no value yet|symbolic") as caught:
            hb.function(ask)(as_tensor(1.0))
        assert "Fix:" in str(caught.value)


def test_symbolic_constants_have_numbers():
    @hb.function
    def rows(x):
        n = hb.shape(x)[0] if isinstance(hb.shape(x), hb.Tensor) else as_tensor(x.shape[0])
        return x.reshape((int(n + 1) - 1, -1))

    assert rows(hb.zeros((4, 2, 3))).shape == (4, 6)
