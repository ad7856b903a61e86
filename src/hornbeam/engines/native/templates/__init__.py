"""Kernels for ``block`` rows, by the row's name. A node that a template does not take runs on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hornbeam.engines.native.fuse import Fusion
from hornbeam.engines.native.llvm import Module
from hornbeam.engines.native.loops import Kernel
from hornbeam.engines.native.target import Target
from hornbeam.engines.native.templates import control, conv, cumulative, depthwise, dot, index, pool, sort
from hornbeam.ir.node import Node


class Template(NamedTuple):
    """``emit(module, fusion, name, node, machine)`` makes kernels for nodes that ``takes``. A view among the arguments
    is copied first unless the template ``reads_through`` it. One that can go on with a loop over its result has it as
    the argument ``epilogue`` of ``emit``; ``columns`` are the result's last axes along which it has vectors, 0 if it
    can't."""

    emit: Callable[..., list[Kernel]]
    takes: Callable[[Node], bool] = lambda node: True
    reads_through: Callable[[Fusion, Node, Node], bool] = lambda fusion, node, view: False
    columns: Callable[[Node], int] = lambda node: 0


TEMPLATES: dict[str, Template] = {
    "call": Template(control.call),
    "scan": Template(control.scan),
    "switch": Template(control.switch),
    "while": Template(control.while_),
    "conv": Template(depthwise.conv, conv.takes),
    "conv_input_grad": Template(depthwise.conv_input_grad, conv.takes),
    "conv_kernel_grad": Template(depthwise.conv_kernel_grad, conv.takes),
    "dot": Template(dot.emit, dot.takes, dot.reads_through, dot.columns),
    "gather": Template(index.gather),
    "scatter": Template(index.scatter),
    "dynamic_slice": Template(index.dynamic_slice, lambda node: bool(node.shape)),
    "dynamic_update_slice": Template(index.dynamic_update_slice, lambda node: bool(node.shape)),
    "argmax": Template(index.extremum_position),
    "argmin": Template(index.extremum_position),
    "cumsum": Template(cumulative.emit),
    "cumprod": Template(cumulative.emit),
    "argsort": Template(sort.argsort),
    "pool_sum": Template(pool.reduce_windows),
    "pool_max": Template(pool.reduce_windows),
    "pool_spread": Template(pool.spread),
    "pool_pick": Template(pool.pick),
    "pool_unpick": Template(pool.unpick),
}
