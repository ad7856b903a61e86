"""The building's plan: a module imports its own floor and lower ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hornbeam

ROOT = Path(hornbeam.__file__).parent
ADAPTER = ROOT.parent / "keras_hornbeam"
FLOORS = {"base": 0, "ir": 1, "engines": 2, "runtime": 3, "ops": 4}  # all else in hornbeam is floor 5
BESIDE = {"config", "errors"}  # may be imported by every floor, and import none
PUBLIC = {"", "base", "runtime", "ops"} | BESIDE  # what keras_hornbeam may use; "" is hornbeam itself
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec"}

SOURCES = sorted([*ROOT.rglob("*.py"), *ADAPTER.rglob("*.py")])
each_source = pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT.parent)))


def imports(file: Path) -> list[tuple[str, int]]:
    """The absolute names of the modules that a file imports anywhere in it, with the line."""
    package = file.relative_to(ROOT.parent).parent.parts
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*parents, *(node.module or "").split(".")]).strip(".")
            found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def part(module: str) -> str | None:
    """`hornbeam.ir.node` is of the part `ir`; None outside hornbeam. A name of hornbeam's own __init__ is of `""`."""
    if module != "hornbeam" and not module.startswith("hornbeam."):
        return None
    name = module.split(".")[1] if "." in module else ""
    return name if (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file() else ""


@each_source
def test_a_module_imports_its_own_floor_and_lower_ones(file: Path):
    used = [(name, line) for module, line in imports(file) if (name := part(module)) is not None]
    if ROOT not in file.parents:
        wrong = [(name, line) for name, line in used if name not in PUBLIC]
        assert wrong == [], f"{file.name} may use only {sorted(PUBLIC)} of hornbeam"
        return
    own = file.relative_to(ROOT).parts[0].removesuffix(".py")
    if own == "__init__":
        return  # the table of contents names all of them
    floor = -1 if own in BESIDE else FLOORS.get(own, 5)
    wrong = [(name, line) for name, line in used if name not in BESIDE and floor < FLOORS.get(name, 5)]
    assert wrong == [], f"{file.name} is on floor {floor}"


@each_source
def test_nothing_read_from_a_file_can_run(file: Path):
    tree = ast.parse(file.read_text("utf-8"))
    modules = [(name, line) for name, line in imports(file) if name.partition(".")[0] in FORBIDDEN_MODULES]
    calls = [
        (node.func.id, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS
    ]
    switches = [
        (node.arg, node.value.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", True)
    ]
    assert modules + calls + switches == []


def test_the_plan_is_of_this_building():
    assert all((ROOT / name).is_dir() for name in FLOORS)
    assert len(SOURCES) > 50
