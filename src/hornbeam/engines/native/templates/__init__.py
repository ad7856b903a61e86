"""Kernels for ``block`` rows: ``(module, fusion, name, node, machine) -> Kernel``, by the row's name."""

from __future__ import annotations

from collections.abc import Callable

TEMPLATES: dict[str, Callable] = {}
