"""placeholder"""
from contextvars import ContextVar
from typing import Any
_graph: ContextVar[Any] = ContextVar("hornbeam_graph", default=None)
def recording() -> Any:
    return _graph.get()
