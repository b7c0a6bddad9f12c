"""One run of one attempt: from the claim to the settled job. Knows neither Modal nor queues."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from gpu_jobs.fanout import ChunkFailed, ChunkShelf
from gpu_jobs.fetch import Fetcher, FetchSettings
from gpu_jobs.lease import STALL_SECONDS, Interrupted, LeaseKeeper, Watch
from gpu_jobs.progress import OnMeasured, OnProgress
from gpu_jobs.shelf import BucketShelf
from shared import logs
from shared.adapters.s3 import ObjectMissing
from shared.bootstrap import Services
from shared.domain.errors import JobFailure, NotFound, Stale
from shared.domain.ids import AttemptId, JobId
from shared.domain.job_keys import work_prefix
from shared.domain.jobs import Job, Run, Stage
from shared.domain.options import TranscriptionOptions
from shared.domain.reruns import Rerun, RerunStage
from shared.domain.transcripts import Transcript
from shared.services.jobs import Jobs

logger = logging.getLogger(__name__)

AUDIO_MISSING = "The recording is no longer there. Nothing was charged; please upload it again."
RESULT_MISSING = "The transcription that this one builds on was deleted. Nothing was charged."

CHUNK_FAILED = (
    "A part of the recording could not be transcribed, on two tries. Nothing was charged; please submit it again, "
    "and tell us the job's id if it fails again."
)


class RunEnd(StrEnum):
    """What became of a run."""

    COMPLETED = "completed"
    FAILED = "failed"
    GIVEN_BACK = "given_back"  # broke down; the job is queued again or failed for good
    NOT_OURS = "not_ours"  # ended, taken over or held by another run: nothing to do
    INTERRUPTED = "interrupted"  # the process is to end; another run of the attempt may begin at once


class Pipeline(Protocol):
    """The speech work itself (gpu_jobs.pipeline)."""

    def transcribe(
        self,
        path: Path,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: ChunkShelf | None = None,
        on_measured: OnMeasured = ...,
    ) -> Transcript:
        """The transcript of a file. Raises JobFailure, ChunkFailed, and whatever the hooks raise.

        ``on_measured`` is told the real length before any engine starts.
        """

    def diarize_again(
        self,
        path: Path,
        base: Transcript,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: ChunkShelf | None = None,
    ) -> Transcript:
        """The transcript with its speakers found anew. Raises JobFailure and whatever ``on_progress`` raises."""

    def summarize_again(self, base: Transcript, on_progress: OnProgress, shelf: ChunkShelf | None = None) -> Transcript:
        """The transcript with a new summary. Raises whatever ``on_progress`` or the summariser raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What a run needs: the services, the speech work, and the sign that the process is to end."""

    services: Services
    pipeline: Pipeline
    stop: threading.Event
    fetcher: Fetcher = field(default_factory=lambda: Fetcher(FetchSettings.from_environment(os.environ)))
    stall_seconds: float = STALL_SECONDS  # see gpu_jobs.lease.Watch
    on_stall: Callable[[], None] = lambda: None


def run_job(worker: Worker, job_id: JobId, attempt_id: AttemptId, on_beat: Callable[[], None] = lambda: None) -> RunEnd:
    """Do one run of an attempt; never raises for anything the job or its audio did.

    ``on_beat`` is called with every extension of the lease (the queue worker extends its message there).
    """
    run = Run(job_id=job_id, attempt_id=attempt_id, run_token=uuid.uuid4().hex)
    with logs.context(job_id=run.job_id, attempt_id=run.attempt_id):
        try:
            job = worker.services.jobs.begin(run)
        except Stale:
            logger.info("run_not_ours")
            return RunEnd.NOT_OURS
        with logs.context(request_id=job.request_id):
            logger.info("run_begun", extra={"attempt": job.attempt.number if job.attempt else None})
            started = time.monotonic()
            end = _run(worker, run, job, on_beat)
            logger.info("run_ended", extra={"end": end.value, "run_seconds": round(time.monotonic() - started, 3)})
            return end


def _run(worker: Worker, run: Run, job: Job, on_beat: Callable[[], None]) -> RunEnd:
    jobs = worker.services.jobs
    watch = Watch(
        lease=worker.services.settings.lease,
        stop=worker.stop,
        stall_seconds=worker.stall_seconds,
        on_stall=worker.on_stall,
        on_beat=on_beat,
    )
    keeper = LeaseKeeper(jobs, run, job, watch)
    try:
        with keeper:
            transcript = _transcribe(worker, keeper)
            key = worker.services.results.store(keeper.job, run, transcript)
        jobs.complete(
            keeper.job,
            run,
            duration_seconds=transcript.duration_seconds,
            result_key=key,
            compute_seconds=transcript.compute_seconds,
        )
    except Interrupted:
        _excuse(jobs, keeper.job, run)
        return RunEnd.INTERRUPTED
    except KeyboardInterrupt:  # so Modal takes a machine away; it gives the input to another one
        _excuse(jobs, keeper.job, run)
        raise
    except Stale:
        return RunEnd.NOT_OURS
    except JobFailure as failure:
        return _end_badly(jobs, keeper.job, run, failure)
    except Exception:
        logger.exception("run_broke_down")
        return _end_badly(jobs, keeper.job, run, None)
    return RunEnd.COMPLETED


def _transcribe(worker: Worker, keeper: LeaseKeeper) -> Transcript:
    if keeper.job.rerun is not None:
        return _run_stage(worker, keeper, keeper.job.rerun)
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        path = _obtain(worker, keeper, Path(folder))
        shelf = _shelf(worker, keeper)
        try:
            return worker.pipeline.transcribe(
                path, keeper.job.options, keeper.on_progress, shelf, on_measured=keeper.on_measured
            )
        except ChunkFailed as error:
            logger.exception("chunk_failed")
            raise JobFailure("engine_failed", CHUNK_FAILED) from error


def _run_stage(worker: Worker, keeper: LeaseKeeper, rerun: Rerun) -> Transcript:
    """One stage over a finished transcript. The summary needs no recording."""
    try:
        base = worker.services.results.at(rerun.base_key)
    except NotFound as error:
        raise JobFailure("result_missing", RESULT_MISSING) from error
    keeper.on_measured(base.duration_seconds)
    shelf = _shelf(worker, keeper)
    if rerun.stage is RerunStage.SUMMARY:
        return worker.pipeline.summarize_again(base, keeper.on_progress, shelf)
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        path, options = _obtain(worker, keeper, Path(folder)), keeper.job.options
        return worker.pipeline.diarize_again(path, base, options, keeper.on_progress, shelf)


def _shelf(worker: Worker, keeper: LeaseKeeper) -> BucketShelf:
    return BucketShelf(worker.services.bucket, work_prefix(keeper.job.account_id, keeper.job.job_id))


def _obtain(worker: Worker, keeper: LeaseKeeper, folder: Path) -> Path:
    """The recording as a file: from the bucket, or from the web and then into the bucket for whoever comes after."""
    recording, path = keeper.job.recording, folder / "recording"
    try:
        worker.services.bucket.download(recording.key, path)
    except ObjectMissing as error:
        # Words already made must not meet whatever the URL holds by now.
        if recording.source_url is None or keeper.job.rerun is not None:
            raise JobFailure("audio_missing", AUDIO_MISSING) from error
    else:
        return path
    fetched = worker.fetcher.fetch(
        recording.source_url, folder, lambda _bytes: keeper.on_progress(Stage.FETCHING, 0.0, 1.0)
    )
    with fetched.path.open("rb") as file:
        worker.services.bucket.upload(recording.key, file, fetched.content_type or "application/octet-stream")
    return fetched.path


def _excuse(jobs: Jobs, job: Job, run: Run) -> None:
    """What cannot be written is left out: then the run counts, and may still be followed by others."""
    try:
        jobs.excuse(job, run)
    except Exception as error:  # noqa: BLE001 - the process must end now
        logger.warning("run_not_excused", extra={"error": type(error).__name__})


def _end_badly(jobs: Jobs, job: Job, run: Run, failure: JobFailure | None) -> RunEnd:
    """Fail the job for a reason the customer can read, or give it back for another attempt."""
    try:
        if failure is None:
            jobs.give_back(job, run)
            return RunEnd.GIVEN_BACK
        jobs.fail(job, failure, run)
    except Stale:
        return RunEnd.NOT_OURS
    return RunEnd.FAILED
