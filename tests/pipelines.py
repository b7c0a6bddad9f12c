"""For speech pipelines of tests: what a run hands to one, in one piece, and how one is run."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_jobs.progress import OnMeasured, OnProgress
from gpu_jobs.run import Pipeline, RunEnd, Worker, run_job
from shared.bootstrap import Services
from shared.domain.ids import JobId
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A recording to transcribe, and whom to tell how it goes."""

    path: Path
    options: TranscriptionOptions
    on_progress: OnProgress
    on_measured: OnMeasured


class StandIn:
    """A pipeline that says what ``hear`` gives, and refuses to run a stage again."""

    def hear(self, asked: Asked) -> Transcript:
        """The transcript."""
        raise NotImplementedError

    def transcribe(
        self,
        path: Path,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: object = None,
        on_measured: OnMeasured = lambda _seconds, _plan=None: None,
    ) -> Transcript:
        """What ``hear`` gives."""
        return self.hear(Asked(path=path, options=options, on_progress=on_progress, on_measured=on_measured))

    def diarize_again(self, *_: Any, **__: Any) -> Transcript:
        """Not here."""
        raise NotImplementedError

    def summarize_again(self, *_: Any, **__: Any) -> Transcript:
        """Not here."""
        raise NotImplementedError


def work_on(services: Services, job_id: str, pipeline: Pipeline, **more: Any) -> RunEnd:
    """Do what the dispatcher and a worker do with a job; ``more`` is the worker's."""
    services.jobs.dispatch(JobId(job_id))
    job = services.jobs.look_up(JobId(job_id))
    if job is None or job.attempt is None:
        return RunEnd.NOT_OURS
    worker = Worker(services=services, pipeline=pipeline, stop=threading.Event(), **more)
    return run_job(worker, job.job_id, job.attempt.attempt_id)
