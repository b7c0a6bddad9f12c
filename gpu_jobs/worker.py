"""The worker for RUNNER=queue: polls the work queue and transcribes (``python -m gpu_jobs.worker``).

Runs anywhere with AWS credentials and the stack's settings in the environment (see docs/operations.md); the local
stack starts one. SIGTERM and SIGINT hand the job in progress back to the queue, where any worker goes on with it.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

from gpu_jobs.crew import Crew
from gpu_jobs.engines import build_engines, read_engine_settings
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.pool import ProcessPool
from gpu_jobs.run import RunEnd, Worker, run_job
from shared import logs
from shared.adapters.scratch import scratch_folder
from shared.adapters.sqs import Message, Queue
from shared.bootstrap import bootstrap
from shared.domain.ids import AttemptId, JobId
from shared.settings import Settings, SettingsError

logger = logging.getLogger("gpu_jobs.worker")

POLL_SECONDS = 5  # also how long an idle worker takes to stop; SQS allows 20
PAUSE_AFTER_FAILURE_SECONDS = 2.0
STALLED = 3  # exit status: whoever watches over the worker starts it again
WRONG_SETTINGS = 2  # exit status: starting it again is of no use


def main(make_pipeline: Callable[[], SpeechPipeline] | None = None) -> int:
    """Work until told to stop, with the engines of the environment or a pipeline of the caller's own."""
    logs.configure("worker")
    try:
        services = bootstrap(Settings.from_environment(os.environ))
        queue = services.work_queue
        pipeline = (make_pipeline or _pipeline)()
    except (SettingsError, LookupError, ValueError) as error:
        sys.stderr.write(f"worker: {error}\n")
        return WRONG_SETTINGS
    stop = _stop_on_signals()
    with scratch_folder():
        _work(Worker(services=services, pipeline=pipeline, stop=stop, on_stall=lambda: os._exit(STALLED)), queue)
    return 0


def _pipeline() -> SpeechPipeline:
    """By CHUNK_WORKERS: the chunks of a recording on so many processes, or, by default, in this one."""
    settings = read_engine_settings(os.environ)
    engines = build_engines(settings)
    if settings.chunk_workers < 2:
        return SpeechPipeline(engines)
    pool = ProcessPool(settings, settings.chunk_workers)
    atexit.register(pool.close)
    return SpeechPipeline(Crew(engines=engines, chunks=pool, diarizes_beside=True))


def _work(worker: Worker, queue: Queue) -> None:
    while not worker.stop.is_set():
        try:
            message = queue.receive(POLL_SECONDS)
            if message is not None:
                handle(worker, queue, message)
        except Exception as error:  # noqa: BLE001 - the message comes back by itself; the worker must outlive it
            logger.warning("message_left", extra={"error": type(error).__name__})
            worker.stop.wait(PAUSE_AFTER_FAILURE_SECONDS)


def handle(worker: Worker, queue: Queue, message: Message) -> None:
    """Do one message; afterwards it is deleted, or back in the queue for another run to go on."""
    lease_seconds = int(worker.services.settings.lease.total_seconds())
    try:
        body = json.loads(message.body)
        job_id, attempt_id = JobId(body["job_id"]), AttemptId(body["attempt_id"])
    except (ValueError, KeyError, TypeError):
        logger.exception("message_unreadable", extra={"message_id": message.message_id})  # redrive moves it aside
        return
    with logs.context(message_id=message.message_id):
        end = run_job(worker, job_id, attempt_id, lambda: queue.extend(message.receipt, lease_seconds))
    if end is RunEnd.INTERRUPTED:
        queue.extend(message.receipt, 0)
    else:
        queue.delete(message.receipt)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


if __name__ == "__main__":
    sys.exit(main())
