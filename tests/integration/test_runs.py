"""A run keeps its lease while it works, and only then."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr
from fastapi.testclient import TestClient

from gpu_jobs.run import RunEnd, Worker, run_job
from shared.bootstrap import Services
from shared.domain.ids import AttemptId, JobId
from shared.domain.job_rules import MAX_RUNS
from shared.domain.jobs import JobState, Progress, Run, Stage, sweep_shard
from shared.domain.plans import WorkPlan
from shared.domain.transcripts import Transcript
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import Engine, submit
from tests.pipelines import Asked

PATIENCE_SECONDS = 30
LONG_AGO = "2020-01-01T00:00:00.000000Z"
VERY_LONG_AGO = "2019-01-01T00:00:00.000000Z"
UNREADABLE = "a stage of a newer version"
PLAN = WorkPlan(gpu="L4", gpus=3, chunk_seconds=20.0, expected_wall_seconds=15.5, expected_cost_usd=0.0123)


class Waiting(Engine):
    """Says nothing any more, after one word of progress, until it is let go."""

    def __init__(self) -> None:
        super().__init__(60.0)
        self.let_go = threading.Event()

    def hear(self, asked: Asked) -> Transcript:
        asked.on_progress("transcribing", 30.0, 60.0)
        assert self.let_go.wait(PATIENCE_SECONDS)
        asked.on_progress("transcribing", 60.0, 60.0)
        return super().hear(asked)


def dispatched(services: Services, customer: Customer, answer: Any) -> Run:
    """The run that may take the job just submitted."""
    job_id = JobId(answer.json()["id"])
    services.jobs.dispatch(job_id)
    attempt = services.jobs.get(job_id, customer.account_id).attempt
    assert attempt is not None
    return Run(job_id=job_id, attempt_id=AttemptId(attempt.attempt_id), run_token="test")


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Stopping(Engine):
    """The platform takes the machine away in the middle of the work: by the flag of the process, or as Modal does."""

    def __init__(self, stop: threading.Event, *, as_modal_does: bool) -> None:
        super().__init__(60.0)
        self.stop, self.as_modal_does = stop, as_modal_does

    def hear(self, asked: Asked) -> Transcript:
        asked.on_progress("transcribing", 30.0, 60.0)
        if self.as_modal_does:
            raise KeyboardInterrupt
        self.stop.set()
        asked.on_progress("transcribing", 31.0, 60.0)
        raise AssertionError("a stopped run goes on")


@pytest.mark.parametrize("as_modal_does", [False, True])
def test_a_run_that_the_platform_stops_does_not_count(
    api: TestClient, funded: Customer, cloud: Cloud, *, as_modal_does: bool
) -> None:
    services = cloud.services("SweepFunction")
    run = dispatched(services, funded, submit(api, funded))
    for _ in range(2 * MAX_RUNS):
        stop = threading.Event()
        worker = Worker(services=services, pipeline=Stopping(stop, as_modal_does=as_modal_does), stop=stop)
        with pytest.raises(KeyboardInterrupt) if as_modal_does else contextlib.nullcontext():
            assert run_job(worker, run.job_id, run.attempt_id) is RunEnd.INTERRUPTED
    stopped = services.jobs.get(run.job_id, funded.account_id)
    assert stopped.attempt is not None
    assert (stopped.state, stopped.attempt.runs) == (JobState.RUNNING, 0)
    worker = Worker(services=services, pipeline=Engine(60.0), stop=threading.Event())
    assert run_job(worker, run.job_id, run.attempt_id) is RunEnd.COMPLETED


def test_a_cancelled_job_pays_for_how_it_stands_then_not_for_how_it_was_seen(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    services = cloud.services("SweepFunction")
    order = dispatched(services, funded, submit(api, funded))
    job = services.jobs.begin(order)
    seen = services.jobs.report(job, order, Progress(stage=Stage.TRANSCRIBING, percent=50))
    services.jobs.give_back(seen, order)

    cancelled = services.jobs.cancel(seen)

    assert cancelled.outcome is not None
    assert cancelled.outcome.used_millicredits == 0


@pytest.fixture
def jobs_table(cloud: Cloud) -> Iterator[Any]:
    """The table of jobs, cleared of what the test made unreadable."""
    table: Any = boto3.resource("dynamodb").Table(cloud.services("SweepFunction").settings.jobs_table)
    yield table
    unreadable = table.scan(FilterExpression=Attr("stage").eq(UNREADABLE), ProjectionExpression="job_id")["Items"]
    with table.batch_writer() as batch:
        for key in unreadable:
            batch.delete_item(key)


def due_job(api: TestClient, funded: Customer, jobs_table: Any) -> JobId:
    """A job that the sweeper will find unsent."""
    job_id = JobId(submit(api, funded).json()["id"])
    jobs_table.update_item(
        Key={"job_id": job_id}, UpdateExpression="SET sweep_at = :at", ExpressionAttributeValues={":at": LONG_AGO}
    )
    return job_id


def test_not_even_hundreds_that_cannot_be_read_keep_another_waiting(
    api: TestClient, funded: Customer, cloud: Cloud, jobs_table: Any
) -> None:
    job_id = due_job(api, funded, jobs_table)
    with jobs_table.batch_writer() as batch:
        for number in range(300):
            place = {"sweep_shard": sweep_shard(job_id), "sweep_at": VERY_LONG_AGO}
            batch.put_item({"job_id": f"{number:032x}", "stage": UNREADABLE} | place)

    report = cloud.services("SweepFunction").sweeps.run()

    assert report.repairs == {"queued": 1, "failed_to_repair": 300}


def test_a_shard_s_many_jobs_keep_those_of_the_others_waiting_for_one_turn(
    api: TestClient, funded: Customer, cloud: Cloud, jobs_table: Any
) -> None:
    shards = {sweep_shard(due_job(api, funded, jobs_table)) for _ in range(12)}
    first = min(shards)
    with jobs_table.batch_writer() as batch:
        for number in range(20):
            batch.put_item(
                {"job_id": f"{number:032x}", "stage": UNREADABLE, "sweep_shard": first, "sweep_at": VERY_LONG_AGO}
            )
    answers = iter([True] * len(shards) + [False])
    sweeps = cloud.services("SweepFunction").sweeps

    assert sweeps.run(has_time=lambda: next(answers)).repairs == {"queued": len(shards) - 1, "failed_to_repair": 1}
    assert sweeps.run().repairs == {"queued": 12 - len(shards) + 1, "failed_to_repair": 20}


class CancelledThenStopped(Engine):
    """Its job is cancelled by its owner, and then the process is to end."""

    def __init__(self, services: Services, customer: Customer, run: Run, stop: threading.Event) -> None:
        super().__init__(60.0)
        self.services, self.customer, self.run_at_work, self.stop = services, customer, run, stop

    def hear(self, asked: Asked) -> Transcript:
        self.services.jobs.cancel(self.services.jobs.get(self.run_at_work.job_id, self.customer.account_id))
        self.stop.set()
        asked.on_progress("transcribing", 31.0, 60.0)
        raise AssertionError("a stopped run goes on")


def test_a_stopped_run_that_has_lost_its_job_leaves_it_to_the_other(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    services, stop = cloud.services("SweepFunction"), threading.Event()
    run = dispatched(services, funded, submit(api, funded))
    worker = Worker(services=services, pipeline=CancelledThenStopped(services, funded, run, stop), stop=stop)
    assert run_job(worker, run.job_id, run.attempt_id) is RunEnd.INTERRUPTED
    assert services.jobs.get(run.job_id, funded.account_id).state is JobState.CANCELLED


def test_a_run_that_hangs_loses_its_job_and_tells_its_process(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, engine = cloud.services("SweepFunction", LEASE_SECONDS="1"), Waiting()
    run = dispatched(services, funded, submit(api, funded))
    worker = Worker(
        services=services, pipeline=engine, stop=threading.Event(), stall_seconds=0.5, on_stall=engine.let_go.set
    )
    assert run_job(worker, run.job_id, run.attempt_id) is RunEnd.NOT_OURS
    time.sleep(1.1)  # the lease
    assert services.jobs.repair(run.job_id) == "requeued"


def test_a_message_that_comes_twice_starts_one_run(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, first, second = cloud.services("SweepFunction"), Waiting(), Waiting()
    run = dispatched(services, funded, submit(api, funded))
    ends: list[RunEnd] = []
    worker = Worker(services=services, pipeline=first, stop=threading.Event())
    thread = threading.Thread(target=lambda: ends.append(run_job(worker, run.job_id, run.attempt_id)))
    thread.start()
    wait_until(lambda: services.jobs.get(run.job_id, funded.account_id).state is JobState.RUNNING)
    again = Worker(services=cloud.services("SweepFunction"), pipeline=second, stop=threading.Event())
    assert run_job(again, run.job_id, run.attempt_id) is RunEnd.NOT_OURS
    first.let_go.set()
    thread.join()
    assert ends == [RunEnd.COMPLETED]


class Mute(Waiting):
    """None of its signs of life arrives, and meanwhile another run takes over and ends the job."""

    def __init__(self, taken_over: Callable[[], None]) -> None:
        super().__init__()
        self.taken_over = taken_over

    def hear(self, asked: Asked) -> Transcript:
        self.taken_over()
        return Engine(60.0).hear(asked)


def test_a_run_that_was_thought_dead_overwrites_nothing(
    api: TestClient, funded: Customer, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, others = (cloud.services("SweepFunction", LEASE_SECONDS="1") for _ in range(2))
    run = dispatched(services, funded, submit(api, funded))
    monkeypatch.setattr(services.jobs, "report", lambda job, _run, _progress: job)

    def taken_over() -> None:
        time.sleep(1.1)  # the lease
        other = Worker(services=others, pipeline=Engine(59.0), stop=threading.Event())
        assert run_job(other, run.job_id, run.attempt_id) is RunEnd.COMPLETED

    mute = Worker(services=services, pipeline=Mute(taken_over), stop=threading.Event())
    assert run_job(mute, run.job_id, run.attempt_id) is RunEnd.NOT_OURS
    ended = others.jobs.get(run.job_id, funded.account_id)
    assert others.results.load(ended).duration_seconds == 59.0


def test_a_beat_that_was_missed_is_made_up_for_at_once(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, engine, beats = cloud.services("SweepFunction"), Waiting(), iter((False, True))
    run = dispatched(services, funded, submit(api, funded))

    def on_beat() -> None:
        if not next(beats, True):
            raise OSError("the network is away")
        engine.let_go.set()  # else nothing happens for a third of the lease, longer than the engine waits

    worker = Worker(services=services, pipeline=engine, stop=threading.Event())
    assert run_job(worker, run.job_id, run.attempt_id, on_beat) is RunEnd.COMPLETED


class Planned(Waiting):
    """Shares its work out over three GPUs, and waits before it goes on."""

    def hear(self, asked: Asked) -> Transcript:
        asked.on_measured(60.0, PLAN)
        return super().hear(replace(asked, on_measured=lambda *_: None))


def test_the_plan_is_in_the_job_while_it_runs(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    services, engine = cloud.services("SweepFunction"), Planned()
    run = dispatched(services, funded, submit(api, funded))
    worker = Worker(services=services, pipeline=engine, stop=threading.Event())
    ends: list[RunEnd] = []
    thread = threading.Thread(target=lambda: ends.append(run_job(worker, run.job_id, run.attempt_id)))
    thread.start()
    wait_until(lambda: services.jobs.get(run.job_id, funded.account_id).plan == PLAN)
    assert services.jobs.get(run.job_id, funded.account_id).estimated_seconds == 60.0
    engine.let_go.set()
    thread.join()
    ended = services.jobs.get(run.job_id, funded.account_id)
    assert (ends, ended.plan) == ([RunEnd.COMPLETED], PLAN)


def test_only_an_ended_job_may_be_deleted_by_the_clock_of_the_table(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    services = cloud.services("SweepFunction")
    run = dispatched(services, funded, submit(api, funded))
    table: Any = boto3.resource("dynamodb").Table(services.settings.jobs_table)
    assert "expires_at" not in table.get_item(Key={"job_id": run.job_id})["Item"]
    worker = Worker(services=services, pipeline=Engine(60.0), stop=threading.Event())
    assert run_job(worker, run.job_id, run.attempt_id) is RunEnd.COMPLETED
    assert "expires_at" in table.get_item(Key={"job_id": run.job_id})["Item"]
