"""What the documents say is what happens: every block of code in them runs.

The ```python blocks of one document run in order, in one namespace, in a process and a folder of their own. A block
may be followed by a ```text block, which is then what it printed; `…` in it stands for anything. A ```bash block is a
list of commands; those that begin with `hornbeam` or `python` run. A block that begins with a comment like
`# train.py` is saved under that name, and some command of the document must run it; the ```text block after the
command is what that printed. There is no tag that keeps a block from running.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TAGS = {"python", "bash", "text"}  # text: output, and drawings
MARK = "-- end of block --"


class Block(NamedTuple):
    tag: str
    line: int  # of its first line, from 1
    code: str

    @property
    def file(self) -> str | None:
        """The name under which the reader is to save it."""
        named = re.match(r"# (\w+\.py)\n", self.code)
        return named[1] if named and self.tag == "python" else None


def blocks(document: Path) -> list[Block]:
    found, tag, start, kept = [], None, 0, []
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(.*)$", line)
        if fence is None:
            kept.append(line)
        elif tag is None:
            tag, start, kept = fence[1].strip(), number + 1, []
        else:
            found.append(Block(tag, start, "\n".join(kept)))
            tag = None
    assert tag is None, f"{document.name}:{start}: this block has no end"
    return found


def environment(folder: Path) -> dict[str, str]:
    """This process's way to Hornbeam, and the commands installed beside its Python."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "KERAS_HOME": str(folder / "keras"),
        "HOME": str(folder),
        "COLUMNS": "100",
    }


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture
def folder(tmp_path):
    """An empty folder in which `hornbeam` is a command, whether or not it is installed."""
    command = tmp_path / "bin" / "hornbeam"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m hornbeam "$@"\n')
    command.chmod(0o755)
    return tmp_path


each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


@each_document
def test_tags(document: Path):
    assert [f"line {b.line}: {b.tag!r}" for b in blocks(document) if b.tag not in TAGS] == []


@each_document
def test_code(document: Path, folder: Path):
    listed = blocks(document)
    python = [b for b in listed if b.tag == "python" and b.file is None]
    program = []
    for block in python:
        # Line numbers in tracebacks and messages are then those of the document.
        code = "\n" * (block.line - 1) + block.code
        program.append(f"exec(compile({code!r}, {document.name!r}, 'exec'))\nprint({MARK!r}, flush=True)\n")
    (folder / "_document.py").write_text("".join(program), "utf-8")
    done = run([sys.executable, "_document.py"], folder)
    assert done.returncode == 0, f"{document.name}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    printed = done.stdout.split(MARK + "\n")
    for block, after in pairwise(listed):
        if block in python and after.tag == "text":
            compare(document, after, printed[python.index(block)])


@each_document
def test_commands(document: Path, folder: Path):
    listed = blocks(document)
    commands = "".join(b.code for b in listed if b.tag == "bash")
    for block in listed:
        if block.file is not None:
            assert block.file in commands, f"{document.name}:{block.line}: nothing runs {block.file}"
            (folder / block.file).write_text(block.code + "\n", "utf-8")
    for block, after in pairwise([*listed, Block("", 0, "")]):
        if block.tag == "bash":
            printed = "".join(command(document, block, line, folder) for line in block.code.splitlines())
            if after.tag == "text":
                compare(document, after, printed)


def command(document: Path, block: Block, line: str, folder: Path) -> str:
    """What a command printed; those for the reader alone (pip, git) are not run."""
    if not re.match(r"([A-Z_]+=\S* )*(hornbeam|python) ", line):
        return ""
    done = run(["/bin/sh", "-c", line], folder)
    assert done.returncode == 0, f"{document.name}:{block.line}: {line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compare(document: Path, block: Block, printed: str) -> None:
    """The text shown is what was printed; `…` stands for anything, and how a line is broken does not count."""
    parts = [re.escape(" ".join(part.split())) for part in block.code.split("…")]
    wanted = re.sub(r"(\\ )?\.\*\?(\\ )?", ".*?", ".*?".join(parts))
    shown = " ".join(printed.split())
    assert re.fullmatch(wanted, shown, re.S), f"{document.name}:{block.line}: it printed\n{printed}"


@each_document
def test_links(document: Path):
    """Links to files of this repository lead somewhere."""
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.S)
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [t for t in targets if t and not re.match(r"\w+:", t)]
    assert [t for t in local if not (document.parent / t).exists()] == []
