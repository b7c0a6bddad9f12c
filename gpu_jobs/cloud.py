"""What each machine of the cloud app does, in plain functions: the app itself only says where they run."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpu_jobs import remote
from gpu_jobs.chunk_work import ChunkEngines
from gpu_jobs.crew import Crew
from gpu_jobs.diarize import Diarizer
from gpu_jobs.engines import EngineSet, build_chunk_engines, build_diarizer, build_engines, read_engine_settings
from gpu_jobs.fanout import ChunkShelf
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.planner import GPUS, FleetPlan, plan_fleet
from gpu_jobs.remote import Calls, RemoteChunks, RemoteDiarizer, Values
from gpu_jobs.run import Worker
from gpu_jobs.run import run_job as run
from gpu_jobs.shelf import BucketShelf
from gpu_jobs.stopwatch import Stopwatch
from gpu_jobs.summarize.llm import LlmSummarizer
from shared import logs
from shared.adapters.modal_identity import lend_identity
from shared.bootstrap import Services, bootstrap
from shared.domain.ids import AttemptId, JobId
from shared.domain.job_keys import job_of
from shared.domain.options import TranscriptionOptions
from shared.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The other machines, and how many of which GPU there may be."""

    calls: Calls
    summarise: Callable[[list[dict[str, str]]], Values]
    llm: str
    diarizer: str
    gpu: str
    speakers_gpu: str
    max_gpus: int


def run_job(fleet: Fleet, job_id: str, attempt_id: str) -> str:
    """One run of an attempt on a machine without a GPU; how it ended."""
    services = _services()
    engines = build_engines(read_engine_settings(os.environ))
    pipeline = SpeechPipeline(lambda shelf: crew_of(fleet, services, engines, shelf))
    worker = Worker(services=services, pipeline=pipeline, stop=threading.Event())
    try:
        return run(worker, JobId(job_id), AttemptId(attempt_id)).value
    finally:
        logs.flush()


def crew_of(fleet: Fleet, services: Services, engines: EngineSet, shelf: ChunkShelf) -> Crew:
    """Everything heavy is done elsewhere."""
    if not isinstance(shelf, BucketShelf):
        raise TypeError("machines elsewhere need a shelf in the bucket")
    bucket, elsewhere = services.bucket, Stopwatch()

    def plan(duration_seconds: float, options: TranscriptionOptions) -> FleetPlan:
        speakers = GPUS[fleet.speakers_gpu] if options.diarization else None
        return plan_fleet(duration_seconds, GPUS[fleet.gpu], fleet.max_gpus, speakers=speakers)

    def complete(messages: list[dict[str, str]]) -> str:
        values = fleet.summarise(messages)
        elsewhere.add(values["compute_seconds"])
        return str(values["answer"])

    return Crew(
        engines=EngineSet(
            transcriber=engines.transcriber,
            aligner=engines.aligner,
            diarizer=RemoteDiarizer(fleet.calls, shelf, bucket, fleet.diarizer, elsewhere),
            summarizer=LlmSummarizer(complete, fleet.llm),
        ),
        chunks=RemoteChunks(fleet.calls, shelf, bucket, plan, elsewhere),
        diarizes_beside=True,
        expects=plan,
        elsewhere=elsewhere,
    )


def transcribe_chunk(prefix: str, values: Values) -> Values:
    """On a GPU: one order."""
    services = _services()
    with _logged("transcribe_chunk", prefix):
        return remote.transcribe_chunk(_chunk_engines(), services.bucket, services.upload_bucket, prefix, values)


def choose_language(prefix: str, values: Values) -> Values:
    """On a GPU: the language of a recording."""
    services = _services()
    with _logged("choose_language", prefix):
        return remote.choose_language(_chunk_engines(), services.bucket, services.upload_bucket, prefix, values)


def diarize(prefix: str, values: Values) -> Values:
    """On a GPU: the speakers of a recording."""
    services = _services()
    with _logged("diarize", prefix):
        return remote.diarize(_diarizer(), services.bucket, prefix, values)


@contextlib.contextmanager
def _logged(work: str, prefix: str) -> Iterator[None]:
    """Log the work inside under the job in the prefix, and send what was logged before the machine goes."""
    started = time.monotonic()
    with logs.context(job_id=job_of(prefix), work=work):
        try:
            yield
            logger.info("remote_work_done", extra={"work_seconds": round(time.monotonic() - started, 3)})
        except Exception:
            logger.exception("remote_work_failed")
            raise
        finally:
            logs.flush()


@cache
def _chunk_engines() -> ChunkEngines:
    return build_chunk_engines(read_engine_settings(os.environ))


@cache
def _diarizer() -> Diarizer:
    return build_diarizer(read_engine_settings(os.environ))


def _services() -> Services:
    _lend_identity()
    return _built_services()


@cache
def _built_services() -> Services:
    logs.configure("modal")
    return bootstrap(Settings.from_environment(os.environ))


def _lend_identity() -> None:
    lend_identity(os.environ, Path(tempfile.gettempdir()))
