"""``tf.summary``: numbers and histograms for TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from hornbeam.errors import InvalidArgumentError, explain
from hornbeam.runtime.tensor import as_tensor
from hornbeam.tensorflow import events
from hornbeam.tensorflow.effects import effect
from hornbeam.tensorflow.names import absent

_writer: ContextVar[SummaryWriter | None] = ContextVar("hornbeam_summary_writer", default=None)


_condition: ContextVar[Any] = ContextVar("hornbeam_summary_condition", default=True)


class SummaryWriter:
    """Writes summaries into an event file; made by ``create_file_writer``."""

    def __init__(self, logdir: str, filename_suffix: str = "") -> None:
        self._file = events.EventFile(logdir, filename_suffix)

    @contextlib.contextmanager
    def as_default(self, step: Any = None) -> Iterator[SummaryWriter]:
        """Within the block summaries are written here, with ``step`` if they give none."""
        token, before = _writer.set(self), experimental.get_step()
        if step is not None:
            experimental.set_step(step)
        try:
            yield self
        finally:
            _writer.reset(token)
            experimental.set_step(before)
            self.flush()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def create_file_writer(
    logdir: str,
    max_queue: int | None = None,
    flush_millis: int | None = None,
    filename_suffix: str | None = None,
    name: Any = None,
) -> SummaryWriter:
    """A writer into a new event file in ``logdir``."""
    return SummaryWriter(str(logdir), filename_suffix or "")


_step: ContextVar[Any] = ContextVar("hornbeam_summary_step", default=None)


class experimental:
    """``tf.summary.experimental``."""

    @staticmethod
    def get_step() -> Any:
        return _step.get()

    @staticmethod
    def set_step(step: Any) -> None:
        """The step of summaries that give none."""
        _step.set(step)

    @staticmethod
    @contextlib.contextmanager
    def summary_scope(name: str, default_name: str = "summary", values: Any = None) -> Iterator[tuple[str, str]]:
        """The tag for ``name``, and the scope."""
        yield name or default_name, f"{name or default_name}/"


def _write(make: Any, data: Any, step: Any) -> bool:
    writer = _writer.get()
    if writer is None or not should_record_summaries():
        return False
    step = _step.get() if step is None else step
    if step is None:
        raise InvalidArgumentError(explain("a summary needs a step.", fix="tf.summary.scalar(name, value, step=epoch)"))
    effect(lambda at, array: writer._file.add(int(at), make(array)), [as_tensor(step), as_tensor(data)])
    return True


def scalar(name: str, data: Any, step: Any = None, description: str | None = None) -> bool:
    """Write a number under ``name``; False if no writer is current."""
    return _write(lambda array: events.scalar(name, float(array)), data, step)


def histogram(
    name: str, data: Any, step: Any = None, buckets: int | None = None, description: str | None = None
) -> bool:
    """Write a histogram under ``name``; False if no writer is current."""
    return _write(lambda array: events.histogram(name, np.asarray(array), buckets or 30), data, step)


def image(name: str, data: Any, step: Any = None, max_outputs: int = 3, description: str | None = None) -> bool:
    """Write the first pictures of a batch under ``name``; False if no writer is current."""

    def make(array: np.ndarray) -> bytes:
        count = min(len(array), max_outputs)
        tags = [name] if count == 1 else [f"{name}/{i}" for i in range(count)]
        return b"".join(events.image(tag, pixels) for tag, pixels in zip(tags, array))

    return _write(make, data, step)


def write(
    tag: str, tensor: str | bytes, step: Any = None, metadata: SummaryMetadata | None = None, name: Any = None
) -> bool:
    """Write a string for the plugin of TensorBoard's that ``metadata`` names; False if no writer is current."""
    plugin = (metadata or SummaryMetadata()).plugin_data
    data = tensor if isinstance(tensor, bytes) else str(tensor).encode()
    return _write(lambda _: events.string(tag, data, plugin.plugin_name, plugin.content), 0, step)


class SummaryMetadata:
    """Which of TensorBoard's plugins a summary is for."""

    class PluginData:
        plugin_name = ""
        content = b""

    def __init__(self) -> None:
        self.plugin_data = SummaryMetadata.PluginData()


@contextlib.contextmanager
def record_if(condition: Any) -> Iterator[None]:
    """Within the block summaries are written if ``condition`` holds, a bool or a function that returns one."""
    token = _condition.set(condition)
    try:
        yield
    finally:
        _condition.reset(token)


def should_record_summaries() -> bool:
    """Whether summaries are written here."""
    condition = _condition.get()
    return _writer.get() is not None and bool(condition() if callable(condition) else condition)


def text(name: str, data: str, step: Any = None, description: str | None = None) -> bool:
    """Write text under ``name``; False if no writer is current."""
    return _write(lambda _: events.text(name, str(data)), 0, step)


def flush(writer: SummaryWriter | None = None, name: str | None = None) -> None:
    """Write what is still in memory to the file."""
    found = writer or _writer.get()
    if found is not None:
        found.flush()


__getattr__ = absent(__name__, globals())
