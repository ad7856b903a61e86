"""Runs Keras's own tests on Hornbeam:  scripts/keras-suite [CHECKOUT] [options] [pytest's arguments]

CHECKOUT is a Keras git checkout; the tests that fit the nightly best are those of commit 937c08e6, in which the plug-in
backends came. Without it the tests are those of the published source archive of 3.15.1.

The tests are laid out beside a copy of the installed nightly's `keras` folder, so that its code is what they test, in a
folder for scratch. They run in an environment of their own, as they import TensorFlow, JAX and PyTorch throughout.
Paths among pytest's arguments are seen from the laid out folder:  scripts/keras-suite ~/keras keras/src/ops -k reshape

A run of whole folders writes their rows of TALLY.md. KERAS_BACKEND=jax runs Keras's own backend instead, to compare.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as xml
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hornbeam" / "keras-suite"
RELEASE = "3.15.1"

# The only lines of test files that have to change: the trainer's class, which is chosen by the backend's name.
EDITS = {
    "keras/src/trainers/trainer_test.py": (
        (r"\b(JAX|Torch|TensorFlow|Numpy)Trainer as", "Trainer as"),
        (r'raise ImportError\(f"Invalid backend: .*\)', "from keras.src.models.model import Trainer"),
    )
}


def main() -> int:
    options, rest = parse()
    tests = options.checkout or release_sources(options.scratch)
    python = environment(options.environment or options.scratch / "environment")
    tree = lay_out(tests, python, options.scratch / "tree")
    results = options.scratch / "results"
    results.mkdir(parents=True, exist_ok=True)
    report = results / f"{options.backend}-{options.engine}-{time.strftime('%m%d-%H%M%S')}.xml"
    when = f"{time.strftime('%Y-%m-%d')}, {commit()}"
    run_pytest(python, tree, report, options, rest)
    if not report.exists():
        return 1
    cases = read(report)
    rows = tally(cases)
    failed = [case for case in cases if case.outcome == "failed"]
    report.with_suffix(".failed.txt").write_text("".join(f"{case.name}\n" for case in failed))
    print(*table(rows), f"JUnit: {report}", sep="\n")
    if options.checkout and options.backend == "hornbeam" and options.sample == 1 and not selects(rest, tree):
        write_tally(options.engine, rows, when)
    return 1 if failed else 0


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="scripts/keras-suite", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--engine", default="reference", choices=("reference", "native"))
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="one test in N, always the same ones")
    parser.add_argument("--scratch", type=Path, default=CACHE, help=f"for all that this makes (default: {CACHE})")
    parser.add_argument("--environment", type=Path, help="of Python, for the tests (default: in the scratch folder)")
    options, rest = parser.parse_known_args()
    options.checkout = Path(rest.pop(0)).resolve() if rest and Path(rest[0], "keras", "src").is_dir() else None
    options.scratch = options.scratch.resolve()
    options.backend = os.environ.get("KERAS_BACKEND") or "hornbeam"
    return options, rest


def release_sources(scratch: Path) -> Path:
    """The published sources of the last release, downloaded once."""
    folder = scratch / f"keras-{RELEASE}"
    if not folder.exists():
        scratch.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--no-binary=keras"]
        subprocess.run([*pip, f"--dest={scratch}", f"keras=={RELEASE}"], check=True)
        with tarfile.open(scratch / f"keras-{RELEASE}.tar.gz") as archive:
            archive.extractall(scratch, filter="data")
    return folder


def environment(folder: Path) -> Path:
    """The tests' own environment, with this working copy and the nightly of ours in it; its interpreter."""
    python = folder.resolve() / "bin" / "python"
    nightly = f"keras-nightly=={metadata.version('keras-nightly')}"
    wanted = (HERE / "requirements.txt").read_text() + (ROOT / "pyproject.toml").read_text() + nightly
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Making the tests' environment in {folder} ...", file=sys.stderr)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--requirement", HERE / "requirements.txt"], check=True)
    # TensorFlow brings the stable Keras, whose folder is the nightly's.
    subprocess.run([*pip, "uninstall", "--yes", "keras"], check=True)
    subprocess.run([*pip, "install", "--editable", ROOT, nightly], check=True)
    subprocess.run([*pip, "install", "--force-reinstall", "--no-deps", nightly], check=True)
    stamp.write_text(wanted)
    return python


