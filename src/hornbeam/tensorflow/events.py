"""Event files, which TensorBoard reads: records with checksums, each an Event as a protocol buffer made by hand."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
import weakref
import zlib
from typing import Any

import numpy as np

# -- CRC-32C, masked as in TFRecord files ----------------------------------------------------------------------------


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    return table


_TABLE = [int(x) for x in _crc_table()]


def masked_crc(data: bytes) -> int:
    """The checksum that TFRecord files carry."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """``data`` framed: its length, checksums of both."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


# -- protocol buffers ------------------------------------------------------------------------------------------------


def _varint(n: int) -> bytes:
    out = bytearray()
    n &= 2**64 - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _double(field: int, x: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", x)


def _float(field: int, x: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", x)


def _int(field: int, n: int) -> bytes:
    return _varint(field << 3) + _varint(n)


def scalar(tag: str, value: float) -> bytes:
    """A Summary with one number."""
    return _bytes(1, _bytes(1, tag.encode()) + _float(2, value))


def histogram(tag: str, values: np.ndarray, buckets: int = 30) -> bytes:
    """A Summary with a histogram of finite values."""
    flat = np.asarray(values, np.float64).reshape(-1)
    flat = flat[np.isfinite(flat)]
    counts, edges = np.histogram(flat, buckets) if flat.size else (np.zeros(1), np.zeros(2))
    parts = _double(1, flat.min(initial=np.inf) if flat.size else 0) + _double(
        2, flat.max(initial=-np.inf) if flat.size else 0
    )
    parts += _double(3, flat.size) + _double(4, flat.sum()) + _double(5, float(np.square(flat).sum()))
    parts += _bytes(6, struct.pack(f"<{len(counts)}d", *edges[1:])) + _bytes(
        7, struct.pack(f"<{len(counts)}d", *counts)
    )
    return _bytes(1, _bytes(1, tag.encode()) + _bytes(5, parts))


def image(tag: str, pixels: np.ndarray) -> bytes:
    """A Summary with a picture: height x width x channels (1, 3 or 4), floating from 0 to 1 or uint8."""
    height, width, channels = pixels.shape
    if pixels.dtype != np.uint8:
        pixels = (np.clip(pixels.astype(np.float64), 0, 1) * 255.5).astype(np.uint8)
    parts = _int(1, height) + _int(2, width) + _int(3, channels) + _bytes(4, png(pixels))
    return _bytes(1, _bytes(1, tag.encode()) + _bytes(4, parts))


def png(pixels: np.ndarray) -> bytes:
    """A uint8 picture as a PNG file."""
    height, width, channels = pixels.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def text(tag: str, value: str) -> bytes:
    """A Summary with text."""
    return string(tag, value.encode(), "text")


def string(tag: str, value: bytes, plugin: str, content: bytes = b"") -> bytes:
    """A Summary with a string for one of TensorBoard's plugins."""
    tensor = _int(1, 7) + _bytes(2, _bytes(2, _int(1, 1))) + _bytes(8, value)
    metadata = _bytes(1, _bytes(1, plugin.encode()) + _bytes(2, content))
    return _bytes(1, _bytes(1, tag.encode()) + _bytes(9, metadata) + _bytes(8, tensor))


def event(step: int, summary: bytes | None = None, version: str | None = None) -> bytes:
    """An Event of now."""
    out = _double(1, time.time()) + (_int(2, step) if step else b"")
    return (
        out + (_bytes(3, version.encode()) if version is not None else b"") + (_bytes(5, summary) if summary else b"")
    )


_numbers = itertools.count()


class EventFile:
    """A new file of events in a folder."""

    def __init__(self, folder: str, suffix: str = "") -> None:
        os.makedirs(folder, exist_ok=True)
        name = (
            f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}{suffix}"
        )
        self._file: Any = open(os.path.join(folder, name), "wb")  # noqa: SIM115  (closed with the object)
        self._closing = weakref.finalize(self, self._file.close)
        self._file.write(record(event(0, version="brain.Event:2")))

    def add(self, step: int, summary: bytes) -> None:
        """Write one Event with a Summary. Raises ValueError after ``close``."""
        self._file.write(record(event(step, summary)))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._closing()
