"""What code is made for: the CPU, its vector width, its caches. Everything a template asks about the machine."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, replace
from functools import cache

import llvmlite.binding as llvm

from hornbeam.engines.engine import EngineUnavailable


class NoTarget(EngineUnavailable):
    """LLVM cannot make code for this machine, or none that may run in this process."""


@dataclass(frozen=True)
class Target:
    """A CPU as LLVM names it. Frozen and hashable; ``with_lanes`` gives another width on the same CPU.

    lanes: float32 values in one vector; the width all emitted loops use.
    registers: vector registers of that width.
    """

    triple: str
    cpu: str
    features: str
    lanes: int
    registers: int
    fma: bool  # a fused multiply-add is one instruction; where it is not, dots multiply and add
    bf16_dot: bool  # pairs of bfloat16 multiply into float32 (vdpbf16ps) sooner than they are widened
    l1: int = 32 << 10  # bytes, of one core
    l2: int = 1 << 20
    l3: int = 8 << 20

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")

    def with_lanes(self, lanes: int) -> Target:
        """The same CPU, code written for vectors of ``lanes`` float32 values (any power of two)."""
        return self if lanes == self.lanes else replace(self, lanes=lanes)

    @property
    def architecture(self) -> str:
        return self.triple.split("-")[0]


@cache
def host() -> Target:
    """This machine. Raises NoTarget where LLVM has no code generator for it."""
    try:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        triple = llvm.get_process_triple()
        llvm.Target.from_triple(triple)
        cpu, flags = llvm.get_host_cpu_name(), dict(llvm.get_host_cpu_features())
    except RuntimeError as error:
        raise NoTarget(f"LLVM cannot make code for this machine ({platform.machine()}): {error}") from None
    lanes, registers = _vectors(triple.split("-")[0], flags)
    features = ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(flags.items()))
    fma = flags.get("fma", False) or flags.get("fma4", False) or triple.startswith(("aarch64", "arm64", "riscv64"))
    return Target(triple, cpu, features, lanes, registers, fma, multiplies_pairs(cpu, flags), *_cache_sizes())


def multiplies_pairs(cpu: str, flags: dict[str, bool]) -> bool:
    """Whether a CPU has vdpbf16ps and gains by it.

    AMD's cores begin one as often as a fused multiply-add, which has half the products (AMD's guides). Intel's cores
    begin one in two cycles and two fused multiply-adds in each (measured), so float32 is twice as fast there.
    """
    return cpu.startswith("znver") and all(flags.get(part, False) for part in ("avx512bf16", "avx512vl"))


def _vectors(architecture: str, flags: dict[str, bool]) -> tuple[int, int]:
    """(float32 lanes, vector registers)."""
    if all(flags.get(f"avx512{part}") for part in ("f", "dq", "bw", "vl")):
        return 16, 32
    if flags.get("avx2") and flags.get("fma"):
        return 8, 16
    return (4, 32) if architecture in ("aarch64", "arm64") else (4, 16)


def _cache_sizes() -> tuple[int, int, int]:
    """Bytes of (L1 data, L2, L3), of common machines where the system does not say."""
    found = []
    for number, default in ((188, 32 << 10), (191, 1 << 20), (194, 8 << 20)):  # glibc's _SC_LEVEL1_DCACHE_SIZE, 2, 3
        try:
            size = os.sysconf(number) if sys.platform == "linux" else 0
        except (ValueError, OSError):
            size = 0
        found.append(size if size > 0 else default)
    return found[0], found[1], found[2]