def lay_out(checkout: Path, python: Path, tree: Path) -> Path:
    """The nightly's `keras` folder, with the checkout's tests and their data put into it."""
    find = "import importlib.util as u; print(u.find_spec('keras').submodule_search_locations[0])"
    nightly = Path(subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip())
    if (tree / "keras").exists():
        shutil.rmtree(tree / "keras")
    shutil.copytree(nightly, tree / "keras", ignore=shutil.ignore_patterns("__pycache__"))
    for source in sorted((checkout / "keras" / "src").rglob("*")):
        name = source.relative_to(checkout).as_posix()
        data = source.suffix != ".py" and "test_data" in source.parts
        if source.is_file() and (name.endswith("_test.py") or data):
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            for pattern, text in EDITS.get(name, ()):
                target.write_text(re.sub(pattern, text, target.read_text()))
    (tree / "pytest.ini").write_text("[pytest]\n")  # pytest looks no higher
    return tree


def run_pytest(python: Path, tree: Path, report: Path, options: argparse.Namespace, rest: list[str]) -> None:
    arguments = [
        *("-q", "-n", "2", "--dist", "loadfile", "-p", "tests.keras_suite.plugin", "-p", "no:cacheprovider"),
        *("--tb=short", "-rfE", "--timeout=300", "--continue-on-collection-errors"),
        *(f"--junitxml={report}", "--override-ini=junit_family=xunit2", f"--sample={options.sample}", *rest),
    ]
    if not any(part.startswith("keras/") for part in rest):
        # Left out as the other plug-in backends leave them out.
        arguments += ["keras/src", "--ignore=keras/src/applications", "--ignore=keras/src/wrappers"]
    ours = {
        "KERAS_BACKEND": options.backend,
        "KERAS_HOME": str(options.scratch / f"home-{options.backend}"),  # one each: keras.json keeps the backend's name
        "HORNBEAM_ENGINE": options.engine,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    subprocess.run([python, "-m", "pytest", *arguments], cwd=tree, env=os.environ | ours)


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


OUTCOMES = ("passed", "failed", "skipped", "excluded")


def tally(cases: list[Case]) -> dict[str, list[int]]:
    """For each folder how many passed, failed, were skipped, were excluded, and the seconds they took."""
    rows: dict[str, list[float]] = defaultdict(lambda: [0.0] * 5)
    for case in cases:
        rows[case.folder][OUTCOMES.index(case.outcome)] += 1
        rows[case.folder][4] += case.seconds
    return {folder: [round(n) for n in rows[folder]] for folder in sorted(rows)}


HEAD = ("folder", "passed", "failed", "skipped", "excluded", "s")


def table(rows: dict[str, list], *more: str) -> list[str]:
    head = (*HEAD, *more)
    lines = [("---",) * len(head), *((folder, *cells) for folder, cells in rows.items())]
    return [f"| {' | '.join(map(str, line))} |" for line in (head, *lines)]


TITLE = "## Engine "


def selects(rest: list[str], tree: Path) -> bool:
    """Whether pytest's arguments choose among the tests of a folder."""
    choices = ("-k", "-m", "-x", "--deselect", "--ignore", "--maxfail", "keras/")
    return any(part.startswith(choices) and not (tree / part).is_dir() for part in rest)


def commit() -> str:
    git = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def write_tally(engine: str, rows: dict[str, list[int]], when: str) -> None:
    """TALLY.md, with these rows in place of the engine's earlier ones for the same folders."""
    from tests.keras_suite.plugin import exclusions

    path = HERE / "TALLY.md"
    engines = earlier(path.read_text().splitlines()) if path.exists() else {}
    engines.setdefault(engine, {}).update({folder: [*numbers, when] for folder, numbers in rows.items()})
    lines = [
        "# Keras's own tests on Hornbeam",
        "",
        "Written by `scripts/keras-suite <checkout of 937c08e6>`; `run` tells when, and after which commit. `skipped`",
        "is what the tests skip by themselves, `excluded` what `excluded_tests.txt` names: see the end.",
    ]
    for name, folders in sorted(engines.items()):
        sums = [sum(int(cells[i]) for cells in folders.values()) for i in range(5)]
        rows_and_sum = {**dict(sorted(folders.items())), "**all**": [*sums, ""]}
        lines += ["", f"{TITLE}{name}", "", *table(rows_and_sum, "run")]
    lines += ["", "## Excluded, and why"]
    reasons: dict[str, list[str]] = defaultdict(list)
    for part, reason in exclusions().items():
        reasons[reason].append(part)
    for reason, parts in reasons.items():
        lines += ["", f"{reason}:", "", *(f"- `{part}`" for part in parts)]
    path.write_text("\n".join(lines) + "\n")


def earlier(lines: list[str]) -> dict[str, dict[str, list]]:
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


if __name__ == "__main__":
    sys.exit(main())
