"""The object cache: what we wrote comes back, everything else is a miss."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hornbeam import config
from hornbeam.engines.native import cache, jit
from hornbeam.engines.native.cache import Store
from hornbeam.engines.native.target import host

KEY, OTHER = "a" * 64, "b" * 64
posix = pytest.mark.skipif(os.name != "posix", reason="rights as POSIX has them")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(directory: Path, **options: object) -> Store:
    store = Store.open(directory, **options)  # type: ignore[arg-type]
    assert store is not None
    return store


def test_round_trip_in_this_and_another_store(directory):
    store = opened(directory)
    assert store.get(KEY) is None
    store.put(KEY, b"code", {"cpu": "x"})
    assert store.get(KEY) == b"code" == opened(directory).get(KEY)
    assert (store.hits, store.misses) == (1, 1)
    assert sorted(p.name for p in directory.iterdir()) == [f"{KEY}.o", "key"]


@posix
def test_rights(directory):
    store = opened(directory)
    store.put(KEY, b"code")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()} == {0o600}


def test_every_cut_and_every_flipped_bit_is_a_miss(directory):
    store = opened(directory)
    store.put(KEY, b"some code", {"cpu": "x"})
    path = directory / f"{KEY}.o"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert store.get(KEY) is None
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        assert store.get(KEY) is None
    path.write_bytes(whole + b"\0")
    assert store.get(KEY) is None
    path.write_bytes(whole)
    assert store.get(KEY) == b"some code"


def test_planted_entries_are_misses(directory, tmp_path):
    store, foreign = opened(directory), opened(tmp_path / "foreign")
    for key in (KEY, OTHER):
        foreign.put(key, b"evil")
    (directory / f"{KEY}.o").write_bytes((tmp_path / "foreign" / f"{KEY}.o").read_bytes())
    assert store.get(KEY) is None  # made with another key
    store.put(KEY, b"good")
    (directory / f"{OTHER}.o").write_bytes((directory / f"{KEY}.o").read_bytes())
    assert store.get(OTHER) is None  # ours, but under another name
    (directory / f"{OTHER}.o").unlink()
    (directory / f"{OTHER}.o").mkdir()
    assert store.get(OTHER) is None
    store.put(OTHER, b"code")  # cannot be written there, and says nothing


@posix
def test_links_are_not_followed(directory, tmp_path):
    store = opened(directory)
    store.put(KEY, b"code")
    (directory / f"{KEY}.o").rename(tmp_path / "moved")
    (directory / f"{KEY}.o").symlink_to(tmp_path / "moved")
    assert store.get(KEY) is None
    (tmp_path / "link").symlink_to(directory)
    assert Store.open(tmp_path / "link") is None
    (directory / "key").rename(tmp_path / "key")
    (directory / "key").symlink_to(tmp_path / "key")
    assert Store.open(directory) is None


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722, 0o777])
def test_a_directory_others_can_write_is_not_used(directory, mode):
    opened(directory)
    directory.chmod(mode)
    assert Store.open(directory) is None


@posix
def test_a_key_others_can_read_is_not_used(directory):
    opened(directory)
    (directory / "key").chmod(0o644)
    assert Store.open(directory) is None


def test_a_damaged_key_is_not_used(directory):
    opened(directory)
    (directory / "key").write_bytes(b"short")
    assert Store.open(directory) is None


@posix
def test_another_owner(directory, monkeypatch):
    store = opened(directory)
    store.put(KEY, b"code")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert store.get(KEY) is None
    assert Store.open(directory) is None


def test_readonly_writes_nothing(directory):
    assert Store.open(directory, readonly=True) is None and not directory.exists()
    opened(directory).put(KEY, b"code")
    before = {p.name: p.stat().st_mtime_ns for p in directory.iterdir()}
    store = opened(directory, readonly=True)
    assert store.get(KEY) == b"code"
    store.put(OTHER, b"more")
    assert {p.name: p.stat().st_mtime_ns for p in directory.iterdir()} == before


def test_least_recently_used_go_first(directory):
    store = opened(directory, limit=10_000)
    store.TRIM_EVERY = 1
    now = time.time()
    for i in range(8):
        store.put(f"{i}" * 64, bytes(1000))
        os.utime(directory / f"{f'{i}' * 64}.o", (now - 1000 + i, now - 1000 + i))
    assert store.get("0" * 64)
    for i in "89":
        store.put(i * 64, bytes(1000))
    left = {p.name[0] for p in directory.glob("*.o")}
    assert {"0", "9"} <= left and "1" not in left
    assert sum(p.stat().st_size for p in directory.glob("*.o")) <= 10_000


def test_there_are_never_too_many(directory, monkeypatch):
    monkeypatch.setattr(Store, "MOST", 100)
    store = opened(directory)
    for i in range(400):
        store.put(f"{i:064d}", b"code")
    assert len(list(directory.glob("*.o"))) <= 100 + Store.TRIM_EVERY
    assert store.get(f"{399:064d}") == b"code"
    store.trim()
    assert len(list(directory.glob("*.o"))) <= 100


def test_what_a_killed_process_left_is_cleared_away(directory):
    store = opened(directory)
    old, new = directory / "tmp-1-old", directory / "tmp-1-new"
    for path in (old, new):
        path.write_bytes(b"half an ent")
    os.utime(old, (1, 1))
    store.trim()
    assert not old.exists() and new.exists()


def test_an_unusable_place_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert Store.open(tmp_path / "file") is None
    assert Store.open(tmp_path / "file" / "below") is None


def killed_after(lines: int, program: str, directory: Path) -> None:
    """Run ``program``, and kill it as soon as it has printed so many lines."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HORNBEAM_CACHE": str(directory)}
    command = [sys.executable, "-c", program, str(directory)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.kill()
    assert process.returncode == -9


WRITE = """
import sys
from pathlib import Path
from hornbeam.engines.native.cache import Store
store = Store.open(Path(sys.argv[1]))
print("opened", flush=True)
for turn in range(1_000_000):
    key = f"{turn % 7:064d}"
    store.put(key, key.encode() * 20_000)
    print(turn, flush=True)
"""


@posix
def test_a_process_killed_while_it_writes_leaves_whole_entries(directory):
    for lines in (1, 2, 3, 9, 40):
        killed_after(lines, WRITE, directory)
        store = opened(directory)
        entries = [path.stem for path in directory.glob("*.o")]
        assert [store.get(key) for key in entries] == [key.encode() * 20_000 for key in entries]
    for left in directory.glob("tmp-*"):  # of writes that were cut short; they are cleared away in time
        os.utime(left, (1, 1))
    store.trim()
    assert sorted(path.name for path in directory.iterdir()) == sorted([*(f"{key}.o" for key in entries), "key"])


COMPILE = """
import numpy as np
import hornbeam as hb
for turn in range(40):
    n = 3 + turn % 9
    x = np.arange(n, dtype="float32")
    found = hb.function(lambda x: (x * float(n) + turn // 9, hb.sum(x)))(x)
    assert found[0].tolist() == [i * n + turn // 9 for i in range(n)] and float(found[1]) == sum(range(n))
    print(turn, flush=True)
"""


@posix
def test_a_process_killed_while_it_compiles_leaves_a_cache_that_works(directory):
    for lines in (1, 4, 12):
        killed_after(lines, COMPILE, directory)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HORNBEAM_CACHE": str(directory)}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and len(done.stdout.split()) == 40, done.stderr


RACE = """
import sys
from pathlib import Path
from hornbeam.engines.native.cache import Store
store = Store.open(Path(sys.argv[1]))
for turn in range(200):
    key = f"{turn % 5:064d}"
    code = store.get(key)
    assert code in (None, key.encode() * 1000)
    store.put(key, key.encode() * 1000)
    if turn % 50 == 0:
        store.trim()
assert store.hits > 150, store.hits
"""


def test_processes_racing(directory):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    racing = [subprocess.Popen([sys.executable, "-c", RACE, str(directory)], env=environment) for _ in range(3)]
    assert [process.wait(120) for process in racing] == [0, 0, 0]
    assert len(list(directory.glob("*.o"))) == 5 and not list(directory.glob("tmp-*"))


def test_the_flag(directory, monkeypatch):
    with config.CACHE("0"):
        assert cache.current() is None
    with config.CACHE(str(directory)):
        store = cache.current()
        assert store is not None and store is cache.current()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/nowhere")
    if sys.platform == "linux":
        assert cache.user_directory() == Path("/nowhere/.cache/hornbeam")


def test_object_code_is_kept_and_runs(directory):
    text = "define i64 @f(i64 %x) {\n  %r = add i64 %x, 1\n  ret i64 %r\n}\n"
    with config.CACHE(str(directory)):
        first = cache.object_code(text, host())
        again = cache.object_code(text, host())
        assert first.code == again.code and (first.source, again.source) == ("compiled", "disk")
        store = cache.current()
        assert store is not None and (store.hits, store.misses) == (1, 1)
        code = jit.load(first.code, ["f"])
        assert ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code["f"])(1) == 2


def test_everything_that_changes_code_changes_the_key():
    parts = cache.key_parts("text", host(), 2)
    keys = {cache.key_of({**parts, name: "other"}) for name in parts}
    assert len(keys | {cache.key_of(parts)}) == len(parts) + 1
    assert {"text", "triple", "cpu", "features", "level", "llvm", "llvmlite", "hornbeam"} <= set(parts)
