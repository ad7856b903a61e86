"""What `hornbeam doctor` reports: the facts an issue needs, and what is wrong with the installation."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from typing import Any

from hornbeam import __version__, config
from hornbeam.errors import KerasSetupError

PACKAGES = ("numpy", "llvmlite", "ml_dtypes", "optree", "rich", "click")


def examine() -> dict[str, Any]:
    """Collect everything. Imports Keras, the surest test of it."""
    problems: list[str] = []
    report: dict[str, Any] = {
        "hornbeam": __version__,
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "platform": platform.platform(),
        **_packages(problems),
        **_processor(),
        "engine": config.ENGINE.value,
        **_keras(problems),
    }
    return report | {"problems": problems}


def as_json(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2)


def as_text(report: dict[str, Any]) -> str:
    facts = {name: value for name, value in report.items() if name != "problems"}
    width = max(map(len, facts)) + 2
    lines = [f"{name:<{width}}{value}" for name, value in facts.items()]
    verdict = [f"problem: {problem}" for problem in report["problems"]] or ["Nothing is wrong."]
    return "\n".join([*lines, "", *verdict])


def _packages(problems: list[str]) -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
            problems.append(f"{name} is not installed.\n  Fix: pip install --upgrade hornbeam")
    return versions


def _processor() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        from llvmlite import binding
    except ImportError as error:
        name = llvm = f"unknown: {error}"
    else:
        name, llvm = binding.get_host_cpu_name(), ".".join(map(str, binding.llvm_version_info))
    return {"llvm": llvm, "processor": f"{platform.machine()} {name}", "cores": usable}


def _keras(problems: list[str]) -> dict[str, str]:
    from hornbeam import keras_diagnosis as diagnosis
    from hornbeam.keras_setup import backend, load

    asked = os.environ.pop("KERAS_BACKEND", None)  # what is examined is whether Keras can run on us
    running = "none"
    try:
        load()
        running = backend()
    except KerasSetupError as error:
        problems.append(str(error).partition("\n  at ")[0])  # the line it names is the caller of this command
    except Exception as error:  # Keras itself is broken, and its own words are the best description
        problems.append(f"Keras cannot be imported: {type(error).__name__}: {error}")
    distributions = " and ".join(f"{name} {version}" for name, version in diagnosis.installed().items())
    return {
        "keras": f"{diagnosis.version()} (installed: {distributions or 'none'})",
        "keras backend": f"{running} (KERAS_BACKEND is {asked or 'not set'})",
    }
