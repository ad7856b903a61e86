"""Object code on disk, so that a second process starts warm.

An entry is machine code: whoever can write one runs as us. So the directory must be ours alone (owned by us, not a
symbolic link, writable by no one else) or it is not used; an entry is authenticated with a key that only we can read,
so one that was planted, copied from elsewhere, cut short or damaged is a miss, as is anything else that goes wrong
here. Entries appear under their name whole (written aside, then renamed) and the least recently used go first.

    HORNBEAM_CACHE=0          no cache on disk
    HORNBEAM_CACHE=readonly   use what is there, write nothing
    HORNBEAM_CACHE=/some/dir  there instead of the user's cache directory; the same rules hold
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import struct
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite
import llvmlite.binding as llvm

from hornbeam import config
from hornbeam.engines import stages
from hornbeam.engines.native import jit
from hornbeam.engines.native.target import Target

MAGIC = b"hbobj\x00\x00\x01"
LIMIT = 512 << 20  # bytes of all entries
ENTRIES = 8192  # how many there may be: looking at the whole takes a few microseconds for each
ENTRY_LIMIT = 128 << 20  # bytes of one
_PREFIX = struct.Struct("<8s32sI")  # magic, authentication of all that follows and of the name, bytes of the header
_POSIX = os.name == "posix"
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_log = logging.getLogger("hornbeam.cache")


class Found(NamedTuple):
    """Object code, and where it is from: ``disk`` or ``compiled``."""

    code: bytes
    source: str


def object_code(text: str, target: Target, level: int = jit.OPTIMIZE) -> Found:
    """``jit.compile``, answered from disk if it can be."""
    store = current()
    if store is None:
        return Found(jit.compile(text, target, level), "compiled")
    parts = key_parts(text, target, level)
    key = key_of(parts)
    code = store.get(key)
    if code is not None:
        return Found(code, "disk")
    stages.say(1, f"cache miss  {key[:16]}…  " + "  ".join(f"{n}={v!s:.24}" for n, v in parts.items()))
    code = jit.compile(text, target, level)
    store.put(key, code, parts)
    return Found(code, "compiled")


def key_parts(text: str, target: Target, level: int = jit.OPTIMIZE) -> dict[str, Any]:
    """Everything that decides the bytes of an object, besides chance. A new flag that changes code belongs here."""
    return {
        "text": hashlib.sha256(text.encode()).hexdigest(),
        "triple": target.triple,
        "cpu": target.cpu,
        "features": target.features,
        "level": level,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
        "llvmlite": llvmlite.__version__,
        "hornbeam": config.VERSION,
    }


def key_of(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def current() -> Store | None:
    """The store that ``config.CACHE`` asks for, or None if it asks for none or its directory is not safe."""
    return _open(config.CACHE.value)


@cache
def _open(value: str) -> Store | None:
    if value == "0":
        return None
    directory = user_directory() if value in ("1", "readonly") else Path(value).absolute()
    return Store.open(directory, readonly=value == "readonly") if directory else None


def user_directory() -> Path | None:
    """Where this user's caches are kept on this system. None where that is unknown: never a shared place instead."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else os.path.expanduser("~/.cache")
    return Path(base) / "hornbeam" if os.path.isabs(base) else None


