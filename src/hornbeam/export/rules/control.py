"""Control flow: branches as If, loops as Loop, scans as Scan. Bodies read what they use from around them."""

from __future__ import annotations

from collections.abc import Sequence

from hornbeam.base import dtypes
from hornbeam.export.dims import Dim, dims_of
from hornbeam.export.graph import Body, Graph, Value
from hornbeam.export.lowering import Bodies, lower
from hornbeam.export.pairing import Pair
from hornbeam.export.rules.movement import reversed_
from hornbeam.export.rules.rule import rule

BOOL, INT64 = dtypes.bool_, dtypes.int64


def _parameters(g: Graph, bodies: Bodies, which: slice) -> list[Value]:
    """New inputs of a body, for some of its Program's."""
    first, second = (p.inputs[which] for p in bodies)
    return [g.value(g.fresh("carried"), dims_of(a.spec, b.spec), a.dtype) for a, b in zip(first, second, strict=True)]


def _dtypes(pair: Pair) -> list[dtypes.DType]:
    return [first.dtype for first, _ in pair.specs]


@rule("custom_gradient")
def custom_gradient(g: Graph, pair: Pair, *values: Value) -> list[str]:
    return [v.name for v in values[: pair.attrs["results"]]]


@rule("switch")
def switch(g: Graph, pair: Pair, index: Value, *operands: Value) -> list[str]:
    """If of If: the first branch where the index is at most 0, else the second where it is at most 1, and so on."""
    branches: Sequence[Bodies] = pair.attrs["branches"]
    return [v.name for v in _chosen(g, pair, index, operands, branches, 0)]


def _chosen(
    g: Graph, pair: Pair, index: Value, operands: Sequence[Value], branches: Sequence[Bodies], number: int
) -> list[Value]:
    if number == len(branches) - 1:
        return lower(g, branches[number], operands)

    def body(then: bool) -> Body:
        with g.body() as layer:
            outs = lower(g, branches[number], operands) if then else _chosen(
                g, pair, index, operands, branches, number + 1
            )  # fmt: skip
            return g.close(layer, (), outs)

    condition = g.op("LessOrEqual", index, g.constant(number, index.dtype))
    names = g.several("If", [condition], _dtypes(pair), then_branch=body(True), else_branch=body(False))
    return _values(names, pair)


def _values(names: Sequence[str], pair: Pair) -> list[Value]:
    return [Value(n, dims_of(*specs), specs[0].dtype) for n, specs in zip(names, pair.specs, strict=True)]


@rule("while")
def while_(g: Graph, pair: Pair, *operands: Value) -> list[str]:
    condition, step, n, limit = (pair.attrs[k] for k in ("condition", "body", "carries", "limit"))
    consts = operands[n:]
    entered = lower(g, condition, operands)[0]
    most = "" if limit is None else g.constant(limit)
    with g.body() as layer:
        count, going = g.value(g.fresh("step"), (), INT64), g.value(g.fresh("going"), (), BOOL)
        carried = _parameters(g, step, slice(n))
        left = lower(g, step, [*carried, *consts])
        again = lower(g, condition, [*left, *consts])
        body = g.close(layer, (count, going, *carried), (*again, *left))
    return g.several("Loop", [most, entered, *operands[:n]], _dtypes(pair), body=body)


@rule("scan")
def scan(g: Graph, pair: Pair, *operands: Value) -> list[str]:
    step, n, m = (pair.attrs[k] for k in ("body", "carries", "xs"))
    init, xs, consts = operands[:n], operands[n : n + m], operands[n + m :]
    backward = int(pair.attrs["reverse"])
    if pair.attrs["length"] == 0:
        empty = ((dims_of(*specs), specs[0].dtype) for specs in pair.specs[n:])
        return [v.name for v in init] + [g.full(0, *nothing) for nothing in empty]
    if not xs:
        return _counted(g, pair, step, init, consts)
    with g.body() as layer:
        inputs = _parameters(g, step, slice(n + m))
        body = g.close(layer, inputs, lower(g, step, [*inputs, *consts]))
    directions = {"scan_input_directions": [backward] * m}
    if len(pair.specs) > n:
        directions["scan_output_directions"] = [backward] * (len(pair.specs) - n)
    return g.several("Scan", [*init, *xs], _dtypes(pair), body=body, num_scan_inputs=m, **directions)


def _counted(g: Graph, pair: Pair, step: Bodies, init: Sequence[Value], consts: Sequence[Value]) -> list[str]:
    """A scan over nothing but a number of steps, which ONNX's Scan does not have."""
    length: Dim = pair.attrs["length"]
    steps = g.constant(length) if isinstance(length, int) else g.op("Squeeze", g.size(length), g.constant([0]))
    with g.body() as layer:
        count, going = g.value(g.fresh("step"), (), INT64), g.value(g.fresh("going"), (), BOOL)
        carried = _parameters(g, step, slice(len(init)))
        outs = lower(g, step, [*carried, *consts])
        body = g.close(layer, (count, going, *carried), (going, *outs))
    names = g.several("Loop", [steps, g.constant(True, BOOL), *init], _dtypes(pair), body=body)
    stacked = names[len(init) :]
    return names[: len(init)] + ([reversed_(g, y, (0,)) for y in stacked] if pair.attrs["reverse"] else stacked)
