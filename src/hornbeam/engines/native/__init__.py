"""The native engine: Programs become machine code through LLVM. ``pipeline`` is the page to start from.

Importing it raises EngineUnavailable where LLVM itself cannot be loaded.
"""

from __future__ import annotations

from hornbeam.engines.engine import EngineUnavailable

try:
    import llvmlite.binding
except (ImportError, OSError) as _error:  # not installed, or its library does not load here
    raise EngineUnavailable(f"LLVM cannot be loaded (llvmlite): {_error}") from _error
