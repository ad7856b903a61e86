"""Runs Keras's own tests on Hornbeam:  scripts/keras-suite [CHECKOUT] [options] [pytest's arguments]

CHECKOUT is a Keras git checkout; the tests that fit the nightly best are those of commit 937c08e6, in which the plug-in
backends came. Without it the tests are those of the published source archive of 3.15.1.

The tests are laid out beside a copy of the installed nightly's `keras` folder, so that its code is what they test, in a
folder for scratch. They run in an environment of their own, as they import TensorFlow, JAX and PyTorch throughout.
Paths among pytest's arguments are seen from the laid out folder:  scripts/keras-suite ~/keras keras/src/ops -k reshape

--part takes the tests that need neither TensorFlow nor PyTorch, in an environment small enough to be made anew each
time. scripts/test, and with it CI, runs one in four of them on the native engine.

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
import tempfile
import time
from pathlib import Path

from tests.keras_suite import tally

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hornbeam" / "keras-suite"
RELEASE = "3.15.1"
WHOLE, PART = HERE / "requirements.txt", HERE / "requirements-part.txt"
LEFT_OUT = ("tensorflow", "torch", "sklearn", "pandas", "grain", "orbax", "tree", "tensorboard")  # in PART, as modules

DOWNLOADS = "keras/src/applications/applications_test.py"  # the weights of every application

# The only lines of test files that have to change, by the beginning of the file's name.
EDITS = {
    "keras/src/trainers/trainer_test.py": (
        # The trainer's class and the name of the CPU are chosen by the backend's name.
        (r"\b(JAX|Torch|TensorFlow|Numpy)Trainer as", "Trainer as"),
        (r'raise ImportError\(f"Invalid backend: .*\)', "from keras.src.models.model import Trainer"),
        (r"CPU_DEVICES\[backend\.backend\(\)\]", 'CPU_DEVICES.get(backend.backend(), "cpu")'),
    ),
    # What the recurrent layers say of themselves has changed since 3.15.1.
    "keras/src/layers/rnn/": ((r"\bsupports_masking=True", "supports_masking=False"),),
}


def main() -> int:
    options, rest = parse()
    tests = options.checkout or release_sources(options.scratch)
    kind = PART if options.part else WHOLE
    if options.environment:
        python = options.environment.resolve() / "bin" / "python"  # another's, perhaps: nothing is installed into it
        if not python.exists():
            sys.exit(f"{options.environment} is not an environment of Python: there is no {python}")
    else:
        python = environment(options.scratch / f"environment-{kind.stem}", kind)
    tree = lay_out(tests, python, options.scratch / "tree")
    results = options.scratch / "results"
    results.mkdir(parents=True, exist_ok=True)
    report = results / f"{options.backend}-{options.engine}-{time.strftime('%m%d-%H%M%S')}.xml"
    when = f"{time.strftime('%Y-%m-%d')}, {commit()}"
    code = run_pytest(python, tree, report, options, rest, more_arguments(options))
    if not report.exists():
        return code or 1
    cases = tally.read(report)
    rows = tally.count(cases)
    failed = [case for case in cases if case.outcome == "failed"]
    report.with_suffix(".failed.txt").write_text("".join(f"{case.name}\n" for case in failed))
    print(*tally.table(rows), f"JUnit: {report}", sep="\n")
    whole = options.sample == 1 and not options.part and not selects(rest, tree)
    if options.checkout and options.backend == "hornbeam" and whole:
        tally.write(options.engine, rows, when)
    print(verdict(cases, code, options))
    return code or bool(failed)  # pytest's own code also tells of a crash, or of nothing that ran


def verdict(cases: list[tally.Case], code: int, options: argparse.Namespace) -> str:
    """What it came to, as a sentence to end with."""
    counts = ", ".join(f"{sum(case.outcome == name for case in cases)} {name}" for name in tally.OUTCOMES)
    where = f"{options.backend}, {options.engine} engine" if options.backend == "hornbeam" else options.backend
    sample = "" if options.sample == 1 else f", one in {options.sample}"
    trouble = f" pytest ended with code {code}, see above." if code else ""
    return f"Keras's own tests ({where}{sample}): {counts}.{trouble}"


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="scripts/keras-suite", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--engine", default="reference", choices=("reference", "native"))
    parser.add_argument("--part", action="store_true", help="only what needs neither TensorFlow nor PyTorch")
    parser.add_argument("--sample", type=int, default=1, metavar="N", help="one test in N, always the same ones")
    parser.add_argument("--scratch", type=Path, default=CACHE, help=f"for all that this makes (default: {CACHE})")
    parser.add_argument(
        "--environment", type=Path, help="one that exists, used as it is (default: made in the scratch folder)"
    )
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
        trouble = (
            f"The sources of keras {RELEASE}, which they are part of, could not be downloaded from the package index\n"
            "(see above). With a checkout of Keras no download is needed:\n"
            "    scripts/keras-suite path/to/keras"
        )
        options = ("--no-deps", "--no-binary=keras", f"--dest={scratch}")
        pip(trouble, sys.executable, "download", *options, f"keras=={RELEASE}")
        with (
            tarfile.open(scratch / f"keras-{RELEASE}.tar.gz") as archive,
            tempfile.TemporaryDirectory(dir=scratch) as t,
        ):
            archive.extractall(t, filter="data")
            Path(t, folder.name).rename(folder)  # whole, or not there
    return folder


def environment(folder: Path, requirements: Path) -> Path:
    """The tests' own environment, with this working copy and the nightly they are run against; its interpreter."""
    python = folder / "bin" / "python"
    nightly = f"keras-nightly=={floor()}"
    wanted = "".join(file.read_text() for file in (WHOLE, PART, ROOT / "pyproject.toml")) + nightly
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Making the tests' environment in {folder} ...", file=sys.stderr)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    trouble = (
        f"What they need could not be installed from the package index into {folder} (see above).\n"
        "Once pip can reach the index, the same command goes on where it stopped."
    )
    pip(trouble, python, "install", "--requirement", requirements)
    pip(trouble, python, "install", "--editable", ROOT, nightly)
    if requirements == WHOLE:
        # TensorFlow brings the stable Keras, whose folder is the nightly's.
        pip(trouble, python, "uninstall", "--yes", "keras")
        pip(trouble, python, "install", "--force-reinstall", "--no-deps", nightly)
    stamp.write_text(wanted)
    return python


