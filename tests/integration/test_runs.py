"""A run keeps its lease while it works, and only then."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from gpu_jobs.progress import OnMeasured, OnProgress
from gpu_jobs.run import RunEnd, Worker, run_job
from shared.bootstrap import Services
from shared.domain.ids import AttemptId, JobId
from shared.domain.jobs import Run
from shared.domain.options import TranscriptionOptions
from shared.domain.plans import WorkPlan
from shared.domain.transcripts import Transcript
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import Engine, submit

PATIENCE_SECONDS = 30
PLAN = WorkPlan(gpu="L4", gpus=3, chunk_seconds=20.0, expected_wall_seconds=15.5, expected_cost_usd=0.0123)


class Waiting(Engine):
    """Says nothing any more, after one word of progress, until it is let go."""

    def __init__(self) -> None:
        super().__init__(60.0)
        self.let_go = threading.Event()

    def transcribe(
        self,
        path: Path,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: object = None,
        on_measured: OnMeasured = lambda _seconds, _plan=None: None,
    ) -> Transcript:
        on_progress("transcribing", 30.0, 60.0)
        assert self.let_go.wait(PATIENCE_SECONDS)
        on_progress("transcribing", 60.0, 60.0)
        return super().transcribe(path, options, on_progress, shelf, on_measured)


def dispatched(services: Services, customer: Customer, answer: Any) -> Run:
    """The run that may take the job just submitted."""
    job_id = JobId(answer.json()["id"])
    services.jobs.dispatch(job_id)
    attempt = services.jobs.get(job_id, customer.account_id).attempt
    assert attempt is not None
    return Run(job_id=job_id, attempt_id=AttemptId(attempt.attempt_id), run_token="test")


def test_a_run_that_hangs_loses_its_job_and_tells_its_process(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, engine = cloud.services("SweepFunction", LEASE_SECONDS="1"), Waiting()
    run = dispatched(services, funded, submit(api, funded))
    worker = Worker(
        services=services, pipeline=engine, stop=threading.Event(), stall_seconds=0.5, on_stall=engine.let_go.set
    )
    assert run_job(worker, run) is RunEnd.NOT_OURS
    time.sleep(1.1)  # the lease
    assert services.jobs.repair(run.job_id) == "requeued"


def test_a_beat_that_was_missed_is_made_up_for_at_once(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, engine, beats = cloud.services("SweepFunction"), Waiting(), iter((False, True))
    run = dispatched(services, funded, submit(api, funded))

    def on_beat() -> None:
        if not next(beats, True):
            raise OSError("the network is away")
        engine.let_go.set()  # else nothing happens for a third of the lease, longer than the engine waits

    worker = Worker(services=services, pipeline=engine, stop=threading.Event())
    assert run_job(worker, run, on_beat) is RunEnd.COMPLETED


class Planned(Waiting):
    """Shares its work out over three GPUs, and waits before it goes on."""

    def transcribe(
        self,
        path: Path,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: object = None,
        on_measured: OnMeasured = lambda _seconds, _plan=None: None,
    ) -> Transcript:
        on_measured(60.0, PLAN)
        return super().transcribe(path, options, on_progress, shelf)


def test_the_plan_is_in_the_job_while_it_runs(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, engine = cloud.services("SweepFunction"), Planned()
    run = dispatched(services, funded, submit(api, funded))
    worker = Worker(services=services, pipeline=engine, stop=threading.Event())
    ends: list[RunEnd] = []
    thread = threading.Thread(target=lambda: ends.append(run_job(worker, run)))
    thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while services.jobs.get(run.job_id, funded.account_id).plan != PLAN:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    engine.let_go.set()
    thread.join()
    ended = services.jobs.get(run.job_id, funded.account_id)
    assert (ends, ended.plan) == ([RunEnd.COMPLETED], PLAN)
