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
from collections.abc import Iterator
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
SECONDS = 60.0  # for one call and its gradient
WIDTH = 150  # of what is printed of a call


@dataclass(frozen=True)
class Found:
    """A disagreement, where it was met, and the reason if known.toml lists it."""

    op: str
    index: int
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
    rules = known.read()
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = workers(options, Path(scratch))
        try:
            if options.case is not None:
                return show(options, ours, theirs)
            found = list(everything(options, ours, theirs, rules))
        finally:
            ours.stop()
            theirs.stop()
    return report(found, options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/differential", allow_abbrev=False, description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the arguments (default: 0)")
    parser.add_argument("--cases", type=int, default=20, metavar="N", help="calls of each operation (default: 20)")
    parser.add_argument("--ops", nargs="+", metavar="OP", default=[], help="only these, by the names in cases.py")
    parser.add_argument("--case", type=int, metavar="I", help="only the Ith call of the one --ops, shown whole")
    parser.add_argument("--engine", default="native", choices=("native", "reference"))
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


def workers(options: argparse.Namespace, scratch: Path) -> tuple[Worker, Worker]:
    """Both backends' processes. Exits where they run different versions of Keras."""
    env = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "KERAS_HOME": str(scratch),  # keras.json may set another floatx
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1" if options.x64 else "0",
        "HORNBEAM_ENGINE": options.engine,
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    pair = [
        Worker(name, python, env | {"KERAS_BACKEND": name}, (scratch / f"{name}.log").open("wb"))
        for name, python in (("hornbeam", sys.executable), ("jax", peer(options.peer_python)))
    ]
    with ThreadPoolExecutor() as pool:
        list(pool.map(Worker.start, pair))
    ours, theirs = pair
    if ours.keras != theirs.keras:
        sys.exit(
            f"Hornbeam's environment has Keras {ours.keras} and the other one {theirs.keras}: what differs might be\n"
            f"Keras's own. Install the same nightly in both:\n"
            f"    {theirs.command[0]} -m pip install keras-nightly=={ours.keras}"
        )
    return ours, theirs


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


def everything(options: argparse.Namespace, ours: Worker, theirs: Worker, rules: list[known.Rule]) -> Iterator[Found]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        for case in (CASES[op] for op in options.ops or CASES):
            calls = [drawn(case, options, index) for index in range(options.cases)]
            requests = [request(case, call) for call in calls]
            pair = [pool.submit(lambda w=worker: [w.ask(r) for r in requests]) for worker in (ours, theirs)]
            new = 0
            for index, (call, *answers) in enumerate(zip(calls, *(future.result() for future in pair), strict=True)):
                dead = [answer for answer in answers if isinstance(answer, Disagreement)]
                for what in dead or disagreements(case, call, *answers):
                    text = code(case, call)
                    reason = known.reason(rules, case.op, what, code(case, call, width=100_000), options.x64)
                    new += reason is None
                    yield Found(case.op, index, text, what, reason)
            if sys.stderr.isatty() or new:
                print(f"{case.op}: {new or 'no'} disagreements", file=sys.stderr)


def report(found: list[Found], options: argparse.Namespace) -> int:
    """Print the disagreements; 1 if some are not listed."""
    new = [one for one in found if one.reason is None]
    for one in found if options.known else new:
        listed = f"  listed: {one.reason}\n" if one.reason else ""
        flags = f"--ops {one.op} --seed {options.seed} --case {one.index} --engine {options.engine}"
        print(f"{one.op} [{one.what.kind}]: {one.what.detail}\n  {one.call}\n{listed}"
              f"  scripts/differential {flags}{' --x64' if options.x64 else ''}\n")  # fmt: skip
    count = len(options.ops or CASES)
    print(f"{count} operations, {options.cases} calls of each, seed {options.seed}, engine {options.engine}: "
          f"{len(new)} disagreements, and {len(found) - len(new)} that are listed with their reasons.")  # fmt: skip
    return 1 if new else 0


def show(options: argparse.Namespace, ours: Worker, theirs: Worker) -> int:
    """One call, and all that both make of it."""
    case = CASES[options.ops[0]]
    call = drawn(case, options, options.case)
    with np.printoptions(threshold=10_000, linewidth=WIDTH, suppress=True):
        print(code(case, call, width=100_000), "\n")
        answers = [worker.ask(request(case, call)) for worker in (ours, theirs)]
        for name, answer in zip(("hornbeam", "jax"), answers, strict=True):
            if isinstance(answer, Disagreement):
                print(answer)
                continue
            for part in ("result", "reading", "gradients"):
                value = getattr(answer, part)
                told = value if isinstance(value, Raised) or value is None else [x.value for x in leaves(value)]
                print(f"{name}, {part}:", *(told if isinstance(told, list) else [told]), sep="\n  ")
    dead = [answer for answer in answers if isinstance(answer, Disagreement)]
    found = dead or disagreements(case, call, *answers)
    print("", *(f"[{one.kind}] {one.detail}" for one in found), sep="\n")
    return 1 if found else 0


def code(case: Case, call: Call, width: int = WIDTH) -> str:
    """The call as Python would write it, but for the arrays' values where they are many."""

    def written(x: Any) -> str:
        if isinstance(x, np.ndarray):
            values = f", {' '.join(np.array2string(x, separator=',').split())}" if x.size <= 12 or width > WIDTH else ""
            return f"{x.dtype}{list(x.shape)}{values}"
        if isinstance(x, (list, tuple)):
            return f"({', '.join(map(written, x))})"
        return repr(x)

    given = [*map(written, call.args), *(f"{key}={written(value)}" for key, value in call.kwargs.items())]
    text = f"{case.op}({', '.join(given)}){' of tensors' if call.tensors else ' of arrays'}"
    return text if len(text) <= width else f"{text[:width]}…"


if __name__ == "__main__":
    sys.exit(main())
