"""Times Hornbeam beside its peers, in one run on one machine.

    scripts/bench                                    everything, into benchmarks/REPORT.md and benchmarks/report.json
    scripts/bench --quick                            tiny sizes, to see that it works
    scripts/bench --tasks mlp,cnn,matmul             only these
    scripts/bench --peer-python ../env/bin/python    peers of that environment, instead of installing them
    scripts/bench --peers none                       Hornbeam alone

For every task each contestant has a process, started with an empty cache (the cold first step), then another with the
cache so filled (the warm one), which stays. Those take turns, A B C A B C ..., at every measure; a turn's values are
kept, and their median is reported. Exits with 1 if Hornbeam fails at a task.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import machine, peers, report
from benchmarks.micro import GROUPS
from benchmarks.peers import LIBRARIES, OWN, TRAINERS, Contestant
from benchmarks.tasks import TASKS

HERE = Path(__file__).resolve().parent
QUICK = ("article", "mlp", "matmul", "calls")  # what a smoke run does unless told otherwise
PAUSE = 0.25  # seconds before a turn: threads of others' pools spin that long before they sleep


class Failure(Exception):
    """A worker ended, or was ended, before it answered; with what it said."""


class Worker:
    """A process of one contestant at one task; see ``worker``."""

    def __init__(
        self, contestant: Contestant, task: str, python: str, cache: Path, options: argparse.Namespace
    ) -> None:
        threads = GROUPS[task].threads if task in GROUPS else 0
        cache.mkdir(parents=True, exist_ok=True)
        self.limit = options.limit
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        command = [python, "-m", "benchmarks.worker", contestant.name, task, "--kind", contestant.kind]
        command += ["--repeats", str(options.repeats), "--window", str(options.window), "--threads", str(threads)]
        self.process = subprocess.Popen(
            command + ["--tiny"] * options.quick,
            cwd=HERE.parent,
            env=peers.environment(contestant, cache, threads or machine.cores()),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.began: dict[str, Any] = {}

    def start(self) -> None:
        self.began = self._answer()

    def turn(self, measure: str) -> list[float]:
        time.sleep(PAUSE)
        assert self.process.stdin
        try:
            print(measure, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # it ended; the answer says how
        return self._answer()

    def end(self) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            return self._answer()
        finally:
            self.stop()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass

    def _answer(self) -> Any:
        assert self.process.stdout
        timer = threading.Timer(self.limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        raise Failure(f"exit code {code}: {self.errors.read()[-2000:].strip()}")


def compete(
    task: str, contestants: list[Contestant], pythons: dict[str, str], options: argparse.Namespace
) -> dict[str, Any]:
    """The results of each at ``task``, by name."""
    results: dict[str, Any] = {}
    workers: dict[str, Worker] = {}
    with tempfile.TemporaryDirectory(prefix="hornbeam-bench-") as folder:
        for contestant in contestants:
            name, python = contestant.name, pythons[contestant.peer]
            result: dict[str, Any] = {"turns": {}}
            print(f"  {name} ...", file=sys.stderr)
            worker = None
            try:
                if contestant.kind != "micro":
                    worker = Worker(contestant, task, python, Path(folder, name), options)
                    worker.start()
                    result["cold"] = worker.began | worker.end()
                worker = Worker(contestant, task, python, Path(folder, name), options)
                worker.start()
                workers[name] = worker
            except Failure as failure:
                result = {"failed": str(failure)}
                if worker:
                    worker.stop()
            results[name] = result
        measures = dict.fromkeys(m for w in workers.values() for m in w.began["measures"])
        for measure in measures:
            for _ in range(options.rounds):
                for name, worker in list(workers.items()):
                    try:
                        results[name]["turns"].setdefault(measure, []).extend(worker.turn(measure))
                    except Failure as failure:
                        results[name] = {"failed": f"{measure}: {failure}"}
                        workers.pop(name).stop()
        for name, worker in workers.items():
            try:
                results[name] |= {"warm": worker.began | worker.end()}
            except Failure as failure:
                results[name] = {"failed": str(failure)}
    for result in results.values():
        turns = result.get("turns", {})
        result["median"] = {measure: statistics.median(values) for measure, values in turns.items() if values}
    return results


def main(options: argparse.Namespace) -> int:
    names = options.tasks or [*(QUICK if options.quick else (*TASKS, *GROUPS))]
    wanted = [*peers.PACKAGES] if options.peers is None else options.peers
    if options.peer_python:
        found = peers.find(options.peer_python)
    elif options.quick:
        found = peers.installed()
    else:
        found = peers.install(wanted)
    pythons = {OWN: sys.executable} | {peer: python for peer, python in found.items() if peer in wanted}

    data: dict[str, Any] = {
        "made": time.strftime("%Y-%m-%d %H:%M %Z"),
        "quick": options.quick,
        "options": {"rounds": options.rounds, "repeats": options.repeats, "window": options.window},
        "machine": machine.facts() | {"load_before": machine.load()} | machine.limits(options.quick),
        "tasks": {},
        "micro": {},
    }
    whole = not options.quick and not options.tasks and {*pythons} == {OWN, *peers.PACKAGES}
    folder = options.output or (HERE if whole else HERE / "results")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"{name}:", file=sys.stderr)
        contestants = [c for c in (TRAINERS if name in TASKS else LIBRARIES) if c.peer in pythons]
        if name in TASKS:
            sizes = TASKS[name].sized(options.quick)
            facts = {"about": TASKS[name].about, "sizes": vars(sizes), "flops": TASKS[name].flops(sizes)}
            data["tasks"][name] = facts | {"results": compete(name, contestants, pythons, options)}
        else:
            group = GROUPS[name]
            cases = {case.name: case._asdict() for case in group.sized(options.quick)}
            contestants = [c for c in contestants if c.name in group.libraries]
            facts = {"about": group.about, "threads": group.threads or machine.cores(), "cases": cases}
            data["micro"][name] = facts | {"results": compete(name, contestants, pythons, options)}
        data["machine"]["load_after"] = machine.load()
        write(data, folder)  # so far: the whole takes long
    print(f"Written: {folder / 'REPORT.md'}, {folder / 'report.json'}")
    failed = [n for part in ("tasks", "micro") for n, t in data[part].items() if "failed" in t["results"][OWN]]
    for name in failed:
        print(f"Hornbeam failed at {name}; see the report.", file=sys.stderr)
    return 1 if failed else 0


def write(data: dict[str, Any], folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    (folder / "REPORT.md").write_text(report.text(data), "utf-8")


def parse() -> argparse.Namespace:
    def listed(valid: list[str]) -> Any:
        def read(text: str) -> list[str]:
            names = [n for n in text.split(",") if n and n != "none"]
            unknown = [n for n in names if n not in valid]
            if unknown:
                raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not among {', '.join(valid)}")
            return names

        return read

    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few turns; installs no peers")
    parser.add_argument("--tasks", type=listed([*TASKS, *GROUPS]), help=f"by comma: {', '.join([*TASKS, *GROUPS])}")
    names = [*peers.PACKAGES]
    parser.add_argument("--peers", type=listed(names), help=f"by comma: {', '.join(names)}; or none")
    parser.add_argument("--peer-python", action="append", help="a Python that has peers; may be given several times")
    parser.add_argument("--rounds", type=int, help="turns of everyone at every measure")
    parser.add_argument("--output", type=Path, help="a folder for the report of this run")
    parser.add_argument("--limit", type=float, default=1200, help="seconds after which a silent worker has failed")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 7)
    options.repeats, options.window = (1, 0.002) if options.quick else (3, 0.05)
    return options


if __name__ == "__main__":
    sys.exit(main(parse()))