class Store:
    """Entries in one directory. ``get`` and ``put`` never raise for what they find there."""

    MOST = ENTRIES
    TRIM_EVERY = 64  # entries written between two looks at the size of the whole

    def __init__(self, directory: Path, handle: int | None, key: bytes, readonly: bool, limit: int) -> None:
        self.directory, self.readonly, self.limit = directory, readonly, limit
        self.hits = self.misses = 0
        self._handle, self._key, self._written = handle, key, 0

    @classmethod
    def open(cls, directory: Path, readonly: bool = False, limit: int = LIMIT) -> Store | None:
        """The store in ``directory``, made if there is none. None (and a debug message) if it cannot be trusted."""
        handle = None
        try:
            if not readonly:
                directory.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    directory.mkdir(mode=0o700)
            if _POSIX:
                handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
                _ours(os.fstat(handle), 0o022, stat.S_ISDIR)
            store, handle = cls(directory, handle, b"", readonly, limit), None  # which closes it from here on
            store._key = store._secret()
            return store
        except (OSError, ValueError) as error:
            _log.debug("object cache off: %s: %s", directory, error)
            if handle is not None:
                os.close(handle)
            return None

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    # -- entries --

    def get(self, key: str) -> bytes | None:
        """The code stored under ``key``, if it is whole and was written by us."""
        try:
            code = self._decode(key, self._read(_name(key), ENTRY_LIMIT, 0o022))
        except (OSError, ValueError) as error:
            _log.debug("object cache miss %s: %s", key, error)
            self.misses += 1
            return None
        self.hits += 1
        if not self.readonly:
            with contextlib.suppress(OSError):
                os.utime(self._path(_name(key)), **self._at())
        return code

    def put(self, key: str, code: bytes, about: dict[str, Any] | None = None) -> None:
        if self.readonly or len(code) > min(ENTRY_LIMIT // 2, self.limit):
            return
        try:
            self._write(_name(key), self._encode(key, code, about or {}))
            if self._written % self.TRIM_EVERY == 0:
                self.trim()
            self._written += 1
        except OSError as error:
            _log.debug("object cache: %s not kept: %s", key, error)

    def trim(self) -> None:
        """Delete the least recently used entries until those left fit ``limit`` and ``MOST`` with room to spare."""
        entries = []
        with os.scandir(self.directory) as listing:
            for entry in listing:
                with contextlib.suppress(OSError):
                    info = entry.stat(follow_symlinks=False)
                    if entry.name.startswith("tmp-") and info.st_mtime < time.time() - 3600:
                        self._remove(entry.name)  # left by a process that was killed
                    elif entry.name.endswith(".o"):
                        entries.append((info.st_mtime, info.st_size, entry.name))
        total, left = sum(size for _, size, _ in entries), len(entries)
        if total <= self.limit and left <= self.MOST:
            return
        for _, size, name in sorted(entries):
            if total <= self.limit * 3 // 4 and left <= self.MOST * 3 // 4:
                break
            self._remove(name)
            total, left = total - size, left - 1

    def _encode(self, key: str, code: bytes, about: dict[str, Any]) -> bytes:
        header = json.dumps({**about, "key": key, "size": len(code)}).encode()
        return _PREFIX.pack(MAGIC, self._mac(key, header, code), len(header)) + header + code

    def _decode(self, key: str, data: bytes) -> bytes:
        if len(data) < _PREFIX.size:
            raise ValueError("too short")
        magic, mac, length = _PREFIX.unpack_from(data)
        header, code = data[_PREFIX.size : _PREFIX.size + length], data[_PREFIX.size + length :]
        if magic != MAGIC or not hmac.compare_digest(mac, self._mac(key, header, code)):
            raise ValueError("not an entry of ours, or damaged")
        return code

    def _mac(self, key: str, header: bytes, code: bytes) -> bytes:
        mac = hmac.new(self._key, struct.pack("<8sII", MAGIC, len(key), len(header)), hashlib.sha256)
        for part in (key.encode(), header, code):
            mac.update(part)
        return mac.digest()

    def _secret(self) -> bytes:
        """The key of this directory, made on first use. Raises ValueError if others could know it."""
        for _ in range(2):
            try:
                secret = self._read("key", 32, 0o077)
                if len(secret) != 32:
                    raise ValueError("the key file is damaged")
                return secret
            except FileNotFoundError:
                if self.readonly:
                    raise
                with self._aside(secrets.token_bytes(32)) as name, contextlib.suppress(FileExistsError):
                    self._link(name, "key")  # fails if another process was first; then its key is the key
        raise ValueError("there is no key file")

    # -- files, relative to the directory that was checked --

    def _path(self, name: str) -> Any:
        return name if self._handle is not None else self.directory / name

    def _at(self, name: str = "dir_fd") -> dict[str, Any]:
        return {name: self._handle} if self._handle is not None else {}

    def _read(self, name: str, most: int, forbidden: int) -> bytes:
        handle = os.open(self._path(name), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _FLAGS, **self._at())
        with os.fdopen(handle, "rb") as file:
            info = os.fstat(handle)
            _ours(info, forbidden, stat.S_ISREG)
            if info.st_size > most:
                raise ValueError(f"{info.st_size} bytes are too many")
            return file.read(most + 1)

    def _write(self, name: str, data: bytes) -> None:
        with self._aside(data) as aside:
            os.replace(self._path(aside), self._path(name), **self._at("src_dir_fd"), **self._at("dst_dir_fd"))

    @contextlib.contextmanager
    def _aside(self, data: bytes) -> Iterator[str]:
        """The name of a new file holding ``data``; gone afterwards unless renamed."""
        name = f"tmp-{os.getpid()}-{secrets.token_hex(8)}"
        handle = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, **self._at())
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            yield name
        finally:
            self._remove(name)

    def _link(self, name: str, to: str) -> None:
        if self._handle is not None:
            os.link(name, to, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        else:
            os.rename(self._path(name), self._path(to))  # on Windows this fails if ``to`` exists

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path(name), **self._at())


def _name(key: str) -> str:
    return f"{key}.o"


def _ours(info: os.stat_result, forbidden: int, kind: Any) -> None:
    """Raises ValueError unless we own it, it is of the right kind and others have none of the ``forbidden`` rights."""
    if not kind(info.st_mode):
        raise ValueError("not a plain file or directory")
    if _POSIX and info.st_uid != os.geteuid():
        raise ValueError("it belongs to someone else")
    if _POSIX and info.st_mode & forbidden:
        raise ValueError(f"others have rights to it ({stat.filemode(info.st_mode)})")
