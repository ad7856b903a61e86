"""``text``: the report to read, made of what ``run`` measured and of nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

OWN = "hornbeam"
HEAD = """# Report

Written by `scripts/bench` from `report.json`, which holds every value. Do not edit.

Times are medians of turns taken in alternation by processes on this machine; `×` is the best peer's time (or memory)
divided by Hornbeam's: above 1 Hornbeam needs less. `× Keras` is the same with the best of Keras's own backends. `–` was
not measured.
"""


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def text(data: dict[str, Any]) -> str:
    parts = [HEAD]
    if data["quick"]:
        parts.append("**A smoke run with tiny sizes: these numbers mean nothing.**\n")
    parts += [_machine(data), _versions(data)]
    if data["tasks"]:
        parts += _tasks(data)
    for name, group in data["micro"].items():
        parts.append(_group(name, group, data["machine"]))
    parts.append(_failures(data))
    return "\n".join(part for part in parts if part)


# -- sections --------------------------------------------------------------------------------------------


def _machine(data: dict[str, Any]) -> str:
    m = data["machine"]
    memory = f"{m['memory_bytes'] / 2**30:.0f} GiB" if m["memory_bytes"] else "–"
    loads = [m["load_before"], m["load_after"]]
    rows = [
        ("processor", f"{m['processor']} ({m['architecture']}), {m['cores']} cores, {memory}"),
        ("system", f"{m['system']}, {m['python']}"),
        ("made", f"{data['made']}, load before and after {', '.join('–' if x is None else f'{x:.1f}' for x in loads)}"),
        ("FMA peak, float32", f"{m['flops'] / 1e9:.0f} GFLOP/s, one core {m['flops_of_one_core'] / 1e9:.0f}"),
        ("triad bandwidth", f"{m['bytes'] / 1e9:.1f} GB/s, one core {m['bytes_of_one_core'] / 1e9:.1f}"),
        ("both measured with", m["how"]),
    ]
    return _table(["machine", ""], rows)


def _versions(data: dict[str, Any]) -> str:
    found: dict[str, dict[str, str]] = {}
    for part in ("tasks", "micro"):
        for task in data[part].values():
            for name, result in task["results"].items():
                found.setdefault(name, {}).update(result.get("warm", {}).get("versions", {}))
    rows = [(name, ", ".join(f"{p} {v}" for p, v in packages.items())) for name, packages in found.items()]
    return _table(["contestant", "versions"], rows)


def _tasks(data: dict[str, Any]) -> list[str]:
    tasks, peak = data["tasks"], data["machine"]["flops"]
    names = list(dict.fromkeys(name for task in tasks.values() for name in task["results"]))

    def section(
        title: str, about: str, value: Callable[[dict[str, Any]], Any], show: Callable[[float], str] = _time
    ) -> str:
        rows = [[n, *_compared({c: value(r) for c, r in t["results"].items()}, names, show)] for n, t in tasks.items()]
        return f"## {title}\n\n{about}\n\n{_table(_headings('task', names), rows)}"

    bounds = []
    for name, task in tasks.items():
        bound = task["flops"] / peak
        steps = _median(task["results"][OWN], "step"), _best(task)
        reached = [f"{100 * bound / seconds:.0f} %" if seconds else "–" for seconds in steps]
        batch, flops = str(task["sizes"]["batch"]), f"{task['flops'] / 1e6:,.2f}"
        bounds.append([name, task["about"], batch, flops, _time(bound), *reached])
    headings = ["task", "what", "batch", "MFLOP a step", "limit at FMA peak", "Hornbeam reaches", "best peer reaches"]
    return [
        section(
            "A training step in `fit`",
            "Of repeated epochs, without the first of each `fit`; of plain PyTorch: of the usual loop.",
            lambda r: _median(r, "step"),
        ),
        _table(headings, bounds),
        section(
            "`predict` of one sample",
            "Of plain PyTorch: the model called in inference mode.",
            lambda r: _median(r, "predict"),
        ),
        section("The first step, cold", "Of a model that is built; no cache on disk.", _started("cold", "first")),
        section("The first step, warm", "The same in a second process.", _started("warm", "first")),
        section("Building the model", "With `compile`.", _started("warm", "build")),
        section("Peak memory", "Resident, of the larger of both processes.", _memory, lambda b: f"{b / 1e6:.0f} MB"),
        _imports(tasks, names),
    ]


def _imports(tasks: dict[str, Any], names: list[str]) -> str:
    """One value for each contestant: an import does not depend on the task."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for task in tasks.values():
        for name, result in task["results"].items():
            seconds[name] += [result[which]["import"] for which in ("cold", "warm") if which in result]
    medians = {name: statistics.median(values) if values else None for name, values in seconds.items()}
    table = _table(_headings("", names), [["import", *_compared(medians, names, _time)]])
    return f"## Import until a model can be built\n\nThe median of all processes.\n\n{table}"


