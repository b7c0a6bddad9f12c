"""SIGKILL to functions and workers at random moments. Linux only: children are found in /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rehearsal.weather import Weather

MEAN_SECONDS = 2.0
WORKER_SHARE = 0.4


class Killer:
    """Kills children of the stack at a random pace for the time of the block."""

    def __init__(self, stack_pid: int, weather: Weather) -> None:
        self._stack_pid, self._weather, self._chance = stack_pid, weather, weather.chance("killer")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._kill, name="killer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _kill(self) -> None:
        while not self._done.wait(self._chance.expovariate(1 / MEAN_SECONDS)):
            kind = "worker" if self._chance.random() < WORKER_SHARE else "function"
            mark = "tests.rehearsal.worker" if kind == "worker" else "awslambdaric"
            pids = children(self._stack_pid, mark)
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._chance.choice(pids), signal.SIGKILL)
                    self._weather.count(f"killed: {kind}")


def children(parent: int, mark: str) -> list[int]:
    """Process ids of the parent's children with ``mark`` in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            its_parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if its_parent == parent and mark in command:
                found.append(int(folder.name))
    return sorted(found)
