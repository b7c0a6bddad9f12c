"""How long work takes, by part of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Seconds of work by part, and when it all began."""

    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the time of the block to the part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add({part: time.perf_counter() - began})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what was timed already, by part."""
        for part, more in seconds.items():
            self.seconds[part] = round(self.seconds.get(part, 0.0) + more, 3)
