"""``python -m tests.rehearsal``: a bad day, and what is left of it. Exit status 0 when everything holds."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.rehearsal.bill import Line, judge
from tests.rehearsal.day import QUEUES, QUICK_QUEUES, Day, Size, open_day, spend

LIMIT_SECONDS = 15 * 60.0  # for the 500 jobs of the issue, on two cores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rehearsal; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.rehearsal", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument(
        "--brief", action="store_true", help="no poison for deliveries and drops, which try it a hundred times"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep what functions and workers printed")
    given = parser.parse_args(arguments)
    console = Console(highlight=False, width=120)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {text}", markup=False)

    poisoned = QUICK_QUEUES if given.brief else QUEUES
    size = Size(jobs=given.jobs, workers=given.workers, seed=given.seed, poisoned=poisoned)
    say(f"a bad day with {size.jobs} jobs and {size.workers} workers, seed {size.seed}")
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder, open_day(size, Path(folder)) as day:
        spend(day, say)
        lines = judge(day)
        _show_weather(console, day)
        if given.log:
            given.log.write_text(day.stack.log)
    seconds = time.monotonic() - began
    _show_bill(console, lines)
    rate = size.jobs / day.ended_seconds * 60
    say(f"{rate:.0f} jobs a minute through the storm; {size.jobs} jobs ended in {day.ended_seconds:.0f} s")
    say(f"the last deliveries and the poison took {day.night_seconds:.0f} s more; {seconds:.0f} s in all")
    if seconds > LIMIT_SECONDS:
        say(f"that is longer than {LIMIT_SECONDS:.0f} s")
    return 0 if all(line.holds for line in lines) and seconds <= LIMIT_SECONDS else 1


def _show_weather(console: Console, day: Day) -> None:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for what, count in sorted(day.weather.counts().items()):
        kind, _, how = what.partition(": ")
        by_kind[kind].append(f"{count} {how}")
    table = Table(title="What was done to it", show_header=False)
    for kind, ways in by_kind.items():
        table.add_row(kind, ", ".join(ways))
    table.add_row("customers were told", ", ".join(f"{n} {a}" for a, n in sorted(day.customers.sent.answers.items())))
    table.add_row("clocks went ahead by", f"{day.weather.offset_seconds / 3600:.1f} h")
    console.print(table)


def _show_bill(console: Console, lines: list[Line]) -> None:
    table = Table("", "What must be true", "Found", title="The bill")
    for line in lines:
        table.add_row("[green]ok" if line.holds else "[red]NO", line.claim, line.found)
        for problem in line.problems:
            table.add_row("", "", f"[red]{problem}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