def _group(name: str, group: dict[str, Any], machine: dict[str, Any]) -> str:
    names = list(group["results"])
    one = "_of_one_core" if group["threads"] == 1 else ""
    rows = []
    for case, facts in group["cases"].items():
        values = {c: _median(r, case) for c, r in group["results"].items()}
        own, reached = values[OWN], "–"
        if own and facts["flops"]:
            reached = f"{100 * facts['flops'] / own / machine[f'flops{one}']:.0f} % of FMA"
        elif own and facts["nbytes"]:
            reached = f"{100 * facts['nbytes'] / own / machine[f'bytes{one}']:.0f} % of triad"
        rows.append([case, *_compared(values, names, _time), reached])
    table = _table(_headings("case", names, "Hornbeam reaches"), rows)
    return f"## {name}\n\n{group['about']}; threads: {group['threads']}.\n\n{table}"


def _failures(data: dict[str, Any]) -> str:
    rows = [
        f"- {task}, {name}: `{result['failed'].splitlines()[-1].strip().replace('`', chr(39))}`"
        for part in ("tasks", "micro")
        for task, facts in data[part].items()
        for name, result in facts["results"].items()
        if "failed" in result
    ]
    return "\n".join(["## Failed\n", *rows, ""]) if rows else ""


# -- values ----------------------------------------------------------------------------------------------


def _median(result: dict[str, Any], measure: str) -> float | None:
    return result["median"].get(measure)


def _memory(result: dict[str, Any]) -> int | None:
    return max((result[which]["peak_bytes"] or 0 for which in ("cold", "warm") if which in result), default=0) or None


def _started(which: str, what: str) -> Callable[[dict[str, Any]], Any]:
    return lambda result: result.get(which, {}).get(what)


def _best(task: dict[str, Any]) -> float | None:
    values = [_median(result, "step") for name, result in task["results"].items() if name != OWN]
    return min((v for v in values if v), default=None)


def _compared(values: dict[str, Any], names: list[str], show: Callable[[float], str]) -> list[str]:
    """Cells for ``_headings``."""
    cells = [show(values[n]) if values.get(n) else "–" for n in names]
    rivals = {n: values[n] for n in names if n != OWN and values.get(n)}
    own = values.get(OWN)

    def ratio(names: list[str]) -> str:
        return f"{min(rivals[n] for n in names) / own:.2f}" if own and names else "–"

    keras = [ratio([n for n in rivals if n.startswith("keras-")])] if any(n.startswith("keras-") for n in names) else []
    best = min(rivals, key=rivals.__getitem__) if rivals else "–"
    return [*cells, *keras, best, ratio([*rivals])]


def _headings(first: str, names: list[str], *last: str) -> list[str]:
    keras = ["× Keras"] if any(n.startswith("keras-") for n in names) else []
    return [first, *names, *keras, "best peer", "×", *last]


def _table(headings: list[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)] if len(headings) > 2 else ["---"] * 2, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
