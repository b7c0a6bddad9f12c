"""Follows a handler's module-level imports through our own packages and names what it needs from outside.

The artefacts are built for another machine than this one, so importing from them proves nothing here; reading does.
Imports inside functions are left out: they are for what only some deployments have (modal).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

OWN = ("functions", "shared")


def outside_imports(handler: str, folder: Path) -> set[str]:
    """The top-level names outside the standard library that importing ``module.function`` imports.

    Raises FileNotFoundError when a module of ours is not in ``folder``.
    """
    found: set[str] = set()
    waiting, seen = [handler.rpartition(".")[0]], set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        top = module.partition(".")[0]
        if top in OWN:
            waiting.extend(_imported(module, folder))
        elif top not in sys.stdlib_module_names:
            found.add(top)
    return found


def has_module(name: str, folder: Path) -> bool:
    """Whether ``folder`` holds a package or a module of this name."""
    return (folder / name).is_dir() or bool(list(folder.glob(f"{name}*.py"))) or bool(list(folder.glob(f"{name}.*.so")))


def _imported(module: str, folder: Path) -> Iterator[str]:
    for statement in _top_level(ast.parse(_path(module, folder).read_text("utf-8")).body):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            if statement.module.partition(".")[0] in OWN:
                names = (f"{statement.module}.{alias.name}" for alias in statement.names)
                yield from (name for name in names if _is_module(name, folder))
    parent = module.rpartition(".")[0]
    if parent:
        yield parent


def _top_level(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: not inside functions, not for the type checker only."""
    for statement in statements:
        yield statement
        match statement:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _top_level(statement.orelse)
            case ast.If() | ast.Try() | ast.With() | ast.ClassDef():
                yield from _top_level(statement.body)
                yield from _top_level(getattr(statement, "orelse", []))


def _is_module(name: str, folder: Path) -> bool:
    try:
        return _path(name, folder).exists()
    except FileNotFoundError:
        return False


def _path(module: str, folder: Path) -> Path:
    base = folder.joinpath(*module.split("."))
    for path in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if path.exists():
            return path
    raise FileNotFoundError(f"{module} is not in {folder}")
