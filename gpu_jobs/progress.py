"""How far the work on a recording is, told while it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

from gpu_jobs.transcribe import SecondsDone
from shared.domain.plans import WorkPlan

TICK_SECONDS = 1.0  # how soon a run notices that it must stop

T = TypeVar("T")

OnProgress = Callable[[str, float, float], None]
"""Called as ``on_progress(stage, completed_seconds, total_seconds)``; what it raises ends the work and passes through.

Both are audio seconds of work over all stages, each stage weighted by what it costs: completed never falls, and reaches
total. Stages are 'transcribing', 'diarizing' and 'summarizing'.
"""


class OnMeasured(Protocol):
    """Told the real length, once the recording is decoded and before any engine starts, and how the work will be shared
    out where that is planned. What it raises ends the work and passes through."""

    def __call__(self, duration_seconds: float, plan: WorkPlan | None = None) -> None:
        """Take note, or refuse."""


class Progress:
    """Turns the seconds done of each stage into one figure that only grows."""

    def __init__(self, weights: Mapping[str, float], duration_seconds: float, on_progress: OnProgress) -> None:
        self._weights = weights
        self._duration_seconds = duration_seconds
        self._on_progress = on_progress
        self._done = dict.fromkeys(weights, 0.0)
        self._lock = threading.Lock()

    def of(self, stage: str) -> SecondsDone:
        """The hook of one stage."""

        def report(seconds_done: float) -> None:
            with self._lock:
                self._done[stage] = max(self._done[stage], min(seconds_done, self._duration_seconds))
                completed = sum(self._done[name] * weight for name, weight in self._weights.items())
            self._on_progress(stage, completed, self._duration_seconds * sum(self._weights.values()))

        return report

    def finish(self, stage: str) -> None:
        """The stage is over, whatever it reported."""
        self.of(stage)(self._duration_seconds)


def wait_for(work: Future[T], on_tick: Callable[[], None]) -> Future[T]:
    """The work once it is over, well or badly; ``on_tick`` is called every second until then, and may raise."""
    while wait([work], TICK_SECONDS).not_done:
        on_tick()
    return work


def do_beside(work: Callable[[], T], on_tick: Callable[[], None]) -> Future[T]:
    """The same for work in a thread of its own. Where ``on_tick`` raises nobody waits for it: it ends by itself."""
    executor = ThreadPoolExecutor(1, "beside")
    try:
        return wait_for(executor.submit(work), on_tick)
    finally:
        executor.shutdown(wait=False)
