"""What a run of Keras's tests came to: counts by folder and by why tests were skipped, and their page, TALLY.md."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.keras_suite.plugin import exclusions

PAGE = Path(__file__).with_name("TALLY.md")
OUTCOMES = ("passed", "failed", "skipped", "excluded")
HEAD = (*OUTCOMES, "s")

# What the reasons of skips say, by which those are told that Keras's JAX backend would not skip.
SKIPS = (("sparse", r"support sparse tensors"), ("names JAX", r"(?i)\bjax\b|custom_gradient|support gradients"))

TOP = """\
# Keras's own tests on Hornbeam

Written by `scripts/keras-suite <checkout of 937c08e6>`; `run` tells when, and after which commit. `skipped` is what the
tests skip by themselves, `excluded` what `excluded_tests.txt` names: see the end. Of the skipped ones, `sparse` asks
for sparse tensors, which Hornbeam does not have, and `names JAX` for that backend by its name. Of `applications` the
tests that download weights are left out.
"""
SKIPPED = """\
## Skipped here, and on JAX

The tests skipped here for another reason than sparse tensors were run on Keras's JAX backend, too (2026-11-22, all but
those of `wrappers`). Of 802 it skips 657 as well: those of other backends, of ragged and string tensors, of several
devices, of absent libraries. It runs 145: exports to TensorFlow's formats and through JAX (65), JAX layers in Keras
(25), gradients that are taken with each framework's own interface (23), the distribution of work over JAX's devices
(17), JAX's errors, keys and `jit` (10), flash attention (2), and what a test leaves out for backends it does not know
(3). The gradients and flash attention are tested in our own words in `tests/keras/test_gradients.py` and
`test_attention.py`.
"""


@dataclass
class Case:
    name: str
    folder: str
    outcome: str  # passed, failed, skipped, excluded
    reason: str  # why it was skipped or excluded
    seconds: float


def read(report: Path) -> list[Case]:
    """Every test of a JUnit report."""
    cases: dict[str, Case] = {}
    for element in xml.parse(report).iter("testcase"):
        where = element.get("classname") or element.get("name") or ""  # a file that cannot be imported has no class
        name = f"{where}::{element.get('name')}"
        skip = element.find("skipped")
        reason = "" if skip is None else skip.get("message", "")
        if element.find("failure") is not None or element.find("error") is not None:
            outcome = "failed"
        elif skip is not None:
            outcome = "excluded" if reason.startswith("Excluded: ") else "skipped"
        else:
            outcome = "passed"
        folder = re.split(r"[./]", where)[2] if where.count(".") + where.count("/") > 2 else "(others)"
        if name not in cases or outcome == "failed":  # a failed subtest is a case more of the same name
            cases[name] = Case(name, folder, outcome, reason, float(element.get("time") or 0))
    return list(cases.values())


def count(cases: list[Case]) -> dict[str, list[int]]:
    """For each folder how many passed, failed, were skipped, were excluded, the seconds they took, and SKIPS."""
    rows: dict[str, list[float]] = defaultdict(lambda: [0.0] * (len(HEAD) + len(SKIPS)))
    for case in cases:
        row = rows[case.folder]
        row[OUTCOMES.index(case.outcome)] += 1
        row[len(OUTCOMES)] += case.seconds
        if case.outcome == "skipped":
            kind = next((i for i, (_, pattern) in enumerate(SKIPS) if re.search(pattern, case.reason)), None)
            if kind is not None:
                row[len(HEAD) + kind] += 1
    return {folder: [round(n) for n in rows[folder]] for folder in sorted(rows)}


def table(rows: dict[str, list], *more: str) -> list[str]:
    head = ("folder", *HEAD, *(name for name, _ in SKIPS), *more)
    lines = [("---",) * len(head), *((folder, *cells) for folder, cells in rows.items())]
    return [f"| {' | '.join(map(str, line))} |" for line in (head, *lines)]


TITLE = "## Engine "


def write(engine: str, rows: dict[str, list[int]], when: str) -> None:
    """TALLY.md, with these rows in place of the engine's earlier ones for the same folders."""
    engines = earlier(PAGE.read_text().splitlines()) if PAGE.exists() else {}
    engines.setdefault(engine, {}).update({folder: [*numbers, when] for folder, numbers in rows.items()})
    lines = TOP.splitlines()
    for name, folders in sorted(engines.items()):
        sums = [sum(int(cells[i]) for cells in folders.values()) for i in range(len(HEAD) + len(SKIPS))]
        rows_and_sum = {**dict(sorted(folders.items())), "**all**": [*sums, ""]}
        lines += ["", f"{TITLE}{name}", "", *table(rows_and_sum, "run")]
    lines += ["", *SKIPPED.splitlines(), "", "## Excluded, and why"]
    reasons: dict[str, list[str]] = defaultdict(list)
    for part, reason in exclusions().items():
        reasons[reason].append(part)
    for reason, parts in reasons.items():
        lines += ["", f"{reason}:", "", *(f"- `{part}`" for part in parts)]
    PAGE.write_text("\n".join(lines) + "\n")


def earlier(lines: Sequence[str]) -> dict[str, dict[str, list]]:
    """The rows of a TALLY.md, by engine and folder."""
    engines: dict[str, dict[str, list]] = {}
    engine = ""
    for line in lines:
        if line.startswith("#"):
            engine = line.removeprefix(TITLE) if line.startswith(TITLE) else ""
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if engine and cells and cells[1].isdigit() and cells[0] != "**all**":
            engines.setdefault(engine, {})[cells[0]] = cells[1:]
    return engines
