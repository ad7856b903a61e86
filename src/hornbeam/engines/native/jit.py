"""LLVM IR text becomes object code, and object code becomes addresses.

    code = compile(text, target)          # bytes: what a cache keeps
    kernel = load(code, ["f"])            # Code; kernel["f"] is an address as long as ``kernel`` lives

Loops are emitted as vectors already, so LLVM's own vectorisers are off: they cost time and could change the order of
a reduction. Every call into llvmlite takes one process-wide lock, so compiling in threads gains nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from hornbeam.engines.native.target import NoTarget, Target, host

OPTIMIZE = 0  # of 0..3. What is emitted is in SSA form already: the passes took three quarters of the time for nothing


class Code:
    """Object code in memory, callable until the last reference goes."""

    __slots__ = ("__weakref__", "_tracker", "nbytes")

    def __init__(self, tracker: Any, nbytes: int) -> None:
        self._tracker, self.nbytes = tracker, nbytes

    def __getitem__(self, symbol: str) -> int:
        """The address of an exported symbol."""
        return self._tracker[symbol]


def compile(text: str, target: Target | None = None, level: int = OPTIMIZE) -> bytes:
    """Object code for a module. Raises RuntimeError for IR that LLVM refuses: a mistake of the emitter.

    ``level`` is that of the IR passes. The code generator always runs at its second level.
    """
    module = _optimized(text, target or host(), level)
    return _machine(target or host()).emit_object(module)


def assembly(text: str, target: Target | None = None, level: int = OPTIMIZE) -> str:
    """The same module as assembly, to read."""
    return _machine(target or host()).emit_assembly(_optimized(text, target or host(), level))


def optimized(text: str, target: Target | None = None, level: int = OPTIMIZE) -> str:
    """The same module as LLVM IR after the passes, to read."""
    return str(_optimized(text, target or host(), level))


def load(code: bytes, symbols: Iterable[str], imports: Mapping[str, int] | None = None) -> Code:
    """Object code linked into this process, whose symbols (libc, pthread) it may use, and those of ``imports``.

    Raises RuntimeError for bytes that are not object code or lack a symbol.
    """
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
    for symbol in symbols:
        builder.export_symbol(symbol)
    for symbol, address in (imports or {}).items():
        builder.import_symbol(symbol, address)
    return Code(_linker.link(builder), len(code))


def _optimized(text: str, target: Target, level: int) -> Any:
    # In a context of its own, which goes with it: LLVM keeps every type and constant that a context has seen.
    module = llvm.parse_assembly(text, llvm.create_context())
    module.triple = target.triple
    module.data_layout = str(_machine(target).target_data)
    module.verify()
    if level:
        _run_passes(module, _machine(target), level)
    return module


def _run_passes(module: Any, machine: Any, level: int) -> None:
    options = llvm.create_pipeline_tuning_options(level)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = False
    options.loop_unrolling = False
    with options, llvm.create_pass_builder(machine, options) as builder:  # a builder and its passes serve once
        passes = builder.getModulePassManager()
        passes.run(module, builder)
        # NOTE: llvmlite's own close() of a pass manager finds an empty _dispose first and leaks 50 kB.
        NewPassManager._dispose(passes)
        passes.detach()


@cache
def _machine_of(triple: str, cpu: str, features: str) -> Any:
    host()  # initialises LLVM
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small", jit=True
    )


def _machine(target: Target) -> Any:
    return _machine_of(target.triple, target.cpu, target.features)


class _Linker:
    """The LLJIT that new code goes into, replaced after ``FULL`` libraries: a library leaves 9 kB in its LLJIT even
    after it is dropped. An LLJIT lives as long as code in it does.

    NOTE: JITLink, not RuntimeDyld: it puts all sections of an object next to each other (so the small code model is
    safe however full the address space), checks every relocation, and gives pages back when code is dropped.
    """

    FULL = 64

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.jit: Any = None
        self.libraries = 0

    def link(self, builder: Any) -> Any:
        with self.lock:
            if self.jit is None or self.libraries >= self.FULL:
                try:
                    self.jit = llvm.create_lljit_compiler(_machine(host()), use_jit_link=True)
                except RuntimeError as error:
                    raise NoTarget(f"LLVM cannot load code into this process: {error}") from None
                self.libraries = 0
            self.libraries += 1
            return builder.link(self.jit, f"hornbeam{self.libraries}")


_linker = _Linker()
