"""Text to object code to addresses, and memory given back."""

import ctypes
import gc
import sys
from pathlib import Path

import pytest

from hornbeam.engines.native import jit
from hornbeam.engines.native.target import Target, host

COS = """
declare double @cos(double)
define double @f(double %x) {
  %r = call double @cos(double %x)
  ret double %r
}
"""
COUNT = """
@n = global i64 0
define i64 @next() {
  %a = load i64, ptr @n
  %b = add i64 %a, 1
  store i64 %b, ptr @n
  ret i64 %b
}
"""
ADD = "define i64 @add(i64 %x) {\n  %r = add i64 %x, 1\n  ret i64 %r\n}\n"


def test_host_is_a_target():
    target = host()
    assert target.lanes in (4, 8, 16)
    assert 8 << 10 <= target.l1 <= target.l2
    assert target.with_lanes(4).lanes == 4
    assert target.with_lanes(target.lanes) is target
    assert hash(target.with_lanes(2)) != hash(target)
    assert isinstance(target, Target) and target.architecture in target.triple


@pytest.mark.parametrize("level", [0, 1, 2])
def test_compile_load_call(level):
    code = jit.load(jit.compile(ADD, level=level), ["add"])
    assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code["add"])(41) == 42
    assert "add" in jit.assembly(ADD) and "define" in jit.optimized(ADD)


def test_symbols_of_the_process():
    code = jit.load(jit.compile(COS), ["f"])
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code["f"])(0.0) == 1.0


def test_bad_input_raises():
    with pytest.raises(RuntimeError):
        jit.compile("define i64 @f(i64 %x) {\n  ret i32 %x\n}\n")
    with pytest.raises(RuntimeError):
        jit.load(b"not an object", ["f"])
    with pytest.raises(RuntimeError):
        jit.load(jit.compile(ADD), ["other"])


def test_data_of_its_own_in_every_load():
    code = jit.compile(COUNT)
    first, second = jit.load(code, ["next"]), jit.load(code, ["next"])
    call = ctypes.CFUNCTYPE(ctypes.c_int64)
    assert [call(first["next"])(), call(first["next"])(), call(second["next"])()] == [1, 2, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_discarded_code_is_freed():
    table = "@t = constant [20000 x i64] [" + ", ".join(f"i64 {i}" for i in range(20000)) + "]\n"
    object_code = jit.compile(ADD + table)
    text = ADD.replace("i64 %x, 1", "i64 %x, 2")

    def rss() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4  # kB

    def cycles(n: int) -> None:
        for _ in range(n):
            jit.load(jit.compile(text), ["add"])
            jit.load(object_code, ["add"])

    cycles(150)
    before = rss()
    cycles(500)
    assert rss() - before < 4096
