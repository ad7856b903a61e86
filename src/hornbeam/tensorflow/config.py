"""``tf.config``: devices, threads, and whether functions are traced.

TensorFlow's threads belong to the process and are fixed once an operation ran. Here they belong to the session, so the
setters change the current session, at any time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hornbeam.runtime import session as sessions
from hornbeam.tensorflow.names import absent


class PhysicalDevice(NamedTuple):
    """A device of this machine that an engine computes on."""

    name: str
    device_type: str


class LogicalDevice(NamedTuple):
    """A device as operations see it."""

    name: str
    device_type: str


_CPU = PhysicalDevice("/physical_device:CPU:0", "CPU")


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The CPU; a GPU needs another engine."""
    return [_CPU] if device_type in (None, "CPU") else []


def list_logical_devices(device_type: str | None = None) -> list[LogicalDevice]:
    """The CPU as operations see it."""
    return [LogicalDevice("/device:CPU:0", "CPU")] if device_type in (None, "CPU") else []


get_visible_devices = list_physical_devices


def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
    """Raises ValueError for anything but the devices there are: none can be hidden."""
    wanted = devices if isinstance(devices, (list, tuple)) else [devices]
    if list(wanted) != list_physical_devices(device_type):
        raise ValueError(
            f"set_visible_devices: the devices are {list_physical_devices(device_type)}, and none can be hidden."
        )


def run_functions_eagerly(run_eagerly: bool) -> None:
    """Whether ``tf.function`` runs the Python function itself, to look into it with a debugger."""
    from hornbeam.tensorflow import functions  # above this module

    functions.EAGERLY[:] = [bool(run_eagerly)]


def functions_run_eagerly() -> bool:
    """Whether ``tf.function`` runs the Python function itself."""
    from hornbeam.tensorflow import functions  # above this module

    return functions.EAGERLY[0]


class threading:
    """``tf.config.threading``, of the current session."""

    @staticmethod
    def get_intra_op_parallelism_threads() -> int:
        """How many threads one computation may use; 0 leaves it to the engine."""
        return sessions.current().options.threads or 0

    @staticmethod
    def set_intra_op_parallelism_threads(num_threads: int) -> None:
        """Let the current session's computations use so many threads; 0 leaves it to the engine."""
        sessions.current().set_threads(num_threads or None)

    @staticmethod
    def get_inter_op_parallelism_threads() -> int:
        """1: the operations of a program run one after the other, each on all threads."""
        return 1

    @staticmethod
    def set_inter_op_parallelism_threads(num_threads: int) -> None:
        """Any limit is kept: the operations of a program run one after the other."""


class experimental:
    """``tf.config.experimental``."""

    list_physical_devices = staticmethod(list_physical_devices)
    list_logical_devices = staticmethod(list_logical_devices)

    @staticmethod
    def set_memory_growth(device: Any, enable: bool) -> None:
        """Memory is taken as it is needed, always. Raises ValueError for ``enable=False``."""
        if not enable:
            raise ValueError("set_memory_growth: memory is taken as it is needed; it cannot be taken all at once.")

    @staticmethod
    def enable_op_determinism() -> None:
        """Nothing to enable: the same seed and inputs give the same bits here."""


__getattr__ = absent(__name__, globals())
