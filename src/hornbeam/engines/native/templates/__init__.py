"""Kernels for ``block`` rows, by the row's name. A node that a template does not take runs on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import HALF, Module
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates import index
from hornbeam.ir.node import Node


class Template(NamedTuple):
    """``emit(module, fusion, name, node, machine)`` makes the kernel for nodes that ``takes``."""

    emit: Callable[[Module, Fusion, str, Node, Target], Kernel]
    takes: Callable[[Node], bool] = lambda node: True


def _scatters(node: Node) -> bool:
    # Half precision is added up in float32 and rounded once, which needs a wider copy.
    mode = dict(node.attrs)["mode"]
    return mode in ("set", "max", "min") or (node.dtype not in HALF and node.dtype.kind != "b")


TEMPLATES: dict[str, Template] = {
    "gather": Template(index.gather),
    "scatter": Template(index.scatter, _scatters),
    "dynamic_slice": Template(index.dynamic_slice, lambda node: bool(node.shape)),
    "dynamic_update_slice": Template(index.dynamic_update_slice, lambda node: bool(node.shape)),
    "argmax": Template(index.extremum_position),
    "argmin": Template(index.extremum_position),
    "random_bits": Template(index.random_bits),
}
