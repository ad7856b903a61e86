"""``Graph``: an ONNX graph while it is made. Rules append operations to it and get names back.

Kept apart from the protocol buffers until the end, so that what nobody reads is dropped and results can be named.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.errors import ExportError
from hornbeam.export.dims import Dim, Dims, Unknown, as_term, described

INT64 = dtypes.int64
NO_COMPLEX = "ONNX has no arithmetic on complex numbers"
WIDER = {  # in which an operator of ONNX computes what it does not take: exactly, and the result is cast back
    dtypes.bool_: (dtypes.int32,),
    **dict.fromkeys((dtypes.int8, dtypes.uint8, dtypes.int16, dtypes.uint16), (dtypes.int32, dtypes.int64)),
    **dict.fromkeys((dtypes.int32, dtypes.uint32), (dtypes.int64,)),
    **dict.fromkeys((dtypes.float16, dtypes.bfloat16), (dtypes.float32,)),
}


class Value(NamedTuple):
    """A tensor of the graph."""

    name: str
    shape: Dims
    dtype: DType


class Operation(NamedTuple):
    """A node of the graph. ``attrs`` may hold Bodies."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Any]


class Body(NamedTuple):
    """A graph inside an operation. It may read what is outside it."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operations: list[Operation]


class Layer:
    """What is being appended to, and what can be read there: the graph itself, or a body in it."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.axes: dict[Unknown, tuple[str, int]] = {}  # where a dimension can be read off
        self.made: dict[Any, str] = {}  # sizes and shapes that there are already


