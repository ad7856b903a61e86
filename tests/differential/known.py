"""The list of disagreements that stay, known.toml: which they are, and why.

A ``[[known]]`` table of it has

    ops      names as in cases.py, with ``*`` for any characters
    kinds    of disagreement, see ``compare.Disagreement``
    reason   why it stays: whose fault it is, or why both are right
    detail   optional: a regular expression that the disagreement's text contains
    call     optional: one that the call contains, written as dtypes and values: ``float16``, ``axis=None``
    x64      optional: true for what happens only with 64-bit dtypes
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.differential.compare import Disagreement

FILE = Path(__file__).with_name("known.toml")


@dataclass(frozen=True)
class Rule:
    ops: tuple[str, ...]
    kinds: tuple[str, ...]
    reason: str
    detail: str = ""
    call: str = ""
    x64: bool = False

    def matches(self, op: str, what: Disagreement, call: str, x64: bool) -> bool:
        return (
            any(named(pattern, [op]) for pattern in self.ops)
            and what.kind in self.kinds
            and (x64 or not self.x64)
            and re.search(self.detail, what.detail) is not None
            and re.search(self.call, call) is not None
        )


def read(file: Path = FILE) -> list[Rule]:
    """The rules. Raises TypeError for a table with other keys."""
    tables = tomllib.loads(file.read_text())["known"]
    return [Rule(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}) for table in tables]


def reason(rules: list[Rule], op: str, what: Disagreement, call: str, x64: bool) -> str | None:
    """Why a disagreement stays; None where it is not listed."""
    return next((rule.reason for rule in rules if rule.matches(op, what, call, x64)), None)


def named(pattern: str, ops: Iterable[str]) -> list[str]:
    """The operations that a rule's name or pattern means."""
    return [op for op in ops if fnmatchcase(op, pattern)]
