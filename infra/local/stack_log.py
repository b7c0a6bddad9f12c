"""The stack's log: what functions and workers print, each line with its source, and what the stack itself says."""

from __future__ import annotations

import sys
import threading
from collections import deque
from pathlib import Path
from typing import TextIO

_REMEMBERED_LINES = 40


class StackLog:
    """Keeps the last lines of every source; writes all lines to ``file`` and, when ``verbose``, to stderr."""

    def __init__(self, *, file: Path | None = None, verbose: bool = False) -> None:
        self._file: TextIO | None = file.open("a", encoding="utf-8", buffering=1) if file else None
        self._verbose = verbose
        self._tails: dict[str, deque[str]] = {}
        self._lock = threading.Lock()

    def line(self, source: str, text: str) -> None:
        """One line that ``source`` printed."""
        with self._lock:
            self._tails.setdefault(source, deque(maxlen=_REMEMBERED_LINES)).append(text)
            self._write(f"[{source}] {text}", to_stderr=self._verbose)

    def notice(self, text: str) -> None:
        """Something a person should see: always on stderr."""
        with self._lock:
            self._write(f"[stack] {text}", to_stderr=True)

    def tail(self, source: str) -> str:
        """The last lines of ``source``."""
        with self._lock:
            return "\n".join(self._tails.get(source, ()))

    def _write(self, text: str, *, to_stderr: bool) -> None:
        if self._file:
            self._file.write(text + "\n")
        if to_stderr:
            print(text, file=sys.stderr, flush=True)
