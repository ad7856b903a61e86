"""``ConfigProto`` and its parts. A field either sets a policy, or asks for what is so anyway, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.errors import InvalidArgumentError, explain

Check = Callable[[Any], bool]

# What may be asked of a field. Nothing is ignored: either every value comes true here, or only some do.
ANY: Check = lambda value: True
NOT = lambda *refused: lambda value: value not in refused
ONLY = lambda *allowed: lambda value: value in allowed


class Message:
    """A bundle of fields with defaults. Raises AttributeError for a field that there is not."""

    FIELDS: dict[str, tuple[Any, Check]] = {}

    def __init__(self, **fields: Any) -> None:
        for name, (default, _) in self.FIELDS.items():
            object.__setattr__(self, name, default() if isinstance(default, type) else default)
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FIELDS:
            raise AttributeError(
                explain(f"{type(self).__name__} has no field {name!r} here. Fields: {', '.join(self.FIELDS)}."),
                name=name,
            )
        default, allowed = self.FIELDS[name]
        if not allowed(value) and value != default:
            raise InvalidArgumentError(explain(f"{type(self).__name__}.{name}={value!r} cannot be had here."))
        object.__setattr__(self, name, value)

    def CopyFrom(self, other: Message) -> None:
        """Take over all fields."""
        for name in self.FIELDS:
            setattr(self, name, getattr(other, name))

    MergeFrom = CopyFrom

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={getattr(self, n)!r}" for n, (d, _) in self.FIELDS.items() if getattr(self, n) != d)
        return f"{type(self).__name__}({shown})"


class GPUOptions(Message):
    """Memory of graphics cards: there is none to share on a CPU, so any wish about it is kept."""

    FIELDS = {
        "allow_growth": (False, ANY), "per_process_gpu_memory_fraction": (0.0, ANY), "visible_device_list": ("", ANY),
        "allocator_type": ("", ANY), "deferred_deletion_bytes": (0, ANY), "force_gpu_compatible": (False, ANY),
    }  # fmt: skip


class OptimizerOptions(Message):
    """How programs are compiled: they always are, wholly."""

    L0, L1 = -1, 0
    DEFAULT, OFF, ON_1, ON_2 = 0, -1, 1, 2
    FIELDS = {
        "opt_level": (0, NOT(-1)), "global_jit_level": (0, NOT(-1)),
        "do_common_subexpression_elimination": (True, NOT(False)),
        "do_constant_folding": (True, NOT(False)), "do_function_inlining": (True, NOT(False)),
    }  # fmt: skip


class GraphOptions(Message):
    """How graphs are compiled."""

    FIELDS = {"optimizer_options": (OptimizerOptions, ANY), "infer_shapes": (True, NOT(False))}


class ConfigProto(Message):
    """What a session may use.

    ``intra_op_parallelism_threads`` is the number of threads of the session. The operations of a program run one after
    the other, which is within any ``inter_op_parallelism_threads``; everything is placed on the CPU, as
    ``allow_soft_placement`` allows. ``log_device_placement`` says so when the session is opened.
    """

    intra_op_parallelism_threads: int
    log_device_placement: bool

    FIELDS = {
        "intra_op_parallelism_threads": (0, lambda n: isinstance(n, int) and n >= 0),
        "inter_op_parallelism_threads": (0, ANY), "use_per_session_threads": (True, ANY),
        "allow_soft_placement": (True, ANY), "log_device_placement": (False, ANY),
        "device_count": (dict, lambda d: d.get("CPU", 1) == 1), "gpu_options": (GPUOptions, ANY),
        "graph_options": (GraphOptions, ANY), "isolate_session_state": (True, ANY),
    }  # fmt: skip


class RunOptions(Message):
    """Options of one run."""

    NO_TRACE, SOFTWARE_TRACE, HARDWARE_TRACE, FULL_TRACE = range(4)
    FIELDS = {
        "trace_level": (0, ONLY(0)),
        "timeout_in_ms": (0, ONLY(0)),
        "report_tensor_allocations_upon_oom": (False, ANY),
    }