def pip(trouble: str, python: Path | str, *arguments: Path | str) -> None:
    """Run pip in the environment of `python`; where it fails, end with what that means for the tests."""
    if subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]).returncode:
        sys.exit(f"Keras's own tests did not run.\n{trouble}")


def floor() -> str:
    """The nightly that pyproject.toml asks for at least. The lists of exclusions hold for it, not for the newest."""
    found = re.search(r"keras-nightly>=([\w.]+)", (ROOT / "pyproject.toml").read_text())
    assert found is not None, "pyproject.toml names no keras-nightly>="
    return found[1]


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
            for pattern, text in (edit for part, edits in EDITS.items() if name.startswith(part) for edit in edits):
                target.write_text(re.sub(pattern, text, target.read_text()))
    (tree / "pytest.ini").write_text("[pytest]\n")  # pytest looks no higher
    return tree


def more_arguments(options: argparse.Namespace) -> list[str]:
    """Pytest's, for older tests and for a part of them."""
    arguments = [] if options.checkout else [f"--excluded={HERE / f'excluded_{RELEASE}.txt'}"]
    return [*arguments, *(f"--without={name}" for name in (LEFT_OUT if options.part else ()))]


def run_pytest(
    python: Path, tree: Path, report: Path, options: argparse.Namespace, rest: list[str], more: list[str]
) -> int:
    arguments = [
        *("-q", "-n", "2", "--dist", "loadfile", "-p", "tests.keras_suite.plugin", "-p", "no:cacheprovider"),
        *("--tb=short", "-rfE", "--timeout=900", "--continue-on-collection-errors"),
        *(f"--junitxml={report}", "--override-ini=junit_family=xunit2", f"--sample={options.sample}", *more, *rest),
    ]
    if not any(part.startswith("keras/") for part in rest):
        arguments += ["keras/src", f"--ignore={DOWNLOADS}"]
    ours = {
        "KERAS_BACKEND": options.backend,
        "KERAS_HOME": str(options.scratch / f"home-{options.backend}"),  # one each: keras.json keeps the backend's name
        "HORNBEAM_ENGINE": options.engine,
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return subprocess.run([python, "-m", "pytest", *arguments], cwd=tree, env=os.environ | ours).returncode


def selects(rest: list[str], tree: Path) -> bool:
    """Whether pytest's arguments choose among the tests of a folder, of which the tally has a row."""
    choices = ("-k", "-m", "-x", "--deselect", "--ignore", "--maxfail", "keras/")
    whole = {tree / "keras" / "src", *(tree / "keras" / "src").iterdir()}
    return any(part.startswith(choices) and tree / part not in whole for part in rest)


def commit() -> str:
    git = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
