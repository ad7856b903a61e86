"""Reductions, and cumulative ones."""

from __future__ import annotations

from hornbeam.base import dtypes
from hornbeam.base.dtypes import is_bool
from hornbeam.errors import ExportError
from hornbeam.export.graph import Graph, Value
from hornbeam.export.pairing import Pair
from hornbeam.export.rules.rule import rule


def _reduced(g: Graph, kind: str, x: Value | str, axes: tuple[int, ...]) -> str:
    if not axes:  # to ONNX no axes may mean all of them
        return x if isinstance(x, str) else x.name
    if g.opset < 18 and kind != "ReduceSum":
        return g.op(kind, x, axes=list(axes), keepdims=0)
    return g.op(kind, x, g.constant(axes), keepdims=0)


@rule("sum", "prod", "reduce_max", "reduce_min")
def reduce(g: Graph, pair: Pair, x: Value) -> str:
    kind = {"sum": "ReduceSum", "prod": "ReduceProd", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}[pair.name]
    return _reduced(g, kind, x, pair.attrs["axes"])


@rule("reduce_or", "reduce_and")
def reduce_logic(g: Graph, pair: Pair, x: Value) -> str:
    """Whether any is true, by counting them; and all are if none is false."""
    if not is_bool(x.dtype):
        raise ExportError(f"{pair.name} of {x.dtype.name} cannot be exported: ONNX reduces bools only, not bits.")
    every = pair.name == "reduce_and"
    count = _reduced(g, "ReduceSum", g.cast(g.op("Not", x) if every else x, dtypes.int32), pair.attrs["axes"])
    found = g.cast(count, dtypes.bool_)
    return g.op("Not", found) if every else found


@rule("argmax", "argmin")
def position(g: Graph, pair: Pair, x: Value) -> str:
    kind = "ArgMax" if pair.name == "argmax" else "ArgMin"
    return g.cast(g.op(kind, x, axis=pair.attrs["axis"], keepdims=0), dtypes.int32)


@rule("cumsum")
def cumsum(g: Graph, pair: Pair, x: Value) -> str:
    return g.op("CumSum", x, g.constant(pair.attrs["axis"]), reverse=int(pair.attrs["reverse"]))


@rule("cumprod")
def cumprod(g: Graph, pair: Pair, x: Value) -> str:
    """A scan that carries the product."""
    axis, backward = pair.attrs["axis"], int(pair.attrs["reverse"])
    shape, dtype = (*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype
    first = g.full(1, shape, dtype)
    with g.body() as layer:
        so_far, element = (g.value(g.fresh(name), shape, dtype) for name in ("product", "element"))
        product = Value(g.op("Mul", so_far, element), shape, dtype)
        body = g.close(layer, (so_far, element), (product, product))
    return g.several(
        "Scan", [first, x], [dtype, dtype], body=body, num_scan_inputs=1,
        scan_input_axes=[axis], scan_output_axes=[axis],
        scan_input_directions=[backward], scan_output_directions=[backward],
    )[1]  # fmt: skip
