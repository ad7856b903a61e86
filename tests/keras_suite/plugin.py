"""The pytest plug-in under which Keras's own tests run: `-p tests.keras_suite.plugin`.

It stands in for Keras's conftest.py, and bridges what changed in Keras between its tests (of August) and the nightly
they run against. pytest imports it before any test file, and so before anything imports Keras.
"""

from __future__ import annotations

import importlib
import re
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hornbeam import keras_setup

EXCLUDED = Path(__file__).with_name("excluded_tests.txt")

# What Keras's own configuration of pytest says about warnings.
WARNINGS = ("error", *(f"ignore::{name}Warning" for name in (
    "Deprecation", "Import", "Runtime", "PendingDeprecation", "Future", "User",
)), "ignore:Custom mask layers require a config")  # fmt: skip

MARKS = (
    "requires_trainable_backend: for backends that train",
    "multi_device: for more than one device",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("keras suite")
    group.addoption("--sample", type=int, default=1, metavar="N", help="run one test in N, always the same ones")
    group.addoption("--excluded", type=Path, action="append", default=[], help="a list beside excluded_tests.txt")
    group.addoption("--without", action="append", default=[], help="a module: what imports it is skipped or left out")
    group.addoption("--strict-shapes", action="store_true", help="assertAllClose and its like compare shapes, too")


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    for warning in WARNINGS:
        config.addinivalue_line("filterwarnings", warning)
    with suppress(ImportError):
        importlib.import_module("torch")  # ahead of TensorFlow: the other way round it crashes
    name = keras_setup.enable()
    lists = (EXCLUDED, *config.getoption("--excluded"))
    config.stash[RULES] = exclusions(*lists) if name == keras_setup.NAME else {}
    sys.modules["conftest"] = _conftest()
    _bridge(strict_shapes=config.getoption("--strict-shapes"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A line of the list that names a file keeps it from being imported, and so does what it imports itself."""
    if any(str(collection_path).endswith(f"/{part}") for part in config.stash[RULES]):
        return True
    absent = "|".join(config.getoption("--without"))
    if absent and collection_path.name.endswith("_test.py"):
        return bool(re.search(rf"^(import|from) ({absent})\b", collection_path.read_text(), re.MULTILINE)) or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, Any]:
    """A test that meets an import of what the part is without is skipped."""
    report = yield
    name = call.excinfo and missing(call.excinfo.value)
    if name and name.split(".")[0] in item.config.getoption("--without"):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: Needs {name}")
    return report


def missing(error: BaseException | None) -> str | None:
    """The module that could not be imported, also where Keras says so in its own words, or says how to install it."""
    if not isinstance(error, ImportError):
        return None
    if isinstance(error, ModuleNotFoundError):
        return error.name
    told = re.search(r"pip install (\w+)", str(error))
    return missing(error.__cause__ or error.__context__) or (told[1] if told else None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    sample, rules = config.getoption("--sample"), config.stash[RULES]
    kept = [item for item in items if zlib.crc32(item.nodeid.encode()) % sample == 0]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept
    for item in items:
        if item.get_closest_marker("multi_device"):
            item.add_marker(pytest.mark.skip(reason="Requires multiple devices"))
        reason = next((reason for part, reason in rules.items() if _names(part, item.nodeid)), None)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"{PREFIX}{reason}"))


PREFIX = "Excluded: "  # of a skip that the list asks for, by which the tally knows it
RULES = pytest.StashKey[dict[str, str]]()


def _names(part: str, nodeid: str) -> bool:
    return nodeid.endswith(part[:-1]) if part.endswith("$") else part in nodeid


def exclusions(*lists: Path) -> dict[str, str]:
    """The lists: a part of a node's id (its end, with ``$``) or the end of a file's path, to the reason.

    The reason stands above in a comment.
    """
    rules: dict[str, str] = {}
    reason = ""
    for line in "\n".join(file.read_text() for file in lists or (EXCLUDED,)).splitlines():
        if line.startswith("#"):
            reason = line.removeprefix("#").strip()
        elif line.strip():
            rules[line.strip()] = reason
    return rules


def _conftest() -> ModuleType:
    """Tests import this much of Keras's conftest.py."""

    def skip_if_backend(given_backend: str, reason: str) -> Any:
        return pytest.mark.skipif(keras_setup.backend() == given_backend, reason=reason)

    module = ModuleType("conftest")
    module.skip_if_backend = skip_if_backend  # type: ignore[attr-defined]
    return module


def _bridge(strict_shapes: bool) -> None:
    """Give Keras the names that its tests still use."""
    from keras.src import backend, ops, testing

    parts = ("core", "numpy", "nn", "math", "linalg", "image")
    older = {part: importlib.import_module(f"{backend.ops.__name__}.{part}") for part in parts}
    for names in (vars(backend.common), vars(older["core"]), older):
        for name, value in names.items():
            if not name.startswith("_") and not hasattr(backend, name):
                setattr(backend, name, value)
    moved = ((ops, "random", backend.random), (ops.numpy, "amax", ops.numpy.max), (ops.numpy, "amin", ops.numpy.min))
    for module, name, value in moved:
        if not hasattr(module, name):
            setattr(module, name, value)
    if not strict_shapes:
        for name in ("assertAllClose", "assertAlmostEqual", "assertAllEqual"):
            setattr(testing.TestCase, name, _broadcasting(getattr(testing.TestCase, name)))


def _broadcasting(method: Any) -> Any:
    """An assertion that lets its two arguments broadcast, as it did when the tests were written."""

    def check(self: Any, actual: Any, desired: Any, *args: Any, **kwargs: Any) -> None:
        with _shapes_ignored(self):
            method(self, actual, desired, *args, **kwargs)

    return check


@contextmanager
def _shapes_ignored(case: Any) -> Iterator[None]:
    """Within, the test case finds any two shapes equal; what compares the elements is NumPy's and goes on checking."""
    original = case.assertEqual

    def equal(first: Any, second: Any, msg: Any = None) -> None:
        if not str(msg).startswith("Shapes don't match"):
            original(first, second, msg)

    case.assertEqual = equal
    try:
        yield
    finally:
        del case.assertEqual
