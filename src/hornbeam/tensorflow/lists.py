"""``tf.TensorArray``: a list of tensors, for Python loops."""

from __future__ import annotations

from typing import Any

from hornbeam.errors import InvalidArgumentError, explain
from hornbeam.ops import array as arrays
from hornbeam.tensorflow.arrays import convert_to_tensor, unstack
from hornbeam.tensorflow.names import ints


class TensorArray:
    """A list of tensors. ``write`` returns the list, as in TensorFlow; loops over it are Python's.

    Args:
        size: how many elements there are to begin with.
        dynamic_size: whether writing beyond the end makes it longer.
    """

    def __init__(
        self, dtype: Any, size: Any = 0, dynamic_size: bool = False, clear_after_read: bool | None = None,
        tensor_array_name: str | None = None, handle: Any = None, flow: Any = None, infer_shape: bool = True,
        element_shape: Any = None, colocate_with_first_write_call: bool = True, name: str | None = None,
    ) -> None:  # fmt: skip
        self.dtype = dtype
        self.element_shape = element_shape
        self.dynamic_size = bool(dynamic_size)
        self._items: list[Any] = [None] * ints(size)[0]

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """Put ``value`` at ``index``. Raises InvalidArgumentError beyond the end if the size is not dynamic."""
        (i,) = ints(index)
        if not 0 <= i < len(self._items) and not (self.dynamic_size and i >= 0):
            raise InvalidArgumentError(
                explain(f"TensorArray has {len(self._items)} elements; {i} is not among them.", fix="dynamic_size=True")
            )
        self._items += [None] * (i + 1 - len(self._items))
        self._items[i] = convert_to_tensor(value, self.dtype)
        return self

    def read(self, index: Any, name: str | None = None) -> Any:
        """The element at ``index``. Raises InvalidArgumentError if nothing was written there."""
        (i,) = ints(index)
        if not 0 <= i < len(self._items) or self._items[i] is None:
            raise InvalidArgumentError(explain(f"TensorArray: nothing was written at {i}."))
        return self._items[i]

    def stack(self, name: str | None = None) -> Any:
        """All elements along a new first axis."""
        return arrays.stack([self.read(i) for i in range(len(self._items))], axis=0)

    def concat(self, name: str | None = None) -> Any:
        """All elements joined along their first axis."""
        return arrays.concat([self.read(i) for i in range(len(self._items))], axis=0)

    def gather(self, indices: Any, name: str | None = None) -> Any:
        """The elements at ``indices`` along a new first axis."""
        return arrays.stack([self.read(i) for i in ints(indices)], axis=0)

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """Take the slices along the first axis of ``value`` as the elements."""
        self._items = list(unstack(value))
        return self

    def size(self, name: str | None = None) -> Any:
        """How many elements there are."""
        return convert_to_tensor(len(self._items))

    def __len__(self) -> int:
        return len(self._items)
