"""The table: for each operation of Keras's backend contract, how its arguments are drawn.

A line names operations as ``keras.ops`` has them (``random.`` and ``image.`` stand for those modules), and a function
that draws a call of any of them. Options say what is compared where it is not everything: see ``Case``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.differential import bodies
from tests.differential.draw import (
    ALL,
    COMPLEX,
    FLOATS,
    INTS,
    NUMBERS,
    SIGNED,
    Call,
    Draw,
    call,
)


@dataclass(frozen=True)
class Case:
    """How an operation is tested.

    Attributes:
        op: Its name.
        make: Draws a call.
        calls: A function of ``bodies`` that stands for the operation, where it takes functions.
        reading: Of ``bodies``: makes of a result with several right forms what is the same in all of them.
        values: Whether values are compared, or only structure, shapes and dtypes.
        moments: Values are random: mean and deviation of large results are compared.
        grad: Whether gradients for the floating arrays among the arguments are compared.
        loose: How many units of rounding values may differ by: of an array's largest element or of 1.
        steps: What integers may differ by, as they are rounded from floating numbers.
    """

    op: str
    make: Callable[[Draw], Call]
    calls: Callable | None = None
    reading: Callable | None = None
    values: bool = True
    moments: bool = False
    grad: bool = True
    loose: float = 16
    steps: int = 0


CASES: dict[str, Case] = {}


def case(names: str, make: Callable[[Draw], Call], **options: Any) -> None:
    for name in names.split():
        assert name not in CASES, name
        CASES[name] = Case(name, make, **options)


# -- elementwise: one argument -----------------------------------------------------------------------------------------


def unary(*dtypes: str, **more: Any) -> Callable[[Draw], Call]:
    return lambda d: call(d.strange(dtypes, **more))


case("abs absolute negative square relu relu6 hard_tanh", unary(*ALL))
case("ceil floor sign trunc", unary(*ALL))
case("sin cos tan arctan sinh cosh tanh arcsinh exp exp2 expm1", unary(*ALL), loose=32)
case("cbrt fabs deg2rad rad2deg sinc erf erfc sqrt", unary(*ALL), loose=32)
case("i0", unary(*ALL), loose=128)
case("arcsin arccos arctanh erfinv", unary(*ALL, low=-1.2, high=1.2), loose=64)
case("arccosh log log10 log1p log2 rsqrt reciprocal lgamma", unary(*ALL, low=-0.5, high=6.0), loose=64)
case("isfinite isinf isnan isneginf isposinf signbit logical_not", unary(*ALL))
case("isreal", unary(*ALL, *COMPLEX))
case("real imag conj conjugate angle", unary(*ALL, *COMPLEX, *COMPLEX), loose=32)
case("bitwise_invert bitwise_not", unary(*INTS, "bool", "float32"))
case("sigmoid sparse_sigmoid tanh_shrink softplus softsign sparse_plus silu swish log_sigmoid", unary(*ALL), loose=32)
case("hard_sigmoid hard_silu hard_swish selu", unary(*ALL), loose=32)
case("hard_shrink soft_shrink", lambda d: call(d.strange(), threshold=d.one_of(0, 0.5, 1.25)))
case("leaky_relu", lambda d: call(d.strange(), negative_slope=d.one_of(0.2, 0, 0.01)))
case("elu celu", lambda d: call(d.strange(), alpha=d.one_of(1.0, 0.5, 2)), loose=32)
case("gelu", lambda d: call(d.strange(), approximate=d.flag()), loose=64)
case("squareplus", lambda d: call(d.strange(), b=d.one_of(4, 0.2)))
case("threshold", lambda d: call(d.strange(), d.uniform(-2, 2), d.one_of(0, 1.5)))
case("round", lambda d: call(d.strange(), decimals=d.one_of(0, 0, 1, 2, -1)))
case("nan_to_num", lambda d: call(d.array(odd=0.5), nan=d.one_of(0.0, 7.5), posinf=d.one_of(None, 9), neginf=None))
case("clip", lambda d: call(d.strange(), d.one_of(-1, -1.5, 1), d.one_of(2, 2.5)))
case("glu", lambda d: call(d.strange(shape=(*d.shape(0, 2), 4)), axis=d.one_of(-1, -1, 0)), loose=32)
case("softmax log_softmax", lambda d: call(x := d.array(), axis=d.axis(x.ndim)), loose=64)
case("sparsemax", lambda d: call(x := d.array(FLOATS, least=1), axis=d.axis(x.ndim)), loose=64)
case("normalize", lambda d: call(x := d.array(low=0.5), axis=d.axis(x.ndim), order=d.one_of(1, 2, 3)), loose=64)
case("cast", lambda d: call(d.array(), d.dtype((*ALL, *FLOATS))))
case("saturate_cast", lambda d: call(d.array(low=-300.0, high=300.0), d.dtype(ALL)))
case("view", lambda d: call(d.array(NUMBERS, shape=(*d.shape(0, 2), 4)), dtype=d.dtype(NUMBERS)), grad=False)
case("convert_to_tensor array", lambda d: call(d.array((*ALL, *COMPLEX)), dtype=d.maybe(d.dtype(ALL))))
case("copy stop_gradient shape size ndim is_tensor dtype", unary(*ALL))
case("convert_to_numpy", unary(*ALL), grad=False)

# -- elementwise: two arguments ----------------------------------------------------------------------------------------


def binary(*dtypes: str, **more: Any) -> Callable[[Draw], Call]:
    return lambda d: call(*d.pair(dtypes, **more))


case("add subtract multiply maximum minimum fmax fmin", binary(*ALL))
case("divide true_divide divide_no_nan", binary(*ALL), loose=64)
case("floor_divide mod fmod", binary(*NUMBERS))
case("power", binary(*NUMBERS, low=0.0, high=4.0), loose=64)
case("float_power", binary(*NUMBERS, low=0.0, high=4.0), loose=64)
case("arctan2 copysign heaviside hypot logaddexp logaddexp2", binary(*ALL), loose=64)
case("nextafter", binary(*ALL), grad=False)
case("equal not_equal greater greater_equal less less_equal", binary(*ALL))
case("logical_and logical_or logical_xor", binary(*ALL))
case("bitwise_and bitwise_or bitwise_xor", binary(*INTS, "bool"))
case("bitwise_left_shift bitwise_right_shift left_shift right_shift", binary(*INTS, low=0, high=5))
case("gcd lcm", binary(*INTS, low=-12, high=12))
case("ldexp", lambda d: call(*d.pair(NUMBERS, second=INTS, low=-4, high=4)))
case("isclose allclose", lambda d: call(*d.pair(ALL), rtol=d.one_of(1e-5, 0.5), atol=1e-8, equal_nan=d.flag()))
case("gammainc", binary(*FLOATS, low=0.0, high=5.0), loose=256, grad=False)
case("polar", lambda d: call(x := d.array(("float32",)), d.array(("float32",), x.shape)), grad=False)


def where(d: Draw) -> Call:
    x, y = d.pair()
    condition = d.array(("bool", "bool", "int32"), d.broadcast(x.shape))
    return call(condition, x, y) if d.chance(0.9) else call(d.array(("bool", "int32", "float32")))


def select(d: Draw) -> Call:
    shape, count = d.shape(), d.int(1, 3)
    conditions = [d.array(("bool",), shape) for _ in range(count)]
    return call(conditions, [d.array(shape=shape) for _ in range(count)], default=d.one_of(0, 1))


case("where", where)
case("select", select)

# -- reductions --------------------------------------------------------------------------------------------------------


def reduced(*dtypes: str, **options: Any) -> Callable[[Draw], Call]:
    """An array, the axes to reduce, perhaps ``keepdims``."""

    def make(d: Draw) -> Call:
        x = d.strange(dtypes or ALL, **options)
        return call(x, axis=d.axes(x.ndim), keepdims=d.flag())

    return make


def reduced_apart(d: Draw) -> Call:
    x = d.apart((*FLOATS, *SIGNED))
    return call(x, axis=d.axes(x.ndim), keepdims=d.flag())


def reduced_along(*dtypes: str, **options: Any) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        x = d.array(dtypes or ALL, **options)
        return call(x, axis=d.one_of(None, d.axis(x.ndim)), keepdims=d.flag())

    return make


def cumulative(d: Draw) -> Call:
    x = d.array(low=-1.5, high=1.5, odd=0.05)
    return call(x, axis=d.one_of(None, d.axis(x.ndim)), dtype=d.one_of(None, None, "float32", "int32"))


def bounded(d: Draw) -> Call:
    x = d.strange((*FLOATS, *INTS))
    return call(x, axis=d.axes(x.ndim), keepdims=d.flag(), initial=d.one_of(None, None, 1, 2.5))


def quantile(q: float) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        x = d.apart((*FLOATS, "int32"))
        fractions = np.asarray(d.rng.uniform(0, q, d.one_of((), (), (3,)))).astype("float32")
        method = d.one_of("linear", "linear", "lower", "higher", "midpoint", "nearest")
        axis = d.axes(x.ndim)
        return call(x, fractions, axis=axis, method=method, keepdims=d.flag())

    return make


def average(d: Draw) -> Call:
    x = d.array()
    axis = d.one_of(None, d.axis(x.ndim))
    return call(x, axis=axis, weights=d.one_of(None, d.array(FLOATS, x.shape, low=0.5)))


case("sum mean nansum nanmean", reduced())
case("prod nanprod", reduced(low=-1.5, high=1.5))
case("std var nanstd nanvar", reduced(), loose=64)
case("all any", reduced())
case("max min amax amin", bounded)
case("nanmax nanmin", reduced_apart)
case("ptp", reduced_apart)
case("argmax argmin", reduced_along())
case("nanargmax nanargmin", reduced_along(*NUMBERS, odd=0.2))
case("count_nonzero", lambda d: call(x := d.array(), axis=d.axes(x.ndim)))
case("logsumexp", reduced(), loose=64)
case("median nanmedian", reduced_apart)
case("quantile nanquantile", quantile(1.0), loose=64)
case("percentile nanpercentile", quantile(100.0), loose=256)
case("average", average, loose=32)
case("cumsum cumprod nancumsum nancumprod", cumulative, loose=64)
case("moments", lambda d: call(x := d.array(low=1.0), axes=d.axes(x.ndim), keepdims=d.flag()), loose=64)
case("diff", lambda d: call(x := d.array(), n=d.int(0, 3), axis=d.axis(x.ndim)))
case("corrcoef cov", lambda d: call(d.array(shape=(d.int(1, 3), d.int(3, 6)))), loose=512)


def trapezoid(d: Draw) -> Call:
    y = d.array()
    axis = d.axis(y.ndim)
    return call(y, x=d.one_of(None, d.array(FLOATS, y.shape)), dx=d.one_of(1.0, 0.5), axis=axis)


case("trapezoid", trapezoid, loose=32)

# -- shapes and places -------------------------------------------------------------------------------------------------


def reshape(d: Draw) -> Call:
    x = d.array()
    sizes = [int(n) for n in d.rng.permutation(x.shape)]
    if len(sizes) > 1 and d.flag():
        sizes[:2] = [sizes[0] * sizes[1]]
    if sizes and d.chance(0.3) and x.size:
        sizes[d.int(0, len(sizes) - 1)] = -1
    return call(x, tuple(sizes))


def transpose(d: Draw) -> Call:
    x = d.array()
    return call(x, axes=d.maybe(tuple(int(a) for a in d.rng.permutation(x.ndim))))


def moveaxis(d: Draw) -> Call:
    x = d.array(least=1)
    n = d.int(1, x.ndim)
    axes = [tuple(int(a) for a in d.rng.permutation(x.ndim)[:n]) for _ in range(2)]
    return call(x, *(axes if d.flag() else (axes[0][0], axes[1][0])))


def squeeze(d: Draw) -> Call:
    x = d.array(longest=2)
    return call(x, axis=d.one_of(None, d.axis(x.ndim), tuple(i for i, n in enumerate(x.shape) if n == 1)))


def joined(d: Draw, axis: bool = True, alike: bool = False) -> Call:
    """Several arrays to join: alike but for the axis along which they are joined."""
    shape = list(d.shape(1, 3))
    along = d.int(0, len(shape) - 1)
    arrays = []
    for _ in range(d.int(1, 3)):
        if not alike:
            shape[along] = d.int(0, 3)
        arrays.append(d.array(shape=shape))
    return call(arrays, axis=along - (len(shape) if d.flag() else 0)) if axis else call(arrays)


def appended(d: Draw) -> Call:
    (xs,) = (made := joined(d)).args
    return call(xs[0], xs[-1], axis=d.one_of(None, made.kwargs["axis"]))


def stacked(d: Draw) -> Call:
    """For vstack and its like: arrays of one shape."""
    shape = d.shape()
    return call([d.array(shape=shape) for _ in range(d.int(1, 3))])


def split(d: Draw, axis: int | None = None, least: int = 1) -> Call:
    x = d.array(least=least)
    along = d.int(-x.ndim, x.ndim - 1) if axis is None else axis
    length = x.shape[along]
    parts = d.one_of(*[n for n in range(1, max(length, 1) + 1) if length % n == 0])
    sections = d.one_of(parts, sorted(int(i) for i in d.rng.integers(0, length + 1, d.int(1, 3))), d.int(1, 4))
    return call(x, sections, **({"axis": along} if axis is None else {}))


def padded(d: Draw) -> Call:
    x = d.array()
    mode = d.one_of("constant", "constant", "reflect", "symmetric", "edge", "wrap", "linear_ramp", "mean", "minimum")
    width = d.one_of(tuple((d.int(0, 2), d.int(0, 2)) for _ in x.shape), d.int(0, 2), (1, 2))
    return call(x, width, mode=mode, **({"constant_values": d.one_of(None, 1, 2.5)} if mode == "constant" else {}))


def repeat(d: Draw) -> Call:
    x = d.array(least=1)
    axis = d.one_of(None, d.int(-x.ndim, x.ndim - 1))
    count = x.size if axis is None else x.shape[axis]
    return call(x, d.one_of(d.int(0, 3), np.array([d.int(0, 2) for _ in range(count)], "int32")), axis=axis)


def roll(d: Draw) -> Call:
    x = d.array()
    axis = d.one_of(None, d.axis(x.ndim), tuple(range(x.ndim)))
    return call(x, tuple(d.int(-4, 4) for _ in axis) if isinstance(axis, tuple) else d.int(-6, 6), axis=axis)


def two_axes(d: Draw, x: np.ndarray) -> list[int]:
    return [int(a) - (x.ndim if d.flag() else 0) for a in d.rng.permutation(x.ndim)[:2]]


def rot90(d: Draw) -> Call:
    x = d.array(least=2)
    return call(x, k=d.int(-2, 5), axes=tuple(two_axes(d, x)))


def diagonal(d: Draw) -> Call:
    x = d.array(least=2)
    axis1, axis2 = two_axes(d, x)
    return call(x, offset=d.int(-3, 3), axis1=axis1, axis2=axis2)


def get_item(d: Draw) -> Call:
    x = d.array(least=1)
    n = x.shape[0]
    key = d.one_of(
        slice(None, None, d.one_of(1, 2, -1, -2)), slice(d.int(-6, 6), d.int(-6, 6)), None, ..., (..., None),
        np.array([d.int(-n, n - 1) for _ in range(3)] if n else [], "int32"), d.int(-n, max(n - 1, -n)),
        d.array(("bool",), x.shape[:1]),
    )  # fmt: skip
    return call(x, key)


case("reshape", reshape)
case("transpose", transpose)
case("moveaxis", moveaxis)
case("swapaxes", lambda d: call(x := d.array(least=2), *two_axes(d, x)))
case("squeeze", squeeze)
case("expand_dims", lambda d: call(x := d.array(), axis=d.one_of(d.axis(x.ndim + 1), (0, -1))))
case("ravel", unary(*ALL))
case("broadcast_to", lambda d: call(d.array(shape=d.broadcast(s := d.shape())), s))
case("concatenate", joined)
case("stack", lambda d: joined(d, alike=True))
case("vstack hstack dstack column_stack", stacked)
case("append", appended)
case("split array_split", split)
case("vsplit", lambda d: split(d, axis=0))
case("hsplit", lambda d: split(d, axis=1, least=2))
case("dsplit", lambda d: split(d, axis=2, least=3))
case("unstack", lambda d: call(x := d.array(least=1), axis=d.axis(x.ndim)))
case("pad", padded)
case("repeat", repeat)
case("tile", lambda d: call(d.array(), d.one_of(d.int(0, 3), tuple(d.int(0, 3) for _ in range(d.int(1, 3))))))
case("flip", lambda d: call(x := d.array(), axis=d.axes(x.ndim)))
case("fliplr", lambda d: call(d.array(least=2)))
case("flipud", lambda d: call(d.array(least=1)))
case("roll", roll)
case("rot90", rot90)
case("diag diagflat", lambda d: call(d.array(shape=d.shape(1, 2)), k=d.int(-3, 3)))
case("diagonal trace", diagonal)
case("tril triu", lambda d: call(d.array(least=2), k=d.int(-3, 3)))
case("meshgrid", lambda d: call(*(d.array(most=1) for _ in range(d.int(1, 3))), indexing=d.one_of("xy", "ij")))
case("rearrange", lambda d: call(d.array(shape=(d.int(0, 3), 4, 3)), d.one_of(
    "a b c -> c (a b)", "a (b two) c -> a two b c", "a b c -> b a c"), two=2))  # fmt: skip
case("get_item", get_item)

# -- creation ----------------------------------------------------------------------------------------------------------


def with_shape(d: Draw) -> Call:
    return call(d.shape(), dtype=d.maybe(d.dtype(ALL)))


def like(d: Draw) -> Call:
    return call(d.array(), dtype=d.maybe(d.dtype(ALL)))


def ranged(d: Draw) -> Call:
    start, stop = d.one_of(d.int(-5, 5), d.uniform(-5, 5)), d.one_of(d.int(-5, 9), d.uniform(-5, 9))
    step = d.one_of(None, 1, 2, -1, 0.5, -1.5)
    return call(*((start,) if d.chance(0.2) else (start, stop, step)), dtype=d.one_of(None, None, "float32", "int32"))


def spaced(d: Draw, low: float = -3.0, high: float = 3.0) -> Call:
    start, stop = d.pair((*FLOATS, "int32"), low=low, high=high)
    return call(start, stop, num=d.int(0, 6), endpoint=d.flag(), dtype=d.one_of(None, None, "float32"), axis=0)


case("zeros ones", with_shape)
case("empty", with_shape, values=False)
case("empty_like", like, values=False)
case("zeros_like ones_like", like)
case("full", lambda d: call(d.shape(), d.scalar(), dtype=d.maybe(d.dtype(ALL))))
case("full_like", lambda d: call(d.array(), d.scalar(), dtype=d.maybe(d.dtype(ALL))))
case("eye tri", lambda d: call(d.int(0, 4), d.one_of(None, d.int(0, 4)), k=d.int(-3, 3), dtype=d.maybe(d.dtype(ALL))))
case("identity", lambda d: call(d.int(0, 4), dtype=d.maybe(d.dtype(ALL))))
case("arange", ranged)
case("linspace", lambda d: (c := spaced(d)) and Call(c.args, c.kwargs | {"retstep": d.flag()}), loose=32)
case("logspace", lambda d: (c := spaced(d)) and Call(c.args, c.kwargs | {"base": d.one_of(10, 2)}), loose=256)
case("geomspace", lambda d: spaced(d, 0.5, 6.0), loose=256)
case("bartlett blackman hamming hanning", lambda d: call(d.int(0, 9)))
case("kaiser", lambda d: call(d.int(0, 9), d.uniform(0, 8)), loose=64)
case("vander", lambda d: call(d.array(shape=(d.int(0, 4),), low=-2, high=2), N=d.one_of(None, 1, 3),
                              increasing=d.flag()))  # fmt: skip

# -- choosing, sorting, counting ---------------------------------------------------------------------------------------


def take(d: Draw) -> Call:
    x = d.array(least=1, empty=False)
    axis = d.one_of(None, d.int(-x.ndim, x.ndim - 1))
    count = x.size if axis is None else x.shape[axis]
    indices = d.indices(2 * count, d.shape(0, 2)) - count
    return call(x, indices.astype("int32"), axis=axis)


def take_along_axis(d: Draw) -> Call:
    x = d.array(least=1, empty=False)
    axis = d.int(-x.ndim, x.ndim - 1)
    shape = list(x.shape)
    shape[axis] = d.int(0, 4)
    return call(x, d.indices(x.shape[axis], shape), axis=axis)


def slice_of(d: Draw) -> Call:
    x = d.array()
    starts = [d.int(0, n) for n in x.shape]
    return call(x, starts, [d.int(0, n - s) for s, n in zip(starts, x.shape)])


def slice_update(d: Draw) -> Call:
    made = slice_of(d)
    x, starts, sizes = made.args
    return call(x, starts, d.array((str(x.dtype),) if d.chance(0.8) else ALL, sizes))


def scatter_places(d: Draw) -> tuple[tuple[int, ...], np.ndarray, tuple[int, ...]]:
    """A shape, indices of places in it without repetition, and the shape of what goes there."""
    shape = d.shape(1, 3, empty=False)
    depth = d.int(1, len(shape))
    count = d.int(0, int(np.prod(shape[:depth])))
    flat = d.rng.permutation(int(np.prod(shape[:depth])))[:count]
    places = np.stack(np.unravel_index(flat, shape[:depth]), axis=-1).astype("int32")
    return shape, places, (count, *shape[depth:])


def scatter(d: Draw) -> Call:
    shape, places, rest = scatter_places(d)
    return call(places, d.array(shape=rest), shape)


def scatter_update(d: Draw) -> Call:
    shape, places, rest = scatter_places(d)
    x = d.array(NUMBERS, shape)
    updates = d.array((str(x.dtype),) if d.chance(0.8) else NUMBERS, rest)
    return call(x, places, updates, reduction=d.one_of(None, "add", "max", "min", "mul"))


def sorted_sequence(d: Draw) -> Call:
    return call(np.sort(d.array((*FLOATS[:2], *SIGNED), shape=(d.int(0, 6),))), d.array(FLOATS[:2] + SIGNED),
                side=d.one_of("left", "right"))  # fmt: skip


def digitize(d: Draw) -> Call:
    return call(d.array((*FLOATS[:2], *SIGNED)), np.sort(d.array(FLOATS[:2] + SIGNED, shape=(d.int(1, 6),))))


def bincount(d: Draw) -> Call:
    x = d.indices(5, d.shape(1, 2), ("int32", "uint8", "int8"))
    return call(x, weights=d.one_of(None, d.array(FLOATS, x.shape)), minlength=d.one_of(0, 3, 8))


def unique(d: Draw) -> Call:
    x = d.array((*FLOATS[:2], *SIGNED, "bool"), longest=4)
    flags = {f"return_{what}": d.flag() for what in ("index", "inverse", "counts")}
    size = d.one_of(None, None, d.int(1, 6))
    return call(x, **flags, axis=d.one_of(None, None, d.axis(x.ndim)), size=size)


def partitioned(d: Draw) -> Call:
    x = d.apart((*FLOATS, *SIGNED), least=1, empty=False)
    axis = d.int(-x.ndim, x.ndim - 1)
    return call(x, d.int(0, x.shape[axis] - 1), axis=axis)


def top_k(d: Draw) -> Call:
    x = d.array(NUMBERS, least=1, empty=False)
    return call(x, d.int(0, x.shape[-1]), sorted=d.flag())


def in_top_k(d: Draw) -> Call:
    rows, columns = d.int(0, 4), d.int(1, 5)
    return call(d.indices(columns, (rows,)), d.array(FLOATS, (rows, columns)), d.int(1, columns))


def segment(d: Draw) -> Call:
    data = d.array(NUMBERS, least=1)
    ids, most = d.indices(4, data.shape[:1]), d.one_of(None, 4, 6)
    sorted_ids = d.flag()
    return call(data, np.sort(ids) if sorted_ids else ids, num_segments=most, sorted=sorted_ids)


case("take", take)
case("take_along_axis", take_along_axis)
case("slice", slice_of)
case("slice_update", slice_update)
case("scatter", scatter)
case("scatter_update", scatter_update)
case("sort", lambda d: call(x := d.strange(), axis=d.one_of(d.axis(x.ndim), None)))
case("argsort", lambda d: call(x := d.array(), axis=d.one_of(d.axis(x.ndim), None)))
case("argpartition", partitioned, reading=bodies.of_argpartition, grad=False)
case("searchsorted", sorted_sequence)
case("digitize", digitize)
case("isin", lambda d: call(d.array(), d.array(), invert=d.flag()))
case("nonzero", unary(*ALL))
case("unique", unique, grad=False)
case("unravel_index", lambda d: call(d.indices(12, d.shape(), ("int32", "uint8")), d.one_of((3, 4), (12,), (2, 3, 2))))
case("bincount", bincount)
case("histogram", lambda d: call(d.array(), bins=d.int(1, 6), range=d.one_of(None, (-3, 3))), grad=False)
case("top_k", top_k)
case("in_top_k", in_top_k)
case("segment_sum segment_max segment_min segment_prod", segment)
case("one_hot multi_hot", lambda d: call(d.indices(5, d.shape(), ("int32", "uint8", "int8")) - np.uint8(0), 4,
                                         axis=d.one_of(-1, 0), dtype=d.maybe(d.dtype(ALL))))  # fmt: skip

# -- products ----------------------------------------------------------------------------------------------------------


def inner_sizes(d: Draw) -> Call:
    """Operands for dot, matmul and inner: mostly fitting, of any ranks."""
    n = d.int(0, 4) if d.chance(0.2) else d.int(1, 4)
    x = d.array(shape=(*d.shape(0, 2), n))
    second = d.one_of((n,), (n, d.int(1, 4)), (*d.broadcast(x.shape[:-2]), n, d.int(1, 4)))
    return call(x, d.array((str(x.dtype),) if d.flag() else ALL, second))


def inner(d: Draw) -> Call:
    n = d.int(0, 4)
    return call(d.array(shape=(*d.shape(0, 2), n)), d.array(shape=(*d.shape(0, 2), n)))


def einsum(d: Draw) -> Call:
    equation = d.one_of("ij,jk->ik", "bij,bjk->bik", "ij->ji", "ij->", "ii->i", "i,i->", "i,j->ij", "ij,j", "ijk,k->ij",
                        "...ij,...jk->...ik", "bhqd,bhkd->bhqk", "ij,ij->j")  # fmt: skip
    sizes = {letter: d.int(0, 3) if d.chance(0.05) else d.int(1, 4) for letter in "ijkbhqd"}
    inputs = equation.split("->")[0].replace("...", "b").split(",")
    first = d.array((*NUMBERS,), [sizes[c] for c in inputs[0]])
    rest = [d.array((str(first.dtype),) if d.flag() else NUMBERS, [sizes[c] for c in part]) for part in inputs[1:]]
    return call(equation, first, *rest)


def tensordot(d: Draw) -> Call:
    shape, axes = d.shape(1, 3), d.int(0, 2)
    first = d.array(shape=shape)
    axes = min(axes, len(shape))
    second = d.array(shape=(*shape[len(shape) - axes :], *d.shape(0, 2)))
    several = (list(range(-axes, 0)), list(range(axes)))
    return call(first, second, axes=d.one_of(axes, several))


def cross(d: Draw) -> Call:
    lead = d.shape(0, 2)
    return call(d.array(NUMBERS, (*lead, d.int(2, 3))), d.array(NUMBERS, (*lead, d.int(2, 3))))


def correlate(d: Draw) -> Call:
    return call(d.array(NUMBERS, (d.int(1, 6),)), d.array(NUMBERS, (d.int(1, 6),)),
                mode=d.one_of("valid", "same", "full"))  # fmt: skip


case("dot matmul", inner_sizes, loose=32)
case("inner", inner, loose=32)
case("vdot", lambda d: call(d.array(shape=(n := d.shape())), d.array(shape=n)), loose=32)
case("outer kron", lambda d: call(d.array(), d.array()), loose=32)
case("einsum", einsum, loose=32)
case("tensordot", tensordot, loose=32)
case("cross", cross, loose=32)
case("correlate", correlate, loose=32)

# -- linear algebra ----------------------------------------------------------------------------------------------------

PRECISE = ("float32",)


def solved(d: Draw) -> Call:
    a = d.square(PRECISE)
    return call(a, d.array(PRECISE, (*a.shape[:-1], *d.one_of((), (d.int(0, 3),)))))


def triangular(d: Draw) -> Call:
    made = solved(d)
    return call(*made.args, lower=d.flag())


def norm(d: Draw) -> Call:
    x = d.apart((*FLOATS, "int32"), least=1)
    if x.ndim == 1 or d.flag():
        axis = d.one_of(None, -1) if x.ndim == 1 else -1
        order = d.one_of(None, 1, 2, 3, 0, float("inf"), float("-inf"))
    else:
        axis = d.one_of((-2, -1), (0, 1))
        order = d.one_of(None, "fro", 1, -1, float("inf"), float("-inf"), "nuc", 2, -2)
    return call(x, ord=order, axis=axis, keepdims=d.flag())


def lstsq(d: Draw) -> Call:
    rows, columns = d.int(1, 4), d.int(1, 4)
    return call(d.matrices(PRECISE, rows, columns, ()), d.array(PRECISE, (rows, *d.one_of((), (2,)))))


case("cholesky cholesky_inverse", lambda d: call(d.definite(PRECISE), upper=d.flag()), loose=512)
case("det logdet slogdet inv lu_factor", lambda d: call(d.square(PRECISE)), loose=512)
case("matrix_power", lambda d: call(d.square(PRECISE), d.int(-2, 4)), loose=2048)
case("matrix_rank", lambda d: call(d.matrices(PRECISE), tol=d.one_of(None, 0.5)))
case("pinv", lambda d: call(d.matrices(PRECISE), rcond=d.one_of(None, 1e-3)), loose=4096)
case("eigh", lambda d: call(d.definite(PRECISE)), reading=bodies.of_eigh, loose=512)
case("eig", lambda d: call(d.definite(PRECISE)), reading=bodies.of_eig, loose=512, grad=False)
case("svd", lambda d: call(d.matrices(PRECISE), full_matrices=d.flag(), compute_uv=d.flag()),
     reading=bodies.of_svd, loose=512, grad=False)  # fmt: skip
case("qr", lambda d: call(d.matrices(PRECISE), mode=d.one_of("reduced", "complete")),
     reading=bodies.of_qr, loose=512, grad=False)  # fmt: skip
case("solve", solved, loose=512)
case("solve_triangular", triangular, loose=512)
case("lstsq", lstsq, loose=4096, grad=False)
case("norm", norm, loose=512)
case("jvp", lambda d: call(x := d.array(PRECISE), d.array(PRECISE, x.shape), d.flag()), calls=bodies.jvp)
case("cdist", lambda d: call(d.array(FLOATS, (*(b := d.shape(0, 1)), 3, 2)), d.array(FLOATS, (*b, 4, 2))), loose=64)

# -- Fourier, sequences ------------------------------------------------------------------------------------------------


def complex_parts(name: str, least: int) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        real = d.array(PRECISE, least=least, empty=False)
        return call(name, real, d.array(PRECISE, real.shape))

    return make


def irfft(d: Draw) -> Call:
    made = complex_parts("irfft", 1)(d)
    return call(*made.args, d.one_of(None, d.int(1, 9)))


def stft(d: Draw) -> Call:
    length = d.int(2, 6)
    x = d.array(PRECISE, (*d.shape(0, 1), d.int(10, 20)))
    return call(x, length, d.int(1, length), d.int(length, 8), window=d.one_of("hann", "hamming", None),
                center=d.flag())  # fmt: skip


def istft(d: Draw) -> Call:
    fft_length = d.one_of(4, 6, 8)
    length = d.int(fft_length // 2, fft_length)
    real = d.array(PRECISE, (*d.shape(0, 1, empty=False), d.int(3, 6), fft_length // 2 + 1))
    return call(real, d.array(PRECISE, real.shape), length, d.int(1, length), fft_length,
                length=d.one_of(None, 5), window=d.one_of("hann", None), center=d.flag())  # fmt: skip


case("fft", complex_parts("fft", 1), calls=bodies.fft_of_parts, loose=64)
case("fft2", complex_parts("fft2", 2), calls=bodies.fft_of_parts, loose=64)
case("ifft2", complex_parts("ifft2", 2), calls=bodies.fft_of_parts, loose=64)
case("irfft", irfft, calls=bodies.fft_of_parts, loose=64)
case("rfft", lambda d: call(d.array(("float32", "int32"), least=1, empty=False), d.one_of(None, d.int(1, 9))), loose=64)
case("stft", stft, loose=64)
case("istft", istft, calls=bodies.istft, loose=256)
case("extract_sequences", lambda d: call(d.array(shape=(*d.shape(0, 2), 7)), d.int(1, 5), d.int(1, 3)))
case("view_as_complex", lambda d: call(d.array(PRECISE, (*d.shape(0, 2), 2))), grad=False)
case("view_as_real", lambda d: call(d.array(COMPLEX)))
case("_get_complex_tensor_from_tuple", lambda d: call(x := d.array(PRECISE), d.array(PRECISE, x.shape)),
     calls=bodies.get_complex_tensor_from_tuple, grad=False)  # fmt: skip

# -- control flow, functions of functions ------------------------------------------------------------------------------

SHORT = {"longest": 3}


def pairs(d: Draw, *dtypes: str) -> tuple[np.ndarray, np.ndarray]:
    x = d.array(dtypes or NUMBERS, **SHORT)
    return x, d.array((str(x.dtype),), x.shape)


def scanned(d: Draw) -> Call:
    xs = d.array(("float32", "int32"), least=1)
    return call(d.array((str(xs.dtype),), xs.shape[1:]), xs, d.flag())


def associative(d: Draw) -> Call:
    x = d.array(NUMBERS, least=1, empty=False)
    return call(x if d.flag() else (x, d.array((str(x.dtype),), x.shape)), d.flag(), d.int(0, x.ndim - 1))


def rows_of_two(d: Draw) -> Call:
    x = d.array(NUMBERS, least=1, empty=False)
    return call(x, d.array((str(x.dtype),), (x.shape[0], *d.shape(0, 2))))


case("cond", lambda d: call(d.array(("bool",), ()), d.array(NUMBERS)), calls=bodies.cond)
case("switch", lambda d: call(np.int32(d.int(-1, 3)), *pairs(d)), calls=bodies.switch)
case("while_loop", lambda d: call(d.int(0, 4), d.array(NUMBERS), d.one_of(None, 2)), calls=bodies.while_loop)
case("fori_loop", lambda d: call(d.int(-2, 1), d.int(-1, 4), d.array(NUMBERS)), calls=bodies.fori_loop)
case("scan", scanned, calls=bodies.scan)
case("associative_scan", associative, calls=bodies.associative_scan)
case("map", lambda d: call(d.array(NUMBERS, least=1)), calls=bodies.map)
case("vectorized_map", rows_of_two, calls=bodies.vectorized_map)
case("vectorize", lambda d: call(*d.pair(NUMBERS)), calls=bodies.vectorize)
case("custom_gradient", lambda d: call(d.array(FLOATS)), calls=bodies.custom_gradient)
case("grad", lambda d: call(*pairs(d, *FLOATS)), calls=bodies.grad, loose=64)
case("remat", lambda d: call(*pairs(d, *FLOATS)), calls=bodies.remat, loose=64)
case("compute_output_spec", lambda d: call(x := d.array(), d.int(0, x.ndim)), calls=bodies.compute_output_spec)
case("device_scope", lambda d: call(d.array()), calls=bodies.device_scope)
case("random_seed_dtype", lambda d: call(), calls=bodies.random_seed_dtype)

# -- neural networks ---------------------------------------------------------------------------------------------------


def images(d: Draw, rank: int, channels: int, data_format: str, dtypes: tuple[str, ...] = FLOATS) -> np.ndarray:
    """A batch of ``rank`` spatial axes."""
    space = tuple(d.int(3, 6) for _ in range(rank))
    batch = d.int(0, 2) if d.chance(0.1) else d.int(1, 2)
    shape = (batch, *space, channels) if data_format == "channels_last" else (batch, channels, *space)
    return d.array(dtypes, shape)


def data_format(d: Draw) -> str:
    return d.one_of("channels_last", "channels_last", "channels_first")


def pooled(d: Draw) -> Call:
    rank, layout = d.int(1, 3), data_format(d)
    size = d.one_of(d.int(1, 3), tuple(d.int(1, 3) for _ in range(rank)))
    x = images(d, rank, d.int(1, 3), layout, (*FLOATS, "int32"))
    return call(x, size, strides=d.one_of(None, d.int(1, 3)), padding=d.one_of("valid", "same"), data_format=layout)


def adaptive(d: Draw) -> Call:
    rank, layout = d.int(1, 3), data_format(d)
    size = d.one_of(d.int(1, 3), tuple(d.int(1, 3) for _ in range(rank)))
    return call(images(d, rank, 2, layout), size, data_format=layout)


def strides_and_dilation(d: Draw, rank: int) -> dict[str, Any]:
    """Not both, which Keras refuses."""
    strides, dilation = d.one_of((1, 1), (2, 1), (3, 1), (1, 2))
    return {"strides": d.one_of(strides, (strides,) * rank), "dilation_rate": dilation}


def conv(d: Draw) -> Call:
    rank, layout, groups = d.int(1, 3), data_format(d), d.one_of(1, 1, 2)
    channels, size = groups * d.int(1, 2), tuple(d.int(1, 3) for _ in range(rank))
    x = images(d, rank, channels, layout)
    kernel = d.array((str(x.dtype),), (*size, channels // groups, groups * d.int(1, 2)))
    return call(x, kernel, **strides_and_dilation(d, rank), padding=d.one_of("valid", "same"), data_format=layout)


def depthwise(d: Draw) -> Call:
    rank, layout, channels = d.int(1, 2), data_format(d), d.int(1, 3)
    x = images(d, rank, channels, layout)
    kernel = d.array((str(x.dtype),), (*(d.int(1, 3) for _ in range(rank)), channels, d.int(1, 2)))
    return call(x, kernel, **strides_and_dilation(d, rank), padding=d.one_of("valid", "same"), data_format=layout)


def separable(d: Draw) -> Call:
    made = depthwise(d)
    x, kernel = made.args
    rank = kernel.ndim - 2
    pointwise = d.array((str(x.dtype),), (*(1,) * rank, kernel.shape[-1] * kernel.shape[-2], d.int(1, 3)))
    return call(x, kernel, pointwise, **made.kwargs)


def conv_transpose(d: Draw) -> Call:
    rank, layout, channels = d.int(1, 3), data_format(d), d.int(1, 3)
    x = images(d, rank, channels, layout)
    kernel = d.array((str(x.dtype),), (*(d.int(1, 3) for _ in range(rank)), d.int(1, 2), channels))
    return call(x, kernel, **strides_and_dilation(d, rank), padding=d.one_of("valid", "same"), data_format=layout)


def batch_normalization(d: Draw) -> Call:
    x = d.array(FLOATS, least=2)
    axis = d.int(-x.ndim, x.ndim - 1)
    mean, variance, offset, scale = (d.array((str(x.dtype),), (x.shape[axis],), low=0.2) for _ in range(4))
    return call(x, mean, variance, axis, offset=d.maybe(offset), scale=d.maybe(scale), epsilon=1e-3)


def normalization(*names: str) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        x = d.array(FLOATS, least=1)
        axis = d.one_of(-1, tuple(range(x.ndim - d.int(1, x.ndim), x.ndim)))
        shape = tuple(x.shape[a] for a in ((axis,) if isinstance(axis, int) else axis))
        weights = {name: d.maybe(d.array((str(x.dtype),), shape)) for name in names}
        return call(x, **weights, axis=axis, epsilon=d.one_of(None, 1e-3))

    return make


def crossentropy(sparse: bool) -> Callable[[Draw], Call]:
    def make(d: Draw) -> Call:
        lead, classes = d.shape(0, 2), d.int(1, 5)
        output = d.array(FLOATS, (*lead, classes), low=0.05, high=1.0)
        target = d.indices(classes, lead) if sparse else d.array(FLOATS, (*lead, classes), low=0.0, high=1.0)
        return call(target, output, from_logits=d.flag(), axis=-1)

    return make


def binary_crossentropy(d: Draw) -> Call:
    output = d.array(FLOATS, low=0.0, high=1.0)
    return call(d.array((*FLOATS, "bool", "int32"), output.shape, low=0.0, high=1.0), output, from_logits=d.flag())


def ctc(d: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    batch, time, classes, length = d.int(1, 3), d.int(4, 8), d.int(3, 5), d.int(1, 3)
    target = d.rng.integers(1, classes, (batch, length)).astype("int32")
    output = d.array(PRECISE, (batch, time, classes))
    lengths = d.rng.integers(1, length + 1, batch).astype("int32")
    return target, output, lengths, d.rng.integers(min(time, 2 * length), time + 1, batch).astype("int32")


def ctc_decode(d: Draw) -> Call:
    _, output, _, lengths = ctc(d)
    if d.flag():
        return call(output, lengths, strategy="greedy", merge_repeated=d.flag(), mask_index=0)
    return call(output, lengths, strategy="beam_search", beam_width=8, top_paths=d.int(1, 2), mask_index=0)


def attention(d: Draw) -> Call:
    batch, queries, keys, size = d.int(1, 2), d.int(1, 4), d.int(1, 4), d.int(1, 4)
    kv_heads = d.int(1, 2)
    heads = kv_heads * d.int(1, 2)
    query = d.array(FLOATS, (batch, queries, heads, size))
    key, value = (d.array((str(query.dtype),), (batch, keys, kv_heads, size)) for _ in range(2))
    bias = d.array((str(query.dtype),), (batch, heads, queries, keys))
    mask = d.array(("bool",), (batch, heads, queries, keys))
    mask[..., 0] = True  # a row that sees nothing has no answer
    return call(query, key, value, bias=d.maybe(bias), mask=d.maybe(mask), scale=d.one_of(None, 0.3),
                is_causal=d.chance(0.3), attn_logits_soft_cap=d.one_of(None, None, 2.0))  # fmt: skip


def windows(d: Draw) -> dict[str, Any]:
    return {"kernel_size": d.one_of(2, (2, 3)), "dilation": d.int(1, 2), "padding": d.int(0, 1), "stride": d.int(1, 2)}


def fold(d: Draw) -> Call:
    options = windows(d)
    height, width = d.int(4, 7), d.int(5, 7)
    kernel = (2, 2) if options["kernel_size"] == 2 else (2, 3)
    span = [(n + 2 * options["padding"] - options["dilation"] * (k - 1) - 1) // options["stride"] + 1
            for n, k in zip((height, width), kernel)]  # fmt: skip
    x = d.array(FLOATS, (d.int(1, 2), 2 * kernel[0] * kernel[1], span[0] * span[1]))
    return call(x, (height, width), **options)


def blocks(d: Draw, apart: bool) -> Call:
    layout, size = data_format(d), 2
    height, width, channels = (d.int(1, 3) for _ in range(3))
    sizes = (height, width, channels * size**2) if apart else (height * size, width * size, channels)
    shape = sizes if layout == "channels_last" else (sizes[2], *sizes[:2])
    return call(d.array(shape=(d.int(0, 2), *shape)), size, data_format=layout)


case("max_pool", pooled)
case("average_pool", pooled, loose=32)
case("adaptive_max_pool adaptive_average_pool", adaptive, loose=32)
case("conv", conv, loose=32)
case("depthwise_conv", depthwise, loose=32)
case("separable_conv", separable, loose=64)
case("conv_transpose", conv_transpose, loose=32)
case("batch_normalization", batch_normalization, loose=64)
case("layer_normalization", normalization("gamma", "beta"), loose=128)
case("rms_normalization", normalization("scale"), loose=128)
case("categorical_crossentropy", crossentropy(sparse=False), loose=64)
case("sparse_categorical_crossentropy", crossentropy(sparse=True), loose=64)
case("binary_crossentropy", binary_crossentropy, loose=64)
case("psnr", lambda d: call(x := d.array(least=1), d.array(FLOATS, x.shape), d.one_of(1.0, 255)), loose=64)
case("ctc_loss", lambda d: call(*ctc(d)), loose=256)
case("ctc_decode", ctc_decode, loose=256, grad=False)
case("dot_product_attention", attention, loose=64)
case("unfold", lambda d: call(d.array(FLOATS, (d.int(1, 2), 2, d.int(4, 6), d.int(5, 7))), **windows(d)))
case("fold", fold)
case("depth_to_space", lambda d: blocks(d, apart=True))
case("space_to_depth", lambda d: blocks(d, apart=False))

# -- images ------------------------------------------------------------------------------------------------------------


def picture(d: Draw, dtypes: tuple[str, ...] = ("float32",), channels: int = 3, longest: int = 8) -> dict[str, Any]:
    """One picture or a batch of them, in either layout, of values from 0 to 1 or, if integers, to 255."""
    layout = data_format(d)
    size = (d.int(3, longest), d.int(3, longest))
    shape = (*size, channels) if layout == "channels_last" else (channels, *size)
    shape = shape if d.flag() else (d.int(1, 2), *shape)
    integers = dtypes[0].startswith(("int", "uint"))
    return {"images": d.array(dtypes, shape, low=0.0, high=255.0 if integers else 1.0), "data_format": layout}


def pictures(*dtypes: str) -> Callable[[Draw], Call]:
    return lambda d: call(**picture(d, dtypes or ("float32", "bfloat16", "float16")))


def resize(d: Draw) -> Call:
    fit = d.one_of({}, {}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True, "fill_value": 0.5})
    return call(**picture(d, d.one_of(("float32",), ("uint8",))), size=(d.int(1, 9), d.int(1, 9)),
                interpolation=d.one_of("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"),
                antialias=d.flag(), **fit)  # fmt: skip


FILLS = ("constant", "nearest", "wrap", "mirror", "reflect")


def affine_transform(d: Draw) -> Call:
    given = picture(d)
    batch = given["images"].shape[:1] if given["images"].ndim == 4 else ()
    moves = d.rng.uniform(-0.3, 0.3, (*batch, 8)) + np.array([1, 0, 0, 0, 1, 0, 0, 0])
    moves[..., 6:] = 0  # Keras on JAX leaves the projection out that it documents
    return call(**given, transform=moves.astype("float32"), interpolation=d.one_of("bilinear", "nearest"),
                fill_mode=d.one_of(*FILLS), fill_value=d.one_of(0, 0.5))  # fmt: skip


def corners(d: Draw, batch: tuple[int, ...]) -> np.ndarray:
    square = np.array([[0, 0], [0, 5], [5, 0], [5, 5]])
    return (square + d.rng.uniform(-0.7, 0.7, (*batch, 4, 2))).astype("float32")


def perspective_transform(d: Draw) -> Call:
    given = picture(d)
    batch = given["images"].shape[:1] if given["images"].ndim == 4 else ()
    return call(**given, start_points=corners(d, batch), end_points=corners(d, batch),
                interpolation=d.one_of("bilinear", "nearest"), fill_value=d.one_of(0, 0.5))  # fmt: skip


def map_coordinates(d: Draw) -> Call:
    x = d.array(("float32", "uint8"), least=1, empty=False)
    coordinates = d.array(("float32",), (x.ndim, *d.shape(1, 2)), -2.0, 6.0)
    return call(x, coordinates, d.int(0, 1), fill_mode=d.one_of(*FILLS), fill_value=d.one_of(0, 1))


def gaussian_blur(d: Draw) -> Call:
    sigma = (d.uniform(0.5, 2), d.uniform(0.5, 2))
    return call(**picture(d), kernel_size=d.one_of((3, 3), (3, 5), (2, 4)), sigma=sigma)


def scale_and_translate(d: Draw) -> Call:
    x = d.array(("float32",), (d.int(2, 6), d.int(2, 6), 2), 0.0, 1.0)
    scale, translation = (d.array(("float32",), (2,), low, 2.0) for low in (0.5, -1.0))
    method = d.one_of("linear", "bilinear", "cubic", "bicubic", "lanczos3", "lanczos5")
    return call(x, (d.int(1, 7), d.int(1, 7), 2), scale, translation, (0, 1), method, antialias=d.flag())


def borders(d: Draw) -> dict[str, int]:
    return {"top_": d.int(0, 1), "left_": d.int(0, 1), "bottom_": d.int(0, 1), "right_": d.int(0, 1)}


def extract_patches(d: Draw) -> Call:
    strides, dilation = d.one_of((None, 1), (1, 1), (2, 1), (1, 2))
    return call(**picture(d), size=d.one_of(2, (2, 3)), strides=strides, dilation_rate=dilation,
                padding=d.one_of("valid", "same"))  # fmt: skip


def extract_patches_3d(d: Draw) -> Call:
    layout = data_format(d)
    return call(images(d, 3, 2, layout, ("float32",)), 2, padding=d.one_of("valid", "same"), data_format=layout)


def reconstruct_patches(d: Draw) -> Call:
    rows, columns, channels = d.int(1, 3), d.int(1, 3), d.int(1, 3)
    return call(d.array(("float32",), (d.int(1, 2), rows, columns, 4 * channels)), 2, (2 * rows, 2 * columns),
                data_format="channels_last")  # fmt: skip


def ssim(d: Draw) -> Call:
    given = picture(d, longest=12)
    first = given.pop("images")
    return call(first, d.array(("float32",), first.shape, 0.0, 1.0), **given, filter_size=3)


case("image.rgb_to_grayscale", pictures(*FLOATS))
case("image.rgb_to_hsv image.hsv_to_rgb", pictures(), loose=64)
case("image.sobel_edges", pictures(), loose=64)
case("image.resize", resize, loose=128, steps=1)
case("image.affine_transform", affine_transform, loose=512)
case("image.perspective_transform", perspective_transform, loose=8192, grad=False)
case("image.compute_homography_matrix", lambda d: call(corners(d, b := d.shape(1, 1)), corners(d, b)),
     calls=bodies.compute_homography_matrix, loose=4096)  # fmt: skip
case("image.map_coordinates", map_coordinates, loose=64, steps=1)
case("image.gaussian_blur", gaussian_blur, loose=64)
case("image.elastic_transform", lambda d: call(**picture(d), alpha=2.0, sigma=1.0, seed=3), values=False, grad=False)
case("image.scale_and_translate", scale_and_translate, loose=128)
case("image.crop_images", lambda d: call(**picture(d), **{f"{k}cropping": v for k, v in borders(d).items()}))
case("image.pad_images", lambda d: call(**picture(d), **{f"{k}padding": v for k, v in borders(d).items()}))
case("image.extract_patches", extract_patches)
case("image.extract_patches_3d", extract_patches_3d)
case("image.reconstruct_patches", reconstruct_patches)
case("image.ssim", ssim, loose=1024)

# -- random numbers ----------------------------------------------------------------------------------------------------


def drawn(make: Callable[[Draw], tuple], dtypes: tuple[str | None, ...] = (None, *FLOATS)) -> Callable[[Draw], Call]:
    """A shape, of many numbers half of the time; the distribution's parameters; a dtype and a seed."""
    return lambda d: call(d.one_of((4000,), (40, 100), d.shape(), d.shape()), *make(d), dtype=d.one_of(*dtypes),
                          seed=d.int(0, 99))  # fmt: skip


