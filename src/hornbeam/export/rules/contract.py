"""Products of matrices, convolution and pooling.

ONNX's windows slide over (batch, channels, *spatial), ours over (batch, *spatial, channels).
"""

from __future__ import annotations

import math
import string
from typing import Any

from hornbeam.base import dtypes
from hornbeam.errors import ExportError
from hornbeam.export.dims import both, known
from hornbeam.export.graph import Graph, Value
from hornbeam.export.pairing import Pair
from hornbeam.export.rules.rule import rule
from hornbeam.ir.primitives.contract import free_axes

# -- dot ---------------------------------------------------------------------------------------------------------------


@rule("dot")
def dot(g: Graph, pair: Pair, x: Value, y: Value) -> str:
    """MatMul where one axis is contracted and each operand has axes of its own; Einsum for the rest."""
    (xb, yb), (xc, yc) = pair.attrs["batch"], pair.attrs["contract"]
    xf, yf = free_axes(len(x.shape), xb, xc), free_axes(len(y.shape), yb, yc)
    if len(xc) == 1 and len(yf) == 1 and (len(xf) == 1 or (xf and not xb)):
        return g.op("MatMul", g.transpose(x, xb + xf + xc), g.transpose(y, yb + yc + yf))
    letters = iter(string.ascii_letters)
    xs = {axis: next(letters) for axis in range(len(x.shape))}
    ys = {j: xs[i] for i, j in (*zip(xb, yb, strict=True), *zip(xc, yc, strict=True))}
    ys |= {axis: next(letters) for axis in yf}
    out = [xs[i] for i in xb + xf] + [ys[j] for j in yf]
    terms = ("".join(names[i] for i in range(len(names))) for names in (xs, ys))
    return g.op("Einsum", x, y, equation=f"{','.join(terms)}->{''.join(out)}")


# -- convolution -------------------------------------------------------------------------------------------------------


GIVE = "give the spatial dimensions in the input signature"


def _channels_first(rank: int) -> list[int]:
    return [0, rank - 1, *range(1, rank - 1)]


def _channels_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]


def _kernel(g: Graph, k: Value) -> str:
    """(*spatial, channels / groups, features) as (features, channels / groups, *spatial)."""
    rank = len(k.shape)
    return g.transpose(k, [rank - 1, rank - 2, *range(rank - 2)])


def _window(pair: Pair) -> dict[str, Any]:
    """The attributes that convolution and pooling share, as ONNX has them."""
    padding = known(f"the padding of a {pair.name}", pair.attrs["padding"], f"{GIVE}, or use padding='valid'")
    attrs: dict[str, Any] = {
        "strides": list(known(f"the stride of a {pair.name}", pair.attrs["strides"], GIVE)),
        "pads": [p[0] for p in padding] + [p[1] for p in padding],
    }
    if any(d != 1 for d in pair.attrs["dilation"]):  # which not every opset has for every window
        attrs["dilations"] = list(pair.attrs["dilation"])
    return attrs


@rule("conv")
def conv(g: Graph, pair: Pair, x: Value, k: Value) -> str:
    rank, size = len(x.shape), known("the size of a kernel", k.shape[:-2], GIVE)
    out = g.op(
        "Conv", g.transpose(x, _channels_first(rank)), _kernel(g, k),
        kernel_shape=list(size), group=pair.attrs["groups"], **_window(pair),
    )  # fmt: skip
    return g.transpose(out, _channels_last(rank))


@rule("conv_input_grad")
def conv_transpose(g: Graph, pair: Pair, y: Value, k: Value) -> str:
    rank, window = len(y.shape), _window(pair)
    spatial = range(rank - 2)
    kernel = known("the size of a kernel", k.shape[:-2], GIVE)
    if 0 in y.shape:
        return g.full(0, pair.shape, pair.dtype)
    reach = [(kernel[i] - 1) * pair.attrs["dilation"][i] + 1 for i in spatial]
    short = tuple(
        both(
            lambda size, n, i=i: (
                size - ((n - 1) * window["strides"][i] + reach[i] - window["pads"][i] - window["pads"][i + rank - 2])
            ),
            pair.attrs["shape"][i],
            y.shape[1 + i],
        )
        for i in spatial
    )
    missing = known("the size of a transposed convolution", short, GIVE)
    out = g.op(
        "ConvTranspose", g.transpose(y, _channels_first(rank)), _kernel(g, k),
        kernel_shape=list(kernel), group=pair.attrs["groups"], output_padding=list(missing), **window,
    )  # fmt: skip
    return g.transpose(out, _channels_last(rank))


# -- pooling -----------------------------------------------------------------------------------------------------------


@rule("pool_max")
def pool_max(g: Graph, pair: Pair, x: Value) -> str:
    return _pooled(g, pair, "MaxPool", x)


@rule("pool_sum")
def pool_sum(g: Graph, pair: Pair, x: Value) -> str:
    if x.dtype not in dtypes.FLOATS:
        raise ExportError(
            f"pool_sum of {x.dtype.name} cannot be exported: ONNX averages, which integers cannot hold.\n"
            "  Fix: hb.cast(x, 'float32')"
        )
    mean = _pooled(g, pair, "AveragePool", x, count_include_pad=1)
    return g.op("Mul", mean, g.constant(math.prod(pair.attrs["window"]), x.dtype))


def _pooled(g: Graph, pair: Pair, kind: str, x: Value, **attrs: Any) -> str:
    rank, window = len(x.shape), list(known("the window of a pooling", pair.attrs["window"], GIVE))
    out = g.op(kind, g.transpose(x, _channels_first(rank)), kernel_shape=window, **_window(pair), **attrs)
    return g.transpose(out, _channels_last(rank))
