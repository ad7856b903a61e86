"""How much a file may ask for.

A file may declare `EXPANSION` times the bytes that it stores, as honest compression stays far below; what declares more
may take `SLACK` bytes in all. Everything together must fit into the memory that is free (or `HORNBEAM_FILE_BYTES`).
A model that a file describes may have `SLACK` + `MODEL` times the bytes of the weights in it: an optimizer whose state
was not saved is made anew and has up to three times the weights, and some are stored in half the width.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hornbeam.config import FILE_BYTES
from hornbeam.errors import UnsafeFileError, explain

EXPANSION = 100
SLACK = 1 << 26
MODEL = 8
MEMBERS = 100_000  # of an archive or folder
DEPTH = 200  # of a config; a model within a model within a model has about 20


def memory() -> int:
    """The bytes that a file may ask for: as the flag says, or what is free; 8 GiB where the system does not tell."""
    if FILE_BYTES.value:
        return FILE_BYTES.value
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
        return int(found[1]) << 10 if found else 8 << 30
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30


class Tally:
    """Adds up what the parts of a file declare. Raises UnsafeFileError as soon as it is too much."""

    def __init__(self, file: str) -> None:
        self.file, self.most = file, memory()
        self.declared = self.inflated = 0

    def add(self, part: str, declared: int, stored: int) -> None:
        """A part that grows to ``declared`` bytes when it is read and takes ``stored`` in the file."""
        self.declared += declared
        if declared > EXPANSION * stored:
            self.inflated += declared
        if self.inflated > SLACK:
            raise refusal(
                self.file,
                f"{part} declares {declared:,} bytes and stores {stored:,}.",
                f"What grows more than {EXPANSION} times when it is read may take {SLACK:,} bytes in all. This is how "
                "a decompression bomb fills the memory of who reads it.",
            )
        if self.declared > self.most:
            raise refusal(
                self.file,
                f"its parts, up to {part}, declare {self.declared:,} bytes.",
                f"More than the {self.most:,} bytes that it may ask for here, which is the memory that is free.",
                "HORNBEAM_FILE_BYTES=<bytes> sets another limit",
            )


def refusal(file: str, what: str, why: str, fix: str = "ask whoever made the file for one saved by Keras as it is") -> (
    UnsafeFileError
):
    """The error for a file, in the house form."""
    return UnsafeFileError(explain(f"{file}: {what}", why=why, fix=fix))
