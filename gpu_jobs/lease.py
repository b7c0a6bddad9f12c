"""A run keeps its lease while it works: the job is its own as long as it gives a sign of life."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from shared.domain.errors import Stale
from shared.domain.jobs import Job, Progress, Run, Stage
from shared.domain.plans import WorkPlan
from shared.services.jobs import Jobs

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0  # progress is written at most this often
STALL_SECONDS = 7200.0  # longer than the longest step without a sign of life: 5 GB from the bucket over a slow line


class Interrupted(Exception):
    """The run must stop now: its process is to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How a run is watched. ``on_beat`` is called with every extension of the lease.

    A run that is silent for ``stall_seconds`` hangs: it loses its lease, and ``on_stall`` is called, from another
    thread. ``stop`` is the sign that the process is to end.
    """

    lease: timedelta
    stop: threading.Event
    stall_seconds: float
    on_stall: Callable[[], None]
    on_beat: Callable[[], None]


class LeaseKeeper:
    """Keeps a run's lease alive from a thread of its own and writes its progress.

    All writes of the job go through here, one at a time, so ``job`` is always the newest revision. A lost job is told
    to the pipeline at its next progress call.
    """

    def __init__(self, jobs: Jobs, run: Run, job: Job, watch: Watch) -> None:
        self._jobs = jobs
        self._run = run
        self.job = job
        self._watch = watch
        self._heard_at = time.monotonic()
        self._beat_seconds = watch.lease.total_seconds() / 3
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._lost: Stale | None = None
        self._progress = Progress(stage=Stage.FETCHING, percent=0)
        self._plan: WorkPlan | None = None
        self._length_seconds: float | None = None
        self._thread = threading.Thread(target=copy_context().run, args=(self._keep,), name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        if kind is None and self._lost is not None:
            raise self._lost

    def on_progress(self, stage: str, completed_seconds: float, total_seconds: float) -> None:
        """The pipeline's hook. Raises Interrupted when the process is to end, Stale when the job was lost."""
        self._heard_at = time.monotonic()
        if self._watch.stop.is_set():
            raise Interrupted
        if self._lost is not None:
            raise self._lost
        share = completed_seconds / total_seconds if total_seconds > 0 else 1.0
        percent = min(99, int(100 * share))
        self._progress = Progress(
            stage=Stage(stage), percent=percent, plan=self._plan, length_seconds=self._length_seconds
        )

    def on_measured(self, duration_seconds: float, plan: WorkPlan | None = None) -> None:
        """Hold what the real duration costs; it and the plan go into the job with the next beat.

        Raises JobFailure or Stale.
        """
        self._plan, self._length_seconds = plan, duration_seconds
        with self._lock:
            self.job = self._jobs.ensure_hold(self.job, self._run, duration_seconds)

    def _keep(self) -> None:
        reported, silent_seconds = Progress(stage=Stage.FETCHING, percent=0), 0.0
        while not self._done.wait(min(REPORT_SECONDS, self._beat_seconds)):
            silent_seconds += REPORT_SECONDS
            if time.monotonic() - self._heard_at > self._watch.stall_seconds:
                logger.error("run_stalled")
                self._lost = Stale("the run gives no sign of life")
                self._watch.on_stall()
                return
            progress = self._progress
            if progress == reported and silent_seconds < self._beat_seconds:
                continue
            try:
                with self._lock:
                    self.job = self._jobs.report(self.job, self._run, progress)
                self._watch.on_beat()
            except Stale as lost:
                self._lost = lost
                return
            except Exception as error:  # noqa: BLE001 - one missed beat is no reason to stop: the lease outlasts it
                logger.warning("beat_missed", extra={"error": type(error).__name__})
                continue  # and again in a second
            reported, silent_seconds = progress, 0.0
