"""``tf.compat.v1.summary``: operations that yield serialized summaries, and a writer of event files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hornbeam.ops import control
from hornbeam.runtime.function import TensorSpec
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow import events
from hornbeam.tensorflow.arrays import concat
from hornbeam.tensorflow.compat.v1.graphs import (
    GraphKeys,
    add_to_collections,
    get_collection,
    in_graph,
)
from hornbeam.tensorflow.names import absent

SIZE = 1 << 10  # room for one serialized summary: tensors have static shapes


class Summary(bytes):
    """A serialized Summary protocol buffer."""

    class Value:
        """One number of a summary, made in Python."""

        def __init__(self, tag: str, simple_value: float) -> None:
            self.serialized = events.scalar(tag, simple_value)

    def __new__(cls, data: bytes = b"", value: Sequence[Summary.Value] = ()) -> Summary:
        return super().__new__(cls, data + b"".join(v.serialized for v in value))


def _packed(data: bytes) -> np.ndarray:
    out = np.zeros(SIZE, np.uint8)
    out[:4] = np.frombuffer(len(data).to_bytes(4, "little"), np.uint8)
    out[4 : 4 + len(data)] = np.frombuffer(data, np.uint8)
    return out


def unpacked(array: np.ndarray) -> bytes:
    """The summaries in what fetching a summary operation gave."""
    rows = np.asarray(array, np.uint8).reshape(-1, SIZE)
    return b"".join(row[4 : 4 + int.from_bytes(row[:4].tobytes(), "little")].tobytes() for row in rows)


def _summary(kind: str, name: str, tensor: Any, make: Any, collections: Any) -> Any:
    graph = in_graph(f"tf.compat.v1.summary.{kind}()")
    tag = graph.unique_name(name)

    def fn(x: Any) -> Any:
        return control.callback(
            lambda array: (_packed(make(tag, np.asarray(array))),), [as_tensor(x)], [TensorSpec((SIZE,), "uint8")]
        )[0]

    out = graph.record(fn, (tensor,), {}, f"{name}/summary")
    add_to_collections(collections or [GraphKeys.SUMMARIES], out)
    return out


def scalar(name: str, tensor: Any, collections: Any = None, family: str | None = None) -> Any:
    """An operation that yields a summary with one number."""
    return _summary("scalar", name, tensor, lambda tag, array: events.scalar(tag, float(array)), collections)


def histogram(name: str, values: Any, collections: Any = None, family: str | None = None) -> Any:
    """An operation that yields a summary with a histogram."""
    return _summary("histogram", name, values, events.histogram, collections)


def merge(inputs: Sequence[Any], collections: Any = None, name: str | None = None) -> Any:
    """An operation that yields all of these summaries."""
    out = concat(list(inputs), 0, name=name or "merge_summary")
    if collections:
        add_to_collections(collections, out)
    return out


def merge_all(key: str = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None) -> Any:
    """An operation that yields all summaries of the graph; None without any."""
    found = get_collection(key, scope)
    return merge(found, name=name) if found else None


class FileWriter:
    """Writes summaries into a new event file in ``logdir``. The graph is not written."""

    def __init__(
        self, logdir: str, graph: Any = None, max_queue: int = 10, flush_secs: int = 120, graph_def: Any = None,
        filename_suffix: str | None = None, session: Any = None,
    ) -> None:  # fmt: skip
        self._file = events.EventFile(str(logdir), filename_suffix or "")
        self._logdir = str(logdir)

    def get_logdir(self) -> str:
        return self._logdir

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Write what running a summary operation gave, or a Summary."""
        data = summary if isinstance(summary, bytes) else unpacked(summary)
        self._file.add(0 if global_step is None else int(global_step), data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()


__getattr__ = absent(__name__, globals())
