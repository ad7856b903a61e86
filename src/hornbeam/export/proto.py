"""The graph as protocol buffers, which is what ONNX's files hold. Operations that nobody reads are dropped here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import onnx
from onnx import checker, helper, numpy_helper

from hornbeam.config import VERSION
from hornbeam.errors import ExportError
from hornbeam.export.graph import Body, Graph, Operation, Value

MOST_BYTES = 2**31 - 2**24  # of weights in one file: a protocol buffer has to be smaller than 2 GiB
ALIGNMENT = 4096  # of a tensor in the file beside it, so that a runtime can map it into memory

# -- the graph ---------------------------------------------------------------------------------------------------------


def model_proto(
    g: Graph, name: str, inputs: Sequence[Value], outputs: Sequence[tuple[str, Value]]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The model, and the arrays that it reads, which are not in it yet. ``outputs`` with the names that they get."""
    renamed = _named(g, outputs)
    operations = needed(g.operations, [v.name for _, v in outputs] + [n for n, _ in outputs])
    read = {renamed.get(n, n) for n in read_by(operations)} | {n for n, _ in outputs}
    graph = helper.make_graph(
        [_node(g, operation, renamed) for operation in operations],
        name,
        [_info(g, v, {}) for v in inputs],
        [_info(g, v._replace(name=n), {}) for n, v in outputs],
    )
    opsets = [helper.make_opsetid("", g.opset)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="hornbeam", producer_version=VERSION,
    )  # fmt: skip
    return model, {n: a for n, a in g.arrays.items() if n in read}


def _named(g: Graph, outputs: Sequence[tuple[str, Value]]) -> dict[str, str]:
    """Tensors to be called as an output is. What is an input, a constant or two outputs gets an Identity instead."""
    made = {name for operation in g.operations for name in operation.outputs}
    renamed: dict[str, str] = {}
    for name, value in outputs:
        if value.name in made and value.name not in renamed:
            renamed[value.name] = name
        else:
            g.operations.append(Operation("Identity", (value.name,), (name,), {}))
    return renamed


def needed(operations: Sequence[Operation], outputs: Sequence[str]) -> list[Operation]:
    """The operations that ``outputs`` need, in their order, and of their bodies the same."""
    wanted, kept = set(outputs), []
    for operation in reversed(operations):
        if wanted.isdisjoint(operation.outputs):
            continue
        operation = operation._replace(attrs={k: _pruned(v) for k, v in operation.attrs.items()})
        wanted.update(read_by([operation]))
        kept.append(operation)
    return kept[::-1]


def _pruned(value: Any) -> Any:
    if not isinstance(value, Body):
        return value
    return value._replace(operations=needed(value.operations, [v.name for v in value.outputs]))


def read_by(operations: Sequence[Operation]) -> Iterator[str]:
    """Every name that is read, in bodies too."""
    for operation in operations:
        yield from operation.inputs
        for value in operation.attrs.values():
            if isinstance(value, Body):
                yield from read_by(value.operations)


def _node(g: Graph, operation: Operation, renamed: Mapping[str, str]) -> onnx.NodeProto:
    inputs, outputs = ([renamed.get(n, n) for n in names] for names in (operation.inputs, operation.outputs))
    attrs = {k: _body(g, v, outputs[0], renamed) if isinstance(v, Body) else v for k, v in operation.attrs.items()}
    return helper.make_node(operation.kind, inputs, outputs, name=outputs[0], **attrs)


def _body(g: Graph, body: Body, name: str, renamed: Mapping[str, str]) -> onnx.GraphProto:
    nodes = [_node(g, operation, renamed) for operation in body.operations]
    inputs, outputs = ([_info(g, v, renamed) for v in values] for values in (body.inputs, body.outputs))
    return helper.make_graph(nodes, f"{name}/body", inputs, outputs)


def _info(g: Graph, value: Value, renamed: Mapping[str, str]) -> onnx.ValueInfoProto:
    kind, shape = helper.np_dtype_to_tensor_dtype(value.dtype), [g.described(d) for d in value.shape]
    return helper.make_tensor_value_info(renamed.get(value.name, value.name), kind, shape)


# -- with its weights --------------------------------------------------------------------------------------------------


def embed(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Put the arrays into the model. Raises ExportError if they are more than one message can hold."""
    if _total(arrays) > MOST_BYTES:
        raise ExportError(
            f"The weights are {_total(arrays):,} bytes, and a model in one piece can have {MOST_BYTES:,}.\n"
            "  Fix: hb.export_onnx(fn, path)   # which puts them in a file beside it"
        )
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items())
    checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], path: str) -> None:
    """Write the model to ``path``, its weights to ``path + ".data"`` if there are too many for one file."""
    if _total(arrays) <= MOST_BYTES:
        embed(model, arrays)
        with _replacing(path) as file:
            file.write(model.SerializeToString())
        return
    _write_beside(model, arrays, f"{path}.data")
    with _replacing(path) as file:
        file.write(model.SerializeToString())
        file.flush()
        checker.check_model(file.name, full_check=True)  # what is in two files can only be checked there


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[IO[bytes]]:
    """A file that takes the place of ``path`` when all of it is written, and is gone if not."""
    unfinished = f"{path}.unfinished"
    try:
        with open(unfinished, "wb") as file:
            yield file
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def _write_beside(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], path: str) -> None:
    with _replacing(path) as file:
        for name, array in arrays.items():
            if array.size <= 64:  # constants that a reader of the graph wants to see
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
                continue
            file.write(bytes(-file.tell() % ALIGNMENT))
            tensor = model.graph.initializer.add(name=name, dims=array.shape, data_location=onnx.TensorProto.EXTERNAL)
            tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            place = {"location": os.path.basename(path), "offset": file.tell(), "length": array.nbytes}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            dense = np.ascontiguousarray(array)
            file.write(dense.astype(dense.dtype.newbyteorder("<"), copy=False).tobytes())


def _total(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(a.nbytes for a in arrays.values())
