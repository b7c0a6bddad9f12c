"""The repository as the frame's tests read it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("shared", "functions", "gpu_jobs", "infra")
_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


def python_files(*places: str) -> Iterator[Path]:
    """Every Python file of the folders (or single files) named, relative to the repository."""
    for place in places:
        path = ROOT / place
        yield from [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def imported_modules(file: Path) -> set[str]:
    """The top-level modules that ``file`` imports when it runs: also inside functions, not under TYPE_CHECKING."""
    found: set[str] = set()
    unread: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while unread:
        node = unread.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            unread.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        unread.extend(ast.iter_child_nodes(node))
    return found


def required(name: str) -> set[str]:
    """The distributions that requirements/``name``.txt names itself, in normal form."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return {normal(match[1]) for line in lines if (match := _NAME.match(line))}


def pins() -> dict[str, str]:
    """Every pinned distribution, in normal form, with its version."""
    lines = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {normal(name): version for name, version in (line.split("==") for line in lines if "==" in line)}


def normal(distribution: str) -> str:
    """A distribution's name as the packaging rules (PEP 503) compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def make_targets() -> dict[str, tuple[str, str]]:
    """The Makefile's public targets, each with what it depends on and its recipe."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.finditer(r"^([a-z-]+):([^\n#]*)##[^\n]*\n((?:\t[^\n]*\n)*)", text, re.MULTILINE)
    return {rule[1]: (rule[2].strip(), rule[3]) for rule in rules}
