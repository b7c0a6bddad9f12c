"""What a command has to show: rows for a person, the same as JSON for a script."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The outcome of a command. ``failed`` makes the exit status 1; ``note`` is for people only.

    ``line`` is printed by itself and never wrapped, for what will be copied.
    """

    data: Any
    title: str
    rows: Sequence[dict[str, Any]] = field(default_factory=tuple)
    note: str = ""
    line: str = ""
    failed: bool = False


def show(console: Console, shown: Shown, *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        console.out(json.dumps(shown.data, indent=2, ensure_ascii=False), highlight=False)
        return
    if shown.rows:
        table = Table(title=shown.title, title_justify="left", title_style="bold", header_style="bold")
        for name, value in shown.rows[0].items():
            number = isinstance(value, int | float)
            table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=name.endswith("_id"))
        for row in shown.rows:
            table.add_row(*(_cell(value) for value in row.values()), style="red" if row.get("ok") == "NO" else None)
        console.print(table)
    else:
        console.print(shown.title, style="bold")
    if shown.line:
        console.out(shown.line, highlight=False)
    if shown.note:
        console.print(shown.note, style="bold red" if shown.failed else "green")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