class Graph:
    """What a Program is in ONNX, as far as it has been made.

    Attributes:
        opset: the version of ONNX's operators.
        symbols: the unknown dimensions of the inputs, with their names.
        arrays: the tensors whose values are known, by name: weights and constants.
        current: the row that is being exported, after which new tensors are called.
    """

    def __init__(self, opset: int, symbols: dict[Unknown, str]) -> None:
        self.opset, self.symbols = opset, symbols
        self.arrays: dict[str, np.ndarray] = {}
        self.dtypes: dict[str, DType] = {}
        self.current = "value"
        self._layers = [Layer()]
        self._taken: dict[str, int] = {}
        self._constants: dict[Any, str] = {}

    # -- tensors -------------------------------------------------------------------------------------------------------

    def fresh(self, base: str) -> str:
        """A name that nothing has yet."""
        name = re.sub(r"[^\w./:-]", "_", base)
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return self.fresh(f"{name}_{count}") if count else name

    def value(self, name: str, shape: Dims, dtype: DType) -> Value:
        """A tensor that there is under ``name``."""
        self.dtypes[name] = dtype
        for axis, d in enumerate(shape):
            if isinstance(d, Unknown) and not any(d in layer.axes for layer in self._layers):
                self._layers[-1].axes[d] = name, axis
        return Value(name, shape, dtype)

    def known(self, base: str, array: np.ndarray) -> str:
        """A weight, or another array under a name of its own."""
        name = self.fresh(base)
        self.arrays[name], self.dtypes[name] = array, array.dtype
        return name

    def constant(self, value: Any, dtype: DType = INT64) -> str:
        """A small array, the same one for equal values."""
        array = np.asarray(value, dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.known("constant", array)
        return self._constants[key]

    def array(self, x: Value | str) -> np.ndarray | None:
        """The values of a tensor, where they are known."""
        return self.arrays.get(self._name(x))

    def full(self, value: Any, shape: Dims, dtype: DType) -> str:
        """One number everywhere."""
        numbers = [d for d in shape if isinstance(d, int)]
        if 0 in numbers and len(numbers) == len(shape):
            return self.constant(np.zeros(numbers), dtype)
        return self.op("Expand", self.constant(value, dtype), self.shape(shape))

    # -- operations ----------------------------------------------------------------------------------------------------

    def op(self, kind: str, *inputs: Value | str, **attrs: Any) -> str:
        """Append an operation with one result, and return its name.

        Operands of a dtype that the operator does not take are cast to a wider one, and the result back. Raises
        ExportError if there is none.
        """
        names = [self._name(x) for x in inputs]
        schema = self._schema(kind)
        allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        formal = [schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(names))]
        result = schema.outputs[0].type_str
        narrow: dict[str, DType] = {}  # by the letter of ONNX's definition that stands for the dtype
        for letter in allowed:
            at = [i for i, f in enumerate(formal) if f == letter and names[i]]
            if at and type_string(own := self.dtypes[names[at[0]]]) not in allowed[letter]:
                wide = self._wider(kind, own, allowed[letter])
                narrow[letter] = own
                for i in at:
                    names[i] = self.cast(names[i], wide)
        out = self._append(kind, names, attrs)
        fixed = allowed.get(result, [result])
        self.dtypes[out] = BY_TYPE[fixed[0]] if len(fixed) == 1 else self.dtypes[names[formal.index(result)]]
        return self.cast(out, narrow[result]) if result in narrow else out

    def _schema(self, kind: str) -> Any:
        """ONNX's definition of an operator."""
        try:
            return onnx.defs.get_schema(kind, self.opset)
        except onnx.defs.SchemaError:
            raise ExportError(
                f"{self.current} cannot be exported: opset {self.opset} of ONNX has no {kind} yet.\n"
                "  Fix: a later opset, such as the default"
            ) from None

    def _wider(self, kind: str, dtype: DType, allowed: Sequence[str]) -> DType:
        wide = next((d for d in WIDER.get(dtype, ()) if type_string(d) in allowed), None)
        if wide is None:
            why, fix = f"ONNX's {kind} (opset {self.opset}) does not take it", "\n  Fix: hb.cast(x, 'float32')"
            if dtypes.is_complex(dtype):
                why, fix = NO_COMPLEX, ""
            raise ExportError(f"{self.current} of {dtype.name} cannot be exported: {why}.{fix}")
        return wide

    def several(self, kind: str, inputs: Sequence[Value | str], results: Sequence[DType], **attrs: Any) -> list[str]:
        """Append an operation with several results, of these dtypes."""
        names = [self._name(x) for x in inputs]
        outs = tuple(self.fresh(self.current) for _ in results)
        self._layers[-1].operations.append(Operation(kind, tuple(names), outs, attrs))
        self.dtypes.update(zip(outs, results, strict=True))
        return list(outs)

    def _append(self, kind: str, names: Sequence[str], attrs: dict[str, Any]) -> str:
        out = self.fresh(self.current)
        self._layers[-1].operations.append(Operation(kind, tuple(names), (out,), attrs))
        return out

    def cast(self, x: Value | str, dtype: DType, **attrs: Any) -> str:
        name = self._name(x)
        if self.dtypes[name] == dtype:
            return name
        out = self._append("Cast", [name], {"to": onnx.helper.np_dtype_to_tensor_dtype(dtype), **attrs})
        self.dtypes[out] = dtype
        return out

    def reshape(self, x: Value | str, shape: Dims) -> str:
        """``x`` in another shape; a view of a weight is a weight."""
        array, numbers = self.array(x), [d for d in shape if isinstance(d, int)]
        if array is not None and len(numbers) == len(shape):
            return self.known(f"{self._name(x)}.reshaped", array.reshape(numbers))
        from_x = x.shape if isinstance(x, Value) else ()
        # ONNX's notation: 0 keeps the dimension in this place, -1 is whatever is left.
        target = [0 if isinstance(d, Unknown) and from_x[i : i + 1] == (d,) else d for i, d in enumerate(shape)]
        left = [i for i, d in enumerate(target) if isinstance(d, Unknown)]
        if len(left) > 1:
            return self.op("Reshape", x, self.shape(shape))
        return self.op("Reshape", x, self.constant([-1 if i in left else d for i, d in enumerate(target)]))

    def transpose(self, x: Value | str, axes: Sequence[int]) -> str:
        """``x`` with its axes in another order; a view of a weight is a weight."""
        array = self.array(x)
        if list(axes) == sorted(axes):
            return self._name(x)
        if array is not None:
            return self.known(f"{self._name(x)}.transposed", array.transpose(axes))
        return self.op("Transpose", x, perm=list(axes))

    @staticmethod
    def _name(x: Value | str) -> str:
        return x if isinstance(x, str) else x.name

    # -- dimensions ----------------------------------------------------------------------------------------------------

    def size(self, d: Dim) -> str:
        """A dimension as int64[1]. Raises ExportError for one that can be read off nowhere."""
        if isinstance(d, int):
            return self.constant([d])
        for layer in reversed(self._layers):
            if d in layer.made:
                return layer.made[d]
        for layer in self._layers:
            if d in layer.axes:
                name, axis = layer.axes[d]
                out = self.op("Shape", name, start=axis, end=axis + 1)
                break
        else:
            out = self._computed(d)
        self._layers[-1].made[d] = out
        return out

    def _computed(self, d: Unknown) -> str:
        term = as_term(d, self.symbols)
        if term is None:
            names = ", ".join(self.symbols.values())
            raise ExportError(
                f"{self.current}: a dimension that is {d.first} in one trace and {d.second} in another cannot be "
                f"computed from {names}.\n  Fix: give these dimensions in the input signature"
            )
        out = self.size(term.symbols[0])
        for symbol in term.symbols[1:]:
            out = self.op("Mul", out, self.size(symbol))
        out = out if term.factor == 1 else self.op("Mul", out, self.constant([term.factor]))
        return out if term.offset == 0 else self.op("Add", out, self.constant([term.offset]))

    def shape(self, dims: Dims) -> str:
        """Dimensions as int64[n]."""
        if all(isinstance(d, int) for d in dims):
            return self.constant(dims)
        for layer in reversed(self._layers):
            if dims in layer.made:
                return layer.made[dims]
        parts = [self.size(d) for d in dims]
        out = parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)
        self._layers[-1].made[dims] = out
        return out

    # -- bodies --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def body(self) -> Iterator[Layer]:
        """What is appended inside goes into a body."""
        self._layers.append(Layer())
        try:
            yield self._layers[-1]
        finally:
            self._layers.pop()

    def close(self, layer: Layer, inputs: Sequence[Value], outputs: Sequence[Value]) -> Body:
        """The body that was made. Each of its results is computed in it, and once."""
        assert self._layers[-1] is layer
        own = {name for operation in layer.operations for name in operation.outputs}
        results: list[Value] = []
        for value in outputs:
            name = value.name
            if name not in own or any(name == r.name for r in results):
                name = self.op("Identity", name)
            results.append(value._replace(name=name))
        return Body(tuple(inputs), tuple(results), layer.operations)

    @property
    def operations(self) -> list[Operation]:
        return self._layers[0].operations

    def described(self, d: Dim) -> str | int | None:
        """A dimension as ONNX shows it: a number, a name, or None."""
        if isinstance(d, int):
            return d
        text = described(d, self.symbols)
        return None if text == "?" else text


def type_string(dtype: DType) -> str:
    """ONNX's word for a dtype, as its definitions of operators have it."""
    number = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return f"tensor({onnx.TensorProto.DataType.Name(number).lower()})"


BY_TYPE = {type_string(d): d for d in dtypes.ALL}
