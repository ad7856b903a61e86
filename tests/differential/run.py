"""Every operation of Keras's backend contract, on Hornbeam and on Keras's own JAX backend:  scripts/differential

Both get the same random arguments; both must raise, or return the same structure, shapes and dtypes, and values and
gradients that differ by rounding at most. What differs is printed with the line that repeats it. Exits with 1 if
anything differs that known.toml does not list.

    scripts/differential --ops sum take_along_axis --cases 100
    scripts/differential --ops sum --seed 3 --case 17        one call, with all that both make of it

JAX runs in an environment of its own: --peer-python, or the one of scripts/keras-suite, or a small one made like it.
--x64 draws dtypes of 64 bits, too, and switches them on in JAX, which does without them otherwise.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tests.differential import known
from tests.differential.cases import CASES, Case
from tests.differential.compare import Disagreement, disagreements
from tests.differential.draw import Call, Draw, generator
from tests.differential.wire import Answer, Raised, Request, leaves, receive, send
from tests.keras_suite.run import CACHE, PART, WHOLE, environment

ROOT = Path(__file__).parents[2]
ENGINES = ("native", "reference")
SECONDS = 60.0  # for one call and its gradient
WIDTH = 150  # of what is printed of a call


@dataclass(frozen=True)
class Found:
    """A disagreement, where it was met, and the reason if known.toml lists it."""

    op: str
    index: int
    engine: str
    call: str
    what: Disagreement
    reason: str | None


class Worker:
    """A backend's process, which is started again after it has died or hung."""

    def __init__(self, name: str, python: str, env: dict[str, str], log: BinaryIO):
        self.command = [python, "-m", "tests.differential.worker", name]
        self.env, self.log = env, log
        self.process: subprocess.Popen | None = None
        self.keras = ""

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=self.env, cwd=ROOT
        )
        try:
            self.keras = self._receive(180).keras
        except (EOFError, TimeoutError):
            sys.exit(f"{' '.join(self.command)} did not start; it said:\n{Path(self.log.name).read_text()[-2000:]}")

    def ask(self, request: Request) -> Answer | Disagreement:
        """The answer, or that there is none."""
        if self.process is None:
            self.start()
        assert self.process is not None and self.process.stdin is not None
        try:
            send(self.process.stdin, request)
            return self._receive(SECONDS)
        except TimeoutError:
            return self._died(f"no answer in {SECONDS:.0f} s")
        except (EOFError, BrokenPipeError):
            return self._died("crashed")

    def stop(self) -> int:
        """The exit code of the process."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.kill()
        process.communicate()
        return process.returncode

    def _receive(self, seconds: float) -> Any:
        assert self.process is not None and self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise TimeoutError
        return receive(self.process.stdout)

    def _died(self, how: str) -> Disagreement:
        self.stop()
        return Disagreement("died", f"{self.command[-1]}: {how}")


def main() -> int:
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        started = workers(options, Path(scratch))
        try:
            if options.case is not None:
                return show(options, started)
            return report(everything(options, started, known.read()), options)
        finally:
            for worker in started.values():
                worker.stop()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/differential", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the arguments (default: 0)")
    parser.add_argument("--cases", type=int, default=20, metavar="N", help="calls of each operation (default: 20)")
    parser.add_argument("--ops", nargs="+", metavar="OP", default=[], help="only these, by the names in cases.py")
    parser.add_argument("--case", type=int, metavar="I", help="only the Ith call of the one --ops, shown whole")
    parser.add_argument("--engine", default="native", choices=(*ENGINES, "both"))
    parser.add_argument("--peer-python", type=Path, metavar="ENV", help="an environment with JAX and the same Keras")
    parser.add_argument("--x64", action="store_true", help="dtypes of 64 bits, too")
    parser.add_argument("--known", action="store_true", help="print also the disagreements that known.toml lists")
    options = parser.parse_args()
    unknown = [op for op in options.ops if op not in CASES]
    if unknown:
        parser.error(f"cases.py has no {', '.join(unknown)}; it writes image.resize, random.normal, matmul, …")
    if options.case is not None and len(options.ops) != 1:
        parser.error("--case is a call of one operation; name it with --ops")
    return options


def workers(options: argparse.Namespace, scratch: Path) -> dict[str, Worker]:
    """The processes: one for each engine by its name, and ``jax``. Exits where they run different versions of Keras."""
    env = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "KERAS_HOME": str(scratch),  # keras.json may set another floatx
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1" if options.x64 else "0",
        # Each call has new shapes: compiling is what takes time, not running.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

    def worker(name: str, backend: str, python: str, **more: str) -> Worker:
        return Worker(backend, python, env | {"KERAS_BACKEND": backend} | more, (scratch / f"{name}.log").open("wb"))

    engines = ENGINES if options.engine == "both" else (options.engine,)
    started = {name: worker(name, "hornbeam", sys.executable, HORNBEAM_ENGINE=name) for name in engines}
    started["jax"] = theirs = worker("jax", "jax", peer(options.peer_python))
    with ThreadPoolExecutor() as pool:
        list(pool.map(Worker.start, started.values()))
    ours = started[engines[0]]
    if ours.keras != theirs.keras:
        sys.exit(
            f"Hornbeam's environment has Keras {ours.keras} and the other one {theirs.keras}: what differs might be\n"
            f"Keras's own. Install the same nightly in both:\n"
            f"    {theirs.command[0]} -m pip install keras-nightly=={ours.keras}"
        )
    return started


def peer(given: Path | None) -> str:
    """The Python of the environment with JAX."""
    if given is not None:
        return str(given / "bin" / "python" if given.is_dir() else given)
    for made in (CACHE / f"environment-{kind.stem}" / "bin" / "python" for kind in (WHOLE, PART)):
        if made.exists():
            return str(made)
    return str(environment(CACHE / f"environment-{PART.stem}", PART))


def drawn(case: Case, options: argparse.Namespace, index: int) -> Call:
    draw = Draw(generator(options.seed, case.op, index), options.x64)
    made = case.make(draw)
    made.tensors = draw.chance(0.7)
    return made


def request(case: Case, call: Call) -> Request:
    return Request(case.op, call, case.calls, case.reading, case.grad)


def everything(
    options: argparse.Namespace, started: dict[str, Worker], rules: list[known.Rule]
) -> Iterator[Found]:
    """All disagreements, as they are met."""
    with ThreadPoolExecutor(max_workers=len(started)) as pool:
        for case in (CASES[op] for op in options.ops or CASES):
            calls = [drawn(case, options, index) for index in range(options.cases)]
            requests = [request(case, call) for call in calls]
            answers = dict(zip(started, pool.map(lambda worker: [*map(worker.ask, requests)], started.values())))
            theirs = answers.pop("jax")
            for index, call in enumerate(calls):
                engines: dict[Disagreement, list[str]] = {}
                for engine, ours in answers.items():
                    for what in between(case, call, ours[index], theirs[index]):
                        engines.setdefault(what, []).append(engine)
                for what, met in engines.items():
                    reason = known.reason(rules, case.op, what, code(case, call, None), options.x64)
                    yield Found(case.op, index, met[0] if len(met) == 1 else "both", code(case, call), what, reason)


def between(
    case: Case, call: Call, ours: Answer | Disagreement, theirs: Answer | Disagreement
) -> list[Disagreement]:
    """What two answers differ in, where there are two."""
    if isinstance(ours, Disagreement) or isinstance(theirs, Disagreement):
        return [answer for answer in (ours, theirs) if isinstance(answer, Disagreement)]
    return disagreements(case, call, ours, theirs)


def report(found: Iterable[Found], options: argparse.Namespace) -> int:
    """Print the disagreements; 1 if some are not listed."""
    new = listed = 0
    for one in found:
        new, listed = (new + 1, listed) if one.reason is None else (new, listed + 1)
        if one.reason is None or options.known:
            flags = f"--ops {one.op} --seed {options.seed} --case {one.index} --engine {one.engine}"
            lines = [f"{one.op} [{one.what.kind}]: {one.what.detail}", one.call,
                     *([] if one.reason is None else [f"listed: {one.reason}"]),
                     f"scripts/differential {flags}{' --x64' if options.x64 else ''}"]  # fmt: skip
            print("\n  ".join(lines), "\n", flush=True)
    count = len(options.ops or CASES)
    print(f"{count} operations, {options.cases} calls of each, seed {options.seed}, engine {options.engine}: "
          f"{new} disagreements, and {listed} that are listed with their reasons.")  # fmt: skip
    return 1 if new else 0


def show(options: argparse.Namespace, started: dict[str, Worker]) -> int:
    """One call, and all that everyone makes of it."""
    case = CASES[options.ops[0]]
    call = drawn(case, options, options.case)
    print(code(case, call, None), "\n")
    answers = {name: worker.ask(request(case, call)) for name, worker in started.items()}
    for name, answer in answers.items():
        if isinstance(answer, Disagreement):
            print(answer)
            continue
        for part in ("result", "reading", "gradients"):
            value = getattr(answer, part)
            if isinstance(value, Raised):
                print(f"{name}, {part}: {value.error}: {value.message}")
            elif value is not None:
                print(f"{name}, {part}:", *(x.value for x in leaves(value)), sep="\n  ")
    theirs = answers.pop("jax")
    found = [(name, one) for name, ours in answers.items() for one in between(case, call, ours, theirs)]
    print("", *(f"{name} [{one.kind}] {one.detail}" for name, one in found), sep="\n")
    return 1 if found else 0


def code(case: Case, call: Call, width: int | None = WIDTH) -> str:
    """The call, as Python would write it; with a ``width``, long arrays are named by dtype and shape alone."""

    def written(x: Any) -> str:
        if isinstance(x, np.ndarray):
            values = "" if width and x.size > 12 else f"({' '.join(np.array2string(x, separator=',').split())})"
            return f"{x.dtype}{list(x.shape)}{values}"
        if isinstance(x, (list, tuple)):
            return f"({', '.join(map(written, x))})"
        return repr(x)

    given = [*map(written, call.args), *(f"{key}={written(value)}" for key, value in call.kwargs.items())]
    text = f"{case.op}({', '.join(given)}), given {'tensors' if call.tensors else 'arrays'}"
    return text if width is None or len(text) <= width else f"{text[:width]}…"


if __name__ == "__main__":
    sys.exit(main())
