"""``Tensor``: what users hold. Concrete (an array) or symbolic (a Node of a trace); one type, so modes mix freely."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from hornbeam.base import dtypes
from hornbeam.base.dtypes import DType
from hornbeam.base.spec import PartialShape, Shape, Spec
from hornbeam.errors import DTypeError, ShapeError, TracingError, explain
from hornbeam.ir.bind import constant
from hornbeam.ir.node import Node, make, topological
from hornbeam.ir.operators import Operators, operand_dtype
from hornbeam.ir.primitives.movement import CONCAT, CONSTANT, Literal
from hornbeam.ir.program import Program, evaluate


class Tensor(Operators):
    """An immutable n-dimensional array.

    A concrete tensor holds a read-only NumPy array in the session's memory. A symbolic one, met while a function is
    traced, stands for a value of a later run: it has a shape and dtype but no numbers.
    """

    def __init__(self, array: np.ndarray | None, node: Node | None = None, trace: Any = None) -> None:
        self._array = array
        self._node = node
        self.trace = trace
        value: Any = node.spec if array is None and node is not None else array
        self.shape: Shape = value.shape
        self.dtype: DType = value.dtype

    @property
    def spec(self) -> Spec:
        return Spec(self.shape, self.dtype)

    def get_shape(self) -> PartialShape:
        """The shape, as graph tensors have it."""
        return PartialShape(self.shape)

    @property
    def is_symbolic(self) -> bool:
        return self._array is None

    @property
    def node(self) -> Node:
        """The Node of a symbolic tensor; a concrete one as a constant."""
        if self._node is None:
            self._node = make(CONSTANT, (), {"value": Literal(self.array)})
        return self._node

    @property
    def array(self) -> np.ndarray:
        """The read-only array of a concrete tensor. Raises TracingError for one that depends on what a run is given."""
        if self._array is None:
            if self._node is not None and is_static(self):
                return evaluate(Program([], [self._node]), [])[0]
            raise TracingError(
                explain(
                    f"a symbolic {self.spec} has no value yet: it belongs to a function that is being traced.",
                    why="Python asked for its number (float(), bool(), .numpy(), if, np.asarray …) while tracing.",
                    fix="keep it a tensor: hb.cond(x > 0, f, g) for if, hb.while_loop for while; or return it",
                )
            )
        return self._array

    def numpy(self) -> np.ndarray:
        """A copy as a NumPy array; changing it changes nothing here. Raises TracingError while tracing."""
        return np.array(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.array if dtype is None else self.array.astype(dtype, copy=False)
        return np.array(array) if copy else array

    def __dlpack__(self, **options: Any) -> Any:
        if options.get("copy") is False:
            raise BufferError("a tensor is immutable, which not every consumer of DLPack respects; ask for copy=None.")
        return np.array(self.array).__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        return self.array.item()

    def tolist(self) -> Any:
        return self.array.tolist()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d tensor has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("a 0-d tensor cannot be iterated over.")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> bool:
        return bool(static_value(self))

    def __int__(self) -> int:
        return int(static_value(self).item())

    def __float__(self) -> float:
        return float(static_value(self).item())

    def __complex__(self) -> complex:
        return complex(static_value(self).item())

    def __index__(self) -> int:
        return operator.index(static_value(self)[()])

    def __contains__(self, x: Any) -> bool:
        return bool((self.array == x).any())

    def __format__(self, spec: str) -> str:
        if self.shape or (self.is_symbolic and not spec):
            return object.__format__(self, spec)
        return format(self.array[()], spec)

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self  # immutable

    def __reduce__(self) -> Any:
        return concrete, (self.array,)

    def __repr__(self) -> str:
        if self.is_symbolic:
            return f"<symbolic tensor {self.spec}>"
        text = np.array2string(self.array, separator=", ", threshold=100, prefix="tensor(")
        return f"tensor({text}, {self.dtype.name}, shape={self.shape})"


def is_tensor(x: Any) -> bool:
    """Whether operators work on ``x``: a Tensor, a Variable, or a tensor of a graph."""
    return isinstance(x, Operators)


def concrete(array: Any) -> Tensor:
    """A Tensor owning ``array``, which becomes read-only."""
    if array.flags.writeable:
        array.flags.writeable = False
    return Tensor(array)


def from_dlpack(x: Any) -> Tensor:
    """A tensor with a copy of what ``x`` exports by DLPack (an array of PyTorch, JAX, CuPy on the host …).

    Raises DTypeError for a dtype that is not one of ours, BufferError for memory that NumPy cannot reach.
    """
    return constant(as_array(np.from_dlpack(x)))


def static_value(x: Any) -> np.ndarray:
    """The value of ``x``, also while tracing if it depends on constants only (shapes and what is computed from them).

    Raises TracingError if it depends on an input or on state.
    """
    return x.array if isinstance(x, Tensor) else np.asarray(x)


def is_static(x: Tensor) -> bool:
    """Whether a symbolic tensor depends on constants only."""
    return not any(n.primitive.reference is None or n.primitive.effect for n in topological([x.node]))


def as_tensor(x: Any, dtype: Any = None) -> Any:
    """``x`` as a tensor: the same object if nothing changes, a copy of arrays, the current value of a variable.

    Lists of numbers and of tensors are stacked. Without ``dtype``: Python int is int32, float is float32, arrays keep
    theirs. Raises DTypeError for what no dtype can hold, and for Python ints that ``dtype`` cannot.
    """
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    if isinstance(x, Operators):
        x = x.as_operand()
        return x if wanted is None or x.dtype == wanted else x.astype(wanted)
    variable = getattr(x, "__hornbeam_variable__", None)
    if variable is not None:
        return as_tensor(variable, dtype)
    if isinstance(x, (list, tuple)) and _holds_tensors(x):
        return _stack(x, dtype)
    return constant(as_array(x, wanted))


def cast_exactly(array: np.ndarray, dtype: DType) -> np.ndarray | None:
    """``array`` as ``dtype``; None if numbers would change. Floats may be rounded, but keep fraction and size."""
    if dtypes.is_complex(array.dtype) and not dtypes.is_complex(dtype):
        return None if array.imag.any() else cast_exactly(array.real, dtype)
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
        if dtypes.is_inexact(dtype):
            return None if bool((np.isinf(cast) & np.isfinite(array)).any()) else cast
        return cast if np.array_equal(cast.astype(array.dtype), array) else None


def _holds_tensors(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return any(_holds_tensors(e) for e in x)
    return isinstance(x, Operators) or hasattr(x, "__hornbeam_variable__")


def _stack(parts: Any, dtype: Any) -> Any:
    """A list with tensors in it: dtypes meet, Python numbers among them being weak, and shapes must be one."""
    if dtype is None:
        dtype = operand_dtype(*(p if isinstance(p, (bool, int, float, complex)) else as_tensor(p) for p in parts))
    rows = [as_tensor(p, dtype) for p in parts]
    if len({r.shape for r in rows}) > 1:
        raise ShapeError(
            explain(
                f"a list of tensors of shapes {', '.join(str(r.shape) for r in rows)} is not a tensor.",
                why="What is stacked must have one shape.",
                fix="hb.concatenate(list, axis=0)   # joins along an axis that may differ",
            )
        )
    return CONCAT(*(r.reshape((1, *r.shape)) for r in rows), axis=0)


def as_array(x: Any, dtype: DType | None = None) -> np.ndarray:
    """A new array of ``x``, with the dtypes of ``as_tensor``."""
    if isinstance(x, np.ndarray):
        return np.array(x, dtype=dtype or dtypes.as_dtype(x.dtype))
    typed = hasattr(x, "dtype") or (isinstance(x, (list, tuple)) and any(hasattr(e, "dtype") for e in x))
    try:
        array = np.array(x)
    except (ValueError, TypeError) as error:
        raise DTypeError(f"{type(x).__name__} cannot become a tensor: {error}") from None
    if array.dtype.kind not in "biufcV":
        raise DTypeError(f"{x!r:.80} cannot become a tensor: its elements are {array.dtype}.")
    if dtype is None and not typed:
        narrow = {"int64": dtypes.int32, "float64": dtypes.float32, "complex128": dtypes.complex64}
        dtype = narrow.get(array.dtype.name)
        if dtype == dtypes.int32 and array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
            dtype = dtypes.int64
    if dtype is not None and dtypes.is_integer(dtype) and array.dtype.kind in "iu" and array.size:
        info = np.iinfo(dtype)
        if not typed and not info.min <= int(array.min()) <= int(array.max()) <= info.max:
            raise DTypeError(f"{x!r:.80} does not fit in {dtype.name} ({info.min} … {info.max}).")
    return array.astype(dtype or dtypes.as_dtype(array.dtype), copy=False)