def dropout(d: Draw) -> Call:
    x = d.array(FLOATS, (4000,)) if d.flag() else d.array(FLOATS)
    return call(x, d.one_of(0, 0.25, 0.5), noise_shape=d.one_of(None, (1,) * x.ndim), seed=d.int(0, 99))


def categorical(d: Draw) -> Call:
    return call(d.array(FLOATS, (d.int(0, 3), d.int(1, 4))), d.one_of(4000, d.int(0, 5)), seed=d.int(0, 99))


def shuffle(d: Draw) -> Call:
    x = d.array(least=1)
    return call(x, axis=d.int(-x.ndim, x.ndim - 1), seed=d.int(0, 99))


RANDOM = {"moments": True, "grad": False}
case("random.normal random.truncated_normal", drawn(lambda d: (d.uniform(-2, 2), d.uniform(0.5, 2))), **RANDOM)
case("random.uniform", drawn(lambda d: (d.uniform(-2, 0), d.uniform(1, 2))), **RANDOM)
case("random.randint", drawn(lambda d: (d.int(-5, 0), d.int(2, 90)), ("int32", "int8", "int16")), **RANDOM)
case("random.gamma", drawn(lambda d: (d.uniform(0.5, 4),)), **RANDOM)
case("random.beta", drawn(lambda d: (d.uniform(0.5, 4), d.uniform(0.5, 4))), **RANDOM)
case("random.binomial", drawn(lambda d: (d.uniform(1, 20) // 1, d.uniform(0.1, 0.9))), **RANDOM)
case("random.categorical", categorical, **RANDOM)
case("random.dropout", dropout, **RANDOM)
case("random.shuffle", shuffle, **RANDOM)
