"""RESULT.md, made of RESULT.json and of nothing else; a run replaces its own part of both.

Where this file changes, `python -m tests.round_trips.report` writes the page anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

from tests.round_trips.cases import CASES, EXACT

OWN = "hornbeam"
DATA, PAGE = (Path(__file__).with_name(name) for name in ("RESULT.json", "RESULT.md"))
SLOW = 20.0  # seconds of a first `predict` that are worth a look

TOP = "# Round trips\n\nWritten by `scripts/round-trips` from `RESULT.json`, which holds every value. Do not edit.\n"
FILES = f"""\
Every backend saved each model as `.keras`, `.weights.h5` and sharded weights; every other backend loaded the files and
predicted, and where the model was being trained, trained on. Shown is the largest difference over the three kinds of
file and over the backends of a column, as a part of the largest prediction (or loss). *others* is what the other
backends differ by among themselves. The bound is {EXACT:g} unless a note says why not.
"""
APPLICATIONS = """\
Applications, whole, with random weights, on two images of 96 × 96 pixels: built and run by Hornbeam, its
weights saved as `.weights.h5` and loaded by Keras on JAX. The difference is a part of the largest logit. *build* and
*first*, the first `predict` with its compilation (no cache of compiled code), are seconds of processors, all cores
together; *peak* is the most memory of the process.
"""
ECOSYSTEM = """\
What packages on top of Keras did on Hornbeam, with small models that were built and not downloaded.
"""

Data = dict[str, Any]
Value = float | str  # a difference, or what went wrong


def write(section: str, data: Data) -> None:
    """Put what a run found into both files."""
    kept = json.loads(DATA.read_text("utf-8")) if DATA.exists() else {}
    if section == "applications" and section in kept:  # a run of some replaces their rows
        data = {**data, "results": dict(sorted({**kept[section]["results"], **data["results"]}.items()))}
    kept[section] = data
    DATA.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    PAGE.write_text(text(kept), "utf-8")


def text(data: Data) -> str:
    return "\n".join([TOP, *(section(name, data[name]) for name in SECTIONS if name in data)])


def section(name: str, data: Data) -> str:
    title, body, _ = SECTIONS[name]
    return f"## {title}\n\n{body(data)}"


def failures(name: str, data: Data) -> list[str]:
    """What is not as it must be, one line each."""
    return [*SECTIONS[name][2](data)]


# -- files -----------------------------------------------------------------------------------------------


def worst(data: Data, case: str, savers: Iterable[str], loaders: Iterable[str]) -> Value | None:
    """The largest difference of one case over all these ways, or the first failure; None if there is no such way."""

    def values() -> Iterator[Value]:
        for saver in savers:
            for loader in loaders:
                if saver != loader:
                    found = data["loaded"][loader]
                    found = found if isinstance(found, str) else found[saver][case]  # a process failed, or not
                    yield from [found] if isinstance(found, str) else found.values()

    def badness(value: Value) -> tuple[bool, bool, Value]:
        return isinstance(value, str), value != value, value

    return max(values(), key=badness, default=None)


def files(data: Data) -> str:
    backends = data["backends"]
    others = [name for name in backends if name != OWN]
    rows, notes = [], []
    for name in data["cases"]:
        bound, because = CASES[name].bound, CASES[name].because
        if because and because not in notes:
            notes.append(because)
        mark = f" ({notes.index(because) + 1})" if because else ""
        ways = [*(([other], [OWN]) for other in others), *(([OWN], [other]) for other in others), (others, others)]
        rows.append([name, *(number(worst(data, name, *way)) for way in ways), f"{bound:.2g}{mark}"])
    head = ["model", *(f"{x} → {OWN}" for x in others), *(f"{OWN} → {x}" for x in others), "others", "bound"]
    foot = "".join(f"\n({i}) {note}\n" for i, note in enumerate(notes, 1))
    failed = "".join(f"- {line}\n" for line in between(data, others))
    told = f"\nFailed between others:\n\n{failed}" if failed else ""
    return f"{FILES}\n{made(data)}\n{table(head, rows)}{foot}{told}"


def between(data: Data, others: list[str]) -> Iterator[str]:
    for name in data["cases"]:
        for saver, loader in permutations(others, 2):
            value = worst(data, name, [saver], [loader])
            if isinstance(value, str):
                yield f"{saver} → {loader}, {name}: {one_line(value)}"


def file_failures(data: Data) -> Iterator[str]:
    """Ways in and out of Hornbeam that are above the bound. What others do among themselves is theirs."""
    for backend, said in data["saved"].items():
        for case, problem in {"": said}.items() if isinstance(said, str) else said.items():
            if problem is not None:
                yield f"{backend} could not save {case}: {problem}"
    for name in data["cases"]:
        for other in data["backends"]:
            for way in ((other, OWN), (OWN, other)):
                value = worst(data, name, *([end] for end in way))
                if value is not None and (isinstance(value, str) or not value <= CASES[name].bound):
                    yield f"{' → '.join(way)}, {name}: {value} (bound {CASES[name].bound:.1g})"


# -- applications ----------------------------------------------------------------------------------------


def applications(data: Data) -> str:
    head = ["application", "parameters", "difference", "build", "first", "peak", "JAX: first", "peak"]
    rows = []
    for name, result in data["results"].items():
        own, peer = result[OWN], result.get("jax")
        if isinstance(own, str):
            rows.append([name, "", *["failed"] * 6])
            continue
        cells = [f"{own['build']:.1f} s", f"{own['first']:.1f} s", memory(own)]
        peers = ["–" if peer is None else "failed"] * 3
        if isinstance(peer, dict):
            peers = [number(peer["difference"]), f"{peer['first']:.1f} s", memory(peer)]
        rows.append([name, f"{own['parameters'] / 1e6:.1f} M", peers[0], *cells, *peers[1:]])
    slow = [n for n, r in data["results"].items() if not isinstance(r[OWN], str) and r[OWN]["first"] > SLOW]
    foot = f"{len(rows)} of {data['public']} public applications. "
    foot += f"A first `predict` of more than {SLOW:.0f} s on Hornbeam: {', '.join(slow) or 'none'}.\n"
    return f"{APPLICATIONS}\n{made(data)}\n{table(head, rows)}\n{foot}"


def memory(result: Data) -> str:
    return f"{result['peak_bytes'] / 2**20:.0f} MiB"


def application_failures(data: Data) -> Iterator[str]:
    for name, result in data["results"].items():
        for backend, found in result.items():
            if isinstance(found, str):
                yield f"{name} on {backend}: {found}"
            elif not found["finite"] or not found["difference"] <= EXACT:
                yield f"{name} on {backend}: finite {found['finite']}, difference {found['difference']:.1e}"


# -- packages --------------------------------------------------------------------------------------------


def ecosystem(data: Data) -> str:
    rows = [
        [package.replace("_", "-"), name, result["what"] if isinstance(result, dict) else f"failed: {one_line(result)}"]
        for package, steps in data["steps"].items()
        for name, result in steps.items()
    ]
    imported = ", ".join(data["imported"]) or "none of TensorFlow, JAX and PyTorch"
    return f"{ECOSYSTEM}\n{made(data)}\n{table(['package', 'what', 'result'], rows)}\nImported by them: {imported}.\n"


def step_failures(data: Data) -> Iterator[str]:
    for package, steps in data["steps"].items():
        yield from (f"{package}, {name}: {result}" for name, result in steps.items() if isinstance(result, str))


# -- writing ---------------------------------------------------------------------------------------------


def number(value: Value | None) -> str:
    if value is None:
        return "–"
    return "failed" if isinstance(value, str) else "0" if value == 0 else f"{value:.1e}"


def one_line(text: str) -> str:
    return text.strip().splitlines()[0].replace("|", "\\|")[:200]


def made(data: Data) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return f"Made {data['made']} with {versions}.\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


SECTIONS: dict[str, tuple[str, Callable[[Data], str], Callable[[Data], Iterable[str]]]] = {
    "files": ("Files", files, file_failures),
    "applications": ("keras.applications", applications, application_failures),
    "ecosystem": ("keras-hub and keras-tuner", ecosystem, step_failures),
}


if __name__ == "__main__":
    PAGE.write_text(text(json.loads(DATA.read_text("utf-8"))), "utf-8")
