"""From a Python function and its arguments' shapes to a model: trace at two sizes, pair the traces, lower them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

from hornbeam.base import tree
from hornbeam.base.dtypes import DType, as_dtype
from hornbeam.base.spec import Spec, spec
from hornbeam.errors import ExportError, ShapeError, explain
from hornbeam.export.dims import Dim, Unknown, sizes
from hornbeam.export.graph import Graph
from hornbeam.export.lowering import lower_outputs, refused
from hornbeam.export.proto import model_proto
from hornbeam.export.rules import contract, control, elementwise, index, movement, reduce
from hornbeam.ir.program import Program
from hornbeam.ir.simplify import simplify
from hornbeam.runtime import session as sessions
from hornbeam.runtime.trace import Static, Traced, trace

ENTERED = (contract, control, elementwise, index, movement, reduce)  # imported for the rules that they enter
OLDEST = 17  # opset that the rules know how to write


class Input(NamedTuple):
    """An input of the model. A dimension may be a number, a name, or None: unknown, and not said to be another's."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: DType


def build(
    fn: Callable[..., Any], signature: Sequence[Any], name: str, opset: int
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model that ``fn`` is for arguments of ``signature``, and the values of its weights.

    signature: for each argument a TensorSpec, or a structure of them.
    Raises ExportError for what ONNX cannot say.
    """
    newest = onnx.defs.onnx_opset_version()
    if type(opset) is not int or not OLDEST <= opset <= newest:
        raise ExportError(f"opset {opset!r}: Hornbeam exports opsets {OLDEST} to {newest}.")
    inputs = _inputs(signature)
    traced, symbols, shapes = _traced_twice(fn, signature, inputs, name)
    programs = [simplify(t.program) for t in traced]
    for t in traced:
        _check_pure(t)

    g = Graph(opset, {size: symbol for symbol, size in symbols.items()})
    given: dict[Any, Any] = {}
    for i, shape, *params in zip(inputs, shapes, *(p.inputs for p in programs), strict=True):
        given[tuple(params)] = g.value(g.fresh(i.name), shape, i.dtype)
    entered = list(given.values())
    names = [g.fresh(n) for n in _output_names(traced[0])]
    first, second = (p.reads for p in programs)
    slots = [slot for slot in first if slot in second]
    for slot, tensor in zip(slots, sessions.current().read_all(slots), strict=True):
        given[first[slot], second[slot]] = g.value(g.known(slot.name, tensor.array), tensor.shape, tensor.dtype)
    results = lower_outputs(g, programs[0].outputs, programs[1].outputs, given)
    return model_proto(g, name, entered, list(zip(names, results, strict=True)))


def _check_pure(traced: Traced) -> None:
    program: Program = traced.program
    if program.effects:
        raise refused("callback", program.effects[0])
    if program.updates:
        listed = ", ".join(repr(slot.name) for slot in program.updates)
        raise ExportError(
            f"{program.name} assigns variables ({listed}), and a graph of ONNX has no state.\n"
            "  Usually it is a training step, a layer that counts or draws random numbers, or a stateful RNN.\n"
            "  Fix: return what changes, and pass it in as an argument"
        )
    if any(isinstance(o, Static) for o in traced.outputs):
        found = next(o.value for o in traced.outputs if isinstance(o, Static))
        raise ExportError(f"{program.name} returns {found!r}, which is no tensor.\n  Fix: hb.tensor({found!r})")


# -- the signature -----------------------------------------------------------------------------------------------------


def _is_spec(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _leaves(structure: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every spec in a structure, with a name made of its place."""
    if _is_spec(structure):
        yield path, structure
    elif isinstance(structure, dict):
        for key, value in structure.items():
            yield from _leaves(value, str(key))
    elif isinstance(structure, (list, tuple)):
        for i, value in enumerate(structure):
            yield from _leaves(value, f"{path}_{i}")
    else:
        raise ExportError(
            f"The input signature has {structure!r} in it, which is no shape and dtype.\n"
            "  Fix: hb.TensorSpec((None, 4), 'float32')"
        )


def _filled(structure: Any, values: Iterator[Any]) -> Any:
    """``structure`` with the next of ``values`` in the place of every spec."""
    if _is_spec(structure):
        return next(values)
    if isinstance(structure, dict):
        return {key: _filled(value, values) for key, value in structure.items()}
    return type(structure)([_filled(value, values) for value in structure])


def _inputs(signature: Sequence[Any]) -> list[Input]:
    found = []
    for path, leaf in _leaves(tuple(signature), "input"):
        if leaf.shape is None:
            raise ExportError(
                f"{getattr(leaf, 'name', None) or path} has no shape in the input signature; how many dimensions it "
                "has must be known.\n  Fix: hb.TensorSpec((None, None), dtype)   # None for a size that may vary"
            )
        name = getattr(leaf, "name", None) or ("input" if path == "input_0" and len(signature) == 1 else path)
        found.append(Input(str(name), tuple(leaf.shape), as_dtype(leaf.dtype)))
    return found


# -- tracing -----------------------------------------------------------------------------------------------------------

Shapes = list[tuple[Dim, ...]]


def _traced_twice(
    fn: Callable[..., Any], signature: Sequence[Any], inputs: Sequence[Input], name: str
) -> tuple[tuple[Traced, Traced], dict[str, Unknown], Shapes]:
    """Both traces, the sizes of each symbol in them, and the inputs' shapes.

    Dimensions without a name are taken to be different ones. If the function does not accept that (it adds two inputs),
    those on the same axis are taken to be the same.
    """
    first_error: ShapeError | None = None
    for together in (False, True):
        symbols, shapes = _symbols(inputs, together)
        try:
            first = _traced(fn, signature, inputs, shapes, 0, name)
            return (first, _traced(fn, signature, inputs, shapes, 1, name) if symbols else first), symbols, shapes
        except ShapeError as error:
            first_error = first_error or error
            if len(inputs) == 1 or not symbols:
                break
    made_up = ", ".join(f"{size.first} or {size.second} for {symbol}" for symbol, size in symbols.items())
    raise ShapeError(f"{first_error}" + (f"\n  (Traced with {made_up}.)" if made_up else "")) from None


def _symbols(inputs: Sequence[Input], together: bool) -> tuple[dict[str, Unknown], Shapes]:
    fresh = sizes()
    symbols: dict[str, Unknown] = {}

    def dim(i: Input, axis: int) -> Dim:
        d = i.shape[axis]
        if isinstance(d, (int, np.integer)):
            return int(d)
        alone = together or len(inputs) == 1
        symbol = d or ("batch" if alone and axis == 0 else f"dim_{axis}" if alone else f"{i.name}_dim_{axis}")
        if symbol not in symbols:
            symbols[symbol] = next(fresh)
        return symbols[symbol]

    shapes = [tuple(dim(i, axis) for axis in range(len(i.shape))) for i in inputs]
    return symbols, shapes


def _traced(
    fn: Callable[..., Any], signature: Sequence[Any], inputs: Sequence[Input], shapes: Shapes, which: int, name: str
) -> Traced:
    specs: list[Spec] = [
        spec(tuple(d if isinstance(d, int) else d[which] for d in shape), i.dtype)
        for i, shape in zip(inputs, shapes, strict=True)
    ]
    return trace(lambda *values: fn(*_filled(tuple(signature), iter(values))), specs, name)


def _output_names(traced: Traced) -> list[str]:
    """``output``, or what the keys and places in the returned structure say."""
    marked = tree.unflatten(traced.structure, range(len(traced.outputs)))
    names = []
    for path in tree.paths(marked):
        words = re.findall(r"\w+", path)
        names.append("_".join(words if words and not words[0].isdigit() else ["output", *words]))
    return names


def missing_signature(name: str) -> ExportError:
    return ExportError(
        explain(
            f"{name} has no input signature, so the shapes and dtypes of its arguments are not known.",
            fix="hb.export_onnx(fn, path, [hb.TensorSpec((None, 4), 'float32')])   # None: any size",
        )
    )
