"""The batches of ``fit``, ``evaluate`` and ``predict``: one at a time, or those of many steps as rows of arrays.

Where the data are arrays and nobody looks at single batches, a whole stretch of an epoch is one native call. How long a
stretch is follows from how long the last one took, so that the progress bar moves and Ctrl-C is heard.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from keras.src import callbacks as callbacks_module
from keras.src import tree
from keras.src.backend.config import floatx
from keras.src.callbacks.callback_list import CallbackList
from keras.src.trainers.data_adapters import array_slicing, data_adapter_utils
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.epoch_iterator import EpochIterator
from keras.src.utils.python_utils import is_default

from hornbeam.runtime.rows import each
from hornbeam.runtime.tensor import Tensor
from keras_hornbeam.src.ops.core import convert_to_tensor

STRETCH = 0.05  # seconds between two looks at the progress bar; Keras draws it as often
GROWTH = 16  # a stretch is at most so much longer than the one before: the first has compiled, too
COPY = 1 << 28  # bytes of an array, not dense, that may be copied for being gathered from


class Rows(Sequence):
    """Batches that are rows of arrays. As a sequence: the batches themselves."""

    def __init__(self, data: Any, rows: np.ndarray | range) -> None:
        self.data, self.rows = data, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return Rows(self.data, self.rows[i])
        return self._batch(list(each(self.rows))[i])

    def __iter__(self) -> Iterator[Any]:
        return map(self._batch, each(self.rows))

    def _batch(self, some: Any) -> Any:
        return tree.map_structure(lambda a: None if a is None else a[some], self.data)


class Epochs(EpochIterator):
    """Keras's iterator over epochs, that can also give ``Rows``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pace = 1  # steps of the next stretch

    def executions(self, in_rows: bool, watched: bool) -> Iterator[tuple[int, int, Sequence[Any]]]:
        """(first step, last step, batches) of one epoch.

        Args:
            in_rows: whether batches may come as ``Rows``.
            watched: whether somebody wants to be called after every ``steps_per_execution`` steps.
        """
        data = self._arrays() if in_rows else None
        if data is None:
            yield from self
            return
        adapter = self.data_adapter
        adapter.on_epoch_begin()
        full, rest = _rows_of(adapter)
        step, steps = 0, len(full) + len(rest)
        while step < steps:
            take = self.steps_per_execution if watched else self._pace
            chosen = full[step : step + take]
            last = step + (take if watched else max(len(chosen), 1)) - 1
            batches: Sequence[Any] = Rows(data, chosen if len(chosen) else rest)
            if watched and len(chosen) and step + take > len(full) and len(rest):
                batches = [*batches, *Rows(data, rest)]
            begun = time.perf_counter()
            yield step, last, batches
            if not watched and len(chosen) == take:
                self._pace = _next_pace(take, time.perf_counter() - begun)
            step += len(batches)
        adapter.on_epoch_end()

    def _arrays(self) -> Any:
        """The data as arrays that native code can take rows of; None if they are something else, or come otherwise."""
        adapter = self.data_adapter
        if type(adapter) is not ArrayDataAdapter or adapter._num_data_shards > 1:
            return None
        if self.steps_per_epoch or not adapter.num_batches:
            return None
        sliceables = array_slicing.convert_to_sliceable(adapter._inputs, target_backend="numpy")
        arrays = tree.map_structure(_array, sliceables)
        return None if any(a is False for a in tree.flatten(arrays)) else arrays


def _array(sliceable: Any) -> Any:
    """The dense array in it, of a dtype that batches of it keep; False if there is none, None for None."""
    if sliceable is None:
        return None
    array: Any = getattr(sliceable, "array", None)
    if isinstance(array, Tensor):
        return array.array
    if type(sliceable) is not array_slicing.NumpySliceable or type(array) not in (np.ndarray, np.memmap):
        return False
    if array.dtype.kind not in "biufcV" or not array.ndim or not array.dtype.isnative:
        return False
    if convert_to_tensor(array[:1]).dtype != array.dtype:
        return False
    if array.flags.c_contiguous:
        return array
    return np.ascontiguousarray(array) if array.nbytes <= COPY else False


def one_batch(x: Any, batch_size: int | None) -> Any:
    """What the only batch of ``predict`` is, if ``x`` are arrays that fit in one as they are; else None."""
    leaves = [x] if type(x) is np.ndarray else tree.flatten(x)
    most = batch_size or 32
    for a in leaves:
        if type(a) is not np.ndarray or a.dtype not in _KEPT or not a.ndim or not 0 < len(a) <= most:
            return None
        if a.dtype == np.float32 and floatx() != "float32":
            return None
    if len({len(a) for a in leaves}) != 1:
        return None
    return data_adapter_utils.pack_x_y_sample_weight(x)


_KEPT = frozenset(map(np.dtype, ("float32", "int8", "int16", "int32", "int64", "uint8", "bool")))


def _rows_of(adapter: ArrayDataAdapter) -> tuple[np.ndarray | range, np.ndarray | range]:
    """Rows of the full batches of the epoch that begins, and of the partial one, as the adapter orders them."""
    order = list(adapter._get_iterator(lambda _, indices: indices, 0))
    partial = adapter.partial_batch_size
    full, rest = (order[:-1], order[-1:]) if partial else (order, [])
    if not isinstance(order[0], slice):
        return np.array(full, np.int64), np.array(rest, np.int64)
    start = rest[0].start if rest else 0
    return range(0, len(full) * adapter.batch_size, adapter.batch_size), range(start, start + len(rest), partial or 1)


def _next_pace(steps: int, seconds: float) -> int:
    return int(min(max(steps * STRETCH / max(seconds, 1e-9), 1), steps * GROWTH))


def watches_batches(callbacks: CallbackList, mode: str) -> bool:
    """Whether a callback wants to see every batch of ``mode`` (train, test or predict)."""
    hooks = [f"on_{mode}_batch_begin", f"on_{mode}_batch_end"]
    hooks += ["on_batch_begin", "on_batch_end"] if mode == "train" else []
    if type(callbacks) is not CallbackList:
        return True
    return any(
        not is_default(getattr(callback, hook)) for callback in callbacks.callbacks for hook in hooks
        if not _indifferent(callback)
    )  # fmt: skip


def _indifferent(callback: Any) -> bool:
    """Whether a callback of Keras's has hooks for batches, but does as well with fewer calls."""
    if type(callback) in (callbacks_module.ModelCheckpoint, callbacks_module.BackupAndRestore):
        return callback.save_freq == "epoch"
    return type(callback) is callbacks_module.ProgbarLogger
